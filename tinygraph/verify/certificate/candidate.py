"""The candidate for a certificate, an operation with the cases to try it on; and how a check of it is written."""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygraph.errors import TinygraphError, listing
from tinygraph.graph import Op, Sample
from tinygraph.graph.attributes import integer
from tinygraph.verify.certificate.case import Case
from tinygraph.verify.certificate.propose import proposed_samples
from tinygraph.verify.checker import operation_class

OK, WRONG, NOT_ASKED = "ok", "wrong", "-"


@dataclass(frozen=True)
class Line:
    """One check: its name, a verdict (``ok``, ``wrong``, or ``-`` where the check does not apply) and a figure.

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
        return self.verdict != WRONG

    def explanation(self) -> list[str]:
        """Return the lines that follow a wrong one."""
        texts = [("for example", self.example), ("perhaps", self.hint)]
        return [f"{what}: {text}" for what, text in texts if text and not self.ok]


@dataclass(frozen=True)
class Mistake:
    """What a check found wrong: see ``Line``."""

    figure: str
    example: str = ""
    hint: str = ""


@dataclass(frozen=True, eq=False)
class Candidate:
    """An operation, the cases that it is tried on, and whether those were ``proposed`` here."""

    op: type[Op]
    cases: tuple[Case, ...]
    proposed: bool = False

    def all_cases(self) -> Sequence[Case]:
        """Return the cases."""
        return self.cases

    def differentiable(self) -> list[Case]:
        """Return the cases that have a gradient."""
        return [case for case in self.cases if case.places]

    def smallest_first(self) -> list[Case]:
        """Return the cases, those with few elements first: a mistake is shown in the first that has it."""
        return sorted(self.cases, key=lambda case: sum(x.size for x in case.inputs))


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
    not apply, where it applies to no case.
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
            if not errors:
                yield Line(name, NOT_ASKED, otherwise if isinstance(otherwise, str) else otherwise(candidate))
            elif isinstance(right, str):
                yield Line(name, OK, right.format(worst=max(errors), count=len(errors), total=len(chosen)))
            else:
                yield Line(name, OK, right(errors))

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
            raise TinygraphError(
                f"{op.name}: its samples are tg.Sample(x, ..., attribute=value), one for each call; "
                f"found {type(sample).__name__}"
            )
        unknown = [name for name in sample.attributes if name not in op.attribute_annotations()]
        if unknown:
            raise TinygraphError(
                f"{op.name}: a sample sets {listing(unknown)}, which is not an attribute of the operation"
            )
    return given
