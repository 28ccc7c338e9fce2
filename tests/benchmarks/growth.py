"""Growth: time and memory against batch, depth and image side, each point in a fresh process, with fitted exponents."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .measure import Settings, timed
from .memory import bytes_grown
from .networks import train
from .peers import OURS
from .process import PeerProcess, Site

BATCHES = (1, 4, 16, 64, 256, 1024, 4096)
DEPTHS = (10, 30, 100, 300, 1000, 3000, 10_000)
SIDES = (8, 16, 32, 64, 128)
SIDE_BATCH = 32
CHAIN_SHAPE = (32, 16)
TURNS = 5


@dataclass(frozen=True)
class Growth:
    """Measurements at growing sizes, and the exponent of the power of the size that fits the larger half of them best.

    Small sizes are left out of the fit, because they are ruled by what any size costs.
    """

    axis: str
    what: str
    unit: str
    sizes: tuple[int, ...]
    values: tuple[float, ...]
    exponent: float
    fitted_from: int
    target: float | None


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Return the slope of the least-squares line through the points on logarithmic axes.

    >>> round(exponent([1, 10, 100], [3, 300, 30_000]), 6)
    2.0
    """
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def train_batch(site: Site, size: int) -> None:
    """Make a training step of the notes' CNN on ``size`` samples the work."""
    train(site, "notes_cnn_28", size)


def train_side(site: Site, side: int) -> None:
    """Make a training step of the notes' CNN on images of ``side`` by ``side`` the work."""
    train(site, f"notes_cnn_{side}", SIDE_BATCH)


def links(h: Any, w: Any, x: Any, depth: int) -> Any:
    """Return a chain of ``depth`` operations, each on the result of the one before."""
    import tinygraph as tg

    steps = (lambda h: h * w, lambda h: h + x, tg.tanh)
    for place in range(depth):
        h = steps[place % 3](h)
    return h


def record_chain(site: Site, depth: int) -> None:
    """Make recording a chain on values and sweeping back through it the work."""
    import tinygraph as tg

    w, x = np.full(CHAIN_SHAPE[1], 0.7, np.float32), np.full(CHAIN_SHAPE, 0.3, np.float32)

    def work() -> None:
        leaf, start = tg.tensor(w), tg.tensor(x)
        links(start, leaf, start, depth).sum().backward()

    site.work = work


def chain_and_gradient(depth: int) -> list[Any]:
    """Return a chain's sum and its gradient, recorded with shapes alone."""
    import tinygraph as tg

    w, x = tg.parameter(np.full(CHAIN_SHAPE[1], 0.7, np.float32), name="w"), tg.input("x", CHAIN_SHAPE)
    total = links(x, w, x, depth).sum()
    return [total, *tg.grad(total, [w])]


def compile_chain(site: Site, depth: int) -> None:
    """Make compiling a chain and its gradient the work."""
    import tinygraph as tg

    outputs = chain_and_gradient(depth)
    site.work = lambda: tg.compile(outputs, CHAIN_SHAPE[0], site.peer.threads)


def run_chain(site: Site, depth: int) -> None:
    """Make running the plan of a chain and its gradient the work."""
    import tinygraph as tg

    plan = tg.compile(chain_and_gradient(depth), CHAIN_SHAPE[0], site.peer.threads)
    feeds = {"x": np.full(CHAIN_SHAPE, 0.3, np.float32)}
    site.work = lambda: plan(feeds)


# What is measured: the axis, what it is called, how it is prepared, the sizes, and the largest exponent wanted.
SERIES: tuple[tuple[str, str, Callable[[Site, int], None], tuple[int, ...], float | None], ...] = (
    ("batch", "training step of notes_cnn_28", train_batch, BATCHES, 1.05),
    ("depth", "recording and sweeping a chain", record_chain, DEPTHS, 1.05),
    ("depth", "compiling a chain", compile_chain, DEPTHS, 1.05),
    ("depth", "running the plan of a chain", run_chain, DEPTHS, 1.05),
    ("image side", f"training step of notes_cnn, batch {SIDE_BATCH}", train_side, SIDES, None),
)


def prepared(site: Site, prepare: Callable[[Site, int], None], size: int) -> int:
    """Prepare the work of a size, do it twice, and return the bytes that this took at most."""

    def work() -> None:
        prepare(site, size)
        site.work()
        site.work()

    return bytes_grown(work)


def measure_growth(settings: Settings) -> Iterator[Growth]:
    """Yield the growth of time and of memory of each series; the quick way leaves out the largest sizes."""
    for axis, what, prepare, sizes, target in SERIES:
        chosen = sizes[:-2] if settings.quick else sizes
        seconds, grown = [], []
        for size in chosen:
            with PeerProcess(OURS, settings.threads) as process:
                grown.append(process.ask(prepared, prepare, size))
                turns = [process.ask(timed, settings.seconds) for _ in range(min(settings.rounds, TURNS))]
                seconds.append(statistics.median(turns))
        for unit, values in (("s", seconds), ("bytes", grown)):
            start = len(chosen) // 2
            fitted = exponent(chosen[start:], values[start:])
            yield Growth(axis, what, unit, chosen, tuple(values), fitted, chosen[start], target)
