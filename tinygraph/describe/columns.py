"""Rows of cells as lines of text."""

from collections.abc import Sequence


def aligned(rows: Sequence[Sequence[str]], right: bool = False, longest: tuple[int, int] = (24, 72)) -> str:
    """Return rows as lines in which every column starts at the same place, or ends there with ``right``.

    With columns to the left, cells that are the last of their row do not widen the column, nor those longer than
    ``longest``, a limit for the first column and one for the others.

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
            if right or (any(row[i + 1 :]) and len(cell) <= longest[min(i, 1)]):
                widths[i] = max(widths[i], len(cell))
    place = str.rjust if right else str.ljust
    return "\n".join("  ".join(map(place, row, widths)).rstrip() for row in rows)
