"""Numeric derivatives, and how a gradient is compared with them.

Each is a slope: the derivative at ``t = 0`` of ``sum(cotangent * function(x + t * direction))``, in float64. Where the
function accepts complex numbers, one complex step gives the slope to the last digit. Elsewhere differences at halved
steps are extrapolated until they settle; this also gives an estimate of the error.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from tinygraph.graph import Array, Shape

Function = Callable[[Array], Array]
Index = tuple[int, ...]

EPSILON = float(np.finfo(np.float64).eps)
# So small that its square vanishes next to any number: only the first derivative remains of the Taylor series.
COMPLEX_STEP = 1e-30
FIRST_STEP = 2.0**-6
LEVELS = 20
# Up to the larger number steps are as for the smaller one: differences keep enough digits.
_PLAIN, _LARGE = 16.0, 1e4


@dataclass(frozen=True)
class Derivative:
    """A slope and its estimated absolute error; ``kink`` where there is no derivative.

    There is none where the slopes from the two sides have different limits, and where differences do not settle: at a
    jump, at an infinite slope, at a point without neighbours in the function's domain. ``again`` measures the slope once
    more, and how far the function itself is rounded: where large numbers cancel on the way, more than its result shows.
    """

    value: float
    error: float
    kink: bool = False
    again: Callable[[], Derivative] | None = field(default=None, repr=False, compare=False)


def derivative(
    function: Function, x: Array, direction: Array, cotangent: Array, holomorphic: bool = False, rounding: float = 0.0
) -> Derivative:
    """Return the slope of ``sum(cotangent * function(x))`` along ``direction``, an array of the shape of ``x``.

    At the edge of a domain, where steps to one side raise an error or are not finite, the slope of the other side counts.
    Outputs that are not finite at ``x`` are left out. The error of the slope is at least ``rounding``, the rounding error of
    the sums that make the gradient with which it is compared. Source of the complex step: Squire and Trapp, 1998
    (SIAM Review 40, 110-112); of the extrapolation: Richardson, 1911, with the error estimate of Ridders, 1982.

    >>> x = np.array([0.5, 2.0])
    >>> slope = derivative(np.log, x, np.array([0.0, 1.0]), np.ones(2), holomorphic=True)
    >>> slope.value, slope.kink
    (0.5, False)
    >>> derivative(np.abs, np.zeros(1), np.ones(1), np.ones(1)).kink
    True
    """
    with np.errstate(all="ignore"):
        exact = _complex_step(function, x, direction, cotangent) if holomorphic else None
        if exact is not None:
            return replace(exact, error=max(exact.error, rounding))
        return _by_differences(_Ray(function, x, direction, cotangent), rounding)


def _by_differences(ray: _Ray, rounding: float) -> Derivative:
    best, right, left = _extrapolated(ray)
    known = [side for side in (right, left) if side.known]
    kink = disagree(right, left) or not known or not all(side.trusted for side in known)
    hidden = _hidden_by_rounding(ray.weights * ray.here, ray.x)
    again = None if ray.noise else lambda: _by_differences(ray.with_noise(), rounding)
    return Derivative(best.value, max(best.error, hidden, rounding), kink, again)


def _complex_step(function: Function, x: Array, direction: Array, cotangent: Array) -> Derivative | None:
    """Return the slope by one complex step, or None where the function cannot be computed on complex numbers."""
    try:
        result = np.asarray(function(x + 1j * COMPLEX_STEP * direction))
    except Exception:
        return None
    finite = np.isfinite(result)
    result, weights = result[finite], cotangent[finite]
    # On a branch cut the imaginary part is no longer tiny: a negative number to a real power, for example.
    if result.dtype.kind != "c" or (abs(result.imag) > 1e-20 * np.maximum(abs(result.real), 1)).any():
        return None
    terms = weights * result.imag / COMPLEX_STEP
    # Slopes next to the smallest numbers vanish, times so small a step.
    least = float(np.finfo(np.float64).tiny) / COMPLEX_STEP
    rounding = 32 * EPSILON * float(abs(terms).sum()) + _hidden_by_rounding(weights * result.real, x) + least
    return Derivative(float(terms.sum()), rounding)


def _hidden_by_rounding(values: Array, x: Array) -> float:
    """Return the slope that the rounding of values may hide: their last digits, divided by the size of ``x``, at most 1."""
    size = float(abs(x[np.isfinite(x)]).max(initial=0.0)) or 1.0
    return 32 * EPSILON * float(abs(values).sum()) / min(size, 1.0)


def one_sided(
    function: Function, x: Array, direction: Array, cotangent: Array
) -> tuple[Derivative | None, Derivative | None]:
    """Return the slopes to the right and to the left, as ``derivative`` measures them; None for a side without a limit.

    >>> right, left = one_sided(np.abs, np.zeros(1), np.ones(1), np.ones(1))
    >>> right.value, left.value
    (1.0, -1.0)
    """
    with np.errstate(all="ignore"):
        ray = _Ray(function, x, direction, cotangent)
        _, *sides = _extrapolated(ray)
        if disagree(sides[0], sides[1]):
            _, *sides = _extrapolated(ray.with_noise())
    right, left = (Derivative(side.value, side.error) if side.trusted else None for side in sides)
    return right, left


def central_difference(function: Function, x: Array, direction: Array, step: float) -> Array:
    """Return the slope of each output along a direction, by one difference between the two sides.

    >>> central_difference(np.square, np.array([1.0, 2.0]), np.array([1.0, 0.0]), 1e-3).round(6)
    array([2., 0.])
    """
    slopes: Array = (function(x + step * direction) - function(x - step * direction)) / (2 * step)
    return slopes


def remembered(function: Function) -> Function:
    """Return a function that computes its value for an array once.

    >>> twice = remembered(np.exp)
    >>> twice(np.zeros(2)) is twice(np.zeros(2))
    True
    """
    known: dict[bytes, Array] = {}

    def value(x: Array) -> Array:
        key = x.tobytes()
        if key not in known:
            known[key] = np.asarray(function(x))
        return known[key]

    return value


def contributions(function: Function, x: Array, direction: Array, cotangent: Array) -> Array:
    """Return the part of each output in a slope, to about six digits.

    >>> x = np.array([1.0, 2.0])
    >>> contributions(lambda x: x * x, x, np.array([1.0, 0.0]), np.array([10.0, 10.0])).round(4)
    array([20.,  0.])
    """
    return cotangent * central_difference(function, x, direction, 1e-6 * _natural_scale(x, direction))


def unit(shape: Shape, index: Index) -> Array:
    """Return an array of zeros with a one at ``index``."""
    array = np.zeros(shape)
    array[index] = 1.0
    return array


def disagree(right: Derivative | _Extrapolation, left: Derivative | _Extrapolation, least: float = 1e-8) -> bool:
    """Whether two slopes differ by more than their errors, and by more than ``least`` of their sizes."""
    jump = abs(right.value - left.value)
    return jump > 10 * (right.error + left.error) and jump > least * (abs(right.value) + abs(left.value))


def _extrapolated(ray: _Ray) -> list[_Extrapolation]:
    """Return the best slope that differences at halved steps lead to, then those from the right and from the left."""
    central, right, left = _Extrapolation(order=2), _Extrapolation(order=1), _Extrapolation(order=1)
    step = _first_step(ray.x, ray.direction)
    for level in range(LEVELS):
        ahead, back = ray.at(step), ray.at(-step)
        right.add(*ray.slope(ahead, ray.here, step))
        left.add(*ray.slope(ray.here, back, step))
        central.add(*ray.slope(ahead, back, 2 * step))
        # The two sides are compared in the limit: at one step alone a curve would look like a kink.
        agree = not disagree(right, left)
        if (central.settled and right.trusted and left.trusted and agree) or (
            not agree and level > 3 and right.settled and left.settled
        ):
            break
        step /= 2
    both = (right, left)
    # At steps as long as those of a sawtooth central differences can agree with one another and with nothing else.
    astray = all(side.trusted and disagree(central, side) for side in both) and not disagree(*both)
    best = min(both if astray else (central, *both), key=lambda extrapolation: extrapolation.error)
    return [best, right, left]


def _first_step(x: Array, direction: Array) -> float:
    """Return the longest step: a part of the natural scale, but not so long next to large numbers that it passes many kinks."""
    scale = _natural_scale(x, direction)
    return FIRST_STEP * (scale if scale > _LARGE else min(scale, _PLAIN))


def _natural_scale(x: Array, direction: Array) -> float:
    """Return the size by which steps are measured: that of the elements that move, or of the others if it is larger."""
    sizes, moving = abs(x), direction != 0
    if not np.isfinite(x).all():
        # An infinite element does not change, whatever is added to it.
        sizes, moving = np.where(np.isfinite(x), sizes, 0.0), moving & np.isfinite(x)
    return max(float(sizes[moving].mean()) if moving.any() else 0.0, min(1.0, float(sizes.max()))) or 1.0


class _Ray:
    """The values of a function along a direction, and slopes between them."""

    def __init__(self, function: Function, x: Array, direction: Array, cotangent: Array) -> None:
        self.function, self.x, self.direction = function, x, direction
        here = np.asarray(function(x))
        self._finite, self._missing = np.isfinite(here), np.isnan(here)
        self.weights = cotangent[self._finite]
        self.here: Array = here[self._finite]
        self._moved = np.zeros(self.here.shape, bool)
        self.noise = 0.0

    def with_noise(self) -> _Ray:
        """Return the ray with the rounding of its function measured: by what remains of sixth differences at small steps."""
        size = 1.3e-6 * _natural_scale(self.x, self.direction)
        values = [value for t in range(-10, 11) if (value := self.at(t * size)) is not None]
        if len(values) > 6:
            sixths = np.diff([float(self.weights @ (value - self.here)) for value in values], 6)
            # Of independent errors of size 1, sixth differences have the variance 924. A jump is in a few of them.
            self.noise = 4 * float(np.median(abs(sixths))) / math.sqrt(924)
        self.noise = self.noise or float(np.finfo(np.float64).tiny)
        return self

    def at(self, t: float) -> Array | None:
        """Return the outputs that are finite at ``x``, at ``x + t * direction``; None outside the domain."""
        try:
            values = np.asarray(self.function(self.x + t * self.direction))
        except Exception:
            return None
        inside = np.array_equal(np.isfinite(values), self._finite) and np.array_equal(np.isnan(values), self._missing)
        return values[self._finite] if inside else None

    def slope(self, above: Array | None, below: Array | None, distance: float) -> tuple[float, float]:
        """Return the slope between two values and how much of it may be rounding; NaN if one is missing."""
        if above is None or below is None:
            return math.nan, math.nan
        change = above - below
        # Outputs that did not change at longer steps either were computed alike and carry no rounding into the difference.
        self._moved |= change != 0
        rounding = max(EPSILON * float(abs(self.weights * above)[self._moved].sum()), self.noise) / distance
        return float((self.weights * change).sum()) / distance, rounding


@dataclass
class _Extrapolation:
    """Richardson's table: slopes at halved steps, combined so that one power of the step after another drops out.

    ``order`` is the first power in the error of a slope, and the distance from each power to the next.
    """

    order: int
    value: float = math.nan
    error: float = math.inf
    rounding: float = math.inf
    _row: list[float] = field(default_factory=list)

    def add(self, slope: float, rounding: float) -> None:
        """Add the slope at half the previous step."""
        row = [slope]
        for power, older in enumerate(self._row, start=1):
            ratio = 2.0 ** (self.order * power)
            row.append((ratio * row[-1] - older) / (ratio - 1))
            error = max(abs(row[-1] - row[-2]), abs(row[-1] - older)) + 2 * rounding
            if error < self.error:
                self.value, self.error, self.rounding = row[-1], error, rounding
        self._row = row if math.isfinite(slope) else []

    @property
    def known(self) -> bool:
        """Whether there were slopes at all."""
        return math.isfinite(self.error)

    @property
    def settled(self) -> bool:
        """Whether smaller steps would add nothing."""
        return self.error <= 1e-11 * abs(self.value) + 4 * self.rounding

    @property
    def trusted(self) -> bool:
        """Whether the slopes have a limit at all."""
        return self.known and self.error <= 1e-4 * abs(self.value) + 1e3 * self.rounding


# ---- the comparison of a gradient: at its elements, and along random directions

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
    gradient: Array, slope: Slope, rng: np.random.Generator, tolerance: float, elements: int, directions: int
) -> tuple[Point, ...]:
    """Compare a gradient with numeric slopes at ``elements`` of its elements, drawn at random, and along ``directions``.

    The relative error is the difference divided by the larger of the two numbers. That divisor is at least a thousandth
    of the gradient's largest element, and large enough that a difference passes which is within the error of the numeric
    derivative. There is no size below which everything passes. A kink has the error 0. Where only random directions fail,
    a wrong element is searched for and compared too.

    >>> x = np.array([1.0, 2.0])
    >>> points = compare(3 * x, lambda d: Derivative(float(2 * x @ d), 0.0), np.random.default_rng(0), 1e-7, 2, 0)
    >>> print(points[1], round(points[1].error, 3))
    at [1]: rule 6, numeric 4 0.333
    """
    comparison = _Comparison(gradient, slope, tolerance)
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

    def at(self, flat: int) -> Point:
        """Compare one element, given by its place in row-major order."""
        index = tuple(int(i) for i in np.unravel_index(flat, self.gradient.shape))
        largest = float(abs(self.gradient[np.isfinite(self.gradient)]).max(initial=0.0))
        return self._point(index, float(self.gradient[index]), unit(self.gradient.shape, index), largest)

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
        error = self._error(rule, numeric, scale)
        if error > self.tolerance and numeric.again:
            numeric = numeric.again()
            error = self._error(rule, numeric, scale)
        return Point(index, rule, numeric.value, error, numeric.kink)

    def _error(self, rule: float, numeric: Derivative, scale: float) -> float:
        difference = abs(rule - numeric.value)
        if numeric.kink or difference == 0:
            return 0.0
        if not math.isfinite(difference):
            return math.inf
        return difference / max(abs(rule), abs(numeric.value), SMALLEST_SCALE * scale, numeric.error / self.tolerance)
