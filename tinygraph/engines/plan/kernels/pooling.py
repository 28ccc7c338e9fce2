"""Kernels of pools, and the operations that replace their gradients. A window is taken in by its rows, then its columns."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np

from tinygraph.engines.plan.kernels.base import Call, Work, bound, gated, kernel, ordinary, provided
from tinygraph.graph.arrays import Array
from tinygraph.graph.batch import BatchRule, Use
from tinygraph.graph.op import Op, Shape, Value
from tinygraph.ops.comparison.comparison import gate
from tinygraph.ops.pooling.max_pooling import MaxPool2d, MaxUnpool2d
from tinygraph.ops.pooling.pooling import AvgPool2d, AvgUnpool2d
from tinygraph.ops.windows import Windows


@dataclass(frozen=True)
class MaxUnpoolBeside(Op):
    """``max_unpool2d(dy, x)``, given ``y``, the pool of ``x``: the first element of a window that equals ``y`` gets ``dy``."""

    of: MaxUnpool2d
    formula: ClassVar[str] = "{dy} where {x} is the first in its window equal to {y}"

    def shape(self, dy: Value, x: Value, y: Value) -> Shape:
        return self.of.shape(dy, x)

    def result_dtype(self, dy: Value, x: Value, y: Value) -> np.dtype[np.generic]:
        return self.of.result_dtype(dy, x)

    def forward(self, dy: Value, x: Value, y: Value) -> Value:
        return self.of.forward(dy, x)

    def batch(self, use: Use) -> BatchRule:
        return use.each(0, 1, 2)


@dataclass(frozen=True)
class AvgUnpoolProduct(Op):
    """``avg_unpool2d(dy) * factor``, for a factor of the image's shape; ``product`` is ``multiply`` or ``gate``."""

    of: AvgUnpool2d
    product: Op
    formula: ClassVar[str] = "{dy} shared out · {factor}"

    def shape(self, dy: Value, factor: Value) -> Shape:
        return self.of.shape(dy)

    def forward(self, dy: Value, factor: Value) -> Value:
        return self.product.forward(self.of.forward(dy), factor)

    def batch(self, use: Use) -> BatchRule:
        return use.each(0, 1)


