"""The stepper of the HTML page: its frame, its data as JSON, and its script, which is in the files next to this one."""

import base64
import hashlib
import html
import json
import re
import zlib
from collections.abc import Callable, Sequence
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from tinygraph.describe.derive import Line
from tinygraph.describe.symbols import Formula, shown
from tinygraph.notes.stepper.picture import View
from tinygraph.notes.stepper.walk import Grid, Walk, encoded

_SCRIPTS = ("data.js", "grids.js", "origins.js", "predict.js", "map.js", "stepper.js")


def stepper_html(walk: Walk, line: Callable[[Line], str], symbol: Callable[[Formula], str]) -> str:
    """Return the frame that the script fills, and the data. ``line`` and ``symbol`` write equations and symbols."""
    data = json.dumps(_data(walk, line, symbol), separators=(",", ":"), ensure_ascii=False)
    # Compressed, it is a tenth in size, and nothing in it can end the element that contains it.
    packed = base64.b64encode(zlib.compress(data.encode("utf-8", "surrogatepass"), 9)).decode("ascii")
    return (
        "<noscript><p>Stepping needs JavaScript; equations, picture and numbers are below without it.</p></noscript>\n"
        f'<div id="stepper" hidden><div class="board"></div><div class="map" tabindex="0" role="region" '
        'aria-label="The picture, with the current card ringed"></div></div>\n'
        f'<script type="text/plain" id="stepper-data">{packed}</script>\n'
    )


@cache
def script() -> str:
    """Return the script of the page."""
    texts = [part_of_page(f"stepper/{name}") for name in _SCRIPTS]
    return '"use strict";\n(async () => {\n' + "\n".join(texts) + "\n})();\n"


def script_policy() -> str:
    """Return the source for the content security policy with which only the page's own script runs."""
    digest = hashlib.sha256(script().encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def part_of_page(name: str) -> str:
    """Return a style sheet or script of the page, by its name in the folder of the notes."""
    return resources.files("tinygraph.notes").joinpath(name).read_text(encoding="utf-8")


def with_width(svg: str) -> str:
    """Return an SVG element with its width as a variable of the style sheet, so that a wide one scrolls and stays readable.

    >>> with_width('<?xml version="1.0"?><svg role="img" width="528pt" height="10pt"></svg>')
    '<svg style="--natural:528pt" role="img" width="528pt" height="10pt"></svg>'
    """
    element = svg[max(svg.find("<svg"), 0) :]
    width = re.match(r'<svg[^>]*? width="([\d.]+pt)"', element)
    return element.replace("<svg", f'<svg style="--natural:{width[1]}"', 1) if width else element


def _data(walk: Walk, line: Callable[[Line], str], symbol: Callable[[Formula], str]) -> dict[str, Any]:
    return {
        "steps": [
            {
                "phase": step.phase,
                "html": "".join(map(line, step.lines)),
                "text": "; ".join(shown(each.formula.text) for each in step.lines),
                "array": step.grid,
                "item": step.item,
            }
            for step in walk.steps
        ],
        "arrays": [_array(grid, symbol) for grid in walk.grids],
        "scenes": [{"sample": scene.sample, "updated": scene.updated} for scene in walk.scenes],
        "cards": [{"value": value, "gradient": slope} for value, slope in walk.cards],
        "views": [_view(view, number, walk.views) for number, view in enumerate(walk.views)],
        "updates": walk.updates,
        "state": walk.state,
        "output": walk.output,
    }


def _view(view: View, number: int, views: Sequence[View]) -> dict[str, Any]:
    """Return a view for JSON. Views of folded cards come in the order of these cards."""
    opened = (i for i, other in enumerate(views) if other.parent == number)
    cards = {
        f"n{part.last + 1}": {"items": part.items} | ({"opens": next(opened)} if len(part.items) > 1 else {})
        for part in view.parts
    }
    return {
        "title": shown(view.title),
        "parent": view.parent,
        "svg": with_width(view.svg),
        "lines": list(map(shown, view.lines)),
        "cards": cards,
        "edges": {e.id: {"tail": e.tail, "head": e.head, "lane": e.lane} for e in view.edges},
    }


def _array(grid: Grid, symbol: Callable[[Formula], str]) -> dict[str, Any]:
    dtype, name = str(grid.node.dtype), shown(grid.name)
    wide = dtype not in ("float32", "float16", "bool", "int8", "uint8")
    values = [np.asarray(array, "<f8" if wide else "<f4").reshape(-1)[: grid.held] for array in grid.values]
    return {
        "name": name,
        "symbol": f"<code>{html.escape(name)}</code>" if grid.symbol is None else symbol(grid.symbol),
        "shape": list(grid.node.shape),
        "dtype": dtype,
        "role": grid.role,
        "wide": wide,
        "values": [encoded(array) for array in values],
        "explained": grid.explained,
        "tables": [table.as_dict() for table in grid.tables],
        "tableOf": list(grid.table_of),
    }
