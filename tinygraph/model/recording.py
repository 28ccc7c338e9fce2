"""The result of recording a model: the graph, and the nodes of each equation."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from operator import attrgetter

from tinygraph.graph import Graph, Tensor


@dataclass(frozen=True)
class Equation:
    """A recorded equation of a model.

    ``name`` is the tensor's name with its blocks (``R1.Z1``), ``text`` the source in one line, ``line`` its line in the
    file, ``node`` the tensor, ``nodes`` all nodes recorded for it (the nodes of blocks that it calls belong to their own
    equations), ``block`` the block instance that contains it, empty outside blocks.
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
    """A model recorded for one batch: its graph of output and loss, its equations, and its tensors by name.

    For ``training``, ``new_state`` contains the value of each state after the step, by the state's name.
    """

    graph: Graph
    output: Tensor
    loss: Tensor | None
    equations: tuple[Equation, ...]
    tensors: Mapping[str, Tensor]
    training: bool = False
    new_state: Mapping[str, Tensor] = field(default_factory=dict)

    @cached_property
    def full_graph(self) -> Graph:
        """The graph of the new state, then of output and loss."""
        return Graph([*self.new_state.values(), *self.graph.outputs]) if self.new_state else self.graph


@dataclass(frozen=True)
class Unfinished:
    """A model with a mistake: the ``equations`` recorded before it, and the equation that could not be recorded.

    ``name``, ``text`` and ``block`` are as in ``Equation``; the name is empty if the mistake is not in an equation.
    ``inputs`` are the tensors that it reads, ``mistake`` is the message of the error, ``title`` the title of the model.
    """

    title: str
    equations: tuple[Equation, ...]
    mistake: str
    name: str = ""
    text: str = ""
    block: str = ""
    inputs: tuple[Tensor, ...] = ()


def with_nodes(equations: Iterable[Equation]) -> tuple[Equation, ...]:
    """Give each equation the nodes that its tensor is computed from, without those of earlier equations."""
    taken: set[Tensor] = set()
    result = []
    for equation in equations:
        found: set[Tensor] = set()
        stack = [equation.node]
        while stack:
            x = stack.pop()
            if x.op is not None and x not in taken and x not in found:
                found.add(x)
                stack.extend(x.inputs)
        taken |= found
        result.append(dataclasses.replace(equation, nodes=tuple(sorted(found, key=attrgetter("order")))))
    return tuple(result)
