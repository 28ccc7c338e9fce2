"""Products of stacks of matrices, done as one product where the stack can be seen as one matrix with more rows."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from tinygraph.engines.plan.kernels.base import Call, Work, kernel, ordinary
from tinygraph.graph import TOTAL, Array, BatchRule, Each, Op, Shape, Use, Value
from tinygraph.ops.linear.linear import Matmul


def rows_of(x: Array) -> Array | None:
    """Return a stack of matrices as one matrix with all their rows, a view, or ``None`` where it lies in another order.

    >>> rows_of(np.zeros((2, 3, 4))).shape, rows_of(np.zeros((3, 2, 4)).swapaxes(0, 1)) is None
    ((6, 4), True)
    """
    if not x.size:
        return None
    rows = x.reshape(-1, x.shape[-1])
    return rows if np.may_share_memory(rows, x) else None


class SummedProduct(Op):
    """The products ``xᵀ dy`` of matrices ``(..., n, k)`` and ``(..., n, m)``, summed over the stack: ``(k, m)``.

    This is the gradient of a matrix that many matrices are multiplied by.
    """

    def shape(self, x: Value, dy: Value) -> Shape:
        return (x.shape[-1], dy.shape[-1])

    def forward(self, x: Value, dy: Value) -> Value:
        product: Array = x.reshape(-1, x.shape[-1]).T @ dy.reshape(-1, dy.shape[-1])
        return product

    def batch(self, use: Use) -> BatchRule:
        return TOTAL if use.states == (Each(0), Each(0)) else None


@kernel(SummedProduct)
def _summed_product(work: Work) -> Sequence[Call]:
    x, dy = map(rows_of, work.inputs)
    return ordinary(work) if x is None or dy is None else [partial(np.matmul, x.T, dy, work.out)]


# BLAS multiplies a column by a row faster than NumPy's loops as long as the product stays in the cache.
_MANY_PRODUCTS = 1 << 17


def _outer(x: Array, y: Array, out: Array) -> Call:
    """Return the call for all products of the elements of two vectors."""
    alike = x.dtype == y.dtype == out.dtype and out.dtype.char in "fd" and out.flags.c_contiguous and out.size
    if not alike:
        return partial(np.multiply, x[:, None], y, out)
    if out.size <= _MANY_PRODUCTS:
        return partial(np.dot, x[:, None], y[None], out)
    return partial(np.einsum, "i,j->ij", x, y, out=out)


@kernel(Matmul)
def _matmul(work: Work) -> Sequence[Call]:
    """The product, or its transpose if the rows of the transpose are contiguous in memory; stacks as one matrix."""
    (x, y), out = work.inputs, work.out
    if y.ndim == 2 < x.ndim:
        rows, result = rows_of(x), rows_of(out)
        if rows is not None and result is not None:
            return [partial(np.matmul, rows, y, result)]
    if x.ndim == y.ndim == 2 and x.shape[1] == 1:
        return [_outer(x[:, 0], y[0], out)]
    if out.ndim == 2 and x.ndim == y.ndim == 2 and not out.flags.c_contiguous and out.T.flags.c_contiguous:
        return [partial(np.matmul, y.T, x.T, out.T)]
    return [partial(np.matmul, x, y, out)] if out.ndim else ordinary(work)
