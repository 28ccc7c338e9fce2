"""Train and evaluate a model on data."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from tinygraph.engines.predict import in_parts
from tinygraph.errors import TinygraphError, TrainingError
from tinygraph.graph import MEAN, Array, Each, run
from tinygraph.graph.attributes import integer
from tinygraph.interruption import raise_if_interrupted
from tinygraph.train.data import Data, DataSource, as_data, data_of
from tinygraph.train.diagnosis import NotFiniteError
from tinygraph.train.feeds import as_model, feeds_of, type_name
from tinygraph.train.history import History, Row
from tinygraph.train.labels import DecisionRule, decision_rule
from tinygraph.train.metrics import Metrics, RunningMeans
from tinygraph.train.optimizers import Optimizer, as_optimizer
from tinygraph.train.step import OptimizerState, Step, initial_state, training_step

if TYPE_CHECKING:
    from tinygraph.model import Model

Feeds: TypeAlias = Mapping[str, Array]
EVALUATION_BATCH = 256


@dataclass(frozen=True)
class Progress:
    """The progress of a training: ``fit`` calls its callback with it after each step, and with ``row`` after each epoch.

    ``epoch`` counts from 1, and so does ``step`` in each epoch. ``loss`` and ``accuracy`` (0 to 1, or ``None``) are means
    over the epoch so far.

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


Callback: TypeAlias = Callable[[Progress], object]


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C during ``fit``. The parameters are those after the last complete step; ``history`` has the complete epochs.

    >>> issubclass(TrainingInterrupted, KeyboardInterrupt)
    True
    """

    def __init__(self, history: History) -> None:
        self.history = history
        super().__init__(f"training was interrupted after {len(history)} epoch{'' if len(history) == 1 else 's'}")


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
    callback: Callback | None = None,
    compiled: bool = True,
) -> History:
    """Train ``model`` in place and return the history of its epochs. Settings that are ``None`` are the model's ``[training]``.

    ``data`` is a ``Data``, a pair ``(x, y)``, the name of a built-in data set, or the path of an ``.npz`` file.
    ``optimizer`` may be a name, ``"sgd"`` or ``"adam"``; the model's settings apply to the one that the model names.
    Samples are the first axis; dtypes are cast to the model's. Each epoch shuffles the samples with
    ``default_rng([seed, epoch])``, and its last batch may be smaller than ``batch_size``. Training starts from the
    current parameters and the model's current state, with a new optimizer's state. The same parameters, state, data,
    settings and seed give the same bits on the same machine with the same number of threads (see ``tg.compile``).
    ``callback`` is called with a ``Progress``. ``compiled=False`` uses plain evaluation: slower, equal to rounding.

    Raises ``DataError`` (see ``check_data``), ``AttributeValueError`` for settings out of range, and
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
    if callback is not None and not callable(callback):
        raise TinygraphError(f"callback must be a function of one Progress; found {type_name(callback)}")
    trainer = Trainer(
        model,
        as_data(model, data_of(model) if data is None else data),
        as_optimizer(model, optimizer),
        integer("epochs", settings.epochs if epochs is None else epochs),
        integer("batch_size", model.batch or settings.batch_size if batch_size is None else batch_size),
        integer("seed", settings.seed if seed is None else seed, least=0),
        callback,
        compiled,
    )
    try:
        for epoch in range(1, trainer.epochs + 1):
            trainer.epoch(epoch)
    except KeyboardInterrupt:
        raise TrainingInterrupted(trainer.history) from None
    return trainer.history


def evaluate(model: Model, data: DataSource, batch_size: int = EVALUATION_BATCH, compiled: bool = True) -> Metrics:
    """Return mean loss, accuracy and number of samples of ``model`` on data: the test part of a ``Data``, or a pair ``(x, y)``.

    The model is evaluated as in prediction: dropout does nothing, and batch normalization uses its running statistics.
    ``data`` is given as for ``fit``; a ``Data`` without a test part is evaluated on its training part. If the loss is a
    mean over samples, batches of ``batch_size`` bound the memory; otherwise all samples are evaluated together, because
    the result would differ. For a model with a fixed batch size the loss is the mean over its batches.
    ``compiled=False`` uses plain evaluation. Raises ``DataError``, and ``TrainingError`` for a model without a loss or with
    a parameter that holds NaN.

    >>> from tinygraph.model import load_model
    >>> evaluate(load_model("xor"), "xor").count
    4
    """
    data = as_data(as_model("evaluate", model), data)
    _refuse_nan(model)
    size = integer("batch_size", model.batch or batch_size)
    return _metrics(model, _test_feeds(model, data) or feeds_of(model, *data.train), size, compiled)


