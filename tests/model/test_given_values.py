"""Values in a model file: of parameters and state, and a sample for the inputs."""

import copy
import pickle

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import tinygraph as tg
from tests.tools.models import net
from tinygraph.model.writer import toml_text

IMAGE = "[[[1, 2, 0, 1], [0, 1, 3, 1], [2, 0, 1, 0], [1, 1, 0, 2]]]"
TEXT = f"""
[inputs]
x = [1, 4, 4]
y = [1]

[parameters]
K = {{ value = [[[[1, 0], [0, -1]]]] }}
b = {{ value = 0.5 }}
W = {{ shape = ["x.shape[2] + 5", 1], value = [[1], [0], [-1], [0], [1], [0], [0.5], [0], [-0.5]] }}

[model]
equations = '''
Z = conv2d(x, K) + b
a = sigmoid(flatten(relu(Z)) @ W)
cost = bce(a, y)
'''
output = "a"
loss = "cost"

[sample]
x = {IMAGE}
y = 1
"""


def changed(old, new):
    assert old in TEXT
    return tg.Model.from_toml(TEXT.replace(old, new), "net.toml")


def test_parameters_have_the_values_of_the_file_and_their_shapes():
    model = tg.Model.from_toml(TEXT)
    assert_array_equal(model.parameters["K"].value, np.array([[[[1, 0], [0, -1]]]], np.float32))
    assert {name: p.shape for name, p in model.parameters.items()} == {"K": (1, 1, 2, 2), "b": (), "W": (9, 1)}
    assert {p.dtype.name for p in model.parameters.values()} == {"float32"}
    assert model.weighted


def test_a_sample_is_fed_with_its_batch_axis_in_the_dtypes_of_the_inputs():
    model = tg.Model.from_toml(TEXT)
    assert {name: (array.shape, array.dtype.name) for name, array in model.sample.items()} == {
        "x": ((1, 1, 4, 4), "float32"),
        "y": ((1, 1), "float32"),
    }
    assert model.predict(model.sample["x"]).shape == (1, 1)
    assert not model.sample["x"].flags.writeable
    assert tg.load_model("xor").sample == {}


@pytest.mark.parametrize("label", ["1", "[1]", "[[1]]", "true"])
def test_a_label_of_one_number_needs_no_brackets(label):
    assert_array_equal(changed("y = 1\n", f"y = {label}\n").sample["y"], [[1.0]])


def test_a_sample_may_be_a_batch():
    model = changed(f"x = {IMAGE}\ny = 1", f"x = [{IMAGE}, {IMAGE}]\ny = [[1], [0]]")
    assert model.sample["x"].shape == (2, 1, 4, 4)
    assert len(tg.draw(model).drawing.cards[-1].shape) == 0
    # Class numbers have no axis but that of the samples.
    classes = {"x": [2], "y": {"shape": [], "dtype": "int64"}}
    pair = {"sample": {"x": [[1, 2], [3, 4]], "y": [0, 1]}, "loss": "cost"}
    assert_array_equal(net("a = x + 1\ncost = cross_entropy(a, y)", inputs=classes, **pair).sample["y"], [0, 1])


def test_an_input_without_a_batch_axis_has_its_own_shape():
    inputs = {"x": [2], "scale": {"shape": [2], "batched": False}}
    model = net("a = x * scale", inputs=inputs, sample={"x": [[1, 2], [3, 4]], "scale": [10, 100]})
    assert_array_equal(tg.draw(model).drawing.cards[-1].value.numbers, [["10", "200"], ["30", "400"]])


def test_initialize_returns_to_the_values_of_the_file():
    model = tg.Model.from_toml(TEXT)
    model.parameters["K"].value = np.zeros((1, 1, 2, 2))
    model.initialize(seed=3)
    assert_array_equal(model.parameters["K"].value, [[[[1, 0], [0, -1]]]])


def test_each_call_of_a_block_starts_from_the_values_of_the_block():
    block = {"inputs": ["p"], "parameters": {"W": {"value": [1, -1]}}, "equations": "q = p * W", "output": "q"}
    model = net("h = twice(x)\na = twice(h)", inputs={"x": [2]}, blocks={"twice": block})
    assert_array_equal(model.parameters["h.W"].value, model.parameters["a.W"].value)
    model.parameters["h.W"].value = [5, 5]
    assert_array_equal(model.parameters["a.W"].value, [1, -1])


