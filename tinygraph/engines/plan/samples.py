"""What the plan knows of each operation and the samples of a batch: may the batch be cut, and how do the parts come together?

A node is one of these:

- ``Each(axis)``: every sample by itself, the samples along ``axis``.
- ``WHOLE``: no sample has a part in it; the same for every tile of the batch.
- ``TOTAL``: a sum over samples, so the sum of what the tiles give.
- ``AFTER``: computed from totals, once all tiles are done.

An operation that mixes samples otherwise, or that nothing is known of here, has no place in this: its graph is not cut.
"""

from __future__ import annotations

import dataclasses
import enum
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from tinygraph.engines.plan import pools, rows
from tinygraph.engines.plan.node import Node, topological
from tinygraph.graph.op import Op, Shape
from tinygraph.ops.activation import activation
from tinygraph.ops.axes import normalized_axes
from tinygraph.ops.comparison.comparison import Clip
from tinygraph.ops.convolution import convolution
from tinygraph.ops.elementwise.cast import Cast
from tinygraph.ops.indexing import select as indexing
from tinygraph.ops.indexing.index import Index, Slice
from tinygraph.ops.linear import linear
from tinygraph.ops.loss import binary as loss
from tinygraph.ops.loss import classification
from tinygraph.ops.pooling import global_pooling, lp_pooling, max_pooling, pooling
from tinygraph.ops.reduction import reduction
from tinygraph.ops.shape import shape as moves
from tinygraph.ops.statistics import statistics


@dataclass(frozen=True)
class Each:
    """Every sample by itself, the samples along ``axis``."""

    axis: int


class Part(enum.Enum):
    """What is no sample's own."""

    WHOLE = "whole"
    TOTAL = "total"
    AFTER = "after"


WHOLE, TOTAL, AFTER = Part.WHOLE, Part.TOTAL, Part.AFTER
State: TypeAlias = Each | Part


@dataclass(frozen=True)
class Behaviour:
    """How an operation acts: the state of its result, the operation for a tile of ``t`` samples where its attributes
    hold the size of the batch, whether a tile's result counts by its share of the samples, and which inputs are known
    before the tiles, constants or what chance leaves out, so that a tile takes its own rows of them."""

    state: State
    for_tile: Callable[[int], Op] | None = None
    weighted: bool = False
    sliced: tuple[int, ...] = ()


@dataclass(frozen=True)
class Use:
    """A node with the states of its inputs, as a rule sees it. At least one input is ``Each``, and the others are ``WHOLE``."""

    node: Node
    states: tuple[State, ...]
    count: int

    @property
    def op(self) -> Any:
        """The operation, whose class the rule knows."""
        return self.node.op

    def each(self, *places: int) -> int | None:
        """Return the axis of the samples if it is the same for the inputs at ``places`` and the others are whole."""
        axes = {s.axis for i in places if isinstance(s := self.states[i], Each)}
        others = [s for i, s in enumerate(self.states) if i not in places]
        if len(axes) != 1 or any(s is WHOLE for s in (self.states[i] for i in places)) or set(others) - {WHOLE}:
            return None
        return axes.pop()

    def with_size(self, shape: Shape, axis: int, name: str = "to") -> Callable[[int], Op]:
        """Return the operation for a tile, with the size of its result as its attribute ``name``."""
        return lambda t: dataclasses.replace(self.op, **{name: (*shape[:axis], t, *shape[axis + 1 :])})


Rule: TypeAlias = Callable[[Use], Behaviour | None]
_RULES: dict[type[Op], Rule] = {}


def rule_for(*classes: type[Op]) -> Callable[[Rule], Rule]:
    """Note that a function says how the operations of these classes behave; use as a decorator."""

    def note(rule: Rule) -> Rule:
        _RULES.update(dict.fromkeys(classes, rule))
        return rule

    return note


def behave_as(known: type[Op], *others: type[Op]) -> None:
    """Let other operations behave as one that is known here."""
    _RULES.update(dict.fromkeys(others, _RULES[known]))


