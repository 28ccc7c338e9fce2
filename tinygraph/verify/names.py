"""What nodes and their inputs are called in a report."""

from __future__ import annotations

import inspect

from tinygraph.graph.graph import Graph
from tinygraph.graph.op import Op
from tinygraph.graph.tensor import Tensor


def input_name(op: Op, place: int) -> str:
    """Return what an operation calls one of its inputs.

    >>> import tinygraph as tg
    >>> input_name(tg.conv2d.op(), 1), input_name(tg.concatenate.op(), 2)
    ('k', 'x[2]')
    """
    if op.variadic and place >= len(op.parameters) - 1:
        return f"{op.parameters[-1]}[{place - len(op.parameters) + 1}]"
    return [name for name in inspect.signature(type(op).forward).parameters if name != "self"][place]


def equation_labels(graph: Graph) -> tuple[dict[Tensor, str], dict[Tensor, str]]:
    """Return the labels of the equations that ``print(graph)`` shows, and for each node that of the one it is written in.

    >>> import tinygraph as tg
    >>> x = tg.tensor(1.0, name="x")
    >>> y = tg.exp(tg.negative(x))
    >>> shown, owners = equation_labels(Graph(y))
    >>> list(shown.values()), list(owners.values())
    (['x', 't1'], ['x', 't1', 't1'])
    """
    shown = {line.node: line.label for line in graph.layout.equations}
    owners = dict(shown)
    for node in reversed(graph.nodes):
        for x in node.inputs:
            owners.setdefault(x, owners.get(node, ""))
    return shown, owners
