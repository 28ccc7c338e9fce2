"""``certify``: all checks of one operation, and the certificate that they make."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tinygraph.verify.certificate import behaviour, curve, gradients, kinks, second, special, values
from tinygraph.verify.certificate.faults import cause_of
from tinygraph.verify.certificate.line import NOT_ASKED, Line, failed, not_asked
from tinygraph.verify.certificate.propose import refusal
from tinygraph.verify.certificate.subject import Check, Subject, subject_of

# In the order of a certificate.
CHECKS: tuple[Check, ...] = (
    values.shape_rule,
    gradients.gradients,
    curve.error_against_step,
    special.far_from_zero,
    gradients.zero_gradient_in,
    gradients.linear_in_dy,
    kinks.kinks_and_ties,
    kinks.stated_edges,
    second.second_derivatives,
    values.float32,
    values.broadcasting,
    values.memory_layout,
    values.size_zero,
    values.size_one,
    gradients.used_twice,
    gradients.shortcuts,
    values.inputs_unmodified,
    values.determinism,
    special.not_a_number,
    special.large_numbers,
    behaviour.plan,
    behaviour.draws,
    behaviour.prints,
    behaviour.model_file,
)


@dataclass(frozen=True)
class Certificate:
    """What ``certify`` found out about one operation: a line for each check. ``print(certificate)`` shows them.

    >>> import tinygraph as tg
    >>> certificate = tg.certify(tg.tanh)
    >>> certificate.ok, certificate.failures
    (True, ())
    """

    name: str
    formula: str
    lines: tuple[Line, ...]
    samples: tuple[str, ...]
    proposed: bool
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether no check failed."""
        return not self.failures

    @property
    def failures(self) -> tuple[Line, ...]:
        """The lines of the checks that failed."""
        return tuple(line for line in self.lines if not line.ok)

    @property
    def error(self) -> float | None:
        """The largest relative error of a gradient that is right; None where no gradient flows."""
        return max((line.number or 0.0 for line in self._called("gradient of ")), default=None)

    @property
    def kinks(self) -> int:
        """How many kinks and ties were found."""
        return int(sum(line.number or 0 for line in self._called("kinks")))

    def _called(self, beginning: str) -> list[Line]:
        return [line for line in self.lines if line.check.startswith(beginning)]

    def to_json(self) -> dict[str, Any]:
        """Return the certificate as plain data: what ``--json`` writes."""
        return {
            "operation": self.name,
            "formula": self.formula,
            "ok": self.ok,
            "samples": list(self.samples),
            "proposed": self.proposed,
            "seconds": round(self.seconds, 3),
            "checks": [asdict(line) for line in self.lines],
        }

    def summary(self) -> str:
        """Return the last line."""
        asked = [line for line in self.lines if line.verdict != NOT_ASKED]
        if self.ok:
            return f"{self.name} is certified: {len(asked)} checks passed"
        return f"{self.name} is not right: {len(self.failures)} of {len(asked)} checks failed"

    def __str__(self) -> str:
        rows = [f"{self.name}: {self.formula}" if self.formula else self.name, *self._sources()]
        width = max(len(line.check) for line in self.lines)
        for line in self.lines:
            rows.append(f"  {line.verdict:<5}  {line.check:<{width}}  {line.figure}".rstrip())
            rows += [f"{'':<{width + 11}}{text}" for text in line.explanation()]
        return "\n".join([*rows, self.summary()])

    def _sources(self) -> Iterator[str]:
        if self.proposed and self.samples:
            yield "  It has no samples; these inputs were tried, and on them its forward runs:"
            yield from (f"    {sample}" for sample in self.samples)

    def __repr__(self) -> str:
        return f"<Certificate: {self.summary()}>"


