"""Writing to the terminal, or to what stands in its place: a file, a pipe, or nothing at all."""

from __future__ import annotations

import os
import sys

import click

from tinygraph.errors import printable


def say(text: str = "", bold: bool = False, error: bool = False) -> None:
    """Write text and a line break to standard output, or to the error stream; nothing where that is closed.

    All text of the program passes here. It may quote files of strangers, so it holds no control characters afterwards.
    """
    stream, text = sys.stderr if error else sys.stdout, printable(text)
    if stream is not None:
        # Given no stream, Click would write UTF-8 even where the user asks for another encoding.
        click.echo(click.style(text, bold=True) if bold and styled() else text, file=stream)


def styled() -> bool:
    """Whether standard output is a terminal that may be sent escape codes."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return sys.stdout is not None and sys.stdout.isatty() and not plain
