"""The branches of an ``If``: one of two graphs inside a node, which read what the graph around them has computed."""

from __future__ import annotations

from typing import Any

from tinygraph.interop.onnx.node import Node, Value

BRANCHES = ("then_branch", "else_branch")


def undecided(n: Node, *operands: Value) -> Value:
    """If: what is computed, by a condition that shapes and constants decide; by data alone it is refused."""
    n.fail("which branch is computed depends on data; conditions on shapes and constants alone are read")


def chosen(node: Node, condition: Value) -> Any:
    """Return the branch that a condition chooses, as ONNX writes it. Raises ``OnnxError`` for one that depends on data."""
    if condition is None or condition.size != 1:
        node.fail("its condition must be one truth value")
    graph = branches(node)[0 if condition.item() else 1]
    if len(graph.output) != len(node.outputs):
        node.fail(f"its branch and itself must have as many results; found {len(graph.output)} and {len(node.outputs)}")
    return graph


def branches(node: Node) -> tuple[Any, Any]:
    """Return both branches. Raises ``OnnxError`` where one is missing."""
    graphs = {attribute.name: attribute.g for attribute in node.proto.attribute if attribute.name in BRANCHES}
    for name in BRANCHES:
        if name not in graphs:
            node.fail(f"it needs its attribute {name!r}")
    return graphs["then_branch"], graphs["else_branch"]


def nodes_in(graph: Any, node: Node) -> list[Node]:
    """Return the nodes of a branch of a node."""
    return [Node(proto, node.opset, node.file, node.folder) for proto in graph.node]


def names_read(proto: Any) -> set[str]:
    """Return the names that a node reads, those that its branches read among them."""
    names: set[str] = set()
    waiting = [proto]
    while waiting:
        inner = waiting.pop()
        names.update(inner.input)
        for attribute in inner.attribute:
            waiting.extend(attribute.g.node)
            names.update(output.name for output in attribute.g.output)
    return names
