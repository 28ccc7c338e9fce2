"""Pass: the same operation on the same inputs is computed once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tinygraph.engines.plan.node import Node, remade, topological
from tinygraph.engines.plan.trust import known


def share_common(outputs: Sequence[Node]) -> tuple[list[Node], list[Node]]:
    """Return the outputs with equal nodes made one, and the nodes that were spared.

    Equal are nodes of known operations with equal attributes on the same inputs; constants with the same bits are one.

    >>> import tinygraph as tg
    >>> from tinygraph.engines.plan.node import lift
    >>> x = tg.input("x", (2,))
    >>> shared, spared = share_common(lift(tg.Graph([tg.exp(x), tg.exp(x)])))
    >>> shared[0] is shared[1], len(spared)
    (True, 1)
    """
    first: dict[Any, Node] = {}
    new: dict[Node, Node] = {}
    spared: list[Node] = []
    for node in topological(outputs):
        made = remade(node, tuple(new[x] for x in node.inputs))
        key = _key(made)
        if key in first:
            kept = first[key]
            kept.tensors += made.tensors
            if node.op is not None:
                spared.append(node)
            made = kept
        elif key is not None:
            first[key] = made
        new[node] = made
    return [new[output] for output in outputs], spared


def _key(node: Node) -> Any:
    if node.value is not None:
        return node.shape, node.dtype.str, node.value.tobytes()
    if not known(node.op):
        return None
    assert node.op is not None
    try:
        hash(node.op)
    except TypeError:
        return None
    # 0.0 == -0.0, but their quotients differ.
    negative = [name for name, x in node.op.attributes().items() if isinstance(x, float) and math.copysign(1, x) < 0]
    return type(node.op), node.op, tuple(negative), node.inputs
