"""Folded cards of the picture in the page: a click opens the picture of what they hold."""

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tests.tools.browser import Visit, write
from tinygraph.describe.fold import Part, parts_of, parts_within
from tinygraph.describe.subject import Item, subject_of
from tinygraph.notes.stepper import picture
from tinygraph.notes.stepper.picture import View, views_of


def mixed(count: int) -> tg.Tensor:
    """A graph in which no equations repeat themselves, with uses that skip some."""
    rng = np.random.default_rng(0)
    made = [tg.tensor(np.ones((1, 2)), name="x")]
    for i in range(count):
        function = (tg.tanh, tg.sin, tg.sigmoid, tg.relu)[int(rng.integers(4))]
        y = function(made[-1]) if i % 3 else made[-1] + made[max(0, len(made) - 1 - int(rng.integers(2, 6)))]
        made.append(y)
    return made[-1].sum()


def items_of(view: View) -> list[int]:
    return sorted(i for part in view.parts for i in part.items)


def assert_every_item_can_be_reached(items: list[Item], parts: list[Part]) -> None:
    waiting = [part for part in parts if len(part.items) > 1]
    while waiting:
        part = waiting.pop()
        inner = parts_within(items, part)
        assert 1 < len(inner) <= 60
        assert sorted(i for each in inner for i in each.items) == sorted(part.items)
        waiting += (each for each in inner if len(each.items) > 1)


@pytest.mark.parametrize("name", ["residual", "notes_cnn_norm"])
def test_blocks_open_to_their_equations(name: str) -> None:
    items = list(subject_of(tg.load_model(name)).items)
    assert_every_item_can_be_reached(items, parts_of(items, "all"))


def test_runs_and_repetitions_open_until_each_card_is_one_equation() -> None:
    for y in (mixed(3000), chain(900)):
        items = list(subject_of(y).items)
        assert_every_item_can_be_reached(items, parts_of(items))


def chain(count: int) -> tg.Tensor:
    y = tg.tensor([0.5], name="x")
    for _ in range(count):
        y = tg.sin(y)
    return y.sum()


def test_views_hold_every_item_once_at_each_level_and_are_drawn_or_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture, "MOST_DRAWN", 100)
    first, *others = views_of(subject := subject_of(mixed(120)))
    assert first.svg
    assert items_of(first) == list(range(len(subject.items)))
    folded = [part for part in first.parts if len(part.items) > 1]
    assert [items_of(view) for view in others if view.parent == 0] == [sorted(part.items) for part in folded]
    assert all(view.lines and not view.svg for view in others)
    assert others[0].lines[0].partition(" = ")[0] == subject.items[others[0].parts[0].last].symbol


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(mixed(70), tmp_path_factory.mktemp("views") / "notes.html")


def test_a_folded_card_opens_and_its_cards_go_to_their_steps(chromium: Any, file: Path) -> None:
    visit = Visit(chromium, file)
    page = visit.page
    folded = page.locator("#stepper .map g.folded")
    assert folded.count() > 10
    folded.nth(5).click()
    title = visit.text("#stepper .map .path").partition("›")[2].strip()
    last = title.partition(" … ")[2]
    assert page.locator("#stepper .map g.folded").count() == 0
    step = visit.step()
    page.locator("#stepper .map g.card.node").last.click()
    assert visit.step() > step
    assert page.get_attribute("#stepper input[type=range]", "aria-valuetext").split(": ")[1].startswith(f"{last} = ")
    # Numbers are on these cards too, and the step after the last of them is in the picture of all.
    assert page.locator("#stepper .map rect.ring").count() == 1
    page.click("#stepper button:has-text('Next')")
    assert page.locator("#stepper .map .path").count() == 0
    assert folded.count() > 10
    assert visit.said == []
    visit.close()


def test_the_keyboard_opens_a_card_and_goes_back(chromium: Any, file: Path) -> None:
    visit = Visit(chromium, file)
    page = visit.page
    page.locator("#stepper .map g.folded").nth(3).focus()
    page.keyboard.press("Enter")
    assert page.locator("#stepper .map .path button").count() == 1
    page.focus("#stepper .map .path button")
    page.keyboard.press("Enter")
    assert page.locator("#stepper .map .path").count() == 0
    assert "card" in page.evaluate("document.activeElement.getAttribute('class')")
    visit.close()


def test_a_list_of_equations_leads_to_their_steps(
    chromium: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture, "MOST_DRAWN", 50)
    visit = Visit(chromium, write(mixed(70), tmp_path / "listed.html"))
    visit.page.locator("#stepper .map g.folded").nth(5).click()
    line = visit.page.locator("#stepper .map .lines button").nth(1)
    symbol = line.inner_text().partition(" = ")[0]
    line.click()
    assert f": {symbol} = " in visit.page.get_attribute("#stepper input[type=range]", "aria-valuetext")
    assert visit.said == []
    visit.close()


def test_thousands_of_formulas_are_text(monkeypatch: pytest.MonkeyPatch) -> None:
    module = import_module("tinygraph.notes.html")
    monkeypatch.setattr(module, "MOST_FORMULAS", 10)
    page = tg.notes(chain(20)).html()
    backward = page.partition('<section id="backward"')[2].partition("</section>")[0]
    assert "<code>dt1 = dt2 * cos(t1)</code>" in backward
    assert "<math" not in backward


def test_the_caption_says_how_a_folded_card_opens() -> None:
    svg = views_of(subject_of(chain(70)))[0].svg
    assert "a click on a folded card opens it" in svg
    assert "fold=" not in svg
