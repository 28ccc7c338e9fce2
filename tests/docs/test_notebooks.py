"""The example notebooks run as they stand, and what they show is short and needs no network."""

import json
import re
import sys
from pathlib import Path

import pytest

for package in ("nbclient", "ipykernel", "latex2mathml"):
    pytest.importorskip(package)

DOCS = Path(__file__).parents[2] / "docs"
NOTEBOOKS = {path.stem: path for path in sorted((DOCS / "notebooks").glob("*.ipynb"))}
SHOWS = {
    "lesson": [
        "data:image/png",
        "<polyline",
        "<iframe sandbox",
        "P1[0,0,1,1] = ",
        "all gradients: worst relative error",
    ],
    "your_data": [
        "from spirals.npz",
        "labels 'y'",
        "the model's input 'x' takes (m, 2); found shape (2, 400)",
        "<polyline",
    ],
    "your_operation": ["is not right", "class='bad'", "my_softsign is certified", "ms for all steps", "IndexError"],
}
# As high as a screen.
MOST_LINES = 45


def test_the_notebooks_are_those_with_a_test():
    assert [*NOTEBOOKS] == [*SHOWS]


@pytest.mark.parametrize("name", SHOWS)
def test_a_notebook_runs_and_shows_short_results(name, monkeypatch):
    monkeypatch.syspath_prepend(DOCS)
    from notebook_pages import executed, page

    notebook = executed(NOTEBOOKS[name])
    text = page(notebook)
    assert [phrase for phrase in SHOWS[name] if phrase not in text] == []
    assert not re.search(r'<script|\b(src|srcset)="(?!data:)|url\(["\']?http|@import', text)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            kinds = output.get("data", {})
            shown = output.get("text") or "\n".join(output.get("traceback", [])) or kinds.get("text/plain", "")
            assert len(shown.splitlines()) <= MOST_LINES or "text/html" in kinds, cell.source
            html = kinds.get("text/html", "").partition("srcdoc=")[0]
            assert html.count("<tr") <= MOST_LINES, cell.source
    sys.modules.pop("notebook_pages")


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_committed_without_results(name):
    cells = json.loads(NOTEBOOKS[name].read_text(encoding="utf-8"))["cells"]
    assert cells[0]["source"][0].startswith("# ")
    for cell in cells:
        assert cell.get("outputs", []) == []
        assert cell.get("execution_count") is None
