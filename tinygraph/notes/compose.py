"""The notes of a model, a graph or a tensor as a document, in the sections of lecture notes."""

import itertools
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Any

from tinygraph.describe.crosswalk import statements_of
from tinygraph.describe.derive import Derivation, Line, line_of, ordered_rules
from tinygraph.describe.numbers import Number, number_of
from tinygraph.describe.subject import Subject, subject_of, values_of
from tinygraph.describe.symbols import Formula, Symbol, gradient_symbol, symbol_of
from tinygraph.describe.tex import Formulas
from tinygraph.describe.writer import written_inputs
from tinygraph.draw.picture import draw
from tinygraph.errors import RenderError, TinygraphError
from tinygraph.graph import Tensor, topological
from tinygraph.model.model import Model
from tinygraph.notes import document as blocks
from tinygraph.notes.stepper.walk import Scene, walk_of
from tinygraph.notes.update import before_and_after, moved, samples_in_words, update

# Larger graphs, by their items, get no worked numbers and no worksheet.
MOST_WORKED = 60
# Larger arrays take too long by hand.
MOST_ELEMENTS, MOST_TASKS = 16, 12
_ANY = Symbol("X", "X")


def document_of(
    thing: Any,
    feeds: Mapping[Any, Any] | None = None,
    title: str | None = None,
    others: Mapping[str, Mapping[Any, Any] | None] | None = None,
    remark: str = "",
) -> blocks.Document:
    """Return the derived notes of a tensor, several, a ``Graph`` or a ``Model`` as plain data.

    Equations of a model are written for m samples; numbers are those of ``feeds``, without which a model has none.
    ``others`` are samples by name, from which a reader of the stepper can choose; the first is that of ``feeds``. ``remark``
    says what the numbers are, if they are not data. Raises ``TinygraphError`` for other things, and ``FeedError``.

    >>> import tinygraph as tg
    >>> document = document_of(tg.load_model("notes_cnn"))
    >>> [section.slug for section in document.sections][:5]
    ['reading', 'forward', 'loss', 'backward', 'update']
    >>> [(line.formula.text, line.ids) for line in document.lines() if "B8" in line.ids]
    [('dK2 = conv(P1, dZ2)', ('B8',))]
    """
    model = thing if isinstance(thing, Model) else None
    numeric = subject_of(thing, feeds, title)
    derivation = Derivation(numeric, model)
    sections = [section for section in _sections(derivation, remark) if section.blocks]
    figure = blocks.Section("picture", "The picture", (_figure(thing, feeds, title),))
    place = next((i for i, section in enumerate(sections) if section.slug == "symbols"), len(sections))
    sections.insert(place + 1, figure)
    # The page's script counts in real numbers.
    real = all(node.dtype.kind != "c" for node in numeric.nodes)
    if numeric.values and real and any(item.nodes for item in numeric.items):
        samples = others or {"": feeds}
        stepper = blocks.Stepper(lambda: walk_of(derivation, _scenes(derivation, samples)), remark)
        sections.insert(1, blocks.Section("steps", "Step through it", (stepper,)))
    return blocks.Document(numeric.title or "Notes of a graph", tuple(_with_ids(sections)), numeric)


def sheets_of(
    thing: Any,
    feeds: Mapping[Any, Any] | None = None,
    title: str | None = None,
    label: str = "",
    wanted: Collection[str] = ("worksheet", "solution"),
) -> blocks.Document:
    """Return the worksheet, the solution, or both, without the notes. ``label`` is printed on each, such as "variant 3".

    Raises ``TinygraphError`` for a thing without a worksheet: one without a backward pass, or with too many equations.

    >>> import tinygraph as tg
    >>> [section.title for section in sheets_of(tg.load_model("xor"), label="variant 3").sections]
    ['Worksheet, variant 3', 'Solution of the worksheet, variant 3']
    """
    numeric = subject_of(thing, feeds, title)
    derivation = Derivation(numeric, thing if isinstance(thing, Model) else None)
    if len(derivation.subject.items) > MOST_WORKED:
        count = len(derivation.subject.items)
        raise TinygraphError(f"a worksheet is made of at most {MOST_WORKED} equations and inputs; this has {count}")
    forward, loss = _forward(derivation)
    given = [line for block in (*forward, *loss) if isinstance(block, blocks.Equations) for line in block.lines]
    found = _sheets(derivation, _backward(derivation), label, (blocks.Equations(tuple(given), "The model"),))
    sections = tuple(section for section in found if section.slug in wanted and section.blocks)
    if not sections:
        raise TinygraphError(f"there is no worksheet without a backward pass: {derivation.subject.without_backward}")
    return blocks.Document(numeric.title or "A graph", tuple(_with_ids(sections)), numeric)


