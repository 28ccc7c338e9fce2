"""A part of forward that a rule takes as constant, or counts with the wrong sign or factor.

Every expression in the source of forward is a path on which an input reaches the result. While forward runs at other numbers
with the value of one expression kept as it was, differences give the gradient without that path: a rule that agrees with it
has forgotten the path. The rest of the gradient is what comes through it, once, and may stand in the rule with another weight.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygraph.graph import Array
from tinygraph.verify.hints.kinds import is_array
from tinygraph.verify.hints.spots import Rule
from tinygraph.verify.hints.trial import PROVEN, Trial, redrawn
from tinygraph.verify.numeric import contributions, unit

_SECONDS = 0.4
_MOST_TRIALS, _MOST_POINTS = 4, 12
_TOLERANCE = 1e-5
_WEIGHTS = {
    0.0: "a term is missing: the rule takes {} as constant",
    -1.0: "sign of a term: that of what comes through {}",
    2.0: "a term is counted twice, what comes through {}: off by a factor of 2",
    0.5: "half of a term, of what comes through {}: off by a factor of 0.5",
}


def find(trials: Sequence[Trial]) -> str:
    """Return which part of forward a rule does not differentiate as it should, in words, or nothing."""
    wrong = [trial for trial in trials if trial.finding.wrong and trial.points and not trial.finding.message]
    if not wrong or wrong[0].rule.op.surrogate:
        return ""
    first, *others = sorted(wrong, key=lambda trial: -min(len(trial.points), _MOST_POINTS))[:_MOST_TRIALS]
    others = others or [redrawn(first)]
    forward, ends = Rule(type(first.rule.op), method="forward"), time.thread_time() + _SECONDS
    for number, spot in enumerate(forward.spots):
        if time.thread_time() > ends:
            break
        weight = _weight(forward, number, first) if spot.line and not spot.constant else None
        if weight is not None and all(_weight(forward, number, other) == weight for other in others):
            where = f"`{spot.text}`, in line {spot.line} of forward,"
            return f"{_WEIGHTS[weight].format(where)}; so it is on all {1 + len(others)}{PROVEN}"
    return ""


def _weight(forward: Rule, number: int, trial: Trial) -> float | None:
    """Return the weight with which a rule counts what comes through a spot, if it is one of ``_WEIGHTS`` and explains all."""
    points = trial.points[:_MOST_POINTS]
    found, numeric = (np.array([getattr(point, name) for point in points]) for name in ("rule", "numeric"))
    size = float(np.maximum(abs(found), abs(numeric)).max(initial=0.0))
    try:
        frozen = _Frozen(forward, number, trial)
        without = np.array([frozen.slope(unit(trial.gradient.shape, point.index or ())) for point in points])
        # All elements, not the points alone.
        direction = np.random.default_rng(9).standard_normal(trial.gradient.shape)
        along, whole = frozen.slope(direction), trial.rule.slope(trial.place, direction).value
    except Exception:
        # Forward may do another thing next to a point, or raise there.
        return None
    through = numeric - without
    if not np.isfinite(through).all() or abs(through).max() < 1e-3 * size:
        return None
    weight = float(through @ (found - without) / (through @ through))
    known = next((each for each in _WEIGHTS if math.isclose(weight, each, abs_tol=1e-3)), None)
    if known is None or not (abs(found - without - known * through) <= _TOLERANCE * size).all():
        return None
    given, expected = float((trial.gradient * direction).sum()), along + known * (whole - along)
    return known if math.isclose(given, expected, rel_tol=1e-4, abs_tol=1e-4 * size) else None


class _Frozen:
    """Forward as a function of one input, with the values of one spot kept as they are in a trial."""

    def __init__(self, forward: Rule, number: int, trial: Trial) -> None:
        self.forward, self.number, self.trial = forward, number, trial
        self.kept: list[tuple[Any, Array]] = []
        self.values(trial.values[trial.place], self._keep)
        if not all(np.array_equal(value, kept, equal_nan=True) for value, kept in self.kept):
            raise TypeError("an array that forward writes into is no value")

    def values(self, x: Array, change: Any) -> Array:
        """Return the result where the input is ``x``."""
        inputs = [np.array(value) for value in self.trial.values]
        inputs[self.trial.place] = x
        return np.asarray(self.forward.returned(self.trial.rule.op, inputs, self.number, change))

    def slope(self, direction: Array) -> float:
        """Return the slope along a direction, of the result times its gradient."""
        x, dy = self.trial.values[self.trial.place], self.trial.rule.cotangent
        return float(contributions(lambda x: self.values(x, self._kept()), x, direction, dy).sum())

    def _keep(self, value: Any) -> Any:
        if not isinstance(value, (float, np.floating)) and not is_array(value):
            raise TypeError("only numbers are kept")
        self.kept.append((value, np.array(value)))
        return value

    def _kept(self) -> Any:
        # One run may come to a spot several times.
        values = iter(self.kept)
        return lambda value: next(values)[1].copy()
