"""What tests of the page of the notes share."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.tools.browser import browser


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as found:
        yield found
