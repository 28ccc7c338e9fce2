"""Kinks and ties, where forward has no derivative or a formula for it breaks down; and the edges that an operation states."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from tinygraph.describe.numbers import short
from tinygraph.graph import Array
from tinygraph.verify.certificate.candidate import NOT_ASKED, OK, WRONG, Candidate, Case, Line, Mistake, for_each
from tinygraph.verify.numeric import Function, Index, central_difference, derivative, disagree, one_sided, unit

_MOST_ELEMENTS = 6
# With more elements, whether they are tied is not asked.
_MOST_TOGETHER = 64
_STEP = 1e-6
_TOLERANCE = 1e-5
# How far from a tie its neighbours are looked at, and how many of them.
_NEAR = (1e-3, 1e-5)
_NEIGHBOURS = 6
_SECONDS = 0.7

_NEITHER = "the rule takes neither slope, nor one between"
_WRONG_SLOPE = "the rule is wrong where forward has a slope"
_DIVISION = "0/0, or 0 times infinity, at this value: put a harmless number there with np.where(y > 0, y, 1)"
_ONE_NUMBER = (
    "right next to {:g} and wrong there: a condition of the rule, such as < for <=, or what it gives at this number"
)
_TIES = "the gradient of a tie goes to one of the tied elements, or is shared among them; together they get it once"


@dataclass(frozen=True)
class _Place:
    """A place where forward has a kink, or has a slope that the rule does not give.

    At a kink ``chosen`` says which slope the rule takes; it is empty where that is a mistake, ``figure``.
    """

    where: str
    rule: float
    numeric: str
    chosen: str = ""
    figure: str = _WRONG_SLOPE
    cause: str = ""

    def __str__(self) -> str:
        return f"{self.where}: rule {self.rule:.4g}, {self.numeric}"


def kinks_and_ties(candidate: Candidate) -> Iterator[Line]:
    """Look for kinks and ties, at zero, at integers, at attributes; there the rule takes the slope of one side.

    Right is also any slope between the two sides, such as the slope 0 of ``abs`` at 0.
    Tied elements together get a slope that their neighbours have. Where there is a derivative after all, such as that of
    ``sin(x) / x`` at 0, the rule gives it.
    """
    name = "kinks and ties"
    found: list[_Place] = []
    began = time.process_time()
    for case in candidate.differentiable():
        for tied in _tied(case) if time.process_time() - began < _SECONDS else ():
            found += _places_of(tied)
            wrong = _first_wrong(found)
            if wrong:
                wrong = tied.in_smallest_part(lambda part: _first_wrong(_places_of(part))) or wrong
                yield Line(name, WRONG, wrong.figure, str(wrong), wrong.cause if np.isfinite(wrong.rule) else _DIVISION)
                return
    sides = ["left", "right", "mean", "a neighbour", "between"]
    taken = ", ".join(side for side in sides if any(place.chosen == side for place in found))
    figure = f"{len(found)} found, the slope is that of: {taken}" if found else "none found"
    if not candidate.differentiable():
        yield Line(name, NOT_ASKED, "no gradient flows")
    else:
        yield Line(name, OK, figure, number=len(found) or None)


def _first_wrong(places: list[_Place]) -> _Place | None:
    return next((place for place in places if not place.chosen), None)


def _tied(case: Case) -> Iterator[Case]:
    """Yield the case at inputs where kinks and ties are likely."""
    numbers = [v for v in case.op.attributes().values() if isinstance(v, (int, float)) and not isinstance(v, bool)]
    if sum(case.inputs[place].size for place in case.floating) > 200:
        return
    for level in dict.fromkeys([0.0, 1.0, *(float(v) for v in numbers), *(-float(v) for v in numbers)]):
        yield case.with_inputs(case.each_floating(partial(np.full_like, fill_value=level)))
    yield case.with_inputs(case.each_floating(np.round))


def _places_of(case: Case) -> list[_Place]:
    try:
        return list(_kinks_of(case))
    except Exception:
        # At ties an operation or its rule may be undefined: that says nothing about where it is defined.
        return []


def _kinks_of(case: Case) -> Iterator[_Place]:
    if not np.isfinite(case.y).all():
        return
    for place in case.places:
        x = case.inputs[place]
        for flat in np.linspace(0, x.size - 1, min(x.size, _MOST_ELEMENTS)).astype(int):
            yield from _at_element(case, place, tuple(int(i) for i in np.unravel_index(flat, x.shape)))
        if x.size > 1:
            yield from _together(case, place)


def _at_element(case: Case, place: int, index: Index) -> Iterator[_Place]:
    """Yield the results that have a kink in one element, and one that has a slope there with which the rule disagrees."""
    x, function = case.inputs[place], case.function(place)
    direction = unit(x.shape, index)
    name = f"{case.call()}, {case.input_name(place)}{list(index)}"
    for output in _suspects(function, x, direction):
        # At kinks each result may take another side.
        dy = unit(case.y.shape, output)
        rule = float(case.rule.gradient(place, dy)[index])
        right, left = one_sided(function, x, direction, dy)
        apart = right and left and disagree(right, left, 1e-6)
        if right and left and apart and abs(right.value - left.value) > 1e-6 * _noise(case, place, 0.0):
            sides = [right.value, left.value]
            chosen = _chosen(rule, *sides) or _of_neighbour(case, place, index, output, rule, sides)
            slopes = f"slopes {left.value:.4g} before and {right.value:.4g} after"
            yield _Place(name, rule, slopes, chosen, _NEITHER, "compare with the branch of forward")
            continue
        slope = derivative(function, x, direction, dy)
        if bool(right) != bool(left) and np.isfinite(rule):
            # At the end of a domain a rule may give any number.
            continue
        if slope.kink or abs(rule - slope.value) <= _noise(case, place, max(abs(rule), abs(slope.value))):
            continue
        # One of several that are tied can be moved alone without changing what they are tied for.
        if not np.isfinite(rule) or not _differ_nearby(case, place, direction, output):
            cause = _ONE_NUMBER.format(x[index]) if _is_right_near(case, place, index, output) else ""
            yield _Place(name, rule, f"numeric {slope.value:.4g}", cause=cause)


def _is_right_near(case: Case, place: int, index: Index, output: Index) -> bool:
    """Whether a rule is right for one element and one result at a random neighbour."""
    rng = np.random.default_rng([0, 10])
    # Further away than the steps of a numeric derivative.
    near = case.with_inputs(
        case.each_floating(lambda x: x + rng.choice([-1, 1], x.shape) * rng.uniform(0.1, 0.2, x.shape))
    )
    dy, x = unit(near.y.shape, output), near.inputs[place]
    slope = derivative(near.function(place), x, unit(x.shape, index), dy)
    rule = float(near.rule.gradient(place, dy)[index])
    return not slope.kink and abs(rule - slope.value) <= _noise(near, place, max(abs(rule), abs(slope.value)))


def _chosen(rule: float, right: float, left: float) -> str:
    """Return which slope a rule takes at a kink, which may be any between those of the two sides: a subgradient.

    Nothing if it is none that is right.
    """
    scale = _TOLERANCE * max(abs(right), abs(left))
    for side, slope in {"right": right, "left": left, "mean": (right + left) / 2}.items():
        if abs(rule - slope) <= scale:
            return side
    return "between" if min(right, left) <= rule <= max(right, left) else ""


def _of_neighbour(case: Case, place: int, index: Index, output: Index, rule: float, sides: list[float]) -> str:
    """Return whether a rule takes a slope that inputs next to a kink have, where more than two branches meet.

    So it is in a quantile of tied elements. Where singular values are equal, and where elements are tied for something, every
    slope between those of neighbours is a subgradient.
    """
    x, function = case.inputs[place], case.function(place)
    direction = unit(x.shape, index)
    slopes = np.array([*sides, *_all_near(case, place, direction, output)])
    low, high = float(slopes.min()), float(slopes.max())
    if np.isfinite(rule) and (abs(slopes - rule) <= 1e-3 * abs(slopes).max()).any():
        return "a neighbour"
    several = not case.op.elementwise and (x == x[index]).sum() > 2 and not _adds_up(function, x, output)
    margin = _unreached(x, low, high)
    return "between" if (margin or several) and low - margin <= rule <= high + margin else ""


def _unreached(x: Array, low: float, high: float) -> float:
    """Return how far slopes may lie beyond those of the neighbours that were tried, where singular vectors are not unique."""
    return (high - low) / 4 if _is_degenerate(x) else 0.0


def _is_degenerate(x: Array) -> bool:
    """Whether matrices have equal singular values, or one that is 0: the vectors of these are any, and so is a subgradient."""
    if x.ndim < 2:
        return False
    values = np.linalg.svd(x, compute_uv=False)
    return bool((abs(np.diff(values, append=0.0)) <= 1e-9 * (1 + values)).any())


def _noise(case: Case, place: int, size: float) -> float:
    """Return the difference that passes between slopes of a size: here slopes are measured coarsely."""
    scale = max(float(abs(case.inputs[place]).max(initial=0.0)), 1e-3)
    return _TOLERANCE * size + 1e-6 * float(abs(case.y).max(initial=0.0)) / scale + 1e-9


def _suspects(function: Function, x: Array, direction: Array) -> list[Index]:
    """Return up to two results whose differences to the two sides are not alike at one small step, and one whose are.

    At the end of a domain there is one side alone.
    """
    here, ahead, back = (np.asarray(function(x + step * direction)) for step in (0.0, _STEP, -_STEP))
    right, left = ahead - here, here - back
    ends = (np.isfinite(right) != np.isfinite(left)) & (np.where(np.isfinite(right), right, left) != 0)
    apart = abs(right - left) > 1e-2 * (abs(right) + abs(left)) + 1e-12 * abs(here)
    alike = ~apart & np.isfinite(right) & np.isfinite(left) & ((right != 0) | (left != 0))
    chosen = [*np.argwhere(apart)[:2], *np.argwhere(alike)[:1], *np.argwhere(ends)[:1]]
    return [tuple(int(i) for i in place) for place in chosen]


def _differ_nearby(case: Case, place: int, direction: Array, output: Index) -> bool:
    """Whether a slope takes several values around a point: then the rule may choose one, or one between them."""
    # What several tied elements decide may differ on a few sides alone.
    slopes = _all_near(case, place, direction, output, 3 * _NEIGHBOURS)
    return not np.ptp(slopes) <= 0.02 * float(abs(slopes).max())


def _all_near(case: Case, place: int, direction: Array, output: Index, count: int = _NEIGHBOURS) -> Array:
    return np.concatenate([_slopes_near(case, place, direction, output, near, case.floating, count) for near in _NEAR])


def _together(case: Case, place: int) -> Iterator[_Place]:
    """Yield a result whose gradients, added up over an input, are a slope that none of the neighbours of that input has.

    All elements move alike: if the maximum of tied elements then grows by 1, their gradients add up to 1, however many
    are tied.
    """
    x, everything = case.inputs[place], np.ones(case.inputs[place].shape)
    for output in [(0,) * case.y.ndim, tuple(size - 1 for size in case.y.shape)][: 1 + (case.y.size > 1)]:
        if _adds_up(case.function(place), x, output):
            continue
        slopes = [_slopes_near(case, place, everything, output, near, [place]) for near in _NEAR]
        largest = [float(abs(some).max()) for some in slopes]
        if not np.isfinite(largest).all() or max(largest) > 2 * min(largest) + 1e-6:
            # Outside the domain, or steeper the nearer: slopes have no bound here.
            continue
        rule = float(case.rule.gradient(place, unit(case.y.shape, output)).sum())
        low, high = float(np.min(slopes)), float(np.max(slopes))
        margin = 0.02 * max(abs(low), abs(high)) + _noise(case, place, abs(rule)) + 1e-6 + _unreached(x, low, high)
        if np.isfinite(rule) and not low - margin <= rule <= high + margin:
            numeric = f"{low:.4g}" if high - low <= margin else f"from {low:.4g} to {high:.4g}"
            name = f"{case.call()}, all elements of {case.input_name(place)} together"
            yield _Place(name, rule, f"numeric {numeric}", "", "tied elements together get another slope", _TIES)
            return


def _adds_up(function: Function, x: Array, output: Index) -> bool:
    """Whether each element changes a result independently, as in a sum: then elements cannot be tied."""
    if x.size > _MOST_TOGETHER:
        return True
    here = function(x)[output]
    for step in (_STEP, -_STEP):
        single = sum(function(x + step * one.reshape(x.shape))[output] - here for one in np.eye(x.size))
        if abs(function(x + step)[output] - here - single) > 1e-2 * abs(step):
            return False
    return True


def _slopes_near(
    case: Case,
    place: int,
    direction: Array,
    output: Index,
    near: float,
    moved: list[int],
    count: int = _NEIGHBOURS,
) -> Array:
    """Return the slopes of one result at random neighbours of a point: the inputs ``moved`` differ, to all sides or one."""
    rng, slopes = np.random.default_rng([0, 3]), []
    for low, high in [(-1, 1)] * count + [(0, 1), (-1, 0)]:
        inputs = [x + near * rng.uniform(low, high, x.shape) if i in moved else x for i, x in enumerate(case.inputs)]
        slope = central_difference(case.function(place, inputs), inputs[place], direction, 1e-3 * near)[output]
        slopes.append(slope)
    return np.array(slopes)


@for_each(
    lambda candidate: [Case(candidate.op, edge.sample, number) for number, edge in enumerate(candidate.op.edges, 1)],
    "{count} agree",
    "none; edges=[...] would pin the choice at a kink down",
)
def stated_edges(case: Case) -> Mistake | float:
    """Compare the gradients that the operation's ``edges`` state with those that its rule gives there."""
    stated = case.op.edges[case.number - 1].gradients
    found = case.gradients(case.inputs, np.ones(case.y.shape))
    for place, dx, right in zip(case.floating, found, stated, strict=True):
        if not np.array_equal(dx, right):
            both = f"the gradient of {case.input_name(place)} is {short(dx)}, stated is {short(right)}"
            return Mistake("differ from the rule", f"{case.call()}, {both}", "> or >= in the rule")
    return 0.0
