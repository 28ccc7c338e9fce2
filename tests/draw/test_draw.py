"""Graphs as DOT: the record of a picture, models, and text that means harm."""

import json
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import pytest

import tinygraph as tg
from tests.tools.pictures import SVG, renderer
from tinygraph.describe.subject import subject_of
from tinygraph.describe.text import attributes_text
from tinygraph.draw import draw
from tinygraph.draw.build import drawing_of
from tinygraph.draw.colours import FAMILIES
from tinygraph.draw.dot import dot_source
from tinygraph.draw.literal import tooltip, visible, wrapped
from tinygraph.draw.render import accessible
from tinygraph.model import Model, load_model

XLINK = "{http://www.w3.org/1999/xlink}"
HOSTILE = [
    "<b>&\"'x",
    "a&lt;b&amp;amp;",
    "\\N \\G \\E \\",
    "x -> y; z [label=<i>]",
    ":n:s",
    "<x>",
    "<script>alert(1)</script>",
    "]]>",
    "-->",
    "ŷ ∂L/∂Z₁ 数",
    "%s {x} $(y)",
    '"];',
]


NESTED = {
    "inputs": {"x": [3]},
    "parameters": {},
    "equations": "h = outer(x)\nu = outer(h)",
    "blocks": {
        "inner": {
            "inputs": ["x"],
            "parameters": {"W": {"shape": [3, 3], "init": "ones"}},
            "equations": "z = x @ W\no = tanh(z)",
            "output": "o",
        },
        "outer": {"inputs": ["x"], "equations": "p = inner(x)\nr = p + x", "output": "r"},
    },
    "output": "u",
}


def edges(drawing):
    symbols = {card.id: card.symbol for card in drawing.cards}
    return [(symbols[edge.tail], symbols[edge.head]) for edge in drawing.edges if edge.lane == "value"]


def texts(svg, id):
    """The lines of text in the node of an SVG that has this id, and its tooltip."""
    tree = ElementTree.fromstring(svg)
    (node,) = [group for group in tree.iter(f"{SVG}g") if group.get("id") == id]
    tips = [anchor.get(f"{XLINK}title") for anchor in node.iter(f"{SVG}a")]
    return ["".join(text.itertext()).replace("\xa0", " ").strip() for text in node.iter(f"{SVG}text")], tips[0]


# ---- The record


def test_two_uses_of_one_tensor_are_two_edges(square):
    drawing = draw(square).drawing
    assert edges(drawing) == [("x", "t1"), ("x", "t1")]
    assert [(edge.place, edge.repeated) for edge in drawing.edges if edge.lane == "value"] == [(1, True), (2, True)]
    dot = draw(square).dot
    assert dot.count("n1 -> n2") == 2
    assert "headlabel=1" in dot
    assert "headlabel=2" in dot


def test_places_are_shown_only_where_a_tensor_is_used_twice():
    x, y = tg.tensor(1.0, name="x"), tg.tensor(2.0, name="y")
    assert "headlabel" not in draw(x * y).dot


def test_a_diamond_has_each_of_its_edges_once():
    x = tg.tensor(2.0, name="x")
    left, right = tg.exp(x), tg.tanh(x)
    left.name, right.name = "left", "right"
    top = left * right
    top.name = "top"
    assert edges(draw(top).drawing) == [("x", "left"), ("x", "right"), ("left", "top"), ("right", "top")]


def test_a_card_says_what_the_operation_is():
    image = tg.input("image", (1, 1, 8, 8))
    kernel = tg.parameter(np.zeros((2, 1, 3, 3), "float32"), name="K")
    y = tg.conv2d(image, kernel, padding=1)
    y.name = "Z"
    card = draw(y).drawing.cards[-1]
    assert (card.number, card.title, card.attributes, card.family) == (1, "conv2d", "padding=1", "convolution")
    assert (card.symbol, card.expression) == ("Z", "conv2d(image, K, padding=1)")
    assert (card.shape, card.dtype) == ((1, 2, 8, 8), "float32")


