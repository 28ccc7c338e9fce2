"""A model with a mistake, drawn as far as it is valid."""

import xml.etree.ElementTree as ElementTree

import pytest
from click.testing import CliRunner

import tinygraph as tg
from tinygraph.cli import main
from tinygraph.draw import draw, render
from tinygraph.model import Model, load_model

BAD = """
name = "bad"
title = "It stops"
[inputs]
Inp = [1, 8, 8]
y = [1]
[parameters]
K1 = { shape = [8, 1, 3, 3], init = "he_normal" }
B1 = { shape = [8, 1, 1], init = "zeros" }
W3 = { shape = [100, 1], init = "glorot_uniform" }
B3 = { shape = [1], init = "zeros" }
[model]
equations = '''
Z1 = conv2d(Inp, K1, padding=1) + B1
P1 = avg_pool2d(Z1, 2)
f = flatten(P1)
Z3 = f @ W3 + B3
a = sigmoid(Z3)
cost = bce(a, y)
'''
output = "a"
loss = "cost"
"""


def mistake(equations, parameters=None, output="o", **more):
    tables = {"inputs": {"x": [3]}, "parameters": parameters or {}, "equations": equations, "output": output, **more}
    with pytest.raises(tg.ModelError) as caught:
        Model(**tables)
    return caught.value


def uses(drawing):
    symbols = {card.id: card.symbol for card in drawing.cards}
    return [(symbols[edge.tail], symbols[edge.head]) for edge in drawing.edges]


