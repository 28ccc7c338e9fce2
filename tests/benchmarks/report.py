"""Reports: aligned tables, which are Markdown too, and the same as JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from statistics import geometric_mean
from typing import Any

from .floor import Floor
from .growth import Growth
from .measure import Measured, Settings, Spread
from .peers import OURS
from .targets import FRAMEWORKS, Comparison, compared, comparisons

PACKAGES = ("numpy", "numba", "torch", "jax", "jaxlib", "mygrad", "autograd", "onnxruntime")
TITLES = {
    "step": "Training step: forward, backward and update",
    "inference": "Inference",
    "job": "The main job, as a whole process",
    "recording": "Recording, time per node",
    "memory": "Memory: growth of a training process at its peak",
    "drawing": "Drawing a picture",
    "page": "The page of the derived notes",
    "further": "Training step of work of every kind",
    "further_inference": "Inference of work of every kind",
}


@dataclass
class Results:
    """Everything that one run has measured."""

    settings: Settings
    measured: list[Measured] = field(default_factory=list)
    growth: list[Growth] = field(default_factory=list)
    floors: list[Floor] = field(default_factory=list)

    def add(self, result: Measured | Growth | Floor) -> None:
        """Put a result where it belongs."""
        for kind, kept in ((Measured, self.measured), (Growth, self.growth), (Floor, self.floors)):
            if isinstance(result, kind):
                kept.append(result)

    def write(self, path: Path) -> None:
        """Write everything as JSON."""
        path.write_text(json.dumps(self.record(), indent=1) + "\n", encoding="utf-8")

    def record(self) -> dict[str, Any]:
        """Return everything as dicts, lists and numbers."""
        return {
            "machine": machine(),
            "settings": asdict(self.settings),
            "measured": [asdict(m) | {"noisy": m.control is not None and m.control.noisy} for m in self.measured],
            "comparisons": [asdict(c) | {"reached": c.reached} for c in comparisons(self.measured)],
            "growth": [asdict(growth) for growth in self.growth],
            "floors": [asdict(floor) | {"seconds": floor.seconds, "ratio": floor.ratio} for floor in self.floors],
        }


def machine() -> dict[str, Any]:
    """Return what was measured on: processor, cores, system, and the versions of what is installed."""
    found = {name: version for name in PACKAGES if (version := installed_version(name))}
    return {"processor": processor(), "cores": os.cpu_count(), "python": platform.python_version()} | found


def installed_version(package: str) -> str | None:
    """Return the version of a package, or ``None`` where it is missing."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def processor() -> str:
    """Return the name of the processor, as far as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(": ")[2] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as a Markdown table that is aligned for the eye; the first row is the heading.

    >>> print(table([["work", "time"], ["step", "1.0 ms"]]))
    | work | time   |
    |------|--------|
    | step | 1.0 ms |
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def summary(measured: Iterable[Measured]) -> str:
    """Return one suite beside the best setting of each framework: its figure, the ratio, and the target if there is one."""
    measured = list(measured)
    present = [framework for framework in FRAMEWORKS if any(compared(m, framework) for m in measured)]
    rows = [["", OURS, *[f"{framework}, best" for framework in present]]]
    for m in measured:
        ours = quantity(m.peers[OURS].median, m.unit) if OURS in m.peers else "-"
        rows.append([m.work, ours, *[verdict(m, compared(m, framework)) for framework in present]])
    return table(rows)


def verdict(measured: Measured, comparison: Comparison | None) -> str:
    """Return the figure of a framework's best setting, as a multiple of ours, and whether that was wanted."""
    if comparison is None:
        return "-"
    figure = f"{quantity(measured.peers[comparison.best].median, measured.unit)} ({comparison.ratio:.2f}x"
    noisy = ", NOISY" if measured.control is not None and measured.control.noisy else ""
    if comparison.target is None:
        return f"{figure}{noisy})"
    return f"{figure}, {'reached' if comparison.reached else 'MISSED'}: {comparison.target:g}x{noisy})"


def details(measured: Iterable[Measured]) -> str:
    """Return one suite with every peer: medians, and the quartiles around them; what there is more of goes down."""
    measured = list(measured)
    names = list(dict.fromkeys(name for m in measured for name in m.peers))
    cells = [[spread_text(m.peers[name], m.unit) if name in m.peers else "-" for m in measured] for name in names]
    rows = [["", *[m.work for m in measured]], *[[name, *row] for name, row in zip(names, cells, strict=True)]]
    return table(list(zip(*rows, strict=True)) if len(measured) > len(names) else rows)


