"""A training step on XLA: parameters and the optimizer's state stay on the devices from step to step."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.engines.xla import Devices, Program
from tinygraph.engines.xla.export import exported
from tinygraph.engines.xla.program import MOST_SIZES
from tinygraph.graph import Array, Tensor, bind, integer
from tinygraph.locks import Recent
from tinygraph.model.values import batched_inputs, samples_in
from tinygraph.train.diagnosis import NotFiniteError
from tinygraph.train.optimizers import Optimizer, as_optimizer
from tinygraph.train.step import OptimizerState, RecordedStep, assign_all, initial_state
from tinygraph.train.update import current_rate

if TYPE_CHECKING:
    from tinygraph.model import Model


class DeviceStep:
    """A training step compiled by XLA, made by ``model.compile_step(..., engine="xla")``.

    ``output, loss = step(feeds)`` as for ``CompiledStep``; but new values of parameters and states stay on the devices until
    ``pull`` gives them to the model and to ``state``. Values that the model or the state got in between are pushed by
    the next step. Where a value is not finite or is refused, nothing moves, and plain evaluation of the same batch says why.
    """

    def __init__(
        self,
        model: Model,
        optimizer: Optimizer | str | None,
        batch_size: int,
        devices: int | None = None,
        precision: str = "full",
    ) -> None:
        self.model, self.optimizer = model, as_optimizer(model, optimizer)
        self.batch_size, self.precision = integer("batch_size", batch_size), precision
        self.devices = Devices(devices)
        self.metric: float | None = None
        self.state: OptimizerState = initial_state(model, self.optimizer)
        self._programs = Recent[int, tuple[RecordedStep, Program]](MOST_SIZES, self.batch_size)
        # What is on the devices by leaf's name, and the values that it had when host and devices were last alike.
        self._held, self._known = dict[str, Any](), dict[str, Any]()
        self._for(self.batch_size)

    def _for(self, count: int) -> tuple[RecordedStep, Program]:
        return self._programs.of(count, partial(self._compiled, count))

    def _compiled(self, count: int) -> tuple[RecordedStep, Program]:
        recorded = RecordedStep(self.model, self.optimizer, count)
        names, recording = batched_inputs(self.model), recorded.recording
        program = Program(
            recorded.graph,
            [x for name, x in recorded.graph.inputs.items() if name in names],
            count,
            self.devices,
            self.precision,
            held=_held(recorded),
            results=[x for x in (recording.output, recording.loss, recording.metric) if x is not None],
            finite=[x for x in recorded.graph.outputs if x not in {recording.output, recording.metric}],
        )
        return recorded, program

    def __call__(
        self, feeds: Mapping[str, Any], state: OptimizerState | None = None, count: int | None = None
    ) -> tuple[Array, float]:
        """Do a step. In one of several processes ``feeds`` may hold its own rows of a batch of ``count``; see ``rows``."""
        self.state = self.state if state is None else state
        given = samples_in(self.model, feeds) or self.batch_size
        recorded, program = self._for(count or given)
        fed = program.put(self._values(recorded, program, feeds))
        # What is held is given to the program. Where that fails, the model has the values of the last ``pull``.
        held, self._held = self.push(program), {}
        moved, results, good = program(held, fed)
        self._held |= zip(self._keys(program), moved, strict=True)
        self.model._variables.pull = self.pull
        if not good:
            return self._decided(feeds, given, count or given)
        self.metric = float(np.mean(results[2])) if len(results) > 2 else None
        return results[0], float(results[1])

    @property
    def learning_rate(self) -> float | None:
        """The learning rate of the next step, as that of ``CompiledStep``; it may be set."""
        return current_rate(self.optimizer, self.pull())

    @learning_rate.setter
    def learning_rate(self, rate: float) -> None:
        self.optimizer = self._for(self.batch_size)[0].with_rate(self.optimizer, rate)

    def _values(self, recorded: RecordedStep, program: Program, feeds: Mapping[str, Any]) -> dict[Tensor, Array]:
        """Return the values of the leaves that are fed: the batch, and the learning rate."""
        found = recorded.fitting(feeds, self.state, self.optimizer)
        if found is not None:
            return found
        bound, inputs = recorded.bound(feeds, self.state, self.optimizer), recorded.graph.inputs
        if self.devices.processes == 1:
            return bind(recorded.graph, bound)
        return {inputs[key] if isinstance(key, str) else key: np.asarray(value) for key, value in bound.items()}

    def rows(self, count: int) -> slice:
        """Return which samples of a batch of ``count`` this process needs; the others are those of other processes."""
        return self.devices.rows(count)

    def push(self, program: Program | None = None) -> list[Any]:
        """Bring values that the model or ``state`` got in between to the devices; return all that is held there."""
        recorded, own = self._for(self.batch_size)
        for key, value in self._on_host(recorded).items():
            if key not in self._held or value is not self._known[key]:
                self._held[key], self._known[key] = own.hold(value), value
        return [self._held[key] for key in self._keys(program or own)]

    def pull(self) -> OptimizerState:
        """Give the model and ``state`` the values that are on the devices; return ``state``."""
        recorded = self._for(self.batch_size)[0]
        arrays: dict[Any, Array] = {key: np.array(value) for key, value in self._held.items()}
        for name, places in self.state.items():
            self.state[name] = tuple(arrays.get((name, i), old) for i, old in enumerate(places))
        assign_all([(key, array) for key, array in arrays.items() if isinstance(key, Tensor)])
        self._known = self._on_host(recorded)
        return self.state

    def __reduce__(self) -> Any:
        """Copy and pickle the arguments and the optimizer's state; the copy compiles again."""
        arguments = (self.model, self.optimizer, self.batch_size, len(self.devices.all), self.precision)
        return type(self), arguments, {"state": dict(self.pull())}

    def exported(self) -> tuple[bytes, dict[str, Array]]:
        """Return the step as a file of StableHLO, and by name what it starts from; see ``engines/xla/export.py:exported``."""
        recorded, program = self._for(self.batch_size)
        names = {
            leaf: str(key.name) if isinstance(key, Tensor) else "/".join(("optimizer", *map(str, key)))
            for leaf, key in zip(program.held, self._keys(program), strict=True)
        }
        values = self._on_host(recorded)
        keys = zip(program.held, self._keys(program), strict=True)
        return exported(program, names), {names[leaf]: np.asarray(values[key]) for leaf, key in keys}

    def lowered(self, feeds: Mapping[str, Any]) -> Any:
        """Return the program of a step on these feeds as JAX lowers it: ``compile().as_text()`` is its text."""
        recorded, program = self._for(samples_in(self.model, feeds) or self.batch_size)
        return program.lowered(self.push(program), program.put(self._values(recorded, program, feeds)))

    def _keys(self, program: Program) -> list[Any]:
        recorded = next(recorded for recorded, known in self._programs.values() if known is program)
        places = {
            leaf: (name, i) for name, (leaves, _) in recorded.updates.states.items() for i, leaf in enumerate(leaves)
        }
        return [places.get(leaf, leaf) for leaf in program.held]

    def _on_host(self, recorded: RecordedStep) -> dict[Any, Any]:
        """Return the values of what is held as the model and ``state`` have them: by tensor, or by name and place."""
        tensors = {leaf: leaf._value for leaf in _held(recorded) if leaf.kind != "input"}
        return tensors | {(name, i): array for name, arrays in self.state.items() for i, array in enumerate(arrays)}

    def _decided(self, feeds: Mapping[str, Any], given: int, count: int) -> tuple[Array, float]:
        """Do the step by plain evaluation, which raises the error of whatever is wrong."""
        self.pull()
        if given != count:
            # A step on the rows of this process alone must not move the model.
            RecordedStep(deepcopy(self.model), self.optimizer, given)(feeds, dict(self.state))
            raise NotFiniteError("a value is not finite, or refused, in the samples of another process", moving=False)
        output, loss = (recorded := RecordedStep(self.model, self.optimizer, given))(feeds, self.state)
        self.metric = recorded.metric
        return output, loss


def _held(recorded: RecordedStep) -> dict[Tensor, Tensor]:
    """Return the leaves whose values stay on the devices, each with the node of its new value."""
    kept = {leaf: leaf for leaf in recorded.graph.leaves.values() if leaf.kind in ("parameter", "state")}
    states = {leaf: new for pair in recorded.updates.states.values() for leaf, new in zip(*pair, strict=True)}
    moved = {update.parameter: update.new for update in recorded.updates.each}
    tensors = {name: leaf for name, leaf in recorded.graph.leaves.items() if leaf.kind == "state"}
    moved |= {tensors[name]: new for name, new in recorded.recording.new_state.items() if name in tensors}
    return kept | moved | states
