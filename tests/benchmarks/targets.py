"""What the measurements should show: how many times as fast, or as small, as the best setting of each other framework."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .measure import Measured
from .peers import OURS
from .recording import BOTH

# Settings of one framework are told from one another by what follows its name.
FRAMEWORKS = ("torch", "jax", "mygrad", "autograd", "micrograd", "onnxruntime")

# The suite, what the work's name begins with, the framework, and the least ratio of its figure to ours.
TARGETS = (
    ("step", "notes_cnn_28", "torch", 2.0),
    ("step", "notes_cnn_28", "jax", 2.5),
    ("step", "notes_cnn_28", "mygrad", 10.0),
    ("step", "lenet5", "torch", 1.5),
    ("step", "wide_cnn", "torch", 1.25),
    ("inference", "", "torch", 1.0),
    ("job", "", "torch", 3.0),
    ("recording", BOTH, "torch", 1.0),
    ("memory", "", "torch", 1.0),
    ("further", "", "torch", 0.5),
    ("further_inference", "", "onnxruntime", 0.4),
)


@dataclass(frozen=True)
class Comparison:
    """The best setting of a framework beside tinygraph: its figure as a multiple of ours, and whether that is enough."""

    suite: str
    work: str
    framework: str
    best: str
    ratio: float
    target: float | None

    @property
    def reached(self) -> bool | None:
        """Whether the target is reached; ``None`` without one."""
        return None if self.target is None else self.ratio >= self.target


def comparisons(results: Iterable[Measured]) -> list[Comparison]:
    """Return the comparisons with every framework that was measured."""
    return [
        comparison
        for measured in results
        for framework in FRAMEWORKS
        if (comparison := compared(measured, framework)) is not None
    ]


def compared(measured: Measured, framework: str) -> Comparison | None:
    """Return the comparison with a framework, or ``None`` if it or tinygraph was not measured.

    >>> from .measure import Spread
    >>> times = {"tinygraph": Spread.of([1.0]), "torch": Spread.of([4.0]), "torch.compile": Spread.of([3.0])}
    >>> compared(Measured("step", "lenet5, batch 32", "s", times), "torch")
    Comparison(suite='step', work='lenet5, batch 32', framework='torch', best='torch.compile', ratio=3.0, target=1.5)
    """
    medians = {name: spread.median for name, spread in measured.peers.items() if name.startswith(framework)}
    if not medians or OURS not in measured.peers:
        return None
    best = min(medians, key=medians.__getitem__)
    ratio = medians[best] / measured.peers[OURS].median
    return Comparison(measured.suite, measured.work, framework, best, ratio, _target(measured, framework))


def _target(measured: Measured, framework: str) -> float | None:
    for suite, start, name, ratio in TARGETS:
        if measured.suite == suite and name == framework and measured.work.startswith(start):
            return ratio
    return None
