"""What tests share."""

import pytest

from tinygraph.graph.registry import NUMPY_FUNCTIONS, OPERATIONS


@pytest.fixture
def registry():
    """The table of operations, put back afterwards as it was."""
    operations, functions = dict(OPERATIONS), dict(NUMPY_FUNCTIONS)
    yield OPERATIONS
    for table, kept in ((OPERATIONS, operations), (NUMPY_FUNCTIONS, functions)):
        table.clear()
        table.update(kept)
