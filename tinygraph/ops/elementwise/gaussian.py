"""The error function and the normal distribution on arrays, by series that NumPy computes for many elements at once.

For ``z >= 0`` the complement is ``erfc(z) = exp(-z²) w C(t)``, where ``w = 1/(z + k)`` and ``t``, from -1 to 1, is linear in
``w``, as in M. M. Shepherd and J. G. Laframboise, *Chebyshev approximation of (1+2x)exp(x²)erfc x in 0 ≤ x < ∞*, 1981. Here
``C`` is fitted where erfc does not underflow, and written in powers of ``t``. Near zero ``erf(z) = z N(z²)``. Both end where
their error falls below the rounding.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygraph.graph import Array
from tinygraph.ops.comparison.comparison import where_of

# By the bytes of a number: k, the largest z, and the coefficients of C from the constant term on.
COMPLEMENT = {
    4: (
        *(2.0, 9.4),
        (
            *(1.1509144233302016, 0.6498313806663278, 0.2001463714337769, 0.011055406410962348),
            *(-0.011853526038652496, -0.0011254052403240576, 0.0011019612120546768, 2.7547617299548553e-05),
            -9.82434427494491e-05,
        ),
    ),
    8: (
        *(3.5, 26.6),
        (
            *(1.2062146572720787, 0.9883393441093202, 0.6761462747245569, 0.38205869884059146, 0.17378981433790475),
            *(0.06014554125553881, 0.013582110986849203, 0.0006784592327256673, -0.0007654813144480936),
            *(-0.00023091918980883128, 1.9291223244727604e-05, 2.3480183478889412e-05, 9.658551834292662e-07),
            *(-2.248397045050382e-06, -2.2580394246352825e-07, 2.3755421859277315e-07, 2.599369712010173e-08),
            *(-2.78006696172438e-08, -2.0636032275103236e-09, 3.1548570916153585e-09, 8.393449940266972e-11),
            -2.386627593501806e-10,
        ),
    ),
}
_NEAR_ZERO = {
    4: (
        *(1.1283791658815026, -0.3761262690358044, 0.11283597463488053, -0.026854328796067244, 0.005189311942686617),
        *(-0.0008018854992786387, 7.882497110086663e-05),
    ),
    8: (
        *(1.1283791670955126, -0.37612638903183543, 0.1128379167094513, -0.026866170643256995, 0.005223977607269946),
        *(-0.0008548325982543225, 0.00012055295112667001, -1.4924740785377576e-05, 1.6447471190594618e-06),
        *(-1.6208829856810202e-07, 1.3721520406351094e-08, -7.798543850549947e-10),
    ),
}
# Python numbers: a number of NumPy would be multiplied in float64.
_ROOT, _HALF_ROOT = math.sqrt(2 * math.pi), math.sqrt(0.5)
# Beyond this every chance is 0 or 1, and no power overflows.
_FAR = 50.0
# So many bytes are computed at a time that they stay in the cache from one call of NumPy to the next. With less than this,
# calls are so short that threads spend their time waiting for Python's lock.
_BLOCK = 1 << 19
# What keeps the upper half of the digits of a number, so that its square is exact.
_UPPER: dict[int, Any] = {4: np.uint32(0xFFFFF000), 8: np.uint64(0xFFFFFFFFF8000000)}


def erf_of(x: Array, out: Array | None = None, scratch: Sequence[Array] | None = None) -> Array:
    """Return the error function of an array of floating numbers, in its shape and dtype, to a few units in the last place.

    ``out``, for this and the functions below, is an array that lies in memory as ``x`` does, without gaps, and ``scratch`` what
    ``scratch_for`` returns.

    Source: DLMF 7.2; the series are described at the head of this file.

    >>> erf_of(np.array([-np.inf, 0.0, 0.5])).round(6)
    array([-1.    ,  0.    ,  0.5205])
    """
    return _in_blocks(_erf, x, out, scratch)


def normal_cdf_of(
    x: Array, out: Array | None = None, scratch: Sequence[Array] | None = None, pdf: Array | None = None
) -> Array:
    """Return the chance that a standard normal number is below each element, also in the tail with a few wrong units.

    ``pdf`` is what ``normal_pdf_of(x)`` returns, where that is known: it takes about a third of the time.

    Source: DLMF 7.18; the series are described at the head of this file.

    >>> normal_cdf_of(np.array([-6.0, 0.0, np.inf]))
    array([9.86587645e-10, 5.00000000e-01, 1.00000000e+00])
    """
    return _in_blocks(_normal_cdf if pdf is None else _normal_cdf_of_bell, x, out, scratch, pdf)


def normal_pdf_of(x: Array, out: Array | None = None, scratch: Sequence[Array] | None = None) -> Array:
    """Return the density of the standard normal distribution at each element.

    Source: DLMF 7.18.

    >>> normal_pdf_of(np.array([0.0, np.inf])).round(6)
    array([0.398942, 0.      ])
    """
    return _in_blocks(_normal_pdf, x, out, scratch)


# The functions below compute in five arrays: finding memory for each result costs more than the arithmetic. The first holds
# ``x``, and is kept; the second gets the result.


def _erf(x: Array, result: Array, z: Array, first: Array, second: Array) -> None:
    np.abs(x, z)
    _bell(x, 1.0, result, first, second)
    _complement(z, result, first, second)
    np.subtract(1, result, result)
    np.abs(x, z)
    np.square(z, first)
    _polynomial(first, _NEAR_ZERO[x.itemsize], second)
    second *= z
    where_of(z < 1, second, result, out=result)
    np.copysign(result, x, result)


def _normal_cdf(x: Array, result: Array, z: Array, first: Array, second: Array) -> None:
    _bell(x, 0.5, result, first, second)
    _normal_cdf_of_bell(x, result, z, first, second)


def _normal_cdf_of_bell(x: Array, result: Array, z: Array, first: Array, second: Array) -> None:
    """As ``_normal_cdf``, where ``result`` holds ``exp(-x**2/2)``."""
    np.abs(x, z)
    z *= _HALF_ROOT
    _complement(z, result, first, second)
    result *= 0.5
    # Half of the complement for negative x, and 1 minus it for others.
    np.subtract(x >= 0, result, result)
    np.abs(result, result)


def _normal_pdf(x: Array, result: Array, z: Array, first: Array, second: Array) -> None:
    _bell(x, 0.5, result, first, second)
    result *= 1 / _ROOT


def _complement(z: Array, bell: Array, t: Array, value: Array) -> None:
    """Put ``erfc(z)`` into ``bell``, which holds ``exp(-z²)``; all four are overwritten."""
    k, largest, coefficients = COMPLEMENT[z.itemsize]
    low, high = 1 / (largest + k), 1 / k
    z += k
    np.divide(1, z, z)
    np.multiply(z, 2 / (high - low), t)
    t -= (high + low) / (high - low)
    bell *= _polynomial(t, coefficients, value)
    bell *= z


def _bell(x: Array, scale: float, bell: Array, rest: Array, spare: Array) -> None:
    """Put ``exp(-scale * x**2)`` into ``bell``. The rounding of the square, which would grow, is a factor of its own."""
    upper = _UPPER[x.itemsize]
    np.bitwise_and(x.view(upper.dtype), upper, bell.view(upper.dtype))
    np.subtract(x, bell, rest)
    # x² = upper² + (x - upper) (x + upper), of which the first is exact; then what their rounded sum leaves.
    np.add(x, bell, spare)
    rest *= spare
    np.square(bell, bell)
    np.add(bell, rest, spare)
    np.subtract(spare, bell, bell)
    rest -= bell
    spare *= -scale
    np.exp(spare, bell)
    # exp(-scale * rest), which is as near to 1 as the rounding of x² is to 0.
    rest *= -scale
    rest += 1
    bell *= rest


def _polynomial(t: Array, coefficients: Sequence[float], value: Array) -> Array:
    """Return a polynomial by Horner's rule, in ``value``."""
    last, *others = _arrays(coefficients, t.dtype)
    np.copyto(value, last)
    for coefficient in others:
        np.multiply(value, t, value)
        np.add(value, coefficient, value)
    return value


