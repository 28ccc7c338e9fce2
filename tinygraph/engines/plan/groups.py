"""Pass: what is computed of groups of channels is computed of images whose axes are kept apart.

Group and instance norm take the statistics of ``(N, G, R)``, a reshape of images ``(N, C, H, W)``, and the result is reshaped
back. Images lie as rows, channels, columns, samples, so both are copies into another order. As ``(N, G, C/G, H, W)`` they lie
as they are: a reshape is a view, and sums along the last axis are sums along the last three. Exact but for the order of sums.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from tinygraph.engines.plan.node import Node, is_a, is_own, make, remade, rewrite
from tinygraph.graph import Shape
from tinygraph.ops.reduction.reduction import Mean, Sum
from tinygraph.ops.shape.shape import BroadcastTo, Reshape, SameElements, SumTo

# By a node (N, G, R) or (N, G, 1): it with its axes apart, and the shape (C/G, H, W) of a group.
_Found: TypeAlias = Mapping[Node, tuple[Node, Shape]]


def with_axes_apart(outputs: Sequence[Node]) -> list[Node]:
    """Return the outputs with operations on groups of channels as operations on images with their axes apart.

    >>> import tinygraph as tg
    >>> from tinygraph.engines.plan.node import nodes_of
    >>> x = tg.input("x", (2, 4, 5, 5))
    >>> y = tg.relu(x.reshape((2, 2, 50))).reshape((2, 4, 5, 5))
    >>> with_axes_apart(nodes_of(tg.Graph(y)))[0].inputs
    (<relu float32 (2, 2, 2, 5, 5)>,)
    """
    found: dict[Node, tuple[Node, Shape]] = {}

    def rule(node: Node, inputs: tuple[Node, ...]) -> Node:
        made = _begun(node, inputs) or _continued(node, inputs, found)
        if made is None:
            return remade(node, inputs)
        result = make(Reshape(node.shape), made[0], tensors=node.tensors)
        if node.ndim == 3:
            found[result] = made
        return result

    return rewrite(outputs, rule)


def _begun(node: Node, inputs: tuple[Node, ...]) -> tuple[Node, Shape] | None:
    """Return images with their axes apart where they are reshaped to groups."""
    if not is_a(node.op, SameElements) or inputs[0].ndim != 4 or node.ndim != 3 or not node.size:
        return None
    count, channels, *image = inputs[0].shape
    groups = node.shape[1]
    if node.shape[0] != count or channels % groups:
        return None
    group = (channels // groups, *image)
    if sum(size > 1 for size in group) < 2:
        # A view as it is.
        return None
    return make(Reshape((count, groups, *group)), inputs[0]), group


def _continued(node: Node, inputs: tuple[Node, ...], found: _Found) -> tuple[Node, Shape] | None:
    """Return an operation on groups as one on images with their axes apart, or ``None`` for another operation."""
    op = node.op
    first = next((found[x] for x in inputs if x in found), None)
    if op is None or first is None or not is_own(op):
        return None
    x, group = first
    if is_a(op, SameElements):
        return (x, group) if node.ndim == 4 else None
    if isinstance(op, (Mean, Sum)) and op.axis in (-1, 2, (-1,), (2,)) and op.keepdims:
        return make(replace(op, axis=(2, 3, 4)), x), group
    # Numbers for each group, of size 1 along the last axis, may be repeated to another size.
    if node.ndim != 3 or node.shape[-1] not in (1, math.prod(group)):
        return None
    if isinstance(op, (SumTo, BroadcastTo)):
        return make(replace(op, to=_apart(op.to, group)), x), group
    if not op.elementwise:
        return None

    def apart(other: Node) -> Node:
        known = found.get(other)
        return known[0] if known and known[1] == group else make(Reshape(_apart(other.shape, group)), other)

    return make(op, *map(apart, inputs)), group


def _apart(shape: Shape, group: Shape) -> Shape:
    """Return the shape of what broadcasts to groups ``(N, G, R)``, with the axes of ``R`` apart.

    >>> _apart((1, 4, 1), (2, 5, 5)), _apart((50,), (2, 5, 5)), _apart((), (2, 5, 5))
    ((1, 4, 1, 1, 1), (2, 5, 5), ())
    """
    return (*shape[:-1], *(group if shape[-1] != 1 else (1,) * len(group))) if shape else ()
