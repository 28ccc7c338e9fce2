"""The pictures of small graphs, as text: the same graph gives the same DOT, to the letter."""

from pathlib import Path

import pytest

from tests.pictures import pictures

GOLDEN = Path(__file__).parents[1] / "golden" / "pictures"
# Without numbers that a processor or a library may round in its own way.
NAMES = ("square", "diamond", "expression", "matrix", "mistake", "xor", "xor_forward", "residual", "residual_folded")


@pytest.mark.parametrize("name", NAMES)
def test_a_small_graph_gives_the_golden_text(name):
    assert pictures()[name]().dot == (GOLDEN / f"{name}.gv").read_text(encoding="utf-8")
