"""The rooms of the package, from the lowest to the highest: each imports only itself and rooms below it."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "tinygraph"
ROOMS = (
    *("interruption", "locks", "readers", "synonyms", "errors", "files", "graph", "ops", "model", "describe"),
    *("engines", "train", "verify", "draw", "notes", "interop", "testing", "cli", "__main__"),
)
# Imports that still run upwards. Whoever turns one round removes its line.
UPWARDS: set[tuple[str, str]] = set()


def imported(file):
    """Return the modules of the package that a file imports, inside functions too.

    An import for type checkers alone (``if TYPE_CHECKING``) does not count: it names a type and loads nothing.
    """
    stack = [ast.parse(file.read_text(encoding="utf-8"))]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            stack += node.orelse
            continue
        stack += ast.iter_child_nodes(node)
        if isinstance(node, ast.ImportFrom) and node.module == "tinygraph":
            yield from (f"tinygraph.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield from (a.value for a in node.args if isinstance(a, ast.Constant))


def upwards(room):
    """Return the imports of a room that name a room above it: the file and the module."""
    known = ROOMS[: ROOMS.index(room) + 1]
    for file in [*(PACKAGE / room).rglob("*.py"), *PACKAGE.glob(f"{room}.py")]:
        for module in imported(file):
            package, _, path = module.partition(".")
            if package == "tinygraph" and path != "__version__" and path.split(".")[0] not in known:
                yield file.relative_to(PACKAGE).as_posix(), module


def test_every_room_has_its_place():
    found = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert found == {*ROOMS, "__init__"}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_itself_and_rooms_below(room):
    assert set(upwards(room)) - UPWARDS == set()


def test_nothing_is_listed_that_no_longer_runs_upwards():
    assert {arrow for room in ROOMS for arrow in upwards(room)} >= UPWARDS
