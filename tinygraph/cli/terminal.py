"""Writing to the terminal, or to what stands in its place: a file, a pipe, or nothing at all."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

import click

from tinygraph.errors import printable

if TYPE_CHECKING:
    from tinygraph.train.progress import Progress


def say(text: str = "", bold: bool = False, error: bool = False) -> None:
    """Write text and a line break to standard output, or to the error stream; nothing where that is closed.

    All text of the program passes here. It may quote files of strangers, so control characters are removed.
    Raises ``OSError`` where standard output cannot be written to, such as a closed pipe.
    """
    stream, text = sys.stderr if error else sys.stdout, printable(text)
    if stream is not None:
        with contextlib.suppress(OSError) if error else contextlib.nullcontext(), writing(stream):
            # Given no stream, Click would write UTF-8 even where the user chose another encoding.
            click.echo(click.style(text, bold=True) if bold and styled() else text, file=stream)


@contextlib.contextmanager
def writing(stream: IO[str]) -> Iterator[None]:
    """Write to a stream. After an error nothing more goes there, not even what Python writes at the end of the program."""
    try:
        yield
    except OSError as error:
        abandon(stream)
        raise OSError(error.errno, error.strerror or str(error), "standard output") from None


def abandon(stream: IO[str]) -> None:
    """Send what is written to a stream that fails to the null device."""
    with contextlib.suppress(AttributeError, ValueError, OSError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


def styled() -> bool:
    """Whether standard output is a terminal that may be sent escape codes."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return sys.stdout is not None and sys.stdout.isatty() and not plain


@contextmanager
def reporter() -> Iterator[Callable[[Progress], None]]:
    """Yield a callback for ``fit`` that shows progress on standard output: lines alone where that is no terminal."""
    if not styled():
        yield plain_report
        return
    from tinygraph.train.progress import ProgressLine

    show = ProgressLine(sys.stdout, every_epoch=True)

    def report(progress: Progress) -> None:
        with writing(sys.stdout):
            show(progress)

    try:
        yield report
    finally:
        with contextlib.suppress(OSError):
            show.end()


def plain_report(progress: Progress) -> None:
    """Print a line after an epoch; about twenty in all."""
    from tinygraph.train.progress import has_line, line

    if progress.row is not None and has_line(progress):
        say(line(progress))
