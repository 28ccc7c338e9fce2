"""Pictures in two lanes, with values, and folded."""

import subprocess
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import pytest

import tinygraph as tg
from tests.tools.pictures import SVG, renderer
from tinygraph.describe.fold import MOST_CARDS
from tinygraph.describe.subject import subject_of
from tinygraph.draw import draw, render
from tinygraph.draw.build import drawing_of
from tinygraph.draw.dot import dot_source
from tinygraph.model import load_model


def test_what_comes_back_twice_is_summed_at_a_bead(square):
    drawing = draw(square).drawing
    (bead,) = drawing.beads
    assert (bead.symbol, bead.target) == ("dx", "n1")
    assert bead.summands == ("x (through t1)", "x (through t1)")
    assert "dx is the sum of x (through t1), x (through t1)" in draw(square).dot
    lane = [(edge.tail, edge.head) for edge in drawing.edges if edge.lane == "gradient"]
    assert lane == [("n2", "s1"), ("n2", "s1"), ("s1", "n1")]


def test_the_gradient_of_the_cost_passes_the_sigmoid_by():
    drawing = draw(load_model("notes_cnn")).drawing
    cards = {card.symbol: card for card in drawing.cards}
    lane = [(edge.tail, edge.head) for edge in drawing.edges if edge.lane == "gradient"]
    assert (cards["cost"].id, cards["Z3"].id) in lane
    assert cards["a"].gradient == ""
    assert "dZ3 = (a - y) / m at once" in cards["a"].note


def test_leaves_without_a_gradient_have_no_backward_row():
    drawing = draw(load_model("notes_cnn")).drawing
    cards = {card.symbol: card for card in drawing.cards}
    assert cards["Inp"].gradient == cards["y"].gradient == ""
    assert cards["K1"].gradient == "dK1"


def test_without_values_a_card_says_not_computed():
    model = load_model("xor")
    assert "not computed" in draw(model, detail="value").dot
    assert "not computed" not in draw(model).dot


def test_values_and_gradients_stand_on_the_cards(square):
    x, product = draw(square).drawing.cards
    assert x.value.numbers == (("3",),)
    assert x.gradient_value.numbers == (("6",),)
    assert product.value.line == "9"


def test_large_graphs_fold_by_themselves_and_say_so():
    x = tg.tensor(0.5, name="x")
    y = x
    for _ in range(200):
        y = tg.tanh(y)
    drawing = draw(y).drawing
    assert len(drawing.cards) <= 60
    assert "201 cards are folded" in drawing.caption
    assert sum(card.holds for card in drawing.cards) == 201


def test_a_folded_card_counts_what_equations_call():
    """A composite, such as a normalization, is one operation there too."""
    calls = ["instance_norm(relu(a{}), g, b)", "relu(a{})", "tanh(a{})"]
    equations = "\\n".join(f"a{i + 1} = {calls[i % 3].format(i)}" for i in range(72))
    model = tg.Model.from_toml(
        "[inputs]\na0 = [3, 4, 4]\n[parameters]\ng = { shape = [3], init = 'ones' }\nb = { shape = [3], init = 'zeros' }\n"
        f'[model]\nequations = "{equations}"\noutput = "a72"\nloss = false'
    )
    (folded,) = [card for card in draw(model).drawing.cards if card.kind == "folded"]
    assert (folded.attributes, folded.expression) == ("x 24", "each time relu x2, instance_norm, tanh")


def test_a_block_folds_to_one_card_that_says_what_it_holds():
    drawing = draw(load_model("residual"), fold=["R1"]).drawing
    (folded,) = [card for card in drawing.cards if card.kind == "folded"]
    assert (folded.title, folded.symbol) == ("R1", "R1")
    assert (folded.attributes, folded.parameters) == ("7 operations", 2616)
    with pytest.raises(tg.TinygraphError, match="there is no block 'R9' to fold"):
        draw(load_model("residual"), fold=["R9"])


def test_cards_may_be_edited(square):
    drawing = draw(square, edit=lambda card: replace(card, note="mine")).drawing
    assert {card.note for card in drawing.cards} == {"mine"}
    with pytest.raises(tg.TinygraphError, match="edit must return a Card; found NoneType"):
        draw(square, edit=lambda card: None)


@pytest.mark.parametrize("option", [{"detail": "values"}, {"view": "all"}, {"fold": "some"}])
def test_an_unknown_option_is_an_error_with_the_valid_ones(option, square):
    with pytest.raises(tg.TinygraphError, match="must be"):
        draw(square, **option)


def test_svg_has_a_role_a_title_and_a_group_for_each_card():
    renderer("dot")
    model = load_model("notes_cnn")
    picture = draw(model)
    svg = ElementTree.fromstring(picture.svg(prefix=""))
    assert svg.get("role") == "img"
    assert svg.find(f"{SVG}title").text == model.title
    ids = [group.get("id") for group in svg.iter(f"{SVG}g")]
    assert all(ids.count(card.id) == 1 for card in picture.drawing.cards)


def test_a_sum_says_what_is_summed(square):
    x, _ = draw(square).drawing.cards
    assert x.rules == ("dx = x + x",)
    many = tg.tensor(1.0, name="x")
    y = sum([tg.exp(many * k) for k in range(2, 12)], start=many)
    parts = " + ".join(f"dx({i})" for i in range(2, 12))
    assert draw(y).drawing.cards[0].rules == (f"dx = 1 + {parts}",)


