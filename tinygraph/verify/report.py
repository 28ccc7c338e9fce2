"""What a check found, as records and as an aligned table."""

import math
from dataclasses import dataclass

from tinygraph.describe import html
from tinygraph.describe.text import aligned
from tinygraph.errors import counted, listing
from tinygraph.verify.numeric import Point, worst

# The text in the column of operations for gradients by backpropagation through the graph.
WHOLE = "whole graph"
HEADER = ("node", "operation", "input", "checked", "error", "kinks", "verdict")


@dataclass(frozen=True)
class Record:
    """One gradient that was checked: of an input, by the rule of one node; or of a leaf, by backpropagation.

    ``node`` is the label of the equation in which ``print(graph)`` writes the node. ``size`` counts the input's elements,
    ``points`` are the comparisons, ``message`` says why a rule gave no gradient to compare, and ``fault`` which value,
    here or before, is not finite, so that there was nothing to compare with. ``position`` is where the node,
    or the leaf, stands among the graph's nodes, from 0; ``None`` for an operation without a graph, and for all leaves together.
    """

    node: str
    op: str
    input: str
    size: int
    tolerance: float
    points: tuple[Point, ...] = ()
    hint: str = ""
    message: str = ""
    fault: str = ""
    position: int | None = None

    @property
    def ok(self) -> bool:
        """Whether the rule gave a gradient, no comparison failed, and everything was finite."""
        return self.verdict in ("ok", "at kinks")

    @property
    def worst(self) -> Point | None:
        """The comparison with the largest relative error, or None if there was none."""
        return worst(self.points)

    @property
    def error(self) -> float:
        """The largest relative error; infinite where there was nothing to compare."""
        if self.message or self.fault:
            return math.inf
        return self.worst.error if self.worst else 0.0

    @property
    def kinks(self) -> int:
        """How many comparisons were at a kink, where there is no derivative to compare with."""
        return sum(point.kink for point in self.points)

    @property
    def not_finite(self) -> str:
        """What is not finite, in a sentence, or nothing: a value, or the gradient where there is no finite slope."""
        point = next((point for point in self.points if point.kink and not math.isfinite(point.rule)), None)
        if self.fault or point is None:
            return self.fault
        gradient = self.node if self.op == WHOLE else f"the gradient of {self.op} in {self.node} for {self.input}"
        return f"{gradient} is {point.rule} {point.place}"

    @property
    def verdict(self) -> str:
        """Return the record in one or two words.

        ``failed``: the rule gave no gradient. ``not finite``: values or gradients are not, so nothing is said about the rule.
        ``at kinks``: every comparison was at one. Otherwise ``ok`` or ``wrong``.
        """
        if self.message:
            return "failed"
        if self.error > self.tolerance and not self.fault:
            return "wrong"
        if self.not_finite:
            return "not finite"
        return "at kinks" if self.points and self.kinks == len(self.points) else "ok"

    def row(self) -> tuple[str, ...]:
        """Return the record as cells of the table."""
        error = f"{self.error:.1e}" if math.isfinite(self.error) or self.points else ""
        elements = sum(point.index is not None for point in self.points)
        directions = len(self.points) - elements
        counts = [f"{elements} of {self.size}"] if elements or not directions else []
        checked = " + ".join(counts + [f"{directions} directions"] * bool(directions))
        return (self.node, self.op, self.input, checked, error, str(self.kinks or ""), self.verdict)

    def explanation(self) -> list[str]:
        """Return the line under a failed row: where, the two numbers, and what it looks like."""
        if self.verdict not in ("wrong", "failed"):
            return []
        return [f"    {self.message or self.worst}" + (f" ({self.hint})" if self.hint else "")]


@dataclass(frozen=True)
class Report:
    """The result of ``tg.check``: ``nodes`` are the local rules, ``whole`` the gradients of the graph for its leaves.

    ``print(report)`` shows it as a table.

    >>> import tinygraph as tg
    >>> from tinygraph.verify import check
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
        """The records of local rules, then those of leaves."""
        return self.nodes + self.whole

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return not self.failures

    @property
    def failures(self) -> tuple[Record, ...]:
        """The records of gradients that are wrong, missing or not finite."""
        return tuple(record for record in self.records if not record.ok)

    @property
    def wrong(self) -> tuple[str, ...]:
        """The names of the operations whose rules are wrong, each once."""
        return tuple(dict.fromkeys(record.op for record in self.nodes if record.verdict in ("wrong", "failed")))

    @property
    def worst(self) -> float:
        """The largest relative error of all."""
        return max((record.error for record in self.records), default=0.0)

    @property
    def kinks(self) -> int:
        """How many comparisons were at a kink and so left out."""
        return sum(record.kinks for record in self.records)

    def __str__(self) -> str:
        header, *lines = aligned([HEADER, *map(Record.row, self.records)], longest=(999, 999)).splitlines()
        rows = ("\n".join([line, *record.explanation()]) for record, line in zip(self.records, lines, strict=True))
        return "\n".join([header, *rows, self.summary()])

    def __repr__(self) -> str:
        return f"<Report: {self.summary()}>"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: a table, in which failures come before what is left out of a long one."""
        notes = {i: " ".join(record.explanation()).strip() for i, record in enumerate(self.records)}
        rows, bad = [record.row() for record in self.records], [i for i, r in enumerate(self.records) if not r.ok]
        return html.view(html.table(HEADER, rows, self.summary(), notes=notes, bad=bad, all_in="print(report)"))

    def summary(self) -> str:
        """Return the last line of the table."""
        what, records = ("all gradients", self.whole) if self.whole else ("all rules", self.nodes)
        worst = max(records, key=lambda record: record.error, default=None)
        failed = f"; {len(self.failures)} of {len(self.records)} checks failed" if self.failures else ""
        where = "a kink" if self.kinks == 1 else "kinks"
        kinks = f"; {counted(self.kinks, 'comparison')} at {where} left out" if self.kinks else ""
        if worst is None:
            return "no gradients to check"
        not_finite = next(filter(None, (record.not_finite for record in self.records)), "")
        if not_finite:
            return f"{what}: not finite, as {not_finite}{failed}{kinks}"
        where = worst.input if self.whole else f"{worst.op}, {worst.node}, {worst.input}"
        error = "none to compare" if worst.message else f"worst relative error {worst.error:.1e}"
        if not self.wrong:
            return f"{what}: {error} ({where}){failed}{kinks}"
        found = max((record.error for record in self.nodes if not record.ok), default=math.inf)
        error = f"worst relative error {found:.1e}" if math.isfinite(found) else error
        rule, verb = ("the rule", "is") if len(self.wrong) == 1 else ("the rules", "are")
        return f"{what}: {error}{failed}{kinks}; {rule} of {listing(self.wrong)} {verb} wrong"
