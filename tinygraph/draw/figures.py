"""What a card shows of an array: its numbers or, of a larger one, a heat map; a few statistics, and warnings.

Heat maps are small grids of colours, in which each cell is one number or the mean of a block of numbers.
"""

import math
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from tinygraph.describe.numbers import number_text
from tinygraph.graph import Array

# The most elements that are written as numbers unless another limit is given: an image of 4x4 in two channels. From how many
# on they have three digits in place of four, and how many of a row are written in one line.
MOST_NUMBERS, MOST_IN_FULL, IN_A_LINE = 32, 9, 8
VANISHING, EXPLODING = 1e-7, 1e4
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
    """The maps of one array: ``caption`` says how many are left out, and how many elements share a cell.

    A map is rows of cells. A cell is a level from -8 to 8, or ``"nan"``, ``"inf"`` or ``"-inf"``. Level 8 stands for
    ``scale``; level 0 stands for exact zeros only.
    """

    maps: tuple[tuple[tuple[Cell, ...], ...], ...]
    scale: float
    caption: str = ""


@dataclass(frozen=True)
class Figures:
    """What a card shows of one array: ``numbers``, its rows; of larger arrays ``heat``, a heat map.

    The matrices of several channels stand side by side with an empty cell between them, or below each other with an empty
    row between them. ``note`` says where the rows are not those of the array.
    ``min``, ``mean``, ``max``, ``norm`` (the Euclidean one) and ``largest`` (in magnitude) are those of the finite elements,
    ``None`` where there are none; ``nans`` and ``infinities`` count the others.
    """

    shape: tuple[int, ...]
    dtype: str
    size: int
    min: float | None = None
    mean: float | None = None
    max: float | None = None
    norm: float | None = None
    largest: float | None = None
    nans: int = 0
    infinities: int = 0
    numbers: tuple[tuple[str, ...], ...] = ()
    note: str = ""
    heat: Heat | None = None

    @property
    def line(self) -> str:
        """The array in one line: its number if it is one, else the smallest, the mean and the largest.

        >>> figures_of(np.array(0.123456)).line, figures_of(np.arange(12.0)).line
        ('0.1235', 'min 0, mean 5.5, max 11')
        """
        if self.size == 1:
            return self.numbers[0][0]
        if self.mean is None:
            return self.not_finite or "no elements"
        line = f"min {number_text(self.min)}, mean {number_text(self.mean)}, max {number_text(self.max)}"
        return f"{line}; {self.not_finite}" if self.not_finite else line

    @property
    def not_finite(self) -> str:
        """How many elements are NaN or infinite, or nothing."""
        counts = [f"{self.nans:,} NaN"] * bool(self.nans) + [f"{self.infinities:,} infinite"] * bool(self.infinities)
        return f"{' and '.join(counts)} of {self.size:,}" if counts else ""


def figures_of(array: Array, most: int = MOST_NUMBERS) -> Figures:
    """Return what a card shows of an array; up to ``most`` elements are written as numbers.

    >>> figures_of(np.array([[1.02, -0.25], [-3.45, 2.2]])).numbers
    (('1.02', '-0.25'), ('-3.45', '2.2'))
    >>> figures_of(np.array([1.0, np.nan, np.inf])).not_finite
    '1 NaN and 1 infinite of 3'
    >>> figures_of(np.arange(8.0).reshape(2, 2, 2)).numbers
    (('0', '1', '', '4', '5'), ('2', '3', '', '6', '7'))
    """
    plain = _real(array)
    finite = plain[np.isfinite(plain)]
    # Scaled, so that neither the sum nor the squares overflow.
    scaled, unit = _scaled(finite)
    shown = Figures(array.shape, str(array.dtype), array.size)
    if finite.size:
        mean, norm = scaled.mean() * unit, np.sqrt((scaled * scaled).sum()) * unit
        low, mean, high, norm, largest = map(float, (finite.min(), mean, finite.max(), norm, np.abs(finite).max()))
        shown = replace(shown, min=low, mean=mean, max=high, norm=norm, largest=largest)
    written_out = array.size == 1 or 0 < array.size <= most
    numbers, note = _rows(array) if written_out else ((), "")
    heat = None if written_out or not array.size else heat_of(array)
    nans, infinities = int(np.isnan(plain).sum()), int(np.isinf(plain).sum())
    return replace(shown, nans=nans, infinities=infinities, numbers=numbers, note=note, heat=heat)