def test_state_has_values_and_a_dtype():
    state = {"key": {"value": 7, "dtype": "int64", "next": "key + 1"}, "mask": {"value": [0, -np.inf]}}
    model = net("a = softmax(x + mask)", inputs={"x": [2]}, state=state)
    assert model.state["key"].value == 7
    assert model.state["key"].dtype == np.int64
    assert_array_equal(model.state["mask"].value, [0, -np.inf])


def test_values_in_python_may_be_arrays_and_are_copied():
    weights = np.array([[1.0], [2.0]])
    point = np.array([3.0, 4.0])
    model = net("a = x @ W", {"W": {"value": weights}}, inputs={"x": [2]}, sample={"x": point}, dtype="float64")
    weights[:], point[:] = 0, 0
    assert_array_equal(model.parameters["W"].value, [[1], [2]])
    assert model.predict(model.sample["x"]).item() == 11


def test_the_written_tables_are_read_back():
    tables = {
        "inputs": {"x": {"shape": [2]}, "y": {"shape": [], "dtype": "int64"}},
        "parameters": {"W": {"value": np.array([[0.1, -1e-9], [2, 3]], np.float32)}},
        "state": {"mask": {"value": np.array([0, -np.inf])}},
        "model": {"equations": "a = x @ W + mask\ncost = cross_entropy(a, y)", "output": "a", "loss": "cost"},
        "sample": {"x": [[0.1, 2], [3, 4]], "y": np.array([0, 1])},
    }
    first, second = tg.Model.from_tables(tables, {}), tg.Model.from_toml(toml_text(tables))
    assert_array_equal(first.parameters["W"].value, second.parameters["W"].value)
    assert_array_equal(second.state["mask"].value, [0, -np.inf])
    for name in ("x", "y"):
        assert_array_equal(first.sample[name], second.sample[name])


def test_copies_weights_and_onnx_keep_the_values(tmp_path):
    model = tg.Model.from_toml(TEXT)
    model.parameters["b"].value = 2.0
    for same in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert same.parameters["b"].value == 2
        assert_array_equal(same.sample["x"], model.sample["x"])
    model.save(tmp_path / "w.safetensors")
    loaded = tg.Model.from_toml(TEXT)
    loaded.load(tmp_path / "w.safetensors")
    assert loaded.parameters["b"].value == 2
    pytest.importorskip("onnx")
    model.to_onnx(tmp_path / "m.onnx")
    assert_array_equal(tg.load_model(tmp_path / "m.onnx").predict(model.sample["x"]), model.predict(model.sample["x"]))


def test_the_weights_of_the_file_are_loaded_over_the_values(tmp_path):
    model = tg.Model.from_toml(TEXT)
    model.parameters["b"].value = 2.0
    model.save(tmp_path / "w.safetensors")
    (tmp_path / "net.toml").write_text('weights = "w.safetensors"\n' + TEXT, encoding="utf-8")
    assert tg.load_model(tmp_path / "net.toml").parameters["b"].value == 2


def test_training_starts_from_the_values():
    model = tg.Model.from_toml(TEXT)
    expected = tg.run(model.record(1).loss, model.sample)[0]
    _, loss = model.compile_step("sgd", batch_size=1)(model.sample)
    assert loss == pytest.approx(expected)


def test_a_check_is_on_the_sample():
    model = changed(f"x = {IMAGE}\ny = 1", f"x = [{IMAGE}, {IMAGE}, {IMAGE}]\ny = [[1], [0], [1]]")
    found = {record.input: record.size for record in tg.check(model).records if record.op == "whole graph"}
    assert found["input x"] == 48
    assert tg.check(model).ok