def test_a_constant_gradient_is_its_number():
    x = tg.tensor([1.0, 2.0, 3.0], name="x")
    assert draw(tg.tanh(x).sum()).drawing.cards[-1].rules == ("dt2 = 1", "dt1 = 1 everywhere")


def test_a_value_or_gradient_that_is_one_number_is_marked_by_itself():
    x = tg.tensor(-1.0, name="x")
    with np.errstate(invalid="ignore"):
        card = draw(tg.sqrt(x)).drawing.cards[-1]
    assert card.marks == ("the value is NaN",)


@pytest.mark.parametrize(
    ("slope", "mark"),
    [
        (0.0, "the gradient is zero"),
        (1e-9, "the gradient is vanishing: at most 1e-09"),
        (1e6, "the gradient is exploding: up to 1e+06"),
        (1.0, ""),
    ],
)
def test_gradients_that_deserve_a_second_look_are_marked(slope, mark):
    x = tg.tensor([1.0, 2.0], name="x")
    picture = draw((x * slope).sum())
    assert picture.drawing.cards[0].marks == ((mark,) if mark else ())
    assert mark in picture.dot
    assert mark in str(picture)


def test_drawing_what_is_not_finite_warns_of_nothing():
    x = tg.tensor([-1.0, 0.0], name="x")
    with np.errstate(all="ignore"):
        y = (tg.sqrt(x) / x).sum()
    assert [card.marks != () for card in draw(y).drawing.cards] == [True] * 4


def test_tooltips_say_shape_dtype_and_norms(square):
    drawing = draw(square).drawing
    assert {edge.text for edge in drawing.edges if edge.lane == "value"} == {"x float64 (), norm 3"}
    assert "to dx: x, float64 (), norm 3" in [edge.text for edge in drawing.edges]
    assert "t1 = x * x, float64 (); norm of the value 9; norm of the gradient 1; Product of two tensors" in dot_source(
        drawing
    )


def test_gradients_that_pass_cards_by_go_from_side_to_side():
    picture = draw(load_model("notes_cnn"))
    ids = {card.symbol: card.id for card in picture.drawing.cards}
    assert f"{ids['Z3']}:g:e -> {ids['cost']}:g:e" in picture.dot


@pytest.mark.parametrize("shape", [(1, 4), (4, 1), (40,), (5, 5), (2, 3, 7, 7), (1, 9, 40, 40)])
def test_graphviz_has_nothing_to_complain_of_in_heat_maps(shape):
    renderer("dot")
    x = tg.tensor(np.random.default_rng(0).standard_normal(shape), name="x")
    picture = draw(tg.tanh(x).sum(), numbers=1)
    assert "fixedsize" in picture.dot
    assert subprocess.run(["dot", "-Tsvg"], input=picture.dot.encode(), capture_output=True).stderr == b""


def test_many_uses_are_counted_beside_the_arrow():
    dot = draw(load_model("residual"), fold="all").dot
    assert dot.count('headlabel="2 uses"') == 4


def test_a_chain_of_ten_thousand_nodes_folds_and_is_drawn():
    y = tg.tensor(0.5, name="x")
    for _ in range(10_000):
        y = tg.tanh(y)
    picture = draw(y)
    assert [card.times for card in picture.drawing.cards] == [1, 10_000]
    assert "10,001 cards are folded into 2" in picture.drawing.caption
    if render.renderers():
        assert picture.svg().count('class="node card folded') == 1


def test_a_thousand_cards_can_be_drawn_one_by_one():
    y = tg.tensor(0.5, name="x")
    for _ in range(999):
        y = tg.tanh(y)
    picture = draw(y, fold="none", detail="rule")
    assert len(picture.drawing.cards) == 1000
    if render.renderers():
        assert picture.svg().count('class="node card node') == 999


def test_the_svg_of_a_card_has_classes_for_what_there_is_to_see():
    x = tg.tensor([0.0], name="x")
    card = draw((x * 0.0).sum(), report=tg.check((x * 0.0).sum())).drawing.cards[0]
    assert card.classes == "card tensor marked ok"


def test_graphs_of_every_size_fold():
    for size in range(MOST_CARDS - 2, 2 * MOST_CARDS + 5):
        x = tg.tensor(1.0, name="x")
        for _ in range(size):
            x = tg.tanh(x)
        drawing = drawing_of(subject_of(x))
        assert sum(card.holds for card in drawing.cards) == size + 1
        assert len(drawing.cards) <= MOST_CARDS


def test_feeds_without_a_sample_and_things_that_are_no_graph_are_refused_in_words():
    model = tg.load_model("xor")
    with pytest.raises(tg.FeedError, match=r"input 'x' was fed no sample: its shape is \(0, 2\)"):
        draw(model, feeds={"x": np.ones((0, 2)), "y": np.ones((0, 1))})
    with pytest.raises(tg.TinygraphError, match="a Graph or a Model; found int"):
        tg.notes(3)


def test_text_of_a_model_fits_a_terminal_and_has_a_line_for_each_rule():
    lines = str(draw(tg.load_model("notes_cnn"))).splitlines()
    assert max(map(len, lines)) <= 90
    place = next(i for i, line in enumerate(lines) if line.startswith("  dcost/dZ3"))
    assert [line.strip() for line in lines[place + 1 : place + 3]] == ["df = dZ3 @ W3.T", "dW3 = f.T @ dZ3"]
    assert len({line.index("float32") for line in lines if "float32" in line}) == 1
