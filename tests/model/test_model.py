"""Declared models: the bundled ones, loading, and what a model shows."""

import shutil

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import tinygraph as tg
from tests.tools.models import SHAPES, X, net
from tinygraph.model import bundled_models

# ---- bundled models and loading


CLASSES = {"lenet5": 10, "residual": 10, "notes_cnn_norm": 10}


def test_the_bundled_models_are_all_there():
    assert set(bundled_models()) == set(SHAPES)


@pytest.mark.parametrize("name", SHAPES)
def test_parameters_of_a_bundled_model_in_order(name):
    parameters = tg.load_model(name).parameters
    assert [(key, p.shape) for key, p in parameters.items()] == list(SHAPES[name].items())
    assert {p.dtype for p in parameters.values()} == {np.dtype("float32")}
    assert {(p.kind, p.name == key) for key, p in parameters.items()} == {("parameter", True)}


@pytest.mark.parametrize("batch", [1, 3, 32])
@pytest.mark.parametrize("name", SHAPES)
def test_a_bundled_model_records_for_any_batch(name, batch):
    recording = tg.load_model(name).record(batch)
    assert recording.output.shape == (batch, CLASSES.get(name, 1))
    assert recording.loss.shape == ()
    assert recording.graph.outputs == (recording.output, recording.loss)


@pytest.mark.parametrize("name", SHAPES)
def test_a_bundled_model_computes_finite_numbers_of_its_dtype(name):
    model = tg.load_model(name)
    features = np.random.default_rng(0).random((3, *model.inputs[model.features[0]].shape))
    output = model.predict(features)
    assert output.dtype == np.float32
    assert np.isfinite(output).all()


@pytest.mark.parametrize("name", SHAPES)
def test_a_bundled_model_has_features_and_labels(name):
    model = tg.load_model(name)
    assert len(model.features) == len(model.labels) == 1
    assert (*model.features, *model.labels) == tuple(model.inputs)


def test_a_model_loads_by_name_by_path_and_by_text():
    path = bundled_models()["xor"]
    models = [tg.load_model("xor"), tg.load_model(path), tg.load_model(str(path)), tg.Model.from_toml(path.read_text())]
    assert len({str(model) for model in models}) == 1
    assert [model.path for model in models] == [path, path, path, None]


def test_a_file_wins_over_a_bundled_name(tmp_path, monkeypatch):
    shutil.copy(bundled_models()["notes_ann"], tmp_path / "xor")
    monkeypatch.chdir(tmp_path)
    assert tg.load_model("xor").name == "notes_ann"


def test_a_folder_of_a_bundled_name_is_no_obstacle(tmp_path, monkeypatch):
    (tmp_path / "xor").mkdir()
    monkeypatch.chdir(tmp_path)
    assert tg.load_model("xor").name == "xor"


def test_name_title_and_training_come_from_the_file():
    model = tg.load_model("notes_cnn")
    assert model.name == "notes_cnn"
    assert model.title == "The CNN of the notes: is a handwritten digit odd?"
    training = model.training
    assert (training.data, training.epochs, training.batch_size) == ("digits_odd", 30, 32)
    assert (training.learning_rate, training.optimizer, training.momentum, training.seed) == (0.5, "sgd", 0.0, 0)


def test_a_byte_order_mark_and_windows_line_endings_are_read(tmp_path):
    path = tmp_path / "xor.toml"
    path.write_bytes(b"\xef\xbb\xbf" + bundled_models()["xor"].read_bytes().replace(b"\n", b"\r\n"))
    assert str(tg.load_model(path)) == str(tg.load_model("xor"))


def test_a_model_from_python_is_the_model_of_the_file():
    file = tg.load_model("notes_cnn", seed=7)
    python = tg.Model(
        inputs={"Inp": (1, 8, 8), "y": (1,)},
        parameters={
            "K1": {"shape": (8, 1, 3, 3), "init": "he_normal"},
            "B1": {"shape": (8, 1, 1), "init": "zeros"},
            "K2": {"shape": (16, 8, 3, 3), "init": "he_normal"},
            "B2": {"shape": (16, 1, 1), "init": "zeros"},
            "W3": {"shape": ("f.shape[1]", 1), "init": "glorot_uniform"},
            "B3": {"shape": (1,), "init": "zeros"},
        },
        equations="""
            Z1 = conv2d(Inp, K1, padding=1) + B1
            C1 = relu(Z1)
            P1 = avg_pool2d(C1, 2)
            Z2 = conv2d(P1, K2, padding=1) + B2
            C2 = relu(Z2)
            P2 = max_pool2d(C2, 2)
            f = flatten(P2)
            Z3 = f @ W3 + B3
            a = sigmoid(Z3)
            cost = bce(a, y)
        """,
        output="a",
        loss="cost",
        seed=7,
    )
    assert str(python) == str(file)
    assert str(python.graph(5)) == str(file.graph(5))
    for name, parameter in file.parameters.items():
        assert_array_equal(python.parameters[name].value, parameter.value)


