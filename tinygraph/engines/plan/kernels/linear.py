"""Kernels of matrix products and of sums."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from tinygraph.engines.plan.kernels.base import Call, Work, kernel, ordinary, summing
from tinygraph.graph import Array
from tinygraph.ops.axes import normalized_axes
from tinygraph.ops.linear.linear import Matmul
from tinygraph.ops.reduction.reduction import Sum
from tinygraph.ops.shape.shape import SumTo


@kernel(Matmul)
def _matmul(work: Work) -> Sequence[Call]:
    """The product, or its transpose if the rows of the transpose are contiguous in memory."""
    (x, y), out = work.inputs, work.out
    if x.ndim == y.ndim == 2 and x.shape[1] == 1:
        return [partial(np.multiply, x, y, out)]
    if out.ndim == 2 and x.ndim == y.ndim == 2 and not out.flags.c_contiguous and out.T.flags.c_contiguous:
        return [partial(np.matmul, y.T, x.T, out.T)]
    return [partial(np.matmul, x, y, out)] if out.ndim else ordinary(work)


@kernel(Sum, SumTo)
def _sum(work: Work) -> Sequence[Call]:
    (x,), out = work.inputs, work.out
    if isinstance(work.op, Sum):
        axes = normalized_axes(work.op, x, work.op.axis)
    else:
        extra = x.ndim - out.ndim
        axes = tuple(i for i in range(x.ndim) if i < extra or (out.shape[i - extra] == 1 and x.shape[i] != 1))
    kept = tuple(1 if i in axes else size for i, size in enumerate(x.shape))
    if not axes:
        return [partial(np.copyto, out.reshape(x.shape), x)]
    if not out.flags.c_contiguous or out.dtype.char == "e":
        return ordinary(work)
    by_product = _sum_by_product(work, axes)
    if by_product is not None:
        return by_product
    return [summing(x, out.reshape(kept), axes)]


# Fewer elements are summed as quickly by NumPy's own reduction.
_MANY = 2048
# How many elements one product with ones sums: the error of BLAS grows with their number.
_LONG = 1024


def _sum_by_product(work: Work, axes: tuple[int, ...]) -> Sequence[Call] | None:
    """Sum the innermost axes in parts, as products with ones, and then the parts and the outermost axes.

    BLAS does the first several times faster than NumPy's reduction. ``None`` if the axes lie in another order.
    """
    x, out = work.inputs[0], work.out
    if x.size < _MANY or x.dtype != out.dtype or x.dtype.char not in "fd" or 0 in x.strides:
        return None
    order = sorted(range(x.ndim), key=lambda i: -x.strides[i])
    lying = x.transpose(order)
    if not lying.flags.c_contiguous:
        return None
    summed = [i in axes for i in order]
    kept = [n for n, s in enumerate(summed) if not s] or [0]
    outer, inner = kept[0], kept[-1] + 1
    if any(summed[outer:inner]) or inner == x.ndim or order[outer:inner] != sorted(order[outer:inner]):
        return None
    length = int(np.prod(lying.shape[inner:]))
    rows = lying.reshape(int(np.prod(lying.shape[:outer])), -1, length)
    ones = np.ones((min(length, _LONG), 1), x.dtype)
    result = out.reshape(-1, 1)
    if len(rows) == 1 and length <= _LONG:
        return [partial(np.matmul, rows[0], ones, result)]
    parts, left = divmod(length, _LONG)
    sums: Array = work.scratch.take((*rows.shape[:2], parts + (left > 0)), x.dtype)
    calls = []
    if parts:
        full = rows[:, :, : length - left].reshape(*rows.shape[:2], parts, _LONG)
        calls.append(partial(np.matmul, full, ones, sums[:, :, :parts, None]))
    if left:
        calls.append(partial(np.matmul, rows[:, :, length - left :], ones[:left], sums[:, :, -1:]))
    return [*calls, summing(sums, out.reshape(1, -1, 1), (0, 2))]
