"""Subject: what pictures and notes describe. Equations forward, rules backward, and values where there are some."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from operator import attrgetter
from types import NoneType
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.describe.symbols import Symbol, gradient_symbol, symbol_of
from tinygraph.describe.text import Layout, lay_out, leaf_note
from tinygraph.describe.writer import written_inputs
from tinygraph.errors import GradientError, ModelError, RuleError, TinygraphError
from tinygraph.graph import Array, Backward, Graph, Tensor, backward_of, require_feeds, run, topological
from tinygraph.graph.attributes import shown
from tinygraph.model.model import Model
from tinygraph.model.values import samples_in

if TYPE_CHECKING:
    from tinygraph.model import Equation, Unfinished


@dataclass(frozen=True)
class Item:
    """One leaf or one equation: a card of the picture, a line of the notes, a step of the page.

    ``nodes`` are those made for the equation, in their order, its own ``node`` the last. A leaf has none, and neither has an
    equation that only gives a tensor a second name. ``group`` is the block instance, with dots between nested ones.
    """

    node: Tensor
    symbol: str
    expression: str
    nodes: tuple[Tensor, ...] = ()
    group: str = ""

    @property
    def is_leaf(self) -> bool:
        """Whether no operation made it."""
        return self.node.op is None


@dataclass(frozen=True)
class Rule:
    """One line of the backward pass: ``symbol = expression``.

    ``kind`` is ``"contribution"`` for what comes to the gradient of ``target`` through input ``place`` of ``user``, one of
    several if ``adds``; ``"sum"`` for the sum of those contributions; ``"inner"`` for a step before them that has a line of its
    own; and ``"seed"`` for the gradient that the pass starts with.
    """

    kind: str
    symbol: str
    expression: str
    node: Tensor
    target: Tensor | None = None
    user: Tensor | None = None
    place: int = 0
    adds: bool = False


@dataclass(frozen=True)
class Subject:
    """A graph to show: its items in topological order, the backward pass through it, and the values of both.

    ``backward`` is ``None`` where there is none, and ``without_backward`` says why. ``values`` has the array of every node,
    forward and backward, or nothing where inputs had no values. ``unfinished`` belongs to a model with a mistake in it.
    """

    title: str
    items: tuple[Item, ...]
    backward: Backward | None = None
    without_backward: str = ""
    values: Mapping[Tensor, Array] = field(default_factory=dict)
    outputs: tuple[Tensor, ...] = ()
    unfinished: Unfinished | None = None

    @cached_property
    def layout(self) -> Layout:
        """Forward and backward as text: what has a line of its own, and a label for every node.

        The gradient of a node that has a line of its own is called d and the label of that node.
        """
        kept = {item.node for item in self.items} | set(self.outputs)
        # The symbols of items, where they are more than what the text of a graph would call their tensors.
        names = {item.node: item.symbol for item in reversed(self.items) if item.node.name or item.nodes}
        if self.backward is None:
            return lay_out(self.nodes, kept, names)
        gradients = self.backward.gradients
        for item in self.items:
            for user, place, contribution in self._leaving(item):
                kept |= {contribution, user.inputs[place]}
        kept |= {gradients[node] for node in kept if node in gradients}
        first, count = lay_out(self.nodes, kept, names), len(kept)
        with_line = {line.node for line in first.equations}
        own = {gradients[item.node] for item in self.items if item.node in gradients}
        for node, gradient in gradients.items():
            # If the gradient of an unnamed node has a line, the node gets a name, and its gradient one made from that.
            if gradient in with_line and gradient not in own:
                kept.add(node)
                own.add(gradient)
        labels = (first if len(kept) == count else lay_out(self.nodes, kept, names)).labels
        gradient_names: dict[Tensor, str] = {}
        for node in [*(item.node for item in reversed(self.items)), *kept]:
            if node in gradients:
                gradient_names.setdefault(gradients[node], f"d{labels[node]}")
        return lay_out(self.nodes, kept, names | gradient_names)

    @cached_property
    def nodes(self) -> list[Tensor]:
        """All nodes, forward and backward, in topological order."""
        ends = [*self.outputs, *(item.node for item in self.items)]
        if self.backward is not None:
            ends += [*self.backward.gradients.values(), *self.backward.contributions.values()]
        return topological(dict.fromkeys(ends))

    @property
    def labels(self) -> Mapping[Tensor, str]:
        """The label of every node."""
        return self.layout.labels

    @cached_property
    def expressions(self) -> Mapping[Tensor, str]:
        """The expression of every node that has a line of its own; for a leaf its kind or its number."""
        lines = self.layout.equations
        return {line.node: line.expression or leaf_note(line.node).removeprefix("= ") for line in lines}

    def inner(self, item: Item) -> tuple[Tensor, ...]:
        """Return the nodes of an item, without the last, that have a line of their own because something else names them."""
        return tuple(node for node in item.nodes if node is not item.node and node in self.expressions)

    def gradient(self, item: Item) -> Tensor | None:
        """Return the gradient of an item, or ``None`` where the pass has none for it."""
        return None if self.backward is None else self.backward.gradients.get(item.node)

    # Symbols

    @cached_property
    def owners(self) -> dict[Tensor, Tensor]:
        """For each gradient that is called d and a label, the tensor that has the label."""
        if self.backward is None:
            return {}
        labels, gradients = self.labels, self.backward.gradients
        return {gradient: node for node, gradient in gradients.items() if labels.get(gradient) == f"d{labels[node]}"}

    def symbol(self, node: Tensor) -> Symbol:
        """Return the symbol of a node: for a gradient, d and the symbol of the tensor that it is the gradient of."""
        owner = self.owners.get(node)
        return symbol_of(self.labels[node]) if owner is None else gradient_symbol(self.symbol(owner))

    @cached_property
    def numbered(self) -> dict[Tensor, Symbol]:
        """Symbols for the contributions to a gradient, where there are several and they have no name of their own.

        >>> import tinygraph as tg
        >>> x = tg.tensor(3.0, name="x")
        >>> [symbol.text for symbol in subject_of(tg.sin(x) * tg.cos(x)).numbered.values()]
        ['dx(1)', 'dx(2)']
        """
        found: dict[Tensor, Symbol] = {}
        for (user, place), node in self.backward.contributions.items() if self.backward is not None else ():
            target = user.inputs[place]
            uses = self.uses[target]
            if len(uses) > 1 and node not in self.owners and not node.name and node.op is not None:
                # By identity: tensors compare element by element.
                number = next(i for i, (x, at) in enumerate(uses, start=1) if x is user and at == place)
                found.setdefault(node, gradient_symbol(self.symbol(target), number))
        return found

    # Rules

    @cached_property
    def uses(self) -> Mapping[Tensor, list[tuple[Tensor, int]]]:
        """The uses of a tensor that pass a gradient back to it, as nodes and places, in the order of the sweep."""
        found: dict[Tensor, list[tuple[Tensor, int]]] = defaultdict(list)
        for node, place in self.backward.contributions if self.backward is not None else ():
            found[node.inputs[place]].append((node, place))
        return found

    def rules(self, item: Item) -> tuple[Rule, ...]:
        """Return the lines of the backward pass that belong to an item, in the order in which they are computed."""
        return self._rules.get(item.node, ()) if item.nodes or item.is_leaf else ()

    @cached_property
    def _rules(self) -> dict[Tensor, tuple[Rule, ...]]:
        if self.backward is None:
            return {}
        gradients = self.backward.gradients
        forward = set(topological([self.backward.output]))
        done = {gradients[item.node] for item in self.items if item.node in gradients}
        return {item.node: tuple(self._rules_of(item, forward, done)) for item in reversed(self.items)}

    def _rules_of(self, item: Item, forward: set[Tensor], done: set[Tensor]) -> Iterator[Rule]:
        assert self.backward is not None
        gradients, labels, expressions = self.backward.gradients, self.labels, self.expressions
        if item.node is self.backward.output:
            seed = gradients[item.node]
            yield Rule("seed", labels[seed], expressions.get(seed, labels[seed]), seed, item.node)
        elif len(self.uses[item.node]) > 1:
            total = gradients[item.node]
            yield Rule("sum", labels[total], expressions[total], total, item.node)
        for user, place, node in self._leaving(item):
            for inner in _ancestors(node, forward | done):
                if inner in expressions and expressions[inner] != "1":
                    yield Rule("inner", labels[inner], expressions[inner], inner)
                    done.add(inner)
            target = user.inputs[place]
            symbol, adds = f"d{labels[target]}", len(self.uses[target]) > 1
            # A gradient that is passed on unchanged has its line elsewhere, under its own name.
            unchanged = labels[node] != symbol and (not adds or node in done)
            expression = labels[node] if unchanged else expressions[node]
            yield Rule("contribution", symbol, expression, node, target, user, place, adds)
            done.add(node)

    def _leaving(self, item: Item) -> Iterator[tuple[Tensor, int, Tensor]]:
        """Yield the contributions that an item passes back to other items: a node of it, the place, and the contribution."""
        assert self.backward is not None
        own = set(item.nodes)
        for node in reversed(item.nodes):
            for place, x in enumerate(node.inputs):
                contribution = self.backward.contributions.get((node, place))
                if contribution is not None and x not in own:
                    yield node, place, contribution


# Elements that are not finite are marked on their card, which says more than a warning.
@np.errstate(all="ignore")
def subject_of(
    thing: Any, feeds: Mapping[Any, Any] | None = None, title: str | None = None, batch: int = 1, backward: bool = True
) -> Subject:
    """Return a tensor, several, a ``Graph``, a ``Model`` or the ``ModelError`` of a model with a mistake as a subject.

    A model is recorded for the number of samples in ``feeds``, or for ``batch``. With a backward pass it is recorded for
    training, with the new values of its state. The backward pass is that of the loss for the parameters, or that of the one
    number that a graph computes for its parameters and values. Raises ``TinygraphError`` for other things, and ``FeedError``.

    >>> import tinygraph as tg
    >>> subject = subject_of(tg.load_model("notes_cnn"))
    >>> for item in subject.items[-4:]:
    ...     print(item.symbol, "=", item.expression, [f"{r.symbol} = {r.expression}" for r in subject.rules(item)])
    Z3 = f @ W3 + B3 ['dB3 = sum_to(dZ3, (1,))', 'df = dZ3 @ W3.T', 'dW3 = f.T @ dZ3']
    a = sigmoid(Z3) []
    y = input []
    cost = bce(a, y) ['dcost = 1', 'dZ3 = a - y']
    """
    if isinstance(thing, ModelError):
        return _unfinished(thing, title)
    if feeds is not None:
        require_feeds(feeds)
    if not isinstance(title, (str, NoneType)):
        raise TinygraphError(f"a title is text; found {shown(title)}")
    if isinstance(thing, Model):
        # The backward pass is that of training; without one, a model is shown as it predicts.
        samples = thing.batch or samples_in(thing, feeds or {}) or batch
        recording = thing.record(samples, training=backward and thing.loss is not None)
        items, ends, loss = equation_items(recording.equations), recording.full_graph.outputs, recording.loss
        wrt: Sequence[Tensor] = list(thing.parameters.values())
        title = (thing.title or thing.name) if title is None else title
        missing = f"the model {thing.name!r} declares no loss"
    else:
        if isinstance(thing, (Tensor, list, tuple)):
            thing = Graph(thing)
        if not isinstance(thing, Graph):
            raise TinygraphError(
                f"draw and notes take a tensor, a list of tensors, a Graph or a Model; found {type(thing).__name__}"
            )
        items, ends = _operations(thing), thing.outputs
        loss = ends[-1] if len(ends) == 1 and ends[0].size == 1 else None
        wrt = [x for x in thing.nodes if x.kind in ("parameter", "tensor") and x.dtype.kind == "f"]
        missing = "there is no single number to take gradients of"
    found, why = _backward(loss, wrt, missing) if backward else (None, "it was not asked for")
    subject = Subject(title or "", tuple(items), found, why, outputs=tuple(ends))
    return replace(subject, values=values_of(subject, feeds))


def _backward(loss: Tensor | None, wrt: Sequence[Tensor], missing: str) -> tuple[Backward | None, str]:
    if loss is None:
        return None, missing
    if not wrt:
        return None, "there is no parameter to take gradients for"
    try:
        found = backward_of(loss, wrt)
    except (GradientError, RuleError) as error:
        return None, str(error)
    return (found, "") if len(found.gradients) > 0 else (None, "no gradient reaches a parameter")


def _unfinished(error: ModelError, title: str | None) -> Subject:
    """Return what was recorded of a model before its mistake, without a backward pass.

    Raises ``TinygraphError`` where nothing was recorded, because the mistake is in the file or in its tables.
    """
    found = error.recorded
    if found is None:
        raise TinygraphError(f"no equation of the model was recorded, so there is nothing to draw: {error.message}")
    items = equation_items(found.equations)
    known = {item.node for item in items}
    items += [_leaf(x) for x in found.inputs if x.op is None and x not in known]
    ends = tuple(item.node for item in items)
    title = found.title if title is None else title
    return Subject(title, tuple(items), None, "the model is not valid", {}, ends, found)


def equation_items(equations: Iterable[Equation]) -> list[Item]:
    """Return the equations of a recording as items, each leaf before the first equation that uses it."""
    items: list[Item] = []
    known: set[Tensor] = set()
    for equation in equations:
        for x in (*(x for node in equation.nodes for x in written_inputs(node)), equation.node):
            if x.op is None and x.kind != "constant" and x not in known:
                items.append(_leaf(x))
                known.add(x)
        text = " ".join(equation.text.partition("=")[2].split())
        items.append(Item(equation.node, equation.name, text, equation.nodes, equation.block))
        known.add(equation.node)
    return items


def _leaf(x: Tensor) -> Item:
    return Item(x, x.name or "", leaf_note(x), group=(x.name or "").rpartition(".")[0])


def _operations(graph: Graph) -> list[Item]:
    """One item for each operation and leaf; constants that are numbers without a name are written where they are used."""
    kept = {*graph.outputs, *(node for node in graph.nodes if node.op is not None)}
    return [
        Item(line.node, line.label, line.expression or leaf_note(line.node), (line.node,) if line.node.op else ())
        for line in lay_out(graph.nodes, kept).equations
    ]


def _ancestors(node: Tensor, stop: set[Tensor]) -> list[Tensor]:
    """Return what a node is computed from, up to ``stop``, in topological order."""
    found: set[Tensor] = set()
    stack = list(node.inputs)
    while stack:
        x = stack.pop()
        if x not in stop and x not in found:
            found.add(x)
            stack.extend(x.inputs)
    return sorted(found, key=attrgetter("order"))


def values_of(subject: Subject, feeds: Mapping[Any, Any] | None) -> dict[Tensor, Array]:
    """Return the value of every node, or nothing where a leaf has no value and ``feeds`` are not given."""
    known: dict[Tensor, Array] = {}
    graph = Graph(subject.nodes)
    if feeds is None and any(node.op is None and not node.has_value for node in graph.nodes):
        return {}
    run(graph, feeds, watch=lambda node, value: known.update({node: np.asarray(value)}))
    return known
