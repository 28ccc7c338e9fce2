"""Tables, curves and images for notebooks: what is shown of long ones, and that nothing in them can break a page."""

import base64
import math
import zlib
from xml.etree import ElementTree

import numpy as np
import pytest

from tinygraph.describe import html

EVIL = "<script>alert('\u202e\x1b')</script> & \"more\""


def rows_of(page):
    return [[cell.text or "" for cell in row] for row in ElementTree.fromstring(page).iter("tr")][1:]


def test_a_table_shows_bad_rows_then_those_wanted_first_then_the_ends():
    rows = [(f"r{i}", "1") for i in range(1000)]
    shown = rows_of(html.table(("name", "figure"), rows, bad=[500, 400], first=[300], most=8, all_in="print(x)"))
    assert [row[0] for row in shown[:-1]] == ["r0", "r1", "r300", "r400", "r500", "r997", "r998", "r999"]
    assert shown[-1] == ["8 of 1,000 rows; print(x) shows all"]
    assert len(rows_of(html.table(("name", "figure"), rows[: html.MOST_ROWS]))) == html.MOST_ROWS


def test_a_table_of_failures_alone_stays_short():
    rows = [(str(i),) for i in range(1000)]
    shown = rows_of(html.table(("i",), rows, bad=range(1000), most=10, notes={0: "why", 500: "hidden"}))
    assert [row[0] for row in shown] == ["0", "why", *map(str, range(1, 10)), "10 of 1,000 rows"]


def test_gaps_are_marked_where_no_number_says_so():
    table = html.table(("name",), [(f"r{i}",) for i in range(30)], most=5)
    assert [row.get("class") for row in ElementTree.fromstring(table).iter("tr")] == [None] * 3 + ["gap"] + [None] * 3


@pytest.mark.parametrize(
    ("cells", "to_the_right"),
    [
        (["1", "2.5", "-"], True),
        (["1e-05", "inf", ""], True),
        (["1,024", "-3.5"], True),
        (["0.0%", "12 ms"], True),
        (["3 of 4"], False),
        (["x", "1"], False),
        (["float32 (2,)"], False),
    ],
)
def test_columns_of_numbers_are_to_the_right(cells, to_the_right):
    found = {cell.get("class") for cell in ElementTree.fromstring(html.table(("c",), [(c,) for c in cells])).iter("td")}
    assert found == {"n" if to_the_right else None}


def test_text_of_strangers_stays_text():
    parts = [
        html.table((EVIL,), [(EVIL,)], EVIL, notes={0: EVIL}),
        html.curve(EVIL, 1, {EVIL: [1.0, 2.0]}),
        html.image(np.eye(4), EVIL),
        html.paragraph(EVIL),
    ]
    page = ElementTree.fromstring(html.view(*parts))
    assert not list(page.iter("script"))
    assert "\u202e" not in "".join(page.itertext())
    assert "".join(page.itertext()).count("alert(") >= 6


@pytest.mark.parametrize(
    ("series", "lines"),
    [
        ({"a": [1.0, 1.0], "b": [None, None]}, 1),
        ({"a": [math.nan, 1.0, math.inf, 2.0], "b": [1e308, -1e308, 0.0, 1.0]}, 2),
        ({"a": [0.0] * 10_000}, 1),
        ({"a": [1.0]}, 0),
        ({"a": []}, 0),
        ({"a": [math.nan] * 3}, 0),
    ],
)
def test_a_curve_is_drawn_from_numbers_alone(series, lines):
    svg = html.curve("loss", 1, series)
    assert svg.count("<polyline") == lines
    if svg:
        for line in ElementTree.fromstring(svg).iter("polyline"):
            points = [tuple(map(float, point.split(","))) for point in line.get("points").split()]
            assert len(points) <= 152
            assert all(46 <= x <= 300 and 22 <= y <= 118 for x, y in points)


@pytest.mark.parametrize("shape", [(2, 3), (1, 2, 3), (3, 2, 3)])
def test_an_image_holds_the_pixels(shape):
    pixels = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
    source = ElementTree.fromstring(html.image(pixels)).find("img").get("src")
    png = base64.b64decode(source.partition(",")[2])
    size = int.from_bytes(png[16:20]), int.from_bytes(png[20:24])
    assert size == (3, 2)
    lines = np.frombuffer(zlib.decompress(png[png.index(b"IDAT") + 4 : png.index(b"IEND") - 8]), np.uint8).reshape(
        2, -1
    )
    assert not lines[:, 0].any()
    found = lines[:, 1:].reshape(2, 3, -1).transpose(2, 0, 1).reshape(shape)
    np.testing.assert_array_equal(found, (pixels / pixels.max() * 255).astype(np.uint8))


@pytest.mark.parametrize(
    "pixels", [np.full((4, 4), 7), np.full((4, 4), np.nan), np.array([[1e38, np.inf], [-1e38, 0]])]
)
def test_an_image_is_made_of_any_numbers(pixels):
    with np.errstate(all="ignore"):
        assert "data:image/png" in html.image(pixels)
