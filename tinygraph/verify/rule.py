"""The check of one node's gradient rule, alone, at the values that reach the node."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from tinygraph.graph import Array, Op, Tensor, apply, gradients_of
from tinygraph.verify.hints import hint
from tinygraph.verify.nodes import input_name, is_given
from tinygraph.verify.numeric import Derivative, Point, compare, derivative
from tinygraph.verify.report import Record

# All elements of inputs up to this size are compared; of larger ones so many elements, and random directions.
ELEMENTS = 100
DIRECTIONS = 3


@dataclass(frozen=True)
class Finding:
    """The gradient that a rule gives for one input, and how it compares; or a message that says why it gives none."""

    place: int
    gradient: Array
    points: tuple[Point, ...] = ()
    message: str = ""
    tolerance: float = 0.0

    @property
    def wrong(self) -> bool:
        """Whether the rule gave no gradient, or one with an error above ``tolerance``."""
        return bool(self.message) or any(point.error > self.tolerance for point in self.points)


class LocalRule:
    """The gradient rule of an operation, recorded on leaves of its own, so that nothing else takes part.

    A tensor that a node uses twice becomes two leaves here: each place has its own gradient. ``cotangent`` is the
    gradient of the result that the rule is given; it is set to 0 where the result is not finite and so has no derivative.
    Numeric derivatives are measured once and remembered.
    """

    def __init__(self, op: Op, values: Sequence[Array], cotangent: Array) -> None:
        self.op, self.values = op, values
        self._leaves = [Tensor("tensor", value=value) for value in values]
        self._node = apply(op, self._leaves)
        self.y: Array = self._node.value
        self.cotangent: Array = np.where(np.isfinite(self.y), cotangent, 0.0)
        self._slopes: dict[tuple[int, bytes], Derivative] = {}

    def gradient(self, place: int, cotangent: Array | None = None) -> Array:
        """Return the gradient of one input as backpropagation gets it from the rule: zeros where the rule returns None."""
        leaf = self._leaves[place]
        found = gradients_of(self._node, [leaf], self.cotangent if cotangent is None else cotangent).get(leaf)
        return np.zeros(leaf.shape) if found is None else np.asarray(found.value)

    def raw(self, dy: Array, y: Array, *values: Array) -> list[Any]:
        """Return what the rule returns for arrays, unchecked; gradients that it returns as functions are computed."""
        returned = self.op.vjp(dy, y, *values)
        returned = returned if isinstance(returned, (tuple, list)) else (returned,)
        return [gradient() if callable(gradient) else gradient for gradient in returned]

    def slope(self, place: int, direction: Array) -> Derivative:
        """Return the numeric derivative for one input along a direction."""
        key = (place, direction.tobytes())
        if key not in self._slopes:
            x, function = self.values[place], self.forward(place)
            self._slopes[key] = derivative(function, x, direction, self.cotangent, self.op.holomorphic)
        return self._slopes[key]

    def forward(self, place: int) -> Callable[[Array], Array]:
        """Return the forward computation as a function of one input; it raises for values that the operation refuses."""

        def forward(x: Array) -> Array:
            values = [*self.values[:place], x, *self.values[place + 1 :]]
            self.op.check(*values)
            return np.asarray(self.op.forward(*values))

        return forward

    def find(self, place: int, rng: np.random.Generator, tolerance: float) -> Finding:
        """Compare the gradient of one input with numeric derivatives; whatever the rule raises is a finding about it."""
        try:
            gradient = self.gradient(place)
        except Exception as error:
            return Finding(place, np.empty(0), message=f"{type(error).__name__}: {error}")
        directions = DIRECTIONS if gradient.size > ELEMENTS else 0
        points = compare(gradient, partial(self.slope, place), rng, tolerance, ELEMENTS, directions)
        return Finding(place, gradient, points, tolerance=tolerance)


def differentiable_places(node: Tensor) -> list[int]:
    """Return which inputs get a gradient from a node's rule; not those whose gradient the rule gives to another input."""
    if node.op is None or node.dtype.kind != "f":
        return []
    bypassed = node.op.bypassed(len(node.inputs))
    return [i for i, x in enumerate(node.inputs) if x.dtype.kind == "f" and not is_given(x) and i not in bypassed]


def check_node(
    node: Tensor, name: str, input_labels: Sequence[str], rng: np.random.Generator, tolerance: float, fault: str = ""
) -> list[Record]:
    """Return a record for each floating input of a node whose value is in float64; with a ``fault``, nothing is compared."""
    places = differentiable_places(node)
    if node.op is None or not places:
        return []
    values = [x.value for x in node.inputs]
    rule = None if fault else LocalRule(node.op, values, rng.standard_normal(node.shape))
    findings = [rule.find(place, rng, tolerance) if rule else Finding(place, np.empty(0)) for place in places]
    records = []
    for place, finding in zip(places, findings, strict=True):
        called, tensor, size = input_name(node.op, place), input_labels[place], node.inputs[place].size
        both = f"{called} = {tensor}" if tensor and tensor != called else called
        cause = hint(rule, finding, findings) if rule and finding.wrong else ""
        found = finding.points, cause, finding.message, fault
        records.append(Record(name, node.op.name, both, size, tolerance, *found))
    return records
