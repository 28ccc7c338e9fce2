"""Arithmetic: one result for each element, broadcast as NumPy broadcasts, of one tensor, two, or any number of them.

Rules return gradients of the result's shape; the engine sums them over the axes along which an input was broadcast.
"""

import functools
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np

from tinygraph.graph import Edge, Explanation, Op, Sample, Terms, Value, op, register
from tinygraph.graph.explanation import element_at, product, weighted
from tinygraph.ops.comparison.comparison import gate, where
from tinygraph.ops.samples import binary, distinct, normal, off_zero, tensors, unary, unit
from tinygraph.ops.sums import floating, wide, widened


@op(formula="{x} + {y}", symbol="+", elementwise=True, holomorphic=True, numpy=[np.add], samples=binary())
def add(x, y):
    """Sum of two tensors, broadcast. Source: notes F1, F8 (the bias).

    Raises ``ShapeError`` for shapes that do not broadcast.

    >>> import tinygraph as tg
    >>> tg.add(np.array([1.0, 2.0]), 10.0)
    array([11., 12.])
    """
    return x + y


@add.vjp
def add_vjp(dy, y, x1, x2) -> Any:
    return dy, dy


add.explain(weighted())


@op(formula="{x} - {y}", symbol="-", elementwise=True, holomorphic=True, numpy=[np.subtract], samples=binary())
def subtract(x, y):
    """Difference of two tensors, broadcast.

    Source: the sum rule. Raises ``ShapeError`` for shapes that do not broadcast.

    >>> import tinygraph as tg
    >>> tg.subtract(np.array([1.0, 2.0]), 1.0)
    array([0., 1.])
    """
    return np.subtract(x, y)


@subtract.vjp
def subtract_vjp(dy, y, x1, x2) -> Any:
    return dy, lambda: -dy


subtract.explain(weighted(1, -1))


@op(formula="{x} · {y}", symbol="*", elementwise=True, holomorphic=True, numpy=[np.multiply], samples=binary())
def multiply(x, y):
    """Product of two tensors, element by element, broadcast. Rule: the product rule.

    Source: the product rule. Raises ``ShapeError`` for shapes that do not broadcast.

    >>> import tinygraph as tg
    >>> tg.multiply(np.array([1.0, 2.0]), 3.0)
    array([3., 6.])
    """
    return x * y


@multiply.vjp
def multiply_vjp(dy, y, x1, x2) -> Any:
    return lambda: dy * x2, lambda: dy * x1


multiply.explain(product)


@op(
    formula="{x} / {y}",
    symbol="/",
    elementwise=True,
    holomorphic=True,
    numpy=[np.divide],
    samples=binary(normal, off_zero),
)
def divide(x, y):
    """Quotient of two tensors, broadcast. Rule: the quotient rule.

    Source: the quotient rule. Raises ``ShapeError`` for shapes that do not broadcast.

    >>> import tinygraph as tg
    >>> tg.divide(np.array([1.0, 2.0]), 2.0)
    array([0.5, 1. ])
    """
    return x / y


@divide.vjp
def divide_vjp(dy, y, x1, x2) -> Any:
    return lambda: dy / x2, lambda: -(dy * y / x2)


@divide.explain
def divide_explain(index: tuple[int, ...], y, x1, x2) -> Explanation:
    top, bottom = element_at(0, index, x1), element_at(1, index, x2)
    with np.errstate(divide="ignore"):
        share = np.divide(1.0, x2.reshape(-1)[bottom[1]], dtype=np.float64)
    return Explanation((Terms((top,), share),), (bottom,), "" if share == 1 else "divided by {0}")


@op(formula="-{x}", symbol="neg", elementwise=True, holomorphic=True, numpy=[np.negative], samples=unary())
def negative(x):
    """The tensor with its sign changed.

    Source: the sum rule. Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.negative(np.array([1.0, -2.0]))
    array([-1.,  2.])
    """
    return -x


@negative.vjp
def negative_vjp(dy, y, x):
    return -dy


negative.explain(weighted(-1))


@op(formula="|{x}|", tex=r"\left|{x}\right|", elementwise=True, numpy=[np.abs], samples=unary(off_zero))
def abs(x):
    """Absolute value; the gradient at the kink in 0 is 0.

    Source: NumPy's ``abs``. Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.abs(np.array([-2.0, 3.0]))
    array([2., 3.])
    """
    return np.abs(x)


@abs.vjp
def abs_vjp(dy, y, x):
    return dy * sign(x)


@op(formula="sign({x})", tex=r"\operatorname{sign}({x})", elementwise=True, numpy=[np.sign], samples=unary(off_zero))
def sign(x):
    """-1, 0 or 1; its gradient is 0 everywhere.

    Source: NumPy's ``sign``. Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.sign(np.array([-2.0, 0.0, 3.0]))
    array([-1.,  0.,  1.])
    """
    return np.sign(x)


@sign.vjp
def flat(dy, y, x):
    """The rule of functions with jumps that are flat elsewhere: the gradient is 0, at the jumps too."""
    return gate(dy, False)


@op(formula="{x}", symbol="same", elementwise=True, holomorphic=True, numpy=[np.positive], samples=unary())
def identity(x):
    """The tensor unchanged: a second name for one value, as in the notes' ``dB3 = dZ3`` (B3) for one sample.

    Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.identity(np.array([1.0, 2.0]))
    array([1., 2.])
    """
    return x