@dataclass
class Trainer:
    """A training in progress: the model's inputs, a step for each batch size, the optimizer's state, the history."""

    model: Model
    data: Data
    optimizer: Optimizer
    epochs: int
    batch_size: int
    seed: int
    callback: Callback | None
    compiled: bool

    def __post_init__(self) -> None:
        model = self.model
        self.train, self.test = feeds_of(model, *self.data.train), _test_feeds(model, self.data)
        self.count = _count(self.train)
        self.batch_size = min(self.batch_size, self.count)
        sizes = (self.batch_size, self.count % self.batch_size)
        prepare = model.compile_step if self.compiled else partial(training_step, model)
        self.steps: dict[int, Step] = {size: prepare(self.optimizer, size) for size in sizes if size}
        self.state: OptimizerState = initial_state(model, self.optimizer)
        self.rule = decision_rule(model.record(self.batch_size))
        self.history = History()

    def epoch(self, epoch: int) -> None:
        """Train on every sample once, evaluate on the test part, and add the epoch's row to the history."""
        start = time.perf_counter()
        means = RunningMeans()
        order = np.random.default_rng([self.seed, epoch]).permutation(self.count)
        steps = -(-self.count // self.batch_size)
        for step, feeds in enumerate(batches(self.train, self.batch_size, order), start=1):
            count = _count(feeds)
            try:
                output, loss = self.steps[count](feeds, self.state)
            except NotFiniteError as error:
                rate = getattr(self.optimizer, "learning_rate", None)
                hint = f"; a learning rate below {rate:g} may help" if rate else ""
                if epoch == step == 1 and not error.moving:
                    hint = "; no parameter has moved yet: look at the size of the data and the initial values"
                raise TrainingDiverged(f"epoch {epoch}, step {step}: {error}{hint}", self.history) from None
            means.add(loss, _share(self.rule, output, feeds), count)
            train = means.metrics
            self._report(Progress(epoch, self.epochs, step, steps, train.loss, train.accuracy))
        test_loss = test_accuracy = None
        if self.test is not None:
            test = _metrics(self.model, self.test, self.model.batch or EVALUATION_BATCH, self.compiled)
            test_loss, test_accuracy = test.loss, test.accuracy
        row = Row(epoch, train.loss, train.accuracy, test_loss, test_accuracy, time.perf_counter() - start)
        self.history.append(row)
        self._report(Progress(epoch, self.epochs, steps, steps, train.loss, train.accuracy, row))

    def _report(self, progress: Progress) -> None:
        if self.callback is not None:
            self.callback(progress)
        raise_if_interrupted()


def batches(feeds: Feeds, batch_size: int, order: Array | None = None) -> Iterator[dict[str, Array]]:
    """Yield the samples of ``feeds`` in batches, in their own order or in ``order``; the last batch may be smaller.

    >>> [batch["x"].tolist() for batch in batches({"x": np.array([5, 6, 7])}, 2, np.array([2, 0, 1]))]
    [[7, 5], [6]]
    """
    for start in range(0, _count(feeds), batch_size):
        chosen = slice(start, start + batch_size)
        yield {name: array[chosen if order is None else order[chosen]] for name, array in feeds.items()}


def _refuse_nan(model: Model) -> None:
    for name, tensor in {**model.parameters, **model.state}.items():
        count = int(np.isnan(tensor.value).sum())
        if count:
            raise TrainingError(
                f"{tensor.kind} {name!r} of model {model.name!r} holds NaN in {count} of {tensor.size} elements, so every "
                "result would be NaN or meaningless; load other weights, or train again with a lower learning rate"
            )


def _test_feeds(model: Model, data: Data) -> dict[str, Array] | None:
    return None if data.test is None else feeds_of(model, *data.test, ("x_test", "y_test"))


def _metrics(model: Model, feeds: Feeds, batch_size: int, compiled: bool) -> Metrics:
    if model.batch is None and not _means_over_samples(model, _count(feeds), batch_size):
        batch_size = _count(feeds)
    means = RunningMeans()
    for batch in batches(feeds, batch_size):
        raise_if_interrupted()
        recording = model.record(_count(batch))
        if recording.loss is None:
            raise TrainingError(f"the model {model.name!r} declares no loss, so there is nothing to evaluate")
        known = recording.graph.inputs
        with np.errstate(all="ignore"):
            evaluated = model.plan_for(_count(batch)) if compiled else partial(run, recording.graph)
            outputs = evaluated({name: array for name, array in batch.items() if name in known})
        means.add(float(outputs[-1]), _share(decision_rule(recording), outputs[0], batch), _count(batch))
    return means.metrics


def _means_over_samples(model: Model, total: int, batch_size: int) -> bool:
    """Whether the loss of all samples is the mean of the losses of batches, and each sample has its own output."""
    if total <= batch_size or model.loss is None:
        return True
    found = in_parts(model, total, batch_size)
    return found is not None and isinstance(found[0].state, Each) and found[1].state is MEAN


def _share(rule: DecisionRule | None, output: Array, feeds: Feeds) -> float | None:
    """Return the share of right decisions in a batch, or ``None`` if the output is not a decision."""
    if rule is None or rule.labels is None:
        return None
    return float(rule.right(output, feeds[rule.labels]).mean())


def _count(feeds: Feeds) -> int:
    return len(next(iter(feeds.values())))
