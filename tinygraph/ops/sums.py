"""Sums along axes, and what they need: axes, and numbers in which sums do not lose precision.

Axes are counted as NumPy counts them, with errors that name the operation. Functions of real numbers take integers as floating
point, and float16 is added up in float32. Sums and means have the error of pairwise summation along any axis: NumPy adds in
pairs along an axis that lies contiguously in memory, and row after row along any other. There the error grows with the number
of rows: a float32 cannot count beyond 2**24. Rows are added here in blocks, and the blocks in blocks. Source: Higham, *The
Accuracy of Floating Point Summation*, 1993.
"""

import functools
import math
from typing import Any

import numpy as np

from tinygraph.errors import ShapeError
from tinygraph.graph import OPERATIONS, Op, Shape
from tinygraph.graph.apply import FLOATS

Axis = int | tuple[int, ...] | None
# The integers up to here are float16 numbers.
_EXACT = 2048
# How many rows are added one after the other.
_BLOCK = 16
# Rows are joined to rows of about this many elements, for NumPy takes its time for each row.
_LONG = 1024
# Sums of no more elements than this are left to NumPy.
FEW = 64


def normalized_axis(op: Op, x: Any, axis: int, extra: int = 0) -> int:
    """Return ``axis`` counted from 0, or refuse one that ``x`` (with ``extra`` new axes) does not have."""
    ndim = len(x.shape) + extra
    if not -ndim <= axis < ndim:
        op.refuse([x], f"axis {axis} is out of range for {ndim} axes")
    return axis % ndim


def size_along(name: str, x: Any, axis: int) -> int:
    """Return the size of ``x`` along ``axis``, or raise ``ShapeError`` in the name of an operation for one that is not there.

    >>> size_along("roll", np.zeros((2, 3)), -1)
    3
    """
    if not -len(x.shape) <= axis < len(x.shape):
        raise ShapeError(f"{name}: axis {axis} is out of range for {len(x.shape)} axes")
    return int(x.shape[axis])


def normalized_axes(op: Op, x: Any, axis: Axis, extra: int = 0) -> tuple[int, ...]:
    """Return axes counted from 0 in ascending order; all of them for ``None``. ``x`` may get ``extra`` new ones."""
    if axis is None:
        return tuple(range(len(x.shape)))
    axes = [normalized_axis(op, x, a, extra) for a in (axis if isinstance(axis, tuple) else (axis,))]
    if len(set(axes)) != len(axes):
        op.refuse([x], f"axis {axis} names an axis twice")
    return tuple(sorted(axes))


def floating_dtype(op: Op, x: Any, *others: Any) -> np.dtype[Any]:
    """The rule ``result_dtype`` of operations on real numbers: integers become floating point."""
    return np.result_type(x.dtype, 0.0)


def summed_dtype(op: Op, x: Any) -> np.dtype[Any]:
    """The rule ``result_dtype`` of sums: NumPy adds small integers in large ones."""
    return _summed(x.dtype)


