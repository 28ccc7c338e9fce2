"""Optimizers: how a parameter changes, given its gradient.

Update rules are written in operators and operations, so that one rule computes on arrays and records on tensors.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from tinygraph.errors import AttributeValueError, TinygraphError, UnknownNameError, listing, nearest
from tinygraph.graph import Array, Value
from tinygraph.ops.elementwise.cast import cast
from tinygraph.ops.elementwise.exponential import sqrt
from tinygraph.train.feeds import type_name
from tinygraph.train.schedules import SCHEDULES, Schedule, call_of, conform_fields, require, with_field

if TYPE_CHECKING:
    from tinygraph.model import Model

State: TypeAlias = tuple[Value, ...]


class Optimizer(ABC):
    """The base of optimizers: a rule from a parameter, its gradient and its state to a new parameter and a new state.

    A subclass defines ``update`` and, if it keeps state between steps, ``initial_state`` and ``state_names``.

    >>> from dataclasses import dataclass, field
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


@dataclass(frozen=True, repr=False)
class Descent(Optimizer):
    """The base of the optimizers here: ``theta = theta - learning_rate * (step + weight_decay * theta)``.

    A subclass makes the ``step`` from the gradient. ``learning_rate`` is a positive number, or a ``Schedule``. The decay is
    decoupled from the gradient: it does not pass through running means. Source: Loshchilov and Hutter, *Decoupled Weight
    Decay Regularization*, 2017 (arXiv:1711.05101). ``clip_norm``, if not ``None``, limits the norm of all gradients
    together: each is multiplied by ``clip_norm / max(norm, clip_norm)`` before the update, where ``norm**2`` is the sum of
    the squares of all their elements. Source: Pascanu et al., *On the difficulty of training recurrent neural networks*,
    2013 (arXiv:1211.5063), algorithm 1.
    """

    learning_rate: float | Schedule = 0.1
    weight_decay: float = field(default=0.0, kw_only=True)
    clip_norm: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        conform_fields(self)
        for name, value in vars(self).items():
            if name in ("learning_rate", "epsilon", "clip_norm") and isinstance(value, float):
                require(self, name, 0 < value < math.inf, "must be positive and finite")
            if name in ("momentum", "beta1", "beta2", "rho"):
                require(self, name, 0 <= value < 1, "must lie in 0 to 1, without 1")
        require(self, "weight_decay", 0 <= self.weight_decay < math.inf, "must be finite and not negative")

    def __repr__(self) -> str:
        return call_of(self, always="learning_rate")

    def initial_state(self, parameter: Value) -> tuple[Array, ...]:
        """Return zeros in the parameter's shape and dtype, for each of the ``state_names``."""
        return tuple(np.zeros(parameter.shape, parameter.dtype) for _ in self.state_names)

    def moved(self, parameter: Value, step: Value) -> Value:
        """Return the parameter after a step against ``step``, with the decay of the weights."""
        if self.weight_decay:
            step = step + self.weight_decay * parameter
        return parameter - self.learning_rate * step


@dataclass(frozen=True, repr=False)
class SGD(Descent):
    """Gradient descent on batches: ``theta = theta - learning_rate * gradient``.

    Without momentum this is the update of the notes for each of their parameters: U1 (W3), U2 (B3), U3 (K2), U4 (B2),
    U5 (K1), U6 (B1), with alpha for the learning rate. With momentum, as in PyTorch:
    ``v = momentum * v + gradient``, ``theta = theta - learning_rate * v``, and ``v`` starts at zero.

    ``learning_rate`` is a positive number or a ``Schedule``, ``momentum`` at least 0 and less than 1. ``weight_decay`` and
    ``clip_norm`` are explained in ``Descent``. Parameter, gradient and ``v`` have the same shape and floating dtype. Raises
    ``AttributeValueError``. Source of the momentum: B. T. Polyak, *Some methods of speeding up the convergence of iteration
    methods*, 1964.

    >>> W3, dW3 = np.array([1.0, 2.0]), np.array([0.5, -0.5])
    >>> SGD(learning_rate=0.1).update(W3, dW3, ())
    (array([0.95, 2.05]), ())
    """

    momentum: float = 0.0

    @property
    def state_names(self) -> tuple[str, ...]:
        """``v`` with momentum, none without."""
        return ("v",) if self.momentum else ()

    def update(self, parameter: Value, gradient: Value, state: State) -> tuple[Value, State]:
        """Return the new parameter, and the new state ``(v,)`` or ``()``."""
        if not self.momentum:
            return self.moved(parameter, gradient), ()
        (v,) = state
        v = self.momentum * v + gradient
        return self.moved(parameter, v), (v,)


