"""Derivation: the document of a model, a graph or a tensor, from its nodes forward and backward."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tinygraph.draw.subject import Item, Rule, Subject, subject_of, values_of
from tinygraph.errors import RenderError, TinygraphError
from tinygraph.graph.tensor import Tensor
from tinygraph.notes.document import (
    Block,
    Document,
    Equations,
    Figure,
    Line,
    Numbers,
    Paragraph,
    Section,
    Stepper,
    Table,
)
from tinygraph.notes.lines import grouped, in_order, line_of, samples_of, with_ids
from tinygraph.notes.numbers import number_of
from tinygraph.notes.pieces import number
from tinygraph.notes.stepper.walk import Map, Scene, walk_of
from tinygraph.notes.symbols import Formula, Symbol, gradient_symbol, symbol_of
from tinygraph.notes.tex import Written, write
from tinygraph.notes.update import Learning
from tinygraph.notes.worksheet import solution, worksheet

if TYPE_CHECKING:
    from tinygraph.model import Model

# Graphs of more items than this are not worked in numbers, nor made into a worksheet.
MOST_WORKED = 60


def document_of(
    thing: Any,
    feeds: Mapping[Any, Any] | None = None,
    title: str | None = None,
    others: Mapping[str, Mapping[Any, Any] | None] | None = None,
) -> Document:
    """Return the derived notes of a tensor, several, a ``Graph`` or a ``Model`` as plain data.

    Equations of a model are written for m samples; numbers are those of ``feeds``, without which a model has none.
    ``others`` are further samples by name, to choose from where one steps through; the first is that of ``feeds``. Raises
    ``TinygraphError`` for other things, and ``FeedError``.

    >>> import tinygraph as tg
    >>> document = document_of(tg.load_model("notes_cnn"))
    >>> [section.slug for section in document.sections][:5]
    ['reading', 'forward', 'loss', 'backward', 'update']
    >>> [(line.formula.text, line.ids) for line in document.lines() if "B8" in line.ids]
    [('dK2 = conv(P1, dZ2)', ('B8',))]
    """
    from tinygraph.model import Model

    model = thing if isinstance(thing, Model) else None
    numeric = subject_of(thing, feeds, title)
    equations = numeric if model is None else subject_of(model, None, title, batch=2)
    derivation = Derivation(equations, numeric, model, None if model is None else subject_of(model, batch=3))
    sections = [section for section in derivation.sections() if section.blocks]
    figure = Section("picture", "The picture", (_figure(thing, feeds, title),))
    place = next((i for i, section in enumerate(sections) if section.slug == "symbols"), len(sections))
    sections.insert(place + 1, figure)
    # The page's script counts in real numbers.
    real = all(node.dtype.kind != "c" for node in numeric.nodes)
    if numeric.values and real and any(item.nodes for item in numeric.items):
        samples = others or {"": feeds}
        stepper = Stepper(lambda: walk_of(derivation, _scenes(derivation, samples), _map(thing, feeds)))
        sections.insert(1, Section("steps", "Step through it", (stepper,)))
    return Document(equations.title or "Notes of a graph", tuple(with_ids(sections)), numeric)


@dataclass(frozen=True)
class Derivation:
    """What a document is derived from: the graph for two samples and for three, by which sizes show that grow with them,
    and the graph that the numbers belong to. For a graph that is no model the first and the last are the same."""

    subject: Subject
    numeric: Subject
    model: Model | None = None
    larger: Subject | None = None

    def sections(self) -> Iterator[Section]:
        """Yield the sections in order; those that there is nothing to say in are empty."""
        forward, loss = self.forward()
        backward = self.backward()
        yield Section("reading", "How to read these notes", self.reading())
        yield Section("forward", "Forward propagation", forward)
        yield Section("loss", "Loss", loss)
        yield Section("backward", "Backward propagation", backward)
        learning = None if self.model is None else Learning(self.model, self.written, self.numeric)
        yield Section("update", "Update", (*(learning.update() if learning else ()), *self.state()))
        yield Section("symbols", "Symbols and shapes", (self.symbols(),))
        yield Section("numbers", "Worked numbers", self.numbers())
        yield Section("step", "Before and after one update", learning.step() if learning else ())
        if len(self.subject.items) <= MOST_WORKED:
            lines = tuple(line for block in backward if isinstance(block, Equations) for line in block.lines)
            tasks = worksheet(self.numeric, self.numeric_written, lines)
            yield Section("worksheet", "Worksheet", tasks)
            yield Section("solution", "Solution of the worksheet", solution(tasks))

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

    def reading(self) -> tuple[Block, ...]:
        """Say what holds for all formulas."""
        words: list[str | Formula] = []
        if self.subject.backward is not None:
            output = self.written.characters[self.subject.backward.output]
            x = self.written.symbols.character(Symbol("X", "X"))
            dx = self.written.symbols.character(gradient_symbol(Symbol("X", "X")))
            gradient = self.written.formula(rf"{dx} = \frac{{\partial {output}}}{{\partial {x}}}")
            words += [
                "For every symbol ",
                self.written.formula(x),
                " there is a gradient, ",
                gradient,
                ", of its shape. ",
            ]
        if self.model is not None:
            m = self.written.formula("m")
            words += ["A batch holds ", m, " samples, one to a row, so a product has its factors the other way round "]
            words += ["than in notes that write a sample as a column. A loss that is a mean divides by ", m]
            words += [" once, in the first gradient, and every later one carries that along. "]
            if self.model.has_modes and self.subject.backward is not None:
                words += ["The equations are those of training, which differ from those of prediction. "]
        sources = " ".join([*self.written.right.values(), *self.written.index.values()])
        if r"\odot" in sources:
            words += ["The sign ", self.written.formula(r"\odot"), " is the product element by element. "]
        if r"{conv}" in sources:
            words += ["conv slides the kernel over the image as it is: cross-correlation. "]
        if "_{mn}" in sources:
            words += [
                "Where indices are written, ",
                self.written.formula("mn"),
                " is a place in an image, row and column, ",
            ]
            words += ["and ", self.written.formula("xy"), " that of the window that holds it; "]
            words += [self.written.formula("m"), " is not the number of samples there. "]
        return (Paragraph(tuple(words)),) if words else ()

    def forward(self) -> tuple[tuple[Block, ...], tuple[Block, ...]]:
        """Return the equations of the forward pass, and those of the loss."""
        end = None if self.subject.backward is None or self.model is None else self.subject.backward.output
        found: list[tuple[str, Line]] = []
        loss: list[Line] = []
        for item, _, line in self.forward_lines():
            if item.node in self.moves:
                continue
            if item.node is end:
                loss.append(line)
            else:
                found.append((item.group, line))
        if end is not None:
            loss += self._loss_of_one(end)
        return tuple(grouped(found)), (Equations(tuple(loss)),) if loss else ()

    @cached_property
    def moves(self) -> dict[Tensor, Item]:
        """The items that are new values of the model's state, by their nodes."""
        new = set() if self.model is None else {f"{name}_new" for name in self.model.state}
        return {item.node: item for item in self.subject.items if item.node.name in new}

    def state(self) -> tuple[Block, ...]:
        """Return the new values of a model's state, which is not trained but moves with each step."""
        lines = tuple(line for item, _, line in self.forward_lines() if item.node in self.moves)
        words = "State that moves with each step of training, and that prediction takes as it is:"
        return (Paragraph((words,)), Equations(lines)) if lines else ()

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

    def _loss_of_one(self, end: Tensor) -> Iterator[Line]:
        """Yield the loss of one sample, where that of a batch is a mean."""
        one = write(subject_of(self.model, batch=1), self.written.symbols)
        node = next((item.node for item in one.subject.items if item.node.name == end.name), None)
        if node is not None and one.right.get(node) != self.written.right[end]:
            symbol = self.written.symbols.character(symbol_of("loss"))
            yield line_of("loss", self.written.formula(f"{symbol} = {one.right[node]}"), "of one sample")

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

    def backward(self) -> tuple[Block, ...]:
        """Return the equations of the backward pass in the order of computation, or why there are none."""
        if self.subject.backward is None:
            return (Paragraph((f"There is no backward pass: {self.subject.without_backward}.",)),)
        return tuple(grouped((item.group, line) for item, _, line in self.backward_lines()))

    def backward_lines(self) -> Iterator[tuple[Item, Tensor, Line]]:
        """Yield the lines of the backward pass, each with its item and the node that it makes."""
        told: set[Tensor] = set()
        for item in reversed(self.subject.items):
            for rule in in_order(self.subject.rules(item)):
                yield from ((item, rule.node, line) for line in self._rule_lines(rule, told))

    def _rule_lines(self, rule: Rule, told: set[Tensor]) -> Iterator[Line]:
        written, node = self.written, rule.node
        if node in written.alias or (node.op is None and rule.kind == "inner"):
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

    def _symbol(self, node: Tensor) -> Symbol:
        return self.written.symbols.known[self.written.characters[node]]

    def _value_of(self, node: Tensor) -> str:
        value = node.value if node.kind == "constant" and node.size else None
        if value is not None and (value == value.flat[0]).all():
            return number(value.flat[0])
        return r"\text{constant}"

    def symbols(self) -> Block:
        """Return the table of symbols."""
        rows: list[tuple[str | Formula, ...]] = []
        total = 0
        for item in self.subject.items:
            node = item.node
            is_parameter = node.kind == "parameter"
            total += node.size if is_parameter else 0
            what = {"tensor": "value"}.get(node.kind, str(node.kind))
            if not item.is_leaf:
                what = ", ".join(x.op.name for x in item.nodes if x.op is not None) or item.expression
            symbol = self.written.formula(self.written.symbols.character(symbol_of(item.symbol)))
            count = f"{node.size:,}" if is_parameter else ""
            rows.append((symbol, what, self.shape(node), str(node.dtype), count))
        if total:
            rows.append(("all parameters", "", "", "", f"{total:,}"))
        return Table(
            "Every symbol, what makes it, and its shape", ("symbol", "what", "shape", "dtype", "numbers"), tuple(rows)
        )

    def numbers(self) -> tuple[Block, ...]:
        """Return the values and gradients of the sample in numbers."""
        values, written = self.numeric.values, self.numeric_written
        if not values or len(self.subject.items) > MOST_WORKED:
            return ()
        forward = [x for item in self.numeric.items for x in (*self.numeric.inner(item), item.node) if x in values]
        blocks: list[Block] = []
        if self.model is not None:
            words = (
                f"Values and gradients of {samples_of(self.numeric)}, with the parameters as they are, in four digits."
            )
            blocks.append(Paragraph((words,)))
        values_of = tuple(number_of(written.symbol(x), values[x]) for x in dict.fromkeys(forward))
        blocks.append(Numbers("Values, forward", values_of))
        gradients: dict[Formula, Tensor] = {}
        for item in reversed(self.numeric.items):
            for rule in in_order(self.numeric.rules(item)):
                if rule.node.op is not None or rule.kind != "inner":
                    gradients.setdefault(self._gradient_symbol(rule), rule.node)
        found = tuple(number_of(symbol, values[node]) for symbol, node in gradients.items())
        return (*blocks, Numbers("Gradients, backward", found)) if found else tuple(blocks)

    def _gradient_symbol(self, rule: Rule) -> Formula:
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


