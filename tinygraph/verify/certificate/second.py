"""The check of second derivatives: a rule that records is differentiated again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from tinygraph.graph.arrays import Array
from tinygraph.graph.backprop import grad
from tinygraph.graph.tensor import Tensor
from tinygraph.verify.certificate.case import Case
from tinygraph.verify.certificate.line import Line, agreed, failed, not_asked
from tinygraph.verify.certificate.subject import Subject
from tinygraph.verify.compare import compare
from tinygraph.verify.numeric import EPSILON, Derivative, derivative

_NAME = "second derivatives"
_TOLERANCE = 1e-6
_CASES = 3


def second_derivatives(subject: Subject) -> Iterator[Line]:
    """Differentiate the rule for the inputs and for ``dy``, and compare with differences of first gradients."""
    if subject.op.opaque_vjp or not subject.differentiable:
        why = "the rule is opaque" if subject.op.opaque_vjp else "no gradient flows"
        yield not_asked(_NAME, why)
        return
    worst = 0.0
    for case in subject.differentiable[:_CASES]:
        try:
            errors = list(_compared(case))
        except Exception as error:
            told = "write the rule in operations (tg., and NumPy functions that record), or mark it opaque=True"
            yield failed(_NAME, "the rule cannot be recorded", f"{case.name}: {type(error).__name__}: {error}", told)
            return
        for size, text in errors:
            worst = max(worst, size)
            if size > _TOLERANCE:
                told = "a part of the rule does not record: a constant stands where a tensor belongs"
                yield failed(_NAME, f"worst error {size:.1e}", f"{case.name}: {text}", told)
                return
    yield agreed(_NAME, f"worst error {worst:.1e}")


def _compared(case: Case) -> Iterator[tuple[float, str]]:
    leaves = [*case.leaves(), Tensor("tensor", value=case.cotangent(case.y))]
    wanted = [leaf for leaf in leaves if leaf.dtype.kind == "f"]
    probed = _probed(case, leaves)
    second = grad(probed, wanted, unreached="zeros")
    # Where terms of a second derivative cancel, as in that of |x|, what is left of them is the rounding of the first.
    rounding = 64 * EPSILON * sum(float(abs(dx.value * weights).sum()) for dx, weights in _terms(case, leaves))
    for leaf, gradient in zip(wanted, second, strict=True):
        value = leaf.value

        def first(moved: Array, leaf: Tensor = leaf) -> Array:
            again = [Tensor("tensor", value=moved if x is leaf else x.value) for x in leaves]
            return np.asarray(_probed(case, again).value)

        def slope(direction: Array, first: Callable[[Array], Array] = first, value: Array = value) -> Derivative:
            found = derivative(first, value, direction, np.ones(()))
            return replace(found, error=max(found.error, rounding / (float(abs(value).max(initial=0.0)) or 1.0)))

        points = compare(gradient.value, slope, np.random.default_rng([0, 2]), _TOLERANCE, elements=2, directions=1)
        yield from ((point.error, str(point)) for point in points)


def _probed(case: Case, leaves: list[Tensor]) -> Tensor:
    """Return the first gradients for all floating inputs, times random numbers and added up."""
    terms = [(dx * weights).sum() for dx, weights in _terms(case, leaves)]
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def _terms(case: Case, leaves: list[Tensor]) -> list[tuple[Tensor, Array]]:
    *inputs, dy = leaves
    wanted = [x for x in inputs if x.dtype.kind == "f"]
    first = grad(case.record(inputs), wanted, cotangent=dy, unreached="zeros")
    return [(dx, case.cotangent(dx.value, 3 + number)) for number, dx in enumerate(first)]
