"""Checkpoints: what a training needs to continue after a complete epoch, to the same bits, in one file.

A checkpoint is a safetensors file. Its tensors are the parameters and the state of the model, by their names, and

- ``optimizer/NAME/0``, ``optimizer/NAME/1``, ...: the optimizer's state of the parameter NAME,
- ``best/NAME``: parameters and state after the best epoch so far, if the data have a test part,
- ``history/COLUMN``: a column of the history, a number for each complete epoch. Columns that were not measured are absent.

Its metadata are those of weights and ``checkpoint``, the version of this format; ``epoch``, how many are complete; and
``settings``, a JSON object of what must stay the same. Whoever writes the file may add others.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
from tinygraph.train.step import OptimizerState

VERSION = "1"
# Writing takes at most about one part in so many of the time of a training.
SHARE = 10


@dataclass(frozen=True)
class Checkpoint:
    """A training after a complete epoch; the module describes its file. ``metadata`` are what is in the file beyond that.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "checkpoint.safetensors")
    >>> row = Row(1, 0.5, None, 0.25, None, seconds=1.5)
    >>> Checkpoint({"W": np.ones(2)}, {"W": (np.array(7),)}, {}, [row], {"seed": 0}, {"model": "net"}).save(path)
    >>> found = Checkpoint.load(path)
    >>> found.optimizer, found.history == [row], found.settings, found.metadata["model"]
    ({'W': (array(7),)}, True, {'seed': 0}, 'net')
    """

    values: Mapping[str, Array]
    optimizer: OptimizerState
    best: Mapping[str, Array]
    history: Sequence[Row]
    settings: Mapping[str, Any]
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def tensors(self) -> dict[str, Array]:
        """What the model and the optimizer hold, by the names in the file."""
        states = {f"optimizer/{name}/{i}": x for name, arrays in self.optimizer.items() for i, x in enumerate(arrays)}
        return {**self.values, **states}

    def save(self, path: str | PathLike[str]) -> None:
        """Write the file, complete or not at all. Raises ``WeightsError`` if it cannot be written."""
        columns = {column: [getattr(row, column) for row in self.history] for column in COLUMNS}
        arrays = self.tensors | {f"best/{name}": array for name, array in self.best.items()}
        arrays |= {f"history/{column}": np.array(x) for column, x in columns.items() if None not in x}
        own = {CHECKPOINT: VERSION, "epoch": str(len(self.history)), "settings": json.dumps(self.settings)}
        write_arrays(path, arrays, {**self.metadata, **own})

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Checkpoint:
        """Read a file. Raises ``WeightsError`` if it is missing, damaged, or no checkpoint."""
        arrays, metadata = read_arrays(path)
        if metadata.get(CHECKPOINT) != VERSION:
            found = f"version {metadata[CHECKPOINT]}" if CHECKPOINT in metadata else "weights or other arrays"
            raise WeightsError(f"{path}: not a checkpoint of version {VERSION}; found {found}")
        parts: dict[str, dict[str, Array]] = {"": {}, "optimizer": {}, "best": {}, "history": {}}
        for name, array in arrays.items():
            part, slash, rest = name.partition("/")
            parts.setdefault(part if slash else "", {})[rest or name] = array
        optimizer: OptimizerState = {}
        try:
            for key in sorted(parts["optimizer"], key=lambda key: int(key.rpartition("/")[2])):
                name = key.rpartition("/")[0]
                optimizer[name] = (*optimizer.get(name, ()), parts["optimizer"][key])
            measured, count = parts["history"], len(parts["history"]["epoch"])
            columns = [measured[column].tolist() if column in measured else [None] * count for column in COLUMNS]
            rows = [Row(*cells) for cells in zip(*columns, strict=True)]
            settings = dict(json.loads(metadata["settings"]))
        except (KeyError, ValueError, TypeError, RecursionError) as error:
            raise WeightsError(f"{path}: damaged checkpoint: {type(error).__name__} {error}") from None
        return cls(parts[""], optimizer, parts["best"], rows, settings, metadata)

    def check(self, now: Checkpoint, path: str | PathLike[str]) -> None:
        """Raise ``TrainingError`` if the training at ``now`` cannot continue from this checkpoint, read from ``path``."""
        pairs: dict[str, tuple[Any, ...]] = {name: (self.settings.get(name), x) for name, x in now.settings.items()}
        forms = [{name: f"{x.dtype} {x.shape}" for name, x in side.tensors.items()} for side in (self, now)]
        pairs |= {f"the tensor {name!r}": tuple(form.get(name) for form in forms) for name in forms[0] | forms[1]}
        for what, (before, found) in pairs.items():
            if isinstance(before, list) and isinstance(found, list):
                before, found = next((pair for pair in zip_longest(before, found) if pair[0] != pair[1]), (0, 0))
            if before != found:
                other = f"{what.replace('_', ' ')} is {before} there and {found} here"
                advice = "give the same settings, or train again without resuming"
                raise TrainingError(f"{path}: the checkpoint is of another training: {other}; {advice}")


class CheckpointFile:
    """The file to which a training writes its checkpoints, and ``metadata`` that are noted in them.

    After a short epoch nothing is written where writing would take more than a tenth of the time. If the file cannot be
    written, that is a warning, and the training goes on. ``written`` says whether it has been written.

    >>> CheckpointFile("/nowhere/run.safetensors")
    Traceback (most recent call last):
    tinygraph.errors.TinygraphError: '/nowhere/run.safetensors' cannot be written: there is no folder '/nowhere'
    """

    def __init__(self, path: str | PathLike[str], metadata: Mapping[str, str] | None = None) -> None:
        self.path, self.metadata, self.written, self._rest = as_path(path), metadata or {}, False, 0.0
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
            replace(checkpoint, metadata={**checkpoint.metadata, **self.metadata}).save(self.path)
            self.written = True
        except WeightsError as error:
            warnings.warn(f"{error}; the training goes on without a checkpoint", stacklevel=2)
        end = time.monotonic()
        self._rest = end + SHARE * (end - start)


def checkpoint_to_resume(file: CheckpointFile | None, resume: Any) -> tuple[Checkpoint, Path] | None:
    """Return the checkpoint to continue from, and its path: ``resume`` is a path, or ``True`` for ``file``, if that exists.

    >>> checkpoint_to_resume(None, resume=False)
    """
    if resume is False or resume is None:
        return None
    if resume is True and file is None:
        raise TinygraphError("resume=True continues from the file that checkpoint= names, and it names none")
    path = file.path if resume is True and file is not None else as_path(resume)
    return None if resume is True and not path.exists() else (Checkpoint.load(path), path)
