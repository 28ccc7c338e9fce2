"""What the tests of this room share."""

import pytest

from tests.tools.lecture_notes import NotesCNN


@pytest.fixture(scope="module", params=[(1, 1), (3, 1), (3, 0)], ids=["one-sample", "batch", "batch-unpadded"])
def cnn(request):
    return NotesCNN(*request.param)
