"""Graphs as equations: one line for each named or shared node, written as a model file would write it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tinygraph.graph.tensor import Tensor

# How tightly operators bind, as in Python; an operand that binds less tightly than its place needs parentheses.
_BINDING = {
    ">": 0,
    ">=": 0,
    "<": 0,
    "<=": 0,
    "==": 0,
    "!=": 0,
    "+": 1,
    "-": 1,
    "*": 2,
    "/": 2,
    "@": 2,
    "neg": 3,
    "**": 4,
}
_ATOM = 9
_LONGEST_INLINE = 48


@dataclass(frozen=True)
class Equation:
    """One line of a graph's text: the node, its label, and the expression that makes it (empty for a leaf)."""

    node: Tensor
    label: str
    expression: str


def equations(nodes: Sequence[Tensor], outputs: Iterable[Tensor], labels: Mapping[Tensor, str]) -> list[Equation]:
    """Return the equations of a graph in its order.

    A node without a name that is used once is written inside the equation that uses it, while that stays short.
    """
    uses = Counter(x for node in nodes for x in node.inputs[: _shown(node)])
    kept = set(outputs)
    texts: dict[Tensor, tuple[str, int]] = {}
    lines: list[Equation] = []
    fresh = _Renumbered(labels)
    for node in nodes:
        if node.op is None:
            texts[node] = (_leaf_text(node, fresh), _ATOM)
            if node.name is not None or _number(node) is None or node in kept:
                lines.append(Equation(node, fresh(node), ""))
            continue
        expression, binding = _expression(node, texts)
        if node.name is None and uses[node] == 1 and node not in kept and len(expression) <= _LONGEST_INLINE:
            texts[node] = (expression, binding)
            continue
        texts[node] = (fresh(node), _ATOM)
        lines.append(Equation(node, texts[node][0], expression))
    return lines


def equations_text(nodes: Sequence[Tensor], outputs: Iterable[Tensor], labels: Mapping[Tensor, str]) -> str:
    """Return the equations of a graph as aligned lines with dtypes and shapes."""
    rows = []
    for equation in equations(nodes, outputs, labels):
        node = equation.node
        made = f"= {equation.expression}" if equation.expression else leaf_note(node)
        rows.append((equation.label, made, f"{node.dtype} {node.shape}"))
    return aligned(rows)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of cells as lines whose columns start at the same place; very long cells do not widen the rest."""
    if not rows:
        return ""
    limits = (24, 72)
    widths = [
        max((len(row[i]) for row in rows if len(row[i]) <= limits[min(i, 1)]), default=0)
        for i in range(len(rows[0]) - 1)
    ]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        lines.append("  ".join([*cells, row[-1]]).rstrip())
    return "\n".join(lines)


class _Renumbered:
    """Labels in which the nodes without a name that are shown count t1, t2, ... without gaps."""

    def __init__(self, labels: Mapping[Tensor, str]) -> None:
        self._labels = labels
        self._free = iter([label for node, label in labels.items() if node.name is None])
        self._given: dict[Tensor, str] = {}

    def __call__(self, node: Tensor) -> str:
        if node.name is not None:
            return self._labels[node]
        if node not in self._given:
            self._given[node] = next(self._free)
        return self._given[node]


def _shown(node: Tensor) -> int | None:
    """How many of a node's inputs its expression shows: operands that only steady the numbers stay unwritten."""
    return None if node.op is None or node.op.variadic else len(node.op.parameters)


def leaf_note(node: Tensor) -> str:
    """Return what stands in place of an expression for a leaf: its kind, or the number that a constant is."""
    if node.kind == "constant" and node.size == 1:
        return f"= {node.value.item():.6g}"
    return "value" if node.kind == "tensor" else node.kind


def _leaf_text(node: Tensor, label: _Renumbered) -> str:
    number = _number(node)
    return label(node) if number is None else number


def _number(node: Tensor) -> str | None:
    """Return a constant as a number: one without a name, or equal to 1, whose elements are all the same."""
    if node.kind != "constant" or not node.size:
        return None
    first = node.value.flat[0]
    if (node.name is not None and first != 1) or not (node.value == first).all():
        return None
    return f"{first:.6g}" if node.dtype.kind == "f" else str(first)


def _expression(node: Tensor, texts: Mapping[Tensor, tuple[str, int]]) -> tuple[str, int]:
    op = node.op
    assert op is not None
    operands = [texts[x] for x in node.inputs[: _shown(node)]]
    if op.symbol in _BINDING and len(operands) == 2:
        return _infix(op.symbol, *operands)
    if op.symbol == "neg":
        return "-" + _within(operands[0], _BINDING["neg"]), _BINDING["neg"]
    if op.symbol == "+" and len(operands) > 2:
        return " + ".join(_within(operand, 1) for operand in operands), 1
    if op.symbol == "postfix":
        return op.expression(_within(operands[0], _ATOM)), _ATOM
    return op.expression(*[text for text, _ in operands]), _ATOM


def _infix(symbol: str, left: tuple[str, int], right: tuple[str, int]) -> tuple[str, int]:
    """Write ``left symbol right``, leaving out a one that changes nothing."""
    if symbol == "*" and left[0] == "1":
        return right
    if symbol in ("*", "/", "**") and right[0] == "1":
        return left
    binding = _BINDING[symbol]
    left_needs, right_needs = (binding + 1, binding) if symbol == "**" else (binding, binding + 1)
    left_needs = max(left_needs, 1)
    return f"{_within(left, left_needs)} {symbol} {_within(right, right_needs)}", binding


def _within(operand: tuple[str, int], needed: int) -> str:
    text, binding = operand
    return text if binding >= needed else f"({text})"
