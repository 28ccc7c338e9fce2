"""What the tests of this room share."""

import pytest

import tinygraph as tg


@pytest.fixture
def square():
    x = tg.tensor(3.0, name="x")
    return x * x
