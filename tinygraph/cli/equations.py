"""``tinygraph equations``: a model's forward equations, and the backward ones derived from them."""

from collections.abc import Iterator, Mapping
from types import SimpleNamespace

import click

from tinygraph.cli import options
from tinygraph.cli.terminal import say
from tinygraph.describe.columns import aligned
from tinygraph.describe.text import lay_out, leaf_note
from tinygraph.graph import Graph, Tensor, gradients_of
from tinygraph.model import Model, Recording
from tinygraph.train.optimizers import as_optimizer, update_equations

# A symbol, what it is equal to, and its dtype and shape.
Row = tuple[str, str, str]


@click.command
@click.option("--backward", is_flag=True, help="Derive the equations of the backward pass and of the update too.")
@options.model_options
@options.batch_option(1)
@options.ops_option
def equations(load: options.Load, backward: bool, batch_size: int | None) -> None:
    """Print MODEL as equations, with shapes, as it is in training."""
    declared = load(needs_loss="no backward pass" if backward else "")
    recording = declared.record(batch_size or declared.batch or 1, training=True)
    forward, new_state = forward_rows(recording)
    sections = {"Forward": [*forward, *([] if backward else new_state)]}
    if backward and recording.loss is not None:
        gradients = gradients_of(recording.loss, list(declared.parameters.values()))
        sections["Backward"] = list(backward_rows(recording, gradients))
        sections["Update"] = [*update_rows(declared, gradients), *new_state]
    # The columns of all sections are in line.
    lines = iter(aligned([row for rows in sections.values() for row in rows]).splitlines())
    for heading, rows in sections.items():
        if backward:
            say(f"{'' if heading == 'Forward' else chr(10)}{heading}", bold=True)
        say("\n".join(next(lines) for _ in rows))


def forward_rows(recording: Recording) -> tuple[list[Row], list[Row]]:
    """Return the equations of a model as rows, then those of its state's new values."""
    new_state = set(recording.new_state.values())
    rows: tuple[list[Row], list[Row]] = ([], [])
    for equation in recording.equations:
        expression = equation.text.partition("=")[2].strip()
        row = equation.name, f"= {expression}", f"{equation.node.dtype} {equation.node.shape}"
        rows[equation.node in new_state].append(row)
    return rows


def backward_rows(recording: Recording, gradients: Mapping[Tensor, Tensor]) -> Iterator[Row]:
    """Yield the nodes of the gradients as equations, in the order in which they are computed.

    Among them are intermediate results of forward equations that the gradients need.
    """
    ordered = sorted(gradients.values(), key=lambda gradient: gradient.order)
    nodes = Graph([*recording.graph.outputs, *ordered]).nodes
    declared = {equation.node for equation in recording.equations}
    named = {f"d{recording.loss.name}" if recording.loss is not None else "", *(gradient.name for gradient in ordered)}
    for line in lay_out(nodes, {*declared, *ordered}).equations:
        node = line.node
        if node in declared or node.kind in ("input", "parameter", "state"):
            continue
        # A one, such as the m of a batch of one, changes nothing in an equation and so is not written there.
        if node.kind == "constant" and node.size == 1 and node.value.item() == 1 and line.label not in named:
            continue
        right = f"= {line.expression}" if line.expression else leaf_note(node)
        yield line.label, right, f"{node.dtype} {node.shape}"


def update_rows(model: Model, gradients: Mapping[Tensor, Tensor]) -> Iterator[Row]:
    """Yield the update of each parameter that has a gradient, by the model's own optimizer, in the model's order."""
    moved = {name: parameter for name, parameter in model.parameters.items() if parameter in gradients}
    for line in update_equations(SimpleNamespace(parameters=moved), as_optimizer(model, None)).splitlines():
        symbol, _, expression = line.partition("=")
        yield symbol.strip(), f"={expression}", ""
