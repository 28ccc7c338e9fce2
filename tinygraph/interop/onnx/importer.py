"""From an ONNX graph to tinygraph's: node by node, by the table. What does not depend on data is computed on the way."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinygraph.errors import BudgetError, OnnxError, TinygraphError, listing, nearest
from tinygraph.graph.arrays import Array
from tinygraph.graph.budget import charge
from tinygraph.graph.tensor import Tensor
from tinygraph.interop.onnx.branches import branches, chosen, names_read, nodes_in
from tinygraph.interop.onnx.functions import body_of, is_defined
from tinygraph.interop.onnx.names import Reader
from tinygraph.interop.onnx.node import MOST_STEPS, Node, Parts, Value, how_to_fix
from tinygraph.interop.onnx.package import package
from tinygraph.interop.onnx.read import File
from tinygraph.interop.onnx.roles import TRUTHS
from tinygraph.interop.onnx.table import OPERATORS
from tinygraph.interop.onnx.tensors import REAL, array_of
from tinygraph.interop.onnx.weight import Weight
from tinygraph.interop.onnx.writer import PRODUCER, UNNAMED

_DOMAINS = ("", "ai.onnx")
# What a file that tinygraph wrote says of itself: the arrays that are not learned.
STATE = "tinygraph.state"
# What these say of a weight is known, or is the weight again; what is true of an array has no gradient, as of a mask.
_OF_WEIGHTS = frozenset({"Cast", "CastLike", "Identity", "Shape", "Size"}) | TRUTHS


@dataclass
class Imported:
    """What was read from a graph: its outputs by name, its weights, and the name of every tensor that the file names.

    What is computed inside a node has the name of the node's result, and one of its own there.
    """

    outputs: dict[str, Value]
    weights: dict[str, Weight]
    names: dict[Tensor, tuple[str, str]] = field(default_factory=dict)
    leaves: Mapping[str, Value] = field(default_factory=dict)
    known: Mapping[str, Value] = field(default_factory=dict)


def nodes_of(file: File, outputs: Iterable[str]) -> list[Node]:
    """Return the nodes that outputs are computed from, in order, each known to the table. Raises ``OnnxError``."""
    needed = set(outputs)
    found: list[Node] = []
    for proto in reversed(file.proto.graph.node):
        if needed & set(proto.output):
            needed |= names_read(proto)
            found.append(Node(proto, file.opset, file.name, file.folder))
    found.reverse()
    _check_known(found)
    for node in found:
        _check_form(node)
    return found


def _check_known(nodes: Iterable[Node]) -> None:
    unknown = [node for node in nodes if not _is_known(node)]
    if not unknown:
        return
    first, others = unknown[0], sorted({node.op_type for node in unknown} - {unknown[0].op_type})
    also = f"; nor for {listing(others)}" if others else ""
    misspelt = first.proto.domain in _DOMAINS and not package().defs.has(first.op_type)
    hint = nearest(first.op_type, OPERATORS) if misspelt else ""
    foreign = "" if first.proto.domain in _DOMAINS else ", which is no operator of ONNX itself"
    first.fail(f"there is no operation for it{foreign}{hint}{also} (docs/onnx_operators.md lists those that there are)")


def _is_known(node: Node) -> bool:
    return node.proto.domain in _DOMAINS and (node.op_type in OPERATORS or is_defined(node))


def _check_form(node: Node) -> None:
    """Hold a node against ONNX's own definition of its operator: attributes, their types, how many inputs and outputs."""
    defs = package().defs
    try:
        schema = defs.get_schema(node.op_type, node.opset, "")
    except defs.SchemaError:
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


def inputs_of(file: File) -> dict[str, Any]:
    """Return the inputs that have no value in the file, as ONNX declares them, by name."""
    given = {tensor.name for tensor in file.proto.graph.initializer}
    return {value.name: value for value in file.proto.graph.input if value.name not in given}


