"""The candidate for a certificate: an operation with the cases to try it on, its own samples or proposed ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygraph.errors import TinygraphError, listing
from tinygraph.graph.attributes import integer
from tinygraph.graph.op import Op
from tinygraph.graph.record import Sample
from tinygraph.verify.certificate.case import Case
from tinygraph.verify.certificate.propose import proposed_samples
from tinygraph.verify.checker import operation_class


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
