"""A training step as one graph: forward, loss, gradients, and the optimizer's update recorded as operations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from tinygraph.engines.plan.compiled import Compiled
from tinygraph.engines.plan.schedule import Schedule, described, schedule_of
from tinygraph.engines.plan.threads import thread_count
from tinygraph.errors import FeedError, TinygraphError, TrainingError, listing, nearest
from tinygraph.graph.arrays import Array, all_finite
from tinygraph.graph.attributes import whole
from tinygraph.graph.backprop import gradients_of
from tinygraph.graph.graph import Graph, topological
from tinygraph.graph.leaves import input as declare_input
from tinygraph.graph.run import bind, require_feeds, run
from tinygraph.graph.tensor import Tensor
from tinygraph.model.values import samples_in
from tinygraph.train.arguments import as_optimizer
from tinygraph.train.diagnosis import NotFiniteError, first_not_finite
from tinygraph.train.feeds import as_model
from tinygraph.train.optimizers import Optimizer, Update, check_rate, check_settings, rate_of, record_updates, with_rate

if TYPE_CHECKING:
    from tinygraph.model import Model, Recording

# The optimizer's state of each parameter, by the parameter's name; a step replaces its entries.
OptimizerState: TypeAlias = dict[str, tuple[Array, ...]]
# One step on a batch given by the inputs' names: moves the parameters and the state, and returns output and loss from before.
Step: TypeAlias = Callable[[Mapping[str, Array], OptimizerState], tuple[Array, float]]


def initial_state(model: Model, optimizer: Optimizer | str | None) -> OptimizerState:
    """Return the optimizer's state of every parameter before the first step, by the parameters' names.

    The optimizer is given as for ``fit``.

    >>> from types import SimpleNamespace
    >>> from tinygraph.train.optimizers import SGD
    >>> model = SimpleNamespace(parameters={"W": np.zeros(2)})
    >>> initial_state(model, SGD(momentum=0.9))
    {'W': (array([0., 0.]),)}
    """
    optimizer = as_optimizer(model, optimizer)
    return {name: optimizer.initial_state(parameter) for name, parameter in model.parameters.items()}


def training_step(model: Model, optimizer: Optimizer | str | None, batch_size: int) -> Step:
    """Return the function that does one whole training step on ``batch_size`` samples by plain evaluation: the reference.

    ``output, loss = step(feeds, state)`` takes the model's inputs by name, in their dtypes, and the state that
    ``initial_state`` made; it gives every parameter, that state and the model's own their new values and returns output and
    loss as they were before. All move or none does: a value that is not finite anywhere raises ``TrainingError``,
    which names the first node that has one, and changes nothing.

    >>> from tinygraph.model import load_model
    >>> from tinygraph.train import SGD, load_data
    >>> model, optimizer, (x, y) = load_model("xor"), SGD(0.5), load_data("xor").train
    >>> step, state = training_step(model, optimizer, batch_size=4), initial_state(model, optimizer)
    >>> losses = [step({"x": x, "y": y}, state)[1] for _ in range(10)]
    >>> losses[-1] < losses[0]
    True
    """
    rule = as_optimizer(as_model("training_step", model), optimizer)
    return RecordedStep.record(model, rule, whole("batch_size", batch_size))


@dataclass(frozen=True)
class RecordedStep:
    """A training step as a graph with the outputs ``output, loss``, then each update's new value and new state of the
    optimizer, then the new values of the model's state.

    Calling it evaluates the graph node by node, as the operations say. ``rate`` is the input for the learning rate, ``None``
    where the optimizer has none that could be one.
    """

    graph: Graph
    recording: Recording
    updates: tuple[Update, ...]
    optimizer: Optimizer
    rate: Tensor | None = None
    model_state: tuple[Tensor, ...] = ()

    @classmethod
    def record(cls, model: Model, optimizer: Optimizer, batch_size: int) -> RecordedStep:
        """Record the step of a model on ``batch_size`` samples."""
        model.check_batch(batch_size)
        # A fresh recording: one made before the parameters last moved may hold values computed from the old ones.
        recording = model.trace(
            {name: declare_input(name, i.batch_shape(batch_size), i.dtype) for name, i in model.inputs.items()},
            training=True,
        )
        if recording.loss is None:
            raise TrainingError(f"the model {model.name!r} declares no loss, so there is nothing to train on")
        found = gradients_of(recording.loss, list(model.parameters.values()))
        gradients = {name: (p, found[p]) for name, p in model.parameters.items() if p in found}
        if not gradients:
            raise TrainingError(f"the loss of the model {model.name!r} depends on no parameter that could be trained")
        updates, rate = record_updates(optimizer, gradients, model.declaration.dtype)
        moved = [node for update in updates for node in (update.new, *update.new_state)]
        graph = Graph([recording.output, recording.loss, *moved, *recording.moves.values()])
        return cls(graph, recording, updates, optimizer, rate, tuple(model.state[name] for name in recording.moves))

    def __call__(self, feeds: Mapping[str, Array], state: OptimizerState) -> tuple[Array, float]:
        bound = self.bound(feeds, state)
        # What overflows is reported below, by name, and not as NumPy's warning.
        with np.errstate(all="ignore"):
            return self.finish(run(self.graph, bound), bound, state)

    def finish(
        self, results: Sequence[Array], bound: Mapping[str | Tensor, Array], state: OptimizerState
    ) -> tuple[Array, float]:
        """Move parameters, the optimizer's state and the model's to what was computed, if all of it is finite.

        Returns output and loss.
        """
        if not all(map(all_finite, results[1:])):
            node, sentence = first_not_finite(self.graph, self.recording, bound)
            raise NotFiniteError(sentence, moving=node not in self._before_moving())
        return self._move(results, state)

    def finish_compiled(
        self, results: Sequence[Array], bound: Mapping[str | Tensor, Array], state: OptimizerState
    ) -> tuple[Array, float]:
        """Do the same with what a compiled program has computed; where that is not finite, plain evaluation decides."""
        if all(map(all_finite, results)):
            return self._move(results, state)
        return self.finish(run(self.graph, bound), bound, state)

    def bound(
        self, feeds: Mapping[str, Array], state: OptimizerState, optimizer: Optimizer | None = None
    ) -> dict[str | Tensor, Array]:
        """Return the values of all inputs: samples, the optimizer's state, and the learning rate of ``optimizer``."""
        inputs = self.graph.inputs
        require_feeds(feeds, [name for name in inputs if name in self.recording.tensors])
        bound: dict[str | Tensor, Array] = {name: x for name, x in feeds.items() if name in inputs}
        if not isinstance(state, dict):
            raise self._foreign_state(self.updates[0])
        for update in self.updates:
            found = state.get(update.name)
            if type(found) is not tuple or len(found) != len(update.state):
                raise self._foreign_state(update)
            bound.update(zip(update.state, found, strict=True))
        if self.rate is not None:
            bound[self.rate] = np.array(rate_of(optimizer or self.optimizer), self.rate.dtype)
        return bound

    def _foreign_state(self, update: Update) -> TrainingError:
        return TrainingError(
            f"the state is not one of {self.optimizer}: for the parameter {update.name!r} it holds "
            f"{len(update.state)} arrays; make it with initial_state(model, optimizer)"
        )

    def fitting(self, bound: Mapping[str | Tensor, Array]) -> dict[Tensor, Array] | None:
        """Return what is bound by leaf, if every array fits as it is; else ``bind`` has to cast, or to complain.

        >>> import tinygraph as tg
        >>> step = RecordedStep.record(tg.load_model("xor"), tg.SGD(0.5), 4)
        >>> x, y = np.zeros((4, 2), np.float32), np.zeros((4, 1), np.float32)
        >>> [leaf.name for leaf in step.fitting({"x": x, "y": y, step.rate: np.array(0.5, "float32")})]
        ['x', 'y', 'learning_rate']
        >>> step.fitting({"x": x})
        """
        inputs, values = self.graph.inputs, {}
        for key, array in bound.items():
            leaf = inputs[key] if isinstance(key, str) else key
            if array.__class__ is not np.ndarray or array.dtype != leaf.dtype or array.shape != leaf.shape:
                return None
            values[leaf] = array
        return values if len(values) == len(inputs) else None

    def _before_moving(self) -> set[Tensor]:
        """Return the nodes that the loss, the gradients and the states need: what the learning rate has no part in."""
        needed = [node for update in self.updates for node in (update.gradient, *update.new_state)]
        return set(topological([*self.graph.outputs[:2], *needed, *self.recording.moves.values()]))

    def _move(self, results: Sequence[Array], state: OptimizerState) -> tuple[Array, float]:
        output, loss, *moved = results
        arrays = iter(moved)
        changed: list[tuple[Tensor, Array]] = []
        new_state: OptimizerState = {}
        for update in self.updates:
            changed.append((update.parameter, next(arrays)))
            new_state[update.name] = tuple(np.array(next(arrays)) for _ in update.new_state)
        changed += zip(self.model_state, arrays, strict=True)
        state.update(new_state)
        assign_all(changed)
        return np.array(output), float(loss)


