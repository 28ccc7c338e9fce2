"""Derivatives by numbers alone: what gradient rules are compared with.

Everything here is one slope: the derivative at ``t = 0`` of ``sum(cotangent * function(x + t * direction))``, in float64.
Where the function may be run on complex numbers, one complex step gives it to the last digit. Elsewhere differences at
halved steps are extrapolated until they settle, which also tells how far to trust them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from tinygraph.graph.arrays import Array

Function = Callable[[Array], Array]

EPSILON = float(np.finfo(np.float64).eps)
# So small that its square vanishes beside any number: what is left of the Taylor series is the derivative itself.
COMPLEX_STEP = 1e-30
FIRST_STEP = 2.0**-6
LEVELS = 20


@dataclass(frozen=True)
class Derivative:
    """A slope and its estimated absolute error; ``kink`` where there is none.

    There is none where the slopes from the two sides disagree in the limit, and where differences do not settle: at a jump,
    at an infinite slope, at a point with no neighbours in the function's domain.
    """

    value: float
    error: float
    kink: bool = False


def derivative(
    function: Function, x: Array, direction: Array, cotangent: Array, holomorphic: bool = False
) -> Derivative:
    """Return the slope of ``sum(cotangent * function(x))`` along ``direction``, an array of the shape of ``x``.

    At the edge of a domain, where steps to one side raise an error or are not finite, the slope of the other side counts.
    Outputs that are not finite at ``x`` itself are left out. Source of the complex step: Squire and Trapp, 1998
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
        return exact or _differences(function, x, direction, cotangent)


def _complex_step(function: Function, x: Array, direction: Array, cotangent: Array) -> Derivative | None:
    """Return the slope by one complex step, or None where the function does not follow into the complex plane."""
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
    rounding = 32 * EPSILON * float(abs(terms).sum()) + _last_digits(weights * result.real, x)
    return Derivative(float(terms.sum()), rounding)


def _last_digits(values: Array, x: Array) -> float:
    """Return the slope that the rounding of values may hide: that of their last digits, over the size of ``x``."""
    return 32 * EPSILON * float(abs(values).sum()) / (float(abs(x[np.isfinite(x)]).max(initial=0.0)) or 1.0)


def _differences(function: Function, x: Array, direction: Array, cotangent: Array) -> Derivative:
    """Return the slope by differences at halved steps, from both sides where the function's domain allows it."""
    ray = _Ray(function, x, direction, cotangent)
    best, right, left = _extrapolated(ray, x, direction)
    sides = [side for side in (right, left) if side.known]
    kink = _disagree(right, left) or not sides or not all(side.trusted for side in sides)
    return Derivative(best.value, max(best.error, _last_digits(ray.weighted, x)), kink)


def one_sided(
    function: Function, x: Array, direction: Array, cotangent: Array
) -> tuple[Derivative | None, Derivative | None]:
    """Return the slopes ahead and behind, as ``derivative`` measures them; None for a side without a limit.

    >>> ahead, behind = one_sided(np.abs, np.zeros(1), np.ones(1), np.ones(1))
    >>> ahead.value, behind.value
    (1.0, -1.0)
    """
    with np.errstate(all="ignore"):
        _, *sides = _extrapolated(_Ray(function, x, direction, cotangent), x, direction)
    right, left = (Derivative(side.value, side.error) if side.trusted else None for side in sides)
    return right, left


def _extrapolated(values: _Ray, x: Array, direction: Array) -> tuple[_Extrapolation, _Extrapolation, _Extrapolation]:
    """Return the best slope that halved steps lead to, and the ones from either side."""
    central, right, left = _Extrapolation(order=2), _Extrapolation(order=1), _Extrapolation(order=1)
    step = FIRST_STEP * _natural_scale(x, direction)
    for _ in range(LEVELS):
        ahead, behind = values.at(step), values.at(-step)
        right.add(*values.slope(ahead, values.here, step))
        left.add(*values.slope(values.here, behind, step))
        central.add(*values.slope(ahead, behind, 2 * step))
        if central.settled and right.trusted and left.trusted and not _disagree(right, left):
            break
        step /= 2
    both = (right, left)
    # At steps as long as those of a sawtooth central differences can agree with one another and with nothing else.
    astray = all(side.trusted and _disagree(central, side) for side in both) and not _disagree(*both)
    return min(both if astray else (central, *both), key=lambda extrapolation: extrapolation.error), right, left


def _natural_scale(x: Array, direction: Array) -> float:
    """Return the size that steps are measured by: that of the elements which move, or of their surroundings if larger."""
    sizes, moving = abs(x), direction != 0
    if not np.isfinite(x).all():
        # An infinite element stays where it is, whatever is added to it.
        sizes, moving = np.where(np.isfinite(x), sizes, 0.0), moving & np.isfinite(x)
    return max(float(sizes[moving].mean()) if moving.any() else 0.0, min(1.0, float(sizes.max()))) or 1.0


class _Ray:
    """The values of a function along a direction, and slopes between them."""

    def __init__(self, function: Function, x: Array, direction: Array, cotangent: Array) -> None:
        self._function, self._x, self._direction = function, x, direction
        here = np.asarray(function(x))
        self._finite, self._missing = np.isfinite(here), np.isnan(here)
        self._weights = cotangent[self._finite]
        self.here: Array = here[self._finite]

    @property
    def weighted(self) -> Array:
        """The finite outputs at ``x``, each times its weight."""
        weighted: Array = self._weights * self.here
        return weighted

    def at(self, t: float) -> Array | None:
        """Return the finite outputs at ``x + t * direction``, or None outside the domain."""
        try:
            values = np.asarray(self._function(self._x + t * self._direction))
        except Exception:
            return None
        inside = np.array_equal(np.isfinite(values), self._finite) and np.array_equal(np.isnan(values), self._missing)
        return values[self._finite] if inside else None

    def slope(self, above: Array | None, below: Array | None, distance: float) -> tuple[float, float]:
        """Return the slope between two values and how much of it may be rounding; NaN if one is missing."""
        if above is None or below is None:
            return math.nan, math.nan
        change = above - below
        # Outputs that did not change were computed alike and carry no rounding into the difference.
        rounding = EPSILON * float(abs(self._weights * above)[change != 0].sum()) / distance
        return float((self._weights * change).sum()) / distance, rounding


def contributions(function: Function, x: Array, direction: Array, cotangent: Array) -> Array:
    """Return the part of each output in a slope, to about six digits.

    >>> x = np.array([1.0, 2.0])
    >>> contributions(lambda x: x * x, x, np.array([1.0, 0.0]), np.array([10.0, 10.0])).round(4)
    array([20.,  0.])
    """
    step = 1e-6 * _natural_scale(x, direction)
    parts: Array = cotangent * (function(x + step * direction) - function(x - step * direction)) / (2 * step)
    return parts


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
        """Take in the slope at half the previous step."""
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
        """Whether smaller steps would not tell more."""
        return self.error <= 1e-11 * abs(self.value) + 4 * self.rounding

    @property
    def trusted(self) -> bool:
        """Whether the slopes have a limit at all."""
        return self.known and self.error <= 1e-4 * abs(self.value) + 1e3 * self.rounding


def _disagree(right: _Extrapolation, left: _Extrapolation) -> bool:
    """Whether the slopes from the two sides have different limits; at one step alone a curve would look like a kink."""
    jump = abs(right.value - left.value)
    return jump > 10 * (right.error + left.error) and jump > 1e-8 * (abs(right.value) + abs(left.value))
