"""Graph: the nodes that some outputs depend on, in topological order. Tensors by name, such as the parameters of a model."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from functools import cached_property
from operator import attrgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from tinygraph.errors import TinygraphError
from tinygraph.graph.tensor import Tensor
from tinygraph.readers import notebook_view, reader

if TYPE_CHECKING:
    from tinygraph.describe.text import Layout

# A tensor, or a node of an engine: it has ``inputs`` and, as ``order``, a number that is larger than theirs.
Node = TypeVar("Node", bound=Any)


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
        self.outputs: tuple[Tensor, ...] = tensors_of(outputs, "a graph is made of tensors")
        # Inputs and parameters open the graph, whenever they were made; sorting is stable, so the order stays topological.
        rank = {"input": 0, "parameter": 1, "state": 2}
        self.nodes: tuple[Tensor, ...] = tuple(
            sorted(topological(self.outputs), key=lambda node: rank.get(node.kind, 3))
        )

    @cached_property
    def layout(self) -> Layout:
        """The lines of the graph's text, and the label of each node."""
        layout: Layout = reader("lay_out")(self.nodes, self.outputs)
        return layout

    @property
    def labels(self) -> Mapping[Tensor, str]:
        """The label of each node in the text: its name, made unique, or t1, t2, ..."""
        return MappingProxyType(self.layout.labels)

    @property
    def inputs(self) -> Mapping[str, Tensor]:
        """The inputs by name, in order."""
        return self._leaves_by_kind["input"]

    @property
    def parameters(self) -> Mapping[str, Tensor]:
        """The parameters by name, in order."""
        return self._leaves_by_kind["parameter"]

    @property
    def state(self) -> Mapping[str, Tensor]:
        """The states, which are kept from step to step and not trained, by name, in order."""
        return self._leaves_by_kind["state"]

    @property
    def leaves(self) -> Mapping[str, Tensor]:
        """All nodes that no operation made, by name, in order."""
        return self._leaves_by_kind["leaf"]

    @cached_property
    def _leaves_by_kind(self) -> Mapping[str, Mapping[str, Tensor]]:
        found: dict[str, dict[str, Tensor]] = {"leaf": {}, "input": {}, "parameter": {}, "state": {}}
        for node in self.nodes:
            if node.op is None:
                found["leaf"][self.labels[node]] = node
                found.setdefault(node.kind, {})[self.labels[node]] = node
        return {kind: NamedTensors(leaves) for kind, leaves in found.items()}

    def __len__(self) -> int:
        return len(self.nodes)

    def __str__(self) -> str:
        return str(reader("equations_text")(self.layout.equations))

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """Return what a notebook shows: the picture, or text alone where none can be made."""
        return notebook_view(self, str(self), include, exclude)

    def __repr__(self) -> str:
        outputs = ", ".join(self.labels[output] for output in self.outputs)
        return f"<Graph of {outputs}: {len(self.nodes)} nodes>"


class NamedTensors(Mapping[str, Tensor]):
    """Tensors by name, for reading. ``print`` shows them as a table, and so does a notebook.

    >>> import tinygraph as tg
    >>> print(tg.load_model("xor").parameters)
    W1  parameter  float32 (2, 4)  8
    B1  parameter  float32 (4,)    4
    W2  parameter  float32 (4, 1)  4
    B2  parameter  float32 (1,)    1
    """

    __slots__ = ("_tensors",)

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._tensors = tensors

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def __or__(self, others: Mapping[str, Any]) -> dict[str, Any]:
        return {**self, **others}

    def __repr__(self) -> str:
        rows = [(name, x.kind, f"{x.dtype} {x.shape}", f"{x.size:,}") for name, x in self.items()]
        return str(reader("aligned")(rows)) if rows else "no tensors"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: a table of shapes and of the numbers that the tensors hold."""
        view: str = reader("tensors_view")(self)
        return view


def tensors_of(given: Any, why: str) -> tuple[Tensor, ...]:
    """Return one tensor or several as a tuple, or raise a ``TinygraphError`` that begins with ``why``."""
    if isinstance(given, Tensor):
        return (given,)
    several = tuple(given) if isinstance(given, Iterable) and not isinstance(given, (str, bytes)) else (given,)
    for each in several:
        if not isinstance(each, Tensor):
            hint = "; the graph of a model is model.graph(batch=32)" if hasattr(each, "record") else ""
            raise TinygraphError(f"{why}; found {type(each).__name__}{hint}")
    return several


def topological(outputs: Iterable[Node], known: Container[Node] = ()) -> list[Node]:
    """Return every node that ``outputs`` depend on, inputs before what uses them, without ``known`` ones and their inputs.

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
            if x not in seen and x not in known:
                seen.add(x)
                stack.append(x)
    return sorted(seen, key=attrgetter("order"))
