"""What a card shows of an array: its numbers or a heat map, a few statistics, and warnings."""

import math
from dataclasses import dataclass

import numpy as np

from tinygraph.describe.numbers import number_text
from tinygraph.draw.heat import Heat, heat_of
from tinygraph.graph import Array

MOST_ROWS = 3
VANISHING, EXPLODING = 1e-7, 1e4


@dataclass(frozen=True)
class Figures:
    """What a card shows of one array: ``numbers``, its rows, up to 3x3; of larger arrays ``heat``, a heat map.

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
        if self.mean is None:
            return self.not_finite or "no elements"
        line = f"min {number_text(self.min)}, mean {number_text(self.mean)}, max {number_text(self.max)}"
        return f"{line}; {self.not_finite}" if self.not_finite else line

    @property
    def not_finite(self) -> str:
        """How many elements are NaN or infinite, or nothing."""
        counts = [f"{self.nans:,} NaN"] * bool(self.nans) + [f"{self.infinities:,} infinite"] * bool(self.infinities)
        return f"{' and '.join(counts)} of {self.size:,}" if counts else ""


def figures_of(array: Array) -> Figures:
    """Return what a card shows of an array.

    >>> figures_of(np.array([[1.02, -0.25], [-3.45, 2.2]])).numbers
    (('1.02', '-0.25'), ('-3.45', '2.2'))
    >>> figures_of(np.array([1.0, np.nan, np.inf])).not_finite
    '1 NaN and 1 infinite of 3'
    """
    plain = np.abs(array) if array.dtype.kind == "c" else array.astype("float64")
    finite = plain[np.isfinite(plain)]
    found: dict[str, float] = {}
    if finite.size:
        largest = float(np.abs(finite).max())
        unit = largest or 1.0
        # Scaled, so that neither the sum nor the squares overflow.
        scaled = finite / unit
        found = {
            "min": float(finite.min()),
            "mean": float(scaled.mean() * unit),
            "max": float(finite.max()),
            "norm": float(np.sqrt((scaled * scaled).sum())) * unit,
            "largest": largest,
        }
    is_matrix = array.size == math.prod(array.shape[-2:])
    written_out = array.size == 1 or (is_matrix and array.size > 0 and max(array.shape[-2:]) <= MOST_ROWS)
    rows = array.reshape(-1, array.shape[-1] if array.ndim else 1).tolist() if written_out else []
    return Figures(
        shape=array.shape,
        dtype=str(array.dtype),
        size=array.size,
        nans=int(np.isnan(plain).sum()),
        infinities=int(np.isinf(plain).sum()),
        numbers=tuple(tuple(number_text(number) for number in row) for row in rows),
        heat=None if written_out or not array.size else heat_of(array),
        **found,
    )


def marks_of(value: Figures | None, gradient: Figures | None) -> tuple[str, ...]:
    """Return warnings about a value and its gradient.

    ``NaN`` and ``infinite``: how many elements of the value or of the gradient are. For the gradient alone: ``zero``, every
    element is exactly 0; ``vanishing``, the largest magnitude is above 0 and at most 1e-7; ``exploding``, it is above 1e4.
    These limits are relative to the seed of the backward pass, which is 1.

    >>> marks_of(figures_of(np.array([np.nan, 1.0])), figures_of(np.array([0.0, 0.0])))
    ('the value has 1 NaN of 2', 'the gradient is zero')
    """
    found = [
        f"the {name} is {'NaN' if figures.nans else figures.line}"
        if figures.size == 1
        else f"the {name} has {figures.not_finite}"
        for name, figures in (("value", value), ("gradient", gradient))
        if figures and figures.not_finite
    ]
    if gradient and gradient.largest is not None and not gradient.not_finite:
        largest = gradient.largest
        if largest == 0:
            found.append("the gradient is zero")
        elif largest <= VANISHING:
            found.append(f"the gradient is vanishing: at most {number_text(largest)}")
        elif largest > EXPLODING:
            found.append(f"the gradient is exploding: up to {number_text(largest)}")
    return tuple(found)
