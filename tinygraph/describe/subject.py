"""Subject: what pictures and notes describe. Equations forward, rules backward, and values where there are some."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import NoneType
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.describe.rules import (
    Rule,
    defined_in,
    gradient_labels_of,
    is_anonymous,
    layout_of,
    named_after,
    rules_of,
    uses_of,
)
from tinygraph.describe.sizes import counterparts, number_with_m, with_m
from tinygraph.describe.symbols import Symbol, gradient_symbol, symbol_of
from tinygraph.describe.text import Layout, lay_out, leaf_note, uniform
from tinygraph.describe.writer import written_inputs
from tinygraph.errors import FeedError, GradientError, ModelError, RuleError, TinygraphError
from tinygraph.graph import Array, Backward, Graph, Tensor, backward_of, require_feeds, run, shown, topological
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
class Subject:
    """A graph to show: its items in topological order, the backward pass through it, and the values of both.

    ``backward`` is ``None`` where there is none, and ``without_backward`` says why. ``values`` has the array of every node,
    forward and backward, or nothing where inputs had no values; ``weighted`` says that the parameters were given, not drawn.
    ``unfinished`` belongs to a model with a mistake in it.
    ``larger`` is the same model for one more sample: what depends on the number of samples is written with m. ``like`` is
    the same model for two samples, which has the names and lines of this one; ``fixed`` says that the rules of pictures
    are those of this number of samples all the same. ``originals`` are what symbols are called in the model's own file.
    """

    title: str
    items: tuple[Item, ...]
    backward: Backward | None = None
    without_backward: str = ""
    values: Mapping[Tensor, Array] = field(default_factory=dict)
    outputs: tuple[Tensor, ...] = ()
    unfinished: Unfinished | None = None
    larger: Subject | None = None
    like: Subject | None = None
    fixed: bool = False
    weighted: bool = False
    originals: Mapping[str, str] = field(default_factory=dict)

    @property
    def general(self) -> Subject:
        """The subject whose rules hold for any number of samples, if that is not fixed, with items at the same places."""
        return self if self.like is None or self.fixed else self.like

    @property
    def samples(self) -> int:
        """How many samples the inputs of a model contain; 0 for a graph without inputs."""
        return next((item.node.shape[0] for item in self.items if item.node.kind == "input" and item.node.ndim), 0)

    @cached_property
    def layout(self) -> Layout:
        """Forward and backward as text: what has a line of its own, and a label for every node."""
        return layout_of(self)

    @cached_property
    def forward_nodes(self) -> list[Tensor]:
        """The nodes without those of the backward pass, in topological order."""
        ends = [*self.outputs, *(item.node for item in self.items)]
        return topological(dict.fromkeys(ends if self.backward is None else [*ends, self.backward.output]))

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

    @cached_property
    def lines(self) -> Mapping[Tensor, str]:
        """The expressions, and what the elements of a constant are if they are equal."""
        return {node: self._line(node, text) for node, text in self.expressions.items()}

    def _line(self, node: Tensor, text: str) -> str:
        in_samples = self.size(node, -1) if node.kind == "constant" else ""
        return f"{in_samples}{' everywhere' * (node.size > 1)}" if in_samples else uniform(node, text)

    def inner(self, item: Item) -> tuple[Tensor, ...]:
        """Return the nodes of an item, without the last, that have a line of their own because something else names them."""
        return tuple(node for node in item.nodes if node is not item.node and node in self.expressions)

    def defined(self, item: Item) -> tuple[Tensor, ...]:
        """Return those inner nodes of an item, and constants that only they need, that rules of the backward pass name."""
        return self._defined.get(id(item), ())

    @cached_property
    def _defined(self) -> dict[int, tuple[Tensor, ...]]:
        return defined_in(self)

    def gradient(self, item: Item) -> Tensor | None:
        """Return the gradient of an item, or ``None`` where the pass has none for it."""
        return None if self.backward is None else self.backward.gradients.get(item.node)

    def size(self, node: Tensor, axis: int, times: str = " * ") -> str:
        """Write the size of an axis, or with axis -1 a constant that is a number, with m if it depends on the samples.

        A constant that does not is written as empty text.
        """
        other = self.larger_nodes.get(node, node)
        return number_with_m(node, other, times) if axis < 0 else with_m(node.shape[axis], other.shape[axis], times)

    @cached_property
    def larger_nodes(self) -> dict[Tensor, Tensor]:
        """For the nodes, those of the same model for one more sample."""
        return {} if self.larger is None else counterparts(self, self.larger)

    @cached_property
    def like_nodes(self) -> dict[Tensor, Tensor]:
        """For the nodes, those of the same model for two samples."""
        return {} if self.like is None else counterparts(self, self.like)

    @cached_property
    def of_general(self) -> dict[Tensor, Tensor]:
        """For the nodes of the general subject, those of this one; there may be none, where nothing is summed over samples."""
        general = self.general
        return {x: x for x in self.nodes} if general is self else counterparts(general, self)

    def shape(self, node: Tensor) -> str:
        """Write the shape of a node.

        >>> import tinygraph as tg
        >>> subject = subject_of(tg.load_model("xor")).general
        >>> [subject.shape(item.node) for item in subject.items[:2]]
        ['(m, 2)', '(2, 4)']
        """
        sizes = [self.size(node, axis) for axis in range(node.ndim)]
        return f"({', '.join(sizes)}{',' * (len(sizes) == 1)})"

    # Symbols

    @cached_property
    def named_after(self) -> dict[Tensor, Tensor]:
        """The tensor that each gradient is named after."""
        return named_after(self)

    @cached_property
    def owners(self) -> dict[Tensor, Tensor]:
        """For each gradient that is called d and a label, the tensor that has the label."""
        labels = self.labels
        return {gradient: x for gradient, x in self.named_after.items() if labels.get(gradient) == f"d{labels[x]}"}

    @cached_property
    def gradient_labels(self) -> dict[Tensor, str]:
        """The symbol of the gradient of each tensor that has a rule: of items, and of what is named inside of them."""
        return gradient_labels_of(self)

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
        if self.backward is None:
            return found
        for x, uses in self.uses.items():
            for number, use in enumerate(uses, start=1):
                node = self.backward.contributions[use]
                if len(uses) > 1 and is_anonymous(node, self.owners):
                    found.setdefault(node, gradient_symbol(self.symbol(x), number))
        return found

    # Rules

    @cached_property
    def uses(self) -> Mapping[Tensor, list[tuple[Tensor, int]]]:
        """The uses of a tensor that pass a gradient back to it, as nodes and places, in the order of the sweep."""
        return uses_of(self, self.layout.same)

    def rules(self, item: Item) -> tuple[Rule, ...]:
        """Return the lines of the backward pass that belong to an item, in the order in which they are computed."""
        return self._rules.get(id(item), ())

    @cached_property
    def _rules(self) -> dict[int, tuple[Rule, ...]]:
        return rules_of(self)


# Elements that are not finite are marked on their card, which says more than a warning.
@np.errstate(all="ignore")
def subject_of(
    thing: Any,
    feeds: Mapping[Any, Any] | None = None,
    title: str | None = None,
    batch: int | None = None,
    backward: bool = True,
) -> Subject:
    """Return a tensor, several, a ``Graph``, a ``Model`` or the ``ModelError`` of a model with a mistake as a subject.

    A model is recorded for the number of samples in ``feeds``, or for ``batch``, or for one; ``general`` is the same with
    rules for any number of samples, unless ``batch`` is given. With a backward pass it is recorded for training, with the
    new values of its state. The backward pass is that of the loss for the parameters, or that of the one number that a graph
    computes for its parameters and values. Raises ``TinygraphError`` for other things, and ``FeedError``.

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
        given = samples_in(thing, feeds or {})
        if given is not None and batch not in (None, given):
            raise FeedError(f"the batch size is {batch}, but the feeds hold {given} samples; leave one of them out")
        samples = (thing.batch or given or 1) if batch is None else batch
        subject = _recorded(thing, samples, title, backward)
        # Where m is a tensor of the model, the number of samples has no letter and stays a number.
        is_general = not thing.batch and all(item.symbol != "m" for item in subject.items)
        like = _for_two(thing, title, backward) if is_general else None
        subject = replace(subject, like=like, fixed=batch is not None)
        if not subject.like_nodes:
            subject = replace(subject, like=None)
    elif batch is not None:
        raise TinygraphError("a batch size is for models: a graph has the sizes that it was recorded with")
    else:
        subject = _of_graph(thing, title, backward)
    return replace(subject, values=values_of(subject, feeds))


