"""A training step as one graph: forward pass, loss, gradients, and the optimizer's update, recorded as operations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

from tinygraph.engines import chosen_engine
from tinygraph.engines.plan.compiled import Compiled
from tinygraph.engines.plan.kernels.generated import kernel_choice
from tinygraph.engines.plan.plan import BySize
from tinygraph.engines.plan.threads import thread_count
from tinygraph.errors import FeedError, TinygraphError, TrainingError, counted, unknown
from tinygraph.graph import (
    Array,
    Graph,
    Tensor,
    all_finite,
    bind,
    fitting,
    gradients_of,
    require_feeds,
    run,
    topological,
    typed,
)
from tinygraph.graph.attributes import integer
from tinygraph.graph.tensor import input as declare_input
from tinygraph.model.values import batched_inputs, samples_in
from tinygraph.train.diagnosis import NotFiniteError, first_not_finite
from tinygraph.train.feeds import as_model
from tinygraph.train.optimizers import Optimizer, as_optimizer
from tinygraph.train.schedules import Schedule
from tinygraph.train.update import STEP_COUNT, checked_rate, current_rate, rate_of, record_updates

if TYPE_CHECKING:
    from tinygraph.model import Model

# The optimizer's state of each parameter, by the parameter's name, and for a schedule the number of steps; a step replaces
# its entries.
OptimizerState: TypeAlias = dict[str, tuple[Array, ...]]


class Step(Protocol):
    """A step on a batch given by the inputs' names: it changes parameters and state, and returns output and loss before that.

    ``metric`` is the mean of the model's metric in the last step, ``None`` for a model without one.
    """

    metric: float | None

    def __call__(self, feeds: Mapping[str, Array], state: OptimizerState, /) -> tuple[Array, float]: ...


def initial_state(model: Model, optimizer: Optimizer | str | None) -> OptimizerState:
    """Return the optimizer's state of every trainable parameter before the first step, by the parameters' names.

    The optimizer is given as for ``fit``. With a schedule, the number of steps is an entry of its own.

    >>> from types import SimpleNamespace
    >>> from tinygraph.train.optimizers import SGD
    >>> model = SimpleNamespace(trainable={"W": np.zeros(2)})
    >>> initial_state(model, SGD(momentum=0.9))
    {'W': (array([0., 0.]),)}
    """
    optimizer = as_optimizer(model, optimizer)
    state = {name: optimizer.initial_state(parameter) for name, parameter in model.trainable.items()}
    scheduled = isinstance(getattr(optimizer, "learning_rate", None), Schedule)
    return state | ({STEP_COUNT: (np.array(0, np.int64),)} if scheduled else {})


def training_step(model: Model, optimizer: Optimizer | str | None, batch_size: int) -> Step:
    """Return the function that does a training step on ``batch_size`` samples by plain evaluation: the reference.

    ``output, loss = step(feeds, state)`` takes the model's inputs by name, in their dtypes, and the optimizer's state, made
    by ``initial_state``. It changes the parameters, that state and the model's state, and returns output and loss from
    before the change. Either all change or none: if any value is not finite, ``TrainingError`` names the first node
    that has one.

    >>> from tinygraph.model import load_model
    >>> from tinygraph.train import SGD, load_data
    >>> model, optimizer, (x, y) = load_model("xor"), SGD(0.5), load_data("xor").train
    >>> step, state = training_step(model, optimizer, batch_size=4), initial_state(model, optimizer)
    >>> losses = [step({"x": x, "y": y}, state)[1] for _ in range(10)]
    >>> losses[-1] < losses[0]
    True
    """
    rule = as_optimizer(as_model("training_step", model), optimizer)
    return RecordedStep(model, rule, integer("batch_size", batch_size))


class RecordedStep:
    """A training step as a graph. A call evaluates it node by node.

    Its outputs are ``output, loss``, then the new value and the new optimizer's state of each update, then the new values
    of the model's state, then the metric if there is one. ``rate`` is the input for the learning rate, ``None`` if the
    optimizer has none or needs it as a number. Raises ``TrainingError`` if there is nothing to train.
    """

    def __init__(self, model: Model, optimizer: Optimizer, batch_size: int) -> None:
        model.check_batch(batch_size)
        # A new recording: one from before the last change of the parameters may hold values computed from old ones.
        inputs = {name: declare_input(name, i.batch_shape(batch_size), i.dtype) for name, i in model.inputs.items()}
        self.optimizer, self.recording = optimizer, model.trace(inputs, training=True)
        output, loss, new_state = self.recording.output, self.recording.loss, self.recording.new_state
        if loss is None:
            raise TrainingError(f"the model {model.name!r} declares no loss, so there is nothing to train on")
        found = gradients_of(loss, list(model.trainable.values()))
        gradients = {name: (p, found[p]) for name, p in model.trainable.items() if p in found}
        if not gradients:
            frozen = "; some are frozen: model.unfreeze()" if len(model.trainable) < len(model.parameters) else ""
            nothing = f"the loss of the model {model.name!r} depends on no parameter that could be trained"
            raise TrainingError(nothing + frozen)
        self.updates = record_updates(optimizer, gradients, rate_input=True)
        self.rate = self.updates.rate
        # The metric is the last, so that it is the last to be blamed for a value that is not finite.
        measured = [] if self.recording.metric is None else [self.recording.metric]
        self.graph = Graph([output, loss, *self.updates.outputs, *new_state.values(), *measured])
        self.metric: float | None = None
        self._inputs = dict(self.graph.inputs)
        self._fed = {name: x for name, x in self._inputs.items() if name in self.recording.tensors}
        kept = [leaf for leaves, _ in self.updates.states.values() for leaf in leaves]
        self._leaves = [*map(typed, [*self._fed.values(), *kept])]
        place = {node: i for i, node in enumerate(self.graph.outputs)}
        # What a step changes, with the place of each new value in the outputs.
        self._states = [(name, [place[x] for x in new]) for name, (_, new) in self.updates.states.items()]
        self._moved = [(update.parameter, place[update.new]) for update in self.updates.each]
        self._moved += [(model.state[name], place[new]) for name, new in new_state.items()]
        kinds = zip(*[(update.new, *update.new_state) for update in self.updates.each], strict=False)
        # The places of the new values that are computed alike for each parameter.
        self.alike = [[place[new] for new in row] for row in kinds]

    def __call__(self, feeds: Mapping[str, Array], state: OptimizerState) -> tuple[Array, float]:
        bound = self.bound(feeds, state)
        # Overflows are reported by ``finish``, not as NumPy's warnings.
        with np.errstate(all="ignore"):
            return self.finish(run(self.graph, bound), bound, state)

    def finish(
        self,
        results: Sequence[Array],
        bound: Mapping[str | Tensor, Array],
        state: OptimizerState,
        compiled: Compiled | None = None,
    ) -> tuple[Array, float]:
        """Assign the new values if all are finite, note the metric, and return output and loss. Raises ``NotFiniteError``.

        The results may be those of a ``compiled`` graph.
        """
        # Nothing depends on the metric, which may be NaN, as a precision where nothing is found.
        count = len(self.graph.outputs)
        metric = None if self.recording.metric is None else count - 1
        moving = slice(metric)
        places = range(count) if compiled is None else compiled.covering
        if not all(map(all_finite, [results[i] for i in places if i != metric])):
            # Plain evaluation decides.
            results, compiled = run(self.graph, bound), None
            if not all(map(all_finite, results[moving][1:])):
                node, sentence = first_not_finite(self.graph, self.recording, bound)
                # The nodes that do not depend on the learning rate.
                needed = [node for update in self.updates.each for node in (update.gradient, *update.new_state)]
                before = topological([*self.graph.outputs[:2], *needed, *self.recording.new_state.values()])
                raise NotFiniteError(sentence, moving=node not in set(before))
        states = {name: tuple([np.array(results[i]) for i in places]) for name, places in self._states}
        assign_all([(tensor, results[i]) for tensor, i in self._moved], partial(state.update, states))
        if compiled is not None:
            compiled.keep(self._moved)
        if metric is not None:
            self.metric = float(np.mean(results[metric]))
        return np.array(results[0]), float(results[1])

    def bound(
        self, feeds: Mapping[str, Array], state: OptimizerState, optimizer: Optimizer | None = None
    ) -> dict[str | Tensor, Array]:
        """Return the values of all inputs: samples, the optimizer's state, and the learning rate of ``optimizer``."""
        require_feeds(feeds, self._fed)
        bound: dict[str | Tensor, Array] = {name: x for name, x in feeds.items() if name in self._inputs}
        for name, (leaves, _) in self.updates.states.items():
            found = state.get(name) if isinstance(state, dict) else None
            if type(found) is not tuple or len(found) != len(leaves):
                wanted = f"for {name!r} it holds {counted(len(leaves), 'array')}"
                advice = "make it with initial_state(model, optimizer)"
                raise TrainingError(f"the state is not one of {self.optimizer}: {wanted}; {advice}")
            bound.update(zip(leaves, found, strict=True))
        if self.rate is not None:
            bound[self.rate] = np.array(rate_of(optimizer or self.optimizer), self.rate.dtype)
        return bound

    def fitting(self, feeds: Any, state: Any, optimizer: Optimizer) -> dict[Tensor, Array] | None:
        """Return the values of all inputs if every one has its dtype and shape; else ``None``: ``bind`` casts or refuses.

        >>> import tinygraph as tg
        >>> step, state = RecordedStep(tg.load_model("xor"), tg.SGD(0.5), 4), {"W1": (), "B1": (), "W2": (), "B2": ()}
        >>> x, y = np.zeros((4, 2), np.float32), np.zeros((4, 1), np.float32)
        >>> [leaf.name for leaf in step.fitting({"x": x, "y": y}, state, tg.SGD(0.1))]
        ['x', 'y', 'learning_rate']
        >>> step.fitting({"x": x}, state, tg.SGD(0.1))
        """
        if not (feeds.__class__ is state.__class__ is dict and feeds.keys() == self._fed.keys()):
            return None
        arrays = [feeds[name] for name in self._fed]
        for name, (leaves, _) in self.updates.states.items():
            kept = state.get(name)
            if kept.__class__ is not tuple or len(kept) != len(leaves):
                return None
            arrays += kept
        values = fitting(self._leaves, arrays)
        if values is not None and self.rate is not None:
            values[self.rate] = np.array(rate_of(optimizer), self.rate.dtype)
        return values

    def with_rate(self, optimizer: Optimizer, rate: float) -> Optimizer:
        """Return the optimizer with another learning rate, for steps from now on. Raises ``TrainingError`` if it is fixed."""
        if self.rate is None:
            raise TrainingError(f"the learning rate of {optimizer} is fixed; compile a step with another optimizer")
        return checked_rate(optimizer, rate, [update.parameter for update in self.updates.each])


