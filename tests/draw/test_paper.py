"""Pictures on paper: their size, and columns and pages on which every card can be read."""

import random
import re
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter

import pytest

import tinygraph as tg
from tests.tools.pictures import SVG, renderer
from tinygraph.draw import draw
from tinygraph.draw.pages import columns_of, measured, pages_of
from tinygraph.draw.paper import FONT, SHEETS, SMALLEST, Paper
from tinygraph.model import load_model


def laid_out(dot):
    return measured(renderer("dot").render(dot, "plain").decode())


def smallest_text(svg):
    """Return the height of the smallest text in points, and the width and height of the picture."""
    root = ElementTree.fromstring(svg)
    scale = float(re.match(r"scale\(([\d.]+)", root.find(f"{SVG}g").get("transform"))[1])
    # With a viewport, Graphviz scales once more by the size of the element.
    width, height = (float(root.get(side).removesuffix("pt")) for side in ("width", "height"))
    shown = width / float(root.get("viewBox").split()[2])
    return min(float(text.get("font-size")) for text in root.iter(f"{SVG}text")) * scale * shown, (width, height)


def random_network(seed):
    """Return a sum of operations on earlier values, some of them used several times and some with a parameter."""
    chance = random.Random(seed)
    values = [tg.parameter([1.0, 2.0], name="w0")]
    for i in range(1, 10):
        a, b = chance.choice(values[-3:]), chance.choice(values)
        made = [tg.tanh(a), a * b, a + tg.parameter([0.5, 0.5], name=f"w{i}"), tg.sigmoid(a) * b]
        values.append(chance.choice(made))
    return tg.concatenate(values[-4:]).sum()


# ---- Columns


@pytest.mark.parametrize("seed", range(20))
def test_columns_have_every_card_once_and_a_link_at_each_end_of_an_arrow_between_them(seed):
    drawing = draw(random_network(seed)).drawing
    nodes = [card.id for card in drawing.cards if not card.is_leaf]
    cut = random.Random(seed).randint(1, len(nodes) - 1)
    places = {id: int(i >= cut) for i, id in enumerate(nodes)}
    for edge in drawing.edges:
        if edge.lane == "value" and edge.tail not in nodes:
            places[edge.tail] = min(places.get(edge.tail, 1), places[edge.head])
    places |= {bead.id: places[bead.target] for bead in drawing.beads}
    columns = columns_of(drawing, places)
    shown = [card.id for column in columns for card in column.cards if card.kind != "link"]
    assert sorted(shown) == sorted(card.id for card in drawing.cards)
    crossing = [edge for edge in drawing.edges if places[edge.tail] != places[edge.head]]
    ids = [edge.id for column in columns for edge in column.edges]
    assert len(set(ids)) == len(ids)
    assert {edge.id for edge in drawing.edges} <= set(ids)
    for column in columns:
        own = {card.id for card in column.cards} | {bead.id for bead in column.beads}
        assert {end for edge in column.edges for end in (edge.tail, edge.head)} <= own
        links = [card for card in column.cards if card.kind == "link"]
        ends = Counter(end for edge in column.edges for end in (edge.tail, edge.head))
        assert all(ends[link.id] for link in links)
    assert bool(crossing) == any(card.kind == "link" for card in columns[0].cards)


