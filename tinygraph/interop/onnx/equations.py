"""From recorded graphs to the text of a model file: equations that hold for every number of samples, and their arrays."""

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from tinygraph.describe.text import lay_out
from tinygraph.errors import OnnxError
from tinygraph.graph import Array, Graph, Tensor
from tinygraph.interop.onnx.batch import BASES, FEW, FIXING, MANY, Size, Template, Unknown, whole_numbers
from tinygraph.interop.onnx.importer import Importer
from tinygraph.interop.onnx.node import Node
from tinygraph.interop.onnx.roles import Labels, Names
from tinygraph.interop.onnx.tensors import Fail
from tinygraph.ops.activation.activation import Softmax
from tinygraph.ops.elementwise.arithmetic import identity
from tinygraph.ops.indexing.index import Index, Slice
from tinygraph.ops.indexing.select import Getitem
from tinygraph.ops.shape.shape import BroadcastTo, Reshape

_GROWING = f"numbers in it are computed from the number of samples; {FIXING}"


class Equations(Template):
    """A graph, recorded for one number of samples or more, as equations that hold for every number.

    ``parameters`` and ``state`` are the arrays by name, ``inputs`` and ``outputs`` the names for those of the file. ``next``
    are the expressions that update the state in training; ``logits`` is the input of a softmax at the end. ``proto`` is the
    graph of the file, with the names of values. Raises ``Unknown`` where a size follows no rule.
    """

    def __init__(self, recordings: Sequence[Importer], batches: Sequence[int], proto: Any, fail: Fail) -> None:
        self.imported, self.recordings, self.fail, self.names, self.logits = (
            recordings[0],
            recordings,
            fail,
            Names(),
            "",
        )
        self.outputs, self.inputs, self.next = dict[str, str](), dict[str, str](), dict[str, str]()
        self.parameters, self.state = dict[str, Array](), dict[str, Array]()
        self.originals, self.groups = dict[str, str](), dict[str, str]()
        graphs = [Graph(list(recording.outputs.values())) for recording in recordings]
        # The texts of constants that are numbers, for those of the first recording and for their copies.
        known, self.numbers = set(graphs[0].nodes), _numbers(graphs[0])
        values = [name for x, (name, inner) in self.imported.names.items() if x in known and not inner]
        self.labels = Labels(proto, values)
        super().__init__(graphs, batches)
        self._finish()

    def _finish(self) -> None:
        """Name the outputs, the logits and what running statistics follow, and write the text."""
        for place, (name, copy) in enumerate(zip(self.imported.outputs, self.results, strict=True)):
            if copy.op is None:
                # An input that is returned becomes the result of an equation.
                copy = Tensor("node", identity.op(), (copy,), None, copy.shape, copy.dtype, None)
            copy.name = copy.name or self.names.new(name)
            self.outputs[name], self.results[place] = copy.name, copy
        for weight in self.imported.weights.values():
            if weight.tensor is not None and weight.follows is not None and weight.follows in self.copies:
                # Running statistics follow the batches in training, as their operator would.
                state, x = self.copies[weight.tensor].name or "", self.copies[weight.follows]
                x.name = x.name or self.names.new("x")
                momentum = "" if weight.momentum == 0.1 else f", momentum={weight.momentum!r}"
                self.next[state] = f"{weight.statistic}({state}, {x.name}{momentum})"
        last = self.results[0]
        if isinstance(last.op, Softmax):
            last.inputs[0].name = self.logits = last.inputs[0].name or self.names.new("logits")
        graph = Graph(self.results)
        lines = [e for e in lay_out(graph.nodes, graph.outputs, digits=self.numbers.get).equations if e.expression]
        self.text = "\n".join(f"{e.label} = {e.expression}" for e in lines)
        # A tensor without a name belongs to the module of the next one that has one.
        for line, following in itertools.pairwise(reversed(lines)):
            if following.label not in self.groups and not following.node.name and line.label in self.groups:
                self.groups[following.label] = self.groups[line.label]
        self.originals |= {
            label: name for name, label in (*self.inputs.items(), *self.outputs.items()) if name != label
        }

    def leaf(self, nodes: Sequence[Tensor]) -> Tensor:
        """Return an input with the name that it has in the equations, and keep the array of a weight."""
        leaf, name = nodes[0], nodes[0].name or ""
        weight = self.imported.weights.get(name) if leaf.kind != "input" else None
        label = name
        if weight is not None and weight.reader is not None:
            label = self.labels.of_weight(name, weight.reader, weight.copied)
        label = self.names.new(label)
        self._describe(label, name, "" if weight is None or weight.reader is None else weight.reader.value)
        copy = Tensor("input", None, (), None, leaf.shape, leaf.dtype, label)
        self.leaves[copy] = name
        if leaf.kind == "input":
            self.inputs[name] = label
            self.batch = self.batch or (f"{label}.shape[0]" if nodes[-1].shape != leaf.shape else "")
        else:
            values = [recording.weights[name].array for recording in self.recordings]
            if not all(_same(value, values[0]) for value in values):
                self.fail(_GROWING)
            arrays = self.parameters if leaf.kind == "parameter" else self.state
            arrays[label] = values[0]
        return copy

    def constant(self, nodes: Sequence[Tensor]) -> Tensor:
        """Return a number that is written in place, or state; one number for each sample is spread over the batch."""
        values, shapes = [node.value for node in nodes], [node.shape for node in nodes]
        value, number = values[0], self.numbers.get(nodes[0])
        first = value.flat[0] if value.size else np.zeros((), value.dtype)[()]
        # Files of weights hold no array without elements, so it is a number that is spread over no places.
        spread = not value.size or (len(set(shapes)) > 1 and all((each == first).all() for each in values))
        copy = Tensor("constant", value=np.asarray(first if spread else value))
        if not spread and not all(_same(each, value) for each in values):
            if number is None or not (integers := whole_numbers(values)):
                self.fail(_GROWING)
            # An integer that follows the batch, as in a mean that the file computes by a sum.
            size: Size = self.common(integers)
            number = f"({size!r})" if " " in repr(size) else repr(size)
            self.follows[copy] = size.rule
        if number is not None:
            self.numbers[copy] = number
            return copy
        copy.name = self.names.new("constant")
        self.state[copy.name] = copy.value
        if not spread:
            return copy
        return Tensor("node", BroadcastTo(self.common(shapes)), (copy,), None, shapes[0], copy.dtype, None)

    def node(self, nodes: Sequence[Tensor]) -> Tensor:
        """Return a node with its label; an index that takes everything is left out."""
        node, op = nodes[0], self.common([each.op for each in nodes])
        if isinstance(op, Reshape) and isinstance(op.to, tuple) and any(isinstance(size, Size) for size in op.to):
            # One size that is proportional to the batch need not be written; the others are known.
            to = self.common([each.shape for each in nodes])
            if [size.rule.by for size in to if isinstance(size, Size)] == [1]:
                op = Reshape(tuple(-1 if isinstance(size, Size) else size for size in to))
        if isinstance(op, Getitem):
            op = _without_ends(op, nodes)
            if not op.index:
                return self.copies[node.inputs[0]]
        name = self.imported.names.get(node)
        label = self.names.new(self.labels.of(*name)) if name else None
        if name and label:
            self._describe(label, "" if name[1] else name[0], name[0])
        return self.copy(node, op, label)

    def _describe(self, label: str, name: str, value: str) -> None:
        """Keep the name of the file where it has letters that the label has not, and the module that computes a value."""
        if not name.isascii():
            self.originals[label] = name
        if group := self.labels.module(value):
            self.groups[label] = group


