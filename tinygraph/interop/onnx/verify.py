"""Whether a graph with sizes that follow the batch is the graph for one number of samples: compared node by node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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


@dataclass
class Template:
    """A graph for every number of samples: the sizes in its operations may be ``Size``.

    ``leaves`` has the names of its inputs, parameters and state, and ``follows`` its constants that are a size.
    """

    outputs: list[Tensor] = field(default_factory=list)
    leaves: dict[Tensor, str] = field(default_factory=dict)
    follows: dict[Tensor, Rule] = field(default_factory=dict)

    def agrees(self, outputs: Sequence[Tensor], inputs: Mapping[str, Tensor], m: int) -> bool:
        """Whether the template is, for ``m`` samples, the graph of ``outputs``, which was recorded for ``m``.

        ``inputs`` are those of the recorded graph. Operations that change nothing, such as a slice that takes everything,
        do not count.
        """
        made: dict[Tensor, Tensor] = {}
        try:
            for node in Graph(self.outputs).nodes:
                if node.op is not None:
                    made[node] = apply(at(node.op, m), [made[x] for x in node.inputs])
                elif node in self.follows:
                    made[node] = Tensor("constant", value=np.full(node.shape, self.follows[node].at(m), node.dtype))
                else:
                    made[node] = inputs.get(self.leaves.get(node, ""), node)
        except BudgetError:
            raise
        except TinygraphError:
            return False
        forms = _Forms({made[copy]: name for copy, name in self.leaves.items() if copy in made})
        return [forms.of(made[x]) for x in self.outputs] == [forms.of(x) for x in outputs]


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
                self._known[node] = form if isinstance(form, int) else self._number(form)
        return self._known[output]

    def _number(self, form: Any) -> int:
        return self._numbers.setdefault(form, len(self._numbers))

    def _form(self, node: Tensor) -> Any:
        """Return a description of a node, or the number of its input where it changes nothing."""
        op = node.op
        if op is None:
            return _constant(node) if node.kind == "constant" else ("leaf", self._names.get(node, node.name))
        inputs = [self._operand(x, node) for x in node.inputs]
        first = node.inputs[0]
        what: Any
        if isinstance(op, BroadcastTo):
            if first.kind == "constant" and first.size == 1:
                return _constant(first, node.shape)
            what = op.name, node.shape
        elif isinstance(op, SameElements):
            what = "same", node.shape
        elif isinstance(op, Getitem) and all(isinstance(part, Slice) for part in op.index):
            # The places that slices take, not how they are written.
            parts = [range(*part.indices(size)) for part, size in zip(op.index.apply(), first.shape, strict=False)]
            what = "taken", (*parts, *(range(size) for size in first.shape[len(parts) :]))
        else:
            what = op.name, tuple(op.attributes().items())
        alone = isinstance(op, Tile) or (isinstance(op, Concatenate) and len(inputs) == 1)
        kept = isinstance(op, (SameElements, BroadcastTo)) or alone or op.name == "identity"
        if node.shape == first.shape and (kept or what == ("taken", tuple(range(size) for size in first.shape))):
            return inputs[0]
        return (what, node.shape, *inputs)

    def _operand(self, x: Tensor, node: Tensor) -> int:
        """Return the number of an input; to an operation that broadcasts, a repeated number is one number."""
        if x.kind != "constant" or node.op is None or not node.op.elementwise or not x.size:
            return self._known[x]
        return self._number(_constant(x, () if is_uniform(x.value) else x.shape))


def _constant(node: Tensor, shape: tuple[int, ...] | None = None) -> Any:
    """Return the form of a constant; a repeated number is that number in a shape."""
    value = np.asarray(node.value)
    elements = value.flat[0].tobytes() if is_uniform(value) else value.tobytes()
    return "constant", value.dtype.str, value.shape if shape is None else shape, elements if value.size else b""
