"""What a check found, as records and as an aligned table."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tinygraph.check.compare import Point


@dataclass(frozen=True)
class Record:
    """One gradient that was checked: of one input by one node's rule, or of one leaf by the whole sweep.

    ``node`` is the label of the equation in which ``print(graph)`` writes the node. ``size`` counts the input's elements,
    ``points`` are the comparisons that were made, ``message`` says why a rule gave no gradient to compare.
    """

    node: str
    op: str
    input: str
    size: int
    tolerance: float
    points: tuple[Point, ...] = ()
    hint: str = ""
    message: str = ""

    @property
    def ok(self) -> bool:
        """Whether the rule gave a gradient and no comparison failed."""
        return not self.message and self.error <= self.tolerance

    @property
    def worst(self) -> Point | None:
        """The comparison with the largest relative error, or None if there was none."""
        return max(self.points, key=lambda point: point.error, default=None)

    @property
    def error(self) -> float:
        """The largest relative error; infinite where the rule gave nothing to compare."""
        if self.message:
            return math.inf
        return self.worst.error if self.worst else 0.0

    @property
    def kinks(self) -> int:
        """How many comparisons fell on a kink, where there is no derivative to compare with."""
        return sum(point.kink for point in self.points)

    @property
    def verdict(self) -> str:
        """The record in a word: ok, wrong, failed (the rule gave no gradient), or at kinks (every comparison was)."""
        if self.message:
            return "failed"
        if not self.ok:
            return "wrong"
        return "at kinks" if self.points and self.kinks == len(self.points) else "ok"

    def row(self) -> tuple[str, ...]:
        """Return the record as cells of the table."""
        error = "" if self.message else f"{self.error:.1e}"
        return (self.node, self.op, self.input, self._checked(), error, str(self.kinks or ""), self.verdict)

    def _checked(self) -> str:
        elements = sum(point.index is not None for point in self.points)
        directions = len(self.points) - elements
        counts = [f"{elements} of {self.size}"] if elements or not directions else []
        return " + ".join(counts + [f"{directions} directions"] * bool(directions))

    def explanation(self) -> list[str]:
        """Return the line under a failed row: where, the two numbers, and what it looks like."""
        if self.ok:
            return []
        return [f"    {self.message or self.worst}" + (f" ({self.hint})" if self.hint else "")]


@dataclass(frozen=True)
class Report:
    """The result of ``tg.check``: ``nodes`` are the local rules, ``whole`` the gradients of the whole graph by leaf.

    ``print(report)`` shows it as a table.

    >>> import tinygraph as tg
    >>> from tinygraph.check import check
    >>> x = tg.tensor([0.5, -1.0], name="x")
    >>> report = check((x * x).sum())
    >>> report.ok, report.failures, len(report.nodes), len(report.whole)
    (True, (), 3, 1)
    """

    nodes: tuple[Record, ...]
    whole: tuple[Record, ...]
    tolerance: float

    @property
    def records(self) -> tuple[Record, ...]:
        """Local rules first, then the whole."""
        return self.nodes + self.whole

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return not self.failures

    @property
    def failures(self) -> tuple[Record, ...]:
        """The records of gradients that are wrong or missing."""
        return tuple(record for record in self.records if not record.ok)

    @property
    def worst(self) -> float:
        """The largest relative error of all."""
        return max((record.error for record in self.records), default=0.0)

    @property
    def kinks(self) -> int:
        """How many comparisons fell on a kink and were left out."""
        return sum(record.kinks for record in self.records)

    def __str__(self) -> str:
        header = ("node", "operation", "input", "checked", "error", "kinks", "verdict")
        rows = [header, *(record.row() for record in self.records)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        table = lines[:1]
        for record, line in zip(self.records, lines[1:], strict=True):
            table += [line, *record.explanation()]
        return "\n".join([*table, self.summary()])

    def __repr__(self) -> str:
        return f"<Report: {self.summary()}>"

    def summary(self) -> str:
        """Return the last line of the table."""
        what, records = ("all gradients", self.whole) if self.whole else ("all rules", self.nodes)
        worst = max(records, key=lambda record: record.error, default=None)
        failed = f"; {len(self.failures)} of {len(self.records)} checks failed" if self.failures else ""
        kinks = f"; {self.kinks} comparisons at kinks left out" if self.kinks else ""
        if worst is None:
            return "no gradients to check"
        where = worst.input if self.whole else f"{worst.op}, {worst.node}, {worst.input}"
        error = "none to compare" if worst.message else f"worst relative error {worst.error:.1e}"
        return f"{what}: {error} ({where}){failed}{kinks}"