def test_numpy_sizes_are_sizes():
    sizes = [np.int64(4), np.int32(4)]
    model = net("a = x @ W", {"W": {"shape": sizes, "init": "ones"}}, {"x": sizes[:1]})
    assert model.parameters["W"].shape == (4, 4)


# ---- what a model shows


TWO_PARTS = """
h = x @ V + b
a = sigmoid(h @ W)
cost = mse(a, y) + 0.1 * mean(w * w)
"""


def two_parts():
    return net(
        TWO_PARTS,
        {
            "W": {"shape": ["h.shape[1]", 1], "init": "normal"},
            "V": {"shape": [4, 3], "init": "normal"},
            "b": {"shape": [3], "init": "zeros"},
        },
        {"y": [1], "x": [4], "w": []},
        loss="cost",
    )


def test_inputs_and_parameters_keep_the_order_of_declaration():
    model = two_parts()
    assert list(model.inputs) == ["y", "x", "w"]
    assert list(model.parameters) == ["W", "V", "b"]


def test_inputs_have_shapes_without_the_batch():
    assert {name: i.shape for name, i in two_parts().inputs.items()} == {"y": (1,), "x": (4,), "w": ()}
    assert two_parts().inputs["x"].batch_shape(9) == (9, 4)


def test_features_are_what_the_output_needs_and_labels_the_rest():
    model = two_parts()
    assert model.features == ("x",)
    assert model.labels == ("y", "w")


def test_sizes_that_are_read_off_the_labels_leave_them_labels():
    model = net(
        "a = x @ W\ncost = mse(a, y)",
        {"W": {"shape": ["x.shape[1]", "y.shape[1]"], "init": "ones"}},
        {"x": [4], "y": [3]},
        loss="cost",
    )
    assert (model.features, model.labels) == (("x",), ("y",))
    assert model.predict(X).shape == (2, 3)
    assert model(X).shape == (2, 3)


@pytest.mark.parametrize("mapping", ["inputs", "parameters"])
def test_mappings_are_read_only(mapping):
    with pytest.raises(TypeError):
        getattr(two_parts(), mapping)["x"] = None


def test_a_new_value_of_a_parameter_is_used_at_once():
    model = net("a = x * W", {"W": {"shape": [4], "init": "zeros"}})
    model.predict(X)
    model.parameters["W"].value = np.ones(4)
    assert_array_equal(model.predict(X), X)
    assert_array_equal(model(X).value, X)


def test_a_graph_is_recorded_once_for_each_batch_and_shares_parameters():
    model = two_parts()
    assert model.record(3) is model.record(3)
    assert model.graph(3) is not model.graph(4)
    assert model.graph(3).parameters["W"] is model.graph(4).parameters["W"] is model.parameters["W"]


def test_the_text_of_a_graph_is_the_equations():
    assert str(net("h = x @ W\na = relu(h) + 1", {"W": {"shape": [4, 3], "init": "ones"}}).graph(2)) == "\n".join(
        [
            "x  input          float32 (2, 4)",
            "W  parameter      float32 (4, 3)",
            "h  = x @ W        float32 (2, 3)",
            "a  = relu(h) + 1  float32 (2, 3)",
        ]
    )


def test_the_text_of_a_model_counts_its_parameters():
    lines = str(tg.load_model("notes_cnn")).splitlines()
    assert lines[0].split() == ["Inp", "input", "float32", "(m,", "1,", "8,", "8)"]
    assert lines[-1].split() == ["parameters", "1,313"]
    assert "W3" in repr(tg.load_model("notes_cnn").graph(2).parameters)


def test_a_recording_knows_its_equations_with_their_lines():
    record = tg.load_model("xor").record(2)
    assert [(e.name, e.text, e.line) for e in record.equations] == [
        ("h", "h = tanh(x @ W1 + B1)", 17),
        ("Z", "Z = h @ W2 + B2", 18),
        ("a", "a = sigmoid(Z)", 19),
        ("cost", "cost = bce(a, y)", 20),
    ]
    assert [[node.op.name for node in e.nodes] for e in record.equations][:2] == [
        ["matmul", "add", "tanh"],
        ["matmul", "add"],
    ]


@pytest.mark.parametrize("name", SHAPES)
def test_every_node_belongs_to_one_equation(name):
    record = tg.load_model(name).record(2)
    owned = [node for equation in record.equations for node in equation.nodes]
    assert len(owned) == len(set(owned))
    assert set(owned) == {node for node in record.graph.nodes if node.op is not None}


def test_a_recording_has_its_tensors_by_name():
    record = tg.load_model("xor").record(2)
    assert set(record.tensors) == {"x", "y", "W1", "B1", "W2", "B2", "h", "Z", "a", "cost"}
    assert record.tensors["a"] is record.output
