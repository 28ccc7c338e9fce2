"""The samples of all operations, for tests that sweep over them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import tinygraph as tg

Array = np.ndarray[Any, Any]
Attributes = dict[str, Any]
OPERATIONS = {name: f for name, f in tg.operations().items() if f.op.__module__.startswith("tinygraph.")}


def call(name: str, inputs: Sequence[Any], attributes: Attributes) -> Any:
    function = tg.operation(name)
    return function(list(inputs), **attributes) if function.op.variadic else function(*inputs, **attributes)


def floating(inputs: Sequence[Any]) -> list[Any]:
    return [x for x in inputs if x.dtype.kind == "f"]


def as_tensors(arrays: Sequence[Array]) -> list[tg.Tensor]:
    return [tg.tensor(x) for x in arrays]


def gradients(name: str, inputs: Sequence[Array], attributes: Attributes, dy: Array) -> list[Array]:
    """Gradients of all floating inputs, as arrays, by rules that record."""
    leaves = [tg.tensor(x) for x in inputs]
    found = tg.grad(call(name, leaves, attributes), floating(leaves), cotangent=dy, unreached="zeros")
    return [dx.value for dx in found]


class Case:
    """One operation on one of its samples."""

    def __init__(self, name: str, number: int, sample: tg.Sample) -> None:
        self.name, self.id = name, f"{name}-{number}"
        self.inputs, self.attributes = sample.inputs, sample.attributes
        self.op = OPERATIONS[name].op(**sample.attributes)

    def __call__(self, inputs: Sequence[Any]) -> Any:
        return call(self.name, inputs, self.attributes)

    def gradients(self, inputs: Sequence[Array], dy: Array) -> list[Array]:
        return gradients(self.name, inputs, self.attributes, dy)

    def rule(self, inputs: Sequence[Array], dy: Array, y: Array) -> list[Any]:
        """What the rule itself returns for arrays."""
        returned = self.op.vjp(dy, y, *inputs)
        returned = returned if isinstance(returned, tuple) else (returned,)
        return [dx() if callable(dx) else dx for dx in returned]

    @property
    def has_gradient(self) -> bool:
        return bool(floating(self.inputs)) and self(self.inputs).dtype.kind == "f" and not self.op.stops_gradient


def cases_of(name: str, seed: int = 5) -> list[Case]:
    samples = OPERATIONS[name].op.samples(np.random.default_rng(seed))
    return [Case(name, number, sample) for number, sample in enumerate(samples, start=1)]


CASES = {name: cases_of(name) for name in OPERATIONS}
every_operation = pytest.mark.parametrize("name", list(OPERATIONS))
