"""Further checks of a gradient rule: linearity, second derivatives, one tensor used twice; and those at special numbers."""

import contextlib
import inspect
import itertools
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tinygraph.describe.numbers import short
from tinygraph.errors import TinygraphError
from tinygraph.graph import Array, Tensor, apply, grad
from tinygraph.verify.certificate.candidate import Answer, Candidate, Case, Line, Mistake, for_each
from tinygraph.verify.certificate.neighbours import has_order, is_distribution, is_free
from tinygraph.verify.checker import Finding
from tinygraph.verify.hints import cause_of, hint
from tinygraph.verify.numeric import EPSILON, Derivative, Point, Slope, compare, contributions, derivative, unit, worst

DIVISION = "a division by zero, or 0 times infinity, in the rule"
_LINEAR = 1e-9
_SECOND = 1e-6
_LARGE = 1e6
# Between these an error is that of single precision.
_FLOORS = (1e-9, 1e-6)
_FLOAT32 = "the rule computes in float32, or makes a float32 array on the way"
_DIGITS = "a constant of the rule has too few digits"


@for_each(Candidate.differentiable, "that of float64")
def precision(case: Case) -> Answer:
    """Look for an error near 1e-8 where the numeric derivative is good to more digits: there the rule computes in float32."""
    for place in case.places:
        finding = case.find(place)
        cause = in_single(case, finding)
        if cause:
            return Mistake("an error floor as in float32", f"{case.name}: {worst(finding.points)}", cause)
    return 0.0


def in_single(case: Case, finding: Finding) -> str:
    """Return why all elements of a gradient are right to seven digits or so, and not to more; nothing if it is otherwise."""
    points = [point for point in finding.points if point.index is not None and not point.kink]
    scale = max((abs(point.numeric) for point in points), default=0.0)
    if not scale:
        return ""
    errors = np.array([point.rule - point.numeric for point in points]) / scale
    known = (
        max(case.rule.slope(finding.place, unit(finding.gradient.shape, p.index or ())).error for p in points) / scale
    )
    floor = float(abs(errors).max())
    if not _FLOORS[0] < floor < _FLOORS[1] or known > floor / 100:
        return ""
    with contextlib.suppress(Exception):
        if float(case.rule.rounding(finding.place).max()) > floor * scale / 100:
            return ""
    relative = errors * scale / [point.numeric or np.inf for point in points]
    alike = len(points) > 1 and float(np.ptp(relative)) < 0.1 * float(abs(relative).max())
    return _DIGITS if alike else _FLOAT32


@for_each(Candidate.differentiable, "all zero")
def zero_gradient_in(case: Case) -> Answer:
    """Give every rule a gradient of zeros for the result: the gradients of the inputs are all zero."""
    return _each_gradient(case, _not_zero)


def _not_zero(case: Case, place: int) -> tuple[str, str]:
    dx = case.rule.gradient(place, np.zeros(case.y.shape))
    if not dx.any():
        return "", ""
    found = dx.ravel()[np.flatnonzero(dx)[0]]
    return f"{found:.4g}", "does not use dy, or adds to it" if np.isfinite(found) else DIVISION


@for_each(Candidate.differentiable, "sums and multiples agree")
def linear_in_dy(case: Case) -> Answer:
    """Give every rule two gradients of the result and their weighted sum: the gradients of the inputs add up alike."""
    return _each_gradient(case, _not_linear)


def _not_linear(case: Case, place: int) -> tuple[str, str]:
    # Ones are what a sum gives, and rules have been right for all but these.
    first, second = case.cotangent(case.y, 1), np.ones(case.y.shape)
    parts = 2.5 * case.rule.gradient(place, first) - 1.5 * case.rule.gradient(place, second)
    total = case.rule.gradient(place, 2.5 * first - 1.5 * second)
    large = case.rule.gradient(place, _LARGE * first) / _LARGE
    if not np.allclose(large, case.rule.gradient(place, first), rtol=_LINEAR, atol=_LINEAR, equal_nan=True):
        return f"other digits for dy times {_LARGE:g}", "it limits dy, or adds to it"
    scale = float(abs(parts).max(initial=0.0))
    error = float(abs(total - parts).max(initial=0.0))
    # Where terms cancel, as in the gradient of something with a mean of zero, their rounding remains.
    size = max(float(abs(case.inputs[place]).max(initial=0.0)), 1e-3)
    rounding = 256 * EPSILON * float(abs(first).max(initial=0.0)) * float(abs(case.y).max(initial=0.0)) / size
    if error <= _LINEAR * scale + rounding or np.array_equal(total, parts, equal_nan=True):
        return "", ""
    why = "uses dy twice, or not at all" if np.isfinite(error) else DIVISION
    return f"off by {error / scale if scale else error:.1e}", why


