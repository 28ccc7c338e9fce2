"""What a certificate says: one line for each check; and how a check is written."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tinygraph.verify.certificate.candidate import Candidate
    from tinygraph.verify.certificate.case import Case

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


# A check looks at a candidate and says what it found, in one line or several.
Check = Callable[["Candidate"], Iterator[Line]]
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
