"""Derived notes as LaTeX: what they are made of and, where there is a LaTeX, that it sets them without a complaint."""

import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

import tinygraph as tg
from tests.tools.pictures import renderer
from tinygraph.notes.latex import literal

LATEX = shutil.which("pdflatex")
NAMES = ("<i>&\"'`|~", "\\end{document}", "{}_^$%#", "zażółć ĦĸŦ", "中文 שלום", "a\nb\x00", "x" * 70)


def hostile() -> tg.Tensor:
    y = tg.tensor([[1.0, -2.0]], name="base")
    for name in NAMES:
        y = tg.relu(y * tg.tensor([[1.5, 2.5]], name=name) + 0.1)
    return y.sum()


def many_equations() -> tg.Tensor:
    y = tg.tensor(np.linspace(-1, 1, 16), name="x")
    for _ in range(70):
        y = tg.tanh(y)
    return y.sum()


def complaints(text: str, folder) -> list[str]:
    """Return what LaTeX finds wrong with a document, twice, as it is to be run twice where tables are long."""
    (folder / "notes.tex").write_text(text, encoding="utf-8")
    command = [LATEX, "-interaction=nonstopmode", "-halt-on-error", "notes.tex"]
    for _ in range(2):
        subprocess.run(command, cwd=folder, capture_output=True, timeout=120, check=False)
    log = (folder / "notes.log").read_text(encoding="utf-8", errors="replace")
    assert (folder / "notes.pdf").exists(), log[-2000:]
    return re.findall(r"^(?:!|Overfull|LaTeX Warning|Missing character).*", log, re.M)


@pytest.mark.skipif(LATEX is None, reason="no LaTeX is installed")
@pytest.mark.parametrize("name", ["xor", "notes_ann", "notes_cnn", "residual", "notes_cnn_norm"])
def test_latex_sets_bundled_models_without_a_complaint(name, tmp_path):
    assert complaints(tg.notes(tg.load_model(name)).tex(), tmp_path) == []


@pytest.mark.skipif(LATEX is None, reason="no LaTeX is installed")
def test_latex_sets_hostile_names(tmp_path):
    found = complaints(tg.notes(hostile(), title=" ".join(NAMES)).tex(), tmp_path)
    # A name as wide as the page is its writer's own.
    assert [line for line in found if not line.startswith("Overfull")] == []


@pytest.mark.skipif(LATEX is None, reason="no LaTeX is installed")
def test_tables_and_sums_of_many_equations_stay_on_their_pages(tmp_path):
    assert complaints(tg.notes(many_equations()).tex(), tmp_path) == []


def test_letters_that_the_fonts_of_latex_lack_are_numbers():
    assert literal("ą Ħ 中") == r"ą \texttt{U+0126} \texttt{U+4E2D}"


def test_lines_to_write_on_are_rules_and_long_rows_several_lines():
    text = tg.notes(tg.load_model("notes_ann")).tex()
    assert r"Name and date: \rule{6cm}{0.4pt}" in text
    assert r"\_\_" not in text
    assert r"$dB^{[2]}$ of shape (16,): written in lines of 8" in text
    matrix = re.search(r"\\fit\{dB\^\{\[2\]\} = \\begin\{bmatrix\} (.*?) \\end", text)
    assert [len(row.split("&")) for row in matrix[1].split(r"\\")] == [8, 8]


def test_latex_is_an_article_of_balanced_parts():
    text = tg.notes(tg.load_model("notes_cnn")).tex()
    packages = re.findall(r"\\usepackage(?:\[.*?\])?\{(.*?)\}", text)
    assert packages == ["fontenc", "lmodern", "geometry", "amsmath", "amssymb", "graphicx", "longtable"]
    opened = re.findall(r"\\begin\{(\w+\*?)\}", text)
    closed = re.findall(r"\\end\{(\w+\*?)\}", text)
    assert sorted(opened) == sorted(closed)
    bare = re.sub(r"\\[{}]", "", text)
    assert bare.count("{") == bare.count("}")
    assert r"\tag{B10}" in text


def test_the_picture_is_in_files_next_to_the_article(tmp_path):
    renderer("dot")
    notes = tg.notes(tg.load_model("residual"), tmp_path / "a b_#.tex")
    *pages, article = notes.written
    assert article == tmp_path / "a b_#.tex"
    assert [page.name for page in pages] == [f"a_b__picture-{i}.pdf" for i in range(1, len(pages) + 1)]
    assert re.findall(r"\\includegraphics\{(.*?)\}", article.read_text(encoding="utf-8")) == [
        page.name for page in pages
    ]
    sizes = [re.search(rb"/MediaBox \[\s*0 0 ([\d.]+) ([\d.]+)", page.read_bytes()) for page in pages]
    # The text of the article is 160 mm wide and 247 mm high, and a heading is above the picture.
    assert all(float(size[1]) <= 455 and float(size[2]) <= 660 for size in sizes)


def test_without_a_renderer_the_article_says_why_it_has_no_picture(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    notes = tg.notes(tg.load_model("xor"), tmp_path / "notes.tex")
    assert notes.written == [tmp_path / "notes.tex"]
    assert "The picture is left out: no renderer is installed" in (tmp_path / "notes.tex").read_text(encoding="utf-8")


def test_no_page_ends_before_the_second_or_the_last_question() -> None:
    text = tg.notes(tg.load_model("xor"), worksheet=True).tex()
    questions = re.findall(r"\\(together|apart)\\item", text.partition("Work out the numbers")[0])
    assert questions == ["together"] * 2 + ["apart"] * 5 + ["together"]
    assert r"\newpage" not in text
    assert tg.notes(tg.load_model("xor"), worksheet=True, solution=True).tex().count(r"\newpage") == 1
