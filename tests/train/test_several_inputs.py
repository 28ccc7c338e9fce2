"""Models of several inputs: their arrays by name in a file, for ``train``, ``predict``, ``check`` and ``load_data``."""

import numpy as np
import pytest
from click.testing import CliRunner

import tinygraph as tg
from tinygraph.cli import main
from tinygraph.errors import DataError

RNG = np.random.default_rng(0)
MODEL = """
name = "two"
[inputs]
image = { shape = [6] }
size = { shape = [2] }
y = { shape = [], dtype = "int64" }
[parameters]
W = { shape = [6, 3], init = "glorot_uniform" }
V = { shape = [2, 3], init = "glorot_uniform" }
[model]
equations = '''
Z = image @ W + size @ V
a = softmax(Z)
cost = cross_entropy(Z, y)
'''
output = "a"
loss = "cost"
"""


def run(*args):
    outcome = CliRunner().invoke(main, list(args), standalone_mode=False)
    if outcome.exception:
        raise outcome.exception
    return outcome.output


def arrays(count=40, **others):
    image, size = RNG.normal(size=(count, 6)), RNG.normal(size=(count, 2))
    return {"image": image, "size": size, "y": np.arange(count) % 3} | others


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "two.toml").write_text(MODEL)
    return tg.load_model("two.toml")


def test_a_file_holds_an_array_for_each_input(model):
    given = arrays()
    np.savez("two.npz", **given)
    data = tg.load_data("two.npz", model)
    assert {name: len(array) for name, array in data.train[0].items()} == {"image": 32, "size": 32}
    x, y, _ = data.part("all")
    for name in ("image", "size"):
        np.testing.assert_array_equal(x[name], given[name])
    np.testing.assert_array_equal(y, given["y"])
    # A fifth of each class.
    assert sorted(np.bincount(data.test[1])) == [2, 3, 3]


def test_training_and_predicting(model):
    np.savez("two.npz", **arrays())
    printed = run("train", "two.toml", "--data", "two.npz", "--epochs", "2", "--out", "run")
    assert "data two: 32 samples to learn from, 8 to test on (one in five of each class, drawn with seed 0)" in printed
    assert "test accuracy" in printed
    weights = ["--weights", "run/weights.safetensors", "--data", "two.npz"]
    printed = run("predict", "two.toml", *weights, "--part", "all", "--out", "out.npz")
    assert "accuracy" in printed
    model.load("run/weights.safetensors")
    with np.load("two.npz") as given, np.load("out.npz") as found:
        np.testing.assert_allclose(found["output"], model.predict(given["image"], given["size"]), rtol=1e-5)


def test_predicting_without_labels(model):
    given = arrays()
    del given["y"]
    np.savez("two.npz", **given)
    model.save("w.safetensors")
    printed = run("predict", "two.toml", "--weights", "w.safetensors", "--data", "two.npz")
    assert "40 samples, without labels" in printed
    given["size"][3, 1] = np.nan
    np.savez("two.npz", **given)
    with pytest.raises(DataError, match="size is not finite in 1 of 80"):
        run("predict", "two.toml", "--weights", "w.safetensors", "--data", "two.npz")


def test_the_other_commands_take_the_file(model):
    np.savez("two.npz", **arrays())
    assert "W" in run("check", "two.toml", "--data", "two.npz")
    run("draw", "two.toml", "--data", "two.npz", "--sample", "3", "--format", "text")
    run("notes", "two.toml", "--data", "two.npz", "-o", "two.md")


def test_a_test_set_of_its_own(model):
    own = {f"{name}_test": array for name, array in arrays(7).items()}
    np.savez("two.npz", **arrays(), **own)
    data = tg.load_data("two.npz", model)
    np.testing.assert_array_equal(data.test[0]["size"], own["size_test"])
    assert len(data.train[0]["image"]) == 40


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"size": None}, "an array called 'size' is missing; the file has 'image' and 'y'"),
        (
            {"image": None, "size": None, "x": np.zeros((40, 6))},
            "arrays called 'image' and 'size' are missing; the file",
        ),
        ({"y": None}, "an array called 'y' is missing"),
        ({"size": np.zeros((39, 2))}, r"x\['image'\] has 40, x\['size'\] has 39"),
        ({"size": np.zeros((40, 3))}, r"x\['size'\]: the model's input 'size' takes \(m, 2\); found shape \(40, 3\)"),
        ({"size": np.full((40, 2), np.inf)}, "size is not finite in 80 of 80"),
        ({"image_test": np.zeros((5, 6))}, "'image_test', 'size_test' and 'y_test' go together"),
    ],
)
def test_what_does_not_fit_is_named(model, given, message):
    content = {name: array for name, array in (arrays() | given).items() if array is not None}
    np.savez("two.npz", **content)
    with pytest.raises(DataError, match=message):
        tg.load_data("two.npz", model)


def test_several_labels(tmp_path):
    """A loss of two parts; the accuracy is that of the labels of the output."""
    equations = "a = sigmoid(x @ W)\nr = x @ V\ncost = bce(a, kind) + mse(r, amount)"
    made = {name: {"shape": [3, 1], "init": "zeros"} for name in "WV"}
    model = tg.Model({"x": [3], "kind": [1], "amount": [1]}, made, equations, "a", "cost")
    given = {"x": RNG.normal(size=(20, 3)), "kind": RNG.integers(0, 2, (20, 1)), "amount": RNG.normal(size=(20, 1))}
    path = tmp_path / "labels.npz"
    np.savez(path, **given)
    data = tg.load_data(path, model)
    assert {name: len(array) for name, array in data.test[1].items()} == {"kind": 4, "amount": 4}
    history = tg.fit(model, data, epochs=2)
    assert history[-1].accuracy is not None


def test_several_inputs_of_an_onnx_file(model):
    pytest.importorskip("onnx")
    model.to_onnx("two.onnx")
    np.savez("two.npz", **arrays())
    printed = run("train", "two.onnx", "--loss", "cross_entropy", "--data", "two.npz", "--epochs", "1", "--out", "run")
    assert "test accuracy" in printed
    printed = run(
        "predict", "two.onnx", "--loss", "cross_entropy", "--data", "two.npz", "--weights", "run/weights.safetensors"
    )
    assert "accuracy" in printed
