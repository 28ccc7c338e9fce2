"""What a certificate says: one line for each check."""

from __future__ import annotations

from dataclasses import dataclass

OK, WRONG, NOT_ASKED = "ok", "wrong", "-"


@dataclass(frozen=True)
class Line:
    """One check: its name, a verdict (``ok``, ``wrong``, or ``-`` where there was nothing to ask) and a figure.

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
        told = [("for example", self.example), ("perhaps", self.hint)]
        return [f"{what}: {text}" for what, text in told if text and not self.ok]


def agreed(check: str, figure: str, number: float | None = None) -> Line:
    """Return the line of a check that found nothing wrong."""
    return Line(check, OK, figure, number=number)


def not_asked(check: str, why: str) -> Line:
    """Return the line of a check that does not apply."""
    return Line(check, NOT_ASKED, why)


def failed(check: str, figure: str, example: str = "", hint: str = "", number: float | None = None) -> Line:
    """Return the line of a check that found a mistake."""
    return Line(check, WRONG, figure, example, hint, number)
