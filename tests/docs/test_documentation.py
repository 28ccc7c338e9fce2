"""Every public name is documented, with an example that runs."""

import ast
import doctest
import inspect
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import tinygraph as tg
from tests.tools.models import files_of_page
from tinygraph.cli import main
from tinygraph.draw.render import renderers

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = sorted([README, *(ROOT / "docs").glob("*.md")])
PUBLIC = {name: getattr(tg, name) for name in dir(tg) if not name.startswith("_")}
DOCUMENTED = {name: value for name, value in PUBLIC.items() if callable(value) and not inspect.ismodule(value)}
BUILT_IN = [name for name, function in tg.operations().items() if function.__module__.startswith("tinygraph.ops.")]


@pytest.mark.parametrize("name", DOCUMENTED)
def test_public_name_has_a_docstring_with_an_example(name):
    assert ">>>" in (DOCUMENTED[name].__doc__ or "")


def test_advice_to_install_names_no_package_of_a_stranger():
    """The package ``tinygraph`` on the index is another one."""
    assert 'name = "tinygraph-engine"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    files = [*PAGES, *(ROOT / "tinygraph").rglob("*.py")]
    for file in files:
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"pip install [^`&\n]*\btinygraph\b(?!-engine)|dependencies = \[\"tinygraph\"", text), file


def test_every_public_name_is_in_the_reference():
    reference = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    told = {*re.findall(r":: tinygraph\.(\w+)", reference), *BUILT_IN, *vars(tg.errors)}
    assert [name for name in DOCUMENTED if name not in told] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_of_page_run(page, registry):
    if page.name == "onnx.md":
        pytest.importorskip("onnx")
    # One page is one session; what stands between the blocks is left out, line numbers are kept.
    text = re.sub(r"^```python\n# my_ops\.py.*?^```$", typed, page.read_text(encoding="utf-8"), flags=re.M | re.S)
    blocks = re.split(
        r"^```(?:pycon)?$", re.sub(r"^```(?!pycon$)[\w{].*?^```$", blanked, text, flags=re.M | re.S), flags=re.M
    )
    session = "\n".join(block if i % 2 else re.sub(r"[^\n]", "", block) for i, block in enumerate(blocks))
    examples = doctest.DocTestParser().get_doctest(session, {"np": np}, page.name, str(page), 0)
    flags = doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL
    assert doctest.DocTestRunner(optionflags=flags).run(examples).failed == 0


def blocks_of(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks_of(page, "console")], ids=lambda page: page.name)
def test_a_command_prints_what_stands_below_it(page, tmp_path, monkeypatch):
    """The models of a page are files in the folder where its commands run, and a script of the page makes the data."""
    monkeypatch.chdir(tmp_path)
    for name, text in files_of_page(page).items():
        Path(name).write_text(text, encoding="utf-8")
        if name == "make_data.py":
            pytest.importorskip("PIL")
            exec(text, {})
    for block in blocks_of(page, "console"):
        command, shown = re.fullmatch(r"\$ tinygraph (.*?)\n(.*)", block, re.S).groups()
        if command.startswith("draw") and "text" not in command and not renderers():
            continue
        printed = CliRunner().invoke(main, shlex.split(command)).output
        assert all(part in printed for part in shown.split("...\n")), printed


def test_the_readme_lists_every_command_in_the_order_of_the_help():
    section = README.read_text(encoding="utf-8").partition("## On the command line")[2].partition("##")[0]
    assert re.findall(r"`tinygraph (\w+)", section) == list(main.commands)


def typed(match):
    """Return a block of a file as a session with as many lines: its statements as they would be typed."""
    lines = match[0].splitlines()[1:-1]
    starts = {
        min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))])
        for node in ast.parse("\n".join(lines)).body
    }
    first = min(starts)
    prompts = [">>> " if i in starts else "... " if i > first else ">>> " for i in range(1, len(lines) + 1)]
    return "\n".join(["```pycon", *map(str.__add__, prompts, lines), "```"])


def blanked(match):
    return "\n" * match[0].count("\n")
