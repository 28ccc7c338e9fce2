"""Memory: by how much a training process grows, each network in a fresh process of each peer."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from .further import BY_NAME, LEARNING_RATE, NETWORKS, Network
from .measure import Measured, Settings, Spread
from .networks import BATCHES, label
from .peers import PEERS
from .process import PeerError, PeerProcess, Site
from .workloads import CASES, find_workload

STEPS = 10
REPEATS = 2
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def bytes_grown(work: Callable[[], object]) -> int:
    """Return how much resident memory some work takes at its peak, beyond what is taken before it.

    From Linux's own account of the process, whose peak is first set back to the present: what ``getrusage`` reports
    would include the peaks of importing, and of the process that started this one.
    """
    CLEAR.write_text("5")
    before = resident("VmRSS")
    work()
    return resident("VmHWM") - before


def resident(field: str) -> int:
    """Return a line of the process's account in bytes: ``VmRSS``, resident now, or ``VmHWM``, the most there was."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def train_some(site: Site, name: str, size: int, warm: bool) -> int:
    """Return the growth of training for some steps; data and first weights are there before it.

    ``warm`` trains on single samples before that, so that what a library loads on first use is there, too.
    """
    if warm:
        some_steps(site, name, 1)()
    return bytes_grown(some_steps(site, name, size))


def some_steps(site: Site, name: str, size: int) -> Callable[[], None]:
    """Return the work of training for some steps, with the data and the first weights that it starts from."""
    if name in BY_NAME:
        return _some_steps_further(site, replace(BY_NAME[name], batch=size))
    workload = find_workload(name)
    parameters, batches = workload.parameters(), workload.batches(size, BATCHES)

    def work() -> None:
        step, _ = site.peer.training(workload, parameters, size)
        for batch in itertools.islice(itertools.cycle(batches), STEPS):
            step(*batch)

    return work


def _some_steps_further(site: Site, network: Network) -> Callable[[], None]:
    parameters, batches = network.parameters(), network.batches(BATCHES)

    def work() -> None:
        step, _ = site.peer.further_training(network, parameters, LEARNING_RATE)
        for batch in itertools.islice(itertools.cycle(batches), STEPS):
            step(batch)

    return work


def measure_memory(settings: Settings) -> Iterator[Measured]:
    """Yield the peak growth of each network and number of samples: from the import, and from a first small training."""
    if sys.platform != "linux":
        raise PeerError("memory is measured on Linux only")
    for warm, since in ((False, "since import"), (True, "since a first batch 1")):
        others = [(network.name, network.batch) for network in NETWORKS] if warm else []
        for name, size in (*CASES, *others):
            if size > 1 or not warm:
                work = f"{name if name in BY_NAME else label(name, size)}, {since}"
                yield Measured("memory", work, "bytes", peaks(settings, name, size, warm))


def peaks(settings: Settings, name: str, size: int, warm: bool) -> dict[str, Spread]:
    """Return the growth of each peer's training, every time in a fresh process."""
    grown: dict[str, list[float]] = {peer: [] for peer in settings.peers if "memory" in PEERS[peer].suites}
    for _ in range(min(settings.rounds, REPEATS)):
        for peer, measured in grown.items():
            with PeerProcess(peer, settings.threads) as process:
                measured.append(process.ask(train_some, name, size, warm))
    return {peer: Spread.of(measured) for peer, measured in grown.items()}
