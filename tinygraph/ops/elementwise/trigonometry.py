"""Lengths and angles: the hypotenuse with the gradient of a length, and trigonometric and hyperbolic functions.

A length is the root of a sum of squares, which has no second derivative at 0, though its square has. DLMF is NIST's Digital
Library of Mathematical Functions (dlmf.nist.gov), by chapter and section.
"""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygraph.graph import Array, Edge, Sample, Shape, Tensor, Value, op
from tinygraph.ops.comparison.comparison import gate, where
from tinygraph.ops.elementwise.arithmetic import add, multiply
from tinygraph.ops.elementwise.exponential import power, smooth, sqrt
from tinygraph.ops.samples import binary, off_zero


def _inside(rng: np.random.Generator, shape: Shape) -> Array:
    """Numbers between -0.9 and 0.9."""
    return rng.uniform(-0.9, 0.9, shape)


def _above_one(rng: np.random.Generator, shape: Shape) -> Array:
    """Numbers between 1.5 and 3."""
    return rng.uniform(1.5, 3.0, shape)


def along(dy, y, x, spread: Callable[[Value], Value] = lambda length: length):
    """Return ``dy · x / y``, the gradient of ``x`` for a length ``y`` that ``spread`` repeats to its shape; 0 for the length 0.

    Where ``dy`` was recorded as a product with ``y``, as for a squared length, that factor is left out instead of
    divided by. The gradient of ``y**2`` is then recorded as ``2 x``, whose derivative is right at 0 too.

    >>> import tinygraph as tg
    >>> x = tg.tensor([0.0, 0.0], name="x")
    >>> print(tg.Graph(tg.grad(tg.l2_norm(x) ** 2, [x])[0]))
    x   value    float64 (2,)
    dx  = 2 * x  float64 (2,)
    """
    multiple = _multiple(dy, y)
    if multiple is not None:
        return spread(multiple) * x
    return spread(gate(dy, y != 0)) * (x / spread(where(y == 0, 1.0, y)))


def _multiple(dy, y, depth: int = 4) -> Value | None:
    """Return ``dy / y`` where ``dy`` was recorded as a product with ``y``, at most ``depth`` operations ago, or ``None``."""
    if not isinstance(dy, Tensor) or dy.op is None or not depth:
        return None
    if _is_same(dy, y) or (isinstance(dy.op, power.op) and _is_same(dy.inputs[0], y) and _is_one(dy.inputs[1])):
        return np.ones(y.shape, y.dtype)
    if isinstance(dy.op, add.op):
        first, second = (_multiple(x, y, depth - 1) for x in dy.inputs)
        return None if first is None or second is None else first + second
    if isinstance(dy.op, multiply.op):
        for x, other in (dy.inputs, dy.inputs[::-1]):
            rest = _multiple(x, y, depth - 1)
            if rest is not None:
                return rest * other
    return None


def _is_same(x: Tensor, y: Tensor) -> bool:
    """Whether two tensors are one, or made by one operation from the same inputs."""
    return x is y or (x.op == y.op and len(x.inputs) == len(y.inputs) and all(map(operator.is_, x.inputs, y.inputs)))


def _is_one(x: Tensor) -> bool:
    return x.kind == "constant" and x.size == 1 and x.item() == 1


@op(
    formula="√({x}² + {y}²)",
    tex=r"\sqrt{{(x)}^{2} + {(y)}^{2}}",
    elementwise=True,
    numpy=[np.hypot],
    samples=binary(off_zero, off_zero),
    edges=[Edge(Sample([0.0, 0.0], [0.0, -3.0]), [0.0, 0.0], [0.0, -1.0])],
)
def hypot(x, y):
    """The hypotenuse of a right triangle with legs ``x`` and ``y``, without overflow; its gradient at 0, 0 is 0.

    Source: NumPy's ``hypot``; DLMF 1.9. Raises ``ShapeError`` for shapes that do not broadcast.

    >>> import tinygraph as tg
    >>> tg.hypot(np.array([3.0, 3e200]), np.array([4.0, 4e200]))
    array([5.e+000, 5.e+200])
    """
    return np.hypot(x, y)


@hypot.vjp
def hypot_vjp(dy, y, x1, x2) -> Any:
    return lambda: along(dy, y, x1), lambda: along(dy, y, x2)


_corner = [Edge(Sample([0.0, 0.0], [0.0, -2.0]), [0.0, -0.5], [0.0, 0.0])]


@op(
    formula="atan2({y}, {x})",
    tex=r"\operatorname{atan2}({y}, {x})",
    elementwise=True,
    numpy=[np.arctan2],
    samples=binary(off_zero, off_zero),
    edges=_corner,
)
def atan2(y, x):
    """The angle, from -π to π, of the point with the ordinate ``y`` and the abscissa ``x``; its gradient at 0, 0 is 0.

    Source: NumPy's ``arctan2``; DLMF 4.23. Raises ``ShapeError`` for shapes that do not broadcast.

    >>> import tinygraph as tg
    >>> tg.atan2(np.array([1.0, 0.0]), np.array([1.0, -2.0])).round(4)
    array([0.7854, 3.1416])
    """
    return np.arctan2(y, x)


