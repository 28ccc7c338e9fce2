"""Pass: what changes nothing is left out. Every rule here gives the same bits as what it replaces."""

from __future__ import annotations

from collections.abc import Sequence

from tinygraph.engines.plan.node import Node, make, remade, rewrite
from tinygraph.engines.plan.trust import is_a
from tinygraph.graph.op import Op
from tinygraph.ops.elementwise.arithmetic import divide, identity, multiply
from tinygraph.ops.elementwise.cast import Cast
from tinygraph.ops.shape.shape import BroadcastTo, Reshape, SameElements, SumTo, Transpose


def simplify(outputs: Sequence[Node]) -> list[Node]:
    """Return the outputs without identities: second names, factors of one, moves that move nothing, reshapes of reshapes.

    >>> import tinygraph as tg
    >>> from tinygraph.engines.plan.node import lift
    >>> x = tg.input("x", (2, 3))
    >>> simplify(lift(tg.Graph(tg.relu(x).reshape(6).reshape(3, 2) * 1.0)))[0].inputs
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
