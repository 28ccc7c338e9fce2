"""Pass: a graph for a whole batch as three: before the tiles, one tile, and after all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tinygraph.engines.plan.node import Node, constant, make, topological
from tinygraph.graph.batch import MEAN, SHARED, TOTAL, Each, Tiling
from tinygraph.ops.elementwise.arithmetic import multiply


@dataclass(frozen=True)
class Tile:
    """The graph of one tile: its outputs by the nodes of the whole batch that they are parts of, the axis of the samples of
    each node that has them, and the nodes that stand for some rows of what is known before, with what that is."""

    outputs: Mapping[Node, Node]
    axes: Mapping[Node, int]
    rows: Mapping[Node, Node]


@dataclass(frozen=True)
class Split:
    """A graph cut along its batch.

    ``before`` is computed once and given to the tiles and to what comes after; ``each`` and ``totals`` come from the tiles;
    ``after`` are the outputs that are computed from totals.
    """

    found: Mapping[Node, Tiling]
    count: int
    before: tuple[Node, ...]
    each: tuple[Node, ...]
    totals: tuple[Node, ...]
    after: tuple[Node, ...]

    def tile(self, size: int) -> Tile:
        """Return the graph of a tile of ``size`` samples."""
        return _tile(self, size)


def split(outputs: Sequence[Node], found: Mapping[Node, Tiling], count: int) -> Split:
    """Return a graph whose nodes behave as ``found``, cut along its batch of ``count``."""
    nodes = topological(outputs)
    whole = {node for node in nodes if found[node].state is SHARED}
    reaching = [node for node in nodes if node not in whole] + list(outputs)
    needed = {x for node in reaching for x in (*node.inputs, node) if x in whole and x.op is not None}
    return Split(
        found,
        count,
        tuple(node for node in nodes if node in needed),
        tuple(dict.fromkeys(node for node in outputs if isinstance(found[node].state, Each))),
        tuple(node for node in nodes if found[node].state in (TOTAL, MEAN)),
        tuple(dict.fromkeys(node for node in outputs if not isinstance(found[node].state, Each))),
    )


def _tile(cut: Split, size: int) -> Tile:
    new: dict[Node, Node] = {}
    rows: dict[Node, Node] = {}
    axes: dict[Node, int] = {}
    slices: dict[Node, Node] = {}

    def slice_of(x: Node) -> Node:
        if x not in slices:
            slices[x] = Node((size, *x.shape[1:]), x.dtype, tensors=x.tensors)
            rows[slices[x]] = x
        return slices[x]

    wanted = (*cut.each, *cut.totals)
    for node in topological(wanted):
        tiling = cut.found[node]
        if tiling.state is SHARED:
            new[node] = node
            continue
        inputs = tuple(slice_of(x) if i in tiling.sliced else new[x] for i, x in enumerate(node.inputs))
        op = node.op if tiling.for_tile is None else tiling.for_tile(size)
        shape = node.shape
        if isinstance(tiling.state, Each):
            axis = tiling.state.axis
            shape = (*shape[:axis], size, *shape[axis + 1 :])
        new[node] = Node(shape, node.dtype, op, inputs, leaf=node.leaf, tensors=node.tensors)
        if isinstance(tiling.state, Each):
            axes[new[node]] = tiling.state.axis
        if tiling.state is MEAN and size != cut.count:
            share = constant(np.asarray(size / cut.count, node.dtype))
            new[node] = make(multiply.op(), new[node], share, tensors=node.tensors)
    return Tile({node: new[node] for node in wanted}, axes, rows)
