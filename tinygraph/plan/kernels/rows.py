"""Kernels of convolution by rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinygraph.plan.kernels.base import Call, Work, bound, kernel
from tinygraph.plan.node import Array
from tinygraph.plan.rows import ColumnOverlay, RowConvolution, RowKernelGradient, RowPatches, RowSpread


def _by_rows(x: Array) -> Array | None:
    """Return images ``(N, C, H, W)`` as ``(H, C, W * N)``, if that is how they lie in memory."""
    lying = x.transpose(2, 1, 3, 0)
    return lying.reshape(*lying.shape[:2], -1) if lying.flags.c_contiguous and x.size else None


@kernel(RowPatches, zeroed=True)
def _row_patches(work: Work) -> Sequence[Call]:
    return [bound(np.copyto, target, source) for source, target in work.op.copies(work.out, work.inputs[0])]


@kernel(RowConvolution)
def _row_convolution(work: Work) -> Sequence[Call]:
    matrix, patches = work.inputs
    stacks = work.op.stacks(patches)
    direct = _by_rows(work.out)
    if direct is not None:
        return [bound(np.matmul, matrix, stacks, direct)]
    n, f, h, w = work.out.shape
    rows = work.scratch.take((h, f, w * n), work.out.dtype)
    pixels = rows.reshape(h, f, w, n).transpose(3, 1, 0, 2)
    return [bound(np.matmul, matrix, stacks, rows), bound(np.copyto, work.out, pixels)]


@kernel(RowKernelGradient)
def _row_kernel_gradient(work: Work) -> Sequence[Call]:
    patches, dy = work.inputs
    stacks = work.op.stacks(patches).swapaxes(1, 2)
    n, f, h, w = dy.shape
    calls = []
    rows = _by_rows(dy)
    if rows is None:
        rows = work.scratch.take((h, f, w * n), dy.dtype)
        calls.append(bound(np.copyto, rows.reshape(h, f, w, n), dy.transpose(2, 1, 3, 0)))
    if h == 1:
        return [*calls, bound(np.matmul, rows[0], stacks[0], work.out)]
    products = work.scratch.take((h, *work.out.shape), work.out.dtype)
    return [
        *calls,
        bound(np.matmul, rows, stacks, products),
        bound(np.add.reduce, products, axis=0, out=work.out),
    ]


@kernel(RowSpread)
def _row_spread(work: Work) -> Sequence[Call]:
    matrix, dy = work.inputs
    total, own = work.op.around()
    n, f, _, w = dy.shape
    zeroed = np.zeros((total, f, w * n), dy.dtype)
    target = zeroed.reshape(total, f, w, n)[own]
    out = work.out.reshape(work.out.shape[0], matrix.shape[0], w * n)
    return [
        bound(np.copyto, target, dy.transpose(2, 1, 3, 0)),
        bound(np.matmul, matrix, work.op.spread_stacks(zeroed), out),
    ]


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
