"""From a recorded graph to the tables of a model file: equations, parameters, constants. The batch becomes a name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinygraph.describe.text import lay_out
from tinygraph.graph.arrays import Array
from tinygraph.graph.graph import Graph
from tinygraph.graph.tensor import Tensor
from tinygraph.interop.onnx.batch import FIXING, Fail, Rule, Size, common, followed, side_by_side
from tinygraph.interop.onnx.importer import Imported
from tinygraph.interop.onnx.names import Labels, Names
from tinygraph.ops.activation.activation import Softmax
from tinygraph.ops.elementwise.arithmetic import identity
from tinygraph.ops.indexing.index import Index, Slice
from tinygraph.ops.indexing.select import Getitem
from tinygraph.ops.shape.shape import BroadcastTo, Reshape


@dataclass
class Written:
    """A graph as equations, with the arrays that its parameters and its state hold, and what inputs and outputs are called.

    ``next`` are the expressions by which the state moves in training; ``logits`` is what a softmax at the end is of.
    ``template`` are the outputs of the graph that the equations write, ``leaves`` the file's names for its inputs and
    weights, and ``follows`` its constants that are another number for each number of samples.
    """

    names: Names
    equations: str = ""
    outputs: dict[str, str] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, Array] = field(default_factory=dict)
    state: dict[str, Array] = field(default_factory=dict)
    next: dict[str, str] = field(default_factory=dict)
    logits: str = ""
    template: list[Tensor] = field(default_factory=list)
    leaves: dict[Tensor, str] = field(default_factory=dict)
    follows: dict[Tensor, Rule] = field(default_factory=dict)


def written(recordings: Sequence[Imported], batches: Sequence[int], proto: Any, fail: Fail) -> Written:
    """Return what was recorded for one number of samples, or for several, as equations that hold for every number.

    ``proto`` is the graph of the file, which says what values are called. Raises ``Unknown`` where a size follows no rule.
    """
    graphs = [Graph(list(recording.outputs.values())) for recording in recordings]
    known = set(graphs[0].nodes)
    labels = Labels(proto, [name for x, (name, inner) in recordings[0].names.items() if x in known and not inner])
    writer = _Writer(recordings, batches, labels, fail)
    return writer.write(graphs)


class _Writer:
    def __init__(self, recordings: Sequence[Imported], batches: Sequence[int], labels: Labels, fail: Fail) -> None:
        self.imported, self.recordings, self.batches, self.fail = recordings[0], recordings, batches, fail
        self.labels = labels
        self.names = Names()
        self.copies: dict[Tensor, Tensor] = {}
        self.numbers: dict[Tensor, str] = {}
        self.written = Written(self.names)
        self.batch = ""

    def write(self, graphs: Sequence[Graph]) -> Written:
        first = graphs[0]
        numbers = _numbers(first)
        everything = side_by_side(graphs)
        for nodes in everything:
            # Inputs first: they keep their names, and say what the size of the batch is called.
            if nodes[0].kind == "input":
                self.copies[nodes[0]] = self._leaf(nodes, None)
        for nodes in everything:
            node = nodes[0]
            if node in self.copies:
                continue
            self.copies[node] = self._leaf(nodes, numbers.get(node)) if node.op is None else self._node(nodes)
        outputs = {name: self._output(self.copies[node]) for name, node in self.imported.outputs.items()}
        for name, copy in outputs.items():
            copy.name = copy.name or self.names.new(name)
            self.written.outputs[name] = copy.name
        self.written.template = list(outputs.values())
        self._follow()
        last = next(iter(outputs.values()))
        if isinstance(last.op, Softmax):
            last.inputs[0].name = self.written.logits = last.inputs[0].name or self.names.new("logits")
        graph = Graph(list(outputs.values()))
        lines = lay_out(graph.nodes, graph.outputs, digits=self.numbers.get).equations
        self.written.equations = "\n".join(f"{e.label} = {e.expression}" for e in lines if e.expression)
        return self.written

    def _output(self, copy: Tensor) -> Tensor:
        """Return an output as a result of an equation, which an input that is handed on is not."""
        if copy.op is not None:
            return copy
        return Tensor("node", identity.op(), (copy,), None, copy.shape, copy.dtype, None)

    def _leaf(self, nodes: Sequence[Tensor], number: str | None) -> Tensor:
        leaf = nodes[0]
        if leaf.kind == "constant":
            return self._constant([node.value for node in nodes], number)
        name = leaf.name or ""
        weight = self.imported.weights.get(name) if leaf.kind != "input" else None
        label = (
            name
            if weight is None or weight.reader is None
            else self.labels.of_weight(name, weight.reader, weight.copied)
        )
        copy = Tensor("input", None, (), None, leaf.shape, leaf.dtype, self.names.new(label))
        assert copy.name is not None
        self.written.leaves[copy] = name
        if leaf.kind in ("parameter", "state"):
            arrays = self.written.parameters if leaf.kind == "parameter" else self.written.state
            values = [recording.weights[name].array for recording in self.recordings]
            self._check_same(values)
            arrays[copy.name] = values[0]
        else:
            self.written.inputs[name] = copy.name
            self.batch = self.batch or (f"{copy.name}.shape[0]" if nodes[-1].shape != leaf.shape else "")
        return copy

    def _constant(self, values: Sequence[Array], number: str | None) -> Tensor:
        """Return a number as it is, and an array as state; one number for each sample is spread over the batch."""
        shapes = [value.shape for value in values]
        first = values[0].flat[0] if values[0].size else np.zeros((), values[0].dtype)[()]
        # No file of weights holds an array without elements, so one is a number that is spread over no places.
        spread = not values[0].size or (len(set(shapes)) > 1 and all((value == first).all() for value in values))
        if not spread and number is not None and not all(_same(value, values[0]) for value in values):
            return self._following(values)
        if not spread:
            self._check_same(values)
        copy = Tensor("constant", value=np.asarray(first if spread else values[0]))
        if number is not None:
            self.numbers[copy] = number
            return copy
        copy.name = self.names.new("constant")
        self.written.state[copy.name] = copy.value
        if not spread:
            return copy
        to = common(shapes, self.batches, self.batch)
        return Tensor("node", BroadcastTo(to), (copy,), None, shapes[0], copy.dtype, None)

    def _following(self, values: Sequence[Array]) -> Tensor:
        """Return a whole number that follows the batch, as ``x.shape[0]`` in a mean that the file computes by a sum."""
        numbers = [value.flat[0].item() for value in values]
        if any(value.size != 1 for value in values) or any(number != int(number) for number in numbers):
            self._check_same(values)
        size = common([int(number) for number in numbers], self.batches, self.batch)
        copy = Tensor("constant", value=np.asarray(values[0]))
        self.written.follows[copy] = size.rule
        self.numbers[copy] = f"({size!r})" if " " in repr(size) else repr(size)
        return copy

    def _check_same(self, values: Sequence[Array]) -> None:
        if not all(_same(value, values[0]) for value in values):
            self.fail(f"numbers in it are computed from the number of samples; {FIXING}")

    def _node(self, nodes: Sequence[Tensor]) -> Tensor:
        node = nodes[0]
        op = followed([each.op for each in nodes if each.op is not None], self.batches, self.batch)
        if isinstance(op, Reshape) and isinstance(op.to, tuple) and any(isinstance(size, Size) for size in op.to):
            # One size that is proportional to the batch need not be written; the others are known.
            to = common([each.shape for each in nodes], self.batches, self.batch)
            if [size.rule.by for size in to if isinstance(size, Size)] == [1]:
                op = Reshape(tuple(-1 if isinstance(size, Size) else size for size in to))
        if isinstance(op, Getitem):
            op = _without_ends(op, nodes)
            if not op.index:
                return self.copies[node.inputs[0]]
        name = self.imported.names.get(node)
        inputs = tuple(self.copies[x] for x in node.inputs)
        label = self.names.new(self.labels.of(*name)) if name else None
        return Tensor("node", op, inputs, None, node.shape, node.dtype, label)

    def _follow(self) -> None:
        """Let running statistics follow the batches of a training, as the operator that wrote them did."""
        for weight in self.imported.weights.values():
            if weight.tensor is None or weight.follows is None or weight.follows not in self.copies:
                continue
            name, x = self.copies[weight.tensor].name, self.copies[weight.follows]
            assert name is not None
            x.name = x.name or self.names.new("x")
            momentum = "" if weight.momentum == 0.1 else f", momentum={weight.momentum!r}"
            self.written.next[name] = f"{weight.statistic}({name}, {x.name}{momentum})"


def _without_ends(op: Getitem, nodes: Sequence[Tensor]) -> Getitem:
    """Return an index without sizes that are the ends of their axes; an empty one where it takes everything."""
    parts = list(op.index)
    for axis, part in enumerate(parts):
        if not isinstance(part, Slice):
            break
        ends = [
            (each.op.index[axis].stop, each.inputs[0].shape[axis]) for each in nodes if isinstance(each.op, Getitem)
        ]
        if isinstance(part.stop, Size) and all(stop >= size for stop, size in ends):
            parts[axis] = Slice(part.start, None, part.step)
    while parts and parts[-1] == Slice(None, None, None):
        parts.pop()
    return Getitem(Index(parts))


def _same(a: Array, b: Array) -> bool:
    """Whether two arrays are equal; of those that are one in memory, or one number all over, that is seen at once."""
    if a.shape != b.shape:
        return False
    if a.size and (a.ctypes.data == b.ctypes.data or not (any(a.strides) or any(b.strides))):
        return bool(a.flat[0] == b.flat[0])
    return bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))


def _numbers(graph: Graph) -> Mapping[Tensor, str]:
    """Return the constants that can be written as numbers where they are used, without any result being another."""
    texts = {node: _text(node) for node in graph.nodes if node.kind == "constant"}
    numbers = {node: text for node, text in texts.items() if text is not None}
    changed = True
    while changed:
        unfit = {x for node in graph.nodes for x in _unfit(node, numbers)}
        numbers = {node: text for node, text in numbers.items() if node not in unfit}
        changed = bool(unfit)
    return numbers


def _text(node: Tensor) -> str | None:
    value = node.value
    if not value.size or not (value == value.flat[0]).all():
        return None
    return str(value.flat[0]).replace("inf", "1e999")


def _unfit(node: Tensor, numbers: Mapping[Tensor, str]) -> Iterable[Tensor]:
    """Return the inputs of a node that cannot be numbers: its result would have another shape or dtype."""
    written = [x for x in node.inputs if x in numbers]
    others = [x for x in node.inputs if x not in numbers]
    if not written:
        return ()
    if not others:
        return written[:1]
    large = [x for x in written if x.shape]
    elementwise = node.op is not None and node.op.elementwise
    fits = elementwise and np.broadcast_shapes(*(x.shape for x in others)) == node.shape
    unfit = set() if fits else set(large)
    for x in written:
        weak = np.result_type(*(other.dtype for other in others), x.value.flat[0].item())
        if weak != x.dtype:
            unfit.add(x)
    return unfit
