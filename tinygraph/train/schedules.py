"""Learning rates that change from step to step, written in operations: they are part of the update.

``t`` counts the steps that were done before, so it is 0 in the first step.
"""

from __future__ import annotations

import copy
import math
import typing
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

import numpy as np

from tinygraph.errors import AttributeValueError, counted
from tinygraph.graph import Tensor, Value, conform

Settings = TypeVar("Settings")


@dataclass(frozen=True, repr=False)
class Schedule:
    """A learning rate that is constant after its warm-up, and the base of those that fall.

    In the first ``warmup`` steps the rate grows in equal parts, ``min(1, (t + 1) / warmup) * rate``; source: Goyal et al.,
    *Accurate, Large Minibatch SGD*, 2017 (arXiv:1706.02677), 2.2. A subclass defines ``after_warmup``. ``rate`` is positive,
    ``warmup`` a number of steps. Called with ``t``, an integer, an array or a tensor, it gives the rate of that step in
    float64. Raises ``AttributeValueError``.

    >>> slow_start = Schedule(0.1, warmup=4)
    >>> [round(float(slow_start(t)), 3) for t in range(6)]
    [0.025, 0.05, 0.075, 0.1, 0.1, 0.1]
    """

    rate: float
    warmup: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        conform_fields(self)
        require(self, "rate", 0 < self.rate < math.inf, "must be positive and finite")
        require(self, "warmup", self.warmup >= 0, "must not be negative")

    def __repr__(self) -> str:
        return call_of(self)

    def __call__(self, t: Value) -> Value:
        if not self.warmup:
            return self.after_warmup(t)
        return np.minimum((t + 1) / self.warmup, 1) * self.after_warmup(np.maximum(t - self.warmup, 0))

    def after_warmup(self, t: Value) -> Value:
        """Return the rate after ``t`` steps, not counting the warm-up."""
        return self.rate

    def over(self, steps: Any) -> Schedule:
        """Return the schedule for a training of ``steps`` steps, a number or a symbol, which counts unless it has its own."""
        return self


@dataclass(frozen=True, repr=False)
class StepDecay(Schedule):
    """A learning rate that is multiplied by ``factor`` again and again, each time after ``every`` steps.

    The rate is ``rate * factor**floor(t / every)``, where ``t`` counts from the end of the warm-up. Without ``every`` it is a
    third of the training, so that the rate falls twice, as in He et al., *Deep Residual Learning*, 2015 (arXiv:1512.03385).
    ``factor`` lies between 0 and 1. Raises ``AttributeValueError``.

    >>> [float(StepDecay(0.8, every=2, factor=0.5)(t)) for t in range(6)]
    [0.8, 0.8, 0.4, 0.4, 0.2, 0.2]
    """

    every: int | None = None
    factor: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "every", self.every is None or self.every >= 1, "must be at least 1")
        require(self, "factor", 0 < self.factor < 1, "must lie between 0 and 1")

    def after_warmup(self, t: Value) -> Value:
        return self.rate * self.factor ** np.floor(t / _known(self, "every"))

    def over(self, steps: Any) -> Schedule:
        return self if self.every is not None else with_field(self, "every", _after(self, steps) / 3)


@dataclass(frozen=True, repr=False)
class CosineDecay(Schedule):
    """A learning rate that falls from ``rate`` to ``final`` along half a cosine, and then stays there.

    The rate is ``final + (rate - final) * (1 + cos(pi * t / n)) / 2``, where ``t`` counts from the end of the warm-up and
    ``n = steps - warmup``. Without ``steps`` they are those of the whole training. ``final`` is at least 0 and at most
    ``rate``. Raises ``AttributeValueError``. Source: Loshchilov and Hutter, *SGDR*, 2016 (arXiv:1608.03983), (5).

    >>> falling = CosineDecay(0.1, steps=6, warmup=2)
    >>> [round(float(falling(t)), 3) for t in range(7)]
    [0.05, 0.1, 0.1, 0.085, 0.05, 0.015, 0.0]
    """

    steps: int | None = None
    final: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "final", 0 <= self.final <= self.rate, f"must lie in 0 to {self.rate:g}, the rate")
        if self.steps is not None:
            require(self, "steps", self.steps > 0, "must be positive")
            _after(self, self.steps)

    def after_warmup(self, t: Value) -> Value:
        share = (1 + np.cos(np.pi * np.minimum(t / _after(self, _known(self, "steps")), 1))) / 2
        return self.final + (self.rate - self.final) * share if self.final else self.rate * share

    def over(self, steps: Any) -> Schedule:
        if self.steps is not None:
            return self
        _after(self, steps)
        return with_field(self, "steps", steps)


SCHEDULES: dict[str, type[Schedule]] = {"constant": Schedule, "step": StepDecay, "cosine": CosineDecay}


def _known(schedule: Schedule, name: str) -> Any:
    """Return the length of a schedule, or raise an error that says who would know it."""
    if (length := getattr(schedule, name)) is None:
        advice = "give it, or train with fit, which knows the number of steps"
        raise AttributeValueError(f"{type(schedule).__name__}: {name} is missing; {advice}")
    return length


def _after(schedule: Schedule, steps: Any) -> Any:
    """Return how many of ``steps`` follow the warm-up, or refuse a number that leaves none."""
    if not isinstance(steps, Tensor) and steps <= schedule.warmup:
        who, lengths = type(schedule).__name__, (counted(n, "step") for n in (schedule.warmup, steps))
        raise AttributeValueError("{}: a warm-up of {} must be shorter than the training, {}".format(who, *lengths))
    return steps - schedule.warmup if schedule.warmup else steps


def conform_fields(settings: Any) -> None:
    """Convert the fields of a frozen dataclass to the types of their annotations, or raise ``AttributeValueError``."""
    for name, kind in typing.get_type_hints(type(settings)).items():
        object.__setattr__(settings, name, conform(type(settings).__name__, name, getattr(settings, name), kind))


def require(settings: Any, name: str, holds: bool, what: str) -> None:
    """Raise ``AttributeValueError`` with the value of a field, unless a condition on it holds."""
    if not holds:
        raise AttributeValueError(f"{type(settings).__name__}: {name} {what}; found {getattr(settings, name)!r}")


def call_of(settings: Any, always: str = "") -> str:
    """Return the call that makes a dataclass, with the fields that differ from their defaults, and one that is always shown.

    >>> call_of(CosineDecay(0.1, warmup=10))
    'CosineDecay(rate=0.1, warmup=10)'
    """
    values = {field.name: getattr(settings, field.name) for field in fields(settings)}
    default = {field.name: field.default for field in fields(settings) if field.name != always}
    given = [f"{name}={value!r}" for name, value in values.items() if value != default.get(name)]
    return f"{type(settings).__name__}({', '.join(given)})"


def with_field(settings: Settings, name: str, value: Any) -> Settings:
    """Return a copy with another value of a field, a number or a tensor, unchecked.

    >>> with_field(CosineDecay(0.1), "steps", 10)
    CosineDecay(rate=0.1, steps=10)
    """
    changed = copy.copy(settings)
    object.__setattr__(changed, name, value)
    return changed
