"""The picture: what its record says, that nothing hostile gets through, and every way of rendering it, or of not."""

import importlib.util
import json
import os
import subprocess
import sys
import types
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.describe.attributes import attributes_text
from tinygraph.describe.fold import MOST_CARDS
from tinygraph.describe.subject import subject_of
from tinygraph.draw import Picture, draw, render
from tinygraph.draw.build import drawing_of
from tinygraph.draw.colours import FAMILIES
from tinygraph.draw.dot import dot_source
from tinygraph.draw.literal import tooltip, visible, wrapped
from tinygraph.draw.svg import accessible
from tinygraph.graph.op import Op
from tinygraph.model import Model, load_model

SVG = "{http://www.w3.org/2000/svg}"
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


@pytest.fixture
def square():
    x = tg.tensor(3.0, name="x")
    return x * x


def renderer(name):
    found = {installed.name: installed for installed in render.renderers()}
    if name not in found:
        pytest.skip(f"{name} is not installed")
    return found[name]


def without_dot(monkeypatch):
    monkeypatch.setenv("PATH", "")


def without_pygraphviz(monkeypatch):
    monkeypatch.setitem(sys.modules, "pygraphviz", None)


def edges(drawing):
    symbols = {card.id: card.symbol for card in drawing.cards}
    return [(symbols[edge.tail], symbols[edge.head]) for edge in drawing.edges if edge.lane == "value"]


def texts(svg, id):
    """The lines of text in the node of an SVG that has this id, and its tooltip."""
    tree = ElementTree.fromstring(svg)
    (node,) = [group for group in tree.iter(f"{SVG}g") if group.get("id") == id]
    tips = [anchor.get(f"{XLINK}title") for anchor in node.iter(f"{SVG}a")]
    return ["".join(text.itertext()).replace("\xa0", " ").strip() for text in node.iter(f"{SVG}text")], tips[0]


# The record


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


# Models


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


# Text that means harm


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
    lines, tip = texts(accessible(renderer(which).render(picture.dot, "svg").decode(), picture.drawing), "n2")
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


# Rendering


@pytest.mark.parametrize("which", ["dot", "pygraphviz"])
@pytest.mark.parametrize(("suffix", "magic"), [("svg", b"<?xml"), ("png", b"\x89PNG"), ("pdf", b"%PDF")])
def test_every_renderer_makes_every_format(which, suffix, magic, square):
    assert renderer(which).render(draw(square).dot, suffix).startswith(magic)


@pytest.mark.parametrize("suffix", ["svg", "png", "pdf"])
def test_a_picture_is_rendered_in_the_format_of_the_suffix(suffix, square, tmp_path):
    path = tmp_path / f"square.{suffix}"
    if not render.renderers():
        pytest.skip("no renderer is installed")
    assert draw(square).render(path) == path
    assert path.stat().st_size > 500


def test_gv_needs_no_renderer(square, tmp_path, monkeypatch):
    without_dot(monkeypatch)
    without_pygraphviz(monkeypatch)
    draw(square, tmp_path / "square.gv")
    assert (tmp_path / "square.gv").read_text(encoding="utf-8") == draw(square).dot


def test_dot_comes_first(monkeypatch):
    renderer("dot")
    renderer("pygraphviz")
    assert [installed.name for installed in render.renderers()] == ["dot", "pygraphviz"]


def test_pygraphviz_renders_where_there_is_no_dot(square, tmp_path, monkeypatch):
    renderer("pygraphviz")
    without_dot(monkeypatch)
    assert [installed.name for installed in render.renderers()] == ["pygraphviz"]
    draw(square, tmp_path / "square.svg")
    assert "<svg" in (tmp_path / "square.svg").read_text(encoding="utf-8")


def test_without_a_renderer_the_gv_is_written_and_the_message_names_both_fixes(square, tmp_path, monkeypatch):
    without_dot(monkeypatch)
    without_pygraphviz(monkeypatch)
    assert render.renderers() == ()
    with pytest.raises(tg.RenderError) as caught:
        draw(square, tmp_path / "square.svg")
    assert "`pip install pygraphviz matplotlib`" in str(caught.value)
    assert "`dot` is on PATH" in str(caught.value)
    assert "square.gv" in str(caught.value)
    assert (tmp_path / "square.gv").read_text(encoding="utf-8") == draw(square).dot
    assert not (tmp_path / "square.svg").exists()


