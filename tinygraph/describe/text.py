"""Graphs as equations: one line for each named or shared node, written as a model file would write it."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
# Conditions that always or never hold, as factors.
_TRUTHS = {"True": ("1", _ATOM), "False": ("0", _ATOM)}
_LONGEST_INLINE = 48


@dataclass(frozen=True)
class Equation:
    """One line of a graph's text: the node, its label, and the expression that makes it (empty for a leaf)."""

    node: Tensor
    label: str
    expression: str


@dataclass(frozen=True)
class Layout:
    """A graph as text: its lines, a label for every node, shown or not, and what stands for each where it is used."""

    equations: list[Equation]
    labels: dict[Tensor, str]
    texts: dict[Tensor, str]


def lay_out(
    nodes: Sequence[Tensor],
    outputs: Iterable[Tensor],
    names: Mapping[Tensor, str] | None = None,
    digits: Callable[[Tensor], str | None] | None = None,
) -> Layout:
    """Return the lines of a graph in its order.

    A node without a name that is used once, or only puts a leaf into another shape, is written inside the equations that use
    it, while that stays short; the others without a name are called t1, t2, ... in their order. Names that several nodes
    share are made different. ``names`` are names to use in place of nodes' own; ``digits`` writes the constants that are
    numbers, by default to six digits.
    """
    uses = Counter(x for node in nodes for x in node.inputs[: _shown(node)])
    kept = set(outputs)
    names = {node: node.name for node in nodes if node.name} | dict(names or {})
    labels = _own_labels(nodes, names)
    taken = set(labels.values())
    fresh = (name for name in (f"t{i}" for i in itertools.count(1)) if name not in taken)
    texts: dict[Tensor, tuple[str, int]] = {}
    lines: list[Equation] = []
    for node in nodes:
        number = _bound(_digits(node) if digits is None else digits(node))
        if number is not None:
            texts[node] = number
            shown = node in kept or node in names
        elif node.op is None:
            shown = True
        else:
            texts[node] = _expression(node, texts)
            inline = (uses[node] == 1 or _is_view(node)) and node not in kept and len(texts[node][0]) <= _LONGEST_INLINE
            shown = node in names or not inline
        if shown:
            label = labels.get(node) or labels.setdefault(node, next(fresh))
            lines.append(Equation(node, label, "" if node.op is None else texts[node][0]))
            texts[node] = texts[node] if number is not None else (label, _ATOM)
    for node in nodes:
        if node not in labels:
            labels[node] = next(fresh)
    return Layout(lines, labels, {node: text for node, (text, _) in texts.items()})


def equations_text(equations: Iterable[Equation]) -> str:
    """Return equations as aligned lines with dtypes and shapes."""
    rows = []
    for equation in equations:
        node = equation.node
        made = f"= {equation.expression}" if equation.expression else leaf_note(node)
        rows.append((equation.label, made, f"{node.dtype} {node.shape}"))
    return aligned(rows)


def _own_labels(nodes: Iterable[Tensor], names: Mapping[Tensor, str]) -> dict[Tensor, str]:
    """Return the names of the nodes that have one, made unique by a number."""
    named = [node for node in nodes if node in names]
    taken = {_in_one_line(names[node]) for node in named}
    labels: dict[Tensor, str] = {}
    used: set[str] = set()
    for node in named:
        name = _in_one_line(names[node])
        numbered = (f"{name}_{i}" for i in itertools.count(2))
        labels[node] = name if name not in used else next(n for n in numbered if n not in used and n not in taken)
        used.add(labels[node])
    return labels


def _in_one_line(name: Any) -> str:
    return " ".join(str(name).split())


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of cells as lines whose columns start at the same place.

    Cells that are very long, or that nothing stands behind, do not widen the rest.
    """
    if not rows:
        return ""
    limits = (24, 72)
    widths = [
        max((len(row[i]) for row in rows if any(row[i + 1 :]) and len(row[i]) <= limits[min(i, 1)]), default=0)
        for i in range(len(rows[0]) - 1)
    ]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        lines.append("  ".join([*cells, row[-1]]).rstrip())
    return "\n".join(lines)


def _shown(node: Tensor) -> int | None:
    """How many of a node's inputs its expression shows: operands that only steady the numbers stay unwritten."""
    return None if node.op is None or node.op.variadic else len(node.op.parameters)


def _is_view(node: Tensor) -> bool:
    """Whether a node is nothing but a leaf in another shape, which needs no name of its own however often it is used."""
    return node.op is not None and node.op.family == "shape" and len(node.inputs) == 1 and node.inputs[0].op is None


def leaf_note(node: Tensor) -> str:
    """Return what stands in place of an expression for a leaf: its kind, or the number that a constant is."""
    if node.kind == "constant" and node.size == 1:
        return f"= {node.value.item():.6g}"
    return "value" if node.kind == "tensor" else node.kind


def _bound(number: str | None) -> tuple[str, int] | None:
    """Return a number and how tightly it binds."""
    return None if number is None else (number, _BINDING["neg"] if number.startswith("-") else _ATOM)


def _digits(node: Tensor) -> str | None:
    """Return a constant as a number: one without a name, or equal to 1, with equal elements."""
    if node.kind != "constant" or not node.size:
        return None
    first = node.value.flat[0]
    if (node.name and first != 1) or not (node.value == first).all():
        return None
    return f"{first:.6g}" if node.dtype.kind == "f" else str(first)


def _expression(node: Tensor, texts: Mapping[Tensor, tuple[str, int]]) -> tuple[str, int]:
    op = node.op
    assert op is not None
    operands = [texts[x] for x in node.inputs[: _shown(node)]]
    if op.symbol in _BINDING and len(operands) == 2:
        return _infix(op.symbol, *operands)
    if op.symbol == "same":
        return operands[0]
    if op.symbol == "neg":
        return "-" + _within(operands[0], _BINDING["neg"]), _BINDING["neg"]
    if op.symbol == "+" and len(operands) > 2:
        return " + ".join(_within(operand, 1) for operand in operands), 1
    if op.symbol == "postfix":
        return op.expression(_within(operands[0], _ATOM)), _ATOM
    return op.expression(*[text for text, _ in operands]), _ATOM


def _infix(symbol: str, left: tuple[str, int], right: tuple[str, int]) -> tuple[str, int]:
    """Write ``left symbol right``, leaving out a one that changes nothing."""
    if symbol == "*":
        right = _TRUTHS.get(right[0], right)
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
