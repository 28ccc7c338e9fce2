"""The checks of a gradient rule: against numeric derivatives, for its linearity, for one tensor used twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import numpy as np

from tinygraph.errors import TinygraphError
from tinygraph.graph.arrays import Array
from tinygraph.graph.backprop import grad
from tinygraph.graph.op import Shape
from tinygraph.graph.tensor import Tensor
from tinygraph.verify.certificate.case import Case, short
from tinygraph.verify.certificate.faults import cause_of
from tinygraph.verify.certificate.line import Line, agreed, failed, not_asked
from tinygraph.verify.certificate.subject import Subject
from tinygraph.verify.compare import Point, compare
from tinygraph.verify.hints import hint
from tinygraph.verify.local import DIRECTIONS, ELEMENTS, Finding
from tinygraph.verify.names import input_name
from tinygraph.verify.numeric import EPSILON, derivative

RULE_FAILED = "the rule failed"
_LINEAR = 1e-9
Compared: TypeAlias = tuple[Case, Finding, Sequence[Finding]]
_NOT_MEANT = (
    "forward runs on inputs like these, which the rule is not made for: refuse them in a shape rule, or give the "
    "operation samples of its own"
)
_ASSUMED = "or it assumes what is not so here, as that rows add up to 1: give the operation samples of its own"
_DIVISION = "a division by zero, or 0 times infinity, in the rule"
_NO_USUAL_SLIP = "no usual slip (sign, factor, axis, transpose, inputs swapped); a term may be missing, or too many"


def gradients(subject: Subject) -> Iterator[Line]:
    """Compare the gradient of every input with numeric derivatives, for a random gradient of the result."""
    if not subject.differentiable:
        yield not_asked("gradients", "no gradient flows through this operation")
    found: dict[str, list[Compared]] = defaultdict(list)
    for case in subject.differentiable:
        findings = [find(case, place, subject.tolerance) for place in case.places]
        for finding in findings:
            found[_parameter(case, finding.place)].append((case, finding, findings))
    for name, compared in found.items():
        yield _gradient_line(subject, name, compared)


def find(case: Case, place: int, tolerance: float) -> Finding:
    """Return the gradient of one input beside numeric derivatives, or why there is none."""
    try:
        gradient = case.rule.gradient(place, case.rule.cotangent)
    except Exception as error:
        # A rule is anyone's code: whatever it raises is a finding about it.
        return Finding(place, np.empty(0), (), f"{type(error).__name__}: {error}")
    rng = np.random.default_rng([0, 1])
    directions = DIRECTIONS if gradient.size > ELEMENTS else 0
    return Finding(place, gradient, compare(gradient, case.slope(place), rng, tolerance, ELEMENTS, directions))


def has_wrong_gradient(subject: Subject) -> bool:
    """Whether ``gradients`` would find a mistake; found sooner, as it is not explained."""
    return any(
        _is_wrong(find(case, place, subject.tolerance), subject.tolerance)
        for case in subject.differentiable
        for place in case.places
    )


def _parameter(case: Case, place: int) -> str:
    """Return what an input is called; those of an operation on any number of tensors are one."""
    return input_name(case.op, place).partition("[")[0]


def _is_wrong(finding: Finding, tolerance: float) -> bool:
    return bool(finding.message) or any(point.error > tolerance for point in finding.points)


def _worst(finding: Finding) -> Point | None:
    return max(finding.points, key=lambda point: point.error, default=None)


def _gradient_line(subject: Subject, name: str, compared: Sequence[Compared]) -> Line:
    points = [point for _, finding, _ in compared for point in finding.points]
    error = max((point.error for point in points), default=0.0)
    wrong = [entry for entry in compared if _is_wrong(entry[1], subject.tolerance)]
    if not wrong:
        kinks = sum(point.kink for point in points)
        at_kinks = f", {kinks} at kinks" if kinks else ""
        return agreed(f"gradient of {name}", f"worst error {error:.1e} in {len(points)} numbers{at_kinks}", error)
    # Of a rule that fails, the largest inputs tell most: those of its author are seldom vectors of one element.
    failing = all(finding.message for _, finding, _ in wrong)
    case, finding, _ = max(wrong, key=lambda entry: sum(x.ndim for x in entry[0].inputs)) if failing else wrong[0]
    told = next(filter(None, (hint(entry[0].rule, entry[1], entry[2]) for entry in wrong)), "")
    right = [entry[0] for entry in compared if not _is_wrong(entry[1], subject.tolerance)]
    if finding.message:
        told = _or_not_meant(told or cause_of(finding.message), subject, wrong, right)
    elif "add up" not in told:
        # Where windows do not overlap, which is a matter of attributes, an assignment is as good as a sum.
        unknown = f"{_NO_USUAL_SLIP}; {_ASSUMED}" if subject.proposed and not right else _NO_USUAL_SLIP
        told = _attribute(right, wrong) or _or_not_meant(told or unknown, subject, wrong, right)
    figure = RULE_FAILED if finding.message else f"worst error {error:.1e}"
    return failed(f"gradient of {name}", figure, _example(subject, case, finding), told, error)


def _or_not_meant(told: str, subject: Subject, wrong: Sequence[Compared], right: Sequence[Case]) -> str:
    """Add to a hint that proposed inputs may be none that the rule is made for: in front, where it is right for matrices."""
    if not subject.proposed or not right or {_shapes(case) for case, _, _ in wrong} & {_shapes(case) for case in right}:
        return told
    matrices = any(max(map(len, _shapes(case)), default=0) == 2 for case in right)
    return "; or ".join(filter(None, (_NOT_MEANT, told) if matrices else (told, _NOT_MEANT)))


def _shapes(case: Case) -> tuple[Shape, ...]:
    return tuple(x.shape for x in case.inputs)


def _attribute(right: Sequence[Case], wrong: Sequence[Compared]) -> str:
    """Return which attribute a rule takes no notice of, where it is right for one value of it and wrong for all others."""
    slipped = [case.op.attributes() for case, _, _ in wrong]
    # Where windows are few a rule may be right by chance.
    for case in sorted(right, key=lambda case: -case.y.size):
        found = case.op.attributes()
        for name in found:
            alike = next((other for other in slipped if {**other, name: None} == {**found, name: None}), found)
            if all(other[name] != found[name] for other in [alike, *slipped]):
                return (
                    f"right with {name}={found[name]!r}, wrong with {name}={alike[name]!r}: "
                    f"the rule does not use {name} as forward does"
                )
    return ""


def _example(subject: Subject, case: Case, finding: Finding) -> str:
    """Return the smallest part of a case that shows the mistake too, or the case itself; where ones do, with ``dy = 1``."""
    for part in [*case.parts(), case]:
        for shown in [part] if finding.message else [part.on(part.inputs, ones=True), part]:
            again = find(shown, finding.place, subject.tolerance)
            if _is_wrong(again, subject.tolerance) and bool(again.message) == bool(finding.message):
                return _told(shown, again)
    return _told(case, finding)


def _told(case: Case, finding: Finding) -> str:
    """Return a mistake in a line: the call, and what was found there for which gradient of the result."""
    if finding.message:
        return f"{case.call()}, {finding.message}"
    return f"{case.call()}, dy = {1 if case.ones else short(case.rule.cotangent)}, {_worst(finding)}"


def shortcuts(subject: Subject) -> Iterator[Line]:
    """Ask for the gradient that another input's takes the place of, as a user may: it is that of the plain call."""
    name, asked = "shortcuts", 0
    count = len(subject.op.parameters)
    for case in subject.cases:
        bypassed = [place for place, through in subject.op.shortcuts.items() if through < len(case.inputs)]
        plain = case.on(case.inputs[:count])
        for place in bypassed:
            asked += 1
            found, dy = case.rule.gradient(place, case.rule.cotangent), case.rule.cotangent
            expected = plain.rule.gradient(place, dy)
            if not np.allclose(found, expected, rtol=_LINEAR, atol=0):
                yield failed(name, f"the gradient of {input_name(case.op, place)} differs", case.name)
                return
    if asked:
        yield agreed(name, "the gradients of the plain call")


