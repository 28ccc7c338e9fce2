"""The checks of a gradient against numeric derivatives: input by input, and at one step size after another."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np

from tinygraph.graph import Array, Shape
from tinygraph.verify.certificate.candidate import NOT_ASKED, OK, WRONG, Candidate, Line
from tinygraph.verify.certificate.case import Case, short
from tinygraph.verify.compare import worst
from tinygraph.verify.hints import cause_of, hint
from tinygraph.verify.numeric import central_difference
from tinygraph.verify.rule import Finding

RULE_FAILED = "the rule failed"
STEPS = tuple(10.0**-power for power in range(1, 13))
_FALLEN = 1e-5
# A case, what was found for one of its inputs, and for all of them.
Compared: TypeAlias = tuple[Case, Finding, Sequence[Finding]]
_NOT_INTENDED = (
    "forward runs on inputs like these, which the rule is not made for: refuse them in a shape rule, or give the "
    "operation samples of its own"
)
_ASSUMED = "or it assumes what is not so here, as that rows add up to 1: give the operation samples of its own"
_NO_USUAL_SLIP = "no usual slip (sign, factor, axis, transpose, inputs swapped); a term may be missing, or too many"


def gradients(candidate: Candidate) -> Iterator[Line]:
    """Compare the gradient of every input with numeric derivatives, for a random gradient of the result."""
    if not candidate.differentiable():
        yield Line("gradients", NOT_ASKED, "no gradient flows through this operation")
    found: dict[str, list[Compared]] = defaultdict(list)
    for case in candidate.differentiable():
        findings = [case.find(place) for place in case.places]
        for finding in findings:
            # The inputs of an operation on any number of tensors count as one.
            found[case.input_name(finding.place).partition("[")[0]].append((case, finding, findings))
    for name, compared in found.items():
        yield _gradient_line(candidate, name, compared)


def has_wrong_gradient(candidate: Candidate) -> bool:
    """Whether ``gradients`` would find a mistake: quicker, because it stops at the first and does not explain it."""
    return any(case.is_wrong(case.find(place)) for case in candidate.differentiable() for place in case.places)


def _gradient_line(candidate: Candidate, name: str, compared: Sequence[Compared]) -> Line:
    points = [point for _, finding, _ in compared for point in finding.points]
    error = max((point.error for point in points), default=0.0)
    wrong = [entry for entry in compared if entry[0].is_wrong(entry[1])]
    if not wrong:
        kinks = sum(point.kink for point in points)
        figure = f"worst error {error:.1e} in {len(points)} numbers" + (f", {kinks} at kinks" if kinks else "")
        return Line(f"gradient of {name}", OK, figure, number=error)
    failing = all(finding.message for _, finding, _ in wrong)
    # A rule that fails is shown on the largest inputs: its author seldom thought of vectors of one element.
    case, finding, _ = max(wrong, key=lambda entry: sum(x.ndim for x in entry[0].inputs)) if failing else wrong[0]
    cause = next(filter(None, (hint(case.rule, finding, findings) for case, finding, findings in wrong)), "")
    right = [case for case, finding, _ in compared if not case.is_wrong(finding)]
    if finding.message:
        cause = _or_not_intended(cause or cause_of(finding.message), candidate, wrong, right)
    elif "add up" not in cause:
        # Where windows do not overlap, which depends on attributes, an assignment is as good as a sum.
        unknown = f"{_NO_USUAL_SLIP}; {_ASSUMED}" if candidate.proposed and not right else _NO_USUAL_SLIP
        cause = _unused_attribute(right, wrong) or _or_not_intended(cause or unknown, candidate, wrong, right)
    figure = RULE_FAILED if finding.message else f"worst error {error:.1e}"
    return Line(f"gradient of {name}", WRONG, figure, _example(case, finding), cause, error)


def _or_not_intended(cause: str, candidate: Candidate, wrong: Sequence[Compared], right: Sequence[Case]) -> str:
    """Add to a hint that the rule may not be made for proposed inputs: in front where it is right for matrices."""
    if not candidate.proposed or not right or {_shapes(case) for case, _, _ in wrong} & set(map(_shapes, right)):
        return cause
    matrices = any(max(map(len, _shapes(case)), default=0) == 2 for case in right)
    return "; or ".join(filter(None, (_NOT_INTENDED, cause) if matrices else (cause, _NOT_INTENDED)))


def _shapes(case: Case) -> tuple[Shape, ...]:
    return tuple(x.shape for x in case.inputs)


def _unused_attribute(right: Sequence[Case], wrong: Sequence[Compared]) -> str:
    """Return which attribute a rule does not use, where it is right for one value of it and wrong for all others."""
    slipped = [case.op.attributes() for case, _, _ in wrong]
    # Where there are few windows a rule may be right by chance.
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


def _example(case: Case, finding: Finding) -> str:
    """Return the mistake in the smallest part of a case that has it, with ``dy = 1`` where ones show it too."""

    def mistake(part: Case) -> str:
        for tried in [part] if finding.message else [part.with_inputs(part.inputs, ones=True), part]:
            again = tried.find(finding.place)
            if tried.is_wrong(again) and bool(again.message) == bool(finding.message):
                return _sentence(tried, again)
        return ""

    return case.in_smallest_part(mistake) or mistake(case) or _sentence(case, finding)


def _sentence(case: Case, finding: Finding) -> str:
    """Return a mistake in a line: the call, and what was found there for which gradient of the result."""
    if finding.message:
        return f"{case.call()}, {finding.message}"
    return f"{case.call()}, dy = {1 if case.ones else short(case.rule.cotangent)}, {worst(finding.points)}"


def error_against_step(candidate: Candidate) -> Iterator[Line]:
    """Compare with central differences at twelve steps: the error falls for a right rule, and stays for a wrong one."""
    name = "error against step"
    found = [
        (step_errors(case, place), case.input_name(place))
        for case in candidate.differentiable()[:1]
        for place in case.places
    ]
    if not found:
        yield Line(name, NOT_ASKED, "no gradient flows")
        return
    errors, largest = max(found, key=lambda entry: min(entry[0]))
    least = min(errors)
    if least < _FALLEN:
        yield Line(name, OK, f"falls to {least:.0e} at step {STEPS[errors.index(least)]:.0e}")
    else:
        yield Line(name, WRONG, f"stays at {np.median(errors):.1g} for {largest}: a wrong rule, not rounding")


def step_errors(case: Case, place: int) -> list[float]:
    """Return the relative error of a gradient along a random direction, against central differences at each of ``STEPS``.

    For a right rule the errors fall with the square of the step until rounding takes over.

    >>> import tinygraph as tg
    >>> min(step_errors(Case(tg.exp.op, tg.Sample([0.5, 1.0])), 0)) < 1e-9
    True
    """
    x, dy = case.inputs[place], case.rule.cotangent
    direction = np.random.default_rng([1, 2, place]).standard_normal(x.shape)
    rule = float((case.gradient(place) * direction).sum())
    return [_relative_error(rule, _slope(case, place, direction, step, dy)) for step in STEPS]


def _slope(case: Case, place: int, direction: Array, step: float, dy: Array) -> float:
    try:
        slopes = central_difference(case.function(place), case.inputs[place], direction, step)
    except Exception:
        # Outside the domain there is no slope at this step.
        return np.nan
    # An infinity, such as that of a mask, is on both sides and has no part in a slope.
    return float((dy * slopes)[np.isfinite(case.y)].sum())


def _relative_error(rule: float, numeric: float) -> float:
    size = max(abs(rule), abs(numeric))
    error = abs(rule - numeric) / size if size else 0.0
    return error if np.isfinite(error) else 1.0