def test_a_tensor_that_many_columns_use_has_one_link_which_names_some():
    w, y = tg.tensor(2.0, name="w"), tg.tensor(1.0, name="x")
    for _ in range(20):
        y = y * w
    drawing = draw(y).drawing
    nodes = [card.id for card in drawing.cards if not card.is_leaf]
    places = {id: i // 2 for i, id in enumerate(nodes)}
    places |= {card.id: 0 for card in drawing.cards if card.is_leaf}
    places |= {bead.id: 0 for bead in drawing.beads}
    columns = columns_of(drawing, places, (), {i: 1 + i // 2 for i in range(10)})
    (link,) = (card for card in columns[0].cards if card.kind == "link" and card.symbol == "w")
    assert link.expression == "to 3, 4; 5, 6, 7, 8 (page 2); 9, 10, 11, 12 (page 3); …"
    assert [card.expression for card in columns[9].cards if card.symbol == "w"] == ["tensor (page 1)"]


# ---- Pages


@pytest.mark.parametrize("name", ["lenet5", "residual", "notes_cnn_norm"])
def test_a_bundled_model_is_readable_on_a4(name, tmp_path):
    renderer("dot")
    picture = draw(load_model(name))
    files = picture.save(tmp_path / "page.svg", pages="a4")
    found = []
    for path in files:
        svg = path.read_text(encoding="utf-8")
        text, size = smallest_text(svg)
        assert text >= SMALLEST
        assert sorted(size) == list(SHEETS["a4"])
        found += re.findall(r'<g id="p\w+-(n\d+)" class="[^"]*card', svg)
    assert Counter(found) == Counter(card.id for card in picture.drawing.cards)


@pytest.mark.parametrize("seed", range(2))
def test_pages_of_any_network_are_readable(seed):
    drawing = draw(random_network(seed)).drawing
    pages = pages_of(drawing, Paper(page=SHEETS["a5"]), laid_out)
    assert len(pages) > 1
    assert min(page.scale for page in pages) * FONT >= SMALLEST
    assert len({page.scale for page in pages}) == 1
    shown = [card.id for page in pages for card in page.drawing.cards if card.kind != "link"]
    assert sorted(shown) == sorted(card.id for card in drawing.cards)


def test_many_cards_without_arrows_between_them_share_pages():
    leaves = [tg.tensor(float(i), name=f"x{i}") for i in range(30)]
    pages = pages_of(draw([tg.tanh(leaf) for leaf in leaves]).drawing, Paper(page=SHEETS["a4"]), laid_out)
    assert len(pages) == 1
    assert pages[0].scale * FONT >= SMALLEST


def test_a_small_picture_is_one_page_with_text_of_the_usual_size(square):
    page, *others = pages_of(draw(square).drawing, Paper(page=SHEETS["a4"]), laid_out)
    assert not others
    assert page.scale == 1
    assert "link" not in {card.kind for card in page.drawing.cards}


def test_text_that_is_too_small_because_of_the_page_is_said(tmp_path):
    renderer("dot")
    x = tg.tensor([[1.0] * 4] * 4, name="x")
    with pytest.warns(UserWarning, match="points high where it should be 7: a card does not fit"):
        draw(tg.tanh(x @ x).sum()).save(tmp_path / "x.svg", pages="40x40mm")


def test_pages_are_one_pdf_or_numbered_files(tmp_path, monkeypatch):
    renderer("dot")
    pypdf = pytest.importorskip("pypdf")
    x = tg.tensor(0.5, name="x")
    for _ in range(16):
        x = tg.tanh(x)
    picture = draw(x, pages="a5", detail="rule")
    assert picture.save(tmp_path / "x.pdf") == [tmp_path / "x.pdf"]
    pages = pypdf.PdfReader(tmp_path / "x.pdf").pages
    assert len(pages) > 1
    assert all(sorted(map(float, page.mediabox[2:])) == list(SHEETS["a5"]) for page in pages)
    numbered = [tmp_path / f"x-{i}.pdf" for i in range(1, len(pages) + 1)]
    monkeypatch.setitem(sys.modules, "pypdf", None)
    assert picture.save(tmp_path / "x.pdf") == numbered
    assert picture.render(tmp_path / "x.png") == tmp_path / "x-1.png"


# ---- Sizes and direction


def test_a_picture_has_the_width_and_the_pixels_that_are_asked_for(square, tmp_path):
    renderer("dot")
    picture = draw(square, width="72mm")
    (svg,) = picture.save(tmp_path / "x.svg")
    assert smallest_text(svg.read_text(encoding="utf-8"))[1][0] == pytest.approx(72 / 25.4 * 72, abs=1)
    (png,) = picture.save(tmp_path / "x.png", dpi=254)
    assert int.from_bytes(png.read_bytes()[16:20], "big") == pytest.approx(720, abs=2)


def test_to_the_right_cards_stand_next_to_each_other():
    model = load_model("xor")
    boxes, (width, height) = laid_out(draw(model, direction="right").dot)
    lefts = [boxes[card.id][0] for card in draw(model).drawing.cards if card.kind == "node" and card.gradient]
    assert lefts == sorted(lefts)
    assert width > height
    assert "values: blue, solid, to the right" in draw(model, direction="right").dot


def test_statistics_at_the_side_do_not_move_a_network_across_the_page():
    drawing = draw(load_model("notes_cnn_norm"))
    boxes, _ = laid_out(drawing.dot)
    main = [card.id for card in drawing.drawing.cards if card.kind == "node" and card.gradient]
    middles = [(boxes[id][0] + boxes[id][1]) / 2 for id in main]
    assert len(main) > 10
    assert max(middles) - min(middles) < 30


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"direction": "up"}, "direction must be one of 'down' and 'right'; found 'up'"),
        ({"width": "wide"}, "width must be a length such as 160mm .*; found 'wide'"),
        ({"width": "12"}, "units: "),
        ({"width": "0mm"}, "between 1 point and 200 inches"),
        ({"dpi": 0}, "dpi must be a number from 1 to 2400; found 0"),
        ({"pages": "a9"}, "or a size such as 160x90mm .*; found 'a9'"),
        ({"pages": "2x200mm"}, "at least 40mm"),
        ({"pages": "a4", "width": "3cm"}, "leave out pages or width"),
        ({"pages": "a4", "direction": "right"}, "leave out pages or direction"),
    ],
)
def test_a_size_that_makes_no_sense_is_an_error(given, message, square):
    with pytest.raises(tg.RenderError, match=message):
        draw(square, **given)


def test_units_are_understood():
    lengths = [Paper().changed(None, width, None, None).width for width in ("1in", "25.4 mm", "2.54CM", "72pt", "96px")]
    assert lengths == pytest.approx([72] * 5)
    assert Paper().changed(None, None, None, "10x5in").page == (720, 360)


def test_what_a_format_has_no_use_for_is_an_error(square, tmp_path):
    with pytest.raises(tg.RenderError, match=r"dpi is for .png"):
        draw(square, tmp_path / "x.svg", dpi=300)
    with pytest.raises(tg.RenderError, match=r"pages are laid out for .svg, .png and .pdf"):
        draw(square, tmp_path / "x.gv", pages="a4")
    assert not list(tmp_path.iterdir())
