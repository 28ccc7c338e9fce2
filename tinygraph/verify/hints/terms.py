"""A term that a rule leaves out, found by fitting what is missing with products of what the rule computes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from tinygraph.graph import Array
from tinygraph.verify.hints.trial import Trial, evaluated, names_of

# So many numbers, those with short names first, are multiplied.
_MOST = 18
Parts = Mapping[str, Any]
# Products of two numbers, as they are, summed over an axis or over all axes, and as matrices.
_SINGLE = ("{a}", "{a}.sum(axis=-1, keepdims=True)", "{a}.sum(axis=0, keepdims=True)", "{a}.sum()")
_PAIRS = (
    *(
        text.replace("{a}", product)
        for text, product in zip(_SINGLE, ("{a} * {b}", *("({a} * {b})",) * 3), strict=True)
    ),
    *("{a} @ {b}", "{b} @ {a}", "{a}.T @ {b}", "{b}.T @ {a}", "{a} @ {b}.T", "{b} @ {a}.T"),
)
# A text with {a}, {b}, {u} and {v}, and the names of these parts.
Term = tuple[str, dict[str, str]]


def missing_term(gradients: Mapping[Trial, Any], parts: Callable[[Trial], Parts]) -> tuple[str, str]:
    """Return the sign and the text of the term that makes the gradients of all trials right, or two empty strings.

    ``gradients`` are those that the rule gives, ``parts`` the numbers that it computes with; the first trial is searched.
    A term is a product of two of them, perhaps summed over an axis, or a matrix product, times two more.
    """
    trial, *others = gradients
    missing = trial.numeric - trial.at_points(gradients[trial])
    if len(missing) < 3 or not np.isfinite(missing).all() or not missing.any():
        return "", ""
    mine = dict(sorted(parts(trial).items(), key=lambda entry: len(entry[0]))[:_MOST])
    for term in _matches(mine, trial, missing):
        found = _value(term, mine, trial)
        for factor in names_of(float(found @ missing / (found @ found)), trial):
            if all(_right(term, factor, parts(other), other, gradients[other]) for other in others):
                text, size = term[0].format(**term[1]), factor.removeprefix("-")
                return "-" if factor != size else "+", text if size == "1" else f"{size} * {text}"
    return "", ""


def _right(term: Term, factor: str, parts: Parts, trial: Trial, gradient: Any) -> bool:
    try:
        total = np.asarray(gradient) + _term(term, parts, trial) * evaluated(factor, trial)
    except Exception:
        # What one trial computes another one may not.
        return False
    return trial.fits(total) and trial.fits_along(total)


def _value(term: Term, parts: Parts, trial: Trial) -> Array:
    return trial.at_points(_term(term, parts, trial))


def _term(term: Term, parts: Parts, trial: Trial) -> Array:
    text, names = term
    array = evaluated(text, trial, **{letter: parts[name] for letter, name in names.items()})
    return np.broadcast_to(array, trial.values[trial.place].shape)


def _matches(parts: Parts, trial: Trial, missing: Array) -> Iterator[Term]:
    """Yield the products that are a multiple of what is missing."""
    inner, rows = [("1.0", {})], [np.ones(len(missing))]  # type: list[Term], list[Array]
    for term in _inner(parts):
        try:
            rows.append(_value(term, parts, trial))
            inner.append(term)
        except Exception:
            # The shapes do not fit.
            continue
    table = np.array(rows)
    outer = {"": np.ones(len(missing))}
    for name in parts:
        try:
            outer[name] = _value(("{u}", {"u": name}), parts, trial)
        except ValueError:
            continue
    for (u, first), (v, second), over in itertools.product(outer.items(), outer.items(), (False, True)):
        if (over and not v) or (not over and v < u):
            continue
        products = table * (first / second if over else first * second)
        along, sizes = products @ missing, (products * products).sum(axis=1)
        for number in np.flatnonzero((along**2 > (1 - 1e-9) * sizes * (missing @ missing)) & (sizes > 0)):
            text, names = inner[number]
            text = " * ".join(["{u}"] * bool(u) + ["{v}"] * (bool(v) and not over) + [text] * (text != "1.0"))
            yield (
                (text or "1.0") + " / {v}" * over,
                names | {letter: name for letter, name in (("u", u), ("v", v)) if name},
            )


def _inner(parts: Parts) -> Iterator[Term]:
    arrays = [name for name, x in parts.items() if np.ndim(x)]
    yield from ((text, {"a": a}) for a in arrays for text in _SINGLE)
    for a, b in itertools.combinations_with_replacement(arrays, 2):
        yield from ((text, {"a": a, "b": b}) for text in _PAIRS if "@" not in text or np.ndim(parts[a]) == 2)
