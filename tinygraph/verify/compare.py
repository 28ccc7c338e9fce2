"""One gradient beside numeric derivatives: element by element, and along random directions where there are many."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tinygraph.graph.arrays import Array
from tinygraph.verify.numeric import Derivative

Index = tuple[int, ...]
Slope = Callable[[Array], Derivative]

# An element much smaller than the largest of its gradient is compared on this fraction of the largest one's scale: its own
# digits are lost in the rounding of its neighbours.
SMALLEST_SCALE = 1e-3


@dataclass(frozen=True)
class Point:
    """One comparison: the gradient by the rule and by numbers, at an element or along a random direction (index None)."""

    index: Index | None
    rule: float
    numeric: float
    error: float
    kink: bool

    @property
    def place(self) -> str:
        """Where it was made, for a sentence."""
        return "along a random direction" if self.index is None else f"at {list(self.index)}"

    def __str__(self) -> str:
        return f"{self.place}: rule {self.rule:.9g}, numeric {self.numeric:.9g}"


def compare(
    rule: Array,
    slope: Slope,
    rng: np.random.Generator,
    tolerance: float,
    elements: int,
    directions: int,
    rounding: float = 0.0,
) -> tuple[Point, ...]:
    """Compare a gradient with the slopes along ``elements`` of its axes, drawn from all, and random ``directions``.

    The relative error is the difference divided by the larger of the two numbers, at least by a thousandth of the whole
    gradient's size: nowhere is there a size below which anything passes. Where the numeric derivative is itself known to
    fewer digits than ``tolerance`` asks for, what is within its own error passes; so does what is within the ``rounding``
    of the sums that the gradient is made of, where that is known. A kink has the error 0. Where only directions fail, an
    element that is wrong is searched for and compared too.

    >>> x = np.array([1.0, 2.0])
    >>> points = compare(3 * x, lambda d: Derivative(float(2 * x @ d), 0.0), np.random.default_rng(0), 1e-7, 2, 0)
    >>> print(points[1], round(points[1].error, 3))
    at [1]: rule 6, numeric 4 0.333
    """
    comparison = _Comparison(rule, slope, tolerance, rounding)
    chosen = np.sort(rng.choice(rule.size, min(elements, rule.size), replace=False))
    points = [comparison.at(flat) for flat in chosen]
    wrong = any(point.error > tolerance for point in points)
    points += [comparison.along(rng.standard_normal(rule.shape)) for _ in range(directions if rule.size else 0)]
    if not wrong and any(point.error > tolerance for point in points):
        points.append(comparison.at(comparison.search(rng)))
    return tuple(points)


@dataclass(frozen=True)
class _Comparison:
    rule: Array
    slope: Slope
    tolerance: float
    rounding: float

    def at(self, flat: int) -> Point:
        """Compare one element, given by its place in row-major order."""
        index = tuple(int(i) for i in np.unravel_index(flat, self.rule.shape))
        direction = np.zeros(self.rule.shape)
        direction[index] = 1.0
        finite = self.rule[np.isfinite(self.rule)]
        return self._point(index, float(self.rule[index]), direction, float(abs(finite).max(initial=0.0)))

    def along(self, direction: Array) -> Point:
        """Compare the gradient's product with a direction."""
        moving = direction != 0
        product = float((self.rule[moving] * direction[moving]).sum())
        return self._point(None, product, direction, float(np.linalg.norm(self.rule[moving])))

    def search(self, rng: np.random.Generator) -> int:
        """Return the place of an element that is wrong, by halving where it may be."""
        places = np.arange(self.rule.size)
        while places.size > 1:
            half, rest = np.array_split(places, 2)
            direction = np.zeros(self.rule.shape)
            direction.flat[half] = rng.standard_normal(half.size)
            places = half if self.along(direction).error > self.tolerance else rest
        return int(places[0])

    def _point(self, index: Index | None, rule: float, direction: Array, scale: float) -> Point:
        numeric = self.slope(direction)
        error = 0.0 if numeric.kink else self._relative_error(rule, numeric, scale)
        return Point(index, rule, numeric.value, error, numeric.kink)

    def _relative_error(self, rule: float, numeric: Derivative, scale: float) -> float:
        difference = abs(rule - numeric.value)
        if not math.isfinite(difference):
            return math.inf
        unknown = max(numeric.error, self.rounding) / self.tolerance
        size = max(abs(rule), abs(numeric.value), SMALLEST_SCALE * scale, unknown)
        return difference / size if difference else 0.0