def _spans(windows: Windows, axis: int) -> list[tuple[slice, slice]]:
    """Return, for each offset in a window along an axis, the windows that have it inside the image, and its pixels."""
    size, count, stride = windows.image[axis], windows.count[axis], windows.stride[axis]
    spans = []
    for k in range(windows.kernel[axis]):
        first = k * windows.dilation[axis] - windows.padding[axis][0]
        start = max(0, -(first // stride))
        stop = min(count, (size - 1 - first) // stride + 1)
        if stop > start:
            pixels = slice(first + start * stride, first + (stop - 1) * stride + 1, stride)
            spans.append((slice(start, stop), pixels))
    return spans


def _gather(ufunc: Any, windows: Windows, axis: int, x: Array, out: Array, empty: Any) -> list[Call]:
    """Combine the pixels of every window along one axis of the image, ``out`` having windows there."""
    at = (slice(None),) * (2 + axis)
    parts = [(out[(*at, which)], x[(*at, pixels)]) for which, pixels in _spans(windows, axis)]
    whole = [source for target, source in parts if target.shape == out.shape]
    rest = [(target, source) for target, source in parts if target.shape != out.shape]
    if len(whole) >= 2:
        calls, whole = [bound(ufunc, whole[0], whole[1], out=out)], whole[2:]
    elif whole:
        calls, whole = [bound(np.copyto, out, whole[0])], []
    else:
        calls = [bound(out.fill, empty)]
    calls += [bound(ufunc, out, source, out=out) for source in whole]
    return calls + [bound(ufunc, target, source, out=target) for target, source in rest]


def _pool(ufunc: Any, work: Work, windows: Windows, empty: Any) -> list[Call]:
    x, out = work.inputs[0], work.out
    if windows.kernel[0] == 1 and windows.stride[0] == 1 and windows.padding[0] == (0, 0):
        return _gather(ufunc, windows, 1, x, out, empty)
    rows = work.scratch.take((*out.shape[:3], x.shape[3]), out.dtype, like=out)
    return _gather(ufunc, windows, 0, x, rows, empty) + _gather(ufunc, windows, 1, rows, out, empty)


@kernel(AvgPool2d)
def _avg_pool(work: Work) -> Sequence[Call]:
    if work.inputs[0].dtype != work.out.dtype or work.out.dtype.char not in "fd":
        return ordinary(work)
    windows = work.op.windows(work.inputs[0].shape)
    count = np.asarray(work.op.divisor(windows, work.out.dtype), work.out.dtype)
    return [*_pool(np.add, work, windows, 0), bound(np.true_divide, work.out, count, work.out)]


@kernel(MaxPool2d)
def _max_pool(work: Work) -> Sequence[Call]:
    return _pool(np.maximum, work, work.op.windows(work.inputs[0].shape), work.op.lowest(work.inputs[0]))


def _disjoint(windows: Windows) -> bool:
    """Whether windows neither overlap nor reach into padding, so that each pixel belongs to one window or none.

    Windows with gaps between their pixels are not among them, though they may be disjoint too.
    """
    return windows.stride == windows.kernel == windows.reach and not any(map(any, windows.padding))


def _shared_columns(work: Work, windows: Windows) -> tuple[list[Call], Array]:
    """Return calls that share ``dy`` out over the columns of windows, and the array with windows along its rows alone."""
    dy = work.inputs[0]
    share = work.scratch.take(dy.shape, work.out.dtype, like=work.out)
    wide = work.scratch.take((*dy.shape[:3], windows.image[1]), work.out.dtype, like=work.out)
    count = np.asarray(windows.kernel[0] * windows.kernel[1], work.out.dtype)
    calls = [bound(np.true_divide, dy, count, share)]
    covered = windows.count[1] * windows.kernel[1]
    if covered < windows.image[1]:
        calls.append(bound(wide[..., covered:].fill, 0))
    calls += [bound(np.copyto, wide[..., pixels], share) for _, pixels in _spans(windows, 1)]
    return calls, wide


@kernel(AvgUnpool2d)
def _avg_unpool(work: Work) -> Sequence[Call]:
    windows = work.op.windows(work.op.output_size)
    if work.inputs[0].dtype != work.out.dtype or work.out.dtype.char not in "fd" or not _disjoint(windows):
        return ordinary(work)
    calls, wide = _shared_columns(work, windows)
    return (
        calls
        + _below(work.out, windows)
        + [bound(np.copyto, work.out[:, :, pixels], wide) for _, pixels in _spans(windows, 0)]
    )


@kernel(AvgUnpoolProduct)
def _avg_unpool_product(work: Work) -> Sequence[Call]:
    windows, factor = work.op.of.windows(work.op.of.output_size), work.inputs[1]
    if not _disjoint(windows):
        return ordinary(work)
    calls, wide = _shared_columns(work, windows)
    multiply = gated if isinstance(work.op.product, gate.op) else partial(bound, np.multiply)
    covered, zero = windows.count[0] * windows.kernel[0], np.zeros((), wide.dtype)
    # A zero times what is not finite is NaN: rows that no window reaches are multiplied too.
    below = [multiply(zero, factor[:, :, covered:], work.out[:, :, covered:])]
    return (
        calls
        + (below if covered < windows.image[0] else [])
        + [multiply(wide, factor[:, :, pixels], work.out[:, :, pixels]) for _, pixels in _spans(windows, 0)]
    )


def _below(out: Array, windows: Windows) -> list[Call]:
    """Return the calls that clear the rows which no window reaches."""
    covered = windows.count[0] * windows.kernel[0]
    return [bound(out[:, :, covered:].fill, 0)] if covered < windows.image[0] else []


@kernel(MaxUnpoolBeside)
def _max_unpool(work: Work) -> Sequence[Call]:
    """The first element of each window that equals its maximum gets the gradient.

    With NaN among the maxima nothing equals them, and the ordinary rule says which element it is.
    """
    if not work.out.size or work.node.dtype.char not in "fd":
        return ordinary(work)
    y, windows = work.inputs[2], work.op.of.windows(work.inputs[1].shape)
    covered = all(k * n == size for k, n, size in zip(windows.kernel, windows.count, windows.image, strict=True))
    tiled = covered and _disjoint(windows)
    calls = _first_winners(work, windows, tiled)
    quick = _without_ties(work, windows) if tiled else None

    def call() -> None:
        if quick is None or not quick():
            for each in calls:
                each()

    return provided(lambda: not math.isnan(np.maximum.reduce(y, axis=None)), [call], work)


def _first_winners(work: Work, windows: Windows, tiled: bool) -> list[Call]:
    """Return calls that go through the elements of all windows, offset by offset, and give the gradient to the first winner.

    Where windows are ``tiled`` every pixel is written once; otherwise it begins at zero.
    """
    (dy, x, y), out = work.inputs, work.out
    taken = work.scratch.take(y.shape, np.dtype(bool), like=y)
    first = work.scratch.take(y.shape, np.dtype(bool), like=y)
    gradient = None if _disjoint(windows) else work.scratch.take(y.shape, out.dtype, like=y)
    calls: list[Call] = [] if tiled else [bound(out.fill, 0)]
    offsets = [
        ((..., rows, columns), (..., row_pixels, column_pixels))
        for rows, row_pixels in _spans(windows, 0)
        for columns, column_pixels in _spans(windows, 1)
    ]
    whole = all(x[on].shape == y.shape for _, on in offsets)
    if not whole:
        calls.append(bound(taken.fill, False))
    for i, (inside, on) in enumerate(offsets):
        winner = first[inside]
        if whole and i == 0:
            winner = taken
            calls.append(bound(np.equal, x[on], y, taken))
        elif whole and i == len(offsets) - 1:
            # A window that no element before has taken is the last one's.
            calls.append(bound(np.logical_not, taken, winner))
        else:
            calls.append(bound(np.equal, x[on], y[inside], winner))
            calls.append(bound(np.greater, winner, taken[inside], winner))
            calls.append(bound(np.logical_or, taken[inside], winner, taken[inside]))
        if gradient is None:
            calls.append(gated(dy[inside], winner, out[on]))
        else:
            calls.append(gated(dy[inside], winner, gradient[inside]))
            calls.append(bound(np.add, out[on], gradient[inside], out[on]))
    return calls


def _without_ties(work: Work, windows: Windows) -> Callable[[], bool] | None:
    """Return a call that does the work, unless a window has its maximum more than once, and tells whether it did.

    The maxima and the gradients are repeated over the columns of their windows. Then whole rows of pixels are compared
    and multiplied at once, which is quicker than to pick every other column each time.
    """
    (dy, x, y), out = work.inputs, work.out
    if windows.kernel[0] * windows.kernel[1] == 1:
        return None
    wide = (*y.shape[:3], x.shape[3])
    maxima, gradients = (work.scratch.take(wide, a.dtype, like=out) for a in (y, dy))
    columns, rows = ([pixels for _, pixels in _spans(windows, axis)] for axis in (1, 0))
    hits = [work.scratch.take(wide, np.dtype(bool), like=out) for _ in rows]
    find = [bound(np.copyto, maxima[..., on], y) for on in columns]
    find += [bound(np.equal, x[:, :, on], maxima, hit) for on, hit in zip(rows, hits, strict=True)]
    fill = [bound(np.copyto, gradients[..., on], dy) for on in columns]
    fill += [gated(gradients, hit, out[:, :, on]) for on, hit in zip(rows, hits, strict=True)]

    def call() -> bool:
        for each in find:
            each()
        if sum(map(np.count_nonzero, hits)) != y.size:
            return False
        for each in fill:
            each()
        return True

    return call
