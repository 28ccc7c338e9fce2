"""Measuring: turns that alternate between processes, medians and quartiles, and a control that tells a noisy machine."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .process import PeerProcess, Site

# Longer than the threads of OpenBLAS, OpenMP and XLA spin after their work.
PAUSE = 0.1
STEADY = 0.10
QUIET = 0.05
WARM_UP = 3
STAT = Path("/proc/stat")


@dataclass(frozen=True)
class Settings:
    """How long and how often things are measured, on how many threads, and who takes part."""

    rounds: int
    threads: int
    peers: tuple[str, ...]
    quick: bool = False
    seconds: float = 0.25
    kernels: str = "numpy"


@dataclass(frozen=True)
class Spread:
    """The median of repeated measurements, their quartiles, and the measurements."""

    median: float
    low: float
    high: float
    samples: tuple[float, ...]

    @classmethod
    def of(cls, samples: Sequence[float]) -> Spread:
        """Summarise measurements."""
        low, median, high = quartiles(samples)
        return cls(median, low, high, tuple(samples))

    @property
    def relative(self) -> float:
        """The distance between the quartiles, as a share of the median."""
        return (self.high - self.low) / self.median


def quartiles(samples: Sequence[float]) -> tuple[float, float, float]:
    """Return the lower quartile, the median and the upper quartile.

    >>> quartiles([5.0, 1.0, 3.0, 2.0, 4.0])
    (2.0, 3.0, 4.0)
    """
    if len(samples) == 1:
        return (samples[0],) * 3
    low, median, high = statistics.quantiles(samples, n=4, method="inclusive")
    return low, median, high


@dataclass(frozen=True)
class Control:
    """How a fixed piece of work went between the rounds, and the share of the cores that others had while we slept."""

    seconds: Spread
    others: float | None

    @property
    def noisy(self) -> bool:
        """Whether the machine was too busy, or too unsteady, for the figures beside this to be trusted.

        PyTorch's times suffer most: its threads wait for one another after every operation.
        """
        return self.seconds.relative > STEADY or (self.others or 0.0) > QUIET


@dataclass(frozen=True)
class Measured:
    """What one piece of work takes, in seconds or bytes, by peer; who failed, and why; and the control in between."""

    suite: str
    work: str
    unit: str
    peers: Mapping[str, Spread]
    failures: Mapping[str, str] = field(default_factory=dict)
    control: Control | None = None


def timed(site: Site, seconds: float) -> float:
    """Do the work of a site over and over for some seconds, and return the seconds that it takes once."""
    count, start = 0, time.perf_counter()
    while True:
        site.work()
        count += 1
        elapsed = time.perf_counter() - start
        if elapsed >= seconds:
            return elapsed / count


def warmed(site: Site) -> None:
    """Do the work a few times before anything is measured, until nothing is compiled or allocated for the first time."""
    for _ in range(WARM_UP):
        site.work()


def fixed_work(site: Site) -> float:
    """Return the seconds that a fixed piece of NumPy takes: matrix products, and copies of memory."""
    import numpy as np

    a, memory = np.ones((512, 512), np.float32), np.ones(1 << 23, np.float32)
    product, copy = a @ a, memory.copy()
    start = time.perf_counter()
    for _ in range(10):
        np.matmul(a, a, out=product)
        np.copyto(copy, memory)
    return time.perf_counter() - start


class Controller:
    """The control: does its fixed work in a process that is there anyway, and looks who else is at work on our cores."""

    def __init__(self, process: PeerProcess) -> None:
        self.process = process
        self.samples: list[float] = []
        self.busy = self.elapsed = 0

    def check(self) -> None:
        """Take one sample of both."""
        time.sleep(PAUSE)
        self.samples.append(self.process.ask(fixed_work))
        time.sleep(PAUSE)
        before = core_ticks()
        time.sleep(PAUSE)
        after = core_ticks()
        self.busy += after[0] - before[0]
        self.elapsed += after[1] - before[1]

    @property
    def control(self) -> Control:
        """What was found so far."""
        return Control(Spread.of(self.samples), self.busy / self.elapsed if self.elapsed else None)


def core_ticks() -> tuple[int, int]:
    """Return how long our cores have been busy, and how long they have been there, in ticks; zeros where nobody tells."""
    if not STAT.exists() or not hasattr(os, "sched_getaffinity"):
        return 0, 0
    ours = {f"cpu{core}" for core in os.sched_getaffinity(0)}
    rows = [line.split() for line in STAT.read_text().splitlines()]
    cores = [[int(ticks) for ticks in row[1:9]] for row in rows if row[0] in ours]
    idle = sum(core[3] + core[4] for core in cores)
    total = sum(map(sum, cores))
    return total - idle, total


def alternate(
    processes: Mapping[str, PeerProcess], controller: Controller, settings: Settings, parts: int = 1
) -> dict[str, Spread]:
    """Return the times of the work that processes hold, each having its turn in every round, with the control in between.

    Every second round goes the other way round, so that nobody always follows the same neighbour.
    """
    samples: dict[str, list[float]] = {name: [] for name in processes}
    for round_number in range(settings.rounds):
        for name in list(processes)[:: -1 if round_number % 2 else 1]:
            time.sleep(PAUSE)
            samples[name].append(processes[name].ask(timed, settings.seconds) / parts)
        controller.check()
    return {name: Spread.of(times) for name, times in samples.items()}
