"""``tinygraph notes``: the lecture notes of a model."""

from pathlib import Path

import click

from tinygraph.cli import options
from tinygraph.cli.terminal import say
from tinygraph.notes.notes import MOST_SAMPLES
from tinygraph.notes.notes import notes as derive_notes


@options.command
@options.out_option(
    "FILE", "File to write; its suffix (.html, .md, .tex, .txt) says which format.  [default: NAME_notes.html]"
)
@click.option(
    "--format", type=click.Choice(["html", "md", "tex", "txt"]), help="Format, where the suffix does not say."
)
@options.model_options
@options.numbers_options("the model's [sample], what the model says, or random numbers")
@options.seed_option
def notes(
    load: options.Load,
    out: Path | None,
    format: str | None,
    weights: Path | None,
    data: str | None,
    sample: int | None,
    seed: int | None,
) -> None:
    """Write the lecture notes of MODEL: its equations forward and backward, the update, and one sample in numbers.

    The equations of the backward pass are derived from the model's own graph. For a model without [sample] and data, the
    inputs are random numbers, and the notes say so.
    """
    declared = load(weights=weights, seed=seed)
    samples = options.samples_named(declared, data, sample, MOST_SAMPLES)
    path = out or Path(f"{options.file_name(declared.name)}_notes.{format or 'html'}")
    for file in derive_notes(declared, path, samples=samples, format=format, seed=seed or 0).written:
        say(f"wrote {file}")
