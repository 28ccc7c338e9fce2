"""Recording: an expression of 10,000 numbers, computed and differentiated one small operation at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .contest import Work, contest
from .measure import Measured, Settings
from .process import Site
from .workloads import Array

RUNS, LINKS = 100, 33
NODES = RUNS * (3 * LINKS + 1)
VALUES = (0.7, 0.3)
BOTH = f"{NODES:,} nodes, forward and backward"
FORWARD = f"{NODES:,} nodes, forward alone"


def expression(tanh: Callable[[Any], Any], w: Any, x: Any) -> Any:
    """Return the sum of a hundred chains of ``h = tanh(h * w + x)``: 10,000 operations, the longest way 199 of them."""
    total = x
    for _ in range(RUNS):
        h = x
        for _ in range(LINKS):
            h = tanh(h * w + x)
        total = total + h
    return total


def forward(site: Site) -> dict[str, Array]:
    """Make computing the expression the work of a site."""
    site.work = lambda: site.peer.record(expression, *VALUES)
    return {}


def forward_and_backward(site: Site) -> dict[str, Array]:
    """Make computing and differentiating the expression the work of a site; return the gradients."""
    site.work = lambda: site.peer.record(expression, *VALUES)()
    return {"gradients": np.array(site.work())}


def measure_recording(settings: Settings) -> Iterator[Measured]:
    """Yield the times per node: forward and backward together, then forward alone."""
    works = [Work(BOTH, forward_and_backward, parts=NODES), Work(FORWARD, forward, parts=NODES)]
    return contest("recording", works, settings)
