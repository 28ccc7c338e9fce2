"""What generated kernels compute for one element: an expression of Numba for each operation, and the functions these need.

``T`` is the kernel's floating type, ``I`` the integer type of its size. Numbers are written ``T(2)``: Numba would compute
``2 * x`` of float32 in float64. The functions have no branches and no calls, so that LLVM computes many elements at once;
math.exp would be a call for each element. Their errors are a few units in the last place.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

from tinygraph.engines.plan.kernels.normal import NormalCdfGivenPdf
from tinygraph.engines.plan.node import is_own
from tinygraph.graph import Op
from tinygraph.ops.activation import activation
from tinygraph.ops.comparison import comparison
from tinygraph.ops.elementwise import arithmetic, cast, exponential, gaussian


def _clipped(op: comparison.Clip) -> str:
    low = "{0}" if op.low is None else f"(T({op.low!r}) if {{0}} < T({op.low!r}) else {{0}})"
    return low if op.high is None else f"(T({op.high!r}) if {low} > T({op.high!r}) else {low})"


# Operators of Python, which the operations have as their symbols.
_INFIX = ["+", "-", "*", "/", ">", ">=", "<", "<=", "==", "!="]
_ROOT = math.sqrt(2 * math.pi)
# The expression of other operations; a function where it depends on attributes.
EXPRESSIONS: dict[type[Op], str | Callable[[Any], str]] = {
    arithmetic.negative.op: "-{0}",
    arithmetic.abs.op: "abs({0})",
    arithmetic.sign.op: "({0} if {0} != {0} else T({0} > T(0)) - T({0} < T(0)))",
    comparison.maximum.op: "({0} if ({0} > {1}) | ({0} != {0}) else {1})",
    comparison.minimum.op: "({0} if ({0} < {1}) | ({0} != {0}) else {1})",
    comparison.gate.op: "({0} if {1} else T(0))",
    comparison.where.op: "({1} if {0} else {2})",
    comparison.logical_and.op: "{0} & {1}",
    comparison.logical_or.op: "{0} | {1}",
    comparison.logical_not.op: "not {0}",
    comparison.Clip: _clipped,
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
    NormalCdfGivenPdf: f"cdf_of_bell({{0}}, {{1}} * T({_ROOT!r}))",
    exponential.normal_pdf.op: f"bell({{0}}) / T({_ROOT!r})",
}
# Powers by constant exponents, which NumPy computes as these products too.
POWERS = {-1.0: "T(1) / {0}", 2.0: "{0} * {0}", 3.0: "{0} * {0} * {0}", 4.0: "({0} * {0}) * ({0} * {0})"}
# One operation alone is as fast in NumPy, unless it is one of these. Others cost less to compute a second time than their
# results to write to memory and to read again.
DEAR = (
    *(activation.sigmoid.op, activation.silu.op, activation.tanh.op, activation.leaky_relu.op, activation.softsign.op),
    *(exponential.exp.op, exponential.normal_cdf.op, exponential.normal_pdf.op, NormalCdfGivenPdf),
)


def expression(op: Op, count: int) -> str | None:
    """Return the expression of an operation on ``count`` inputs for one element of each, ``None`` if it has none.

    >>> import tinygraph as tg
    >>> expression(tg.add.op(), 2), expression(tg.leaky_relu.op(slope=0.1), 1)
    ('{0} + {1}', '({0} if {0} > T(0) else T(0.1) * {0})')
    """
    found = EXPRESSIONS.get(type(op))
    if found is None and op.symbol in _INFIX and op.elementwise and is_own(op):
        return f" {op.symbol} ".join(f"{{{i}}}" for i in range(count))
    return found(op) if callable(found) else found


# Least and largest arguments of exp, log(2) in two parts, bias and digits of floating numbers, how many terms exp takes, and
# what keeps the upper half of the digits.
_NUMBERS = {
    4: (-104.0, 88.8, 0.693359375, -2.12194440e-4, 127, 23, 8, -4096),
    8: (-746.0, 709.9, 6.93145751953125e-1, 1.42860682030941723212e-6, 1023, 52, 14, -134217728),
}


def functions(itemsize: int) -> str:
    """Return the functions for float32 or float64, as source.

    >>> "def sigmoid(x):" in functions(4)
    True
    """
    least, most, high, low, bias, digits, terms, upper = _NUMBERS[itemsize]
    k, largest, complement = gaussian.COMPLEMENT[itemsize]
    # t, from -1 to 1, is linear in w = 1/(z + k).
    first, last = 1 / k, 1 / (largest + k)
    return f"""
@helper
def parts(x):
    # exp(x) = (1 + p) * first * second, where x = n log(2) + r and p = exp(r) - 1.
    y = T({least}) if x < T({least}) else x
    y = T({most}) if y > T({most}) else y
    n = np.floor(y * T({math.log2(math.e)!r}) + T(0.5))
    r = y - n * T({high}) - n * T({low})
    half = I(n) >> I(1)
    first = I((half + I({bias})) << I({digits})).view(T)
    second = I((I(n) - half + I({bias})) << I({digits})).view(T)
    return r + r * r * ({_horner("r", [1 / math.factorial(i) for i in range(2, terms)])}), first, second

@helper
def exp(x):
    p, first, second = parts(x)
    return (T(1) + p) * first * second

@helper
def tanh(x):
    p, first, second = parts(T(-2) * abs(x))
    scale = first * second
    less = p * scale + (scale - T(1))
    y = less / (T(-2) - less)
    return y if x >= T(0) else -y

@helper
def sigmoid(x):
    small = exp(-abs(x))
    return (T(1) if x >= T(0) else small) / (T(1) + small)

@helper
def bell(x):
    # exp(-x**2 / 2). The square has an exact part and a small one: its rounding would grow.
    y = T(-50) if x < T(-50) else x
    y = T(50) if y > T(50) else y
    upper = I(T(y).view(I) & I({upper})).view(T)
    rest = y - upper
    return exp(rest * (upper + upper + rest) * T(-0.5)) * exp(upper * upper * T(-0.5))

@helper
def cdf_of_bell(x, bell):
    w = T(1) / (abs(x) * T({math.sqrt(0.5)!r}) + T({k}))
    t = w * T({2 / (first - last)!r}) - T({(first + last) / (first - last)!r})
    tail = bell * ({_horner("t", complement)}) * w * T(0.5)
    return T(1) - tail if x >= T(0) else tail
"""


def _horner(x: str, coefficients: Sequence[float]) -> str:
    first, *rest = coefficients
    return f"T({first!r}) + {x} * ({_horner(x, rest)})" if rest else f"T({first!r})"
