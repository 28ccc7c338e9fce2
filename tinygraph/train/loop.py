"""Train and evaluate a model on data."""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from tinygraph.engines.processes import check_same, is_first, several, totals
from tinygraph.errors import AttributeValueError, ShortTraceback, TrainingError, counted
from tinygraph.graph import Array, integer
from tinygraph.interruption import raise_if_interrupted
from tinygraph.model.weights import described
from tinygraph.train.callbacks import Callback, EarlyStopping, as_callbacks, call_all
from tinygraph.train.checkpoint import Checkpoint, CheckpointFile, checkpoint_to_resume
from tinygraph.train.data import Data, DataSource, as_data, data_of, sample_count
from tinygraph.train.diagnosis import NotFiniteError
from tinygraph.train.feeds import as_model, feeds_of
from tinygraph.train.history import Best, History, Row
from tinygraph.train.measure import EVALUATION_BATCH, Feeds, batches, metrics_of, right_rows
from tinygraph.train.metrics import RunningMeans, decision_rule
from tinygraph.train.optimizers import Optimizer, as_optimizer
from tinygraph.train.progress import Progress, progress_line
from tinygraph.train.step import assign_all, initial_state, training_step
from tinygraph.train.update import current_rate, over

if TYPE_CHECKING:
    from tinygraph.engines import Choice
    from tinygraph.model import Model


class TrainingInterrupted(ShortTraceback, KeyboardInterrupt):
    """Ctrl-C during ``fit``. The parameters are those after the last complete step; ``history`` has the complete epochs.

    >>> issubclass(TrainingInterrupted, KeyboardInterrupt)
    True
    """

    def __init__(self, history: History) -> None:
        self.history = history
        super().__init__(f"training was interrupted after {counted(len(history), 'epoch')}")


class TrainingDiverged(TrainingError):
    """A value that is not finite during ``fit``. The parameters are those before the step; ``history`` has the complete epochs.

    >>> issubclass(TrainingDiverged, TrainingError)
    True
    """

    def __init__(self, message: str, history: History) -> None:
        self.history = history
        super().__init__(message)


def fit(
    model: Model,
    data: DataSource | None = None,
    optimizer: Optimizer | str | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    seed: int | None = None,
    callback: Callback | Sequence[Callback] | None = None,
    compiled: bool = True,
    progress: bool | None = None,
    checkpoint: str | PathLike[str] | CheckpointFile | None = None,
    resume: bool | str | PathLike[str] = False,
    kernels: str | None = None,
    engine: str = "plan",
    devices: int | None = None,
    precision: str = "full",
) -> History:
    """Train ``model`` in place and return the history of its epochs. Settings that are ``None`` are the model's ``[training]``.

    ``data`` is a ``Data``, a pair ``(x, y)``, the name of a built-in data set, or the path of a file or folder.
    ``optimizer`` may be a name, as for ``tg.train.make_optimizer``; the model's settings apply to the one that it names.
    The length of a schedule that has none is that of this training.
    Samples are the first axis; dtypes are cast to the model's. Each epoch shuffles the samples with
    ``default_rng([seed, epoch])``, and its last batch may be smaller than ``batch_size``. Training starts from the
    current parameters and the model's current state, with a new optimizer's state. The same parameters, state, data,
    settings and seed give the same bits on the same machine with the same number of threads (see ``tg.compile``).
    ``callback`` is a function, or a list of several, called with a ``Progress`` after each step and each epoch. It ends the
    training by raising ``tg.StopTraining``, as ``tg.EarlyStopping`` does; the ``stopped`` of the history says why.
    ``compiled=False`` uses plain evaluation: slower, equal to rounding. ``progress`` shows a line that is updated; by default
    only in a notebook, or where the error stream is a terminal. ``kernels`` are those of the steps, as for ``tg.compile``.

    ``engine``, ``devices`` and ``precision`` say what computes the steps, as for ``tg.compile``. After
    ``jax.distributed.initialize`` in several processes, each of them calls ``fit`` with the same arguments: it reads its own
    rows of every batch, and process 0 writes the checkpoints. The model holds the values of the devices after each epoch.

    ``checkpoint`` names a file that is written after each epoch, or each few if they are very short. ``resume=True``
    continues from it, if it exists, and ``resume=PATH`` from another file: weights and history are then, to the bit and but
    for the seconds, those of a training that was not interrupted. There may be more ``epochs``; other settings must be the
    same. Callbacks are called again with the last complete epoch. See ``train.checkpoint`` for the format.

    Raises ``DataError`` (see ``check_data``), ``WeightsError`` for a damaged checkpoint, ``TrainingError`` for
    one of another model, data or settings, ``AttributeValueError`` for settings out of range, and
    ``TrainingDiverged``, a ``TrainingError``, which names the first node whose value is not finite; the parameters then
    keep the values from before that step. Ctrl-C raises ``TrainingInterrupted``, a ``KeyboardInterrupt``. Both contain
    the history so far.

    >>> from tinygraph.model import load_model
    >>> from tinygraph.train import Adam
    >>> history = fit(load_model("xor"), "xor", Adam(0.1), epochs=100, batch_size=4, seed=0)
    >>> len(history), history[-1].accuracy
    (100, 1.0)
    """
    settings = as_model("fit", model).training
    show = progress_line(progress)
    calls: list[Callback] = [*filter(None, [show]), *as_callbacks(callback)]
    data = as_data(model, data_of(model) if data is None else data)
    optimizer = as_optimizer(model, optimizer)
    epochs = integer("epochs", settings.epochs if epochs is None else epochs)
    size = integer("batch_size", model.batch or settings.batch_size if batch_size is None else batch_size)
    seed = integer("seed", settings.seed if seed is None else seed, least=0)
    file = checkpoint if checkpoint is None or isinstance(checkpoint, CheckpointFile) else CheckpointFile(checkpoint)
    keeper = next((call for call in calls if isinstance(call, EarlyStopping) and call.restore_best), None)
    begun, best = checkpoint_to_resume(file, resume), Best() if keeper is None else keeper.rule
    on: Choice = {"kernels": kernels, "engine": engine, "devices": devices, "precision": precision}
    training = Epochs(model, data, optimizer, epochs, size, seed, compiled, best, **on)
    history = training.history
    if begun is not None:
        training.restore(*begun)
    if training.on_devices and several():
        training.check_same()
    file = file if is_first() or not training.on_devices else None
    try:
        for state in training:
            history.stopped = call_all(calls, state)
            if file is not None and state.row is not None:
                file.write(training.checkpoint, at_once=bool(history.stopped) or state.epoch >= epochs)
            if history.stopped:
                break
            raise_if_interrupted()
        training.pull()
    except KeyboardInterrupt:
        training.pull()
        raise TrainingInterrupted(history) from None
    finally:
        if show is not None:
            show.end()
    if keeper is not None and best.values:
        hold(model, best.values)
    return history


