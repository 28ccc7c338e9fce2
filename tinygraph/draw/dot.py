"""DOT, the language of Graphviz, made from a drawing. Text from outside is always shown as it is and can never be markup."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from tinygraph.draw.cards import Card, Drawing, Edge
from tinygraph.draw.literal import text, tooltip, wrapped

if TYPE_CHECKING:
    from graphviz import Digraph

FONT = "Helvetica,Arial,sans-serif"
INK, QUIET, LINE, PAPER = "#1A1A1A", "#595959", "#8A8A8A", "#FFFFFF"
VALUE_LANE = "#0072B2"
PARAMETER = "#F0E442"
# The palette of Okabe and Ito, which is told apart with every kind of colour vision. Its blue and vermilion are kept for
# values and gradients on their ways.
FAMILIES = {
    "convolution": "#56B4E9",
    "linear": "#56B4E9",
    "activation": "#009E73",
    "pooling": "#CC79A7",
    "reduction": "#CC79A7",
    "loss": "#E69F00",
    "elementwise": "#BBBBBB",
    "comparison": "#BBBBBB",
    "shape": "#BBBBBB",
    "indexing": "#BBBBBB",
    "": "#BBBBBB",
}
CUSTOM = "#595959"

_EXPRESSION_WIDTH, _HEADER_WIDTH = 56, 40


def dot_source(drawing: Drawing) -> str:
    """Return a drawing as DOT. The same drawing gives the same text.

    >>> import tinygraph as tg
    >>> from tinygraph.draw.cards import graph_drawing
    >>> x = tg.tensor(3.0, name="x")
    >>> source = dot_source(graph_drawing(tg.Graph(x * x)))
    >>> source.count("n1 -> n2")
    2
    """
    graph = _sheet(drawing.title)
    beside = _side_cards(drawing)
    aside = {card.id for cards in beside.values() for card in cards}
    groups: dict[str, Digraph] = {"": graph}
    for card in drawing.cards:
        if card.id not in aside:
            _draw_card(_group(groups, card.group), card, beside.get(card.id, ()))
    for path in sorted(groups, key=lambda path: path.count("."), reverse=True):
        if path:
            groups[path.rpartition(".")[0]].subgraph(groups[path])
    starts = {card.id: _start(head, card, cards) for head, cards in beside.items() for card in cards}
    cards = {card.id: card for card in drawing.cards}
    for edge in drawing.edges:
        _draw_edge(graph, edge, cards, starts.get(edge.tail, edge.tail))
    return str(graph.source)


def stack_id(head: str) -> str:
    """Return the id of the stack of cards that stands beside the card ``head``."""
    return f"{head}_beside"


def _sheet(title: str) -> Digraph:
    import graphviz

    graph = graphviz.Digraph("tinygraph")
    graph.attr("graph", rankdir="TB", bgcolor=PAPER, nodesep="0.35", ranksep="0.4", fontname=FONT, fontcolor=INK)
    graph.attr("node", shape="plain", fontname=FONT, fontsize="11", fontcolor=INK)
    graph.attr("edge", color=VALUE_LANE, fontname=FONT, fontsize="9", fontcolor=QUIET, arrowsize="0.7", penwidth="1.2")
    # A plain label would take a rank of its own, and dot then loses the order of the cards that stand beside others.
    graph.attr("edge", labeldistance="1.8", labelangle="-30")
    if title:
        graph.attr(
            "graph", label=_markup(f"<b>{_broken(title, 70)}</b>"), labelloc="t", fontsize="14", tooltip=tooltip(title)
        )
    return graph


def _group(groups: dict[str, Digraph], path: str) -> Digraph:
    """Return the cluster of a block instance, made with its parents when first asked for."""
    import graphviz

    parts = path.split(".") if path else []
    for depth in range(1, len(parts) + 1):
        name = ".".join(parts[:depth])
        if name not in groups:
            cluster = graphviz.Digraph(f"cluster_{len(groups)}")
            cluster.attr(
                label=_markup(text(name)), labeljust="l", style="rounded", color=LINE, bgcolor="#F7F9FC", fontsize="11"
            )
            groups[name] = cluster
    return groups[path]


def _side_cards(drawing: Drawing) -> dict[str, list[Card]]:
    """Return, for each card, the leaves that stand beside it: used there alone, and not all that is used there."""
    uses = Counter(edge.tail for edge in drawing.edges)
    cards = {card.id: card for card in drawing.cards}
    operands: dict[str, list[Card]] = defaultdict(list)
    for edge in drawing.edges:
        operands[edge.head].append(cards[edge.tail])
    beside = {}
    for head, tails in operands.items():
        from_nodes = any(tail.kind == "node" for tail in tails)
        aside = [
            tail
            for tail in tails
            if uses[tail.id] == 1
            and (tail.kind == "parameter" or (from_nodes and tail.kind != "node"))
            and tail.group == cards[head].group
        ]
        if aside and len(aside) < len(tails):
            beside[head] = aside
    return beside


def _draw_card(graph: Digraph, card: Card, beside: Sequence[Card]) -> None:
    graph.node(card.id, label=_markup(_table([card])), id=card.id, tooltip=tooltip(describe(card)))
    if beside:
        stack = stack_id(card.id)
        graph.node(stack, label=_markup(_table(beside)), id=stack, tooltip=tooltip("; ".join(map(describe, beside))))
        graph.body.append(f"\t{{rank=same; {stack}; {card.id}}}\n")


def _start(head: str, card: Card, stack: Sequence[Card]) -> str:
    """Return where the edge of a card in a stack starts: at the card's own row, if there are several."""
    return f"{stack_id(head)}:{card.id}:e" if len(stack) > 1 else stack_id(head)


