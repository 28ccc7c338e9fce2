"""Cutting a batch into tiles: how each node treats the samples, what a tile computes, and how large a tile is."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygraph.engines.plan.kernels.normal import CALLS_IN_BLOCKS
from tinygraph.engines.plan.kernels.products import SummedProduct
from tinygraph.engines.plan.kernels.rows import RowConvolution, RowKernelGradient, RowSpread
from tinygraph.engines.plan.node import Node, constant, make
from tinygraph.graph import AFTER, MEAN, SHARED, TOTAL, Each, Tiling, Use, topological
from tinygraph.ops.elementwise.arithmetic import multiply
from tinygraph.ops.linear.linear import Matmul

# The arrays of a tile should fit into the cache of one core.
CACHE_BYTES = 2 << 20
# With fewer samples, loops cost more than the cache saves. Threads wait for one another between calls (for Python's lock), so
# they need longer calls than one thread alone.
LEAST_SAMPLES, LEAST_SAMPLES_ON_THREADS = 32, 64

# Rough costs of today's machines, in seconds; only their proportions matter. On one thread, of an element of a result, of one
# in a block that stays in the cache, and of a product that is added:
_ELEMENT, _CACHED, _OPERATION = 0.3e-9, 0.1e-9, 1 / 50e9
# Of each thread beyond the first: its start, the wait for Python's lock around a call of NumPy, the copy of an element of the
# batch into or out of its tiles, and an element of a matrix that is multiplied in every tile (BLAS packs it each time) or that
# is a sum over them (each thread has one, to be added). Chosen so that no network of ``python -m tests.benchmarks --only
# further`` is slower on two threads than on one.
START, WAIT, MOVE, SHARE = 0.3e-3, 5e-6, 1e-9, 1.8e-9
# About a third of what is computed is alive at a time; a batch with more bytes than this is cut wherever it can be.
LARGEST_WHOLE = 128 << 20


def analyse(outputs: Sequence[Node], samples: Mapping[Any, int], count: int) -> dict[Node, Tiling] | None:
    """Return how every node is tiled, or ``None`` where a batch of ``count`` cannot be cut.

    ``samples`` gives the axis of the samples of each leaf that holds them.

    >>> import tinygraph as tg
    >>> from tinygraph.engines.plan.node import nodes_of
    >>> x = tg.input("x", (4, 3))
    >>> found = analyse(nodes_of(tg.Graph(tg.sum(x * 2.0))), {x: 0}, 4)
    >>> [tiling.state for tiling in found.values()]
    [Each(axis=0), <Part.SHARED: 'shared'>, Each(axis=0), <Part.TOTAL: 'total'>]
    >>> analyse(nodes_of(tg.Graph(x.T @ x)), {x: 0}, 4) is None, analyse(nodes_of(tg.Graph(tg.max(x))), {x: 0}, 4) is None
    (False, True)
    """
    found: dict[Node, Tiling] = {}
    for node in topological(outputs):
        tiling = tiling_of(node, found, samples, count)
        if tiling is None:
            return None
        found[node] = tiling
    return found


def tiling_of(node: Node, found: Mapping[Node, Tiling], samples: Mapping[Any, int], count: int) -> Tiling | None:
    """Return how a node is tiled, given how its inputs are, or ``None`` where it cannot be."""
    if node.op is None:
        return Tiling(Each(samples[node.leaf]) if node.leaf in samples else SHARED)
    states = tuple(found[x].state for x in node.inputs)
    if not any(isinstance(state, Each) for state in states):
        return Tiling(SHARED if set(states) <= {SHARED} else AFTER)
    if {TOTAL, MEAN, AFTER} & set(states):
        return None
    tiling = Use(node, states, count).tiling()
    if tiling is None or tiling.state not in (TOTAL, MEAN):
        return tiling
    # A sum in float16 is taken in a wider type; the sums of tiles are rounded to float16 before they are added. A mean that
    # is rounded to an integer is not the sum of parts.
    return None if node.dtype.char == "e" or (tiling.state is MEAN and node.dtype.kind not in "fc") else tiling


@dataclass(frozen=True)
class Tile:
    """The graph of one tile.

    ``outputs`` maps a node of the batch to the node of the tile that is its part, ``axes`` a node of the tile to the axis of
    its samples, and ``rows`` a node that holds rows of an array known before the tiles to the node of that array.
    """

    outputs: Mapping[Node, Node]
    axes: Mapping[Node, int]
    rows: Mapping[Node, Node]


@dataclass(frozen=True)
class Split:
    """A graph cut along its batch.

    ``before`` is computed once, for the tiles and for what comes after; ``each`` and ``totals`` come from the tiles;
    ``after`` are the outputs that are not made of the parts of tiles.
    """

    found: Mapping[Node, Tiling]
    count: int
    before: tuple[Node, ...]
    each: tuple[Node, ...]
    totals: tuple[Node, ...]
    after: tuple[Node, ...]

    def tile(self, size: int) -> Tile:
        """Return the graph of a tile of ``size`` samples."""
        new: dict[Node, Node] = {}
        axes: dict[Node, int] = {}
        rows: dict[Node, Node] = {}
        wanted = (*self.each, *self.totals)
        for node in topological(wanted):
            tiling, shape = self.found[node], node.shape
            if tiling.state is SHARED:
                new[node] = node
                continue
            for x in (node.inputs[place] for place in tiling.sliced):
                rows.setdefault(x, Node((size, *x.shape[1:]), x.dtype, tensors=x.tensors))
            inputs = tuple(rows[x] if i in tiling.sliced else new[x] for i, x in enumerate(node.inputs))
            op = node.op if tiling.for_tile is None else tiling.for_tile(size)
            axis = tiling.state.axis if isinstance(tiling.state, Each) else None
            if axis is not None:
                shape = (*shape[:axis], size, *shape[axis + 1 :])
            new[node] = Node(shape, node.dtype, op, inputs, leaf=node.leaf, tensors=node.tensors)
            if axis is not None:
                axes[new[node]] = axis
            if tiling.state is MEAN:
                # A sum, to be divided by the size of the batch at the end: exact, and not finite, where that of the batch is.
                number = constant(np.asarray(size, node.dtype))
                new[node] = make(multiply.op(), new[node], number, tensors=node.tensors)
        return Tile({node: new[node] for node in wanted}, axes, {part: x for x, part in rows.items()})


def split(outputs: Sequence[Node], found: Mapping[Node, Tiling], count: int) -> Split:
    """Return a graph whose nodes are tiled as in ``found``, cut along its batch of ``count``."""
    nodes = topological(outputs)
    shared = {node for node in nodes if found[node].state is SHARED}
    reaching = [node for node in nodes if node not in shared] + list(outputs)
    needed = {x for node in reaching for x in (*node.inputs, node) if x in shared and x.value is None}
    return Split(
        found,
        count,
        tuple(node for node in nodes if node in needed),
        tuple(dict.fromkeys(node for node in outputs if isinstance(found[node].state, Each))),
        tuple(node for node in nodes if found[node].state in (TOTAL, MEAN)),
        tuple(dict.fromkeys(node for node in outputs if not isinstance(found[node].state, Each))),
    )


def tile_sizes(found: Mapping[Node, Tiling], count: int, threads: int) -> list[int]:
    """Return the sizes of the tiles: as equal as can be, the same number for each thread, small enough for the cache."""
    each = [node for node, tiling in found.items() if isinstance(tiling.state, Each) and node.op is not None]
    if count < 2 or not each:
        return [count]
    # About a third of what is computed is alive at a time.
    nbytes = sum(node.nbytes for node in each) / count / 3
    lanes = _lanes(found, min(threads, count))
    least = LEAST_SAMPLES if lanes == 1 else LEAST_SAMPLES_ON_THREADS
    largest = max(least, int(CACHE_BYTES / max(nbytes, 1)))
    tiles = lanes * math.ceil(count / lanes / largest)
    return [count // tiles + (i < count % tiles) for i in range(tiles)]


def operations(node: Node) -> int:
    """Return the number of multiplications and additions of a matrix product; 0 for other nodes.

    >>> import tinygraph as tg
    >>> from tinygraph.engines.plan.node import nodes_of
    >>> operations(nodes_of(tg.Graph(tg.input("x", (2, 3)) @ tg.input("y", (3, 4))))[0])
    48
    """
    if isinstance(node.op, Matmul):
        return 2 * node.size * node.inputs[0].shape[-1]
    if isinstance(node.op, SummedProduct):
        return 2 * node.size * node.inputs[0].size // max(node.shape[0], 1)
    if isinstance(node.op, (RowConvolution, RowSpread)):
        return 2 * node.size * node.inputs[0].shape[-1]
    if isinstance(node.op, RowKernelGradient):
        dy = node.inputs[1]
        return 2 * node.size * math.prod(dy.shape) // max(dy.shape[1], 1)
    return 0


def seconds(found: Mapping[Node, Tiling], threads: int) -> float:
    """Return the cost of a graph on some threads: each has a share of the work, and waits for the others."""
    work = sum(node.size * _element(node) + operations(node) * _OPERATION for node in found)
    calls = sum(CALLS_IN_BLOCKS.get(type(node.op), 1) for node in found if node.op is not None)
    factors = sum(x.size for node in found if operations(node) for x in node.inputs if found[x].state is SHARED)
    sums = sum(node.size for node, tiling in found.items() if tiling.state in (TOTAL, MEAN))
    each = START + calls * WAIT + _moving(found) + (factors + sums) * SHARE
    return work / threads + (threads - 1) * each


def _moving(found: Mapping[Node, Tiling]) -> float:
    return MOVE * sum(node.size for node, tiling in found.items() if node.op is None and isinstance(tiling.state, Each))


def _lanes(found: Mapping[Node, Tiling], threads: int) -> int:
    """Return how many threads are the fastest."""
    cost = {lanes: seconds(found, lanes) for lanes in range(1, threads + 1)}
    return min(cost, key=cost.__getitem__)


def whole_is_faster(stages: Sequence[Mapping[Node, Tiling]], threads: int) -> bool:
    """Whether a batch is computed faster as a whole than in stages, whose tiles copy what earlier stages leave.

    A batch that would need too much memory at a time is not. ``python -m tests.benchmarks --only further set_aside`` has
    networks with batch statistics.
    """
    if sum(node.nbytes for found in stages for node in found) / 3 > LARGEST_WHOLE:
        return False
    copying = sum(map(_moving, stages[1:]))
    cut = sum(seconds(found, _lanes(found, threads)) for found in stages)
    return sum(seconds(found, 1) for found in stages) < cut + copying


def _element(node: Node) -> float:
    return max(_ELEMENT, CALLS_IN_BLOCKS.get(type(node.op), 0) * _CACHED)
