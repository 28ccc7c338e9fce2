"""What generated kernels compute for one element: an expression of Numba for each operation, and the functions these need.

``T`` is the kernel's floating type, ``I`` the integer type of its size. Numbers are written ``T(2)``: Numba would compute
``2 * x`` of float32 in float64. The functions have no branches and no calls, so that LLVM computes many elements at once;
math.exp would be a call for each element. Their errors are a few units in the last place.
"""

import math
from collections.abc import Callable
from typing import Any

from tinygraph.engines.plan.kernels.normal import NormalCdfGivenPdf
from tinygraph.graph import Op
from tinygraph.ops.activation import activation
from tinygraph.ops.comparison import comparison
from tinygraph.ops.elementwise import arithmetic, cast, exponential, gaussian

_SMALLEST = "({0} if ({0} < {1}) | ({0} != {0}) else {1})"
_LARGEST = "({0} if ({0} > {1}) | ({0} != {0}) else {1})"

# The expression for each operation; a function where it depends on attributes.
EXPRESSIONS: dict[type[Op], str | Callable[[Any], str]] = {
    arithmetic.add.op: "{0} + {1}",
    arithmetic.subtract.op: "{0} - {1}",
    arithmetic.multiply.op: "{0} * {1}",
    arithmetic.divide.op: "{0} / {1}",
    arithmetic.negative.op: "-{0}",
    arithmetic.abs.op: "abs({0})",
    arithmetic.sign.op: "({0} if {0} != {0} else T({0} > T(0)) - T({0} < T(0)))",
    comparison.greater.op: "{0} > {1}",
    comparison.greater_equal.op: "{0} >= {1}",
    comparison.less.op: "{0} < {1}",
    comparison.less_equal.op: "{0} <= {1}",
    comparison.equal.op: "{0} == {1}",
    comparison.not_equal.op: "{0} != {1}",
    comparison.maximum.op: _LARGEST,
    comparison.minimum.op: _SMALLEST,
    comparison.gate.op: "({0} if {1} else T(0))",
    comparison.where.op: "({1} if {0} else {2})",
    comparison.logical_and.op: "{0} & {1}",
    comparison.logical_or.op: "{0} | {1}",
    comparison.logical_not.op: "not {0}",
    comparison.Clip: lambda op: _clipped(op),
    cast.Cast: "T({0})",
    activation.relu.op: "(T(0) if {0} <= T(0) else {0})",
    activation.leaky_relu.op: lambda op: f"({{0}} if {{0}} > T(0) else T({op.slope!r}) * {{0}})",
    activation.sigmoid.op: "sigmoid({0})",
    activation.silu.op: "{0} * sigmoid({0})",
    activation.tanh.op: "tanh({0})",
    activation.softsign.op: "{0} / (T(1) + abs({0}))",
    exponential.exp.op: "exp({0})",
    exponential.sqrt.op: "np.sqrt({0})",
    exponential.normal_cdf.op: "cdf_of_bell({0}, bell({0}))",
    NormalCdfGivenPdf: f"cdf_of_bell({{0}}, {{1}} * T({math.sqrt(2 * math.pi)!r}))",
    exponential.normal_pdf.op: "normal_pdf({0})",
}
# Powers by constant exponents, which NumPy computes as these products too.
POWERS = {-1.0: "T(1) / {0}", 2.0: "{0} * {0}", 3.0: "{0} * {0} * {0}", 4.0: "({0} * {0}) * ({0} * {0})"}
# Computing these a second time costs less than writing the result to memory and reading it again.
CHEAP = (
    *(arithmetic.add.op, arithmetic.subtract.op, arithmetic.multiply.op, arithmetic.negative.op, arithmetic.abs.op),
    *(comparison.greater.op, comparison.greater_equal.op, comparison.less.op, comparison.less_equal.op),
    *(comparison.equal.op, comparison.not_equal.op, comparison.gate.op, comparison.where.op, activation.relu.op),
)
# One operation alone is as fast in NumPy, unless it is one of these.
ALONE = (
    *(activation.sigmoid.op, activation.silu.op, activation.tanh.op, activation.leaky_relu.op, activation.softsign.op),
    *(exponential.exp.op, exponential.normal_cdf.op, exponential.normal_pdf.op, NormalCdfGivenPdf),
)


def expression(op: Op) -> str | None:
    """Return the expression of an operation for one element, with ``{0}`` for its first input; ``None`` if it has none.

    >>> import tinygraph as tg
    >>> expression(tg.add.op()), expression(tg.leaky_relu.op(slope=0.1))
    ('{0} + {1}', '({0} if {0} > T(0) else T(0.1) * {0})')
    """
    found = EXPRESSIONS.get(type(op))
    return found(op) if callable(found) else found