@functools.cache
def _arrays(coefficients: Sequence[float], dtype: np.dtype[Any]) -> list[Array]:
    """Return numbers, the last first, as arrays, to which NumPy adds in half the time that it takes for scalars."""
    return [np.asarray(coefficient, dtype) for coefficient in reversed(coefficients)]


def scratch_for(x: Array) -> list[Array]:
    """Return the arrays in which the functions of an array are computed, a block at a time.

    >>> [array.shape for array in scratch_for(np.zeros(100, np.float32))]
    [(100,), (100,), (100,), (100,), (100,)]
    """
    dtype = np.dtype(np.float32 if x.dtype.char in "ef" else np.float64)
    return [np.empty(min(x.size, _BLOCK // dtype.itemsize), dtype) for _ in range(5)]


def _in_blocks(
    function: Callable[..., None],
    x: Array,
    out: Array | None,
    scratch: Sequence[Array] | None,
    pdf: Array | None = None,
) -> Array:
    """Apply a function of float32 or float64 to the elements of an array in the order of memory."""
    if x.dtype.kind != "f":
        raise TypeError("must be real numbers, not complex")
    order = sorted(range(x.ndim), key=lambda axis: -x.strides[axis])
    lying = x.transpose(order)
    flat = np.ravel(lying)
    scratch = scratch_for(x) if scratch is None else scratch
    result = np.empty(flat.shape, x.dtype) if out is None else out.transpose(order).reshape(-1)
    bell = None if pdf is None else np.ravel(pdf.transpose(order))
    size = max(scratch[0].size, 1)
    for start in range(0, flat.size, size):
        block = slice(start, start + size)
        number, found, *rest = (array[: flat[block].size] for array in scratch)
        np.clip(flat[block], -_FAR, _FAR, number)
        if bell is not None:
            np.multiply(bell[block], _ROOT, found)
        function(number, found, *rest)
        result[block] = found
    return result.reshape(lying.shape).transpose(np.argsort(order))
