"""The candidate for a certificate, an operation with the cases to try it on; and how a check of it is written."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from tinygraph.describe.numbers import short
from tinygraph.errors import TinygraphError, listing
from tinygraph.graph import Array, Op, Sample, Tensor, apply, compute, grad, integer
from tinygraph.verify.certificate.propose import proposed_samples
from tinygraph.verify.checker import Finding, LocalRule, differentiable_places, operation_class
from tinygraph.verify.nodes import doubled_call, input_name
from tinygraph.verify.numeric import Point, remembered

Found = TypeVar("Found")
OK, WRONG, NOT_ASKED, NOT_FOUND = "ok", "wrong", "-", "none"


@dataclass(frozen=True)
class Line:
    """One check: its name, a verdict (``ok``, ``wrong``, or ``-`` where the check does not apply) and a figure.

    The verdict ``none`` says that there were no inputs to check the operation on.
    ``number`` is the figure's number where it has one: an error, or how many. A wrong line has the smallest ``example``
    of the mistake, and a ``hint`` at its cause.

    >>> Line("gradient of x", "wrong", "error 0.5", "at [1]: rule 6, numeric 12", "off by a factor of 0.5").ok
    False
    """

    check: str
    verdict: str
    figure: str
    example: str = ""
    hint: str = ""
    number: float | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return self.verdict in (OK, NOT_ASKED)

    def explanation(self) -> list[str]:
        """Return the lines that follow a wrong one."""
        texts = [("for example", self.example), ("perhaps", self.hint)]
        if self.verdict == NOT_FOUND:
            texts = [("for example", self.example), *(("give it samples", advice) for advice in self.hint.split("; "))]
        return [f"{what}: {text}" for what, text in texts if text and not self.ok]


@dataclass(frozen=True)
class Mistake:
    """What a check found wrong: see ``Line``."""

    figure: str
    example: str = ""
    hint: str = ""


class Case:
    """An operation with its attributes, and inputs in float64.

    The gradient of the result is random, or ``ones``, which make an example easier to follow. ``tolerance`` is the
    largest error of a gradient that passes.
    """

    def __init__(
        self, op: type[Op], sample: Sample, number: int = 1, seed: int = 0, tolerance: float = 1e-7, ones: bool = False
    ) -> None:
        self.sample, self.number, self.seed, self.tolerance, self.ones = sample, number, seed, tolerance, ones
        self.op, self.inputs = doubled_call(op, sample)
        self._found: dict[int, Finding] = {}

    @property
    def name(self) -> str:
        """The sample in words: its number, shapes, types that are not floating, and attributes.

        >>> import tinygraph as tg
        >>> Case(tg.sum.op, Sample(np.ones((2, 3)), axis=1)).name
        'sample 1: x (2, 3), axis=1'
        """
        kinds = [f"{x.shape}" if x.dtype.kind == "f" else f"{x.shape} {x.dtype}" for x in self.inputs]
        inputs = [f"{self.input_name(place)} {kind}" for place, kind in enumerate(kinds)]
        attributes = [f"{name}={value!r}" for name, value in self.sample.attributes.items()]
        return f"sample {self.number}: {', '.join([*inputs, *attributes])}"

    def input_name(self, place: int) -> str:
        """Return what the operation calls an input."""
        return input_name(self.op, place)

    def with_inputs(self, inputs: Sequence[Array], ones: bool = False) -> Case:
        """Return the case with other inputs."""
        sample = Sample(*inputs, **self.sample.attributes)
        return Case(type(self.op), sample, self.number, self.seed, self.tolerance, ones)

    @property
    def floating(self) -> list[int]:
        """Which inputs hold floating point numbers."""
        return [place for place, x in enumerate(self.inputs) if x.dtype.kind == "f"]

    def each_floating(self, change: Callable[[Array], Array]) -> list[Array]:
        """Return the inputs, those that hold floating point numbers changed."""
        return [change(x) if x.dtype.kind == "f" else x for x in self.inputs]

    def compute(self, inputs: Sequence[Array]) -> Array:
        """Return the result for arrays."""
        return np.asarray(compute(self.op, inputs))

    def differentiated(self, inputs: Sequence[Array]) -> Array:
        """Return what the rule differentiates, for arrays: the result, or that of the surrogate."""
        return np.asarray(self.op.surrogate(*inputs)) if self.op.surrogate else self.compute(inputs)

    def function(self, place: int, inputs: Sequence[Array] | None = None) -> Callable[[Array], Array]:
        """Return what is differentiated as a function of one input; the others are the case's own, or those given."""
        others = list(self.inputs if inputs is None else inputs)
        return remembered(lambda x: self.differentiated([*others[:place], x, *others[place + 1 :]]))

    def leaves(self, inputs: Sequence[Array] | None = None) -> list[Tensor]:
        """Return the inputs, or those given, as new tensors."""
        return [Tensor("tensor", value=x) for x in (self.inputs if inputs is None else inputs)]

    @functools.cached_property
    def y(self) -> Array:
        """The result."""
        return self.compute(self.inputs)

    @functools.cached_property
    def rule(self) -> LocalRule:
        """The rule, as backpropagation calls it."""
        shape, rng = self.y.shape, np.random.default_rng(self.seed + self.number)
        # Of few digits, so that an example shows all of them.
        return LocalRule(self.op, self.inputs, np.ones(shape) if self.ones else rng.standard_normal(shape).round(3))

    def find(self, place: int) -> Finding:
        """Compare the gradient of one input with numeric derivatives, once."""
        if place not in self._found:
            self._found[place] = self.rule.find(place, np.random.default_rng([0, 1]), self.tolerance)
        return self._found[place]

    def forget(self) -> None:
        """Forget what was found, as after a change of the rule; what is measured of forward is kept."""
        self._found.clear()

    def mistakes(self, finding: Finding, least: float) -> list[Point]:
        """Return the wrong points of a finding, less those that differ by ``least`` for a ``dy`` of 1: that is rounding."""
        allowed = least * float(abs(self.rule.cotangent).max(initial=0.0))
        points = [point for point in finding.points if point.error > self.tolerance]
        return [point for point in points if not abs(point.rule - point.numeric) <= allowed]

    @functools.cached_property
    def places(self) -> list[int]:
        """Which inputs get a gradient; none where the result is not floating."""
        return differentiable_places(apply(self.op, self.leaves()))

    def gradients(self, inputs: Sequence[Array], dy: Array) -> list[Array]:
        """Return the gradients of all floating inputs, by backpropagation; zeros where no gradient flows."""
        leaves = self.leaves(inputs)
        wanted = [x for x in leaves if x.dtype.kind == "f"]
        return [dx.value for dx in grad(apply(self.op, leaves), wanted, cotangent=dy, unreached="zeros")]

    def results(self, inputs: Sequence[Array], dy: Array) -> list[Array]:
        """Return everything that is computed from inputs: the result, and the gradients where there are any."""
        return [self.compute(inputs), *(self.gradients(inputs, dy) if self.places else [])]

    def cotangent(self, y: Array, number: int = 0) -> Array:
        """Return a random gradient for a result; another one for each ``number``."""
        return np.random.default_rng([self.seed + self.number, number]).standard_normal(y.shape)

    def cut(self, size: int, axes: int) -> list[Array]:
        """Return the inputs cut to one element along the first axes, and to ``size`` along the last ``axes`` axes."""
        kept = [(slice(1),) * (x.ndim - axes) + (slice(size),) * min(axes, x.ndim) for x in self.inputs]
        return [np.array(x[part]) for x, part in zip(self.inputs, kept, strict=True)]

    def parts(self) -> Iterator[Case]:
        """Yield the case with its inputs cut to fewer elements, the smallest first, where the operation takes that."""
        cuts = [self.cut(size, axes) for size in range(1, 5) for axes in (1, 2, 99)]
        different = {tuple(x.shape for x in inputs): inputs for inputs in cuts}
        for inputs in sorted(different.values(), key=_elements):
            if _elements(inputs) < _elements(self.inputs):
                yield self.with_inputs(inputs)

    def in_smallest_part(self, look: Callable[[Case], Found]) -> Found | None:
        """Return what ``look`` finds in the smallest part of the case in which it finds something."""
        for part in self.parts():
            # Parts of its inputs may be none that the operation accepts.
            with contextlib.suppress(Exception):
                found = look(part) if part.places else None
                if found:
                    return found
        return None

    def call(self, arrays: Sequence[Array] | None = None) -> str:
        """Return the call as a user would repeat it, where it is short enough to read."""
        return self.op.expression(*map(short, self.inputs if arrays is None else arrays))


