"""Sizes that follow the batch: expressions of the number of samples, found from recordings for several numbers.

A ``Template`` is a graph with such sizes; it is compared, node by node, with the graph that is recorded for one number.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygraph.errors import BudgetError, TinygraphError
from tinygraph.graph import Array, Graph, Op, Tensor, apply
from tinygraph.interop.onnx.roles import is_uniform
from tinygraph.ops.indexing.index import Index, Slice
from tinygraph.ops.indexing.select import Concatenate, Getitem
from tinygraph.ops.shape.arrange import Tile
from tinygraph.ops.shape.shape import BroadcastTo, SameElements

# Numbers larger than most that a file compares a size with, as 5 in ``x[:5]``; if not, the second base is tried.
BASES = (60, 1020)
# Three numbers show whether a size is proportional; for ``m // 12`` every remainder is needed.
FEW = (0, 1, 7)
MANY = (*range(24), 71)
# The advice for a file whose graph depends on the number of samples.
FIXING = "fix the number of samples with sizes={'x.0': 8} or --size x.0=8, where x is the input"
_LARGEST_DIVISOR, _MOST_TIMES = 12, 12


class Unknown(Exception):
    """A size does not follow any known rule."""


@dataclass(frozen=True)
class Rule:
    """A size for any number ``m`` of samples: ``times * ((a * m + b) // by) + plus``.

    >>> Rule(2, 1).text("m"), Rule(1, 1, 2).text("m"), Rule(1, 2, 3, 2).text("m")
    ('2 * m + 1', '(m + 1) // 2', '2 * ((m + 2) // 3)')
    >>> Rule(1, 1, 2).at(5)
    3
    """

    a: int
    b: int
    by: int = 1
    times: int = 1
    plus: int = 0

    def at(self, m: int) -> int:
        """Return the size for ``m`` samples."""
        return self.times * ((self.a * m + self.b) // self.by) + self.plus

    def text(self, batch: str) -> str:
        """Return the rule as text for an equation; ``batch`` is the text of the number of samples."""
        inner = _plus(batch if self.a == 1 else f"{self.a} * {batch}", self.b)
        if self.by == 1:
            return inner
        part = f"{f'({inner})' if self.b else inner} // {self.by}"
        return _plus(part if self.times == 1 else f"{self.times} * ({part})", self.plus)


def _plus(text: str, number: int) -> str:
    return text + (f" + {number}" if number > 0 else f" - {-number}" if number else "")


class Size(int):
    """A size that follows the batch: a number for one batch, a rule and an expression for all.

    >>> size = Size(5, Rule(2, 1), "x.shape[0]")
    >>> size, size + 0
    (2 * x.shape[0] + 1, 5)
    """

    rule: Rule
    batch: str

    def __new__(cls, number: int, rule: Rule, batch: str) -> Size:
        """Return the size that is ``number`` now; ``batch`` is the text of the number of samples."""
        size = super().__new__(cls, number)
        size.rule, size.batch = rule, batch
        return size

    def __repr__(self) -> str:
        return self.rule.text(self.batch)


def side_by_side(graphs: Sequence[Graph]) -> list[tuple[Tensor, ...]]:
    """Return the corresponding nodes of graphs that differ only in sizes. Raises ``Unknown`` for other graphs."""
    if any(len(graph.nodes) != len(graphs[0].nodes) for graph in graphs):
        raise Unknown
    return list(zip(*(graph.nodes for graph in graphs), strict=True))


@functools.lru_cache(maxsize=4096)
def fit(values: tuple[int, ...], batches: tuple[int, ...]) -> Rule | None:
    """Return the rule that gives ``values`` for ``batches``, or ``None``.

    >>> fit((30, 30, 31), (60, 61, 62))
    Rule(a=1, b=0, by=2, times=1, plus=0)
    """
    slope = (values[-1] - values[0]) / (batches[-1] - batches[0])
    affine = Rule(round(slope), values[0] - round(slope) * batches[0])
    if _holds(affine, values, batches):
        return affine
    factors = [sign * n for n in range(1, _MOST_TIMES + 1) for sign in (1, -1)]
    for times, by in itertools.product(factors, range(2, _LARGEST_DIVISOR + 1)):
        # Sizes are rounded, so the slope between two of them is not exact.
        a = round(slope * by / times)
        if a < 1 or math.gcd(a, by) > 1:
            continue
        for b in (0, by - 1, *range(1, by - 1)):
            rule = Rule(a, b, by, times)
            rule = dataclasses.replace(rule, plus=values[0] - rule.at(batches[0]))
            if _holds(rule, values, batches):
                return rule
    return None


def _holds(rule: Rule, values: Sequence[int], batches: Sequence[int]) -> bool:
    return all(rule.at(m) == value for m, value in zip(batches, values, strict=True))


def common(values: Sequence[Any], batches: Sequence[int], batch: str) -> Any:
    """Return an operation or an attribute for every number of samples, given what it is for some. Raises ``Unknown``."""
    first = values[0]
    if all(value == first for value in values):
        return first
    if dataclasses.is_dataclass(first) and all(type(value) is type(first) for value in values):
        names = [field.name for field in dataclasses.fields(first) if field.init]
        parts = {name: common([getattr(value, name) for value in values], batches, batch) for name in names}
        return dataclasses.replace(first, **parts)  # type: ignore[type-var]
    if all(isinstance(value, tuple) and len(value) == len(first) for value in values):
        items = [common(column, batches, batch) for column in zip(*values, strict=True)]
        return Index(items) if isinstance(first, Index) else tuple(items)
    rule = fit(tuple(values), tuple(batches)) if batch and all(isinstance(value, int) for value in values) else None
    if rule is None:
        raise Unknown
    return Size(first, rule, batch)


def whole_numbers(values: Sequence[Array]) -> list[int]:
    """Return arrays of one whole number each as numbers, or an empty list for other arrays."""
    whole = all(value.size == 1 and value.item() == int(value.item()) for value in values)
    return [int(value.item()) for value in values] if whole else []


def at(value: Any, m: int) -> Any:
    """Return an operation, or a value of its attributes, with the sizes that it has for ``m`` samples."""
    if isinstance(value, Size):
        return value.rule.at(m)
    if isinstance(value, tuple):
        items = [at(item, m) for item in value]
        return Index(items) if isinstance(value, Index) else tuple(items)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.init}
        found = {name: at(part, m) for name, part in fields.items()}
        changed = {name: part for name, part in found.items() if part is not fields[name]}
        return dataclasses.replace(value, **changed) if changed else value
    return value


class Template:
    """A graph for every number of samples, from graphs that were recorded for some: sizes in its operations may be ``Size``.

    ``copies`` are its nodes by those of the first graph, ``results`` the copies of the outputs, ``batch`` is the text of the
    number of samples. ``leaves`` has the names of its inputs, parameters and state, and ``follows`` its constants that are
    a size. Raises ``Unknown`` where a size follows no rule.
    """

    def __init__(self, graphs: Sequence[Graph], batches: Sequence[int]) -> None:
        self.graphs, self.batches, self.batch = graphs, batches, ""
        self.copies, self.leaves, self.follows = dict[Tensor, Tensor](), dict[Tensor, str](), dict[Tensor, Rule]()
        makers = {"node": self.node, "constant": self.constant}
        # A graph begins with its inputs, which name the size of the batch.
        for nodes in side_by_side(graphs):
            self.copies[nodes[0]] = makers.get(nodes[0].kind, self.leaf)(nodes)
        self.results = [self.copies[x] for x in graphs[0].outputs]

    def leaf(self, nodes: Sequence[Tensor]) -> Tensor:
        """Return the copy of an input, a parameter or a state, given the node of each graph."""
        leaf = nodes[0]
        self.leaves[leaf] = leaf.name or ""
        self.batch = self.batch or (self.leaves[leaf] if nodes[-1].shape != leaf.shape else "")
        return leaf

    def constant(self, nodes: Sequence[Tensor]) -> Tensor:
        """Return the copy of a constant: the same, or a size that follows the batch, as in ``x / x.shape[0]``."""
        if any(each.value.tobytes() != nodes[0].value.tobytes() for each in nodes):
            if not (numbers := whole_numbers([each.value for each in nodes])):
                raise Unknown
            self.follows[nodes[0]] = self.common(numbers).rule
        return nodes[0]

    def node(self, nodes: Sequence[Tensor]) -> Tensor:
        """Return the copy of a node with an operation."""
        return self.copy(nodes[0], self.common([each.op for each in nodes]), nodes[0].name)

    def copy(self, node: Tensor, op: Op, name: str | None) -> Tensor:
        """Return a copy of a node with another operation and name."""
        return Tensor("node", op, tuple(self.copies[x] for x in node.inputs), None, node.shape, node.dtype, name)

    def common(self, values: Sequence[Any]) -> Any:
        """Return an operation or an attribute for every number of samples, given what it is for some."""
        return common(values, self.batches, self.batch)

    def agrees(self, outputs: Sequence[Tensor], inputs: Mapping[str, Tensor], m: int) -> bool:
        """Whether the template is, for ``m`` samples, the graph of ``outputs``, which was recorded for ``m``.

        ``inputs`` are those of the recorded graph. Operations that change nothing, such as a slice that takes everything,
        do not count.
        """
        made: dict[Tensor, Tensor] = {}
        try:
            for node in Graph(self.results).nodes:
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
        return [forms.of(made[x]) for x in self.results] == [forms.of(x) for x in outputs]


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
