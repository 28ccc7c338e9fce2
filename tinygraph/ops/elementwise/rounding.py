"""Whole numbers of real ones: floor, ceil, trunc, round, and the remainder of a division."""

from typing import Any

import numpy as np

from tinygraph.graph.arrays import Array
from tinygraph.graph.function import op
from tinygraph.graph.op import Shape
from tinygraph.graph.record import Sample
from tinygraph.graph.registry import NUMPY_FUNCTIONS
from tinygraph.ops.comparison.comparison import gate
from tinygraph.ops.samples import unary


def _off_halves(rng: np.random.Generator, shape: Shape) -> Array:
    """Numbers of either sign, none within 0.1 of a whole number or of a half."""
    return rng.integers(-6, 6, shape) / 2 + rng.uniform(0.1, 0.4, shape)


def flat(dy, y, x):
    """The rule of functions with jumps that are flat elsewhere: the gradient is 0, at the jumps too."""
    return gate(dy, False)


@op(
    formula="⌊{x}⌋",
    tex=r"\left\lfloor {x} \right\rfloor",
    elementwise=True,
    numpy=[np.floor],
    samples=unary(_off_halves),
)
def floor(x):
    """The largest whole number that is not above ``x``; its gradient is 0 everywhere.

    Source: NumPy's ``floor``. Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.floor(np.array([-1.5, 2.5]))
    array([-2.,  2.])
    """
    return np.floor(x)


@op(formula="⌈{x}⌉", tex=r"\left\lceil {x} \right\rceil", elementwise=True, numpy=[np.ceil], samples=unary(_off_halves))
def ceil(x):
    """The smallest whole number that is not below ``x``; its gradient is 0 everywhere.

    Source: NumPy's ``ceil``. Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.ceil(np.array([-1.5, 2.5]))
    array([-1.,  3.])
    """
    return np.ceil(x)


@op(
    formula="trunc({x})",
    tex=r"\operatorname{trunc}({x})",
    elementwise=True,
    numpy=[np.trunc],
    samples=unary(_off_halves),
)
def trunc(x):
    """``x`` without the digits after its decimal point; its gradient is 0 everywhere.

    Source: NumPy's ``trunc``. Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.trunc(np.array([-1.5, 2.5]))
    array([-1.,  2.])
    """
    return np.trunc(x)


@op(
    formula="round({x})",
    tex=r"\operatorname{round}({x})",
    elementwise=True,
    numpy=[np.rint, np.round],
    samples=unary(_off_halves),
)
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


NUMPY_FUNCTIONS[np.fmod] = lambda x, y: mod(x, y, fmod=True)
