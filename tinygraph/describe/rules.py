"""Which nodes of a subject have a line, what each is called, and to which item each line of the backward pass belongs.

Pictures, notes and ``tinygraph equations`` take all of this from here, so that a symbol means the same in each of them.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING

from tinygraph.describe.text import LONGEST_SUM, Layout, lay_out
from tinygraph.describe.writer import written_inputs
from tinygraph.graph import Tensor

if TYPE_CHECKING:
    from tinygraph.describe.subject import Item, Subject


@dataclass(frozen=True)
class Rule:
    """One line of the backward pass.

    With ``kind`` ``"gradient"`` it is the one rule ``symbol = expression`` of the gradient of ``target``, and ``node`` is
    that gradient; with ``"inner"`` it defines another array of the backward pass that rules name. With ``"sent"`` it says
    what comes to ``symbol``, a sum, from input ``place`` of ``user``: ``node``, written as ``expression``. ``user`` is
    ``None`` unless the rule of one operation, ``user``, gives ``node`` directly to ``target``.
    """

    kind: str
    symbol: str
    expression: str
    node: Tensor
    target: Tensor | None = None
    user: Tensor | None = None
    place: int = 0

    @property
    def text(self) -> str:
        """The line as a picture shows it."""
        return f"to {self.symbol}: {self.expression}" if self.kind == "sent" else f"{self.symbol} = {self.expression}"


def layout_of(subject: Subject) -> Layout:
    """Return forward and backward as text. The gradient of a node that has a line is called d and the label of that node.

    Items, their gradients, and tensors inside an equation to which another equation sends a gradient have a line. So has
    what is named often or too long to be written where it is used; if that is a gradient, its tensor has a line too.
    """
    kept = {item.node for item in subject.items} | set(subject.outputs)
    # The symbols of items, where they are more than what the text of a graph would call their tensors.
    names = {item.node: item.symbol for item in reversed(subject.items) if item.node.name or item.nodes}
    larger = subject.larger_nodes
    if subject.like is not None:
        return _layout_like(subject, subject.like, names)
    if subject.backward is None:
        return lay_out(subject.nodes, kept, names, larger=larger)
    gradients, after, owners = subject.backward.gradients, subject.named_after, owners_of(subject)
    kept |= {gradients[x] for x in kept if x in gradients}
    first = lay_out(subject.nodes, kept, names, larger=larger)
    uses = uses_of(subject, first.same)
    for line in first.equations:
        if line.node in after:
            kept |= {line.node, after[line.node]}
    for x, places in uses.items():
        if x not in first.same and any(owners.get(x) is not owners.get(user) for user, _ in places):
            kept |= {x, gradients[x]}
        if len(places) > LONGEST_SUM and x in kept:
            kept |= {subject.backward.contributions[use] for use in places}
    labels = lay_out(subject.nodes, kept, names, larger=larger).labels
    names |= {gradient: f"d{labels[x]}" for gradient, x in after.items() if x in kept}
    inside = {
        subject.backward.contributions[use]: f"d{labels[x]}({i})"
        for x, places in uses.items()
        for i, use in enumerate(places, start=1)
        if len(places) > 1 and is_anonymous(subject.backward.contributions[use], names)
    }
    return lay_out(subject.nodes, kept, names, inside=inside, larger=larger)


def _layout_like(subject: Subject, like: Subject, names: Mapping[Tensor, str]) -> Layout:
    """Return a layout with the lines and names of the same subject for another number of samples."""
    pairs, lines = subject.like_nodes, set(like.expressions)
    inside = {x: like.labels[y] for x, y in pairs.items() if y in like.labels and x.op is not None}
    names = {**names, **{x: inside[x] for x, y in pairs.items() if y in lines and x in inside}}
    if subject.backward is not None:
        found = {x: gradient for gradient, x in subject.named_after.items() if gradient not in names}
        names |= {gradient: f"d{names[x]}" for x, gradient in found.items() if x in names}
    kept = {x for x in names if pairs.get(x, x) in lines or x not in pairs} | {item.node for item in subject.items}
    return lay_out(subject.nodes, kept, names, lines=kept, inside=inside)


def is_anonymous(node: Tensor, names: Collection[Tensor]) -> bool:
    """Whether a contribution is called by its number: it has no name of its own, and is no gradient that has one."""
    return node not in names and not node.name and node.op is not None


def named_after(subject: Subject) -> dict[Tensor, Tensor]:
    """Return the tensor that each gradient is named after: of several with the same gradient the last, items first."""
    if subject.backward is None:
        return {}
    gradients, forward = subject.backward.gradients, set(subject.forward_nodes)
    tensors = [*(item.node for item in reversed(subject.items)), *gradients]
    if subject.like is not None and subject.like.backward is not None:
        pairs, theirs = subject.like_nodes, subject.like.backward.gradients
        alike = [x for x in tensors if x in gradients and theirs.get(pairs.get(x, x)) is pairs.get(gradients[x])]
        tensors = [*alike, *tensors]
    found: dict[Tensor, Tensor] = {}
    for x in tensors:
        if x in gradients and gradients[x] not in forward:
            found.setdefault(gradients[x], x)
    return found


def uses_of(subject: Subject, same: Mapping[Tensor, Tensor]) -> Mapping[Tensor, list[tuple[Tensor, int]]]:
    """Return the uses of a tensor that pass a gradient back to it, as nodes and places, in the order of the sweep.

    A node that only repeats a tensor is no use of it: what uses that node uses the tensor.
    """
    found: dict[Tensor, list[tuple[Tensor, int]]] = defaultdict(list)
    for node, place in subject.backward.contributions if subject.backward is not None else ():
        x = node.inputs[place]
        x = same.get(x, x)
        if same.get(node) is not x:
            found[x].append((node, place))
    return found


def owners_of(subject: Subject) -> dict[Tensor, Item]:
    """Return the item that each forward node was made for, the first of those that name it."""
    found: dict[Tensor, Item] = {}
    for item in subject.items:
        for node in (*item.nodes, item.node):
            found.setdefault(node, item)
    return found


def gradient_labels_of(subject: Subject) -> dict[Tensor, str]:
    """Return the symbol of the gradient of each tensor that has a rule.

    A gradient that several tensors have is called after one of them. The others have a symbol too where they are items, or
    where the rule is that of another item's operation.
    """
    if subject.backward is None:
        return {}
    found: dict[Tensor, str] = {}
    labels, after, items = subject.labels, subject.named_after, owners_of(subject)
    taken = set(labels.values())
    for x, gradient in subject.backward.gradients.items():
        if x not in subject.expressions or x not in items or gradient not in subject.expressions:
            continue
        if after.get(gradient) is x:
            found[x] = labels[gradient]
        elif items[x].node is x or any(items.get(user) is not items[x] for user, _ in subject.uses[x]):
            names = (f"d{labels[x]}{suffix}" for suffix in itertools.chain([""], (f"_{i}" for i in itertools.count(2))))
            found[x] = next(name for name in names if name not in taken)
            taken.add(found[x])
    return found


def defined_in(subject: Subject) -> dict[int, tuple[Tensor, ...]]:
    """Return, by the ``id`` of an item, what of the forward pass has a line inside of it and is named by rules."""
    if subject.backward is None:
        return {}
    items, forward = owners_of(subject), set(subject.forward_nodes)
    shown = {item.node for item in subject.items}
    stack = [x for x in subject.nodes if x not in forward] + [x for x in subject.gradient_labels if x not in shown]
    found = set(stack)
    while stack:
        for x in written_inputs(stack.pop()):
            if x not in shown and x not in found:
                found.add(x)
                stack.append(x)
    # A constant is defined where it is used first.
    first = {x: node for node in reversed(subject.forward_nodes) for x in node.inputs}
    by_item: dict[int, list[Tensor]] = defaultdict(list)
    for x in sorted(found & forward, key=attrgetter("order")):
        item = items.get(x) or items.get(first.get(x, x))
        if item is not None and subject.layout.texts[x] == subject.labels[x]:
            by_item[id(item)].append(x)
    return {key: tuple(nodes) for key, nodes in by_item.items()}


def rules_of(subject: Subject) -> dict[int, tuple[Rule, ...]]:
    """Return the lines of the backward pass by the ``id`` of the item that they belong to, each in order of computation.

    The rule of a gradient belongs to the item whose operation gives it, or, where several give parts that are summed, to
    the item of the tensor; the others say what they send. Each symbol of a gradient has one rule.
    """
    return {} if subject.backward is None else _Rules(subject).found


class _Rules:
    def __init__(self, subject: Subject) -> None:
        assert subject.backward is not None
        self.subject, self.backward = subject, subject.backward
        self.seen = set(subject.forward_nodes)
        self.items = owners_of(subject)
        results: dict[int, list[Rule]] = defaultdict(list)
        # In the order in which gradients arrive.
        for x in dict.fromkeys([self.backward.output, *subject.uses]):
            for rule in self._of(x) if x in subject.gradient_labels else ():
                user = x if rule.user is None else rule.user
                # A power with the exponent zero is written as 1 and belongs to no item.
                if user in self.items or rule.kind == "gradient":
                    results[id(self.items.get(user, self.items[x]))].append(rule)
        self.own = {
            rule.node for rules in results.values() for rule in rules if rule.symbol == subject.labels[rule.node]
        }
        self.found = {id(item): tuple(self._in_order(results[id(item)])) for item in reversed(subject.items)}

    def _of(self, x: Tensor) -> Iterator[Rule]:
        """Yield the rule of the gradient of a tensor, and what the summands are."""
        symbol, labels, uses = self.subject.gradient_labels[x], self.subject.labels, self.subject.uses[x]
        node = self.backward.gradients[x]
        text = self.subject.lines[node] if symbol == labels[node] else labels[node]
        user, place = uses[0] if len(uses) == 1 and x is not self.backward.output else (None, 0)
        yield Rule("gradient", symbol, text, node, x, user, place)
        for use in uses if user is None else ():
            sent = self.backward.contributions[use]
            yield Rule("sent", symbol, self.subject.layout.texts[sent], sent, x, *use)

    def _in_order(self, rules: Sequence[Rule]) -> Iterator[Rule]:
        """Yield the rules of an item in the order of computation, each after the arrays that only it and later rules name."""
        for rule in sorted(rules, key=lambda rule: (rule.node.order, rule.user is not None)):
            for x in self._new(rule.node):
                if (
                    x in self.subject.lines
                    and x not in self.own
                    and self.subject.layout.texts[x] == self.subject.labels[x]
                ):
                    yield Rule("inner", self.subject.labels[x], self.subject.lines[x], x)
            yield rule

    def _new(self, node: Tensor) -> list[Tensor]:
        """Return what a node is computed from and what was not yet seen, and the node, in topological order."""
        found, stack = [], [node]
        while stack:
            x = stack.pop()
            if x not in self.seen:
                self.seen.add(x)
                found.append(x)
                stack.extend(x.inputs)
        return sorted(found, key=attrgetter("order"))