def analyse(outputs: Sequence[Node], samples: Mapping[Any, int], count: int) -> dict[Node, Behaviour] | None:
    """Return how every node behaves, if a batch of ``count`` can be cut; ``samples`` gives the axis of each leaf of samples.

    >>> import tinygraph as tg
    >>> from tinygraph.engines.plan.node import lift
    >>> x = tg.input("x", (4, 3))
    >>> found = analyse(lift(tg.Graph(tg.sum(x * 2.0))), {x: 0}, 4)
    >>> [behaviour.state for behaviour in found.values()]
    [Each(axis=0), <Part.WHOLE: 'whole'>, Each(axis=0), <Part.TOTAL: 'total'>]
    >>> analyse(lift(tg.Graph(x.T @ x)), {x: 0}, 4) is None, analyse(lift(tg.Graph(tg.max(x))), {x: 0}, 4) is None
    (False, True)
    """
    found: dict[Node, Behaviour] = {}
    for node in topological(outputs):
        behaviour = _behaviour(node, found, samples, count)
        if behaviour is None:
            return None
        found[node] = behaviour
    return found


def _behaviour(node: Node, found: Mapping[Node, Behaviour], samples: Mapping[Any, int], count: int) -> Behaviour | None:
    if node.op is None:
        return Behaviour(Each(samples[node.leaf]) if node.leaf in samples else WHOLE)
    states = tuple(found[x].state for x in node.inputs)
    each = any(isinstance(state, Each) for state in states)
    if not each:
        return Behaviour(WHOLE if set(states) <= {WHOLE} else AFTER)
    if TOTAL in states or AFTER in states:
        return None
    rule = _RULES.get(type(node.op), _elementwise if node.op.elementwise else None)
    behaviour = None if rule is None else rule(Use(node, states, count))
    # A sum in float16 is taken in a wider type, which the sums of tiles have lost.
    return None if behaviour is not None and behaviour.state is TOTAL and node.dtype.char == "e" else behaviour


@rule_for(Cast, Clip)
def _elementwise(use: Use) -> Behaviour | None:
    node, sliced = use.node, []
    shifts = [node.ndim - x.ndim for x in node.inputs]
    axes = {s.axis + shift for s, shift in zip(use.states, shifts, strict=True) if isinstance(s, Each)}
    if len(axes) != 1:
        return None
    (axis,) = axes
    for i, (x, state, shift) in enumerate(zip(node.inputs, use.states, shifts, strict=True)):
        if state is WHOLE and axis >= shift and x.shape[axis - shift] != 1:
            if (x.value is None and x.op is None) or axis != shift:
                return None
            sliced.append(i)
    return Behaviour(Each(axis), sliced=tuple(sliced))


def _kinds(*bases: type[Op]) -> list[type[Op]]:
    """Return the operations for images of one, two, three or any axes that are made of these."""
    return [kind for base in bases for kind in (base, *base.__subclasses__())]


@rule_for(
    *_kinds(convolution.Convolve, convolution.ConvolveTransposed, pooling.AvgPool, pooling.AvgUnpool),
    *_kinds(max_pooling.MaxPool, lp_pooling.LpPool, *_kinds(global_pooling.GlobalPooling)),
)
def _image(use: Use) -> Behaviour | None:
    return Behaviour(Each(0)) if use.each(0) == 0 else None


@rule_for(*_kinds(max_pooling.MaxUnpool, max_pooling.MaxTake), pools.AvgUnpoolProduct)
def _two_images(use: Use) -> Behaviour | None:
    return Behaviour(Each(0)) if use.each(0, 1) == 0 else None


@rule_for(pools.MaxUnpoolBeside)
def _three_images(use: Use) -> Behaviour | None:
    return Behaviour(Each(0)) if use.each(0, 1, 2) == 0 else None


@rule_for(*_kinds(convolution.KernelGradient))
def _kernel_gradient(use: Use) -> Behaviour | None:
    return Behaviour(TOTAL) if use.each(0, 1) == 0 else None


