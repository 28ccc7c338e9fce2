"""``tinygraph evaluate``."""

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest

import tinygraph as tg
from tests.tools.commands import model_text, xor_file
from tinygraph.model import load_model


@pytest.fixture
def digits(tmp_path):
    """The weights of an untrained network for digits, with names of its classes."""
    model = load_model("notes_cnn_norm")
    model.classes = tuple(f"digit {i}" for i in range(10))
    path = tmp_path / "digits.safetensors"
    model.save(path)
    return path


def test_evaluate_prints_what_python_prints(run, digits):
    model = load_model("notes_cnn_norm")
    model.load(digits)
    first, rest = run("evaluate", "notes_cnn_norm", "--weights", digits).stdout.split("\n", 1)
    assert first == "data digits: the 359 samples to test on (one in five of each class, drawn with seed 0)"
    assert rest == f"{tg.evaluate(model, 'digits')}\n"
    assert "digit 7  " in rest
    assert "precision  recall" in rest
    assert "worst mistakes" in rest


@pytest.mark.parametrize(
    ("part", "words"), [("train", "1438 samples to learn from"), ("all", "1797 samples of both parts")]
)
def test_another_part(run, digits, part, words):
    output = run("evaluate", "notes_cnn_norm", "--weights", digits, "--part", part).stdout
    assert words in output.splitlines()[0]
    assert f"{words.split()[0]} samples" in output.splitlines()[1]


def test_results_in_a_folder(run, fails, digits):
    pytest.importorskip("matplotlib")
    command = ("evaluate", "notes_cnn_norm", "--weights", digits, "--out", "results/first")
    assert run(*command).stdout.endswith("wrote metrics.json, mistakes.csv, mistakes.png in results/first\n")
    model = load_model("notes_cnn_norm")
    model.load(digits)
    found, folder = tg.evaluate(model, "digits"), Path("results/first")
    numbers = json.loads((folder / "metrics.json").read_text())
    assert numbers["loss"] == found.loss
    assert numbers["names"] == list(model.classes)
    assert numbers["confusion"] == found.confusion.tolist()
    assert np.array_equal(np.array(numbers["precision"], float), found.precision, equal_nan=True)
    with open(folder / "mistakes.csv", encoding="utf-8") as file:
        mistakes = list(csv.DictReader(file))
    assert len(mistakes) == 359 - round(359 * found.accuracy)
    assert list(mistakes[0]) == ["sample", "true", "predicted", "confidence"]
    assert (folder / "mistakes.png").read_bytes().startswith(b"\x89PNG")
    assert "'results/first/metrics.json' exists and is not replaced: --out names another folder" in fails(*command)
    assert run(*command, "--force").exit_code == 0


def test_without_matplotlib_there_is_no_picture(run, digits, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    output = run("evaluate", "notes_cnn_norm", "--weights", digits, "--out", "results").stdout
    assert output.endswith(
        "wrote metrics.json, mistakes.csv in results\nnote: drawing the mistakes needs matplotlib: pip install matplotlib\n"
    )


def test_numbers_that_json_does_not_know_are_null(run):
    Path("net.toml").write_text(model_text(), encoding="utf-8")
    load_model("net.toml").save("w.safetensors")
    xor_file("same.npz", x_test=np.ones((3, 2)), y_test=np.ones((3, 1)))
    result = run("evaluate", "net.toml", "--weights", "w.safetensors", "--data", "same.npz", "--out", "results")
    assert "z  1.0000  1.0000   -" in result.stdout
    assert json.loads(Path("results/metrics.json").read_text()) == {
        **{"loss": 1.0, "accuracy": None, "count": 3, "names": ["z"]},
        **{"mae": [1.0], "rmse": [1.0], "r2": [None]},
    }
    assert not Path("results/mistakes.png").exists()


def test_what_cannot_be_evaluated(run, fails, digits):
    assert fails("evaluate", "xor") == "error: model 'xor' comes without weights; give --weights"
    run("train", "xor", "--epochs", 1)
    assert fails("evaluate", "xor").endswith(f"; give --weights, such as {Path('runs', 'xor', 'weights.safetensors')}")
    np.savez("x.npz", x=np.zeros((3, 1, 8, 8)))
    command = ("evaluate", "notes_cnn_norm", "--weights", digits)
    assert "an array called 'y' is missing; the file has 'x'" in fails(*command, "--data", "x.npz")
    Path("taken").write_text("")
    refused = run(*command, "--out", "taken")
    assert refused.stderr.startswith("error: the output folder 'taken' cannot be written to: it is a file")
    assert (refused.exit_code, refused.stdout) == (2, "")
    Path("free.toml").write_text(model_text().replace('loss = "cost"', "loss = false"), encoding="utf-8")
    load_model("free.toml").save("free.safetensors")
    assert "declares no loss, so there is nothing to evaluate" in fails(
        "evaluate", "free.toml", "--weights", "free.safetensors"
    )
