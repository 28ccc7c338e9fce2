"""A node of an ONNX graph, as the rules of operators see it: its attributes, its operator set, and errors that name it.

The table of ONNX's operators has a rule for each, which says it in operations. What is not in it is refused by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn, TypeAlias

import numpy as np

import tinygraph.ops  # noqa: F401 (registers the operations)
from tinygraph.errors import OnnxError
from tinygraph.graph import MOST_AXES, OPERATIONS, Array, Graph, Tensor, charge
from tinygraph.interop.onnx.tensors import MOST_ELEMENTS, MOST_PLACES, REAL, array_of, dtype_of, package

# The input or result of a node: a tensor that is recorded, an array that is known already, or nothing if it is left out.
Value: TypeAlias = Tensor | Array | None
# A few bytes of a file can ask for any number of steps; nobody reads more equations than this.
MOST_STEPS = 1000
# Lists of sizes, axes and parts of a split are shorter than this.
_MOST_INTEGERS = 10_000
# An input of more elements is data.
_FEW = 16
# From a node and its inputs to its result, or to a tuple of results. An input is a tensor that is recorded, an array that
# is known already, or None where it is left out.
Rule: TypeAlias = Callable[..., Any]
# The operations by name: ops.relu(x).
ops = SimpleNamespace(**OPERATIONS)


class Node:
    """A node with its attributes. ``opset`` is the version of the operator set that the file is written in."""

    def __init__(self, proto: Any, opset: int, file: str = "model", folder: Path | None = None) -> None:
        self.proto, self.opset, self.file, self.folder = proto, opset, file, folder
        self.op_type: str = proto.op_type
        self.inputs: tuple[str, ...] = tuple(proto.input)
        self.outputs: tuple[str, ...] = tuple(proto.output)
        # The dtype that the file's real numbers are read in, if not their own, and whether the batch is open.
        self.real: np.dtype[Any] | None = None
        self.any_batch = False
        # The names that a rule gives to tensors inside the node, and the number of steps that it writes out.
        self.labels: dict[Tensor, str] = {}
        self.steps = 0
        # The node whose definition in ONNX this node is part of.
        self.within = ""
        # The arrays that the node was computed on, and the results.
        self.folded: tuple[list[Any], Any] | None = None

    def inner(self, proto: Any, opset: int = 0) -> Node:
        """Return a node inside this one, as of a branch."""
        return Node(proto, opset or self.opset, self.file, self.folder)

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
        if attribute.type not in (types.FLOAT, types.INT, types.STRING, types.FLOATS, types.INTS, types.STRINGS):
            kinds = types.AttributeType
            kind = kinds.Name(attribute.type) if attribute.type in kinds.values() else attribute.type
            self.fail(f"its attribute {attribute.name!r} holds a {kind}, which is not supported")
        value = package("onnx.helper").get_attribute_value(attribute)
        return _text(value) if not isinstance(value, list) else [_text(item) for item in value]

    def get(self, name: str, default: Any = None) -> Any:
        """Return an attribute, or the default that ONNX gives it."""
        return self.attributes.get(name, default)

    def read(self, name: str, default: float | str | None = None) -> Any:
        """Return an attribute in the type of its default; one without a default is required.

        ONNX stores real numbers in float32: the result is the shortest number that is the same there.
        """
        value = self.get(name, default)
        if value is None:
            self.fail(f"it needs its attribute {name!r}")
        if isinstance(default, float):
            return float(str(np.float32(value))) if name in self.attributes else default
        return bool(value) if isinstance(default, bool) else value

    def integers(self, name: str, x: Any = None) -> list[int] | None:
        """Return integers that must be known when the graph is recorded: an input, or else the attribute ``name``."""
        if x is None:
            value = self.get(name)
            return value if isinstance(value, list | None) else [value]
        if not is_constant(x) or x.dtype.kind not in "iu" or x.ndim > 1:
            self.fail(f"its {name} must be a list of whole numbers that do not depend on the data")
        if x.size > _MOST_INTEGERS:
            self.fail(f"its {name} must be a list of whole numbers; found one of {x.size:,}")
        return [int(item) for item in np.ravel(x)]

    def dtype(self, number: int) -> np.dtype[Any]:
        """Return NumPy's dtype for the number of an element type."""
        dtype = dtype_of(number, self.fail)
        return self.real if self.real is not None and dtype in REAL else dtype

    def check_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Return a shape that is computed from a few numbers, or fail where it is absurd."""
        if len(shape) > MOST_AXES:
            self.fail(f"its result would have {len(shape):,} axes; at most {MOST_AXES} are possible")
        sizes = tuple(int(size) for size in shape)
        if any(size < 0 for size in sizes) or math.prod(sizes) > MOST_ELEMENTS:
            self.fail(f"its result would have the shape {sizes}")
        return sizes

    def allocate(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Return the shape of an array that a rule makes, charged to the budget of the file."""
        sizes = self.check_shape(shape)
        charge("bytes of values", 8 * math.prod(sizes))
        return sizes

    def check_places(self, sizes: Sequence[int], what: str) -> None:
        """Fail where there would be absurdly many places to compute one by one; ``what`` names them."""
        if any(size < 0 for size in sizes) or math.prod(sizes) > MOST_PLACES:
            product = " x ".join(f"{size:,}" for size in sizes)
            self.fail(f"it would have {product} {what}; at most {MOST_PLACES:,} are possible")

    def wants(self, place: int) -> bool:
        """Whether the output at ``place`` has a name, so that it may be read."""
        return place < len(self.outputs) and bool(self.outputs[place])

    def axis(self, axis: int, x: Any, extra: int = 0) -> int:
        """Return an axis of ``x`` counted from 0, or fail for one that it does not have."""
        ndim = x.ndim + extra
        if not -ndim <= axis < ndim:
            self.fail(f"axis {axis} is out of range for shape {tuple(x.shape)}")
        return axis % ndim if ndim else 0

    @property
    def result(self) -> str:
        """The name of the first of its results that has one."""
        return next(filter(None, self.outputs), "")

    def label(self, x: Any, name: str) -> Any:
        """Give a tensor inside the node a name, which follows that of the node, and return it."""
        if isinstance(x, Tensor):
            self.labels.setdefault(x, name)
        return x

    def describe(self) -> str:
        """Return the node for a message: its name, operator and operator set."""
        if self.within:
            return f"{self.within}: {self.op_type} in its definition"
        domain = f"{self.proto.domain}." if self.proto.domain else ""
        return f"node {self.proto.name or self.result!r} ({domain}{self.op_type}, opset {self.opset})"

    def fail(self, why: str) -> NoReturn:
        """Raise the error that names the file and the node."""
        raise OnnxError(f"{self.file}: {self.describe()}: {why}") from None


