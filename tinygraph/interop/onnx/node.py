"""One node of an ONNX graph as the rules of the table see it: its attributes, its operator set, and errors that name it."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

import numpy as np

from tinygraph.errors import OnnxError
from tinygraph.graph.arrays import MOST_AXES
from tinygraph.graph.budget import charge
from tinygraph.graph.graph import Graph
from tinygraph.graph.tensor import Tensor
from tinygraph.interop.onnx.package import package
from tinygraph.interop.onnx.tensors import MOST_ELEMENTS, MOST_PLACES, REAL, array_of, dtype_of

# A constant, an array, or a tensor that is recorded; ``None`` for an input that is left out.
Value: TypeAlias = Any
Rule: TypeAlias = Callable[..., Any]


# A few bytes of a file could ask for any number of steps, and more than this are no equations that anyone reads.
MOST_STEPS = 1000
# Inputs of more elements are data.
_FEW = 16


@dataclass(frozen=True)
class Parts:
    """A sequence of values."""

    items: tuple[Value, ...]


@dataclass(frozen=True)
class Operator:
    """A line of the table: from a node and its inputs to its result, or a tuple of results.

    ``constants`` are the places of inputs that say *how* something is computed, such as the shape of a reshape: they must
    be known when the graph is recorded. ``columns`` are those that hold one number for each channel: weights there are kept
    with an axis of size 1 for each axis of an image, so that they broadcast as they are. ``since`` is the first operator
    set whose definition is understood. ``state`` are the places of running statistics, which are not trained, and the
    operations by which they follow the batches of a training.
    """

    rule: Rule
    constants: tuple[int, ...] = ()
    columns: tuple[int, ...] = ()
    since: int = 1
    state: Mapping[int, str] = field(default_factory=dict)


class Node:
    """A node with its attributes. ``opset`` is the version of the operator set that the file is written in."""

    def __init__(self, proto: Any, opset: int, file: str = "model", folder: Path | None = None) -> None:
        self.proto, self.opset, self.file, self.folder = proto, opset, file, folder
        # What the real numbers of the file are read as, where that is not what they are.
        self.real: np.dtype[Any] | None = None
        self.op_type: str = proto.op_type
        self.inputs: tuple[str, ...] = tuple(proto.input)
        self.outputs: tuple[str, ...] = tuple(proto.output)
        # Tensors that a rule gives a name to, after that of the node, and the steps that it writes out.
        self.called: dict[Tensor, str] = {}
        self.steps = 0
        # What the node is part of, where it is one of those that an operator of ONNX is defined by.
        self.within = ""
        # Whether what is recorded shall hold for any number of samples.
        self.any_batch = False
        # The arrays that it was computed on, and the results.
        self.folded: tuple[list[Value], Any] | None = None

    @cached_property
    def attributes(self) -> dict[str, Any]:
        """The attributes by name: numbers, text, arrays, lists of these."""
        found: dict[str, Any] = {}
        for attribute in self.proto.attribute:
            if attribute.name in found:
                self.fail(f"its attribute {attribute.name!r} is given twice")
            found[attribute.name] = self._value(attribute)
        return found

    def _value(self, attribute: Any) -> Any:
        types = package().AttributeProto
        if attribute.ref_attr_name:
            self.fail(f"its attribute {attribute.name!r} refers to a function's, and there is none")
        if attribute.type == types.TENSOR:
            return array_of(attribute.t, self.folder, lambda why: self.fail(f"its attribute {attribute.name!r}: {why}"))
        read: dict[int, Callable[[], Any]] = {
            types.FLOAT: lambda: attribute.f,
            types.INT: lambda: attribute.i,
            types.STRING: lambda: attribute.s.decode("utf-8", "replace"),
            types.FLOATS: lambda: list(attribute.floats),
            types.INTS: lambda: list(attribute.ints),
            types.STRINGS: lambda: [s.decode("utf-8", "replace") for s in attribute.strings],
        }
        if attribute.type not in read:
            kinds = types.AttributeType
            kind = kinds.Name(attribute.type) if attribute.type in kinds.values() else attribute.type
            self.fail(f"its attribute {attribute.name!r} holds a {kind}, which is not read")
        return read[attribute.type]()

    def get(self, name: str, default: Any = None) -> Any:
        """Return an attribute, or the default that ONNX gives it."""
        return self.attributes.get(name, default)

    def number(self, name: str, default: float) -> float:
        """Return an attribute as the shortest number that is the same in float32, as ONNX keeps it."""
        value = self.attributes.get(name)
        return default if value is None else float(str(np.float32(value)))

    def need(self, name: str) -> Any:
        """Return an attribute that ONNX requires."""
        if name not in self.attributes:
            self.fail(f"it needs its attribute {name!r}")
        return self.attributes[name]

    def dtype(self, number: int) -> np.dtype[Any]:
        """Return NumPy's dtype for the number of an element type."""
        dtype = dtype_of(number, self.fail)
        return self.real if self.real is not None and dtype in REAL else dtype

    def checked_size(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Return a shape that is computed from a few numbers, or fail where it is absurd."""
        if len(shape) > MOST_AXES:
            self.fail(f"its result would have {len(shape):,} axes; at most {MOST_AXES} are possible")
        sizes = tuple(int(size) for size in shape)
        if any(size < 0 for size in sizes) or math.prod(sizes) > MOST_ELEMENTS:
            self.fail(f"its result would have the shape {sizes}")
        return sizes

    def allocated(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Return the shape of an array of numbers that a rule makes itself, charged to the budget of the file."""
        sizes = self.checked_size(shape)
        charge("bytes of values", 8 * math.prod(sizes))
        return sizes

    def check_places(self, sizes: Sequence[int], what: str) -> None:
        """Fail where there would be absurdly many places to follow one by one; ``what`` says of what."""
        if any(size < 0 for size in sizes) or math.prod(sizes) > MOST_PLACES:
            self.fail(
                f"it would have {' x '.join(f'{size:,}' for size in sizes)} {what}; at most {MOST_PLACES:,} are followed"
            )

    def write_out(self, steps: int) -> None:
        """Note how many steps a rule writes out, or fail for more than anyone reads."""
        self.steps = steps
        if steps > MOST_STEPS:
            self.fail(f"{steps:,} steps would be as many equations or more; at most {MOST_STEPS:,} are written out")

    def wants(self, place: int) -> bool:
        """Whether anything may read the output at ``place``."""
        return place < len(self.outputs) and bool(self.outputs[place])

    def axis(self, axis: int, x: Value, extra: int = 0) -> int:
        """Return an axis of ``x`` counted from 0, or fail for one that it does not have."""
        ndim = x.ndim + extra
        if not -ndim <= axis < ndim:
            self.fail(f"axis {axis} is out of range for shape {tuple(x.shape)}")
        return axis % ndim if ndim else 0

    @property
    def result(self) -> str:
        """The name of the first of its results that has one."""
        return next(filter(None, self.outputs), "")

    def call(self, x: Value, name: str) -> Value:
        """Give a tensor inside the node a name, which follows that of the node, and return it."""
        if isinstance(x, Tensor):
            self.called.setdefault(x, name)
        return x

    def describe(self) -> str:
        """Return the node for a message: its name or place, operator and operator set."""
        if self.within:
            return f"{self.within}: {self.op_type} in its definition"
        name = self.proto.name or self.result
        domain = f"{self.proto.domain}." if self.proto.domain else ""
        return f"node {name!r} ({domain}{self.op_type}, opset {self.opset})"

    def fail(self, why: str) -> NoReturn:
        """Raise the error that names the file and the node."""
        raise OnnxError(f"{self.file}: {self.describe()}: {why}")


def is_constant(x: Value) -> bool:
    """Whether a value is known when the graph is recorded."""
    return not isinstance(x, Tensor)


def how_to_fix(operands: Iterable[Value], places: Collection[int]) -> str:
    """Return how to give a value to inputs of the file that say how something is computed: those that ``places`` depend on."""
    asked = [x for place, x in enumerate(operands) if place in places and isinstance(x, Tensor)]
    names = [name for name, x in Graph(asked).inputs.items() if x.size <= _FEW] if asked else []
    if not names:
        return ""
    values = ", ".join(f"{name!r}: ..." for name in names)
    options = " ".join(f"--value {name}=..." for name in names)
    return f"; fix the input with values={{{values}}} or {options}"
