"""Derivation: the displayed equations of a graph, forward and backward, each with the node that it makes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from tinygraph.describe.numbers import tex_number
from tinygraph.describe.rules import Rule
from tinygraph.describe.subject import Item, Subject
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
    """What notes are derived from: ``numeric`` is the graph that has the numbers, ``model`` the model that it belongs to.

    ``subject`` is the graph whose rules hold for any number of samples; it may be the same.
    """

    numeric: Subject
    model: Model | None = None

    @property
    def subject(self) -> Subject:
        return self.numeric.general

    @cached_property
    def written(self) -> Formulas:
        """The formulas of the graph, with the number of samples as m."""
        return Formulas(self.subject, size=lambda node, axis: self.subject.size(node, axis, r"\,"))

    @cached_property
    def numeric_written(self) -> Formulas:
        """The formulas of the graph that has the numbers, in the symbols of the others."""
        if self.numeric is self.subject:
            return self.written
        pairs = self.numeric.like_nodes.items()
        names = {x: self._symbol(node) for x, node in pairs if x in self.numeric.expressions}
        return Formulas(self.numeric, self.written.symbols, names=names)

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
        if rule.kind == "gradient" and rule.symbol != self.subject.labels[node]:
            left = self._left(rule, self.subject, written)
            yield line_of(rule.symbol, written.formula(f"{left.source} = {written.characters[node]}"))
        elif node not in done and (rule.kind != "sent" or node in self.subject.numbered):
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
        return self._left(rule, self.numeric, self.numeric_written)

    def _left(self, rule: Rule, subject: Subject, written: Formulas) -> Formula:
        if rule.target is None or rule.kind != "gradient" or rule.symbol == subject.labels[rule.node]:
            return written.symbol(written.alias.get(rule.node, rule.node))
        symbol = written.symbols.known[written.characters[rule.target]]
        return written.formula(written.symbols.character(gradient_symbol(symbol)))


def ordered_rules(subject: Subject) -> Iterator[tuple[Item, Rule]]:
    """Yield the rules of the backward pass in the order of the notes, each with its item."""
    for item in reversed(subject.items):
        yield from ((item, rule) for rule in _in_order(item, subject.rules(item)))


def _in_order(item: Item, rules: Sequence[Rule]) -> Sequence[Rule]:
    """Return rules with gradients of parameters first, as lecturers write them, unless a step uses what leaves the item."""
    own = set(item.nodes)
    leaving = {rule.node for rule in rules if rule.user is not None and rule.target not in own}
    if any(x in leaving for rule in rules if rule.node not in leaving for x in rule.node.inputs):
        return rules

    def place(rule: Rule) -> tuple[bool, int]:
        # A weight or kernel has more axes than its bias, and comes before it.
        if rule.node in leaving and rule.target is not None and rule.target.kind == "parameter":
            return True, -rule.target.ndim
        return rule.node in leaving, 1

    return sorted(rules, key=place)


def _value_of(node: Tensor) -> str:
    value = equal_elements(node)
    return _ARRAY if value is None else tex_number(value)
