"""Walk: the data of the stepper. Steps, arrays with their origins, and scenes.

The elements of an array are made in the same way: the terms of a convolution have the same distances from each other at every
place of the window. So a table of origins contains each such pattern once, as distances from its first cells, and for each
element the number of its pattern and those first cells.
"""

import base64
import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinygraph.describe.crosswalk import statements_of
from tinygraph.describe.derive import Derivation, Line
from tinygraph.describe.origins import Origin, Origins, Part
from tinygraph.describe.symbols import Formula
from tinygraph.graph import Array, Tensor
from tinygraph.notes.stepper.picture import View, views_of
from tinygraph.notes.update import updates

# Elements of one array on the page, elements in all whose origin it explains, and scenes.
MOST_VALUES, MOST_EXPLAINED, MOST_SCENES = 16384, 24576, 8
MOST_EXPLAINED_IN_SCENES = 40000


@dataclass(frozen=True, eq=False)
class Table:
    """The origins of the first ``len(which)`` elements of an array.

    A pattern is a dict. Its ``parts`` have ``nodes``, ``cells`` (for each node the distances from the first cell, or ``step``
    and ``count`` if all steps are equal), ``weight`` (one number, or one for each term), and ``values`` and ``text`` for terms
    that are no products. ``reads``, ``reason``, ``formula`` and ``slopes`` are those of an origin. ``which`` are the numbers of
    the patterns, and a row of ``first`` contains the first cells in the order of the pattern. ``depends`` says that numbers
    decided on some of it.
    """

    patterns: tuple[dict[str, Any], ...]
    which: Array
    first: Array
    depends: bool

    def as_dict(self) -> dict[str, Any]:
        """Return the table as JSON has it, its arrays in Base64."""
        return {
            "patterns": list(self.patterns),
            "which": encoded(self.which.astype("<u2" if len(self.patterns) < 1 << 16 else "<u4")),
            "wide": len(self.patterns) >= 1 << 16,
            "first": encoded(self.first.astype("<i4")),
            "columns": self.first.shape[1],
        }


class Numbering(dict[Tensor, int]):
    """Numbers of nodes, from 0, in the order in which they are first looked up."""

    def __missing__(self, node: Tensor) -> int:
        return self.setdefault(node, len(self))


def table_of(origins: Origins, node: Tensor, most: int, numbers: Mapping[Tensor, int]) -> Table:
    """Return the table of the first ``most`` elements of a node; nodes are given by their numbers.

    >>> import tinygraph as tg
    >>> from tinygraph.describe.subject import subject_of
    >>> x = tg.tensor(np.ones((4, 4)), name="x")
    >>> origins = Origins(subject_of(tg.sum(x, axis=1)))
    >>> table = table_of(origins, origins.node("t1"), 4, Numbering())
    >>> table.patterns[0]["parts"][0]["cells"], table.which.tolist(), table.first.tolist()
    ([{'step': 1, 'count': 4}], [0, 0, 0, 0], [[0], [4], [8], [12]])
    """
    patterns: list[dict[str, Any]] = []
    known: dict[Any, int] = {}
    which: list[int] = []
    rows: list[list[int]] = []
    depends = False
    for at in range(min(node.size, most)):
        origin = origins.at(node, at)
        first, key = _first_and_key(origin)
        if key not in known:
            known[key] = len(patterns)
            patterns.append(_pattern(origin, numbers))
        which.append(known[key])
        rows.append(first)
        depends |= bool(origin.reads or origin.reason or origin.slopes)
        depends |= any(part.values is not None for part in origin.parts)
    width = max(map(len, rows), default=0)
    padded = np.array([row + [0] * (width - len(row)) for row in rows], np.int64).reshape(len(rows), width)
    return Table(tuple(patterns), np.array(which, np.int64), padded, depends)


def encoded(array: Array) -> str:
    """Return an array's bytes, little-endian and row by row, in Base64."""
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")


def _first_and_key(origin: Origin) -> tuple[list[int], Any]:
    """Return the first cell of each column of an origin, and a key that is equal for origins of the same pattern."""
    first: list[int] = []
    key: list[Any] = [origin.reason, origin.formula]
    for part in (*origin.parts, *origin.slopes):
        key += [part.nodes, part.weight.tobytes(), part.text, None if part.values is None else part.values.tobytes()]
        for cells in part.cells:
            first.append(int(cells[0]) if len(cells) else 0)
            key.append((cells - first[-1]).tobytes())
    key.append(len(origin.parts))
    for node, cells in origin.reads:
        first.append(int(cells[0]) if len(cells) else 0)
        key += [node, (cells - first[-1]).tobytes()]
    return first, tuple(key)


