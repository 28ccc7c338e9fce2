"""Node: one array of the graph that the passes of the plan rewrite. A pass takes outputs and returns new outputs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeGuard, TypeVar

import numpy as np

from tinygraph.graph import Array, Graph, Op, Shape, Shaped, Tensor, topological

# The values of inputs, and of parameters and states where others than their own are to be used.
Values: TypeAlias = Mapping[Tensor, Array]

# Nodes are numbered as they are made, like tensors, so that inputs come before what uses them.
_clock = itertools.count()


@dataclass(eq=False, slots=True, repr=False)
class Node(Shaped):
    """One array: the result of ``op`` on ``inputs``, or the constant ``value``, or the value of the tensor ``leaf``.

    ``tensors`` are the tensors of the recorded graph whose values it holds. A node that a pass has added has none.
    """

    shape: Shape
    dtype: np.dtype[Any]
    op: Op | None = None
    inputs: tuple[Node, ...] = ()
    value: Array | None = None
    leaf: Tensor | None = None
    tensors: tuple[Tensor, ...] = ()
    order: int = field(default_factory=_clock.__next__)

    @property
    def nbytes(self) -> int:
        """The number of bytes."""
        return self.size * self.dtype.itemsize

    def __repr__(self) -> str:
        made = self.op.name if self.op is not None else "constant" if self.leaf is None else self.leaf.describe()
        return f"<{made} {self.dtype} {self.shape}>"


AnyOp = TypeVar("AnyOp", bound=Op)
Rule: TypeAlias = Callable[[Node, tuple[Node, ...]], Node]


def nodes_of(graph: Graph) -> list[Node]:
    """Return a graph's outputs as nodes.

    >>> import tinygraph as tg
    >>> nodes_of(Graph(tg.relu(tg.input("x", (2,)))))
    [<relu float32 (2,)>]
    """
    nodes: dict[Tensor, Node] = {}
    for x in graph.nodes:
        known = x.value if x.kind == "constant" else None
        leaf = x if x.op is None and known is None else None
        nodes[x] = Node(x.shape, x.dtype, x.op, tuple(nodes[i] for i in x.inputs), known, leaf, (x,))
    return [nodes[output] for output in graph.outputs]


def make(op: Op, *inputs: Node, tensors: tuple[Tensor, ...] = ()) -> Node:
    """Return the node of an operation on nodes, its shape and dtype inferred."""
    shape, dtype = op.infer(*inputs)
    return Node(tuple(shape), np.dtype(dtype), op, inputs, tensors=tensors)


def constant(value: Any, tensors: tuple[Tensor, ...] = ()) -> Node:
    """Return the node of an array that is known when the graph is compiled."""
    array = np.asarray(value)
    return Node(array.shape, array.dtype, value=array, tensors=tensors)


def remade(node: Node, inputs: tuple[Node, ...]) -> Node:
    """Return a node like this one, on other inputs of the same shapes."""
    return Node(node.shape, node.dtype, node.op, inputs, node.value, node.leaf, node.tensors)


def users(outputs: Iterable[Node]) -> dict[Node, list[Node]]:
    """Return the nodes that use each node; an output counts as one of its own users."""
    outputs = list(outputs)
    found: dict[Node, list[Node]] = {}
    for node in topological(outputs):
        found.setdefault(node, [])
        for x in dict.fromkeys(node.inputs):
            found[x].append(node)
    for output in outputs:
        found[output].append(output)
    return found


def rewrite(outputs: Sequence[Node], rule: Rule) -> list[Node]:
    """Return the outputs with every node replaced by ``rule(node, its new inputs)``, inputs first.

    A rule returns a new node, made by ``remade`` or ``make``, or one of the new inputs. Because all nodes are new, their
    numbers have the order of the old ones, and a node that a rule adds stands where it was added.
    """
    new: dict[Node, Node] = {}
    for node in topological(outputs):
        new[node] = rule(node, tuple(new[x] for x in node.inputs))
    return [new[output] for output in outputs]


def is_own(op: Op | None) -> bool:
    """Whether an operation is one of this package, so that its result depends on its inputs and attributes alone.

    A user's operation is run once for each time that it was recorded, because its forward may do anything.
    """
    # Code that is executed from a text may have no module.
    return op is not None and (type(op).__module__ or "").startswith("tinygraph.")


def is_a(op: Op | None, *classes: type[AnyOp]) -> TypeGuard[AnyOp]:
    """Whether an operation is one of ``classes`` or of their subclasses in this package, but no subclass of a user's.

    >>> from tinygraph.ops.shape.shape import Flatten, SameElements
    >>> is_a(Flatten(), SameElements)
    True
    """
    return isinstance(op, classes) and is_own(op)
