"""A list of nodes as a program: who lies where in memory, and the calls that compute them, in order."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tinygraph.engines.plan.kernels import Call, Scratch, Work, entry
from tinygraph.engines.plan.memory import ALIGNMENT, Arena, memory_order, reshaped, strides_in
from tinygraph.engines.plan.node import Node, in_order, is_a
from tinygraph.graph.arrays import Array
from tinygraph.graph.op import Op
from tinygraph.ops.shape.shape import BroadcastTo, SameElements, Transpose

SamplesAxis = Callable[[Node], int | None]


@dataclass
class Place:
    """Where a node's elements lie: with those of ``root``, in ``strides``.

    A root has a place of its own at ``offset`` in the arena, or ``None`` for one that is given or keeps its zeros.
    ``shares`` tells that it lies where an input of it lay.
    """

    root: Node
    strides: tuple[int, ...]
    offset: int | None = None
    nbytes: int = 0
    shares: bool = False


class Layout:
    """The memory of a program: decided once, and built as often as there are threads.

    ``given`` are nodes whose arrays come from elsewhere; ``samples_axis`` tells along which axis of a node the samples are.
    """

    def __init__(self, outputs: Sequence[Node], given: Mapping[Node, Array], samples_axis: SamplesAxis) -> None:
        self.outputs = tuple(outputs)
        self.given = given
        self.samples_axis = samples_axis
        nodes = [node for node in in_order(outputs, given) if node.value is None and node not in given]
        # Leaves are filled before anything is computed, so they take their places first.
        self.nodes = sorted(nodes, key=lambda node: node.op is not None)
        self.arena = Arena()
        self.places: dict[Node, Place] = {}
        self._last = self._last_uses()
        self._free: dict[int, list[Node]] = {}
        for index, node in enumerate(self.nodes):
            self._place(index, node)
            self._release(index)

    def _last_uses(self) -> dict[Node, int]:
        """Return the index of each node's last reader; outputs are read after all."""
        last: dict[Node, int] = {}
        for index, node in enumerate(self.nodes):
            last[node] = index
            last.update(dict.fromkeys(node.inputs, index))
        last.update(dict.fromkeys(self.outputs, len(self.nodes)))
        return last

    def _place(self, index: int, node: Node) -> None:
        strides = strides_in(memory_order(node.shape, self.samples_axis(node)), node.shape, node.dtype.itemsize)
        if node.op is None:
            self._allocate(index, node, strides)
            return
        view = self._view(node)
        if view is not None:
            self._extend(view.root, self._last[node])
            self.places[node] = view
            return
        kernel = entry(node.op)
        if kernel.zeroed:
            self.places[node] = Place(node, strides, nbytes=node.nbytes)
            return
        heir = self._heir(index, node) if kernel.in_place else None
        if heir is not None:
            old = self.places[heir]
            self.places[node] = Place(node, old.strides, old.offset, old.nbytes, shares=True)
            self._release_at(self._last[node], node)
            return
        self._allocate(index, node, strides)

    def _allocate(self, index: int, node: Node, strides: tuple[int, ...]) -> None:
        self.places[node] = Place(node, strides, self.arena.take(node.nbytes), node.nbytes)
        self._release_at(self._last[node], node)

    def _view(self, node: Node) -> Place | None:
        """Return a node's place as a view of its input, if its operation only moves elements and a view is enough."""
        assert node.op is not None
        x = node.inputs[0]
        if x.value is not None or not node.size:
            return None
        strides = self._strides_of(x)
        viewed = _viewed(node.op, node, x, strides)
        return None if viewed is None else Place(self._root(x), viewed)

    def _strides_of(self, x: Node) -> tuple[int, ...]:
        return self.places[x].strides if x in self.places else self.given[x].strides

    def _root(self, x: Node) -> Node:
        return self.places[x].root if x in self.places else x

    def _extend(self, root: Node, last: int) -> None:
        """Keep a root for the readers of its views."""
        if root in self.places and last > self._last[root]:
            self._last[root] = last
            self._release_at(last, root)

    def _heir(self, index: int, node: Node) -> Node | None:
        """Return an input that is read here for the last time and whose place the result can take."""
        for x in dict.fromkeys(node.inputs):
            place = self.places.get(x)
            if (
                place is not None
                and place.root is x
                and place.offset is not None
                and self._last[x] == index
                and (x.shape, x.dtype) == (node.shape, node.dtype)
                and all(self._lies_alike(other, x) for other in node.inputs if self._root(other) is x)
            ):
                self._last[x] = -1
                return x
        return None

    def _lies_alike(self, other: Node, x: Node) -> bool:
        return other is x or (other.shape == x.shape and self.places[other].strides == self.places[x].strides)

    def _release_at(self, index: int, node: Node) -> None:
        self._free.setdefault(index, []).append(node)

    def _release(self, index: int) -> None:
        """Give back the places whose last reader was the node at ``index``."""
        for node in self._free.pop(index, ()):
            place = self.places[node]
            # A root that has been inherited, or whose views are read later, is given back elsewhere.
            if self._last[node] == index and place.offset is not None:
                self.arena.give(place.offset, place.nbytes)

    def build(self, memory: Array, given: Mapping[Node, Array] | None = None) -> Executable:
        """Return the program in ``memory``, bytes of at least the arena's size."""
        return Executable(self, memory, self.given if given is None else given)


