"""What is certified: an operation class with the cases to try it on, its own samples or proposed ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygraph.errors import TinygraphError, listing
from tinygraph.graph.attributes import whole
from tinygraph.graph.op import Op
from tinygraph.graph.record import Sample
from tinygraph.graph.registry import operation as operation_called
from tinygraph.verify.certificate.case import Case
from tinygraph.verify.certificate.line import Line
from tinygraph.verify.certificate.propose import proposed_samples


@dataclass(frozen=True, eq=False)
class Subject:
    """An operation, the cases that it is tried on, whether those were ``proposed`` here, and the largest error that passes."""

    op: type[Op]
    cases: tuple[Case, ...]
    proposed: bool = False
    tolerance: float = 1e-7
    seed: int = 0

    @property
    def differentiable(self) -> list[Case]:
        """The cases that have a gradient."""
        return [case for case in self.cases if case.places]

    def smallest_first(self) -> list[Case]:
        """The cases by the number of elements that they hold."""
        return sorted(self.cases, key=lambda case: sum(x.size for x in case.inputs))


# A check looks at a subject and says what it found, in one line or several.
Check = Callable[[Subject], Iterator[Line]]


def subject_of(operation: Any, seed: int = 0, tolerance: float = 1e-7) -> Subject:
    """Return the subject for an operation: its function, its class or its name.

    It has no cases where no inputs are known or found on which the operation runs. Raises ``TinygraphError`` for what is no
    operation, and for samples that are none.

    >>> subject = subject_of("matmul")
    >>> subject.op.name, len(subject.cases), subject.proposed
    ('matmul', 7, False)
    """
    op, seed = operation_class(operation), whole("seed", seed, least=0)
    rng = np.random.default_rng(seed)
    samples = proposed_samples(op, rng) if op.samples is None else _given(op, op.samples, rng)
    samples += _given(op, op.shortcut_samples, rng) if op.shortcut_samples is not None else []
    return Subject(op, tuple(_cases(op, samples, seed)), op.samples is None, tolerance, seed)


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


def _cases(op: type[Op], samples: Iterable[Any], seed: int) -> Iterator[Case]:
    for number, sample in enumerate(samples, start=1):
        yield Case(op, sample, number, seed + number)


def operation_class(operation: Any) -> type[Op]:
    """Return the class of an operation that is given as a function, a class or a name.

    >>> operation_class("relu").name
    'relu'
    """
    if isinstance(operation, str):
        operation = operation_called(operation)
    op = getattr(operation, "op", operation)
    if not isinstance(op, type) or not issubclass(op, Op):
        raise TinygraphError(
            f"certify takes an operation, such as tg.relu, its name or its class; found {type(operation).__name__}"
        )
    return op
