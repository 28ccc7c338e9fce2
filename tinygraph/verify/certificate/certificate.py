"""``certify``: all checks of one operation, and the certificate with a line for each; ``check_op`` for tests."""

import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tinygraph.describe import html
from tinygraph.verify.certificate import gradients, kinks, neighbours, rules, special, values
from tinygraph.verify.certificate.candidate import NOT_ASKED, NOT_FOUND, WRONG, Candidate, Check, Line, candidate_for
from tinygraph.verify.certificate.neighbours import NEXT_TO_SAMPLES
from tinygraph.verify.certificate.propose import refusal, sample_line
from tinygraph.verify.hints import cause_of

# In the order of a certificate.
CHECKS: tuple[Check, ...] = (
    *(values.shape_rule, gradients.gradients, gradients.error_against_step, rules.precision, special.far_from_zero),
    *(neighbours.other_attributes, neighbours.other_sizes, neighbours.other_values),
    *(rules.zero_gradient_in, rules.linear_in_dy, kinks.kinks_and_ties, kinks.stated_edges),
    *(rules.second_derivatives, values.float32, values.broadcasting, values.memory_layout),
    *(values.size_zero, values.size_one, rules.used_twice, rules.shortcuts),
    *(values.inputs_unmodified, values.determinism),
    *(special.not_a_number, special.large_numbers, values.plan, values.draws, values.prints, values.model_file),
)

