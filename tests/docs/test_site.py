"""The documentation is built without a warning, and its pages can be read from disk, without a network."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

for package in ("sphinx", "myst_parser", "furo", "latex2mathml", "nbclient"):
    pytest.importorskip(package)

ROOT = Path(__file__).parents[2]
# What a browser loads by itself. A link that a reader may follow is not among it.
FETCHED = re.compile(
    r"""<(?:script|img|iframe|source|object|embed)\b[^>]*\b(?:src|srcset|data)\s*=\s*["']?([^"'\s>]+)"""
    r"""|<link\b[^>]*\bhref\s*=\s*["']?([^"'\s>]+)|\burl\(\s*["']?([^"')]+)|@import\s+["']([^"']+)"""
)


def built(folder):
    """Build the pages from a copy, since the page of operations is written beside its sources, and return their folder."""
    shutil.copytree(
        ROOT / "docs",
        folder / "docs",
        ignore=shutil.ignore_patterns("_build", "operations", "operations.md"),
    )
    for name in ("models", "CHANGELOG.md"):
        (folder / name).symlink_to(ROOT / name)
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-b", "html", folder / "docs", folder / "html"]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return folder / "html"


# One test, so that the pages are built once however tests are dealt to processes.
def test_pages_need_no_network_and_their_formulas_are_mathml(tmp_path):
    site = built(tmp_path)
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

    live = (site / "notes_cnn.html").read_text(encoding="utf-8")
    assert 'id="stepper-data"' in live
    assert all(
        'href="notes_cnn.html"' in (site / page).read_text(encoding="utf-8") for page in ("index.html", "derived.html")
    )

    inline, displayed = ((site / page).read_text(encoding="utf-8") for page in ("derived.html", "operations.html"))
    assert "<mi>&#x003B1;</mi></mrow></math>, <math" in inline
    assert displayed.count('<div class="formula"><math') > 300
    lesson = (site / "notebooks" / "lesson.html").read_text(encoding="utf-8")
    assert lesson.count('class="tg-view"') >= 5
    assert "<iframe sandbox" in lesson
    assert not [formula for formula in re.findall(r"<math.*?</math>", displayed, re.S) if "\\" in formula]
