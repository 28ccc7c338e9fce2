"""``tinygraph draw``."""

import sys
from pathlib import Path

import pytest

from tinygraph.cli.options import file_name
from tinygraph.draw import render
from tinygraph.model import bundled_models


@pytest.mark.parametrize("name", list(bundled_models()))
def test_every_bundled_model_is_drawn(name, run):
    assert run("draw", name, "-o", "picture.gv").stdout == "wrote picture.gv\n"
    assert Path("picture.gv").read_text(encoding="utf-8").startswith("digraph tinygraph {")


@pytest.mark.parametrize("suffix", ["svg", "png", "pdf"])
def test_pictures_are_rendered(suffix, run):
    if not render.renderers():
        pytest.skip("no renderer is installed")
    assert run("draw", "xor", "-o", f"picture.{suffix}").exit_code == 0
    assert Path(f"picture.{suffix}").stat().st_size > 500


def test_a_picture_is_named_after_its_model(run):
    if not render.renderers():
        pytest.skip("no renderer is installed")
    assert run("draw", "xor").stdout == "wrote xor.svg\n"


def test_a_picture_for_paper_is_a_pdf_and_one_with_pixels_a_png(run, fails):
    if not render.renderers():
        pytest.skip("no renderer is installed")
    assert run("draw", "xor", "--pages", "a4").stdout == "wrote xor.pdf\n"
    assert run("draw", "xor", "--dpi", "50", "--width", "5cm", "--direction", "right").stdout == "wrote xor.png\n"
    assert run("draw", "lenet5", "--pages", "a5", "-o", "x.png").stdout.startswith("wrote x-1.png\nwrote x-2.png\n")
    assert "found 'a9'" in fails("draw", "xor", "--pages", "a9")


def test_without_a_renderer_draw_leaves_the_gv_and_names_both_fixes(fails, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    message = fails("draw", "xor")
    assert "wrote 'xor.gv'" in message
    assert "`pip install pygraphviz matplotlib`" in message
    assert "`dot` is on PATH" in message
    assert Path("xor.gv").is_file()


def test_pictures_of_unknown_formats_and_in_unwritable_folders_are_refused(fails):
    assert "'.gv', '.svg', '.png' and '.pdf'" in fails("draw", "xor", "-o", "x.jpg")
    Path("somefile").write_text("")
    assert "cannot be written" in fails("draw", "xor", "-o", "somefile/x.gv")


def test_the_name_of_a_model_is_no_way_out_of_the_folder():
    assert file_name("../../etc/passwd") == "etc_passwd"
    assert file_name("..") == "model"
    assert file_name("ŷ net") == "ŷ_net"


def test_a_batch_of_samples_is_drawn_with_its_numbers(run, fails):
    text = run("draw", "xor", "--sample", "0", "--batch-size", "4", "--format", "text").stdout
    assert "float32 (4, 2)" in text
    assert "the data have 2 samples from sample 2 on; 4 are to be drawn" in fails(
        "draw", "xor", "--sample", "2", "--batch-size", "4"
    )


def test_the_size_from_which_on_heat_maps_are_drawn_is_an_option(run):
    for size in ("0", "9"):
        run("draw", "xor", "--sample", "1", "--numbers", size, "-o", f"{size}.gv")
    assert "green above" in Path("0.gv").read_text()
    assert "green above" not in Path("9.gv").read_text()
