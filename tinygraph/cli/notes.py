"""``tinygraph notes``: the lecture notes of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tinygraph.cli.options import data_option, file_path, model_argument, new_file, opened, ops_option
from tinygraph.cli.reading import onnx_options
from tinygraph.cli.terminal import say


@click.command(short_help="Derive the lecture notes of a model.")
@model_argument
@click.option(
    "-o",
    "--out",
    metavar="FILE",
    type=new_file,
    help="File to write; its suffix (.html, .md, .tex, .txt) says which format.  [default: NAME_notes.html]",
)
@click.option(
    "--format", type=click.Choice(["html", "md", "tex", "txt"]), help="Format, where the suffix does not say."
)
@click.option("--weights", metavar="FILE", type=file_path, help="Weights of a training.  [default: initial values]")
@onnx_options()
@data_option("Data that the worked sample is from.  [default: what the model says]")
@click.option("--sample", type=click.IntRange(min=0), default=0, show_default=True, help="Which sample to work.")
@ops_option
def notes(
    model: str,
    out: Path | None,
    format: str | None,
    weights: Path | None,
    onnx: dict[str, Any],
    data: str | None,
    sample: int,
) -> None:
    """Write the lecture notes of MODEL: its equations forward and backward, the update, and one sample in numbers.

    The equations of the backward pass are derived from the model's own graph. A model without data has no numbers.
    """
    from tinygraph.cli.folders import file_name
    from tinygraph.notes.notes import format_of, notes, samples_of

    if out is not None:
        format_of(out, format)
    declared = opened(model, onnx=onnx)
    if weights is not None:
        declared.load(weights)
    others = samples_of(declared, data, sample) if data or declared.training.data else None
    path = out or Path(f"{file_name(declared.name)}_notes.{format or 'html'}")
    notes(declared, path, samples=others, format=format)
    say(f"wrote {path}")
