"""The kinds of edits that a value of a rule is tried with: other numbers, names, axes, functions, places, factors."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygraph.verify.hints.spots import Change, Spot, constants_of
from tinygraph.verify.hints.trial import Trial, evaluated


@dataclass(frozen=True)
class Edit:
    """What is wrong in words, and the text that should stand for the expression ``{e}``; ``{o}`` is another one.

    The new value is that of the text, or is computed by a function.
    """

    words: str
    new: str
    function: Change | None = None
    other: tuple[str, Callable[[Trial], Any]] = ("", lambda trial: None)

    def change(self, trial: Trial) -> Change:
        """Return the change of a value in a trial."""
        o = self.other[1](trial)
        if "/ {o}" in self.new and not np.all(o):
            # A divisor would become infinite, and what it divides 0.
            raise ZeroDivisionError(self.new)
        return self.function or (lambda value: evaluated(self.new, trial, e=value, o=o))

    def said(self, text: str, e: str) -> str:
        """Return the words, or the new text, for an expression."""
        return text.replace("{e}", e).replace("{o}", self.other[0])


# Yields the edits of a spot, from its value in one trial.
Edits = Callable[[Spot, Any, Trial], Iterator[Edit]]


def is_real(value: Any) -> bool:
    """Whether a value is a real number, or an array of such."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number or (isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "fiu")


def is_array(value: Any, kinds: str = "f") -> bool:
    """Whether a value is an array with axes, of these kinds of numbers."""
    return isinstance(value, np.ndarray) and value.dtype.kind in kinds and value.ndim > 0


def left_out(spot: Spot, value: Any, trial: Trial) -> Iterator[Edit]:
    """Leave a factor out."""
    if is_real(value) and not isinstance(value, int):
        yield Edit("a factor too many, {e}", "left out", lambda v: v * 0.0 + 1)


# What is small, and what is large.
_LIMITS = (0.1, 0.01, 1e-3, 1e-4, 1e-6, 10, 100)


def numbers(spot: Spot, value: Any, trial: Trial) -> Iterator[Edit]:
    """Change a number that is written in the rule: an axis, a place, a constant that forward has too."""
    if isinstance(value, bool) and spot.constant:
        yield Edit("the wrong way round", str(not value))
    elif isinstance(value, int) and not spot.constant:
        if not spot.bound:
            yield Edit("sign", "-{e}")
    elif spot.constant:
        near: list[float] = [-value, value + 1, value - 1, -1, 0, 1, -2, -3, 2] if isinstance(value, int) else []
        words = "wrong axis" if spot.axis else "another number belongs here"
        for number in dict.fromkeys([*near, *constants_of(type(trial.rule.op))]):
            if number != value:
                yield Edit(words, str(number))


def names(spot: Spot, value: Any, trial: Trial) -> Iterator[Edit]:
    """Exchange a value for dy, the result, an input, an attribute or a size."""
    if is_real(value) and not spot.axis:
        others = [] if spot.constant else trial.named
        for name in (*others, *(trial.scalars if np.ndim(value) == 0 else ())):
            if name != spot.text:
                words = {f"-{name}": "sign", f"{name}.T": f"transposed: {{e}} stands where {name} belongs"}
                yield Edit(words.get(spot.text, f"{{e}} stands where {name} belongs"), name)


def conditions(spot: Spot, value: Any, trial: Trial) -> Iterator[Edit]:
    """Turn a condition round, or add another one."""
    if is_array(value, "b") or isinstance(value, np.bool_) or (isinstance(value, bool) and not spot.constant):
        yield Edit("a condition is the wrong way round", "~{e}" if is_array(value, "b") else "not {e}", np.logical_not)
        for name, limit in itertools.product(trial.named, _limits(trial)):
            yield Edit("a condition is missing", f"{{e}} & ({name} < {limit})")
            yield Edit("a condition is missing", f"{{e}} & ({name} > {limit})")


def other_conditions(spot: Spot, value: Any, trial: Trial) -> Iterator[Edit]:
    """Change the limit of a condition, or leave the condition out."""
    if spot.compared and spot.constant and not isinstance(value, bool):
        yield from (Edit("another number belongs here", str(number)) for number in _LIMITS if number != value)
    if is_array(value, "b") or isinstance(value, np.bool_):
        yield Edit("a condition too many, {e}", "left out", lambda v: v * 0.0 + 1)
        yield Edit("a condition too many", "left out", lambda value: value | np.True_)


