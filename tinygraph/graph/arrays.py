"""Arrays of numbers: made of what a user gives, with their dtype and size checked."""

import contextlib
import math
from collections.abc import Iterator, Set
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tinygraph.errors import DTypeError, ShapeError

Array = npt.NDArray[Any]
# NumPy's own limit.
MOST_AXES = 64


class Shaped:
    """Something with a shape, and so with a number of axes and of elements."""

    __slots__ = ()
    if TYPE_CHECKING:
        shape: Any

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)


def numeric_array(value: Any, what: str) -> Array:
    """Return ``value`` as an array of numbers, or raise an error that names ``what`` it is for.

    Numbers in the byte order of another machine, as in a file, are converted to the order of this one.

    >>> numeric_array([1, 2], "tensor")
    array([1, 2])
    >>> numeric_array("one", "tensor")
    Traceback (most recent call last):
    tinygraph.errors.DTypeError: tensor: expected numbers; found <U3 (str)
    """
    if isinstance(value, np.ma.MaskedArray):
        raise DTypeError(f"{what}: a masked array would lose its mask; fill it first")
    if isinstance(value, (list, tuple)) and _holds_tensors(value):
        raise DTypeError(f"{what}: a list of tensors would lose what they were made from; join them with tg.stack")
    try:
        array = np.asarray(value)
    except ValueError as error:
        if "inhomogeneous" not in str(error):
            raise
        raise ShapeError(f"{what}: rows of unequal length do not make an array") from None
    if array.dtype.kind not in "biufc":
        raise DTypeError(f"{what}: expected numbers; found {array.dtype} ({type(value).__name__}){_hint(value, array)}")
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _hint(value: Any, array: Array) -> str:
    """Return what to do about a value that NumPy makes an array of objects or text of, as the end of a sentence."""
    if isinstance(value, (Iterator, Set)):
        return "; make a list of it"
    if array.size and all(isinstance(item, (int, float)) for item in array.flat):
        beyond = any(isinstance(item, int) and not -(2**63) <= item < 2**64 for item in array.flat)
        return "; an integer is too large for 64 bits" if beyond else "; write .astype(float)"
    return "; write .astype(float) if the texts are numbers" if array.dtype.kind in "US" and array.ndim else ""


def _holds_tensors(values: Any) -> bool:
    """Whether nested lists contain a tensor, or anything else that takes over NumPy's functions."""
    if isinstance(values, (list, tuple)):
        return any(map(_holds_tensors, values))
    return hasattr(values, "__array_ufunc__") and not isinstance(values, (np.ndarray, np.generic))


def check_size(shape: tuple[int, ...], dtype: np.dtype[Any], what: str) -> None:
    """Raise ``ShapeError`` for a shape that no array can have: more than 64 axes, or 2**63 bytes.

    >>> check_size((2**40, 2**40), np.dtype("float32"), "pad")
    Traceback (most recent call last):
    tinygraph.errors.ShapeError: pad: an array of shape (1099511627776, 1099511627776) is larger than any array can be
    """
    if len(shape) > MOST_AXES:
        raise ShapeError(f"{what}: an array has at most {MOST_AXES} axes; found {len(shape)}")
    if math.prod(shape) * dtype.itemsize >= 2**63:
        raise ShapeError(f"{what}: an array of shape {shape} is larger than any array can be")


def numeric_dtype(dtype: Any, what: str) -> np.dtype[Any]:
    """Return the NumPy dtype of numbers that ``dtype`` names, or raise ``DTypeError``."""
    with contextlib.suppress(TypeError):
        found: np.dtype[Any] = np.dtype(dtype)
        if found.kind in "biufc":
            return found.newbyteorder("=")
    raise DTypeError(f"{what}: a dtype of numbers is needed; found {dtype!r}")


def cast_array(array: Array, dtype: np.dtype[Any], what: str) -> Array:
    """Return ``array`` in ``dtype``: for real numbers rounded as needed, for integers and booleans only if nothing is lost.

    2.0 is accepted for an integer, and 0 and 1 for booleans. Raises ``DTypeError``, also for a number that is too large for
    ``dtype``.

    >>> cast_array(np.array([2.0, 3.0]), np.dtype("int64"), "y")
    array([2, 3])
    >>> cast_array(np.array([0.5, 1.0]), np.dtype("bool"), "input 'keep'")
    Traceback (most recent call last):
    tinygraph.errors.DTypeError: input 'keep' holds bool, which takes true and false, or 1 and 0; found 0.5 (float64)
    """
    if array.dtype == dtype:
        return array
    if array.dtype.kind == "c" and dtype.kind != "c":
        raise DTypeError(f"{what} holds {dtype}; found {array.dtype}")
    with np.errstate(all="ignore"):
        cast = array.astype(dtype)
        # The squares of large numbers may overflow.
        finite = all_finite(cast)
    if dtype.kind in "biu":
        _refuse_lost(array, cast, what)
    elif dtype.kind == "f" and not finite and (over := np.isinf(cast) & np.isfinite(array)).any():
        largest = np.finfo(dtype).max
        raise DTypeError(f"{what} holds {dtype}, which ends at {largest}; found {array[over].flat[0]} ({array.dtype})")
    return cast


def _refuse_lost(array: Array, cast: Array, what: str) -> None:
    """Raise ``DTypeError`` unless integers or booleans are the same numbers as what they were cast from."""
    same = cast == array
    if cast.dtype.kind == "b":
        takes = "true and false, or 1 and 0"
    else:
        low, high = np.iinfo(cast.dtype).min, np.iinfo(cast.dtype).max
        takes = f"integers from {low} to {high}"
        # A float above the range may be cast to the largest integer, which rounds to the same float.
        same &= array < np.float64(2.0 ** int(high).bit_length()) if array.dtype.kind == "f" else True
    if not same.all():
        raise DTypeError(
            f"{what} holds {cast.dtype}, which takes {takes}; found {array[~same].flat[0]} ({array.dtype})"
        )


def extent(array: Array) -> str:
    """Return the smallest and the largest number of an array as text, with all digits.

    >>> extent(np.array([0, 1.0000001])), extent(np.array([0.0, 1.0])), extent(np.array([0.0, np.nan]))
    ('0 to 1.0000001', '0 to 1', 'NaN')
    """
    if array.dtype.kind == "f" and np.isnan(array).any():
        return "NaN"
    ends = (str(end).removesuffix(".0") for end in (array.min(), array.max()))
    return " to ".join(dict.fromkeys(ends))


def all_finite(array: Array) -> bool:
    """Whether an array holds no NaN and no infinity.

    >>> all_finite(np.array([1.0, 2.0])), all_finite(np.array([1.0, np.nan]))
    (True, False)
    """
    if array.dtype.char in "fd":
        # The sum of squares takes a fraction of the time. If it is not finite, it may have overflowed: look at the elements.
        flat = array.ravel("K")
        if math.isfinite(flat.dot(flat)):
            return True
    return array.dtype.kind in "biu" or bool(np.isfinite(array).all())
