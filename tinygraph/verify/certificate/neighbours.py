"""Inputs next to the samples of an operation, on which its rule must be right as well: other sizes, values, order, attributes.

Samples are a start. Which axes must have the same size is learned by running forward: so each size can be changed, to odd
ones and to ones above 8 and 20. Where forward refuses an input, or gives numbers that are not finite, nothing is asked.
"""

import contextlib
import functools
import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tinygraph.graph import Array, Op, Sample, Shape
from tinygraph.verify.certificate.candidate import NOT_ASKED, OK, WRONG, Candidate, Case, Line
from tinygraph.verify.certificate.propose import varied
from tinygraph.verify.certificate.redraw import (
    has_distinct_rows,
    is_distribution,
    is_free,
    is_sorted,
    redrawn,
    with_own,
)
from tinygraph.verify.certificate.search import Shapes, linked_axes, resized
from tinygraph.verify.checker import Finding, LocalRule
from tinygraph.verify.hints import cause_of, hint
from tinygraph.verify.numeric import EPSILON, worst

NEXT_TO_SAMPLES = "right on your samples, wrong next to them"

_SIZES = (5, 7, 9, 23)
_FIVE_AXES = (2, 1, 3, 2, 4)
_MOST_ELEMENTS = 4_000
_MOST_CASES, _MOST_EQUAL, _MOST_TRIALS = 6, 20, 8
_SECONDS = 0.3
_ELEMENTS, _DIRECTIONS = 3, 2
_SHAPE_RULE = "its shape rule"


@dataclass(frozen=True)
class Neighbour:
    """An input next to a sample: ``what`` was changed, in words; ``group`` names the change that others share."""

    what: str
    case: Case
    group: object = None


def other_sizes(candidate: Candidate) -> Iterator[Line]:
    """Compare gradients at other sizes of every axis: odd ones, some above 8 and above 20, and all of them changed."""
    yield _line("other sizes", candidate, _sizes)


def other_values(candidate: Candidate) -> Iterator[Line]:
    """Compare gradients at the samples with noise, scaled, with their elements in another order, and their rows."""
    yield _line("other values", candidate, _values)


def other_attributes(candidate: Candidate) -> Iterator[Line]:
    """Compare gradients for other values of every attribute."""
    yield _line("other attributes", candidate, lambda candidate: iter(changed_attributes(candidate)))


def _line(name: str, candidate: Candidate, neighbours: Callable[[Candidate], Iterator[Neighbour]]) -> Line:
    """Compare gradients at neighbours, and return the line: a mistake is shown at the first that has it.

    A rule that fails at all sizes of an axis is not made for others: then the size means something, as the 4 numbers of a
    box do. One that is right at some sizes and fails at others is wrong.
    """
    right: dict[object, list[Neighbour]] = defaultdict(list)
    failed: dict[object, list[tuple[Neighbour, Finding]]] = defaultdict(list)
    trials = [(case.rule, [case.find(place) for place in case.places]) for case in candidate.differentiable()]
    began = time.process_time()
    for neighbour in neighbours(candidate):
        findings = _compared(neighbour.case)
        trials.append((neighbour.case.rule, findings))
        wrong = next((found for found in findings if found.wrong and _matters(neighbour.case, found)), None)
        if wrong is None:
            right[neighbour.group].append(neighbour)
        elif wrong.message and neighbour.group is not None and not wrong.message.startswith(_SHAPE_RULE):
            failed[neighbour.group].append((neighbour, wrong))
        else:
            return _wrong(name, candidate, neighbour, wrong, trials, right[neighbour.group])
        if time.process_time() - began > _SECONDS:
            break
    for group, found in failed.items():
        if right[group]:
            return _wrong(name, candidate, *found[0], trials, right[group])
    # Not how many, which depends on how fast they were.
    verdict, figure = (OK, "right in all that were tried") if any(right.values()) else (NOT_ASKED, "none to try")
    return Line(name, verdict, figure)


def _matters(case: Case, finding: Finding) -> bool:
    """Whether a mistake is more than what may be rounding: next to small numbers that of 1 plus these, divided by these."""
    largest = max((float(abs(case.inputs[place]).max(initial=0.0)) for place in case.floating), default=1.0)
    return bool(finding.message or case.mistakes(finding, max(_ROUNDING, 64 * EPSILON / min(largest or 1.0, 1.0) ** 2)))


