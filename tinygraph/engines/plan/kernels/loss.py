"""Kernels of losses and of softmax."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from tinygraph.engines.plan.kernels.base import Call, Work, kernel, ordinary, summing
from tinygraph.ops.activation.activation import Softmax
from tinygraph.ops.loss.binary import Bce, BceWithLogits
from tinygraph.ops.loss.classification import CrossEntropy


@kernel(Bce, BceWithLogits, floats=True)
def _bce_from_logits(work: Work) -> Sequence[Call]:
    """The mean of (max(z, 0) - z y) + log(1 + exp(-|z|)).

    The large terms come first: added last, they would round the small one away.
    """
    if isinstance(work.op, BceWithLogits):
        z, y = work.inputs
    elif len(work.inputs) == 3:
        _, y, z = work.inputs
    else:
        return ordinary(work)
    term, rest = (work.scratch.take(z.shape, z.dtype, like=z) for _ in range(2))
    zero, out, count = np.zeros((), z.dtype), work.out, np.asarray(z.size, z.dtype)
    return [
        partial(np.multiply, z, y, term),
        partial(np.maximum, z, zero, out=rest),
        partial(np.subtract, rest, term, term),
        partial(np.abs, z, rest),
        partial(np.negative, rest, rest),
        partial(np.exp, rest, rest),
        partial(np.log1p, rest, rest),
        partial(np.add, term, rest, term),
        partial(np.add.reduce, term, axis=None, out=out),
        partial(np.true_divide, out, count, out),
    ]


@kernel(Softmax, floats=True)
def _softmax(work: Work) -> Sequence[Call]:
    (x,), y, axis = work.inputs, work.out, work.op.axis
    over = tuple(1 if i == axis % x.ndim else size for i, size in enumerate(x.shape))
    reduced = work.scratch.take(over, y.dtype, like=y)
    return [
        partial(np.maximum.reduce, x, axis=axis, out=reduced, keepdims=True),
        partial(np.subtract, x, reduced, y),
        partial(np.exp, y, y),
        summing(y, reduced, axis),
        partial(np.true_divide, y, reduced, y),
    ]


@kernel(CrossEntropy, floats=True)
def _cross_entropy(work: Work) -> Sequence[Call]:
    """The mean of log(sum(exp(s))) - s[label], s = z - max(z), for class numbers."""
    (z, labels), out = work.inputs, work.out
    if z.ndim != 2 or labels.ndim != 1:
        return ordinary(work)
    shifted = work.scratch.take(z.shape, z.dtype, like=z)
    largest, total = (work.scratch.take((z.shape[0], 1), z.dtype) for _ in range(2))
    rows, count = np.arange(z.shape[0]), np.asarray(z.shape[0], z.dtype)

    def pick() -> None:
        largest[:, 0] = shifted[rows, labels]

    return [
        partial(np.maximum.reduce, z, axis=1, out=largest, keepdims=True),
        partial(np.subtract, z, largest, shifted),
        pick,
        partial(np.exp, shifted, shifted),
        summing(shifted, total, 1),
        partial(np.log, total, total),
        partial(np.subtract, total, largest, total),
        partial(np.add.reduce, total, axis=None, out=out),
        partial(np.true_divide, out, count, out),
    ]
