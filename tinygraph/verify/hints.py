"""Likely causes of a mistake in a gradient rule: usual slips, recognized by the numbers or the error that they leave."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.graph import Array
from tinygraph.verify.nodes import input_name
from tinygraph.verify.numeric import Point, contributions, unit

if TYPE_CHECKING:
    from tinygraph.verify.checker import Finding, LocalRule


def hint(rule: LocalRule, finding: Finding, findings: Sequence[Finding]) -> str:
    """Return the likely cause of a wrong gradient, or an empty string where none fits.

    ``findings`` are those of all the node's inputs: a gradient may have gone to the wrong one.
    """
    case = _Case(rule, finding, findings)
    for guess in _WITHOUT_GRADIENT if finding.message else _WRONG_GRADIENT:
        # Guesses run rules and forwards at other values, where these may fail; that means nothing.
        with contextlib.suppress(Exception):
            text = guess(case)
            if text:
                return text
    return ""


class _Case:
    """One wrong gradient, and what the guesses look at: the comparisons of elements, and which of them are wrong."""

    def __init__(self, rule: LocalRule, finding: Finding, findings: Sequence[Finding]) -> None:
        self.rule, self.finding, self.findings = rule, finding, findings
        self.place, self.gradient, self.values = finding.place, finding.gradient, rule.values
        self.arguments = [rule.cotangent, rule.y, *rule.values]
        self.points = [point for point in finding.points if point.index is not None and not point.kink]
        self.wrong = [point for point in self.points if point.error > 1e-6]

    def fits(self, candidate: Any) -> bool:
        """Whether a gradient agrees with the numeric derivatives of all elements that were compared."""
        if not self.points or np.shape(candidate) != self.gradient.shape:
            return False
        return _agree([candidate[point.index] for point in self.points], self.points)

    def name(self, place: int) -> str:
        """Return what the operation calls an input."""
        return input_name(self.rule.op, place)


def _agree(values: Sequence[Any], points: Sequence[Point]) -> bool:
    numeric = np.array([point.numeric for point in points])
    return bool(np.allclose(values, numeric, rtol=1e-5, atol=1e-7 * abs(numeric).max()))


def _close(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-5)


# ---- rules that give no gradient to compare


def _shapes(case: _Case) -> str:
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


def _operand_transposed(case: _Case) -> str:
    """Recognize a rule that would be right, or would at least give the right shape, if an input were transposed in it."""
    expected, fails = case.values[case.place].shape, bool(case.finding.message)
    with contextlib.suppress(Exception):
        if fails and np.shape(case.rule.raw(*case.arguments)[case.place]) == expected:
            # It fails on tensors alone.
            return ""
    for place, value in enumerate(case.values):
        # A vector has no such axes, and in most orders a rule cannot be computed.
        with contextlib.suppress(Exception):
            changed = list(case.arguments)
            changed[place + 2] = value.swapaxes(-1, -2)
            gradients = case.rule.raw(*changed)
            fits = case.fits(gradients[case.place]) or (fails and np.shape(gradients[case.place]) == expected)
            if fits and len(gradients) == len(case.values):
                return f"transposed: {case.name(place)} stands where {case.name(place)}.T belongs"
    return ""


_WITHOUT_GRADIENT = (_shapes, _operand_transposed)


# ---- rules that give a wrong gradient


def _not_finite(case: _Case) -> str:
    return "" if np.isfinite(case.gradient).all() else "gives NaN or infinity where forward has a slope"


def _nearly_right(case: _Case) -> str:
    return "right to five digits: a constant with too few of them?" if case.fits(case.gradient) else ""


def _zero(case: _Case) -> str:
    if np.any(case.gradient):
        return ""
    returned = case.rule.raw(*case.arguments)
    if all(gradient is None for gradient in returned):
        return "returns None, which says that no gradient flows: is its return missing?"
    if returned[case.place] is None:
        return "returns None, which says that no gradient flows, and forward depends on it"
    return "returns zero"


def _use_of_dy(case: _Case) -> str:
    doubled = case.rule.gradient(case.place, 2 * case.rule.cotangent)
    if np.array_equal(doubled, case.gradient):
        return "does not use dy"
    return "uses dy twice in a product" if np.allclose(doubled, 4 * case.gradient, rtol=1e-9, atol=0) else ""


def _factor(case: _Case) -> str:
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


def _swapped(case: _Case) -> str:
    others = [finding for finding in case.findings if finding.place != case.place and case.fits(finding.gradient)]
    swapped = any(_Case(case.rule, other, ()).fits(case.gradient) for other in others)
    return "the gradients of its inputs are swapped" if swapped else ""


def _transposed(case: _Case) -> str:
    return "transposed" if case.gradient.ndim > 1 and case.fits(case.gradient.swapaxes(-1, -2)) else ""


_AXIS_SLIPS: dict[str, Callable[[Array], Array]] = {
    "summed over the wrong axis": lambda x: x.swapaxes(-1, -2),
    "runs along the axis the wrong way round": lambda x: x[..., ::-1],
}


def _other_axis(case: _Case) -> str:
    """Recognize a rule that would be right if axes were exchanged in it, or the last one reversed, as for cumulative sums."""
    ranks = {value.ndim for value in [*case.arguments, case.gradient]}
    # Less than a tenth of the elements may be wrong by another mistake.
    if 10 * len(case.wrong) < len(case.finding.points) or 0 in ranks:
        return ""
    matrices = len(ranks) == 1 and case.gradient.ndim > 1
    for words, change in list(_AXIS_SLIPS.items())[0 if matrices else 1 :]:
        with contextlib.suppress(Exception):
            if case.fits(change(np.asarray(case.rule.raw(*map(change, case.arguments))[case.place]))):
                return words
    return ""


def _shifted(case: _Case) -> str:
    """Recognize a gradient whose elements are one place away from where they belong."""
    for axis, step in itertools.product(range(case.gradient.ndim), (1, -1)):
        shifted = np.roll(case.gradient, step, axis)
        last = 0 if step > 0 else case.gradient.shape[axis] - 1
        inner = [point for point in case.points if point.index and point.index[axis] != last]
        wrong = [point for point in inner if point.error > 1e-6]
        if 2 * len(wrong) > len(inner) > 2 and _agree([shifted[point.index] for point in inner], inner):
            return f"off by one place along axis {axis}"
    return ""


def _assigned(case: _Case) -> str:
    """Recognize a rule that keeps one of the contributions to an element where it should add them up."""
    largest = sorted(case.wrong, key=lambda point: -point.error)[:10]
    if not largest or not all(_keeps_one(case, point) for point in largest):
        return ""
    overlap = hasattr(case.rule.op, "windows") or hasattr(case.rule.op, "window")
    return f"{'assigned where windows overlap' if overlap else 'one contribution of several'}; gradients add up"


def _keeps_one(case: _Case, point: Point) -> bool:
    function, direction = case.rule.forward(case.place), unit(case.gradient.shape, point.index or ())
    parts = contributions(function, case.values[case.place], direction, case.rule.cotangent)
    parts = parts[abs(parts) > 1e-6 * abs(parts).max(initial=0.0)]
    return parts.size > 1 and bool(np.isclose(parts, point.rule, rtol=1e-4, atol=0).any())


def _argument_order(case: _Case) -> str:
    """Recognize a rule that takes its arguments in another order than it gets them."""
    places = range(len(case.arguments))
    for order in itertools.permutations(places) if len(places) < 5 else ():
        # In most orders a rule cannot be computed.
        with contextlib.suppress(Exception):
            if order != tuple(places) and case.fits(case.rule.raw(*(case.arguments[i] for i in order))[case.place]):
                names = ", ".join(map(case.name, range(len(case.values))))
                return f"takes its arguments in another order than the gradient of the result, the result, {names}"
    return ""


def _branch(case: _Case) -> str:
    """Recognize a wrong condition: the gradient is right in some places, and elsewhere wrongly zero or not zero."""
    flat = [_is_flat(point) for point in case.points]
    if len(set(flat)) == 2 and all((point.rule == 0) != _is_flat(point) for point in case.points):
        return "zero where forward is not flat, and not zero where it is: a condition is the wrong way round"
    if len(case.wrong) == len(case.points):
        return "not zero, and forward is flat wherever it was tried" if flat and all(flat) else ""
    if all(point.rule == 0 for point in case.wrong):
        return "zero where forward is not flat: a condition is wrong"
    if all(map(_is_flat, case.wrong)):
        return "not zero where forward is flat: a condition is missing or wrong"
    return ""


def _is_flat(point: Point) -> bool:
    return abs(point.numeric) < 1e-9 * max(abs(point.rule), 1e-3)


def _signs(case: _Case) -> str:
    """Recognize a gradient whose elements have the right sizes, some of them with the wrong sign."""
    sizes = ([abs(point.rule) for point in case.points], [abs(point.numeric) for point in case.points])
    right = np.allclose(*sizes, rtol=1e-5, atol=1e-9)
    return "right but for the sign of some elements: sign(x) may be missing, or one too many" if right else ""


# In this order: the first that fits is the hint.
_WRONG_GRADIENT = (
    _not_finite,
    _nearly_right,
    _zero,
    _use_of_dy,
    _factor,
    _swapped,
    _transposed,
    _operand_transposed,
    _other_axis,
    _shifted,
    _assigned,
    _argument_order,
    _branch,
    _signs,
)


# ---- exceptions

_ONE_NUMBER = "the functions of the module math take one number; those of NumPy, such as np.exp, take arrays"
_OPAQUE = "@name.vjp(opaque=True), or opaque_vjp = True in the class"
# Words in the message of an exception that a forward or a rule raised, and the usual cause.
_CAUSES = {
    "it must return one array": "an operation has one result: make one for each, or put them together into one array",
    "read-only": "it writes into an array that it was given: np.array(x) makes a copy",
    "writes into an array cannot be recorded": "mark a rule that writes into arrays as opaque: opaque_vjp = True in the "
    "class, or @name.vjp(opaque=True)",
    "truth value of an array": "`if` asks one question about an array; np.where(condition, a, b) asks it of each element",
    "one number or boolean is needed": "`if` and the functions of the module math take one number; np.where and np.exp, "
    "for example, take arrays",
    "Python scalars": _ONE_NUMBER,
    "must be real number": _ONE_NUMBER,
    "positional argument": "a rule takes dy, y and each input, in this order: def name_vjp(dy, y, x)",
    "unexpected keyword argument": "forward and the rule name attributes after a *: def name_vjp(dy, y, x, *, threshold)",
    "cannot be recorded on tensors": f"a rule that needs such functions of NumPy works on plain arrays: {_OPAQUE}",
    "a tensor has no attribute": "a tensor has fewer methods than an array: write it with tg's operations, or mark the "
    "rule as opaque, @name.vjp(opaque=True), and it is given arrays",
    "broadcast": "the shapes do not fit: keepdims=True keeps an axis that is summed over, tg.expand_dims puts one in",
    "has no gradient rule": "write one; where it follows from operations, a plain function of them needs none",
}


def cause_of(message: str) -> str:
    """Return the usual cause of an exception with this message, or an empty string.

    >>> cause_of("ValueError: output array is read-only")
    'it writes into an array that it was given: np.array(x) makes a copy'
    """
    return next((cause for words, cause in _CAUSES.items() if words in message), "")