def _sections(derivation: Derivation, remark: str) -> Iterator[blocks.Section]:
    """Yield the sections in order; some may be empty."""
    forward, loss = _forward(derivation)
    backward = _backward(derivation)
    yield blocks.Section("reading", "How to read these notes", _reading(derivation))
    yield blocks.Section("forward", "Forward propagation", forward)
    yield blocks.Section("loss", "Loss", loss)
    yield blocks.Section("backward", "Backward propagation", backward)
    yield blocks.Section("update", "Update", (*update(derivation), *_state(derivation)))
    yield blocks.Section("symbols", "Symbols and shapes", (_symbols(derivation),))
    yield blocks.Section("numbers", "Worked numbers", _numbers(derivation, remark))
    yield blocks.Section("step", "Before and after one update", before_and_after(derivation))
    if len(derivation.subject.items) <= MOST_WORKED:
        yield from _sheets(derivation, backward)


def _sheets(
    derivation: Derivation, backward: Iterable[blocks.Block], label: str = "", given: tuple[blocks.Block, ...] = ()
) -> Iterator[blocks.Section]:
    """Yield the worksheet, which begins with what is ``given``, and its solution."""
    lines = tuple(line for block in backward if isinstance(block, blocks.Equations) for line in block.lines)
    tasks = _worksheet(derivation.numeric, derivation.numeric_written, lines)
    after = f", {label}" if label else ""
    head = blocks.Paragraph(("Name and date: ______________________",))
    yield blocks.Section("worksheet", f"Worksheet{after}", (head, *given, *tasks) if tasks else ())
    solved = tuple(replace(block, tasks=tuple(map(_solved, block.tasks)), solved=True) for block in tasks)
    yield blocks.Section("solution", f"Solution of the worksheet{after}", solved)


def _solved(task: blocks.Task) -> blocks.Task:
    return replace(task, given=(*task.rule, *task.given))


def _reading(derivation: Derivation) -> tuple[blocks.Block, ...]:
    """Return what is true of all formulas."""
    written, backward = derivation.written, derivation.subject.backward
    sources = " ".join([*written.right.values(), *written.index.values()])
    symbols = {name: written.formula(name) for name in ("m", "mn", "xy")} | {"odot": written.formula(r"\odot")}
    found: list[str] = []
    if backward is not None:
        x, dx = (written.symbols.character(symbol) for symbol in (_ANY, gradient_symbol(_ANY)))
        gradient = rf"{dx} = \frac{{\partial {written.characters[backward.output]}}}{{\partial {x}}}"
        symbols |= {"x": written.formula(x), "gradient": written.formula(gradient)}
        found.append("Every symbol {x} has a gradient, {gradient}, of the same shape.")
    if derivation.model is not None:
        found.append(
            "A batch has {m} samples, one in each row, so the factors of a product are in the reverse order of notes that "
            "write a sample as a column. A loss that is a mean divides by {m} once, in the first gradient, and all later "
            "gradients contain that factor."
        )
        if derivation.model.has_modes and backward is not None:
            found.append("The equations are those of training, which differ from those of prediction.")
    if r"\odot" in sources:
        found.append("The sign {odot} is the product element by element.")
    if r"{conv}" in sources:
        found.append("conv slides the kernel over the image without flipping it: cross-correlation.")
    if "_{mn}" in sources:
        found.append(
            "Where indices are written, {mn} is a place in an image, row and column, and {xy} the place of the window that "
            "contains it; {m} is not the number of samples there."
        )
    words = re.split(r"\{(\w+)\}", " ".join(found))
    mixed = tuple(symbols[word] if i % 2 else word for i, word in enumerate(words))
    return (blocks.Paragraph(mixed),) if found else ()


def _forward(derivation: Derivation) -> tuple[tuple[blocks.Block, ...], tuple[blocks.Block, ...]]:
    """Return the equations of the forward pass, and those of the loss."""
    backward = derivation.subject.backward
    end = None if backward is None or derivation.model is None else backward.output
    found = [(item, line) for item, _, line in derivation.forward_lines() if item.node not in derivation.moves]
    loss = [line for item, line in found if item.node is end]
    if end is not None:
        loss += _loss_of_one(derivation, end)
    forward = grouped((item.group, line) for item, line in found if item.node is not end)
    return tuple(forward), (blocks.Equations(tuple(loss)),) if loss else ()


