"""``tinygraph equations``: a model's forward equations, and the backward ones derived from them."""

from collections.abc import Iterator, Mapping
from types import SimpleNamespace

import click

from tinygraph.cli import options
from tinygraph.cli.terminal import say
from tinygraph.describe.columns import aligned
from tinygraph.describe.subject import Subject, subject_of
from tinygraph.describe.text import leaf_note
from tinygraph.graph import Tensor
from tinygraph.model import Model
from tinygraph.train.optimizers import as_optimizer, update_equations

# A symbol, what it is equal to, and its dtype and shape.
Row = tuple[str, str, str]


@options.command
@click.option("--backward", is_flag=True, help="Derive the equations of the backward pass and of the update too.")
@options.model_options
@options.batch_option(1)
def equations(load: options.Load, backward: bool, batch_size: int | None) -> None:
    """Print MODEL as equations, with shapes, as it is in training."""
    declared = load(needs_loss="no backward pass" if backward else "")
    subject = subject_of(declared, batch=batch_size).general
    forward, new_state = forward_rows(declared, subject)
    sections = {"Forward": [*forward, *([] if backward else new_state)]}
    if backward and subject.backward is not None:
        sections["Backward"] = list(backward_rows(subject))
        sections["Update"] = [*update_rows(declared, subject.backward.gradients), *new_state]
    # The columns of all sections are in line.
    lines = iter(aligned([row for rows in sections.values() for row in rows]).splitlines())
    for heading, rows in sections.items():
        if backward:
            say(f"{'' if heading == 'Forward' else chr(10)}{heading}", bold=True)
        say("\n".join(next(lines) for _ in rows))


def forward_rows(model: Model, subject: Subject) -> tuple[list[Row], list[Row]]:
    """Return the equations of a model as rows, then those of its state's new values."""
    new_state = {f"{name}_new" for name in model.state}
    rows: tuple[list[Row], list[Row]] = ([], [])
    for item in subject.items:
        if item.nodes or not item.is_leaf or item.expression != leaf_note(item.node):
            rows[item.symbol in new_state].append((item.symbol, f"= {item.expression}", _array(subject, item.node)))
    return rows


def backward_rows(subject: Subject) -> Iterator[Row]:
    """Yield the rules of the gradients as equations, in the order in which they are computed.

    The first are intermediate results of forward equations that the gradients need.
    """
    if subject.larger is not None:
        yield "m", "the number of samples", ""
    for item in subject.items:
        yield from (_row(subject, subject.labels[x], subject.lines[x], x) for x in subject.defined(item))
    for item in reversed(subject.items):
        for rule in subject.rules(item):
            if rule.kind != "sent":
                yield _row(subject, rule.symbol, rule.expression, rule.node)


def _row(subject: Subject, symbol: str, expression: str, node: Tensor) -> Row:
    return symbol, f"= {expression}", _array(subject, node)


def _array(subject: Subject, node: Tensor) -> str:
    return f"{node.dtype} {subject.shape(node)}"


def update_rows(model: Model, gradients: Mapping[Tensor, Tensor]) -> Iterator[Row]:
    """Yield the update of each parameter that has a gradient, by the model's own optimizer, in the model's order."""
    moved = {name: parameter for name, parameter in model.parameters.items() if parameter in gradients}
    for line in update_equations(SimpleNamespace(parameters=moved), as_optimizer(model, None)).splitlines():
        symbol, _, expression = line.partition("=")
        yield symbol.strip(), f"={expression}", ""
