"""A student works an exercise by hand: a small network with values in its file, every number on the screen and on paper."""

import re
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

import tinygraph as tg
from tests.tools.models import exercise_text
from tinygraph.draw import render

X = np.array([[3, 0, 0, 2], [0, 1, 0, 0], [3, 0, 3, 3], [0, 1, 3, 0]])
W = np.array([1, 0, -1, 0, 1, 0, -1, 0, 2])


@pytest.fixture
def exercise(run):
    Path("exercise.toml").write_text(exercise_text(), encoding="utf-8")
    return "exercise.toml"


def by_hand():
    """The numbers of the exercise, as the student computes them."""
    Z = np.array([[X[i, j] - X[i + 1, j + 1] + 1 for j in range(3)] for i in range(3)])
    C = np.maximum(Z, 0)
    s = C.ravel() @ W
    ds = 2 * (s - 6)
    dZ = (ds * W).reshape(3, 3) * (Z > 0)
    dK = np.array([[(X[u : u + 3, v : v + 3] * dZ).sum() for v in range(2)] for u in range(2)])
    return {
        "Z": Z,
        "C": C,
        "s": s,
        "cost": (s - 6) ** 2,
        "ds": ds,
        "dW": C.ravel() * ds,
        "dZ": dZ,
        "db": dZ.sum(),
        "dK": dK,
    }


def printed(output):
    """The numbers that are printed at each symbol."""
    found, symbol = {}, None
    for line in output.splitlines():
        if re.match(r"\w", line) and "  " in line:
            symbol = line.split()[0]
            found[symbol] = [float(number) for number in re.findall(r"  (-?[\d.]+)$", line)]
        elif re.fullmatch(r" {4}[-\d. e]+", line):
            found[symbol] += map(float, line.split())
    return found


def test_every_gradient_is_checked_at_the_numbers_of_the_exercise(run, exercise):
    result = run("check", exercise)
    assert result.exit_code == 0
    assert re.search(r"^dx +whole graph +input x +5 of 16", result.stdout, re.MULTILINE)
    # Another number of samples is not that of the file: its values are random.
    assert re.search(
        r"^dx +whole graph +input x +5 of 48", run("check", exercise, "--batch-size", 3).stdout, re.MULTILINE
    )


def test_the_numbers_are_those_by_hand(run, exercise):
    numbers = printed(run("equations", exercise, "--backward", "--values").stdout)
    for symbol, value in by_hand().items():
        assert_allclose(numbers[symbol], np.ravel(value), err_msg=symbol)
    assert_allclose(numbers["x"], X.ravel())
    assert_allclose(numbers["K_new"], np.ravel([[1, 0], [0, -1]] - 0.125 * by_hand()["dK"]))


def test_an_element_is_explained_by_all_its_terms_in_numbers(run, exercise):
    first, *terms = run("explain", exercise, "dK[0,0,0,1]").stdout.splitlines()
    assert first == "dK[0,0,0,1] = 8, the sum of 9 products"
    assert len(terms) == 9
    assert terms[2] == "  x[0,0,0,3] · dZ[0,0,0,2] = 2 · (-2) = -4"
    assert sum(float(line.rpartition("= ")[2]) for line in terms) == 8
    assert run("explain", exercise, "dK[0, 0, 0, 1]", "--terms", 2).stdout.splitlines()[-1] == "  and 7 more"
    assert run("explain", exercise, "cost").stdout.startswith("cost = 1")


@pytest.mark.parametrize(
    ("element", "message"),
    [
        ("dk[0,0,0,0]", "no array 'dk'; did you mean 'dK'?"),
        ("dK[0,0,0,2]", "no element (0, 0, 0, 2)"),
        ("dK", "no element (); an element is named by 4 numbers, counted from 0"),
        ("dK[0,0,0,1", "written as dW[2,0]; found 'dK[0,0,0,1'"),
        ("dK[-1]", "written as dW[2,0]"),
    ],
)
def test_an_element_that_there_is_not(fails, exercise, element, message):
    assert message in fails("explain", exercise, element)