def test_numbers_are_written_inside_expressions_and_have_no_card():
    x = tg.tensor([1.0, 2.0], name="x")
    drawing = draw(2 * x + 1).drawing
    assert [card.symbol for card in drawing.cards] == ["x", "t1", "t2"]
    assert [card.expression for card in drawing.cards[1:]] == ["2 * x", "t1 + 1"]
    assert len(edges(drawing)) == 2


def test_constants_that_are_arrays_or_have_names_are_cards():
    x = tg.tensor([1.0, 2.0], name="x")
    m = tg.constant(4.0, name="m")
    drawing = draw((x + np.array([3.0, 4.0])) / m).drawing
    kinds = {card.symbol: card.kind for card in drawing.cards}
    assert kinds["m"] == "constant"
    assert sorted(kinds.values()) == ["constant", "constant", "node", "node", "tensor"]
    assert "= 4" in dot_source(drawing)


def test_operands_that_only_steady_the_numbers_are_not_drawn():
    z, y = tg.input("z", (4, 1)), tg.input("y", (4, 1))
    a = tg.sigmoid(z)
    a.name = "a"
    cost = tg.bce(a, y)
    cost.name = "cost"
    assert len(cost.inputs) == 3
    assert edges(draw(cost).drawing) == [("z", "a"), ("a", "cost"), ("y", "cost")]


def test_operations_on_lists_have_an_edge_for_each_element():
    x, y = tg.tensor([1.0], name="x"), tg.tensor([2.0], name="y")
    assert edges(draw(tg.concatenate([x, y, x])).drawing) == [("x", "t1"), ("y", "t1"), ("x", "t1")]


def test_attributes_are_the_required_and_the_changed_ones():
    assert attributes_text(tg.operation("avg_pool2d").op(2, stride=1)) == "window=2, stride=1"
    assert attributes_text(tg.operation("conv2d").op()) == ""
    assert attributes_text((tg.tensor([1.0, 2.0])[1:]).op) == ""


def test_the_record_is_ready_for_json(square):
    record = json.loads(json.dumps(draw(square, title="square").drawing.as_dict()))
    assert record["title"] == "square"
    assert [card["id"] for card in record["cards"]] == ["n1", "n2"]
    assert [edge["id"] for edge in record["edges"]] == ["e1", "e2", "g1", "g2", "g3"]


def test_the_same_graph_gives_the_same_text_and_ids():
    def build():
        x, w = tg.input("x", (2, 3)), tg.parameter(np.ones((3, 1), "float32"), name="w")
        return draw([tg.sigmoid(x @ w), tg.relu(x @ w)])

    first, second = build(), build()
    assert first.dot == second.dot
    assert first.drawing == second.drawing
    assert [card.id for card in first.drawing.cards] == [f"n{i}" for i in range(1, len(first.drawing.cards) + 1)]


def test_cards_stand_in_topological_order():
    drawing = draw(load_model("residual")).drawing
    place = {card.id: index for index, card in enumerate(drawing.cards)}
    assert all(place[edge.tail] < place[edge.head] for edge in drawing.edges if edge.lane == "value")


def test_a_picture_is_the_same_before_and_after_backward():
    x = tg.tensor([1.0, 2.0], name="x")
    y = (x * x).sum()
    before = draw(y).dot
    y.backward()
    assert x.grad is not None
    assert draw(y).dot == before


def test_a_chain_of_many_nodes_is_drawn_without_recursion():
    x = tg.tensor(1.0, name="x")
    for _ in range(5000):
        x = tg.tanh(x)
    assert draw(x, fold="none", view="forward").dot.count("->") == 5000


def test_a_custom_operation_is_drawn_like_any_other(registry):
    @tg.op(formula="{x}³", elementwise=True)
    def cubed(x, *, scale: float = 1.0):
        return scale * x**3

    card = draw(cubed(tg.tensor(2.0, name="x"), scale=2.0)).drawing.cards[-1]
    assert (card.title, card.attributes) == ("cubed", "scale=2.0")
    assert card.family == "test_draw"


# ---- Models


