"""The error of a gradient against the size of the step that measures it: what tells rounding from a wrong rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from tinygraph.graph.arrays import Array
from tinygraph.verify.certificate.case import Case
from tinygraph.verify.certificate.line import Line, agreed, failed, not_asked
from tinygraph.verify.certificate.subject import Subject
from tinygraph.verify.names import input_name

STEPS = tuple(10.0**-power for power in range(1, 13))
_FALLEN = 1e-5


@dataclass(frozen=True)
class Curve:
    """Relative errors of a gradient along one random direction, beside central differences at each of ``STEPS``.

    For a right rule they fall with the square of the step until rounding takes over; for a wrong one they stay.
    """

    label: str
    errors: tuple[float, ...]

    @property
    def least(self) -> float:
        """The smallest error."""
        return min(self.errors)

    @property
    def step(self) -> float:
        """The step at which the error is smallest."""
        return STEPS[self.errors.index(self.least)]


def curve(case: Case, place: int) -> Curve:
    """Return the curve of one input of a case.

    >>> import tinygraph as tg
    >>> case = Case(tg.exp.op, tg.Sample([0.5, 1.0]), 1, 0)
    >>> curve(case, 0).least < 1e-9
    True
    """
    x, dy = case.inputs[place], case.rule.cotangent
    direction = np.random.default_rng([1, 2, place]).standard_normal(x.shape)
    rule = float((case.rule.gradient(place, dy) * direction).sum())

    def along(step: float) -> Array:
        moved = x + step * direction
        return case.compute([moved if other == place else value for other, value in enumerate(case.inputs)])

    return Curve(input_name(case.op, place), tuple(_error(rule, _slope(along, step, dy)) for step in STEPS))


def _slope(along: Callable[[float], Array], step: float, dy: Array) -> float:
    try:
        ahead, behind = along(step), along(-step)
    except Exception:
        # Outside the domain there is no slope at this step.
        return np.nan
    # What is infinite on both sides, such as a mask, stays so and has no part in a slope.
    moves = ~(np.isinf(ahead) & (ahead == behind))
    return float((dy * (ahead - behind))[moves].sum() / (2 * step))


def _error(rule: float, numeric: float) -> float:
    size = max(abs(rule), abs(numeric))
    error = abs(rule - numeric) / size if size else 0.0
    return error if np.isfinite(error) else 1.0


def curves(subject: Subject) -> list[Curve]:
    """Return the curves of all inputs of the first case that has a gradient."""
    return [curve(case, place) for case in subject.differentiable[:1] for place in case.places]


def error_against_step(subject: Subject) -> Iterator[Line]:
    """Measure the error at twelve steps: it falls for a right rule, and stays for a wrong one."""
    name = "error against step"
    found = curves(subject)
    if not found:
        yield not_asked(name, "no gradient flows")
        return
    worst = max(found, key=lambda curve: curve.least)
    if worst.least < _FALLEN:
        yield agreed(name, f"falls to {worst.least:.0e} at step {worst.step:.0e}")
    else:
        yield failed(name, f"stays at {np.median(worst.errors):.1g} for {worst.label}: a wrong rule, not rounding")
