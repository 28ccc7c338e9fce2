"""The checks at special numbers: NaN, numbers far from zero, and numbers so large that naive formulas overflow."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np

from tinygraph.errors import TinygraphError
from tinygraph.graph.arrays import Array
from tinygraph.verify.certificate.case import Case, short
from tinygraph.verify.certificate.gradients import find
from tinygraph.verify.certificate.line import Line, agreed, failed, not_asked
from tinygraph.verify.certificate.subject import Subject
from tinygraph.verify.numeric import contributions

_LEAST_FAR, _MOST_FAR, _COUNT_FAR = 0.05, 20.0, 24


def not_a_number(subject: Subject) -> Iterator[Line]:
    """Look for NaN that finite inputs gave, and put NaN into one element: results that change with it are NaN."""
    asked = 0
    for case in subject.smallest_first():
        for place in case.places:
            try:
                fault, example = _missing(case, place)
            except TinygraphError:
                # NaN, or a number beside the sample's, is refused: that is as good.
                continue
            asked += 1
            if fault:
                yield failed("not a number", fault, _smaller(case, place, fault) or example, _NAN_HINTS[fault])
                return
    yield (
        agreed("not a number", "neither invented nor swallowed")
        if asked
        else not_asked("not a number", "no floating input, or refused")
    )


_NAN_HINTS = {
    "invented": "0/0, 0 * infinity, or infinity - infinity on the way",
    "swallowed": "a comparison with NaN is false: write the condition the other way round; np.nan_to_num, np.fmax and "
    "their like lose NaN as well",
}


def _missing(case: Case, place: int) -> tuple[str, str]:
    """Return whether NaN is invented, or swallowed in one input, with an example; or nothing."""
    gradient = case.rule.gradient(place, case.rule.cotangent)
    if np.isnan(case.y).any() or np.isnan(gradient).any():
        return "invented", f"{case.call()} = {short(case.y)}, gradient {short(gradient)}"
    x = case.inputs[place]
    direction = np.zeros(x.shape)
    direction.flat[:1] = 1.0

    def function(moved: Array) -> Array:
        return case.compute([moved if other == place else v for other, v in enumerate(case.inputs)])

    y = function(np.where(direction == 1, np.nan, x))
    depends = contributions(function, x, direction, np.ones(case.y.shape)) != 0
    # Where as many results are NaN as depend on it, it is not lost, but may stand elsewhere, as in an order.
    if not np.isfinite(y[depends]).any() or np.isnan(y).sum() >= depends.sum():
        return "", ""
    poisoned = [np.where(direction == 1, np.nan, v) if other == place else v for other, v in enumerate(case.inputs)]
    return "swallowed", f"{case.call(poisoned)} = {short(y)}"


def _smaller(case: Case, place: int, fault: str) -> str:
    """Return an example of the same in a part of a case, if there is one."""
    for part in case.parts():
        with contextlib.suppress(TinygraphError):
            found, example = _missing(part, place) if place in part.places else ("", "")
            if found == fault:
                return example
    return ""


_FAR = "a limit or a branch of forward that the rule does not know, or does not know as forward does"


def far_from_zero(subject: Subject) -> Iterator[Line]:
    """Compare gradients with numeric derivatives once more, at numbers from 0.05 to 20: limits and branches lie there.

    Samples say which numbers an operation is made for; this is asked where there are none, and where each element is
    computed alone.
    """
    name, asked, worst = "far from zero", 0, 0.0
    for case in subject.differentiable if subject.proposed or subject.op.elementwise else []:
        far = _far(subject, case)
        if far is None:
            continue
        asked += 1
        for place in far.places:
            finding = find(far, place, subject.tolerance)
            point = max(finding.points, key=lambda point: point.error, default=None)
            error = point.error if point else 0.0
            worst = max(worst, error)
            if finding.message or error > subject.tolerance:
                yield failed(name, f"worst error {error:.1e}", far.example(place, finding.message, point), _FAR)
                return
    if asked:
        yield agreed(name, f"worst error {worst:.1e} at numbers up to {_MOST_FAR:g}")
    else:
        yield not_asked(
            name, "the samples say which numbers are meant" if not subject.proposed else "outside the domain"
        )


def _far(subject: Subject, case: Case) -> Case | None:
    """Return a case like one given, at numbers of all sizes where forward is finite; or None."""
    op = case.op
    for signs in ([-1.0, 1.0], [1.0]):
        rng = np.random.default_rng([subject.seed, 4])

        def drawn(x: Array, rng: np.random.Generator = rng, signs: list[float] = signs) -> Array:
            shape = (_COUNT_FAR,) if op.elementwise else x.shape
            if x.dtype.kind != "f":
                return np.resize(x, shape)
            return rng.choice(signs, shape) * 10 ** rng.uniform(np.log10(_LEAST_FAR), np.log10(_MOST_FAR), shape)

        inputs = [drawn(x) for x in case.inputs]
        try:
            sound = np.isfinite(case.compute(inputs))
        except Exception:
            # Outside the domain an operation may do what it likes.
            continue
        if op.elementwise:
            inputs = [x[sound] for x in inputs]
        if sound.any() and (op.elementwise or sound.all()):
            return case.on(inputs)
    return None


def large_numbers(subject: Subject) -> Iterator[Line]:
    """Multiply inputs by up to 10,000: where longer floating point numbers give a finite result, float64 does as well."""
    if np.finfo(np.longdouble).maxexp <= np.finfo(np.float64).maxexp:
        yield not_asked("large numbers", "no longer floating point type here to compare with")
        return
    asked = 0
    for case in subject.smallest_first():
        for scale in (30.0, 1e4):
            inputs = [x * scale if x.dtype.kind == "f" else x for x in case.inputs]
            large = case.on(inputs)
            what = _overflow(large)
            asked += what is not None
            if what:
                shown = next((part for part in large.parts() if _overflow(part)), large)
                told = "exp of a large number overflows: subtract the largest first, or use the sign of x"
                yield failed("large numbers", f"{_overflow(shown)} is NaN or infinite", shown.call(), told)
                return
    yield agreed("large numbers", "no overflow") if asked else not_asked("large numbers", "outside the domain")


def _overflow(case: Case) -> str | None:
    """Return what is not finite though longer numbers are, or nothing; None where there is nothing to compare with."""
    try:
        y, longer = case.y, np.asarray(case.op.forward(*[_longer(x) for x in case.inputs]))
        gradients = case.gradients(case.inputs, np.ones(y.shape)) if case.places else []
    except Exception:
        # Out of the operation's domain, or not written for longer numbers.
        return None
    sound = np.isfinite(longer) & (abs(longer) < np.finfo(np.float64).max)
    if (~np.isfinite(y) & sound).any():
        return "the result"
    return "a gradient" if np.isfinite(y).all() and any(np.isnan(dx).any() for dx in gradients) else ""


def _longer(x: Array) -> Array:
    return x.astype(np.longdouble) if x.dtype.kind == "f" else x
