"""ONNX's sequences of tensors, as exporters write a split whose parts are picked, or a list that is joined."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.interop.onnx.node import Node, Parts, Value
from tinygraph.interop.onnx.shaping import parted, whole
from tinygraph.ops.indexing import select as ix
from tinygraph.ops.shape import shape as sh


def split_to_sequence(n: Node, x: Value, split: Value = None) -> Parts:
    """SplitToSequence: into parts of the sizes given, or of one size, of which the last may be smaller."""
    axis = n.axis(n.get("axis", 0), x)
    sizes = [1] if split is None else whole(n, split, "its split")
    if split is None or split.ndim == 0:
        each = max(sizes[0], 1)
        n.write_out(-(-x.shape[axis] // each))
        sizes = [min(each, x.shape[axis] - start) for start in range(0, x.shape[axis], each)]
    n.write_out(len(sizes))
    found = parted(n, x, axis, sizes)
    return Parts(
        tuple(sh.squeeze(part, axis) for part in found) if split is None and not n.get("keepdims", 1) else found
    )


def construct(n: Node, *x: Value) -> Parts:
    """SequenceConstruct."""
    return Parts(x)


def at(n: Node, sequence: Parts, position: Value) -> Value:
    """SequenceAt: one of the tensors, counted from the end where the position is negative."""
    place = whole(n, position, "its position")[0]
    if not -len(sequence.items) <= place < len(sequence.items):
        n.fail(f"position {place} is out of range for a sequence of {len(sequence.items)}")
    return sequence.items[place]


def concatenated(n: Node, sequence: Parts) -> Value:
    """ConcatFromSequence: along an axis, or along a new one."""
    axis, items = n.need("axis"), list(sequence.items)
    if not items:
        n.fail("the sequence is empty")
    if n.get("new_axis", 0):
        items = [sh.expand_dims(x, (axis,)) for x in items]
    return items[0] if len(items) == 1 else ix.concatenate(items, axis=axis)


def length(n: Node, sequence: Parts) -> Any:
    """SequenceLength."""
    return np.asarray(len(sequence.items), np.int64)
