"""The checks at special numbers: kinks and ties, NaN, and numbers so large that naive formulas overflow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from tinygraph.certify.case import Array, Case, short
from tinygraph.certify.line import Line, agreed, failed, not_asked
from tinygraph.certify.subject import Subject
from tinygraph.check.names import input_name
from tinygraph.check.numeric import Derivative, contributions, one_sided
from tinygraph.errors import TinygraphError
from tinygraph.graph.op import Sample

Function = Callable[[Array], Array]

_MOST_ELEMENTS = 6
_STEP = 1e-6
_TOLERANCE = 1e-5


@dataclass(frozen=True)
class _Kink:
    """An element of an input, and a result whose slopes to the two sides differ there."""

    where: str
    rule: float
    right: float
    left: float

    @property
    def chosen(self) -> str:
        """Which slope the rule takes, or nothing if it takes none that the two sides allow."""
        choices = {"right": self.right, "left": self.left, "mean": (self.right + self.left) / 2}
        scale = max(abs(self.right), abs(self.left))
        return next((side for side, slope in choices.items() if abs(self.rule - slope) <= _TOLERANCE * scale), "")

    def __str__(self) -> str:
        return f"{self.where}: rule {self.rule:.4g}, slopes {self.left:.4g} before and {self.right:.4g} after"


def kinks_and_ties(subject: Subject) -> Iterator[Line]:
    """Look for kinks and ties, at zero, at whole numbers, at attributes; there the rule takes the slope of one side.

    The mean of the two sides will do as well, as for the slope 0 of ``abs`` at 0.
    """
    found: list[_Kink] = []
    for case in subject.differentiable:
        for inputs in _tied(case):
            try:
                tied = Case(subject.op, Sample(*inputs, **case.sample.attributes), case.number, subject.seed)
                found += _kinks_of(tied)
            except Exception:
                # At ties an operation may be undefined, or its rule not: that says nothing of where it is defined.
                continue
    wrong = next((kink for kink in found if not kink.chosen), None)
    if wrong:
        yield failed("kinks and ties", "the rule takes neither slope", str(wrong), _why(wrong))
    elif found:
        sides = [side for side in ("left", "right", "mean") if any(kink.chosen == side for kink in found)]
        yield agreed("kinks and ties", f"{len(found)} found, the slope is that of: {', '.join(sides)}", len(found))
    elif subject.differentiable:
        yield agreed("kinks and ties", "none found")
    else:
        yield not_asked("kinks and ties", "no gradient flows")


def _why(kink: _Kink) -> str:
    if np.isfinite(kink.rule):
        return "compare with the branch of forward"
    return "a division by zero, or 0 times infinity: put a harmless number there with np.where(y > 0, y, 1)"


def _tied(case: Case) -> Iterator[list[Array]]:
    """Yield inputs at which kinks and ties are likely."""
    numbers = [v for v in case.op.attributes().values() if isinstance(v, (int, float)) and not isinstance(v, bool)]
    levels = dict.fromkeys([0.0, 1.0, *(float(v) for v in numbers), *(-float(v) for v in numbers)])
    if sum(case.inputs[place].size for place in case.floating) > 200:
        return
    for level in levels:
        yield [np.full(x.shape, level) if x.dtype.kind == "f" else x for x in case.inputs]
    yield [np.round(x) if x.dtype.kind == "f" else x for x in case.inputs]


def _kinks_of(case: Case) -> Iterator[_Kink]:
    if not np.isfinite(case.y).all():
        return
    for place in case.places:
        x = case.inputs[place]
        for flat in np.linspace(0, x.size - 1, min(x.size, _MOST_ELEMENTS)).astype(int):
            index = tuple(int(i) for i in np.unravel_index(flat, x.shape))
            yield from _at(case, place, index)


def _at(case: Case, place: int, index: tuple[int, ...]) -> Iterator[_Kink]:
    """Yield the results that have a kink in one element, each with a gradient of one for it alone."""
    x = case.inputs[place]
    direction = np.zeros(x.shape)
    direction[index] = 1.0

    def function(moved: Array) -> Array:
        return case.compute([moved if other == place else value for other, value in enumerate(case.inputs)])

    for output in _suspects(function, x, direction):
        dy = np.zeros(case.y.shape)
        dy[output] = 1.0
        right, left = one_sided(function, x, direction, dy)
        if right is None or left is None or not _apart(right, left):
            continue
        rule = float(case.rule.gradient(place, dy)[index])
        name = f"{case.call()}, {input_name(case.op, place)}{list(index)}"
        yield _Kink(name, rule, right.value, left.value)


def _suspects(function: Function, x: Array, direction: Array) -> list[tuple[int, ...]]:
    """Return up to two results whose differences to the two sides are not alike, at one small step."""
    here, ahead, behind = (np.asarray(function(x + step * direction)) for step in (0.0, _STEP, -_STEP))
    right, left = ahead - here, here - behind
    apart = abs(right - left) > 1e-2 * (abs(right) + abs(left)) + 1e-12 * abs(here)
    return [tuple(int(i) for i in place) for place in np.argwhere(apart)[:2]]


def _apart(right: Derivative, left: Derivative) -> bool:
    jump = abs(right.value - left.value)
    return jump > 10 * (right.error + left.error) and jump > 1e-6 * (abs(right.value) + abs(left.value))


def stated_edges(subject: Subject) -> Iterator[Line]:
    """Compare the gradients that the operation's ``edges`` state with those that its rule gives there."""
    for number, edge in enumerate(subject.op.edges, start=1):
        case = Case(subject.op, edge.sample, number, subject.seed)
        found = case.gradients(case.inputs, np.ones(case.y.shape))
        for place, dx, stated in zip(case.floating, found, edge.gradients, strict=True):
            if not np.array_equal(dx, stated):
                told = f"the gradient of {input_name(case.op, place)} is {short(dx)}, stated is {short(stated)}"
                yield failed("stated edges", "differ from the rule", f"{case.call()}, {told}", "> or >= in the rule")
                return
    edges = len(subject.op.edges)
    yield (
        agreed("stated edges", f"{edges} agree")
        if edges
        else not_asked("stated edges", "none; edges=[...] would pin the choice at a kink down")
    )