def _each_gradient(case: Case, ask: Callable[[Case, int], tuple[str, str]]) -> Answer:
    """Return the first mistake that ``ask`` finds in the gradient of an input: what, and why."""
    for place in case.places:
        try:
            fault, why = ask(case, place)
        except Exception as error:
            fault, why = f"{type(error).__name__}: {error}", ""
        if fault:
            return Mistake(f"the gradient of {case.input_name(place)} is not", f"{case.name}: {fault}", why)
    return 0.0


@for_each(Candidate.differentiable, "both gradients of f(x, x) add up", "no two inputs are alike")
def used_twice(case: Case) -> Answer:
    """Give one tensor to all floating inputs: its gradient is the derivative of ``f(x, x)``."""
    shapes = [case.inputs[place].shape for place in case.floating]
    if (
        case.op.bypassed(len(case.inputs))
        or len(shapes) < 2
        or len(set(shapes)) > 1
        or any(map(is_distribution, case.inputs))
    ):
        return None
    inputs = case.each_floating(lambda x: case.inputs[case.floating[0]])
    try:
        point = _compared_twice(case, inputs)
    except TinygraphError:
        return None
    if point is not None and point.error > _SECOND:
        return Mistake("the two gradients of f(x, x) do not add up", f"{case.call(inputs)}, {point}")
    return 0.0


def _compared_twice(case: Case, inputs: list[Array]) -> Point | None:
    value = inputs[case.floating[0]]
    x = Tensor("tensor", value=value)
    y = apply(case.op, [x if place in case.floating else Tensor("tensor", value=v) for place, v in enumerate(inputs)])
    dy = case.cotangent(y.value)
    (dx,) = grad(y, [x], cotangent=dy, unreached="zeros")

    def slope(direction: Array) -> Derivative:
        return derivative(lambda moved: case.compute(case.each_floating(lambda x: moved)), value, direction, dy)

    return worst(compare(dx.value, slope, np.random.default_rng([0, 1]), _SECOND, elements=8, directions=0))


@for_each(Candidate.all_cases, "the gradients of the plain call")
def _shortcuts(case: Case) -> Answer:
    bypassed = case.op.bypassed(len(case.inputs))
    plain = case.with_inputs(case.inputs[: len(case.op.parameters)])
    for place in bypassed:
        expected = plain.rule.gradient(place, case.rule.cotangent)
        if not np.allclose(case.rule.gradient(place), expected, rtol=_LINEAR, atol=0):
            return Mistake(f"the gradient of {case.input_name(place)} differs", case.name)
    return 0.0 if bypassed else None


def shortcuts(candidate: Candidate) -> Iterator[Line]:
    """Compare gradients that the rule gives to another input instead with those of the call without that input."""
    if candidate.op.shortcuts:
        yield from _shortcuts(candidate)


@for_each(
    lambda candidate: [] if candidate.op.opaque_vjp else candidate.differentiable()[:3],
    "worst error {worst:.1e}",
    lambda candidate: "the rule is opaque" if candidate.op.opaque_vjp else "no gradient flows",
)
def second_derivatives(case: Case) -> Answer:
    """Differentiate the rule with respect to inputs and ``dy``, and compare with differences of first gradients."""
    try:
        points = list(_second_compared(case))
    except Exception as error:
        cause = "write the rule in operations (tg., and NumPy functions that record), or mark it opaque=True"
        return Mistake("the rule cannot be recorded", f"{case.name}: {type(error).__name__}: {error}", cause)
    wrong = next((point for point in points if point.error > _SECOND), None)
    if wrong is not None:
        cause = "a part of the rule does not record: a constant stands where a tensor belongs"
        return Mistake(f"worst error {wrong.error:.1e}", f"{case.name}: {wrong}", cause)
    return max((point.error for point in points), default=0.0)


