"""Optimizers: how a parameter changes, given its gradient.

Update rules are written in operators and operations, so that one rule computes on arrays and records on tensors.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from tinygraph.describe.text import aligned
from tinygraph.errors import AttributeValueError, TinygraphError, UnknownNameError, listing, nearest
from tinygraph.graph import Array, Graph, Tensor, Value, conform
from tinygraph.graph.tensor import input as declare_input
from tinygraph.ops.elementwise.cast import cast
from tinygraph.ops.elementwise.exponential import sqrt
from tinygraph.train.feeds import type_name

if TYPE_CHECKING:
    from tinygraph.model import Model

State: TypeAlias = tuple[Value, ...]


class Optimizer(ABC):
    """The base of optimizers: a rule from a parameter, its gradient and its state to a new parameter and a new state.

    A subclass defines ``update`` and, if it keeps state between steps, ``initial_state`` and ``state_names``.

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class SignDescent(Optimizer):
    ...     step: float = 0.01
    ...     def update(self, parameter, gradient, state):
    ...         return parameter - self.step * np.sign(gradient), state
    >>> SignDescent().update(np.array([1.0, 1.0]), np.array([3.0, -0.2]), ())
    (array([0.99, 1.01]), ())
    """

    @property
    def state_names(self) -> tuple[str, ...]:
        """The symbols of the state in equations: with ``("v",)``, parameter ``K1`` has the state ``v_K1``."""
        return ()

    def initial_state(self, parameter: Value) -> tuple[Array, ...]:
        """Return the state of a parameter (a tensor or an array) before the first step."""
        return ()

    @abstractmethod
    def update(self, parameter: Value, gradient: Value, state: State) -> tuple[Value, State]:
        """Return the new parameter and the new state, each with the shape and dtype of the old one."""


@dataclass(frozen=True)
class SGD(Optimizer):
    """Gradient descent on batches: ``theta = theta - learning_rate * gradient``.

    Without momentum this is the update of the notes for each of their parameters: U1 (W3), U2 (B3), U3 (K2), U4 (B2),
    U5 (K1), U6 (B1), with alpha for the learning rate. With momentum, as in PyTorch:
    ``v = momentum * v + gradient``, ``theta = theta - learning_rate * v``, and ``v`` starts at zero.

    ``learning_rate`` is positive, ``momentum`` at least 0 and less than 1. Parameter, gradient and ``v`` have the same shape
    and floating dtype. Raises ``AttributeValueError``. Source of the momentum: B. T. Polyak,
    *Some methods of speeding up the convergence of iteration methods*, 1964.

    >>> W3, dW3 = np.array([1.0, 2.0]), np.array([0.5, -0.5])
    >>> SGD(learning_rate=0.1).update(W3, dW3, ())
    (array([0.95, 2.05]), ())
    """

    learning_rate: float = 0.1
    momentum: float = 0.0

    def __post_init__(self) -> None:
        _check_ranges(self, positive=("learning_rate",), fractions=("momentum",))

    @property
    def state_names(self) -> tuple[str, ...]:
        """``v`` with momentum, none without."""
        return ("v",) if self.momentum else ()

    def initial_state(self, parameter: Value) -> tuple[Array, ...]:
        """Return ``(v,)``, zeros in the parameter's shape and dtype; ``()`` without momentum."""
        return (np.zeros(parameter.shape, parameter.dtype),) if self.momentum else ()

    def update(self, parameter: Value, gradient: Value, state: State) -> tuple[Value, State]:
        """Return the new parameter, and the new state ``(v,)`` or ``()``."""
        if not self.momentum:
            return parameter - self.learning_rate * gradient, ()
        (v,) = state
        v = self.momentum * v + gradient
        return parameter - self.learning_rate * v, (v,)


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam: steps scaled by running means of the gradient (``m``) and of its square (``v``), corrected for starting at zero.

    ``t = t + 1``, ``m = beta1 * m + (1 - beta1) * gradient``, ``v = beta2 * v + (1 - beta2) * gradient**2``, and
    ``theta = theta - learning_rate * (m / (1 - beta1**t)) / (sqrt(v / (1 - beta2**t)) + epsilon)``.

    ``learning_rate`` and ``epsilon`` are positive; ``beta1`` and ``beta2`` are at least 0 and less than 1. Parameter,
    gradient, ``m`` and ``v`` have the same shape and floating dtype; the step count ``t`` is an int64. Raises
    ``AttributeValueError``. Source: Kingma and Ba, *Adam: A Method for Stochastic Optimization*, 2014,
    arXiv:1412.6980, algorithm 1.

    >>> adam = Adam(learning_rate=0.1)
    >>> W = np.array([1.0, 2.0])
    >>> W, state = adam.update(W, np.array([0.5, -4.0]), adam.initial_state(W))
    >>> W.round(6), int(state[-1])
    (array([0.9, 2.1]), 1)
    """

    learning_rate: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        _check_ranges(self, positive=("learning_rate", "epsilon"), fractions=("beta1", "beta2"))

    # The running means, and the step count.
    state_names = ("m", "v", "t")

    def initial_state(self, parameter: Value) -> tuple[Array, ...]:
        """Return ``(m, v, t)``: zeros in the parameter's shape and dtype, twice, and the integer 0."""
        zeros = np.zeros(parameter.shape, parameter.dtype)
        return zeros, zeros.copy(), np.array(0, dtype=np.int64)

    def update(self, parameter: Value, gradient: Value, state: State) -> tuple[Value, State]:
        """Return the new parameter and the new state ``(m, v, t)``."""
        m, v, t = state
        t = t + 1
        m = self.beta1 * m + (1 - self.beta1) * gradient
        v = self.beta2 * v + (1 - self.beta2) * (gradient * gradient)
        # In float32, 1 - beta2**t would lose four digits at the first step; it is computed in float64 and then cast.
        step = m / cast(1 - self.beta1**t, parameter.dtype.name)
        scale = sqrt(v / cast(1 - self.beta2**t, parameter.dtype.name)) + self.epsilon
        return parameter - self.learning_rate * (step / scale), (m, v, t)


