"""The page docs/notes.md: its statements have tests, its files exist, its examples run."""

import doctest
import re
from pathlib import Path

import pytest

import tinygraph as tg

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "notes.md"


def ids_in_page():
    """The ids in the first column of the page's tables."""
    return re.findall(r"^\| *([FBAUWE]\d+) *\|", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)


def ids_in(text):
    """The ids that follow the word "notes" in one sentence, ranges spelt out.

    Symbols do not count: names in backquotes, or in brackets after an id, as in U1 (W3).
    """
    prose = re.sub(r"(`+).*?\1", "", text, flags=re.DOTALL)
    prose = re.sub(r"([FBAUWE]\d+) \([A-Z]\d\)", r"\1", prose)
    found = []
    for sentence in re.findall(r"\bnotes\b((?:[^.\"]|\.\.)*)", prose, flags=re.IGNORECASE):
        for between, letter, number in re.findall(r"(to|\.\.)?\s*\b([FBAUWE])(\d+)\b", sentence):
            first = found[-1][1] + 1 if between else int(number)
            found += [(letter, i) for i in range(first, int(number) + 1)]
    return {f"{letter}{i}" for letter, i in found}


def ids_in_source():
    files = [path for room in ("ops", "train") for path in sorted((ROOT / "tinygraph" / room).rglob("*.py"))]
    return set().union(*(ids_in(path.read_text(encoding="utf-8")) for path in files))


@pytest.fixture
def tests_here(request):
    """The ids of all tests of the lecture notes, chosen for this run or not."""
    folder = request.node.getparent(pytest.Dir)
    modules = [pytest.Module.from_parent(folder, path=path) for path in sorted(folder.path.glob("test_lecture_*.py"))]
    return [item.name for module in modules for item in module.collect()]


def test_page_has_every_statement_of_the_notes_once():
    counts = {"F": 11, "B": 14, "A": 4, "U": 6, "W": 3, "E": 5}
    expected = [f"{letter}{i}" for letter, count in counts.items() for i in range(1, count + 1)]
    assert ids_in_page() == expected


def test_every_statement_has_a_test(tests_here):
    shown = {note for name in tests_here for note in re.findall(r"(?:^test_|[_\[-])([FBAUWE]\d+)(?=[_\]-]|$)", name)}
    assert sorted(set(ids_in_page()) - shown) == []


def test_every_statement_is_named_in_the_source():
    assert ids_in("As the notes have it (B1, B3 to B5), `B6`, U1 (W3)..U2. B7") == {"B1", "B3", "B4", "B5", "U1", "U2"}
    assert sorted(set(ids_in_page()) - ids_in_source()) == []


def test_tests_and_files_that_the_page_names_exist(tests_here):
    page = PAGE.read_text(encoding="utf-8")
    named_tests = set(re.findall(r"`(test_\w+)`", page))
    assert sorted(named_tests - {name.partition("[")[0] for name in tests_here}) == []
    files = set(re.findall(r"`((?:tinygraph|tests|models|docs)/[\w/.]+\.\w+)`", page))
    assert files
    assert [name for name in sorted(files) if not (ROOT / name).is_file()] == []


def test_operations_stand_where_the_page_says():
    mentions = re.findall(r"((?:`\w+`(?:, | and )?)+) in `(\w+)\.py`", PAGE.read_text(encoding="utf-8"))
    assert len(mentions) > 20
    for names, file in mentions:
        for name in re.findall(r"\w+(?=`)", names):
            assert tg.operation(name).__module__.endswith(f".{file}")


def test_examples_of_the_page_run():
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    example = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, "notes", str(PAGE), 0)
    assert len(example.examples) > 5
    assert doctest.DocTestRunner().run(example).failed == 0
