"""Powers, exponentials, logarithms and the error function, element by element.

DLMF is NIST's Digital Library of Mathematical Functions (dlmf.nist.gov), by chapter and section. What is written under
``@smooth`` is the gradient rule; the forward computation is NumPy's function of the same name.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygraph.errors import AttributeValueError
from tinygraph.graph import OPERATIONS, Edge, OpFunction, Sample, op
from tinygraph.ops.comparison.comparison import where
from tinygraph.ops.elementwise.gaussian import erf_of, normal_cdf_of, normal_pdf_of
from tinygraph.ops.samples import Draw, binary, normal, off_zero, positive, unary
from tinygraph.ops.sums import floating, wide


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
        text = formula or f"{rule.__name__}({{x}})"
        make = op(formula=text, tex=tex, elementwise=True, holomorphic=True, numpy=[ufunc], samples=unary(draw))
        function = make(forward)
        function.vjp(rule)
        return function

    return made


# NumPy's power takes 60 ns an element for any exponent but 2.
_PRODUCTS: dict[float, Callable[[Any], Any]] = {
    -1: lambda x: 1 / x,
    3: lambda x: x * x * x,
    4: lambda x: np.square(x * x),
}


@op(
    formula="{x} ^ {y}",
    symbol="**",
    elementwise=True,
    holomorphic=True,
    numpy=[np.power],
    samples=binary(positive, normal),
    # 0 ** 2, 0 ** 1, 0 ** 0 and 0 ** -1.
    edges=[
        Edge(Sample([0.0, 0.0, 0.0], [2.0, 1.0, 0.0]), [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]),
        Edge(Sample([0.0], [-1.0]), [-np.inf], [-np.inf]),
    ],
)
def power(x, y):
    """``x`` to the power ``y``, broadcast.

    The gradient of the exponent takes ``log(x)`` as 0 where ``x`` is negative, and at 0 but for negative exponents, as the
    limit of ``x**y log(x)`` at 0 is.

    Source: DLMF 4.2 (powers). Raises ``ShapeError`` for shapes that do not broadcast.

    >>> import tinygraph as tg
    >>> tg.power(np.array([2.0, 3.0]), 2)
    array([4., 9.])
    """
    if isinstance(x, int) and isinstance(y, int) and abs(y) * x.bit_length() > 1024:
        # Python's integers have no limit, and their powers can take forever.
        raise AttributeValueError(f"power: {x} ** {y} is too large")
    if np.ndim(y) == 0 and np.ndim(x) and x.dtype.kind == "f" and np.result_type(x, y) == x.dtype:
        product = _PRODUCTS.get(float(y))
        return x**y if product is None else product(x)
    return x**y


@power.vjp
def power_vjp(dy, y, base, exponent) -> Any:
    def of_exponent():
        return dy * y * log(where((base > 0) | ((base == 0) & (exponent < 0)), base, 1.0))

    # Where the exponent is 0 the factor before the power is 0, and the power itself must not be 0 ** -1.
    return lambda: dy * (exponent * base ** where(exponent == 0, 1, exponent - 1)), of_exponent


@smooth(np.exp, tex=r"\exp({x})")
def exp(dy, y, x):
    """e to the power of each element; it is its own derivative.

    Source: DLMF 4.2 and 4.7. Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.exp(np.array([0.0, 1.0])).round(4)
    array([1.    , 2.7183])
    """
    return dy * y


@smooth(np.log, tex=r"\log({x})", draw=positive)
def log(dy, y, x):
    """Natural logarithm; minus infinity at 0, NaN below.

    Source: DLMF 4.2 and 4.7. Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.log(np.array([1.0, np.e]))
    array([0., 1.])
    """
    return dy / x


@smooth(np.log2, formula="log₂({x})", tex=r"\log_{2}({x})", draw=positive)
def log2(dy, y, x):
    """Logarithm to the base 2; minus infinity at 0, NaN below.

    Source: DLMF 4.2 and 4.7. Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.log2(np.array([1.0, 8.0]))
    array([0., 3.])
    """
    return dy / (x * math.log(2))


@smooth(np.log10, formula="log₁₀({x})", tex=r"\log_{10}({x})", draw=positive)
def log10(dy, y, x):
    """Logarithm to the base 10; minus infinity at 0, NaN below.

    Source: DLMF 4.2 and 4.7. Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.log10(np.array([1.0, 1000.0]))
    array([0., 3.])
    """
    return dy / (x * math.log(10))


@smooth(np.log1p, formula="log(1 + {x})", tex=r"\log(1 + {x})", draw=positive)
def log1p(dy, y, x):
    """Natural logarithm of ``1 + x``, exact for small ``x``.

    Source: DLMF 4.2 and 4.7. Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.log1p(np.array([0.0, 1e-12]))
    array([0.e+00, 1.e-12])
    """
    return dy / (1 + x)


@smooth(np.exp2, formula="2 ^ {x}", tex="2^{{x}}")
def exp2(dy, y, x):
    """2 to the power of each element.

    Source: DLMF 4.2 and 4.7. Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.exp2(np.array([0.0, 3.0]))
    array([1., 8.])
    """
    return dy * y * math.log(2)


@smooth(np.expm1, formula="exp({x}) - 1", tex=r"\exp({x}) - 1")
def expm1(dy, y, x):
    """``exp(x) - 1``, exact for small ``x``.

    Source: DLMF 4.2 and 4.7. Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.expm1(np.array([0.0, 1e-12]))
    array([0.e+00, 1.e-12])
    """
    return dy * exp(x)


@smooth(np.sqrt, formula="√{x}", tex=r"\sqrt{{x}}", draw=positive)
def sqrt(dy, y, x):
    """Square root; its slope is infinite at 0.

    Source: DLMF 4.2 (powers). Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.sqrt(np.array([4.0, 9.0]))
    array([2., 3.])
    """
    return dy / (2 * y)


@smooth(np.cbrt, formula="∛{x}", tex=r"\sqrt[3]{{x}}", draw=off_zero)
def cbrt(dy, y, x):
    """Cube root, also of negative numbers; its slope is infinite at 0.

    Source: DLMF 4.2 (powers). Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.cbrt(np.array([-8.0, 27.0]))
    array([-2.,  3.])
    """
    return dy / (3 * y * y)


# exp(-1e4) is 0 in any floating point type.
_FAR = 1e4
_tie = [Edge(Sample([1e16], [1e16]), [0.5], [0.5])]


@op(
    formula="log(exp({x}) + exp({y}))",
    tex=r"\log(\exp({x}) + \exp({y}))",
    elementwise=True,
    numpy=[np.logaddexp],
    samples=binary(),
    edges=_tie,
)
def logaddexp(x, y):
    """Logarithm of a sum of two exponentials, without overflow; its gradients are ``sigmoid(x - y)`` and ``sigmoid(y - x)``.

    Source: NumPy's ``logaddexp``. Raises ``ShapeError`` for shapes that do not broadcast.

    >>> import tinygraph as tg
    >>> tg.logaddexp(np.array([0.0, 1e4]), np.array([0.0, 1e4])).round(4)
    array([6.93100000e-01, 1.00006931e+04])
    """
    a, b = wide(x), wide(y)
    with np.errstate(invalid="ignore", over="ignore"):
        # Two infinities differ by NaN, and any number so large does not count.
        apart = np.fmin(np.abs(a - b), _FAR)
    return (np.maximum(a, b) + one_more(-apart)).astype(np.result_type(floating(x), floating(y)))


def one_more(x: Any) -> Any:
    """Return log(1 + exp(x)) of real ``x <= 0``. NumPy's ``logaddexp`` does not vectorize, and takes ten times as long.

    >>> one_more(np.array([-np.inf, 0.0])).round(4)
    array([0.    , 0.6931])
    """
    if x.dtype.kind == "c":
        raise TypeError("must be real numbers, not complex")
    return np.log1p(np.exp(x))


@logaddexp.vjp
def logaddexp_vjp(dy, y, x1, x2) -> Any:
    sigmoid = OPERATIONS["sigmoid"]
    return lambda: dy * sigmoid(x1 - x2), lambda: dy * sigmoid(x2 - x1)


@op(formula="erf({x})", tex=r"\operatorname{erf}({x})", elementwise=True, samples=unary())
def erf(x):
    """The error function, 2/√π times the integral of exp(-t²) from 0 to ``x``.

    Source: DLMF 7.2. Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.erf(np.array([0.0, 1.0])).round(6)
    array([0.      , 0.842701])
    """
    return erf_of(floating(x))


@erf.vjp
def erf_vjp(dy, y, x):
    return dy * (2 / math.sqrt(math.pi)) * exp(-(x * x))


@op(formula="Φ({x})", tex=r"\Phi({x})", elementwise=True, samples=unary())
def normal_cdf(x):
    """The chance that a standard normal number is below ``x``, to rounding in the tail too.

    Source: DLMF 7.2 and 7.18. Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.normal_cdf(np.array([-6.0, 0.0, 1.0])).round(12)
    array([9.87000000e-10, 5.00000000e-01, 8.41344746e-01])
    """
    return normal_cdf_of(floating(x))


@normal_cdf.vjp
def normal_cdf_vjp(dy, y, x):
    return dy * normal_pdf(x)


@op(formula="φ({x})", tex=r"\varphi({x})", elementwise=True, samples=unary())
def normal_pdf(x):
    """The density of the standard normal distribution, ``exp(-x²/2) / √(2π)``.

    Source: DLMF 7.18. Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.normal_pdf(np.array([0.0, 1.0])).round(6)
    array([0.398942, 0.241971])
    """
    return normal_pdf_of(floating(x))


@normal_pdf.vjp
def normal_pdf_vjp(dy, y, x):
    return -(dy * x * y)