def _for_two(model: Model, title: str | None, backward: bool) -> Subject | None:
    """Return a model for two samples, or nothing where it cannot be compared with that for three."""
    try:
        two, three = (_recorded(model, count, title, backward) for count in (2, 3))
    except TinygraphError:
        return None
    two = replace(two, larger=three)
    return two if two.larger_nodes else None


def _recorded(model: Model, samples: int, title: str | None, backward: bool) -> Subject:
    """Return a model for a number of samples. Its backward pass is that of training; without one, it is as it predicts."""
    recording = model.record(samples, training=backward and model.loss is not None)
    missing = f"the model {model.name!r} declares no loss"
    moving = list(model.trainable.values())
    found, why = _backward(recording.loss, moving, missing) if backward else (None, "it was not asked for")
    title, declared = (model.title or model.name) if title is None else title, model.declaration
    items, ends = equation_items(recording.equations, declared.groups), tuple(recording.full_graph.outputs)
    subject = Subject(title, tuple(items), found, why, outputs=ends, weighted=model.weighted)
    return replace(subject, originals=declared.names)


def _of_graph(thing: Any, title: str | None, backward: bool) -> Subject:
    graph = Graph(thing) if isinstance(thing, (Tensor, list, tuple)) else thing
    if not isinstance(graph, Graph):
        raise TinygraphError(
            f"draw and notes take a tensor, a list of tensors, a Graph or a Model; found {type(thing).__name__}"
        )
    if not graph.outputs:
        raise TinygraphError("draw and notes need at least one tensor; found none, an empty list or graph")
    ends = graph.outputs
    loss = ends[-1] if len(ends) == 1 and ends[0].size == 1 else None
    wrt = [x for x in graph.nodes if x.kind in ("parameter", "tensor") and x.dtype.kind == "f"]
    missing = "there is no single number to take gradients of"
    found, why = _backward(loss, wrt, missing) if backward else (None, "it was not asked for")
    return Subject(title or "", tuple(_operations(graph)), found, why, outputs=tuple(ends))


