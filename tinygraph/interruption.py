"""Signals that end the command line: SIGINT (Ctrl-C), SIGTERM and SIGHUP.

The package imports this module first, because Ctrl-C may come during the other imports. Signals are handled only in a
process that runs the program ``tinygraph``. In every other process Ctrl-C is the usual ``KeyboardInterrupt``, and nothing
here has an effect.

A signal ends the program at once: one line on the error stream, exit code 128 + the number of the signal, and no cleanup,
because a signal handler cannot clean up locks, threads and unfinished imports. Where work would be lost, the signal waits:
``held`` marks such a part of the program, and ``raise_if_interrupted`` a place in it where training may stop.
"""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from types import FrameType

PROGRAM = "tinygraph"
# In seconds. A terminal that closes sends SIGHUP more than once; a second signal after this time is meant.
PATIENCE = 1.0


class _State:
    """The signals of this process: those that are handled, the first that came, and the one that waits."""

    taken: tuple[int, ...] = ()
    errors = 2
    first = 0
    waiting = 0
    since = 0.0
    holders = 0
    kept = ""


def take_over() -> None:
    """Handle the signals from now on; those that are ignored, as after ``nohup``, stay ignored."""
    if _State.taken:
        return
    try:
        # Rendering a picture redirects the error stream for a moment, so keep a copy.
        _State.errors = os.dup(2)
    except OSError:
        _State.errors = -1
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    _State.taken = tuple(number for number in numbers if signal.getsignal(number) != signal.SIG_IGN)
    for number in _State.taken:
        signal.signal(number, _received)


def finish() -> None:
    """Ignore the signals from now on: the command is complete, and its exit code is right."""
    for number in _State.taken:
        signal.signal(number, signal.SIG_IGN)


def raise_if_interrupted() -> None:
    """Raise ``KeyboardInterrupt`` if a signal waits. The training loop calls this where it may stop."""
    if _State.waiting:
        _State.waiting = 0
        raise KeyboardInterrupt


def exit_code(otherwise: int) -> int:
    """Return the exit code of a command: 128 + the number of the first signal if one came, or ``otherwise``.

    >>> exit_code(2)
    2
    """
    return 128 + _State.first if _State.first else otherwise


def note_results(where: str | None) -> None:
    """Name the place of the results in all following messages about an interruption or an error."""
    _State.kept = f"; what was learned is kept in {where}" if where else ""


def results_note() -> str:
    """Return the end of such a message; it is empty while there are no results.

    >>> results_note()
    ''
    """
    return _State.kept


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Mark a part of the program that a signal does not end: the signal takes effect at the end of the part.

    >>> with held():
    ...     raise_if_interrupted()
    """
    _State.holders += 1
    try:
        yield
    finally:
        _State.holders -= 1
        if _State.waiting and not _State.holders:
            _end()


def _received(number: int, frame: FrameType | None) -> None:
    _State.first = _State.first or number
    if not _State.holders:
        _end()
    if not _State.waiting:
        _State.waiting, _State.since = number, time.monotonic()
    elif time.monotonic() - _State.since > PATIENCE:
        _State.waiting = 0
        raise KeyboardInterrupt


def _end() -> None:
    name = "" if _State.first == signal.SIGINT else f" by {signal.Signals(_State.first).name}"
    try:
        os.write(_State.errors, f"error: interrupted{name}{_State.kept}\n".encode())
    finally:
        os._exit(128 + _State.first)


def _runs_the_program() -> bool:
    """Whether this process is the command line: the installed program, or ``python -m tinygraph``."""
    program = str((getattr(sys, "argv", None) or [""])[0])
    if program == "-m":
        # Python looks for the module that -m names and imports its package.
        command = sys.orig_argv
        return "-m" in command and command[command.index("-m") + 1 :][:1] == [PROGRAM]
    return os.path.splitext(os.path.basename(program))[0] == PROGRAM


if _runs_the_program():
    take_over()
