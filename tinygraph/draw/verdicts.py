"""Put the results of a check on the cards of the nodes that were checked."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from tinygraph.describe.numbers import number_text
from tinygraph.draw.cards import Card
from tinygraph.errors import TinygraphError
from tinygraph.graph import Graph, Tensor
from tinygraph.verify.report import WHOLE, Record, Report

# The worst last.
VERDICTS = ("ok", "at kinks", "not finite", "wrong", "failed")
_MOST_FINDINGS = 4


def records_by_node(report: Report, graph: Graph) -> Mapping[Tensor, Sequence[Record]]:
    """Return the records of a report by node or leaf; a record about neither belongs to the last output.

    Raises ``TinygraphError`` for anything but a report, and for the report of another graph.

    >>> import tinygraph as tg
    >>> y = tg.tanh(tg.tensor([0.5, 1.0], name="x")).sum()
    >>> found = records_by_node(tg.check(y), Graph(y))
    >>> [(node.kind, [record.op for record in records]) for node, records in found.items()]
    [('node', ['tanh']), ('node', ['sum']), ('tensor', ['whole graph'])]
    """
    if not isinstance(report, Report):
        raise TinygraphError(f"report must be what tg.check returns; found {type(report).__name__}")
    found: dict[Tensor, list[Record]] = defaultdict(list)
    for number, record in enumerate(report.records):
        node = _node(record, number < len(report.nodes), graph)
        if node is None:
            raise TinygraphError(f"the report is of another graph: this one has no {record.op} where {record.node} is")
        found[node].append(record)
    return found


def _node(record: Record, local: bool, graph: Graph) -> Tensor | None:
    if record.position is None:
        return None if local else graph.nodes[-1]
    node = graph.nodes[record.position] if record.position < len(graph.nodes) else None
    op = None if node is None else node.op
    return node if (op is not None and op.name == record.op if local else op is None) else None


def judged(card: Card, records: Iterable[Record]) -> Card:
    """Return a card with the worst verdict of its records, and a line for each record that failed.

    Inputs get a verdict only if their gradients are wrong.

    >>> import tinygraph as tg
    >>> card = Card("n1", "node", "y", "tanh(x)", (2,), "float64")
    >>> y = tg.tanh(tg.tensor([0.5, 1.0], name="x"))
    >>> judged(card, tg.check(y).nodes).checks  # doctest: +ELLIPSIS
    ('check: ok, relative error ... at [...] of x',)
    """
    records = list(records)
    if not records or (card.kind == "input" and all(record.ok for record in records)):
        return card
    verdict = max((record.verdict for record in records), key=VERDICTS.index)
    if verdict in VERDICTS[:2]:
        return replace(card, verdict=verdict, checks=(_sound(records),))
    wrong = [record for record in records if not record.ok]
    lines = [line for record in wrong[:_MOST_FINDINGS] for line in _finding(record)]
    left = len(wrong) - _MOST_FINDINGS
    return replace(card, verdict=verdict, checks=(*lines, *[f"check: {left} findings more"] * (left > 0)))


def _sound(records: Sequence[Record]) -> str:
    compared = [record for record in records if record.verdict == "ok"]
    kinks = sum(record.kinks for record in records)
    skipped = f"; {kinks} at kinks left out" if kinks else ""
    if not compared:
        return "check: nothing to compare, every element is at a kink"
    worst = max(compared, key=lambda record: record.error)
    if worst.worst is None or not worst.error:
        return f"check: ok, no error{skipped}"
    where = f"at {list(worst.worst.index)} of {_short(worst)}" if worst.worst.index else f"for {_short(worst)}"
    return f"check: ok, relative error {worst.error:.1e} {where}{skipped}"


def _finding(record: Record) -> list[str]:
    """Return the lines of a record that failed: what is wrong, and a hint."""
    what = f"check: {record.verdict.upper()}" + ("" if record.op == WHOLE else f", {record.op} for {record.input}")
    if record.verdict == "wrong":
        # An element can be looked up, a random direction cannot.
        elements = [p for p in record.points if p.index is not None and p.error > record.tolerance]
        worst = max(elements or record.points, key=lambda point: point.error)
        both = f"rule {number_text(worst.rule)}, numeric {number_text(worst.numeric)}"
        found = f"relative error {worst.error:.2g} {worst.place}: {both}"
    else:
        found = record.message or record.not_finite
    return [f"{what}: {found}", *[f"hint: {record.hint}"] * bool(record.hint)]


def _short(record: Record) -> str:
    """Return the tensor of a record, by its name if it has one."""
    separator = " " if record.op == WHOLE else " = "
    return record.input.partition(separator)[2] or record.input
