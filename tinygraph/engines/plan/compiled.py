"""Compiled: a graph for one size of batch, in tiles and on threads, ready to run."""

import gc
import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import EllipsisType

import numpy as np

from tinygraph.engines.plan.joined import Part
from tinygraph.engines.plan.memory import copy_samples, memory_order, strides_in
from tinygraph.engines.plan.node import Node, Values, is_a
from tinygraph.engines.plan.passes import prepared
from tinygraph.engines.plan.program import Executable, Layout, aligned_bytes
from tinygraph.engines.plan.stages import Stage, stages
from tinygraph.engines.plan.threads import Held, blas_on_one_thread, run_all
from tinygraph.engines.plan.tiles import Split, Tile, analyse, split, tile_sizes, whole_is_faster
from tinygraph.graph import MEAN, Array, Each, Graph, Tensor, Tiling, typed
from tinygraph.locks import Lock

# Compiling makes thousands of nodes, and none is garbage. The garbage collector would look through all of them again and
# again, in a time that grows faster than the graph.
_no_collection = Held(gc.isenabled, lambda was_on: gc.disable(), lambda was_on: gc.enable() if was_on else None)


@dataclass(frozen=True)
class Phase:
    """One program of a run: how often it runs, on how many samples, and on which samples it is timed."""

    name: str
    times: int
    samples: int
    program: Executable
    timed_on: slice | EllipsisType = ...


class Compiled:
    """A graph compiled for ``count`` samples; ``samples`` are the leaves whose first axis is the batch.

    ``alike`` has the places of outputs that are computed alike, see ``joined``. The results of ``run`` are those of the graph,
    and then joined arrays; ``covering`` has the places of results that hold the elements of all. ``run`` may be called from
    any thread; calls wait for one another.
    """

    def __init__(
        self,
        graph: Graph,
        samples: Sequence[Tensor],
        count: int,
        threads: int,
        kernels: str = "numpy",
        alike: Sequence[Sequence[int]] = (),
    ) -> None:
        self.graph, self.count = graph, count
        # Every run looks them up.
        self.inputs = {name: typed(leaf) for name, leaf in graph.inputs.items()}
        self._lock = Lock()
        with _no_collection():
            self.outputs, self.spared = prepared(graph, kernels, alike)
            self.covering = [place for place, node in enumerate(self.outputs) if not is_a(node.op, Part)]
            axes = dict.fromkeys(samples, 0)
            cut = stages(self.outputs, axes, count)
            self.mixes_samples = cut is None
            found = [analyse(stage.outputs, stage.samples, count) for stage in cut or ()]
            sizes = [tile_sizes(one, count, threads) if one else [count] for one in found]
            uncut = max(map(len, sizes), default=1) == 1
            if not cut or (len(cut) > 1 and (uncut or whole_is_faster([*filter(None, found)], threads))):
                originals = tuple(dict.fromkeys(self.outputs))
                cut, found, sizes = [Stage(originals, originals, {}, axes)], [None], [[count]]
            self._stages = [
                (stage, Tiled(stage, one, tiles, threads, lasting=not alike))
                for stage, one, tiles in zip(cut, found, sizes, strict=True)
            ]
            # Stages run one after another, so the lane of a thread has the same memory in all of them.
            memory = [
                aligned_bytes(max(sizes))
                for sizes in itertools.zip_longest(*(tiled.arenas for _, tiled in self._stages), fillvalue=0)
            ]
            for _, tiled in self._stages:
                tiled.build(memory, len(self._stages) == 1)
        self._memory = sum(block.nbytes for block in memory)
        # One stage, and no output twice.
        self._in_place: list[Tensor] | None = None
        self._is_one = [stage.originals for stage, _ in self._stages] == [tuple(self.outputs)]
        self.sizes = max((tiled.sizes for _, tiled in self._stages), key=len)
        self.threads = max(tiled.threads for _, tiled in self._stages)

    @property
    def phases(self) -> list[Phase]:
        """The phases of all stages, in order; with the number of the stage where there are several."""
        if len(self._stages) == 1:
            return self._stages[0][1].phases
        found = [(i, phase) for i, (_, tiled) in enumerate(self._stages, 1) for phase in tiled.phases]
        return [replace(phase, name=f"{phase.name} {i}") for i, phase in found]

    @property
    def nbytes(self) -> int:
        """How much memory it holds, on all lanes together."""
        return self._memory + sum(tiled.nbytes for _, tiled in self._stages)

    def keep(self, moved: Sequence[tuple[Tensor, int]]) -> None:
        """Note which leaves have got results of this run as their values, so that the next run need not copy these again."""
        program = self._stages[0][1].whole if self._is_one else None
        if program is None:
            return
        if self._in_place is None:
            results = [program.array_of(node) for node in self.outputs]
            self._in_place = [leaf for leaf, place in moved if program.in_place(leaf, results[place])]
        program.held = {leaf: leaf.value for leaf in self._in_place}

    def run(self, values: Values, use: Callable[[list[Array]], object]) -> None:
        """Compute the outputs for the values of leaves and call ``use`` with them.

        The arrays belong to the plan, and do not change until ``use`` returns.
        """
        with self._lock.own, blas_on_one_thread(), np.errstate(all="ignore"):
            use(self._run(values))

    def _run(self, values: Values) -> list[Array]:
        if self._is_one:
            return self._stages[0][1].run(values)
        known: dict[Node, Array] = {}
        for stage, tiled in self._stages:
            known.update(zip(stage.originals, tiled.run(values), strict=True))
            if stage.leaves:
                values = {**values, **{leaf: known[node] for node, leaf in stage.leaves.items()}}
        return [known[node] for node in self.outputs]

    def profile(self, values: Values, repeats: int) -> list[list[float]]:
        """Return the median seconds of every action of each phase, one thread working alone."""
        runs: list[list[list[float]]] = []
        with self._lock.own, blas_on_one_thread(), np.errstate(all="ignore"):
            for _ in range(repeats):
                fed, seconds = dict(values), list[list[float]]()
                for stage, tiled in self._stages:
                    seconds += [phase.program.timed(fed, phase.timed_on) for phase in tiled.phases]
                    found = dict(zip(stage.originals, tiled.run(fed), strict=True)) if stage.leaves else {}
                    fed |= {leaf: found[node] for node, leaf in stage.leaves.items()}
                runs.append(seconds)
        return [np.median(phase, axis=0).tolist() for phase in zip(*runs, strict=True)]