def _wrong(
    name: str,
    candidate: Candidate,
    neighbour: Neighbour,
    finding: Finding,
    trials: Sequence[tuple[LocalRule, Sequence[Finding]]],
    right: Sequence[Neighbour],
) -> Line:
    case = neighbour.case
    tried = [(rule, found, findings) for rule, findings in trials for found in findings if found.place == finding.place]
    cause = hint(tried) or cause_of(finding.message)
    compared = finding.message or f"the gradient of {case.input_name(finding.place)} {worst(finding.points)}"
    shown = case.call() if sum(x.size for x in case.inputs) <= 12 else case.name
    also = f"; right with {right[0].what}" if right and neighbour.group is not None else ""
    figure = f"wrong with {neighbour.what}" if candidate.proposed else NEXT_TO_SAMPLES
    return Line(name, WRONG, figure, f"{neighbour.what}: {shown}, {compared}{also}", cause)


def _compared(case: Case) -> list[Finding]:
    """Return what is found for each gradient of a case, compared at a few elements and along random directions."""
    shape = case.op.shape(*case.inputs) if case.op.has_shape_rule else case.y.shape
    if shape != case.y.shape:
        text = f"{_SHAPE_RULE} says {shape} and forward gives {case.y.shape}"
        return [Finding(0, np.empty(0), message=text)]
    rng = np.random.default_rng([0, 1])
    return [case.rule.find(place, rng, case.tolerance, _ELEMENTS, _DIRECTIONS) for place in case.places]


def _accepted(case: Case, sample: Sample) -> Case | None:
    """Return the case of a sample, if forward accepts it and gives numbers that are finite where the case has such."""
    with contextlib.suppress(Exception):
        other = Case(type(case.op), sample, case.number, case.seed, case.tolerance)
        if other.op.has_shape_rule:
            other.op.shape(*other.inputs)
        finite = np.isfinite(other.y)
        bypassed = other.op.bypassed(len(other.inputs))
        enough = finite.any() and (finite.all() or not np.isfinite(case.y).all())
        return other if other.places and enough and not bypassed else None
    return None


# ---- other attributes


@functools.lru_cache(maxsize=1)
def changed_attributes(candidate: Candidate) -> list[Neighbour]:
    """Return a neighbour for each other value of an attribute that changes the result."""
    seen, found = {_attributes_of(case) for case in candidate.cases}, []
    if candidate.proposed:
        return []
    for case in _distinct(candidate):
        for sample in varied(type(case.op), [case.sample]):
            other = _accepted(case, sample)
            if other is not None and _attributes_of(other) not in seen:
                seen.add(_attributes_of(other))
                given, before = sample.attributes.items(), case.op.attributes()
                changed = [f"{name}={value!r}" for name, value in given if other.op.attributes()[name] != before[name]]
                found.append(Neighbour(", ".join(changed), other))
    return found


def _attributes_of(case: Case) -> str:
    return repr(case.op.attributes())


def _distinct(candidate: Candidate) -> list[Case]:
    """Return a few cases that differ in attributes or in their numbers of axes, those with most elements first."""
    kinds: dict[object, Case] = {}
    for case in sorted(candidate.differentiable(), key=lambda case: -sum(x.size for x in case.inputs)):
        ranks = tuple((x.ndim, x.dtype.kind) for x in case.inputs)
        kinds.setdefault((_attributes_of(case), ranks), case)
    return list(kinds.values())[:_MOST_CASES]


# ---- other sizes


def _sizes(candidate: Candidate) -> Iterator[Neighbour]:
    cases = _distinct(candidate)
    cases += [neighbour.case for neighbour in changed_attributes(candidate)]
    # What runs on one, two and three axes is made for any number of them.
    if candidate.proposed and {1, 2, 3} <= {x.ndim for case in cases for x in case.inputs if len(case.inputs) == 1}:
        x = redrawn(np.random.default_rng([0, 5]), cases[0].inputs[0], _FIVE_AXES)
        other = _accepted(cases[0], Sample(x, **cases[0].sample.attributes))
        if other is not None:
            yield Neighbour(f"{other.input_name(0)} {_FIVE_AXES}", other, _FIVE_AXES)
    for case in cases[:_MOST_CASES]:
        yield from _stacks_of(case)
        yield from _more_axes_of(case)
        yield from _sizes_of(case)


