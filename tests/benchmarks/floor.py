"""The floor: how long a step would take if its products of matrices ran at the machine's best rate and the rest were free."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .measure import PAUSE, Settings, Spread, timed, warmed
from .networks import label, train
from .peers import OURS, PLAIN
from .process import PeerProcess, Site
from .workloads import CASES, find_workload

SIDE = 1024
PRODUCTS = 5


@dataclass(frozen=True)
class Floor:
    """A training step's floating-point operations, the rate of a large product in operations per second, and the times."""

    work: str
    operations: int
    rate: float
    step: Spread

    @property
    def seconds(self) -> float:
        """The least time for the operations at that rate."""
        return self.operations / self.rate

    @property
    def ratio(self) -> float:
        """How many times the floor a step takes."""
        return self.step.median / self.seconds


def products(site: Site) -> float:
    """Return the seconds of one float32 product of two square matrices of 1,024 rows."""
    a = np.random.default_rng(0).random((SIDE, SIDE), dtype=np.float32)
    start = time.perf_counter()
    for _ in range(PRODUCTS):
        a @ a
    return (time.perf_counter() - start) / PRODUCTS


def count_operations(site: Site, name: str, size: int) -> int:
    """Return the operations of all convolutions and products of a step, forward and backward: two for each multiply-add."""
    import tinygraph as tg

    from .peers.tinygraph_peer import declare

    workload = find_workload(name)
    model = declare(workload, workload.parameters())
    loss = model.record(size).loss
    gradients = tg.grad(loss, list(model.parameters.values()))
    return sum(operations(node) for node in tg.Graph([loss, *gradients]).nodes)


def operations(node: Any) -> int:
    """Return the floating-point operations of a node that is a product of matrices in some form; 0 for any other.

    >>> import tinygraph as tg
    >>> operations(tg.input("a", (2, 3)) @ tg.input("b", (3, 5)))
    60
    """
    if node.op is None:
        return 0
    if node.op.name == "matmul":
        return 2 * node.size * node.inputs[0].shape[-1]
    # The three forms of a convolution: y from x and k, x from y and k, k from x and y. Each element of y takes a whole kernel.
    y, k = {
        "conv2d": lambda: (node, node.inputs[1]),
        "conv_transpose2d": lambda: node.inputs,
        "conv2d_kernel_gradient": lambda: (node.inputs[1], node),
    }.get(node.op.name, lambda: (None, None))()
    return 2 * y.size * math.prod(k.shape[1:]) if y is not None else 0


def measure_floor(settings: Settings) -> Iterator[Floor]:
    """Yield the floor of a training step of each network and number of samples."""
    with PeerProcess(OURS, settings.threads) as ours, PeerProcess(PLAIN, settings.threads) as numpy_alone:
        for case in CASES:
            ours.ask(train, *case)
            ours.ask(warmed)
            numpy_alone.ask(products)
            rates, steps = [], []
            for _ in range(settings.rounds):
                time.sleep(PAUSE)
                rates.append(2 * SIDE**3 / numpy_alone.ask(products))
                time.sleep(PAUSE)
                steps.append(ours.ask(timed, settings.seconds))
            counted = numpy_alone.ask(count_operations, *case)
            yield Floor(label(*case), counted, Spread.of(rates).median, Spread.of(steps))
