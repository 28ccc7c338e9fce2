"""The pictures of small graphs, as text: the same graph gives the same DOT, to the letter."""

from pathlib import Path

import pytest

import tinygraph as tg

GOLDEN = Path(__file__).parent / "golden" / "pictures"


def square():
    x = tg.tensor(3.0, name="x")
    return x * x


def diamond():
    x = tg.tensor(2.0, name="x")
    return x**2 * (x + 1)


GRAPHS = {"square": square, "diamond": diamond}


@pytest.mark.parametrize("name", GRAPHS)
def test_a_small_graph_gives_the_golden_text(name):
    assert tg.draw(GRAPHS[name](), title=name).dot == (GOLDEN / f"{name}.gv").read_text(encoding="utf-8")