def _without_ends(op: Getitem, nodes: Sequence[Tensor]) -> Getitem:
    """Return an index without sizes that are the ends of their axes; an empty one where it takes everything."""
    parts = list(op.index)
    for axis, part in enumerate(parts):
        if not isinstance(part, Slice):
            break
        ends = [(n.op.index[axis].stop, n.inputs[0].shape[axis]) for n in nodes if isinstance(n.op, Getitem)]
        if isinstance(part.stop, Size) and all(stop >= size for stop, size in ends):
            parts[axis] = Slice(part.start, None, part.step)
    while parts and parts[-1] == Slice(None, None, None):
        parts.pop()
    return Getitem(Index(parts))


def _same(a: Array, b: Array) -> bool:
    """Whether two arrays are equal; quickly for arrays that share memory or repeat one number."""
    if a.shape != b.shape:
        return False
    if a.size and (a.ctypes.data == b.ctypes.data or not (any(a.strides) or any(b.strides))):
        return bool(a.flat[0] == b.flat[0])
    return bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))


def _numbers(graph: Graph) -> dict[Tensor, str]:
    """Return the constants that can be written as numbers in place, without a change of any result."""
    numbers: dict[Tensor, str] = {}
    for node in graph.nodes:
        if node.kind == "constant" and node.size and (node.value == node.value.flat[0]).all():
            numbers[node] = str(node.value.flat[0]).replace("inf", "1e999")
    while unfit := {x for node in graph.nodes for x in _unfit(node, numbers)}:
        numbers = {node: text for node, text in numbers.items() if node not in unfit}
    return numbers


def _unfit(node: Tensor, numbers: Mapping[Tensor, str]) -> Iterable[Tensor]:
    """Return the inputs of a node that cannot be numbers: its result would have another shape or dtype."""
    written = [x for x in node.inputs if x in numbers]
    others = [x for x in node.inputs if x not in numbers]
    if not written or not others:
        return written[:1]
    elementwise = node.op is not None and node.op.elementwise
    fits = elementwise and np.broadcast_shapes(*(x.shape for x in others)) == node.shape
    dtypes = [other.dtype for other in others]
    return [x for x in written if (x.shape and not fits) or np.result_type(*dtypes, x.value.flat[0].item()) != x.dtype]