def _rows(array: Array) -> tuple[tuple[tuple[str, ...], ...], str]:
    """Return the numbers of an array in rows, and a note where these are not the array's own."""
    digits = 4 if array.size <= MOST_IN_FULL else 3
    rows, columns = (1, 1, *array.shape)[-2:]
    if array.size == max(array.shape, default=1) and (array.size > IN_A_LINE or (rows == 1 and array.ndim > 1)):
        # A vector, or a number for each channel.
        texts = tuple(number_text(x, digits) for x in array.reshape(-1).tolist())
        note = f"written in lines of {IN_A_LINE}" if len(texts) > IN_A_LINE else ""
        return tuple(texts[i : i + IN_A_LINE] for i in range(0, len(texts), IN_A_LINE)), note
    maps = [
        [[number_text(x, digits) for x in row] for row in part] for part in array.reshape(-1, rows, columns).tolist()
    ]
    abreast = max(1, IN_A_LINE // columns)
    numbers: list[tuple[str, ...]] = []
    for first in range(0, len(maps), abreast):
        numbers += [()] * bool(first)
        lines = zip(*maps[first : first + abreast], strict=True)
        numbers += [tuple(cell for row in line for cell in ("", *row))[1:] for line in lines]
    return tuple(numbers), ""


def marks_of(value: Figures | None, gradient: Figures | None) -> tuple[str, ...]:
    """Return warnings about a value and its gradient.

    ``NaN`` and ``infinite``: how many elements of the value or of the gradient are. For the gradient alone: ``zero``, every
    element is exactly 0; ``vanishing``, the largest magnitude is above 0 and at most 1e-7; ``exploding``, it is above 1e4.
    These limits are relative to the seed of the backward pass, which is 1.

    >>> marks_of(figures_of(np.array([np.nan, 1.0])), figures_of(np.array([0.0, 0.0])))
    ('the value has 1 NaN of 2', 'the gradient is zero')
    """
    found = []
    for name, figures in (("value", value), ("gradient", gradient)):
        if figures and figures.not_finite:
            one = "is NaN" if figures.nans else f"is {figures.line}"
            found.append(f"the {name} {one if figures.size == 1 else f'has {figures.not_finite}'}")
    if gradient and gradient.largest is not None and not gradient.not_finite:
        largest = gradient.largest
        if largest == 0:
            found.append("the gradient is zero")
        elif largest <= VANISHING:
            found.append(f"the gradient is vanishing: at most {number_text(largest)}")
        elif largest > EXPLODING:
            found.append(f"the gradient is exploding: up to {number_text(largest)}")
    return tuple(found)


def heat_of(array: Array) -> Heat:
    """Return the heat map of an array. Axes of length 1 are dropped; there is a map for each place in all but the last two,
    such as a channel of an image or one of a kernel.

    >>> heat = heat_of(np.array([[0.0, 1.0, -2.0, 0.01]]))
    >>> heat.maps, heat.scale, heat.caption
    ((((0, 4, -8, 1),),), 2.0, '')
    >>> heat_of(np.zeros((1, 16, 14, 14))).caption
    '8 of 16 maps, each cell the mean of 2x2'
    """
    sizes = [1, 1, *(size for size in array.shape if size != 1)]
    maps = _real(array).reshape(-1, *sizes[-2:])
    count = len(maps)
    # Scaled before the means too, so that no sum overflows.
    maps, unit = _scaled(maps[:MOST_MAPS])
    shown, block = _in_blocks(maps, _SINGLE_SIDE if count == 1 else _SEVERAL_SIDE)
    scaled, scale = _scaled(shown)
    notes = [f"{len(shown)} of {count} maps"] if count > len(shown) else [f"{count} maps"] if count > 1 else []
    if block != (1, 1):
        notes.append(f"each cell the mean of {'x'.join(str(n) for n in block[len(block) - min(maps.shape[1], 2) :])}")
    levels = tuple(tuple(tuple(_level(cell) for cell in row) for row in part) for part in scaled.tolist())
    return Heat(levels, scale * unit, ", ".join(notes))


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


def _real(array: Array) -> Array:
    """Return an array in float64; of complex numbers, the magnitudes."""
    return np.abs(array) if array.dtype.kind == "c" else array.astype("float64")


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
    with np.errstate(invalid="ignore"):
        for axis, (size, step) in enumerate(zip((rows, columns), block, strict=True), start=1):
            starts = np.arange(0, size, step)
            counts = np.diff(starts, append=size)
            maps = np.add.reduceat(maps, starts, axis) / (counts[:, None] if axis == 1 else counts)
    return maps, block


def _level(number: float) -> Cell:
    if not math.isfinite(number):
        return str(number)
    level = round(abs(number) * LEVELS) or int(number != 0)
    return level if number > 0 else -level