def test_the_picture_has_the_numbers(run, exercise):
    output = run("draw", exercise, "--format", "text").stdout
    assert re.search(r"^s +.* 7$", output, re.MULTILINE)
    assert re.search(r"^ +dcost/db +float32 \(\) +2$", output, re.MULTILINE)
    if render.renderers():
        assert run("draw", exercise).stdout == "wrote exercise.svg\n"
        assert ">12<" in Path("exercise.svg").read_text(encoding="utf-8")


def test_only_one_tensor_is_drawn_with_what_leads_to_it(run, fails, exercise):
    def symbols(name):
        lines = run("draw", exercise, "--only", name, "--format", "text").stdout.splitlines()
        return [line.split()[0] for line in lines if re.match(r"\w", line) and not line.startswith("only")]

    assert symbols("C") == ["x", "K", "b", "Z", "C"]
    assert symbols("ds") == ["x", "K", "b", "Z", "C", "f", "W", "c", "s", "y", "cost"]
    message = fails("draw", exercise, "--only", "CC")
    assert "no tensor is called 'CC'; did you mean 'C'?" in message


def test_the_notes_have_the_worked_numbers_and_the_worksheet(run, exercise):
    assert run("notes", exercise, "-o", "exercise.html").stdout == "wrote exercise.html\n"
    page = Path("exercise.html").read_text(encoding="utf-8")
    assert all(f'id="{section}"' in page for section in ("steps", "numbers", "worksheet", "solution"))
    assert "random" not in page.partition("<script>")[0]


def test_trained_weights_go_on_from_the_values(run, exercise):
    np.savez("one.npz", x=X[None, None].astype("float32"), y=[[6.0]])
    assert run("train", exercise, "--data", "one.npz", "--epochs", 1, "--batch-size", 1, "--out", "run").exit_code == 0
    model = tg.load_model(exercise)
    model.load("run/weights.safetensors")
    assert_allclose(model.parameters["K"].value[0, 0], [[1, 0], [0, -1]] - 0.125 * by_hand()["dK"])
    weights = ("--weights", "run/weights.safetensors")
    assert printed(run("equations", exercise, "--values", *weights).stdout)["b"] == [0.75]
    assert re.search(r"^b .* 0\.75$", run("draw", exercise, "--format", "text", *weights).stdout, re.MULTILINE)
    assert printed(run("equations", exercise, "--values", "--data", "one.npz").stdout)["b"] == [1]


def test_weights_without_a_sample_show_the_parameters(run):
    tg.load_model("xor").save("w.safetensors")
    lines = run("draw", "xor", "--weights", "w.safetensors", "--format", "text").stdout.splitlines()
    assert next(line for line in lines if line.startswith("B2")).endswith("  0")
    assert next(line for line in lines if line.startswith("h ")).endswith("(1, 4)")
    assert "not computed" not in "".join(lines)
    assert not run("draw", "xor", "--format", "text").stdout.splitlines()[2].endswith("0")


def test_without_a_sample_the_numbers_are_random_and_that_is_said(run):
    text = exercise_text().partition("[sample]")[0]
    Path("exercise.toml").write_text(text, encoding="utf-8")
    sentence = "The inputs are random numbers, from seed 0: no sample and no data are given."
    for command in (["equations", "exercise.toml", "--values"], ["explain", "exercise.toml", "s[0,0]"]):
        assert run(*command).stdout.startswith(sentence)
    run("notes", "exercise.toml", "--seed", 4, "-o", "notes.html")
    assert "from seed 4: no sample" in Path("notes.html").read_text(encoding="utf-8")


def test_values_take_no_batch_size(fails, exercise):
    assert "leave out --batch-size" in fails("equations", exercise, "--values", "--batch-size", 2)
