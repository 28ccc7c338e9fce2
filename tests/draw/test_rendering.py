"""Rendered pictures: formats, missing programs, notebooks and fonts."""

import base64
import importlib.util
import os
import re
import sys
import types
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

import tinygraph as tg
from tests.tools.pictures import SVG as SPACE
from tests.tools.pictures import renderer
from tinygraph.draw import Picture, draw, render
from tinygraph.graph.op import Op
from tinygraph.model import load_model

SVG = b'<svg width="1pt"><g id="n1" class="node"></g></svg>'


def without_dot(monkeypatch):
    monkeypatch.setenv("PATH", "")


def without_pygraphviz(monkeypatch):
    monkeypatch.setitem(sys.modules, "pygraphviz", None)


# ---- Rendering


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


def test_a_layout_that_takes_too_long_is_not_tried_again_and_the_message_names_folding(square, monkeypatch):
    slow = render.Renderer("slow", "1", [sys.executable, "-c", "import time; time.sleep(60)"])
    never = render.Renderer("never", "2", [sys.executable, "-c", "print('tried again')"])
    monkeypatch.setattr(render, "renderers", lambda: (slow, never))
    monkeypatch.setattr(render, "TIMEOUT", 0.1)
    with pytest.raises(tg.RenderError, match=r'did not end within 0.1 seconds; fold="all" \(--fold all'):
        draw(square).svg()


@pytest.mark.parametrize("which", ["dot", "pygraphviz"])
def test_a_png_that_graphviz_makes_smaller_is_said(which):
    found = renderer(which)
    tall = "digraph { n [shape=box, height=500] }"
    with pytest.warns(UserWarning, match="smaller, by a factor of 0.6.*write SVG or PDF"):
        assert found.render(tall, "png").startswith(b"\x89PNG")
    assert found.render(tall, "svg")


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


# ---- Notebooks


def test_a_notebook_gets_svg(square):
    renderer("dot")
    bundle = draw(square)._repr_mimebundle_(include=None, exclude=None)
    assert "<svg" in bundle["image/svg+xml"]
    assert bundle["text/plain"] == str(draw(square))


def test_a_notebook_gets_png_for_pdf_and_for_notebooks_that_are_not_trusted(square):
    renderer("dot")
    for thing in (draw(square), square, load_model("xor")):
        bundle = thing._repr_mimebundle_()
        assert list(bundle) == ["text/plain", "image/svg+xml", "image/png"]
        assert base64.b64decode(bundle["image/png"]).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("include", "exclude", "types"),
    [
        (["text/plain"], None, ["text/plain"]),
        (["image/png"], None, ["image/png"]),
        (["text/html"], None, []),
        (None, ["image/svg+xml"], ["text/plain", "image/png"]),
        (["text/plain", "image/svg+xml"], ["text/plain"], ["image/svg+xml"]),
    ],
)
def test_a_notebook_gets_the_types_that_it_asks_for_and_no_other_is_rendered(
    include, exclude, types, square, monkeypatch
):
    made = []
    monkeypatch.setattr(sys.modules["tinygraph.draw.picture"], "render", lambda dot, format: made.append(format) or SVG)
    for thing in (draw(square), square, tg.Graph(square), load_model("xor")):
        made.clear()
        assert list(thing._repr_mimebundle_(include=include, exclude=exclude)) == types
        assert made == [kind.removeprefix("image/").removesuffix("+xml") for kind in types if "image" in kind]


def test_a_picture_that_is_higher_than_a_screen_scrolls_in_a_notebook():
    renderer("dot")
    high = load_model("notes_cnn")._repr_mimebundle_(exclude=["image/png"])
    assert list(high) == ["text/plain", "text/html", "image/svg+xml"]
    frame = ElementTree.fromstring(high["text/html"])
    assert "height: 640px; overflow: auto" in frame.get("style")
    assert high["image/svg+xml"].partition("<svg")[2] in high["text/html"]


def test_a_large_picture_is_a_png_only_on_request(monkeypatch):
    monkeypatch.setattr(sys.modules["tinygraph.draw.picture"], "render", lambda dot, format: SVG)
    x = tg.tensor(0.5, name="x")
    for _ in range(40):
        x = tg.tanh(x)
    assert list(draw(x, fold="none")._repr_mimebundle_()) == ["text/plain", "image/svg+xml"]
    assert list(draw(x, fold="none")._repr_mimebundle_(include=["image/png"])) == ["image/png"]


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


def test_pictures_on_one_page_share_no_id(square):
    renderer("dot")
    svgs = [draw(square, title="one").svg(), draw(square, title="two").svg(), draw(square).svg("step-")]
    ids = [{each.get("id") for each in ElementTree.fromstring(svg).iter()} - {None} for svg in svgs]
    assert len(set.union(*ids)) == sum(map(len, ids))
    assert "step-n1" in ids[2]
    for svg, own in zip(svgs, ids, strict=True):
        root = ElementTree.fromstring(svg)
        assert set(root.get("aria-labelledby").split()) <= own
        assert set(re.findall(r"#([\w-]+) ", root.find(f"{SPACE}style").text)) == {root.get("id")}
    assert draw(square, title="one").svg() == svgs[0]


@pytest.mark.parametrize("prefix", ["a b", 'x"', "1", "é"])
def test_a_prefix_that_is_no_id_is_an_error(prefix, square, monkeypatch):
    monkeypatch.setattr(sys.modules["tinygraph.draw.picture"], "render", lambda dot, format: SVG)
    with pytest.raises(tg.RenderError, match="found the prefix"):
        draw(square).svg(prefix)


def test_what_stands_beside_a_card_is_joined_to_it_from_whichever_side():
    x, w = tg.input("x", (3, 4)), tg.parameter(np.ones((1, 4)), name="w")
    h = x * w
    dot = draw(tg.concatenate([h, h, x]).sum()).dot
    assert "_side:n2v:_ -> n3:v:_" in dot
    assert "n3:g:_ -> n3_side:n2g:_" in dot


# ---- Fonts


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