def _pattern(origin: Origin, numbers: Mapping[Tensor, int]) -> dict[str, Any]:
    found: dict[str, Any] = {"parts": [_part(part, numbers) for part in origin.parts]}
    if origin.slopes:
        found["slopes"] = [_part(part, numbers) for part in origin.slopes]
    if origin.reads:
        found["reads"] = [{"node": numbers[node], "cells": _distances(cells)} for node, cells in origin.reads]
    return found | {name: text for name in ("reason", "formula") if (text := getattr(origin, name))}


def _part(part: Part, numbers: Mapping[Tensor, int]) -> dict[str, Any]:
    uniform = len(part) > 0 and (part.weight == part.weight[0]).all()
    found: dict[str, Any] = {
        "nodes": [numbers[node] for node in part.nodes],
        "cells": [_distances(cells) for cells in part.cells],
        "weight": _number(part.weight[0]) if uniform else [_number(w) for w in part.weight],
        "count": len(part),
    }
    if part.values is not None:
        found["values"] = [_number(value) for value in part.values]
        found["text"] = part.text
    return found


def _number(value: Any) -> float | str:
    """Return a number for JSON; numbers that are not finite, which JSON lacks, as text with their names in JavaScript."""
    number = float(value)
    return number if math.isfinite(number) else json.dumps(number)


def _distances(cells: Array) -> list[int] | dict[str, int]:
    """Return the distances of cells from the first of them, or step and count if all steps are equal."""
    if len(cells) > 3 and (np.diff(cells) == cells[1] - cells[0]).all():
        return {"step": int(cells[1] - cells[0]), "count": len(cells)}
    return [] if not len(cells) else (cells - cells[0]).tolist()


@dataclass(frozen=True)
class Scene:
    """One set of numbers: a sample, before or after one update of the parameters."""

    sample: str
    updated: bool
    values: Mapping[Tensor, Array]


@dataclass(frozen=True, eq=False)
class Grid:
    """One array of the page: its name and symbol, its node and role, its numbers in each scene, and their origins.

    The page has the numbers of the first ``held`` elements and the origins of the first ``explained``. ``table_of`` is the
    number of each scene's table in ``tables``.
    """

    name: str
    symbol: Formula | None
    node: Tensor
    role: str
    values: tuple[Array, ...]
    tables: tuple[Table, ...]
    table_of: tuple[int, ...]

    @property
    def held(self) -> int:
        return min(self.node.size, MOST_VALUES)

    @property
    def explained(self) -> int:
        return len(self.tables[0].which) if self.tables else 0


@dataclass(frozen=True)
class Step:
    """One rule: the phase that it belongs to, its lines, the array that it makes, and its item, which is on a card."""

    phase: str
    lines: tuple[Line, ...]
    grid: int
    item: int


@dataclass(frozen=True, eq=False)
class Walk:
    """All of the page's data. Without a renderer there are no views.

    Arrays are given by their numbers: ``cards`` has those that the card of each item shows, its value and its gradient, and
    ``updates`` has the parameter for each gradient that the update uses. ``state`` are the new values of the model's state,
    and ``output`` is what is differentiated.
    """

    steps: tuple[Step, ...]
    grids: tuple[Grid, ...]
    scenes: tuple[Scene, ...]
    views: tuple[View, ...]
    cards: tuple[tuple[int, int | None], ...]
    updates: Mapping[int, int]
    state: tuple[int, ...]
    output: int | None


