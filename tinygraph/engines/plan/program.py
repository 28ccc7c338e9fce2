"""Nodes as a program: where their arrays lie in memory, and the calls that compute them, in order."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import EllipsisType, MappingProxyType

import numpy as np

from tinygraph.engines.plan.joined import Join, Part, starts_of
from tinygraph.engines.plan.kernels import Call, Scratch, Work, entry
from tinygraph.engines.plan.kernels.base import ordinary
from tinygraph.engines.plan.kernels.rows import ByRows
from tinygraph.engines.plan.memory import (
    ALIGNMENT,
    GROUPS,
    LINE,
    Arena,
    copy_samples,
    memory_order,
    reshaped,
    strides_in,
)
from tinygraph.engines.plan.node import Node, Values, is_a, is_own
from tinygraph.graph import Array, Op, Tensor, topological
from tinygraph.ops.shape.shape import BroadcastTo, Reshape, SameElements, Transpose

SamplesAxis = Callable[[Node], int | None]


@dataclass
class Place:
    """Where a node's elements lie: in the memory of ``root``, with ``strides``.

    A root lies at ``offset`` in the arena, or has an array of its own (``None``) if it is given or keeps its zeros.
    ``shares`` says that it lies where one of its inputs lay. Other nodes begin ``start`` bytes after their root, and are
    views of it, or parts that are computed there.
    """

    root: Node
    strides: tuple[int, ...]
    offset: int | None = None
    nbytes: int = 0
    shares: bool = False
    start: int = 0
    is_view: bool = False


class Layout:
    """The memory of a program: planned once, and built for each thread.

    ``given`` are nodes whose arrays come from elsewhere, and ``rows`` nodes that hold some rows of one of these.
    ``samples_axis`` says along which axis of a node the samples are. If ``lasting``, what is computed from parameters alone
    has memory of its own, because it is the same in the next run: a kernel as a matrix, or multiplied by a scale.
    """

    def __init__(
        self,
        outputs: Sequence[Node],
        given: Mapping[Node, Array],
        samples_axis: SamplesAxis,
        rows: Mapping[Node, Node] = MappingProxyType({}),
        lasting: bool = False,
    ) -> None:
        self.given, self.rows, self.samples_axis = given, rows, samples_axis
        missing = topological([node for node in outputs if node not in given], given)
        self.fixed, self._lasting = set[Node](), lasting
        for node in missing:
            is_value = node.leaf is not None and node.leaf.kind in ("parameter", "state")
            is_known = lasting and is_own(node.op) and all(x.value is not None or x in self.fixed for x in node.inputs)
            self.fixed |= {node} if is_value or is_known else set()
        # Leaves are filled before anything is computed, so they take their places first, and then what lasts.
        self.nodes = sorted(
            (x for x in missing if x.value is None), key=lambda node: (node.op is not None, node not in self.fixed)
        )
        self._orders = dict.fromkeys(lines(self.nodes), LINE) | dict.fromkeys(groups(self.nodes), GROUPS)
        self.arena = Arena()
        self.places: dict[Node, Place] = {}
        # Nodes that are computed, or filled, where they lie in a joined array.
        self._parts: dict[Node, tuple[Node, int]] = {}
        for node in self.nodes:
            for x, start in zip(node.inputs, starts_of(node.inputs), strict=True) if is_a(node.op, Join) else ():
                self._parts.setdefault(x, (node, start * node.dtype.itemsize))
        # The index of each node's last reader; outputs are read after all.
        self._last: dict[Node, int] = {}
        for index, node in enumerate(self.nodes):
            self._last |= dict.fromkeys((node, *node.inputs), index)
        self._last |= dict.fromkeys(outputs, len(self.nodes))
        self._ending: defaultdict[int, list[Node]] = defaultdict(list)
        for index, node in enumerate(self.nodes):
            self.places[node] = self._view(node) or self._own_place(index, node, samples_axis)
            for other in self._ending.pop(index, ()):
                place = self.places[other]
                # A place that another node has taken over, or whose views are read later, is given back at another index.
                if self._last[other] == index and place.offset is not None and other not in self.fixed:
                    self.arena.give(place.offset, place.nbytes)

    def lasts(self, node: Node) -> bool:
        """Whether no other node takes over the place of a node."""
        place = self.places[node]
        return place.root is node and self._last[node] >= 0

    def _view(self, node: Node) -> Place | None:
        """Return a node's place as a view of its input, if its operation only moves elements and a view is enough."""
        if node.op is None or node.inputs[0].value is not None or not node.size:
            return None
        x, start = node.inputs[0], 0
        place = self.places[x] if x in self.places else Place(x, self.given[x].strides)
        strides = _viewed(node.op, node, x, place.strides)
        if is_a(node.op, Part) and x in self.places:
            strides, start = _dense(node), node.op.start * node.dtype.itemsize
        if strides is None:
            return None
        self._keep(place.root, node)
        return Place(place.root, strides, start=place.start + start, is_view=True)

    def _keep(self, root: Node, node: Node) -> None:
        """Keep a root for the readers of a node that lies in it."""
        if root in self.places and self._last[node] > self._last[root]:
            self._last[root] = self._last[node]
            self._ending[self._last[node]].append(root)

    def _own_place(self, index: int, node: Node, samples_axis: SamplesAxis) -> Place:
        """Return a new place, or a part of a joined one, or that of an input which no later node reads."""
        if node in self.places:
            return self.places[node]
        self._ending[self._last[node]].append(node)
        kernel = None if node.op is None else entry(node.op)
        if node in self._parts and not (kernel and kernel.zeroed):
            whole, start = self._parts[node]
            self.places[whole] = self._own_place(index, whole, samples_axis)
            self._keep(whole, node)
            return Place(whole, _dense(node), start=start)
        if kernel is not None and kernel.in_place:
            for x in dict.fromkeys(node.inputs):
                if self._can_take_place_of(x, index, node):
                    self._last[x] = -1
                    return replace(self.places[x], root=node, shares=True)
        order = self._orders.get(node) or memory_order(node.shape, samples_axis(node))
        strides = strides_in(order, node.shape, node.dtype.itemsize)
        zeroed = kernel is not None and kernel.zeroed
        return Place(node, strides, None if zeroed else self.arena.take(node.nbytes), node.nbytes)

    def _can_take_place_of(self, x: Node, index: int, node: Node) -> bool:
        """Whether a node is the last to read ``x``, and every other input that lies there lies as ``x`` does."""
        place = self.places.get(x)
        if (
            (self._lasting and x in self.fixed)
            or place is None
            or place.root is not x
            or place.offset is None
            or self._last[x] != index
        ):
            return False
        there = [other for other in node.inputs if other in self.places and self.places[other].root is x]
        alike = all((other.shape, self.places[other].strides) == (x.shape, place.strides) for other in there)
        return alike and (x.shape, x.dtype) == (node.shape, node.dtype)


