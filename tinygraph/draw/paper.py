"""Pictures on paper: how large they are, and the sheets that they are printed on."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from tinygraph.errors import RenderError, listing, nearest

DIRECTIONS = ("down", "right")
# In points, of which an inch has 72.
SHEETS = {"a3": (842.0, 1191.0), "a4": (595.0, 842.0), "a5": (420.0, 595.0), "letter": (612.0, 792.0)}
UNITS = {"mm": 72 / 25.4, "cm": 720 / 25.4, "in": 72.0, "pt": 1.0, "px": 0.75}
MARGIN = 28.0
# The smallest text of a picture in its natural size, and the smallest that is printed.
FONT, SMALLEST = 10.0, 7.0


@dataclass(frozen=True)
class Paper:
    """How large a picture is and where it goes: its ``width`` and the size of a ``page`` in points, and dots in an inch.

    On a ``tight`` page nothing surrounds the picture and the page is not turned: it is part of another document.
    """

    direction: str = "down"
    width: float | None = None
    dpi: float | None = None
    page: tuple[float, float] | None = None
    tight: bool = False

    def changed(self, direction: str | None, width: str | None, dpi: float | None, pages: str | None) -> Paper:
        """Return the paper with what is given; see ``tg.draw``. Raises ``RenderError`` for what cannot be understood.

        >>> Paper().changed(None, "1.5in", None, None).width
        108.0
        >>> Paper().changed("right", None, None, "a4")
        Traceback (most recent call last):
        tinygraph.errors.RenderError: pages break a picture into columns that go down; leave out pages or direction 'right'
        """
        made = replace(
            self,
            direction=self.direction if direction is None else direction,
            width=_lengths(width, "width")[0] if width is not None else self.width,
            dpi=self.dpi if dpi is None else dpi,
            page=_page(pages) if pages is not None else self.page,
        )
        if made.direction not in DIRECTIONS:
            hint = nearest(str(direction), DIRECTIONS)
            raise RenderError(f"direction must be one of {listing(DIRECTIONS)}; found {direction!r}{hint}")
        if made.dpi is not None and not (isinstance(made.dpi, (int, float)) and 1 <= made.dpi <= 2400):
            raise RenderError(f"dpi must be a number from 1 to 2400; found {made.dpi!r}")
        if made.page and made.direction == "right":
            raise RenderError("pages break a picture into columns that go down; leave out pages or direction 'right'")
        if made.page and made.width:
            raise RenderError("pages have a width of their own; leave out pages or width")
        return made

    @property
    def size(self) -> tuple[float, float]:
        """The width and height of a page; A4 where none is given."""
        return self.page or SHEETS["a4"]

    @property
    def margin(self) -> float:
        """What stays free around a page."""
        return 0.0 if self.tight else min(MARGIN, min(self.size) / 15)

    def settings(self, format: str) -> dict[str, str]:
        """Return the attributes of the graph that give a picture of one sheet its size.

        >>> Paper(width=360.0, dpi=300).settings("png")
        {'size': '5,1000!', 'pad': '0', 'margin': '0', 'dpi': '300'}
        """
        size = {"size": f"{self.width / 72:g},1000!", "pad": "0", "margin": "0"} if self.width else {}
        return size | ({"dpi": f"{self.dpi:g}"} if self.dpi and format == "png" else {})


def _page(given: str) -> tuple[float, float]:
    if isinstance(given, str) and given.lower() in SHEETS:
        return SHEETS[given.lower()]
    width, height = _lengths(given, "pages", 2)
    if min(width, height) < 40 * UNITS["mm"]:
        raise RenderError(f"a page must be at least 40mm wide and high; found {given!r}")
    return width, height


def _lengths(given: str, name: str, count: int = 1) -> list[float]:
    """Return lengths in points; several are separated by an x, and a unit holds for those before it that have none."""
    units = "|".join(UNITS)
    parts = re.fullmatch("x".join([rf"(\d+(?:\.\d+)?)({units})?"] * count), str(given).lower().replace(" ", ""))
    if not parts or not parts[2 * count]:
        what = "a length such as 160mm" if count == 1 else f"one of {listing(SHEETS)}, or a size such as 160x90mm"
        raise RenderError(f"{name} must be {what} (units: {listing(UNITS)}); found {given!r}")
    lengths = [float(parts[2 * i + 1]) * UNITS[parts[2 * i + 2] or parts[2 * count]] for i in range(count)]
    if not all(1 <= length <= 14_400 for length in lengths):
        raise RenderError(f"{name} must be between 1 point and 200 inches; found {given!r}")
    return lengths
