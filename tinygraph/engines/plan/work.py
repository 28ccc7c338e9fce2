"""How much work a node is: for deciding on tiles and threads, and for telling."""

from __future__ import annotations

import math

from tinygraph.engines.plan.node import Node
from tinygraph.engines.plan.rows import RowConvolution, RowKernelGradient, RowSpread
from tinygraph.ops.linear.linear import Matmul

# Rough costs on one thread of today's machines; only their proportions matter.
_SECONDS_PER_ELEMENT = 0.3e-9
_SECONDS_PER_OPERATION = 1 / 50e9


def operations(node: Node) -> int:
    """Return the floating-point operations of a matrix product, two for each pair of numbers that meet; 0 for other nodes.

    >>> import tinygraph as tg
    >>> from tinygraph.engines.plan.node import lift
    >>> operations(lift(tg.Graph(tg.input("x", (2, 3)) @ tg.input("y", (3, 4))))[0])
    48
    """
    if isinstance(node.op, Matmul):
        return 2 * node.size * node.inputs[0].shape[-1]
    if isinstance(node.op, (RowConvolution, RowSpread)):
        return 2 * node.size * node.inputs[0].shape[1]
    if isinstance(node.op, RowKernelGradient):
        dy = node.inputs[1]
        return 2 * node.size * math.prod(dy.shape) // max(dy.shape[1], 1)
    return 0


def seconds(node: Node) -> float:
    """Return about how long a node takes on one thread, calls aside."""
    return node.size * _SECONDS_PER_ELEMENT + operations(node) * _SECONDS_PER_OPERATION
