"""From an ONNX graph to tinygraph's: node by node, by the table. What does not depend on data is computed immediately."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np

from tinygraph.errors import BudgetError, OnnxError, TinygraphError, ValueUnavailable, listing, nearest
from tinygraph.graph import Array, Tensor, charge, composites_as_nodes
from tinygraph.interop.onnx.inner import definition, is_known, names_read, schema_of
from tinygraph.interop.onnx.node import MOST_STEPS, Node, Value, how_to_fix, ops
from tinygraph.interop.onnx.operators import OPERATORS
from tinygraph.interop.onnx.read import File
from tinygraph.interop.onnx.roles import COMPARISONS, Reader
from tinygraph.interop.onnx.tensors import PRODUCER, REAL, UNNAMED, array_of, package


@dataclass
class Weight:
    """An array of real numbers; where data meet it, it becomes a parameter, in the shape that is needed first.

    Running statistics are state instead: in training they follow the batches of ``follows``, by the operation ``statistic``
    and ``momentum``. ``owners`` are the parameters that an exporter merged into one array: this one is the first, the
    others are ``copied``. ``transposed`` is the weight that this one is the transpose of.
    """

    name: str
    array: Array
    tensor: Tensor | None = None
    reader: Reader | None = None
    follows: Tensor | None = None
    statistic: str = ""
    momentum: float = 0.1
    copied: bool = False
    transposed: Weight | None = None
    owners: dict[Any, Weight] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Keep the shape that the array has in the file."""
        self.shape = self.array.shape

    def owned(self, key: Any) -> Weight:
        """Return the parameter with this key among those that were merged."""
        if key not in self.owners:
            name = f"{self.name}#{len(self.owners)}"
            self.owners[key] = Weight(name, self.array.reshape(self.shape), copied=True) if self.owners else self
        return self.owners[key]

    def recorded(self, columns: int = 0, kind: Literal["parameter", "state"] = "parameter") -> Any:
        """Return the parameter; a vector with a number for each channel gets ``columns`` more axes of size 1."""
        if self.transposed is not None:
            return ops.transpose(self.transposed.recorded())
        column = columns > 0 and self.array.ndim == 1
        shape = (self.array.shape[0],) + (1,) * columns if column else self.array.shape
        if self.tensor is None:
            self.array = self.array.reshape(shape)
            self.tensor = Tensor(kind, None, (), None, shape, self.array.dtype, self.name)
        return self.tensor if self.tensor.shape == shape else ops.reshape(self.tensor, shape)


# A result of a node: recorded, known, or a weight that no data have met.
Result: TypeAlias = Value | Weight
_DOMAINS = ("", "ai.onnx")
# The errors of rules for inputs and attributes that do not fit.
_FAILURES = (TinygraphError, TypeError, ValueError, LookupError, ArithmeticError, AttributeError, MemoryError)
# The key, in a file that tinygraph wrote, of the arrays that are not learned.
STATE = "tinygraph.state"
# Results of these on a weight are known, or are the weight again.
_ON_WEIGHTS = frozenset({"Cast", "CastLike", "Identity", "Shape", "Size"}) | COMPARISONS


class UnknownInputError(OnnxError):
    """A node needs the values of inputs of the file, ``inputs``, when the graph is recorded."""

    def __init__(self, message: str, inputs: Iterable[str]) -> None:
        super().__init__(message)
        self.inputs = set(inputs)


def nodes_of(file: File, outputs: Iterable[str]) -> list[Node]:
    """Return the nodes that outputs are computed from, in order. Raises ``OnnxError`` for operators without a rule."""
    needed = set(outputs)
    found: list[Node] = []
    for proto in reversed(file.proto.graph.node):
        if needed & set(proto.output):
            needed |= names_read(proto)
            found.append(Node(proto, file.opset, file.name, file.folder))
    found.reverse()
    check_known(found)
    for node in found:
        _check_form(node)
    return found