# A step keeps programs for this many sizes of batch.
_MOST_SIZES = 4


class CompiledStep:
    """A whole training step, compiled; made by ``Model.compile_step``.

    ``output, loss = step(feeds)`` takes the model's inputs by name, for any number of samples, moves the model's
    parameters and state and the optimizer's ``state``, and returns output and loss from before. All move or none does.
    The first batch of another size compiles for that size. ``learning_rate`` may be set between steps and compiles nothing;
    the optimizer, the model, the size and the threads are fixed. A copy has parameters and an optimizer's state of its own.

    >>> import tinygraph as tg
    >>> model = tg.load_model("xor")
    >>> step = model.compile_step(tg.SGD(0.5), batch_size=4)
    >>> x, y = tg.load_data("xor").train
    >>> losses = [step({"x": x, "y": y})[1] for _ in range(10)]
    >>> losses[-1] < losses[0]
    True
    >>> step.learning_rate = 0.1
    >>> step.optimizer
    SGD(learning_rate=0.1, momentum=0.0)
    """

    # A misspelled setting, step.lr = 0.1, is an error.
    __slots__ = ("_batch_size", "_model", "_optimizer", "_own", "_seconds", "_sizes", "_threads", "state")

    def __init__(
        self, model: Model, optimizer: Optimizer | str | None, batch_size: int, threads: int | None = None
    ) -> None:
        self._model, self._optimizer = model, as_optimizer(model, optimizer)
        self._batch_size = whole("batch_size", batch_size)
        self._threads = thread_count(threads)
        self.state: OptimizerState = initial_state(model, self.optimizer)
        self._sizes: dict[int, tuple[RecordedStep, Compiled]] = {}
        self._own = self._for(self.batch_size)
        self._seconds: list[list[float]] | None = None

    @property
    def model(self) -> Model:
        """The model that a step moves."""
        return self._model

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer, with the present learning rate."""
        return self._optimizer

    @property
    def batch_size(self) -> int:
        """The number of samples that the step was compiled for first."""
        return self._batch_size

    @property
    def threads(self) -> int:
        """At most how many threads compute."""
        return self._threads

    @property
    def learning_rate(self) -> float | None:
        """The learning rate of the next step; ``None`` for an optimizer without one.

        It may be set. Raises ``AttributeValueError`` for what the optimizer refuses, and ``TrainingError`` for an optimizer of
        your own whose rate is fixed, because it has none or its update needs it as a number.
        """
        return rate_of(self.optimizer)

    @learning_rate.setter
    def learning_rate(self, rate: float) -> None:
        recorded = self._own[0]
        if recorded.rate is None:
            raise TrainingError(
                f"the learning rate of {self.optimizer} is fixed; compile a step with another optimizer"
            )
        changed = with_rate(self.optimizer, rate)
        check_rate(changed)
        for update in recorded.updates:
            check_settings(changed, update.parameter)
        self._optimizer = changed

    def __reduce__(self) -> Any:
        """Copy and pickle a step as what it was made from, and the optimizer's state; the copy compiles again."""
        made_from = (self.model, self.optimizer, self.batch_size, self.threads)
        return _restored, (type(self), made_from, dict(self.state))

    @property
    def graph(self) -> Graph:
        """The step as a graph: output and loss, the parameters' new values and the optimizer's new state, the model's."""
        return self._own[0].graph

    def _for(self, count: int) -> tuple[RecordedStep, Compiled]:
        if count not in self._sizes:
            recorded = RecordedStep.record(self.model, self.optimizer, count)
            samples = [x for name, x in recorded.graph.inputs.items() if name in self.model.inputs]
            self._sizes[count] = recorded, Compiled(recorded.graph, samples, count, self.threads)
            if len(self._sizes) > _MOST_SIZES:
                del self._sizes[next(size for size in self._sizes if size != self.batch_size)]
        return self._sizes[count]

    def __call__(self, feeds: Mapping[str, Any], state: OptimizerState | None = None) -> tuple[Array, float]:
        """Do a step. Raises ``FeedError`` for what does not fit the inputs, and ``TrainingError`` for the state of another
        optimizer, and for a value that is not finite anywhere, with the first node that has one; nothing has moved then."""
        feeds = self._known(feeds)
        recorded, compiled = self._for(samples_in(self.model, feeds) or self.batch_size)
        state = self.state if state is None else state
        bound = recorded.bound(feeds, state, self.optimizer)
        done: list[tuple[Array, float]] = []
        values = recorded.fitting(bound) or bind(recorded.graph, bound)
        try:
            compiled.run(values, lambda results: done.append(recorded.finish_compiled(results, bound, state)))
        except NotFiniteError:
            raise
        except TinygraphError:
            # Errors name the shapes of the whole batch, and what is refused in a tile may be accepted in the whole.
            with np.errstate(all="ignore"):
                return recorded.finish(run(recorded.graph, bound), bound, state)
        return done[0]

    def _known(self, feeds: Mapping[str, Any]) -> Mapping[str, Any]:
        require_feeds(feeds, self.model.inputs)
        for name in feeds:
            if name not in self.model.inputs:
                raise FeedError(
                    f"the model {self.model.name!r} has no input {name!r}{nearest(str(name), self.model.inputs)} "
                    f"(it has {listing(self.model.inputs)})"
                )
        return feeds

    @property
    def schedule(self) -> Schedule:
        """The record of the step's schedule; with times, once it was profiled."""
        return schedule_of(self._own[1], self.graph, self._seconds)

    def describe(self) -> str:
        """Return the schedule as text, as ``Plan.describe`` does."""
        return described(self.schedule)

    def profile(self, feeds: Mapping[str, Any], repeats: int = 20) -> CompiledStep:
        """Run ``repeats`` times without moving anything, and note the median time of each step of the schedule."""
        recorded, compiled = self._own
        bound = bind(recorded.graph, recorded.bound(self._known(feeds), self.state, self.optimizer))
        self._seconds = compiled.profile(bound, whole("repeats", repeats))
        return self


def _restored(cls: type[CompiledStep], made_from: tuple[Any, ...], state: OptimizerState) -> CompiledStep:
    step = cls(*made_from)
    step.state = state
    return step


def assign_all(changed: Iterable[tuple[Tensor, Array]]) -> None:
    """Give tensors new values, all of them even if Ctrl-C comes in the middle.

    >>> import tinygraph as tg
    >>> W = tg.parameter([1.0], name="W")
    >>> assign_all([(W, np.array([2.0]))])
    >>> W.value
    array([2.])
    """
    changed = list(changed)
    try:
        for tensor, value in changed:
            tensor.value = value
    except KeyboardInterrupt:
        for tensor, value in changed:
            tensor.value = value
        raise
