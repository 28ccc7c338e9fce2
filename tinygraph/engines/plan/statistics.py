"""Lowering of statistics: standardization and variance in their parts, which forward, backward and running statistics share."""

from __future__ import annotations

import numpy as np

from tinygraph.engines.plan.node import Node, constant, make
from tinygraph.engines.plan.trust import is_a
from tinygraph.graph.op import Op
from tinygraph.ops.axes import Axis
from tinygraph.ops.elementwise.arithmetic import add, divide, multiply, subtract
from tinygraph.ops.elementwise.exponential import sqrt
from tinygraph.ops.reduction.reduction import Mean
from tinygraph.ops.shape.shape import Reshape
from tinygraph.ops.statistics.statistics import Standardize, Variance


def in_parts(node: Node, inputs: tuple[Node, ...]) -> Node | None:
    """Return a standardization or a variance as new nodes for its parts, or ``None`` for any other node.

    ``None`` also for one of nothing, or of numbers that it casts first. ``share_common`` finds that the gradient of a
    standardization needs the variance that it was made with.

    >>> import tinygraph as tg
    >>> from tinygraph.engines.plan.node import lift
    >>> x = tg.input("x", (2, 3))
    >>> in_parts(*((y := lift(tg.Graph(tg.standardize(x)))[0]), y.inputs))
    <divide float32 (2, 3)>
    """
    if not node.size or not inputs[0].size or inputs[0].dtype != node.dtype:
        return None
    if is_a(node.op, Standardize):
        return _standardized(node.op, inputs[0], node)
    if is_a(node.op, Variance):
        return _variance(node.op, inputs[0], node)
    return None


def _standardized(op: Standardize, x: Node, node: Node) -> Node:
    steadied = make(add.op(), _mean_square(x, op.axis), _number(op.epsilon, x))
    return make(divide.op(), _apart(x, op.axis), make(sqrt.op(), steadied), tensors=node.tensors)


def _variance(op: Variance, x: Node, node: Node) -> Node:
    y = _mean_square(x, op.axis)
    if op.correction:
        count = op.count(x)
        y = make(multiply.op(), y, _number(count / (count - op.correction), x))
    return make(Reshape(node.shape), y, tensors=node.tensors)


def _mean_square(x: Node, axis: Axis) -> Node:
    apart = _apart(x, axis)
    return make(_mean(axis), make(multiply.op(), apart, apart))


def _apart(x: Node, axis: Axis) -> Node:
    return make(subtract.op(), x, make(_mean(axis), x))


def _mean(axis: Axis) -> Op:
    return Mean(axis, keepdims=True)


def _number(value: float, like: Node) -> Node:
    return constant(np.asarray(value, like.dtype))