_NAMED: dict[str, type[SGD] | type[Adam]] = {"sgd": SGD, "adam": Adam}


def make_optimizer(name: str, learning_rate: float | None = None, momentum: float = 0.0) -> Optimizer:
    """Return the optimizer called ``"sgd"`` or ``"adam"``; without ``learning_rate`` it has its default.

    Raises ``UnknownNameError``, and ``AttributeValueError`` for settings out of range and for momentum for Adam.

    >>> make_optimizer("sgd", 0.5)
    SGD(learning_rate=0.5, momentum=0.0)
    >>> make_optimizer("adm")
    Traceback (most recent call last):
    tinygraph.errors.UnknownNameError: no optimizer is called 'adm'; did you mean 'adam'? (there are 'sgd' and 'adam')
    """
    if name not in _NAMED:
        hint = nearest(str(name), _NAMED)
        raise UnknownNameError(f"no optimizer is called {name!r}{hint} (there are {listing(_NAMED)})")
    settings: dict[str, Any] = {} if learning_rate is None else {"learning_rate": learning_rate}
    if momentum:
        if name != "sgd":
            raise AttributeValueError(f"momentum is a setting of 'sgd'; {name!r} takes none")
        settings["momentum"] = momentum
    return _NAMED[name](**settings)


def as_optimizer(model: Model, optimizer: Any, learning_rate: float | None = None) -> Optimizer:
    """Return an optimizer given as an object, by its name, or as ``None`` for the one that the model names.

    By name, settings that are not given are those of the model if it names that optimizer, else the optimizer's defaults.

    >>> from tinygraph.model import load_model
    >>> as_optimizer(load_model("xor"), "sgd"), as_optimizer(load_model("xor"), "adam").learning_rate
    (SGD(learning_rate=1.0, momentum=0.0), 0.001)
    """
    if isinstance(optimizer, Optimizer):
        return optimizer
    settings = model.training
    name = settings.optimizer if optimizer is None else optimizer
    if not isinstance(name, str):
        wanted = "an optimizer, such as SGD(0.1), or the name of one, 'sgd' or 'adam'"
        raise TinygraphError(f"optimizer must be {wanted}; found {type_name(optimizer)}")
    if name != settings.optimizer:
        return make_optimizer(name, learning_rate)
    return make_optimizer(name, settings.learning_rate if learning_rate is None else learning_rate, settings.momentum)