@rule_for(rows.RowPatches)
def _row_patches(use: Use) -> Behaviour | None:
    return Behaviour(Each(4)) if use.each(0) == 0 else None


@rule_for(rows.RowConvolution)
def _row_convolution(use: Use) -> Behaviour | None:
    return Behaviour(Each(0)) if use.each(1) == 4 else None


@rule_for(rows.RowKernelGradient)
def _row_kernel_gradient(use: Use) -> Behaviour | None:
    return Behaviour(TOTAL) if use.states == (Each(4), Each(0)) else None


@rule_for(rows.RowSpread)
def _row_spread(use: Use) -> Behaviour | None:
    return Behaviour(Each(4)) if use.each(1) == 0 else None


@rule_for(rows.ColumnOverlay)
def _column_overlay(use: Use) -> Behaviour | None:
    return Behaviour(Each(0)) if use.each(0) == 4 else None


@rule_for(linear.Matmul)
def _matmul(use: Use) -> Behaviour | None:
    (x, y), (left, right) = use.node.inputs, use.states
    if x.ndim < 2 or y.ndim < 2:
        return None
    rows_axis, columns_axis, inner = x.ndim - 2, y.ndim - 1, (Each(x.ndim - 1), Each(y.ndim - 2))
    if (left, right) == inner:
        return Behaviour(TOTAL)
    if left == inner[0] and right is WHOLE and y.value is not None and y.ndim == 2:
        # A gradient that is a constant, of a mean for example: each tile takes its own rows.
        return Behaviour(TOTAL, sliced=(1,))
    if right is WHOLE and left == Each(rows_axis):
        return Behaviour(Each(use.node.ndim - 2))
    if left is WHOLE and right == Each(columns_axis):
        return Behaviour(Each(use.node.ndim - 1))
    return _stacked_matmul(use)


def _stacked_matmul(use: Use) -> Behaviour | None:
    """Samples along an axis of stacks of matrices, in both factors or broadcast in one."""
    axes = set()
    for x, state in zip(use.node.inputs, use.states, strict=True):
        shift = use.node.ndim - x.ndim
        if isinstance(state, Each):
            if state.axis >= x.ndim - 2:
                return None
            axes.add(state.axis + shift)
    (axis, *more) = axes
    for x, state in zip(use.node.inputs, use.states, strict=True):
        at = axis - (use.node.ndim - x.ndim)
        if state is WHOLE and 0 <= at < x.ndim - 2 and x.shape[at] != 1:
            return None
    return None if more else Behaviour(Each(axis))


@rule_for(reduction.Sum, reduction.Mean, reduction.Max, reduction.Min, reduction.LogSumExp, statistics.Variance)
def _reduction(use: Use) -> Behaviour | None:
    (x,), axis = use.node.inputs, use.each(0)
    assert axis is not None
    axes = normalized_axes(use.op, x, use.op.axis)
    if axis in axes:
        if isinstance(use.op, reduction.Sum):
            return Behaviour(TOTAL)
        return Behaviour(TOTAL, weighted=True) if isinstance(use.op, reduction.Mean) else None
    return Behaviour(Each(axis if use.op.keepdims else axis - sum(a < axis for a in axes)))


@rule_for(reduction.FirstExtreme)
def _first_extreme(use: Use) -> Behaviour | None:
    axis = use.each(0)
    return None if axis in normalized_axes(use.op, use.node.inputs[0], use.op.axis) else Behaviour(use.states[0])


@rule_for(statistics.Standardize)
def _standardize(use: Use) -> Behaviour | None:
    # Over the samples, mean and deviation are those of the whole batch, which no tile knows.
    return None if use.each(0) in normalized_axes(use.op, use.node, use.op.axis) else Behaviour(use.states[0])


@rule_for(statistics.MovingSum, activation.Softmax, activation.LogSoftmax)
def _along_axis(use: Use) -> Behaviour | None:
    return None if use.op.axis % use.node.ndim == use.each(0) else Behaviour(use.states[0])


