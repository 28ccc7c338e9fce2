"""The checks of a gradient against numeric derivatives: input by input, at one step size after another."""

import contextlib
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from tinygraph.describe.numbers import short
from tinygraph.graph import Graph, Op
from tinygraph.graph.tensor import input as declare
from tinygraph.verify.certificate.candidate import NOT_ASKED, OK, WRONG, Candidate, Case, Line
from tinygraph.verify.certificate.neighbours import trials_next_to
from tinygraph.verify.certificate.rules import in_single
from tinygraph.verify.checker import Finding
from tinygraph.verify.hints import PROVEN, cause_of, hint
from tinygraph.verify.numeric import central_difference, worst

RULE_FAILED = "the rule failed"
STEPS = tuple(10.0**-power for power in range(1, 13))
_FALLEN = 1e-5
# Larger errors are not the rounding of float32.
_SINGLE = 1e-4
# A case, what was found for one of its inputs, and for all of them.
Compared = tuple[Case, Finding, Sequence[Finding]]
_NOT_INTENDED = (
    "the rule is meant to have other inputs than forward takes: refuse the rest in a shape rule, or give the operation "
    "samples of its own"
)


def gradients(candidate: Candidate) -> Iterator[Line]:
    """Compare the gradient of every input with numeric derivatives, for a random gradient of the result."""
    found: dict[str, list[Compared]] = defaultdict(list)
    for case in candidate.differentiable():
        findings = [case.find(place) for place in case.places]
        for finding in findings:
            # The inputs of an operation on any number of tensors count as one.
            found[case.input_name(finding.place).partition("[")[0]].append((case, finding, findings))
    for name, compared in found.items():
        yield _gradient_line(candidate, name, compared)
    case = candidate.cases[0]
    ruled = type(case.op).vjp is not Op.vjp and not case.op.composite
    if not found and ruled and case.floating and case.y.dtype.kind != "f":
        advice = "return floating numbers, or leave the rule out"
        yield Line("gradients", WRONG, f"the result is {case.y.dtype}: the rule never runs", case.name, advice)
    elif not found:
        yield Line("gradients", NOT_ASKED, "no gradient flows through this operation")


def surrogate_of(case: Case) -> str:
    """Return what an operation's gradient stands for: the surrogate as an equation, or its name where it does not record."""
    leaves = [declare(case.input_name(place), x.shape, x.dtype) for place, x in enumerate(case.inputs)]
    with contextlib.suppress(Exception):
        y = case.op.surrogate(*leaves)
        return str(y.name) if y.op is None else str(Graph(y).layout.equations[-1].expression)
    return str(getattr(case.op.surrogate, "__name__", "its surrogate"))


def _gradient_line(candidate: Candidate, name: str, compared: Sequence[Compared]) -> Line:
    points = [point for _, finding, _ in compared for point in finding.points]
    error = max((point.error for point in points), default=0.0)
    wrong = [entry for entry in compared if entry[1].wrong]
    if not wrong:
        kinks = sum(point.kink for point in points)
        figure = f"worst error {error:.1e} in {len(points)} numbers" + (f", {kinks} at kinks" if kinks else "")
        return Line(f"gradient of {name}", OK, figure, number=error)
    failing = all(finding.message for _, finding, _ in wrong)
    # A rule that fails is shown on the largest inputs: its author seldom thought of vectors of one element.
    case, finding, _ = max(wrong, key=lambda entry: sum(x.ndim for x in entry[0].inputs)) if failing else wrong[0]
    single = "" if failing or error > _SINGLE else in_single(case, finding)
    trials = [(case.rule, finding, findings) for case, finding, findings in compared]
    cause = single or hint(trials, trials_next_to(candidate, finding.place))
    right = [case for case, finding, _ in compared if not finding.wrong]
    if not cause and finding.message:
        cause = cause_of(finding.message)
    if candidate.proposed and not (single or cause.endswith(PROVEN)):
        cause = _or_not_intended(cause, wrong, right)
    figure = RULE_FAILED if finding.message else f"worst error {error:.1e}"
    return Line(f"gradient of {name}", WRONG, figure, _example(case, finding), cause, error)


def _or_not_intended(cause: str, wrong: Sequence[Compared], right: Sequence[Case]) -> str:
    """Add to a hint that the rule may not be made for proposed inputs: in front where it is right for matrices."""
    if not right or {_kind(case) for case, _, _ in wrong} & set(map(_kind, right)):
        return cause
    matrices = any(max((x.ndim for x in case.inputs), default=0) == 2 for case in right)
    return "; or ".join(filter(None, (_NOT_INTENDED, cause) if matrices else (cause, _NOT_INTENDED)))


def _kind(case: Case) -> str:
    sizes = [size for x in case.inputs for size in x.shape]
    return f"{[x.ndim for x in case.inputs]} {[sizes.index(size) for size in sizes]}"


def _example(case: Case, finding: Finding) -> str:
    """Return the mistake in the smallest part of a case that has it, with ``dy = 1`` where ones show it too."""

    def mistake(part: Case) -> str:
        for tried in [part] if finding.message else [part.with_inputs(part.inputs, ones=True), part]:
            again = tried.find(finding.place)
            if again.wrong and bool(again.message) == bool(finding.message):
                return _sentence(tried, again)
        return ""

    return case.in_smallest_part(mistake) or mistake(case) or _sentence(case, finding)


def _sentence(case: Case, finding: Finding) -> str:
    """Return a mistake in a line: the call, and what was found there for which gradient of the result."""
    compared = f"dy = {1 if case.ones else short(case.rule.cotangent)}, {worst(finding.points)}"
    return f"{case.call()}, {finding.message or compared}"


def error_against_step(candidate: Candidate) -> Iterator[Line]:
    """Compare with central differences at twelve steps: the error falls for a right rule, and stays for a wrong one."""
    verdict, figure = NOT_ASKED, "no gradient flows"
    for case in candidate.differentiable()[:1]:
        found = [(step_errors(case, place), case.input_name(place)) for place in case.places]
        errors, largest = max(found, key=lambda entry: min(entry[0]))
        verdict, figure = OK, f"falls to {min(errors):.0e} at step {STEPS[np.argmin(errors)]:.0e}"
        if min(errors) >= _FALLEN:
            verdict, figure = WRONG, f"stays at {np.median(errors):.1g} for {largest}: a wrong rule, not rounding"
    yield Line("error against step", verdict, figure)


def step_errors(case: Case, place: int) -> list[float]:
    """Return the relative error of a gradient along a random direction, against central differences at each of ``STEPS``.

    >>> import tinygraph as tg
    >>> min(step_errors(Case(tg.exp.op, tg.Sample([0.5, 1.0])), 0)) < 1e-9
    True
    """
    x, dy = case.inputs[place], case.rule.cotangent
    direction = np.random.default_rng([1, 2, place]).standard_normal(x.shape)
    rule, numeric = (case.rule.gradient(place) * direction).sum(), np.full(len(STEPS), np.nan)
    for number, step in enumerate(STEPS):
        # Outside the domain there is no slope at this step.
        with contextlib.suppress(Exception):
            slopes = central_difference(case.function(place), x, direction, step)
            # An infinity, such as that of a mask, is on both sides and has no part in a slope.
            numeric[number] = (dy * slopes)[np.isfinite(case.y)].sum()
    size = np.maximum(abs(rule), abs(numeric))
    difference = abs(rule - numeric) / np.where(size == 0, 1.0, size)
    errors: list[float] = np.nan_to_num(difference, nan=1.0, posinf=1.0).tolist()
    return errors
