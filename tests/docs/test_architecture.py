"""docs/architecture.md names files, classes and functions that exist, and every room in its order."""

import ast
import re
from pathlib import Path

import pytest

from tests.test_rooms import ROOMS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
# `graph/apply.py` and `graph/op.py:Op.vjp`, from the folder of the package or of the repository.
NAMED = re.findall(r"`((?:\w+/)*\w+\.py)(?::([\w.]+))?`", PAGE)


def names_in(body):
    """Return the names that the statements of a module or class define; those inside a class follow its name."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
            if isinstance(node, ast.ClassDef):
                yield from (f"{node.name}.{name}" for name in names_in(node.body))
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (target.id for target in targets if isinstance(target, ast.Name))


@pytest.mark.parametrize(("file", "name"), sorted(set(NAMED)))
def test_what_the_page_names_exists(file, name):
    path = next((folder / file for folder in (ROOT / "tinygraph", ROOT) if (folder / file).is_file()), None)
    assert path is not None, f"docs/architecture.md names {file}, which is gone"
    if name:
        assert name in set(names_in(ast.parse(path.read_text(encoding="utf-8")).body))


def test_the_page_lists_every_room_from_the_highest_to_the_lowest():
    folders = [room for room in ROOMS if (ROOT / "tinygraph" / room).is_dir()]
    assert re.findall(r"^\*\*`(\w+)/`\*\*", PAGE, re.M) == folders[::-1]
