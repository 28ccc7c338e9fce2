"""Likely causes of a mistake in a gradient rule: usual slips, recognized by the numbers or the error that they leave."""

from __future__ import annotations

import contextlib
import itertools
import math
import re
from collections.abc import Sequence

import numpy as np

from tinygraph.graph import OPERATIONS
from tinygraph.verify.hints.trial import Trial, agree
from tinygraph.verify.nodes import input_name
from tinygraph.verify.numeric import Point, contributions, unit


def slip(trials: Sequence[Trial], certain: bool) -> str:
    """Return the slip that explains the wrong gradients of all trials of one input, or an empty string.

    The ``certain`` ones show in all elements alike; the others are looked for where no edit of the rule was found.
    """
    wrong = [trial for trial in trials if trial.finding.wrong]
    failing = bool(wrong[0].finding.message)
    alike = [trial for trial in wrong if bool(trial.finding.message) == failing and (failing or trial.wrong)][:6]
    for guess in _GUESSES.get((failing, certain), ()):
        # Guesses run rules and forwards at other values, where these may fail; that means nothing.
        with contextlib.suppress(Exception):
            if guess in _EVERYWHERE and any(not trial.finding.wrong and trial.gradient.size > 1 for trial in trials):
                continue
            if guess is _nearly_right and any(point.error > 1e-4 for trial in wrong for point in trial.points):
                continue
            texts = [text for text in map(guess, alike) if text is not None]
            # A rule that fails for one shape may be right in another.
            text = _common([*filter(None, texts)] if failing else texts)
            if text:
                return text
    return ""


def _common(texts: Sequence[str]) -> str:
    """Return what the first text says and all others say too, but for the sizes in it."""
    said = [{_without_size(part) for part in text.split(", or ")} for text in texts]
    return ", or ".join(part for part in texts[0].split(", or ") if all(_without_size(part) in each for each in said))


def _without_size(text: str) -> str:
    return re.sub(r"(= )\d+$", r"\1", text)


def _close(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-5)


# ---- rules that give no gradient to compare


def _shapes(case: Trial) -> str:
    shapes = [np.shape(gradient) for gradient in case.rule.raw(*case.arguments)]
    expected = [np.shape(value) for value in case.values]
    if len(shapes) != len(expected) or shapes == expected:
        return ""
    if len(shapes) == 2 and shapes == expected[::-1]:
        return "the gradients of its inputs are swapped"
    found, right = shapes[case.place], expected[case.place]
    if found != right and found == right[::-1]:
        return "transposed"
    if found == case.rule.y.shape and found != right and np.broadcast_shapes(right, found) == found:
        x = case.name(case.place)
        return f"{x} is broadcast in forward: add its gradient up over those axes, as tg.sum_to(dy, {x}.shape) does"
    return ""


# ---- rules that give a wrong gradient


def _not_finite(case: Trial) -> str:
    return "" if np.isfinite(case.gradient).all() else "gives NaN or infinity where forward has a slope"


def _nearly_right(case: Trial) -> str:
    if not case.fits(case.gradient):
        return ""
    ratios = [point.rule / point.numeric for point in case.points if point.numeric]
    if np.ptp(ratios) > 1e-8 and max(point.error for point in case.points) < 1e-6:
        return "right to about seven digits: a part of the rule computes in float32"
    return "right to five digits: a constant with too few of them?"


def _zero(case: Trial) -> str:
    if np.any(case.gradient):
        return ""
    returned = case.rule.raw(*case.arguments)
    if all(gradient is None for gradient in returned):
        return "returns None, which says that no gradient flows: is its return missing?"
    if returned[case.place] is None:
        return "returns None, which says that no gradient flows, and forward depends on it"
    return "returns zero"


def _flat(case: Trial) -> str:
    flat = case.points and all(map(_is_flat, case.points))
    return "not zero, and forward is flat wherever it was tried" if flat else ""


