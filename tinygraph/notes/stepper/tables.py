"""Tables: the origins of all elements of an array, in little space.

The elements of an array are made in the same way: the terms of a convolution have the same distances from each other at every
place of the window. So a table contains each such pattern once, as distances from its first cells, and for each element the
number of its pattern and those first cells.
"""

import base64
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygraph.describe.origins import Origin, Origins, Part, Read
from tinygraph.graph import Array, Tensor


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
        depends = (
            depends
            or bool(origin.reads or origin.reason or origin.slopes)
            or any(part.values is not None for part in origin.parts)
        )
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
        found["reads"] = [_read(read, numbers) for read in origin.reads]
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


def _read(read: Read, numbers: Mapping[Tensor, int]) -> dict[str, Any]:
    return {"node": numbers[read[0]], "cells": _distances(read[1])}


def _distances(cells: Array) -> list[int] | dict[str, int]:
    """Return the distances of cells from the first of them, or step and count if all steps are equal."""
    if len(cells) > 3 and (np.diff(cells) == cells[1] - cells[0]).all():
        return {"step": int(cells[1] - cells[0]), "count": len(cells)}
    return [] if not len(cells) else (cells - cells[0]).tolist()
