"""Finish the SVG of Graphviz: a title for screen readers, ids of the cards in stacks, and shorter heat maps."""

import html
import re
import zlib

from tinygraph.draw.cards import Drawing
from tinygraph.draw.literal import visible

# A cell of a heat map as Graphviz writes it, and several in a row.
_CELL = re.compile(
    r'<polygon fill="([#\w]+)" stroke="(?:none|transparent)" '
    r'points="([-\d.]+),([-\d.]+) \2,([-\d.]+) ([-\d.]+),\4 \5,\3 \2,\3"/>\n'
)
_CELLS = re.compile(r'(?:<polygon fill="[#\w]+" stroke="(?:none|transparent)" points="[-\d. ,]+"/>\n){4,}')


def accessible(svg: str, drawing: Drawing) -> str:
    """Return the SVG of a drawing with a title and a role, and with each card's id and classes on its group."""
    title = html.escape(visible(drawing.title or "A graph"))
    words = html.escape(f"{len(drawing.cards)} cards, {len(drawing.edges)} edges. {drawing.caption}".strip())
    # A page may show several pictures, so the ids of title and description must differ.
    id = f"picture-{zlib.crc32(svg.encode()):08x}"
    svg = re.sub(r"<svg ", f'<svg role="img" aria-labelledby="{id}-title {id}-words" ', svg, count=1)
    described = f'<title id="{id}-title">{title}</title>\n<desc id="{id}-words">{words}</desc>\n'
    end = svg.index(">", svg.index("<svg ")) + 1
    svg = f"{svg[:end]}\n{described}{svg[end:].lstrip()}"
    for card in drawing.cards:
        if f'<g id="{card.id}" class=' not in svg:
            svg = svg.replace(f'<g id="a_{card.id}">', f'<g id="{card.id}" class="{card.classes}">')
    return _CELLS.sub(_merged, svg.replace(' xlink:href="#"', ""))


def _merged(cells: re.Match[str]) -> str:
    """Return neighbouring cells of a heat map as one path for each colour: a sixth of the text."""
    paths: dict[str, list[str]] = {}
    for fill, left, bottom, top, right in _CELL.findall(cells[0]):
        width, height = float(right) - float(left), float(bottom) - float(top)
        paths.setdefault(fill, []).append(f"M{left},{top}h{width:g}v{height:g}h{-width:g}z")
    rest = _CELL.sub("", cells[0])
    drawn = {fill: "".join(d) for fill, d in paths.items()}
    return rest + "".join(f'<path fill="{fill}" shape-rendering="crispEdges" d="{d}"/>\n' for fill, d in drawn.items())
