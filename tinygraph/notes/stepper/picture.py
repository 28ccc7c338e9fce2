"""The picture of the stepper: its cards have room for the numbers of the sample that the reader chooses."""

from dataclasses import replace

import numpy as np

from tinygraph.draw.cards import Card, Drawing
from tinygraph.draw.figures import Figures, figures_of

# As wide as a digit. The script of the page writes numbers in the place of these figure dashes.
ROOM = "\u2012" * 7
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
