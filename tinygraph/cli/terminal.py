"""Writing to the terminal, or to what stands in its place: a file, a pipe, or nothing at all."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

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


# ---- how training shows its progress: a bar in a terminal, plain lines elsewhere

if TYPE_CHECKING:
    from tinygraph.train import Progress, Row

MOST_LINES = 20
# In seconds, between two drawings of the bar.
INTERVAL = 0.1


@contextmanager
def reporter() -> Iterator[Callable[[Progress], None]]:
    """Yield a callback for ``fit`` that shows progress on standard output."""
    if not styled():
        yield plain_report
        return
    from rich.console import Console
    from rich.progress import BarColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = "{task.description}", BarColumn(), "{task.fields[numbers]}", TimeRemainingColumn()
    # Only this function draws it: another thread would disturb interruptions.
    bar = Bar(*columns, console=Console(highlight=False), transient=True, auto_refresh=False)
    task = bar.add_task("starting", total=None, numbers="")
    drawn = -INTERVAL

    def report(progress: Progress) -> None:
        nonlocal drawn
        accuracy = "" if progress.accuracy is None else f"  accuracy {progress.accuracy:.4f}"
        bar.update(
            task,
            description=f"epoch {progress.epoch}/{progress.epochs}",
            total=progress.epochs * progress.steps,
            completed=(progress.epoch - 1) * progress.steps + progress.step,
            numbers=f"loss {loss_text(progress.loss)}{accuracy}",
        )
        with writing(sys.stdout):
            if progress.row is not None and shown(progress):
                bar.console.print(line(progress.row, progress.epochs), markup=False, soft_wrap=True)
            if time.monotonic() - drawn > INTERVAL:
                bar.start()
                bar.refresh()
                drawn = time.monotonic()

    try:
        yield report
    finally:
        with contextlib.suppress(OSError):
            bar.stop()


def plain_report(progress: Progress) -> None:
    """Print a line after an epoch; about twenty in all."""
    if progress.row is not None and shown(progress):
        say(line(progress.row, progress.epochs))


def shown(progress: Progress) -> bool:
    """Whether the epoch is one of those that get a line: the first, the last, and some between."""
    every = -(-progress.epochs // MOST_LINES)
    return progress.epoch in (1, progress.epochs) or progress.epoch % every == 0


def line(row: Row, epochs: int) -> str:
    """Return an epoch in one line, short enough for 80 columns.

    >>> from tinygraph.train import Row
    >>> line(Row(3, 0.25, 0.9, 0.5, 0.75, seconds=1.5), epochs=15)
    'epoch  3/15   loss 0.2500, test 0.5000   accuracy 0.9000, test 0.7500'
    """
    loss = f"loss {loss_text(row.loss)}" + ("" if row.test_loss is None else f", test {loss_text(row.test_loss)}")
    accuracy = "" if row.accuracy is None else f"   accuracy {row.accuracy:.4f}"
    tested = "" if row.test_accuracy is None else f", test {row.test_accuracy:.4f}"
    return f"epoch {row.epoch:>{len(str(epochs))}}/{epochs}   {loss}{accuracy}{tested}"


def loss_text(loss: float) -> str:
    """Return a loss in few characters, however large it is.

    >>> loss_text(0.25), loss_text(1e9)
    ('0.2500', '1e+09')
    """
    return f"{loss:.4f}" if abs(loss) < 100 else f"{loss:.4g}"