def known_early(file: File, nodes: Iterable[Node]) -> set[str]:
    """Return the inputs of a graph that say how something is computed, such as a shape: they must be known to record it."""
    declared = inputs_of(file)
    types = {name: _as_declared(file, value) for name, value in declared.items()}
    early: set[str] = set()
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if node.op_type == "If":
            for graph in branches(node):
                if not early.isdisjoint(node.outputs):
                    early.update(output.name for output in graph.output)
                waiting += [part for part in nodes_in(graph, node) if _is_known(part)]
        if node.op_type not in OPERATORS:
            given = [types.get(name) for name in node.inputs]
            if all(x is not None or not name for x, name in zip(given, node.inputs, strict=True)):
                body = body_of(node, given, "")
                _check_known(body)
                waiting += body
            continue
        asked = not early.isdisjoint(node.outputs) and node.op_type not in ("Shape", "Size")
        places = range(len(node.inputs)) if asked else OPERATORS[node.op_type].constants
        early.update(node.inputs[i] for i in places if i < len(node.inputs) and node.inputs[i])
    return early & set(declared)


def _as_declared(file: File, value: Any) -> Tensor:
    """Return an input as a tensor, in the sizes that the file gives it; an open one is 1."""
    sizes = tuple(max(dim.dim_value, 1) for dim in value.type.tensor_type.shape.dim)
    return Tensor("input", None, (), None, sizes, file.dtype_of(value), value.name)