def _clipped(op: comparison.Clip) -> str:
    low = "{0}" if op.low is None else f"(T({op.low!r}) if {{0}} < T({op.low!r}) else {{0}})"
    return low if op.high is None else f"(T({op.high!r}) if {low} > T({op.high!r}) else {low})"


def _horner(x: str, coefficients: Any) -> str:
    first, *rest = [f"T({float(c)!r})" for c in coefficients]
    return first if not rest else f"{first} + {x} * ({_horner(x, coefficients[1:])})"


# S. L. Moshier, Cephes: exp(r) after a multiple of log(2) is taken off in two parts, and tanh(x) near zero. The limits of exp,
# and the bias and the number of digits of floating numbers.
_LIMITS = {
    4: (-104.0, 88.8, 0.693359375, -2.12194440e-4, 127, 23),
    8: (-746.0, 709.9, 6.93145751953125e-1, 1.42860682030941723212e-6, 1023, 52),
}
_EXP_4 = (5.0000001201e-1, 1.6666665459e-1, 4.1665795894e-2, 8.3334519073e-3, 1.3981999507e-3, 1.9875691500e-4)
_P = (9.99999999999999999910e-1, 3.02994407707441961300e-2, 1.26177193074810590878e-4)
_Q = (2.0, 2.27265548208155028766e-1, 2.52448340349684104192e-3, 3.00198505138664455042e-6)
_TANH_4 = (-3.33332819422e-1, 1.33314422036e-1, -5.37397155531e-2, 2.06390887954e-2, -5.70498872745e-3)
_TANH_P = (-1.61468768441708447952e3, -9.92877231001918586564e1, -9.64399179425052238628e-1)
_TANH_Q = (4.84406305325125486048e3, 2.23548839060100448583e3, 1.12811678491632931402e2, 1.0)


def functions(itemsize: int) -> str:
    """Return the functions for float32 or float64, as source.

    >>> "def sigmoid(x):" in functions(4)
    True
    """
    least, most, high, low, bias, digits = _LIMITS[itemsize]
    if itemsize == 4:
        power = f"r + s * ({_horner('r', _EXP_4)})"
        near = f"x * s * ({_horner('s', _TANH_4)})"
    else:
        p = f"r * ({_horner('s', _P)})"
        power = f"T(2) * ({p}) / ({_horner('s', _Q)} - {p})"
        near = f"x * s * ({_horner('s', _TANH_P)}) / ({_horner('s', _TANH_Q)})"
    k, largest, complement = gaussian.COMPLEMENT[itemsize]
    # t, from -1 to 1, is linear in w = 1/(z + k).
    first, last = 1 / k, 1 / (largest + k)
    root = math.sqrt(2 * math.pi)
    upper = -4096 if itemsize == 4 else -134217728
    return f"""
@helper
def exp(x):
    y = T({least}) if x < T({least}) else x
    y = T({most}) if y > T({most}) else y
    n = np.floor(y * T({math.log2(math.e)!r}) + T(0.5))
    r = y - n * T({high}) - n * T({low})
    s = r * r
    k = I(n)
    half = k >> I(1)
    first = I((half + I({bias})) << I({digits})).view(T)
    second = I((k - half + I({bias})) << I({digits})).view(T)
    return (T(1) + ({power})) * first * second

@helper
def sigmoid(x):
    small = exp(-abs(x))
    return (T(1) if x >= T(0) else small) / (T(1) + small)

@helper
def tanh(x):
    far = T(1) - T(2) / (exp(T(2) * abs(x)) + T(1))
    s = x * x
    near = x + {near}
    return near if abs(x) < T(0.625) else (far if x > T(0) else -far)

@helper
def bell(x):
    y = T(-50) if x < T(-50) else x
    y = T(50) if y > T(50) else y
    upper = I(T(y).view(I) & I({upper})).view(T)
    rest = y - upper
    return exp(rest * (upper + upper + rest) * T(-0.5)) * exp(upper * upper * T(-0.5))

@helper
def normal_pdf(x):
    return bell(x) / T({root!r})

@helper
def cdf_of_bell(x, bell):
    w = T(1) / (abs(x) * T({math.sqrt(0.5)!r}) + T({k}))
    t = w * T({2 / (first - last)!r}) - T({(first + last) / (first - last)!r})
    tail = bell * ({_horner("t", complement)}) * w * T(0.5)
    return T(1) - tail if x >= T(0) else tail
"""
