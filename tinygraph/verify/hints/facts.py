"""What is known of a wrong gradient whose cause is not: which elements are wrong, at which sizes, and by how much."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np

from tinygraph.graph import Array
from tinygraph.verify.hints.trial import Trial

UNKNOWN = "cause not recognized"


def known(trials: Sequence[Trial]) -> str:
    """Return what is known of the wrong gradients among the trials of one input, in a sentence, or nothing."""
    wrong = [trial for trial in trials if trial.finding.wrong and trial.wrong]
    if not wrong or wrong[0].finding.message:
        return ""
    largest = max(wrong, key=lambda trial: len(trial.points))
    facts = [_elements(largest), *_sizes(trials, wrong), _ratio(largest)]
    return f"{UNKNOWN}: {'; '.join(filter(None, facts))}"


def _elements(trial: Trial) -> str:
    x, total = trial.name(trial.place), len(trial.points)
    found = f"{len(trial.wrong)} of {total} elements of the gradient of {x} are wrong"
    if len(trial.wrong) == total:
        return f"all {total} elements of the gradient of {x} are wrong" if total > 1 else ""
    bad = np.array([point in trial.wrong for point in trial.points])
    places = np.array([point.index for point in trial.points])
    for axis in range(places.shape[1]):
        along = places[:, axis]
        here = sorted(set(along[bad].tolist()))
        if not set(here) & set(along[~bad].tolist()):
            run = len(here) > 1 and here[-1] == along.max() and _is_run(here)
            return f"{found}, those {f'from {here[0]} on' if run else f'at {here}'} along axis {axis}"
    value = np.array([trial.values[trial.place][point.index] for point in trial.points])
    return f"{found}{_where(x, value, bad)}"


def _is_run(numbers: Sequence[int]) -> bool:
    return len(numbers) == numbers[-1] - numbers[0] + 1


def _where(x: str, value: Array, bad: Array) -> str:
    """Return which values of an input the wrong elements have, if that tells them from the right ones."""
    for sign, words in ((1, "above"), (-1, "below")):
        low, high = (sign * value[~bad]).max(), (sign * value[bad]).min()
        if low < high:
            return f", those where {x} is {words} {sign * (low + high) / 2:.3g}"
    return ""


def _sizes(trials: Sequence[Trial], wrong: Sequence[Trial]) -> Iterator[str]:
    """Yield a value of an attribute, or a size, that tells the wrong trials from the right ones."""
    right = [trial for trial in trials if not trial.finding.wrong and trial.points]
    for name in wrong[0].rule.op.attributes() if right else ():
        good, bad = ([trial.rule.op.attributes()[name] for trial in some] for some in (right, wrong))
        if not any(value in bad for value in good):
            yield f"right with {name}={good[0]!r}, wrong with {name}={bad[0]!r}"
    names = {name for name in wrong[0].scalars if ".shape[" in name} if right else set()
    for name in sorted(names):
        good = [trial.scalars.get(name, np.nan) for trial in right]
        bad = [trial.scalars.get(name, np.nan) for trial in wrong]
        if max(good) < min(bad):
            yield f"right with {name} up to {max(good):g}, wrong from {min(bad):g} on"
            return
        if {size % 2 for size in good} == {0.0} and {size % 2 for size in bad} == {1.0}:
            yield f"right where {name} is even, wrong where it is odd"
            return


def _ratio(trial: Trial) -> str:
    points = [point for point in trial.wrong if abs(point.numeric) > 1e-9 and np.isfinite(point.rule)]
    ratios = [point.rule / point.numeric for point in points]
    return f"rule / numeric lies between {min(ratios):.3g} and {max(ratios):.3g}" if ratios else ""


def unused_attribute(trials: Sequence[Trial]) -> str:
    """Return which attribute a rule does not use, though forward does; nothing where its source names it."""
    name, values = attribute(trials)
    unused = name and not re.search(rf"\b{name}\b", trials[0].body)
    return f"{values}: the rule does not use {name} as forward does" if unused else ""


def attribute(trials: Sequence[Trial]) -> tuple[str, str]:
    """Return an attribute, and with which value of it the rule is right: with all others it is wrong.

    The inputs have the same shapes; where there are few windows a rule may be right by chance.
    """
    wrong = [trial for trial in trials if trial.finding.wrong]
    slipped = [(trial.rule.op.attributes(), _shapes(trial)) for trial in wrong]
    for trial in sorted(trials, key=lambda trial: -trial.rule.y.size):
        found, shapes = trial.rule.op.attributes(), _shapes(trial)
        for name in found if not trial.finding.wrong else ():
            near = [other for other, same in slipped if same == shapes]
            alike = [other for other in near if {**other, name: None} == {**found, name: None}]
            if alike and all(other[name] != found[name] for other, _ in slipped):
                return name, f"right with {name}={found[name]!r}, wrong with {name}={alike[0][name]!r}"
    return "", ""


def _shapes(trial: Trial) -> list[tuple[int, ...]]:
    return [x.shape for x in trial.values]
