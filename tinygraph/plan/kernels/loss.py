"""Kernels of losses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinygraph.ops.loss import Bce, BceWithLogits
from tinygraph.plan.kernels.base import Call, Work, bound, kernel, ordinary


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
    count = np.asarray(z.size, z.dtype)
    calls = [
        bound(np.abs, z, term),
        bound(np.negative, term, term),
        bound(np.exp, term, term),
        bound(np.log1p, term, term),
        bound(np.maximum, z, zero, out=rest),
        bound(np.add, term, rest, term),
        bound(np.multiply, z, y, rest),
        bound(np.subtract, term, rest, term),
        bound(np.add.reduce, term, axis=None, out=out),
        bound(np.true_divide, out, count, out),
    ]

    def call() -> None:
        if y.min() >= 0 and y.max() <= 1:
            for each in calls:
                each()
        else:
            rule()

    return [call]
