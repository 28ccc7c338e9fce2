"""The checks at special numbers: NaN, far from zero, and so large that naive formulas overflow."""

import contextlib
import inspect
import itertools
import re
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tinygraph.describe.numbers import short
from tinygraph.errors import TinygraphError
from tinygraph.graph import Array
from tinygraph.verify.certificate.candidate import Answer, Candidate, Case, Mistake, for_each
from tinygraph.verify.certificate.neighbours import has_order
from tinygraph.verify.certificate.redraw import is_free
from tinygraph.verify.checker import Finding
from tinygraph.verify.hints import cause_of, hint
from tinygraph.verify.numeric import Point, contributions, worst

_LEAST_FAR, _MOST_FAR, _COUNT_FAR = 0.05, (20.0, 100.0, 1000.0), 24
# Where forward no longer changes, what remains of a gradient is rounding.
_SATURATED = 1e-11
# Numbers of different sizes cancel: what is looked for is a wrong limit or branch, not the last digits.
_ROUGH = 100
_SECONDS = 0.12
_NAN_HINTS = {
    "invented": "0/0, 0 * infinity, or infinity - infinity on the way",
    "swallowed": "a comparison with NaN is false: write the condition the other way round; np.nan_to_num, np.fmax and "
    "their like lose NaN as well",
}


_LOSE_NAN = re.compile(
    r"nan(?!_to_num)|^is(nan|finite)$|linalg|sort|partition|median|quantile|percentile|svd|eigh?|cholesky|lstsq"
)


def _may_lose_nan(case: Case) -> bool:
    """Whether forward is written with functions that lose NaN by what they are: sorting, LAPACK, or the mean without NaN."""
    waiting, seen = [inspect.unwrap(type(case.op).forward)], set[Any]()
    while waiting:
        function = waiting.pop()
        code = getattr(function, "__code__", None)
        if code is None or function in seen or len(seen) > 20:
            continue
        seen.add(function)
        if any(_LOSE_NAN.search(name) for name in code.co_names):
            return True
        waiting += [function.__globals__[name] for name in code.co_names if name in function.__globals__]
        waiting += [cell.cell_contents for cell in function.__closure__ or ()]
        waiting += [getattr(case.op, name) for name in code.co_names if hasattr(case.op, name)]
    return False


@for_each(
    Candidate.smallest_first,
    lambda lost: (
        "NaN is lost in forward, by sorting, LAPACK or on purpose" if any(lost) else "neither invented nor swallowed"
    ),
    "no floating input, or refused",
)
def not_a_number(case: Case) -> Answer:
    """Look for NaN that finite inputs gave, and put NaN into one element: results that depend on it are NaN."""
    asked = None
    for place in case.places:
        try:
            found = _nan_fault(case, place)
        except TinygraphError:
            # NaN, or a number next to the sample's, is refused: that is as good.
            continue
        asked = 0.0
        for fault, example in found.items():
            if fault == "swallowed" and _may_lose_nan(case):
                return 1.0
            return Mistake(fault, _smaller_example(case, place, fault) or example, _NAN_HINTS[fault])
    return asked


def _smaller_example(case: Case, place: int, fault: str) -> str | None:
    return case.in_smallest_part(lambda part: _nan_fault(part, place).get(fault))


def _nan_fault(case: Case, place: int) -> dict[str, str]:
    """Return an example of NaN that is ``invented``, or ``swallowed`` in one input; or nothing."""
    gradient = case.rule.gradient(place)
    if np.isnan(case.y).any() or np.isnan(gradient).any():
        return {"invented": f"{case.call()} = {short(case.y)}, gradient {short(gradient)}"}
    x = case.inputs[place]
    direction = np.zeros(x.shape)
    direction.flat[:1] = 1.0
    poisoned = [*case.inputs[:place], np.where(direction == 1, np.nan, x), *case.inputs[place + 1 :]]
    y = case.compute(poisoned)
    depends = contributions(case.function(place), x, direction, np.ones(case.y.shape)) != 0
    # Where as many results are NaN as depend on it, it is not lost, but may have moved, as in a sorted array.
    if not np.isfinite(y[depends]).any() or np.isnan(y).sum() >= depends.sum():
        return {}
    return {"swallowed": f"{case.call(poisoned)} = {short(y)}"}


