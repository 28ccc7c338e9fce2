"""One node's gradient rule, checked alone at the values that reach it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinygraph.graph.apply import apply
from tinygraph.graph.arrays import Array
from tinygraph.graph.backprop import gradients_of
from tinygraph.graph.tensor import Tensor
from tinygraph.verify.compare import Point, Slope, compare
from tinygraph.verify.finite import is_given
from tinygraph.verify.hints import hint
from tinygraph.verify.names import input_name
from tinygraph.verify.numeric import contributions, derivative
from tinygraph.verify.report import Record

# Inputs up to this size are compared in full; of larger ones a sample this large, and the whole along random directions.
ELEMENTS = 100
DIRECTIONS = 3


class LocalRule:
    """A node made again on leaves of its own, so that its rule is asked by the engine and nothing else takes part.

    A tensor that the node uses twice is two leaves here: each place has a gradient of its own.
    """

    def __init__(self, node: Tensor, rng: np.random.Generator) -> None:
        assert node.op is not None
        self.op = node.op
        self.values = [x.value for x in node.inputs]
        self._leaves = [Tensor("tensor", value=value) for value in self.values]
        self._node = apply(node.op, self._leaves)
        self.y: Array = self._node.value
        # Outputs without a finite value have no derivative, and no weight here.
        self.cotangent: Array = np.where(np.isfinite(self.y), rng.standard_normal(self.y.shape), 0.0)

    def gradient(self, place: int, cotangent: Array) -> Array:
        """Return the gradient of one input as the engine gets it from the rule: zeros where the rule says None."""
        leaf = self._leaves[place]
        found = gradients_of(self._node, [leaf], cotangent).get(leaf)
        return np.zeros(leaf.shape) if found is None else np.asarray(found.value)

    def raw(self, cotangent: Array, values: Sequence[Array]) -> list[Any]:
        """Return what the rule says for arrays, unchecked; calls what is callable."""
        returned = self.op.vjp(cotangent, self.y, *values)
        returned = returned if isinstance(returned, (tuple, list)) else (returned,)
        return [gradient() if callable(gradient) else gradient for gradient in returned]

    def slope(self, place: int) -> Slope:
        """Return the function that gives the numeric derivative for one input along a direction."""
        return lambda direction: derivative(
            self._of(place), self.values[place], direction, self.cotangent, self.op.holomorphic
        )

    def contributions(self, place: int, direction: Array) -> Array:
        """Return the part of each output in the slope along a direction."""
        return contributions(self._of(place), self.values[place], direction, self.cotangent)

    def _of(self, place: int) -> Any:
        """Return the forward computation as a function of one input."""
        before, after = self.values[:place], self.values[place + 1 :]
        return lambda x: np.asarray(self.op.forward(*before, x, *after))


@dataclass(frozen=True)
class Finding:
    """The gradient that a rule gives for one input, compared; or, with an empty gradient, why it gives none."""

    place: int
    gradient: Array
    points: tuple[Point, ...]
    message: str = ""


def check_node(
    node: Tensor, name: str, input_labels: Sequence[str], rng: np.random.Generator, tolerance: float, fault: str = ""
) -> list[Record]:
    """Return a record for each floating input of a node whose value is in float64; with a ``fault``, nothing is compared."""
    places = differentiable_places(node)
    if not places:
        return []
    records = [_blank(node, place, name, input_labels, tolerance) for place in places]
    if fault:
        return [replace(record, fault=fault) for record in records]
    rule = LocalRule(node, rng)
    findings = [_find(rule, place, rng, tolerance) for place in places]
    return [_filled(record, rule, finding, findings) for record, finding in zip(records, findings, strict=True)]


def differentiable_places(node: Tensor) -> list[int]:
    """Return which inputs of a node take a gradient from its rule: none whose gradient another input carries for them."""
    if node.op is None or node.dtype.kind != "f":
        return []
    count = len(node.inputs)
    return [
        place
        for place, x in enumerate(node.inputs)
        if x.dtype.kind == "f" and not is_given(x) and node.op.shortcuts.get(place, count) >= count
    ]


def _find(rule: LocalRule, place: int, rng: np.random.Generator, tolerance: float) -> Finding:
    try:
        gradient = rule.gradient(place, rule.cotangent)
    except Exception as error:
        # A rule is anyone's code: whatever it raises is a finding about it.
        return Finding(place, np.empty(0), (), f"{type(error).__name__}: {error}")
    directions = DIRECTIONS if gradient.size > ELEMENTS else 0
    return Finding(place, gradient, compare(gradient, rule.slope(place), rng, tolerance, ELEMENTS, directions))


def _blank(node: Tensor, place: int, name: str, input_labels: Sequence[str], tolerance: float) -> Record:
    assert node.op is not None
    called, tensor = input_name(node.op, place), input_labels[place]
    both = f"{called} = {tensor}" if tensor and tensor != called else called
    return Record(name, node.op.name, both, node.inputs[place].size, tolerance)


def _filled(blank: Record, rule: LocalRule, finding: Finding, findings: list[Finding]) -> Record:
    record = replace(blank, points=finding.points, message=finding.message)
    slipped = record.verdict in ("wrong", "failed")
    return replace(record, hint=hint(rule, finding, findings)) if slipped else record
