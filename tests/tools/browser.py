"""Pages of notes in a real browser: Debian's Chromium, driven by Playwright; tests are skipped where either is missing."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import tinygraph as tg

BROWSER = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
# Where the browser belongs to the machine, as in the project's own check, its absence is a failure.
WANTED = bool(os.environ.get("TINYGRAPH_BROWSER"))


def playwright() -> Any:
    if WANTED:
        import playwright.sync_api as found
    else:
        found = pytest.importorskip("playwright.sync_api")
    if BROWSER is None and not WANTED:
        pytest.skip("no Chromium is installed")
    return found


@contextmanager
def browser() -> Iterator[Any]:
    with playwright().sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield found
        found.close()


def write(thing: Any, path: Path) -> Path:
    tg.notes(thing, path)
    return path


class Visit:
    """A page that was opened, with all that it complained of and asked for."""

    def __init__(self, browser: Any, path: Path, hash: str = "", **options: Any) -> None:
        self.context = browser.new_context(viewport={"width": 1400, "height": 1000}, reduced_motion="reduce", **options)
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: self.said.append(dialog.message))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri() + hash)
        if options.get("java_script_enabled", True):
            # The data of the page are unpacked after it was loaded.
            self.page.wait_for_function("window.tinygraph || !document.getElementById('stepper')")

    def text(self, selector: str) -> str:
        return str(self.page.inner_text(selector))

    def step(self) -> int:
        return int(re.match(r"\d+", self.text("#stepper .place"))[0])  # type: ignore[index]

    def cell(self, name: str, *index: int) -> Any:
        return self.page.locator(f'#stepper td[title^="{name}[{",".join(map(str, index))}] ="]').first

    def close(self) -> None:
        self.context.close()


def number(text: str) -> float:
    return float(text.replace("−", "-").replace(",", ""))
