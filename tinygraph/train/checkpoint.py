"""Checkpoints: what a training needs to continue after a complete epoch, to the same bits, in one file.

A checkpoint is a safetensors file. Its tensors are the parameters and the state of the model, by their names, and

- ``optimizer/NAME/0``, ``optimizer/NAME/1``, ...: the optimizer's state of the parameter NAME,
- ``best/NAME``: parameters and state after the best epoch so far, if the data have a test part,
- ``history/COLUMN``: a column of the history, a number for each complete epoch. Columns that were not measured are absent.

Its metadata are those of weights and ``checkpoint``, the version of this format; ``epoch``, how many are complete; and
``settings``, a JSON object of what must stay the same (``Epochs.settings``), with notes of the writer.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from tinygraph.errors import TinygraphError, TrainingError, WeightsError
from tinygraph.files import as_path, check_writable
from tinygraph.graph import Array
from tinygraph.model.weights import CHECKPOINT, read_arrays, write_arrays
from tinygraph.train.history import COLUMNS, Row

VERSION = "1"
# Writing takes at most about one part in so many of the time of a training.
SHARE = 10


@dataclass(frozen=True)
class Checkpoint:
    """A training after a complete epoch. ``arrays`` are the tensors of the file but for the history; see the module.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "checkpoint.safetensors")
    >>> row = Row(1, 0.5, None, 0.25, None, seconds=1.5)
    >>> Checkpoint({"W": np.ones(2), "optimizer/W/0": np.array(7)}, [row], {"seed": 0}, {"model": "net"}).save(path)
    >>> found = Checkpoint.load(path)
    >>> found.arrays["optimizer/W/0"], found.history == [row], found.settings, found.metadata["model"]
    (array(7), True, {'seed': 0}, 'net')
    """

    arrays: Mapping[str, Array]
    history: Sequence[Row]
    settings: Mapping[str, Any]
    metadata: Mapping[str, str]

    def save(self, path: str | PathLike[str]) -> None:
        """Write the file, complete or not at all. Raises ``WeightsError`` if it cannot be written."""
        columns = {f"history/{name}": [getattr(row, name) for row in self.history] for name in COLUMNS}
        arrays = {**self.arrays, **{name: np.array(column) for name, column in columns.items() if None not in column}}
        settings = json.dumps(self.settings, default=str)
        metadata = {CHECKPOINT: VERSION, "epoch": str(len(self.history)), "settings": settings}
        write_arrays(path, arrays, {**self.metadata, **metadata})

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Checkpoint:
        """Read a file. Raises ``WeightsError`` if it is missing, damaged, or no checkpoint."""
        arrays, metadata = read_arrays(path)
        if metadata.get(CHECKPOINT) != VERSION:
            raise WeightsError(f"{path}: not a checkpoint of version {VERSION}; its metadata are {dict(metadata)}")
        try:
            none = np.full(len(arrays["history/epoch"]), None)
            columns = [arrays.pop(f"history/{name}", none).tolist() for name in COLUMNS]
            rows = [Row(*cells) for cells in zip(*columns, strict=True)]
            return cls(arrays, rows, dict(json.loads(metadata["settings"])), metadata)
        except (KeyError, ValueError, TypeError, RecursionError) as error:
            raise WeightsError(f"{path}: damaged checkpoint: {type(error).__name__} {error}") from None

    def check(self, now: Checkpoint, path: str | PathLike[str]) -> None:
        """Raise ``TrainingError`` if the training at ``now`` cannot continue from this checkpoint, read from ``path``."""
        pairs: dict[str, tuple[Any, ...]] = {name: (self.settings.get(name), x) for name, x in now.settings.items()}
        forms = [{name: f"{x.dtype} {x.shape}" for name, x in side.arrays.items()} for side in (self, now)]
        names = [name for name in sorted(forms[0] | forms[1]) if not name.startswith("best/")]
        pairs |= {f"the tensor {name!r}": (forms[0].get(name), forms[1].get(name)) for name in names}
        for what, (before, found) in pairs.items():
            if isinstance(before, list) and isinstance(found, list):
                before, found = next((pair for pair in zip_longest(before, found) if pair[0] != pair[1]), (0, 0))
            if before != found:
                other = f"{what.replace('_', ' ')} is {before} there and {found} here"
                epochs = ", the number of epochs too" if "Decay(" in str(found) else ""
                advice = f"give the same settings{epochs}, or train again without resuming"
                raise TrainingError(f"{path}: the checkpoint is of another training: {other}; {advice}")


class CheckpointFile:
    """The file to which a training writes its checkpoints, and ``notes`` that stand among their settings.

    After a short epoch nothing is written where writing would take more than a tenth of the time. If the file cannot be
    written, that is a warning, and the training goes on. ``written`` says whether it has been written.

    >>> CheckpointFile("/nowhere/run.safetensors")
    Traceback (most recent call last):
    tinygraph.errors.TinygraphError: '/nowhere/run.safetensors' cannot be written: there is no folder '/nowhere'
    """

    def __init__(self, path: str | PathLike[str], **notes: Any) -> None:
        self.path, self.notes, self.written, self._rest = as_path(path), notes, False, 0.0
        try:
            check_writable(self.path)
        except OSError as error:
            raise TinygraphError(f"{str(path)!r} cannot be written: {error.strerror}") from None

    def write(self, now: Callable[[], Checkpoint], at_once: bool = False) -> None:
        """Write a checkpoint, ``at_once`` or if the last one is long enough ago."""
        start = time.monotonic()
        if not at_once and start < self._rest:
            return
        try:
            checkpoint = now()
            replace(checkpoint, settings={**checkpoint.settings, **self.notes}).save(self.path)
            self.written = True
        except WeightsError as error:
            warnings.warn(f"{error}; the training goes on without a checkpoint", stacklevel=2)
        end = time.monotonic()
        self._rest = end + SHARE * (end - start)


def checkpoint_to_resume(file: CheckpointFile | None, resume: Any) -> tuple[Checkpoint, Path] | None:
    """Return the checkpoint to continue from, and its path: ``resume`` is a path, or ``True`` for ``file``, if that exists.

    >>> checkpoint_to_resume(None, resume=False)
    """
    if not resume:
        return None
    if resume is not True:
        return Checkpoint.load(resume), as_path(resume)
    if file is None:
        raise TinygraphError("resume=True continues from the file that checkpoint= names, and it names none")
    return (Checkpoint.load(file.path), file.path) if file.path.exists() else None
