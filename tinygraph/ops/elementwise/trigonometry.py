"""Trigonometric and hyperbolic functions, and what else is one smooth function of each element.

DLMF is NIST's Digital Library of Mathematical Functions (dlmf.nist.gov), by chapter and section. What is written under
``@smooth`` is the gradient rule; the forward computation is NumPy's function of the same name.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygraph.graph.arrays import Array
from tinygraph.graph.function import OpFunction, op
from tinygraph.graph.op import Shape
from tinygraph.graph.record import Edge, Sample
from tinygraph.ops.elementwise.exponential import sqrt
from tinygraph.ops.floating import floating
from tinygraph.ops.length import along
from tinygraph.ops.samples import Draw, binary, normal, off_zero, unary


def smooth(
    ufunc: Any, formula: str = "", tex: str = "", draw: Draw = normal
) -> Callable[[Callable[..., Any]], OpFunction]:
    """Make an operation of one of NumPy's functions and the gradient rule below the decorator, which names and explains it.

    >>> @smooth(np.exp2)
    ... def power_of_two(dy, y, x):
    ...     return dy * y * np.log(2)
    >>> power_of_two(np.array([1.0, 3.0]))
    array([2., 8.])
    """

    def made(rule: Callable[..., Any]) -> OpFunction:
        def forward(x):
            return ufunc(floating(x))

        forward.__name__, forward.__doc__, forward.__module__ = rule.__name__, rule.__doc__, rule.__module__
        function = op(
            formula=formula or f"{rule.__name__}({{x}})",
            tex=tex,
            elementwise=True,
            holomorphic=True,
            numpy=[ufunc],
            samples=unary(draw),
        )(forward)
        function.vjp(rule)
        return function

    return made


def _inside(rng: np.random.Generator, shape: Shape) -> Array:
    """Numbers between -0.9 and 0.9."""
    return rng.uniform(-0.9, 0.9, shape)


def _above_one(rng: np.random.Generator, shape: Shape) -> Array:
    """Numbers between 1.5 and 3."""
    return rng.uniform(1.5, 3.0, shape)


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