def _draw_edge(graph: Digraph, edge: Edge, cards: dict[str, Card], start: str) -> None:
    tail, head = cards[edge.tail], cards[edge.head]
    place = {"headlabel": str(edge.place)} if edge.repeated else {}
    words = f"{tail.symbol} {tail.shape} to {head.symbol}"
    graph.edge(start, edge.head, id=edge.id, tooltip=tooltip(words), **place)


def _table(cards: Iterable[Card]) -> str:
    """Return cards, one below the other, as one HTML-like table of Graphviz."""
    rows = "".join(_leaf_row(card) if card.kind != "node" else _node_rows(card) for card in cards)
    return (
        f'<table border="0" cellborder="1" cellspacing="0" cellpadding="5" color="{LINE}" bgcolor="{PAPER}">'
        f"{rows}</table>"
    )


def _leaf_row(card: Card) -> str:
    colour = tint(PARAMETER) if card.kind == "parameter" else PAPER
    note = f"<br/>{_quiet([f'{card.kind}, {card.dtype}'])}"
    if card.kind == "constant" and card.expression.startswith("="):
        note = ""
    symbol = f"<b>{_broken(card.symbol, _HEADER_WIDTH)}</b>"
    first = f"{symbol} {_quiet([shape_text(card.shape)])}{note}" if note else f"{symbol} {text(card.expression)}"
    return f'<tr><td port="{card.id}" bgcolor="{colour}">{first}</td></tr>'


def _node_rows(card: Card) -> str:
    colour = tint(FAMILIES.get(card.family, CUSTOM))
    number = "" if card.number is None else f"{card.number} "
    attributes = f" {_small(wrapped(card.attributes, _HEADER_WIDTH), INK)}" if card.attributes else ""
    header = f"<b>{number}{text(card.title)}</b>{attributes}"
    value = _left([text(line) for line in wrapped(f"{card.symbol} = {card.expression}", _EXPRESSION_WIDTH)])
    shape = _quiet([f"{shape_text(card.shape)} {card.dtype}"])
    return (
        f'<tr><td bgcolor="{colour}" align="left">{header}</td></tr>'
        f'<tr><td align="left" balign="left">{value}{shape}</td></tr>'
    )


def _left(lines: Iterable[str]) -> str:
    return "".join(f'{line}<br align="left"/>' for line in lines)


def _quiet(lines: Iterable[str]) -> str:
    return _small(lines, QUIET)


def _small(lines: Iterable[str], colour: str) -> str:
    return f'<font point-size="10" color="{colour}">{"<br/>".join(text(line) for line in lines)}</font>'


def _broken(line: str, width: int) -> str:
    return "<br/>".join(text(part) for part in wrapped(line, width))


def _markup(inner: str) -> str:
    """Return HTML-like label text as the graphviz package wants it: between angle brackets."""
    return f"<{inner}>"


def describe(card: Card) -> str:
    """Return a card in one line of words."""
    made = f"= {card.expression}" if card.kind == "node" else card.kind
    return f"{card.symbol} {made}, {card.dtype} {card.shape}"


def shape_text(shape: tuple[int, ...]) -> str:
    """Return a shape for a card.

    >>> shape_text((8, 1, 3, 3)), shape_text(())
    ('(8, 1, 3, 3)', 'scalar')
    """
    return str(shape) if shape else "scalar"


def tint(colour: str, strength: float = 0.45) -> str:
    """Return a colour ``#RRGGBB`` mixed with white, light enough for black text.

    >>> tint("#000000", 0.5)
    '#808080'
    """
    parts = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(255 - strength * (255 - part)):02X}" for part in parts)
