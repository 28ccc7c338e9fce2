"""What the tests of this room share."""

import pytest

import tinygraph as tg


@pytest.fixture
def x():
    return tg.tensor([[0.5, -1.25, 2.0], [3.0, 0.25, -0.75]], name="x")
