"""Kernels that move elements."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from tinygraph.engines.plan.kernels.base import Call, Work, kernel, ordinary
from tinygraph.engines.plan.memory import reshaped
from tinygraph.graph import Array, Shape
from tinygraph.ops.indexing import select as indexing
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


@kernel(indexing.Flip)
def _flip(work: Work) -> Sequence[Call]:
    return _if_view(work, np.flip(work.inputs[0], work.op.axis))


@kernel(indexing.Getitem)
def _getitem(work: Work) -> Sequence[Call]:
    return _if_view(work, work.inputs[0][work.op.index.apply()])


def _if_view(work: Work, part: Array) -> Sequence[Call]:
    """Copy a part of an input if it is a view. NumPy returns a copy where it picks elements, or a single number."""
    if not isinstance(part, np.ndarray) or not np.may_share_memory(part, work.inputs[0]):
        return ordinary(work)
    return [partial(np.copyto, work.out, part)]


@kernel(indexing.Concatenate)
def _concatenate(work: Work) -> Sequence[Call]:
    axis, start, calls = work.op.axis % work.out.ndim, 0, []
    for x in work.inputs:
        part = work.out[(slice(None),) * axis + (slice(start, start + x.shape[axis]),)]
        calls.append(partial(np.copyto, part, x))
        start += x.shape[axis]
    return calls