_NEIGHBOURS = ("other attributes", "other sizes", "other values")
# The checks that use inputs which are not the samples.
_TRIED = (*_NEIGHBOURS, "far from zero")


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
    surrogate: str = ""

    @property
    def verdict(self) -> str:
        """What is found, in words.

        ``certified``; ``wrong``; ``right on your samples, wrong next to them``, where only inputs of the certificate's own
        show a mistake; or ``no inputs``, where none were found on which forward runs: then nothing is known.
        """
        if any(line.verdict == NOT_FOUND for line in self.lines):
            return "no inputs"
        if self.ok:
            return "certified"
        return "wrong" if self.proposed or any(line.check not in _TRIED for line in self.failures) else NEXT_TO_SAMPLES

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
        errors = (line.number or 0.0 for line in self.lines if line.check.startswith("gradient of "))
        return max(errors, default=None)

    @property
    def kinks(self) -> int:
        """How many kinks and ties were found."""
        return int(sum(line.number or 0 for line in self.lines if line.check.startswith("kinks")))

    def to_json(self) -> dict[str, Any]:
        """Return the certificate as plain data, as ``--json`` writes it."""
        plain = {name: getattr(self, name) for name in ("formula", "ok", "verdict", "surrogate", "proposed")}
        lists = {"samples": list(self.samples), "checks": [asdict(line) for line in self.lines]}
        return {"operation": self.name, **plain, "seconds": round(self.seconds, 3), **lists}

    def summary(self) -> str:
        """Return the last line."""
        asked = [line for line in self.lines if line.verdict != NOT_ASKED]
        if self.ok:
            what = f" as a surrogate, with the gradient of {self.surrogate}" if self.surrogate else ""
            return f"{self.name} is certified{what}: {len(asked)} checks passed"
        if self.verdict == "no inputs":
            return f"{self.name} is not checked: I could not find inputs"
        verdict = self.verdict if self.verdict == NEXT_TO_SAMPLES else "not right"
        return f"{self.name} is {verdict}: {len(self.failures)} of {len(asked)} checks failed"

    def __str__(self) -> str:
        rows = [f"{self.name}: {self.formula}" if self.formula else self.name]
        if self.proposed and self.samples:
            rows.append("  It has no samples; these inputs were tried, and on them its forward runs:")
            rows += [f"    {sample}" for sample in self.samples]
        width = max(len(line.check) for line in self.lines)
        for line in self.lines:
            rows.append(f"  {line.verdict:<5}  {line.check:<{width}}  {line.figure}".rstrip())
            rows += [f"{'':<{width + 11}}{text}" for text in line.explanation()]
        return "\n".join([*rows, self.summary()])

    def __repr__(self) -> str:
        return f"<Certificate: {self.summary()}>"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: a table of the checks, with an example and a hint below those that failed."""
        notes = {i: "; ".join(line.explanation()) for i, line in enumerate(self.lines)}
        rows = [(x.check, x.verdict, x.figure) for x in self.lines]
        bad = [i for i, x in enumerate(self.lines) if not x.ok]
        head, all_in = ("check", "verdict", "found"), "print(certificate)"
        listed = html.table(head, rows, self.summary(), notes=notes, bad=bad, most=30, all_in=all_in)
        tried = f"It has no samples; tried were: {', '.join(self.samples)}" if self.proposed and self.samples else ""
        return html.view(html.paragraph(tried) if tried else "", listed)


def certify(operation: Any, seed: int = 0, tolerance: float = 1e-7) -> Certificate:
    """Check everything about one operation on its samples, or on inputs that are found for it, and say what is wrong.

    ``operation`` is its function, its class or its name. Checked are the shape rule, every gradient against numeric
    derivatives, kinks, second derivatives, dtypes, sizes, NaN, the plan, and more: a line for each, with an example and
    a hint where it fails. ``tolerance`` is the largest relative error of a gradient that passes.

    Without samples inputs are searched for; where forward runs on none that are tried, the certificate says so, and is not
    ok. An operation whose rule declares a ``surrogate`` is checked against that. Raises ``TinygraphError`` for something
    that is not an operation.

    >>> import tinygraph as tg
    >>> certify("sigmoid").ok
    True
    """
    began = time.perf_counter()
    candidate = candidate_for(operation, seed, tolerance)
    lines = list(checked(candidate, CHECKS[:1] if candidate.cases else [_no_inputs]))
    if candidate.cases and lines[0].hint != values.SIZE_OF_VALUES:
        rest = candidate if lines[0].ok else candidate.without_shape_rule()
        for check in CHECKS[1:]:
            # Where a gradient is wrong, the search next to its inputs would only repeat it.
            wrong = any(not line.ok and line.check.startswith("gradient of ") for line in lines)
            name = check.__name__.replace("_", " ")
            repeated = wrong and name in _TRIED
            lines += [Line(name, NOT_ASKED, "a gradient is wrong, see above")] if repeated else checked(rest, [check])
    op, names = candidate.op, tuple(case.name for case in candidate.cases)
    surrogate = gradients.surrogate_of(candidate.cases[0]) if op.surrogate and names else ""
    formula, seconds = op.readable_formula(), time.perf_counter() - began
    return Certificate(op.name, formula, tuple(without_echoes(lines)), names, candidate.proposed, seconds, surrogate)


def check_op(operation: Any, seed: int = 0, tolerance: float = 1e-7) -> Certificate:
    """Certify an operation for a test: raise ``AssertionError`` with the certificate if anything about it is wrong.

    The arguments are those of ``tg.certify``, which raises nothing; ``tg.check`` of an operation is quicker and looks at
    its gradient rule alone. ``tg.check_op`` and ``tg.testing.check_op`` are the same function. A test of a package is
    one line: ``@pytest.mark.parametrize("op", [swish, lp_pool])`` above ``tg.testing.check_op(op)``.

    >>> import tinygraph as tg
    >>> tg.testing.check_op(tg.tanh)
    <Certificate: tanh is certified: 24 checks passed>
    """
    certificate = certify(operation, seed, tolerance)
    if not certificate.ok:
        raise AssertionError(f"\n{certificate}")
    return certificate


def _no_inputs(candidate: Candidate) -> Iterator[Line]:
    tried = refusal(candidate.op) if candidate.proposed else "its samples are an empty list"
    figure = "forward ran on none that were tried"
    if "it must return one array" in tried:
        yield Line("inputs", WRONG, figure, tried, cause_of(tried))
    else:
        samples = f"lambda rng: [{sample_line(candidate.op)}]"
        advice = f"@tg.op(samples={samples}) above a function; samples = {samples} in a class"
        yield Line("inputs", NOT_FOUND, figure, tried, f"{advice}, in shapes that fit together")


_UNFINISHED = "not carried through"
# The checks that fail as well where a gradient is wrong, and where two runs differ.
_AFTER_WRONG_GRADIENT = (
    *("broadcasting", "precision", *_TRIED),
    *("second derivatives", "size one", "used twice", "plan", "large numbers", "kinks and ties"),
)
# The checks that say nothing where the rule fails.
_OF_RULE = (
    "error against step",
    "precision",
    "kinks and ties",
    "size zero",
    "size one",
    "not a number",
    "large numbers",
)
_AFTER_TWO_RUNS_DIFFER = (
    *(*_TRIED, "error against step", "zero gradient in", "linear in dy", "kinks and ties", "second derivatives"),
    *("float32", "broadcasting", "memory layout", "size one", "used twice", "not a number", "plan"),
)


def without_echoes(lines: Sequence[Line]) -> Iterator[Line]:
    """Yield lines, less the failures that only repeat that a gradient is wrong, that the rule fails, or that two runs differ.

    >>> lines = [Line("gradient of x", WRONG, "worst error 2.0"), Line("plan", WRONG, "differs")]
    >>> [line.verdict for line in without_echoes(lines)]
    ['wrong', '-']
    """
    wrong = [line for line in lines if not line.ok and line.check.startswith("gradient of ")]
    broken = any(line.figure == gradients.RULE_FAILED for line in wrong)
    unsteady = any(line.check == "determinism" and not line.ok and line.figure != _UNFINISHED for line in lines)
    first = next((line for line in lines if line.figure == _UNFINISHED), None)
    shapes = any(line.check == "shape rule" and not line.ok for line in lines)
    seen: list[str] = []
    for line in lines:
        reason = ""
        if line.ok and wrong and (line.check in _OF_RULE[:2] or (broken and line.check in _OF_RULE)):
            reason = f"{gradients.RULE_FAILED if broken else 'a gradient is wrong'}, see above"
        elif line.ok or line in wrong:
            pass
        elif shapes and line.check == "model file" and line.example:
            reason = "the shape rule is wrong, see above"
        elif broken and line.check != "shape rule" and "Error: " in line.example:
            reason = f"{gradients.RULE_FAILED}, see above"
        elif first is not None and line is not first and (line.figure, line.example) == (_UNFINISHED, first.example):
            reason = f"not carried through, see {first.check}"
        elif line.check in _NEIGHBOURS and seen:
            reason = f"see {seen[0]}"
        elif unsteady and line.check in _AFTER_TWO_RUNS_DIFFER:
            reason = "two runs differ, see determinism"
        elif wrong and line.check in _AFTER_WRONG_GRADIENT:
            reason = f"{gradients.RULE_FAILED if broken else 'a gradient is wrong'}, see above"
        elif line.check in _TRIED:
            seen.append(line.check)
        yield Line(line.check, NOT_ASKED, reason) if reason else line


def checked(candidate: Candidate, checks: Iterable[Check]) -> Iterator[Line]:
    """Yield the lines of checks; one that cannot be finished has found a mistake too."""
    for check in checks:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            # NumPy warns of the mean of no elements, which is computed here on purpose.
            warnings.simplefilter("ignore", RuntimeWarning)
            try:
                # All lines at once: while this generator is suspended, the caller's handling of warnings would apply.
                lines = list(check(candidate))
            except Exception as error:
                # An operation is anyone's code, and may raise anything.
                message = f"{type(error).__name__}: {error}"
                name = check.__name__.replace("_", " ")
                lines = [Line(name, WRONG, _UNFINISHED, message, cause_of(message))]
                if "forward was run on ones" in message:
                    lines = [Line(name, NOT_ASKED, "forward cannot run on ones: in models it needs a shape rule")]
        yield from lines
