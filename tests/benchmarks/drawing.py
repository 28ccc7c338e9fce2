"""Drawing: what a picture costs beyond the layout engine's own time, and how long a large graph takes as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .measure import Measured, Settings, Spread, timed
from .peers import OURS
from .process import PeerProcess, Site

CARDS, NODES = 60, 10_000
SHAPE = (4, 16, 16)
TURNS = 5
ENGINE, BEYOND = f"{CARDS} cards with heat maps: the layout engine", f"{CARDS} cards: all the rest (wanted: below 2 s)"
FOLDED = f"{NODES:,} nodes, folded and drawn (wanted: below 10 s)"


def chain(length: int, start: Any) -> Any:
    """Return a chain of ``length`` operations, each on the one before, recorded on values, and the sum of the last."""
    import tinygraph as tg

    h = tg.tensor(start, name="x")
    for _ in range(length):
        h = tg.tanh(h)
    return h.sum()


def layout(site: Site) -> None:
    """Make the layout engine's part of a picture the work."""
    from tinygraph.draw import draw
    from tinygraph.draw.render import render

    dot = draw(chain(CARDS - 2, numbers()), fold="none").dot
    site.work = lambda: render(dot, "svg")


def beyond_layout(site: Site) -> None:
    """Make everything else in a picture the work: backward pass, record, DOT, and what is done to the SVG."""
    from tinygraph.draw import draw
    from tinygraph.draw.render import accessible, render

    last = chain(CARDS - 2, numbers())
    svg = render(draw(last, fold="none").dot, "svg").decode()

    def work() -> None:
        picture = draw(last, fold="none")
        if len(picture.drawing.cards) != CARDS or not picture.dot:
            raise ValueError(f"a picture of {len(picture.drawing.cards)} cards")
        accessible(svg, picture.drawing, "p")

    site.work = work


def folded(site: Site) -> None:
    """Make folding and drawing a large graph, as a whole, the work."""
    from tinygraph.draw import draw

    last = chain(NODES - 2, 0.5)
    site.work = lambda: draw(last).svg()


def numbers() -> Any:
    """Return an array that is drawn as several heat maps."""
    return np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)


WORKS: tuple[tuple[str, Callable[[Site], None]], ...] = ((ENGINE, layout), (BEYOND, beyond_layout), (FOLDED, folded))


def measure_drawing(settings: Settings) -> Iterator[Measured]:
    """Yield the seconds of each piece of work. A renderer must be installed."""
    with PeerProcess(OURS, settings.threads) as process:
        for name, prepare in WORKS:
            process.ask(prepare)
            turns = [process.ask(timed, settings.seconds) for _ in range(min(settings.rounds, TURNS))]
            yield Measured("drawing", name, "s", {OURS: Spread.of(turns)})