def _limits(trial: Trial) -> list[str]:
    numbers = [f"{number}" for number in constants_of(type(trial.rule.op))]
    return [*numbers, *(name for name in trial.scalars if re.fullmatch(r"(self\.)?\w+", name))]


# Functions that are taken for one another.
_LIKE = """sum mean|sin cos|sinh cosh|max min|maximum minimum|argmax argmin|floor ceil|triu tril|exp expm1|exp log|log log1p
amax amin|std var|sign abs|tanh cosh|less greater|zeros_like ones_like|fft ifft"""
_REDUCTIONS = "sum mean max min prod amax amin std var any all"
_WITH_AXIS = f"""{_REDUCTIONS} softmax log_softmax logsumexp cumsum cumprod flip argmax argmin sort argsort roll concatenate
stack expand_dims repeat take_along_axis take delete diff norm squeeze"""


def calls(spot: Spot, value: Any, trial: Trial) -> Iterator[Edit]:
    """Change a call: its function, its axis, the order of its arguments."""
    if not callable(value) or spot.arguments is None:
        return
    name, given = getattr(value, "__name__", ""), spot.arguments
    pairs = [pair.split() for pair in re.split(r"[|\n]", _LIKE)]
    for other in [each for pair in pairs if name in pair for each in pair if each != name]:
        function = getattr(getattr(value, "__self__", np), other, None) or getattr(np, other)
        yield Edit(f"{name} for {other}", spot.text.replace(name, other), functools.partial(_instead, function))
    if value is range:
        words, whole = "runs along the axis the wrong way round", spot.called(*given)
        yield Edit(words, f"reversed({whole})", lambda f: lambda *a: [*f(*a)][::-1])
    elif value is reversed:
        yield Edit("runs along the axis the wrong way round", f"({', '.join(given)})", lambda f: iter)
    elif name in _WITH_AXIS.split():
        for axis, keepdims in itertools.product((-1, 0, 1, -2, 2, None), ("", "True", "False")):
            if not keepdims or name in _REDUCTIONS.split():
                named = {"axis": str(axis)} | ({"keepdims": keepdims} if keepdims else {})
                yield Edit("wrong axis", spot.called(*given, **named), functools.partial(_along, axis, keepdims))
    elif len(given) > 1:
        a, b, *c = given
        words = "arguments in another order"
        yield Edit(words, spot.called(b, a, *c), lambda f: lambda a, b, *c, **k: f(b, a, *c, **k))
        if c:
            new = spot.called(a, c[0], b, *c[1:])
            yield Edit(words, new, lambda f: lambda a, b, c, **k: f(a, c, b, **k))


def _instead(function: Any, value: Any) -> Any:
    return function


def _along(axis: int | None, keepdims: str, function: Any) -> Any:
    named: dict[str, Any] = {"axis": axis} | ({"keepdims": keepdims == "True"} if keepdims else {})
    return lambda *arguments, **given: function(*arguments, **(given | named))


def orders(spot: Spot, value: Any, trial: Trial) -> Iterator[Edit]:
    """Exchange the parts of a list or a tuple, as those that are put together again."""
    if isinstance(value, (list, tuple)) and 1 < len(value) < 4:
        for order in itertools.permutations(range(len(value))):
            parts = ", ".join(spot.parts[i] if spot.parts else f"{{e}}[{i}]" for i in order)
            new = f"[{parts}]" if isinstance(value, list) else f"({parts})"
            change = functools.partial(lambda order, value: type(value)([value[i] for i in order]), order)
            yield Edit("parts in another order", new, change)


def moves(spot: Spot, value: Any, trial: Trial) -> Iterator[Edit]:
    """Move the elements of an array, or add them up."""
    if not is_array(value, "fiu"):
        return
    if value.ndim > 1:
        # A rule with "..." is made for stacks of matrices as well.
        new = "{e}.T" if value.ndim == 2 and "..." not in trial.body else "{e}.swapaxes(-1, -2)"
        yield Edit("transposed: {e} stands where {e}.T belongs", new)
    axes = dict.fromkeys([-1, 0, *range(value.ndim)])
    if value.dtype.kind in "iu":
        yield from (Edit("the inverse permutation belongs here", f"np.argsort({{e}}, axis={axis})") for axis in axes)
    for axis in axes:
        yield Edit("the wrong way round along an axis", f"np.flip({{e}}, {axis})")
        halves = f"np.roll({{e}}, {{e}}.shape[{axis}] // 2, {axis})"
        yield Edit(f"the halves along axis {axis} exchange their places", halves)
        for step, words in ((1, "one place"), (-1, "one place"), (2, "two places"), (-2, "two places")):
            yield Edit(f"off by {words} along axis {axis}", f"np.roll({{e}}, {step}, {axis})")
        if value.dtype.kind == "f":
            yield from (Edit(words, new.replace("AXIS", str(axis))) for words, new in _SUMS)
    if value.dtype.kind in "iu":
        yield Edit("off by one", "{e} - 1")
        yield Edit("off by one", "{e} + 1")
    else:
        yield Edit("a missing sum", "{e}.sum()")
        yield Edit("a missing mean", "{e}.mean()")


