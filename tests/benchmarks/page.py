"""The page of the derived notes: how long it takes to write it, how large it is, and how soon a browser shows it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .measure import Measured, Settings, Spread, timed
from .peers import OURS
from .process import PeerProcess, Site

MODEL = "notes_cnn"
TURNS = 5
WRITING, SIZE = f"writing the notes of {MODEL} as HTML", f"the file of {MODEL} (wanted: below 2 MB)"
OPENING = "opening it in Chromium, until its first step is drawn (wanted: below 1 s)"


def writing(site: Site) -> None:
    """Make writing the page the work."""
    import tinygraph as tg

    model = tg.load_model(MODEL)
    site.work = lambda: tg.notes(model).html()


def written(site: Site) -> str:
    """Return the page."""
    return str(site.work())


def openings(text: str, turns: int) -> Iterator[float]:
    """Yield the seconds from the start of loading to a page that is complete, its script done, in a browser that runs."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        path = Path(folder) / "notes.html"
        path.write_text(text, encoding="utf-8")
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for _ in range(turns + 1):
            page = browser.new_page()
            page.goto(path.as_uri())
            page.wait_for_selector("#stepper td")
            yield page.evaluate("performance.getEntriesByType('navigation')[0].domComplete") / 1000
            page.close()
        browser.close()


def measure_page(settings: Settings) -> Iterator[Measured]:
    """Yield seconds and bytes; of opening only where Chromium and Playwright are installed."""
    turns = min(settings.rounds, TURNS)
    with PeerProcess(OURS, settings.threads) as process:
        process.ask(writing)
        text = process.ask(written)
        spread = Spread.of([process.ask(timed, settings.seconds) for _ in range(turns)])
    yield Measured("page", WRITING, "s", {OURS: spread})
    yield Measured("page", SIZE, "bytes", {OURS: Spread.of([float(len(text.encode()))])})
    try:
        found = list(openings(text, turns))
    except Exception as error:
        print(f"no browser: {type(error).__name__}: {error}".splitlines()[0])
        return
    # The first opening warms the browser up.
    yield Measured("page", OPENING, "s", {OURS: Spread.of(found[1:])})