def _dense(node: Node) -> tuple[int, ...]:
    return strides_in(range(node.ndim), node.shape, node.dtype.itemsize)


def lines(nodes: Sequence[Node]) -> set[Node]:
    """Return the nodes that hold lines ``(N, C, L)`` with their samples last in memory.

    These are the ones that convolutions by rows read and write as pictures with one row, and what is computed element by
    element from or for them. Other arrays of three axes, such as sequences of vectors, are multiplied by matrices.
    """
    found: set[Node] = set()
    for node in nodes:
        for x in (node, *node.inputs) if isinstance(node.op, ByRows) else ():
            source = x.inputs[0] if x is not node and is_a(x.op, Reshape) else x
            found |= {source} if source.ndim == 3 and x.ndim == 4 else set()
        made = is_a(node.op, Reshape) and isinstance(node.inputs[0].op, ByRows)
        found |= {node} if made and (node.ndim, node.inputs[0].ndim) == (3, 4) else set()
    alike = [
        [x for x in (node, *node.inputs) if x.shape == node.shape and x.value is None]
        for node in nodes
        if found and node.op is not None and node.op.elementwise and node.ndim == 3
    ]
    for group in (*alike, *reversed(alike), *alike):
        if not found.isdisjoint(group):
            found.update(group)
    return found


def groups(nodes: Sequence[Node]) -> set[Node]:
    """Return the nodes ``(N, G, C/G, H, W)`` that the pass ``groups.py`` makes of images, and what is computed of them."""
    found: set[Node] = set()
    for node in nodes:
        begun = is_a(node.op, SameElements) and node.inputs[0].ndim == 4
        if node.ndim == 5 and (begun or not found.isdisjoint(node.inputs)):
            found.add(node)
    return found