def zero_gradient_in(subject: Subject) -> Iterator[Line]:
    """Ask every rule for the gradients of a result that nothing depends on: they are all zero."""
    yield from _each_gradient(subject, "zero gradient in", _zero, "all zero")


def _zero(case: Case, place: int) -> tuple[str, str]:
    dx = case.rule.gradient(place, np.zeros(case.y.shape))
    if not dx.any():
        return "", ""
    found = dx.ravel()[np.flatnonzero(dx)[0]]
    return f"{found:.4g}", "does not use dy, or adds to it" if np.isfinite(found) else _DIVISION


def linear_in_dy(subject: Subject) -> Iterator[Line]:
    """Ask every rule for two gradients of the result and their sum: gradients add up, and scale."""
    yield from _each_gradient(subject, "linear in dy", _nonlinear, "sums and multiples agree")


def _nonlinear(case: Case, place: int) -> tuple[str, str]:
    # Ones are what a sum sends back, and rules have been right for all but these.
    first, second = case.cotangent(case.y, 1), np.ones(case.y.shape)
    parts = 2.5 * case.rule.gradient(place, first) - 1.5 * case.rule.gradient(place, second)
    whole = case.rule.gradient(place, 2.5 * first - 1.5 * second)
    scale = float(abs(parts).max(initial=0.0))
    error = float(abs(whole - parts).max(initial=0.0))
    # Where terms cancel, as in the gradient of what has a mean of zero, what is left of them is rounding.
    size = max(float(abs(case.inputs[place]).max(initial=0.0)), 1e-3)
    rounding = 256 * EPSILON * float(abs(first).max(initial=0.0)) * float(abs(case.y).max(initial=0.0)) / size
    if error <= _LINEAR * scale + rounding or np.array_equal(whole, parts, equal_nan=True):
        return "", ""
    why = "uses dy twice, or not at all" if np.isfinite(error) else _DIVISION
    return f"off by {error / scale if scale else error:.1e}", why