def trials_next_to(candidate: Candidate, place: int) -> Iterator[tuple[LocalRule, Finding, Sequence[Finding]]]:
    """Yield what is found for one input at a few other attributes, marks and sizes, on which hints are tried too."""
    sizes = itertools.islice(_sizes(candidate), 0, 5 * _MOST_TRIALS, 5)
    marks = (neighbour for neighbour in _values(candidate) if neighbour.what.startswith(_OF_MARKS))
    for neighbour in itertools.chain(changed_attributes(candidate)[:_MOST_TRIALS], marks, sizes):
        findings = _compared(neighbour.case)
        yield from ((neighbour.case.rule, x, findings) for x in findings if x.place == place and not x.message)


def _stacks_of(case: Case) -> Iterator[Neighbour]:
    """Yield matrices, and what goes with them, in stacks with one and with two axes more, where forward takes such.

    Without a shape rule it may do so by chance: then a rule that fails is not made for them.
    """
    most = max((x.ndim for x in case.inputs), default=0)
    if most != 2 or case.op.elementwise:
        return
    for stack, least in itertools.product(((2,), (3, 2)), (0, 2)):
        rng = np.random.default_rng([case.seed, 7])
        shapes = [(*stack, *x.shape) if x.ndim >= least else x.shape for x in case.inputs]
        inputs = [redrawn(rng, x, shape) for x, shape in zip(case.inputs, shapes, strict=True)]
        other = _accepted(case, Sample(*with_own(case.op, rng, inputs), **case.sample.attributes))
        if other is not None and other.y.ndim == case.y.ndim + len(stack):
            yield Neighbour("stacks of matrices", other, None if case.op.has_shape_rule else "stacks")


def _more_axes_of(case: Case) -> Iterator[Neighbour]:
    """Yield one of several inputs with one and with two axes more at its end, where the shape rule takes such."""
    many = case.op.has_shape_rule and len(case.inputs) > 1
    for place, more in itertools.product(range(len(case.inputs)) if many else (), ((3,), (3, 2))):
        rng, x = np.random.default_rng([case.seed, 8]), case.inputs[place]
        other = _accepted(
            case, Sample(*_with(case, place, redrawn(rng, x, (*x.shape, *more))), **case.sample.attributes)
        )
        if other is not None:
            yield Neighbour(f"{case.input_name(place)} {other.inputs[place].shape}", other)


def _sizes_of(case: Case) -> Iterator[Neighbour]:
    shapes = tuple(x.shape for x in case.inputs)
    rng, began = np.random.default_rng([case.seed, 5]), time.process_time()

    def at(tried: Shapes) -> Case | None:
        if shapes == tried or time.process_time() - began > _SECONDS / 2 or max(map(_size, tried)) > _MOST_ELEMENTS:
            return None
        inputs = [redrawn(rng, x, shape) for x, shape in zip(case.inputs, tried, strict=True)]
        return _accepted(case, Sample(*with_own(case.op, rng, inputs), **case.sample.attributes))

    # Labels and other whole numbers belong to the rows that they stand next to.
    tied = [(p, a) for p, x in enumerate(case.inputs) if x.dtype.kind != "f" for a in range(x.ndim)]
    sets = linked_axes(shapes, lambda tried: at(tried) is not None, tied)
    smallest = {axes: min(shapes[p][a] for p, a in axes) for axes in sets}
    # Several heads may share a key: one size is a multiple of another.
    parts = ((axes, part) for axes in sets if len(axes) > 1 for one in sorted(axes) for part in ({one}, axes - {one}))
    for axes, part in parts:
        other = at(resized(shapes, part, 1, 2))
        if other is not None:
            yield Neighbour("one size twice another", other, ("twice", axes))
    # A rule may tell axes apart by their sizes.
    for axes, model in itertools.islice(itertools.permutations(sets, 2), _MOST_EQUAL):
        other = at(resized(shapes, axes, smallest[axes], smallest[model]))
        if other is not None:
            yield Neighbour("equal sizes", other, (axes, model))
    for axes in sets:
        place = min(axes)[0]
        size = smallest[axes]
        for new in dict.fromkeys((size + 1, size + 2, 2 * size + 1, *_SIZES, 2 * size)):
            other = at(resized(shapes, axes, size, new))
            if other is not None:
                yield Neighbour(f"{case.input_name(place)} {other.inputs[place].shape}", other, (case.number, axes))