def update_equations(model: Any, optimizer: Optimizer) -> str:
    """Return an optimizer's update of every parameter of ``model`` as equations, one line each.

    ``dW`` is the gradient of the loss with respect to ``W``, and ``W_new`` the value that the step gives to ``W``.
    ``model`` is anything with ``parameters``, tensors by name.

    >>> import tinygraph as tg
    >>> from types import SimpleNamespace
    >>> model = SimpleNamespace(parameters={"W3": tg.parameter(np.zeros((64, 1)), name="W3")})
    >>> print(update_equations(model, SGD(learning_rate=0.1)))
    W3_new = W3 - 0.1 * dW3
    >>> print(update_equations(model, SGD(learning_rate=0.1, momentum=0.9)))
    v_W3_new = 0.9 * v_W3 + dW3
    W3_new   = W3 - 0.1 * v_W3_new
    """
    if not hasattr(model, "parameters") or not hasattr(optimizer, "initial_state"):
        found = f"{type(model).__name__} and {type(optimizer).__name__}"
        raise TinygraphError(f"update_equations takes a model and an optimizer, such as SGD(0.1); found {found}")
    gradients = {name: declare_input(f"d{name}", x.shape, x.dtype) for name, x in model.parameters.items()}
    updates = [record_update(optimizer, name, model.parameters[name], dx) for name, dx in gradients.items()]
    lines = Graph([node for update in updates for node in (update.new, *update.new_state)]).layout.equations
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
        optimizer = with_rate(optimizer, cast(rate, parameter.dtype.name) if rate.dtype != parameter.dtype else rate)
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


def record_updates(
    optimizer: Optimizer, gradients: Mapping[str, tuple[Tensor, Tensor]], dtype: np.dtype[Any]
) -> tuple[tuple[Update, ...], Tensor | None]:
    """Record the update of every parameter, given with its gradient by name; return them and the input for the learning rate.

    That is ``None`` for an optimizer that has no learning rate, or whose update needs it as a number.
    """
    rate = None if rate_of(optimizer) is None else declare_input("learning_rate", (), dtype)
    try:
        return tuple(record_update(optimizer, name, *pair, rate) for name, pair in gradients.items()), rate
    except (TypeError, ValueError, TinygraphError):
        if rate is None:
            raise
    return tuple(record_update(optimizer, name, *pair) for name, pair in gradients.items()), None


def rate_of(optimizer: Optimizer) -> float | None:
    """Return the learning rate of an optimizer, or ``None`` if it has none.

    >>> rate_of(SGD(0.5))
    0.5
    """
    rate = getattr(optimizer, "__dict__", {}).get("learning_rate")
    return rate if isinstance(rate, (int, float)) and not isinstance(rate, bool) else None


def with_rate(optimizer: Optimizer, rate: Value) -> Optimizer:
    """Return a copy of an optimizer with another learning rate, a number or a tensor, unchecked.

    >>> with_rate(SGD(0.5, momentum=0.9), 0.25)
    SGD(learning_rate=0.25, momentum=0.9)
    """
    changed = copy.copy(optimizer)
    object.__setattr__(changed, "learning_rate", rate)
    return changed


def checked_rate(optimizer: Optimizer, rate: Any, parameters: Iterable[Tensor]) -> Optimizer:
    """Return a copy of an optimizer with another learning rate.

    Raises ``AttributeValueError`` for a rate that is not positive, that the optimizer's constructor refuses, or that is
    infinite or zero in the dtype of a parameter.

    >>> checked_rate(SGD(0.5), -1, [])
    Traceback (most recent call last):
    tinygraph.errors.AttributeValueError: SGD: learning_rate must be positive and finite; found -1.0
    """
    changed = with_rate(optimizer, rate)
    _check_ranges(changed, positive=("learning_rate",))
    getattr(changed, "__post_init__", lambda: None)()
    for parameter in parameters:
        check_settings(changed, parameter)
    return changed


def check_settings(optimizer: Optimizer, parameter: Tensor) -> None:
    """Raise ``AttributeValueError`` for settings that become infinite or zero in the parameter's dtype."""
    dtype = parameter.dtype
    for name, value in getattr(optimizer, "__dict__", {}).items():
        if not isinstance(value, float):
            continue
        with np.errstate(all="ignore"):
            found = float(dtype.type(value))
        lost = name == "learning_rate" and value and not found
        if lost or (math.isfinite(value) and not math.isfinite(found)):
            where = f"in {dtype}, the dtype of the parameter {parameter.name!r}"
            raise AttributeValueError(f"{type(optimizer).__name__}: {name} {value:g} is {found:g} {where}")


def _check_ranges(optimizer: Optimizer, positive: Sequence[str] = (), fractions: Sequence[str] = ()) -> None:
    """Convert settings to floats, and refuse those out of range."""
    who = type(optimizer).__name__
    for name in (*positive, *fractions):
        value: float = conform(who, name, getattr(optimizer, name), float)
        object.__setattr__(optimizer, name, value)
        if name in positive and not 0 < value < math.inf:
            raise AttributeValueError(f"{who}: {name} must be positive and finite; found {value!r}")
        if name in fractions and not 0 <= value < 1:
            raise AttributeValueError(f"{who}: {name} must lie in 0 to 1, without 1; found {value!r}")
