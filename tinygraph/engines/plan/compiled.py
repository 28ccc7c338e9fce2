"""Compiled: a graph for one size of batch, ready to run."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tinygraph.engines.plan.node import Node, in_order
from tinygraph.engines.plan.passes import prepared
from tinygraph.engines.plan.program import Executable, Layout, aligned_bytes
from tinygraph.engines.plan.threads import Held, blas_on_one_thread, run_all
from tinygraph.engines.plan.tiles import Split, Tile, analyse, split, tile_sizes
from tinygraph.graph.arrays import Array
from tinygraph.graph.batch import Each, Tiling
from tinygraph.graph.graph import Graph
from tinygraph.graph.locks import Lock
from tinygraph.graph.tensor import Tensor

Values = Mapping[Tensor, Array]


class Compiled:
    """A graph's nodes as programs. ``samples`` are the leaves whose first axis is the batch, of ``count`` samples.

    ``run`` may be called from any thread; calls wait for one another.
    """

    def __init__(self, graph: Graph, samples: Sequence[Tensor], count: int, threads: int) -> None:
        self.graph = graph
        self.count = count
        self._lock = Lock()
        with _no_collection:
            self._build(samples, threads)

    def _build(self, samples: Sequence[Tensor], threads: int) -> None:
        graph, count = self.graph, self.count
        self.outputs, self.spared = prepared(graph)
        found = analyse(self.outputs, dict.fromkeys(samples, 0), count)
        self.sizes = [count] if found is None else tile_sizes(found, count, threads)
        self.mixes = found is None
        self.engine: Whole | Tiled
        if found is None or len(self.sizes) == 1:
            self.engine = Whole(self.outputs, found or {}, count)
        else:
            self.engine = Tiled(split(self.outputs, found, count), self.outputs, self.sizes, threads)
        self.threads = threads if isinstance(self.engine, Tiled) else 1

    def run(self, values: Values, use: Callable[[list[Array]], object]) -> None:
        """Compute the outputs for the values of leaves and call ``use`` with them.

        The arrays are the plan's own, and stay as they are until ``use`` returns.
        """
        with self._lock.own, blas_on_one_thread, np.errstate(all="ignore"):
            use(self.engine.run(values))

    def profile(self, values: Values, repeats: int) -> list[list[float]]:
        """Return the median seconds of every action of each phase, one thread working alone."""
        with self._lock.own, blas_on_one_thread, np.errstate(all="ignore"):
            runs = [self.engine.timed(values) for _ in range(repeats)]
        return [np.median(phase, axis=0).tolist() for phase in zip(*runs, strict=True)]


def _stop_collection() -> bool:
    was_on = gc.isenabled()
    gc.disable()
    return was_on


def _resume_collection(was_on: bool) -> None:
    if was_on:
        gc.enable()


# While graphs are compiled, thousands of nodes are made and none is garbage. Looking through all of them again and again
# would make the time grow faster than the graph.
_no_collection = Held(_stop_collection, _resume_collection)


def value_of(leaf: Tensor, values: Values) -> Array:
    """Return the value of a leaf: what is given for it, or its own."""
    value: Array | None = values.get(leaf)
    return leaf.value if value is None else value


@dataclass(frozen=True)
class Phase:
    """A program in the course of a run, and how often it runs."""

    name: str
    times: int
    program: Executable


class Whole:
    """The whole batch as one program."""

    def __init__(self, outputs: Sequence[Node], found: Mapping[Node, Tiling], count: int) -> None:
        self.outputs = outputs

        def samples_axis(node: Node) -> int | None:
            if node in found:
                state = found[node].state
                return state.axis if isinstance(state, Each) else None
            return 0 if node.ndim == 4 and node.shape[0] == count and node.op is not None else None

        self.layout = Layout(outputs, {}, samples_axis)
        self.program = self.layout.build(aligned_bytes(self.layout.arena.size))
        self._leaves = [(node.leaf, self.program.arrays[node]) for node in self.layout.nodes if node.leaf is not None]

    @property
    def phases(self) -> list[Phase]:
        """The one program."""
        return [Phase("whole", 1, self.program)]

    @property
    def nbytes(self) -> int:
        """How much memory it holds."""
        return self.program.nbytes

    def run(self, values: Values) -> list[Array]:
        """Return the outputs' arrays."""
        self._fill(values)
        self.program.run()
        return [self.program.arrays[node] for node in self.outputs]

    def _fill(self, values: Values) -> None:
        for leaf, array in self._leaves:
            np.copyto(array, value_of(leaf, values))

    def timed(self, values: Values) -> list[list[float]]:
        """Run once; return how many seconds each action of each phase took."""
        self._fill(values)
        return [self.program.timed()]


