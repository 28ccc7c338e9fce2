"""Heat maps: arrays as small grids of colours, each cell one number or the mean of a block of numbers."""

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from tinygraph.graph import Array

# A level of colour, or what is no finite number: "nan", "inf" and "-inf".
Cell: TypeAlias = int | str

LEVELS = 8
MOST_MAPS, MOST_IN_A_ROW = 8, 4
# The largest number of cells along a side: of a single map, of one of several maps, and of a single row of numbers.
_SINGLE_SIDE, _SEVERAL_SIDE, _ROW_SIDE = 16, 8, 32

# ColorBrewer's scheme PRGn, safe for every kind of colour vision: from purple through white at 0 to green.
_NEGATIVE = ((255, 255, 255), (231, 212, 232), (194, 165, 207), (153, 112, 171), (118, 42, 131))
_POSITIVE = ((255, 255, 255), (217, 240, 211), (166, 219, 160), (90, 174, 97), (27, 120, 55))
_MARKS = {"nan": "#000000", "inf": "#FFD700", "-inf": "#FFD700"}


@dataclass(frozen=True)
class Heat:
    """The maps of one array: one for each channel that is shown. ``caption`` says which channels and cells are left out.

    A map is rows of cells. A cell is a level from -8 to 8, or ``"nan"``, ``"inf"`` or ``"-inf"``. Level 8 stands for
    ``scale``; level 0 stands for exact zeros only.
    """

    maps: tuple[tuple[tuple[Cell, ...], ...], ...]
    scale: float
    caption: str = ""


def heat_of(array: Array) -> Heat:
    """Return the heat map of an array. Axes of length 1 are dropped; all axes but the last two are channels.

    >>> heat = heat_of(np.array([[0.0, 1.0, -2.0, 0.01]]))
    >>> heat.maps, heat.scale, heat.caption
    ((((0, 4, -8, 1),),), 2.0, '')
    >>> heat_of(np.zeros((1, 16, 14, 14))).caption
    '8 of 16 channels, each cell the mean of 2x2'
    """
    maps = _channels(np.abs(array) if array.dtype.kind == "c" else array.astype("float64"))
    count = len(maps)
    shown, block = _in_blocks(_scaled(maps)[0][:MOST_MAPS], _SINGLE_SIDE if count == 1 else _SEVERAL_SIDE)
    scaled, scale = _scaled(shown)
    notes = [f"{len(shown)} of {count} channels"] if count > len(shown) else [f"{count} channels"] if count > 1 else []
    if block != (1, 1):
        notes.append(f"each cell the mean of {'x'.join(str(n) for n in block[len(block) - min(maps.shape[1], 2) :])}")
    levels = tuple(tuple(tuple(_level(cell) for cell in row) for row in part) for part in scaled.tolist())
    return Heat(levels, scale * _scaled(maps)[1], ", ".join(notes))


def colour(cell: Cell) -> str:
    """Return the colour of a cell: purple below zero, white at zero, green above; black for NaN, yellow for infinities.

    >>> colour(-8), colour(0), colour(8), colour("nan")
    ('#762A83', '#FFFFFF', '#1B7837', '#000000')
    """
    if isinstance(cell, str):
        return _MARKS[cell]
    anchors = _POSITIVE if cell > 0 else _NEGATIVE
    place = abs(cell) / LEVELS * (len(anchors) - 1)
    low = min(int(place), len(anchors) - 2)
    mixed = (a + (place - low) * (b - a) for a, b in zip(anchors[low], anchors[low + 1], strict=True))
    return "#" + "".join(f"{round(part):02X}" for part in mixed)


def _channels(array: Array) -> Array:
    """Return an array with three axes: channels, rows, columns."""
    sizes = [size for size in array.shape if size != 1]
    if len(sizes) < 2:
        return array.reshape(1, 1, -1)
    return array.reshape(-1, *sizes[-2:])


def _scaled(array: Array) -> tuple[Array, float]:
    """Return an array divided by its largest finite magnitude, and that magnitude."""
    finite = np.abs(array[np.isfinite(array)])
    scale = float(finite.max()) if finite.size and finite.any() else 1.0
    return array / scale, scale


def _in_blocks(maps: Array, side: int) -> tuple[Array, tuple[int, int]]:
    """Return maps reduced to at most ``side`` cells along a side, and the size of the block that each cell is the mean of."""
    rows, columns = maps.shape[1:]
    block = math.ceil(rows / side), math.ceil(columns / (_ROW_SIDE if rows == 1 else side))
    if block == (1, 1):
        return maps, block
    counts = np.ones_like(maps)
    with np.errstate(invalid="ignore"):
        for axis, (size, step) in enumerate(zip((rows, columns), block, strict=True), start=1):
            starts = np.arange(0, size, step)
            maps, counts = np.add.reduceat(maps, starts, axis), np.add.reduceat(counts, starts, axis)
    return maps / counts, block


def _level(number: float) -> Cell:
    if not math.isfinite(number):
        return str(number)
    level = round(abs(number) * LEVELS) or int(number != 0)
    return level if number > 0 else -level
