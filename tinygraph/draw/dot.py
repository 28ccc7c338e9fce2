"""DOT, the language of Graphviz, made from a drawing. Text from outside is shown literally and can never be markup."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tinygraph.draw.cards import Bead, Card, Drawing, Edge
from tinygraph.draw.colours import GRADIENT_INK, GRADIENT_LANE, INK, LINE, PAPER, QUIET, VALUE_INK, VALUE_LANE
from tinygraph.draw.label import card_label, card_text, stack_label
from tinygraph.draw.literal import text, tooltip, wrapped

if TYPE_CHECKING:
    from graphviz import Digraph

FONT = "Helvetica,Arial,sans-serif"


def dot_source(drawing: Drawing) -> str:
    """Return a drawing as DOT. The same drawing gives the same text.

    Edges of both lanes are written from the upper card to the lower one, so that gradients do not turn the order of the
    cards around; the arrows of gradients point up.

    >>> import tinygraph as tg
    >>> x = tg.tensor(3.0, name="x")
    >>> source = dot_source(tg.draw(x * x).drawing)
    >>> source.count("n1 -> n2"), source.count("s1 -> n2"), source.count("n1 -> s1")
    (2, 2, 1)
    """
    graph = _sheet(drawing)
    stacks = _stacks(drawing)
    stack_of = {card.id: f"{head}_side" for head, cards in stacks.items() for card in cards}
    groups: dict[str, Digraph] = {"": graph}
    for card in drawing.cards:
        if card.id not in stack_of:
            _draw_card(_group(groups, card.group), drawing, card, stacks.get(card.id, ()))
    for bead in drawing.beads:
        _draw_bead(_group(groups, bead.group), bead)
    for path in sorted(groups, key=lambda path: path.count("."), reverse=True):
        if path:
            groups[path.rpartition(".")[0]].subgraph(groups[path])
    symbols = {card.id: card.symbol for card in drawing.cards} | {bead.id: "the sum" for bead in drawing.beads}
    neighbours = {(edge.tail, edge.head) for edge in drawing.edges if edge.lane == "value"}
    rows = {card.id for card in drawing.cards if card.gradient and not card.is_leaf}
    for edge in drawing.edges:
        words = f"{edge.text} from {symbols[edge.tail]} to {symbols[edge.head]}"
        options = {"id": edge.id, "class": edge.lane, "tooltip": tooltip(words)}
        if edge.lane == "value":
            _draw_value(graph, edge, options, stack_of, drawing.view)
        else:
            far = {edge.tail, edge.head} <= rows and (edge.head, edge.tail) not in neighbours
            _draw_gradient(graph, edge, options, stack_of, far)
    return str(graph.source)


def _sheet(drawing: Drawing) -> Digraph:
    import graphviz

    graph = graphviz.Digraph("tinygraph")
    graph.attr("graph", rankdir="TB", bgcolor=PAPER, nodesep="0.3", ranksep="0.35", fontname=FONT, fontcolor=INK)
    graph.attr("node", shape="plain", fontname=FONT, fontsize="11", fontcolor=INK)
    graph.attr("edge", color=VALUE_LANE, fontname=FONT, fontsize="9", fontcolor=QUIET, arrowsize="0.7", penwidth="1.3")
    # A plain label would take a rank of its own, and dot would then lose the order of the cards in one rank.
    graph.attr("edge", labeldistance="1.8", labelangle="-30")
    lines = [f"<b>{line}</b>" for line in map(text, wrapped(drawing.title, 70))] if drawing.title else []
    lines += [f'<font point-size="10">{text(line)}</font>' for line in wrapped(drawing.caption, 100) if drawing.caption]
    lines.append(f'<font point-size="10">{_legend(drawing)}</font>')
    title = tooltip(drawing.title or "a graph")
    graph.attr("graph", label=f"<{'<br/>'.join(lines)}>", labelloc="t", fontsize="14", tooltip=title)
    return graph


def _legend(drawing: Drawing) -> str:
    cards = drawing.cards
    figures = [f for card in cards for f in (card.value, card.gradient_value) if f is not None and f.heat]
    gradients = f"gradients: vermilion, dashed, up, of {text(drawing.output)}" if drawing.output else ""
    entries = {
        f'<font color="{VALUE_INK}">values: blue, solid, down</font>': drawing.view != "backward",
        f'<font color="{GRADIENT_INK}">{gradients}</font>': drawing.output,
        "+ sums what comes back": drawing.beads,
        "cells: purple below 0, white 0, green above": figures,
        "black NaN, yellow infinite": any(f.nans or f.infinities for f in figures),
        "checked: green ok, red wrong, yellow undecided": any(card.verdict for card in cards),
        "red: what could not be recorded": any(card.kind == "error" for card in cards),
    }
    shown = [entry for entry, present in entries.items() if present]
    return "<br/>".join("; ".join(shown[i : i + 2]) for i in range(0, len(shown), 2)) or " "


def _group(groups: dict[str, Digraph], path: str) -> Digraph:
    """Return the cluster of a block instance; it and its parents are made at first use."""
    import graphviz

    parts = path.split(".") if path else []
    for depth in range(1, len(parts) + 1):
        name = ".".join(parts[:depth])
        if name not in groups:
            label = f"<{text(name)}>"
            groups[name] = graphviz.Digraph(f"cluster_{len(groups)}")
            groups[name].attr(label=label, labeljust="l", style="rounded", color=LINE, bgcolor="#F7F9FC", fontsize="11")
    return groups[path]


def _stacks(drawing: Drawing) -> dict[str, list[Card]]:
    """Return, for each card, the leaves that stand at its side: they are used only there, with something else.

    A parameter always stands there; other leaves only if the card also uses what operations made.
    """
    values = [edge for edge in drawing.edges if edge.lane == "value"]
    uses = Counter(edge.tail for edge in values)
    cards = {card.id: card for card in drawing.cards}
    operands: dict[str, list[Card]] = defaultdict(list)
    for edge in values:
        operands[edge.head].append(cards[edge.tail])
    stacks = {}
    for head, tails in operands.items():
        computed = any(not tail.is_leaf for tail in tails)
        found = [
            tail
            for tail in tails
            if tail.is_leaf
            and uses[tail.id] == 1
            and (tail.kind == "parameter" or computed)
            and tail.group == cards[head].group
        ]
        if found and len(found) < len(tails):
            stacks[head] = found
    return stacks


def _draw_card(graph: Digraph, drawing: Drawing, card: Card, stack: Sequence[Card]) -> None:
    words, label = tooltip(card_text(card)), f"<{card_label(card, drawing)}>"
    graph.node(card.id, label=label, id=card.id, tooltip=words, **{"class": card.classes})
    if stack:
        id = f"{card.id}_side"
        words = tooltip("; ".join(map(card_text, stack)))
        graph.node(id, label=f"<{stack_label(stack, drawing)}>", id=id, tooltip=words)
        graph.body.append(f"\t{{rank=same; {id}; {card.id}}}\n")


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


def _draw_value(graph: Digraph, edge: Edge, options: dict[str, str], stack_of: dict[str, str], view: str) -> None:
    options["weight"] = "2"
    if edge.repeated:
        options["headlabel"] = str(edge.place)
    if view == "backward":
        options["style"] = "invis"
    if edge.count > 1:
        # To the left of the arrow.
        options |= {"headlabel": f"{edge.count} uses", "labelangle": "60", "labeldistance": "2.8"}
    if edge.tail in stack_of:
        # Graphviz may put the stack on either side: "_" takes the sides that face each other.
        graph.edge(f"{stack_of[edge.tail]}:{edge.tail}v:_", f"{edge.head}:v:_", **options)
    else:
        graph.edge(edge.tail, edge.head, **options)


def _draw_gradient(graph: Digraph, edge: Edge, options: dict[str, str], stack_of: dict[str, str], far: bool) -> None:
    options |= {"style": "dashed", "color": GRADIENT_LANE}
    if edge.head in stack_of:
        # Between cards of one rank dot confuses the ends of edges with dir=back, so these point forwards.
        upper, lower = f"{edge.tail}:g:_", f"{stack_of[edge.head]}:{edge.head}g:_"
        options["constraint"] = "false"
    else:
        # An edge that passes other cards leaves and arrives at the side; dot would lead it to the corners.
        upper, lower = (f"{edge.head}:g:e", f"{edge.tail}:g:e") if far else (edge.head, edge.tail)
        options["dir"] = "back"
    if edge.count > 1:
        # To the right of the arrow.
        options |= {"headlabel": f"{edge.count} uses", "labelangle": "-38", "labeldistance": "2.8"}
    graph.edge(upper, lower, **options)
