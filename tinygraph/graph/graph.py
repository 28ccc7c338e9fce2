"""Graph: the nodes behind some outputs, in topological order."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from operator import attrgetter
from types import MappingProxyType

from tinygraph.errors import TinygraphError
from tinygraph.graph.tensor import Tensor
from tinygraph.graph.text import equations_text


class Graph:
    """The nodes that some outputs are computed from, leaves included, in a topological order that never changes.

    ``outputs`` is a tensor or several. ``print(graph)`` writes the graph as equations with shapes, the same text
    for the same outputs each time.

    >>> import tinygraph as tg
    >>> x = tg.input("x", (2, 3), dtype="float64")
    >>> W = tg.parameter([[1.0], [2.0], [3.0]], name="W")
    >>> graph = Graph(tg.sigmoid(x @ W))
    >>> print(graph)
    x   input                float64 (2, 3)
    W   parameter            float64 (3, 1)
    t1  = sigmoid(x @ W)     float64 (2, 1)
    >>> list(graph.inputs), list(graph.parameters), len(graph.nodes)
    (['x'], ['W'], 4)
    """

    def __init__(self, outputs: Tensor | Iterable[Tensor]) -> None:
        self.outputs: tuple[Tensor, ...] = (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)
        for output in self.outputs:
            if not isinstance(output, Tensor):
                raise TinygraphError(f"a graph is made of tensors; found {type(output).__name__}")
        # Inputs and parameters open the graph, whenever they were made; sorting is stable, so the order stays topological.
        rank = {"input": 0, "parameter": 1}
        self.nodes: tuple[Tensor, ...] = tuple(
            sorted(topological(self.outputs), key=lambda node: rank.get(node.kind, 2))
        )
        self.labels: Mapping[Tensor, str] = MappingProxyType(_labels(self.nodes))

    @property
    def inputs(self) -> Mapping[str, Tensor]:
        """The inputs by name, in order."""
        return self._leaves("input")

    @property
    def parameters(self) -> Mapping[str, Tensor]:
        """The parameters by name, in order."""
        return self._leaves("parameter")

    @property
    def leaves(self) -> Mapping[str, Tensor]:
        """All nodes that no operation made, by name, in order."""
        return MappingProxyType({self.labels[node]: node for node in self.nodes if node.op is None})

    def _leaves(self, kind: str) -> Mapping[str, Tensor]:
        return MappingProxyType({self.labels[node]: node for node in self.nodes if node.kind == kind})

    def __len__(self) -> int:
        return len(self.nodes)

    def __str__(self) -> str:
        return equations_text(self.nodes, self.outputs, self.labels)

    def __repr__(self) -> str:
        outputs = ", ".join(self.labels[output] for output in self.outputs)
        return f"<Graph of {outputs}: {len(self.nodes)} nodes>"


def topological(outputs: Iterable[Tensor]) -> list[Tensor]:
    """Return every node that ``outputs`` depend on, inputs before what uses them.

    No recursion, and time that grows with the number of nodes and edges.

    >>> import tinygraph as tg
    >>> x = tg.tensor(2.0, name="x")
    >>> [node.name for node in topological([x * x])]
    ['x', None]
    """
    seen = set(outputs)
    stack = list(seen)
    while stack:
        for x in stack.pop().inputs:
            if x not in seen:
                seen.add(x)
                stack.append(x)
    return sorted(seen, key=attrgetter("order"))


def _labels(nodes: Iterable[Tensor]) -> dict[Tensor, str]:
    """Name every node: its own name, made unique, or t1, t2, ... for those without; constants read as numbers."""
    nodes = list(nodes)
    taken = {node.name for node in nodes if node.name}
    fresh = (f"t{i}" for i in itertools.count(1))
    labels: dict[Tensor, str] = {}
    used: set[str] = set()
    for node in nodes:
        if node.name is None:
            labels[node] = next(name for name in fresh if name not in taken)
            continue
        candidates = itertools.chain([node.name], (f"{node.name}_{i}" for i in itertools.count(2)))
        labels[node] = next(
            name for name in candidates if name not in used and (name == node.name or name not in taken)
        )
        used.add(labels[node])
    return labels