class Tiled:
    """A stage in tiles, between what is computed before and after them.

    Each thread has a lane of tiles. Sizes alone decide which tile is on which lane and in which order sums are taken, so the
    bits are the same each time. ``found`` says how each node is tiled; without it the stage is one program.
    """

    def __init__(
        self, stage: Stage, found: Mapping[Node, Tiling] | None, sizes: list[int], threads: int, lasting: bool
    ) -> None:
        self.outputs, self.sizes, self._has_run = stage.outputs, sizes, False
        count, tiled = sum(sizes), found is not None and len(sizes) > 1
        self.threads = threads if tiled else 1

        def samples_axis(node: Node) -> int | None:
            if found is None:
                return 0 if node.ndim == 4 and node.shape[0] == count and node.op is not None else None
            state = found[node].state
            return state.axis if isinstance(state, Each) else None

        outputs = self.outputs
        cut = split(outputs, found, count) if found and tiled else Split({}, count, outputs, (), (), outputs)
        self._each = cut.each
        # What later stages read is kept; it lies as in the tiles.
        kept = {output for original, output in zip(stage.originals, outputs, strict=True) if original in stage.leaves}
        self._kept = {node: _lying(node, samples_axis(node)) for node in cut.each if node in kept}
        self._before = Executable(Layout(cut.before, {}, samples_axis, lasting=lasting))
        given = {node: self._before.array_of(node) for node in cut.before}
        self._tiles = {size: cut.tile(size) for size in set(self.sizes)} if tiled else {}
        self._layouts = {
            size: Layout(tuple(tile.outputs.values()), given, tile.axes.get, tile.rows)
            for size, tile in self._tiles.items()
        }
        self._ranges = _dealt(self.sizes, threads) if tiled else []
        self._cut, self._given, self._axis, self._count = cut, given, samples_axis, count

    @property
    def arenas(self) -> list[int]:
        """How many bytes each lane needs for its tiles."""
        return [
            max(self._layouts[samples.stop - samples.start].arena.size for samples in ranges) for ranges in self._ranges
        ]

    def build(self, memory: Sequence[Array], alone: bool) -> None:
        """Make the programs, with memory for each lane, which no other stage uses if this one is ``alone``."""
        lanes = zip(self._ranges, memory, strict=False)
        self._lanes = [Lane(ranges, self._cut, self._tiles, self._layouts, own, alone) for ranges, own in lanes]
        totals = self._lanes[0].totals if self._lanes else {}
        self._after = Executable(Layout(self._cut.after, self._given | totals, self._axis))
        # The program, where the batch is one, and the outputs.
        self.whole = None if self._lanes else self._before
        self._results = [] if self._lanes else [self._before.array_of(node) for node in self.outputs]

    @property
    def phases(self) -> list[Phase]:
        """What runs before the tiles, the tiles by their size, and what runs after them; or the batch as one program."""
        if not self._lanes:
            return [Phase("whole", 1, self._count, self._before)]
        tiles = [
            Phase("tile", times, size, *next(lane.first_of(size) for lane in self._lanes if size in lane.programs))
            for size, times in sorted(Counter(self.sizes).items(), reverse=True)
        ]
        before, after = (Phase(n, 1, self._count, p) for n, p in (("before", self._before), ("after", self._after)))
        return [before, *tiles, after]

    @property
    def nbytes(self) -> int:
        """How much memory it holds, without that of the tiles, which stages share."""
        ends = (self._before, self._after) if self._lanes else (self._before,)
        own = sum(end.nbytes + end.layout.arena.size for end in ends) + sum(lane.nbytes for lane in self._lanes)
        return own + sum(array.nbytes for array in self._kept.values())

    def run(self, values: Values) -> list[Array]:
        """Return the outputs for the values of leaves."""
        self._before.fill(values)
        self._before.run()
        if not self._lanes:
            return self._results
        results = {n: self._kept[n] if n in self._kept else np.empty(n.shape, n.dtype) for n in self._each}
        if not self._has_run and len(self._lanes) > 1:
            # What an operation imports when it first runs, it imports in the caller's thread and no other: a thread
            # that imports while the process ends, or while another thread imports, can wait for ever.
            program, samples = self._lanes[0].first_of(self.sizes[0])
            program.fill(values, samples)
            program.run()
        self._has_run = True
        run_all([partial(lane.run, values, results) for lane in self._lanes])
        for node, total in self._lanes[0].totals.items():
            for lane in self._lanes[1:]:
                np.add(total, lane.totals[node], total)
            if self._cut.found[node].state is MEAN:
                np.divide(total, self._count, total)
        self._after.run()
        return [results[node] if node in results else self._after.array_of(node) for node in self.outputs]


