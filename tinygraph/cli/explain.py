"""``tinygraph explain``: where one number of a model comes from."""

import re
from pathlib import Path

import click

from tinygraph.cli import options
from tinygraph.cli.terminal import say
from tinygraph.describe.origin_words import MOST_TERMS
from tinygraph.notes.notes import notes as derive_notes


@options.command
@options.model_options
@click.argument("element")
@click.option("--terms", type=click.IntRange(min=1), default=MOST_TERMS, show_default=True, help="Terms at most.")
@options.numbers_options("the model's [sample], what the model says, or random numbers")
def explain(
    load: options.Load, element: str, terms: int, data: str | None, sample: int | None, weights: Path | None
) -> None:
    """Explain a number of MODEL: the terms that it is the sum of, in numbers, and what decided between them.

    ELEMENT is a value or a gradient and the place of one number in it, counted from 0, such as "dW[2,0]".
    """
    declared = load(weights=weights)
    feeds, remark = options.feeds_for(declared, data, sample)
    name, index = place_of(element)
    text = derive_notes(declared, feeds=feeds).explain(name, *index, terms=terms)
    say("\n".join([*([f"{remark}\n"] if remark else []), text]))


def place_of(element: str) -> tuple[str, list[int]]:
    """Return the name and the index in an element as it is written.

    >>> place_of("dW[2, 0]"), place_of("cost")
    (('dW', [2, 0]), ('cost', []))
    """
    name, bracket, rest = element.partition("[")
    if bracket and not re.fullmatch(r"\s*\d+(\s*,\s*\d+)*\s*,?\s*\]\s*|\s*\]\s*", rest, re.ASCII):
        raise click.BadParameter(f"an element is written as dW[2,0]; found {element!r}")
    return name.strip(), [int(number) for number in re.findall(r"\d+", rest)]
