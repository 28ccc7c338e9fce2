"""The update of a step, recorded: how an optimizer changes every parameter of a model, as operations of one graph."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygraph.describe.text import aligned
from tinygraph.errors import AttributeValueError, TinygraphError
from tinygraph.graph import Array, Graph, Tensor, Value, conform
from tinygraph.graph.tensor import input as declare_input
from tinygraph.ops.elementwise.arithmetic import add_all
from tinygraph.ops.elementwise.cast import cast
from tinygraph.ops.elementwise.exponential import sqrt
from tinygraph.ops.reduction.reduction import sum
from tinygraph.ops.sums import widened
from tinygraph.train.optimizers import Optimizer
from tinygraph.train.schedules import Schedule, require, with_field

# The key of the optimizer's state that holds the number of steps done, for a schedule; no parameter has such a name.
STEP_COUNT = "step count"


def update_equations(model: Any, optimizer: Optimizer) -> str:
    """Return an optimizer's update of every trainable parameter of ``model`` as equations, one line each.

    ``dW`` is the gradient of the loss with respect to ``W``, and ``W_new`` the value that the step gives to ``W``.
    ``model`` is anything with ``parameters``, tensors by name.

    >>> import tinygraph as tg
    >>> from types import SimpleNamespace
    >>> model = SimpleNamespace(parameters={"W3": tg.parameter(np.zeros((64, 1)), name="W3")})
    >>> print(update_equations(model, tg.SGD(learning_rate=0.1)))
    W3_new = W3 - 0.1 * dW3
    >>> print(update_equations(model, tg.SGD(learning_rate=0.1, momentum=0.9)))
    v_W3_new = 0.9 * v_W3 + dW3
    W3_new   = W3 - 0.1 * v_W3_new
    """
    if not hasattr(model, "parameters") or not hasattr(optimizer, "initial_state"):
        found = f"{type(model).__name__} and {type(optimizer).__name__}"
        raise TinygraphError(f"update_equations takes a model and an optimizer, such as SGD(0.1); found {found}")
    moving = getattr(model, "trainable", model.parameters)
    gradients = {name: (x, declare_input(f"d{name}", x.shape, x.dtype)) for name, x in moving.items()}
    lines = Graph(
        record_updates(over(optimizer, declare_input("steps", (), "float64")), gradients).outputs
    ).layout.equations
    return aligned([(line.label, f"= {line.expression}") for line in lines if line.expression])


@dataclass(frozen=True)
class Update:
    """The recorded update of one parameter: its gradient and new value, the inputs for its state and their new values."""

    name: str
    parameter: Tensor
    gradient: Tensor
    new: Tensor
    state: tuple[Tensor, ...]
    new_state: tuple[Tensor, ...]


def record_update(
    optimizer: Optimizer, name: str, parameter: Tensor, gradient: Tensor, rate: Tensor | None = None
) -> Update:
    """Record an optimizer's update of one parameter. ``rate`` is an input used instead of the learning rate.

    Raises ``AttributeValueError`` for an optimizer whose update has another shape, dtype or number of states, and for
    settings beyond the parameter's dtype.
    """
    check_settings(optimizer, parameter)
    if rate is not None:
        optimizer = with_field(
            optimizer, "learning_rate", cast(rate, parameter.dtype.name) if rate.dtype != parameter.dtype else rate
        )
    arrays = optimizer.initial_state(parameter)
    symbols = getattr(optimizer, "state_names", ())
    if len(symbols) != len(arrays):
        symbols = tuple(f"s{i}" for i in range(1, len(arrays) + 1))
    named = zip(symbols, map(np.asarray, arrays), strict=True)
    state = tuple(declare_input(f"{symbol}_{name}", array.shape, array.dtype) for symbol, array in named)
    new, new_state = optimizer.update(parameter, gradient, state)
    who = type(optimizer).__name__
    if len(new_state) != len(state):
        counts = f"update returned {len(new_state)} states; initial_state returned {len(state)}"
        raise AttributeValueError(f"{who}: {counts}")
    for before, after in zip((parameter, *state), (new, *new_state), strict=True):
        what = f"{who}: update of {before.describe()}"
        if not isinstance(after, Tensor):
            found = f"{type(after).__name__} where it was given tensors"
            raise AttributeValueError(f"{what} returned {found}; write it with operators and operations")
        if after.shape != before.shape or after.dtype != before.dtype:
            raise AttributeValueError(f"{what} of {before.dtype} returned {after.dtype} {after.shape}")
        if after.name is None and after.op is not None:
            after.name = f"{before.name or name}_new"
    return Update(name, parameter, gradient, new, state, tuple(new_state))


@dataclass(frozen=True)
class Updates:
    """The recorded update of a step: that of each parameter, and what they share.

    ``states`` has the inputs for the optimizer's state, and their new values, by name; with a schedule, also those for the
    number of steps. ``rate`` is the input for the learning rate, ``None`` for an optimizer whose rate is no input.
    ``shared`` are the learning rate of a schedule, and the norm and the scale of clipped gradients.
    """

    each: tuple[Update, ...]
    states: Mapping[str, tuple[tuple[Tensor, ...], tuple[Tensor, ...]]]
    rate: Tensor | None
    shared: tuple[Tensor, ...]

    @property
    def outputs(self) -> list[Tensor]:
        """Everything that the update computes: new parameters and states, then what is shared."""
        moved = [node for update in self.each for node in (update.new, *update.new_state)]
        return [*dict.fromkeys([*moved, *(node for _, new in self.states.values() for node in new)]), *self.shared]


def record_updates(
    optimizer: Optimizer, gradients: Mapping[str, tuple[Tensor, Tensor]], rate_input: bool = False
) -> Updates:
    """Record the update of every parameter, given with its gradient by name.

    With ``rate_input`` a learning rate that is a number becomes an input, unless the optimizer needs it as a number.
    """
    dtype = np.result_type(*[parameter.dtype for parameter, _ in gradients.values()])
    states, rate, shared = dict[str, Any](), None, list[Tensor]()
    if isinstance(schedule := getattr(optimizer, "learning_rate", None), Schedule):
        t = declare_input("t", (), "int64")
        found = schedule(t)
        if isinstance(found, Tensor):
            rate = cast(found, dtype.name) if found.dtype != dtype else found
            rate.name = "learning_rate"
            shared.append(rate)
        else:
            optimizer = with_field(optimizer, "learning_rate", found)
        after = t + 1
        after.name, states[STEP_COUNT] = "t_new", ((t,), (after,))
    elif rate_input and rate_of(optimizer) is not None:
        rate = declare_input("learning_rate", (), dtype)
    slopes, found = clipped(optimizer, [gradient for _, gradient in gradients.values()])
    for node, symbol in zip(found, ("norm", "scale"), strict=False):
        node.name = symbol
        shared.append(node)

    def each(rate: Tensor | None) -> tuple[Update, ...]:
        given = zip(gradients.items(), slopes, strict=True)
        return tuple(record_update(optimizer, name, parameter, slope, rate) for (name, (parameter, _)), slope in given)

    try:
        recorded = each(rate)
    except (TypeError, ValueError, TinygraphError):
        if rate is None or states:
            raise
        recorded, rate = each(None), None
    states |= {update.name: (update.state, update.new_state) for update in recorded}
    return Updates(recorded, states, rate if rate is not None and rate.op is None else None, tuple(shared))


def clipped(optimizer: Optimizer, gradients: Sequence[Value]) -> tuple[list[Value], tuple[Value, ...]]:
    """Return gradients of which the norm of all together is at most ``clip_norm``, and the norm and the scale that it takes.

    Without a ``clip_norm`` these are the gradients themselves. Squares of float16 are added up in float32.

    >>> import tinygraph as tg
    >>> clipped(tg.SGD(clip_norm=1.0), [np.array([3.0, 0.0]), np.array(4.0)])
    ([array([0.6, 0. ]), np.float64(0.8)], (array(5.), np.float64(0.2)))
    """
    limit = getattr(optimizer, "clip_norm", None)
    if limit is None:
        return list(gradients), ()
    squares = [sum(x * x) for x in map(widened, gradients)]
    norm = sqrt(add_all(squares) if len(squares) > 1 else squares[0])
    scale = limit / np.maximum(norm, limit)
    return [cast(scale, x.dtype.name) * x if x.dtype != scale.dtype else scale * x for x in gradients], (norm, scale)


def first_update(optimizer: Optimizer, given: Mapping[Any, tuple[Array, Array]]) -> dict[Any, Array]:
    """Return parameters after the first step of a training, given with their gradients by any key.

    >>> import tinygraph as tg
    >>> first_update(tg.SGD(Schedule(0.5, warmup=5)), {"W": (np.array([1.0]), np.array([2.0]))})
    {'W': array([0.8])}
    """
    schedule = getattr(optimizer, "learning_rate", None)
    if isinstance(schedule, Schedule):
        optimizer = with_field(optimizer, "learning_rate", float(schedule.over(math.inf)(0)))
    slopes, _ = clipped(optimizer, [gradient for _, gradient in given.values()])
    pairs = zip(given.items(), slopes, strict=True)
    return {
        key: np.asarray(optimizer.update(before, slope, optimizer.initial_state(before))[0])
        for (key, (before, _)), slope in pairs
    }


def rate_of(optimizer: Optimizer) -> float | None:
    """Return the learning rate of an optimizer, or ``None`` if it has none or follows a schedule.

    >>> import tinygraph as tg
    >>> rate_of(tg.SGD(0.5))
    0.5
    """
    rate = getattr(optimizer, "__dict__", {}).get("learning_rate")
    return rate if isinstance(rate, (int, float)) and not isinstance(rate, bool) else None


def current_rate(optimizer: Optimizer, state: Mapping[str, tuple[Array, ...]]) -> float | None:
    """Return the learning rate of the next step, given the optimizer's state; ``None`` for an optimizer without one."""
    schedule = getattr(optimizer, "learning_rate", None)
    return float(schedule(state[STEP_COUNT][0])) if isinstance(schedule, Schedule) else rate_of(optimizer)


