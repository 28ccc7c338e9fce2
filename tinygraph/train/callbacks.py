"""Callbacks: functions that ``fit`` calls after each step and each epoch, and that may end the training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from tinygraph.errors import AttributeValueError, TinygraphError, TrainingError, counted
from tinygraph.graph import integer
from tinygraph.train.feeds import type_name
from tinygraph.train.history import Best, History
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


class EarlyStopping:
    """A callback that ends the training when ``monitor`` has not improved for ``patience`` epochs.

    ``monitor`` is a column of the history: ``loss``, ``accuracy``, ``test_loss`` or ``test_accuracy``, which is the metric
    of a model that declares one. A loss improves if it falls by more than ``min_delta`` below the best one, an accuracy or a
    metric if it rises by more. With ``restore_best`` the model has the parameters and state of the best epoch when
    ``fit`` returns, not those of the last; of several callbacks, the first with it decides which epoch that is. The
    names are those of Keras. Raises ``AttributeValueError`` for a patience below 1 and a negative ``min_delta``,
    ``UnknownNameError`` for another column, and in the first epoch ``TrainingError`` for one that is not measured.

    >>> import tinygraph as tg
    >>> history = tg.fit(tg.load_model("xor"), epochs=500, callback=EarlyStopping(patience=3, min_delta=0.01))
    >>> print(history.stopped)
    test_loss has not improved for 3 epochs; the best is 0.1043 of epoch 44
    """

    def __init__(
        self, patience: int, monitor: str = "test_loss", min_delta: float = 0.0, restore_best: bool = False
    ) -> None:
        self.patience = integer("patience", patience)
        if not 0 <= min_delta < float("inf"):
            raise AttributeValueError(f"min_delta must not be negative; found {min_delta}")
        self.monitor, self.min_delta, self.restore_best = monitor, min_delta, restore_best
        self._best, self._history = self.rule, History()

    @property
    def rule(self) -> Best:
        """What finds the best epoch, before the first one."""
        return Best(self.monitor, self.min_delta)

    def __call__(self, progress: Progress) -> None:
        """Raise ``StopTraining`` if it is time."""
        if progress.row is None:
            return
        if getattr(progress.row, self.monitor) is None:
            raise TrainingError(f"early stopping looks at {self.monitor}, which is not measured in this training")
        new = [progress.row]
        if progress.history is not self._history:
            # Another training, perhaps one that continues: all of its epochs count.
            self._history, self._best, new = progress.history, self.rule, progress.history
        for row in new:
            self._best.add(row)
        best = self._best.row
        if progress.epoch - (0 if best is None else best.epoch) >= self.patience:
            found = "" if best is None else f"; the best is {getattr(best, self.monitor):.4g} of epoch {best.epoch}"
            raise StopTraining(f"{self.monitor} has not improved for {counted(self.patience, 'epoch')}{found}")


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


def call_all(callbacks: Sequence[Callback], progress: Progress) -> str:
    """Call every callback, and return why one of them ends the training, or an empty text."""
    reason = ""
    for callback in callbacks:
        try:
            callback(progress)
        except StopTraining as stop:
            reason = reason or str(stop) or "a callback ended the training"
    return reason
