"""The pictures of the documentation: they are those that the command makes now."""

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from tests.pictures import FORMATS, main, pictures
from tinygraph.draw import render
from tinygraph.model import bundled_models

DOCS = Path(__file__).parents[2] / "docs"
NUMBER = re.compile(r"-?\d+(\.\d+)?(e[-+]?\d+)?")


def said(svg):
    """The ids, classes and texts of an SVG, and no coordinates; numbers differ between machines in their last digits.

    So does the prefix of ids, which is made from all of the picture.
    """
    tree = ElementTree.fromstring(re.sub(r"(?<=[\"#])p[0-9a-f]{8}-", "", svg))
    groups = [(element.get("id"), element.get("class")) for element in tree.iter() if element.tag.endswith("}g")]
    lines = [NUMBER.sub("#", "".join(element.itertext())) for element in tree.iter() if element.tag.endswith("}text")]
    # The place of the largest error is shown where the error is more than rounding.
    lines = [re.sub(r"(relative error #) (?:at \[.*?\] of|for) ", r"\1 of ", line) for line in lines]
    return sorted(map(str, groups)), sorted(lines)


@pytest.mark.parametrize("name", pictures())
def test_a_picture_of_the_docs_is_the_one_made_now(name):
    if not render.renderers():
        pytest.skip("no renderer is installed")
    kept = (DOCS / "pictures" / f"{name}.svg").read_text(encoding="utf-8")
    assert said(pictures()[name]().svg()) == said(kept)


def test_the_pages_show_every_picture():
    text = "".join((DOCS / page).read_text(encoding="utf-8") for page in ("pictures.md", "exercise.md"))
    shown = re.findall(r"!\[.+\]\(pictures/(\w+)\.svg\)", text)
    assert sorted(shown) == sorted(pictures())
    assert sorted(path.stem for path in (DOCS / "pictures").glob("*.svg")) == sorted(pictures())


def test_every_bundled_model_has_a_picture():
    assert set(bundled_models()) <= set(pictures())


def test_the_command_writes_what_is_asked_for(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "out"
    monkeypatch.setattr("sys.argv", ["pictures", str(folder), "--format", "gv", "--only", "square", "mistake"])
    main()
    assert sorted(path.name for path in folder.iterdir()) == ["mistake.gv", "square.gv"]
    assert "square.gv" in capsys.readouterr().out
    assert "gv" in FORMATS


def test_the_screenshot_of_the_page_is_small_and_shown():
    file = DOCS / "pictures" / "page.png"
    assert file.stat().st_size < 100_000
    assert all(
        "pictures/page.png" in (DOCS / page).read_text(encoding="utf-8") for page in ("../README.md", "derived.md")
    )