@dataclass(frozen=True, repr=False)
class Adam(Descent):
    """Adam: steps scaled by running means of the gradient (``m``) and of its square (``v``), corrected for starting at zero.

    ``t = t + 1``, ``m = beta1 * m + (1 - beta1) * gradient``, ``v = beta2 * v + (1 - beta2) * gradient**2``, and
    ``theta = theta - learning_rate * (m / (1 - beta1**t)) / (sqrt(v / (1 - beta2**t)) + epsilon)``.

    ``learning_rate`` (or the rate of a ``Schedule``) and ``epsilon`` are positive; ``beta1`` and ``beta2`` are at least 0
    and less than 1; ``weight_decay`` and ``clip_norm`` are explained in ``Descent``. Parameter, gradient, ``m`` and ``v``
    have the same shape and floating dtype; the step count ``t`` is an int64. Raises ``AttributeValueError``. Source: Kingma
    and Ba, *Adam: A Method for Stochastic Optimization*, 2014, arXiv:1412.6980, algorithm 1.

    >>> adam = Adam(learning_rate=0.1)
    >>> W = np.array([1.0, 2.0])
    >>> W, state = adam.update(W, np.array([0.5, -4.0]), adam.initial_state(W))
    >>> W.round(6), int(state[-1])
    (array([0.9, 2.1]), 1)
    """

    learning_rate: float | Schedule = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    @property
    def state_names(self) -> tuple[str, ...]:
        """The running means ``m`` and ``v``, and the step count ``t``."""
        return ("m", "v", "t")

    def initial_state(self, parameter: Value) -> tuple[Array, ...]:
        """Return ``(m, v, t)``: zeros in the parameter's shape and dtype, twice, and the integer 0."""
        return *super().initial_state(parameter)[:2], np.array(0, dtype=np.int64)

    def update(self, parameter: Value, gradient: Value, state: State) -> tuple[Value, State]:
        """Return the new parameter and the new state ``(m, v, t)``."""
        m, v, t = state
        t = t + 1
        m = self.beta1 * m + (1 - self.beta1) * gradient
        v = self.beta2 * v + (1 - self.beta2) * (gradient * gradient)
        # In float32, 1 - beta2**t would lose four digits at the first step; it is computed in float64 and then cast.
        step = m / cast(1 - self.beta1**t, parameter.dtype.name)
        scale = sqrt(v / cast(1 - self.beta2**t, parameter.dtype.name)) + self.epsilon
        return self.moved(parameter, step / scale), (m, v, t)


@dataclass(frozen=True, repr=False)
class AdamW(Adam):
    """Adam with decoupled weight decay: ``Adam`` whose ``weight_decay`` is 0.01 by default, as in PyTorch.

    Source: Loshchilov and Hutter, *Decoupled Weight Decay Regularization*, 2017, arXiv:1711.05101, algorithm 2. Raises
    ``AttributeValueError``.

    >>> adam = AdamW(learning_rate=0.1)
    >>> W = np.array([1.0, 2.0])
    >>> adam.update(W, np.zeros(2), adam.initial_state(W))[0]
    array([0.999, 1.998])
    """

    weight_decay: float = field(default=0.01, kw_only=True)


@dataclass(frozen=True, repr=False)
class RMSprop(Descent):
    """RMSprop: steps scaled by a running mean of the square of the gradient (``v``).

    ``v = rho * v + (1 - rho) * gradient**2`` and ``theta = theta - learning_rate * gradient / (sqrt(v) + epsilon)``. With
    momentum, ``b = momentum * b + gradient / (sqrt(v) + epsilon)`` and ``theta = theta - learning_rate * b``, as in PyTorch.

    ``learning_rate`` (or the rate of a ``Schedule``) and ``epsilon`` are positive; ``rho`` and ``momentum`` are at least 0
    and less than 1; ``weight_decay`` and ``clip_norm`` are explained in ``Descent``. Parameter, gradient, ``v`` and ``b``
    have the same shape and floating dtype. Raises ``AttributeValueError``. Source: Tieleman and Hinton, *Neural Networks
    for Machine Learning*, lecture 6.5, 2012.

    >>> W, optimizer = np.array([1.0, 2.0]), RMSprop(learning_rate=0.1, rho=0.75)
    >>> optimizer.update(W, np.array([2.0, -4.0]), optimizer.initial_state(W))[0].round(6)
    array([0.8, 2.2])
    """

    learning_rate: float | Schedule = 0.01
    rho: float = 0.99
    momentum: float = 0.0
    epsilon: float = 1e-8

    @property
    def state_names(self) -> tuple[str, ...]:
        """``v``, and ``b`` with momentum."""
        return ("v", "b") if self.momentum else ("v",)

    def update(self, parameter: Value, gradient: Value, state: State) -> tuple[Value, State]:
        """Return the new parameter, and the new state ``(v,)`` or ``(v, b)``."""
        v = self.rho * state[0] + (1 - self.rho) * (gradient * gradient)
        step = gradient / (sqrt(v) + self.epsilon)
        if not self.momentum:
            return self.moved(parameter, step), (v,)
        b = self.momentum * state[1] + step
        return self.moved(parameter, b), (v, b)


