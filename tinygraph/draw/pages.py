"""The pages of a picture: columns of cards that can be read, with links where an arrow leaves its column."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from tinygraph.draw.cards import Card, Drawing, Edge
from tinygraph.draw.dot import dot_source, stacks_of
from tinygraph.draw.paper import FONT, SMALLEST, Paper

# The distance of columns, of the ranks of a column, and the height of a link, about; the frame of a block is as high as a link.
_GAP, _RANKS, _LINK = 24.0, 25.0, 30.0
_ATTEMPTS = 5
# The most pages that a link names.
_MOST_PAGES = 3
_NODE = re.compile(r'^node "?([\w-]+)"? ([-\d.e+]+) [-\d.e+]+ ([-\d.e+]+) ([-\d.e+]+) ', re.MULTILINE)

# A node's left and right side and its height, by its name; and the width and the height of the picture.
Boxes = Mapping[str, tuple[float, float, float]]
Sizes = Mapping[str, tuple[float, float]]
# A card, another one below it, and how many ranks lie between them.
Below = tuple[str, str, int]
Measure = Callable[[str], tuple[Boxes, tuple[float, float]]]


def measured(plain: str) -> tuple[Boxes, tuple[float, float]]:
    """Read Graphviz's format ``plain``, in inches, as points.

    >>> measured('graph 1 2 3\\nnode n1 1 0.5 1 0.5 label solid plain black lightgrey\\nstop')
    ({'n1': (36.0, 108.0, 36.0)}, (144.0, 216.0))
    """
    _, _, width, height = plain.split(None, 4)[:4]
    nodes = ((name, *(72 * float(number) for number in numbers)) for name, *numbers in _NODE.findall(plain))
    boxes = {name: (x - w / 2, x + w / 2, h) for name, x, w, h in nodes}
    return boxes, (72 * float(width), 72 * float(height))


@dataclass(frozen=True)
class Page:
    """One page: DOT, the cards that are on it, and how much smaller than in its natural size it is printed."""

    dot: str
    drawing: Drawing
    scale: float


def pages_of(drawing: Drawing, paper: Paper, measure: Measure, format: str = "svg") -> list[Page]:
    """Return the pages of a drawing: columns of cards, side by side, with links where an arrow leaves its column.

    Cards keep their order. A page is turned where fewer pages are then needed. Text is at least 7 points high, except on a
    page with a card that is too large for it. ``measure`` lays out DOT.
    """
    sizes = _sizes(drawing, measure)
    found: list[list[Page]] = []

    def worse(pages: list[Page]) -> tuple[bool, int, float]:
        smallest = min(page.scale for page in pages)
        return smallest < SMALLEST / FONT, len(pages), -smallest

    for _ in range(1 if paper.tight else 2):
        found.append(_pages(drawing, paper, sizes, measure, format))
        paper = replace(paper, page=paper.size[::-1])
        if worse(found[-1]) < (False, 2):
            break
    return min(found, key=worse)


def _pages(drawing: Drawing, paper: Paper, sizes: Sizes, measure: Measure, format: str) -> list[Page]:
    """Return the pages of one format. A page may turn out larger than estimated; then its columns are made smaller."""
    room = [(side - 2 * paper.margin) * FONT / SMALLEST for side in paper.size]
    width, height, across = room[0], room[1] - 3 * _LINK, room[0]
    fits = all(w <= room[0] and h <= room[1] for w, h in sizes.values())
    for _ in range(_ATTEMPTS if fits else 1):
        places, below = _places(drawing, sizes, width, height)
        columns = columns_of(drawing, places, below)
        sheets = _sheets(drawing, columns, across, measure)
        page_of = {number: page for page, own in enumerate(sheets, start=1) for number in own}
        columns = columns_of(drawing, places, below, page_of)
        parts = [[columns[number] for number in own] for own in sheets]
        numbers = [f"page {page} of {len(sheets)}" for page in range(1, len(sheets) + 1) if len(sheets) > 1] or [""]
        shown = [replace(drawing, caption="; ".join(filter(None, (said, drawing.caption)))) for said in numbers]
        boxes = [
            measure(dot_source(page, "down", own, _packed(own)))[1] for page, own in zip(shown, parts, strict=True)
        ]
        wide, high = (max(sides) / limit for sides, limit in zip(zip(*boxes, strict=True), room, strict=True))
        if wide <= 1 and high <= 1:
            break
        across, width = across / max(1.0, wide), width / max(1.0, wide)
        height /= max(1.0, high)
    scales = [min(1.0, *(a / b * SMALLEST / FONT for a, b in zip(room, box, strict=True))) for box in boxes]
    # All pages have one size of text, except those with a card that is too large.
    common = min((scale for scale in scales if scale >= SMALLEST / FONT), default=1.0)
    return [
        _page_of(page, own, paper, box, min(scale, common), format)
        for page, own, box, scale in zip(shown, parts, boxes, scales, strict=True)
    ]


def _packed(columns: Sequence[Drawing]) -> dict[str, str]:
    """Return the attributes of a graph that put columns next to each other."""
    return {"pack": f"{_GAP:g}", "packmode": f"array_tli{len(columns)}", "margin": "0", "pad": "0"}


def _page_of(
    drawing: Drawing, columns: Sequence[Drawing], paper: Paper, box: tuple[float, float], scale: float, format: str
) -> Page:
    settings = _packed(columns) | paper.settings(format)
    if paper.tight:
        settings["size"] = f"{scale * box[0] / 72:.4f},{scale * box[1] / 72:.4f}"
    else:
        # In the middle of the page, from its top on: Graphviz counts from below, in the picture's own points.
        width, height = paper.size
        middle = box[1] - (height / 2 - paper.margin) / scale
        settings["viewport"] = f"{width:g},{height:g},{scale:.4f},{box[0] / 2:.1f},{middle:.1f}"
    dot = dot_source(drawing, "down", columns, settings)
    return Page(dot, replace(drawing, cards=tuple(card for column in columns for card in column.cards)), scale)


def _sheets(drawing: Drawing, columns: Sequence[Drawing], room: float, measure: Measure) -> list[list[int]]:
    """Return the columns of each page: as many as there is room for."""
    boxes, _ = measure(dot_source(drawing, "down", columns, _packed(columns)))
    sheets: list[list[int]] = []
    used = room
    for number, column in enumerate(columns):
        sides = [boxes[id] for card in column.cards for id in (card.id, f"{card.id}_side") if id in boxes]
        wide = max(right for _, right, _ in sides) - min(left for left, _, _ in sides) + 2 * _GAP
        if used + wide > room:
            sheets.append([])
            used = 0.0
        sheets[-1].append(number)
        used += wide
    return sheets


def _sizes(drawing: Drawing, measure: Measure) -> dict[str, tuple[float, float]]:
    """Return the width and the height of each card, together with the leaves at its side."""
    boxes, _ = measure(dot_source(replace(drawing, edges=(), beads=())))
    sizes = {card.id: (boxes[card.id][1] - boxes[card.id][0], boxes[card.id][2]) for card in drawing.cards}
    for head, leaves in stacks_of(drawing).items():
        width, height = sizes[head]
        side = max(sizes[leaf.id][0] for leaf in leaves), sum(sizes[leaf.id][1] + 6 for leaf in leaves)
        sizes[head] = width + side[0] + _GAP, max(height, side[1])
    return sizes


class _Column:
    """The ranks of a column while cards are added to it, as Graphviz will make them, about."""

    def __init__(self) -> None:
        self.ranks: dict[str, int] = {}
        self.rows: dict[int, tuple[float, float, str]] = {}
        self.frames: list[str] = []

    def added(
        self,
        card: Card,
        above: Sequence[int],
        outside: tuple[float, float] | None,
        size: tuple[float, float],
        most: float,
    ) -> tuple[_Column, Below | None]:
        """Return the column with one more card, and the card under which it is put where its own rank is full."""
        made = _Column()
        made.ranks, made.rows, made.frames = dict(self.ranks), dict(self.rows), [*self.frames]
        wanted = rank = max([*above, 1 if outside else 0])
        while made._width(rank) + size[0] > most or (outside and made._width(rank - 1) + outside[0] > most):
            rank += 1
        made._widen(rank, size, card.id)
        if outside:
            made._widen(rank - 1, outside, "")
        made.ranks[card.id] = rank
        if card.group and card.group not in made.frames:
            made.frames.append(card.group)
        full = max((row for row in self.rows if row < rank and self.rows[row][2]), default=rank)
        return made, (self.rows[full][2], card.id, rank - full) if wanted < rank and full < rank else None

    def _width(self, rank: int) -> float:
        return self.rows[rank][0] if rank in self.rows else -math.inf

    def _widen(self, rank: int, size: tuple[float, float], id: str) -> None:
        width, height, last = self.rows.get(rank, (0.0, 0.0, ""))
        self.rows[rank] = width + size[0] + _GAP, max(height, size[1]), id or last

    @property
    def height(self) -> float:
        """The height of the column with a link below it."""
        frames = 2 * _LINK * len(self.frames)
        return sum(height for _, height, _ in self.rows.values()) + _RANKS * (max(self.rows) + 1) + 2 * _LINK + frames


def _places(drawing: Drawing, sizes: Sizes, width: float, height: float) -> tuple[dict[str, int], list[Below]]:
    """Return the number of the column of each card and bead, and which cards are below others.

    A column is about as wide and as high as ``width`` and ``height`` at most.
    """
    cards = {card.id: card for card in drawing.cards}
    summed = {bead.target for bead in drawing.beads}
    aside = {leaf.id for leaves in stacks_of(drawing).values() for leaf in leaves}
    used: dict[str, list[str]] = defaultdict(list)
    for edge in drawing.edges:
        if edge.lane == "value" and edge.tail not in used[edge.head]:
            used[edge.head].append(edge.tail)
    places: dict[str, int] = {}
    below: list[Below] = []
    number, column = 0, _Column()

    def added(card: Card) -> tuple[_Column, Below | None]:
        above = [column.ranks[x] + 1 + (x in summed) for x in used[card.id] if x in column.ranks]
        tops = [
            sizes[x] if cards[x].is_leaf else (4 * _LINK, _LINK)
            for x in used[card.id]
            if x not in column.ranks and x not in aside
        ]
        outside = (sum(w for w, _ in tops), max(h for _, h in tops)) if tops else None
        return column.added(card, above, outside, sizes[card.id], width)

    for card in drawing.cards:
        if card.is_leaf:
            continue
        more, upper = added(card)
        if column.ranks and more.height > height:
            number, column = number + 1, _Column()
            more, upper = added(card)
        column = more
        places[card.id] = number
        below += [upper] if upper else []
    # A leaf is where it is used first.
    for card in drawing.cards:
        if not card.is_leaf:
            for x in used[card.id]:
                places.setdefault(x, places[card.id])
    for card in drawing.cards:
        places.setdefault(card.id, 0)
    return places | {bead.id: places[bead.target] for bead in drawing.beads}, below


def columns_of(
    drawing: Drawing, places: Mapping[str, int], below: Sequence[Below] = (), pages: Mapping[int, int] | None = None
) -> list[Drawing]:
    """Return a drawing for each column. An arrow to another column becomes two, each with a link at its end.

    A link says which cards are at the other end. ``below`` are pairs of cards that do not share a row, and ``pages`` are the
    numbers of the columns' pages.

    >>> import tinygraph as tg
    >>> x = tg.tensor(2.0, name="x")
    >>> drawing = tg.draw(tg.tanh(tg.exp(x))).drawing
    >>> first, second = columns_of(drawing, {"n1": 0, "n2": 0, "n3": 1})
    >>> [(card.kind, card.symbol, card.expression) for card in (first.cards[-1], second.cards[0])]
    [('link', 't1', 'to 2'), ('link', 't1', 'from 1')]
    """
    cards = {card.id: card for card in drawing.cards}
    targets = {bead.id: bead.target for bead in drawing.beads}
    # For each card with arrows to other columns, the cards there by column; and for each arrow, where it begins and ends.
    users: dict[str, dict[int, list[Card]]] = defaultdict(lambda: defaultdict(list))
    ends: list[tuple[Edge, str, int]] = []
    for edge in drawing.edges:
        # Both lanes run between the card of a tensor and a later card that uses it.
        x = edge.tail if edge.lane == "value" else targets.get(edge.head, edge.head)
        other = edge.head if edge.lane == "value" else edge.tail
        ends.append((edge, x, places[other]))
        if places[x] != places[other]:
            users[x][places[other]].append(cards[other])
    first, last = defaultdict(list), defaultdict(list)
    for x, found in users.items():
        card, here = cards[x], places[x]
        link = replace(Card(f"{x}out", "link", card.symbol, "", (), ""), gradient=card.gradient)
        last[here].append(replace(link, expression=f"to {_listed(found, pages, here)}"))
        for there in found:
            origin = card.kind if card.is_leaf else f"from {_called(card)}"
            at = f" (page {pages[here]})" if pages and pages[here] != pages[there] else ""
            first[there].append(replace(link, id=f"{x}in{there}", expression=f"{origin}{at}"))
    edges: dict[int, list[Edge]] = defaultdict(list)
    drawn = set()
    for edge, x, there in ends:
        here, value = places[x], edge.lane == "value"
        if here == there:
            edges[here].append(edge)
            continue
        out, into = f"{x}out", f"{x}in{there}"
        edges[there].append(replace(edge, tail=into) if value else replace(edge, head=into))
        near = replace(edge, id=f"{edge.id}out", count=1, repeated=False)
        near = replace(near, head=out) if value else replace(near, tail=out)
        if (near.tail, near.head) not in drawn:
            drawn.add((near.tail, near.head))
            edges[here].append(near)
    for upper, lower, ranks in below:
        edges[places[upper]].append(Edge(f"below_{lower}", upper, lower, ranks, lane="order"))
    made = []
    for number in range(max(places.values()) + 1):
        own = (card for card in drawing.cards if places[card.id] == number)
        beads = tuple(bead for bead in drawing.beads if places[bead.id] == number)
        shown = (*first[number], *own, *last[number])
        made.append(replace(drawing, cards=shown, edges=tuple(edges[number]), beads=beads))
    return made


def _called(card: Card) -> str:
    return str(card.number) if card.number else card.title or card.symbol


def _listed(users: Mapping[int, Sequence[Card]], pages: Mapping[int, int] | None, here: int) -> str:
    """Return the numbers of cards, with their pages where they are on others."""
    by_page: dict[int, list[str]] = defaultdict(list)
    for column, cards in users.items():
        by_page[pages[column] if pages else 0] += map(_called, cards)
    own = pages[here] if pages else 0
    return "; ".join(
        ", ".join(_few(list(dict.fromkeys(names)))) + (f" (page {page})" if page != own else "")
        for page, names in list(by_page.items())[:_MOST_PAGES]
    ) + ("; …" if len(by_page) > _MOST_PAGES else "")


def _few(names: list[str]) -> list[str]:
    return names if len(names) < 6 else [*names[:3], "…", names[-1]]
