"""One operation on one sample: what it computes, what its rule says, and the slopes that both are compared with."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from tinygraph.errors import TinygraphError
from tinygraph.graph.apply import apply, compute
from tinygraph.graph.arrays import Array
from tinygraph.graph.backprop import grad
from tinygraph.graph.op import Op
from tinygraph.graph.record import Sample
from tinygraph.graph.tensor import Tensor
from tinygraph.verify.compare import Point
from tinygraph.verify.double import doubled, widened
from tinygraph.verify.local import LocalRule, differentiable_places
from tinygraph.verify.names import input_name
from tinygraph.verify.numeric import Derivative


class Case:
    """An operation with its attributes, and inputs in float64. Slopes are measured once and remembered.

    The gradient of the result is random, or ``ones``, of which an example is easier followed.
    """

    def __init__(self, op: type[Op], sample: Sample, number: int, seed: int, ones: bool = False) -> None:
        self.sample, self.number, self._seed, self.ones = sample, number, seed, ones
        self.op = widened(op(**sample.attributes))
        self.inputs: list[Array] = [doubled(value) for value in sample.inputs]
        self._slopes: dict[tuple[int, bytes], Derivative] = {}

    @property
    def name(self) -> str:
        """The sample in words: its number, shapes, types that are not floating, and attributes.

        >>> import tinygraph as tg
        >>> Case(tg.sum.op, Sample(np.ones((2, 3)), axis=1), 1, 0).name
        'sample 1: x (2, 3), axis=1'
        """
        given = [
            f"{input_name(self.op, place)} {x.shape}" + ("" if place in self.floating else f" {x.dtype}")
            for place, x in enumerate(self.inputs)
        ]
        return f"sample {self.number}: {', '.join([*given, *self.attributes])}"

    def on(self, inputs: Sequence[Array], ones: bool = False) -> Case:
        """Return the case with other inputs."""
        return Case(type(self.op), Sample(*inputs, **self.sample.attributes), self.number, self._seed, ones)

    @property
    def attributes(self) -> list[str]:
        """The attributes that the sample gives, as written in a call."""
        return [f"{name}={value!r}" for name, value in self.sample.attributes.items()]

    @property
    def floating(self) -> list[int]:
        """Which inputs hold floating point numbers."""
        return [place for place, x in enumerate(self.inputs) if x.dtype.kind == "f"]

    def compute(self, inputs: Sequence[Array]) -> Array:
        """Return the result for arrays."""
        return np.asarray(compute(self.op, inputs))

    def record(self, inputs: Sequence[Any]) -> Tensor:
        """Return the result for tensors, as a node."""
        return apply(self.op, inputs)

    def leaves(self) -> list[Tensor]:
        """Return the inputs as new tensors."""
        return [Tensor("tensor", value=x) for x in self.inputs]

    @cached_property
    def y(self) -> Array:
        """The result."""
        return self.compute(self.inputs)

    @cached_property
    def rule(self) -> LocalRule:
        """The rule, asked by the engine."""
        rule = LocalRule(self.record(self.leaves()), np.random.default_rng(self._seed))
        # Of few digits, so that an example shows them whole.
        rule.cotangent = np.where(np.isfinite(rule.y), 1.0, 0.0) if self.ones else rule.cotangent.round(3)
        return rule

    @cached_property
    def places(self) -> list[int]:
        """Which inputs take a gradient; none where the result is not floating."""
        return differentiable_places(self.record(self.leaves()))

    def slope(self, place: int) -> Callable[[Array], Derivative]:
        """Return the function that gives the numeric derivative for one input along a direction, measured once."""
        measure = self.rule.slope(place)

        def remembered(direction: Array) -> Derivative:
            key = (place, direction.tobytes())
            if key not in self._slopes:
                self._slopes[key] = measure(direction)
            return self._slopes[key]

        return remembered

    def gradients(self, inputs: Sequence[Array], dy: Array) -> list[Array]:
        """Return the gradients of all floating inputs, by the engine; zeros where the rule says that none flows."""
        leaves = [Tensor("tensor", value=x) for x in inputs]
        wanted = [x for x in leaves if x.dtype.kind == "f"]
        return [dx.value for dx in grad(self.record(leaves), wanted, cotangent=dy, unreached="zeros")]

    def cotangent(self, y: Array, again: int = 0) -> Array:
        """Return a random gradient for a result."""
        return np.random.default_rng([self._seed, again]).standard_normal(y.shape)

    def parts(self) -> Iterator[Case]:
        """Yield the case with its inputs cut to fewer elements, the smallest first, where the operation takes that."""
        cuts = []
        for size in range(1, 5):
            for axes in (1, 2, 99):
                kept = [
                    x[(slice(0, 1),) * (x.ndim - axes) + (slice(0, size),) * min(axes, x.ndim)] for x in self.inputs
                ]
                cuts.append([np.array(x) for x in kept])
        whole, seen = sum(x.size for x in self.inputs), set()
        for inputs in sorted(cuts, key=lambda inputs: sum(x.size for x in inputs)):
            shapes = tuple(x.shape for x in inputs)
            if shapes in seen or sum(x.size for x in inputs) >= whole:
                continue
            seen.add(shapes)
            part = self.on(inputs)
            with contextlib.suppress(TinygraphError):
                if part.places:
                    yield part

    def example(self, place: int, message: str, point: Point | None) -> str:
        """Return a mistake in one input in a line: the call, cut to the elements that matter where each counts alone."""
        if message or point is None or point.index is None or not self.op.elementwise:
            return f"{self.call()}, {message or point}"
        alone = [np.broadcast_to(x, self.y.shape)[point.index] for x in self.inputs]
        shown = f"rule {point.rule:.9g}, numeric {point.numeric:.9g}"
        return f"{self.call(alone)}, {input_name(self.op, place)}: {shown}"

    def call(self, arrays: Sequence[Array] | None = None) -> str:
        """Return the call as a user would repeat it, where it is short enough to read."""
        written = [short(x) for x in (self.inputs if arrays is None else arrays)]
        return self.op.expression(*written)


def short(x: Array) -> str:
    """Return an array as a line of text; a large one by its shape.

    >>> short(np.array([0.5, 1.0])), short(np.ones((40, 30)))
    ('[0.5, 1]', 'an array (40, 30)')
    """
    if x.size > 9:
        return f"an array {x.shape}"
    return np.array2string(x, separator=", ", formatter={"float_kind": lambda v: f"{v:.4g}"}).replace("\n", "")
