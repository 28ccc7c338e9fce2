"""Derivation: the lines of the lecture notes of a graph, forward and backward, each with the node that it makes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tinygraph.describe.lines import in_order, line_of
from tinygraph.describe.pieces import number
from tinygraph.describe.subject import Item, Rule, Subject
from tinygraph.describe.symbols import Formula, Symbol, gradient_symbol, symbol_of
from tinygraph.describe.tex import Written, write
from tinygraph.graph.tensor import Tensor
from tinygraph.notes.document import Line

if TYPE_CHECKING:
    from tinygraph.model import Model

# What a constant is said to be whose elements differ.
_ARRAY = r"\text{constant}"


@dataclass(frozen=True)
class Derivation:
    """What notes are derived from: the graph for two samples and for three, by which sizes show that grow with them,
    and the graph that the numbers belong to. For a graph that is no model the first and the last are the same."""

    subject: Subject
    numeric: Subject
    model: Model | None = None
    larger: Subject | None = None

    @cached_property
    def written(self) -> Written:
        """The formulas of the graph, with the number of samples as m."""
        return write(self.subject, size=self.size)

    @cached_property
    def numeric_written(self) -> Written:
        """The formulas of the graph that the numbers belong to, in the symbols of the others."""
        if self.numeric is self.subject:
            return self.written
        names = {x: self._symbol(node) for node, x in self.numeric_nodes.items() if x in self.numeric.expressions}
        return write(self.numeric, self.written.symbols, names=names)

    @cached_property
    def numeric_nodes(self) -> dict[Tensor, Tensor]:
        """The nodes of the graph, with those of the graph that the numbers belong to."""
        return {} if self.numeric is self.subject else counterparts(self.subject, self.numeric)

    @cached_property
    def _counterparts(self) -> dict[Tensor, Tensor]:
        return {} if self.larger is None else counterparts(self.subject, self.larger)

    def size(self, node: Tensor, axis: int) -> str:
        """Write the size of an axis, or with axis -1 of a constant number, as a multiple of m where it grows with that."""
        other = self._counterparts.get(node, node)
        if axis < 0:
            grows = other is not node and node.value.item() != other.value.item()
            return _times_m(node.value.item(), other.value.item()) if grows else ""
        return _times_m(node.shape[axis], other.shape[axis])

    def shape(self, node: Tensor) -> str:
        """Write the shape of a node."""
        sizes = ", ".join(self.size(node, axis) for axis in range(node.ndim)).replace(r"\,", " ")
        return f"({sizes}{',' if node.ndim == 1 else ''})"

    @cached_property
    def moves(self) -> dict[Tensor, Item]:
        """The items that are new values of the model's state, by their nodes."""
        new = set() if self.model is None else {f"{name}_new" for name in self.model.state}
        return {item.node: item for item in self.subject.items if item.node.name in new}

    def forward_lines(self) -> Iterator[tuple[Item, Tensor, Line]]:
        """Yield the lines of the forward pass, each with its item and the node that it makes."""
        for item in self.subject.items:
            if item.is_leaf:
                continue
            for node in self.subject.inner(item):
                yield from ((item, node, line) for line in self._lines(node))
            if item.nodes:
                yield from ((item, item.node, line) for line in self._lines(item.node))
                continue
            left = self.written.symbols.character(symbol_of(item.symbol))
            right = self.written.characters[item.node]
            if left != right:
                yield item, item.node, line_of(item.symbol, self.written.formula(f"{left} = {right}"), item.expression)

    def _lines(self, node: Tensor, left: str = "") -> Iterator[Line]:
        written = self.written
        if node not in written.right:
            return
        label = self.subject.labels[node]
        remark = ", ".join(written.remarks.get(node, ()))
        slope = written.slopes.get(node)
        if slope is not None:
            yield line_of(f"{label}-slope", written.formula(f"{slope.left} = {slope.right}"), label=label)
        yield line_of(label, written.equation(node, left), remark)

    def backward_lines(self) -> Iterator[tuple[Item, Tensor, Line]]:
        """Yield the lines of the backward pass, each with its item and the node that it makes."""
        told: set[Tensor] = set()
        for item in reversed(self.subject.items):
            for rule in in_order(self.subject.rules(item)):
                yield from ((item, rule.node, line) for line in self._rule_lines(rule, told))

    def _rule_lines(self, rule: Rule, told: set[Tensor]) -> Iterator[Line]:
        written, node = self.written, rule.node
        if node in written.alias or not self.tells(rule):
            return
        if rule.kind == "contribution" and rule.target is not None and rule.symbol != self.subject.labels[node]:
            if rule.adds and node in written.right and node not in told:
                told.add(node)
                yield from self._lines(node)
            elif not rule.adds:
                left = written.symbols.character(gradient_symbol(self._symbol(rule.target)))
                if left != written.characters[node]:
                    yield line_of(rule.symbol, written.formula(f"{left} = {written.characters[node]}"))
            return
        if node in told:
            return
        told.add(node)
        if node.op is None:
            yield line_of(rule.symbol, written.formula(f"{written.characters[node]} = {self._value_of(node)}"))
        else:
            yield from self._lines(node)

    def tells(self, rule: Rule) -> bool:
        """Whether a rule says more than a number that is written where it is used."""
        return rule.kind != "inner" or rule.node.op is not None or self._value_of(rule.node) == _ARRAY

    def _symbol(self, node: Tensor) -> Symbol:
        return self.written.symbols.known[self.written.characters[node]]

    def _value_of(self, node: Tensor) -> str:
        value = node.value if node.kind == "constant" and node.size else None
        if value is not None and (value == value.flat[0]).all():
            return number(value.flat[0])
        return _ARRAY

    def gradient_symbol(self, rule: Rule) -> Formula:
        """Return the left-hand side of a rule: what it is a gradient of says more than what passed it on."""
        written = self.numeric_written
        if rule.kind != "contribution" or rule.adds or rule.target is None:
            return written.symbol(written.alias.get(rule.node, rule.node))
        symbol = written.symbols.known[written.characters[rule.target]]
        return written.formula(written.symbols.character(gradient_symbol(symbol)))


def counterparts(subject: Subject, other: Subject) -> dict[Tensor, Tensor]:
    """Return the nodes of a graph with those of the same graph for another number of samples; none if they do not match."""
    # Both share the parameters, whenever those were made; all else was recorded in the same order.
    shared = set(subject.nodes) & set(other.nodes)
    own, others = ([x for x in each.nodes if x not in shared] for each in (subject, other))
    if [type(x.op) for x in own] != [type(x.op) for x in others]:
        return {}
    return dict(zip(own, others, strict=True)) | {x: x for x in shared}


def _times_m(two: Any, three: Any) -> str:
    """Write a number that is ``two`` for two samples and ``three`` for three."""
    if two == three or 3 * two != 2 * three:
        return f"{two:g}" if isinstance(two, float) else str(two)
    times = two / 2
    return "m" if times == 1 else rf"{times:g}\,m"