def _size(shape: Shape) -> int:
    return int(np.prod(shape))


# ---- other values

# Near 0 a rule may have a series in the place of a formula.
_SCALES = (0.1, 3.0, 3e-3, 3e-5)
# So much a gradient for a dy of 1 may differ where forward hardly changes.
_ROUNDING = 1e-12
_MOST_OWN = 3


def _values(candidate: Candidate) -> Iterator[Neighbour]:
    for case in _distinct(candidate):
        rng = np.random.default_rng([case.seed, 6])
        for what, inputs in _changed(case, rng):
            other = _accepted(case, Sample(*inputs, **case.sample.attributes))
            if other is not None:
                yield Neighbour(what, other)


def _changed(case: Case, rng: np.random.Generator) -> Iterator[tuple[str, list[Array]]]:
    if type(case.op).sample_inputs is not Op.sample_inputs:
        yield from (("its sample_inputs", with_own(case.op, rng, case.inputs)) for _ in range(_MOST_OWN))
    yield "noise", [_noisy(rng, x, 0.1, has_order(case)) for x in case.inputs]
    yield "more noise", [_noisy(rng, x, 1.0, has_order(case)) for x in case.inputs]
    for scale in _SCALES:
        yield f"numbers times {scale:g}", [x * scale if is_free(x) else x for x in case.inputs]
    for place, x in enumerate(case.inputs):
        name = case.input_name(place)
        if x.ndim and len(x) > 1 and not (has_order(case) and is_sorted(x)):
            yield f"{name} with its rows in another order", _with(case, place, rng.permutation(x))
            yield f"{name} from its end", _with(case, place, x[::-1].copy())
        if x.dtype.kind == "b":
            yield f"the opposite of {name}", _with(case, place, ~x)
            yield f"other truth values in {name}", _with(case, place, rng.random(x.shape) < 0.5)
        if has_distinct_rows(x):
            yield f"other numbers in {name}", _with(case, place, redrawn(rng, x, x.shape))
        elif x.dtype.kind in "iu" and x.size:
            yield f"other numbers in {name}", _with(case, place, rng.integers(x.min(), x.max() + 2, x.shape, x.dtype))
            yield f"equal numbers in {name}", _with(case, place, np.full_like(x, x.flat[-1]))
        if is_free(x) and len(case.floating) > 1:
            yield f"{name} times 3", _with(case, place, x * 3)


# What changes truth values, labels and indices.
_OF_MARKS = ("its sample_inputs", "the opposite of", "other truth values", "other numbers in")


def _with(case: Case, place: int, x: Array) -> list[Array]:
    return [*case.inputs[:place], x, *case.inputs[place + 1 :]]


def has_order(case: Case) -> bool:
    """Whether one of several inputs is sorted, which then means something: the knots of a curve, for example."""
    return len(case.floating) > 1 and any(map(is_sorted, case.inputs))


def _noisy(rng: np.random.Generator, x: Array, size: float, ordered: bool) -> Array:
    if is_distribution(x):
        y = x + size * x.mean() * rng.uniform(0, 1, x.shape)
        return np.asarray(y / y.sum(axis=-1, keepdims=True))
    if not is_free(x):
        return x
    if ordered and is_sorted(x):
        return np.asarray(np.sort(x + size * np.diff(x, axis=-1).min() * rng.uniform(-0.5, 0.5, x.shape), axis=-1))
    scale = float(x.std()) or float(abs(x).mean()) or 1.0
    return np.asarray(x + size * scale * rng.uniform(-1, 1, x.shape))