def test_a_model_has_one_card_for_each_equation():
    model = load_model("notes_cnn")
    drawing = draw(model).drawing
    nodes = [card for card in drawing.cards if card.kind == "node"]
    assert [card.symbol for card in nodes] == ["Z1", "C1", "P1", "Z2", "C2", "P2", "f", "Z3", "a", "cost"]
    assert nodes[0].expression == "conv2d(Inp, K1, padding=1) + B1"
    assert (nodes[0].title, nodes[0].attributes, nodes[0].family) == ("conv2d, add", "padding=1", "convolution")
    assert [card.symbol for card in drawing.cards if card.kind == "parameter"] == ["K1", "B1", "K2", "B2", "W3", "B3"]
    assert ("a", "cost") in edges(drawing)
    assert ("Z3", "cost") not in edges(drawing)
    assert drawing.title == model.title


def test_parameters_stand_beside_their_equation():
    dot = draw(load_model("notes_cnn")).dot
    z1 = next(card for card in draw(load_model("notes_cnn")).drawing.cards if card.symbol == "Z1")
    assert f"{{rank=same; {z1.id}_side; {z1.id}}}" in dot


def test_a_parameter_used_twice_is_one_card_of_its_own():
    model = Model(
        inputs={"x": [3]},
        parameters={"W": {"shape": [3, 3], "init": "ones"}},
        equations="h = x @ W\no = h @ W + h @ W",
        output="o",
    )
    drawing = draw(model).drawing
    assert edges(drawing).count(("W", "o")) == 2
    assert edges(drawing).count(("W", "h")) == 1
    assert [card.symbol for card in drawing.cards].count("W") == 1


def test_instances_of_blocks_are_clusters():
    drawing = draw(load_model("residual")).drawing
    assert {card.group for card in drawing.cards} == {"", "R1", "R2"}
    dot = dot_source(drawing)
    assert dot.count("subgraph cluster_") == 2


def test_blocks_in_blocks_are_clusters_in_clusters():
    drawing = draw(Model(**NESTED)).drawing
    assert {card.group for card in drawing.cards} == {"", "h", "h.p", "u", "u.p"}
    dot = dot_source(drawing)
    assert dot.count("subgraph cluster_") == 4
    assert dot.count("{") == dot.count("}")


def test_an_equation_that_only_renames_is_a_card_with_one_edge():
    model = Model(inputs={"x": [3]}, parameters={}, equations="h = x\no = h * x", output="o")
    drawing = draw(model).drawing
    assert edges(drawing).count(("x", "o")) == 2
    assert "h" in [card.symbol for card in drawing.cards]


def test_every_family_has_a_colour():
    ops = [function.op for function in tg.operations().values()]
    assert {op.family for op in ops if op.__module__.startswith("tinygraph.ops")} <= set(FAMILIES)


def test_many_operations_in_one_equation_shorten_the_header():
    model = Model(inputs={"x": [3]}, parameters={}, equations="o = sigmoid(tanh(exp(relu(x * x))))", output="o")
    card = draw(model).drawing.cards[-1]
    assert card.title == "multiply, relu, exp … (5 operations)"
    assert card.family == "activation"


def test_the_title_of_a_model_can_be_changed_or_left_out():
    model = load_model("xor")
    assert draw(model, title="mine").drawing.title == "mine"
    assert draw(model, title="").drawing.title == ""


def test_model_drawing_takes_a_recording_of_any_batch():
    drawing = drawing_of(subject_of(load_model("xor"), batch=4))
    assert drawing.cards[0].shape == (4, 2)


def test_only_graphs_can_be_drawn():
    with pytest.raises(tg.TinygraphError, match="found int"):
        draw(3)
    with pytest.raises(tg.TinygraphError, match="found ndarray"):
        draw(np.zeros(3))


# ---- Text that means harm


@pytest.mark.parametrize("which", ["dot", "pygraphviz"])
@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_shown_literally(name, which):
    x = tg.tensor([1.0], name=name)
    picture = draw(x * 2, title=name, detail="shape")
    svg = renderer(which).render(picture.dot, "svg").decode()
    lines, tip = texts(svg, "n1")
    assert lines[0] == name
    assert tip == f"{name} tensor, float64 (1,)"
    assert texts(svg, "n2")[0][1] == f"t1 = {name} * 2"