KERNEL = "K = { value = [[[[1, 0], [0, -1]]]] }"
MISTAKES = {
    "text": ("y = 1\n", "y = 'one'\n", "net.toml:22: [sample]: input 'y' must be numbers; found text, 'one'"),
    "text in a list": ("y = 1\n", "y = ['one']\n", "input 'y' must be numbers; found text, 'one'"),
    "date": ("y = 1\n", "y = 2020-01-01\n", "must be numbers; found date"),
    "table": ("y = 1\n", "y = { a = 1 }\n", "must be numbers; found a table"),
    "NaN": ("y = 1\n", "y = [nan]\n", "input 'y' must be finite; found nan at index (0,)"),
    "infinity": ("y = 1\n", "y = -inf\n", "must be finite; found -inf"),
    "too large": ("y = 1\n", "y = 1e60\n", "holds float32, which ends at"),
    "unknown input": ("y = 1\n", "y = 1\nyy = 1\n", "[sample] has no key 'yy'; did you mean 'y'?"),
    "missing input": ("y = 1\n", "", "net.toml:20: [sample] has no value for 'y'"),
    "shape": (IMAGE, "[1, 2]", "takes the shape (1, 4, 4), or (m, 1, 4, 4) for a batch; found (2,)"),
    "labels of a batch": ("y = 1\n", "y = [1, 0]\n", "takes the shape (1,), or (m, 1) for a batch; found (2,)"),
    "ragged": (IMAGE, "[[[1, 2], [3]]]", "rows of unequal length do not make an array"),
    "empty": (IMAGE, "[]", "is empty: its shape is (0,)"),
    "very deep": (IMAGE, "[" * 70 + "1" + "]" * 70, "net.toml:21: "),
    "counts": ("y = 1\n", "y = [[1], [0]]\n", "the same number of samples, for every input; found: x has 1, y has 2"),
    "batch of the model": ("[inputs]", "batch = 2\n[inputs]", "[sample] needs 2 samples, the batch of the model"),
    "name of the table": ("[sample]", "[samples]", "no key 'samples'; did you mean 'sample'?"),
    "8-bit overflow": (
        f"x = [1, 4, 4]|x = {IMAGE}",
        f"x = {{ shape = [1, 4, 4], dtype = 'uint8' }}|x = {IMAGE.replace('3', '300')}",
        "input 'x' holds uint8, which takes integers from 0 to 255; found 300",
    ),
    "value and init": (KERNEL, "K = { init = 'zeros', value = [1] }", "has a value and init = 'zeros'"),
    "list and constant": (KERNEL, "K = { init = 'constant', value = [1] }", "has a value and init = 'constant'"),
    "constant": (KERNEL, "K = { shape = [1], init = 'constant', value = 'a' }", "value must be a finite number"),
    "wrong shape": (KERNEL, KERNEL.replace("}", ", shape = [2, 2] }"), "has the shape (2, 2), and a value of shape"),
    "one number": (KERNEL, "K = { shape = [1, 1, 2, 2], value = 2 }", 'init = "constant" fills a shape'),
    "no table": (KERNEL, "K = [[[[1.5]]]]", "needs a table:"),
    "value of text": (KERNEL, "K = { value = 'a' }", "net.toml:7: parameter 'K' must be numbers; found text"),
    "value ragged": (KERNEL, "K = { value = [[1, 0], [0]] }", "parameter 'K': rows of unequal length"),
    "value NaN": (KERNEL, "K = { value = [[[[nan, 0], [0, -1]]]] }", "must be finite; found nan"),
    "value too large": (KERNEL, "K = { value = [[[[1e300]]]] }", "its value holds float32, which ends at"),
    "value empty": (KERNEL, "K = { value = [] }", "is empty"),
    "option of an initializer": (KERNEL, "K = { value = 1, std = 1 }", "has no key 'std'"),
    "neither": (KERNEL, "K = {}", "needs a shape, a list of sizes, or a value"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_with_its_place(mistake):
    old, new, message = MISTAKES[mistake]
    text = TEXT
    for before, after in zip(old.split("|"), new.split("|"), strict=True):
        assert before in text
        text = text.replace(before, after)
    with pytest.raises(tg.ModelError) as caught:
        tg.Model.from_toml(text, "net.toml")
    assert message in str(caught.value)
    assert str(caught.value).startswith("net.toml:")


def test_a_label_out_of_range_is_named_where_it_is_used():
    classes = {"x": [2], "y": {"shape": [], "dtype": "int64"}}
    model = net("a = x + 1\ncost = cross_entropy(a, y)", inputs=classes, loss="cost", sample={"x": [1, 2], "y": 2})
    with pytest.raises(tg.TinygraphError, match=r"cross_entropy: .*2"):
        tg.draw(model)
