"""DOT, the language of Graphviz, made from a drawing. Text from outside is shown literally and can never be markup."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tinygraph.draw import colours
from tinygraph.draw.cards import Bead, Card, Drawing, Edge
from tinygraph.draw.colours import GRADIENT_INK, GRADIENT_LANE, INK, LINE, PAPER, QUIET, VALUE_INK, VALUE_LANE
from tinygraph.draw.labels import BREAK, attribute, card_label, card_text, table
from tinygraph.draw.literal import text, tooltip, wrapped

if TYPE_CHECKING:
    from graphviz import Digraph

FONT = "Helvetica,Arial,sans-serif"


def dot_source(
    drawing: Drawing,
    direction: str = "down",
    columns: Sequence[Drawing] = (),
    settings: Mapping[str, str] | None = None,
) -> str:
    """Return a drawing as DOT. The same drawing gives the same text.

    Edges of both lanes are written from the upper card to the lower one, so that gradients do not turn the order of the
    cards around; the arrows of gradients point up. ``columns`` are drawn side by side, instead of the cards of ``drawing``,
    which then gives the title and the legend. ``settings`` are further attributes of the graph.

    >>> import tinygraph as tg
    >>> x = tg.tensor(3.0, name="x")
    >>> source = dot_source(tg.draw(x * x).drawing)
    >>> source.count("n1 -> n2"), source.count("s1 -> n2"), source.count("n1 -> s1")
    (2, 2, 1)
    """
    import graphviz

    graph = _sheet(direction, settings or {})
    heading = _heading(drawing, direction, 45, BREAK) if columns else _heading(drawing, direction, 70, "<br/>")
    look = {"label": f"<{heading}>", "fontsize": "14", "tooltip": tooltip(drawing.title or "a graph")}
    if not columns:
        graph.attr("graph", labelloc="t", **look)
        _draw(graph, drawing, direction == "right")
    # Graphviz lays out each cluster on its own, as a cell of a table. The first row has the heading, which would be as wide
    # in each column if it were the label of the graph, and empty cells.
    cells = [graphviz.Digraph(f"cluster_cell{number}") for number in range(2 * len(columns))]
    for number, (cell, column) in enumerate(zip(cells[len(columns) :], columns, strict=True)):
        if number:
            cells[number].node(f"cell{number}", label="", style="invis", width="0.01", height="0.01")
        else:
            cells[number].node("heading", **look)
        _draw(cell, column, prefix=f"column{number}_")
    for cell in cells:
        cell.attr(style="invis")
        graph.subgraph(cell)
    return str(graph.source)


def _draw(graph: Digraph, drawing: Drawing, right: bool = False, prefix: str = "") -> None:
    """Add cards, beads and edges to a graph; ``prefix`` begins the names of the clusters."""
    stacks = stacks_of(drawing) if not right else {}
    stack_of = {card.id: f"{head}_side" for head, cards in stacks.items() for card in cards}
    groups: dict[str, Digraph] = {"": graph}
    for card in drawing.cards:
        if card.id not in stack_of:
            _draw_card(_group(groups, card.group, prefix), drawing, card, stacks.get(card.id, ()))
    for bead in drawing.beads:
        _draw_bead(_group(groups, bead.group, prefix), bead)
    for path in sorted(groups, key=lambda path: path.count("."), reverse=True):
        if path:
            groups[path.rpartition(".")[0]].subgraph(groups[path])
    symbols = {card.id: card.symbol for card in drawing.cards} | {bead.id: "the sum" for bead in drawing.beads}
    times = {card.id: {card.times} for card in drawing.cards} | {bead.id: set() for bead in drawing.beads}
    neighbours = {(edge.tail, edge.head) for edge in drawing.edges if edge.lane == "value"}
    rows = {card.id for card in drawing.cards if card.gradient and not card.is_leaf}
    spine = _spine(drawing)
    for edge in drawing.edges:
        if edge.lane == "order":
            graph.edge(edge.tail, edge.head, style="invis", minlen=str(edge.place))
            continue
        words = f"{edge.text} from {symbols[edge.tail]} to {symbols[edge.head]}"
        options = {"id": edge.id, "class": edge.lane, "tooltip": tooltip(words)}
        # What repeats itself says how many times it does.
        if edge.count > 1 and edge.count not in times[edge.tail] | times[edge.head]:
            # To the left of an arrow down, to the right of an arrow up.
            angle = "60" if edge.lane == "value" else "-38"
            options |= {"headlabel": f"{edge.count} uses", "labelangle": angle, "labeldistance": "2.8"}
        if edge.lane == "value":
            options["weight"] = "10" if edge.id in spine else "1"
            _draw_value(graph, edge, options, stack_of, drawing.view)
        else:
            far = not right and {edge.tail, edge.head} <= rows and (edge.head, edge.tail) not in neighbours
            _draw_gradient(graph, edge, options, stack_of, far)


def _spine(drawing: Drawing) -> set[str]:
    """Return the edges that are kept short and straight: from each card to the first user that passes a gradient back.

    Otherwise a card is in the middle above all its users, and a network with statistics at its side drifts across the page.
    """
    cards = {card.id: card for card in drawing.cards}
    main: dict[str, Edge] = {}
    for edge in drawing.edges:
        if edge.lane == "value" and (not cards[edge.tail].is_leaf or cards[edge.tail].kind == "link"):
            before = main.setdefault(edge.tail, edge)
            if cards[edge.head].gradient and not cards[before.head].gradient:
                main[edge.tail] = edge
    return {edge.id for edge in main.values()}


def _sheet(direction: str, settings: Mapping[str, str]) -> Digraph:
    import graphviz

    graph = graphviz.Digraph("tinygraph")
    rankdir = {"down": "TB", "right": "LR"}[direction]
    graph.attr("graph", rankdir=rankdir, bgcolor=PAPER, nodesep="0.3", ranksep="0.35", fontname=FONT, fontcolor=INK)
    graph.attr("node", shape="plain", fontname=FONT, fontsize="11", fontcolor=INK)
    graph.attr("edge", color=VALUE_LANE, fontname=FONT, fontsize="10", fontcolor=QUIET, arrowsize="0.7", penwidth="1.3")
    # A plain label would take a rank of its own, and dot would then lose the order of the cards in one rank.
    graph.attr("edge", labeldistance="1.8", labelangle="-30")
    if settings:
        graph.attr("graph", **settings)
    return graph


def _heading(drawing: Drawing, direction: str, width: int, end: str) -> str:
    """Return the title, the caption and the legend."""
    lines = [f"<b>{line}</b>" for line in map(text, wrapped(drawing.title, width))] if drawing.title else []
    small = wrapped(drawing.caption, width + 30) if drawing.caption else []
    lines += [f'<font point-size="10">{line}</font>' for line in [*map(text, small), *_legend(drawing, direction)]]
    return end.join([*lines, ""] if end == BREAK else lines)


def _legend(drawing: Drawing, direction: str) -> list[str]:
    down, up = ("down", "up") if direction == "down" else ("to the right", "to the left")
    cards = drawing.cards
    figures = [f for card in cards for f in (card.value, card.gradient_value) if f is not None and f.heat]
    gradients = f"gradients: vermilion, dashed, {up}, of {text(drawing.output)}" if drawing.output else ""
    entries = {
        f'<font color="{VALUE_INK}">values: blue, solid, {down}</font>': drawing.view != "backward",
        f'<font color="{GRADIENT_INK}">{gradients}</font>': drawing.output,
        "+ sums what comes back": drawing.beads,
        "cells: purple below 0, white 0, green above": figures,
        "black NaN, yellow infinite": any(f.nans or f.infinities for f in figures),
        "checked: green ok, red wrong, yellow undecided": any(card.verdict for card in cards),
        "red: what could not be recorded": any(card.kind == "error" for card in cards),
    }
    shown = [entry for entry, present in entries.items() if present]
    return ["; ".join(shown[i : i + 2]) for i in range(0, len(shown), 2)] or [" "]


def _group(groups: dict[str, Digraph], path: str, prefix: str) -> Digraph:
    """Return the cluster of a block instance; it and its parents are made at first use."""
    import graphviz

    if path not in groups:
        _group(groups, path.rpartition(".")[0], prefix)
        groups[path] = graphviz.Digraph(f"cluster_{prefix}{len(groups)}")
        look = {"labeljust": "l", "style": "rounded", "color": LINE, "bgcolor": colours.BLOCK, "margin": "8"}
        groups[path].attr(label=f"<{text(path)}>", fontsize="11", **look)
    return groups[path]


def stacks_of(drawing: Drawing) -> dict[str, list[Card]]:
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
        leaves = [tail for tail in tails if tail.is_leaf and (tail.kind == "parameter" or computed)]
        found = [leaf for leaf in leaves if uses[leaf.id] == 1 and leaf.group == cards[head].group]
        if found and len(found) < len(tails):
            stacks[head] = found
    return stacks


def _draw_card(graph: Digraph, drawing: Drawing, card: Card, stack: Sequence[Card]) -> None:
    words, label = tooltip(card_text(card)), f"<{card_label(card, drawing)}>"
    graph.node(card.id, label=label, id=card.id, tooltip=words, **{"class": card.classes})
    if stack:
        id = f"{card.id}_side"
        words = tooltip("; ".join(map(card_text, stack)))
        # Cards one below the other. Each is a cell with the card's id, its tooltip, and ports for its lanes.
        cells = (
            f'<td id="{c.id}" href="#" title="{attribute(card_text(c))}">{card_label(c, drawing)}</td>' for c in stack
        )
        graph.node(id, label=f"<{table(cells)}>", id=id, tooltip=words)
        graph.body.append(f"\t{{rank=same; {id}; {card.id}}}\n")


def _draw_bead(graph: Digraph, bead: Bead) -> None:
    shape = {"shape": "circle", "fixedsize": "true", "width": "0.24", "fontsize": "12", "class": "bead"}
    paint = {"color": GRADIENT_LANE, "fontcolor": GRADIENT_INK, "style": "filled", "fillcolor": PAPER}
    words = tooltip(f"{bead.symbol} is the sum of {', '.join(bead.summands)}")
    graph.node(bead.id, label="+", id=bead.id, tooltip=words, **shape, **paint)


def _draw_value(graph: Digraph, edge: Edge, options: dict[str, str], stack_of: dict[str, str], view: str) -> None:
    if edge.repeated:
        options["headlabel"] = str(edge.place)
    if view == "backward":
        options["style"] = "invis"
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
        # Heavy enough that a bead is not on one rank with a card of a frame.
        options |= {"dir": "back", "weight": "3"}
    graph.edge(upper, lower, **options)