@functools.cache
def _summed(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.sum(np.zeros((), dtype)).dtype  # type: ignore[no-any-return]


class AlongAxes(Op):
    """The base of operations that combine elements along ``axis``, one axis or several, and keep the shape."""

    axis: Any

    def shape(self, x) -> Shape:
        self.combined_axes(x)
        return tuple(x.shape)

    def combined_axes(self, x) -> tuple[int, ...]:
        return normalized_axes(self, x, self.axis)

    def reduced_shape(self, x, keepdims: bool) -> Shape:
        """Return the shape that is left when the axes are reduced."""
        axes = self.combined_axes(x)
        if keepdims:
            return tuple(1 if i in axes else size for i, size in enumerate(x.shape))
        return tuple(size for i, size in enumerate(x.shape) if i not in axes)

    def batch(self, use):
        return use.outside_axis()


def floating(x) -> Any:
    """Return ``x`` as floating point numbers, float64 for integers: small integers would wrap or lose precision.

    >>> floating(np.uint8([200])) - 201
    array([-1.])
    """
    if x.__class__ in FLOATS:
        return x
    x = x if hasattr(x, "__array_ufunc__") else np.asarray(x)
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


def total(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Return the sum over axes as ``np.sum`` does, with the error of pairwise summation; of float16 as float32.

    >>> total(np.ones((4096, 2), np.float16), axis=0)
    array([4096., 4096.], dtype=float32)
    """
    x = widened(x)
    if x.size <= FEW or x.dtype.kind not in "fc" or not isinstance(x, np.ndarray):
        return x.sum(axis=axis, keepdims=keepdims)
    given = range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    axes = {i % x.ndim for i in given}
    if math.prod([x.shape[i] for i in axes]) <= FEW:
        return x.sum(axis=tuple(axes), keepdims=keepdims)
    repeated = tuple(i for i in axes if not x.strides[i] and x.shape[i] > 1)
    if repeated:
        one = x[tuple(slice(1) if i in repeated else slice(None) for i in range(x.ndim))]
        return total(one, axis, keepdims) * one.dtype.type(x.size // one.size)
    rest = sorted((i for i in range(x.ndim) if x.shape[i] > 1), key=lambda i: -abs(x.strides[i]))
    inner: list[int] = []
    while rest and rest[-1] in axes and (not inner or x.strides[rest[-1]] == x.strides[inner[0]] * x.shape[inner[0]]):
        inner.insert(0, rest.pop())
    y = np.add.reduce(x, axis=tuple(inner), keepdims=True) if inner else x
    # From the outermost axis: its rows are the longest.
    for i in rest:
        if i in axes:
            y = _joined_rows(y, i)
    return y if keepdims else y.reshape(tuple(n for i, n in enumerate(x.shape) if i not in axes))[()]


def average(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Return the mean over axes as ``np.mean`` does, with the error of ``total``.

    >>> average(np.full((1000, 2), 60000, np.float16))
    np.float32(60000.0)
    """
    y = total(wide(x), axis, keepdims)
    return y / (x.size // max(y.size, 1))


def _joined_rows(x: Any, axis: int) -> Any:
    """Return the sum over one axis, kept with size 1; short rows that lie contiguously are joined first."""
    order = sorted(range(x.ndim), key=lambda i: -abs(x.strides[i]) if x.shape[i] > 1 else -math.inf)
    lying, place = x.transpose(order), order.index(axis)
    count, size = x.shape[axis], math.prod(lying.shape[place + 1 :])
    joined = _LONG // size
    if joined < 2 or count < 4 * joined or not lying.flags.c_contiguous:
        return _rows(x, axis)
    rows = lying.reshape(math.prod(lying.shape[:place]), count, size)
    whole = count // joined * joined
    sums = _rows(rows[:, :whole].reshape(len(rows), count // joined, joined * size), 1)
    y = np.add.reduce(np.ascontiguousarray(sums.reshape(len(rows), joined, size).swapaxes(1, 2)), axis=2)
    if whole < count:
        y += _rows(rows[:, whole:], 1)[:, 0]
    kept = (*lying.shape[:place], 1, *lying.shape[place + 1 :])
    return y.reshape(kept).transpose(np.argsort(order))


def _rows(x: Any, axis: int) -> Any:
    """Return the sum over one axis, kept with size 1: blocks of rows, and blocks of those."""
    before = (slice(None),) * axis
    while x.shape[axis] > 2 * _BLOCK:
        blocks, left = divmod(x.shape[axis], _BLOCK)
        whole = x[(*before, slice(blocks * _BLOCK))]
        y = np.add.reduce(whole.reshape(*x.shape[:axis], blocks, _BLOCK, *x.shape[axis + 1 :]), axis=axis + 1)
        if left:
            y[(*before, -1)] += np.add.reduce(x[(*before, slice(-left, None))], axis=axis)
        x = y
    return np.add.reduce(x, axis=axis, keepdims=True)