@pytest.mark.parametrize("which", ["dot", "pygraphviz"])
@pytest.mark.parametrize("name", ["a\nb", "tab\there", "nul\x00", "bell\x07", "\u202egnp.exe", "\ud800", "\ufffe"])
def test_what_does_not_print_is_shown_as_an_escape(name, which):
    svg = renderer(which).render(draw(tg.tensor([1.0], name=name) * 2).dot, "svg").decode()
    # Labels of tensors are one line, so white space is a space by then.
    shown = " ".join(name.split()).encode("unicode_escape").decode("ascii")
    assert texts(svg, "n1")[0][0] == shown


@pytest.mark.parametrize("which", ["dot", "pygraphviz"])
@pytest.mark.parametrize("name", HOSTILE)
def test_names_beside_a_card_and_in_verdicts_are_shown_literally(name, which):
    x, w = tg.input("x", (2, 3)), tg.parameter(np.ones((3, 1)), name=name)
    y = tg.tanh(x @ w).sum()
    picture = draw(y, report=tg.check(y))
    lines, tip = texts(accessible(renderer(which).render(picture.dot, "svg").decode(), picture.drawing, ""), "n2")
    assert lines[0] == name
    assert f"dt3/d{name}" in lines
    assert " ".join(lines).endswith(picture.drawing.cards[1].checks[0])
    assert tip == f"{name} parameter, float64 (3, 1); {picture.drawing.cards[1].checks[0]}"


def test_hostile_names_add_no_node_edge_or_element():
    x = tg.tensor([1.0], name='"]; evil -> n1; subgraph {')
    y = tg.tensor([1.0], name="<table><tr><td>")
    svg = ElementTree.fromstring(renderer("dot").render(draw(x * y).dot, "svg"))
    classes = [group.get("class") for group in svg.iter(f"{SVG}g")]
    kinds = [name.split()[0] for name in classes if name]
    assert kinds.count("node") == 3
    assert kinds.count("edge") == 4
    assert not list(svg.iter(f"{SVG}script"))


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_titles_and_groups_are_shown_literally(name):
    drawing = draw(tg.tensor([1.0], name="x") * 2, title=name).drawing
    group = name.replace(".", "")
    drawing = replace(drawing, cards=tuple(replace(card, group=group) for card in drawing.cards))
    svg = ElementTree.fromstring(renderer("dot").render(dot_source(drawing), "svg"))
    found = ["".join(text.itertext()).replace("\xa0", " ") for text in svg.iter(f"{SVG}text")]
    assert found.count(name) >= 2


def test_nothing_is_ever_shown_as_nothing():
    assert visible("") == "(empty)"
    assert visible("  ") == "'  '"


def test_very_long_text_is_broken_and_cut():
    lines = wrapped("x + " * 1000, 40)
    assert len(lines) == 8
    assert max(map(len, lines)) <= 40
    assert lines[-1].endswith("…")
    assert len(draw(tg.tensor([1.0], name="n" * 100_000) * 2).dot) < 10_000


def test_tooltips_are_never_markup():
    assert not tooltip("<b>").startswith("<<")
    assert "&amp;lt;" in tooltip("&lt;")


def test_cards_name_the_classes_that_a_model_knows():
    model = tg.load_model("notes_cnn_norm")
    x, y = tg.load_data("digits").test
    feeds = {"Inp": x[:2], "y": y[:2]}
    assert not any(card.note for card in tg.draw(model, feeds=feeds).drawing.cards)
    model.classes = tuple(f"digit {i}" for i in range(10))
    notes = {card.symbol: card.note for card in tg.draw(model, feeds=feeds).drawing.cards if card.note}
    a = tg.run(model.record(2, training=True).graph, feeds)[0]
    assert notes == {
        "a": ", ".join(f"digit {row.argmax()} ({row.max():.2f})" for row in a),
        "y": ", ".join(f"digit {i}" for i in y[:2]),
    }
    assert not any(card.note for card in tg.draw(model).drawing.cards)
    model.classes = ("one", "two")
    assert "one" not in str([card.note for card in tg.draw(model, feeds=feeds).drawing.cards])
