"""The nodes and arrays of an ONNX graph, written one after the other, with a name for each result."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

import numpy as np

from tinygraph.errors import OnnxError
from tinygraph.graph.tensor import Tensor
from tinygraph.interop.onnx.batch import Size
from tinygraph.interop.onnx.package import UNNAMED, package
from tinygraph.interop.onnx.tensors import NUMBERS, proto_of

# An array of more elements is written each time.
_SMALL = 64


class Writer:
    """An ONNX graph that is being written. ``batch`` names the input whose first axis is the batch."""

    def __init__(self, taken: Iterable[str], batch: str) -> None:
        self.nodes: list[Any] = []
        self.arrays: list[Any] = []
        self.batch = batch
        self._taken = set(taken)
        self._known: dict[Any, str] = {}

    def new(self, name: str) -> str:
        """Return a name like ``name`` that has not been given before."""
        numbered = itertools.chain([name], (f"{name}_{i}" for i in itertools.count(2)))
        found = next(each for each in numbered if each not in self._taken)
        self._taken.add(found)
        return found

    def node(self, op_type: str, *inputs: str, **attributes: Any) -> str:
        """Write a node and return the name of its result. ``None`` attributes are left out."""
        return self.results(1, op_type, *inputs, **attributes)[0]

    def results(self, count: int, op_type: str, *inputs: str, **attributes: Any) -> list[str]:
        """Write a node with several results and return their names."""
        names = [self.new(f"{UNNAMED}{op_type.lower()}") for _ in range(count)]
        given = {name: value for name, value in attributes.items() if value is not None}
        self.nodes.append(package("onnx.helper").make_node(op_type, list(inputs), names, names[0], **given))
        return names

    def array(self, value: Any) -> str:
        """Write an array and return its name; the same small array is written once."""
        array = np.asarray(value)
        key = (array.dtype.str, array.shape, array.tobytes()) if array.size <= _SMALL else None
        if key is not None and key in self._known:
            return self._known[key]
        found = self.new(f"{UNNAMED}{'constant' if key is None else 'value'}")
        self.arrays.append(proto_of(array, found))
        self._known[key or found] = found
        return found

    def used(self) -> list[Any]:
        """Return the arrays that nodes read."""
        read = {name for node in self.nodes for name in node.input}
        return [array for array in self.arrays if array.name in read]

    def integers(self, numbers: Sequence[int] | int) -> str:
        """Write integers, such as a shape, and return their name; sizes that follow the batch are computed from it."""
        sizes = [numbers] if isinstance(numbers, int) else list(numbers)
        if not any(isinstance(size, Size) for size in sizes):
            return self.array(np.asarray(sizes, np.int64))
        batch = self.node("Shape", self.batch, start=0, end=1)
        return self.node("Concat", *(self._size(size, batch) for size in sizes), axis=0)

    def _size(self, size: int, batch: str) -> str:
        if not isinstance(size, Size):
            return self.integers(size)
        rule, found = size.rule, batch
        steps = [("Mul", rule.a, 1), ("Add", rule.b, 0), ("Div", rule.by, 1), ("Mul", rule.times, 1)]
        for operator, number, neutral in [*steps, ("Add", rule.plus, 0)]:
            found = found if number == neutral else self.node(operator, found, self.integers(number))
        return found

    def cast(self, name: str, dtype: Any) -> str:
        """Write a cast to NumPy's dtype."""
        return self.node("Cast", name, to=NUMBERS[np.dtype(dtype)])

    def rename(self, made: str, name: str) -> str:
        """Give the result that was written last another name, and return it."""
        last = self.nodes[-1] if self.nodes else None
        if last is None or last.output[0] != made or len(last.output) > 1:
            self.node("Identity", made)
            last = self.nodes[-1]
        last.output[0] = last.name = name
        return name


class Step:
    """A tinygraph node that is being written: its operation, its tensors, and the names of its inputs in the file."""

    def __init__(self, writer: Writer, op: Any, tensor: Tensor, names: Sequence[str]) -> None:
        self.writer, self.op, self.tensor, self.names = writer, op, tensor, list(names)
        self.inputs = tensor.inputs
        self.node: Callable[..., str] = writer.node
        self.integers = writer.integers

    @property
    def x(self) -> str:
        """The name of the first input."""
        return self.names[0]

    def cast(self, place: int, *dtypes: Any) -> str:
        """Return the name of an input, cast to the first of ``dtypes`` unless it has one of them."""
        known = self.inputs[place].dtype in [np.dtype(dtype) for dtype in dtypes]
        return self.names[place] if known else self.writer.cast(self.names[place], dtypes[0])

    def number(self, value: float) -> str:
        """Write a number in the dtype of the result."""
        return self.writer.array(np.asarray(value, self.tensor.dtype))

    def fail(self, why: str) -> NoReturn:
        """Raise the error that names the operation."""
        raise OnnxError(f"{self.tensor.describe()} ({self.op.name}) cannot be written as ONNX: {why}")
