"""A picture of the results: each framework's best figure as a multiple of tinygraph's, and the growth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .report import TITLES, Results
from .targets import FRAMEWORKS, comparisons


def plot(results: Results, path: Path) -> None:
    """Draw everything that was measured into a file. Needs matplotlib."""
    from matplotlib.figure import Figure

    found = comparisons(results.measured)
    suites = [suite for suite in TITLES if any(c.suite == suite for c in found)]
    panels = len(suites) + 2 * bool(results.growth)
    if not panels:
        return
    figure = Figure(figsize=(10, 3.6 * panels), layout="constrained")
    axes = list(figure.subplots(panels, 1, squeeze=False)[:, 0])
    for panel, suite in zip(axes, suites, strict=False):
        plot_ratios(panel, [c for c in found if c.suite == suite])
        panel.set_title(TITLES[suite])
    for panel, unit in zip(axes[len(suites) :], ("s", "bytes"), strict=False):
        plot_growth(panel, [g for g in results.growth if g.unit == unit], unit)
    figure.savefig(path, dpi=120)


def plot_ratios(axes: Any, found: list[Any]) -> None:
    """Draw bars: for each piece of work, how many times ours each framework takes, and the targets as marks."""
    works = list(dict.fromkeys(c.work for c in found))
    frameworks = [f for f in FRAMEWORKS if any(c.framework == f for c in found)]
    width = 0.8 / len(frameworks)
    for place, framework in enumerate(frameworks):
        chosen = [c for c in found if c.framework == framework]
        at = [works.index(c.work) + (place - (len(frameworks) - 1) / 2) * width for c in chosen]
        axes.bar(at, [c.ratio for c in chosen], width, label=framework)
        marks = [(x, c.target) for x, c in zip(at, chosen, strict=True) if c.target is not None]
        for x, target in marks:
            axes.hlines(target, x - width / 2, x + width / 2, color="black")
    axes.axhline(1, color="gray", linestyle=":")
    axes.set_yscale("log")
    axes.set_ylabel("times tinygraph's (line: target)")
    axes.set_xticks(range(len(works)), [work.replace(", ", "\n") for work in works], fontsize=8)
    axes.legend()


def plot_growth(axes: Any, series: list[Any], unit: str) -> None:
    """Draw time or memory against size, both on logarithmic axes."""
    for g in series:
        axes.loglog(g.sizes, g.values, marker="o", markersize=3, label=f"{g.axis}: {g.what} ({g.exponent:.2f})")
    axes.set_title("Growth (exponent)")
    axes.set_xlabel("size")
    axes.set_ylabel("seconds" if unit == "s" else "bytes")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