_NAMED: dict[str, type[Descent]] = {"sgd": SGD, "adam": Adam, "adamw": AdamW, "rmsprop": RMSprop}


def make_optimizer(
    name: str,
    learning_rate: float | None = None,
    momentum: float = 0.0,
    weight_decay: float | None = None,
    clip_norm: float | None = None,
    schedule: str = "constant",
    warmup: int = 0,
) -> Optimizer:
    """Return the optimizer called ``"sgd"``, ``"adam"``, ``"adamw"`` or ``"rmsprop"``; what is ``None`` has its default.

    ``schedule`` is ``"constant"``, ``"step"`` (``StepDecay``) or ``"cosine"`` (``CosineDecay``), after ``warmup`` steps.
    Raises ``UnknownNameError``, and ``AttributeValueError`` for settings out of range and for momentum for Adam.

    >>> make_optimizer("sgd", 0.5, momentum=0.9)
    SGD(learning_rate=0.5, momentum=0.9)
    >>> make_optimizer("adamw", schedule="cosine", warmup=10)
    AdamW(learning_rate=CosineDecay(rate=0.001, warmup=10))
    >>> make_optimizer("sgd", schedule="cos")
    Traceback (most recent call last):
    tinygraph.errors.UnknownNameError: no schedule is called 'cos' (there are 'constant', 'step' and 'cosine')
    """
    kind = _named("optimizer", name, _NAMED)
    settings = {"learning_rate": learning_rate, "weight_decay": weight_decay, "clip_norm": clip_norm}
    if momentum:
        if not hasattr(kind, "momentum"):
            raise AttributeValueError(f"momentum is a setting of 'sgd' and 'rmsprop'; {name!r} takes none")
        settings["momentum"] = momentum
    made: Descent = kind(**{key: value for key, value in settings.items() if value is not None})
    scheduled = _named("schedule", schedule, SCHEDULES)
    if scheduled is Schedule and not warmup:
        return made
    return with_field(made, "learning_rate", scheduled(made.learning_rate, warmup=warmup))


def _named(what: str, name: str, known: Mapping[str, Any]) -> Any:
    if name not in known:
        raise UnknownNameError(f"no {what} is called {name!r}{nearest(str(name), known)} (there are {listing(known)})")
    return known[name]


# The settings of the ``[training]`` table that are those of the optimizer it names.
SETTINGS = ("learning_rate", "momentum", "weight_decay", "clip_norm", "schedule", "warmup")


def as_optimizer(model: Model, optimizer: Any, **settings: Any) -> Optimizer:
    """Return an optimizer given as an object, by its name, or as ``None`` for the one that the model names.

    By name, settings that are ``None`` are those of the model if it names that optimizer, else the optimizer's defaults;
    they are those of ``make_optimizer``.

    >>> from tinygraph.model import load_model
    >>> as_optimizer(load_model("xor"), "sgd"), as_optimizer(load_model("xor"), "adam", warmup=9)
    (SGD(learning_rate=1.0), Adam(learning_rate=Schedule(rate=0.001, warmup=9)))
    """
    if isinstance(optimizer, Optimizer):
        return optimizer
    name = model.training.optimizer if optimizer is None else optimizer
    if not isinstance(name, str):
        wanted = f"an optimizer, such as SGD(0.1), or one of the names {listing(_NAMED)}"
        raise TinygraphError(f"optimizer must be {wanted}; found {type_name(optimizer)}")
    own = {key: getattr(model.training, key) for key in SETTINGS} if name == model.training.optimizer else {}
    return make_optimizer(name, **own | {key: value for key, value in settings.items() if value is not None})
