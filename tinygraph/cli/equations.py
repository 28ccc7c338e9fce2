"""``tinygraph equations``: a model's forward equations, and the backward ones derived from them."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace

import click
import numpy as np

from tinygraph.cli import options
from tinygraph.cli.terminal import say
from tinygraph.describe.numbers import number_of, number_text
from tinygraph.describe.subject import Subject, subject_of
from tinygraph.describe.symbols import Formula
from tinygraph.describe.text import aligned, leaf_note
from tinygraph.graph import Array, Tensor
from tinygraph.model import Model
from tinygraph.train.optimizers import as_optimizer
from tinygraph.train.update import first_update, update_equations

# A symbol, what it is equal to, its dtype and shape, and the tensor, which an update does not have.
Row = tuple[str, str, str, Tensor | None]
# Of larger arrays with more than two axes one matrix is written.
MOST_WRITTEN = 64


@options.command
@click.option("--backward", is_flag=True, help="Derive the equations of the backward pass and of the update too.")
@click.option("--values", is_flag=True, help="Write the numbers of every symbol too.")
@options.model_options
@options.batch_option(1)
@options.numbers_options("the model's [sample], what the model says, or random numbers")
def equations(
    load: options.Load,
    backward: bool,
    values: bool,
    batch_size: int | None,
    data: str | None,
    sample: int | None,
    weights: Path | None,
) -> None:
    """Print MODEL as equations, with shapes, as it is in training."""
    declared = load(weights=weights, needs_loss="no backward pass" if backward else "")
    values = values or data is not None or sample is not None or weights is not None
    if values and batch_size is not None:
        raise click.UsageError("--values takes its samples from the data; leave out --batch-size")
    feeds, remark = options.feeds_for(declared, data, sample) if values else (None, "")
    numbers: dict[str, Array] = {}
    numeric = subject_of(declared, feeds, batch=batch_size)
    subject = numeric.general
    forward, new_state = forward_rows(declared, subject)
    sections = {"Forward": [*forward, *([] if backward else new_state)]}
    if backward and subject.backward is not None:
        sections["Backward"] = list(backward_rows(subject))
        sections["Update"] = [*update_rows(declared, subject.backward.gradients), *new_state]
    if values:
        leaves = [item.node for item in subject.items if item.is_leaf and not item.nodes]
        given = [(str(x.name), str(x.kind), _array(subject, x), x) for x in dict.fromkeys(leaves)]
        sections = {"Given": sorted(given, key=lambda row: ["input", "parameter", "state"].index(row[1])), **sections}
        nodes = {symbol: node for rows in sections.values() for symbol, _, _, node in rows if node is not None}
        found = {symbol: numeric.values.get(numeric.of_general.get(node, node)) for symbol, node in nodes.items()}
        numbers = {"m": np.array(numeric.samples)}
        numbers |= {symbol: value for symbol, value in found.items() if value is not None}
        numbers |= {f"{name}_new": value for name, value in moved(declared, numeric).items()} if backward else {}
    write(sections, numbers, remark)


def write(sections: Mapping[str, list[Row]], numbers: Mapping[str, Array], remark: str) -> None:
    """Print sections with the columns of all of them in line, each symbol with its numbers where there are some."""
    if remark:
        say(f"{remark}\n")
    rows = []
    for symbol, right, array, _ in (row for rows in sections.values() for row in rows):
        single = number_text(numbers[symbol].item()) if symbol in numbers and numbers[symbol].size == 1 else ""
        rows.append((symbol, right, array, single))
    lines = iter(aligned(rows).splitlines())
    for heading, section in sections.items():
        if len(sections) > 1:
            say(f"{'' if heading == next(iter(sections)) else chr(10)}{heading}", bold=True)
        for symbol, *_ in section:
            say(next(lines))
            for line in number_lines(numbers[symbol]) if symbol in numbers and numbers[symbol].size > 1 else ():
                say(f"    {line}")


def number_lines(array: Array) -> Iterator[str]:
    """Yield the lines of an array in numbers, matrix by matrix.

    >>> list(number_lines(np.arange(4.0).reshape(2, 1, 2)))
    ['[0]', '0  1', '[1]', '2  3']
    """
    first = list(np.ndindex(array.shape[:-2])) if array.size <= MOST_WRITTEN else [()]
    for index in first:
        number = number_of(Formula("", {}), array[index])
        if len(first) > 1:
            yield f"[{', '.join(map(str, index))}]"
        yield from aligned(number.rows, right=True).splitlines()
        if number.note:
            yield f"({number.note})"


def moved(model: Model, numeric: Subject) -> dict[str, Array]:
    """Return the new value of each parameter that has a gradient, after the first step of the model's optimizer."""
    gradients = {} if numeric.backward is None else numeric.backward.gradients
    pairs = {
        name: (numeric.values[parameter], numeric.values[gradients[parameter]])
        for name, parameter in model.parameters.items()
        if parameter in gradients
    }
    return first_update(as_optimizer(model, None), pairs)


def forward_rows(model: Model, subject: Subject) -> tuple[list[Row], list[Row]]:
    """Return the equations of a model as rows, then those of its state's new values."""
    new_state = {f"{name}_new" for name in model.state}
    rows: tuple[list[Row], list[Row]] = ([], [])
    for item in subject.items:
        if item.nodes or not item.is_leaf or item.expression != leaf_note(item.node):
            rows[item.symbol in new_state].append(_row(subject, item.symbol, item.expression, item.node))
    return rows


def backward_rows(subject: Subject) -> Iterator[Row]:
    """Yield the rules of the gradients as equations, in the order in which they are computed.

    The first are intermediate results of forward equations that the gradients need.
    """
    if subject.larger is not None:
        yield "m", "the number of samples", "", None
    for item in subject.items:
        yield from (_row(subject, subject.labels[x], subject.lines[x], x) for x in subject.defined(item))
    for item in reversed(subject.items):
        for rule in subject.rules(item):
            if rule.kind != "sent":
                yield _row(subject, rule.symbol, rule.expression, rule.node)


def _row(subject: Subject, symbol: str, expression: str, node: Tensor) -> Row:
    return symbol, f"= {expression}", _array(subject, node), node


def _array(subject: Subject, node: Tensor) -> str:
    return f"{node.dtype} {subject.shape(node)}"


def update_rows(model: Model, gradients: Mapping[Tensor, Tensor]) -> Iterator[Row]:
    """Yield the update of each parameter that has a gradient, by the model's own optimizer, in the model's order."""
    moved = {name: parameter for name, parameter in model.parameters.items() if parameter in gradients}
    for line in update_equations(SimpleNamespace(parameters=moved), as_optimizer(model, None)).splitlines():
        symbol, _, expression = line.partition("=")
        yield symbol.strip(), f"={expression}", "", None
