"""DOT, the language of Graphviz, made from a drawing. Text from outside is always shown as it is and can never be markup."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tinygraph.draw.cards import Bead, Card, Drawing, Edge
from tinygraph.draw.literal import text, tooltip, wrapped
from tinygraph.draw.table import (
    GRADIENT_INK,
    GRADIENT_LANE,
    INK,
    LINE,
    PAPER,
    QUIET,
    VALUE_INK,
    VALUE_LANE,
    card_table,
    describe,
    stack_table,
)

if TYPE_CHECKING:
    from graphviz import Digraph

FONT = "Helvetica,Arial,sans-serif"


def dot_source(drawing: Drawing) -> str:
    """Return a drawing as DOT. The same drawing gives the same text.

    Both lanes are written from the top to the bottom, so that gradients do not turn the ranks around; the arrows of
    gradients point up.

    >>> import tinygraph as tg
    >>> x = tg.tensor(3.0, name="x")
    >>> source = dot_source(tg.draw(x * x).drawing)
    >>> source.count("n1 -> n2"), source.count("s1 -> n2"), source.count("n1 -> s1")
    (2, 2, 1)
    """
    graph = _sheet(drawing)
    beside = _side_cards(drawing)
    aside = {card.id for cards in beside.values() for card in cards}
    groups: dict[str, Digraph] = {"": graph}
    for card in drawing.cards:
        if card.id not in aside:
            _draw_card(_group(groups, card.group), drawing, card, beside.get(card.id, ()))
    for bead in drawing.beads:
        _draw_bead(_group(groups, bead.group), bead)
    for path in sorted(groups, key=lambda path: path.count("."), reverse=True):
        if path:
            groups[path.rpartition(".")[0]].subgraph(groups[path])
    stacks = {card.id: stack_id(head) for head, cards in beside.items() for card in cards}
    symbols = {card.id: card.symbol for card in drawing.cards} | {bead.id: "the sum" for bead in drawing.beads}
    near = {(edge.tail, edge.head) for edge in drawing.edges if edge.lane == "value"}
    rows = {card.id for card in drawing.cards if card.gradient and not card.is_leaf}
    for edge in drawing.edges:
        far = {edge.tail, edge.head} <= rows and (edge.head, edge.tail) not in near
        _draw_edge(graph, edge, stacks, symbols, drawing.view, far)
    return str(graph.source)


def stack_id(head: str) -> str:
    """Return the id of the stack of cards that stands beside the card ``head``."""
    return f"{head}_beside"


def _sheet(drawing: Drawing) -> Digraph:
    import graphviz

    graph = graphviz.Digraph("tinygraph")
    graph.attr("graph", rankdir="TB", bgcolor=PAPER, nodesep="0.3", ranksep="0.35", fontname=FONT, fontcolor=INK)
    graph.attr("node", shape="plain", fontname=FONT, fontsize="11", fontcolor=INK)
    graph.attr("edge", color=VALUE_LANE, fontname=FONT, fontsize="9", fontcolor=QUIET, arrowsize="0.7", penwidth="1.3")
    # A plain label would take a rank of its own, and dot then loses the order of the cards that stand beside others.
    graph.attr("edge", labeldistance="1.8", labelangle="-30")
    lines = [f"<b>{line}</b>" for line in map(text, wrapped(drawing.title, 70))] if drawing.title else []
    lines += [f'<font point-size="10">{text(line)}</font>' for line in wrapped(drawing.caption, 100) if drawing.caption]
    lines.append(f'<font point-size="10">{_legend(drawing)}</font>')
    shown = tooltip(drawing.title or "a graph")
    graph.attr("graph", label=f"<{'<br/>'.join(lines)}>", labelloc="t", fontsize="14", tooltip=shown)
    return graph


def _legend(drawing: Drawing) -> str:
    parts = []
    if drawing.view != "backward":
        parts.append(f'<font color="{VALUE_INK}">values: blue, solid, down</font>')
    if drawing.output:
        said = "gradients: vermilion, dashed, up"
        parts.append(f'<font color="{GRADIENT_INK}">{said}, of {text(drawing.output)}</font>')
    if drawing.beads:
        parts.append("+ sums what comes back")
    figures = [f for card in drawing.cards for f in (card.value, card.gradient_value) if f is not None and f.heat]
    if figures:
        parts.append("cells: purple below 0, white 0, green above")
    if any(f.nans or f.infinities for f in figures):
        parts.append("black NaN, yellow infinite")
    if any(card.verdict for card in drawing.cards):
        parts.append("checked: green ok, red wrong, yellow undecided")
    if any(card.kind == "error" for card in drawing.cards):
        parts.append("red: what could not be recorded")
    lines = [parts[i : i + 2] for i in range(0, len(parts), 2)]
    return "<br/>".join("; ".join(line) for line in lines) or " "


def _group(groups: dict[str, Digraph], path: str) -> Digraph:
    """Return the cluster of a block instance, made with its parents when first asked for."""
    import graphviz

    parts = path.split(".") if path else []
    for depth in range(1, len(parts) + 1):
        name = ".".join(parts[:depth])
        if name not in groups:
            cluster = graphviz.Digraph(f"cluster_{len(groups)}")
            cluster.attr(
                label=f"<{text(name)}>", labeljust="l", style="rounded", color=LINE, bgcolor="#F7F9FC", fontsize="11"
            )
            groups[name] = cluster
    return groups[path]


def _side_cards(drawing: Drawing) -> dict[str, list[Card]]:
    """Return, for each card, the leaves that stand beside it: used there alone, and not all that is used there."""
    values = [edge for edge in drawing.edges if edge.lane == "value"]
    uses = Counter(edge.tail for edge in values)
    cards = {card.id: card for card in drawing.cards}
    operands: dict[str, list[Card]] = defaultdict(list)
    for edge in values:
        operands[edge.head].append(cards[edge.tail])
    beside = {}
    for head, tails in operands.items():
        from_nodes = any(not tail.is_leaf for tail in tails)
        aside = [
            tail
            for tail in tails
            if tail.is_leaf
            and uses[tail.id] == 1
            and (tail.kind == "parameter" or from_nodes)
            and tail.group == cards[head].group
        ]
        if aside and len(aside) < len(tails):
            beside[head] = aside
    return beside


def _draw_card(graph: Digraph, drawing: Drawing, card: Card, beside: Sequence[Card]) -> None:
    graph.node(
        card.id,
        label=f"<{card_table(card, drawing)}>",
        id=card.id,
        tooltip=tooltip(describe(card)),
        **{"class": card.classes},
    )
    if beside:
        stack = stack_id(card.id)
        words = "; ".join(map(describe, beside))
        graph.node(stack, label=f"<{stack_table(beside, drawing)}>", id=stack, tooltip=tooltip(words))
        graph.body.append(f"\t{{rank=same; {stack}; {card.id}}}\n")


def _draw_bead(graph: Digraph, bead: Bead) -> None:
    graph.node(
        bead.id,
        label="+",
        id=bead.id,
        shape="circle",
        fixedsize="true",
        width="0.24",
        color=GRADIENT_LANE,
        fontcolor=GRADIENT_INK,
        fontsize="12",
        style="filled",
        fillcolor=PAPER,
        tooltip=tooltip(f"{bead.symbol} is the sum of {', '.join(bead.summands)}"),
        **{"class": "bead"},
    )


def _draw_edge(
    graph: Digraph, edge: Edge, stacks: dict[str, str], symbols: dict[str, str], view: str, far: bool
) -> None:
    words = f"{edge.text} from {symbols[edge.tail]} to {symbols[edge.head]}"
    options = {"id": edge.id, "class": edge.lane, "tooltip": tooltip(words)}
    upper, lower = (edge.tail, edge.head) if edge.lane == "value" else (edge.head, edge.tail)
    row = "v" if edge.lane == "value" else "g"
    if upper in stacks:
        # Graphviz may put the stack on either side; the sides that face each other are then taken.
        start, end = f"{stacks[upper]}:{upper}{row}:_", f"{lower}:{row}:_"
    else:
        start, end = upper, lower
    if edge.lane == "value":
        options |= {"weight": "2"}
        if edge.repeated:
            options["headlabel"] = str(edge.place)
        if view == "backward":
            options["style"] = "invis"
    else:
        options |= {"style": "dashed", "color": GRADIENT_LANE}
        if upper in stacks:
            # Between cards of one rank dot mixes up the ends of edges that point backwards, so these point forwards.
            start, end = end, start
            options["constraint"] = "false"
        else:
            options["dir"] = "back"
            if far:
                # What passes cards by leaves and arrives at the side, for the corners are where dot would have it end.
                start, end = f"{start}:g:e", f"{end}:g:e"
    if edge.count > 1:
        # Beside the arrow: to the left of a value's, to the right of a gradient's.
        angle = "60" if edge.lane == "value" else "-38"
        options |= {"headlabel": f"{edge.count} uses", "labelangle": angle, "labeldistance": "2.8"}
    graph.edge(start, end, **options)
