"""``tinygraph draw``: the picture of a model."""

from pathlib import Path
from typing import Any

import click
import numpy as np

from tinygraph.cli import options
from tinygraph.cli.terminal import say
from tinygraph.draw.figures import MOST_NUMBERS
from tinygraph.draw.paper import Paper
from tinygraph.draw.picture import Picture
from tinygraph.draw.picture import draw as make_picture
from tinygraph.draw.render import format_of
from tinygraph.errors import DataError, ModelError, RenderError
from tinygraph.model import Model
from tinygraph.notes.notes import samples_of


@options.command
@options.out_option(
    "FILE",
    "File to write; its suffix (.gv, .svg, .png, .pdf) says which format.  [default: NAME.svg; .pdf with --pages]",
)
@options.model_options
@options.numbers_options("the model's [sample], or none; with --sample, what the model says")
@options.batch_option(1, "How many samples the picture is for; with --sample, as many from that one on.")
@click.option("--detail", metavar="shape|rule|value|full", help="How much a card says.")
@click.option(
    "--view", metavar="forward|backward|both", default="both", show_default=True, help="Which lanes are drawn."
)
@click.option(
    "--fold", metavar="auto|none|all|BLOCK,...", default="auto", show_default=True, help="What shares a card."
)
@click.option(
    "--numbers",
    type=click.IntRange(min=0),
    default=MOST_NUMBERS,
    show_default=True,
    help="Up to how many elements an array is written as numbers; larger ones are heat maps.",
)
@click.option("--direction", metavar="down|right", help="Where values go.  [default: down]")
@click.option("--width", metavar="LENGTH", help="Width of the picture, such as 16cm, 6in or 800px.")
@click.option("--dpi", type=float, help="Pixels in an inch of a .png.  [default: 96]")
@click.option(
    "--pages", metavar="a4|a3|a5|letter|SIZE", help="Break it into pages that can be read; SIZE is like 160x90mm."
)
@click.option("--only", metavar="NAME", help="Draw the tensor or gradient of this name, with what leads to it.")
@click.option("--format", "form", metavar="text", help="Print the picture as text, and write no file.")
def draw(
    load: options.Load,
    out: Path | None,
    data: str | None,
    sample: int | None,
    batch_size: int | None,
    weights: Path | None,
    detail: str | None,
    view: str,
    fold: str,
    numbers: int,
    only: str | None,
    form: str | None,
    **paper: Any,
) -> None:
    """Draw MODEL: a card for each equation, values going down, gradients coming back up.

    A model with a mistake is drawn as far as it is valid; the command then ends with code 2.
    """
    if form not in (None, "text"):
        raise click.BadParameter(f"--format must be text; pictures take their format from -o; found {form!r}")
    if form is not None and out is not None:
        raise click.UsageError(f"--format text prints the picture and writes no file; leave out -o {str(out)!r}")
    if out is not None:
        format_of(out)
    Paper().changed(**paper)
    try:
        drawn = load(weights=weights)
    except ModelError as error:
        if error.recorded is not None:
            try:
                _finish(make_picture(error, view=view, **paper), out, Path(error.file or "model").stem, form)
            except RenderError as fault:
                say(f"note: {fault}", error=True)
        raise
    feeds = None if data is None and sample is None else _batch(drawn, data, sample or 0, batch_size)
    folded = fold if fold in ("auto", "none", "all") else fold.split(",")
    shown: dict[str, Any] = {"detail": detail, "view": view, "fold": folded, "numbers": numbers, "only": only, **paper}
    _finish(make_picture(drawn, feeds=feeds, batch_size=batch_size, **shown), out, drawn.name, form)


def _batch(model: Model, data: str | None, first: int, batch_size: int | None) -> dict[str, Any]:
    """Return as many samples of the data as are drawn together, from ``first`` on."""
    count = batch_size or model.batch or 1
    samples = list(samples_of(model, data, first, count).values())
    if len(samples) < count:
        raise DataError(f"the data have {len(samples)} samples from sample {first} on; {count} are to be drawn")
    return {name: np.concatenate([sample[name] for sample in samples]) for name in samples[0]}


def _finish(picture: Picture, out: Path | None, name: str, form: str | None) -> None:
    """Print a picture as text, or write it."""
    if form == "text":
        say(str(picture))
        return
    suffix = "pdf" if picture.paper.page else "png" if picture.paper.dpi else "svg"
    for path in picture.save(out or Path(f"{options.file_name(name)}.{suffix}")):
        say(f"wrote {path}")
