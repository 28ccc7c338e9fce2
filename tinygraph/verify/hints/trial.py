"""A trial: the gradient of one input in one case, right or wrong, and what hints look at in it."""

from __future__ import annotations

import contextlib
import functools
import inspect
import itertools
import math
import re
import types
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.graph import Array
from tinygraph.verify.nodes import input_name
from tinygraph.verify.numeric import Point, compare

if TYPE_CHECKING:
    from tinygraph.verify.checker import Finding, LocalRule

# The end of a hint that was tried on several inputs.
PROVEN = " inputs tried"
_ELEMENTS = 24
_BASES = (1, math.sqrt(2), math.sqrt(3), math.pi, math.sqrt(math.pi), math.sqrt(2 * math.pi), math.log(2), math.log(10))
_NUMBERS = {float(Fraction(text)): text for text in ["1", "-1", "2", "0.5", "-2", "3", "4", "-0.5", "1/3", "0.25"]}


class Trial:
    """One gradient that was compared, its case, and the gradients of the other inputs there."""

    def __init__(self, rule: LocalRule, finding: Finding, findings: Sequence[Finding] = ()) -> None:
        self.rule, self.finding, self.findings = rule, finding, findings
        self.place, self.gradient, self.values = finding.place, finding.gradient, rule.values
        # Copies, which an edited rule cannot write into.
        self.arguments = [np.array(x) for x in (rule.cotangent, rule.y, *rule.values)]
        for x in self.arguments:
            x.flags.writeable = False

    @functools.cached_property
    def points(self) -> list[Point]:
        """The comparisons of elements, where there is no kink; also where the rule gave nothing to compare."""
        points = self.finding.points
        if self.finding.message:
            nothing, slope = np.zeros(self.values[self.place].shape), functools.partial(self.rule.slope, self.place)
            points = compare(nothing, slope, np.random.default_rng(0), 1e-7, _ELEMENTS, 0)
        return [
            point for point in points if point.index is not None and not point.kink and math.isfinite(point.numeric)
        ]

    @functools.cached_property
    def wrong(self) -> list[Point]:
        """The comparisons that do not agree."""
        return [point for point in self.points if point.error > (self.finding.tolerance or 1e-7)]

    @functools.cached_property
    def numeric(self) -> Array:
        """The numeric derivatives of the points."""
        return np.array([point.numeric for point in self.points])

    def at_points(self, gradient: Any) -> Array:
        """Return a gradient at the points; NaN where it has another shape."""
        if np.shape(gradient) != self.values[self.place].shape:
            return np.full(len(self.points), np.nan)
        return np.array([gradient[point.index] for point in self.points], dtype=float)

    def fits(self, gradient: Any) -> bool:
        """Whether a gradient agrees with the numeric derivatives of all elements that were compared."""
        return bool(self.points) and agree(self.at_points(gradient), self.numeric)

    def fits_along(self, gradient: Array) -> bool:
        """Whether a gradient agrees along a random direction as well, where not all of its elements were compared."""
        if len(self.finding.points) >= gradient.size:
            return True
        direction = np.random.default_rng(8).standard_normal(gradient.shape)
        slope, found = self.rule.slope(self.place, direction), float((gradient * direction).sum())
        return slope.kink or math.isclose(found, slope.value, rel_tol=1e-8, abs_tol=10 * slope.error)

    @functools.cached_property
    def scalars(self) -> dict[str, float]:
        """Numbers of the case that a factor may be made of, by their texts: its numeric attributes, and its sizes."""
        texts = []
        for attribute, value in self.rule.op.attributes().items():
            name = f"{self.prefix}{attribute}"
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                texts += [name, f"{name}**2", f"(1 - {name})", f"(1 + {name})"]
        for place, value in enumerate(self.values):
            x = self.name(place)
            texts += [*(f"{x}.shape[{axis - value.ndim if axis else 0}]" for axis in range(value.ndim)), f"{x}.size"]
        y = self.signature[1]
        texts += [f"{y}.size", f"({self.name(self.place)}.size / {y}.size)"] if self.rule.y.size > 1 else []
        found = {text: evaluated(text, self) for text in texts if "[" not in text.partition(".")[0]}
        return {text: value for text, value in found.items() if value}

    @functools.cached_property
    def named(self) -> dict[str, Array]:
        """The floating arrays that the rule is given, by their names."""
        names = ["dy", "y", *map(self.name, range(len(self.values)))]
        return {
            name: x for name, x in zip(names, self.arguments, strict=True) if x.dtype.kind == "f" and "[" not in name
        }

    @functools.cached_property
    def names(self) -> dict[str, Any]:
        """What names mean in a text about the case."""
        given = dict(zip(self.signature, self.arguments, strict=True))
        return {"np": np, "self": self.rule.op, **given, **self.rule.op.attributes()}

    @functools.cached_property
    def signature(self) -> list[str]:
        """What the rule calls its arguments: the gradient of the result, the result, and the inputs."""
        found = [name for name in inspect.getfullargspec(inspect.unwrap(type(self.rule.op).vjp)).args if name != "self"]
        inputs = [input_name(self.rule.op, place) for place in range(len(self.values))]
        return found if len(found) == len(self.arguments) else ["dy", "y", *inputs]

    @functools.cached_property
    def body(self) -> str:
        """The source of the rule below its first line, or nothing where it has no source."""
        with contextlib.suppress(OSError, TypeError):
            return inspect.getsource(inspect.unwrap(type(self.rule.op).vjp)).partition("):\n")[2]
        return ""

    @property
    def prefix(self) -> str:
        """What stands in front of an attribute in the rule."""
        return "self." if "self" in inspect.getfullargspec(inspect.unwrap(type(self.rule.op).vjp)).args else ""

    def name(self, place: int) -> str:
        """Return what the rule calls an input."""
        return self.signature[2 + place]


