"""The picture in the page of the notes: its cards have numbers, and a click on a card goes to its step."""

from pathlib import Path
from typing import Any

import pytest

import tinygraph as tg
from tests.tools.browser import Visit, number, write
from tinygraph.describe.subject import subject_of
from tinygraph.draw.cards import Drawing
from tinygraph.notes.notes import samples_of
from tinygraph.notes.stepper.picture import ROOM, with_room


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tg.load_model("xor"), tmp_path_factory.mktemp("map") / "notes.html")


@pytest.fixture
def visit(chromium: Any, file: Path) -> Any:
    found = Visit(chromium, file)
    yield found
    assert found.said == []
    found.close()


def card_of(symbol: str) -> str:
    """Return the selector of the card of a tensor of the model ``xor``."""
    cards = tg.draw(tg.load_model("xor")).drawing.cards
    return next(f"#stepper .map #step-{card.id}" for card in cards if card.symbol == symbol)


def numbers(visit: Visit, symbol: str) -> list[str]:
    return visit.page.locator(f"{card_of(symbol)} text").all_text_contents()


def test_a_card_has_room_for_each_number_and_six_places_for_an_image() -> None:
    x = tg.tensor([[1.0] * 40] * 40, name="x")
    drawing: Drawing = with_room(tg.draw((x * 2.0).sum()).drawing)
    large, _, single = drawing.cards
    assert large.value is not None
    assert [len(row) for row in large.value.numbers] == [2, 2, 2]
    assert single.value is not None
    assert single.gradient_value is not None
    assert single.value.line == single.gradient_value.line == ROOM


def test_a_click_on_a_card_goes_to_its_step_and_a_second_to_the_next_of_the_card(visit: Visit) -> None:
    page = visit.page
    page.click(card_of("Z"))
    assert "forward" in visit.text("#stepper .place")
    assert visit.text("#stepper .rule").strip().startswith("𝑍")
    page.click("#stepper button:text-is('Backward pass')")
    page.click(card_of("Z"))
    first = visit.step()
    assert "backward" in visit.text("#stepper .place")
    page.click(card_of("Z"))
    assert visit.step() == first + 1


def test_a_click_on_a_leaf_shows_its_numbers_or_its_gradient(visit: Visit) -> None:
    page = visit.page
    page.click(card_of("W2"))
    assert visit.text("#stepper .origin h4").startswith("W2[0,0] = ")
    page.click("#stepper button:text-is('Backward pass')")
    page.click(card_of("W2"))
    assert "W2.T" not in visit.text("#stepper .place")
    assert page.get_attribute("#stepper input[type=range]", "aria-valuetext").endswith("dW2 = h^T dZ")


def test_cards_are_reached_by_the_keyboard(visit: Visit) -> None:
    page = visit.page
    page.focus(card_of("Z"))
    page.keyboard.press("Enter")
    assert visit.text("#stepper .rule").strip().startswith("𝑍")
    page.keyboard.press("ArrowDown")
    other = page.evaluate("document.activeElement.id")
    assert page.locator(f"#stepper .map g.card#{other}:not({card_of('Z')})").count() == 1
    page.keyboard.press("ArrowUp")
    assert page.locator(f"{card_of('Z')}:focus").count() == 1
    assert page.locator("#stepper .map g.card[tabindex='0']").count() == 1
    assert page.locator("#stepper .map svg").get_attribute("role") == "group"


@pytest.mark.parametrize("sample", ["sample 0", "sample 2"])
def test_cards_have_the_numbers_of_the_chosen_sample(visit: Visit, sample: str) -> None:
    page = visit.page
    page.select_option("#stepper .choices select >> nth=0", sample)
    page.locator("#steps h2").click()
    page.keyboard.press("End")
    model = tg.load_model("xor")
    subject = subject_of(model, samples_of(model)[sample])
    values = {subject.labels[node]: array for node, array in subject.values.items()}
    value, slope = (number(text[2:]) for text in numbers(visit, "Z") if text.startswith("= "))
    assert value == pytest.approx(values["Z"].item(), rel=1e-3)
    assert slope == pytest.approx(values["dZ"].item(), rel=1e-3)
    (cost,) = (number(text[2:]) for text in numbers(visit, "cost")[-5:-3] if text.startswith("= "))
    assert cost == pytest.approx(values["cost"].item(), rel=1e-3)


def test_numbers_appear_when_their_step_has_come_and_not_while_they_are_predicted(visit: Visit) -> None:
    page = visit.page
    assert "= " in numbers(visit, "Z")
    assert "= 0" in numbers(visit, "y")
    page.click(card_of("Z"))
    assert numbers(visit, "Z").count("= ") == 1
    page.click("#stepper button:text-is('Backward pass')")
    page.click("#stepper button:has-text('Next')")
    assert numbers(visit, "Z").count("= ") == 0
    page.check("#predict-mode")
    assert numbers(visit, "Z").count("= ") == 1


def test_large_arrays_are_images_that_change_with_the_sample(chromium: Any, tmp_path: Path) -> None:
    visit = Visit(chromium, write(tg.load_model("notes_cnn"), tmp_path / "cnn.html"), "#step=25")
    images = visit.page.locator("#stepper .map image")
    first = [image.get_attribute("href") for image in images.all()]
    assert len(first) > 10
    assert all(address.startswith("data:image/png") for address in first)
    visit.page.select_option("#stepper .choices select >> nth=0", "sample 3")
    assert [image.get_attribute("href") for image in images.all()] != first
    assert visit.said == []
    visit.close()


def test_a_gradient_that_the_update_uses_says_so_and_the_loss_that_it_is_differentiated(visit: Visit) -> None:
    page = visit.page
    page.evaluate("location.hash = '#step=1&at=dB2:0'")
    told = visit.text("#stepper .uses")
    assert told == "The update uses it: B2[0] goes from 0 to −0.5."
    page.evaluate("location.hash = '#step=1&at=cost:'")
    assert visit.text("#stepper .uses") == "It is what the backward pass differentiates."
    shapes = page.evaluate("window.tinygraph.arrays.map(({ name, shape }) => [name, shape])")
    for name, shape in shapes:
        page.evaluate(f"location.hash = '#step=1&at={name}:{'.'.join('0' * len(shape))}'")
        assert "No number" not in visit.text("#stepper .uses"), name


def test_new_values_of_state_begin_the_next_step(chromium: Any, tmp_path: Path) -> None:
    visit = Visit(chromium, write(tg.load_model("notes_cnn_norm"), tmp_path / "norm.html"))
    names = visit.page.evaluate("window.tinygraph.arrays.map((each) => each.name)")
    state = next(name for name in names if name.endswith("_new"))
    shape = visit.page.evaluate(f"window.tinygraph.arrays[{names.index(state)}].shape")
    visit.page.evaluate(f"location.hash = '#step=1&at={state}:{'.'.join('0' * len(shape))}'")
    assert visit.text("#stepper .uses") == "The next step of training begins with it."
    visit.close()


@pytest.mark.parametrize("width", [390, 1280])
def test_the_slider_is_as_wide_as_the_board(chromium: Any, file: Path, width: int) -> None:
    visit = Visit(chromium, file)
    visit.page.set_viewport_size({"width": width, "height": 900})
    slider, board = (
        visit.page.locator(f"#stepper {part}").bounding_box()["width"] for part in ("input[type=range]", ".board")
    )
    assert slider > 0.9 * board
    visit.close()