def _elements(inputs: Sequence[Array]) -> int:
    return sum(x.size for x in inputs)


@dataclass(frozen=True, eq=False)
class Candidate:
    """An operation, the cases that it is tried on, and whether those were ``proposed`` here."""

    op: type[Op]
    cases: tuple[Case, ...]
    proposed: bool = False

    def without_shape_rule(self) -> Candidate:
        """Return the candidate with shapes found by running forward: what else is wrong shows without a wrong shape rule."""
        members = {name: getattr(Op, name) for name in ("shape", "result_dtype")}
        described = {name: getattr(self.op, name) for name in ("name", "family", "__module__")}
        op = type(self.op.__name__, (self.op,), members | described)
        cases = [Case(op, case.sample, case.number, case.seed, case.tolerance, case.ones) for case in self.cases]
        return replace(self, op=op, cases=tuple(cases))

    def all_cases(self) -> Sequence[Case]:
        """Return the cases."""
        return self.cases

    def differentiable(self) -> list[Case]:
        """Return the cases that have a gradient."""
        return [case for case in self.cases if case.places]

    def smallest_first(self) -> list[Case]:
        """Return the cases, those with few elements first: a mistake is shown in the first that has it."""
        return sorted(self.cases, key=lambda case: _elements(case.inputs))