class Importer:
    """The work of one import: ``leaves`` are values or tensors for the graph's inputs, by name.

    ``dtype`` takes the place of float16 and float32 wherever the file speaks of them. ``any_batch`` says that what is
    recorded shall hold for any number of samples.
    """

    def __init__(
        self, file: File, leaves: Mapping[str, Value], dtype: np.dtype[Any] | None = None, any_batch: bool = False
    ) -> None:
        self.file, self.dtype, self.any_batch = file, dtype, any_batch
        self.leaves = leaves
        self.values: dict[str, Value] = dict(leaves)
        self.weights: dict[str, Weight] = {}
        self.names: dict[Tensor, tuple[str, str]] = {}
        # In files of tinygraph's own, results that had no name in the model need none again.
        self._unnamed = UNNAMED if file.proto.producer_name == PRODUCER else "\0"
        self._steps = MOST_STEPS
        # The data that is computed with each weight, by the operators that do so.
        self._beside: dict[str, set[tuple[str, str]]] = defaultdict(set)

    def outputs(self, names: Iterable[str], nodes: Iterable[Node]) -> Imported:
        """Return outputs by name, computed where they do not depend on data and recorded where they do."""
        self._read_initializers(names, nodes := list(nodes))
        for node in nodes:
            self._do(node)
        outputs = {name: self._tensor(self.values[name]) for name in names}
        return Imported(
            outputs,
            {w.name: w for w in self.weights.values() if w.tensor is not None},
            self.names,
            self.leaves,
            self.values,
        )

    def _read_initializers(self, outputs: Iterable[str], nodes: Iterable[Node]) -> None:
        needed = set(outputs).union(*(names_read(node.proto) for node in nodes))
        metadata = {entry.key: entry.value for entry in self.file.proto.metadata_props}
        kept = metadata.get(STATE, "").split()
        for tensor in self.file.proto.graph.initializer:
            if tensor.name in needed and tensor.name not in self.values:
                self._read(tensor.name, self.file.array(tensor, self._typed), tensor.name in kept)
        for name, other in self.file.roles.transposed.items():
            if name in self.weights and other in self.weights:
                self.weights[name].transposed = self.weights[other]

    def _read(self, name: str, array: Array, kept: bool = False) -> None:
        """Note an array of the file; ``kept`` is one that is not learned."""
        self._keep(name, array, weight=not kept and self.file.roles.is_learned(name, array))

    def _typed(self, array: Array) -> Array:
        if self.dtype is None or array.dtype not in REAL or array.dtype == self.dtype:
            return array
        if array.size and not any(array.strides):
            # A view of one number, which takes no memory, stays one.
            return np.broadcast_to(array.flat[0].astype(self.dtype), array.shape)
        return array.astype(self.dtype)

    def _keep(self, name: str, value: Value, weight: bool) -> None:
        """Note a value by its name; real numbers that are not one alone are weights."""
        if isinstance(value, np.ndarray):
            if weight and value.dtype.kind == "f" and value.ndim and value.size:
                value = self.weights[name] = Weight(name, value)
        elif isinstance(value, Tensor) and value.op is not None and not name.startswith(self._unnamed):
            self.names.setdefault(value, (name, ""))
        self.values[name] = value

    def _do(self, node: Node) -> None:
        charge("operations", 1 + len(node.inputs) // 4)
        missing = [name for name in node.inputs if name and name not in self.values]
        if missing:
            # Only in ONNX's own definition of an operator, for inputs that its other inputs ask for.
            node.fail(f"it needs a value for {missing[0].rpartition('.')[2]!r}, which is left out")
        given = [self.values[name] if name else None for name in node.inputs]
        if node.op_type == "If":
            self._branch(node, given[0].array if isinstance(given[0], Weight) else given[0])
            return
        if node.op_type not in OPERATORS:
            self._expand(node, given)
            return
        operator = OPERATORS[node.op_type]
        if node.opset < operator.since:
            node.fail(f"it is understood from operator set {operator.since} on")
        if node.op_type == "Identity" or (node.op_type == "Dropout" and len(node.outputs) == 1):
            value = self._called(node, operator.rule, given)
            if isinstance(value, Weight) and self.file.roles.splits(node.proto):
                value = self.weights[node.outputs[0]] = Weight(node.outputs[0], value.array)
            self._keep(node.outputs[0], value, weight=False)
            return
        tensors = [x for x in each_of(given) if isinstance(x, Tensor)]
        sequences = any(isinstance(x, Parts) for x in given)
        if sequences and "Sequence" not in node.op_type:
            node.fail("it takes tensors; found a sequence of them")
        if (
            not tensors
            and not sequences
            and (node.op_type in _OF_WEIGHTS or not any(isinstance(x, Weight) for x in given))
        ):
            results = self._folded(node, operator.rule, _without_weights(given))
        else:
            results = self._called(node, operator.rule, self._operands(node, given))
        results = results if isinstance(results, tuple) else (results,)
        self._steps -= node.steps
        if self._steps < 0:
            node.fail(
                f"the recurrent layers and sequences of the file have more than {MOST_STEPS:,} steps to be written out"
            )
        self.names |= {x: (node.result, name) for x, name in node.called.items() if x not in self.names}
        for name, value in zip(node.outputs, results, strict=False):
            if name:
                self._keep(name, value, weight=self._makes_weights(node, given, name, value))

    def _expand(self, node: Node, given: list[Value]) -> None:
        """Compute a node by ONNX's own definition of its operator."""
        body = body_of(node, _without_weights(given), self._unnamed)
        _check_known(body)
        for part in body:
            part.within = node.describe()
            self._do(part)
        lacking = [name for name in node.outputs if name and name not in self.values]
        if lacking:
            node.fail(f"ONNX's definition of it does not fit its inputs: it does not compute {listing(lacking)}")

    def _branch(self, node: Node, condition: Value) -> None:
        """Compute the branch that a condition chooses, as if its nodes stood in the place of the node."""
        if isinstance(condition, Tensor):
            self._called(node, OPERATORS["If"].rule, [condition])
        graph = chosen(node, condition)
        for tensor in graph.initializer:
            array = array_of(tensor, self.file.folder, lambda why: node.fail(f"initializer {why}"))
            self._read(tensor.name, self._typed(array))
        parts = nodes_in(graph, node)
        _check_known(parts)
        for part in parts:
            _check_form(part)
            self._do(part)
        for name, inner in zip(node.outputs, graph.output, strict=True):
            if name:
                self.values[name] = self.values[inner.name]

    def _operands(self, node: Node, given: list[Value]) -> list[Value]:
        """Return inputs as they are recorded: weights as parameters, except where they say how something is computed."""
        operator = OPERATORS[node.op_type]
        images = max((x.ndim for x in given[:1] if isinstance(x, Tensor)), default=0) - 2
        operands = []
        for place, x in enumerate(given):
            if isinstance(x, Weight):
                known, state = place in operator.constants, place in operator.state
                if not known:
                    x = given[place] = self._owned(node, x, place, state)
                x.reader = x.reader or Reader(node.result, node.op_type, place)
                columns = images if place in operator.columns else 0
                x = x.array if known else x.recorded(columns, "state" if state else "parameter")
            operands.append(x)
        for place, statistic in operator.state.items():
            weight = given[place]
            if isinstance(weight, Weight) and weight.tensor is not None and weight.tensor.kind == "state":
                self._let_follow(node, weight, operands[0], statistic)
        return operands

    def _owned(self, node: Node, weight: Weight, place: int, state: bool) -> Weight:
        """Return the parameter that a node reads, one of those that an exporter may have merged into an array.

        A node that reads what another of the same owner reads too, with the same array, is another layer.
        """
        key = self.file.roles.owner(weight.name, weight.array.reshape(weight.shape), node.proto, place, state)
        if key is None:
            return self._noted(weight.owned(None))
        data = next((name for name in node.inputs if name and self.values[name] is not weight), node.result)
        owned = (weight.owned((key, count)) for count in itertools.count())
        found = next(each for each in owned if (data, node.op_type) not in self._beside[each.name])
        self._beside[found.name].add((data, node.op_type))
        return self._noted(found)

    def _noted(self, weight: Weight) -> Weight:
        self.weights[weight.name] = weight
        return weight

    def _let_follow(self, node: Node, weight: Weight, x: Value, statistic: str) -> None:
        """Note what running statistics are of; those of two tensors follow neither."""
        once = not weight.statistic and isinstance(x, Tensor)
        weight.follows, weight.statistic = (x if once else None), statistic
        # ONNX says how much of the old is kept; what is left over from that is how far a step goes.
        weight.momentum = float(str(np.float32(1 - node.number("momentum", 0.9))))

    def _folded(self, node: Node, rule: Callable[..., Any], arrays: list[Value]) -> Any:
        """Compute on arrays, once for all recordings."""
        if node.folded is not None and all(a is b for a, b in zip(arrays, node.folded[0], strict=True)):
            return node.folded[1]

        def charged(node: Node, *arrays: Value) -> Any:
            if node.op_type not in ("Shape", "Size"):
                charge("steps of computation", sum(x.size for x in arrays if isinstance(x, np.ndarray)))
            return rule(node, *arrays)

        results = self._called(node, charged, arrays)
        found = tuple(map(self._typed, results)) if isinstance(results, tuple) else self._typed(results)
        node.folded = (arrays, found)
        return found

    def _makes_weights(self, node: Node, given: list[Value], name: str, value: Value) -> bool:
        """Whether what a node computes without data is learned, and not a part of how the model computes.

        That is so of weights in another dtype, of those that were kept as whole numbers, and of arrays that a file fills with
        one number for want of the true ones; zeros and ones are masks and the like.
        """
        if node.op_type in ("Cast", "CastLike"):
            return isinstance(given[0], Weight)
        if node.op_type == "DequantizeLinear":
            return True
        if node.op_type == "Constant":
            return self.file.roles.is_learned(name, value, constant=True)
        return node.op_type == "ConstantOfShape" and value.size > 0 and value.flat[0] not in (0, 1)

    def _called(self, node: Node, rule: Callable[..., Any], operands: list[Value]) -> Any:
        node.real, node.any_batch = self.dtype, self.any_batch
        node.called = {}
        try:
            with np.errstate(all="ignore"):
                return rule(node, *operands)
        except BudgetError as error:
            raise BudgetError(f"{node.describe()}: {error}") from None
        except OnnxError as error:
            raise OnnxError(f"{error}{how_to_fix(operands, OPERATORS[node.op_type].constants)}") from None
        except TinygraphError as error:
            node.fail(f"{error}{how_to_fix(operands, OPERATORS[node.op_type].constants)}")
        except (TypeError, ValueError, LookupError, ArithmeticError, AttributeError, MemoryError) as error:
            hint = how_to_fix(operands, OPERATORS[node.op_type].constants)
            node.fail(
                f"it must be known when the file is opened{hint}"
                if hint
                else f"its inputs and attributes do not fit: {error}"
            )

    def _tensor(self, value: Value) -> Value:
        return value.recorded() if isinstance(value, Weight) else value


def _without_weights(values: Iterable[Value]) -> list[Value]:
    return [x.array if isinstance(x, Weight) else x for x in values]


def each_of(values: Iterable[Value]) -> Iterator[Value]:
    """Yield values, and for a sequence those in it."""
    for value in values:
        yield from value.items if isinstance(value, Parts) else (value,)