def _loss_of_one(derivation: Derivation, end: Tensor) -> Iterator[Line]:
    """Yield the loss of one sample, if the loss of a batch is a mean."""
    written = derivation.written
    one = Formulas(subject_of(derivation.model, batch=1), written.symbols)
    node = next((item.node for item in one.subject.items if item.node.name == end.name), None)
    if node is not None and one.right.get(node) != written.right[end]:
        symbol = written.symbols.character(symbol_of("loss"))
        yield line_of("loss", written.formula(f"{symbol} = {one.right[node]}"), "of one sample")


def _state(derivation: Derivation) -> tuple[blocks.Block, ...]:
    """Return the new values of a model's state, which every step changes without training it."""
    lines = tuple(line for item, _, line in derivation.forward_lines() if item.node in derivation.moves)
    words = "State that every step of training changes, and that prediction uses unchanged:"
    return (blocks.Paragraph((words,)), blocks.Equations(lines)) if lines else ()


def _backward(derivation: Derivation) -> tuple[blocks.Block, ...]:
    """Return the equations of the backward pass in the order of computation, or why there are none."""
    if derivation.subject.backward is None:
        return (blocks.Paragraph((f"There is no backward pass: {derivation.subject.without_backward}.",)),)
    return tuple(grouped((item.group, line) for item, _, line in derivation.backward_lines()))


def _symbols(derivation: Derivation) -> blocks.Block:
    """Return the table of symbols."""
    rows: list[tuple[str | Formula, ...]] = []
    backward = derivation.subject.backward
    total = sum(item.node.size for item in derivation.subject.items if item.node.kind == "parameter")
    for item in derivation.subject.items:
        node = item.node
        what = {"tensor": "value"}.get(node.kind, str(node.kind))
        if node.kind == "parameter" and backward is not None and node not in backward.gradients:
            what += ", frozen"
        if not item.is_leaf:
            what = ", ".join(x.op.name for x in item.nodes if x.op is not None) or item.expression
        symbol = derivation.written.formula(derivation.written.symbols.character(symbol_of(item.symbol)))
        shape = derivation.written.shape(node).replace(r"\,", " ")
        count = f"{node.size:,}" if node.kind == "parameter" else ""
        rows.append((symbol, what, shape, str(node.dtype), count))
    if total:
        rows.append(("all parameters", "", "", "", f"{total:,}"))
    head = ("symbol", "what", "shape", "dtype", "numbers")
    return blocks.Table("Every symbol, what makes it, and its shape", head, tuple(rows))


def _numbers(derivation: Derivation, remark: str) -> tuple[blocks.Block, ...]:
    """Return the values and gradients of the sample in numbers."""
    numeric, written = derivation.numeric, derivation.numeric_written
    values = numeric.values
    if not values or len(derivation.subject.items) > MOST_WORKED:
        return ()
    forward = [x for item in numeric.items for x in (*numeric.inner(item), item.node) if x in values]
    found: list[blocks.Block] = []
    if derivation.model is not None:
        words = f"Values and gradients of {samples_in_words(numeric)}, with the parameters before the update, in four digits."
        found.append(blocks.Paragraph((words,)))
    if remark:
        found.append(blocks.Paragraph((remark,)))
    values_of = tuple(number_of(written.symbol(x), values[x]) for x in dict.fromkeys(forward))
    found.append(blocks.Numbers("Values, forward", values_of))
    gradients: dict[Formula, Tensor] = {}
    for _, rule in ordered_rules(numeric):
        if derivation.has_line(rule):
            gradients.setdefault(derivation.gradient_symbol(rule), rule.node)
    if gradients:
        arrays = tuple(number_of(symbol, values[node]) for symbol, node in gradients.items())
        found.append(blocks.Numbers("Gradients, backward", arrays))
    return tuple(found)


def _worksheet(numeric: Subject, written: Formulas, lines: Sequence[Line]) -> tuple[blocks.Tasks, ...]:
    """Return the questions: one for every line of the backward pass, and those with few numbers."""
    rules: list[blocks.Task] = []
    for line in lines:
        left, _, right = line.formula.source.partition(" = ")
        symbols = line.formula.symbols
        rules.append(blocks.Task((), Formula(left, symbols), Formula(right, symbols)))
    if not rules:
        return ()
    sums = tuple(_sums(numeric, written, {task.left.source for task in rules}))[:MOST_TASKS]
    return (
        blocks.Tasks("Complete the rules of the backward pass", tuple(rules)),
        *([blocks.Tasks("Work out the numbers", sums, len(rules) + 1)] if sums else []),
    )


