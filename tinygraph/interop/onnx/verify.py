"""Whether equations that hold for every number of samples are what the file computes for one: compared node by node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinygraph.errors import BudgetError, TinygraphError
from tinygraph.graph.apply import apply
from tinygraph.graph.graph import Graph
from tinygraph.graph.tensor import Tensor
from tinygraph.interop.onnx.batch import Rule, at
from tinygraph.interop.onnx.roles import is_uniform
from tinygraph.ops.indexing.index import Slice
from tinygraph.ops.indexing.select import Concatenate, Getitem
from tinygraph.ops.shape.arrange import Tile
from tinygraph.ops.shape.shape import BroadcastTo, SameElements


def agrees(
    template: Sequence[Tensor],
    names: Mapping[Tensor, str],
    numbers: Mapping[Tensor, Rule],
    outputs: Sequence[Tensor],
    leaves: Mapping[str, Tensor],
    m: int,
) -> bool:
    """Whether a graph whose sizes follow the batch is, for ``m`` samples, the one that was recorded for ``m``.

    ``names`` are the file's names for the inputs, parameters and state of ``template``, ``numbers`` its constants that
    follow the batch, and ``leaves`` the inputs of ``outputs``, the recording. Operations that change nothing, as a
    slice that takes everything, do not count.
    """
    made: dict[Tensor, Tensor] = {}
    try:
        for node in Graph(list(template)).nodes:
            made[node] = _made(node, made, names, numbers, leaves, m)
    except BudgetError:
        raise
    except TinygraphError:
        return False
    forms = _Forms({made[copy]: name for copy, name in names.items() if copy in made})
    return [forms.of(made[x]) for x in template] == [forms.of(x) for x in outputs]


def _made(
    node: Tensor,
    made: Mapping[Tensor, Tensor],
    names: Mapping[Tensor, str],
    numbers: Mapping[Tensor, Rule],
    leaves: Mapping[str, Tensor],
    m: int,
) -> Tensor:
    if node.op is not None:
        return apply(at(node.op, m), [made[x] for x in node.inputs])
    if node in numbers:
        return Tensor("constant", value=np.full(node.shape, numbers[node].at(m), node.dtype))
    return leaves.get(names.get(node, ""), node)


class _Forms:
    """A number for each node, the same for nodes that compute the same from the same leaves."""

    def __init__(self, names: Mapping[Tensor, str]) -> None:
        self._names = names
        self._numbers: dict[Any, int] = {}
        self._known: dict[Tensor, int] = {}

    def of(self, output: Tensor) -> int:
        for node in Graph([output]).nodes:
            if node not in self._known:
                form = self._form(node)
                self._known[node] = (
                    form if isinstance(form, int) else self._numbers.setdefault(form, len(self._numbers))
                )
        return self._known[output]

    def _form(self, node: Tensor) -> Any:
        """Return what a node is, or the number of its input where it changes nothing."""
        if node.op is None:
            return _constant(node) if node.kind == "constant" else ("leaf", self._names.get(node, node.name))
        inputs = [self._operand(x, node) for x in node.inputs]
        first = node.inputs[0]
        if isinstance(node.op, BroadcastTo) and first.kind == "constant" and first.size == 1:
            return _constant(first, node.shape)
        moved = isinstance(node.op, (SameElements, BroadcastTo))
        what = (node.op.name if isinstance(node.op, BroadcastTo) else "same", node.shape) if moved else _taken(node)
        alone = isinstance(node.op, Tile) or (isinstance(node.op, Concatenate) and len(inputs) == 1)
        kept = moved or alone or node.op.name == "identity"
        if node.shape == first.shape and (kept or what == ("taken", tuple(range(size) for size in first.shape))):
            return inputs[0]
        return (what, node.shape, *inputs)

    def _operand(self, x: Tensor, node: Tensor) -> int:
        """Return the number of an input; equal numbers are one number to an operation that broadcasts."""
        if x.kind != "constant" or node.op is None or not node.op.elementwise or not x.size:
            return self._known[x]
        return self._numbers.setdefault(_constant(x, () if is_uniform(x.value) else x.shape), len(self._numbers))


def _constant(node: Tensor, shape: tuple[int, ...] | None = None) -> Any:
    """Return the form of a constant; a repeated number is that number in a shape."""
    value = np.asarray(node.value)
    elements = value.flat[0].tobytes() if is_uniform(value) else value.tobytes()
    return "constant", value.dtype.str, value.shape if shape is None else shape, elements if value.size else b""


def _taken(node: Tensor) -> Any:
    """Return what an operation is, with the places that slices take instead of how they are written."""
    op = node.op
    assert op is not None
    if isinstance(op, Getitem) and all(isinstance(part, Slice) for part in op.index):
        sizes = node.inputs[0].shape
        parts = [range(*part.indices(size)) for part, size in zip(op.index.apply(), sizes, strict=False)]
        return "taken", (*parts, *(range(size) for size in sizes[len(parts) :]))
    return op.name, tuple(op.attributes().items())