@for_each(
    Candidate.differentiable, f"worst error {{worst:.1e}} at numbers up to {_MOST_FAR[-1]:g}", "outside the domain"
)
def far_from_zero(case: Case) -> Answer:
    """Compare gradients with numeric derivatives at numbers up to 20, 100 and 1000: limits and branches lie there.

    The numbers are random, of both signs if forward takes that, and the sample's own, multiplied.
    """
    errors, began = [], time.process_time()
    for far in _far(case):
        if time.process_time() - began > _SECONDS:
            break
        rng = np.random.default_rng([0, 1])
        findings = [far.rule.find(place, rng, _ROUGH * case.tolerance, _COUNT_FAR) for place in far.places]
        failing = (found for found in findings if found.wrong and (found.message or far.mistakes(found, _SATURATED)))
        wrong = next(failing, None)
        errors += [point.error for finding in findings for point in finding.points if not finding.wrong]
        if wrong is not None:
            cause = cause_of(wrong.message) if wrong.message else _cause_far(far, wrong)
            point = worst(wrong.points)
            return Mistake(f"worst error {point.error if point else 0.0:.1e}", _far_example(far, wrong, point), cause)
    return max(errors, default=None)


def _cause_far(far: Case, wrong: Finding) -> str:
    """Return the cause of a mistake: a limit or a branch, unless the rule is wrong for the same numbers made small, too."""
    largest = max((float(abs(far.inputs[place]).max(initial=0.0)) for place in far.floating), default=1.0)
    # Small numbers may be outside of the domain.
    with contextlib.suppress(Exception):
        near = far.with_inputs(far.each_floating(lambda x: x / (largest or 1.0)))
        rng = np.random.default_rng([0, 1])
        findings = [near.rule.find(place, rng, far.tolerance, _COUNT_FAR) for place in near.places]
        alike = next((finding for finding in findings if finding.place == wrong.place and finding.wrong), None)
        if alike is not None:
            return hint([(near.rule, alike, findings)])
    return "a limit or a branch of forward that the rule does not know, or has elsewhere"


def _far(case: Case) -> Iterator[Case]:
    """Yield the case at numbers of all sizes at which forward is finite."""
    alone = case.op.elementwise
    resized = [np.resize(x, _COUNT_FAR) if alone else x for x in case.inputs]
    free = all(is_free(x) or x.dtype.kind != "f" for x in case.inputs) and not has_order(case)
    largest = max((float(abs(case.inputs[place]).max(initial=0.0)) for place in case.floating), default=0.0) or 1.0
    for most, signs in itertools.product(_MOST_FAR, ([-1.0, 1.0], [1.0], []) if not alone else ([-1.0, 1.0], [1.0])):
        rng = np.random.default_rng([case.seed, 4])
        inputs = [_drawn_far(rng, signs, most, x) if free and signs and x.dtype.kind == "f" else x for x in resized]
        if not signs:
            inputs = [x * most / largest if is_free(x) else x for x in case.inputs]
        # Outside its domain an operation may do anything.
        with contextlib.suppress(Exception):
            y = case.compute(inputs)
            finite = np.isfinite(y) & _meant(case, inputs, y)
            if finite.any() and (finite.all() or (alone and signs)):
                yield case.with_inputs([x[finite] for x in inputs] if alone and signs else inputs)


def _meant(case: Case, inputs: Sequence[Array], y: Array) -> Any:
    """Whether a rule is meant for inputs, or for each element of them where these are computed alone.

    It is not where it gives NaN below zero, and an input has positive numbers alone in the sample.
    """
    positive = [inputs[place] for place in case.floating if (case.inputs[place] > 0).all()]
    if not any((x < 0).any() for x in positive):
        return True
    missing = [np.isnan(dx) for dx in case.gradients(inputs, np.ones(y.shape))]
    return ~np.any(missing, axis=0) if case.op.elementwise else not any(each.any() for each in missing)


def _drawn_far(rng: np.random.Generator, signs: list[float], most: float, x: Array) -> Array:
    # Those of several inputs that meet have about one size: a sawtooth has many teeth elsewhere, and no slope to measure.
    sizes = np.random.default_rng([5, 4]).uniform(np.log10(_LEAST_FAR), np.log10(most / 2), x.shape)
    return rng.choice(signs, x.shape) * 10**sizes * rng.uniform(0.5, 2.0, x.shape)


def _far_example(case: Case, finding: Finding, point: Point | None) -> str:
    """Return a mistake in a line: the call, cut to the elements that matter where each counts alone."""
    if finding.message or point is None or point.index is None or not case.op.elementwise:
        return f"{case.call()}, {finding.message or point}"
    alone = [np.broadcast_to(x, case.y.shape)[point.index] for x in case.inputs]
    return f"{case.call(alone)}, {case.input_name(finding.place)}: rule {point.rule:.9g}, numeric {point.numeric:.9g}"


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
