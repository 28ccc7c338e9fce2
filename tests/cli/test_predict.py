"""``tinygraph predict``."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest

import tinygraph as tg
from tests.tools.commands import xor_file
from tests.tools.datasets import classifier, images
from tinygraph.cli.predict import Outputs
from tinygraph.model import load_model
from tinygraph.train import lazy
from tinygraph.train.metrics import DecisionRule


@pytest.fixture
def trained(tmp_path):
    """The weights of an untrained xor."""
    path = tmp_path / "xor.safetensors"
    load_model("xor").save(path)
    return path


def test_predict_prints_the_first_rows_and_the_accuracy(run):
    load_model("notes_cnn").save("w.safetensors")
    output = run("predict", "notes_cnn", "--weights", "w.safetensors").stdout
    assert output.splitlines()[0].split() == ["sample", "a", "predicted", "label", "confidence"]
    assert "... and 349 more" in output
    assert re.search(r"^accuracy 0\.\d{4} on 359 samples$", output, re.MULTILINE)


def labelled(path, **arrays):
    """A file of twelve samples with two classes, not in the order of the classes."""
    x = np.random.default_rng(0).standard_normal((12, 2)).astype("float32")
    return xor_file(path, x=x, y=np.array([[0], [0], [1]] * 4), **arrays), x


def test_predict_scores_the_samples_that_train_tests_on(run, trained):
    path, x = labelled("twelve.npz")
    data = tg.load_data(path)
    rule = "to test on (one in five of each class, drawn with seed 0)\n"
    assert f"10 samples to learn from, 2 {rule}" in run("train", "xor", "--data", path, "--epochs", 1).stdout
    output = run("predict", "xor", "--weights", trained, "--data", path, "--out", "o.npz").stdout
    assert f"data twelve: the 2 samples {rule}" in output
    assert "on 2 samples" in output
    with np.load("o.npz") as written:
        assert written["sample"].tolist() == data.drawn.tolist()
        assert np.array_equal(written["output"], load_model("xor").predict(x[data.drawn]))


def test_predict_scores_the_test_samples_of_a_file_that_has_some(run, trained):
    path, _ = labelled("own.npz", x_test=np.ones((3, 2)), y_test=np.ones((3, 1)))
    output = run("predict", "xor", "--weights", trained, "--data", path).stdout
    assert "data own: the 3 samples to test on (its own test arrays)\n" in output
    assert "on 3 samples" in output


@pytest.mark.parametrize("part", ["train", "all"])
def test_predict_takes_the_other_samples_when_asked(run, trained, part):
    path, x = labelled("twelve.npz")
    output = run("predict", "xor", "--weights", trained, "--data", path, "--part", part, "--out", "o.npz").stdout
    at = np.setdiff1d(np.arange(12), tg.load_data(path).drawn) if part == "train" else np.arange(12)
    assert f"the {len(at)} samples {'to learn from' if part == 'train' else 'of both parts'}" in output
    with np.load("o.npz") as written:
        assert written["sample"].tolist() == at.tolist()
        assert np.array_equal(written["output"], load_model("xor").predict(x[at]))


@pytest.mark.parametrize("data", [["--data", "twelve.npz"], ["--data", "others.npz", "--validation", "twelve.npz"]])
def test_outputs_do_not_replace_the_data(fails, trained, data):
    path, _ = labelled("twelve.npz")
    labelled("others.npz")
    before = Path(path).read_bytes()
    message = fails("predict", "xor", "--weights", trained, *data, "--out", "./twelve.npz")
    assert "'twelve.npz' holds the data" in message
    assert Path(path).read_bytes() == before


def test_predict_needs_no_labels(run, trained):
    np.savez("x.npz", x=np.zeros((3, 2)))
    result = run("predict", "xor", "--weights", trained, "--data", "x.npz", "--out", "o.csv")
    assert result.exit_code == 0
    assert "accuracy" not in result.stdout
    assert result.stdout.splitlines()[0].split() == ["sample", "a", "predicted", "confidence"]
    with open("o.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    output = load_model("xor").predict(np.zeros((3, 2)))
    assert [np.float32(row["a"]) for row in rows] == output.ravel().tolist()
    assert [int(row["predicted"]) for row in rows] == (output > 0.5).ravel().tolist()


def test_predict_shows_and_writes_classes_as_columns(run):
    load_model("lenet5").save("w.safetensors")
    result = run("predict", "lenet5", "--weights", "w.safetensors", "--out", "o.csv")
    assert result.exit_code == 0
    names = ["sample", "predicted", "label", "confidence", *(f"a[{i}]" for i in range(10))]
    table = result.stdout.splitlines()[:11]
    assert table[0].split() == names
    assert len({len(line) for line in table}) == 1
    assert all(re.fullmatch(r" +\d+  +\d  +\d  +0\.\d{4}(  0\.\d{4}){10}", line) for line in table[1:])
    with open("o.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == names
    assert len(rows) == 359
    for row in rows[:5]:
        assert int(row["predicted"]) == np.argmax([float(row[f"a[{i}]"]) for i in range(10)])


@pytest.mark.parametrize("suffix", [".csv", ".npz"])
def test_names_of_classes(run, suffix):
    model = load_model("lenet5")
    model.classes = tuple(f"digit {i}" for i in range(10))
    model.save("w.safetensors")
    result = run("predict", "lenet5", "--weights", "w.safetensors", "--out", f"o{suffix}")
    assert "a[digit 0]  a[digit 1]" in result.stdout.splitlines()[0]
    data = tg.load_data("digits28").test
    output = model.predict(data[0])
    assert f"digit {output[0].argmax()}  digit {data[1][0]}  {output[0].max():.4f}" in re.sub(
        "  +", "  ", result.stdout
    )
    if suffix == ".npz":
        with np.load("o.npz") as written:
            assert tuple(written["classes"]) == model.classes
            assert written["predicted"].tolist() == output.argmax(axis=1).tolist()
            assert written["label"].tolist() == data[1].tolist()
            assert np.array_equal(written["confidence"], output.max(axis=1))
    else:
        with open("o.csv", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert [row["predicted"] for row in rows] == [f"digit {i}" for i in output.argmax(axis=1)]
        assert [row["label"] for row in rows] == [f"digit {i}" for i in data[1]]
        assert np.float32(rows[3]["a[digit 7]"]) == output[3, 7]


def test_images_are_called_by_their_files(run):
    pytest.importorskip("PIL")
    model = classifier()
    model.classes = ("cat", "dog", "eel")
    model.save("w.safetensors")
    Path("net.toml").write_text(model.to_toml(), encoding="utf-8")
    images(Path("new"), 2, classes=(".",))
    output = run("predict", "net.toml", "--weights", "w.safetensors", "--data", "new", "--out", "o.csv").stdout
    assert [line.split()[0] for line in output.splitlines()[:3]] == ["sample", "0.png", "1.png"]
    assert "data new: 2 samples, without labels" in output
    with open("o.csv", encoding="utf-8") as file:
        assert [row["sample"] for row in csv.DictReader(file)] == ["0.png", "1.png"]


def test_data_larger_than_the_memory_are_read_batch_by_batch(run, monkeypatch):
    model, read = load_model("lenet5"), []
    model.save("w.safetensors")
    x = np.random.default_rng(0).random((600, 1, 28, 28), "float32")
    Path("data").mkdir()
    np.save("data/x.npy", x)
    taken = lazy.Lazy.__getitem__
    monkeypatch.setattr(lazy, "MOST_IN_MEMORY", 1000)
    monkeypatch.setattr(lazy.Lazy, "__getitem__", lambda self, at: read.append(taken(self, at)) or read[-1])
    assert run("predict", "lenet5", "--weights", "w.safetensors", "--data", "data", "--out", "o.npz").exit_code == 0
    assert max(map(len, read)) <= 256
    with np.load("o.npz") as written:
        np.testing.assert_allclose(written["output"], model.predict(x), rtol=1e-5)


def test_names_of_two_classes_and_of_several_labels():
    rule, names = DecisionRule(threshold=0.5), ("no", "yes")
    assert Outputs("a", np.array([[0.9], [0.2]]), np.array([[1.0], [1.0]]), rule, None, names).shown() == [
        ["sample", "a", "predicted", "label", "confidence"],
        ["0", "0.9000", "yes", "yes", "0.9000"],
        ["1", "0.2000", "no", "yes", "0.8000"],
    ]
    assert Outputs("a", np.array([[0.9, 0.2]]), None, rule, None, ("red", "big")).shown() == [
        ["sample", "predicted", "confidence", "a[red]", "a[big]"],
        ["0", "1 0", "0.9000 0.8000", "0.9000", "0.2000"],
    ]


def test_labels_in_a_row_of_classes_are_shown_as_the_class():
    outputs = Outputs("a", np.array([[0.1, 0.9], [0.8, 0.2]]), np.eye(2), DecisionRule())
    assert outputs.shown() == [
        ["sample", "predicted", "label", "confidence", "a[0]", "a[1]"],
        ["0", "1", "0", "0.9000", "0.1000", "0.9000"],
        ["1", "0", "1", "0.8000", "0.8000", "0.2000"],
    ]


def test_outputs_that_decide_nothing_are_shown_as_numbers():
    assert Outputs("z", np.array([1.5e-9, 2.0]), np.array([0.5, 1e7])).shown() == [
        ["sample", "z", "label"],
        ["0", "1.5e-09", "0.5"],
        ["1", "2", "10000000"],
    ]
    header, row = Outputs("z", np.arange(12.0).reshape(1, 3, 4)).shown()
    assert header[-1] == "z[2, 1]"
    assert row == ["0", *"0123456789"]


def test_help_says_which_data_predict_takes(run):
    assert "[default: what the model says]" in " ".join(run("predict", "--help").stdout.split())


def test_weights_of_another_model_are_refused(fails, trained):
    assert "not the weights of model 'notes_cnn'" in fails("predict", "notes_cnn", "--weights", trained)


def test_damaged_weights_are_refused(fails, trained):
    content = trained.read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"\xff" * 64):
        trained.write_bytes(damaged)
        assert trained.name in fails("predict", "xor", "--weights", trained)


def test_missing_weights_are_an_error(fails):
    assert "none.safetensors" in fails("predict", "xor", "--weights", "none.safetensors")
    assert "--weights" in fails("predict", "xor")


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"x": np.array([[np.inf, 0.0]])}, "x is not finite in 1 of 2 elements"),
        ({"x": np.array([[1e300, 0.0]])}, "holds float32, which ends at"),
        ({"x": np.zeros((2, 5))}, "(2, 5)"),
        ({"z": np.zeros((2, 2))}, "an array called 'x' is missing"),
        ({"x": np.array([[np.nan, 0.0]]), "y": np.zeros((1, 1))}, "x is not finite"),
    ],
)
def test_samples_that_do_not_fit_are_refused(arrays, expected, fails, trained):
    np.savez("bad.npz", **arrays)
    assert expected in fails("predict", "xor", "--weights", trained, "--data", "bad.npz")


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04 cut"])
def test_samples_that_cannot_be_read_are_refused(content, fails, trained):
    Path("bad.npz").write_bytes(content)
    assert "bad.npz: cannot be read as an .npz file" in fails(
        "predict", "xor", "--weights", trained, "--data", "bad.npz"
    )


def test_a_single_array_holds_samples_without_labels(run, fails, trained):
    np.save("z.npy", np.zeros((2, 2)))
    assert "data z: 2 samples, without labels" in run("predict", "xor", "--weights", trained, "--data", "z.npy").stdout
    assert "z.npy: a single array" in fails("evaluate", "xor", "--weights", trained, "--data", "z.npy")


def test_outputs_are_written_as_npz_or_csv_only(fails, trained):
    assert "written as .npz or .csv" in fails("predict", "xor", "--weights", trained, "--out", "o.txt")
    Path("somefile").write_text("")
    for name in ("o.npz", "o.csv"):
        assert "somefile" in fails("predict", "xor", "--weights", trained, "--out", f"somefile/{name}")
