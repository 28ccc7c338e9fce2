"""The engines under test, by name. An engine is a function from a problem to the arrays of its outputs.

``ENGINES`` are compared by default. Those of ``SLOW`` compile for a tenth of a second or more, so they are asked for by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import tinygraph as tg
from tinygraph.engines.plan import compiled
from tinygraph.engines.plan import tiles as costs

from .problem import Arrays, Problem

Engine = Callable[[Problem], Arrays]
LARGEST_TILE = 3


def run(problem: Problem) -> Arrays:
    """Return the plain evaluation of the graph, which is the meaning of a problem."""
    return tg.run(problem.graph, problem.feeds)


def recorded(problem: Problem) -> Arrays:
    """Return the values that tensors have when they are recorded from tensors with values."""
    return tuple(y.value for y in problem.build([tg.tensor(x) for x in problem.inputs]))


def on_arrays(problem: Problem) -> Arrays:
    """Return what operations and rules give when they are called on arrays."""
    assert problem.on_arrays is not None, "this is recorded in any case"
    return problem.on_arrays(problem.inputs)


def plan(problem: Problem) -> Arrays:
    """Return what the plan computes from the batch in one piece."""
    with tiles_of(None):
        return tg.compile(problem.graph, problem.batch or None, threads=1)(problem.feeds)


def tiles(problem: Problem, threads: int = 1) -> Arrays:
    """Return what the plan computes from tiles of at most three samples."""
    with tiles_of(LARGEST_TILE):
        return tg.compile(problem.graph, problem.batch or None, threads)(problem.feeds)


def threads(problem: Problem) -> Arrays:
    """Return what the plan computes from tiles of at most three samples on two threads."""
    return tiles(problem, threads=2)


ENGINES: dict[str, Engine] = {
    "arrays": on_arrays,
    "recorded": recorded,
    "plan": plan,
    "tiles": tiles,
    "threads": threads,
}


def numba(problem: Problem) -> Arrays:
    """Return what the plan computes from tiles of at most three samples, with generated kernels."""
    with tiles_of(LARGEST_TILE):
        return tg.compile(problem.graph, problem.batch or None, threads=1, kernels="numba")(problem.feeds)


def xla(problem: Problem) -> Arrays:
    """Return what XLA computes, one program for each problem."""
    return tg.compile(problem.graph, problem.batch or None, engine="xla")(problem.feeds)


SLOW: dict[str, Engine] = {"numba": numba, "xla": xla}
ALL = ENGINES | SLOW


@contextmanager
def tiles_of(largest: int | None) -> Iterator[None]:
    """Within this context the plan cuts a batch, where it may, into tiles of at most so many samples, or of all."""

    def sizes(found: object, count: int, threads: int) -> list[int]:
        number = -(-count // largest) if largest else 1
        return [count // number + (i < count % number) for i in range(number)] if count else [count]

    before, limit = compiled.tile_sizes, costs.LARGEST_WHOLE
    compiled.tile_sizes, costs.LARGEST_WHOLE = sizes, 0
    try:
        yield
    finally:
        compiled.tile_sizes, costs.LARGEST_WHOLE = before, limit