def walk_of(derivation: Derivation, scenes: Iterable[Scene]) -> Walk:
    """Return the walk through a derivation that has numbers, with as many of the scenes as fit the page.

    >>> import tinygraph as tg
    >>> from tinygraph.describe.derive import Derivation
    >>> from tinygraph.describe.subject import subject_of
    >>> subject = subject_of(tg.tensor(3.0, name="x") * 2)
    >>> walk = walk_of(Derivation(subject), [Scene("", False, subject.values)])
    >>> [(step.phase, [line.formula.text for line in step.lines]) for step in walk.steps]
    [('forward', ['t1 = x * 2']), ('backward', ['dt1 = 1']), ('backward', ['dx = 2'])]
    """
    numeric = derivation.numeric
    pairs = numeric.of_general
    items = derivation.subject.items
    places = {id(item): i for i, item in enumerate(items)}
    numbers = Numbering()
    phases = {"forward": derivation.forward_lines(), "backward": derivation.backward_lines()}
    found = [(phase, *line) for phase, lines in phases.items() for line in lines]
    texts = {line.formula.text for *_, line in found}
    steps: list[Step] = []
    # A step has the lines that make one node of one item. By identity: tensors compare element by element.
    for _, same in itertools.groupby(found, key=lambda each: (each[0], id(each[1]), id(each[2]))):
        lines_of_step = list(same)
        phase, item, node, _ = lines_of_step[0]
        if node not in pairs:
            continue
        own = tuple(replace(line, ids=statements_of(line.formula.text, texts)) for *_, line in lines_of_step)
        steps.append(Step(phase, own, numbers[pairs[node]], places[id(item)]))
    cards: list[tuple[int, int | None]] = []
    for item in numeric.items:
        gradient = numeric.gradient(item)
        cards.append((numbers[item.node], None if gradient is None else numbers[gradient]))
    updated = {numbers[gradient]: numbers[parameter] for gradient, parameter in updates(derivation).items()}
    state = tuple(numbers[pairs.get(node, node)] for node in derivation.moves)
    output = None if numeric.backward is None else numbers[numeric.backward.output]
    grids, kept = _grids(derivation, scenes, numbers, steps)
    views = tuple(views_of(numeric))
    return Walk(tuple(steps), grids, kept, views, tuple(cards), updated, state, output)


def _grids(
    derivation: Derivation, scenes: Iterable[Scene], numbers: Numbering, steps: Sequence[Step]
) -> tuple[tuple[Grid, ...], tuple[Scene, ...]]:
    """Return the arrays of the page and the scenes that are kept."""
    remaining = iter(scenes)
    kept = [next(remaining)]
    origins = Origins(derivation.numeric, kept[0].values)
    most = _most_explained([node.size for node in numbers if node.op is not None])
    tables = {node: [table] for node, table in _tables(origins, numbers, most).items()}
    explained = sum(len(found[0].which) for found in tables.values())
    kept += itertools.islice(remaining, max(0, min(MOST_SCENES, MOST_EXPLAINED_IN_SCENES // max(explained, 1)) - 1))
    for scene in kept[1:]:
        other = Origins(derivation.numeric, scene.values)
        for node, found in tables.items():
            found.append(table_of(other, node, most, numbers) if found[0].depends else found[0])
    gradients = {step.grid for step in steps if step.phase == "backward"}
    written = derivation.numeric_written
    grids: list[Grid] = []
    for node, number in list(numbers.items()):
        found = tables.get(node, [])
        own = list(dict.fromkeys(found))
        symbol = written.symbol(node) if origins.has_name(node) else None
        values = tuple(scene.values[node] for scene in kept)
        which = tuple(own.index(table) for table in found)
        role = str(node.kind) if node.op is None else "value"
        if number in gradients:
            role = "gradient"
        grids.append(Grid(origins.text(node), symbol, node, role, values, tuple(own), which))
    return tuple(grids), tuple(kept)


def _tables(origins: Origins, numbers: Numbering, most: int) -> dict[Tensor, Table]:
    """Return the tables of all numbered nodes, and of those that these refer to."""
    found: dict[Tensor, Table] = {}
    while waiting := [node for node in numbers if node not in found and node.op is not None]:
        found |= {node: table_of(origins, node, most, numbers) for node in waiting}
    return found


def _most_explained(sizes: Sequence[int]) -> int:
    """Return for how many elements of an array, at most, the page explains the origin, so that they are not too many in all.

    >>> _most_explained([10, 100]), _most_explained([100, 30000, 30000])
    (24576, 12238)
    """
    left = MOST_EXPLAINED
    for i, size in enumerate(sorted(sizes)):
        share = left // (len(sizes) - i)
        if size > share:
            return max(share, 1)
        left -= size
    return MOST_EXPLAINED
