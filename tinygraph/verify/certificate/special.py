"""The checks at special numbers: NaN, numbers far from zero, and numbers so large that naive formulas overflow."""

import numpy as np

from tinygraph.errors import TinygraphError
from tinygraph.graph import Array
from tinygraph.verify.certificate.candidate import Answer, Candidate, Mistake, for_each
from tinygraph.verify.certificate.case import Case, short
from tinygraph.verify.compare import Point, worst
from tinygraph.verify.numeric import contributions

_LEAST_FAR, _MOST_FAR, _COUNT_FAR = 0.05, 20.0, 24
_NAN_HINTS = {
    "invented": "0/0, 0 * infinity, or infinity - infinity on the way",
    "swallowed": "a comparison with NaN is false: write the condition the other way round; np.nan_to_num, np.fmax and "
    "their like lose NaN as well",
}


@for_each(Candidate.smallest_first, "neither invented nor swallowed", "no floating input, or refused")
def not_a_number(case: Case) -> Answer:
    """Look for NaN that finite inputs gave, and put NaN into one element: results that depend on it are NaN."""
    asked = None
    for place in case.places:
        try:
            fault, example = _nan_fault(case, place)
        except TinygraphError:
            # NaN, or a number next to the sample's, is refused: that is as good.
            continue
        asked = 0.0
        if fault:
            return Mistake(fault, _smaller_example(case, place, fault) or example, _NAN_HINTS[fault])
    return asked


def _nan_fault(case: Case, place: int) -> tuple[str, str]:
    """Return whether NaN is invented, or swallowed in one input, with an example; or nothing."""
    gradient = case.gradient(place)
    if np.isnan(case.y).any() or np.isnan(gradient).any():
        return "invented", f"{case.call()} = {short(case.y)}, gradient {short(gradient)}"
    x = case.inputs[place]
    direction = np.zeros(x.shape)
    direction.flat[:1] = 1.0
    poisoned = [*case.inputs[:place], np.where(direction == 1, np.nan, x), *case.inputs[place + 1 :]]
    y = case.compute(poisoned)
    depends = contributions(case.function(place), x, direction, np.ones(case.y.shape)) != 0
    # Where as many results are NaN as depend on it, it is not lost, but may have moved, as in a sorted array.
    if not np.isfinite(y[depends]).any() or np.isnan(y).sum() >= depends.sum():
        return "", ""
    return "swallowed", f"{case.call(poisoned)} = {short(y)}"


def _smaller_example(case: Case, place: int, fault: str) -> str | None:
    def example(part: Case) -> str:
        found, text = _nan_fault(part, place) if place in part.places else ("", "")
        return text if found == fault else ""

    return case.in_smallest_part(example)


def _far_cases(candidate: Candidate) -> list[Case]:
    return candidate.differentiable() if candidate.proposed or candidate.op.elementwise else []


@for_each(
    _far_cases,
    f"worst error {{worst:.1e}} at numbers up to {_MOST_FAR:g}",
    lambda candidate: "outside the domain" if candidate.proposed else "the samples say which numbers are meant",
)
def far_from_zero(case: Case) -> Answer:
    """Compare gradients with numeric derivatives at numbers from 0.05 to 20 as well: limits and branches lie there.

    Samples say which numbers an operation is made for. So this is checked only where there are none, and where each
    element is computed alone.
    """
    far = _far(case)
    if far is None:
        return None
    largest = 0.0
    for place in far.places:
        finding = far.find(place)
        point = worst(finding.points)
        error = point.error if point else 0.0
        if far.is_wrong(finding):
            cause = "a limit or a branch of forward that the rule does not know, or has elsewhere"
            return Mistake(f"worst error {error:.1e}", _far_example(far, place, finding.message, point), cause)
        largest = max(largest, error)
    return largest


def _far(case: Case) -> Case | None:
    """Return the case at numbers of all sizes at which forward is finite, positive and negative if it can be; or None."""
    op = case.op
    for signs in ([-1.0, 1.0], [1.0]):
        rng = np.random.default_rng([case.seed, 4])
        inputs = []
        for x in case.inputs:
            shape = (_COUNT_FAR,) if op.elementwise else x.shape
            if x.dtype.kind == "f":
                sizes = rng.choice(signs, shape)
                inputs.append(sizes * 10 ** rng.uniform(np.log10(_LEAST_FAR), np.log10(_MOST_FAR), shape))
            else:
                inputs.append(np.resize(x, shape))
        try:
            finite = np.isfinite(case.compute(inputs))
        except Exception:
            # Outside its domain an operation may do anything.
            continue
        if op.elementwise and finite.any():
            return case.with_inputs([x[finite] for x in inputs])
        if finite.any() and finite.all():
            return case.with_inputs(inputs)
    return None


def _far_example(case: Case, place: int, message: str, point: Point | None) -> str:
    """Return a mistake in a line: the call, cut to the elements that matter where each counts alone."""
    if message or point is None or point.index is None or not case.op.elementwise:
        return f"{case.call()}, {message or point}"
    alone = [np.broadcast_to(x, case.y.shape)[point.index] for x in case.inputs]
    return f"{case.call(alone)}, {case.input_name(place)}: rule {point.rule:.9g}, numeric {point.numeric:.9g}"


_HAS_LONGER = np.finfo(np.longdouble).maxexp > np.finfo(np.float64).maxexp


@for_each(
    lambda candidate: candidate.smallest_first() if _HAS_LONGER else [],
    "no overflow",
    "outside the domain" if _HAS_LONGER else "no longer floating point type here to compare with",
)
def large_numbers(case: Case) -> Answer:
    """Multiply inputs by up to 10,000: where longer floating point numbers give a finite result, float64 does as well."""
    asked = None
    for scale in (30.0, 1e4):
        large = case.with_inputs([x * scale if x.dtype.kind == "f" else x for x in case.inputs])
        what = _overflow(large)
        if what:
            shown = large.in_smallest_part(lambda part: part if _overflow(part) else None) or large
            cause = "exp of a large number overflows: subtract the largest first, or use the sign of x"
            return Mistake(f"{_overflow(shown)} is NaN or infinite", shown.call(), cause)
        asked = asked if what is None else 0.0
    return asked


def _overflow(case: Case) -> str | None:
    """Return what is not finite though longer numbers are, or nothing; None where there is nothing to compare with."""
    try:
        inputs = case.each_floating(lambda x: x.astype(np.longdouble))
        case.op.check(*inputs)
        longer = np.asarray(case.op.forward(*inputs))
        y, *gradients = case.results(case.inputs, np.ones(case.y.shape))
    except Exception:
        # Outside of the operation's domain, or not written for longer numbers.
        return None
    finite: Array = np.isfinite(longer) & (abs(longer) < np.finfo(np.float64).max)
    if (~np.isfinite(y) & finite).any():
        return "the result"
    return "a gradient" if np.isfinite(y).all() and any(np.isnan(dx).any() for dx in gradients) else ""
