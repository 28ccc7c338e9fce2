"""How training shows that it goes on: a bar in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from tinygraph.train import Progress, Row

MOST_LINES = 20


@contextmanager
def reporter() -> Iterator[Callable[[Progress], None]]:
    """Give a callback for ``fit`` that shows progress on standard output."""
    if not sys.stdout.isatty():
        yield plain_report
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[numbers]}"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(highlight=False)) as bar:
        task = bar.add_task("starting", total=None, numbers="")

        def report(progress: Progress) -> None:
            bar.update(
                task,
                description=f"epoch {progress.epoch}/{progress.epochs}",
                total=progress.epochs * progress.steps,
                completed=(progress.epoch - 1) * progress.steps + progress.step,
                numbers=numbers(progress.loss, progress.accuracy),
            )
            if progress.row is not None and shown(progress):
                bar.console.print(line(progress.row, progress.epochs), markup=False, soft_wrap=True)

        yield report


def plain_report(progress: Progress) -> None:
    """Print a line after an epoch; about twenty in all."""
    if progress.row is not None and shown(progress):
        click.echo(line(progress.row, progress.epochs))


def shown(progress: Progress) -> bool:
    """Whether the epoch is one of those that get a line: the first, the last, and some between."""
    every = -(-progress.epochs // MOST_LINES)
    return progress.epoch in (1, progress.epochs) or progress.epoch % every == 0


def line(row: Row, epochs: int) -> str:
    """Return an epoch in one line."""
    test = "" if row.test_loss is None else f"   test {numbers(row.test_loss, row.test_accuracy)}"
    return f"epoch {row.epoch:>{len(str(epochs))}}/{epochs}   {numbers(row.loss, row.accuracy)}{test}   {row.seconds:.2f} s"


def numbers(loss: float, accuracy: float | None) -> str:
    """Return a loss, and an accuracy if there is one.

    >>> numbers(0.25, 0.9)
    'loss 0.2500  accuracy 0.9000'
    """
    written = f"{loss:.4f}" if abs(loss) < 1e6 else f"{loss:.4g}"
    return f"loss {written}" + ("" if accuracy is None else f"  accuracy {accuracy:.4f}")
