"""``tinygraph notes``: the lecture notes of a model."""

from pathlib import Path

import click

from tinygraph.cli import options
from tinygraph.cli.terminal import say
from tinygraph.notes.notes import notes as derive_notes
from tinygraph.notes.notes import samples_of


@options.command
@options.out_option(
    "FILE", "File to write; its suffix (.html, .md, .tex, .txt) says which format.  [default: NAME_notes.html]"
)
@click.option(
    "--format", type=click.Choice(["html", "md", "tex", "txt"]), help="Format, where the suffix does not say."
)
@options.weights_option("Weights of a training.  [default: initial values]")
@options.model_options
@options.data_option("Data that the worked sample is from.  [default: what the model says]")
@click.option("--sample", type=click.IntRange(min=0), default=0, show_default=True, help="Which sample to work.")
def notes(
    load: options.Load, out: Path | None, format: str | None, weights: Path | None, data: str | None, sample: int
) -> None:
    """Write the lecture notes of MODEL: its equations forward and backward, the update, and one sample in numbers.

    The equations of the backward pass are derived from the model's own graph. A model without data has no numbers.
    """
    declared = load(weights=weights)
    samples = samples_of(declared, data, sample) if data or declared.training.data else None
    path = out or Path(f"{options.file_name(declared.name)}_notes.{format or 'html'}")
    derive_notes(declared, path, samples=samples, format=format)
    say(f"wrote {path}")
