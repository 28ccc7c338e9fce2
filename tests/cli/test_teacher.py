"""A teacher prepares a class: worksheets, another one for each student, and their solutions, on paper."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

import tinygraph as tg
from tests.tools.browser import Visit, browser
from tests.tools.models import exercise_text
from tinygraph.notes.notes import samples_of
from tinygraph.notes.variants import drawn_again

RANDOM = """
[inputs]
x = [3]
y = [1]
[parameters]
W = { shape = [3, 1], init = "he_normal" }
b = { shape = [1], init = "zeros" }
[model]
equations = "Z = x @ W + b\\na = sigmoid(Z)\\ncost = bce(a, y)"
output = "a"
loss = "cost"
"""


@pytest.fixture
def exercise(run):
    Path("exercise.toml").write_text(exercise_text(), encoding="utf-8")
    return "exercise.toml"


@pytest.fixture
def sheet(run):
    """Return the text of what ``tinygraph notes`` writes."""

    def written(model, *options, suffix="txt"):
        result = run("notes", model, *options, "-o", f"sheet.{suffix}")
        assert result.exit_code == 0, result.output
        return Path(f"sheet.{suffix}").read_text(encoding="utf-8")

    return written


def array(text):
    """Return the array of ``[1, 2; 3, 4]``, of rows of numbers, or of a number."""
    rows = [re.findall(r"-?[\d.]+(?:e-?\d+)?", row) for row in re.split(r";|\n", text)]
    return np.array([[float(number) for number in row] for row in rows if row])


def answered(solution):
    """Return what is given and what is answered at each question about numbers."""
    found = {}
    for question in re.split(r"\n *\d+\. ", solution.partition("Work out the numbers")[2])[1:]:
        first, _, rest = question.partition("\n")
        given = dict(re.findall(r"(?:with|and) (\w+) = (\[[^]]*\]|\S+)", first))
        symbol, _, answer = rest.partition("=")
        found[symbol.strip()] = {name: array(text) for name, text in given.items()}, array(answer)
    return found


@pytest.mark.parametrize("suffix", ["txt", "html", "md", "tex"])
def test_a_worksheet_has_the_questions_and_the_model_and_no_answers(sheet, suffix):
    questions = sheet("xor", "--worksheet", suffix=suffix)
    answers = sheet("xor", "--solution", suffix=suffix)
    both = sheet("xor", "--worksheet", "--solution", suffix=suffix)
    for text, worksheet, solution in ((questions, 1, 0), (answers, 0, 1), (both, 1, 1)):
        assert text.count("Name and date") == worksheet
        assert text.count("The model") == worksheet
        assert len(re.findall(r"Solution of the worksheet(?=\W)", text.partition("<main")[2] or text)) == solution
        assert "Symbols and shapes" not in text
    assert "W2^T" not in sheet("xor", "--worksheet")
    assert "W2^T" in sheet("xor", "--solution")


def test_the_complete_notes_end_with_the_worksheet_and_its_solution_as_before(sheet):
    text = sheet("xor", suffix="md")
    assert text.index("# Worked numbers") < text.index("# Worksheet") < text.index("# Solution of the worksheet")


def test_each_student_gets_other_numbers_and_the_same_student_the_same(sheet, exercise):
    for model in (exercise, "xor", "notes_ann"):
        sheets = [sheet(model, "--worksheet", "--solution", "--variant", number) for number in (0, 1, 2, 3, 3)]
        assert len(set(sheets)) == 4
        assert sheets[3] == sheets[4]
        assert [text.count("variant 2") for text in sheets] == [0, 0, 3, 0, 0]
        assert all(
            np.any(answer) for text in sheets for name, (_, answer) in answered(text).items() if name in ("dW2", "dK")
        )


def test_a_variant_changes_random_parameters_and_keeps_those_of_the_file():
    model = tg.load_model("xor")
    before = {name: p.value.copy() for name, p in model.parameters.items()}
    made = drawn_again(model, 3)
    assert not np.array_equal(made.parameters["W1"].value, before["W1"])
    assert_allclose(made.parameters["W1"].value * 100, np.rint(made.parameters["W1"].value * 100), atol=1e-4)
    assert not made.parameters["B1"].value.any()
    for name, p in model.parameters.items():
        np.testing.assert_array_equal(p.value, before[name])


def test_a_variant_of_a_model_without_data_has_inputs_of_its_own(sheet):
    Path("net.toml").write_text(RANDOM, encoding="utf-8")
    texts = {sheet("net.toml", "--worksheet", "--variant", number) for number in range(4)}
    assert len(texts) == 4
    given, _ = answered(texts.pop())["dW"]
    assert_allclose(given["x"] * 100, np.rint(given["x"] * 100), atol=1e-9)


def test_solutions_are_right_by_hand_and_by_the_engine(sheet, exercise):
    found = answered(sheet(exercise, "--solution", "--variant", 5))
    (given, dK), (_, dZ) = found["dK"], found["dZ"]
    x = given["x"]
    assert_allclose(given["dZ"], dZ)
    by_hand = [[(x[i : i + 3, j : j + 3] * dZ).sum() for j in range(2)] for i in range(2)]
    assert_allclose(dK, by_hand)
    y = found["ds"][0]["y"].item()
    model = tg.load_model(exercise)
    names = list(model.parameters)
    values = {"x": x.reshape(1, 1, *x.shape), "y": [[y]]}
    gradients = dict(zip(names, tg.grad(model.trace(values).loss, list(model.parameters.values())), strict=True))
    assert_allclose(gradients["K"].value[0, 0], dK)


def test_a_sample_that_is_named_stays_and_only_parameters_are_drawn(sheet):
    found = answered(sheet("xor", "--solution", "--sample", 1, "--variant", 7))
    assert_allclose(found["dW1"][0]["x"], [samples_of(tg.load_model("xor"))["sample 1"]["x"][0]])


def test_what_has_no_worksheet_says_why(fails, run):
    Path("net.toml").write_text(RANDOM.replace('loss = "cost"', "loss = false"), encoding="utf-8")
    assert "no worksheet without a backward pass: the model" in fails("notes", "net.toml", "--worksheet")
    x = tg.tensor(2.0, name="x")
    with pytest.raises(tg.TinygraphError, match="only a Model has variants; found Tensor"):
        tg.notes(x * x, variant=1)
    y = x
    for _ in range(61):
        y = tg.sin(y)
    with pytest.raises(tg.TinygraphError, match="at most 60 equations and inputs; this has 62"):
        tg.notes(y, worksheet=True)
    assert "wrote xor_solution_variant_3.html" in run("notes", "xor", "--solution", "--variant", 3).output


def pages(visit, path, height):
    """Return the text of each page, printed on paper of this height in millimetres."""
    visit.page.pdf(path=path, width="210mm", height=f"{height}mm", margin=dict.fromkeys(("top", "bottom"), "15mm"))
    text = subprocess.run(["pdftotext", "-layout", path, "-"], capture_output=True, check=True).stdout.decode()
    return text.removesuffix("\f").split("\f")


@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="pdftotext is not installed")
def test_no_printed_page_is_blank_or_has_one_question_alone(exercise, tmp_path):
    with browser() as chromium:
        tg.notes(tg.load_model(exercise), tmp_path / "sheet.html", worksheet=True, solution=True, variant=3)
        visit = Visit(chromium, tmp_path / "sheet.html")
        # On paper of the first height, one question alone would be on the last page of each sheet.
        for height in (247, 297):
            printed = pages(visit, tmp_path / "sheet.pdf", height)
            assert sum("Solution of" in page for page in printed) == 1
            for page in printed:
                assert len(re.findall(r"^ *\d+\. ", page, re.MULTILINE)) != 1, page
        visit.close()
        tg.notes(tg.load_model("xor"), tmp_path / "notes.html")
        visit = Visit(chromium, tmp_path / "notes.html", "#step=9&predict")
        printed = pages(visit, tmp_path / "notes.pdf", 297)
        assert all(page.strip() for page in printed)
        # Also while gradients are hidden on the screen.
        assert sum(bool(re.search(r"^ *9\. ", page, re.MULTILINE)) for page in printed) == 2
        visit.close()
