"""The colours of pictures are readable, on paper and on a dark screen."""

import xml.etree.ElementTree as ElementTree

import pytest

import tinygraph as tg
from tests.tools.pictures import SVG, renderer
from tinygraph.draw import colours, draw, render
from tinygraph.draw.figures import LEVELS, colour

HEADERS = {colours.tint(family) for family in (*colours.FAMILIES.values(), colours.CUSTOM)}
# What is written on what.
PAIRS = [
    *((colours.INK, shade) for shade in sorted({*HEADERS, colours.WARNING, colours.WRONG, colours.RIGHT})),
    *((ink, colours.tint(colours.PARAMETER)) for ink in (colours.INK, colours.QUIET)),
    *(
        (ink, paper)
        for ink in (colours.INK, colours.QUIET, colours.VALUE_INK, colours.GRADIENT_INK)
        for paper in (colours.PAPER, colours.BLOCK)
    ),
]


def luminance(shade):
    parts = [int(shade[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(ink, paper):
    """Return the contrast of WCAG 2: 4.5 is asked of small text."""
    low, high = sorted((luminance(ink), luminance(paper)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(("ink", "paper"), PAIRS)
def test_text_is_readable_on_paper_and_on_a_dark_screen(ink, paper):
    assert contrast(ink, paper) >= 4.5
    assert contrast(colours.DARK[ink], colours.DARK[paper]) >= 4.5


@pytest.mark.parametrize(
    "lane", [colours.VALUE_LANE, colours.GRADIENT_LANE, *(v[1] for v in colours.VERDICTS.values())]
)
def test_lines_are_seen_on_paper_and_on_a_dark_screen(lane):
    for paper in (colours.PAPER, colours.BLOCK):
        assert contrast(lane, paper) >= 3
        assert contrast(colours.DARK[lane], colours.DARK[paper]) >= 3


@pytest.mark.parametrize("which", ["dot", "pygraphviz"])
def test_every_colour_of_a_picture_has_a_dark_one_or_belongs_to_a_heat_map(which, monkeypatch):
    found = renderer(which)
    monkeypatch.setattr(render, "renderers", lambda: (found,))
    x = tg.tensor([[1.0, 0.0, -2.0, 3.0]], name="x")
    y = tg.relu(x * x).sum() + tg.exp(x).sum()
    root = ElementTree.fromstring(draw(y, report=tg.check(y)).svg())
    light = {shade.lower() for shade in colours.DARK}
    heat = {colour(level).lower() for level in (*range(-LEVELS, LEVELS + 1), "nan", "inf")}
    style = root.find(f"{SVG}style").text
    assert style.startswith("@media screen and (prefers-color-scheme: dark)")
    painted = [(each, each.get(kind)) for each in root.iter() for kind in ("fill", "stroke") if each.get(kind)]
    assert len(painted) > 50
    for each, shade in painted:
        if shade.startswith("#"):
            cell = each.tag == f"{SVG}path" and each.get("shape-rendering")
            assert shade in (heat if cell else {*light, "#bbbbbb"})
            assert cell or shade == "#bbbbbb" or f'="{shade}"]' in style
