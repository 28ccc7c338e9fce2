"""The passes that turn a recorded graph into the graph that is computed, in their order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygraph.engines.plan.gates import gate_by_result, pool_before_relu
from tinygraph.engines.plan.lower import lower
from tinygraph.engines.plan.node import Node, constant, in_order, is_a, is_own, make, nodes_of, remade, rewrite
from tinygraph.errors import TinygraphError
from tinygraph.graph.graph import Graph
from tinygraph.graph.op import Op, evaluate
from tinygraph.ops.elementwise.arithmetic import divide, identity, multiply
from tinygraph.ops.elementwise.cast import Cast
from tinygraph.ops.shape.shape import BroadcastTo, Reshape, SameElements, SumTo, Transpose

# A larger constant is computed in each run instead of kept.
_MOST_BYTES = 1 << 20


def prepared(graph: Graph) -> tuple[list[Node], Sequence[Node]]:
    """Return a graph's outputs as they are computed, and the nodes that are not computed a second time.

    Nodes that no output needs are left out by every pass, because each begins at the outputs.

    >>> import tinygraph as tg
    >>> prepared(Graph(tg.relu(tg.input("x", (2,)))))
    ([<relu float32 (2,)>], [])
    """
    outputs = simplify(fold_constants(nodes_of(graph)))
    outputs, early = share_common(outputs)
    outputs = gate_by_result(pool_before_relu(outputs))
    outputs, _ = share_common(outputs)
    outputs, late = share_common(lower(outputs))
    return outputs, [*early, *late]


def fold_constants(outputs: Sequence[Node]) -> list[Node]:
    """Return the outputs with constants in the place of known operations on constants.

    >>> import tinygraph as tg
    >>> from tinygraph.engines.plan.node import make
    >>> two = make(tg.operation("add").op(), constant(1.0), constant(1.0))
    >>> fold_constants([two])[0].value
    array(2.)
    """
    return rewrite(outputs, _folded)


def _folded(node: Node, inputs: tuple[Node, ...]) -> Node:
    if not is_own(node.op) or node.nbytes > _MOST_BYTES or any(x.value is None for x in inputs):
        return remade(node, inputs)
    assert node.op is not None
    try:
        with np.errstate(all="ignore"):
            value = evaluate(node.op, [x.value for x in inputs], node.shape, node.dtype)
    except TinygraphError:
        return remade(node, inputs)
    return constant(np.array(value), node.tensors)


def simplify(outputs: Sequence[Node]) -> list[Node]:
    """Return the outputs without identities: second names, factors of one, moves that move nothing, reshapes of reshapes.

    >>> import tinygraph as tg
    >>> from tinygraph.engines.plan.node import nodes_of
    >>> x = tg.input("x", (2, 3))
    >>> simplify(nodes_of(tg.Graph(tg.relu(x).reshape(6).reshape(3, 2) * 1.0)))[0].inputs
    (<relu float32 (2, 3)>,)
    """
    return rewrite(outputs, _simplified)


def _simplified(node: Node, inputs: tuple[Node, ...]) -> Node:
    same = _same_as(node.op, node, inputs)
    if same is not None:
        same.tensors += node.tensors
        return same
    if is_a(node.op, SameElements) and is_a(inputs[0].op, SameElements):
        return make(Reshape(node.shape), inputs[0].inputs[0], tensors=node.tensors)
    return remade(node, inputs)


def _same_as(op: Op | None, node: Node, inputs: tuple[Node, ...]) -> Node | None:
    """Return the input that a node is equal to in every bit, if there is one."""
    if is_a(op, identity.op):
        return inputs[0]
    if is_a(op, Cast, BroadcastTo, SumTo, SameElements):
        return _if_alike(inputs[0], node)
    if is_a(op, Transpose) and op.axes is not None and tuple(op.axes) == tuple(range(node.ndim)):
        return inputs[0]
    if is_a(op, multiply.op, divide.op) and _is_one(inputs[1]):
        return _if_alike(inputs[0], node)
    if is_a(op, multiply.op) and _is_one(inputs[0]):
        return _if_alike(inputs[1], node)
    if is_a(op, SameElements) and is_a(inputs[0].op, SameElements):
        return _if_alike(inputs[0].inputs[0], node)
    return None


def _if_alike(x: Node, node: Node) -> Node | None:
    return x if (x.shape, x.dtype) == (node.shape, node.dtype) else None


def _is_one(x: Node) -> bool:
    return x.value is not None and x.size == 1 and x.value.item() == 1


def share_common(outputs: Sequence[Node]) -> tuple[list[Node], list[Node]]:
    """Return the outputs with equal nodes made one, and the nodes that were spared.

    Equal are nodes of known operations with equal attributes on the same inputs; constants with the same bits are one.

    >>> import tinygraph as tg
    >>> from tinygraph.engines.plan.node import nodes_of
    >>> x = tg.input("x", (2,))
    >>> shared, spared = share_common(nodes_of(tg.Graph([tg.exp(x), tg.exp(x)])))
    >>> shared[0] is shared[1], len(spared)
    (True, 1)
    """
    first: dict[Any, Node] = {}
    new: dict[Node, Node] = {}
    spared: list[Node] = []
    for node in in_order(outputs):
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
    if not is_own(node.op):
        return None
    assert node.op is not None
    try:
        hash(node.op)
    except TypeError:
        return None
    # 0.0 == -0.0, but their quotients differ.
    negative = [name for name, x in node.op.attributes().items() if isinstance(x, float) and math.copysign(1, x) < 0]
    return type(node.op), node.op, tuple(negative), node.inputs