@pytest.fixture
def bad(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text(BAD, encoding="utf-8")
    return path


def test_what_is_valid_is_drawn_and_the_equation_that_is_not_is_an_error_card(bad):
    with pytest.raises(tg.ModelError) as caught:
        load_model(bad)
    drawing = draw(caught.value).drawing
    assert [card.symbol for card in drawing.cards] == ["Inp", "K1", "B1", "Z1", "P1", "f", "W3", "Z3"]
    card = drawing.cards[-1]
    assert (card.kind, card.number, card.title) == ("error", 4, "cannot be recorded")
    assert card.expression == "f @ W3 + B3"
    assert card.note == caught.value.message
    assert "the last axis of x (128) must match axis -2 of y (100)" in card.note
    assert uses(drawing)[-2:] == [("f", "Z3"), ("W3", "Z3")]
    assert drawing.title == "It stops"
    assert "as far as the model is valid" in drawing.caption


def test_an_error_card_is_red_and_has_a_place_in_the_legend(bad):
    with pytest.raises(tg.ModelError) as caught:
        load_model(bad)
    dot = draw(caught.value).dot
    assert 'class="card error"' in dot
    assert "red: what could not be recorded" in dot
    assert "error_side" in dot


def test_nothing_is_said_of_gradients_and_values(bad):
    with pytest.raises(tg.ModelError) as caught:
        load_model(bad)
    drawing = draw(caught.value, detail="full").drawing
    assert {edge.lane for edge in drawing.edges} == {"value"}
    assert {card.gradient for card in drawing.cards} == {""}
    assert draw(caught.value, view="backward").drawing.cards[-1].kind == "error"


def test_a_mistake_in_a_block_stands_in_its_frame():
    error = mistake(
        "h = tanh(x)\no = block(h)",
        blocks={
            "block": {
                "inputs": ["u"],
                "parameters": {"W": {"shape": [4, 2], "init": "ones"}},
                "equations": "v = relu(u)\nw = v @ W",
                "output": "w",
            }
        },
    )
    drawing = draw(error).drawing
    card = drawing.cards[-1]
    assert (card.symbol, card.group, card.expression) == ("o.w", "o", "o.v @ o.W")
    assert set(uses(drawing)[-2:]) == {("o.v", "o.w"), ("o.W", "o.w")}
    assert draw(error).dot.count("subgraph cluster_") == 1


def test_after_a_block_its_output_leads_to_the_mistake():
    error = mistake(
        "o = block(x) @ x",
        blocks={"block": {"inputs": ["u"], "parameters": {}, "equations": "v = relu(u)", "output": "v"}},
    )
    drawing = draw(error).drawing
    assert ("o.v", "o") in uses(drawing)
    assert ("x", "o") in uses(drawing)


@pytest.mark.parametrize(
    ("equations", "symbols", "note"),
    [
        ("h = tanh(x)\no = nothing(h)", ["x", "h", "o"], "no operation or block is called 'nothing'"),
        ("h = tanh(x)\no = h + q", ["x", "h", "o"], "'q' is not defined"),
        ("o = reshape(x, (7,))", ["x", "o"], "reshape"),
        ("h = tanh(x)\no = relu(3) + 1", ["x", "h", "o"], "must compute a tensor"),
    ],
)
def test_every_mistake_in_an_equation_is_drawn(equations, symbols, note):
    drawing = draw(mistake(equations)).drawing
    assert [card.symbol for card in drawing.cards] == symbols
    assert note in drawing.cards[-1].note


def test_a_mistake_of_the_whole_is_a_card_without_an_equation():
    drawing = draw(mistake("o = tanh(x)", output="p")).drawing
    card = drawing.cards[-1]
    assert (card.title, card.symbol, card.number) == ("the model is not valid", "", None)
    assert "the output 'p' is not defined" in card.note
    assert uses(drawing) == [("x", "o")]
    assert "the output" in draw(mistake("o = tanh(x)", output="p")).dot


def test_a_file_of_which_nothing_could_be_recorded_cannot_be_drawn():
    for error in (mistake("o = tanh(x"), mistake("o = tanh(x)", output=3)):
        assert error.recorded is None
        with pytest.raises(tg.TinygraphError, match="no equation of the model was recorded"):
            draw(error)


def test_a_mistake_in_a_large_model_is_folded_like_any_other():
    lines = ["h0 = tanh(x)", *(f"h{i} = tanh(h{i - 1})" for i in range(1, 100)), "o = h99 @ h98"]
    drawing = draw(mistake("\n".join(lines))).drawing
    assert len(drawing.cards) <= 61
    assert "101 cards are folded" in drawing.caption
    assert drawing.cards[-1].kind == "error"
    assert [edge for edge in drawing.edges if edge.head == "error"]


def test_a_sound_model_carries_nothing():
    assert tg.ModelError("no").recorded is None


@pytest.mark.parametrize("which", ["dot", "pygraphviz"])
@pytest.mark.parametrize("text", ["<script>alert(1)</script>", '"]; evil -> n1 [label=<b>]', "&lt;b&gt; \\N", "ŷ 数"])
def test_hostile_text_of_a_model_file_is_shown_literally(which, text):
    found = {installed.name: installed for installed in render.renderers()}
    if which not in found:
        pytest.skip(f"{which} is not installed")
    error = mistake(f"h = tanh(x)\no = reshape(h, {text!r})", title=text)
    svg = ElementTree.fromstring(found[which].render(draw(error).dot, "svg"))
    names = [element.tag.rpartition("}")[2] for element in svg.iter()]
    shown = [
        "".join(element.itertext()).replace("\xa0", " ") for element in svg.iter() if element.tag.endswith("}text")
    ]
    assert "script" not in names
    assert text in shown
    assert draw(error).drawing.cards[-1].note == error.message
    nodes = [element for element in svg.iter() if (element.get("class") or "").startswith("node")]
    assert len(nodes) == 3


# The command


def run(*args):
    return CliRunner().invoke(main, [str(arg) for arg in args])


def test_the_command_writes_the_picture_prints_the_error_and_ends_with_2(bad, tmp_path):
    result = run("draw", bad, "-o", tmp_path / "x.gv")
    assert result.exit_code == 2
    assert result.stdout == f"wrote {tmp_path / 'x.gv'}\n"
    assert result.stderr.startswith(f"error: {bad}:17:6: matmul")
    assert "cannot be recorded" in (tmp_path / "x.gv").read_text(encoding="utf-8")


def test_the_picture_is_called_after_the_file(bad, tmp_path, monkeypatch):
    if not render.renderers():
        pytest.skip("no renderer is installed")
    monkeypatch.chdir(tmp_path)
    assert run("draw", bad.name).stdout == "wrote bad.svg\n"
    assert "<svg" in (tmp_path / "bad.svg").read_text(encoding="utf-8")


def test_the_text_shows_the_mistake_too(bad):
    result = run("draw", bad, "--format", "text")
    assert result.exit_code == 2
    assert "Z3   = f @ W3 + B3\n       (matmul: x 'f' (2, 128)" in result.stdout


def test_without_a_renderer_the_mistake_is_still_told(bad, tmp_path, monkeypatch):
    monkeypatch.setattr(render, "renderers", lambda: ())
    result = run("draw", bad, "-o", tmp_path / "x.svg")
    assert result.exit_code == 2
    assert "note: wrote" in result.stderr
    assert "error: " in result.stderr
    assert "matmul: x 'f'" in result.stderr
    assert (tmp_path / "x.gv").exists()


def test_a_file_with_nothing_to_draw_is_its_error_alone(tmp_path):
    (tmp_path / "no.toml").write_text("[inputs", encoding="utf-8")
    result = run("draw", tmp_path / "no.toml", "-o", tmp_path / "x.gv")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert not (tmp_path / "x.gv").exists()
