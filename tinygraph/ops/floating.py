"""Numbers as functions of real numbers need them: integers as floating point, and float16 as float32 where it adds up."""

from typing import Any

import numpy as np

from tinygraph.graph import OPERATIONS


def floating(x) -> Any:
    """Return ``x`` as floating point numbers, float64 for integers: small integers would wrap or lose precision.

    >>> floating(np.uint8([200])) - 201
    array([-1.])
    """
    x = np.asarray(x)
    return x if x.dtype.kind in "fc" else x.astype(np.result_type(x.dtype, 0.0))


def widened(x) -> Any:
    """Return a float16 array or tensor as float32, in which it is squared and added up, and any other unchanged.

    >>> widened(np.float16([300])) ** 2
    array([90000.], dtype=float32)
    """
    return OPERATIONS["cast"](x, "float32") if x.dtype.char == "e" else x


def narrowed(y, x) -> Any:
    """Return what was computed from ``widened(x)`` in the dtype of ``x``."""
    return OPERATIONS["cast"](y, "float16") if x.dtype.char == "e" else y


def wide(x) -> Any:
    """Return an array as floating point numbers of at least 32 bits.

    >>> wide(np.float16([1])).dtype, wide(np.uint8([1])).dtype
    (dtype('float32'), dtype('float64'))
    """
    return widened(floating(x))


def countable(count: int, x) -> Any:
    """Return a count to divide ``x`` by, in float32 where the float16 of ``x`` does not hold it.

    >>> countable(3, np.float16([1])), countable(100_000, np.float16([1]))
    (3, np.float32(100000.0))
    """
    return np.float32(count) if x.dtype.char == "e" and count > _EXACT else count


# The integers up to here are float16 numbers.
_EXACT = 2048