@dataclass
class TileProgram:
    """The program for a tile of some size on one lane, and where its leaves, parts of outputs and totals lie."""

    program: Executable
    leaves: list[tuple[Tensor, Array]]
    rows: list[tuple[Array, Array]]
    parts: list[tuple[Node, int, Array]]
    totals: list[tuple[Array, Array]]


@dataclass
class Lane:
    """What one thread does: its tiles, from the first sample to the one after the last, and its own sums."""

    ranges: list[tuple[int, int]]
    programs: dict[int, TileProgram] = field(default_factory=dict)
    totals: dict[Node, Array] = field(default_factory=dict)

    def fill(self, values: Values, start: int, stop: int) -> TileProgram:
        """Give the tile of these samples its leaves, and return its program."""
        tile = self.programs[stop - start]
        for leaf, array in tile.leaves:
            np.copyto(array, value_of(leaf, values)[start:stop])
        for source, array in tile.rows:
            np.copyto(array, source[start:stop])
        return tile

    def run(self, values: Values, results: Mapping[Node, Array]) -> None:
        """Compute the tiles one after another; write parts of outputs and add up totals."""
        with np.errstate(all="ignore"):
            for index, (start, stop) in enumerate(self.ranges):
                tile = self.fill(values, start, stop)
                tile.program.run()
                for node, axis, array in tile.parts:
                    results[node][(slice(None),) * axis + (slice(start, stop),)] = array
                for array, total in tile.totals:
                    if index:
                        np.add(total, array, total)
                    else:
                        np.copyto(total, array)