def test_pygraphviz_that_is_too_old_is_no_renderer(monkeypatch):
    without_dot(monkeypatch)
    monkeypatch.setattr(render, "pygraphviz_version", lambda: "1.14")
    assert render.renderers() == ()


def test_a_module_that_only_has_the_name_of_pygraphviz_is_no_renderer(monkeypatch):
    without_dot(monkeypatch)
    monkeypatch.setitem(sys.modules, "pygraphviz", types.ModuleType("pygraphviz"))
    assert render.pygraphviz_version() is None
    assert render.renderers() == ()


def test_a_renderer_that_fails_is_followed_by_the_next(square, monkeypatch):
    broken = render.Renderer("broken", "1", [sys.executable, "-c", "raise SystemExit('it is broken')"])
    sound = render.Renderer("sound", "2", [sys.executable, "-c", "print('picture')"])
    monkeypatch.setattr(render, "renderers", lambda: (broken, sound))
    with pytest.warns(UserWarning, match="broken failed: it is broken; sound rendered the picture instead"):
        assert render.render("digraph {}", "svg").split() == [b"picture"]
    monkeypatch.setattr(render, "renderers", lambda: (broken,))
    with pytest.raises(tg.RenderError, match="as svg: broken failed: it is broken"):
        render.render("digraph {}", "svg")


@pytest.mark.skipif(sys.platform == "win32", reason="the programs are shell scripts")
@pytest.mark.parametrize(
    ("script", "fault"),
    [
        (
            "echo 'libcgraph.so.6 is missing' >&2; echo 'and more' >&2; exit 127",
            "dot failed: libcgraph.so.6 is missing",
        ),
        ("exit 3", "dot failed: it ended with code 3"),
        ("exit 0", "dot failed: it wrote no picture"),
        ("exec /bin/sleep 60", "dot failed: it did not end within [0-9.]+ seconds"),
    ],
)
def test_a_dot_that_does_not_work_is_reported_and_followed_by_pygraphviz(script, fault, square, tmp_path, monkeypatch):
    program = tmp_path / "dot"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    # Long enough for pygraphviz, which starts a Python of its own.
    monkeypatch.setattr(render, "TIMEOUT", 5.0)
    monkeypatch.setattr(render, "VERSION_TIMEOUT", 0.2)
    assert render.dot_version() is None
    if any(installed.name == "pygraphviz" for installed in render.renderers()):
        with pytest.warns(UserWarning, match=f"{fault}; pygraphviz rendered"):
            assert "<svg" in draw(square).svg()
    monkeypatch.setattr(render, "TIMEOUT", 0.2)
    without_pygraphviz(monkeypatch)
    with pytest.raises(tg.RenderError, match=f"as svg: {fault}$"):
        draw(square).svg()


@pytest.mark.parametrize("which", ["dot", "pygraphviz"])
def test_what_a_renderer_says_is_in_the_error(which, capfd):
    with pytest.raises(tg.RenderError) as caught:
        renderer(which).render("digraph { a [", "svg")
    assert "syntax error" in str(caught.value)
    assert capfd.readouterr().err == ""


def test_a_format_that_a_renderer_lacks_is_an_error():
    for which in ("dot", "pygraphviz"):
        with pytest.raises(tg.RenderError, match=r"(?i)format|error"):
            renderer(which).render("digraph {}", "exr")
    with pytest.raises(tg.RenderError, match="'svg', 'png' and 'pdf'; found 'exr'"):
        render.render("digraph {}", "exr")