def _viewed(op: Op, node: Node, x: Node, strides: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return the strides of a node as a view of ``x``, or ``None`` if it is none."""
    if is_a(op, Transpose):
        order = range(x.ndim)[::-1] if op.axes is None else [axis % x.ndim for axis in op.axes]
        return tuple(strides[axis] for axis in order)
    if is_a(op, BroadcastTo):
        extra = node.ndim - x.ndim
        sizes = zip(x.shape, node.shape[extra:], strides, strict=True)
        return (0,) * extra + tuple(step if old == new else 0 for old, new, step in sizes)
    return reshaped(x.shape, strides, node.shape) if is_a(op, SameElements) else None


class Executable:
    """Calls bound to arrays, in ``memory``, bytes of at least the arena's size, or in memory of its own.

    ``arrays`` holds every node's array; ``actions`` the nodes that are more than a view, each with its calls. ``held`` are
    values of leaves that lie in their places already when the next run begins.
    """

    def __init__(self, layout: Layout, memory: Array | None = None) -> None:
        self.layout, self.held = layout, dict[Tensor, Array]()
        memory = aligned_bytes(layout.arena.size) if memory is None else memory
        self.arrays: dict[Node, Array] = dict(layout.given)
        self.actions: list[tuple[Node, Sequence[Call]]] = []
        scratch = Scratch()
        # The bytes outside the arena.
        self.nbytes = 0
        for node in layout.nodes:
            place = layout.places[node]
            self.arrays[node] = out = self._array(node, place, memory)
            if place.root is node:
                self.nbytes += place.nbytes if place.offset is None else 0
            # A view is only checked.
            if node.op is not None and not (place.is_view and not node.op.has_check):
                scratch.begin()
                work = Work(node, out, tuple(map(self.array_of, node.inputs)), scratch)
                kernel = entry(node.op).kernel
                calls = () if place.is_view else kernel(work)
                if node.op.has_check and (place.is_view or kernel is not ordinary):
                    calls = [partial(node.op.check, *work.inputs), *calls]
                self.actions.append((node, calls))
        self.nbytes += scratch.nbytes
        self._calls = [call for _, calls in self.actions for call in calls]
        # The calls that are left to make where no parameter has changed since the last run.
        self._others = [call for node, calls in self.actions if node not in layout.fixed for call in calls]
        self._changed = True
        # Each leaf with the axes before its samples, and whether it is what its place is used for.
        self._leaves = [
            (
                node.leaf,
                self.arrays[node],
                (slice(None),) * (layout.samples_axis(node) or 0),
                node in layout.fixed and layout.lasts(node),
            )
            for node in layout.nodes
            if node.leaf is not None
        ]
        self._rows = [
            (self.array_of(source), self.arrays[node]) for node, source in layout.rows.items() if node in self.arrays
        ]

    def array_of(self, node: Node) -> Array:
        """Return the array of a node, which may be a constant."""
        return self.arrays[node] if node.value is None else node.value

    def _array(self, node: Node, place: Place, memory: Array) -> Array:
        root = self.layout.places.get(place.root)
        if root is not None and root.offset is not None:
            return np.ndarray(node.shape, node.dtype, memory, root.offset + place.start, place.strides)
        if place.root is not node:
            return np.lib.stride_tricks.as_strided(self.arrays[place.root], node.shape, place.strides)
        return np.ndarray(node.shape, node.dtype, np.zeros(max(place.nbytes, 1), np.uint8), 0, place.strides)

    def fill(self, values: Values, samples: slice | EllipsisType = ...) -> None:
        """Copy the values of leaves, for some of the samples, to where the program reads them."""
        held, self.held = self.held, {}
        for leaf, array, before, lasts in self._leaves:
            fed = values.get(leaf)
            value = leaf.value if fed is None else fed
            if held.get(leaf) is not value:
                self._changed |= lasts
                copy_samples(array, value if samples is ... else value[(*before, samples)])
            if lasts and fed is None:
                self.held[leaf] = value
        for source, array in self._rows:
            array[...] = source[samples]

    def in_place(self, leaf: Tensor, result: Array) -> bool:
        """Whether a result lies in the place of a leaf: the program computes the leaf's new value there."""
        there = [(x.ctypes.data, x.strides) for own, x, *_ in self._leaves if own is leaf]
        return (result.ctypes.data, result.strides) in there

    def run(self) -> None:
        """Compute everything that is not known."""
        for call in self._calls if self._changed else self._others:
            call()
        self._changed = False

    def timed(self, values: Values, samples: slice | EllipsisType) -> list[float]:
        """Compute everything for some of the samples; return how many seconds each action took."""
        self.fill(values, samples)
        seconds = []
        for _, calls in self.actions:
            start = time.perf_counter()
            for call in calls:
                call()
            seconds.append(time.perf_counter() - start)
        return seconds


def aligned_bytes(nbytes: int) -> Array:
    """Return bytes that begin at a multiple of ``ALIGNMENT``."""
    memory = np.empty(nbytes + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + nbytes]