def _viewed(op: Op, node: Node, x: Node, strides: tuple[int, ...]) -> tuple[int, ...] | None:
    if is_a(op, Transpose):
        order = range(x.ndim)[::-1] if op.axes is None else [axis % x.ndim for axis in op.axes]
        return tuple(strides[axis] for axis in order)
    if is_a(op, BroadcastTo):
        extra = node.ndim - x.ndim
        same = [
            step if size == x.shape[i] else 0
            for i, (size, step) in enumerate(zip(node.shape[extra:], strides, strict=True))
        ]
        return (0,) * extra + tuple(same)
    if is_a(op, SameElements):
        return reshaped(x.shape, strides, node.shape)
    return None


@dataclass(frozen=True)
class Action:
    """One node's calls."""

    node: Node
    calls: tuple[Call, ...]


class Executable:
    """Calls bound to arrays. ``arrays`` holds every node's array; ``actions`` the nodes that are more than a view."""

    def __init__(self, layout: Layout, memory: Array, given: Mapping[Node, Array]) -> None:
        self.arrays: dict[Node, Array] = dict(given)
        self.actions: list[Action] = []
        scratch = Scratch()
        for node in layout.nodes:
            self.arrays[node] = out = self._array(node, layout.places[node], memory)
            if node.op is None or layout.places[node].root is not node:
                continue
            inputs = tuple(self._input(x) for x in node.inputs)
            scratch.begin()
            self.actions.append(Action(node, tuple(entry(node.op).kernel(Work(node, out, inputs, scratch)))))
        for output in layout.outputs:
            self._input(output)
        self.calls = [call for action in self.actions for call in action.calls]
        self.layout = layout
        own = sum(place.nbytes for node, place in layout.places.items() if place.offset is None and place.root is node)
        self.nbytes = layout.arena.size + own + scratch.nbytes

    def _input(self, node: Node) -> Array:
        if node not in self.arrays:
            assert node.value is not None
            self.arrays[node] = node.value
        return self.arrays[node]

    def _array(self, node: Node, place: Place, memory: Array) -> Array:
        if place.root is not node:
            return np.lib.stride_tricks.as_strided(self.arrays[place.root], node.shape, place.strides)
        if place.offset is None:
            memory, offset = np.zeros(max(place.nbytes, 1), np.uint8), 0
        else:
            offset = place.offset
        return np.ndarray(node.shape, node.dtype, memory, offset, place.strides)

    def run(self) -> None:
        """Compute everything."""
        for call in self.calls:
            call()

    def timed(self) -> list[float]:
        """Compute everything; return how many seconds each action took."""
        seconds = []
        for action in self.actions:
            start = time.perf_counter()
            for call in action.calls:
                call()
            seconds.append(time.perf_counter() - start)
        return seconds


def aligned_bytes(nbytes: int) -> Array:
    """Return bytes that begin at a multiple of ``ALIGNMENT``."""
    memory = np.empty(nbytes + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + nbytes]
