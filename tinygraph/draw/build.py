"""From a subject to its drawing: which cards there are, what they say, and the edges of both lanes."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from tinygraph.describe.attributes import attributes_text, composite_called, doc_line, title_of, uniform
from tinygraph.describe.fold import Part, parts_of
from tinygraph.describe.subject import Item, Rule, Subject, written_inputs
from tinygraph.describe.text import leaf_note
from tinygraph.draw.cards import DETAILS, VIEWS, Bead, Card, Drawing, Edge
from tinygraph.draw.figures import Figures, figures_of, number_text
from tinygraph.draw.marks import marks_of
from tinygraph.draw.unfinished import error_card, error_edges
from tinygraph.draw.verdicts import judged, records_by_node
from tinygraph.errors import TinygraphError, listing, nearest
from tinygraph.graph.graph import Graph
from tinygraph.graph.registry import OPERATIONS
from tinygraph.graph.tensor import Tensor

if TYPE_CHECKING:
    from tinygraph.verify import Record, Report

# Which of an equation's operations gives its card the colour: the first of the highest rank.
_RANKS = {"elementwise": 0, "comparison": 0, "shape": 1, "indexing": 1, "reduction": 2, "activation": 3}
_LONGEST_SUM = 40
Fold = str | Collection[str]


def drawing_of(
    subject: Subject,
    detail: str | None = None,
    view: str = "both",
    fold: Fold = "auto",
    edit: Callable[[Card], Card] | None = None,
    report: Report | None = None,
) -> Drawing:
    """Return the drawing of a subject. The id of a card is ``n`` and the number, from 1, of its item, the last of several.

    Raises ``TinygraphError`` for a ``detail``, ``view`` or ``fold`` that there is not, for an ``edit`` that returns no card,
    and for a ``report`` of another graph. See ``tg.draw``.

    >>> import tinygraph as tg
    >>> from tinygraph.describe.subject import subject_of
    >>> x = tg.tensor(3.0, name="x")
    >>> [(card.symbol, card.gradient, card.rules) for card in drawing_of(subject_of(x * x)).cards]
    [('x', 'dx', ('dx = x + x',)), ('t1', 'dt1', ('dt1 = 1', 'dx += x', 'dx += x'))]
    """
    for name, value, valid in (("detail", detail or "rule", DETAILS), ("view", view, VIEWS)):
        if value not in valid:
            raise TinygraphError(f"{name} must be one of {listing(valid)}; found {value!r}{nearest(str(value), valid)}")
    return _Builder(subject, detail or ("value" if subject.values else "rule"), view, fold, report).drawing(edit)


class _Builder:
    """The work of one drawing."""

    def __init__(self, subject: Subject, detail: str, view: str, fold: Fold, report: Report | None) -> None:
        self.subject, self.detail, self.view, self.report = subject, detail, view, report
        self.records = records_by_node(report, Graph(subject.outputs)) if report is not None else {}
        self.parts = parts_of(subject.items, fold)
        self.gradients = view != "forward" and subject.backward is not None
        ids = {i: f"n{part.last + 1}" for part in self.parts for i in part.items}
        self.owner: dict[Tensor, str] = {}
        self.aliases: set[int] = set()
        for i, item in enumerate(subject.items):
            if item.node in self.owner:
                self.aliases.add(i)
            for node in (*item.nodes, item.node):
                self.owner.setdefault(node, ids[i])

    def drawing(self, edit: Callable[[Card], Card] | None) -> Drawing:
        subject = self.subject
        cards = list(self._cards())
        if edit is not None:
            cards = [edit(card) for card in cards]
            for card in cards:
                if not isinstance(card, Card):
                    raise TinygraphError(f"edit must return a Card; found {type(card).__name__}")
        beads, gradients = self._gradient_lane()
        output = subject.labels[subject.backward.output] if self.gradients and subject.backward else ""
        return Drawing(
            subject.title,
            tuple(cards),
            (*self._value_lane(), *gradients),
            beads,
            self.detail,
            self.view,
            self._caption(),
            output,
        )

    def _caption(self) -> str:
        told = [self.report.summary()] if self.report is not None else []
        if self.subject.unfinished is not None:
            told.append("drawn as far as the model is valid, for the batch that was tried first")
        if any(len(part.items) > 1 for part in self.parts):
            count = len(self.subject.items)
            told.append(f'{count:,} cards are folded into {len(self.parts)}; fold="none" draws each')
        return "; ".join(told)

    # Cards

    def _cards(self) -> Iterator[Card]:
        number = 1
        for part in self.parts:
            item = self.subject.items[part.last]
            if len(part.items) > 1:
                card = self._with_numbers(self._folded(part), item)
            elif item.is_leaf and part.last not in self.aliases:
                card = self._with_numbers(self._leaf(part, item), item)
            else:
                card = self._node(part, item, number)
                card = card if part.last in self.aliases else self._with_numbers(card, item)
                number += 1
            yield judged(card, self._records(part))
        if self.subject.unfinished is not None:
            yield error_card(self.subject.unfinished, number)

    def _records(self, part: Part) -> list[Record]:
        """Return what a check found of the nodes that a card stands for, or of its leaf."""
        nodes = (node for i in part.items if i not in self.aliases for node in self._made(i))
        return [record for node in nodes for record in self.records.get(node, ())]

    def _made(self, i: int) -> tuple[Tensor, ...]:
        item = self.subject.items[i]
        return item.nodes or (item.node,)

    def _leaf(self, part: Part, item: Item) -> Card:
        node = item.node
        return Card(
            id=f"n{part.last + 1}",
            kind=node.kind,
            symbol=item.symbol,
            expression=leaf_note(node),
            shape=node.shape,
            dtype=str(node.dtype),
            group=item.group,
            gradient=self._gradient(item),
            rules=self._rules(item),
            kept=self._kept([node]),
        )

    def _node(self, part: Part, item: Item, number: int) -> Card:
        alias = part.last in self.aliases
        ops = [made.op for made in item.nodes if made.op is not None]
        principal = max(ops, key=lambda op: _RANKS.get(op.family, 4), default=None)
        called = composite_called(item.expression)
        named = called[0] if called else principal
        return Card(
            id=f"n{part.last + 1}",
            kind="node",
            symbol=item.symbol,
            expression=item.expression,
            shape=item.node.shape,
            dtype=str(item.node.dtype),
            family="" if named is None else named.family,
            title=called[0].name if called else title_of(ops),
            attributes=called[1] if called else "" if principal is None else attributes_text(principal),
            number=number,
            group=item.group,
            gradient="" if alias else self._gradient(item),
            rules=() if alias else self._rules(item),
            kept=self._kept(item.nodes),
            note=self._bypassed.get(item.node, "") if self.gradients else "",
            doc="" if named is None else doc_line(named),
        )

    def _folded(self, part: Part) -> Card:
        items = [self.subject.items[i] for i in part.items]
        shown = items[-1]
        nodes = [node for item in items for node in item.nodes]
        counts = Counter(name for item in items for name in _operations(item))
        parameters = sum(item.node.size for item in items if item.is_leaf and item.node.kind == "parameter")
        sizes = [f"{counts.total():,} operations"] + [f"{parameters:,} parameters"] * bool(parameters)
        made = [item.symbol for item in items if item.nodes] or [shown.symbol]
        listed = [f"{name} x{count}" if count > 1 else name for name, count in counts.most_common(6)]
        rest = len(counts) - len(listed)
        return Card(
            id=f"n{part.last + 1}",
            kind="folded",
            symbol=shown.symbol,
            expression=", ".join(listed + [f"{rest} more"] * bool(rest)),
            shape=shown.node.shape,
            dtype=str(shown.node.dtype),
            title=part.block or (f"{made[0]} … {made[-1]}" if len(made) > 1 else made[0]),
            attributes=", ".join(sizes),
            group=part.block.rpartition(".")[0],
            gradient=self._gradient(shown),
            kept=self._kept(nodes),
            holds=len(items),
        )

    def _gradient(self, item: Item) -> str:
        gradient = self.subject.gradient(item) if self.gradients else None
        return "" if gradient is None else self.subject.labels[gradient]

    def _rules(self, item: Item) -> tuple[str, ...]:
        if not self.gradients or self.detail == "shape":
            return ()
        rules = self.subject.rules(item)
        return tuple(f"{rule.symbol} {'+=' if rule.adds else '='} {self._right_side(rule)}" for rule in rules)

    def _right_side(self, rule: Rule) -> str:
        """Return what a rule computes; of a sum the summands themselves, whose names are nowhere in the picture."""
        backward = self.subject.backward
        if rule.kind != "sum" or rule.target is None or backward is None:
            return uniform(rule.node, rule.expression)
        summands = [self._line(backward.contributions[use]) for use in self.subject.uses(rule.target)]
        written = " + ".join(summands)
        return written if len(written) <= _LONGEST_SUM else f"the sum of {len(summands)}"

    def _with_numbers(self, card: Card, item: Item) -> Card:
        """Return a card with the figures of an item's value and gradient, and their marks."""
        if self.detail not in ("value", "full"):
            return card
        gradient = self.subject.gradient(item) if self.gradients else None
        value = self._figures(item.node)
        slope = None if gradient is None else self._figures(gradient)
        return replace(card, value=value, gradient_value=slope, marks=marks_of(value, slope))

    def _figures(self, node: Tensor) -> Figures | None:
        array = self.subject.values.get(node)
        return None if array is None else figures_of(array)

    def _kept(self, nodes: Sequence[Tensor]) -> tuple[str, ...]:
        """Return what of some nodes the backward pass reads, with its size."""
        if self.detail != "full" or not self.gradients:
            return ()
        labels = self.subject.labels
        return tuple(
            f"kept for the backward pass: {labels[x]}, {number_text(x.size * x.dtype.itemsize)} bytes"
            for x in nodes
            if x in self._read_backward
        )

    @cached_property
    def _forward(self) -> set[Tensor]:
        return {node for item in self.subject.items for node in (*item.nodes, item.node)}

    @cached_property
    def _read_backward(self) -> set[Tensor]:
        """The forward tensors whose numbers the backward pass computes with."""
        backward = [node for node in self.subject.nodes if node not in self._forward]
        return {x for node in backward for x in node.inputs if x in self._forward}

    @cached_property
    def _bypassed(self) -> Mapping[Tensor, str]:
        """What is said of tensors whose gradient a rule passes by, on its way to what they were made from."""
        backward, labels = self.subject.backward, self.subject.labels
        assert backward is not None
        notes: dict[Tensor, str] = {}
        for (node, place), contribution in backward.contributions.items():
            for passed, through in (node.op.shortcuts if node.op else {}).items():
                if through == place and node.inputs[passed] not in backward.gradients:
                    told = f"d{labels[node.inputs[place]]} = {self.subject.expressions.get(contribution, labels[contribution])}"
                    notes[node.inputs[passed]] = f"its gradient is not needed: {labels[node]} gives {told} at once"
        return notes

    # Lanes

    def _value_lane(self) -> Iterator[Edge]:
        shown: dict[tuple[str, str], Edge] = {}
        for part in self.parts:
            head = f"n{part.last + 1}"
            uses = [x for i in part.items for x in self._used(i) if self.owner.get(x, head) != head]
            times = Counter(uses)
            merged: Counter[str] = Counter()
            for place, x in enumerate(uses, start=1):
                tail = self.owner[x]
                edge = Edge(f"e{len(shown) + 1}", tail, head, place, times[x] > 1, text=self._told(x))
                if len(part.items) > 1 or tail in self._runs:
                    merged[tail] += 1
                    shown.setdefault((tail, head), edge)
                    previous = shown[tail, head]
                    shown[tail, head] = Edge(previous.id, tail, head, place, text=previous.text, count=merged[tail])
                else:
                    shown[f"{tail} {place}", head] = edge
        yield from shown.values()
        if self.subject.unfinished is not None:
            yield from error_edges(self.subject.unfinished, self.owner)

    def _used(self, i: int) -> list[Tensor]:
        item = self.subject.items[i]
        if i in self.aliases:
            return [item.node]
        return [x for made in item.nodes for x in written_inputs(made)]

    @cached_property
    def _runs(self) -> set[str]:
        return {f"n{part.last + 1}" for part in self.parts if len(part.items) > 1}

    def _told(self, x: Tensor) -> str:
        """Return a tensor in words, for a tooltip."""
        return f"{self.subject.labels.get(x, '')} {self._sized(x)}"

    def _sized(self, x: Tensor) -> str:
        """Return the dtype and shape of a tensor, and its norm where its value is known."""
        value = self.subject.values.get(x) if self.detail in ("value", "full") else None
        norm = figures_of(value).norm if value is not None else None
        size = "" if norm is None else f", norm {number_text(norm)}"
        return f"{x.dtype} {x.shape}{size}"

    def _gradient_lane(self) -> tuple[tuple[Bead, ...], list[Edge]]:
        backward = self.subject.backward
        if backward is None or not self.gradients:
            return (), []
        coming: dict[Tensor, list[tuple[Tensor, Tensor]]] = defaultdict(list)
        for (user, place), contribution in backward.contributions.items():
            x = user.inputs[place]
            if user in self.owner and x in self.owner and self.owner[user] != self.owner[x]:
                coming[x].append((user, contribution))
        shown = {self.subject.items[part.last].node for part in self.parts}
        beads: list[Bead] = []
        edges: list[Edge] = []

        def add(tail: str, head: str, text: str, count: int = 1) -> None:
            edges.append(Edge(f"g{len(edges) + 1}", tail, head, lane="gradient", text=text, count=count))

        groups = {f"n{part.last + 1}": self._group(part) for part in self.parts}
        for x, uses in coming.items():
            target = self.owner[x]
            symbol = (
                self.subject.labels[backward.gradients[x]] if x in backward.gradients else f"d{self.subject.labels[x]}"
            )
            end = target
            if len(uses) > 1 and x in shown:
                end = f"s{len(beads) + 1}"
                summands = [f"{self._line(node)} (through {self.subject.labels[user]})" for user, node in uses]
                beads.append(Bead(end, target, symbol, tuple(summands), groups[target]))
            tails = Counter(self.owner[user] for user, _ in uses)
            for user, node in uses:
                tail = self.owner[user]
                if tail in self._runs:
                    if tails[tail]:
                        add(tail, end, f"{symbol} {self._told(x)}", tails[tail])
                    tails[tail] = 0
                else:
                    add(
                        tail,
                        end,
                        f"{symbol} {'+=' if end != target else '='} {self._line(node)}, {self._sized(node)}",
                    )
            if end != target:
                add(end, target, f"{symbol} {self._told(backward.gradients[x])}" if x in backward.gradients else symbol)
        return tuple(beads), edges

    def _group(self, part: Part) -> str:
        return part.block.rpartition(".")[0] if part.block else self.subject.items[part.last].group

    def _line(self, node: Tensor) -> str:
        return uniform(node, self.subject.expressions.get(node) or self.subject.labels[node])


def _operations(item: Item) -> list[str]:
    """Return the names of the operations that an equation calls; one that is made of others counts as one."""
    if item.nodes and composite_called(item.expression):
        called = re.findall(r"([A-Za-z_]\w*)\(", item.expression)
        return [name for name in called if name in OPERATIONS]
    return [node.op.name for node in item.nodes if node.op is not None]
