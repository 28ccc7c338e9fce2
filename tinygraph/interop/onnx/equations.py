"""From a recorded graph to the tables of a model file: equations, parameters, constants. The batch becomes a name."""

from __future__ import annotations

import itertools
import keyword
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tinygraph.graph.graph import Graph
from tinygraph.graph.registry import OPERATIONS
from tinygraph.graph.tensor import Tensor
from tinygraph.graph.text import lay_out
from tinygraph.interop.onnx.batch import Fail, Size, followed
from tinygraph.interop.onnx.importer import Imported
from tinygraph.interop.onnx.tensors import Array
from tinygraph.ops.activation import Softmax
from tinygraph.ops.shape import Reshape


class Names:
    """Names for equations, each for one thing: those of the file with what Python's names cannot hold left out."""

    def __init__(self) -> None:
        self.taken: set[str] = set()

    def new(self, name: str) -> str:
        """Return a name that is like ``name``, and none that has been given before.

        >>> names = Names()
        >>> names.new("/layer1/Conv_output_0"), names.new("layer1/Conv"), names.new("12"), names.new("relu")
        ('layer1_Conv', 'layer1_Conv_2', 't12', 'relu_2')
        """
        plain = re.sub(r"_output_0$", "", re.sub(r"[^0-9A-Za-z]+", "_", name).strip("_"))
        plain = plain if plain and not plain[0].isdigit() else f"t{plain}"
        numbered = itertools.chain([plain], (f"{plain}_{i}" for i in itertools.count(2)))
        found = next(n for n in numbered if n not in self.taken and n not in OPERATIONS and not keyword.iskeyword(n))
        self.taken.add(found)
        return found


@dataclass
class Written:
    """A graph as equations, with the arrays that its parameters and its state hold, and what inputs and outputs are called.

    ``next`` are the expressions by which the state moves in training; ``logits`` is what a softmax at the end is of.
    """

    names: Names
    equations: str = ""
    outputs: dict[str, str] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, Array] = field(default_factory=dict)
    state: dict[str, Array] = field(default_factory=dict)
    next: dict[str, str] = field(default_factory=dict)
    logits: str = ""


def written(recordings: Sequence[Imported], batches: Sequence[int], fail: Fail) -> Written:
    """Return what was recorded for one size of batch, or for two, as equations that hold for every size."""
    graphs = [Graph(list(recording.outputs.values())) for recording in recordings]
    if any(len(graph.nodes) != len(graphs[0].nodes) for graph in graphs):
        fail("its graph is not the same for every size of batch; give its inputs fixed sizes")
    writer = _Writer(recordings, batches, fail)
    return writer.write(graphs)


class _Writer:
    def __init__(self, recordings: Sequence[Imported], batches: Sequence[int], fail: Fail) -> None:
        self.imported, self.recordings, self.batches, self.fail = recordings[0], recordings, batches, fail
        self.names = Names()
        self.copies: dict[Tensor, Tensor] = {}
        self.numbers: dict[Tensor, str] = {}
        self.written = Written(self.names)
        self.batch = ""

    def write(self, graphs: Sequence[Graph]) -> Written:
        first = graphs[0]
        numbers = _numbers(first)
        for nodes in zip(*(graph.nodes for graph in graphs), strict=True):
            node = nodes[0]
            self.copies[node] = self._leaf(nodes, numbers.get(node)) if node.op is None else self._node(nodes)
        outputs = {name: self.copies[node] for name, node in self.imported.outputs.items()}
        for name, copy in outputs.items():
            copy.name = copy.name or self.names.new(name)
            self.written.outputs[name] = copy.name
        self._follow()
        last = next(iter(outputs.values()))
        if isinstance(last.op, Softmax):
            last.inputs[0].name = self.written.logits = last.inputs[0].name or self.names.new("logits")
        graph = Graph(list(outputs.values()))
        lines = lay_out(graph.nodes, graph.outputs, digits=self.numbers.get).equations
        self.written.equations = "\n".join(f"{e.label} = {e.expression}" for e in lines if e.expression)
        return self.written

    def _leaf(self, nodes: Sequence[Tensor], number: str | None) -> Tensor:
        leaf = nodes[0]
        if leaf.kind == "constant":
            values = [node.value for node in nodes]
            self._check_same(values)
            copy = Tensor("constant", value=np.asarray(values[0]))
            if number is not None:
                self.numbers[copy] = number
                return copy
            copy.name = self.names.new("constant")
            self.written.state[copy.name] = copy.value
            return copy
        name = leaf.name or ""
        copy = Tensor("input", None, (), None, leaf.shape, leaf.dtype, self.names.new(name))
        assert copy.name is not None
        if leaf.kind in ("parameter", "state"):
            arrays = self.written.parameters if leaf.kind == "parameter" else self.written.state
            values = [recording.weights[name].array for recording in self.recordings]
            self._check_same(values)
            arrays[copy.name] = values[0]
        else:
            self.written.inputs[name] = copy.name
            self.batch = self.batch or (f"{copy.name}.shape[0]" if nodes[-1].shape != leaf.shape else "")
        return copy

    def _check_same(self, values: Sequence[Array]) -> None:
        if not all(_same(value, values[0]) for value in values):
            self.fail("a number in it is computed from the size of the batch; give its inputs fixed sizes")

    def _node(self, nodes: Sequence[Tensor]) -> Tensor:
        node = nodes[0]
        op = followed([each.op for each in nodes if each.op is not None], self.batches, self.batch, self.fail)
        if isinstance(op, Reshape) and isinstance(op.to, tuple) and -1 not in op.to:
            # One size that follows the batch need not be written.
            if sum(isinstance(size, Size) for size in op.to) == 1:
                op = Reshape(tuple(-1 if isinstance(size, Size) else size for size in op.to))
        name = self.imported.names.get(node)
        inputs = tuple(self.copies[x] for x in node.inputs)
        return Tensor("node", op, inputs, None, node.shape, node.dtype, self.names.new(name) if name else None)

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
    unfit = [] if fits else large
    for x in written:
        weak = np.result_type(*(other.dtype for other in others), x.value.flat[0].item())
        if weak != x.dtype and x not in unfit:
            unfit.append(x)
    return unfit