def _scenes(derivation: Derivation, samples: Mapping[str, Mapping[Any, Any] | None]) -> Iterator[Scene]:
    """Yield the numbers of each sample, before and after one update, where there is one."""
    numeric = derivation.numeric
    learning = None if derivation.model is None else Learning(derivation.model, derivation.written, numeric)
    for i, (name, feeds) in enumerate(samples.items()):
        values = numeric.values if i == 0 else values_of(numeric, feeds)
        yield Scene(name, False, values)
        moved = learning.moved(values) if learning else {}
        if moved:
            yield Scene(name, True, values_of(numeric, {**(feeds or {}), **moved}))


def _map(thing: Any, feeds: Mapping[Any, Any] | None) -> Map:
    """Return the picture that is stepped through: with rules, and without the numbers that the page shows beside it."""
    from tinygraph.draw import draw

    picture = draw(thing, title="", feeds=feeds, detail="rule")
    try:
        return Map(picture.svg(), picture.drawing.edges)
    except RenderError:
        return Map()


def _figure(thing: Any, feeds: Mapping[Any, Any] | None, title: str | None) -> Figure:
    from tinygraph.draw import draw

    picture = draw(thing, title=title, feeds=feeds)
    try:
        return Figure(picture.svg(), str(picture))
    except RenderError as error:
        return Figure("", str(picture), str(error))
    except TinygraphError as error:
        return Figure("", "", str(error))
