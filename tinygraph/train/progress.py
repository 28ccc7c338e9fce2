"""How training shows its progress: one line that is updated in a terminal or a notebook, and lines of epochs."""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
from dataclasses import dataclass, field
from types import NoneType
from typing import IO, Any

from tinygraph.errors import TinygraphError
from tinygraph.train.history import History, Row

MOST_LINES = 20
# In seconds, between two updates of the line.
INTERVAL = 0.1


@dataclass(frozen=True)
class Progress:
    """The progress of a training: ``fit`` calls its callback with it after each step, and with ``row`` after each epoch.

    ``epoch`` counts from 1, and so does ``step`` in each epoch. ``loss`` and ``accuracy`` (0 to 1, or ``None``, or the
    metric that the model declares) are means over the epoch so far. ``history`` has the complete epochs.

    >>> Progress(epoch=1, epochs=5, step=3, steps=45, loss=0.6, accuracy=0.7).row is None
    True
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    accuracy: float | None
    row: Row | None = None
    history: History = field(default_factory=History, repr=False, compare=False)


class ProgressLine:
    """A callback for ``fit`` that writes one line and updates it; the last epoch's line stays.

    With ``every_epoch``, about twenty lines of epochs stay. Only calls write: a thread would disturb interruptions. The line
    needs nothing but a carriage return, so notebooks show it too. Raises ``OSError`` where the stream cannot be written to.

    >>> line = ProgressLine(sys.stdout)
    >>> line(Progress(1, 1, 1, 1, loss=0.5, accuracy=None, row=Row(1, 0.5, None, 0.25, None, 1.0)))
    epoch 1/1   loss 0.5000, test 0.2500   0.0 s
    """

    def __init__(self, stream: IO[str], every_epoch: bool = False) -> None:
        self._stream, self._every_epoch = stream, every_epoch
        self._began, self._updated, self._width = time.monotonic(), float("-inf"), 0
        # The part of a training that continues that was done before.
        self._before: float | None = None

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if self._before is None:
            self._before = 0.0 if progress.row is None else _done(progress)
        if progress.row is not None and self._every_epoch and has_line(progress):
            self._write(line(progress), "\n")
        elif progress.row is not None and not self._every_epoch and progress.epoch == progress.epochs:
            self._write(f"{line(progress)}   {now - self._began:.1f} s", "\n")
        elif now - self._updated > INTERVAL:
            self._write(self._state(progress, now), "")
            self._updated = now

    def _state(self, progress: Progress, now: float) -> str:
        done = _done(progress)
        accuracy = "" if progress.accuracy is None else f"   {progress.history.measure} {loss_text(progress.accuracy)}"
        place = f"epoch {progress.epoch}/{progress.epochs}, step {progress.step}/{progress.steps}"
        left = (now - self._began) * (1 - done) / (done - (self._before or 0.0) or 1.0)
        time_left = f"{left:.0f} s" if left < 100 else f"{left / 60:.0f} min"
        return f"{place}   loss {loss_text(progress.loss)}{accuracy}   {time_left} left"

    def _write(self, text: str, end: str) -> None:
        # A longer line would go on in the next one, from where a carriage return does not come back.
        text = text[: shutil.get_terminal_size().columns - 1]
        self._stream.write(("\r" if self._width else "") + text.ljust(self._width) + end)
        self._stream.flush()
        self._width = 0 if end else len(text)

    def end(self) -> None:
        """End the line, where training ended before its last epoch."""
        if self._width:
            self._stream.write("\n")
            self._stream.flush()
            self._width = 0


class QuietLine(ProgressLine):
    """A line that is lost where the stream is: it is no reason to end a training."""

    def _write(self, text: str, end: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            super()._write(text, end)

    def end(self) -> None:
        """End the line, if it can be written."""
        with contextlib.suppress(OSError, ValueError):
            super().end()


def progress_line(wanted: bool | None) -> ProgressLine | None:
    """Return the line that ``fit`` shows, or ``None``: by default only in a notebook, or where stderr is a terminal.

    >>> progress_line(False)
    """
    if not isinstance(wanted, (bool, NoneType)):
        raise TinygraphError(f"progress is True, False, or None for automatic; found {wanted!r}")
    notebook = getattr(_ipython(), "kernel", None) is not None
    # Notebooks show what goes to stderr as a warning.
    stream = sys.stdout if notebook else sys.stderr
    if stream is None or wanted is False or (wanted is None and not (notebook or stream.isatty())):
        return None
    return QuietLine(stream)


def _ipython() -> Any:
    # Another module of this name may lie in the user's folder.
    return getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()


def _done(progress: Progress) -> float:
    return ((progress.epoch - 1) * progress.steps + progress.step) / (progress.epochs * progress.steps)


def has_line(progress: Progress) -> bool:
    """Whether the epoch is one of those that get a line: the first, the last, and some between."""
    every = -(-progress.epochs // MOST_LINES)
    return progress.epoch in (1, progress.epochs) or progress.epoch % every == 0


def line(progress: Progress) -> str:
    """Return a complete epoch in one line, short enough for 80 columns.

    >>> line(Progress(3, 15, 45, 45, 0.25, 0.9, Row(3, 0.25, 0.9, 0.5, 0.75, seconds=1.5)))
    'epoch  3/15   loss 0.2500, test 0.5000   accuracy 0.9000, test 0.7500'
    """
    text, row = f"epoch {progress.epoch:>{len(str(progress.epochs))}}/{progress.epochs}", progress.row
    found = (
        (("loss", row.loss, row.test_loss), (progress.history.measure, row.accuracy, row.test_accuracy)) if row else ()
    )
    for name, value, tested in found:
        text += "" if value is None else f"   {name} {loss_text(value)}"
        text += "" if tested is None else f", test {loss_text(tested)}"
    return text


def loss_text(loss: float) -> str:
    """Return a loss, an accuracy or another metric in few characters, however large it is.

    >>> loss_text(0.25), loss_text(1e9)
    ('0.2500', '1e+09')
    """
    return f"{loss:.4f}" if abs(loss) < 100 else f"{loss:.4g}"