def not_a_number(subject: Subject) -> Iterator[Line]:
    """Look for NaN that finite inputs gave, and put NaN into one element: results that change with it are NaN."""
    asked = 0
    for case in subject.smallest_first():
        for place in case.places:
            try:
                fault, example = _missing(case, place)
            except TinygraphError:
                # NaN, or a number beside the sample's, is refused: that is as good.
                continue
            asked += 1
            if fault:
                yield failed("not a number", fault, example, _NAN_HINTS[fault])
                return
    yield (
        agreed("not a number", "neither invented nor swallowed")
        if asked
        else not_asked("not a number", "no floating input, or refused")
    )


_NAN_HINTS = {
    "invented": "0/0, 0 * infinity, or infinity - infinity on the way",
    "swallowed": "a comparison with NaN is false: write the condition the other way round",
}


def _missing(case: Case, place: int) -> tuple[str, str]:
    """Return whether NaN is invented, or swallowed in one input, with an example; or nothing."""
    gradient = case.rule.gradient(place, case.rule.cotangent)
    if np.isnan(case.y).any() or np.isnan(gradient).any():
        return "invented", f"{case.call()} = {short(case.y)}, gradient {short(gradient)}"
    x = case.inputs[place]
    direction = np.zeros(x.shape)
    direction.flat[:1] = 1.0

    def function(moved: Array) -> Array:
        return case.compute([moved if other == place else v for other, v in enumerate(case.inputs)])

    y = function(np.where(direction == 1, np.nan, x))
    depends = contributions(function, x, direction, np.ones(case.y.shape)) != 0
    # Where as many results are NaN as depend on it, it is not lost, but may stand elsewhere, as in an order.
    if not np.isfinite(y[depends]).any() or np.isnan(y).sum() >= depends.sum():
        return "", ""
    poisoned = [np.where(direction == 1, np.nan, v) if other == place else v for other, v in enumerate(case.inputs)]
    return "swallowed", f"{case.call(poisoned)} = {short(y)}"


def large_numbers(subject: Subject) -> Iterator[Line]:
    """Multiply inputs by up to 10,000: where longer floating point numbers give a finite result, float64 does as well."""
    if np.finfo(np.longdouble).maxexp <= np.finfo(np.float64).maxexp:
        yield not_asked("large numbers", "no longer floating point type here to compare with")
        return
    asked = 0
    for case in subject.smallest_first():
        for scale in (30.0, 1e4):
            inputs = [x * scale if x.dtype.kind == "f" else x for x in case.inputs]
            try:
                y, longer = case.compute(inputs), np.asarray(case.op.forward(*[_longer(x) for x in inputs]))
                found = [y, *(case.gradients(inputs, np.ones(y.shape)) if case.places else [])]
            except Exception:
                # Out of the operation's domain, or not written for longer numbers: nothing to compare with.
                continue
            asked += 1
            sound = np.isfinite(longer) & (abs(longer) < np.finfo(np.float64).max)
            if (~np.isfinite(y) & sound).any() or (np.isfinite(y).all() and any(np.isnan(dx).any() for dx in found)):
                what = "the result" if (~np.isfinite(y) & sound).any() else "a gradient"
                told = "exp of a large number overflows: subtract the largest first, or use the sign of x"
                yield failed("large numbers", f"{what} is NaN or infinite", case.call(inputs), told)
                return
    yield agreed("large numbers", "no overflow") if asked else not_asked("large numbers", "outside the domain")


def _longer(x: Array) -> Array:
    return x.astype(np.longdouble) if x.dtype.kind == "f" else x
