"""``tinygraph notes``: the lecture notes of a model."""

from pathlib import Path
from typing import Any

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
@click.option("--worksheet", is_flag=True, help="Write the worksheet alone.")
@click.option("--solution", is_flag=True, help="Write the solution of the worksheet alone, or after it.")
@click.option(
    "--variant",
    type=click.IntRange(min=0),
    metavar="N",
    help="Other numbers, drawn from N; each sheet has this number.",
)
def notes(
    load: options.Load,
    out: Path | None,
    format: str | None,
    weights: Path | None,
    data: str | None,
    sample: int | None,
    seed: int | None,
    worksheet: bool,
    solution: bool,
    variant: int | None,
) -> None:
    """Write the lecture notes of MODEL: its equations forward and backward, the update, and one sample in numbers.

    The equations of the backward pass are derived from the model's own graph. For a model without [sample] and data, the
    inputs are random numbers, and the notes say so. --worksheet writes the questions for students, and --solution the
    answers; with both, each is on pages of its own. --variant gives each student other numbers.
    """
    declared = load(weights=weights, seed=seed)
    samples = options.samples_named(declared, data, sample, MOST_SAMPLES)
    what = "worksheet" if worksheet else "solution" if solution else "notes"
    number = "" if variant is None else f"_variant_{variant}"
    path = out or Path(f"{options.file_name(declared.name)}_{what}{number}.{format or 'html'}")
    chosen: dict[str, Any] = {"seed": seed or 0, "worksheet": worksheet, "solution": solution, "variant": variant}
    made = derive_notes(declared, path, samples=samples, format=format, **chosen)
    for file in made.written:
        say(f"wrote {file}")
