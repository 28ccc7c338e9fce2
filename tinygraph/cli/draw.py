"""``tinygraph draw``: the picture of a model."""

from __future__ import annotations

from pathlib import Path

import click

from tinygraph.cli.options import file_path, model_argument, ops_option
from tinygraph.cli.terminal import say


@click.command(short_help="Draw a model.")
@model_argument
@click.option(
    "-o",
    "--out",
    metavar="FILE",
    type=file_path,
    help="File to write; its suffix (.gv, .svg, .png, .pdf) says which format.  [default: NAME.svg]",
)
@ops_option
def draw(model: str, out: Path | None) -> None:
    """Draw MODEL: a card for each equation, an edge for each use of a tensor."""
    from tinygraph.cli.folders import file_name
    from tinygraph.draw import draw
    from tinygraph.draw.render import format_of
    from tinygraph.model import load_model

    if out is not None:
        format_of(out)
    drawn = load_model(model)
    path = out or Path(f"{file_name(drawn.name)}.svg")
    draw(drawn, path)
    say(f"wrote {path}")