class Epochs:
    """A training under way: the step, what it changes, and the history of the complete epochs.

    Iteration trains, and yields the ``Progress`` after each step, and after each epoch that with its row.

    >>> from tinygraph.model import load_model
    >>> from tinygraph.train import load_data
    >>> model = load_model("xor")
    >>> training = Epochs(model, load_data("xor"), as_optimizer(model, "sgd"), 2, 4, seed=0, compiled=True, best=Best())
    >>> [(progress.epoch, progress.step, progress.row is None) for progress in training]
    [(1, 1, True), (1, 1, False), (2, 1, True), (2, 1, False)]
    """

    def __init__(
        self,
        model: Model,
        data: Data,
        optimizer: Optimizer,
        epochs: int,
        size: int,
        seed: int,
        compiled: bool,
        best: Best,
        **on: Unpack[Choice],
    ) -> None:
        self.on, self.on_devices = on, on.get("engine", "plan") != "plan"
        if self.on_devices and not compiled:
            raise TrainingError(f"the engine {on['engine']!r} compiles what it runs; found compiled=False")
        self.model, self.epochs, self.seed, self.compiled = model, epochs, seed, compiled
        model.classes = data.classes
        self.train, self.test = feeds_of(model, *data.train), _test_feeds(model, data)
        count = sample_count(self.train)
        self.size = min(size, count)
        self.optimizer = optimizer = over(optimizer, epochs * -(-count // self.size))
        self.state, self.history = initial_state(model, optimizer), History((), best, model.metric or "accuracy")
        prepare = partial(model.compile_step, **on) if compiled else partial(training_step, model)
        # The last batch may be smaller. A step on devices takes batches of all sizes.
        sizes = [n for n in (self.size, count % self.size) if n]
        first: Any = prepare(optimizer, self.size)
        if self.on_devices and self.size < count and self.size % (shares := len(first.devices.all)):
            found, more = counted(self.size, "sample"), self.size + -self.size % shares
            raise AttributeValueError(f"a batch of {found} is not shared equally by {shares} devices; one of {more} is")
        self._steps: dict[int, Any] = {
            n: first if n == self.size or self.on_devices else prepare(optimizer, n) for n in sizes
        }
        self._rule = decision_rule(model.record(self.size))

    def __iter__(self) -> Iterator[Progress]:
        if self.history:
            row, steps = self.history[-1], -(-sample_count(self.train) // self.size)
            yield Progress(row.epoch, self.epochs, steps, steps, row.loss, row.accuracy, row, self.history)
        for epoch in range(len(self.history) + 1, self.epochs + 1):
            yield from self._epoch(epoch)

    def _epoch(self, epoch: int) -> Iterator[Progress]:
        start, means, count = time.perf_counter(), RunningMeans(self.model.metric), sample_count(self.train)
        order = np.random.default_rng([self.seed, epoch]).permutation(count)
        steps, rights = -(-count // self.size), list[tuple[float, int, int]]()
        for step, chosen in enumerate(np.split(order, range(self.size, count, self.size)), start=1):
            taking: Any = self._steps[len(chosen)]
            # Of several processes, each reads its own rows of the batch.
            own = taking.rows(len(chosen)) if self.on_devices else slice(None)
            feeds = {name: array[chosen[own]] for name, array in self.train.items()}
            output, loss = self._moved(feeds, epoch, step, len(chosen))
            metric = taking.metric
            if metric is None and (right := right_rows(self._rule, output, feeds, own)) is not None:
                metric = float(right.mean())
                rights.append((float(right.sum()), right.size, len(chosen)))
            means.add(loss, metric, len(chosen))
            mean = means.metrics
            so_far = Progress(epoch, self.epochs, step, steps, mean.loss, mean.accuracy, history=self.history)
            yield so_far
        self.pull()
        if rights and self.on_devices and several():
            right, judged, sizes = np.transpose(rights)
            right, judged = totals(np.array([right, judged]))
            mean = replace(mean, accuracy=float((right / judged * sizes).sum() / count))
        size = self.model.batch or EVALUATION_BATCH
        tested = None if self.test is None else metrics_of(self.model, self.test, size, self.compiled, self.on)
        test_loss, test_accuracy = (tested.loss, tested.accuracy) if tested else (None, None)
        row = Row(epoch, mean.loss, mean.accuracy, test_loss, test_accuracy, time.perf_counter() - start)
        self.history.append(row)
        if self.history.best.add(row):
            self.history.best.values = held_by(self.model)
        yield replace(so_far, row=row)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What decides the bits of the weights, and must be the same when a training continues."""
        first, optimizer, best = next(batches(self.train, self.size)), self.optimizer, self.history.best
        return {
            "model": f"{self.model.name} in {self.model.declaration.dtype}",
            "equations": [equation.text for equation in self.model.record(self.size).equations],
            "metric": self.history.measure,
            "frozen": ", ".join(name for name in self.model.parameters if name not in self.model.trainable)
            or "nothing",
            # The default text of an object has its address.
            "optimizer": type(optimizer).__name__ if type(optimizer).__repr__ is object.__repr__ else repr(optimizer),
            "batch_size": self.size,
            "seed": self.seed,
            "samples": [sample_count(feeds) for feeds in (self.train, self.test) if feeds is not None],
            "first_samples": f"{zlib.crc32(b''.join(first[name].tobytes() for name in sorted(first))):08x}",
            "best_epoch": f"by {best.monitor}" + (f" and min_delta {best.min_delta:g}" if best.min_delta else ""),
        }

    def check_same(self) -> None:
        """Raise ``TrainingError`` if processes that train together do not begin with the same."""
        sums = {name: zlib.crc32(np.ascontiguousarray(value).data) for name, value in held_by(self.model).items()}
        check_same({"epochs": self.epochs, "checkpoint": len(self.history), **self.settings, **sums})

    def checkpoint(self) -> Checkpoint:
        """Return what this training continues from; call it after a complete epoch."""
        arrays = held_by(self.model) | {f"best/{name}": array for name, array in self.history.best.values.items()}
        for name, state in self.state.items():
            arrays |= {f"optimizer/{name}/{place}": array for place, array in enumerate(state)}
        return Checkpoint(arrays, self.history, self.settings, described(self.model.name, self.model.classes))

    def restore(self, begun: Checkpoint, path: Path) -> None:
        """Continue from a checkpoint. Raises ``TrainingError`` if it is of another training; then nothing has changed."""
        begun.check(self.checkpoint(), path)
        hold(self.model, begun.arrays)
        for name, state in self.state.items():
            self.state[name] = tuple(begun.arrays[f"optimizer/{name}/{place}"] for place in range(len(state)))
        for row in begun.history:
            self.history.best.add(row)
        self.history.extend(begun.history)
        best = {name.removeprefix("best/"): array for name, array in begun.arrays.items() if name.startswith("best/")}
        self.history.best.values = best

    def _moved(self, feeds: Feeds, epoch: int, step: int, count: int) -> tuple[Array, float]:
        """Do a step, and return output and loss from before it. Raises ``TrainingDiverged`` with a hint."""
        try:
            output, loss = self._steps[count](feeds, self.state, *([count] if self.on_devices else []))
            return output, loss
        except NotFiniteError as error:
            rate = current_rate(self.optimizer, self.state)
            hint = f"; a learning rate below {rate:g} may help" if rate else ""
            if epoch == step == 1 and not error.moving:
                hint = "; no parameter has moved yet: look at the size of the data and the initial values"
            raise TrainingDiverged(f"epoch {epoch}, step {step}: {error}{hint}", self.history) from None

    def pull(self) -> None:
        """Give the model the values that a step keeps on devices."""
        if self.on_devices:
            self._steps[self.size].pull()


def held_by(model: Model) -> dict[str, Array]:
    """Return the values of parameters and state by name."""
    return {name: tensor.value for name, tensor in {**model.parameters, **model.state}.items()}


def hold(model: Model, values: Mapping[str, Array]) -> None:
    """Give parameters and state the values that ``held_by`` returned."""
    assign_all([(tensor, values[name]) for name, tensor in {**model.parameters, **model.state}.items()])


def _test_feeds(model: Model, data: Data) -> dict[str, Array] | None:
    return None if data.test is None else feeds_of(model, *data.test, ("x_test", "y_test"))
