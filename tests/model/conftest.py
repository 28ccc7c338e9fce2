"""What the tests of this room share."""

import pytest

import tinygraph as tg


@pytest.fixture
def mistake(tmp_path):
    """Load a text as a file and return the error, whose place stands at the head of its message."""

    def load(text):
        path = tmp_path / "net.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(tg.ModelError) as caught:
            tg.load_model(path)
        error = caught.value
        assert error.file == str(path)
        parts = [str(part) for part in (path, error.line, error.column) if part is not None]
        assert str(error).startswith(":".join(parts) + ": ")
        return error

    return load
