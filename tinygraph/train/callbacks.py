"""Callbacks: functions that ``fit`` calls after each step and each epoch, and that may end the training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from tinygraph.errors import TinygraphError
from tinygraph.train.feeds import type_name
from tinygraph.train.progress import Progress

Callback: TypeAlias = Callable[[Progress], object]


class StopTraining(Exception):
    """Raised by a callback to end the training: ``fit`` then returns the history, whose ``stopped`` is the message.

    The parameters are those after the last step; raise it where ``progress.row`` is given to end with a complete epoch.

    >>> import tinygraph as tg
    >>> def until_good(progress):
    ...     if progress.row is not None and progress.row.loss < 0.5:
    ...         raise StopTraining(f"the loss is {progress.row.loss:.1f}")
    >>> history = tg.fit(tg.load_model("xor"), epochs=500, callback=until_good)
    >>> history.stopped, len(history) < 500
    ('the loss is 0.5', True)
    """


def as_callbacks(given: Any) -> list[Callback]:
    """Return one callback, several, or ``None`` as a list.

    >>> as_callbacks(None), len(as_callbacks([print, print]))
    ([], 2)
    """
    several = list(given) if isinstance(given, Sequence) else [] if given is None else [given]
    for one in several:
        if not callable(one) or isinstance(one, type):
            raise TinygraphError(f"callback must be a function of one Progress; found {type_name(one)}")
    return several


def call_all(callbacks: Sequence[Callback], progress: Progress) -> None:
    """Call every callback. One that ends the training does so after the others have been called."""
    stops = []
    for callback in callbacks:
        try:
            callback(progress)
        except StopTraining as stop:
            stops.append(stop)
    if stops:
        raise stops[0]
