"""Convolution by rows of windows: the operations that replace conv2d and its gradients, and their kernels.

Windows in neighbouring rows share all but one of their rows of pixels. So each row of pixels is copied once for each column of
the kernel, shifted to it (``row_patches``), and the windows of row ``i`` are ``kh`` of these rows, one after another: a view.
One matrix product (GEMM) for each row of windows is then the convolution, with ``kh`` times fewer copies than im2col makes.

Shapes: images ``(N, C, H, W)``, kernels ``(F, C, kh, kw)``, row patches ``(padded H, kw, C, columns, N)``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from tinygraph.engines.plan.kernels.base import Call, Work, kernel, provided
from tinygraph.graph import TOTAL, Array, BatchRule, Each, Op, Shape, Use, Value, all_finite
from tinygraph.ops.windows import Windows


def rows_fit(windows: Windows, groups: int) -> bool:
    """Whether a convolution can be done by rows: one group, no dilation down the image, padding within the kernel."""
    (top, bottom), _ = windows.padding
    return groups == 1 and windows.dilation[0] == 1 and max(top, bottom) < windows.kernel[0]


def stacked(rows: Array, count: int, height: int, stride: int) -> Array:
    """Return ``count`` stacks of ``height`` neighbouring rows, every ``stride`` rows, as a view.

    ``(rows, k, L)``, each row contiguous, gives ``(count, height * k, L)``.
    """
    step, k, length = rows.strides[0], rows.shape[1], rows.shape[2]
    return np.lib.stride_tricks.as_strided(
        rows, (count, height * k, length), (stride * step, rows.strides[1], rows.strides[2]), writeable=False
    )


def by_rows(x: Array) -> Array:
    """Return images ``(N, C, H, W)`` as ``(H, C, W * N)``."""
    return x.transpose(2, 1, 3, 0).reshape(x.shape[2], x.shape[1], x.shape[3] * x.shape[0])


@dataclass(frozen=True)
class ByRows(Op):
    """What the operations share: the windows."""

    windows: Windows

    def stacks(self, patches: Array) -> Array:
        """Return the windows of each row, ``(rows, kh * kw * C, columns * N)``, of row patches."""
        height, kw, channels, columns, count = patches.shape
        flat = patches.reshape(height, kw * channels, columns * count)
        return stacked(flat, self.windows.count[0], self.windows.kernel[0], self.windows.stride[0])


class CopiedByRows(ByRows):
    """What the operations share that copy their inputs into an array of zeros."""

    def copies(self, out: Array, *inputs: Array) -> list[tuple[Array, Array]]:
        """Return the views that are copied, each with the view of ``out`` that it is copied to."""
        raise NotImplementedError

    def forward(self, *inputs: Value) -> Value:
        out = np.zeros(self.shape(*inputs), inputs[0].dtype)
        for source, target in self.copies(out, *inputs):
            target[...] = source
        return out


@dataclass(frozen=True)
class RowPatches(CopiedByRows):
    """``x (N, C, H, W)`` as ``(padded H, kw, C, columns, N)``: each row of pixels once for each column of the kernel.

    With ``ones``, as ``(padded H, 1, 1 + kw * C, columns, N)``: a row of ones before them, for a bias to be multiplied by.
    """

    ones: bool = False

    def shape(self, x: Value) -> Shape:
        height, kw, columns = self.windows.padded[0], self.windows.kernel[1], self.windows.count[1]
        inner = (1, 1 + kw * x.shape[1]) if self.ones else (kw, x.shape[1])
        return (height, *inner, columns, x.shape[0])

    def copies(self, out: Array, *inputs: Array) -> list[tuple[Array, Array]]:
        (x,), patches = inputs, out
        (top, _), height = self.windows.padding[0], self.windows.image[0]
        pixels, ones = x.transpose(2, 1, 3, 0), []
        if self.ones:
            ones = [(np.ones((), x.dtype), out[:, 0, 0])]
            rows, _, _, columns, count = patches.shape
            patches = patches[:, 0, 1:].reshape(rows, self.windows.kernel[1], x.shape[1], columns, count)
        spans = self.windows.spans(1)
        return ones + [(pixels[:, :, on], patches[top : top + height, v, :, which]) for v, which, on in spans]

    def batch(self, use: Use) -> BatchRule:
        return Each(4) if use.axis(0) == 0 else None


class RowMatrix(CopiedByRows):
    """A kernel ``(F, C, kh, kw)`` and a bias ``(F, 1, 1)`` as a matrix for row patches with ones: ``(F, kh * (1 + kw * C))``.

    The bias stands before the first row of the kernel, and zeros before the others.
    """

    def shape(self, k: Value, b: Value) -> Shape:
        f, c, kh, kw = k.shape
        return (f, kh * (1 + kw * c))

    def copies(self, out: Array, *inputs: Array) -> list[tuple[Array, Array]]:
        k, b = inputs
        f, c, kh, kw = k.shape
        rows = out.reshape(f, kh, 1 + kw * c)
        return [(k.transpose(0, 2, 3, 1), rows[:, :, 1:].reshape(f, kh, kw, c)), (b.reshape(f), rows[:, 0, 0])]


class RowConvolution(ByRows):
    """The convolution of row patches with a kernel given as a matrix ``(F, kh * kw * C)``: ``(N, F, rows, columns)``."""

    def shape(self, matrix: Value, patches: Value) -> Shape:
        return (patches.shape[4], matrix.shape[0], *self.windows.count)

    def forward(self, matrix: Value, patches: Value) -> Value:
        rows, columns = self.windows.count
        y = matrix @ self.stacks(patches)
        return y.reshape(rows, matrix.shape[0], columns, patches.shape[4]).transpose(3, 1, 0, 2)

    def batch(self, use: Use) -> BatchRule:
        return Each(0) if use.axis(1) == 4 else None


class RowKernelGradient(ByRows):
    """The gradient of a convolution for its kernel, as a matrix ``(F, kh * kw * C)``."""

    def shape(self, patches: Value, dy: Value) -> Shape:
        return (dy.shape[1], self.windows.kernel[0] * patches.shape[1] * patches.shape[2])

    def forward(self, patches: Value, dy: Value) -> Value:
        result: Array = (by_rows(dy) @ self.stacks(patches).swapaxes(1, 2)).sum(axis=0)
        return result

    def batch(self, use: Use) -> BatchRule:
        return TOTAL if use.states == (Each(4), Each(0)) else None


class RowSpread(ByRows):
    """What each row of pixels gets from the windows above and below: ``(H, kw, C, columns, N)``.

    ``matrix (kw * C, kh * F)`` is the kernel with its rows in reverse. The plan computes one product for each row of pixels,
    with zeros around the rows of ``dy (N, F, rows, columns)``, and between them where the stride leaves some out.
    """

    def shape(self, matrix: Value, dy: Value) -> Shape:
        kw = self.windows.kernel[1]
        return (self.windows.image[0], kw, matrix.shape[0] // kw, self.windows.count[1], dy.shape[0])

    def around(self) -> tuple[int, slice]:
        """Return how many rows ``dy`` needs with zeros, and where its own rows stand among them."""
        (height, _), (kh, _), (rows, _) = self.windows.image, self.windows.kernel, self.windows.count
        first, stride = kh - 1 - self.windows.padding[0][0], self.windows.stride[0]
        return height + kh - 1, slice(first, first + (rows - 1) * stride + 1, stride)

    def forward(self, matrix: Value, dy: Value) -> Value:
        total, own = self.around()
        f, height = dy.shape[1], self.windows.image[0]
        rows = by_rows(dy)
        spread = np.zeros((height, matrix.shape[0], rows.shape[2]), dy.dtype)
        # Row by row, so that no zero is multiplied by an element of the kernel that is not finite.
        for row, place in zip(rows, range(total)[own], strict=True):
            for u in range(self.windows.kernel[0]):
                if 0 <= place - u < height:
                    spread[place - u] += matrix[:, u * f : (u + 1) * f] @ row
        return spread.reshape(self.shape(matrix, dy))

    def batch(self, use: Use) -> BatchRule:
        return Each(4) if use.axis(1) == 0 else None


class ColumnOverlay(ByRows):
    """The sum over the columns of the kernel, each shifted to the pixels below it: ``(N, C, H, W)``."""

    def shape(self, spread: Value) -> Shape:
        return (spread.shape[4], spread.shape[2], *self.windows.image)

    def forward(self, spread: Value) -> Value:
        image = np.zeros(self.shape(spread), spread.dtype)
        for source, target in self.sums(spread, image):
            target += source
        return image

    def sums(self, spread: Array, image: Array) -> list[tuple[Array, Array]]:
        """Return the views that are added, each with its view of the image; one that covers the image comes first."""
        pixels = image.transpose(2, 1, 3, 0)
        pairs = [(spread[:, v, :, which], pixels[:, :, on]) for v, which, on in self.windows.spans(1)]
        return sorted(pairs, key=lambda pair: pair[1].shape != pixels.shape)

    def batch(self, use: Use) -> BatchRule:
        return Each(0) if use.axis(0) == 4 else None


def _rows_and_copies(work: Work, x: Array) -> tuple[Array, list[tuple[Array, Array]]]:
    """Return images as rows, and the images with the rows to copy them from or to if they lie in another order."""
    lying = x.transpose(2, 1, 3, 0)
    if lying.flags.c_contiguous and x.size:
        return by_rows(x), []
    rows = work.scratch.take(lying.shape, x.dtype)
    return rows.reshape(x.shape[2], x.shape[1], x.shape[3] * x.shape[0]), [(lying, rows)]


@kernel(RowPatches, RowMatrix, zeroed=True)
def _copies(work: Work) -> Sequence[Call]:
    return [partial(np.copyto, target, source) for source, target in work.op.copies(work.out, *work.inputs)]


@kernel(RowConvolution)
def _row_convolution(work: Work) -> Sequence[Call]:
    matrix, patches = work.inputs
    rows, copies = _rows_and_copies(work, work.out)
    product = partial(np.matmul, matrix, work.op.stacks(patches), rows)
    return [product, *(partial(np.copyto, target, source) for target, source in copies)]


@kernel(RowKernelGradient)
def _row_kernel_gradient(work: Work) -> Sequence[Call]:
    patches, dy = work.inputs
    rows, copies = _rows_and_copies(work, dy)
    calls = [partial(np.copyto, target, source) for source, target in copies]
    stacks = work.op.stacks(patches).swapaxes(1, 2)
    if len(rows) == 1:
        return [*calls, partial(np.matmul, rows[0], stacks[0], work.out)]
    products = work.scratch.take((len(rows), *work.out.shape), work.out.dtype)
    return [
        *calls,
        partial(np.matmul, rows, stacks, products),
        partial(np.add.reduce, products, axis=0, out=work.out),
    ]


@kernel(RowSpread)
def _row_spread(work: Work) -> Sequence[Call]:
    matrix, dy = work.inputs
    total, own = work.op.around()
    n, f, _, w = dy.shape
    zeroed = np.zeros((total, f, w * n), dy.dtype)
    target = zeroed.reshape(total, f, w, n)[own]
    out = work.out.reshape(work.out.shape[0], matrix.shape[0], w * n)
    calls = [
        partial(np.copyto, target, dy.transpose(2, 1, 3, 0)),
        partial(np.matmul, matrix, stacked(zeroed, work.op.windows.image[0], work.op.windows.kernel[0], 1), out),
    ]
    # The rows of zeros around and between those of dy add nothing as long as the kernel is finite.
    return provided(partial(all_finite, matrix), calls, work)


@kernel(ColumnOverlay)
def _column_overlay(work: Work) -> Sequence[Call]:
    spread, image = work.inputs[0], work.out
    sums = work.op.sums(spread, image)
    calls: list[Call] = []
    if sums and sums[0][1].shape == image.transpose(2, 1, 3, 0).shape:
        first, all_pixels = sums.pop(0)
        calls.append(partial(np.copyto, all_pixels, first))
    else:
        calls.append(partial(image.fill, 0))
    return calls + [partial(np.add, target, source, target) for source, target in sums]
