"""A graph being written as ONNX: nodes one after the other, arrays beside them, a name for each result."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from tinygraph.errors import OnnxError
from tinygraph.graph.op import Op
from tinygraph.graph.tensor import Tensor
from tinygraph.interop.onnx.batch import Size
from tinygraph.interop.onnx.package import package
from tinygraph.interop.onnx.tensors import NUMBERS, proto_of

PRODUCER = "tinygraph"
# So begins what a result is called that has no name in the model.
UNNAMED = "_"
# The operator set that is written.
OPSET = 21


class Writer:
    """Nodes and arrays of an ONNX graph. ``batch_of`` names the input whose first axis is the batch."""

    def __init__(self, taken: Sequence[str], batch_of: str) -> None:
        self.nodes: list[Any] = []
        self.arrays: list[Any] = []
        self.batch_of = batch_of
        self._taken = set(taken)
        self._known: dict[Any, str] = {}

    def new(self, name: str) -> str:
        """Return a name that nothing has yet."""
        numbered = itertools.chain([name], (f"{name}_{i}" for i in itertools.count(2)))
        found = next(each for each in numbered if each not in self._taken)
        self._taken.add(found)
        return found

    def release(self, name: str) -> None:
        """Let go of a name that was kept for what is written next."""
        self._taken.discard(name)

    def node(self, op_type: str, *inputs: str, **attributes: Any) -> str:
        """Write a node and return the name of its result. ``None`` attributes are left out."""
        return self.several(1, op_type, *inputs, **attributes)[0]

    def several(self, results: int, op_type: str, *inputs: str, **attributes: Any) -> list[str]:
        """Write a node with several results and return their names."""
        names = [self.new(f"{UNNAMED}{op_type.lower()}") for _ in range(results)]
        given = {name: value for name, value in attributes.items() if value is not None}
        self.nodes.append(package("onnx.helper").make_node(op_type, list(inputs), names, names[0], **given))
        return names

    def array(self, value: Any, name: str = "value") -> str:
        """Write an array and return its name; the same small array is written once."""
        array = np.asarray(value)
        key = (array.dtype.str, array.shape, array.tobytes()) if array.size <= 64 and name == "value" else None
        if key is not None and key in self._known:
            return self._known[key]
        found = self.new(f"{UNNAMED}{name}")
        self.arrays.append(proto_of(array, found))
        if key is not None:
            self._known[key] = found
        return found

    def used(self) -> list[Any]:
        """Return the arrays that nodes read."""
        read = {name for node in self.nodes for name in node.input}
        return [array for array in self.arrays if array.name in read]

    def whole(self, numbers: Sequence[int] | int) -> str:
        """Write whole numbers, such as a shape, and return their name; those that follow the batch are computed from it."""
        sizes: list[int] = [numbers] if isinstance(numbers, int) else list(numbers)
        if not any(isinstance(size, Size) for size in sizes):
            return self.array(np.asarray(sizes, np.int64))
        batch = self.node("Shape", self.batch_of, start=0, end=1)
        return self.node("Concat", *(self._size(size, batch) for size in sizes), axis=0)

    def _size(self, size: int, batch: str) -> str:
        if not isinstance(size, Size):
            return self.array(np.asarray([size], np.int64))
        rule, size_now = size.rule, batch
        steps = (
            ("Mul", rule.a, 1),
            ("Add", rule.b, 0),
            ("Div", rule.by, 1),
            ("Mul", rule.times, 1),
            ("Add", rule.plus, 0),
        )
        for operator, number, nothing in steps:
            if number != nothing:
                size_now = self.node(operator, size_now, self.array(np.asarray([number], np.int64)))
        return size_now

    def number(self, value: float, like: Tensor) -> str:
        """Write a number in the dtype of a tensor."""
        return self.array(np.asarray(value, like.dtype))

    def cast(self, name: str, dtype: Any) -> str:
        """Write a cast to NumPy's dtype."""
        return self.node("Cast", name, to=NUMBERS[np.dtype(dtype)])

    def call_it(self, made: str, name: str) -> str:
        """Let a result go by a name of its own, and return it."""
        last = self.nodes[-1] if self.nodes else None
        if last is None or last.output[0] != made or len(last.output) > 1:
            self.node("Identity", made)
            last = self.nodes[-1]
        found = self.new(name)
        last.output[0] = last.name = found
        return found


class Step:
    """One tinygraph node as it is written: its operation, its tensors, and the names of its inputs in the file."""

    def __init__(self, writer: Writer, op: Op, tensor: Tensor, names: Sequence[str]) -> None:
        self.writer, self.op, self.tensor = writer, op, tensor
        self.names: list[str] = list(names)
        self.inputs = tensor.inputs

    @property
    def attributes(self) -> Mapping[str, Any]:
        """The operation's attributes by name."""
        return self.op.attributes()

    @property
    def x(self) -> str:
        """The name of the first input."""
        return self.names[0]

    def fail(self, why: str) -> NoReturn:
        """Raise the error that names the operation."""
        raise OnnxError(f"{self.tensor.describe()} ({self.op.name}) cannot be written as ONNX: {why}")