def certify(operation: Any, seed: int = 0, tolerance: float = 1e-7) -> Certificate:
    """Check everything about one operation on its samples, or on inputs that are found for it, and say what is wrong.

    ``operation`` is its function, its class or its name. Checked are the shape rule, every gradient against numeric
    derivatives, kinks, second derivatives, dtypes, sizes, NaN, the plan, and more: a line for each, with an example and
    a hint where it fails. ``tolerance`` is the largest relative error of a gradient that passes.

    An operation without samples, whose forward runs on none of the inputs that are tried, is not right. Raises
    ``TinygraphError`` for what is no operation.

    >>> import tinygraph as tg
    >>> certify("sigmoid").ok
    True
    """
    began = time.perf_counter()
    subject = subject_of(operation, seed, tolerance)
    lines = tuple(without_echoes(list(checked(subject, CHECKS if subject.cases else [_no_inputs]))))
    names = tuple(case.name for case in subject.cases)
    op, seconds = subject.op, time.perf_counter() - began
    return Certificate(op.name, op.readable_formula(), lines, names, subject.proposed, seconds)


def _no_inputs(subject: Subject) -> Iterator[Line]:
    tried = refusal(subject.op) if subject.proposed else "its samples are an empty list"
    told = "samples=lambda rng: [tg.Sample(rng.standard_normal((3, 4)))] gives it inputs on which it runs"
    yield failed("inputs", "forward ran on none that were tried", tried, cause_of(tried) or told)


_UNFINISHED = "not carried through"
# What a wrong gradient makes wrong as well, and what two runs that differ do.
_ECHOES = ("second derivatives", "size one", "used twice", "plan", "large numbers", "far from zero")
_OTHER_RUNS = (
    *(
        "error against step",
        "far from zero",
        "zero gradient in",
        "linear in dy",
        "kinks and ties",
        "second derivatives",
    ),
    *("float32", "broadcasting", "memory layout", "size one", "used twice", "not a number", "plan"),
)


def without_echoes(lines: Sequence[Line]) -> Iterator[Line]:
    """Yield lines, less the failures that only repeat that a gradient is wrong, that the rule fails, or that two runs differ.

    >>> lines = [failed("gradient of x", "worst error 2.0"), failed("plan", "differs")]
    >>> [line.verdict for line in without_echoes(lines)]
    ['wrong', '-']
    """
    wrong = [line for line in lines if not line.ok and line.check.startswith("gradient of ")]
    broken = any(line.figure == gradients.RULE_FAILED for line in wrong)
    unsteady = any(line.check == "determinism" and not line.ok and line.figure != _UNFINISHED for line in lines)
    first = next((line for line in lines if line.figure == _UNFINISHED), None)
    for line in lines:
        if first is not None and line is not first and line.figure == _UNFINISHED and line.example == first.example:
            yield not_asked(line.check, f"not carried through, see {first.check}")
            continue
        if unsteady and not line.ok and line.check in _OTHER_RUNS:
            yield not_asked(line.check, "two runs differ, see determinism")
            continue
        repeats = line.check in _ECHOES or line.figure == kinks.WRONG_SLOPE or (broken and "Error: " in line.example)
        if wrong and not line.ok and line not in wrong and repeats:
            yield not_asked(line.check, f"{gradients.RULE_FAILED if broken else 'a gradient is wrong'}, see above")
        else:
            yield line


def checked(subject: Subject, checks: Iterable[Check]) -> Iterator[Line]:
    """Yield what checks say; one that cannot be carried through has found a mistake too."""
    for check in checks:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            # The mean of no elements is asked for on purpose.
            warnings.simplefilter("ignore", RuntimeWarning)
            try:
                # Made whole here: between the lines of a generator the caller's handling of overflow would hold.
                lines = list(check(subject))
            except Exception as error:
                # An operation is anyone's code, and may raise anything.
                said = f"{type(error).__name__}: {error}"
                lines = [failed(check.__name__.replace("_", " "), _UNFINISHED, said, cause_of(said))]
        yield from lines