def spread_text(spread: Spread, unit: str) -> str:
    """Return a median and its quartiles.

    >>> spread_text(Spread.of([0.001, 0.002, 0.003]), "s")
    '2 ms (1.5 to 2.5)'
    """
    scale, name = scale_of(spread.median, unit)
    return f"{spread.median / scale:.3g} {name} ({spread.low / scale:.3g} to {spread.high / scale:.3g})"


def quantity(value: float, unit: str) -> str:
    """Return seconds or bytes with three digits.

    >>> quantity(0.00123, "s"), quantity(5 << 20, "bytes")
    ('1.23 ms', '5 MiB')
    """
    scale, name = scale_of(value, unit)
    return f"{value / scale:.3g} {name}"


def scale_of(value: float, unit: str) -> tuple[float, str]:
    """Return the unit that suits a value, and its size."""
    if unit == "bytes":
        return float(1 << 20), "MiB"
    return next(((scale, name) for scale, name in ((1.0, "s"), (1e-3, "ms")) if value >= scale), (1e-6, "µs"))


def control_line(measured: Iterable[Measured]) -> str:
    """Return how steady and how quiet the machine was, at its worst."""
    controls = [m.control for m in measured if m.control is not None]
    if not controls:
        return ""
    steady = max(control.seconds.relative for control in controls)
    others = max(control.others or 0.0 for control in controls)
    advice = ": NOISY, not to be trusted where it says so" if any(control.noisy for control in controls) else ""
    return (
        f"control: quartiles at most {steady:.1%} of the median apart, "
        f"others at work on at most {others:.1%} of the cores{advice}"
    )


def mean_lines(measured: Iterable[Measured]) -> str:
    """Return the geometric mean and the least of each framework's figures, as multiples of ours, where there are several."""
    lines = []
    for framework in FRAMEWORKS:
        ratios = [c.ratio for m in measured if (c := compared(m, framework)) is not None]
        if len(ratios) > 1:
            lines.append(f"{framework}: geometric mean {geometric_mean(ratios):.2f}x, least {min(ratios):.2f}x")
    return "\n".join(lines)


def growth_table(growth: Iterable[Growth]) -> str:
    """Return the fitted exponents."""
    rows = [["against", "of", "from", "to", "at the largest", "exponent"]]
    for g in growth:
        wanted = "" if g.target is None else f" ({'reached' if g.exponent <= g.target else 'MISSED'}: {g.target:g})"
        what = f"{g.what}, {'time' if g.unit == 's' else 'memory'}"
        ends = [f"{g.fitted_from:,}", f"{g.sizes[-1]:,}"]
        rows.append([g.axis, what, *ends, quantity(g.values[-1], g.unit), f"{g.exponent:.2f}{wanted}"])
    return table(rows)


def floor_table(floors: Iterable[Floor]) -> str:
    """Return how far each training step is above its floor."""
    rows = [["", "operations", "machine's rate", "floor", "step", "ratio"]]
    for f in floors:
        millions, rate = f"{f.operations / 1e6:,.1f} million", f"{f.rate / 1e9:.0f} GFLOP/s"
        rows.append([f.work, millions, rate, quantity(f.seconds, "s"), spread_text(f.step, "s"), f"{f.ratio:.2f}x"])
    return table(rows)


def text(results: Results) -> str:
    """Return everything as tables."""
    parts = []
    for suite, title in TITLES.items():
        measured = [m for m in results.measured if m.suite == suite]
        if measured:
            failures = [f"failed at {m.work}: {failure}" for m in measured for failure in m.failures.values()]
            notes = "\n".join(filter(None, [mean_lines(measured), control_line(measured), *failures]))
            parts += [f"## {title}", summary(measured), details(measured), notes]
    if results.growth:
        parts += ["## Growth: exponents, fitted to the larger half of the sizes", growth_table(results.growth)]
    if results.floors:
        parts += ["## The floor: a training step's products at the rate of a large one", floor_table(results.floors)]
    return "\n\n".join(filter(None, parts))
