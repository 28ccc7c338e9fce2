"""Derivation: the displayed equations of a graph, forward and backward, each with the node that it makes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tinygraph.describe.numbers import tex_number
from tinygraph.describe.subject import Item, Rule, Subject
from tinygraph.describe.symbols import Formula, Symbol, gradient_symbol, symbol_of
from tinygraph.describe.tex import Formulas
from tinygraph.describe.writer import equal_elements
from tinygraph.graph import Tensor

if TYPE_CHECKING:
    from tinygraph.model import Model

# How a constant is written whose elements differ.
_ARRAY = r"\text{constant}"


@dataclass(frozen=True)
class Line:
    """One displayed equation.

    ``slug`` is the name of the line in links, ``label`` the label of the node that it makes, ``ids`` the statements of the
    lecture notes that it equals, and ``remark`` what the formula leaves out.
    """

    slug: str
    label: str
    formula: Formula
    ids: tuple[str, ...] = ()
    remark: str = ""


def line_of(slug: str, formula: Formula, remark: str = "", label: str | None = None) -> Line:
    """Return a displayed equation, its slug with only those characters that a link may have."""
    link = re.sub(r"[^A-Za-z0-9_.-]+", "-", slug).strip("-") or "x"
    return Line(link, slug if label is None else label, formula, (), remark)


@dataclass(frozen=True)
class Derivation:
    """What notes are derived from: ``subject`` is the graph for two samples, and ``numeric`` the graph that has the numbers.

    ``larger`` is the graph for three samples: it shows which sizes grow with the number of samples. For a graph that is no
    model, ``subject`` and ``numeric`` are the same.
    """

    subject: Subject
    numeric: Subject
    model: Model | None = None
    larger: Subject | None = None

    @cached_property
    def written(self) -> Formulas:
        """The formulas of the graph, with the number of samples as m."""
        return Formulas(self.subject, size=self.size)

    @cached_property
    def numeric_written(self) -> Formulas:
        """The formulas of the graph that has the numbers, in the symbols of the others."""
        if self.numeric is self.subject:
            return self.written
        names = {x: self._symbol(node) for node, x in self.numeric_nodes.items() if x in self.numeric.expressions}
        return Formulas(self.numeric, self.written.symbols, names=names)

    @cached_property
    def numeric_nodes(self) -> dict[Tensor, Tensor]:
        """For each node of the graph, that of the graph that has the numbers."""
        return _counterparts(self.subject, self.numeric)

    @cached_property
    def _larger_nodes(self) -> dict[Tensor, Tensor]:
        return {} if self.larger is None else _counterparts(self.subject, self.larger)

    def size(self, node: Tensor, axis: int) -> str:
        """Write the size of an axis, or with axis -1 a constant number, as a multiple of m if it grows with m."""
        other = self._larger_nodes.get(node, node)
        if axis >= 0:
            return _times_m(node.shape[axis], other.shape[axis])
        two, three = node.value.item(), other.value.item()
        return _times_m(two, three) if two != three else ""

    @cached_property
    def moves(self) -> set[Tensor]:
        """The nodes that are new values of the model's state."""
        new = set() if self.model is None else {f"{name}_new" for name in self.model.state}
        return {item.node for item in self.subject.items if item.node.name in new}

    def forward_lines(self) -> Iterator[tuple[Item, Tensor, Line]]:
        """Yield the lines of the forward pass, each with its item and the node that it makes."""
        written = self.written
        for item in self.subject.items:
            for node in (*self.subject.inner(item), *item.nodes[-1:]):
                yield from ((item, node, line) for line in self._lines(node))
            left, right = written.symbols.character(symbol_of(item.symbol)), written.characters[item.node]
            if not item.is_leaf and not item.nodes and left != right:
                yield item, item.node, line_of(item.symbol, written.formula(f"{left} = {right}"), item.expression)

    def _lines(self, node: Tensor) -> Iterator[Line]:
        written, label = self.written, self.subject.labels[node]
        if node not in written.right:
            return
        if node in written.slopes:
            yield line_of(f"{label}-slope", written.formula(" = ".join(written.slopes[node])), label=label)
        yield line_of(label, written.equation(node), ", ".join(written.remarks.get(node, ())))

    def backward_lines(self) -> Iterator[tuple[Item, Tensor, Line]]:
        """Yield the lines of the backward pass, each with its item and the node that it makes."""
        done: set[Tensor] = set()
        for item, rule in ordered_rules(self.subject):
            yield from ((item, rule.node, line) for line in self._rule_lines(rule, done))

    def _rule_lines(self, rule: Rule, done: set[Tensor]) -> Iterator[Line]:
        written, node = self.written, rule.node
        if node in written.alias or not self.has_line(rule):
            return
        passed_on = rule.kind == "contribution" and rule.symbol != self.subject.labels[node]
        if passed_on and not rule.adds and rule.target is not None:
            left = written.symbols.character(gradient_symbol(self._symbol(rule.target)))
            if left != written.characters[node]:
                yield line_of(rule.symbol, written.formula(f"{left} = {written.characters[node]}"))
        elif node not in done and (node in written.right or not passed_on):
            done.add(node)
            if node.op is None:
                yield line_of(rule.symbol, written.formula(f"{written.characters[node]} = {_value_of(node)}"))
            yield from self._lines(node)

    def has_line(self, rule: Rule) -> bool:
        """Whether a rule is more than a number that is written where it is used."""
        return rule.kind != "inner" or rule.node.op is not None or _value_of(rule.node) == _ARRAY

    def _symbol(self, node: Tensor) -> Symbol:
        return self.written.symbols.known[self.written.characters[node]]

    def gradient_symbol(self, rule: Rule) -> Formula:
        """Return the left-hand side of a rule: d and the symbol of its target, rather than what passed the gradient on."""
        written = self.numeric_written
        if rule.kind != "contribution" or rule.adds or rule.target is None:
            return written.symbol(written.alias.get(rule.node, rule.node))
        symbol = written.symbols.known[written.characters[rule.target]]
        return written.formula(written.symbols.character(gradient_symbol(symbol)))


def ordered_rules(subject: Subject) -> Iterator[tuple[Item, Rule]]:
    """Yield the rules of the backward pass in the order of the notes, each with its item."""
    for item in reversed(subject.items):
        yield from ((item, rule) for rule in _in_order(subject.rules(item)))


def _in_order(rules: Sequence[Rule]) -> Sequence[Rule]:
    """Return rules with gradients of parameters first, as lecturers write them, unless an inner step uses a contribution."""
    contributions = {rule.node for rule in rules if rule.kind == "contribution"}
    if any(x in contributions for rule in rules if rule.kind == "inner" for x in rule.node.inputs):
        return rules

    def place(rule: Rule) -> tuple[bool, int]:
        # A weight or kernel has more axes than its bias, and comes before it.
        if rule.kind == "contribution" and rule.target is not None and rule.target.kind == "parameter":
            return True, -rule.target.ndim
        return rule.kind == "contribution", 1

    return sorted(rules, key=place)


def _value_of(node: Tensor) -> str:
    value = equal_elements(node)
    return _ARRAY if value is None else tex_number(value)


def _counterparts(subject: Subject, other: Subject) -> dict[Tensor, Tensor]:
    """Return, for each node of a graph, that of the same graph for another number of samples; none if they do not match."""
    # Both share the parameters; everything else was recorded in the same order.
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
