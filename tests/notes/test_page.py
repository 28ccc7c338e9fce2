"""The page of the derived notes in a real browser."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tests.tools.browser import Visit, number, write
from tinygraph.describe.subject import subject_of
from tinygraph.notes.notes import samples_of

HOSTILE = "</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tg.load_model("notes_cnn"), tmp_path_factory.mktemp("page") / "notes.html")


@pytest.fixture
def visit(chromium: Any, file: Path) -> Iterator[Visit]:
    found = Visit(chromium, file)
    yield found
    assert found.said == []
    assert [url for url in found.asked if not url.startswith("file:")] == []
    assert len(found.asked) == 1
    found.close()


def test_buttons_keys_and_slider_step_through_forward_and_backward(visit: Visit) -> None:
    page = visit.page
    assert visit.step() == 1
    assert page.locator("#stepper button", has_text="Previous").is_disabled()
    page.click("#stepper button:has-text('Next')")
    assert (visit.step(), page.url.partition("#")[2]) == (2, "step=2")
    page.locator("#steps h2").click()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    assert visit.step() == 3
    page.keyboard.press("End")
    last = int(page.get_attribute("#stepper input[type=range]", "max")) + 1
    assert visit.step() == last
    assert "backward" in visit.text("#stepper .place")
    page.fill("#stepper input[type=range]", "4")
    assert visit.step() == 5
    page.click("#stepper button:text-is('Backward pass')")
    assert page.get_attribute("#stepper input[type=range]", "aria-valuetext").endswith("backward: dcost = 1")


def test_every_step_shows_its_rule_rings_its_card_and_says_nothing_wrong(visit: Visit) -> None:
    page = visit.page
    last = int(page.get_attribute("#stepper input[type=range]", "max")) + 1
    rings = set()
    for step in range(1, last + 1):
        assert visit.step() == step
        assert page.locator("#stepper .rule math").count() >= 1
        assert page.locator("#stepper .grid.result").count() == 1
        ring = page.locator("#stepper .map rect.ring")
        assert ring.count() == 1
        rings.add((ring.get_attribute("x"), ring.get_attribute("y")))
        if step < last:
            page.click("#stepper button:has-text('Next')")
    assert len(rings) == 10


def test_what_is_to_come_is_grey_and_what_is_done_is_not(visit: Visit) -> None:
    page = visit.page
    cards = page.locator("#stepper .map g.card:not(.todo)").count()
    page.click("#stepper button:has-text('Next')")
    assert page.locator("#stepper .map g.card:not(.todo)").count() == cards + 1
    assert page.locator("#stepper .map g.edge.gradient:not(.todo)").count() == 0
    page.locator("#steps h2").click()
    page.keyboard.press("End")
    assert page.locator("#stepper .map g.card.todo").count() == 0
    assert page.locator("#stepper .map g.edge.gradient.todo").count() == 0


def test_an_element_of_dk1_is_the_sum_that_the_engine_has(visit: Visit) -> None:
    page = visit.page
    page.evaluate("location.hash = '#step=24&at=dK1:0.0.0.0'")
    visit.cell("dK1", 0, 0, 1, 2).click()
    assert page.url.partition("#")[2] == "step=24&at=dK1:0.0.1.2"
    model = tg.load_model("notes_cnn")
    subject = subject_of(model, samples_of(model)["sample 0"])
    values = {node.name: np.asarray(array) for node, array in subject.values.items() if node.name}
    # By the definition, and not by the engine's explanation: pixel (i + 1 - 1, j + 2 - 1) times the window's gradient.
    inp, dz = values["Inp"][0, 0], values["dZ1"][0, 0]
    products = [inp[i, j + 1] * dz[i, j] for i in range(8) for j in range(7)]
    assert visit.text("#stepper .origin .kind") == "= sum of 56 products"
    page.click("#stepper button.more")
    lines = page.locator("#stepper .terms li").all_inner_texts()
    shown = [number(line.rpartition("=")[2]) for line in lines]
    assert np.allclose(shown, products, rtol=1e-3, atol=1e-12)
    total, engine = map(number, re.findall(r"[−\d][\de.−]*\d", visit.text("#stepper .sum")))
    assert np.isclose(total, values["dK1"][0, 0, 1, 2], rtol=1e-3)
    assert np.isclose(engine, values["dK1"][0, 0, 1, 2], rtol=1e-3)


def test_every_sum_in_the_page_equals_its_number(visit: Visit) -> None:
    worst = visit.page.evaluate(
        """() => {
          const { arrays, numbersOf, originOf, sumOf } = window.tinygraph;
          let worst = 0, count = 0;
          arrays.forEach((array, a) => array.tableOf.forEach((_, scene) => {
            for (let at = 0; at < array.explained; at++) {
              const origin = originOf(a, at, scene);
              if (origin.formula) continue;
              const size = origin.parts.reduce((s, part) => s + part.count, 1) * 1e-6;
              const number = numbersOf(a, scene)[at];
              worst = Math.max(worst, Math.abs(sumOf(origin, scene) - number) / (Math.abs(number) + size));
              count++;
            }
          }));
          return [worst, count];
        }"""
    )
    assert worst[0] < 1e-2
    assert worst[1] > 30_000


def test_terms_lead_back_and_uses_lead_on(visit: Visit) -> None:
    page = visit.page
    page.evaluate("location.hash = '#step=24&at=dK1:0.0.1.2'")
    page.locator("#stepper .terms li").nth(2).locator("button.cell", has_text="dZ1[0,0,0,2]").click()
    assert "at=dZ1:0.0.0.2" in page.url
    assert "B12" in visit.text("#stepper .rule")
    assert re.search(r"open: Z1\[0,0,0,2\] = [\d.]+ > 0", visit.text("#stepper .reason"))
    page.locator("#stepper .reason button.cell").click()
    assert "at=Z1:0.0.0.2" in page.url
    assert "F1" in visit.text("#stepper .rule")
    page.locator("#stepper .uses button.cell", has_text="C1[0,0,0,2]").click()
    assert "at=C1:0.0.0.2" in page.url
    page.go_back()
    assert visit.text("#stepper .origin h4").startswith("Z1[0,0,0,2]")


def test_a_blocked_gate_and_a_lost_window_say_why(visit: Visit) -> None:
    page = visit.page
    page.evaluate("location.hash = '#step=1&at=dZ1:0.0.0.0'")
    assert visit.text("#stepper .reason").startswith("blocked: Z1[0,0,0,0] = 0 ≤ 0")
    page.evaluate("location.hash = '#step=1&at=dC2:0.0.0.0'")
    assert re.search(r"not the maximum of its window, which is C2\[0,0,1,0\]", visit.text("#stepper .reason"))


def test_marked_cells_are_those_of_the_terms(visit: Visit) -> None:
    page = visit.page
    page.evaluate("location.hash = '#step=3&at=P1:0.2.1.1'")
    marked = page.locator("#stepper td.term").evaluate_all("cells => cells.map(c => c.title.split(' ')[0])")
    assert sorted(marked) == ["C1[0,2,2,2]", "C1[0,2,2,3]", "C1[0,2,3,2]", "C1[0,2,3,3]"]
    page.locator("#stepper .terms li").nth(3).hover()
    assert page.locator("#stepper td.hot").get_attribute("title").startswith("C1[0,2,3,3]")


def test_the_address_brings_back_what_was_seen(chromium: Any, file: Path) -> None:
    visit = Visit(chromium, file, "#step=3&at=P1:0.2.1.1&numbers=3")
    assert visit.step() == 3
    assert visit.text("#stepper .origin h4").startswith("P1[0,2,1,1]")
    assert visit.page.input_value("#stepper .choices select >> nth=0") == "sample 1"
    assert visit.page.input_value("#stepper .choices select >> nth=1") == "yes"
    for nonsense in ("#step=999", "#step=x&at=nothing:1", "#step=2&at=Z1:9.9.9.9", "#step=&numbers=77"):
        visit.page.evaluate(f"location.hash = '{nonsense}'")
    assert visit.said == []
    visit.close()


def test_samples_and_the_update_change_the_numbers(visit: Visit) -> None:
    page = visit.page
    page.evaluate("location.hash = '#step=10'")

    def cost() -> float:
        return number(page.locator("#stepper .grid.result td").inner_text())

    first = cost()
    page.select_option("#stepper .choices select >> nth=1", "yes")
    assert cost() < first
    page.select_option("#stepper .choices select >> nth=0", "sample 2")
    page.select_option("#stepper .choices select >> nth=1", "")
    assert cost() != first


def test_predicting_hides_gradients_until_they_are_said_or_revealed(visit: Visit) -> None:
    page = visit.page
    page.evaluate("location.hash = '#step=22'")
    page.check("#predict-mode")
    assert "predict" in page.url
    name = page.locator("#stepper .predict h4").inner_text().split()[-1]
    array = page.evaluate("name => window.tinygraph.arrays.findIndex(each => each.name === name)", name)
    shape = page.evaluate("array => window.tinygraph.arrays[array].shape", array)
    # Neither the caption nor the cells tell the shape that is asked for.
    assert page.locator("#stepper .grid.result .shape").inner_text() == "(?)"
    assert page.locator("#stepper .grid.result td").count() == 0
    assert page.locator("#symbols table").is_hidden()
    page.fill("#predict-shape", "1, 2")
    page.press("#predict-shape", "Enter")
    assert f"it has {len(shape)} axes" in page.locator("#stepper output[for=predict-shape]").inner_text()
    page.fill("#predict-shape", ", ".join(map(str, shape)))
    page.press("#predict-shape", "Enter")
    assert page.evaluate("document.activeElement.id") == "predict-number"
    assert page.locator("#stepper .grid.result .shape").inner_text() == f"({', '.join(map(str, shape))})"
    assert set(page.locator("#stepper .grid.result td").all_inner_texts()) == {"?"}
    asked = re.search(r"\[([\d,]+)\]", page.inner_text("label[for=predict-number]"))[1].split(",")  # type: ignore[index]
    at = int(np.ravel_multi_index(tuple(map(int, asked)), shape))
    right = page.evaluate("([array, at]) => window.tinygraph.numbersOf(array, 0)[at]", [array, at])
    assert page.locator("#stepper .grid.result :is(.term, .read, .plus, .minus)").count() == 0
    answer = page.locator("#stepper output[for=predict-number]")
    for given, judged in (
        (-right, "the sign is not"),
        (right * 4, "4 times too large"),
        (right / 2, "2 times too small"),
        (right * 1.3, "too"),
        (right, "Right"),
    ):
        page.fill("#predict-number", repr(float(given)))
        page.press("#predict-number", "Enter")
        assert judged in answer.inner_text()
    page.fill("#predict-number", "a lot")
    page.press("#predict-number", "Enter")
    assert "no number" in answer.inner_text()
    assert visit.text("#stepper .score") == "0 of 2 right at once"
    assert page.locator("#numbers figure").first.is_hidden()
    page.click("#stepper button.reveal")
    assert "?" not in page.locator("#stepper .grid.result td").all_inner_texts()
    page.uncheck("#predict-mode")
    assert page.locator("#numbers figure").first.is_visible()


def test_a_hint_does_not_tell_the_number_and_a_long_sum_is_counted(visit: Visit) -> None:
    page = visit.page
    page.evaluate("location.hash = '#step=24&at=dK1:0.0.1.2&predict'")
    page.fill("#predict-shape", "8 1 3 3")
    page.press("#predict-shape", "Enter")
    assert "Of how many terms" in page.inner_text("label[for=predict-count]")
    assert page.locator("#stepper .hint-of .terms").is_hidden()
    page.click("#stepper .hint-of summary")
    number = page.evaluate("""() => {
      const { arrays, numbersOf } = window.tinygraph;
      return numbersOf(arrays.findIndex((each) => each.name === "dK1"), 0)[5];
    }""")
    assert f"{abs(number):.3g}" not in page.inner_html("#stepper .board")
    assert page.locator("#stepper .sum").count() == 0
    assert page.locator("#stepper .hint-of li").count() == 3
    assert "56" not in visit.text("#stepper .panel")
    page.fill("#predict-count", "64")
    page.press("#predict-count", "Enter")
    assert "there are fewer" in page.inner_text("output[for=predict-count]")
    page.fill("#predict-count", "56")
    page.press("#predict-count", "Enter")
    assert "Right" in page.inner_text("output[for=predict-count]")
    # An operand may be asked while the gradient is hidden.
    page.locator('#stepper td[title^="dZ1["]').first.click()
    assert visit.text("#stepper .origin h4").startswith("dZ1[")
    assert "?" not in visit.text("#stepper .origin h4")


def test_the_focus_is_never_lost(visit: Visit) -> None:
    page = visit.page

    def focus() -> str:
        return str(
            page.evaluate("document.activeElement.tagName + ' ' + document.activeElement.textContent.slice(0, 6)")
        )

    next_button = page.locator("#stepper button", has_text="Next")
    page.evaluate("location.hash = '#step=24'")
    next_button.focus()
    page.keyboard.press("Enter")
    assert next_button.is_disabled()
    assert focus() == "BUTTON ◀ Prev"
    page.evaluate("location.hash = '#step=4'")
    planes = page.locator("#stepper figure select").first
    planes.focus()
    planes.select_option("1")
    assert focus().startswith("SELECT")
    page.evaluate("location.hash = '#step=24&at=dK1:0.0.1.2'")
    page.click("#stepper button.more")
    assert focus() == "BUTTON Inp[0,"
    page.evaluate("location.hash = '#step=25&predict'")
    page.locator("#stepper .reveal").focus()
    page.keyboard.press("Enter")
    assert focus().startswith("TD")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.closest('table').querySelectorAll('td[tabindex=\"0\"]').length") == 1
    page.locator("#predict-mode").focus()
    page.keyboard.press("ArrowLeft")
    assert visit.step() == 24


def test_names_of_any_characters_stand_in_the_address(chromium: Any, tmp_path: Path) -> None:
    x = tg.tensor([[1.0, -2.0]], name="a b&=:#%/é'(x)[0]")
    path = write((tg.relu(x) * tg.tensor(3.0, name="50%")).sum(), tmp_path / "names.html")
    visit = Visit(chromium, path, "#step=1")
    visit.page.locator("#stepper .grid:not(.result) td").nth(1).click()
    address = visit.page.evaluate("location.hash")
    again = Visit(chromium, path, address)
    assert again.text("#stepper .origin h4") == "(a b&=:#%/é'(x)[0])[0,1] = −2"
    # A name that was typed as it is, with a sign that begins no code.
    bare = Visit(chromium, path, "#step=1&at=50%:")
    assert bare.text("#stepper .origin h4") == "50% = 3"
    assert visit.said + again.said + bare.said == []
    for each in (visit, again, bare):
        each.close()


def test_what_is_said_aloud_is_short(visit: Visit) -> None:
    visit.page.evaluate("location.hash = '#step=24&at=dK1:0.0.1.2'")
    assert re.fullmatch(r"dK1\[0,0,1,2\] = −[\d.]+; = sum of 56 products", visit.page.text_content("#stepper .spoken"))
    assert visit.page.locator("#stepper .panel[aria-live]").count() == 0


def test_uses_are_those_whose_terms_name_the_element(visit: Visit) -> None:
    visit.page.evaluate("location.hash = '#step=1&at=Inp:0.0.3.3'")
    subject = subject_of(model := tg.load_model("notes_cnn"), samples_of(model)["sample 0"])
    z = next(node for node in subject.nodes if node.name == "Z1")
    k = next(node for node in subject.nodes if node.name == "K1")
    # A pixel in the middle is seen by 9 windows for each of 8 kernels, and by 9 elements of each kernel's gradient.
    assert (z.shape[1], k.shape[2:]) == (8, (3, 3))
    told = visit.text("#stepper .uses")
    assert "Z1[0,0,2,2], Z1[0,0,2,3], Z1[0,0,2,4], Z1[0,0,3,2], Z1[0,0,3,3], Z1[0,0,3,4] and 66 more of Z1" in told
    assert "dK1[0,0,0,0]" in told
    assert "and 66 more of dK1" in told


def test_going_back_to_an_empty_address_goes_back_to_the_start(visit: Visit) -> None:
    page = visit.page
    page.locator("#stepper .grid.result td").first.click()
    assert "at=" in page.url
    page.go_back()
    assert visit.page.locator("#stepper .origin").count() == 0
    assert visit.step() == 1


def contrasts(page: Any) -> list[tuple[str, float]]:
    """Return the contrast of the text of cells, ids and answers with what is behind it, by the formula of WCAG 2.1."""
    found: list[tuple[str, float]] = [
        tuple(pair)
        for pair in page.evaluate("""() => {
          const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
          const paint = (colours) => {
            canvas.clearRect(0, 0, 1, 1);
            for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
            return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
          };
          const light = (rgb) => rgb.map((v) => v / 255).map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
            .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
          const texts = ["td", ".id", ".terms li", ".uses", ".reason"].map((each) => `#stepper ${each}`).join();
          return [...document.querySelectorAll(texts)].map((each) => {
            const behind = [];
            for (let at = each; at; at = at.parentElement) behind.unshift(getComputedStyle(at).backgroundColor);
            const both = [paint(behind), paint([...behind, getComputedStyle(each).color])];
            const [a, b] = both.map(light).sort((x, y) => y - x);
            return [each.title || each.className || each.textContent, (a + 0.05) / (b + 0.05)];
          });
        }""")
    ]
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_on_every_heat(chromium: Any, file: Path, scheme: str) -> None:
    visit = Visit(chromium, file, color_scheme=scheme)
    count = 0
    for step in ("24&at=dK1:0.0.1.2", "18&at=dZ2:0.0.0.3", "13&at=dW3:0.0"):
        visit.page.evaluate(f"location.hash = '#step={step}'")
        found = contrasts(visit.page)
        count += len(found)
        assert min(ratio for _, ratio in found) >= 4.5, min(found, key=lambda pair: pair[1])
    assert count > 300
    visit.close()


def test_numbers_that_are_not_finite_are_shown(chromium: Any, tmp_path: Path) -> None:
    p, t = tg.tensor([1.0, np.nan, 2.0], name="p"), tg.tensor([1.0, 2.0, np.inf], name="t")
    visit = Visit(chromium, write(tg.mse(p, t), tmp_path / "nan.html"), "#step=1&at=t1:")
    assert visit.text("#stepper .kind") == "= sum of 3 terms"
    assert visit.page.locator("#stepper .terms li").all_inner_texts()[2].endswith("= ∞")
    assert "add up to NaN; the engine's number is NaN." in visit.text("#stepper .sum")
    with np.errstate(all="ignore"):
        path = write(tg.log(tg.tensor([0.0, 1.0], name="x")).sum(), tmp_path / "log.html")
    other = Visit(chromium, path, "#step=5&at=dx:0&predict")
    other.page.fill("#predict-shape", "2")
    other.page.press("#predict-shape", "Enter")
    other.page.fill("#predict-number", "3")
    other.page.press("#predict-number", "Enter")
    assert "no finite number" in other.text("output[for=predict-number]")
    assert visit.said + other.said == []
    visit.close()
    other.close()


def test_arrays_without_elements_and_whole_numbers(chromium: Any, tmp_path: Path) -> None:
    empty = write((tg.relu(tg.tensor(np.zeros((2, 0, 3)), name="x")) * 2.0).sum(), tmp_path / "empty.html")
    visit = Visit(chromium, empty, "#step=7&predict")
    visit.page.fill("#predict-shape", "2, 0, 3")
    visit.page.press("#predict-shape", "Enter")
    assert "It has no elements." in visit.text("#stepper .grid.result")
    assert "NaN" not in visit.text("#stepper")
    n = tg.tensor(np.array([123456, 98765]), name="n")
    whole = write(tg.where(n > 100000, tg.tensor([1.0, 2.0], name="x"), 0.0).sum(), tmp_path / "whole.html")
    other = Visit(chromium, whole, "#step=1&at=t1:1")
    assert visit.said + other.said == []
    assert other.text("#stepper .kind") == "= whether n[1] = 98765 > 100000"
    visit.close()
    other.close()


def test_a_sum_of_numbers_that_the_page_does_not_hold_is_not_added_up(chromium: Any, tmp_path: Path) -> None:
    x = tg.tensor(np.ones((1, 20000)), name="x")
    y = x @ tg.tensor(np.ones((20000, 1)), name="w")
    visit = Visit(chromium, write(y.sum(), tmp_path / "large.html"), "#step=1&at=t1:0.0")
    assert "does not hold all the numbers" in visit.text("#stepper .sum")
    assert visit.said == []
    visit.close()


def test_the_keyboard_reaches_every_number(visit: Visit) -> None:
    page = visit.page
    page.evaluate("location.hash = '#step=3'")
    page.locator("#stepper .grid.result td").first.focus()
    before = page.evaluate("document.activeElement.title")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    after = page.evaluate("document.activeElement.title")
    assert (before.split("=")[0].strip(), after.split("=")[0].strip()) == ("P1[0,0,0,0]", "P1[0,0,1,1]")
    page.keyboard.press("Enter")
    assert visit.text("#stepper .origin h4").startswith("P1[0,0,1,1]")
    assert page.evaluate("document.activeElement.title").startswith("P1[0,0,1,1]")
    assert visit.step() == 3
    assert page.evaluate("document.activeElement.getAttribute('aria-selected')") == "true"


def test_without_a_script_the_document_the_picture_and_the_tables_remain(chromium: Any, file: Path) -> None:
    visit = Visit(chromium, file, java_script_enabled=False)
    page = visit.page
    assert not page.locator("#stepper").is_visible()
    assert "needs JavaScript" in visit.text("#steps")
    assert page.locator("#backward .equation math").count() >= 16
    assert page.locator("#picture .screen svg").is_visible()
    assert page.locator("#numbers table").first.is_visible()
    assert page.locator("#solution").is_visible()
    visit.close()


def test_formulas_are_mathml_that_the_browser_lays_out(visit: Visit) -> None:
    fraction = visit.page.locator("#backward math mfrac").first.bounding_box()
    assert fraction["height"] > 20
    assert visit.page.locator("math").count() > 100


def test_the_page_fits_a_phone(chromium: Any, file: Path) -> None:
    visit = Visit(chromium, file, "#step=24&at=dK1:0.0.1.2")
    visit.page.set_viewport_size({"width": 390, "height": 800})
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 390
    assert visit.page.locator("#stepper button:has-text('Next')").is_visible()
    visit.close()


def test_the_worksheet_is_numbered_and_formulas_have_the_width_of_a_phone(chromium: Any, file: Path) -> None:
    visit = Visit(chromium, file)
    visit.page.set_viewport_size({"width": 375, "height": 812})
    # A list item that scrolls would cut off the number that stands beside it.
    overflow = "items => items.map(item => getComputedStyle(item).overflowX)"
    assert set(visit.page.eval_on_selector_all(".tasks > li", overflow)) == {"visible"}
    short, long = (visit.page.locator(f'.equation[data-node="{name}"]').first for name in ("dP2", "dC2"))
    places = [[line.locator(part).bounding_box() for part in (".formula", ".ids")] for line in (short, long)]
    assert places[0][1]["y"] < places[0][0]["y"] + places[0][0]["height"]
    assert places[1][1]["y"] >= places[1][0]["y"] + places[1][0]["height"]
    assert places[1][0]["width"] > 320
    visit.close()


def test_a_wide_picture_scrolls_and_stays_readable(chromium: Any, tmp_path: Path) -> None:
    y = tg.tensor([1.0, -2.0], name="x")
    y = sum((tg.tanh(y * float(i)) for i in range(2, 15)), start=y).sum()
    visit = Visit(chromium, write(y, tmp_path / "wide.html"), "#step=9")
    for svg, least in ((".map svg", 0.75), (".picture.screen svg", 0.5)):
        natural = float(visit.page.get_attribute(svg, "width").removesuffix("pt")) * 4 / 3
        assert natural > 1200
        assert visit.page.locator(svg).bounding_box()["width"] >= least * natural - 1
    assert visit.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    visit.close()


def test_a_name_as_long_as_a_line_does_not_widen_the_page(chromium: Any, tmp_path: Path) -> None:
    y = tg.relu(tg.tensor([[1.0, -2.0]], name="a" * 200)) * tg.tensor([[3.0, 4.0]], name="b c" * 60)
    visit = Visit(chromium, write(y.sum(), tmp_path / "long.html"))
    assert visit.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    visit.close()


def test_the_page_is_small(file: Path) -> None:
    assert file.stat().st_size < 2_000_000


def test_names_from_a_model_are_text_and_never_markup(chromium: Any, tmp_path: Path) -> None:
    x = tg.tensor([[1.0, -2.0]], name=HOSTILE)
    y = tg.relu(x) * x
    path = write(y.sum(), tmp_path / "hostile.html")
    visit = Visit(chromium, path)
    last = int(visit.page.get_attribute("#stepper input[type=range]", "max"))
    for _ in range(last):
        visit.page.click("#stepper button:has-text('Next')")
        visit.page.locator("#stepper .grid.result td").first.click()
    assert visit.page.locator("img").count() == 0
    assert HOSTILE in visit.text("#stepper")
    assert visit.said == []
    visit.close()


def test_a_graph_of_the_users_own_operation_can_be_stepped_through(
    chromium: Any, tmp_path: Path, registry: Any
) -> None:
    @tg.op
    def reversed_sums(x):
        return np.cumsum(x[::-1])

    @reversed_sums.vjp(opaque=True)
    def reversed_sums_vjp(dy, y, x):
        return np.cumsum(np.asarray(dy)[::-1])

    x = tg.tensor([1.0, 2.0, 4.0], name="x")
    visit = Visit(chromium, write((reversed_sums(x) * x).sum(), tmp_path / "own.html"), "#step=1&at=t1:1")
    assert visit.text("#stepper .origin").splitlines()[0] == "t1[1] = 6"
    assert "by the local Jacobian" in visit.text("#stepper .reason")
    assert visit.said == []
    visit.close()
