"""DOT, the language of Graphviz, made from a drawing. Text from outside is always shown as it is and can never be markup."""

from __future__ import annotations

import html
import textwrap
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from tinygraph.draw.cards import Card, Drawing, Edge

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
    "shape": "#BBBBBB",
}
CUSTOM = "#000000"

_EXPRESSION_WIDTH, _HEADER_WIDTH = 44, 40
_MOST_LINES = 8


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
    stack_of = {card.id: stack_id(head) for head, cards in beside.items() for card in cards}
    cards = {card.id: card for card in drawing.cards}
    for edge in drawing.edges:
        _draw_edge(graph, edge, cards, stack_of)
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
    if title:
        graph.attr("graph", label=_markup(f"<b>{text(title)}</b>"), labelloc="t", fontsize="14", tooltip=tooltip(title))
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


def _draw_edge(graph: Digraph, edge: Edge, cards: dict[str, Card], stack_of: dict[str, str]) -> None:
    tail, head = cards[edge.tail], cards[edge.head]
    start, end = edge.tail, edge.head
    if edge.tail in stack_of:
        start, end = f"{stack_of[edge.tail]}:{edge.tail}:e", f"{edge.head}:w"
    graph.edge(
        start,
        end,
        id=edge.id,
        tooltip=tooltip(f"{tail.symbol} {tail.shape} to {head.symbol}"),
        **({"label": str(edge.place)} if edge.repeated else {}),
    )


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
    first = f"<b>{text(card.symbol)}</b> {_quiet([shape_text(card.shape)])}{note}"
    if not note:
        first = f"<b>{text(card.symbol)}</b> {text(card.expression)}"
    return f'<tr><td port="{card.id}" bgcolor="{colour}">{first}</td></tr>'


def _node_rows(card: Card) -> str:
    colour = tint(FAMILIES.get(card.family, CUSTOM))
    number = "" if card.number is None else f"{card.number} "
    attributes = f" {_quiet(wrapped(card.attributes, _HEADER_WIDTH))}" if card.attributes else ""
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
    return f'<font point-size="9" color="{QUIET}">{"<br/>".join(text(line) for line in lines)}</font>'


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


def wrapped(line: str, width: int) -> list[str]:
    """Return text in lines no longer than ``width``, the rest of a very long one left out with an ellipsis.

    >>> wrapped("conv2d(P1, K2) + B2", 12)
    ['conv2d(P1,', 'K2) + B2']
    """
    lines = textwrap.wrap(visible(line), width, break_on_hyphens=False, max_lines=_MOST_LINES, placeholder=" …")
    return lines or [visible(line)]


def visible(line: str) -> str:
    r"""Return text in which nothing is invisible: escapes for what does not print, quotes for nothing at all.

    >>> visible("a\nb"), visible("")
    ('a\\nb', "''")
    """
    if not line.strip():
        return repr(line)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in line)


def text(line: str) -> str:
    r"""Return text for the inside of an HTML-like label, where it shows literally.

    Graphviz replaces ``\N`` and its like even there, so backslashes are doubled.

    >>> text("<b> & \\N")
    '&lt;b&gt; &amp; \\\\N'
    """
    return html.escape(visible(line)).replace("\\", "\\\\")


def tooltip(line: str) -> str:
    r"""Return text for a tooltip, in which Graphviz resolves entities once and backslashes twice.

    >>> tooltip("a & \\N")
    'a &amp; \\\\\\\\N'
    """
    import graphviz

    return str(graphviz.nohtml(visible(line).replace("&", "&amp;").replace("\\", "\\" * 4)))


def tint(colour: str, strength: float = 0.45) -> str:
    """Return a colour ``#RRGGBB`` mixed with white, light enough for black text.

    >>> tint("#000000", 0.5)
    '#808080'
    """
    parts = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(255 - strength * (255 - part)):02X}" for part in parts)
