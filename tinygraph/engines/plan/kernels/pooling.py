"""Kernels of pools, and the operations that replace their gradients. Windows are combined over rows, then over columns."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from tinygraph.engines.plan.kernels.base import Call, Work, gated, kernel, ordinary, provided
from tinygraph.graph import Array, BatchRule, Op, Shape, Use, Value
from tinygraph.ops.comparison.comparison import gate
from tinygraph.ops.pooling.max_pooling import MaxPool2d, MaxUnpool2d
from tinygraph.ops.pooling.pooling import AvgPool2d, AvgUnpool2d
from tinygraph.ops.windows import Windows, pixels_in


@dataclass(frozen=True)
class MaxUnpoolGivenMaxima(Op):
    """``max_unpool2d(dy, x)``, given ``y``, the pool of ``x``: the first element of a window that equals ``y`` gets ``dy``."""

    of: MaxUnpool2d

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

    def shape(self, dy: Value, factor: Value) -> Shape:
        return self.of.shape(dy)

    def forward(self, dy: Value, factor: Value) -> Value:
        return self.product.forward(self.of.forward(dy), factor)

    def batch(self, use: Use) -> BatchRule:
        return use.each(0, 1)


def _gather(ufunc: Any, windows: Windows, axis: int, x: Array, out: Array, empty: Any) -> list[Call]:
    """Combine the pixels of every window along one axis of the image, ``out`` having windows there."""
    at = (slice(None),) * (2 + axis)
    parts = [(out[(*at, which)], x[(*at, pixels)]) for _, which, pixels in windows.spans(axis)]
    full = [source for target, source in parts if target.shape == out.shape]
    rest = [(target, source) for target, source in parts if target.shape != out.shape]
    if len(full) >= 2:
        calls, full = [partial(ufunc, full[0], full[1], out=out)], full[2:]
    elif full:
        calls, full = [partial(np.copyto, out, full[0])], []
    else:
        calls = [partial(out.fill, empty)]
    calls += [partial(ufunc, out, source, out=out) for source in full]
    return calls + [partial(ufunc, target, source, out=target) for target, source in rest]


def _pool(ufunc: Any, work: Work, windows: Windows, empty: Any) -> list[Call]:
    x, out = work.inputs[0], work.out
    if windows.kernel[0] == 1 and windows.stride[0] == 1 and windows.padding[0] == (0, 0):
        return _gather(ufunc, windows, 1, x, out, empty)
    rows = work.scratch.take((*out.shape[:3], x.shape[3]), out.dtype, like=out)
    return _gather(ufunc, windows, 0, x, rows, empty) + _gather(ufunc, windows, 1, rows, out, empty)


@kernel(AvgPool2d, floats=True)
def _avg_pool(work: Work) -> Sequence[Call]:
    windows = work.op.windows(work.inputs[0].shape)
    count = np.asarray(work.op.divisor(windows, work.out.dtype), work.out.dtype)
    return [*_pool(np.add, work, windows, 0), partial(np.true_divide, work.out, count, work.out)]


@kernel(MaxPool2d)
def _max_pool(work: Work) -> Sequence[Call]:
    return _pool(np.maximum, work, work.op.windows(work.inputs[0].shape), work.op.lowest(work.inputs[0]))


def disjoint(windows: Windows) -> bool:
    """Whether windows neither overlap nor have padding, so that each pixel belongs to one window or none.

    Dilated windows may be disjoint too, but are not accepted.
    """
    return windows.stride == windows.kernel == windows.reach and not windows.has_padding


@kernel(AvgUnpool2d, AvgUnpoolProduct, floats=True)
def _avg_unpool(work: Work) -> Sequence[Call]:
    """Share ``dy`` out over the columns of the windows, and then over their rows, times the factor if there is one."""
    op, dy, out, is_product = work.op, work.inputs[0], work.out, isinstance(work.op, AvgUnpoolProduct)
    unpool = op.of if is_product else op
    windows = unpool.windows(unpool.output_size)
    if not disjoint(windows):
        return ordinary(work)

    def write(x: Array, rows: slice) -> Call:
        if not is_product:
            return partial(np.copyto, out[:, :, rows], x)
        multiply = gated if isinstance(op.product, gate.op) else partial(partial, np.multiply)
        return multiply(x, work.inputs[1][:, :, rows], out[:, :, rows])

    share = work.scratch.take(dy.shape, out.dtype, like=out)
    wide = work.scratch.take((*dy.shape[:3], windows.image[1]), out.dtype, like=out)
    height, width = (n * k for n, k in zip(windows.count, windows.kernel, strict=True))
    calls: list[Call] = [partial(np.true_divide, dy, np.asarray(pixels_in(windows.kernel, 2), out.dtype), share)]
    if width < windows.image[1]:
        calls.append(partial(wide[..., width:].fill, 0))
    calls += [partial(np.copyto, wide[..., pixels], share) for _, _, pixels in windows.spans(1)]
    if height < windows.image[0]:
        # A zero times what is not finite is NaN: rows that no window reaches are multiplied too.
        calls.append(write(np.zeros((), out.dtype), slice(height, None)))
    return calls + [write(wide, pixels) for _, _, pixels in windows.spans(0)]


@kernel(MaxUnpoolGivenMaxima, floats=True)
def _max_unpool(work: Work) -> Sequence[Call]:
    """The first element of each window that equals its maximum gets the gradient.

    A NaN equals nothing: if there is one among the maxima, the ordinary rule finds its element.
    """
    (dy, x, y), out, windows = work.inputs, work.out, work.op.of.windows(work.inputs[1].shape)
    covered = all(k * n == size for k, n, size in zip(windows.kernel, windows.count, windows.image, strict=True))
    taken = work.scratch.take(y.shape, np.dtype(bool), like=y)
    first = work.scratch.take(y.shape, np.dtype(bool), like=y)
    gradient = None if disjoint(windows) else work.scratch.take(y.shape, out.dtype, like=y)
    # If the windows tile the image, every pixel is written once; otherwise pixels start at zero.
    calls: list[Call] = [] if covered and gradient is None else [partial(out.fill, 0)]
    offsets = [
        ((..., rows, columns), (..., row_pixels, column_pixels))
        for _, rows, row_pixels in windows.spans(0)
        for _, columns, column_pixels in windows.spans(1)
    ]
    all_inside = all(x[on].shape == y.shape for _, on in offsets)
    if not all_inside:
        calls.append(partial(taken.fill, False))
    for i, (inside, on) in enumerate(offsets):
        winner = first[inside]
        if all_inside and i == 0:
            winner = taken
            calls.append(partial(np.equal, x[on], y, taken))
        elif all_inside and i == len(offsets) - 1:
            # The last element is the maximum of every window that no earlier element has taken.
            calls.append(partial(np.logical_not, taken, winner))
        else:
            calls.append(partial(np.equal, x[on], y[inside], winner))
            calls.append(partial(np.greater, winner, taken[inside], winner))
            calls.append(partial(np.logical_or, taken[inside], winner, taken[inside]))
        if gradient is None:
            calls.append(gated(dy[inside], winner, out[on]))
        else:
            calls.append(gated(dy[inside], winner, gradient[inside]))
            calls.append(partial(np.add, out[on], gradient[inside], out[on]))
    return provided(lambda: not math.isnan(np.maximum.reduce(y, axis=None)), calls, work)
