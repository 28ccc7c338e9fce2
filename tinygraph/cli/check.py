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


@options.command
@options.model_options
@options.data_option(
    "Data to check on: a built-in set or a file with x and y.  [default: the model's [sample], or random values]"
)
@click.option(
    "--batch-size",
    type=click.IntRange(1, options.MOST_SAMPLES),
    help="How many samples to check on.  [default: those of [sample], or 2]",
)
@options.seed_option
@click.option(
    "--draw",
    "picture",
    metavar="FILE",
    type=options.new_file,
    help="Draw the model there, each card with its verdict (.gv, .svg, .png, .pdf).",
)
def check(load: options.Load, data: str | None, batch_size: int | None, seed: int | None, picture: Path | None) -> int:
    """Check every gradient of MODEL against numeric derivatives, rule by rule and then all together.

    Ends with code 1 if a rule is wrong.
    """
    if picture is not None:
        format_of(picture)
    checked = load(seed=seed)
    count = batch_size or checked.batch or 2
    thing: Any = checked.record(count, training=True).full_graph
    feeds: Any = None
    if data:
        thing, feeds = checked, {name: array[:count] for name, array in samples_of(checked, data).items()}
    elif batch_size is None and checked.sample:
        thing, feeds = checked, checked.sample
    report = verify.check(thing, feeds, seed=seed or 0)
    say(str(report))
    if picture is not None:
        draw(checked, picture, feeds=feeds, report=report)
        say(f"wrote {picture}")
    return 0 if report.ok else WRONG_RULE
