"""The checks where a function has no derivative, or a formula for it breaks down: kinks and ties, and stated edges."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from tinygraph.graph.arrays import Array
from tinygraph.verify.certificate.case import Case, short
from tinygraph.verify.certificate.line import Line, agreed, failed, not_asked
from tinygraph.verify.certificate.subject import Subject
from tinygraph.verify.names import input_name
from tinygraph.verify.numeric import Derivative, derivative, one_sided

Function = Callable[[Array], Array]
Index = tuple[int, ...]

_MOST_ELEMENTS = 6
_STEP = 1e-6
_TOLERANCE = 1e-5
# How far from a tie its neighbours are looked at, and how many of them.
_NEAR = (1e-3, 1e-5)
_NEIGHBOURS = 6
_MOST_TOGETHER = 64

WRONG_SLOPE = "the rule is wrong where forward has a slope"


@dataclass(frozen=True)
class _Kink:
    """An element of an input, and a result whose slopes to the two sides differ there; ``tied`` elements are alike."""

    where: str
    rule: float
    right: float
    left: float
    tied: int

    @property
    def chosen(self) -> str:
        """Which slope the rule takes, or nothing if it takes none that the two sides allow."""
        scale = max(abs(self.right), abs(self.left))
        choices = {"right": self.right, "left": self.left, "mean": (self.right + self.left) / 2}
        side = next((side for side, slope in choices.items() if abs(self.rule - slope) <= _TOLERANCE * scale), "")
        shares = [1 / count for count in range(3, self.tied + 1)]
        share = (self.rule - self.left) / (self.right - self.left)
        return side or ("a share" if any(abs(share - one) <= _TOLERANCE for one in shares) else "")

    @property
    def why(self) -> str:
        """What may lie behind a wrong one."""
        return "compare with the branch of forward" if np.isfinite(self.rule) else _DIVISION

    @property
    def what(self) -> str:
        """What is wrong with a wrong one."""
        return "the rule takes neither slope"

    def __str__(self) -> str:
        return f"{self.where}: rule {self.rule:.4g}, slopes {self.left:.4g} before and {self.right:.4g} after"


@dataclass(frozen=True)
class _Smooth:
    """A place where forward has a slope, and the rule another."""

    where: str
    rule: float
    slope: str
    what: str
    told: str = ""

    chosen = ""

    @property
    def why(self) -> str:
        """What may lie behind it."""
        return self.told if np.isfinite(self.rule) else _DIVISION

    def __str__(self) -> str:
        return f"{self.where}: rule {self.rule:.4g}, numeric {self.slope}"


_DIVISION = "a division by zero, or 0 times infinity: put a harmless number there with np.where(y > 0, y, 1)"
_TIES = "the gradient of a tie goes to one of the tied elements, or is shared among them; together they get it once"


def kinks_and_ties(subject: Subject) -> Iterator[Line]:
    """Look for kinks and ties, at zero, at whole numbers, at attributes; there the rule takes the slope of one side.

    The mean of the two sides will do as well, as for the slope 0 of ``abs`` at 0, and so will one part in as many as are
    tied. What tied elements get together is a slope that their neighbours have. Where there is a derivative after all, as of
    ``sin(x) / x`` at 0, the rule gives that.
    """
    name = "kinks and ties"
    found: list[_Kink | _Smooth] = []
    for case in subject.differentiable:
        for inputs in _tied(case):
            found += _found_at(subject, case, inputs)
            wrong = next((kink for kink in found if not kink.chosen), None)
            if wrong:
                wrong = _smaller(subject, case, inputs) or wrong
                yield failed(name, wrong.what, str(wrong), wrong.why)
                return
    if found:
        sides = ["left", "right", "mean", "a share"]
        taken = ", ".join(side for side in sides if any(kink.chosen == side for kink in found))
        yield agreed(name, f"{len(found)} found, the slope is that of: {taken}", len(found))
    elif subject.differentiable:
        yield agreed(name, "none found")
    else:
        yield not_asked(name, "no gradient flows")


def _found_at(subject: Subject, case: Case, inputs: list[Array]) -> list[_Kink | _Smooth]:
    try:
        tied = case.on(inputs)
        return list(_kinks_of(tied))
    except Exception:
        # At ties an operation may be undefined, or its rule not: that says nothing of where it is defined.
        return []


def _smaller(subject: Subject, case: Case, inputs: list[Array]) -> _Kink | _Smooth | None:
    """Return a mistake like that of these inputs in a part of them, if there is one."""
    tied = case.on(inputs)
    for part in tied.parts():
        wrong = next((kink for kink in _found_at(subject, part, part.inputs) if not kink.chosen), None)
        if wrong:
            return wrong
    return None


def _tied(case: Case) -> Iterator[list[Array]]:
    """Yield inputs at which kinks and ties are likely."""
    numbers = [v for v in case.op.attributes().values() if isinstance(v, (int, float)) and not isinstance(v, bool)]
    levels = dict.fromkeys([0.0, 1.0, *(float(v) for v in numbers), *(-float(v) for v in numbers)])
    if sum(case.inputs[place].size for place in case.floating) > 200:
        return
    for level in levels:
        yield [np.full(x.shape, level) if x.dtype.kind == "f" else x for x in case.inputs]
    yield [np.round(x) if x.dtype.kind == "f" else x for x in case.inputs]


def _kinks_of(case: Case) -> Iterator[_Kink | _Smooth]:
    if not np.isfinite(case.y).all():
        return
    for place in case.places:
        x = case.inputs[place]
        for flat in np.linspace(0, x.size - 1, min(x.size, _MOST_ELEMENTS)).astype(int):
            index = tuple(int(i) for i in np.unravel_index(flat, x.shape))
            yield from _at(case, place, index)
        if x.size > 1:
            yield from _together(case, place)


def _moving(case: Case, place: int) -> Function:
    """Return the result as a function of one input."""
    return lambda moved: case.compute([moved if other == place else v for other, v in enumerate(case.inputs)])


def _one(case: Case, output: Index) -> Array:
    """Return a gradient of one for one result alone: at kinks each result may take another side."""
    dy = np.zeros(case.y.shape)
    dy[output] = 1.0
    return dy


def _at(case: Case, place: int, index: Index) -> Iterator[_Kink | _Smooth]:
    """Yield the results that have a kink in one element, and one that has a slope there with which the rule disagrees."""
    x, function = case.inputs[place], _moving(case, place)
    direction = np.zeros(x.shape)
    direction[index] = 1.0
    name = f"{case.call()}, {input_name(case.op, place)}{list(index)}"
    tied = int((x == x[index]).sum())
    for output in _suspects(function, x, direction):
        dy = _one(case, output)
        rule = float(case.rule.gradient(place, dy)[index])
        right, left = one_sided(function, x, direction, dy)
        if right is not None and left is not None and _apart(right, left):
            yield _Kink(name, rule, right.value, left.value, tied)
            continue
        slope = derivative(function, x, direction, dy)
        if slope.kink or abs(rule - slope.value) <= _noise(case, place, max(abs(rule), abs(slope.value))):
            continue
        # One of several that are tied can be moved alone without changing what they are tied for.
        alone = tied == 1 or case.op.elementwise
        if not np.isfinite(rule) or (alone and not _differ_nearby(case, place, direction, output)):
            yield _Smooth(name, rule, f"{slope.value:.4g}", WRONG_SLOPE)


def _noise(case: Case, place: int, size: float) -> float:
    """Return the difference that passes between slopes of a size: the numbers are those of a coarse look."""
    scale = max(float(abs(case.inputs[place]).max(initial=0.0)), 1e-3)
    return _TOLERANCE * size + 1e-6 * float(abs(case.y).max(initial=0.0)) / scale + 1e-9


def _suspects(function: Function, x: Array, direction: Array) -> list[Index]:
    """Return up to two results whose differences to the two sides are not alike, at one small step, and one whose are."""
    here, ahead, behind = (np.asarray(function(x + step * direction)) for step in (0.0, _STEP, -_STEP))
    right, left = ahead - here, here - behind
    apart = abs(right - left) > 1e-2 * (abs(right) + abs(left)) + 1e-12 * abs(here)
    alike = ~apart & np.isfinite(right) & np.isfinite(left) & ((right != 0) | (left != 0))
    chosen = [*np.argwhere(apart)[:2], *np.argwhere(alike)[:1]]
    return [tuple(int(i) for i in place) for place in chosen]


def _apart(right: Derivative, left: Derivative) -> bool:
    jump = abs(right.value - left.value)
    return jump > 10 * (right.error + left.error) and jump > 1e-6 * (abs(right.value) + abs(left.value))


def _differ_nearby(case: Case, place: int, direction: Array, output: Index) -> bool:
    """Whether a slope takes several values around a point: then the rule may choose one, or one between them."""
    slopes = np.concatenate([_slopes_near(case, place, direction, output, near, case.floating) for near in _NEAR])
    return not np.ptp(slopes) <= 0.02 * float(abs(slopes).max())


def _together(case: Case, place: int) -> Iterator[_Smooth]:
    """Yield a result whose gradients, added up over an input, are a slope that none of the neighbours of that input has.

    All elements move alike: what a maximum of tied elements gains then, it gains once, and not as often as there are ties.
    """
    x, everything = case.inputs[place], np.ones(case.inputs[place].shape)
    for output in [(0,) * case.y.ndim, tuple(size - 1 for size in case.y.shape)][: 1 + (case.y.size > 1)]:
        if _adds_up(_moving(case, place), x, output):
            continue
        slopes = [_slopes_near(case, place, everything, output, near, [place]) for near in _NEAR]
        largest = [float(abs(some).max()) for some in slopes]
        if not np.isfinite(largest).all() or max(largest) > 2 * min(largest) + 1e-6:
            # Outside the domain, or steeper the nearer: there is no bound to a slope here.
            continue
        rule = float(case.rule.gradient(place, _one(case, output)).sum())
        low, high = float(np.min(slopes)), float(np.max(slopes))
        margin = 0.02 * max(abs(low), abs(high)) + _noise(case, place, abs(rule)) + 1e-6
        if np.isfinite(rule) and not low - margin <= rule <= high + margin:
            numeric = f"{low:.4g}" if high - low <= margin else f"from {low:.4g} to {high:.4g}"
            name = f"{case.call()}, all elements of {input_name(case.op, place)} together"
            yield _Smooth(name, rule, numeric, "tied elements together get another slope", _TIES)
            return


def _adds_up(function: Function, x: Array, output: Index) -> bool:
    """Whether each element changes a result by itself, as in a sum: then there is nothing that they could be tied for."""
    if x.size > _MOST_TOGETHER:
        return True
    here = function(x)[output]
    for step in (_STEP, -_STEP):
        single = sum(function(x + step * one.reshape(x.shape))[output] - here for one in np.eye(x.size))
        if abs(function(x + step)[output] - here - single) > 1e-2 * abs(step):
            return False
    return True


def _slopes_near(case: Case, place: int, direction: Array, output: Index, near: float, moved: list[int]) -> Array:
    """Return the slopes of one result at random neighbours of a point: the inputs ``moved`` are others, to all sides or one."""
    rng, step, slopes = np.random.default_rng([0, 3]), 1e-3 * near, []
    for low, high in [(-1, 1)] * _NEIGHBOURS + [(0, 1), (-1, 0)]:
        inputs = [x + near * rng.uniform(low, high, x.shape) if i in moved else x for i, x in enumerate(case.inputs)]
        ahead, behind = (
            case.compute([x + way * direction if i == place else x for i, x in enumerate(inputs)])[output]
            for way in (step, -step)
        )
        slopes.append((ahead - behind) / (2 * step))
    return np.array(slopes)


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
