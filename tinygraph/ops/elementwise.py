"""Arithmetic, powers, exponentials: one result for each element, broadcast as NumPy broadcasts.

DLMF is NIST's Digital Library of Mathematical Functions (dlmf.nist.gov), by chapter and section.

Rules return gradients of the result's shape; the engine sums them over the axes along which an input was broadcast.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tinygraph.errors import AttributeValueError, DTypeError
from tinygraph.graph.arrays import numeric_dtype
from tinygraph.graph.explanation import Explanation, Terms, broadcast_position, one, product, weighted
from tinygraph.graph.function import op, register
from tinygraph.graph.op import Edge, Op, Sample, Value
from tinygraph.graph.registry import NUMPY_FUNCTIONS
from tinygraph.ops.comparison import where
from tinygraph.ops.samples import binary, each, normal, off_zero, positive, unary, unit


@op(formula="{x} + {y}", symbol="+", elementwise=True, holomorphic=True, numpy=[np.add], samples=binary())
def add(x: Value, y: Value) -> Value:
    """Sum of two tensors, broadcast. Source: notes F1, F8 (the bias).

    Raises ``ShapeError`` for shapes that do not broadcast.

    >>> import tinygraph as tg
    >>> tg.add(np.array([1.0, 2.0]), 10.0)
    array([11., 12.])
    """
    return x + y


@add.vjp
def add_vjp(dy: Value, y: Value, x1: Value, x2: Value) -> Any:
    return dy, dy


@add.explain
def add_explain(index: tuple[int, ...], y: Value, x1: Value, x2: Value) -> Explanation:
    return weighted(index, (x1, x2), (1, 1))


@op(formula="{x} - {y}", symbol="-", elementwise=True, holomorphic=True, numpy=[np.subtract], samples=binary())
def subtract(x: Value, y: Value) -> Value:
    """Difference of two tensors, broadcast.

    Source: the sum rule. Raises ``ShapeError`` for shapes that do not broadcast.

    >>> import tinygraph as tg
    >>> tg.subtract(np.array([1.0, 2.0]), 1.0)
    array([0., 1.])
    """
    return np.subtract(x, y)


@subtract.vjp
def subtract_vjp(dy: Value, y: Value, x1: Value, x2: Value) -> Any:
    return dy, lambda: -dy


@subtract.explain
def subtract_explain(index: tuple[int, ...], y: Value, x1: Value, x2: Value) -> Explanation:
    return weighted(index, (x1, x2), (1, -1))


@op(formula="{x} · {y}", symbol="*", elementwise=True, holomorphic=True, numpy=[np.multiply], samples=binary())
def multiply(x: Value, y: Value) -> Value:
    """Product of two tensors, element by element, broadcast. Rule: the product rule.

    Source: the product rule. Raises ``ShapeError`` for shapes that do not broadcast.

    >>> import tinygraph as tg
    >>> tg.multiply(np.array([1.0, 2.0]), 3.0)
    array([3., 6.])
    """
    return x * y


@multiply.vjp
def multiply_vjp(dy: Value, y: Value, x1: Value, x2: Value) -> Any:
    return lambda: dy * x2, lambda: dy * x1


@multiply.explain
def multiply_explain(index: tuple[int, ...], y: Value, x1: Value, x2: Value) -> Explanation:
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
def divide(x: Value, y: Value) -> Value:
    """Quotient of two tensors, broadcast. Rule: the quotient rule.

    Source: the quotient rule. Raises ``ShapeError`` for shapes that do not broadcast.

    >>> import tinygraph as tg
    >>> tg.divide(np.array([1.0, 2.0]), 2.0)
    array([0.5, 1. ])
    """
    return x / y


@divide.vjp
def divide_vjp(dy: Value, y: Value, x1: Value, x2: Value) -> Any:
    return lambda: dy / x2, lambda: -(dy * y / x2)


@divide.explain
def divide_explain(index: tuple[int, ...], y: Value, x1: Value, x2: Value) -> Explanation:
    top, bottom = one(0, broadcast_position(index, x1.shape)), one(1, broadcast_position(index, x2.shape))
    with np.errstate(divide="ignore"):
        share = np.divide(1.0, x2.reshape(-1)[bottom[1]], dtype=np.float64)
    return Explanation((Terms((top,), share),), (bottom,), "" if share == 1 else "divided by {0}")


@op(
    formula="{x} ^ {y}",
    symbol="**",
    elementwise=True,
    holomorphic=True,
    numpy=[np.power],
    samples=binary(positive, normal),
    # 0 ** 2, 0 ** 1 and 0 ** 0.
    edges=[Edge(Sample([0.0, 0.0, 0.0], [2.0, 1.0, 0.0]), [0.0, 1.0, 0.0], [0.0, 0.0, 0.0])],
)
def power(x: Value, y: Value) -> Value:
    """``x`` to the power ``y``, broadcast.

    The gradient of the exponent takes ``log(x)`` as 0 where ``x`` is not positive, as the limit of ``x**y log(x)`` at 0 is.

    Source: DLMF 4.2 (powers). Raises ``ShapeError`` for shapes that do not broadcast.

    >>> import tinygraph as tg
    >>> tg.power(np.array([2.0, 3.0]), 2)
    array([4., 9.])
    """
    return x**y


@power.vjp
def power_vjp(dy: Value, y: Value, base: Value, exponent: Value) -> Any:
    def of_exponent() -> Value:
        return dy * y * log(where(base > 0, base, 1.0))

    # Where the exponent is 0 the factor before the power is 0, and the power itself must not be 0 ** -1.
    return lambda: dy * (exponent * base ** where(exponent == 0, 1, exponent - 1)), of_exponent


@op(formula="-{x}", symbol="neg", elementwise=True, holomorphic=True, numpy=[np.negative], samples=unary())
def negative(x: Value) -> Value:
    """The tensor with its sign changed.

    Source: the sum rule. Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.negative(np.array([1.0, -2.0]))
    array([-1.,  2.])
    """
    return -x


@negative.vjp
def negative_vjp(dy: Value, y: Value, x: Value) -> Value:
    return -dy


@negative.explain
def negative_explain(index: tuple[int, ...], y: Value, x: Value) -> Explanation:
    return weighted(index, (x,), (-1,))


@op(formula="exp({x})", tex=r"\exp({x})", elementwise=True, holomorphic=True, numpy=[np.exp], samples=unary())
def exp(x: Value) -> Value:
    """e to the power of each element; it is its own derivative.

    Source: DLMF 4.2 and 4.7. Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.exp(np.array([0.0, 1.0])).round(4)
    array([1.    , 2.7183])
    """
    return np.exp(x)


@exp.vjp
def exp_vjp(dy: Value, y: Value, x: Value) -> Value:
    return dy * y


@op(formula="log({x})", tex=r"\log({x})", elementwise=True, holomorphic=True, numpy=[np.log], samples=unary(positive))
def log(x: Value) -> Value:
    """Natural logarithm; minus infinity at 0, NaN below.

    Source: DLMF 4.2 and 4.7. Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.log(np.array([1.0, np.e]))
    array([0., 1.])
    """
    return np.log(x)


@log.vjp
def log_vjp(dy: Value, y: Value, x: Value) -> Value:
    return dy / x


@op(
    formula="log(1 + {x})",
    tex=r"\log(1 + {x})",
    elementwise=True,
    holomorphic=True,
    numpy=[np.log1p],
    samples=unary(positive),
)
def log1p(x: Value) -> Value:
    """Natural logarithm of ``1 + x``, exact for small ``x``.

    Source: DLMF 4.2 and 4.7. Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.log1p(np.array([0.0, 1e-12]))
    array([0.e+00, 1.e-12])
    """
    return np.log1p(x)


@log1p.vjp
def log1p_vjp(dy: Value, y: Value, x: Value) -> Value:
    return dy / (1 + x)


@op(formula="exp({x}) - 1", tex=r"\exp({x}) - 1", elementwise=True, holomorphic=True, numpy=[np.expm1], samples=unary())
def expm1(x: Value) -> Value:
    """``exp(x) - 1``, exact for small ``x``.

    Source: DLMF 4.2 and 4.7. Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.expm1(np.array([0.0, 1e-12]))
    array([0.e+00, 1.e-12])
    """
    return np.expm1(x)


@expm1.vjp
def expm1_vjp(dy: Value, y: Value, x: Value) -> Value:
    return dy * (y + 1)


@op(formula="√{x}", tex=r"\sqrt{{x}}", elementwise=True, holomorphic=True, numpy=[np.sqrt], samples=unary(positive))
def sqrt(x: Value) -> Value:
    """Square root; its slope is infinite at 0.

    Source: DLMF 4.2 (powers). Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.sqrt(np.array([4.0, 9.0]))
    array([2., 3.])
    """
    return np.sqrt(x)


@sqrt.vjp
def sqrt_vjp(dy: Value, y: Value, x: Value) -> Value:
    return dy / (2 * y)


@op(formula="|{x}|", tex=r"\left|{x}\right|", elementwise=True, numpy=[np.abs], samples=unary(off_zero))
def abs(x: Value) -> Value:
    """Absolute value; the gradient at the kink in 0 is 0.

    Source: NumPy's ``abs``. Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.abs(np.array([-2.0, 3.0]))
    array([2., 3.])
    """
    return np.abs(x)


@abs.vjp
def abs_vjp(dy: Value, y: Value, x: Value) -> Value:
    return dy * sign(x)


@op(formula="sign({x})", tex=r"\operatorname{sign}({x})", elementwise=True, numpy=[np.sign], samples=unary(off_zero))
def sign(x: Value) -> Value:
    """-1, 0 or 1; its gradient is 0 everywhere.

    Source: NumPy's ``sign``. Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.sign(np.array([-2.0, 0.0, 3.0]))
    array([-1.,  0.,  1.])
    """
    return np.sign(x)


@sign.vjp
def sign_vjp(dy: Value, y: Value, x: Value) -> Value:
    return dy * 0


@op(formula="erf({x})", tex=r"\operatorname{erf}({x})", elementwise=True, samples=unary())
def erf(x: Value) -> Value:
    """The error function, 2/√π times the integral of exp(-t²) from 0 to ``x``; Python's ``math.erf`` for each element.

    Source: DLMF 7.2. Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.erf(np.array([0.0, 1.0])).round(6)
    array([0.      , 0.842701])
    """
    x = np.asarray(x)
    return np.asarray(np.frompyfunc(math.erf, 1, 1)(x), dtype=x.dtype if x.dtype.kind == "f" else np.float64)


@erf.vjp
def erf_vjp(dy: Value, y: Value, x: Value) -> Value:
    return dy * (2 / math.sqrt(math.pi)) * exp(-(x * x))


@op(formula="{x}", symbol="same", elementwise=True, holomorphic=True, numpy=[np.positive], samples=unary())
def identity(x: Value) -> Value:
    """The tensor as it is: a second name for one value, as in the notes' ``dB3 = dZ3`` (B3) for one sample.

    Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.identity(np.array([1.0, 2.0]))
    array([1., 2.])
    """
    return x


@identity.vjp
def identity_vjp(dy: Value, y: Value, x: Value) -> Value:
    return dy


@identity.explain
def identity_explain(index: tuple[int, ...], y: Value, x: Value) -> Explanation:
    return weighted(index, (x,), (1,))


def require_numeric(op: Op, dtype: str) -> None:
    """Refuse an attribute ``dtype`` that names no type of numbers."""
    try:
        numeric_dtype(dtype, op.name)
    except DTypeError as error:
        raise AttributeValueError(str(error)) from None


@register
@dataclass(frozen=True)
class Cast(Op):
    """The same numbers in another dtype, given by its name; the gradient is cast back.

    Source: NumPy's ``astype``. Raises ``AttributeValueError`` for a name that is no type of numbers.

    >>> import tinygraph as tg
    >>> tg.cast(np.array([1, 2]), "float32")
    array([1., 2.], dtype=float32)
    """

    dtype: str
    formula: ClassVar[str] = "{x} as {dtype}"
    tex: ClassVar[str] = r"{x}"
    elementwise: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require_numeric(self, self.dtype)

    def forward(self, x: Value) -> Value:
        return np.asarray(x).astype(self.dtype)

    def vjp(self, dy: Value, y: Value, x: Value) -> Value:
        return cast(dy, x.dtype.name)

    samples = staticmethod(each(normal, ((2, 3), {"dtype": "float64"})))

    def explain(self, index: tuple[int, ...], y: Value, /, *inputs: Value) -> Explanation:
        return weighted(index, inputs, (1,))


cast = Cast.function


def _add_all_samples(rng: np.random.Generator) -> Iterable[Sample]:
    yield Sample(*[unit(rng, (2, 3)) for _ in range(4)])


@op(formula="the sum of {x}", symbol="+", elementwise=True, holomorphic=True, samples=_add_all_samples)
def add_all(*x: Value) -> Value:
    """Sum of any number of tensors of one shape: how a tensor's gradients over several uses are put together.

    Source: the sum rule, over the uses of a tensor. Raises ``ShapeError`` for shapes that do not broadcast.

    >>> import tinygraph as tg
    >>> tg.add_all([np.ones(2), np.ones(2), np.ones(2)])
    array([3., 3.])
    """
    total = x[0] + x[1] if len(x) > 1 else x[0]
    for term in x[2:]:
        total = total + term
    return total


@add_all.vjp
def add_all_vjp(dy: Value, y: Value, *x: Value) -> Any:
    return (dy,) * len(x)


@add_all.explain
def add_all_explain(index: tuple[int, ...], y: Value, *x: Value) -> Explanation:
    return weighted(index, x, (1,) * len(x))