def check_known(nodes: Iterable[Node]) -> None:
    """Raise ``OnnxError`` for nodes whose operators have neither a rule nor a definition in other operators."""
    unknown = [node for node in nodes if node.proto.domain not in _DOMAINS or not is_known(node)]
    if not unknown:
        return
    first, others = unknown[0], sorted({node.op_type for node in unknown} - {unknown[0].op_type})
    also = f"; nor for {listing(others)}" if others else ""
    own = first.proto.domain in _DOMAINS
    hint = nearest(first.op_type, OPERATORS) if own and not package().defs.has(first.op_type) else ""
    foreign = "" if own else ", which is not an operator of ONNX itself"
    first.fail(f"there is no operation for it{foreign}{hint}{also} (docs/onnx_operators.md lists the known operators)")


def _check_form(node: Node) -> None:
    """Compare a node with ONNX's definition of its operator: attributes, their types, numbers of inputs and outputs."""
    schema = schema_of(node)
    if schema is None:
        node.fail("its operator set does not have this operator")
    if schema.deprecated:
        node.fail("its operator set has withdrawn this operator")
    for attribute in node.proto.attribute:
        if attribute.name not in schema.attributes:
            node.fail(f"it has no attribute {attribute.name!r}{nearest(attribute.name, schema.attributes)}")
        if int(schema.attributes[attribute.name].type.value) != attribute.type:
            node.fail(f"its attribute {attribute.name!r} is of the wrong type")
    for what, found, least, most in (
        ("input", len(node.inputs), schema.min_input, schema.max_input),
        ("output", len(node.outputs), schema.min_output, schema.max_output),
    ):
        if not least <= found <= most:
            node.fail(f"it takes {least} to {most} {what}s; found {found}")