def _backward(loss: Tensor | None, wrt: Sequence[Tensor], missing: str) -> tuple[Backward | None, str]:
    if loss is None:
        return None, missing
    if not wrt:
        return None, "there is no parameter to take gradients for, or all are frozen"
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


def equation_items(equations: Iterable[Equation], groups: Mapping[str, str] | None = None) -> list[Item]:
    """Return the equations of a recording as items, each leaf before the first equation that uses it.

    ``groups`` are the groups of leaves that are in no block.
    """
    items: list[Item] = []
    known: set[Tensor] = set()
    for equation in equations:
        for x in (*(x for node in equation.nodes for x in written_inputs(node)), equation.node):
            if x.op is None and x.kind != "constant" and x not in known:
                items.append(_leaf(x, groups or {}))
                known.add(x)
        text = " ".join(equation.text.partition("=")[2].split())
        items.append(Item(equation.node, equation.name, text, equation.nodes, equation.block))
        known.add(equation.node)
    return items


def _leaf(x: Tensor, groups: Mapping[str, str] | None = None) -> Item:
    name = x.name or ""
    return Item(x, name, leaf_note(x), group=name.rpartition(".")[0] or (groups or {}).get(name, ""))


def _operations(graph: Graph) -> list[Item]:
    """One item for each operation and leaf; constants that are numbers without a name are written where they are used.

    A factor of one changes nothing, so it has no item, and neither has the product, which repeats the other factor.
    """
    layout = lay_out(graph.nodes, graph.outputs, longest=0)
    kept = set(graph.outputs).union(*(node.inputs for node in graph.nodes if node not in layout.same))
    return [
        Item(line.node, line.label, line.expression or leaf_note(line.node), (line.node,) if line.node.op else ())
        for line in layout.equations
        if line.node in kept or layout.texts[line.node] != "1"
    ]


def values_of(subject: Subject, feeds: Mapping[Any, Any] | None) -> dict[Tensor, Array]:
    """Return the value of every node, or nothing where a leaf has no value and ``feeds`` are not given."""
    known: dict[Tensor, Array] = {}
    graph = Graph(subject.nodes)
    if feeds is None and any(node.op is None and not node.has_value for node in graph.nodes):
        return {}
    run(graph, feeds, watch=lambda node, value: known.update({node: np.asarray(value)}))
    return known
