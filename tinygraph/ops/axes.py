"""Axes as NumPy counts them, with errors that name the operation."""

import functools
from typing import Any

import numpy as np

from tinygraph.graph import Op, Shape

Axis = int | tuple[int, ...] | None


def normalized_axis(op: Op, x: Any, axis: int, extra: int = 0) -> int:
    """Return ``axis`` counted from 0, or refuse one that ``x`` (with ``extra`` new axes) does not have."""
    ndim = len(x.shape) + extra
    if not -ndim <= axis < ndim:
        op.refuse([x], f"axis {axis} is out of range for {ndim} axes")
    return axis % ndim


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


def reduced_shape(op: Op, x: Any, axis: Axis, keepdims: bool) -> Shape:
    """Return the shape that is left when axes are reduced."""
    axes = normalized_axes(op, x, axis)
    if keepdims:
        return tuple(1 if i in axes else size for i, size in enumerate(x.shape))
    return tuple(size for i, size in enumerate(x.shape) if i not in axes)


class AlongAxes(Op):
    """The base of operations that combine elements along ``axis``, one axis or several, and keep the shape."""

    axis: Any

    def shape(self, x) -> Shape:
        self.combined_axes(x)
        return tuple(x.shape)

    def combined_axes(self, x) -> tuple[int, ...]:
        return normalized_axes(self, x, self.axis)

    def batch(self, use):
        return use.outside_axis()