class Importer:
    """One import of a file, and the graph that it records. ``leaves`` are values or tensors for the graph's inputs, by name.

    ``dtype`` replaces the file's float16 and float32. ``any_batch`` is for recordings that are compared with others of
    the same file. ``values`` are those of all nodes by name, ``outputs`` the recorded outputs, ``weights`` the arrays that
    may be weights, and ``names`` has the name of every tensor that the file names: for a tensor inside a node a pair, the
    name of the node's result and one of its own.
    """

    def __init__(
        self, file: File, leaves: Mapping[str, Value], dtype: np.dtype[Any] | None = None, *, any_batch: bool = False
    ) -> None:
        self.file, self.dtype, self.any_batch = file, dtype, any_batch
        self.leaves = leaves
        self.values: dict[str, Result] = dict(leaves)
        self.weights: dict[str, Weight] = {}
        self.names: dict[Tensor, tuple[str, str]] = {}
        self.outputs: dict[str, Any] = {}
        # In files of tinygraph's own, results that had no name in the model need none again.
        self._unnamed = UNNAMED if file.proto.producer_name == PRODUCER else "\0"
        self._steps = MOST_STEPS
        # The data that each weight is used with, and the operators that do so.
        self._used_with: dict[str, set[tuple[str, str]]] = defaultdict(set)

    def record(self, names: Sequence[str], nodes: Sequence[Node]) -> Importer:
        """Find the outputs of these names, computed where they do not depend on data and recorded where they do."""
        needed = set(names).union(*(names_read(node.proto) for node in nodes))
        state = self.file.metadata.get(STATE, "").split()
        for tensor in self.file.proto.graph.initializer:
            if tensor.name in needed and tensor.name not in self.values:
                array = self.file.array(tensor, self._typed)
                learned = tensor.name not in state and self.file.roles.is_learned(tensor.name, array)
                self._keep(tensor.name, array, weight=learned)
        for name, other in self.file.roles.transposed.items():
            if name in self.weights and other in self.weights:
                self.weights[name].transposed = self.weights[other]
        for node in nodes:
            self._compute(node)
        outputs = {name: self.values[name] for name in names}
        self.outputs = {name: x.recorded() if isinstance(x, Weight) else x for name, x in outputs.items()}
        self.weights = {w.name: w for w in self.weights.values() if w.tensor is not None}
        return self

    def _typed(self, array: Array) -> Array:
        if self.dtype is None or array.dtype not in REAL or array.dtype == self.dtype:
            return array
        if array.size and not any(array.strides):
            # A view of one number, which takes no memory, stays one.
            return np.broadcast_to(array.flat[0].astype(self.dtype), array.shape)
        return array.astype(self.dtype)

    def _keep(self, name: str, value: Result, weight: bool) -> None:
        """Store a value by its name; an array of real numbers may be a weight."""
        if isinstance(value, np.ndarray):
            if weight and value.dtype.kind == "f" and value.ndim and value.size:
                value = self.weights[name] = Weight(name, value)
        elif isinstance(value, Tensor) and value.op is not None and not name.startswith(self._unnamed):
            self.names.setdefault(value, (name, ""))
        self.values[name] = value

    def _compute(self, node: Node) -> None:
        charge("operations", 1 + len(node.inputs) // 4)
        for name in node.inputs:
            if name and name not in self.values:
                # Only in ONNX's own definition of an operator, for inputs that its other inputs require.
                node.fail(f"it needs a value for {name.rpartition('.')[2]!r}, which is left out")
        given = [self.values[name] if name else None for name in node.inputs]
        operator = OPERATORS.get(node.op_type)
        if operator is None or operator.rule is None:
            self._expand(node, given)
        elif node.op_type == "If":
            self._branch(node, given)
        elif node.op_type == "Identity" or (node.op_type == "Dropout" and len(node.outputs) == 1):
            value = self._call(node, given)
            if isinstance(value, Weight) and self.file.roles.splits(node.proto):
                value = self.weights[node.outputs[0]] = Weight(node.outputs[0], value.array)
            self._keep(node.outputs[0], value, weight=False)
        else:
            self._apply(node, given)

    def _apply(self, node: Node, given: list[Result]) -> None:
        kinds = {type(x) for x in given}
        if Tensor not in kinds and (Weight not in kinds or node.op_type in _ON_WEIGHTS):
            results = self._folded(node, _without_weights(given))
        else:
            results = self._call(node, self._operands(node, given))
        self._steps -= node.steps
        if self._steps < 0:
            node.fail(f"the recurrent layers of the file have more than {MOST_STEPS:,} steps to be written out")
        self.names |= {x: (node.result, name) for x, name in node.labels.items() if x not in self.names}
        for name, value in zip(node.outputs, results if isinstance(results, tuple) else (results,), strict=False):
            if name:
                self._keep(name, value, weight=self._makes_weights(node, given, name, value))

    def _expand(self, node: Node, given: list[Result]) -> None:
        """Compute a node by ONNX's own definition of its operator."""
        parts = definition(node, _without_weights(given), self._unnamed)
        check_known(parts)
        for part in parts:
            self._compute(part)
        missing = [name for name in node.outputs if name and name not in self.values]
        if missing:
            node.fail(f"ONNX's definition of it does not fit its inputs: it does not compute {listing(missing)}")

    def _branch(self, node: Node, given: list[Result]) -> None:
        """Compute the branch that a condition chooses, as if its nodes replaced the node."""
        graph = self._call(node, _without_weights(given))
        for tensor in graph.initializer:
            array = self._typed(array_of(tensor, self.file.folder, lambda why: node.fail(f"initializer {why}")))
            self._keep(tensor.name, array, weight=self.file.roles.is_learned(tensor.name, array))
        parts = [node.inner(proto) for proto in graph.node]
        check_known(parts)
        for part in parts:
            _check_form(part)
            self._compute(part)
        self.values |= {n: self.values[inner.name] for n, inner in zip(node.outputs, graph.output, strict=True) if n}

    def _operands(self, node: Node, given: list[Result]) -> list[Value]:
        """Return inputs in the form they are recorded in: weights as parameters, unless they must be known."""
        operator = OPERATORS[node.op_type]
        images = max((x.ndim for x in given[:1] if isinstance(x, Tensor)), default=0) - 2
        operands: list[Value] = []
        for place, x in enumerate(given):
            if not isinstance(x, Weight):
                operands.append(x)
                continue
            known, state = place in operator.constants, place in operator.state
            if not known:
                x = given[place] = self._owned(node, x, place, state)
            x.reader = x.reader or Reader(node.result, node.op_type, place)
            columns = images if place in operator.columns else 0
            operands.append(x.array if known else x.recorded(columns, "state" if state else "parameter"))
            if state and x.tensor is not None and x.tensor.kind == "state":
                # The statistics of two tensors follow neither.
                follows = operands[0] if not x.statistic else None
                x.follows, x.statistic = follows if isinstance(follows, Tensor) else None, operator.state[place]
                # ONNX's momentum is the share of the old value, ours is that of the new one.
                x.momentum = float(str(np.float32(1 - node.read("momentum", 0.9))))
        return operands

    def _owned(self, node: Node, weight: Weight, place: int, state: bool) -> Weight:
        """Return the parameter that a node reads, one of those that an exporter may have merged into an array.

        A node that uses the same array with the same data as another node of this owner is another layer.
        """
        key = self.file.roles.owner(weight.name, weight.array.reshape(weight.shape), node.proto, place, state)
        if key is None:
            found = weight.owned(None)
        else:
            data = next((name for name in node.inputs if name and self.values[name] is not weight), node.result)
            owned = (weight.owned((key, count)) for count in itertools.count())
            found = next(each for each in owned if (data, node.op_type) not in self._used_with[each.name])
            self._used_with[found.name].add((data, node.op_type))
        self.weights[found.name] = found
        return found

    def _folded(self, node: Node, arrays: list[Any]) -> Any:
        """Compute on arrays, once for all recordings."""
        if node.folded is None or not all(a is b for a, b in zip(arrays, node.folded[0], strict=True)):
            sizes = [x.size for x in arrays if isinstance(x, np.ndarray)]
            results = self._call(node, arrays, cost=0 if node.op_type in ("Shape", "Size") else sum(sizes))
            found = tuple(map(self._typed, results)) if isinstance(results, tuple) else self._typed(results)
            node.folded = (arrays, found)
        return node.folded[1]

    def _makes_weights(self, node: Node, given: list[Result], name: str, value: Any) -> bool:
        """Whether the result of a node without data is a weight, and not a part of how the model computes.

        Weights are those in another dtype, those that were stored as integers, and arrays that a file fills with one
        number in place of the true ones; zeros and ones are masks and the like.
        """
        if node.op_type in ("Cast", "CastLike"):
            return isinstance(given[0], Weight)
        if node.op_type == "Constant":
            return self.file.roles.is_learned(name, value, constant=True)
        filled = node.op_type == "ConstantOfShape" and value.size > 0 and value.flat[0] not in (0, 1)
        return filled or node.op_type == "DequantizeLinear"

    def _call(self, node: Node, operands: list[Any], cost: int = 0) -> Any:
        node.real, node.any_batch, node.labels = self.dtype, self.any_batch, {}
        try:
            charge("steps of computation", cost)
            # A normalization is recorded as one node, so that a model's equations call it by name.
            with np.errstate(all="ignore"), composites_as_nodes():
                return OPERATORS[node.op_type].rule(node, *operands)
        except BudgetError as error:
            raise BudgetError(f"{node.describe()}: {error}") from None
        except _FAILURES as error:
            hint, inputs = how_to_fix(operands, OPERATORS[node.op_type].constants)
            where = "" if isinstance(error, OnnxError) else f"{self.file.name}: {node.describe()}: "
            why = str(error)
            if isinstance(error, ValueUnavailable) or not isinstance(error, TinygraphError):
                why = "it must be known when the file is opened" if hint else f"its inputs do not fit: {error}"
            raise UnknownInputError(f"{where}{why}{hint}", inputs) from None


def _without_weights(values: Iterable[Result]) -> list[Value]:
    return [x.array if isinstance(x, Weight) else x for x in values]