@identity.vjp
def identity_vjp(dy, y, x):
    return dy


identity.explain(weighted())


@register
class StopGradient(Op):
    """The tensor unchanged, through which no gradient flows: in differentiation it counts as a constant.

    Source: ``lax.stop_gradient`` of JAX, ``detach`` of PyTorch. Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> x = tg.tensor(3.0, name="x")
    >>> (dx,) = tg.grad(x * tg.stop_gradient(x), [x])
    >>> dx.value
    array(3.)
    """

    formula: ClassVar[str] = "stop_gradient({x})"
    tex: ClassVar[str] = r"\operatorname{stopgradient}({x})"
    elementwise: ClassVar[bool] = True
    stops_gradient: ClassVar[bool] = True
    samples = staticmethod(unary())

    def forward(self, x):
        return x


stop_gradient = StopGradient.function


@op(
    formula="the sum of {x}",
    symbol="+",
    elementwise=True,
    holomorphic=True,
    samples=tensors((unit,) * 4, ((2, 3),) * 4),
)
def add_all(*x):
    """Sum of any number of tensors of one shape: how a tensor's gradients over several uses are put together.

    Source: the sum rule, over the uses of a tensor. Raises ``ShapeError`` for shapes that do not broadcast.

    >>> import tinygraph as tg
    >>> tg.add_all([np.ones(2), np.ones(2), np.ones(2)])
    array([3., 3.])
    """
    if len(x) < 3:
        return x[0] + x[1] if len(x) > 1 else x[0]
    return _of_dtype(functools.reduce(np.add, map(widened, x)), x)


def _of_dtype(y, x: Sequence[Value]):
    """Return what was computed from widened tensors in the dtype that these have together."""
    return y.astype(np.float16) if all(part.dtype == np.float16 for part in x) else y


@add_all.vjp
def add_all_vjp(dy, y, *x) -> Any:
    return (dy,) * len(x)


add_all.explain(weighted())


def _apart(rng: np.random.Generator) -> Iterable[Sample]:
    yield Sample(*distinct(rng, (3, 3, 4)))
    first, second, third = distinct(rng, (3, 2, 3))
    yield Sample(first, second[:1], third[:, :1])
    yield Sample(first)


def first_chosen(dy, y, *x) -> Any:
    """The rule of a choice among several tensors: the gradient goes to the first that is equal to the result."""
    gradients = []
    for part in x:
        gradients.append(where(part == y, dy, 0.0))
        dy = where(part == y, 0.0, dy)
    return tuple(gradients)


@op(
    formula="the maximum of {x}",
    tex=r"\max({x})",
    elementwise=True,
    samples=_apart,
    edges=[Edge(Sample([1.0, 0.0], [1.0, 2.0], [1.0, 2.0]), [1.0, 0.0], [0.0, 1.0], [0.0, 0.0])],
)
def maximum_all(*x):
    """The largest of any number of tensors, element by element; NaN where one is. A tie sends its gradient to the first.

    Source: NumPy's ``maximum``. Raises ``ShapeError`` for shapes that do not broadcast.

    >>> import tinygraph as tg
    >>> tg.maximum_all([np.array([1.0, 5.0]), np.array([2.0, 4.0]), 3.0])
    array([3., 5.])
    """
    return functools.reduce(np.maximum, x)


@op(
    formula="the minimum of {x}",
    tex=r"\min({x})",
    elementwise=True,
    samples=_apart,
    edges=[Edge(Sample([1.0, 3.0], [1.0, 2.0], [1.0, 2.0]), [1.0, 0.0], [0.0, 1.0], [0.0, 0.0])],
)
def minimum_all(*x):
    """The smallest of any number of tensors, element by element; NaN where one is. A tie sends its gradient to the first.

    Source: NumPy's ``minimum``. Raises ``ShapeError`` for shapes that do not broadcast.

    >>> import tinygraph as tg
    >>> tg.minimum_all([np.array([1.0, 5.0]), np.array([2.0, 4.0]), 3.0])
    array([1., 3.])
    """
    return functools.reduce(np.minimum, x)


maximum_all.vjp(first_chosen)
minimum_all.vjp(first_chosen)


def _means(rng: np.random.Generator) -> Iterable[Sample]:
    yield Sample(*[normal(rng, (2, 3)) for _ in range(4)])
    yield Sample(normal(rng, (2, 3)), normal(rng, (3,)), normal(rng, (2, 1)))


@op(formula="the mean of {x}", tex=r"\operatorname{mean}({x})", elementwise=True, holomorphic=True, samples=_means)
def mean_all(*x):
    """The mean of any number of tensors, element by element, broadcast.

    Source: the sum rule. Raises ``ShapeError`` for shapes that do not broadcast.

    >>> import tinygraph as tg
    >>> tg.mean_all([np.array([1.0, 5.0]), np.array([2.0, 4.0]), 3.0])
    array([2., 4.])
    """
    return _of_dtype(functools.reduce(np.add, map(wide, x)) / len(x), [floating(part) for part in x])


@mean_all.vjp
def mean_all_vjp(dy, y, *x) -> Any:
    return (dy / len(x),) * len(x)
