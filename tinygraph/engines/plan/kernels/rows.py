"""Convolution by rows of windows: the operations that replace convolutions and their gradients, and their kernels.

Windows in neighbouring rows share all but one of their rows of pixels. So each row of pixels is copied once for each column of
the kernel, shifted to it (``row_patches``), and the windows of row ``i`` are ``kh`` of these rows, one after another: a view.
One matrix product (GEMM) for each row of windows is then the convolution, with ``kh`` times fewer copies than im2col makes.
Where the rows of a kernel do not adjoin (dilation), each row of windows has copies of its own.

Shapes, for groups ``g`` and images with ``...`` axes before the rows (the depth of volumes): images ``(N, C, ..., H, W)``,
kernels ``(F, C/g, ..., kh, kw)``, row patches ``(g, ..., padded H, K, columns, N)``, where ``K`` counts the copied offsets and
channels, and windows in place of pixels wherever the offsets are copied.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from tinygraph.engines.plan.kernels.base import Call, Work, kernel, provided
from tinygraph.graph import TOTAL, Array, BatchRule, Each, Op, Shape, Use, Value, all_finite
from tinygraph.ops.windows import Sizes, Windows

# Sums over rows are taken in parts of at most this size, which stay in the cache.
_MOST_BYTES = 1 << 20


def stacked(rows: Array, count: int, height: int, stride: int) -> Array:
    """Return ``count`` stacks of ``height`` neighbouring rows, every ``stride`` rows, as a view.

    ``(..., rows, k, L)``, each row contiguous, gives ``(..., count, height * k, L)``.
    """
    *outer, step, along_k, along_row = rows.strides
    shape = (*rows.shape[:-3], count, height * rows.shape[-2], rows.shape[-1])
    return np.lib.stride_tricks.as_strided(rows, shape, (*outer, stride * step, along_k, along_row), writeable=False)


def grouped(x: Array, groups: int) -> Array:
    """Return images ``(N, C, ..., H, W)`` as ``(g, ..., H, C/g, W, N)``, a view."""
    n, channels, *sizes = x.shape
    axes = range(3, 2 + len(sizes))
    return x.reshape(n, groups, channels // groups, *sizes).transpose(1, *axes, 2, 2 + len(sizes), 0)


def by_rows(x: Array, groups: int) -> Array:
    """Return images ``(N, C, ..., H, W)`` as ``(g, ..., H, C/g, W * N)``."""
    lying = grouped(x, groups)
    return lying.reshape(*lying.shape[:-2], lying.shape[-2] * lying.shape[-1])


@dataclass(frozen=True)
class ByRows(Op):
    """What the operations share: the windows and the groups."""

    windows: Windows
    groups: int = 1

    @property
    def adjoin(self) -> bool:
        """Whether the rows of a window are neighbours, so that the windows of a row are a view of rows of pixels."""
        return self.windows.dilation[-2] == 1 and max(self.windows.padding[-2]) < self.windows.kernel[-2]

    @property
    def offsets(self) -> Sizes:
        """The sizes of the kernel along the axes whose offsets are copied."""
        *outer, kh, kw = self.windows.kernel
        return (*outer, kw) if self.adjoin else (*outer, kh, kw)

    @property
    def last(self) -> int:
        """The axis of the samples of row patches."""
        return len(self.windows.kernel) + 2

    def stacks(self, patches: Array) -> Array:
        """Return the windows of each row, ``(g, ..., rows, kh * K, columns * N)``, of row patches."""
        *outer, columns, count = patches.shape
        flat = patches.reshape(*outer, columns * count)
        windows = self.windows
        return stacked(flat, windows.count[-2], windows.kernel[-2], windows.stride[-2]) if self.adjoin else flat

    def pairs(self, image: Array, patches: Array, rows: slice) -> Iterator[tuple[Array, Array]]:
        """Yield views of the pixels of images, each with the view of row patches that holds them at one of the offsets.

        ``rows`` are the rows of the patches that are rows of the image.
        """
        pixels, every = grouped(image, self.groups), slice(None)
        by_offset = patches.reshape(*patches.shape[:-3], *self.offsets, pixels.shape[-3], *patches.shape[-2:])
        spans: list[list[tuple[int | None, slice, slice]]] = [
            [(None, rows, every)]
            if self.adjoin and axis == len(self.windows.image) - 2
            else [*self.windows.spans(axis)]
            for axis in range(len(self.windows.image))
        ]
        for found in itertools.product(*spans):
            offsets, windows, on = zip(*found, strict=True)
            offset = (offset for offset in offsets if offset is not None)
            target = by_offset[(every, *windows[:-1], *offset, every, windows[-1])]
            yield pixels[(every, *on[:-1], every, on[-1])], target


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
    """Images as row patches. With ``ones``, each row of pixels has a one before its patches, for a bias to be multiplied by."""

    ones: bool = False

    def shape(self, x: Value) -> Shape:
        *outer, rows, columns = self.windows.count
        rows = self.windows.padded[-2] if self.adjoin else rows
        inner = self.ones + math.prod(self.offsets) * x.shape[1] // self.groups
        return (self.groups, *outer, rows, inner, columns, x.shape[0])

    def copies(self, out: Array, *inputs: Array) -> list[tuple[Array, Array]]:
        (x,), top = inputs, self.windows.padding[-2][0]
        ones = [(np.ones((), x.dtype), out[..., 0, :, :])] if self.ones else []
        rows = slice(top, top + self.windows.image[-2])
        return ones + list(self.pairs(x, out[..., self.ones :, :, :], rows))

    def batch(self, use: Use) -> BatchRule:
        return Each(self.last) if use.axis(0) == 0 else None


class RowMatrix(CopiedByRows):
    """A kernel ``(F, C, kh, kw)`` and a bias ``(F, 1, 1)`` as a matrix for row patches with ones.

    Its shape is ``(1, F, kh * (1 + kw * C))``. The bias stands before the first row of the kernel, and zeros before the others.
    """

    def shape(self, k: Value, b: Value) -> Shape:
        f, c, kh, kw = k.shape
        return (1, f, kh * (1 + kw * c))

    def copies(self, out: Array, *inputs: Array) -> list[tuple[Array, Array]]:
        k, b = inputs
        f, c, kh, kw = k.shape
        rows = out.reshape(f, kh, 1 + kw * c)
        return [(k.transpose(0, 2, 3, 1), rows[:, :, 1:].reshape(f, kh, kw, c)), (b.reshape(f), rows[:, 0, 0])]


class RowConvolution(ByRows):
    """The convolution of row patches with a kernel given as matrices ``(g, F/g, kh * K)``: ``(N, F, ..., rows, columns)``."""

    def shape(self, matrix: Value, patches: Value) -> Shape:
        return (patches.shape[-1], self.groups * matrix.shape[1], *self.windows.count)

    def forward(self, matrix: Value, patches: Value) -> Value:
        y = np.empty(self.shape(matrix, patches), patches.dtype)
        target = grouped(y, self.groups)
        target[...] = (self.spread_out(matrix) @ self.stacks(patches)).reshape(target.shape)
        return y

    def spread_out(self, matrix: Array) -> Array:
        """Return the matrices of groups with an axis of size one for each of the axes of windows but the columns."""
        return matrix.reshape(self.groups, *(1,) * (len(self.windows.kernel) - 1), *matrix.shape[1:])

    def batch(self, use: Use) -> BatchRule:
        return Each(0) if use.axis(1) == self.last else None


class RowKernelGradient(ByRows):
    """The gradient of a convolution for its kernel, as matrices ``(g, F/g, kh * K)``."""

    def shape(self, patches: Value, dy: Value) -> Shape:
        height = self.windows.kernel[-2] if self.adjoin else 1
        return (self.groups, dy.shape[1] // self.groups, height * patches.shape[-3])

    def forward(self, patches: Value, dy: Value) -> Value:
        products: Array = by_rows(dy, self.groups) @ self.stacks(patches).swapaxes(-1, -2)
        return products.sum(axis=tuple(range(1, products.ndim - 2)))

    def batch(self, use: Use) -> BatchRule:
        return TOTAL if use.states == (Each(self.last), Each(0)) else None


class RowSpread(ByRows):
    """What each row of pixels gets from the windows above and below: ``(g, ..., H, K, columns, N)``.

    ``matrix (g, K, kh * F/g)`` is the kernel with its rows in reverse, where they adjoin, else ``(g, K, F/g)``. The plan
    computes one product for each row of pixels, with zeros around the rows of ``dy (N, F, ..., rows, columns)``.
    """

    def shape(self, matrix: Value, dy: Value) -> Shape:
        rows = self.windows.image[-2] if self.adjoin else self.windows.count[-2]
        return (self.groups, *self.windows.count[:-2], rows, matrix.shape[1], self.windows.count[-1], dy.shape[0])

    def products(self, matrix: Array) -> Array:
        """Return the matrices ``(g, 1, ..., K, kh, F/g)``."""
        ones = (1,) * (len(self.windows.kernel) - 1)
        return matrix.reshape(self.groups, *ones, matrix.shape[1], self.windows.kernel[-2] if self.adjoin else 1, -1)

    def forward(self, matrix: Value, dy: Value) -> Value:
        rows, products = by_rows(dy, self.groups), self.products(matrix)
        spread = np.zeros(self.shape(matrix, dy), dy.dtype)
        flat = spread.reshape(*spread.shape[:-2], rows.shape[-1])
        if not self.adjoin:
            flat[...] = products[..., 0, :] @ rows
        # Row by row, so that no zero is multiplied by an element of the kernel that is not finite.
        for u, windows, on in self.windows.spans(len(self.windows.kernel) - 2) if self.adjoin else ():
            flat[..., on, :, :] += products[..., -1 - u, :] @ rows[..., windows, :, :]
        return spread

    def phases(self) -> Iterator[tuple[range, range, int]]:
        """Yield the rows of pixels for each remainder by the stride, the rows of the reversed kernel there, and one more row.

        That is the row of windows that the first stack begins with; the next row of pixels has the stack a row later.
        """
        stride, kh, height = self.windows.stride[-2], self.windows.kernel[-2], self.windows.image[-2]
        top = self.windows.padding[-2][0]
        for phase in range(stride):
            first = -(-max(top - phase, 0) // stride)
            reaching = range((kh - 1 - phase) % stride, kh, stride) if phase < kh else range(0)
            yield range(phase + stride * first - top, height, stride), reaching, first - len(reaching) + 1

    def batch(self, use: Use) -> BatchRule:
        return Each(self.last) if use.axis(1) == 0 else None


class ColumnOverlay(ByRows):
    """The sum over the copied offsets of the kernel, each shifted to the pixels below it: ``(N, C, ..., H, W)``."""

    def shape(self, spread: Value) -> Shape:
        channels = self.groups * spread.shape[-3] // math.prod(self.offsets)
        return (spread.shape[-1], channels, *self.windows.image)

    def forward(self, spread: Value) -> Value:
        image = np.zeros(self.shape(spread), spread.dtype)
        for target, source in self.pairs(image, spread, slice(None)):
            target += source
        return image

    def batch(self, use: Use) -> BatchRule:
        return Each(0) if use.axis(0) == self.last else None


def _rows_and_copies(work: Work, x: Array) -> tuple[Array, list[tuple[Array, Array]]]:
    """Return images as rows, and the images with the rows to copy them from or to if they lie in another order."""
    rows, lying = by_rows(x, work.op.groups), grouped(x, work.op.groups)
    if np.may_share_memory(rows, x) or not x.size:
        return rows, []
    taken = work.scratch.take(lying.shape, x.dtype)
    return taken.reshape(rows.shape), [(lying, taken)]


def _stacks_and_copies(work: Work, patches: Array) -> tuple[Array, list[Call]]:
    """Return the windows of each row, and the call that copies patches which are a view of images in another order."""
    if patches.flags.c_contiguous:
        return work.op.stacks(patches), []
    taken = work.scratch.take(patches.shape, patches.dtype)
    return work.op.stacks(taken), [partial(np.copyto, taken, patches)]


@kernel(RowPatches, RowMatrix, zeroed=True)
def _copies(work: Work) -> Sequence[Call]:
    return [partial(np.copyto, target, source) for source, target in work.op.copies(work.out, *work.inputs)]


@kernel(RowConvolution)
def _row_convolution(work: Work) -> Sequence[Call]:
    matrix, patches = work.inputs
    rows, copies = _rows_and_copies(work, work.out)
    stacks, calls = _stacks_and_copies(work, patches)
    product = partial(np.matmul, work.op.spread_out(matrix), stacks, rows)
    return [*calls, product, *(partial(np.copyto, target, source) for target, source in copies)]


@kernel(RowKernelGradient)
def _row_kernel_gradient(work: Work) -> Sequence[Call]:
    (patches, dy), out = work.inputs, work.out
    rows, copies = _rows_and_copies(work, dy)
    stacks, calls = _stacks_and_copies(work, patches)
    calls += [partial(np.copyto, target, source) for source, target in copies]
    # BLAS is faster where the first factor has the larger number of rows.
    x, y = rows, stacks
    x, y, result = (x, y, out) if x.shape[-2] >= y.shape[-2] else (y, x, out.swapaxes(-1, -2))
    height, shape = rows.shape[-3], (*rows.shape[1:-3], *result.shape)
    share = max(1, min(height, _MOST_BYTES // (math.prod(shape) * out.itemsize)))
    products = work.scratch.take((*rows.shape[:-3], share, *result.shape[1:]), out.dtype)
    part = work.scratch.take(result.shape, out.dtype)
    for start in range(0, height, share):
        some = (..., slice(start, start + share), slice(None), slice(None))
        made = products[..., : min(share, height - start), :, :]
        calls.append(partial(np.matmul, x[some], y[some].swapaxes(-1, -2), made))
        calls.append(partial(np.add.reduce, made, axis=tuple(range(1, made.ndim - 2)), out=part if start else result))
        calls += [partial(np.add, result, part, result)] * bool(start)
    return calls


@kernel(RowSpread)
def _row_spread(work: Work) -> Sequence[Call]:
    (matrix, dy), op = work.inputs, work.op
    out = work.out.reshape(*work.out.shape[:-2], work.out.shape[-2] * work.out.shape[-1])
    products = op.products(matrix)
    if not op.adjoin:
        rows, copies = _rows_and_copies(work, dy)
        calls: list[Call] = [partial(np.copyto, target, source) for source, target in copies]
        return [*calls, partial(np.matmul, products[..., 0, :], rows, out)]
    # The rows of zeros in phases add nothing as long as the kernel is finite.
    return provided(partial(all_finite, matrix), _phases(work, products, grouped(dy, op.groups), out), work)


def _phases(work: Work, products: Array, dy: Array, out: Array) -> list[Call]:
    """Return the calls for one product for each remainder of rows by the stride, with rows of zeros around those of ``dy``."""
    phases, count = list(work.op.phases()), dy.shape[-4]
    before = max(0, *(-first for _, _, first in phases))
    after = max(0, *(first + len(pixels) + len(us) - 1 - count for pixels, us, first in phases))
    zeroed = work.scratch.zeros((*dy.shape[:-4], before + count + after, *dy.shape[-3:]), dy.dtype)
    flat = zeroed.reshape(*zeroed.shape[:-2], out.shape[-1])
    calls: list[Call] = [partial(np.copyto, zeroed[..., before : before + count, :, :, :], dy)]
    for pixels, us, first in phases:
        target = out[..., pixels.start :: pixels.step, :, :]
        terms = products[..., us.start : us.stop : us.step, :]
        if not us:
            calls.append(partial(target.fill, 0))
        elif pixels:
            if us.step > 1:
                source, terms = terms, work.scratch.take(terms.shape, terms.dtype)
                calls.append(partial(np.copyto, terms, source))
            terms = terms.reshape(*terms.shape[:-2], len(us) * terms.shape[-1])
            stacks = stacked(flat[..., before + first :, :, :], len(pixels), len(us), 1)
            calls.append(partial(np.matmul, terms, stacks, target))
    return calls


@kernel(ColumnOverlay)
def _column_overlay(work: Work) -> Sequence[Call]:
    (spread,), image = work.inputs, work.out
    pixels = grouped(image, work.op.groups)
    # One that covers the image comes first, if there is any.
    pairs = sorted(work.op.pairs(image, spread, slice(None)), key=lambda pair: pair[0].shape != pixels.shape)
    calls: list[Call] = []
    if pairs and pairs[0][0].shape == pixels.shape:
        target, source = pairs.pop(0)
        calls.append(partial(np.copyto, target, source))
    else:
        calls.append(partial(image.fill, 0))
    return calls + [partial(np.add, target, source, target) for target, source in pairs]