def redrawn(trial: Trial) -> Trial:
    """Return another trial of the same operation, with other numbers where forward takes them."""
    rng = np.random.default_rng(5)
    moved = [x * rng.uniform(0.9, 1.1, x.shape) if x.dtype.kind == "f" else x for x in trial.values]
    dy = rng.standard_normal(trial.rule.y.shape)
    for values in (moved, trial.values):
        with contextlib.suppress(Exception):
            rule = type(trial.rule)(trial.rule.op, values, dy)
            again = Trial(rule, rule.find(trial.place, rng, 1e-7))
            if again.points:
                return again
    return trial


def agree(values: Array, numeric: Array) -> bool:
    """Whether values agree with numeric derivatives to about five digits."""
    size = abs(numeric)
    return bool((abs(values - numeric) <= 1e-5 * size + 1e-7 * size.max(initial=0.0)).all())


@functools.lru_cache(maxsize=4096)
def _code(text: str) -> types.CodeType:
    return compile(re.sub(r"{(\w)}", r"\1_", text), "<hint>", "eval")


def evaluated(text: str, trial: Trial, **values: Any) -> Any:
    """Return the value of a text about the case, in which ``{e}`` stands for the value ``e``."""
    return eval(_code(text), trial.names, {f"{name}_": value for name, value in values.items()})


def names_of(factor: float, trial: Trial) -> Iterator[str]:
    """Yield what a factor may be: a simple number, a size or an attribute, their reciprocals and roots; or that number."""
    yield from ("0" for _ in range(abs(factor) < 1e-6))
    powers = {1.0: "{}", -1.0: "1 / {}", 0.5: "np.sqrt({})", -0.5: "1 / np.sqrt({})"}
    for (name, value), (power, text), sign in itertools.product(trial.scalars.items(), powers.items(), (1, -1)):
        if (value > 0 or abs(power) == 1) and value != 1 and math.isclose(sign * value**power, factor, rel_tol=1e-5):
            yield "-" * (sign < 0) + text.format(name)
    yield from (text for number, text in _NUMBERS.items() if math.isclose(number, factor, rel_tol=1e-5))
    yield f"{factor:.6g}"


def is_plain(number: float) -> bool:
    """Whether a number is a fraction of small whole numbers, times a root, π or a logarithm: others fit by chance.

    >>> is_plain(0.75), is_plain(3 * math.sqrt(2)), is_plain(0.999654)
    (True, True, False)
    """
    wholes = (number / base * divisor for base, divisor in itertools.product(_BASES, (1, 3, 4, 5, 7, 10)))
    return any(0.5 < abs(whole) < 100 and math.isclose(whole, round(whole), rel_tol=1e-6) for whole in wholes)