def _sums(numeric: Subject, written: Formulas, lefts: set[str]) -> Iterator[blocks.Task]:
    """Yield a question for every gradient that is computed from few numbers."""
    if numeric.backward is None or not numeric.values:
        return
    gradients = set(numeric.backward.gradients.values())
    for node in numeric.nodes:
        if node not in gradients or node not in written.right or written.characters[node] not in lefts:
            continue
        given = _operands(node, written, numeric)
        sizes = [numeric.values[x].size for x in (node, *given)]
        if given and max(sizes) <= MOST_ELEMENTS:
            words: list[str | Formula] = []
            for i, x in enumerate(given):
                words += [" and " if i else "with ", matrix(number_of(written.symbol(x), numeric.values[x]))]
            left = written.formula(written.characters[node])
            # The rule is asked for above, so only the solution shows it.
            rule = (written.equation(node), " ")
            yield blocks.Task(tuple(words), left, number_of(left, numeric.values[node]), rule)


def matrix(number: Number) -> Formula:
    """Return an array in numbers as an equation, its elements as a matrix.

    >>> matrix(Number(Formula("x", {}), "(1, 2)", (("1", "2"),))).text
    'x = [1, 2]'
    """
    body = r" \\ ".join(" & ".join(row) for row in number.rows)
    if [len(row) for row in number.rows] != [1]:
        body = rf"\begin{{bmatrix}} {body} \end{{bmatrix}}"
    return replace(number.symbol, source=f"{number.symbol.source} = {body}")


def _operands(node: Tensor, written: Formulas, numeric: Subject) -> list[Tensor]:
    """Return the tensors that a node's line names, in the order of the graph."""
    found: set[Tensor] = set()
    stack = list(written_inputs(node))
    while stack:
        x = written.alias.get(y := stack.pop(), y)
        if x in numeric.expressions and x.kind != "constant":
            found.add(x)
        elif x.op is not None:
            stack.extend(written_inputs(x))
        elif x.kind != "constant":
            found.add(x)
    return [x for x in topological(found) if x in found]


def _scenes(derivation: Derivation, samples: Mapping[str, Mapping[Any, Any] | None]) -> Iterator[Scene]:
    """Yield the numbers of each sample before one update, and after it, if there is an update."""
    numeric = derivation.numeric
    for i, (name, feeds) in enumerate(samples.items()):
        values = numeric.values if i == 0 else values_of(numeric, feeds)
        yield Scene(name, False, values)
        if after := moved(derivation, values):
            yield Scene(name, True, values_of(numeric, {**(feeds or {}), **after}))


def _figure(thing: Any, feeds: Mapping[Any, Any] | None, title: str | None) -> blocks.Figure:
    picture = draw(thing, title=title, feeds=feeds)
    try:
        svg, why = picture.svg(), ""
    except RenderError as error:
        svg, why = "", str(error)
    except TinygraphError as error:
        return blocks.Figure("", "", str(error))
    return blocks.Figure(svg, str(picture), why, lambda: draw(thing, title="", feeds=feeds, detail="rule"))


def grouped(found: Iterable[tuple[str, Line]]) -> Iterator[blocks.Equations]:
    """Yield the equations of each run of lines in one block of the model; lines after a block get a heading too."""
    outside = ""
    for group, lines in itertools.groupby(found, key=itemgetter(0)):
        heading = f"Block {group}" if group else outside
        outside = "Outside the blocks"
        yield blocks.Equations(tuple(line for _, line in lines), heading)


def _with_ids(sections: Sequence[blocks.Section]) -> Iterator[blocks.Section]:
    """Give every line the ids of the statements of the notes that it equals, and a slug of its own."""
    texts = {line.formula.text for line in blocks.Document("", tuple(sections)).lines()}
    taken: set[str] = set()

    def finished(line: Line) -> Line:
        slugs = (f"{line.slug}-{i}" if i > 1 else line.slug for i in itertools.count(1))
        slug = next(slug for slug in slugs if slug.lower() not in taken)
        taken.add(slug.lower())
        return replace(line, slug=slug, ids=statements_of(line.formula.text, texts))

    for section in sections:
        own = [
            replace(block, lines=tuple(map(finished, block.lines))) if isinstance(block, blocks.Equations) else block
            for block in section.blocks
        ]
        yield replace(section, blocks=tuple(own))
