"""What a wrong gradient looks like: the usual slips, recognised by the numbers they leave."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.verify.compare import Point
from tinygraph.verify.names import input_name

if TYPE_CHECKING:
    from tinygraph.verify.local import Finding, LocalRule


def hint(rule: LocalRule, finding: Finding, findings: Sequence[Finding]) -> str:
    """Return the likely cause of a wrong gradient, or an empty string where none fits.

    ``findings`` are those of all the node's inputs: a gradient may have gone to the wrong one.
    """
    wrong_values = (
        _not_finite,
        _nearly_right,
        _zero,
        _without_dy,
        _with_dy_twice,
        _factor,
        _swapped,
        _transposed,
        _operand_transposed,
        _wrong_axis,
        _backwards,
        _shifted,
        _assigned,
        _order,
        _branch,
        _signs,
    )
    for guess in (_shapes, _operand_shapes) if finding.message else wrong_values:
        try:
            text = guess(rule, finding, findings)
        except Exception:
            # Guesses run rules and forwards at other values, where these may fail; that says nothing.
            continue
        if text:
            return text
    return ""


def _shapes(rule: LocalRule, finding: Finding, findings: Sequence[Finding]) -> str:
    shapes = [np.shape(gradient) for gradient in rule.raw(rule.cotangent, rule.values)]
    expected = [np.shape(value) for value in rule.values]
    if len(shapes) != len(expected) or shapes == expected:
        return ""
    if len(shapes) == 2 and shapes == expected[::-1]:
        return "the gradients of its inputs are swapped"
    shape, right = shapes[finding.place], expected[finding.place]
    if shape != right and shape == right[::-1]:
        return "transposed"
    if shape == rule.y.shape and _broadcasts(right, shape):
        name = input_name(rule.op, finding.place)
        return (
            f"{name} is broadcast in forward: add its gradient up over those axes, as tg.sum_to(dy, {name}.shape) does"
        )
    return ""


def _broadcasts(shape: tuple[int, ...], result: tuple[int, ...]) -> bool:
    try:
        return shape != result and np.broadcast_shapes(shape, result) == result
    except ValueError:
        return False


def _operand_shapes(rule: LocalRule, finding: Finding, findings: Sequence[Finding]) -> str:
    """Recognise a rule that fails, and would give the right shape if one of the matrices were transposed in it."""
    with contextlib.suppress(Exception):
        if np.shape(rule.raw(rule.cotangent, rule.values)[finding.place]) == rule.values[finding.place].shape:
            # It fails on tensors alone.
            return ""
    for place, value in enumerate(rule.values):
        values = [*rule.values[:place], value.swapaxes(-1, -2), *rule.values[place + 1 :]] if value.ndim == 2 else []
        with contextlib.suppress(Exception):
            shapes = [np.shape(gradient) for gradient in rule.raw(rule.cotangent, values)] if values else []
            if len(shapes) == len(rule.values) and shapes[finding.place] == rule.values[finding.place].shape:
                name = input_name(rule.op, place)
                return f"transposed: {name} stands where {name}.T belongs"
    return ""


def _elements(finding: Finding) -> list[Point]:
    return [point for point in finding.points if point.index is not None and not point.kink]


def _matches(candidate: Any, finding: Finding) -> bool:
    """Whether a gradient agrees with the numeric derivatives of all elements that were compared."""
    points = _elements(finding)
    if not points or np.shape(candidate) != finding.gradient.shape:
        return False
    return _agree([candidate[point.index] for point in points], points)


def _agree(values: Sequence[Any], points: Sequence[Point]) -> bool:
    numeric = np.array([point.numeric for point in points])
    return bool(np.allclose(values, numeric, rtol=1e-5, atol=1e-7 * abs(numeric).max()))


def _zero(rule: LocalRule, finding: Finding, findings: Sequence[Finding]) -> str:
    if np.any(finding.gradient):
        return ""
    returned = rule.raw(rule.cotangent, rule.values)
    if all(gradient is None for gradient in returned):
        return "returns None, which says that no gradient flows: is its return missing?"
    if returned[finding.place] is None:
        return "returns None, which says that no gradient flows, and forward depends on it"
    return "returns zero"


def _not_finite(rule: LocalRule, finding: Finding, findings: Sequence[Finding]) -> str:
    return "" if np.isfinite(finding.gradient).all() else "gives NaN or infinity where forward has a slope"


def _nearly_right(rule: LocalRule, finding: Finding, findings: Sequence[Finding]) -> str:
    return "right to five digits: a constant with too few of them?" if _matches(finding.gradient, finding) else ""


def _without_dy(rule: LocalRule, finding: Finding, findings: Sequence[Finding]) -> str:
    doubled = rule.gradient(finding.place, 2 * rule.cotangent)
    return "does not use dy" if np.array_equal(doubled, finding.gradient) else ""


def _with_dy_twice(rule: LocalRule, finding: Finding, findings: Sequence[Finding]) -> str:
    doubled = rule.gradient(finding.place, 2 * rule.cotangent)
    return "uses dy twice in a product" if np.allclose(doubled, 4 * finding.gradient, rtol=1e-9, atol=0) else ""


def _factor(rule: LocalRule, finding: Finding, findings: Sequence[Finding]) -> str:
    """Recognise a gradient that is a multiple of the right one."""
    points = _elements(finding)
    largest = max((abs(point.numeric) for point in points), default=0.0)
    ratios = [point.rule / point.numeric for point in points if abs(point.numeric) > 1e-3 * largest]
    factor = float(np.median(ratios)) if ratios else 1.0
    if (
        not math.isfinite(factor)
        or factor == 0
        or _close(factor, 1)
        or not np.allclose(ratios, factor, rtol=1e-5, atol=0)
    ):
        return ""
    counts = _counts(rule, finding.place)
    if _close(factor, -1):
        return ", or ".join(filter(None, ("sign", _swapped(rule, finding, findings))))
    products = len(rule.values) > 1 and not rule.op.elementwise
    roots = sorted({size for value in rule.values for size in value.shape if size > 1 and products})
    missing = next((f"missing 1/m, m = {m}" for m in counts if _close(factor, m)), "")
    root = next((f"missing 1/√n, n = {n}" for n in roots if _close(factor, math.sqrt(n))), "")
    doubled = next((f"1/m taken twice, m = {m}" for m in counts if _close(factor * m, 1)), "")
    multiple = f"off by a factor of {factor:.6g}" if len(ratios) > 1 or _close(factor, round(factor)) else ""
    simple = multiple if _close(factor, 2) or _close(factor, 0.5) else ""
    return ", or ".join(filter(None, (simple, missing or doubled, root))) or multiple


def _close(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-5)


def _counts(rule: LocalRule, place: int) -> list[int]:
    """Return the numbers that a mean may divide by: samples, elements, elements for each result."""
    x = rule.values[place]
    counts = [*x.shape[:1], x.size, x.size // max(rule.y.size, 1), *(value.size for value in rule.values)]
    return [count for count in dict.fromkeys(counts) if count > 1]


def _returned(returned: Any) -> list[Any]:
    """Return what a rule returned as a list of gradients, those computed that it left as functions."""
    gradients = returned if isinstance(returned, (tuple, list)) else (returned,)
    return [gradient() if callable(gradient) else gradient for gradient in gradients]


def _swapped(rule: LocalRule, finding: Finding, findings: Sequence[Finding]) -> str:
    others = [other for other in findings if other is not finding]
    swapped = any(_matches(other.gradient, finding) and _matches(finding.gradient, other) for other in others)
    return "the gradients of its inputs are swapped" if swapped else ""


def _order(rule: LocalRule, finding: Finding, findings: Sequence[Finding]) -> str:
    """Recognise a rule that takes its arguments in another order than it is given them."""
    given = [rule.cotangent, rule.y, *rule.values]
    names = ", ".join(input_name(rule.op, place) for place in range(len(rule.values)))
    for order in itertools.permutations(range(len(given))) if len(given) < 5 else ():
        if order == tuple(range(len(given))):
            continue
        try:
            gradient = _returned(rule.op.vjp(*[given[i] for i in order]))[finding.place]
        except Exception:
            # In most orders a rule is given what it can do nothing with.
            continue
        if _matches(gradient, finding):
            return f"takes its arguments in another order than the gradient of the result, the result, {names}"
    return ""


def _transposed(rule: LocalRule, finding: Finding, findings: Sequence[Finding]) -> str:
    gradient = finding.gradient
    return "transposed" if gradient.ndim > 1 and _matches(gradient.swapaxes(-1, -2), finding) else ""


def _operand_transposed(rule: LocalRule, finding: Finding, findings: Sequence[Finding]) -> str:
    """Recognise a rule that would be right if one of the inputs were transposed in it."""
    for place, value in enumerate(rule.values):
        if value.ndim > 1 and value.shape[-1] == value.shape[-2]:
            values = [*rule.values[:place], value.swapaxes(-1, -2), *rule.values[place + 1 :]]
            if _matches(rule.raw(rule.cotangent, values)[finding.place], finding):
                name = input_name(rule.op, place)
                return f"transposed: {name} stands where {name}.T belongs"
    return ""


def _wrong_axis(rule: LocalRule, finding: Finding, findings: Sequence[Finding]) -> str:
    """Recognise a rule that would be right if the last two axes of everything changed places in it."""
    arrays = [rule.cotangent, rule.y, *rule.values]
    wrong = [point for point in _elements(finding) if point.error > 1e-6]
    if 10 * len(wrong) < len(finding.points) or finding.gradient.ndim < 2:
        return ""
    if not all(value.ndim == finding.gradient.ndim for value in arrays):
        return ""
    gradient = np.asarray(_returned(rule.op.vjp(*[value.swapaxes(-1, -2) for value in arrays]))[finding.place])
    return "summed over the wrong axis" if _matches(gradient.swapaxes(-1, -2), finding) else ""


def _backwards(rule: LocalRule, finding: Finding, findings: Sequence[Finding]) -> str:
    """Recognise a rule that would be right if everything ran the other way along the last axis in it, as sums on the way do."""
    arrays = [rule.cotangent, rule.y, *rule.values]
    wrong = [point for point in _elements(finding) if point.error > 1e-6]
    if 10 * len(wrong) < len(finding.points) or any(value.ndim == 0 for value in arrays):
        return ""
    gradient = np.asarray(_returned(rule.op.vjp(*[value[..., ::-1] for value in arrays]))[finding.place])
    return "runs along the axis the wrong way round" if _matches(gradient[..., ::-1], finding) else ""


def _shifted(rule: LocalRule, finding: Finding, findings: Sequence[Finding]) -> str:
    """Recognise a gradient that stands one place beside where it belongs."""
    points = [point for point in _elements(finding) if point.index is not None]
    for axis, step in itertools.product(range(finding.gradient.ndim), (1, -1)):
        beside = np.roll(finding.gradient, step, axis)
        last = 0 if step > 0 else finding.gradient.shape[axis] - 1
        inner = [point for point in points if point.index and point.index[axis] != last]
        wrong = [point for point in inner if point.error > 1e-6]
        if 2 * len(wrong) > len(inner) > 2 and _agree([beside[point.index] for point in inner], inner):
            return f"off by one place along axis {axis}"
    return ""


def _branch(rule: LocalRule, finding: Finding, findings: Sequence[Finding]) -> str:
    """Recognise a condition that is wrong: the gradient is right in some places, and zero where it must not be, or not."""
    points = _elements(finding)
    wrong = [point for point in points if point.error > 1e-6]
    flat = [_is_flat(point) for point in points]
    if any(flat) and not all(flat) and all((point.rule == 0) != _is_flat(point) for point in points):
        return "zero where forward is not flat, and not zero where it is: a condition is the wrong way round"
    if points and all(flat) and len(wrong) == len(points):
        return "not zero, and forward is flat wherever it was tried"
    if len(wrong) == len(points):
        return ""
    if all(point.rule == 0 for point in wrong):
        return "zero where forward is not flat: a condition is wrong"
    if all(_is_flat(point) for point in wrong):
        return "not zero where forward is flat: a condition is missing or wrong"
    return ""


def _is_flat(point: Point) -> bool:
    return abs(point.numeric) < 1e-9 * max(abs(point.rule), 1e-3)


def _signs(rule: LocalRule, finding: Finding, findings: Sequence[Finding]) -> str:
    """Recognise a gradient whose elements have the right sizes, some of them with the wrong sign."""
    points = _elements(finding)
    sizes = np.allclose([abs(p.rule) for p in points], [abs(p.numeric) for p in points], rtol=1e-5, atol=1e-9)
    return "right but for the sign of some elements: sign(x) may be missing, or one too many" if sizes else ""


def _assigned(rule: LocalRule, finding: Finding, findings: Sequence[Finding]) -> str:
    """Recognise a rule that keeps one of the contributions to an element where it should add them up."""
    wrong = sorted((p for p in _elements(finding) if p.error > 1e-6), key=lambda point: -point.error)[:10]
    if not wrong or not all(_keeps_one(rule, finding.place, point) for point in wrong):
        return ""
    if hasattr(rule.op, "windows") or hasattr(rule.op, "window"):
        return "assigned where windows overlap; gradients add up"
    return "one contribution of several; gradients add up"


def _keeps_one(rule: LocalRule, place: int, point: Point) -> bool:
    direction = np.zeros(rule.values[place].shape)
    direction[point.index] = 1.0
    parts = rule.contributions(place, direction)
    parts = parts[abs(parts) > 1e-6 * abs(parts).max(initial=0.0)]
    return parts.size > 1 and bool(np.isclose(parts, point.rule, rtol=1e-4, atol=0).any())
