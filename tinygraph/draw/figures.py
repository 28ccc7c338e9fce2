"""Figures: what a card says of an array. Its numbers while they are few, a heat map above, and what they come to."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygraph.draw.heat import Heat, heat_of
from tinygraph.graph.arrays import Array

MOST_ROWS = 3
DIGITS = 4


@dataclass(frozen=True)
class Figures:
    """What is said of one array. ``numbers`` are its rows, written out, up to 3x3; above, ``heat`` is in their place.

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
    heat: Heat | None = None

    @property
    def line(self) -> str:
        """The array in one line: its number if it is one, else the smallest, the mean and the largest.

        >>> figures_of(np.array(0.123456)).line, figures_of(np.arange(12.0)).line
        ('0.1235', 'min 0, mean 5.5, max 11')
        """
        if self.size == 1:
            return self.numbers[0][0]
        if self.mean is None or self.min is None or self.max is None:
            return self.faults or "no elements"
        said = f"min {number_text(self.min)}, mean {number_text(self.mean)}, max {number_text(self.max)}"
        return f"{said}; {self.faults}" if self.faults else said

    @property
    def faults(self) -> str:
        """How many elements are no finite numbers, or nothing."""
        counts = [f"{self.nans:,} NaN"] * bool(self.nans) + [f"{self.infinities:,} infinite"] * bool(self.infinities)
        return f"{' and '.join(counts)} of {self.size:,}" if counts else ""


def figures_of(array: Array) -> Figures:
    """Return what is said of an array.

    >>> figures_of(np.array([[1.02, -0.25], [-3.45, 2.2]])).numbers
    (('1.02', '-0.25'), ('-3.45', '2.2'))
    >>> figures_of(np.array([1.0, np.nan, np.inf])).faults
    '1 NaN and 1 infinite of 3'
    """
    plain = np.abs(array) if array.dtype.kind == "c" else array.astype("float64")
    finite = plain[np.isfinite(plain)]
    found: dict[str, float] = {}
    if finite.size:
        largest = float(np.abs(finite).max())
        unit = largest or 1.0
        scaled = finite / unit
        found = {
            "min": float(finite.min()),
            "mean": float(scaled.mean() * unit),
            "max": float(finite.max()),
            "norm": float(np.sqrt((scaled * scaled).sum())) * unit,
            "largest": largest,
        }
    return Figures(
        shape=array.shape,
        dtype=str(array.dtype),
        size=array.size,
        nans=int(np.isnan(plain).sum()),
        infinities=int(np.isinf(plain).sum()),
        numbers=_numbers(array),
        heat=None if _few(array) or not array.size else heat_of(array),
        **found,
    )


def number_text(number: Any) -> str:
    """Return a number with four digits.

    >>> number_text(0.47983), number_text(-0.0), number_text(1184), number_text(float("nan")), number_text(1e-9)
    ('0.4798', '0', '1184', 'NaN', '1e-09')
    """
    if isinstance(number, (bool, int)):
        return str(number)
    if isinstance(number, complex):
        return f"{number:.{DIGITS}g}"
    if math.isnan(number):
        return "NaN"
    return f"{number + 0.0:.{DIGITS}g}"


def _few(array: Array) -> bool:
    """Whether an array is written out: no more than three rows of three."""
    return array.size == 1 or (
        math.prod(array.shape[:-2]) == 1 and array.size > 0 and max(array.shape[-2:]) <= MOST_ROWS
    )


def _numbers(array: Array) -> tuple[tuple[str, ...], ...]:
    if not _few(array):
        return ()
    rows = array.reshape(-1, array.shape[-1] if array.ndim else 1).tolist()
    return tuple(tuple(number_text(number) for number in row) for row in rows)
