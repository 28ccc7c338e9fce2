"""Numbers in another dtype, the whole numbers next to real ones, and the remainder of a division."""

from typing import Any, ClassVar

import numpy as np

from tinygraph.errors import AttributeValueError, DTypeError
from tinygraph.graph import Array, Explanation, Op, Sample, Shape, op, register
from tinygraph.graph.arrays import numeric_dtype
from tinygraph.graph.explanation import weighted
from tinygraph.ops.elementwise.arithmetic import flat
from tinygraph.ops.samples import each, normal, unary


def require_numeric(op: Op, dtype: str) -> None:
    """Refuse an attribute ``dtype`` that names no type of numbers."""
    try:
        numeric_dtype(dtype, op.name)
    except DTypeError as error:
        raise AttributeValueError(str(error)) from None


@register
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

    def check_attributes(self) -> None:
        require_numeric(self, self.dtype)

    def forward(self, x):
        return np.asarray(x).astype(self.dtype)

    def vjp(self, dy, y, x):
        return cast(dy, x.dtype.name)

    samples = each(normal, ((2, 3), {"dtype": "float64"}))

    def explain(self, index: tuple[int, ...], y, /, *inputs) -> Explanation:
        return weighted()(index, y, *inputs)


cast = Cast.function


def _off_halves(rng: np.random.Generator, shape: Shape) -> Array:
    """Numbers of either sign, none within 0.1 of a whole number or of a half."""
    return rng.integers(-6, 6, shape) / 2 + rng.uniform(0.1, 0.4, shape)


def _rounding(formula: str, tex: str, *functions: Any) -> Any:
    """Make an operation of NumPy's functions that round in one way."""
    return op(formula=formula, tex=tex, elementwise=True, numpy=functions, samples=unary(_off_halves))


@_rounding("⌊{x}⌋", r"\left\lfloor {x} \right\rfloor", np.floor)
def floor(x):
    """The largest whole number that is not above ``x``; its gradient is 0 everywhere.

    Source: NumPy's ``floor``. Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.floor(np.array([-1.5, 2.5]))
    array([-2.,  2.])
    """
    return np.floor(x)


@_rounding("⌈{x}⌉", r"\left\lceil {x} \right\rceil", np.ceil)
def ceil(x):
    """The smallest whole number that is not below ``x``; its gradient is 0 everywhere.

    Source: NumPy's ``ceil``. Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.ceil(np.array([-1.5, 2.5]))
    array([-1.,  3.])
    """
    return np.ceil(x)


@_rounding("trunc({x})", r"\operatorname{trunc}({x})", np.trunc, np.fix)
def trunc(x):
    """``x`` without the digits after its decimal point; its gradient is 0 everywhere.

    Source: NumPy's ``trunc``. Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.trunc(np.array([-1.5, 2.5]))
    array([-1.,  2.])
    """
    return np.trunc(x)


@_rounding("round({x})", r"\operatorname{round}({x})", np.rint, np.round)
def round(x):
    """The whole number nearest to ``x``, of two the even one; its gradient is 0 everywhere.

    Source: NumPy's ``round``. Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.round(np.array([0.5, 1.5, 1.6]))
    array([0., 2., 2.])
    """
    return np.round(x)


for _rounded in (floor, ceil, trunc, round):
    _rounded.vjp(flat)


def _mod_samples(rng: np.random.Generator) -> list[Sample]:
    whole, rest = rng.integers(-3, 3, (3, 4)), rng.uniform(0.2, 0.8, (3, 4))
    divisor = rng.choice([-1.0, 1.0], (4,)) * rng.uniform(0.5, 2.0, (4,))
    return [Sample((whole + rest) * divisor, divisor), Sample((whole + rest) * divisor, divisor, fmod=True)]


@op(formula="{x} mod {y}", tex=r"{(x)} \bmod {(y)}", elementwise=True, numpy=[np.remainder], samples=_mod_samples)
def mod(x, y, *, fmod: bool = False):
    """The remainder of ``x`` divided by ``y``: it has the sign of ``y``, or with ``fmod`` that of ``x``.

    The gradient of ``y`` is minus the whole quotient; at the jumps it is that of the side on which the remainder is 0.

    Source: NumPy's ``mod`` and ``fmod``. Raises ``ShapeError`` for shapes that do not broadcast.

    >>> import tinygraph as tg
    >>> tg.mod(np.array([-7.0, 7.0]), 3.0), tg.mod(np.array([-7.0, 7.0]), 3.0, fmod=True)
    (array([2., 1.]), array([-1.,  1.]))
    """
    return np.fmod(x, y) if fmod else np.mod(x, y)


@mod.vjp
def mod_vjp(dy, y, x1, x2) -> Any:
    return dy, lambda: -(dy * round((x1 - y) / x2))
