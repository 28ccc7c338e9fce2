"""Kernels that move elements."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from tinygraph.engines.plan.kernels.base import Call, Work, kernel, ordinary
from tinygraph.engines.plan.memory import reshaped
from tinygraph.graph import Array, Shape
from tinygraph.ops.shape import shape


@kernel(shape.Reshape, shape.Flatten, shape.Squeeze, shape.ExpandDims)
def _reshape(work: Work) -> Sequence[Call]:
    """Copy between two shapes, through a view of one array in the shape of the other."""
    (x,), out = work.inputs, work.out
    for source, target, to in ((x, out, x.shape), (out, x, out.shape)):
        view = _viewed(target, to)
        if view is not None:
            return [partial(np.copyto, view, source) if target is out else partial(np.copyto, out, view)]
    return ordinary(work)


def _viewed(x: Array, to: Shape) -> Array | None:
    strides = None if x.size == 0 else reshaped(x.shape, x.strides, to)
    return None if strides is None else np.lib.stride_tricks.as_strided(x, to, strides)


@kernel(shape.Transpose, shape.BroadcastTo)
def _copy(work: Work) -> Sequence[Call]:
    x = work.inputs[0]
    if isinstance(work.op, shape.Transpose):
        x = work.op.forward(x)
    return [partial(np.copyto, work.out, x)]