# A check looks at a candidate and says what it found, in one line or several.
Check = Callable[[Candidate], Iterator[Line]]
# What a check says about one case: a mistake, the error of what is right, or None where it does not apply.
Answer = Mistake | float | None


def for_each(
    cases: Callable[[Candidate], Sequence[Case]],
    right: str | Callable[[list[float]], str],
    otherwise: str | Callable[[Candidate], str] = "no gradient flows",
) -> Callable[[Callable[[Case], Answer]], Check]:
    """Return a decorator that makes a check of a function for one case. The check ends with the first mistake.

    ``right`` is the figure where there is none: a function of the errors, or a text with ``{worst}`` for the largest
    error, ``{count}`` for the number of errors and ``{total}`` for that of cases. ``otherwise`` says why the check does
    not apply, where it applies to no case or the figure is empty.
    """

    def decorate(ask: Callable[[Case], Answer]) -> Check:
        name = ask.__name__.replace("_", " ").strip()

        @functools.wraps(ask)
        def check(candidate: Candidate) -> Iterator[Line]:
            errors, chosen = [], cases(candidate)
            for case in chosen:
                answer = ask(case)
                if isinstance(answer, Mistake):
                    yield Line(name, WRONG, answer.figure, answer.example, answer.hint)
                    return
                if answer is not None:
                    errors.append(answer)
            figures = {"worst": max(errors, default=0.0), "count": len(errors), "total": len(chosen)}
            figure = right.format(**figures) if isinstance(right, str) else right(errors)
            if errors and figure:
                yield Line(name, OK, figure)
            else:
                yield Line(name, NOT_ASKED, otherwise if isinstance(otherwise, str) else otherwise(candidate))

        return check

    return decorate


def candidate_for(operation: Any, seed: int = 0, tolerance: float = 1e-7) -> Candidate:
    """Return the candidate for an operation that is given as a function, a class or a name.

    It has no cases where the operation has no samples and forward runs on none of the inputs that are tried. Raises
    ``TinygraphError`` for something that is not an operation, and for samples that are not ``tg.Sample``.

    >>> candidate = candidate_for("matmul")
    >>> candidate.op.name, len(candidate.cases), candidate.proposed
    ('matmul', 7, False)
    """
    op, seed = operation_class(operation), integer("seed", seed, least=0)
    rng = np.random.default_rng(seed)
    samples = proposed_samples(op, rng) if op.samples is None else _given(op, op.samples, rng)
    samples += _given(op, op.shortcut_samples, rng) if op.shortcut_samples is not None else []
    cases = [Case(op, sample, number, seed, tolerance) for number, sample in enumerate(samples, start=1)]
    return Candidate(op, tuple(cases), op.samples is None)


def _given(
    op: type[Op], samples: Callable[[np.random.Generator], Iterable[Any]], rng: np.random.Generator
) -> list[Any]:
    try:
        given = list(samples(rng))
    except Exception as error:
        raise TinygraphError(f"{op.name}: its samples failed: {type(error).__name__}: {error}") from error
    for sample in given:
        if not isinstance(sample, Sample):
            wanted, found = "tg.Sample(x, ..., attribute=value), one for each call", type(sample).__name__
            raise TinygraphError(f"{op.name}: its samples are {wanted}; found {found}")
        unknown = [name for name in sample.attributes if name not in op.attribute_annotations()]
        if unknown:
            names = listing(unknown)
            raise TinygraphError(f"{op.name}: a sample sets {names}, which is not an attribute of the operation")
    return given
