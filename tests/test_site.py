"""The documentation is built without a warning, and its pages can be read from disk, without a network."""

import pathlib
import re
import subprocess
import sys

import pytest

for package in ("sphinx", "myst_parser", "furo", "latex2mathml"):
    pytest.importorskip(package)

DOCS = pathlib.Path(__file__).parents[1] / "docs"
# What a browser loads by itself. A link that a reader may follow is not among it.
FETCHED = re.compile(
    r"""<(?:script|img|iframe|source|object|embed)\b[^>]*\b(?:src|srcset|data)\s*=\s*["']?([^"'\s>]+)"""
    r"""|<link\b[^>]*\bhref\s*=\s*["']?([^"'\s>]+)|\burl\(\s*["']?([^"')]+)|@import\s+["']([^"']+)"""
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-b", "html", "-d", folder / "trees", DOCS, folder / "html"]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return folder / "html"


def test_no_page_fetches_anything_from_a_network(site):
    fetched = {
        next(filter(None, found))
        for suffix in ("html", "css")
        for page in site.rglob(f"*.{suffix}")
        for found in FETCHED.findall(page.read_text(encoding="utf-8"))
    }
    assert any("furo" in address for address in fetched)
    assert [address for address in fetched if re.match(r"(https?:)?//", address)] == []
    scripts = "".join(script.read_text(encoding="utf-8") for script in site.rglob("*.js"))
    assert not re.search(r"cdn\.|unpkg\.com|jsdelivr", scripts)


def test_formulas_are_mathml(site):
    inline, displayed = ((site / page).read_text(encoding="utf-8") for page in ("derived.html", "operations.html"))
    assert "<mi>&#x003B1;</mi></mrow></math>, <math" in inline
    assert displayed.count('<div class="formula"><math') > 300
    formulas = re.findall(r"<math.*?</math>", displayed, re.S)
    assert not [formula for formula in formulas if "\\" in formula]


def test_every_public_name_stands_in_the_reference(site):
    import tinygraph as tg

    reference, operations = ((site / page).read_text(encoding="utf-8") for page in ("api.html", "operations.html"))
    names = [name for name, value in vars(tg).items() if name[0] != "_" and type(value).__name__ != "module"]
    missing = [
        name
        for name in names
        if f'id="tinygraph.{name}"' not in reference
        and f'id="tinygraph.errors.{name}"' not in reference
        and f'id="op-{name.replace("_", "-")}"' not in operations
    ]
    assert missing == []