def test_pygraphviz_that_cannot_be_imported_is_an_error_that_says_so(tmp_path, monkeypatch):
    found = renderer("pygraphviz")
    (tmp_path / "pygraphviz.py").write_text("raise ImportError('libcgraph.so.6: no such file')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(tg.RenderError, match=r"ImportError: libcgraph\.so\.6: no such file"):
        found.render("digraph {}", "svg")


@pytest.mark.parametrize("name", ["picture.jpg", "picture.sgv", "picture"])
def test_an_unknown_suffix_is_an_error_with_the_valid_ones(name, square, tmp_path):
    with pytest.raises(tg.RenderError, match=r"'.gv', '.svg', '.png' and '.pdf'"):
        draw(square, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", ["gv", "svg"])
def test_a_folder_that_cannot_be_written_to_is_an_error(suffix, square, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(tg.RenderError, match="cannot be written: there is no folder"):
        draw(square, tmp_path / "file" / f"square.{suffix}")


# Notebooks


def test_a_notebook_gets_svg(square):
    renderer("dot")
    bundle = draw(square)._repr_mimebundle_(include=None, exclude=None)
    assert "<svg" in bundle["image/svg+xml"]
    assert bundle["text/plain"] == str(draw(square))


def test_a_notebook_gets_text_where_nothing_renders(square, monkeypatch):
    without_dot(monkeypatch)
    without_pygraphviz(monkeypatch)
    bundle = draw(square)._repr_mimebundle_()
    assert list(bundle) == ["text/plain"]
    assert "= x * x" in bundle["text/plain"]
    assert "`pip install pygraphviz matplotlib`" in bundle["text/plain"]


def test_a_picture_says_what_it_holds(square):
    picture = draw(square)
    assert isinstance(picture, Picture)
    assert repr(picture) == "<Picture: 2 cards, 5 edges>"


def test_tensors_graphs_and_models_show_themselves(square):
    renderer("dot")
    for thing in (square, tg.Graph(square), load_model("xor")):
        bundle = thing._repr_mimebundle_()
        assert "<svg" in bundle["image/svg+xml"]
        assert bundle["text/plain"] in (str(thing), repr(thing))


def test_tensors_graphs_and_models_are_text_where_nothing_renders(square, monkeypatch):
    without_dot(monkeypatch)
    without_pygraphviz(monkeypatch)
    for thing in (square, tg.Graph(square), load_model("xor")):
        assert list(thing._repr_mimebundle_()) == ["text/plain"]


def test_a_very_large_graph_does_not_draw_itself(monkeypatch):
    monkeypatch.setattr(sys.modules["tinygraph.draw.picture"], "MOST_SHOWN", 3)
    x = tg.tensor(0.5, name="x")
    assert "image/svg+xml" not in tg.tanh(tg.tanh(tg.tanh(x)))._repr_mimebundle_()
    assert "image/svg+xml" not in tg.Graph(tg.tanh(tg.tanh(tg.tanh(x))))._repr_mimebundle_()


def test_pictures_on_one_page_have_titles_of_their_own(square):
    renderer("dot")
    first, second = draw(square, title="one").svg(), draw(square, title="two").svg()
    owners = [ElementTree.fromstring(svg).get("aria-labelledby") for svg in (first, second)]
    assert owners[0] != owners[1]
    assert all(f'id="{owner.split()[0]}"' in svg for owner, svg in zip(owners, (first, second), strict=True))


def test_what_stands_beside_a_card_is_joined_to_it_from_whichever_side():
    x, w = tg.input("x", (3, 4)), tg.parameter(np.ones((1, 4)), name="w")
    h = x * w
    dot = draw(tg.concatenate([h, h, x]).sum()).dot
    assert "_side:n2v:_ -> n3:v:_" in dot
    assert "n3:g:_ -> n3_side:n2g:_" in dot


# Fonts


@pytest.fixture
def unconfigured(monkeypatch):
    """A Linux on which nothing says where fonts are."""
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("FONTCONFIG_FILE", raising=False)
    monkeypatch.delenv("FONTCONFIG_PATH", raising=False)


def test_a_renderer_gets_fonts_where_the_machine_has_none(tmp_path, unconfigured):
    pytest.importorskip("matplotlib")
    with render.font_environment([tmp_path]) as environment:
        file = Path(environment["FONTCONFIG_FILE"])
        assert "mpl-data" in file.read_text(encoding="utf-8")
        assert "FONTCONFIG_FILE" not in os.environ
    assert not file.exists()


def test_a_machine_with_fonts_or_settings_keeps_them(tmp_path, unconfigured, monkeypatch):
    (tmp_path / "some.ttf").write_bytes(b"")
    with render.font_environment([tmp_path]) as environment:
        assert "FONTCONFIG_FILE" not in environment
    monkeypatch.setenv("FONTCONFIG_FILE", "mine.conf")
    with render.font_environment([]) as environment:
        assert environment["FONTCONFIG_FILE"] == "mine.conf"


def test_without_matplotlib_there_are_no_fonts_to_give(tmp_path, unconfigured, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with render.font_environment([tmp_path]) as environment:
        assert "FONTCONFIG_FILE" not in environment


@pytest.mark.parametrize("which", ["dot", "pygraphviz"])
def test_a_picture_with_the_given_fonts_has_letters(which, square, unconfigured, monkeypatch):
    pytest.importorskip("matplotlib")
    found = renderer(which)
    monkeypatch.setattr(render, "_has_fonts", lambda folders: False)
    assert len(found.render(draw(square).dot, "png")) > 5000


def test_drawing_does_not_change_the_graph(square):
    names = [node.name for node in tg.Graph(square).nodes]
    draw(square)
    assert [node.name for node in tg.Graph(square).nodes] == names
    assert isinstance(square.op, Op)


# Two lanes, values and folding


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
    assert "dZ3 = a - y at once" in cards["a"].note


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
    equations = "\\n".join(f"a{i + 1} = instance_norm(relu(a{i}), g, b)" for i in range(70))
    model = tg.Model.from_toml(
        "[inputs]\na0 = [3, 4, 4]\n[parameters]\ng = { shape = [3], init = 'ones' }\nb = { shape = [3], init = 'zeros' }\n"
        f'[model]\nequations = "{equations}"\noutput = "a70"\nloss = false'
    )
    folded = [card for card in draw(model).drawing.cards if card.kind == "folded"]
    assert folded
    assert {part.partition(" x")[0] for card in folded for part in card.expression.split(", ")} == {
        "instance_norm",
        "relu",
    }


def test_a_block_folds_to_one_card_that_says_what_it_holds():
    drawing = draw(load_model("residual"), fold=["R1"]).drawing
    (folded,) = [card for card in drawing.cards if card.kind == "folded"]
    assert (folded.title, folded.symbol) == ("R1", "R1")
    assert "2,616 parameters" in folded.attributes
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
    svg = ElementTree.fromstring(picture.svg())
    assert svg.get("role") == "img"
    assert svg.find(f"{SVG}title").text == model.title
    ids = [group.get("id") for group in svg.iter(f"{SVG}g")]
    assert all(ids.count(card.id) == 1 for card in picture.drawing.cards)


def test_a_sum_says_what_is_summed(square):
    x, _ = draw(square).drawing.cards
    assert x.rules == ("dx = x + x",)
    many = tg.tensor(1.0, name="x")
    y = sum([tg.exp(many * k) for k in range(2, 12)], start=many)
    assert draw(y).drawing.cards[0].rules == ("dx = the sum of 11",)


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
    assert "dx += x, float64 (), norm 3" in [edge.text for edge in drawing.edges]
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
    picture = draw(tg.tanh(x).sum())
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
    assert len(picture.drawing.cards) == 40
    assert "10,001 cards are folded into 40" in picture.drawing.caption
    if render.renderers():
        assert picture.svg().count('class="node card folded') == 40


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


def test_folded_cards_end_in_an_operation():
    count = 32
    names = [f"{kind}{i}" for i in range(count) for kind in "WB"]
    lines = [f"h{i} = tanh({f'h{i - 1}' if i else 'x'} @ W{i} + B{i})" for i in range(count)]
    shapes = {name: {"shape": [2] * (1 + name.startswith("W")), "init": "ones"} for name in names}
    model = tg.Model({"x": [2]}, shapes, "\n".join(lines), lines[-1].split()[0])
    cards = draw(model, view="forward").drawing.cards
    assert 10 < len(cards) <= 60
    assert not any(card.expression.partition(" ")[0] in names for card in cards if card.kind == "folded")
    assert not any(card.kind == "parameter" for card in cards)


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
