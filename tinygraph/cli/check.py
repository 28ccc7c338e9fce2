"""``tinygraph check``: proof that every gradient of a model is right."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tinygraph.cli.group import WRONG_RULE
from tinygraph.cli.options import batch_option, data_option, model_argument, new_file, opened, ops_option, seed_option
from tinygraph.cli.reading import onnx_options
from tinygraph.cli.terminal import say

if TYPE_CHECKING:
    from tinygraph.graph.tensor import Tensor
    from tinygraph.model import Model


@click.command(short_help="Check every gradient of a model.")
@model_argument
@onnx_options()
@data_option("Data to check on: a built-in set or a file with x and y.  [default: random values]")
@batch_option(2, "How many samples to check on.")
@seed_option
@click.option(
    "--draw",
    "picture",
    metavar="FILE",
    type=new_file,
    help="Draw the model there, each card with its verdict (.gv, .svg, .png, .pdf).",
)
@ops_option
@click.pass_context
def check(
    context: click.Context,
    model: str,
    onnx: dict[str, Any],
    data: str | None,
    batch_size: int | None,
    seed: int | None,
    picture: Path | None,
) -> None:
    """Check every gradient of MODEL against numeric derivatives, rule by rule and then as a whole.

    Ends with code 1 if a rule is wrong.
    """
    from tinygraph.draw import draw
    from tinygraph.draw.render import format_of
    from tinygraph.verify import check

    if picture is not None:
        format_of(picture)
    checked = opened(model, seed, onnx)
    batch_size = batch_size or checked.batch or 2
    thing = checked if data else checked.record(batch_size, training=True).full_graph
    feeds = _samples(checked, data, batch_size) if data else None
    report = check(thing, feeds, seed=seed or 0)
    say(str(report))
    if picture is not None:
        draw(checked, picture, feeds=feeds, report=report)
        say(f"wrote {picture}")
    if not report.ok:
        context.exit(WRONG_RULE)


def _samples(model: Model, data: str, batch_size: int) -> dict[str | Tensor, Any]:
    """Return the first samples of the data, by the names of the model's inputs."""
    from tinygraph.train.data import samples_of

    return {name: array[:batch_size] for name, array in samples_of(model, data).items()}