def with_branches(nodes: Iterable[Any]) -> Iterator[Any]:
    """Yield nodes, in ONNX's form, with those of their branches."""
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        yield node
        for attribute in node.attribute:
            waiting.extend(attribute.g.node)


def _text(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def is_constant(x: Any) -> bool:
    """Whether a value is known when the graph is recorded."""
    return not isinstance(x, Tensor)


def how_to_fix(operands: Iterable[Any], places: Collection[int]) -> tuple[str, list[str]]:
    """Return a hint to fix inputs of the file, and their names: those that the operands at ``places`` depend on."""
    unknown = [x for place, x in enumerate(operands) if place in places and isinstance(x, Tensor)]
    inputs = Graph(unknown).inputs if unknown else {}
    names = [name for name, x in inputs.items() if x.size <= _FEW]
    values = ", ".join(f"{name!r}: ..." for name in names)
    options = " ".join(f"--value {name}=..." for name in names)
    return f"; fix the input with values={{{values}}} or {options}" if names else "", list(inputs)


@dataclass(frozen=True)
class Operator:
    """An entry of the table; without a rule, ONNX's own definition of the operator is used.

    ``constants`` are the places of inputs that say *how* something is computed, such as the shape of a reshape: they must
    be known when the graph is recorded. ``weights`` names the inputs that hold weights in networks, as PyTorch does.
    ``columns`` are the places of vectors with a number for each channel: weights there get an axis of size 1 for each axis
    of an image, so that they broadcast. ``state`` are the places of running statistics, which are not trained, with the
    operation that updates each in training.
    """

    rule: Any
    constants: tuple[int, ...] = ()
    weights: Mapping[int, str] = field(default_factory=dict)
    columns: tuple[int, ...] = ()
    state: Mapping[int, str] = field(default_factory=dict)


OPERATORS: dict[str, Operator] = {}


def operator(
    *names: str, integers: Mapping[int, str] | None = None, constants: tuple[int, ...] = (), **options: Any
) -> Callable[[Rule], Rule]:
    """Enter the function below as the rule of these operators; use as a decorator. ``options`` are those of ``Operator``.

    ``integers`` names inputs, by place, that are known integers, such as the axes of a reduction. The rule gets them as a
    list; where one is left out, it gets the attribute of that name, as in earlier operator sets, or ``None``.
    """
    lists = integers or {}

    def enter(rule: Rule) -> Rule:
        def with_integers(node: Node, *inputs: Any) -> Any:
            given = [*inputs, *[None] * (max(lists) + 1 - len(inputs))]
            for place, name in lists.items():
                given[place] = node.integers(name, given[place])
            return rule(node, *given)

        entry = Operator(with_integers if lists else rule, (*constants, *lists), **options)
        OPERATORS.update(dict.fromkeys(names, entry))
        return rule

    return enter
