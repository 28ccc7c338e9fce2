"""Data of one's own on the command line: every format, its labels, and what is tested on."""

import re
from pathlib import Path

import numpy as np
import pytest

MODEL = """
name = "flowers"
[inputs]
x = [2]
y = { shape = [], dtype = "int64" }
[parameters]
W = { shape = [2, 3], init = "glorot_uniform" }
[model]
equations = '''
z = x @ W
cost = cross_entropy(z, y)
'''
output = "z"
loss = "cost"
[training]
epochs = 1
"""
NAMES = ("aster", "rose", "tulip")


def rows(count):
    drawn = np.random.default_rng(count).normal(size=(count, 2))
    return "".join(f"{a + i % 3:.3f},{b - i % 3:.3f},{NAMES[i % 3]}\n" for i, (a, b) in enumerate(drawn))


@pytest.fixture
def flowers(tmp_path):
    (tmp_path / "net.toml").write_text(MODEL, encoding="utf-8")
    (tmp_path / "own").mkdir()
    own = MODEL + 'data = "all.csv"\nlabel = "species"\nvalidation = "other.csv"\n'
    (tmp_path / "own" / "net.toml").write_text(own, encoding="utf-8")
    for name, count in (("flowers.csv", 30), ("other.csv", 9), ("own/all.csv", 18), ("own/other.csv", 6)):
        (tmp_path / name).write_text(f"width,height,species\n{rows(count)}", encoding="utf-8")


def test_a_table_is_trained_on_and_tested_on_a_part_or_on_another_one(run, flowers):
    def trained(*options, model="net.toml"):
        result = run("train", model, *options)
        assert result.exit_code == 0, result.output
        return re.search(r"^data .*", result.stdout, re.MULTILINE)[0]

    table = ("--data", "flowers.csv", "--label", "species")
    assert trained(*table) == (
        "data flowers: 24 samples to learn from, 6 to test on (one in five of each class, drawn with seed 0)"
    )
    assert "21 samples to learn from, 9 to test on (0.3 of each class" in trained(*table, "--test-fraction", 0.3)
    assert trained(*table, "--validation", "other.csv") == (
        "data flowers: 30 samples to learn from, 9 to test on (all of other.csv)"
    )
    # What a model file says about its own data is relative to it, and is not about others.
    own = "own/net.toml"
    assert trained(model=own) == "data all: 18 samples to learn from, 6 to test on (all of other.csv)"
    assert "15 samples to learn from, 3 to test on (0.17 of" in trained("--test-fraction", 0.17, model=own)
    assert "24 samples to learn from, 6 to test on (one in" in trained("--data", "flowers.csv", model=own)


def test_every_command_takes_a_table(run, flowers):
    table = ("--data", "flowers.csv", "--label", "species")
    assert run("train", "net.toml", *table, "--out", "run").exit_code == 0
    weights = ("--weights", "run/weights.safetensors")
    for command in (
        *(("draw", "net.toml", "--sample", 7, "-o", "a.gv"), ("notes", "net.toml", "--sample", 7, "-o", "a.md")),
        *(("check", "net.toml"), ("explain", "net.toml", "z[0,1]", "--sample", 7)),
        *(("equations", "net.toml", "--values"), ("evaluate", "net.toml", *weights), ("predict", "net.toml", *weights)),
    ):
        result = run(*command, *table)
        assert result.exit_code == 0, result.output
    # Without labels: all rows, whose columns are those of numbers.
    Path("new.csv").write_text("width,height\n1,2\n3,4\n", encoding="utf-8")
    assert "data new: 2 samples, without labels" in run("predict", "net.toml", *weights, "--data", "new.csv").stdout


@pytest.mark.filterwarnings("ignore:.*the text in 'species' is left out")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "flowers.csv: no column is called y, label, class, target; name that of the labels (--label, label=)"),
        (("--label", "specie"), "no column is called 'specie'; did you mean 'species'?"),
        (("--label", "species", "--test-fraction", "1.2"), "a number from 0 to 1, without 1; found 1.2"),
        (("--label", "species", "--test-fraction", "0.95"), "leaves no sample of the class 'rose' to learn from"),
        (("--label", "species", "--test-fraction", "0.01"), "0.01 of 30 samples is less than one sample"),
        (("--label", "species", "--test-fraction", "0.5", "--validation", "other.csv"), "found both"),
        (("--label", "species", "--validation", "nowhere.csv"), "nowhere.csv: there is no such file"),
        (("--label", "width"), "the model takes 2 numbers; found 1 column of numbers, 'height'"),
    ],
)
def test_what_is_wrong_is_said(fails, flowers, options, message):
    assert message in fails("train", "net.toml", "--data", "flowers.csv", *options)


