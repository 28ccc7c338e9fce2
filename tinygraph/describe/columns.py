"""Rows of cells as lines of text."""

from __future__ import annotations

from collections.abc import Sequence

# Longer cells in the first column, and in the others, do not widen their column.
_LONGEST = (24, 72)


def aligned(rows: Sequence[Sequence[str]], right: bool = False) -> str:
    """Return rows as lines in which every column starts at the same place, or ends there with ``right``.

    With columns to the left, cells that are very long, or the last of their row, do not widen the column.

    >>> print(aligned([("x", "input"), ("Z3", "= f @ W3")]))
    x   input
    Z3  = f @ W3
    >>> print(aligned([("x", "y"), ("long", "1")], right=True))
       x  y
    long  1
    """
    widths = [0] * max(map(len, rows), default=0)
    for row in rows:
        for i, cell in enumerate(row):
            if right or (any(row[i + 1 :]) and len(cell) <= _LONGEST[min(i, 1)]):
                widths[i] = max(widths[i], len(cell))
    place = str.rjust if right else str.ljust
    return "\n".join("  ".join(map(place, row, widths)).rstrip() for row in rows)
