"""The rooms of the package: each knows those before it, and none behind it."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "tinygraph"
ROOMS = (
    *("interruption", "synonyms", "errors", "files", "graph", "ops", "model", "plan", "train"),
    *("check", "certify", "draw", "notes", "interop", "testing", "cli", "__main__"),
)


def imported(file):
    """Return the rooms that a file imports when it is imported itself; what a function imports later does not count."""
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tinygraph."):
            yield node.module.split(".")[1]


def test_every_room_has_its_place():
    found = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert found == {*ROOMS, "__init__"}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_rooms_before_it(room):
    known = ROOMS[: ROOMS.index(room) + 1]
    files = [*(PACKAGE / room).rglob("*.py"), *PACKAGE.glob(f"{room}.py")]
    assert files
    assert {file.name: other for file in files for other in imported(file) if other not in known} == {}
