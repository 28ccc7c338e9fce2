"""Train and evaluate a model on data."""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from tinygraph.engines.predict import in_parts
from tinygraph.errors import ShortTraceback, TrainingError, counted
from tinygraph.graph import MEAN, Array, Each, integer, run
from tinygraph.interruption import raise_if_interrupted
from tinygraph.model.weights import described
from tinygraph.train.callbacks import Callback, EarlyStopping, as_callbacks, call_all
from tinygraph.train.checkpoint import Checkpoint, CheckpointFile, checkpoint_to_resume
from tinygraph.train.data import Data, DataSource, PartName, as_data, data_of, sample_count
from tinygraph.train.diagnosis import NotFiniteError
from tinygraph.train.evaluation import evaluation_of
from tinygraph.train.feeds import as_model, feeds_of
from tinygraph.train.history import Best, History, Row
from tinygraph.train.metrics import DecisionRule, Metrics, RunningMeans, decision_rule
from tinygraph.train.optimizers import Optimizer, as_optimizer
from tinygraph.train.progress import Progress, progress_line
from tinygraph.train.step import Step, assign_all, initial_state, training_step
from tinygraph.train.update import current_rate, over

if TYPE_CHECKING:
    from tinygraph.model import Model

Feeds: TypeAlias = Mapping[str, Array]
EVALUATION_BATCH = 256


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
    training = Epochs(model, data, optimizer, epochs, size, seed, compiled, best, kernels)
    history = training.history
    if begun is not None:
        training.restore(*begun)
    try:
        for state in training:
            history.stopped = call_all(calls, state)
            if file is not None and state.row is not None:
                file.write(training.checkpoint, at_once=bool(history.stopped) or state.epoch >= epochs)
            if history.stopped:
                break
            raise_if_interrupted()
    except KeyboardInterrupt:
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
        kernels: str | None = None,
    ) -> None:
        self.model, self.epochs, self.seed, self.compiled = model, epochs, seed, compiled
        model.classes = data.classes
        self.train, self.test = feeds_of(model, *data.train), _test_feeds(model, data)
        count = sample_count(self.train)
        self.size = min(size, count)
        self.optimizer = optimizer = over(optimizer, epochs * -(-count // self.size))
        self.state, self.history = initial_state(model, optimizer), History((), best, model.metric or "accuracy")
        prepare = partial(model.compile_step, kernels=kernels) if compiled else partial(training_step, model)
        # The last batch may be smaller.
        self._steps: dict[int, Step] = {n: prepare(optimizer, n) for n in (self.size, count % self.size) if n}
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
        for step, feeds in enumerate(batches(self.train, self.size, order), start=1):
            output, loss = self._moved(feeds, epoch, step)
            metric = self._steps[sample_count(feeds)].metric
            means.add(loss, _share(self._rule, output, feeds) if metric is None else metric, sample_count(feeds))
            mean = means.metrics
            steps = -(-count // self.size)
            so_far = Progress(epoch, self.epochs, step, steps, mean.loss, mean.accuracy, history=self.history)
            yield so_far
        size = self.model.batch or EVALUATION_BATCH
        tested = None if self.test is None else _metrics(self.model, self.test, size, self.compiled)
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

    def _moved(self, feeds: Feeds, epoch: int, step: int) -> tuple[Array, float]:
        """Do a step, and return output and loss from before it. Raises ``TrainingDiverged`` with a hint."""
        try:
            return self._steps[sample_count(feeds)](feeds, self.state)
        except NotFiniteError as error:
            rate = current_rate(self.optimizer, self.state)
            hint = f"; a learning rate below {rate:g} may help" if rate else ""
            if epoch == step == 1 and not error.moving:
                hint = "; no parameter has moved yet: look at the size of the data and the initial values"
            raise TrainingDiverged(f"epoch {epoch}, step {step}: {error}{hint}", self.history) from None


def evaluate(
    model: Model,
    data: DataSource,
    batch_size: int = EVALUATION_BATCH,
    compiled: bool = True,
    part: PartName = "test",
) -> Metrics:
    """Return how good ``model`` is on data: on a ``part`` of a ``Data``, or on a pair ``(x, y)``.

    The ``Metrics`` have the mean loss, the accuracy and the number of samples. If the outputs can be compared with labels,
    they are an ``Evaluation``: with the confusion, and precision, recall and F1 of each class, or with MAE, RMSE and R2.
    ``print`` shows all of it, and the worst mistakes.

    The model is evaluated as in prediction: dropout does nothing, and batch normalization uses its running statistics.
    ``data`` is given as for ``fit``; the test part of a ``Data`` without one is its training part. If the loss is a
    mean over samples, batches of ``batch_size`` bound the memory; otherwise all samples are evaluated together, because
    the result would differ. For a model with a fixed batch size the loss is the mean over its batches.
    ``compiled=False`` uses plain evaluation. Raises ``DataError``, and ``TrainingError`` for a model without a loss or with
    a parameter that holds NaN.

    >>> from tinygraph.model import load_model
    >>> found = evaluate(load_model("xor"), "xor")
    >>> found.count, found.confusion.sum()
    (4, np.int64(4))
    """
    data = as_data(as_model("evaluate", model), data)
    for name, tensor in {**model.parameters, **model.state}.items():
        count = int(np.isnan(tensor.value).sum())
        if count:
            found = f"{tensor.kind} {name!r} of model {model.name!r} holds NaN in {count} of {tensor.size} elements"
            advice = "load other weights, or train again with a lower learning rate"
            raise TrainingError(f"{found}, so every result would be NaN or meaningless; {advice}")
    size, outputs = integer("batch_size", model.batch or batch_size), list[Array]()
    x, y, numbers = data.part(part)
    feeds = feeds_of(model, x, y, ("x_test", "y_test") if part == "test" and data.test is not None else ("x", "y"))
    metrics = _metrics(model, feeds, size, compiled, outputs)
    if any(output.ndim == 0 for output in outputs) or sum(map(len, outputs)) != metrics.count:
        # There is no output for each sample.
        return metrics
    return evaluation_of(model, metrics, np.concatenate(outputs), feeds, numbers)


def batches(feeds: Feeds, batch_size: int, order: Array | None = None) -> Iterator[dict[str, Array]]:
    """Yield the samples of ``feeds`` in batches, in their own order or in ``order``; the last batch may be smaller.

    >>> [batch["x"].tolist() for batch in batches({"x": np.array([5, 6, 7])}, 2, np.array([2, 0, 1]))]
    [[7, 5], [6]]
    """
    for start in range(0, sample_count(feeds), batch_size):
        chosen = slice(start, start + batch_size)
        yield {name: array[chosen if order is None else order[chosen]] for name, array in feeds.items()}


def held_by(model: Model) -> dict[str, Array]:
    """Return the values of parameters and state by name."""
    return {name: tensor.value for name, tensor in {**model.parameters, **model.state}.items()}


def hold(model: Model, values: Mapping[str, Array]) -> None:
    """Give parameters and state the values that ``held_by`` returned."""
    assign_all([(tensor, values[name]) for name, tensor in {**model.parameters, **model.state}.items()])


def _test_feeds(model: Model, data: Data) -> dict[str, Array] | None:
    return None if data.test is None else feeds_of(model, *data.test, ("x_test", "y_test"))


def _metrics(
    model: Model, feeds: Feeds, batch_size: int, compiled: bool, collected: list[Array] | None = None
) -> Metrics:
    """Return the metrics of samples, and add the output of each batch to ``collected``."""
    count = sample_count(feeds)
    if model.batch is None and model.loss is not None and count > batch_size:
        # Loss and metric must be means of those of batches, and each sample must have its own output.
        parts = [tiling.state for tiling in in_parts(model, count, batch_size) or ()]
        if not parts or not isinstance(parts[0], Each) or any(x is not MEAN and not isinstance(x, Each) for x in parts):
            batch_size = count
    means = RunningMeans(model.metric)
    for batch in batches(feeds, batch_size):
        raise_if_interrupted()
        recording = model.record(sample_count(batch))
        if recording.loss is None:
            raise TrainingError(f"the model {model.name!r} declares no loss, so there is nothing to evaluate")
        known = recording.graph.inputs
        with np.errstate(all="ignore"):
            evaluated = model.plan_for(sample_count(batch)) if compiled else partial(run, recording.graph)
            outputs = evaluated({name: array for name, array in batch.items() if name in known})
        if collected is not None:
            collected.append(outputs[0])
        found = dict(zip(recording.graph.outputs, outputs, strict=True))
        share = _share(decision_rule(recording), outputs[0], batch)
        metric = share if recording.metric is None else float(np.mean(found[recording.metric]))
        means.add(float(found[recording.loss]), metric, sample_count(batch))
    return means.metrics


def _share(rule: DecisionRule | None, output: Array, feeds: Feeds) -> float | None:
    """Return the share of right decisions in a batch, or ``None`` if the output is not a decision."""
    if rule is None or rule.labels is None:
        return None
    return float(rule.right(output, feeds[rule.labels]).mean())
