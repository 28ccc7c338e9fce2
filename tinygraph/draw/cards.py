"""What a picture shows, before any renderer: cards, edges, and where they belong. Plain records, fit for JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from tinygraph.graph.graph import Graph
from tinygraph.graph.tensor import Tensor
from tinygraph.graph.text import aligned, lay_out, leaf_note

if TYPE_CHECKING:
    from tinygraph.graph.op import Op
    from tinygraph.model import Equation, Recording

# Which of an equation's operations gives its card the colour: the first of the highest rank.
_RANKS = {"elementwise": 0, "comparison": 0, "shape": 1, "indexing": 1, "reduction": 2, "activation": 3}


@dataclass(frozen=True)
class Card:
    """One leaf or one operation or, in a model, one equation.

    ``kind`` is that of the tensor: "input", "parameter", "tensor", "constant", or "node" for what operations make.
    ``title`` and ``attributes`` are the header of a node; ``number`` counts nodes from 1. ``expression`` makes the
    value; of a leaf it is a note. ``group`` is the block instance that the card belongs to, with dots between nested ones.

    >>> import tinygraph as tg
    >>> x = tg.input("x", (2, 3))
    >>> card = graph_drawing(tg.Graph(tg.softmax(x, axis=0))).cards[-1]
    >>> card.title, card.attributes, card.expression, card.shape
    ('softmax', 'axis=0', 'softmax(x, axis=0)', (2, 3))
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


@dataclass(frozen=True)
class Edge:
    """One use of one tensor: from the card that has it to the card that uses it.

    ``place`` is the position, from 1, among the uses that the card at the head makes; ``repeated`` says that the same tensor
    is used there more than once, so that the place is worth showing.
    """

    id: str
    tail: str
    head: str
    place: int
    repeated: bool = False


@dataclass(frozen=True)
class Drawing:
    """The cards of a picture in topological order, and the edges between them.

    >>> import tinygraph as tg
    >>> x = tg.tensor(3.0, name="x")
    >>> drawing = graph_drawing(tg.Graph(x * x))
    >>> [(edge.tail, edge.head, edge.place) for edge in drawing.edges]
    [('n1', 'n2', 1), ('n1', 'n2', 2)]
    """

    title: str
    cards: tuple[Card, ...]
    edges: tuple[Edge, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the record as dicts, tuples, text and numbers, ready for ``json.dumps``."""
        return asdict(self)

    def __str__(self) -> str:
        """Return the picture as text: one line for each card."""
        made = ["= " * (card.kind == "node") + card.expression for card in self.cards]
        return aligned([(c.symbol, text, f"{c.dtype} {c.shape}") for c, text in zip(self.cards, made, strict=True)])


class _Builder:
    """Cards and edges as they are added, with ids in the order of their making."""

    def __init__(self) -> None:
        self.cards: list[Card] = []
        self.edges: list[Edge] = []
        self.card_of: dict[Tensor, str] = {}
        self._numbered = 0

    def leaf(self, leaf: Tensor, symbol: str, group: str = "") -> None:
        """Add the card of a tensor that no operation made."""
        self._add(leaf, Card(self._id(), leaf.kind, symbol, leaf_note(leaf), leaf.shape, str(leaf.dtype), group=group))

    def node(self, node: Tensor, nodes: Sequence[Tensor], symbol: str, expression: str, group: str = "") -> None:
        """Add the card of a value, with an edge for each use that ``nodes`` make of what other cards have."""
        ops = [made.op for made in nodes if made.op is not None]
        used = [x for made in nodes for x in written_inputs(made)] if nodes else [node]
        self._numbered += 1
        principal = max(ops, key=lambda op: _RANKS.get(op.family, 4), default=None)
        card = Card(
            id=self._id(),
            kind="node",
            symbol=symbol,
            expression=expression,
            shape=node.shape,
            dtype=str(node.dtype),
            family="" if principal is None else principal.family,
            title=_title(ops),
            attributes="" if principal is None else attributes_text(principal),
            number=self._numbered,
            group=group,
        )
        self._edges([x for x in used if x in self.card_of], card.id)
        self._add(node, card)

    def drawing(self, title: str) -> Drawing:
        return Drawing(title, tuple(self.cards), tuple(self.edges))

    def _id(self) -> str:
        return f"n{len(self.cards) + 1}"

    def _add(self, tensor: Tensor, card: Card) -> None:
        self.cards.append(card)
        self.card_of.setdefault(tensor, card.id)

    def _edges(self, uses: Sequence[Tensor], head: str) -> None:
        times = Counter(uses)
        for place, x in enumerate(uses, start=1):
            self.edges.append(Edge(f"e{len(self.edges) + 1}", self.card_of[x], head, place, repeated=times[x] > 1))


def graph_drawing(graph: Graph, title: str = "") -> Drawing:
    """Return the drawing of a recorded graph: one card for each operation and leaf.

    Constants that are single numbers without a name have no card; they are written where they are used.
    """
    builder = _Builder()
    shown = {*graph.outputs, *(node for node in graph.nodes if node.op is not None)}
    for line in lay_out(graph.nodes, shown).equations:
        if line.node.op is None:
            builder.leaf(line.node, line.label)
        else:
            builder.node(line.node, [line.node], line.label, line.expression)
    return builder.drawing(title)


def model_drawing(recording: Recording, title: str = "") -> Drawing:
    """Return the drawing of a model's recording: one card for each equation, inputs and parameters beside them."""
    builder = _Builder()
    for equation in recording.equations:
        for leaf in _new_leaves(equation, builder.card_of):
            name = leaf.name or ""
            builder.leaf(leaf, name, name.rpartition(".")[0])
        builder.node(equation.node, equation.nodes, equation.name, right_side(equation.text), equation.block)
    return builder.drawing(title)


def _new_leaves(equation: Equation, known: Collection[Tensor]) -> Iterator[Tensor]:
    """Yield the leaves that an equation is the first to use, but for constants, which its text shows."""
    seen: set[Tensor] = set()
    for x in (*(x for node in equation.nodes for x in written_inputs(node)), equation.node):
        if x.op is None and x.kind != "constant" and x not in seen and x not in known:
            seen.add(x)
            yield x


def written_inputs(node: Tensor) -> tuple[Tensor, ...]:
    """Return the inputs that a node's equation writes: operands that only steady the numbers stay unwritten."""
    op = node.op
    assert op is not None
    return node.inputs if op.variadic else node.inputs[: len(op.parameters)]


def right_side(text: str) -> str:
    """Return what stands after an equation's first ``=``, on one line.

    >>> right_side("Z1 = conv2d(Inp, K1, padding=1)")
    'conv2d(Inp, K1, padding=1)'
    """
    return " ".join(text.partition("=")[2].split())


def attributes_text(op: Op) -> str:
    """Return the attributes that a call has to say, by name: required ones, and those changed from their default.

    Operations written behind their operand, such as ``x[1:3]``, show theirs in the equation only.

    >>> import tinygraph as tg
    >>> attributes_text(tg.operation("avg_pool2d").op(2))
    'window=2'
    """
    if op.symbol == "postfix":
        return ""
    defaults = {field.name: field.default for field in fields(op)}  # type: ignore[arg-type]
    return ", ".join(f"{name}={value!r}" for name, value in op.attributes().items() if value != defaults[name])


def _title(ops: Sequence[Op]) -> str:
    """Return the names of a card's operations, each once, in the order in which they are computed."""
    names = list(dict.fromkeys(op.name for op in ops))
    if len(names) > 3:
        return f"{', '.join(names[:3])} … ({len(ops)} operations)"
    return ", ".join(names) or "same as"
