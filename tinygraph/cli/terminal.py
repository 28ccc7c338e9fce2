"""Writing to the terminal, or to what stands in its place: a file, a pipe, or nothing at all."""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import IO

import click

from tinygraph.errors import printable


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
