"""Build the drawing of a subject: its cards, and the edges of the value lane and the gradient lane."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from tinygraph.describe.fold import Part, parts_of
from tinygraph.describe.numbers import number_text
from tinygraph.describe.part import part_of
from tinygraph.describe.rules import Rule
from tinygraph.describe.subject import Item, Subject
from tinygraph.describe.text import attributes_text, composite_called, doc_line, title_of
from tinygraph.describe.writer import written_inputs
from tinygraph.draw.cards import DETAILS, VIEWS, Bead, Card, Drawing, Edge
from tinygraph.draw.colours import family_rank
from tinygraph.draw.figures import MOST_NUMBERS, Figures, figures_of, marks_of
from tinygraph.draw.verdicts import judged, records_by_node
from tinygraph.errors import TinygraphError, listing, nearest
from tinygraph.graph import OPERATIONS, Graph, Tensor

if TYPE_CHECKING:
    from tinygraph.verify import Report

ERROR = "error"
# The most equations that a folded card writes out, with their rules.
_MOST_WRITTEN = 2
Fold = str | Collection[str]


def drawing_of(
    subject: Subject,
    detail: str | None = None,
    view: str = "both",
    fold: Fold = "auto",
    edit: Callable[[Card], Card] | None = None,
    report: Report | None = None,
    numbers: int = MOST_NUMBERS,
    only: str | None = None,
    parts: Sequence[Part] | None = None,
    unfold: str = 'fold="none" draws each',
) -> Drawing:
    """Return the drawing of a subject. The id of a card is ``n`` and the number, from 1, of the last item that it shows.

    ``parts`` are those to draw in place of the parts that ``fold`` makes, and ``unfold`` says how to see what is folded.

    Raises ``TinygraphError`` for an unknown ``detail``, ``view``, ``fold`` or ``only``, for ``numbers`` below 0, for an
    ``edit`` that does not return a card, and for a ``report`` of another graph. See ``tg.draw``.

    >>> import tinygraph as tg
    >>> from tinygraph.describe.subject import subject_of
    >>> x = tg.tensor(3.0, name="x")
    >>> [(card.symbol, card.gradient, card.rules) for card in drawing_of(subject_of(x * x)).cards]
    [('x', 'dx', ('dx = x + x',)), ('t1', 'dt1', ('dt1 = 1', 'to dx: x', 'to dx: x'))]
    """
    detail = detail or ("value" if subject.values else "rule")
    for name, value, valid in (("detail", detail, DETAILS), ("view", view, VIEWS)):
        if value not in valid:
            raise TinygraphError(f"{name} must be one of {listing(valid)}; found {value!r}{nearest(str(value), valid)}")
    if isinstance(numbers, bool) or not isinstance(numbers, int) or numbers < 0:
        raise TinygraphError(f"numbers says how many elements are written, 0 or more; found {numbers!r}")
    builder = _Builder(subject, detail, view, fold, report, numbers, only, parts)
    cards = [edit(card) if edit else card for card in builder.cards()]
    for card in cards:
        if not isinstance(card, Card):
            raise TinygraphError(f"edit must return a Card; found {type(card).__name__}")
    beads, gradients = builder.gradient_lane()
    caption = [report.summary()] if report is not None else []
    caption += [] if only is None else [f"only what leads to {only}"]
    if builder.subject.unfinished is not None:
        caption.append("drawn as far as the model is valid, for the batch that was tried first")
    if builder.folded:
        count = sum(len(part.items) for part in builder.parts)
        caption.append(f"{count:,} cards are folded into {len(builder.parts)}; {unfold}")
    lines = (line for card in cards for line in (*card.inside, *card.rules))
    if builder.subject.larger is not None and any(re.search(r"\bm\b", line) for line in lines):
        caption.append(f"m is the number of samples: {subject.samples} here")
    backward = builder.subject.backward
    output = builder.labels[backward.output] if builder.gradients and backward else ""
    edges = (*builder.value_lane(), *gradients)
    return Drawing(subject.title, tuple(cards), edges, beads, detail, view, "; ".join(caption), output)


class _Builder:
    """The parts of one drawing, and the card that owns each tensor."""

    def __init__(
        self,
        subject: Subject,
        detail: str,
        view: str,
        fold: Fold,
        report: Report | None,
        numbers: int,
        only: str | None,
        parts: Sequence[Part] | None,
    ) -> None:
        # Rules are general; shapes and numbers are those of the nodes that correspond, for the number of samples at hand.
        self.values, self.subject, self.detail, self.numbers = subject.values, subject.general, detail, numbers
        self.numeric = subject.of_general
        self.records = records_by_node(report, Graph(subject.outputs)) if report is not None else {}
        subject = self.subject = self.subject if only is None else part_of(self.subject, only)
        self.labels = subject.labels
        self.parts = parts_of(subject.items, fold) if parts is None else parts
        self.folded = {_id(part) for part in self.parts if len(part.items) > 1}
        self.gradients = view != "forward" and subject.backward is not None
        ids = {i: _id(part) for part in self.parts for i in part.items}
        self.owner: dict[Tensor, str] = {}
        # The items that give a second name to a tensor that has a card.
        self.aliases: set[int] = set()
        for i, item in enumerate(subject.items):
            if i not in ids:
                continue
            if item.node in self.owner:
                self.aliases.add(i)
            for node in (*item.nodes, item.node):
                self.owner.setdefault(node, ids[i])

    # Cards

    def cards(self) -> Iterator[Card]:
        """Yield the cards in topological order; the last is the mistake of a model that is not valid."""
        number = 1
        for part in self.parts:
            card = self._card(part)
            item = self.subject.items[part.last]
            if len(part.items) > 1:
                card = self._folded(card, part)
            elif not item.is_leaf or part.last in self.aliases:
                card = self._operation(card, item, number)
                number += 1
            items = [self.subject.items[i] for i in part.items if i not in self.aliases]
            nodes = [node for item in items for node in item.nodes or (item.node,)]
            yield judged(card, [record for node in nodes for record in self.records.get(self._at_hand(node), ())])
        if found := self.subject.unfinished:
            mistake = Card(ERROR, "error", found.name, found.text.partition(" = ")[2], (), "", note=found.mistake)
            if found.name:
                yield replace(mistake, title="cannot be recorded", number=number, group=found.block)
            else:
                yield replace(mistake, title="the model is not valid")

    def _card(self, part: Part) -> Card:
        """Return the card of a leaf, or what all kinds of cards have in common."""
        item = self.subject.items[part.last]
        node, alias = item.node, part.last in self.aliases
        computed = [node for i in part.items for node in self.subject.items[i].nodes]
        kept = tuple(
            f"kept for the backward pass: {self.labels[x]}, {number_text(self._at_hand(x).size * x.dtype.itemsize)} bytes"
            for x in ([node] if item.is_leaf and not alias else computed)
            if x in self._read_backward
        )
        card = Card(
            _id(part), node.kind, item.symbol, item.expression, self._at_hand(node).shape, str(node.dtype), kept=kept
        )
        original = self.subject.originals.get(item.symbol, "")
        card = self._counted(replace(card, group=self._group(part), original=original), part)
        if alias:
            return card
        gradient = self.subject.gradient(item) if self.gradients else None
        symbol = self.subject.gradient_labels.get(node, "") if self.gradients else ""
        value, slope = self._figures(node), self._figures(gradient)
        card = replace(card, gradient=symbol, value=value, gradient_value=slope, marks=marks_of(value, slope))
        shown = [item] if len(part.items) == 1 else self._unit(part)
        if not self.gradients or self.detail == "shape" or len(shown) > _MOST_WRITTEN:
            return card
        inside = tuple(
            f"{self.labels[x]} = {self.subject.lines[x]}" for item in shown for x in self.subject.defined(item)
        )
        rules = [self._rule(rule) for item in reversed(shown) for rule in self.subject.rules(item)]
        return replace(card, inside=inside, rules=tuple(filter(None, rules)))

    def _counted(self, card: Card, part: Part) -> Card:
        """Return a card with its parameters, those of them that get no gradient, and the products of the forward pass."""
        items = [self.subject.items[i] for i in part.items if i not in self.aliases]
        used = {x for item in items for node in (*item.nodes, item.node) for x in (node, *node.inputs)}
        parameters = [x for x in used if x.kind == "parameter"]
        backward = self.subject.backward
        frozen = [x for x in parameters if backward is not None and x not in backward.gradients]
        nodes = [self._at_hand(node) for item in items for node in item.nodes]
        products = sum(node.op.multiply_adds(*node.inputs) for node in nodes if node.op is not None)
        sizes = [sum(x.size for x in each) for each in (parameters, frozen)]
        return replace(card, parameters=sizes[0], frozen=sizes[1], multiply_adds=products)

    def _operation(self, card: Card, item: Item, number: int) -> Card:
        """Return the card of an operation or equation, with a header."""
        ops = [node.op for node in item.nodes if node.op is not None]
        composite = composite_called(item.expression)
        main = min(ops, key=lambda op: family_rank(op.family), default=None)
        named, attributes = composite or (main, attributes_text(main) if main else "")
        title, note = composite[0].name if composite else title_of(ops), self._bypassed.get(item.node, "")
        card = replace(card, kind="node", number=number, title=title, attributes=attributes, note=note)
        return replace(card, family=named.family, doc=doc_line(named)) if named else card

    def _folded(self, card: Card, part: Part) -> Card:
        """Return the card of several items, with a header that says what they are."""
        items, unit = [self.subject.items[i] for i in part.items], self._unit(part)
        computed = [item.symbol for item in items if item.nodes] or [items[-1].symbol]
        ends = (part.first, part.final) if part.first else (computed[0], computed[-1])
        title = part.block or (" … ".join(ends) if len(computed) > 1 else computed[0])
        card = replace(card, kind="folded", title=title, holds=len(items), times=part.times)
        counts = Counter(name for item in unit for name in _operations(item))
        attributes = f"x {part.times}" if part.times > 1 else f"{counts.total():,} operations" if len(unit) > 1 else ""
        if len(unit) <= _MOST_WRITTEN:
            *others, last = unit
            lines = "; ".join(f"{item.symbol} = {item.expression}" for item in others)
            return replace(card, expression=last.expression + f", where {lines}" * bool(lines), attributes=attributes)
        names = [f"{name} x{count}" if count > 1 else name for name, count in counts.most_common(6)]
        rest = len(counts) - len(names)
        called = ", ".join(names + [f"{rest} more"] * bool(rest))
        each = f"each time {called}" if part.times > 1 else called
        return replace(card, expression=each, attributes=attributes)

    def _unit(self, part: Part) -> list[Item]:
        """Return the equations of a part; of those that repeat themselves, the last ones."""
        equations = [self.subject.items[i] for i in part.items if self.subject.items[i].nodes or i in self.aliases]
        return equations[-(len(equations) // part.times) :]

    def _group(self, part: Part) -> str:
        if part.block and len(part.items) > 1:
            return part.block.rpartition(".")[0]
        groups = [self.subject.items[i].group.split(".") for i in part.items]
        common = itertools.takewhile(lambda names: len(set(names)) == 1, zip(*groups, strict=False))
        return ".".join(names[0] for names in common)

    def _rule(self, rule: Rule) -> str:
        """Return a rule as text; nothing for a summand that is called by its number, whose own line says what it is."""
        if rule.kind == "sent" and rule.node in self.subject.numbered and rule.expression == self.labels[rule.node]:
            return ""
        if rule.kind == "gradient" and rule.target in self._sums_of_folded:
            return f"{rule.symbol} = the sum of {len(self.subject.uses[rule.target])}"
        return rule.text

    @cached_property
    def _sums_of_folded(self) -> set[Tensor]:
        """The tensors whose gradient is a sum with summands from folded cards, which show no rules."""
        subject = self.subject
        hidden = {x for part in self.parts if len(part.items) > 1 for i in part.items for x in subject.items[i].nodes}
        uses = {x: users for x, users in subject.uses.items() if len(users) > 1}
        return {x for x, users in uses.items() if any(user in hidden for user, _ in users)}

    def _figures(self, node: Tensor | None) -> Figures | None:
        if node is None:
            return None
        array = self.values.get(self._at_hand(node)) if self.detail in ("value", "full") else None
        if not self.values and self.subject.weighted and self.detail != "shape" and node.op is None and node.has_value:
            # Nothing is computed without values of the inputs, but parameters that were given have theirs.
            array = node.value
        return None if array is None else figures_of(array, self.numbers)

    def _at_hand(self, node: Tensor) -> Tensor:
        return self.numeric.get(node, node)

    @cached_property
    def _read_backward(self) -> set[Tensor]:
        """The forward tensors whose values the backward pass reads, in a picture in full detail."""
        if self.detail != "full" or not self.gradients:
            return set()
        forward = {node for item in self.subject.items for node in (*item.nodes, item.node)}
        return {x for node in self.subject.nodes if node not in forward for x in node.inputs if x in forward}

    @cached_property
    def _given(self) -> dict[tuple[Tensor, int], Rule]:
        """The rule that says what a use of a tensor gives to its gradient."""
        rules = (rule for item in self.subject.items for rule in self.subject.rules(item))
        return {(rule.user, rule.place): rule for rule in rules if rule.user is not None}

    @cached_property
    def _bypassed(self) -> dict[Tensor, str]:
        """A note for each tensor that a rule bypasses, because it gives the gradient of the tensor's input directly."""
        backward = self.subject.backward
        notes: dict[Tensor, str] = {}
        for (node, place), rule in self._given.items() if backward and self.gradients else ():
            for passed, through in (node.op.shortcuts if node.op else {}).items():
                if through == place and backward:
                    known = node.inputs[passed] in backward.gradients
                    about = (
                        f"its gradient is without the part of {self.labels[node]}"
                        if known
                        else "its gradient is not needed"
                    )
                    given = f"{self.labels[node]} gives {rule.text.removeprefix('to ')} at once"
                    notes[node.inputs[passed]] = f"{about}: {given}"
        return notes

    # Lanes

    def value_lane(self) -> Iterator[Edge]:
        """Yield an edge for each use of a tensor by another card. Uses by or from a folded card are counted on one edge."""
        numbers = itertools.count(1)
        for part in self.parts:
            head = _id(part)
            uses = [x for i in part.items for x in self._used(i) if self.owner.get(x, head) != head]
            times, counts = Counter(uses), Counter(self.owner[x] for x in uses)
            for place, x in enumerate(uses, start=1):
                tail = self.owner[x]
                if not self.folded & {head, tail}:
                    yield Edge(f"e{next(numbers)}", tail, head, place, times[x] > 1, text=self._named(x))
                elif tail in counts:
                    yield Edge(f"e{next(numbers)}", tail, head, place, text=self._named(x), count=counts.pop(tail))
        if self.subject.unfinished:
            for place, x in enumerate((x for x in self.subject.unfinished.inputs if x in self.owner), start=1):
                text = f"{x.name or ''} {x.dtype} {x.shape}".strip()
                yield Edge(f"x{place}", self.owner[x], ERROR, place, text=text)

    def _used(self, i: int) -> list[Tensor]:
        item = self.subject.items[i]
        same = self.subject.layout.same
        used = [x for node in item.nodes if node not in same for x in written_inputs(node)]
        return [item.node] if i in self.aliases else [same.get(x, x) for x in used]

    def gradient_lane(self) -> tuple[tuple[Bead, ...], list[Edge]]:
        """Return the edges on which gradients return, and a bead where several contributions to one tensor are summed."""
        backward = self.subject.backward
        if backward is None or not self.gradients:
            return (), []
        groups = {_id(part): self._group(part) for part in self.parts}
        shown = {self.subject.items[part.last].node for part in self.parts}
        beads: list[Bead] = []
        edges: list[Edge] = []

        def add(tail: str, head: str, text: str, count: int = 1) -> None:
            edges.append(Edge(f"g{len(edges) + 1}", tail, head, lane="gradient", text=text, count=count))

        for x, all_uses in list(self.subject.uses.items()):
            if x not in self.owner or x not in self.subject.gradient_labels:
                continue
            symbol, target = self.subject.gradient_labels[x], self.owner[x]
            head, uses = target, [use for use in all_uses if self.owner.get(use[0], target) != target]
            if len(uses) > 1 and x in shown:
                head = f"s{len(beads) + 1}"
                summands = tuple(f"{self._given[use].expression} (through {self.labels[use[0]]})" for use in uses)
                beads.append(Bead(head, target, symbol, summands, groups[target]))
            counts = Counter(self.owner[user] for user, _ in uses)
            for use in uses:
                tail = self.owner[use[0]]
                if tail not in self.folded:
                    add(tail, head, f"{self._given[use].text}, {self._sized(backward.contributions[use])}")
                elif tail in counts:
                    add(tail, head, f"{symbol} {self._named(x)}", counts.pop(tail))
            if head != target:
                add(head, target, f"{symbol} {self._named(backward.gradients[x])}")
        return tuple(beads), edges

    def _named(self, x: Tensor) -> str:
        return f"{self.labels.get(x, '')} {self._sized(x)}"

    def _sized(self, x: Tensor) -> str:
        """Return the dtype and shape of a tensor, and its norm where its value is known."""
        figures = self._figures(x)
        norm = "" if figures is None or figures.norm is None else f", norm {number_text(figures.norm)}"
        return f"{x.dtype} {self._at_hand(x).shape}{norm}"


def _id(part: Part) -> str:
    return f"n{part.last + 1}"


def _operations(item: Item) -> list[str]:
    """Return the names of the operations that an equation calls; a composite counts as one operation."""
    if item.nodes and composite_called(item.expression):
        called = re.findall(r"([A-Za-z_]\w*)\(", item.expression)
        return [name for name in called if name in OPERATIONS]
    return [node.op.name for node in item.nodes if node.op is not None]