@atan2.vjp
def atan2_vjp(dangle, angle, y, x) -> Any:
    length = hypot(y, x)
    length = where(length == 0, 1.0, length)
    return lambda: dangle * (x / length) / length, lambda: -(dangle * (y / length) / length)


@smooth(np.reciprocal, formula="1 / {x}", tex=r"\frac{1}{{x}}", draw=off_zero)
def reciprocal(dy, y, x):
    """One divided by each element.

    Source: the quotient rule. Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.reciprocal(np.array([2, 4]))
    array([0.5 , 0.25])
    """
    return -(dy * y * y)


@smooth(np.sin, tex=r"\sin({x})")
def sin(dy, y, x):
    """Sine of angles in radians.

    Source: DLMF 4.14 and 4.20. Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.sin(np.array([0.0, np.pi / 2]))
    array([0., 1.])
    """
    return dy * cos(x)


@smooth(np.cos, tex=r"\cos({x})")
def cos(dy, y, x):
    """Cosine of angles in radians.

    Source: DLMF 4.14 and 4.20. Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.cos(np.array([0.0, np.pi]))
    array([ 1., -1.])
    """
    return -(dy * sin(x))


@smooth(np.tan, tex=r"\tan({x})", draw=_inside)
def tan(dy, y, x):
    """Tangent of angles in radians.

    Source: DLMF 4.14 and 4.20. Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.tan(np.array([0.0, np.pi / 4])).round(6)
    array([0., 1.])
    """
    return dy * (1 + y * y)


@smooth(np.arcsin, tex=r"\arcsin({x})", draw=_inside)
def asin(dy, y, x):
    """The angle, from -π/2 to π/2, whose sine is ``x``; NaN outside -1..1, and of infinite slope at its ends.

    Source: DLMF 4.23 and 4.24. Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.asin(np.array([0.0, 1.0])).round(4)
    array([0.    , 1.5708])
    """
    return dy / sqrt((1 - x) * (1 + x))


@smooth(np.arccos, tex=r"\arccos({x})", draw=_inside)
def acos(dy, y, x):
    """The angle, from 0 to π, whose cosine is ``x``; NaN outside -1..1, and of infinite slope at its ends.

    Source: DLMF 4.23 and 4.24. Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.acos(np.array([0.0, 1.0])).round(4)
    array([1.5708, 0.    ])
    """
    return -(dy / sqrt((1 - x) * (1 + x)))


@smooth(np.arctan, tex=r"\arctan({x})")
def atan(dy, y, x):
    """The angle, from -π/2 to π/2, whose tangent is ``x``.

    Source: DLMF 4.23 and 4.24. Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.atan(np.array([0.0, 1e300])).round(4)
    array([0.    , 1.5708])
    """
    # 1 + x² as a square of what does not overflow.
    length = hypot(x, 1.0)
    return dy / length / length


@smooth(np.sinh, tex=r"\sinh({x})")
def sinh(dy, y, x):
    """Hyperbolic sine.

    Source: DLMF 4.28 and 4.34. Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.sinh(np.array([0.0, 1.0])).round(4)
    array([0.    , 1.1752])
    """
    return dy * cosh(x)


@smooth(np.cosh, tex=r"\cosh({x})")
def cosh(dy, y, x):
    """Hyperbolic cosine.

    Source: DLMF 4.28 and 4.34. Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.cosh(np.array([0.0, 1.0])).round(4)
    array([1.    , 1.5431])
    """
    return dy * sinh(x)


@smooth(np.arcsinh, tex=r"\operatorname{arsinh}({x})")
def asinh(dy, y, x):
    """The number whose hyperbolic sine is ``x``.

    Source: DLMF 4.37 and 4.38. Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.asinh(np.array([0.0, 1e300])).round(4)
    array([  0.    , 691.4687])
    """
    return dy / hypot(x, 1.0)


@smooth(np.arccosh, tex=r"\operatorname{arcosh}({x})", draw=_above_one)
def acosh(dy, y, x):
    """The number from 0 on whose hyperbolic cosine is ``x``; NaN below 1, and of infinite slope there.

    Source: DLMF 4.37 and 4.38. Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.acosh(np.array([1.0, 1e300])).round(4)
    array([  0.    , 691.4687])
    """
    return dy / (sqrt(x - 1) * sqrt(x + 1))


@smooth(np.arctanh, tex=r"\operatorname{artanh}({x})", draw=_inside)
def atanh(dy, y, x):
    """The number whose hyperbolic tangent is ``x``; infinite at -1 and 1, NaN outside.

    Source: DLMF 4.37 and 4.38. Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.atanh(np.array([0.0, 0.5])).round(4)
    array([0.    , 0.5493])
    """
    return dy / ((1 - x) * (1 + x))
