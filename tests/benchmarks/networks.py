"""Training steps and inference of the networks, everybody on the same batches from the same weights."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from .contest import Work, contest
from .measure import Measured, Settings
from .process import Site
from .workloads import CASES, Array, find_workload

BATCHES = 4
CHECKED_STEPS = 3


def train(site: Site, name: str, size: int) -> dict[str, Array]:
    """Make training steps the work of a site; return the first losses, and how far they have moved the parameters."""
    workload = find_workload(name)
    initial = workload.parameters()
    step, parameters = site.peer.training(workload, initial, size)
    batches = itertools.cycle(workload.batches(size, BATCHES))
    site.work = lambda: step(*next(batches))
    losses = [site.work() for _ in range(CHECKED_STEPS)]
    moved = {f"changes of {n}": array.reshape(initial[n].shape) - initial[n] for n, array in parameters().items()}
    return {"losses": np.array(losses), **moved}


def infer(site: Site, name: str, size: int) -> dict[str, Array]:
    """Make inference the work of a site; return the first predictions."""
    workload = find_workload(name)
    predict = site.peer.inference(workload, workload.parameters(), size)
    batches = itertools.cycle([x for x, _ in workload.batches(size, BATCHES)])
    site.work = lambda: predict(next(batches))
    return {"predictions": site.work()}


def measure_steps(settings: Settings) -> Iterator[Measured]:
    """Yield the times of a training step of each network and number of samples."""
    return contest("step", (Work(label(*case), train, case) for case in CASES), settings)


def measure_inference(settings: Settings) -> Iterator[Measured]:
    """Yield the times of the predictions of each network and number of samples."""
    return contest("inference", (Work(label(*case), infer, case) for case in CASES), settings)


def label(name: str, size: int) -> str:
    """Return what a case is called in tables.

    >>> label("lenet5", 32)
    'lenet5, batch 32'
    """
    return f"{name}, batch {size}"