# All equations are tried on the first numbers; those of a file that computes with sizes on the others and a large one too.
_TRIED, _TRIED_MORE, _LARGE = (1, 2, 3), (4, 5, 7, 8, 16, 31), (1019, 307, 3061)
# For a file with more nodes, fewer numbers are tried.
_MANY_NODES = 1000
_COMPARING = {"Clip", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Min", "Mod"}
_COMPARING |= {"OneHot", "Range"}
_MOST_CROSSINGS, _MOST_MEETINGS = 40, 10_000
# The most numbers of samples that are tried for a file that fits only one.
_MOST_ALONE = 16


# The recording of a file for a number of samples, or ``None`` where there is an error.
_Get: TypeAlias = Callable[[int], Importer | None]


def equations_for_any(record: Callable[[int], Importer], nodes: Sequence[Node], proto: Any, fail: Fail) -> Equations:
    """Return equations that hold for every number of samples; ``record`` returns the graph for one number.

    Sizes become expressions of the number of samples. Raises ``OnnxError`` where no equations are right for all numbers
    tried.
    """
    errors: dict[int, str] = {}

    @functools.cache
    def get(m: int) -> Importer | None:
        try:
            return record(m)
        except OnnxError as error:
            errors[m] = str(error)
            return None

    def error(m: int) -> str:
        return errors[m] if get(m) is None else ""

    wrong, opens = 0, False
    for base, steps in itertools.product(BASES, (FEW, MANY)):
        found = {m: graph for m in (base + step for step in steps) if (graph := get(m)) is not None}
        opens = opens or bool(found)
        if not found and error(2) == error(3):
            # The number of samples does not matter to an error that is the same for all numbers.
            raise OnnxError(error(2))
        if len(found) < len(FEW):
            continue
        # The ones of a matrix that grows with the samples may lie beyond those that are tried.
        diagonals = [node.outputs[0] for node in nodes if node.op_type == "EyeLike"]
        if any(len({np.shape(each.values.get(name)) for each in found.values()}) > 1 for name in diagonals):  # type: ignore[arg-type]
            fail(f"numbers in it are computed from the number of samples, by EyeLike; {FIXING}")
        try:
            equations = Equations(list(found.values()), list(found), proto, fail)
            wrong = _disagreement(equations, get, nodes, list(found))
        except Unknown:
            continue
        if not wrong:
            return equations
    if not opens:
        alone = next((m for m in range(1, _MOST_ALONE + 1) if get(m) is not None), None)
        if alone is not None and error(2) != error(3):
            fail(f"it fits only {alone} samples; {FIXING}")
        raise OnnxError(error(2))
    why = f"for {wrong} it computes something else" if wrong else "a size in it follows no known rule"
    fail(f"its graph is not the same for every number of samples: {why}; {FIXING}")


def _disagreement(equations: Equations, get: _Get, nodes: Sequence[Node], batches: Sequence[int]) -> int:
    """Return a number of samples for which the equations are not what the file computes, or 0."""
    tried = [*_TRIED]
    if any(node.op_type in ("Shape", "Size", "If") for node in nodes) or "shape[0]" in equations.text:
        tried += _TRIED_MORE[: 2 if len(nodes) > _MANY_NODES else None]
        tried += [m for m in _LARGE if m > 2 * batches[-1] and get(m) is not None][:1]
        tried += _crossings(nodes, [(m, get(m)) for m in batches[:2]])
    for m in dict.fromkeys(tried):
        found = get(m)
        if found is None:
            continue
        inputs = {name: x for name, x in found.leaves.items() if isinstance(x, Tensor)}
        if not equations.agrees(list(found.outputs.values()), inputs, m):
            return m
    return 0


def _crossings(nodes: Iterable[Node], pair: Sequence[tuple[int, Importer | None]]) -> list[int]:
    """Return the numbers of samples around those where a size that follows the batch meets a number it is compared with."""
    found: set[int] = set()
    comparing = (node for node in nodes if node.op_type in _COMPARING)
    for count, place in enumerate(place for node in comparing for place in _meetings(node, pair)):
        found.update(m for m in range(place - 1, place + 3) if 1 <= m < 1 << 20)
        if len(found) > _MOST_CROSSINGS or count > _MOST_MEETINGS:
            raise Unknown
    return sorted(found)


def _meetings(node: Node, pair: Sequence[tuple[int, Importer | None]]) -> Iterator[int]:
    (small, first), (large, second) = pair
    fixed: list[float] = []
    moving: list[tuple[float, float]] = []
    for name in node.inputs:
        ends: list[Any] = [each and each.values.get(name) for each in (first, second)]
        if not all(isinstance(end, np.ndarray) and end.size <= 64 and end.dtype.kind in "iuf" for end in ends):
            continue
        if ends[0].size == ends[1].size:
            for a, b in zip(*(end.ravel().tolist() for end in ends), strict=True):
                fixed += [a] if a == b else []
                moving += [(a, (b - a) / (large - small))] if a != b else []
    for start, slope in moving:
        places = (small + (number - start) / slope for number in fixed)
        yield from (math.floor(place) for place in places if math.isfinite(place))
