"""Kernels of losses, and of what stands before and behind them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinygraph.ops.activation import Softmax
from tinygraph.ops.classification import CrossEntropy, OneHot
from tinygraph.ops.loss import Bce, BceWithLogits
from tinygraph.plan.kernels.base import Call, Work, bound, kernel, ordinary

# Up to this many elements one call of logaddexp, which computes them one by one, is quicker than six calls of other functions.
_MANY = 512


@kernel(Bce, BceWithLogits)
def _bce_from_logits(work: Work) -> Sequence[Call]:
    """The mean of max(z, 0) - z y + log(1 + exp(-|z|)); labels out of range are for the ordinary rule to refuse."""
    if isinstance(work.op, BceWithLogits):
        z, y = work.inputs
    elif len(work.inputs) == 3:
        _, y, z = work.inputs
    else:
        return ordinary(work)
    if any(x.dtype != work.out.dtype for x in (y, z)) or not z.size:
        return ordinary(work)
    term, rest = (work.scratch.take(z.shape, z.dtype, like=z) for _ in range(2))
    (rule,), zero, out = ordinary(work), np.zeros((), z.dtype), work.out
    least, most = np.minimum.reduce, np.maximum.reduce
    count = np.asarray(z.size, z.dtype)
    smooth = [bound(np.logaddexp, z, zero, term)]
    if z.size > _MANY:
        smooth = [
            bound(np.abs, z, term),
            bound(np.negative, term, term),
            bound(np.exp, term, term),
            bound(np.log1p, term, term),
            bound(np.maximum, z, zero, out=rest),
            bound(np.add, term, rest, term),
        ]
    calls = [
        *smooth,
        bound(np.multiply, z, y, rest),
        bound(np.subtract, term, rest, term),
        bound(np.add.reduce, term, axis=None, out=out),
        bound(np.true_divide, out, count, out),
    ]

    def call() -> None:
        if least(y, None) >= 0 and most(y, None) <= 1:
            for each in calls:
                each()
        else:
            rule()

    return [call]


@kernel(Softmax)
def _softmax(work: Work) -> Sequence[Call]:
    (x,), y, axis = work.inputs, work.out, work.op.axis
    if x.dtype != y.dtype or not x.size:
        return ordinary(work)
    over = tuple(1 if i == axis % x.ndim else size for i, size in enumerate(x.shape))
    reduced = work.scratch.take(over, y.dtype, like=y)
    return [
        bound(np.maximum.reduce, x, axis=axis, out=reduced, keepdims=True),
        bound(np.subtract, x, reduced, y),
        bound(np.exp, y, y),
        bound(np.add.reduce, y, axis=axis, out=reduced, keepdims=True),
        bound(np.true_divide, y, reduced, y),
    ]


@kernel(CrossEntropy)
def _cross_entropy(work: Work) -> Sequence[Call]:
    """The mean of log(sum(exp(z))) - z[label], for class numbers; those out of range are for the ordinary rule to refuse."""
    (z, labels), out = work.inputs, work.out
    if z.ndim != 2 or labels.ndim != 1 or z.dtype != out.dtype or not z.size:
        return ordinary(work)
    shifted = work.scratch.take(z.shape, z.dtype, like=z)
    largest, total = (work.scratch.take((z.shape[0], 1), z.dtype) for _ in range(2))
    (rule,), rows, count = ordinary(work), np.arange(z.shape[0]), np.asarray(z.shape[0], z.dtype)
    calls = [
        bound(np.maximum.reduce, z, axis=1, out=largest, keepdims=True),
        bound(np.subtract, z, largest, shifted),
        bound(np.exp, shifted, shifted),
        bound(np.add.reduce, shifted, axis=1, out=total, keepdims=True),
        bound(np.log, total, total),
        bound(np.add, total, largest, total),
    ]

    def call() -> None:
        if labels.min() < 0 or labels.max() >= z.shape[1]:
            rule()
            return
        for each in calls:
            each()
        np.subtract(total[:, 0], z[rows, labels], total[:, 0])
        np.add.reduce(total, axis=None, out=out)
        np.true_divide(out, count, out)

    return [call]


@kernel(OneHot)
def _one_hot(work: Work) -> Sequence[Call]:
    (labels,), out, classes = work.inputs, work.out, work.op.classes
    if not labels.size:
        return ordinary(work)
    (rule,), each = ordinary(work), np.arange(classes, dtype=labels.dtype)

    def call() -> None:
        if labels.min() < 0 or labels.max() >= classes:
            rule()
        else:
            np.copyto(out, np.equal(labels[..., None], each), casting="unsafe")

    return [call]
