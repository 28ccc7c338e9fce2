"""``tinygraph check``: proof that every gradient of a model is right."""

from pathlib import Path
from typing import Any

import click

from tinygraph import verify
from tinygraph.cli import options
from tinygraph.cli.group import WRONG_RULE
from tinygraph.cli.terminal import say
from tinygraph.draw.picture import draw
from tinygraph.draw.render import format_of
from tinygraph.train.data import samples_of


@click.command
@options.model_argument
@options.onnx_options()
@options.data_option("Data to check on: a built-in set or a file with x and y.  [default: random values]")
@options.batch_option(2, "How many samples to check on.")
@options.seed_option
@click.option(
    "--draw",
    "picture",
    metavar="FILE",
    type=options.new_file,
    help="Draw the model there, each card with its verdict (.gv, .svg, .png, .pdf).",
)
@options.ops_option
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
    """Check every gradient of MODEL against numeric derivatives, rule by rule and then all together.

    Ends with code 1 if a rule is wrong.
    """
    if picture is not None:
        format_of(picture)
    checked = options.opened(model, seed, onnx)
    batch_size = batch_size or checked.batch or 2
    feeds: Any = None
    if data:
        feeds = {name: array[:batch_size] for name, array in samples_of(checked, data).items()}
    report = verify.check(
        checked if data else checked.record(batch_size, training=True).full_graph, feeds, seed=seed or 0
    )
    say(str(report))
    if picture is not None:
        draw(checked, picture, feeds=feeds, report=report)
        say(f"wrote {picture}")
    if not report.ok:
        context.exit(WRONG_RULE)