@pytest.mark.filterwarnings("ignore:.*the text in 'species' is left out")
def test_the_column_of_the_labels_may_be_called_as_the_input(fails, flowers):
    Path("kind.toml").write_text(MODEL.replace("y = {", "kind = {").replace("(z, y)", "(z, kind)"), encoding="utf-8")
    message = fails("train", "kind.toml", "--data", "flowers.csv")
    assert "no column is called kind, label, class, target, y; name" in message
    Path("comma.csv").write_text("width;height;kind\n1;2;rose\n1,5;2;rose\n", encoding="utf-8")
    assert "found '1,5'; write a decimal point, not a comma" in fails("train", "kind.toml", "--data", "comma.csv")
    assert "no bundled model of that name; did you mean 'kind.toml'?" in fails("train", "kinds.toml")


def test_classes_are_those_that_the_weights_know(run, fails, flowers):
    table = ("--data", "flowers.csv", "--label", "species")
    assert run("train", "net.toml", *table, "--out", "run").exit_code == 0
    weights = ("--weights", "run/weights.safetensors", "--label", "species")
    Path("some.csv").write_text("width,height,species\n" + "1,2,tulip\n0,1,rose\n" * 3, encoding="utf-8")
    result = run("predict", "net.toml", *weights, "--data", "some.csv", "--part", "all", "--out", "o.csv")
    assert result.exit_code == 0, result.output
    labels = [line.split(",")[2] for line in Path("o.csv").read_text(encoding="utf-8").splitlines()[1:]]
    assert labels in (["tulip", "rose"] * 3, ["2", "1"] * 3)
    Path("some.csv").write_text("width,height,species\n" + "1,2,tulips\n0,1,rose\n" * 3, encoding="utf-8")
    message = fails("evaluate", "net.toml", *weights, "--data", "some.csv")
    assert "the class 'tulips' is none of 'aster', 'rose' and 'tulip'; did you mean 'tulip'?" in message


def test_every_command_takes_inputs_that_are_no_samples(run, tmp_path):
    text = MODEL.replace("x = [2]", "x = [2]\nscale = { shape = [2], batched = false }").replace(
        "x @ W", "(x * scale) @ W"
    )
    (tmp_path / "net.toml").write_text(text, encoding="utf-8")
    x, y = np.random.default_rng(0).normal(size=(20, 2)), np.arange(20) % 3
    np.savez(tmp_path / "own.npz", x=x, y=y, scale=[1.0, 2.0])
    np.savez(tmp_path / "new.npz", x=x, scale=[1.0, 2.0])
    data = ("--data", "own.npz")
    assert run("train", "net.toml", *data, "--out", "run").exit_code == 0
    weights = ("--weights", "run/weights.safetensors")
    for command in (
        *(("draw", "net.toml", "--sample", 7, "-o", "a.gv"), ("notes", "net.toml", "--sample", 7, "-o", "a.md")),
        *(("check", "net.toml"), ("explain", "net.toml", "z[0,1]", "--sample", 7)),
        *(("equations", "net.toml", "--values"), ("evaluate", "net.toml", *weights), ("predict", "net.toml", *weights)),
    ):
        result = run(*command, *data)
        assert result.exit_code == 0, result.output
    assert "data new: 20 samples, without labels" in run("predict", "net.toml", *weights, "--data", "new.npz").stdout


@pytest.mark.filterwarnings("default:.*is the built-in set")
def test_a_folder_called_as_a_built_in_set_is_named_by_its_path(run):
    Path("xor", "one").mkdir(parents=True)
    result = run("train", "xor", "--epochs", 1)
    assert result.exit_code == 0
    assert "note: 'xor' is the built-in set; './xor' is the file or folder of that name" in result.stderr
    assert "image" in run("train", "xor", "--data", "./xor", "--epochs", 1).stderr


def test_the_column_of_the_labels_is_that_of_a_table(run):
    result = run("train", "xor", "--label", "y", "--epochs", 1)
    assert result.exit_code == 2
    assert "label names a column of a table (.csv or .tsv); found 'y' for 'xor'" in result.stderr