_SUMS = (
    ("a missing sum", "{e}.sum(axis=AXIS, keepdims=True)"),
    ("a missing sum", "{e}.sum(axis=AXIS)"),
    ("a missing mean", "{e}.mean(axis=AXIS, keepdims=True)"),
    ("a missing mean, which is subtracted", "{e} - {e}.mean(axis=AXIS, keepdims=True)"),
    ("a missing cumulative sum", "np.cumsum({e}, AXIS)"),
    ("a missing cumulative sum from the end", "np.flip(np.cumsum(np.flip({e}, AXIS), AXIS), AXIS)"),
    ("runs along the axis the wrong way round", "{e}.take([-1], AXIS) - {e} + np.diff({e}, axis=AXIS, prepend=0)"),
)
_OF_ELEMENTS = (
    *(("a missing square of {e}", "{e}**2"), ("a missing root of {e}", "{e}**0.5"), ("a missing - 1", "({e} - 1)")),
    ("divided where it should be multiplied, or the other way round", "1 / {e}"),
    *(("a missing 1 / {e}", "1 / {e}**2"), ("sign", "-{e}"), ("1 - {e} belongs here", "(1 - {e})")),
    *(("1 + {e} belongs here", "(1 + {e})"), ("abs({e}) belongs here", "abs({e})")),
    *((f"{new} belongs here", new) for new in ("{e}**3", "np.sign({e})", "np.exp({e})", "np.exp(-{e})", "np.log({e})")),
)


def functions(spot: Spot, value: Any, trial: Trial) -> Iterator[Edit]:
    """Apply a function to the elements."""
    # A whole number may be a size, whose power is an array larger than the memory.
    fits = is_real(value) and not isinstance(value, int) and (spot.line or np.ndim(value))
    yield from (Edit(words, new) for words, new in _OF_ELEMENTS if fits)


def products(spot: Spot, value: Any, trial: Trial) -> Iterator[Edit]:
    """Multiply by a number that the rule could know, or divide by it: a factor of the chain rule is missing."""
    # A whole number that is written in the rule is an axis, a place or a size.
    whole = spot.constant and isinstance(value, int)
    for factor in _factors(trial) if is_real(value) and not whole else ():
        yield Edit(f"missing factor {factor}", f"{{e}} * {factor}")
        if not re.search("[<>]", factor):
            yield Edit(f"missing 1/{factor}", f"{{e}} / {factor}")


_FACTORS = (
    *("{0}", "{0}**2", "(1 - {0})", "(1 + {0})", "(1 - {0}**2)", "(1 + {0}**2)"),
    *("np.exp({0})", "abs({0})", "({0} > 0)", "({0} < 0)", "np.sign({0})"),
)


def _factors(trial: Trial) -> Iterator[str]:
    """Yield texts of simple functions of the arguments, conditions, sizes and attributes."""
    for x in trial.named:
        yield from (text.format(x) for text in _FACTORS)
        for limit in _limits(trial):
            yield from (f"({x} > {limit})", f"({x} < {limit})", f"(abs({x}) < {limit})", f"(abs({x}) > {limit})")
    for size in trial.scalars:
        yield from (size, f"np.sqrt({size})")


# What stands for a value, or is done with it, if the rule computes ``{o}`` as well.
COMPUTED = (
    Edit("{e} stands where {o} belongs", "{o} + 0 * {e}"),
    Edit("missing factor {o}", "{e} * {o}"),
    Edit("missing 1/{o}", "{e} / {o}"),
    Edit("the elements at {o} belong here", "{e}[{o}]"),
    Edit("the inverse permutation of {o} belongs here", "{e}[np.argsort({o})]"),
    Edit("a missing term, - {o}", "{e} - {o}"),
    Edit("a missing term, + {o}", "{e} + {o}"),
)
