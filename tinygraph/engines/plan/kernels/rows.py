"""Kernels of convolution by rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinygraph.engines.plan.kernels.base import Call, Work, bound, finite, kernel, ordinary, provided
from tinygraph.engines.plan.rows import (
    ByRows,
    ColumnOverlay,
    RowConvolution,
    RowKernelGradient,
    RowMatrix,
    RowPatches,
    RowSpread,
    stacked,
)
from tinygraph.graph.arrays import Array


def _by_rows(x: Array) -> Array | None:
    """Return images ``(N, C, H, W)`` as ``(H, C, W * N)``, if that is how they lie in memory."""
    lying = x.transpose(2, 1, 3, 0)
    return lying.reshape(*lying.shape[:2], -1) if lying.flags.c_contiguous and x.size else None


@kernel(RowPatches, zeroed=True)
def _row_patches(work: Work) -> Sequence[Call]:
    work.op.prepare(work.out)
    return [bound(np.copyto, target, source) for source, target in work.op.copies(work.out, work.inputs[0])]


@kernel(RowMatrix, zeroed=True)
def _row_matrix(work: Work) -> Sequence[Call]:
    return [bound(np.copyto, target, source) for source, target in work.op.copies(work.out, *work.inputs)]


# BLAS copies both factors before it multiplies, so a thin matrix is mostly copying. With fewer filters than these, two rows
# of windows, which share most of their pixels, are taken in one product: more is multiplied, some of it by zero, but less
# is copied. A pixel that is not finite makes NaN of its product with zero: then each row is computed separately.
_FEW_FILTERS, _FEW_FILTERS_IN_GRADIENT = 8, 16


def _in_pairs(op: ByRows, filters: int, few: int) -> bool:
    return filters < few and op.windows.stride[0] == 1 and op.windows.count[0] % 2 == 0


def _pairs(op: ByRows, patches: Array) -> Array:
    """Return the pixels below two rows of windows, ``(rows / 2, (kh + 1) * kw * C, columns * N)``."""
    (rows, _), (kh, _) = op.windows.count, op.windows.kernel
    height, kw, channels, columns, count = patches.shape
    return stacked(patches.reshape(height, kw * channels, columns * count), rows // 2, kh + 1, 2)


@kernel(RowConvolution)
def _row_convolution(work: Work) -> Sequence[Call]:
    matrix, patches = work.inputs
    n, f, h, w = work.out.shape
    rows, calls = _by_rows(work.out), []
    if rows is None:
        rows = work.scratch.take((h, f, w * n), work.out.dtype)
        calls.append(bound(np.copyto, work.out, rows.reshape(h, f, w, n).transpose(3, 1, 0, 2)))
    if not _in_pairs(work.op, f, _FEW_FILTERS):
        return [bound(np.matmul, matrix, work.op.stacks(patches), rows), *calls]
    length, step = matrix.shape[1], patches.shape[1] * patches.shape[2]
    pair = np.zeros((2 * f, length + step), matrix.dtype)
    product = [
        bound(np.copyto, pair[:f, :length], matrix),
        bound(np.copyto, pair[f:, step:], matrix),
        bound(np.matmul, pair, _pairs(work.op, patches), rows.reshape(h // 2, 2 * f, w * n)),
    ]
    (rule,), results_finite = ordinary(work), finite(rows)

    def call() -> None:
        for each in product:
            each()
        if results_finite():
            for each in calls:
                each()
        else:
            rule()

    return [call]


@kernel(RowKernelGradient)
def _row_kernel_gradient(work: Work) -> Sequence[Call]:
    patches, dy = work.inputs
    n, f, h, w = dy.shape
    calls = []
    rows = _by_rows(dy)
    if rows is None:
        rows = work.scratch.take((h, f, w * n), dy.dtype)
        calls.append(bound(np.copyto, rows.reshape(h, f, w, n), dy.transpose(2, 1, 3, 0)))
    if not _in_pairs(work.op, f, _FEW_FILTERS_IN_GRADIENT):
        stacks = work.op.stacks(patches).swapaxes(1, 2)
        if h == 1:
            return [*calls, bound(np.matmul, rows[0], stacks[0], work.out)]
        products = work.scratch.take((h, *work.out.shape), work.out.dtype)
        return [*calls, bound(np.matmul, rows, stacks, products), bound(np.add.reduce, products, axis=0, out=work.out)]
    length, step = work.out.shape[1], patches.shape[1] * patches.shape[2]
    products = work.scratch.take((h // 2, 2 * f, length + step), work.out.dtype)
    total = work.scratch.take(products.shape[1:], work.out.dtype)
    return [
        *calls,
        bound(np.matmul, rows.reshape(h // 2, 2 * f, w * n), _pairs(work.op, patches).swapaxes(1, 2), products),
        bound(np.add.reduce, products, axis=0, out=total),
        bound(np.add, total[:f, :length], total[f:, step:], work.out),
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
        bound(np.copyto, target, dy.transpose(2, 1, 3, 0)),
        bound(np.matmul, matrix, work.op.spread_stacks(zeroed), out),
    ]
    # The rows of zeros around and between those of dy add nothing as long as the kernel is finite.
    return provided(finite(matrix), calls, work)


@kernel(ColumnOverlay)
def _column_overlay(work: Work) -> Sequence[Call]:
    spread, image = work.inputs[0], work.out
    sums = work.op.sums(spread, image)
    calls: list[Call] = []
    first, whole = sums[0]
    if whole.shape == image.transpose(2, 1, 3, 0).shape:
        calls.append(bound(np.copyto, whole, first))
        sums = sums[1:]
    else:
        calls.append(bound(image.fill, 0))
    return calls + [bound(np.add, target, source, target) for source, target in sums if target.size]
