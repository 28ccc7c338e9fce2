"""The stepper of the HTML page: its frame, its data as JSON, and its script, which is in the files next to this one."""

import base64
import hashlib
import html
import json
import re
from collections.abc import Callable
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from tinygraph.describe.derive import Line
from tinygraph.describe.symbols import shown
from tinygraph.notes.stepper.walk import Grid, Walk, encoded

_SCRIPTS = ("data.js", "grids.js", "origins.js", "predict.js", "map.js", "stepper.js")


def stepper_html(walk: Walk, line: Callable[[Line], str]) -> str:
    """Return the frame that the script fills, the picture, and the data. ``line`` writes one displayed equation."""
    data = json.dumps(_data(walk, line), separators=(",", ":"), ensure_ascii=False)
    # Nothing in it can end the element that contains it.
    safe = data.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    return (
        "<noscript><p>Stepping needs JavaScript; equations, picture and numbers are below without it.</p></noscript>\n"
        f'<div id="stepper" hidden><div class="board"></div><div class="map" tabindex="0" role="region" '
        f'aria-label="The picture, with the current card ringed">{with_width(walk.picture)}</div></div>\n'
        f'<script type="application/json" id="stepper-data">{safe}</script>\n'
    )


@cache
def script() -> str:
    """Return the script of the page."""
    texts = [part_of_page(f"stepper/{name}") for name in _SCRIPTS]
    return '"use strict";\n(() => {\n' + "\n".join(texts) + "\n})();\n"


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


def _data(walk: Walk, line: Callable[[Line], str]) -> dict[str, Any]:
    return {
        "steps": [
            {
                "phase": step.phase,
                "html": "".join(map(line, step.lines)),
                "text": "; ".join(shown(each.formula.text) for each in step.lines),
                "array": step.grid,
                "card": step.card,
            }
            for step in walk.steps
        ],
        "arrays": [_array(grid) for grid in walk.grids],
        "scenes": [{"sample": scene.sample, "updated": scene.updated} for scene in walk.scenes],
        "cards": {id: {"value": value, "gradient": slope} for id, (value, slope) in walk.cards.items()},
        "updates": walk.updates,
        "state": walk.state,
        "output": walk.output,
        "edges": {e.id: {"tail": e.tail, "head": e.head, "lane": e.lane} for e in walk.edges},
    }


def _array(grid: Grid) -> dict[str, Any]:
    dtype, name = str(grid.node.dtype), shown(grid.name)
    wide = dtype not in ("float32", "float16", "bool", "int8", "uint8")
    values = [np.asarray(array, "<f8" if wide else "<f4").reshape(-1)[: grid.held] for array in grid.values]
    return {
        "name": name,
        "symbol": f"<code>{html.escape(name)}</code>" if grid.symbol is None else grid.symbol.mathml(),
        "shape": list(grid.node.shape),
        "dtype": dtype,
        "role": grid.role,
        "wide": wide,
        "values": [encoded(array) for array in values],
        "explained": grid.explained,
        "tables": [table.as_dict() for table in grid.tables],
        "tableOf": list(grid.table_of),
    }
