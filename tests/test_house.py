"""The house stays small: no long file in the package, and none in its tests."""

from pathlib import Path

from tests import house

TESTS = Path(__file__).parent


def longer_than(limit, folder):
    """Return the files below a folder that have more lines than a limit."""
    lines = {path: path.read_text(encoding="utf-8").count("\n") for path in folder.rglob("*.py")}
    return {path.relative_to(folder).as_posix(): count for path, count in lines.items() if count > limit}


def test_no_file_of_the_package_has_more_than_400_lines():
    assert longer_than(400, house.PACKAGE) == {}


def test_no_file_of_tests_has_more_than_600_lines():
    assert longer_than(600, TESTS) == {}


def test_the_package_stays_within_its_limit():
    found = house.rooms()
    assert {"graph", "ops", "engines", "cli"} <= set(found)
    assert found.total() <= house.LIMIT, f"{found.total():,} lines of code; python -m tests.house prints them by room"