def _use_of_dy(case: Trial) -> str:
    doubled = case.rule.gradient(case.place, 2 * case.rule.cotangent)
    if np.array_equal(doubled, case.gradient):
        return "does not use dy"
    return "uses dy twice in a product" if np.allclose(doubled, 4 * case.gradient, rtol=1e-9, atol=0) else ""


def _factor(case: Trial) -> str:
    """Recognize a gradient that is a multiple of the right one."""
    largest = max((abs(point.numeric) for point in case.points), default=0.0)
    ratios = [point.rule / point.numeric for point in case.points if abs(point.numeric) > 1e-3 * largest]
    factor = float(np.median(ratios)) if ratios else 1.0
    if factor == 0 or not math.isfinite(factor) or _close(factor, 1) or not np.allclose(ratios, factor, 1e-5, 0):
        return ""
    if _close(factor, -1):
        return ", or ".join(filter(None, ("sign", _swapped(case))))
    x, y = case.values[case.place], case.rule.y
    # What a mean may divide by: samples, elements, elements for each result.
    counts = [*x.shape[:1], x.size, x.size // max(y.size, 1), *(value.size for value in case.values)]
    counts = [count for count in dict.fromkeys(counts) if count > 1]
    products = len(case.values) > 1 and not case.rule.op.elementwise
    roots = sorted({size for value in case.values for size in value.shape if size > 1 and products})
    missing = next((f"missing 1/m, m = {m}" for m in counts if _close(factor, m)), "")
    doubled = next((f"1/m taken twice, m = {m}" for m in counts if _close(factor * m, 1)), "")
    root = next((f"missing 1/√n, n = {n}" for n in roots if _close(factor, math.sqrt(n))), "")
    multiple = f"off by a factor of {factor:.6g}" if len(ratios) > 1 or _close(factor, round(factor)) else ""
    simple = multiple if _close(factor, 2) or _close(factor, 0.5) else ""
    return ", or ".join(filter(None, (simple, missing or doubled, root))) or multiple


def _swapped(case: Trial) -> str | None:
    others = [finding for finding in case.findings if finding.place != case.place and case.fits(finding.gradient)]
    swapped = any(Trial(case.rule, other, ()).fits(case.gradient) for other in others)
    # In broadcast inputs it does not show.
    elsewhere = None if len({case.values[finding.place].shape for finding in case.findings}) > 1 else ""
    return "the gradients of its inputs are swapped" if swapped else elsewhere


def _other_axis(case: Trial) -> str:
    """Recognize a rule that would be right if the last two axes were exchanged in it."""
    arrays = [x.swapaxes(-1, -2) for x in case.arguments]
    right = case.fits(np.asarray(case.rule.raw(*arrays)[case.place]).swapaxes(-1, -2))
    return "summed over the wrong axis" if right and len({x.ndim for x in arrays}) == 1 else ""


def _other_places(case: Trial) -> str:
    """Recognize the right numbers in the wrong places, and how they were moved."""
    gradient = case.gradient
    all_compared = len(case.points) == gradient.size > 2
    if not all_compared or not agree(np.sort(gradient, None), np.sort(case.numeric)):
        return ""
    if gradient.ndim > 1 and gradient.shape[-1] == gradient.shape[-2] and case.fits(gradient.swapaxes(-1, -2)):
        return "transposed"
    for axis in range(gradient.ndim):
        if case.fits(np.flip(gradient, axis)):
            return f"the right numbers in the wrong places: flipped along axis {axis}"
        steps = [step for step in range(1, gradient.shape[axis]) if case.fits(np.roll(gradient, -step, axis))]
        if steps:
            halves = 2 * steps[0] == gradient.shape[axis] > 2
            moved = f"the halves along axis {axis} are exchanged" if halves else f"shifted along axis {axis}"
            return f"the right numbers in the wrong places: {moved}"
    return "the right numbers in the wrong places: another order, such as that of the inverse permutation"


def _other_rule(case: Trial) -> str:
    """Recognize the rule of another function: an activation of the package."""
    for name, function in sorted(OPERATIONS.items()):
        if function.op.family == "activation" and len(case.values) == len(function.op.parameters) == 1:
            with contextlib.suppress(Exception):
                found = function.op().vjp(*case.arguments)
                if agree(case.at_points(found), case.at_points(case.gradient)):
                    return f"it is the rule of {name}, and forward is another function"
    return ""


def _assigned(case: Trial) -> str:
    """Recognize a rule that keeps one of the contributions to an element where it should add them up."""
    largest = sorted(case.wrong, key=lambda point: -point.error)[:10]
    if case.body and not re.search(r"\]\s*=[^=]", case.body):
        return ""
    if not largest or not all(_keeps_one(case, point) for point in largest):
        return ""
    overlap = hasattr(case.rule.op, "windows") or hasattr(case.rule.op, "window")
    several = "assigned where windows overlap" if overlap else "terms are missing: of several contributions one is kept"
    return f"{several}; gradients add up"


def _keeps_one(case: Trial, point: Point) -> bool:
    function, direction = case.rule.forward(case.place), unit(case.gradient.shape, point.index or ())
    parts = contributions(function, case.values[case.place], direction, case.rule.cotangent)
    parts = parts[abs(parts) > 1e-6 * abs(parts).max(initial=0.0)]
    return parts.size > 1 and bool(np.isclose(parts, point.rule, rtol=1e-4, atol=0).any())


def _argument_order(case: Trial) -> str:
    """Recognize a rule that takes its arguments in another order than it gets them."""
    names = case.signature
    inputs = [input_name(case.rule.op, place) for place in range(len(case.values))]
    if names[0] == "dy" and names[2:] == inputs:
        return ""
    first, *orders = itertools.permutations(range(len(case.arguments))) if len(case.arguments) < 6 else [()]
    if orders and not _in_order(case, first):
        for order in orders:
            if _in_order(case, order):
                return f"takes its arguments in another order than the gradient of the result, the result, {', '.join(inputs)}"
    return ""


def _in_order(case: Trial, order: Sequence[int]) -> bool:
    """Whether a rule is right if it gets its arguments in an order."""
    with contextlib.suppress(Exception):
        gradients = case.rule.raw(*(case.arguments[i] for i in order))
        each = [Trial(case.rule, finding) for finding in case.findings]
        return len(gradients) == len(case.values) and all(other.fits(gradients[other.place]) for other in each)
    return False


_CONDITION = re.compile(r"[<>]|[=!]=|\b(if|where|gate|clip|maximum|minimum|sign|abs|relu|heaviside)\b")


def _branch(case: Trial) -> str:
    """Recognize a wrong condition: the gradient is right in some places, and elsewhere wrongly zero or not zero."""
    if case.body and not _CONDITION.search(case.body):
        return ""
    flat = [_is_flat(point) for point in case.points]
    if len(set(flat)) == 2 and all((point.rule == 0) != _is_flat(point) for point in case.points):
        return "zero where forward is not flat, and not zero where it is: a condition is the wrong way round"
    if len(case.wrong) == len(case.points):
        return ""
    if all(point.rule == 0 for point in case.wrong):
        return "zero where forward is not flat: a condition is wrong"
    if all(map(_is_flat, case.wrong)):
        return "not zero where forward is flat: a condition is missing or wrong"
    return ""


def _is_flat(point: Point) -> bool:
    return abs(point.numeric) < 1e-9 * max(abs(point.rule), 1e-3)


# In this order: the first that fits is the hint.
_CERTAIN = (_not_finite, _nearly_right, _zero, _flat, _use_of_dy, _factor, _swapped, _argument_order)
_LIKELY = (_other_axis, _assigned, _other_places, _other_rule, _branch)
# Slips that would show in every trial.
_EVERYWHERE = (_factor, _other_axis, _other_rule)
_GUESSES = {(False, True): _CERTAIN, (False, False): _LIKELY, (True, True): (_shapes, _argument_order)}
