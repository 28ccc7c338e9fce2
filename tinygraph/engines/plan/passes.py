"""The passes that turn a recorded graph into the graph that is computed, in their order."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygraph.engines.plan.gates import gate_by_result, pool_before_relu
from tinygraph.engines.plan.lower import lower
from tinygraph.engines.plan.node import Node, constant, in_order, is_a, is_own, make, nodes_of, remade, rewrite
from tinygraph.errors import TinygraphError
from tinygraph.graph import Graph, Op, evaluate
from tinygraph.ops.elementwise.arithmetic import divide, identity, multiply
from tinygraph.ops.elementwise.cast import Cast
from tinygraph.ops.shape.shape import BroadcastTo, Reshape, SameElements, SumTo, Transpose

# A larger constant is computed in each run instead of kept.
_MOST_BYTES = 1 << 20


def prepared(graph: Graph) -> tuple[list[Node], list[Node]]:
    """Return a graph's outputs as they are computed, and the nodes that are not computed a second time.

    The order matters. Equal nodes are merged first because the gates and ``lower`` ask how many nodes read a node: while there
    are two copies of it, each copy has only some of the readers. They are merged again at the end because ``lower`` makes new
    nodes, and some are equal: a convolution and its kernel gradient share their patches, a pool and its gradient the maxima.
    A new pass that only removes nodes belongs next to ``simplify``; one that counts readers after the first merge.

    Every pass begins at the outputs, so it leaves out the nodes that no output needs.

    >>> import tinygraph as tg
    >>> prepared(Graph(tg.relu(tg.input("x", (2,)))))
    ([<relu float32 (2,)>], [])
    """
    outputs, early = share_common(simplify(fold_constants(nodes_of(graph))))
    outputs, late = share_common(lower(gate_by_result(pool_before_relu(outputs))))
    return outputs, early + late


def fold_constants(outputs: Sequence[Node]) -> list[Node]:
    """Return the outputs with the results of operations on constants as constants.

    >>> import tinygraph as tg
    >>> from tinygraph.engines.plan.node import make
    >>> two = make(tg.operation("add").op(), constant(1.0), constant(1.0))
    >>> fold_constants([two])[0].value
    array(2.)
    """
    return rewrite(outputs, _folded)


def _folded(node: Node, inputs: tuple[Node, ...]) -> Node:
    if node.op is None or not is_own(node.op) or node.nbytes > _MOST_BYTES or any(x.value is None for x in inputs):
        return remade(node, inputs)
    try:
        with np.errstate(all="ignore"):
            value = evaluate(node.op, [x.value for x in inputs], node.shape, node.dtype)
    except TinygraphError:
        return remade(node, inputs)
    return constant(np.array(value), node.tensors)


def simplify(outputs: Sequence[Node]) -> list[Node]:
    """Return the outputs without operations that change nothing: identities, factors of one, reshapes of reshapes.

    >>> import tinygraph as tg
    >>> from tinygraph.engines.plan.node import nodes_of
    >>> x = tg.input("x", (2, 3))
    >>> simplify(nodes_of(tg.Graph(tg.relu(x).reshape(6).reshape(3, 2) * 1.0)))[0].inputs
    (<relu float32 (2, 3)>,)
    """
    return rewrite(outputs, _simplified)


def _simplified(node: Node, inputs: tuple[Node, ...]) -> Node:
    for x in _handed_on(node.op, inputs):
        if (x.shape, x.dtype) == (node.shape, node.dtype):
            x.tensors += node.tensors
            return x
    if is_a(node.op, SameElements) and is_a(inputs[0].op, SameElements):
        return make(Reshape(node.shape), inputs[0].inputs[0], tensors=node.tensors)
    return remade(node, inputs)


def _handed_on(op: Op | None, inputs: tuple[Node, ...]) -> list[Node]:
    """Return the inputs whose values an operation hands on unchanged if they have the shape and dtype of its result."""
    if is_a(op, identity.op, Cast, BroadcastTo, SumTo):
        return [inputs[0]]
    if is_a(op, SameElements):
        return [inputs[0], *(inputs[0].inputs if is_a(inputs[0].op, SameElements) else ())]
    if is_a(op, Transpose) and op.axes is not None and tuple(op.axes) == tuple(range(len(op.axes))):
        return [inputs[0]]
    if is_a(op, multiply.op):
        return [x for x, other in zip(inputs, inputs[::-1], strict=True) if _is_one(other)]
    return [inputs[0]] if is_a(op, divide.op) and _is_one(inputs[1]) else []


def _is_one(x: Node) -> bool:
    return x.value is not None and x.size == 1 and x.value.item() == 1


def share_common(outputs: Sequence[Node]) -> tuple[list[Node], list[Node]]:
    """Return the outputs with equal nodes made one, and the nodes that are not computed any more.

    Nodes are equal if they apply the same operation of this package, with equal attributes, to the same inputs, or if they
    are constants with the same bits.

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
        new[node] = made if key is None else first.setdefault(key, made)
        if new[node] is not made:
            new[node].tensors += made.tensors
            spared += [node] * (node.op is not None)
    return [new[output] for output in outputs], spared


def _key(node: Node) -> Any:
    """Return what equal nodes have in common, or ``None`` for a node that is equal to no other."""
    if node.value is not None:
        return node.shape, node.dtype.str, node.value.tobytes()
    if node.op is None or not is_own(node.op):
        return None
    try:
        hash(node.op)
    except TypeError:
        return None
    # 0.0 == -0.0, but their quotients differ.
    negative = [name for name, x in node.op.attributes().items() if isinstance(x, float) and math.copysign(1, x) < 0]
    return type(node.op), node.op, tuple(negative), node.inputs
