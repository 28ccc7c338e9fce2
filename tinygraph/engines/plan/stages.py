"""Cutting a graph into stages: where sums over the batch are read by what treats each sample alone, as in batch statistics.

The tiles of a stage give the parts of sums; the next stage begins when all its tiles are done and the sums are complete. What
later stages read of each sample is kept for the whole batch, unless it only moves elements: that is moved again. So graphs with
batch statistics are cut into tiles as others are, and run on threads.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tinygraph.engines.plan.kernels.rows import RowPatches
from tinygraph.engines.plan.node import Node, is_a
from tinygraph.engines.plan.tiles import tiling_of
from tinygraph.graph import AFTER, MEAN, SHARED, TOTAL, Each, Tensor, Tiling, topological
from tinygraph.graph.tensor import input as declare_input
from tinygraph.ops.shape.shape import BroadcastTo, SameElements, Transpose

_SUMS = (TOTAL, MEAN, AFTER)


@dataclass(frozen=True)
class Stage:
    """The nodes that a stage computes, ``outputs``, and the nodes of the whole graph whose values they are, ``originals``.

    ``leaves`` has the leaf under which later stages read an output, by its original; ``samples`` the axis of the samples of
    each leaf that the stage may read.
    """

    originals: tuple[Node, ...]
    outputs: tuple[Node, ...]
    leaves: Mapping[Node, Tensor]
    samples: Mapping[Any, int]


def stages(outputs: Sequence[Node], samples: Mapping[Any, int], count: int) -> list[Stage] | None:
    """Return the stages of a graph for a batch of ``count``, or ``None`` where an operation mixes samples otherwise.

    ``samples`` gives the axis of the samples of each leaf that holds them.

    >>> import tinygraph as tg
    >>> from tinygraph.engines.plan.node import nodes_of
    >>> x = tg.input("x", (4, 3))
    >>> [len(stages(nodes_of(tg.Graph(y)), {x: 0}, 4)) for y in (tg.relu(x), tg.mean(x, axis=0), x - tg.mean(x, axis=0))]
    [1, 1, 2]
    >>> stages(nodes_of(tg.Graph(x @ x.T)), {x: 0}, 4) is None
    True
    """
    found: dict[Node, Tiling] = {}
    level: dict[Node, int] = {}
    for node in topological(outputs):
        tiling = _tiling(node, found, samples, count)
        if tiling is None:
            return None
        # A node that reads a sum, and something of each sample, is computed a stage later than the sum.
        waits = _reads_samples(node, found)
        level[node] = max((level[x] + (waits and found[x].state in _SUMS) for x in node.inputs), default=0)
        found[node] = tiling
    return _Cut(outputs, samples, found, level).stages(max(level.values(), default=0))


def _tiling(node: Node, found: Mapping[Node, Tiling], samples: Mapping[Any, int], count: int) -> Tiling | None:
    """Return how a node is tiled where the sums that it reads are complete."""
    if node.op is not None and _reads_samples(node, found):
        found = {x: Tiling(SHARED) if found[x].state in _SUMS else found[x] for x in node.inputs}
    return tiling_of(node, found, samples, count)


def _reads_samples(node: Node, found: Mapping[Node, Tiling]) -> bool:
    return any(isinstance(found[x].state, Each) for x in node.inputs)


def _is_moved(node: Node) -> bool:
    """Whether a node is computed again in each stage that reads it: it is given, or moves elements and would take memory."""
    return node.op is None or is_a(node.op, RowPatches, SameElements, Transpose, BroadcastTo)


class _Cut:
    def __init__(
        self,
        outputs: Sequence[Node],
        samples: Mapping[Any, int],
        found: Mapping[Node, Tiling],
        level: Mapping[Node, int],
    ) -> None:
        self.outputs, self.found, self.level = outputs, found, level
        self.samples = dict(samples)
        # The leaves for what is kept, by its node, as tensors and as nodes.
        self.leaves: dict[Node, Tensor] = {}
        self.nodes: dict[Node, Node] = {}

    def stages(self, last: int) -> list[Stage]:
        """Return the stages in order. The last is cut first, because it says what the others must keep."""
        cut: list[Stage] = []
        for stage in range(last, -1, -1):
            kept = [node for node in self.leaves if self.level[node] == stage]
            originals = tuple(dict.fromkeys([*(x for x in self.outputs if self.level[x] == stage), *kept]))
            earlier = {x for x in self.level if self.level[x] < stage and not _is_moved(x)}
            made: dict[Node, Node] = {}
            for node in topological(originals, earlier):
                inputs = tuple(self._kept(x) if x in earlier else made[x] for x in node.inputs)
                alike = inputs == node.inputs
                made[node] = node if alike else Node(node.shape, node.dtype, node.op, inputs, tensors=node.tensors)
            leaves = {node: self.leaves[node] for node in kept}
            cut.append(Stage(originals, tuple(made[node] for node in originals), leaves, self.samples))
        return cut[::-1]

    def _kept(self, node: Node) -> Node:
        """Return a leaf for what an earlier stage computes."""
        if node not in self.leaves:
            leaf = self.leaves[node] = declare_input("kept", node.shape, node.dtype)
            self.nodes[node] = Node(node.shape, node.dtype, leaf=leaf)
            state = self.found[node].state
            if isinstance(state, Each):
                self.samples[leaf] = state.axis
        return self.nodes[node]
