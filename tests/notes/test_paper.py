"""The picture of a printed page of notes is readable: on sheets of its own where one would make it too small."""

import re
import xml.etree.ElementTree as ElementTree

import pytest

import tinygraph as tg
from tests.tools.pictures import SVG, renderer
from tinygraph.notes.document import Document, Figure, Section
from tinygraph.notes.html import html_text

pytest.importorskip("latex2mathml")


def page_of(picture):
    renderer("dot")
    figure = Figure(picture.svg(), str(picture), "", lambda: picture)
    return html_text(Document("a picture", (Section("picture", "The picture", (figure,)),)))


def test_a_large_picture_is_printed_on_sheets_whose_text_can_be_read():
    page = page_of(tg.draw(tg.load_model("residual")))
    shown = re.findall(r'<figure class="picture (screen|sheet)"[^>]*>(<svg.*?</svg>)\s*</figure>', page, re.S)
    assert [kind for kind, _ in shown] == ["screen", *["sheet"] * (len(shown) - 1)]
    assert len(shown) > 2
    for _, svg in shown[1:]:
        root = ElementTree.fromstring(svg)
        width, height = (float(root.get(side).removesuffix("pt")) for side in ("width", "height"))
        assert width <= 511
        assert height <= 681
        scale = float(re.match(r"scale\(([\d.]+)", root.find(f"{SVG}g").get("transform"))[1])
        scale *= width / float(root.get("viewBox").split()[2])
        assert min(float(text.get("font-size")) for text in root.iter(f"{SVG}text")) * scale >= 7 - 0.01
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(set(ids)) == len(ids)


def test_a_small_picture_is_printed_as_it_is_seen():
    page = page_of(tg.draw(tg.load_model("xor")))
    assert page.count("<svg") == 1
    assert 'class="picture"' in page
