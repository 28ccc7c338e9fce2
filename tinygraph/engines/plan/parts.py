"""Whether a batch may be evaluated in parts, and how the results of the parts come together."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np

from tinygraph.engines.plan.node import Node, in_order, nodes_of
from tinygraph.engines.plan.tiles import analyse
from tinygraph.graph.batch import Each, Tiling
from tinygraph.graph.graph import Graph


def in_parts(whole: Graph, parts: Iterable[Graph], inputs: Collection[str], count: int) -> list[Tiling] | None:
    """Return how the outputs of a graph on ``count`` samples are made from those of the same graph on fewer samples.

    ``parts`` are the graphs recorded for fewer samples, ``inputs`` the names of the inputs whose first axis is the batch.
    ``None`` where an operation mixes samples, or where a number or a setting depends on how many samples there are: then
    only the whole batch gives the right result.

    >>> import tinygraph as tg
    >>> record = lambda m: tg.Graph(tg.input("x", (m, 3)).sum(axis=1))
    >>> in_parts(record(5), [record(2), record(1)], ["x"], 5)[0].state
    Each(axis=0)
    >>> record = lambda m: tg.Graph(tg.softmax(tg.input("x", (m, 3)), axis=0))
    >>> in_parts(record(5), [record(2), record(1)], ["x"], 5) is None
    True
    """
    outputs = nodes_of(whole)
    samples = {leaf: 0 for name, leaf in whole.inputs.items() if name in inputs}
    found = analyse(outputs, samples, count)
    if found is None or not all(_alike(in_order(outputs), found, part, inputs) for part in parts):
        return None
    return [found[output] for output in outputs]


def _alike(nodes: list[Node], found: dict[Node, Tiling], part: Graph, inputs: Collection[str]) -> bool:
    """Whether a graph on fewer samples is what the nodes of the whole batch say, with fewer samples."""
    others = in_order(nodes_of(part))
    size = next((leaf.shape[0] for name, leaf in part.inputs.items() if name in inputs), 0)
    return len(nodes) == len(others) and all(
        _same(node, found[node], other, size) for node, other in zip(nodes, others, strict=True)
    )


def _same(node: Node, tiling: Tiling, other: Node, size: int) -> bool:
    shape, state = node.shape, tiling.state
    if isinstance(state, Each):
        shape = (*shape[: state.axis], size, *shape[state.axis + 1 :])
    if other.shape != shape or (node.op is not None and node.op != other.op and tiling.for_tile is None):
        return False
    return node.value is None or (other.value is not None and np.array_equal(node.value, other.value, equal_nan=True))
