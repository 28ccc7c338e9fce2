"""The content of a picture, before rendering: cards, edges and beads, as plain records that JSON can hold."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from tinygraph.describe.text import aligned
from tinygraph.draw.figures import Figures

DETAILS = ("shape", "rule", "value", "full")
VIEWS = ("forward", "backward", "both")


@dataclass(frozen=True)
class Card:
    """A leaf, an operation or, in a model, an equation. A folded card stands for several; ``holds`` is their number,
    and ``times`` how many times its equations repeat themselves. ``parameters`` counts the elements of the parameters that its
    equations use, ``frozen`` those to which no gradient comes, and ``multiply_adds`` the products that the forward pass sums.
    ``original`` is the name in the file that a model was made from, where it is another one.

    ``kind`` is "input", "parameter", "state", "tensor" or "constant" for leaves, "node" for results of operations, "folded",
    "error" for an equation that could not be recorded, or "link" for a card in another column or on another page. ``title``
    and ``attributes`` are the header of a node; ``number`` counts nodes from 1. ``expression`` computes the value; for a leaf
    it is a note. ``inside`` are lines for what it computes on the way and rules name. ``group`` is the block instance that
    the card belongs to, with dots between nested ones.

    ``gradient`` is the symbol of the gradient, empty if there is none, and ``rules`` are the lines of the backward pass of
    this card. ``value`` and ``gradient_value`` are ``None`` if they are not computed. ``kept`` lists the tensors that the
    backward pass reads, ``marks`` are warnings about numbers, ``verdict`` and ``checks`` the result of a check, ``note`` is
    any other remark, and ``doc`` the first line of the operation's documentation.

    >>> import tinygraph as tg
    >>> x = tg.tensor([[1.0, 2.0], [3.0, 4.0]], name="x")
    >>> card = tg.draw(tg.softmax(x, axis=0).sum()).drawing.cards[1]
    >>> card.title, card.attributes, card.expression, card.shape, card.gradient
    ('softmax', 'axis=0', 'softmax(x, axis=0)', (2, 2), 'dt1')
    """

    id: str
    kind: str
    symbol: str
    expression: str
    shape: tuple[int, ...]
    dtype: str
    family: str = ""
    title: str = ""
    attributes: str = ""
    number: int | None = None
    group: str = ""
    gradient: str = ""
    rules: tuple[str, ...] = ()
    value: Figures | None = None
    gradient_value: Figures | None = None
    kept: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()
    verdict: str = ""
    checks: tuple[str, ...] = ()
    note: str = ""
    doc: str = ""
    holds: int = 1
    times: int = 1
    parameters: int = 0
    frozen: int = 0
    multiply_adds: int = 0
    original: str = ""
    inside: tuple[str, ...] = ()

    @property
    def is_leaf(self) -> bool:
        """Whether no operation made it."""
        return self.kind not in ("node", "folded", "error")

    @property
    def counts(self) -> str:
        """How many parameters and multiply-adds there are, or nothing.

        >>> Card("n1", "parameter", "W", "parameter", (2, 8), "float32", parameters=16, frozen=16).counts
        '16 parameters, frozen'
        """
        some = "frozen" if self.frozen == self.parameters else f"{self.frozen:,} of them frozen"
        said = [_counted(self.parameters, "parameter"), some if self.frozen else ""]
        return ", ".join(filter(None, [*said, _counted(self.multiply_adds, "multiply-add")]))

    @property
    def classes(self) -> str:
        """The classes of the card in an SVG: its kind, warnings and verdict."""
        names = ["card", self.kind, *["marked"] * bool(self.marks), self.verdict.replace(" ", "-")]
        return " ".join(filter(None, names))


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}" if count else ""


@dataclass(frozen=True)
class Edge:
    """A use of a tensor, or the gradient that returns through it: from the card at the tail to the card or bead at the head.

    In the lane ``"value"`` an edge goes from the card of the tensor to the card that uses it: ``place`` is the position,
    from 1, among the operands of that card, and ``repeated`` says that the same tensor is used there more than once. In
    the lane ``"gradient"`` it goes from the card whose rule computes a contribution to the card of the tensor. ``count`` is
    the number of uses that a folded card draws as one edge. The lane ``"order"`` is not seen: it puts the head ``place``
    ranks below the tail.
    """

    id: str
    tail: str
    head: str
    place: int = 0
    repeated: bool = False
    lane: str = "value"
    text: str = ""
    count: int = 1


@dataclass(frozen=True)
class Bead:
    """The sum of the gradients that return through several uses of a tensor, above the card ``target`` of the tensor."""

    id: str
    target: str
    symbol: str
    summands: tuple[str, ...]
    group: str = ""


@dataclass(frozen=True)
class Drawing:
    """The cards of a picture in topological order, the edges between them, and the beads on the gradient lane.

    ``output`` is the symbol of the number that is differentiated, ``caption`` a line under the title.

    >>> import tinygraph as tg
    >>> x = tg.tensor(3.0, name="x")
    >>> drawing = tg.draw(x * x).drawing
    >>> [(edge.lane, edge.tail, edge.head, edge.place) for edge in drawing.edges[:2]]
    [('value', 'n1', 'n2', 1), ('value', 'n1', 'n2', 2)]
    >>> [(edge.lane, edge.tail, edge.head) for edge in drawing.edges[2:]]
    [('gradient', 'n2', 's1'), ('gradient', 'n2', 's1'), ('gradient', 's1', 'n1')]
    """

    title: str
    cards: tuple[Card, ...]
    edges: tuple[Edge, ...]
    beads: tuple[Bead, ...] = ()
    detail: str = "rule"
    view: str = "both"
    caption: str = ""
    output: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the record as dicts, tuples, text and numbers, ready for ``json.dumps``."""
        return asdict(self)

    def __str__(self) -> str:
        """Return the picture as text: for each card a line for its value, and lines for its gradient."""
        lines = [aligned(list(self._rows()))]
        return "\n".join([*lines, self.caption] if self.caption else lines)

    @property
    def shows_values(self) -> bool:
        """Whether values and gradients belong to the picture, computed or not."""
        return self.detail in ("value", "full")

    def _rows(self) -> Iterator[tuple[str, ...]]:
        for card in self.cards:
            array = f"{card.dtype} {card.shape}" if card.dtype else ""
            if self.view != "backward" or not card.gradient:
                made = card.expression + ", frozen" * bool(card.frozen) if card.is_leaf else f"= {card.expression}"
                yield card.symbol, made, array, self._figures(card.value)
            yield from (
                (f"  {name}", f"= {made}", "", "") for name, _, made in (line.partition(" = ") for line in card.inside)
            )
            rules = list(card.rules)
            if card.gradient and self.view != "forward":
                first = rules.pop(0) if rules else ""
                yield f"  d{self.output}/d{card.symbol}", first, array, self._figures(card.gradient_value)
            yield from (("", rule, "", "") for rule in rules)
            said = [
                f"in the file: {card.original}" * bool(card.original),
                card.note,
                *card.marks,
                *card.checks,
                *(card.kept if self.detail == "full" else ()),
            ]
            yield from (("", f"  ({line})", "", "") for line in said if line)

    def _figures(self, figures: Figures | None) -> str:
        if figures is None:
            return "not computed" if self.shows_values else ""
        return figures.line
