"""Arithmetic: one result for each element, broadcast as NumPy broadcasts.

Rules return gradients of the result's shape; the engine sums them over the axes along which an input was broadcast.
"""

from typing import Any

import numpy as np

from tinygraph.graph.explanation import Explanation, Terms, broadcast_position, one, product, weighted
from tinygraph.graph.function import op
from tinygraph.graph.registry import NUMPY_FUNCTIONS
from tinygraph.ops.comparison.comparison import gate
from tinygraph.ops.samples import binary, normal, off_zero, unary


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


@add.explain
def add_explain(index: tuple[int, ...], y, x1, x2) -> Explanation:
    return weighted(index, (x1, x2), (1, 1))


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


@subtract.explain
def subtract_explain(index: tuple[int, ...], y, x1, x2) -> Explanation:
    return weighted(index, (x1, x2), (1, -1))


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


@multiply.explain
def multiply_explain(index: tuple[int, ...], y, x1, x2) -> Explanation:
    return product(index, x1, x2)


NUMPY_FUNCTIONS[np.square] = lambda x: multiply(x, x)


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
    top, bottom = one(0, broadcast_position(index, x1.shape)), one(1, broadcast_position(index, x2.shape))
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


@negative.explain
def negative_explain(index: tuple[int, ...], y, x) -> Explanation:
    return weighted(index, (x,), (-1,))


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
def sign_vjp(dy, y, x):
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


@identity.explain
def identity_explain(index: tuple[int, ...], y, x) -> Explanation:
    return weighted(index, (x,), (1,))
