"""What recording a model gives: the graph, and which equation made which nodes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from operator import attrgetter

from tinygraph.graph.graph import Graph
from tinygraph.graph.tensor import Tensor


@dataclass(frozen=True)
class Equation:
    """One equation of a model as it was recorded.

    ``name`` is the tensor's name with its blocks (``R1.Z1``), ``text`` the source in one line, ``line`` its line in the
    file, ``node`` the tensor, ``nodes`` all nodes made for it (those of blocks that it calls belong to their own equations),
    ``block`` the instance that it stands in, empty at the top.
    """

    name: str
    text: str
    line: int
    node: Tensor
    nodes: tuple[Tensor, ...] = ()
    block: str = ""

    def renamed(self, name: str) -> Equation:
        """Return the equation with another name on its left."""
        return dataclasses.replace(self, name=name, text=f"{name} = {self.text.partition(' = ')[2]}")


@dataclass(frozen=True)
class Recording:
    """A model recorded for one batch: its graph, its output and loss, its equations, and its tensors by name.

    A recording for ``training`` has further outputs: ``moves`` holds the new value of every state that moves, by the state's
    name. The graph is that of output and loss alone, ``whole`` that of everything.
    """

    graph: Graph
    output: Tensor
    loss: Tensor | None
    equations: tuple[Equation, ...]
    tensors: Mapping[str, Tensor]
    training: bool = False
    moves: Mapping[str, Tensor] = field(default_factory=dict)

    @cached_property
    def whole(self) -> Graph:
        """The graph of the new values of the state, then of output and loss."""
        return Graph([*self.moves.values(), *self.graph.outputs]) if self.moves else self.graph


@dataclass(frozen=True)
class Unfinished:
    """What was recorded of a model before a mistake: ``equations``, the right ones, and the one that could not be recorded.

    Of that, ``name``, ``text`` and ``block`` are as in ``Equation``, the name empty where the mistake is in no equation;
    ``inputs`` are the tensors it speaks of, and ``mistake`` says what was expected and what was found. ``title`` is the
    model's.
    """

    title: str
    equations: tuple[Equation, ...]
    mistake: str
    name: str = ""
    text: str = ""
    block: str = ""
    inputs: tuple[Tensor, ...] = ()


def with_nodes(equations: Iterable[Equation]) -> tuple[Equation, ...]:
    """Give each equation the nodes behind its tensor that no equation before it has taken."""
    taken: set[Tensor] = set()
    result = []
    for equation in equations:
        found = _behind(equation.node, taken)
        taken |= found
        result.append(dataclasses.replace(equation, nodes=tuple(sorted(found, key=attrgetter("order")))))
    return tuple(result)


def _behind(node: Tensor, taken: set[Tensor]) -> set[Tensor]:
    found: set[Tensor] = set()
    stack = [node]
    while stack:
        x = stack.pop()
        if x.op is not None and x not in taken and x not in found:
            found.add(x)
            stack.extend(x.inputs)
    return found
