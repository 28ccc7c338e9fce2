"""Further checks of a gradient rule: precision, linearity, second derivatives, one tensor used twice."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from tinygraph.errors import TinygraphError
from tinygraph.graph import Array, Tensor, apply, grad
from tinygraph.verify.certificate.candidate import Answer, Candidate, Case, Line, Mistake, for_each
from tinygraph.verify.certificate.redraw import is_distribution
from tinygraph.verify.checker import Finding
from tinygraph.verify.numeric import EPSILON, Derivative, Point, Slope, compare, derivative, unit, worst

DIVISION = "0/0, or 0 times infinity, in the rule"
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
    slopes = [case.rule.slope(finding.place, unit(finding.gradient.shape, point.index or ())) for point in points]
    known = max(slope.error for slope in slopes) / scale
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
    """Give one tensor to all floating inputs: its gradient is the derivative of ``f(x, x)``.

    Where ``f`` has a kink there in one input alone, as where two boxes are equal, each gradient may be the slope of a side, and
    these need not add up. Results that depend on two elements alone, such as ``maximum(x, x)``, do add up.
    """
    shapes = [case.inputs[place].shape for place in case.floating]
    alike = len(shapes) > 1 == len(set(shapes))
    if not alike or case.op.bypassed(len(case.inputs)) or any(map(is_distribution, case.inputs)):
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
    if not np.isfinite(y.value).all():
        return None
    dy = case.cotangent(y.value)
    (dx,) = grad(y, [x], cotangent=dy, unreached="zeros")
    # Where terms cancel, as in the gradients of a distance at f(x, x), their rounding remains.
    rule, rounding = case.with_inputs(inputs).rule, 0.0
    with contextlib.suppress(Exception):
        rounding = sum(float(np.max(rule.rounding(place), initial=0.0)) for place in case.places)

    def slope(direction: Array) -> Derivative:
        function = lambda moved: case.compute(case.each_floating(lambda x: moved))  # noqa: E731
        found = derivative(function, value, direction, dy, rounding=rounding)
        again = lambda: replace(found.again() if found.again else found, kink=found.kink or kinked(direction))  # noqa: E731
        return replace(found, again=again)

    def kinked(direction: Array) -> bool:
        each = (derivative(rule.forward(place), value, direction, dy) for place in case.places)
        return not case.op.elementwise and any(slope.kink for slope in each)

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
