"""Tables whose columns stay in line however long their cells are."""

from __future__ import annotations

from collections.abc import Sequence


def columns(rows: Sequence[Sequence[str]], right: bool = False) -> list[str]:
    """Return rows of equally many cells as lines, each column as wide as its widest cell; to the right if asked.

    >>> columns([("x", "y"), ("long", "1")])
    ['x     y', 'long  1']
    >>> columns([("x", "y"), ("long", "1")], right=True)
    ['   x  y', 'long  1']
    """
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    place = str.rjust if right else str.ljust
    return ["  ".join(map(place, row, widths)).rstrip() for row in rows]