@rule_for(loss.Bce, loss.BceWithLogits, loss.Mse)
def _mean_loss(use: Use) -> Behaviour | None:
    axis = use.each(*range(len(use.states)))
    return None if axis is None else Behaviour(TOTAL, weighted=True)


@rule_for(classification.CrossEntropy)
def _cross_entropy(use: Use) -> Behaviour | None:
    axis = use.each(0, 1)
    return None if axis is None or axis == use.node.inputs[0].ndim - 1 else Behaviour(TOTAL, weighted=True)


@rule_for(classification.OneHot)
def _one_hot(use: Use) -> Behaviour | None:
    return Behaviour(use.states[0])


@rule_for(moves.Reshape, moves.Flatten, moves.Squeeze, moves.ExpandDims)
def _reshape(use: Use) -> Behaviour | None:
    (x,), shape, axis = use.node.inputs, use.node.shape, use.each(0)
    assert axis is not None
    before = math.prod(x.shape[:axis])
    for place, size in enumerate(shape):
        if math.prod(shape[:place]) == before and size == use.count:
            return Behaviour(Each(place), partial(_reshape_to, shape, place))
    return None


def _reshape_to(shape: Shape, place: int, size: int) -> Op:
    return moves.Reshape((*shape[:place], size, *shape[place + 1 :]))


@rule_for(moves.Transpose)
def _transpose(use: Use) -> Behaviour | None:
    axis, ndim = use.each(0), use.node.ndim
    order = range(ndim)[::-1] if use.op.axes is None else [a % ndim for a in use.op.axes]
    return None if axis is None else Behaviour(Each(list(order).index(axis)))


@rule_for(moves.BroadcastTo)
def _broadcast_to(use: Use) -> Behaviour | None:
    axis = use.each(0)
    assert axis is not None
    axis += use.node.ndim - use.node.inputs[0].ndim
    return Behaviour(Each(axis), use.with_size(use.node.shape, axis))


@rule_for(moves.SumTo)
def _sum_to(use: Use) -> Behaviour | None:
    (x,), axis = use.node.inputs, use.each(0)
    assert axis is not None
    left = axis - (x.ndim - use.node.ndim)
    if left < 0 or (use.node.shape[left] == 1 and x.shape[axis] != 1):
        return Behaviour(TOTAL)
    return Behaviour(Each(left), use.with_size(use.node.shape, left))


@rule_for(indexing.Concatenate)
def _concatenate(use: Use) -> Behaviour | None:
    axis = use.each(*range(len(use.states)))
    return None if axis is None or axis == use.op.axis % use.node.ndim else Behaviour(Each(axis))


@rule_for(indexing.Getitem)
def _getitem(use: Use) -> Behaviour | None:
    return Behaviour(Each(0)) if use.each(0) == 0 and _keeps_first(use.op.index, use.count) else None


@rule_for(indexing.Put)
def _put(use: Use) -> Behaviour | None:
    if use.each(0) != 0 or use.op.to[:1] != (use.count,) or not _keeps_first(use.op.index, use.count):
        return None
    return Behaviour(Each(0), use.with_size(use.op.to, 0))


def _keeps_first(index: Index, count: int) -> bool:
    """Whether an index takes the whole of the first axis, in its order."""
    first = index[0] if index else None
    if not index.is_basic or not isinstance(first, Slice):
        return False
    return first.start in (None, 0) and (first.stop is None or first.stop >= count) and first.step in (None, 1)


@rule_for(indexing.Pad)
def _pad(use: Use) -> Behaviour | None:
    axis = use.each(0)
    assert axis is not None
    unpadded = use.node.shape[axis] == use.node.inputs[0].shape[axis]
    return Behaviour(Each(axis)) if unpadded else None


@rule_for(indexing.Flip)
def _flip(use: Use) -> Behaviour | None:
    axis = use.each(0)
    return None if axis in normalized_axes(use.op, use.node.inputs[0], use.op.axis) else Behaviour(Each(axis or 0))