def over(optimizer: Optimizer, steps: Any) -> Optimizer:
    """Return the optimizer for a training of ``steps`` steps, a number or a symbol: the length of a schedule that has none.

    >>> import tinygraph as tg
    >>> over(tg.SGD(tg.CosineDecay(0.1)), 100)
    SGD(learning_rate=CosineDecay(rate=0.1, steps=100))
    """
    schedule = getattr(optimizer, "learning_rate", None)
    return with_field(optimizer, "learning_rate", schedule.over(steps)) if isinstance(schedule, Schedule) else optimizer


def checked_rate(optimizer: Optimizer, rate: Any, parameters: Iterable[Tensor]) -> Optimizer:
    """Return a copy of an optimizer with another learning rate.

    Raises ``AttributeValueError`` for a rate that is not positive, that the optimizer's constructor refuses, or that is
    infinite or zero in the dtype of a parameter.

    >>> import tinygraph as tg
    >>> checked_rate(tg.SGD(0.5), -1, [])
    Traceback (most recent call last):
    tinygraph.errors.AttributeValueError: SGD: learning_rate must be positive and finite; found -1.0
    """
    rate = conform(type(optimizer).__name__, "learning_rate", rate, float)
    changed = with_field(optimizer, "learning_rate", rate)
    require(changed, "learning_rate", 0 < rate < math.inf, "must be positive and finite")
    getattr(changed, "__post_init__", lambda: None)()
    for parameter in parameters:
        check_settings(changed, parameter)
    return changed


def check_settings(optimizer: Optimizer, parameter: Tensor) -> None:
    """Raise ``AttributeValueError`` for settings that become infinite or zero in the parameter's dtype."""
    dtype = parameter.dtype
    for name, value in getattr(optimizer, "__dict__", {}).items():
        value = value.rate if isinstance(value, Schedule) else value
        if not isinstance(value, float):
            continue
        with np.errstate(all="ignore"):
            found = float(dtype.type(value))
        lost = name == "learning_rate" and value and not found
        if lost or (math.isfinite(value) and not math.isfinite(found)):
            where = f"in {dtype}, the dtype of the parameter {parameter.name!r}"
            raise AttributeValueError(f"{type(optimizer).__name__}: {name} {value:g} is {found:g} {where}")
