"""One operation on one sample: what it computes, what its rule gives, and the slopes that both are compared with."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from tinygraph.graph import Array, Op, Sample, Tensor, apply, compute, grad
from tinygraph.verify.nodes import doubled, input_name, widened
from tinygraph.verify.rule import Finding, LocalRule, differentiable_places

Found = TypeVar("Found")


class Case:
    """An operation with its attributes, and inputs in float64.

    The gradient of the result is random, or ``ones``, which make an example easier to follow. ``tolerance`` is the
    largest error of a gradient that passes.
    """

    def __init__(
        self, op: type[Op], sample: Sample, number: int = 1, seed: int = 0, tolerance: float = 1e-7, ones: bool = False
    ) -> None:
        self.sample, self.number, self.seed, self.tolerance, self.ones = sample, number, seed, tolerance, ones
        self.op = widened(op(**sample.attributes))
        self.inputs: list[Array] = [doubled(value) for value in sample.inputs]

    @property
    def name(self) -> str:
        """The sample in words: its number, shapes, types that are not floating, and attributes.

        >>> import tinygraph as tg
        >>> Case(tg.sum.op, Sample(np.ones((2, 3)), axis=1)).name
        'sample 1: x (2, 3), axis=1'
        """
        inputs = [
            f"{self.input_name(place)} {x.shape}" + ("" if place in self.floating else f" {x.dtype}")
            for place, x in enumerate(self.inputs)
        ]
        attributes = [f"{name}={value!r}" for name, value in self.sample.attributes.items()]
        return f"sample {self.number}: {', '.join([*inputs, *attributes])}"

    def input_name(self, place: int) -> str:
        """Return what the operation calls an input."""
        return input_name(self.op, place)

    def with_inputs(self, inputs: Sequence[Array], ones: bool = False) -> Case:
        """Return the case with other inputs."""
        sample = Sample(*inputs, **self.sample.attributes)
        return Case(type(self.op), sample, self.number, self.seed, self.tolerance, ones)

    @property
    def floating(self) -> list[int]:
        """Which inputs hold floating point numbers."""
        return [place for place, x in enumerate(self.inputs) if x.dtype.kind == "f"]

    def each_floating(self, change: Callable[[Array], Array]) -> list[Array]:
        """Return the inputs, those that hold floating point numbers changed."""
        return [change(x) if x.dtype.kind == "f" else x for x in self.inputs]

    def compute(self, inputs: Sequence[Array]) -> Array:
        """Return the result for arrays."""
        return np.asarray(compute(self.op, inputs))

    def function(self, place: int, inputs: Sequence[Array] | None = None) -> Callable[[Array], Array]:
        """Return the result as a function of one input; the others are the case's own, or those given."""
        others = list(self.inputs if inputs is None else inputs)
        return lambda x: self.compute([*others[:place], x, *others[place + 1 :]])

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
        """The rule, as backpropagation calls it."""
        node = self.record(self.leaves())
        rng = np.random.default_rng(self.seed + self.number)
        # Of few digits, so that an example shows all of them.
        return LocalRule(node, np.ones(node.shape) if self.ones else rng.standard_normal(node.shape).round(3))

    def gradient(self, place: int) -> Array:
        """Return the gradient of one input for the case's own gradient of the result."""
        return self.rule.gradient(place, self.rule.cotangent)

    def find(self, place: int) -> Finding:
        """Compare the gradient of one input with numeric derivatives."""
        return self.rule.find(place, np.random.default_rng([0, 1]), self.tolerance)

    def is_wrong(self, finding: Finding) -> bool:
        """Whether a finding of this case is a mistake."""
        return finding.is_wrong(self.tolerance)

    @cached_property
    def places(self) -> list[int]:
        """Which inputs get a gradient; none where the result is not floating."""
        return differentiable_places(self.record(self.leaves()))

    def gradients(self, inputs: Sequence[Array], dy: Array) -> list[Array]:
        """Return the gradients of all floating inputs, by backpropagation; zeros where no gradient flows."""
        leaves = [Tensor("tensor", value=x) for x in inputs]
        wanted = [x for x in leaves if x.dtype.kind == "f"]
        return [dx.value for dx in grad(self.record(leaves), wanted, cotangent=dy, unreached="zeros")]

    def results(self, inputs: Sequence[Array], dy: Array) -> list[Array]:
        """Return everything that is computed from inputs: the result, and the gradients where there are any."""
        return [self.compute(inputs), *(self.gradients(inputs, dy) if self.places else [])]

    def cotangent(self, y: Array, number: int = 0) -> Array:
        """Return a random gradient for a result; another one for each ``number``."""
        return np.random.default_rng([self.seed + self.number, number]).standard_normal(y.shape)

    def cut(self, size: int, axes: int) -> list[Array]:
        """Return the inputs cut to one element along the first axes, and to ``size`` along the last ``axes`` axes."""
        return [
            np.array(x[(slice(0, 1),) * (x.ndim - axes) + (slice(0, size),) * min(axes, x.ndim)]) for x in self.inputs
        ]

    def parts(self) -> Iterator[Case]:
        """Yield the case with its inputs cut to fewer elements, the smallest first, where the operation takes that."""
        cuts = {tuple(x.shape for x in self.inputs): self.inputs}
        for size in range(1, 5):
            for axes in (1, 2, 99):
                inputs = self.cut(size, axes)
                cuts.setdefault(tuple(x.shape for x in inputs), inputs)
        elements = sum(x.size for x in self.inputs)
        for inputs in sorted(cuts.values(), key=lambda inputs: sum(x.size for x in inputs)):
            if sum(x.size for x in inputs) < elements:
                yield self.with_inputs(inputs)

    def in_smallest_part(self, look: Callable[[Case], Found]) -> Found | None:
        """Return what ``look`` finds in the smallest part of the case in which it finds something."""
        for part in self.parts():
            # Parts of its inputs may be none that the operation accepts.
            with contextlib.suppress(Exception):
                found = look(part) if part.places else None
                if found:
                    return found
        return None

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
