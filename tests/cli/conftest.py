"""What tests of the command line share."""

import pytest
from click.testing import CliRunner

from tests.tools.commands import CUSTOM, OWN
from tinygraph.cli import main


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a command in an empty folder, and return its result; no command may end in an exception of its own."""
    monkeypatch.chdir(tmp_path)

    def invoke(*args):
        result = CliRunner().invoke(main, [str(arg) for arg in args])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert "\x1b" not in result.output
        return result

    return invoke


@pytest.fixture
def fails(run):
    """Run a command that must end in one clear message and code 2, and return the message."""

    def invoke(*args):
        result = run(*args)
        assert result.exit_code == 2, result.output
        assert result.stderr.startswith("error: ")
        assert "Traceback" not in result.output
        return result.stderr.strip()

    return invoke


@pytest.fixture
def own(tmp_path, registry):
    """A model with operations of the user's own, and the file that registers them."""
    (tmp_path / "own.toml").write_text(OWN, encoding="utf-8")
    (tmp_path / "my_ops.py").write_text(CUSTOM.replace("FACTOR", "1"), encoding="utf-8")
    return "own.toml", "my_ops.py"
