"""The pictures of the stepper: that of the graph, and those of what its folded cards hold.

The cards have room for the numbers of the sample that the reader chooses.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from tinygraph.describe.fold import Part, parts_of, parts_within
from tinygraph.describe.subject import Subject
from tinygraph.draw.build import drawing_of
from tinygraph.draw.cards import Card, Drawing, Edge
from tinygraph.draw.figures import Figures, figures_of
from tinygraph.draw.picture import Picture
from tinygraph.errors import RenderError
from tinygraph.graph import Tensor

# As wide as a digit. The script of the page writes numbers in the place of these figure dashes.
ROOM = "\u2012" * 7
# Cards in all that are drawn; those of further levels are listed. What is used of elsewhere is shown up to a number of cards.
MOST_DRAWN, _MOST_OUTSIDE = 2000, 12
# What an image of a large array covers.
_IMAGE = ((ROOM, ROOM),) * 3


class _Room(Figures):
    """Room for the numbers of an array, or for an image of a large one."""

    @property
    def line(self) -> str:
        """Room for the number of an array that has one."""
        return ROOM if self.size == 1 else ""


def with_room(drawing: Drawing) -> Drawing:
    """Return a drawing with room for numbers on its cards.

    >>> import tinygraph as tg
    >>> x = tg.tensor([1.0, 2.0], name="x")
    >>> with_room(tg.draw(x * x).drawing).cards[0].value.numbers == ((ROOM, ROOM),)
    True
    """
    return replace(drawing, detail="value", cards=tuple(map(_with_room, drawing.cards)))


def _with_room(card: Card) -> Card:
    array = np.zeros(card.shape)
    if not array.size:
        return card
    rows = figures_of(array).numbers
    room = _Room(card.shape, card.dtype, array.size, numbers=tuple((ROOM,) * len(row) for row in rows) or _IMAGE)
    return replace(card, value=room, gradient_value=room if card.gradient else None)


@dataclass(frozen=True)
class View:
    """One picture of the page: of the graph, or of what a folded card holds.

    ``parts`` are its cards, and ``outside`` the items elsewhere whose results they use. ``parent`` is the number of the view
    that has the folded card. There is an ``svg`` with its ``edges``, or ``lines``, one for each part.
    """

    title: str
    parts: tuple[Part, ...]
    outside: tuple[int, ...] = ()
    parent: int | None = None
    svg: str = ""
    edges: tuple[Edge, ...] = ()
    lines: tuple[str, ...] = ()


def views_of(subject: Subject) -> list[View]:
    """Return the pictures of a graph: the whole first, then those of its folded cards, a level after the other.

    Without a renderer there are none. Levels with too many cards in all are listed and not drawn.

    >>> import tinygraph as tg
    >>> from tinygraph.describe.subject import subject_of
    >>> y = tg.tensor([0.5], name="x")
    >>> for _ in range(70):
    ...     y = tg.sin(y)
    >>> [(view.parent, len(view.parts)) for view in views_of(subject_of(y.sum()))][:2]
    [(None, 3), (0, 35)]
    """
    items = subject.items
    maker = {node: i for i, item in reversed([*enumerate(items)]) for node in (*item.nodes, item.node)}
    found: list[View] = []
    level = [View("", tuple(parts_of(items)))]
    drawn = 0
    while level:
        first = len(found)
        drawn += sum(len(view.parts) + len(view.outside) for view in level)
        if drawn <= MOST_DRAWN or first == 0:
            with ThreadPoolExecutor() as pool:
                level = list(pool.map(partial(_drawn, subject), level))
        else:
            level = [replace(view, lines=tuple(_line(subject, part) for part in view.parts)) for view in level]
        if not level[0].svg and first == 0:
            return []
        found += level
        level = [
            View(_title(subject, part), tuple(within), _outside(subject, within, maker), first + number)
            for number, view in enumerate(level)
            for part in view.parts
            if len(part.items) > 1
            for within in [parts_within(items, part)]
        ]
    return found


def _title(subject: Subject, part: Part) -> str:
    names = [subject.items[i].symbol for i in part.items if subject.items[i].nodes] or [subject.items[part.last].symbol]
    return part.block or (names[0] if len(names) == 1 else f"{names[0]} … {names[-1]}")


def _outside(subject: Subject, parts: Sequence[Part], maker: dict[Tensor, int]) -> tuple[int, ...]:
    """Return the items, not too many, whose results some parts use and that are in none of them."""
    own = {i for part in parts for i in part.items}
    read = (x for i in sorted(own) for node in subject.items[i].nodes for x in node.inputs)
    used = dict.fromkeys(maker[x] for x in read if x in maker and x.kind != "constant" and maker[x] not in own)
    return tuple(used) if len(used) <= _MOST_OUTSIDE else ()


def _line(subject: Subject, part: Part) -> str:
    item = subject.items[part.last]
    return _title(subject, part) if len(part.items) > 1 else f"{item.symbol} = {item.expression}"


def _drawn(subject: Subject, view: View) -> View:
    outside = {f"n{i + 1}" for i in view.outside}

    def edited(card: Card) -> Card:
        """Show what is elsewhere as a leaf."""
        return replace(card, kind="from outside", rules=(), inside=(), note="") if card.id in outside else card

    parts = sorted((*view.parts, *(Part((i,)) for i in view.outside)), key=lambda part: part.last)
    unfold = "a click on a folded card opens it"
    drawing = drawing_of(subject, "rule", edit=edited if outside else None, parts=parts, unfold=unfold)
    drawing = replace(with_room(drawing), title="")
    try:
        return replace(view, svg=Picture(drawing).svg("step-"), edges=drawing.edges)
    except RenderError:
        return replace(view, lines=tuple(_line(subject, part) for part in view.parts))