def _second_compared(case: Case) -> Iterator[Point]:
    leaves = [*case.leaves(), Tensor("tensor", value=case.cotangent(case.y))]
    wanted = [leaf for leaf in leaves if leaf.dtype.kind == "f"]
    second = grad(_weighted_sum(case, leaves), wanted, unreached="zeros")
    # Where terms of a second derivative cancel, as in that of |x|, the rounding of the first gradients remains.
    rounding = 64 * EPSILON * sum(float(abs(term.value).sum()) for term in _weighted_gradients(case, leaves))
    for leaf, gradient in zip(wanted, second, strict=True):
        slope = _slope_of_gradients(case, leaves, leaf, rounding)
        yield from compare(gradient.value, slope, np.random.default_rng([0, 2]), _SECOND, elements=2, directions=1)


def _slope_of_gradients(case: Case, leaves: list[Tensor], leaf: Tensor, rounding: float) -> Slope:
    hidden = rounding / (float(abs(leaf.value).max(initial=0.0)) or 1.0)

    def first(moved: Array) -> Array:
        again = [Tensor("tensor", value=moved if x is leaf else x.value) for x in leaves]
        return np.asarray(_weighted_sum(case, again).value)

    return lambda direction: derivative(first, leaf.value, direction, np.ones(()), rounding=hidden)


def _weighted_sum(case: Case, leaves: list[Tensor]) -> Tensor:
    """Return the first gradients for all floating inputs, times random numbers and added up."""
    first, *others = [term.sum() for term in _weighted_gradients(case, leaves)]
    return sum(others, start=first)


def _weighted_gradients(case: Case, leaves: list[Tensor]) -> list[Tensor]:
    *inputs, dy = leaves
    wanted = [x for x in inputs if x.dtype.kind == "f"]
    first = grad(apply(case.op, inputs), wanted, cotangent=dy, unreached="zeros")
    return [dx * case.cotangent(dx.value, 3 + number) for number, dx in enumerate(first)]


# ---- special numbers: NaN, far from zero, so large that naive formulas overflow

_LEAST_FAR, _MOST_FAR, _COUNT_FAR = 0.05, (20.0, 100.0, 1000.0), 24
# Where forward no longer changes, what remains of a gradient is rounding.
_SATURATED = 1e-11
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
    Candidate.differentiable,
    f"worst error {{worst:.1e}} at numbers up to {_MOST_FAR[-1]:g}",
    "outside the domain",
)
def far_from_zero(case: Case) -> Answer:
    """Compare gradients with numeric derivatives at numbers up to 20, 100 and 1000: limits and branches lie there.

    The numbers are random, of both signs if forward takes that, and the sample's own, multiplied.
    """
    errors = []
    for far in _far(case):
        rng = np.random.default_rng([0, 1])
        findings = [far.rule.find(place, rng, case.tolerance, _COUNT_FAR) for place in far.places]
        wrong = next((finding for finding in findings if finding.message or far.mistakes(finding, _SATURATED)), None)
        errors += [point.error for finding in findings for point in finding.points if point.error <= case.tolerance]
        if wrong is not None:
            cause = cause_of(wrong.message) if wrong.message else _cause_far(far, wrong)
            point = worst(wrong.points)
            return Mistake(f"worst error {point.error if point else 0.0:.1e}", _far_example(far, wrong, point), cause)
    return max(errors, default=None)


def _cause_far(far: Case, wrong: Finding) -> str:
    """Return the cause of a mistake: a limit or a branch, unless the rule is wrong for the same numbers made small, too."""
    largest = max((float(abs(far.inputs[place]).max(initial=0.0)) for place in far.floating), default=1.0)
    near = far.with_inputs(far.each_floating(lambda x: x / (largest or 1.0)))
    findings = [
        near.rule.find(place, np.random.default_rng([0, 1]), far.tolerance, _COUNT_FAR) for place in near.places
    ]
    if any(finding.place == wrong.place and finding.wrong for finding in findings):
        return next((hint(near.rule, finding, findings) for finding in findings if finding.place == wrong.place), "")
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
            finite = np.isfinite(case.compute(inputs))
            if finite.any() and (finite.all() or (alone and signs)):
                yield case.with_inputs([x[finite] for x in inputs] if alone and signs else inputs)


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
