"""The checks of a forward computation: its shape and dtype, other layouts and sizes, what it leaves alone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import numpy as np

from tinygraph.errors import TinygraphError
from tinygraph.graph.arrays import Array
from tinygraph.graph.rules import call_rule
from tinygraph.verify.certificate.case import Case
from tinygraph.verify.certificate.line import Line, agreed, failed, not_asked
from tinygraph.verify.certificate.subject import Subject

_EXACT = 1e-12
_SINGLE = 1e-3


def shape_rule(subject: Subject) -> Iterator[Line]:
    """Compare the shape and dtype that the operation promises with those of what it computes."""
    name = "shape rule"
    for case in subject.smallest_first():
        promised, found = case.op.infer(*case.inputs), (case.y.shape, case.y.dtype)
        if promised != found:
            told = f"the rule says {promised[0]} {promised[1]}, forward gives {found[0]} {found[1]}"
            yield failed(name, "differs from forward", f"{case.name}: {told}")
            return
    cases = len(subject.cases)
    yield agreed(name, f"forward agrees in {cases} sample{'' if cases == 1 else 's'}")


def float32(subject: Subject) -> Iterator[Line]:
    """Compute everything in float32: the dtype stays, and the numbers agree with float64."""
    name, worst, tried = "float32", 0.0, 0
    for case in subject.cases:
        if not case.floating or "dtype" in case.op.attributes():
            continue
        tried += 1
        inputs = [x.astype(np.float32) if x.dtype.kind == "f" else x for x in case.inputs]
        y = case.compute(inputs)
        if case.y.dtype.kind == "f" and y.dtype != np.float32:
            told = "a float64 constant or array of its own makes the result float64"
            yield failed(name, f"the result is {y.dtype}", case.name, told)
            return
        pairs = [("the result", y, case.y)]
        if case.places:
            dy = case.cotangent(case.y)
            found, exact = case.gradients(inputs, dy.astype(np.float32)), case.gradients(case.inputs, dy)
            pairs += [("a gradient", dx, right) for dx, right in zip(found, exact, strict=True)]
        for what, value, right in pairs:
            # Numbers that cancel are known to the digits of what they were made from.
            error = _distance(value, right, max((float(abs(x).max(initial=0.0)) for x in case.inputs), default=0.0))
            worst = max(worst, error)
            if not error <= _SINGLE:
                yield failed(
                    name,
                    f"{what} is off by {error:.1e}",
                    case.name,
                    "cancellation, or an integer where a float belongs",
                )
                return
    yield agreed(name, f"dtype kept, within {worst:.1e} of float64") if tried else not_asked(name, "no dtype to keep")


def _distance(value: Array, right: Array, least: float = 0.0) -> float:
    """Return the largest difference, relative to the largest number; infinite where one is finite and the other is not.

    The largest number counts as at least ``least``.
    """
    value, right = np.asarray(value, np.float64), np.asarray(right, np.float64)
    finite = np.isfinite(right)
    if value.shape != right.shape or not np.array_equal(value[~finite], right[~finite], equal_nan=True):
        return np.inf
    scale = float(abs(right[finite]).max(initial=least))
    error = float(abs(value - right)[finite].max(initial=0.0))
    return error / scale if scale else error


def broadcasting(subject: Subject) -> Iterator[Line]:
    """Try what ``elementwise`` claims: each element of the result depends on its own elements alone, and inputs broadcast."""
    name = "broadcasting"
    if not subject.op.elementwise:
        yield not_asked(name, "not claimed (elementwise=False)")
        return
    for case in subject.smallest_first():
        for example, value, right in _spread(case):
            if not _distance(value, right) <= _EXACT:
                told = "leave elementwise=True out: elements of the result depend on others"
                yield failed(name, "an element alone gives another number", example, told)
                return
    yield agreed(name, "elements are computed alone, and inputs broadcast")


def _spread(case: Case) -> Iterator[tuple[str, Array, Array]]:
    """Yield results of other shapes beside what they must be."""
    y = case.y
    inputs = [np.broadcast_to(x, y.shape) for x in case.inputs]
    if y.size:
        alone = [x.ravel()[:1] for x in inputs]
        yield case.call(alone), case.compute(alone), y.ravel()[:1]
    yield case.call(), case.compute([x.reshape(-1) for x in inputs]), y.reshape(-1)
    if len(inputs) > 1 and y.ndim:
        first, *rest = inputs
        column = [first.reshape(-1, 1), *(x.reshape(1, -1) for x in rest)]
        full = [np.broadcast_to(x, (y.size, y.size)).copy() for x in column]
        yield case.call(column), case.compute(column), case.compute(full)


def memory_layout(subject: Subject) -> Iterator[Line]:
    """Give the same numbers in other memory: column by column, with gaps, backwards."""
    name = "memory layout"
    for case in subject.cases:
        for told, layout in _LAYOUTS.items():
            inputs = [layout(x) for x in case.inputs]
            dy = case.cotangent(case.y)
            least = float(abs(dy).max(initial=0.0))
            pairs = [(case.compute(inputs), case.y)]
            if case.places:
                pairs += zip(case.gradients(inputs, layout(dy)), case.gradients(case.inputs, dy), strict=True)
            # Gradients that cancel are rounding alone, which may differ: they count by the size of what they are made of.
            if any(not _distance(value, right, least) <= _EXACT for value, right in pairs):
                yield failed(name, f"other numbers for arrays {told}", case.name, "reads memory rather than elements")
                return
    yield agreed(name, "of no consequence")


def _columns_first(x: Array) -> Array:
    return np.array(x, order="F")


def _with_gaps(x: Array) -> Array:
    return np.repeat(x[..., None], 2, axis=-1)[..., 0]


def _backwards(x: Array) -> Array:
    every_axis = (slice(None, None, -1),) * x.ndim
    return np.array(x[every_axis])[every_axis]


_LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "stored column by column": _columns_first,
    "with gaps": _with_gaps,
    "stored backwards": _backwards,
}


def size_zero(subject: Subject) -> Iterator[Line]:
    """Cut the first axis of the inputs to size 0: the right shape of nothing, or a clear refusal."""
    yield from _cut(subject, "size zero", 0)


def size_one(subject: Subject) -> Iterator[Line]:
    """Cut every axis of the inputs to size 1: the right shape and numbers, or a clear refusal."""
    yield from _cut(subject, "size one", 1)


def _cut(subject: Subject, name: str, size: int) -> Iterator[Line]:
    refused, tried = 0, 0
    for case in subject.smallest_first():
        axes = 1 if size == 0 else 99
        inputs = [x[(slice(0, size),) * min(x.ndim, axes)] for x in case.inputs]
        if all(x.shape == full.shape for x, full in zip(inputs, case.inputs, strict=True)):
            continue
        tried += 1
        try:
            fault = _fault_of(subject, case.on(inputs))
        except TinygraphError:
            refused += 1
            continue
        if fault:
            yield failed(name, "does not hold", f"{case.call(inputs)}, {fault}")
            return
    if not tried:
        yield not_asked(name, "no axis to cut")
    else:
        yield agreed(name, f"right in {tried - refused} of {tried}" + (f", refused in {refused}" if refused else ""))


def _fault_of(subject: Subject, case: Case) -> str:
    """Return what is wrong with one case beyond its numbers, and with its gradients."""
    from tinygraph.verify.certificate.gradients import find

    y = case.y
    if case.op.infer(*case.inputs) != (y.shape, y.dtype):
        return f"its shape rule says {case.op.infer(*case.inputs)[0]} and forward gives {y.shape}"
    if case.places and not [x for x in case.inputs if not x.size]:
        for place in case.places:
            points = find(case, place, subject.tolerance).points
            wrong = next((point for point in points if point.error > subject.tolerance), None)
            if wrong:
                return f"its gradient {wrong}"
    elif case.places:
        shapes = [dx.shape for dx in case.gradients(case.inputs, case.cotangent(y))]
        if shapes != [case.inputs[place].shape for place in case.floating]:
            return f"its gradients have the shapes {shapes}"
    return ""


def inputs_unmodified(subject: Subject) -> Iterator[Line]:
    """Look at all arrays after forward and rule: they hold what they held, and may be read-only."""
    name = "inputs unmodified"
    for case in subject.cases:
        inputs = [x.copy() for x in case.inputs]
        y = np.array(case.compute(inputs))
        given = [*inputs, y, case.cotangent(y)]
        before = [x.copy() for x in given]
        if case.places:
            _ask(case, given[-1], given[-2], inputs)
        kept = [
            np.array_equal(x, was, equal_nan=True) for x, was in zip(given, [*case.inputs, *before[-2:]], strict=True)
        ]
        if not all(kept):
            which = ["an input", "the result", "dy"][max(0, kept.index(False) - len(inputs) + 1)]
            yield failed(name, f"{which} was written to", case.name, "write into a copy: np.array(x), or x + 0")
            return
    yield agreed(name, "by forward and by the rule")


def _ask(case: Case, dy: Array, y: Array, inputs: list[Array]) -> None:
    """Call the rule with plain arrays, and what it returns to be called later."""
    returned = case.op.vjp(dy, y, *inputs)
    for gradient in returned if isinstance(returned, (tuple, list)) else (returned,):
        if callable(gradient):
            gradient()


def determinism(subject: Subject) -> Iterator[Line]:
    """Compute everything twice, and find the same bits; the rule again after forward has been called with other numbers."""
    name = "determinism"
    for case in subject.cases:
        dy = case.cotangent(case.y)
        first, second = ([case.compute(case.inputs), *_gradients_of(case, dy)] for _ in range(2))
        if any(not np.array_equal(a, b, equal_nan=True) for a, b in zip(first, second, strict=True)):
            yield failed(name, "two runs differ", case.name, "draw random numbers from a seed that is an attribute")
            return
        if case.places and _remembers(case, dy):
            told = "a rule knows dy, y and the inputs alone: what forward keeps elsewhere is that of its last call"
            yield failed(name, "the rule depends on the last call of forward", case.name, told)
            return
    yield agreed(name, "two runs, the same bits")


def _remembers(case: Case, dy: Array) -> bool:
    """Whether the rule gives something else after forward was called with the inputs the other way round, and negative."""

    def gradients() -> list[Array]:
        return [np.asarray(dx) for _, dx in call_rule(case.op, case.places, dy, case.y, *case.inputs)]

    before = gradients()
    with contextlib.suppress(Exception):
        case.compute([-np.flip(x) if x.dtype.kind == "f" else x for x in case.inputs])
    return any(not np.array_equal(a, b, equal_nan=True) for a, b in zip(before, gradients(), strict=True))


def _gradients_of(case: Case, dy: Array) -> list[Array]:
    return case.gradients(case.inputs, dy) if case.places else []
