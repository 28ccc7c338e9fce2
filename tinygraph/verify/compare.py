"""The comparison of a gradient with numeric derivatives: at its elements, and along random directions."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from tinygraph.graph import Array
from tinygraph.verify.numeric import Derivative

Index = tuple[int, ...]
# Returns the numeric derivative along a direction.
Slope = Callable[[Array], Derivative]

# An element that is much smaller than the largest of its gradient is compared on this fraction of the largest one's
# scale: the rounding of its neighbours hides its own digits.
SMALLEST_SCALE = 1e-3


@dataclass(frozen=True)
class Point:
    """One comparison of a rule with a numeric derivative: at an element, or along a random direction (index None)."""

    index: Index | None
    rule: float
    numeric: float
    error: float
    kink: bool

    @property
    def place(self) -> str:
        """Where the comparison was made, for a sentence."""
        return "along a random direction" if self.index is None else f"at {list(self.index)}"

    def __str__(self) -> str:
        return f"{self.place}: rule {self.rule:.9g}, numeric {self.numeric:.9g}"


def worst(points: Iterable[Point]) -> Point | None:
    """Return the comparison with the largest relative error, or None if there is none."""
    return max(points, key=lambda point: point.error, default=None)


def compare(
    gradient: Array,
    slope: Slope,
    rng: np.random.Generator,
    tolerance: float,
    elements: int,
    directions: int,
    rounding: float = 0.0,
) -> tuple[Point, ...]:
    """Compare a gradient with numeric slopes at ``elements`` of its elements, drawn at random, and along ``directions``.

    The relative error is the difference divided by the larger of the two numbers. That divisor is at least a thousandth
    of the gradient's largest element, and large enough that a difference passes which is within the error of the numeric
    derivative, or within ``rounding``, the rounding error of the sums that make the gradient. There is no size below
    which everything passes. A kink has the error 0. Where only random directions fail, a wrong element is searched for
    and compared too.

    >>> x = np.array([1.0, 2.0])
    >>> points = compare(3 * x, lambda d: Derivative(float(2 * x @ d), 0.0), np.random.default_rng(0), 1e-7, 2, 0)
    >>> print(points[1], round(points[1].error, 3))
    at [1]: rule 6, numeric 4 0.333
    """
    comparison = _Comparison(gradient, slope, tolerance, rounding)
    chosen = np.sort(rng.choice(gradient.size, min(elements, gradient.size), replace=False))
    points = [comparison.at(flat) for flat in chosen]
    wrong = any(point.error > tolerance for point in points)
    points += [comparison.along(rng.standard_normal(gradient.shape)) for _ in range(directions if gradient.size else 0)]
    if not wrong and any(point.error > tolerance for point in points):
        points.append(comparison.at(comparison.find_wrong_element(rng)))
    return tuple(points)


@dataclass(frozen=True)
class _Comparison:
    gradient: Array
    slope: Slope
    tolerance: float
    rounding: float

    def at(self, flat: int) -> Point:
        """Compare one element, given by its place in row-major order."""
        index = tuple(int(i) for i in np.unravel_index(flat, self.gradient.shape))
        direction = np.zeros(self.gradient.shape)
        direction[index] = 1.0
        finite = self.gradient[np.isfinite(self.gradient)]
        return self._point(index, float(self.gradient[index]), direction, float(abs(finite).max(initial=0.0)))

    def along(self, direction: Array) -> Point:
        """Compare the gradient's product with a direction."""
        moving = direction != 0
        product = float((self.gradient[moving] * direction[moving]).sum())
        return self._point(None, product, direction, float(np.linalg.norm(self.gradient[moving])))

    def find_wrong_element(self, rng: np.random.Generator) -> int:
        """Return the place of a wrong element: of two halves, search on in one that is wrong along a random direction."""
        places = np.arange(self.gradient.size)
        while places.size > 1:
            half, rest = np.array_split(places, 2)
            direction = np.zeros(self.gradient.shape)
            direction.flat[half] = rng.standard_normal(half.size)
            places = half if self.along(direction).error > self.tolerance else rest
        return int(places[0])

    def _point(self, index: Index | None, rule: float, direction: Array, scale: float) -> Point:
        numeric = self.slope(direction)
        difference = abs(rule - numeric.value)
        if numeric.kink or difference == 0:
            error = 0.0
        elif not math.isfinite(difference):
            error = math.inf
        else:
            unknown = max(numeric.error, self.rounding) / self.tolerance
            error = difference / max(abs(rule), abs(numeric.value), SMALLEST_SCALE * scale, unknown)
        return Point(index, rule, numeric.value, error, numeric.kink)
