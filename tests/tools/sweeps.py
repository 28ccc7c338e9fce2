"""How much of a sweep a test run covers: everything, or a part (see ``tests/conftest.py``)."""

import os

SHARE = 8


def part(count: int) -> int:
    """Return ``count`` in a run of all cases, and a part of it in a run of samples."""
    return count if os.environ.get("TINYGRAPH_TESTS", "whole") == "whole" else count // SHARE
