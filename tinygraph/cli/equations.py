"""``tinygraph equations``: a model's forward equations, and the backward ones derived from them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import click

from tinygraph.cli.options import batch_option, model_argument, opened, ops_option
from tinygraph.cli.reading import onnx_options
from tinygraph.cli.terminal import say

if TYPE_CHECKING:
    from tinygraph.graph.tensor import Tensor
    from tinygraph.model import Model


@click.command(short_help="Print a model's equations, forward and backward.")
@model_argument
@click.option("--backward", is_flag=True, help="Derive the equations of the backward pass and of the update too.")
@onnx_options()
@batch_option(1)
@ops_option
def equations(model: str, backward: bool, onnx: dict[str, Any], batch_size: int | None) -> None:
    """Print MODEL as equations, with shapes, as it is in training."""
    declared = opened(model, onnx=onnx, needs_loss="no backward pass" if backward else "")
    batch_size = batch_size or declared.batch or 1
    forward, moves = forward_rows(declared, batch_size)
    sections: dict[str, list[tuple[str, ...]]] = {"Forward": [*forward, *([] if backward else moves)]}
    if backward:
        gradients = parameter_gradients(declared, batch_size)
        sections["Backward"] = list(backward_rows(declared, gradients, batch_size))
        sections["Update"] = [*update_rows(declared, gradients), *moves]
    for heading, lines in zip(sections, in_columns(sections.values()), strict=True):
        if backward:
            say(f"{'' if heading == 'Forward' else chr(10)}{heading}", bold=True)
        say("\n".join(lines))


def in_columns(sections: Iterable[list[tuple[str, ...]]]) -> Iterator[list[str]]:
    """Yield the lines of each section, with their columns below each other."""
    from tinygraph.describe.columns import aligned

    sections = list(sections)
    lines = iter(aligned([row for rows in sections for row in rows]).splitlines())
    for rows in sections:
        yield [next(lines) for _ in rows]


def forward_rows(model: Model, batch: int) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    """Return a model's equations as rows: symbol, expression, dtype and shape; then those of its state's new values."""
    recording = model.record(batch, training=True)
    moves = set(recording.new_state.values())
    rows: tuple[list[tuple[str, ...]], list[tuple[str, ...]]] = ([], [])
    for equation in recording.equations:
        expression = equation.text.partition("=")[2].strip()
        row = equation.name, f"= {expression}", f"{equation.node.dtype} {equation.node.shape}"
        rows[equation.node in moves].append(row)
    return rows


def parameter_gradients(model: Model, batch: int) -> dict[Tensor, Tensor]:
    """Return the gradients of the loss with respect to the parameters, in the order in which the sweep computes them."""
    from tinygraph.graph.backprop import gradients_of

    loss = model.record(batch, training=True).loss
    assert loss is not None
    gradients = gradients_of(loss, list(model.parameters.values()))
    return dict(sorted(gradients.items(), key=lambda pair: pair[1].order))


def backward_rows(model: Model, gradients: Mapping[Tensor, Tensor], batch: int) -> Iterator[tuple[str, str, str]]:
    """Yield the nodes of the gradients as equations, in the order in which they are computed.

    Among them are what the gradients need of the inside of a forward equation.
    """
    from tinygraph.describe.text import lay_out, leaf_note
    from tinygraph.graph.graph import Graph

    recording = model.record(batch, training=True)
    graph = Graph([*recording.graph.outputs, *gradients.values()])
    declared = {equation.node for equation in recording.equations}
    told = {gradient_name(recording.loss), *(gradient.name for gradient in gradients.values())}
    for line in lay_out(graph.nodes, {*declared, *gradients.values()}).equations:
        node = line.node
        if node in declared or node.kind in ("input", "parameter", "state"):
            continue
        # A one, such as the m of a batch of one, changes nothing in an equation and so is not written there.
        if node.kind == "constant" and node.size == 1 and node.value.item() == 1 and line.label not in told:
            continue
        made = f"= {line.expression}" if line.expression else leaf_note(node)
        yield line.label, made, f"{node.dtype} {node.shape}"


def gradient_name(tensor: Tensor | None) -> str:
    """Return what a tensor's gradient is called."""
    return f"d{tensor.name}" if tensor is not None else ""


def update_rows(model: Model, gradients: Mapping[Tensor, Tensor]) -> Iterator[tuple[str, str, str]]:
    """Yield the update of each parameter that has a gradient, by the model's own optimizer, in the model's order."""
    from tinygraph.train import make_optimizer, update_equations

    settings = model.training
    optimizer = make_optimizer(settings.optimizer, settings.learning_rate, settings.momentum)
    moved = {name: parameter for name, parameter in model.parameters.items() if parameter in gradients}
    for line in update_equations(SimpleNamespace(parameters=moved), optimizer).splitlines():
        symbol, _, expression = line.partition("=")
        yield symbol.strip(), f"={expression}", ""
