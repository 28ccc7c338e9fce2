"""The page of all operations has an entry for each, with all that belongs to one."""

import re
import shutil

import pytest
from operations_page import built_in, entry, notes_ids, signature, source_of, title_of, write_page

import tinygraph as tg
from tinygraph.draw import render

BUILT_IN = [name for name, function in tg.operations().items() if function.__module__.startswith("tinygraph.ops.")]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(render, "renderers", tuple)
        return write_page(tmp_path_factory.mktemp("docs")).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", BUILT_IN)
def test_operation_has_an_entry_with_all_its_parts(page, name):
    text = page.partition(f"(op-{name})=\n### {name}\n")[2].partition("\n(op-")[0]
    op = tg.operation(name).op
    assert f"[{name}](#op-{name})" in page
    assert f"**Formula** `{op.readable_formula()}`" in text
    assert text.count("$$\n") >= 2
    assert "**Gradient**\n\n```text\n" in text
    assert re.search(r"\*\*Source\*\* \S", text)
    assert "**Example**\n\n```pycon\n>>> " in text
    assert all(f"- `{attribute}" in text for attribute in op.attribute_annotations())


def test_formulas_hold_nothing_but_tex(page):
    assert not re.search("[\U000f0000-\U0010fffd]", page)
    assert "$$\nz = x^{y}\n$$" in page


def test_pictures_are_text_where_nothing_renders(page):
    assert "![" not in page
    assert "  dL/dy  dx = dy * (x > 0)" in page


@pytest.mark.skipif(shutil.which("dot") is None, reason="no renderer")
def test_a_picture_holds_the_operation_and_its_rule(tmp_path):
    text = "\n".join(entry(tg.relu.op, tmp_path))
    assert "![relu on its first sample, with its gradient rule](operations/relu.svg)" in text
    svg = (tmp_path / "relu.svg").read_text(encoding="utf-8")
    assert "dx = dy * (x &gt; 0)" in svg
    assert "dy = input" not in svg


def test_pictures_of_operations_that_are_gone_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(render, "renderers", tuple)
    (tmp_path / "operations").mkdir()
    (tmp_path / "operations" / "gone.svg").touch()
    write_page(tmp_path)
    assert not list((tmp_path / "operations").iterdir())


def test_source_is_taken_out_of_the_text():
    said, about = source_of(tg.conv2d.op)
    assert said == "[the lecture notes](notes.md), F1, F4"
    assert "Source" not in about
    assert source_of(tg.lp_pool1d.op)[0] == "as [`lp_pool2d`](#op-lp_pool2d)"
    assert source_of(tg.global_avg_pool.op)[0] == "Lin, Chen and Yan, 2013 (arXiv:1312.4400)"


def test_ids_are_those_of_the_notes_alone():
    assert notes_ids("Mean of each (notes F3, B11), of ``x (N, C1)``; (4.108).") == ["F3", "B11"]
    assert notes_ids("A pool (B11).") == []


def test_a_call_is_written_without_types():
    assert signature(tg.lp_pool2d.op).startswith("lp_pool2d(x, window, stride=None, padding=0")
    assert signature(tg.concatenate.op) == "concatenate([x, ...], *, axis=0)"


def test_families_have_titles_and_members_of_one_kind_stand_together():
    names = [op.name for op in built_in()["convolution"]]
    assert names[:3] == ["conv1d", "conv2d", "conv3d"]
    assert title_of("linear") == "Matrix products"
    assert title_of("some_family") == "Some family"