class Tiled:
    """A batch in tiles on lanes, between what is computed before and after them.

    Which tile is on which lane, and in which order sums are taken, depends on sizes alone: the same bits each time.
    """

    def __init__(self, cut: Split, outputs: Sequence[Node], sizes: Sequence[int], threads: int) -> None:
        self.cut, self.outputs = cut, outputs
        whole = {
            node: np.empty(node.shape, node.dtype)
            for node in in_order(outputs)
            if node.leaf is not None and not isinstance(cut.found[node].state, Each)
        }
        self._leaves = [(node.leaf, array) for node, array in whole.items() if node.leaf is not None]
        self._whole_bytes = sum(array.nbytes for array in whole.values())
        self.before = self._program(cut.before, whole)
        given = whole | {node: self.before.arrays[node] for node in cut.before}
        self.tiles: dict[int, Tile] = {size: cut.tile(size) for size in sorted(set(sizes), reverse=True)}
        self.layouts = {
            size: Layout(list(tile.outputs.values()), given, tile.axes.get) for size, tile in self.tiles.items()
        }
        self.lanes = [self._lane(ranges, given) for ranges in _dealt(sizes, threads)]
        self.after = self._program(cut.after, given | self.lanes[0].totals)
        self._has_run = False

    @staticmethod
    def _program(outputs: Sequence[Node], given: Mapping[Node, Array]) -> Executable:
        layout = Layout(outputs, given, lambda node: None)
        return layout.build(aligned_bytes(layout.arena.size))

    def _lane(self, ranges: list[tuple[int, int]], given: Mapping[Node, Array]) -> Lane:
        lane = Lane(ranges, totals={node: np.empty(node.shape, node.dtype) for node in self.cut.totals})
        sizes = {stop - start for start, stop in ranges}
        memory = aligned_bytes(max(self.layouts[size].arena.size for size in sizes))
        for size in sizes:
            program, tile = self.layouts[size].build(memory), self.tiles[size]
            arrays = program.arrays
            lane.programs[size] = TileProgram(
                program,
                [(node.leaf, arrays[node]) for node in self.layouts[size].nodes if node.leaf is not None],
                [(_known(of, given), arrays[node]) for node, of in tile.rows.items() if node in arrays],
                [(node, tile.axes[tile.outputs[node]], arrays[tile.outputs[node]]) for node in self.cut.each],
                [(arrays[tile.outputs[node]], lane.totals[node]) for node in self.cut.totals],
            )
        return lane

    @property
    def phases(self) -> list[Phase]:
        """What runs before the tiles, the tiles by their size, and what runs after them."""
        counts = Counter(stop - start for lane in self.lanes for start, stop in lane.ranges)
        tiles = [Phase("tile", counts[size], self._tile_of(size).program) for size in sorted(counts, reverse=True)]
        return [Phase("before", 1, self.before), *tiles, Phase("after", 1, self.after)]

    def _tile_of(self, size: int) -> TileProgram:
        return next(lane.programs[size] for lane in self.lanes if size in lane.programs)

    @property
    def nbytes(self) -> int:
        """How much memory it holds, on all lanes together."""
        lanes = 0
        for lane in self.lanes:
            sizes = [tile.program.layout.arena.size for tile in lane.programs.values()]
            lanes += sum(tile.program.nbytes for tile in lane.programs.values()) - sum(sizes) + max(sizes)
            lanes += sum(total.nbytes for total in lane.totals.values())
        return self._whole_bytes + self.before.nbytes + lanes + self.after.nbytes

    def timed(self, values: Values) -> list[list[float]]:
        """Run each phase once, a tile for each size; return how many seconds each action took."""
        self._fill(values)
        seconds = [self.before.timed()]
        for size in sorted(self.tiles, reverse=True):
            lane = next(lane for lane in self.lanes if size in lane.programs)
            start, stop = next((start, stop) for start, stop in lane.ranges if stop - start == size)
            seconds.append(lane.fill(values, start, stop).program.timed())
        return [*seconds, self.after.timed()]

    def _fill(self, values: Values) -> None:
        for leaf, array in self._leaves:
            np.copyto(array, value_of(leaf, values))

    def run(self, values: Values) -> list[Array]:
        """Return the outputs' arrays."""
        self._fill(values)
        self.before.run()
        results = {node: np.empty(node.shape, node.dtype) for node in self.cut.each}
        if not self._has_run and len(self.lanes) > 1:
            # What an operation imports when it first runs, it imports in the caller's thread and no other: a thread that
            # imports while the process ends, or while another thread imports, can wait for ever.
            lane = self.lanes[0]
            lane.fill(values, *lane.ranges[0]).program.run()
        self._has_run = True
        run_all([_bound(lane, values, results) for lane in self.lanes])
        for node, total in self.lanes[0].totals.items():
            for lane in self.lanes[1:]:
                np.add(total, lane.totals[node], total)
        self.after.run()
        return [results[node] if node in results else self.after.arrays[node] for node in self.outputs]


def _known(node: Node, given: Mapping[Node, Array]) -> Array:
    """Return the array of a node that is known before the tiles."""
    return given[node] if node.value is None else node.value


def _bound(lane: Lane, values: Values, results: Mapping[Node, Array]) -> Callable[[], None]:
    return lambda: lane.run(values, results)


def _dealt(sizes: Sequence[int], threads: int) -> list[list[tuple[int, int]]]:
    """Return the tiles, as ranges of samples, dealt to threads in blocks.

    >>> _dealt([2, 2, 1], 2)
    [[(0, 2), (2, 4)], [(4, 5)]]
    """
    ranges, start = [], 0
    for size in sizes:
        ranges.append((start, start + size))
        start += size
    lanes = min(threads, len(ranges))
    share, more = divmod(len(ranges), lanes)
    dealt, first = [], 0
    for lane in range(lanes):
        last = first + share + (lane < more)
        dealt.append(ranges[first:last])
        first = last
    return dealt