def _each_gradient(
    subject: Subject, name: str, ask: Callable[[Case, int], tuple[str, str]], told: str
) -> Iterator[Line]:
    for case in subject.differentiable:
        for place in case.places:
            try:
                fault, why = ask(case, place)
            except Exception as error:
                fault, why = f"{type(error).__name__}: {error}", ""
            if fault:
                yield failed(name, f"the gradient of {input_name(case.op, place)} is not", f"{case.name}: {fault}", why)
                return
    yield agreed(name, told) if subject.differentiable else not_asked(name, "no gradient flows")


def used_twice(subject: Subject) -> Iterator[Line]:
    """Give one tensor to two inputs: its gradient is the derivative of ``f(x, x)``."""
    pairs = [case for case in subject.differentiable if _takes_one_twice(case)]
    tried = 0
    for case in pairs:
        inputs = [case.inputs[case.floating[0]] if place in case.floating else x for place, x in enumerate(case.inputs)]
        try:
            error = _twice(case, inputs)
        except TinygraphError:
            continue
        tried += 1
        if error is not None:
            yield failed("used twice", "the two gradients of f(x, x) do not add up", f"{case.call(inputs)}, {error}")
            return
    yield (
        agreed("used twice", "both gradients of f(x, x) add up")
        if tried
        else not_asked("used twice", "no two inputs are alike")
    )


def _takes_one_twice(case: Case) -> bool:
    if any(through < len(case.inputs) for through in case.op.shortcuts.values()):
        return False
    return len(case.floating) > 1 and len({case.inputs[place].shape for place in case.floating}) == 1


def _twice(case: Case, inputs: list[Array]) -> Point | None:
    """Return where the gradient for a tensor that stands in all floating places is wrong."""
    value = inputs[case.floating[0]]
    x = Tensor("tensor", value=value)
    y = case.record([x if place in case.floating else Tensor("tensor", value=v) for place, v in enumerate(inputs)])
    dy = case.cotangent(y.value)
    (dx,) = grad(y, [x], cotangent=dy, unreached="zeros")

    def function(moved: Array) -> Array:
        return case.compute([moved if place in case.floating else v for place, v in enumerate(inputs)])

    points = compare(
        dx.value,
        lambda d: derivative(function, value, d, dy),
        np.random.default_rng([0, 1]),
        1e-6,
        elements=8,
        directions=0,
    )
    return next((point for point in points if point.error > 1e-6), None)