class CompiledStep(BySize[RecordedStep]):
    """A compiled training step, made by ``Model.compile_step``.

    ``output, loss = step(feeds)`` takes the model's inputs by name, for any number of samples. It changes the parameters and
    the state of the model and ``state``, the optimizer's, and returns output and loss from before the change. Either all
    change or none. The first batch of another size compiles the step for that size. ``graph`` is the step as a graph: output,
    loss, new values of parameters and optimizer's state, then of the model's state. ``learning_rate`` may be set between
    steps, without compiling again; the optimizer, model, batch size and threads are fixed. ``metric`` is the mean of the
    model's metric in the last step, ``None`` without one. A copy has its own parameters and state.

    >>> import tinygraph as tg
    >>> model = tg.load_model("xor")
    >>> step = model.compile_step(tg.SGD(0.5), batch_size=4)
    >>> x, y = tg.load_data("xor").train
    >>> losses = [step({"x": x, "y": y})[1] for _ in range(10)]
    >>> losses[-1] < losses[0]
    True
    >>> step.learning_rate = 0.1
    >>> step.optimizer
    SGD(learning_rate=0.1)
    """

    # A misspelled setting, step.lr = 0.1, is an error.
    __slots__ = ("_model", "_optimizer", "metric", "state")

    def __init__(
        self,
        model: Model,
        optimizer: Optimizer | str | None,
        batch_size: int,
        threads: int | None = None,
        kernels: str | None = None,
    ) -> None:
        self._model, self._optimizer = model, as_optimizer(model, optimizer)
        self.state: OptimizerState = initial_state(model, self.optimizer)
        self.metric: float | None = None
        super().__init__(integer("batch_size", batch_size), thread_count(threads), kernel_choice(kernels))

    @property
    def model(self) -> Model:
        """The model that is trained."""
        return self._model

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer, with the current learning rate."""
        return self._optimizer

    @property
    def learning_rate(self) -> float | None:
        """The learning rate of the next step; ``None`` for an optimizer without one.

        It may be set, unless it follows a schedule. Raises ``AttributeValueError`` for rates that the optimizer refuses, and
        ``TrainingError`` for an optimizer that has a schedule, has no learning rate or needs it as a number.
        """
        return current_rate(self.optimizer, self.state)

    @learning_rate.setter
    def learning_rate(self, rate: float) -> None:
        self._optimizer = self._own[0].with_rate(self.optimizer, rate)

    def __reduce__(self) -> Any:
        """Copy and pickle the arguments and the optimizer's state; the copy compiles again."""
        arguments = (self.model, self.optimizer, self.batch_size, self.threads, self.kernels)
        return type(self), arguments, (None, {"state": dict(self.state)})

    def _compiled(self, count: int | None) -> tuple[RecordedStep, Compiled]:
        recorded = RecordedStep(self.model, self.optimizer, count or 1)
        names = batched_inputs(self.model)
        samples = [x for name, x in recorded.graph.inputs.items() if name in names]
        return recorded, Compiled(recorded.graph, samples, count or 1, self.threads, self.kernels, recorded.alike)

    def __call__(self, feeds: Mapping[str, Any], state: OptimizerState | None = None) -> tuple[Array, float]:
        """Do a step. Raises ``FeedError`` for values that do not fit the inputs, and ``TrainingError`` for the state of another
        optimizer and for any value that is not finite, with the first node that has one; then nothing has changed."""
        state = self.state if state is None else state
        recorded, compiled = self._latest
        bound: Any = recorded.fitting(feeds, state, self._optimizer)
        if bound is None:
            feeds = self._known(feeds)
            recorded, compiled = self._for(samples_in(self.model, feeds) or self.batch_size)
            bound = bind(recorded.graph, recorded.bound(feeds, state, self.optimizer))
        done: list[tuple[Array, float]] = []
        try:
            compiled.run(bound, lambda results: done.append(recorded.finish(results, bound, state, compiled)))
        except NotFiniteError:
            raise
        except TinygraphError:
            pass
        if not done:
            # Plain evaluation decides: errors name the shapes of the batch, not of a tile, and may occur in tiles only.
            with np.errstate(all="ignore"):
                done.append(recorded.finish(run(recorded.graph, bound), bound, state))
        self.metric = recorded.metric
        return done[0]

    def _known(self, feeds: Mapping[str, Any]) -> Mapping[str, Any]:
        require_feeds(feeds, self.model.inputs)
        for name in feeds:
            if name not in self.model.inputs:
                raise FeedError(unknown(f"model {self.model.name!r}", "input", name, self.model.inputs))
        return feeds

    def profile(self, feeds: Mapping[str, Any], repeats: int = 20) -> CompiledStep:
        """Run ``repeats`` times without changing anything, and note the median time of each step of the schedule."""
        recorded, compiled = self._own
        bound = bind(recorded.graph, recorded.bound(self._known(feeds), self.state, self.optimizer))
        self._seconds = compiled.profile(bound, integer("repeats", repeats))
        return self


def step_on(model: Model, optimizer: Any, batch_size: int, threads: int | None = None, **on: Any) -> Any:
    """Return a compiled training step on an engine; see ``Model.compile_step``."""
    if not chosen_engine(**on).packages:
        return CompiledStep(model, optimizer, batch_size, threads, on.get("kernels"))
    from tinygraph.train.device_step import DeviceStep

    return DeviceStep(model, optimizer, batch_size, on.get("devices"), on.get("precision", "full"))


def assign_all(changed: Sequence[tuple[Tensor, Array]], also: Callable[[], object] = list) -> None:
    """Assign new values to tensors, and do what else belongs to it: all of it, also if Ctrl-C interrupts the assignments.

    >>> import tinygraph as tg
    >>> W = tg.parameter([1.0], name="W")
    >>> assign_all([(W, np.array([2.0]))])
    >>> W.value
    array([2.])
    """
    try:
        also()
        for tensor, value in changed:
            tensor.value = value
    except KeyboardInterrupt:
        also()
        for tensor, value in changed:
            tensor.value = value
        raise