def _lying(node: Node, samples_axis: int | None) -> Array:
    """Return memory for a node of the whole batch, its axes in the order of a tile's."""
    strides = strides_in(memory_order(node.shape, samples_axis), node.shape, node.dtype.itemsize)
    return np.ndarray(node.shape, node.dtype, np.empty(max(node.nbytes, 1), np.uint8), 0, strides)


class Lane:
    """What one thread computes: its tiles, as ranges of samples, and its own sums over them."""

    def __init__(
        self,
        ranges: Sequence[slice],
        cut: Split,
        tiles: Mapping[int, Tile],
        layouts: Mapping[int, Layout],
        memory: Array,
        alone: bool,
    ) -> None:
        self.ranges = ranges
        # The sums over a single tile stay where it computes them.
        kept = alone and len(ranges) == 1
        own = {} if kept else {node: np.empty(node.shape, node.dtype) for node in cut.totals}
        self.totals, self.nbytes = own, sum(total.nbytes for total in own.values())
        sizes = {samples.stop - samples.start for samples in ranges}
        # The program for each size of tile, its parts of outputs with the axis of the samples, and its totals.
        self.programs: dict[int, tuple[Executable, list[tuple[Node, int, Array]], list[tuple[Array, Array]]]] = {}
        for size in sizes:
            program, outputs = Executable(layouts[size], memory), tiles[size].outputs
            parts = [(node, tiles[size].axes[outputs[node]], program.arrays[outputs[node]]) for node in cut.each]
            found = {node: program.arrays[outputs[node]] for node in cut.totals}
            self.programs[size] = program, parts, [(found[node], total) for node, total in own.items()]
            self.nbytes += program.nbytes
            if kept:
                self.totals = found

    def first_of(self, size: int) -> tuple[Executable, slice]:
        """Return the program for tiles of a size and the samples of the first of them."""
        first = next(samples for samples in self.ranges if samples.stop - samples.start == size)
        return self.programs[size][0], first

    def run(self, values: Values, results: Mapping[Node, Array]) -> None:
        """Compute the tiles one after another; write parts of outputs and add up totals."""
        with np.errstate(all="ignore"):
            for index, samples in enumerate(self.ranges):
                program, parts, totals = self.programs[samples.stop - samples.start]
                program.fill(values, samples)
                program.run()
                for node, axis, array in parts:
                    copy_samples(results[node][(slice(None),) * axis + (samples,)], array)
                for array, total in totals:
                    if index:
                        np.add(total, array, total)
                    else:
                        np.copyto(total, array)


def _dealt(sizes: Sequence[int], threads: int) -> list[list[slice]]:
    """Return the tiles, as ranges of samples, dealt to threads in blocks.

    >>> _dealt([2, 2, 1], 2)
    [[slice(0, 2, None), slice(2, 4, None)], [slice(4, 5, None)]]
    """
    ends = list(itertools.accumulate(sizes))
    ranges = [slice(end - size, end) for size, end in zip(sizes, ends, strict=True)]
    lanes = min(threads, len(ranges))
    share, more = divmod(len(ranges), lanes)
    firsts = [lane * share + min(lane, more) for lane in range(lanes + 1)]
    return [ranges[first:last] for first, last in itertools.pairwise(firsts)]
