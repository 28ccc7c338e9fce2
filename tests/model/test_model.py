"""Declared models: loading, initial values, running, blocks, equations, sizes, and operations of one's own."""

import ast
import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import tinygraph as tg
from tinygraph.graph import registry
from tinygraph.model import bundled_models

X = np.arange(8, dtype=np.float32).reshape(2, 4) / 4 - 1


def net(equations, parameters=None, inputs=None, output="a", **options):
    """A model on ``x`` (m, 4), unless told otherwise."""
    return tg.Model(inputs or {"x": [4]}, parameters or {}, equations, output, **options)


def value_of(expression, x=X, **parameters):
    """The value of one expression on ``x``, and on parameters that hold the given values."""
    declared = {name: {"shape": list(np.shape(v)), "init": "ones"} for name, v in parameters.items()}
    model = net(f"a = {expression}", declared, {"x": list(x.shape[1:])}, dtype="float64")
    for name, v in parameters.items():
        model.parameters[name].value = v
    return model(tg.tensor(x, dtype="float64")).value


def drawn(init, shape=(200, 100), seed=0, **options):
    """The initial value of a parameter."""
    model = net("a = x + sum(W)", {"W": {"shape": list(shape), "init": init, **options}}, seed=seed)
    return model.parameters["W"].value


@pytest.fixture
def operations():
    """The table of operations, put back afterwards."""
    before = dict(registry.OPERATIONS)
    yield registry.OPERATIONS
    registry.OPERATIONS.clear()
    registry.OPERATIONS.update(before)


# ---- bundled models and loading

SHAPES = {
    "notes_cnn": {
        "K1": (8, 1, 3, 3),
        "B1": (8, 1, 1),
        "K2": (16, 8, 3, 3),
        "B2": (16, 1, 1),
        "W3": (64, 1),
        "B3": (1,),
    },
    "notes_cnn_28": {
        "K1": (8, 1, 3, 3),
        "B1": (8, 1, 1),
        "K2": (16, 8, 3, 3),
        "B2": (16, 1, 1),
        "W3": (784, 1),
        "B3": (1,),
    },
    "notes_ann": {"W1": (64, 32), "B1": (32,), "W2": (32, 16), "B2": (16,), "W3": (16, 1), "B3": (1,)},
    "lenet5": {
        "K1": (6, 1, 5, 5),
        "B1": (6, 1, 1),
        "K3": (16, 6, 5, 5),
        "B3": (16, 1, 1),
        "W5": (400, 120),
        "B5": (120,),
        "W6": (120, 84),
        "B6": (84,),
        "W7": (84, 10),
        "B7": (10,),
    },
    "xor": {"W1": (2, 4), "B1": (4,), "W2": (4, 1), "B2": (1,)},
    "notes_cnn_norm": {
        "K1": (8, 1, 3, 3),
        "G1": (8,),
        "B1": (8,),
        "K2": (16, 8, 3, 3),
        "G2": (16,),
        "B2": (16,),
        "W3": (64, 10),
        "B3": (10,),
    },
    "residual": {
        "K0": (12, 1, 3, 3),
        "B0": (12, 1, 1),
        "W": (12, 10),
        "B": (10,),
        **{
            f"{block}.{name}": shape
            for block in ("R1", "R2")
            for name, shape in {"K1": (12, 12, 3, 3), "B1": (12, 1, 1), "K2": (12, 12, 3, 3), "B2": (12, 1, 1)}.items()
        },
    },
}
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


# ---- initial values


def test_the_same_seed_gives_the_same_values():
    assert_array_equal(drawn("normal", seed=3), drawn("normal", seed=3))


@pytest.mark.parametrize("init", ["normal", "uniform", "he_normal", "glorot_uniform"])
def test_another_seed_gives_other_values(init):
    assert (drawn(init, seed=3) != drawn(init, seed=4)).mean() > 0.99


def test_the_seed_of_the_training_table_is_the_default():
    parameters = {"W": {"shape": [4], "init": "normal"}}
    by_table = net("a = x * W", parameters, training={"seed": 5})
    assert_array_equal(by_table.parameters["W"].value, net("a = x * W", parameters, seed=5).parameters["W"].value)


def test_parameters_of_one_shape_differ():
    spec = {"shape": [4], "init": "normal"}
    model = net("a = x * V + W", {"V": spec, "W": spec})
    assert (model.parameters["V"].value != model.parameters["W"].value).all()


def test_a_further_parameter_changes_no_other():
    spec = {"shape": [4], "init": "normal"}
    one = net("a = x * W", {"W": spec})
    two = net("a = x * V * W", {"V": spec, "W": spec})
    assert_array_equal(two.parameters["W"].value, one.parameters["W"].value)


def test_initialize_draws_again():
    model = tg.load_model("xor")
    first = model.parameters["W1"].value
    model.initialize(seed=1)
    second = model.parameters["W1"].value
    assert (first != second).all()
    assert_array_equal(second, tg.load_model("xor", seed=1).parameters["W1"].value)
    model.initialize(seed=0)
    assert_array_equal(model.parameters["W1"].value, first)


def test_initialize_without_a_seed_goes_back_to_the_beginning():
    model = tg.load_model("xor", seed=4)
    first = model.parameters["W1"].value
    model.parameters["W1"].value = np.zeros((2, 4))
    model.initialize()
    assert_array_equal(model.parameters["W1"].value, first)


@pytest.mark.parametrize("seed", [-1, 1.5, "one"])
def test_a_seed_is_a_whole_number_from_0(seed):
    model = tg.load_model("xor")
    with pytest.raises(tg.TinygraphError, match="seed"):
        model.initialize(seed)
    with pytest.raises(tg.TinygraphError, match="seed"):
        tg.load_model("xor", seed=seed)


def test_zeros_ones_and_constant():
    assert_array_equal(drawn("zeros", (3, 2)), np.zeros((3, 2)))
    assert_array_equal(drawn("ones", (3, 2)), np.ones((3, 2)))
    assert_array_equal(drawn("constant", (3, 2), value=0.25), np.full((3, 2), 0.25))


def test_normal_has_the_mean_and_deviation_asked_for():
    value = drawn("normal", mean=3.0, std=2.0)
    assert_allclose([value.mean(), value.std()], [3.0, 2.0], atol=0.05)


def test_uniform_fills_the_range_asked_for():
    value = drawn("uniform", low=-1.0, high=3.0)
    assert value.min() >= -1
    assert value.max() <= 3
    assert_allclose([value.mean(), value.std()], [1.0, 4 / np.sqrt(12)], atol=0.05)


@pytest.mark.parametrize(("shape", "inputs"), [((200, 100), 200), ((64, 32, 3, 5), 32 * 15)])
def test_he_normal_has_variance_two_over_inputs(shape, inputs):
    value = drawn("he_normal", shape)
    assert abs(value.mean()) < 0.02 * value.std()
    assert_allclose(value.std(), np.sqrt(2 / inputs), rtol=0.02)
    assert np.abs(value).max() > 3.5 * value.std()


def test_a_row_of_weights_counts_its_size_as_its_inputs():
    assert_allclose(drawn("he_normal", (20000,)).std(), np.sqrt(2 / 20000), rtol=0.02)


@pytest.mark.parametrize(("shape", "fans"), [((200, 100), 300), ((64, 32, 3, 5), 96 * 15)])
def test_glorot_uniform_stays_within_its_limit(shape, fans):
    value, limit = drawn("glorot_uniform", shape), np.sqrt(6 / fans)
    assert np.abs(value).max() <= limit * (1 + 1e-6)
    assert np.abs(value).max() > 0.99 * limit
    assert_allclose(value.std(), limit / np.sqrt(3), rtol=0.02)


def test_float64_models_draw_the_same_numbers_unrounded():
    spec = {"W": {"shape": [4], "init": "normal"}}
    wide, narrow = (net("a = x * W", spec, dtype=dtype).parameters["W"].value for dtype in ("float64", "float32"))
    assert wide.dtype == np.float64
    assert (wide != narrow).any()
    assert_array_equal(wide.astype("float32"), narrow)


def test_a_parameter_may_be_one_number():
    model = net("a = x * s", {"s": {"shape": [], "init": "constant", "value": 3}})
    assert model.parameters["s"].shape == ()
    assert_allclose(model.predict(X), 3 * X)


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


# ---- running


def samples_for(model, count, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, *model.inputs[model.features[0]].shape)).astype("float32")


@pytest.mark.parametrize("name", SHAPES)
def test_calling_predicting_and_running_agree(name):
    model = tg.load_model(name)
    x = samples_for(model, 3)
    (run,) = tg.run(tg.Graph(model.record(3).output), {model.features[0]: x})
    assert_array_equal(model(x).value, run)
    assert_array_equal(model.predict(x, compiled=False), run)
    assert_allclose(model.predict(x), run, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 7, 256])
def test_predict_does_not_depend_on_the_batch_size(batch_size):
    model = tg.load_model("notes_cnn")
    x = samples_for(model, 30)
    assert_allclose(model.predict(x, batch_size=batch_size), model(x).value, rtol=2e-5)


@pytest.mark.parametrize("batch_size", [0, -1, 2.5, "all", None])
def test_predict_refuses_a_batch_size_that_is_none(batch_size):
    with pytest.raises(tg.TinygraphError, match="batch"):
        tg.load_model("xor").predict(np.ones((3, 2)), batch_size=batch_size)


@pytest.mark.parametrize("batch", [0, -1, 2.5, "all", None, True])
def test_a_graph_is_for_at_least_one_sample(batch):
    with pytest.raises(tg.TinygraphError, match="batch must be a whole number of at least 1"):
        tg.load_model("xor").graph(batch)


def test_predict_takes_lists_and_whole_numbers():
    model = tg.load_model("xor")
    assert_array_equal(model.predict([[0, 1], [1, 1]]), model.predict(np.array([[0.0, 1.0], [1.0, 1.0]])))


def test_predict_gives_arrays_of_the_callers_own():
    out = net("a = x").predict(X)
    out[:] = 5
    assert X.max() < 5


def test_predict_takes_several_features_in_order():
    model = net("a = p - q", inputs={"q": [1], "p": [1]})
    assert model.features == ("q", "p")
    assert model.predict([[1.0]], [[5.0]]) == [[4.0]]


BAD_FEATURES = {
    "a size": np.ones((5, 3)),
    "no batch": np.ones(2),
    "one number": 3.0,
    "no samples": np.ones((0, 2)),
    "text": "two",
    "text in an array": [["a", "b"]],
    "nothing": None,
    "ragged": [[1, 2], [3]],
    "complex": np.ones((5, 2), dtype=complex),
    "objects": np.ones((5, 2), dtype=object),
}


@pytest.mark.parametrize("case", BAD_FEATURES)
def test_features_that_do_not_fit_are_refused_by_name(case):
    with pytest.raises(tg.TinygraphError, match="x"):
        tg.load_model("xor").predict(BAD_FEATURES[case])


@pytest.mark.parametrize("count", [0, 2])
def test_the_number_of_features_is_checked(count):
    with pytest.raises(tg.DataError, match=f"'x'; found {count}"):
        tg.load_model("xor").predict(*[np.ones((2, 2))] * count)


def test_features_with_different_numbers_of_samples_are_refused():
    model = net("a = p - q", inputs={"p": [1], "q": [1]})
    for run in (model, model.predict):
        with pytest.raises(tg.DataError, match="p 2, q 3"):
            run(np.ones((2, 1)), np.ones((3, 1)))


def test_gradients_reach_parameters_through_a_call():
    model = net("a = x @ W", {"W": {"shape": [4, 1], "init": "ones"}})
    model(X).sum().backward()
    assert_allclose(model.parameters["W"].grad.value[:, 0], X.sum(axis=0))


def test_gradients_reach_a_tensor_that_is_handed_in():
    x = tg.tensor(X, name="mine")
    net("a = x * x")(x).sum().backward()
    assert_allclose(x.grad.value, 2 * X)


def test_a_tensor_that_is_handed_in_keeps_its_name():
    x = tg.tensor(X)
    net("a = plain(x)", blocks={"plain": PLAIN})(x)
    net("h = x\na = h + 1")(x)
    assert x.name is None


@pytest.mark.parametrize("shape", [(2, 3), (4,), ()])
def test_a_tensor_that_does_not_fit_is_refused_by_name(shape):
    with pytest.raises(tg.ShapeError, match=r"'wrong'.* input 'x' of shape \(m, 4\)"):
        net("a = x * x")(tg.tensor(np.ones(shape), name="wrong"))


def test_trace_gives_every_tensor_a_value():
    record = tg.load_model("xor").trace({"x": [[0.0, 1.0]], "y": [[1.0]]})
    assert all(tensor.has_value for tensor in record.tensors.values())
    assert all(node.has_value for node in record.graph.nodes)
    a = record.output.item()
    assert_allclose(record.loss.item(), -np.log(a), rtol=1e-6)


def test_trace_without_labels_records_the_output_alone():
    record = tg.load_model("xor").trace({"x": [[0.0, 1.0]]})
    assert record.loss is None
    assert record.graph.outputs == (record.output,)
    assert "cost" not in record.tensors


def test_trace_names_what_is_missing_unknown_or_uneven():
    model = tg.load_model("xor")
    with pytest.raises(tg.DataError, match="'x'"):
        model.trace({"y": [[1.0]]})
    with pytest.raises(tg.UnknownNameError, match="'z'"):
        model.trace({"x": [[0.0, 1.0]], "z": [[1.0]]})
    with pytest.raises(tg.DataError, match="x 1, y 2"):
        model.trace({"x": [[0.0, 1.0]], "y": [[1.0], [0.0]]})


def test_labels_that_a_loss_refuses_are_refused_by_trace():
    with pytest.raises(tg.TinygraphError, match="labels must lie between 0 and 1"):
        tg.load_model("xor").trace({"x": [[0.0, 1.0]], "y": [[2.0]]})


def test_integer_labels_stay_integers():
    model = tg.load_model("lenet5")
    assert model.inputs["y"].dtype == np.int64
    record = model.trace({"Inp": np.zeros((2, 1, 28, 28)), "y": [3, 9]})
    assert record.tensors["y"].dtype == np.int64
    assert_allclose(record.loss.item(), -np.log(record.output.value[[0, 1], [3, 9]]).mean(), rtol=1e-5)


def test_fractions_are_no_integer_labels():
    with pytest.raises(tg.TinygraphError, match="int64"):
        tg.load_model("lenet5").trace({"Inp": np.zeros((1, 1, 28, 28)), "y": [0.5]})


def test_a_float64_model_computes_in_float64():
    model = net("a = sigmoid(x @ W)", {"W": {"shape": [4, 2], "init": "normal"}}, dtype="float64")
    assert model.inputs["x"].dtype == np.float64
    assert model.predict(X).dtype == np.float64
    assert_allclose(model.predict(X), 1 / (1 + np.exp(-X.astype("float64") @ model.parameters["W"].value)), rtol=1e-14)


def test_a_model_may_have_no_loss_and_no_parameters():
    model = net("a = relu(x)")
    assert model.loss is None
    assert model.record(2).loss is None
    assert_array_equal(model.predict(X), np.maximum(X, 0))


def test_the_output_may_be_the_loss():
    model = net("a = mean(x)", loss="a")
    assert model.graph(2).outputs == (model.record(2).output,)


# ---- equations

D = X.astype("float64")
EXPRESSIONS = {
    "x + 1": D + 1,
    "1 - x": 1 - D,
    "x - 1 - 1": D - 2,
    "2 * x + 1": 2 * D + 1,
    "2 * (x + 1)": 2 * (D + 1),
    "x / 2 / 2": D / 4,
    "-x": -D,
    "+x": D,
    "--x": D,
    "-x ** 2": -(D**2),
    "(-x) ** 2": D**2,
    "2 ** -x": 2.0**-D,
    "x ** 2 ** 0": D,
    "x * -1": -D,
    "x @ x.T": D @ D.T,
    "-x @ x.T * 2": -D @ D.T * 2,
    "x.T": D.T,
    "x[:, 0]": D[:, 0],
    "x[:, -1]": D[:, -1],
    "x[:, 1:3]": D[:, 1:3],
    "x[:, ::2]": D[:, ::2],
    "x[..., None]": D[..., None],
    "x[0]": D[0],
    "x[:, [2, 0]]": D[:, [2, 0]],
    "x * x.shape[1]": D * 4,
    "x * x.shape[-1]": D * 4,
    "x * (7 // 2 + 0.5)": D * 3.5,
    "x * (2 ** 10 / 1e3)": D * 1.024,
    "x * 1_000": D * 1000,
    "sum(x, axis=1)": D.sum(axis=1),
    "sum(x, axis=(0, 1), keepdims=True)": D.sum(keepdims=True),
    "sum(x, 1)": D.sum(axis=1),
    "softmax(x)[:, 0] * 0 + 1": np.ones(2),
    "reshape(x, (x.shape[0] * 2, x.shape[1] // 2))": D.reshape(4, 2),
    "reshape(x, [-1])": D.reshape(-1),
    "concatenate([x, -x], axis=1)": np.concatenate([D, -D], axis=1),
    "where(greater(x, 0), x, 0.1 * x)": np.where(D > 0, D, 0.1 * D),
    "clip(x, low=-0.5, high=0.5)": np.clip(D, -0.5, 0.5),
    "(x\n   + 1)": D + 1,
    "maximum(\n  x,  # the input\n\n  0,\n)": np.maximum(D, 0),
    "x \\\n  + 1": D + 1,
    "x + 1  # one more": D + 1,
    "x / sqrt(4)": D / 2,
    "exp(-abs(x))": np.exp(-np.abs(D)),
}


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_means_what_it_means_in_python(expression):
    assert_allclose(value_of(expression), EXPRESSIONS[expression], rtol=1e-12)


def test_whole_numbers_stay_whole_in_attributes():
    assert value_of("reshape(x, (-1, 2 * 2, 6 // 6))").shape == (2, 4, 1)
    assert value_of("reshape(x, (-1, 2 ** 2 // 2))").shape == (4, 2)


@pytest.mark.parametrize("expression", ["x * 0.5", "x / sqrt(2)", "x + relu(3)", "2 ** x", "x * x.shape[1]"])
def test_numbers_do_not_widen_a_float32_model(expression):
    assert net(f"a = {expression}").record(2).output.dtype == np.float32


@pytest.mark.parametrize("expression", ["multiply(x, [1, 2, 3, 4])", "x + reshape([1, 2, 3, 4], (1, 4))"])
def test_lists_of_numbers_are_refused_or_do_not_widen_a_float32_model(expression):
    try:
        model = net(f"a = {expression}")
    except tg.ModelError:
        return
    assert model.record(2).output.dtype == np.float32


def test_comments_blank_lines_and_indentation_are_free():
    model = net("""
        # first

        h = x + 1   # add one
      # second
        a = h * 2

    """)
    assert_array_equal(model.predict(X), (X + 1) * 2)


@pytest.mark.parametrize(
    "written",
    [
        'equations = "a = x + 1"',
        "equations = 'a = x + 1'",
        'equations = "  a = x + 1  "',
        'equations = """a = x + 1"""',
        "equations = '''\na = x + 1\n'''",
        'equations = """\n\ta = x + 1\n\t"""',
        'equations = "h = x\\na = h + 1"',
        "'equations' = 'a = x + 1'",
    ],
)
def test_equations_can_be_written_as_any_toml_string(written):
    model = tg.Model.from_toml(f'[inputs]\nx = [4]\n[model]\n{written}\noutput = "a"\nloss = false\n')
    assert_array_equal(model.predict(X), X + 1)


def test_names_may_be_any_identifier():
    model = net(
        "β = x * μ_1\nsum = β + sum(β)\na = sum",
        {"μ_1": {"shape": [4], "init": "constant", "value": 2}},
    )
    assert_allclose(model.predict(X), 2 * X + (2 * X).sum())


def test_the_micro_sign_is_the_greek_letter_that_python_reads():
    model = net("a = x * \u00b5", {"\u00b5": {"shape": [4], "init": "ones"}})
    assert_array_equal(model.predict(X), X)


def test_an_equation_may_give_a_tensor_a_second_name():
    model = net("h = x + 1\ng = h\na = g * h")
    record = model.record(2)
    assert record.tensors["g"] is record.tensors["h"]
    assert record.tensors["h"].name == "h"
    assert_array_equal(model.predict(X), (X + 1) ** 2)


def test_an_equation_may_have_the_name_of_an_operation():
    assert_array_equal(net("relu = relu(x)\na = relu * 2").predict(X), np.maximum(X, 0) * 2)


def test_a_parameter_used_twice_is_one_leaf():
    model = net("a = x * W + W", {"W": {"shape": [4], "init": "ones"}})
    assert list(model.graph(2).parameters) == ["W"]
    assert len(model.graph(2)) == 4


def test_many_equations_are_no_recursion():
    model = net("h0 = x\n" + "".join(f"h{i + 1} = h{i} + 1\n" for i in range(2000)), output="h2000")
    assert_allclose(model.predict(X), X + 2000)


# ---- sizes

SIZES = {
    "f.shape[1]": 12,
    "f.shape[-1]": 12,
    "2 * f.shape[1] + 1": 25,
    "f.shape[1] // 5": 2,
    "x.shape[1] * x.shape[2]": 12,
    "x.shape[2] ** 2": 16,
    "K.shape[0]": 5,
    "7": 7,
    " f.shape[1] - 1 ": 11,
    "-(-f.shape[1] // 5)": 3,
}


@pytest.mark.parametrize("size", SIZES)
def test_a_size_is_read_off_tensors(size):
    model = net(
        "f = flatten(x)\na = f + sum(W) + sum(K)",
        {"W": {"shape": [size, 2], "init": "ones"}, "K": {"shape": [5], "init": "ones"}},
        {"x": [3, 4]},
    )
    assert model.parameters["W"].shape == (SIZES[size], 2)


@pytest.mark.parametrize(
    "size", ["x.shape[0]", "x.shape[-2]", "x.T.shape[1]", "flatten(x, 0).shape[0]", "2 * x.shape[0]"]
)
def test_a_size_cannot_be_the_batch(size):
    with pytest.raises(tg.ModelError, match=r"batch|call"):
        net("a = x[0] + 0 * sum(W)", {"W": {"shape": [size], "init": "ones"}})


def test_a_size_off_what_depends_on_parameters_alone_may_be_its_first():
    model = net(
        "G = V @ V.T\na = x @ W @ G",
        {"V": {"shape": [3, 2], "init": "ones"}, "W": {"shape": [4, "G.shape[1]"], "init": "ones"}},
    )
    assert model.parameters["W"].shape == (4, 3)


def test_sizes_follow_from_parameter_to_parameter():
    model = net(
        "a = x @ U @ V",
        {"V": {"shape": ["U.shape[1]", 2], "init": "ones"}, "U": {"shape": ["x.shape[1]", 3], "init": "ones"}},
    )
    assert {name: p.shape for name, p in model.parameters.items()} == {"V": (3, 2), "U": (4, 3)}


# ---- blocks

DENSE = {
    "inputs": ["x"],
    "parameters": {
        "W": {"shape": ["x.shape[1]", "width"], "init": "normal", "std": 1},
        "b": {"shape": ["width"], "init": "zeros"},
    },
    "attributes": {"width": 3, "slope": 0.5},
    "equations": "z = x @ W + b\nout = maximum(z, slope * z)",
    "output": "out",
}
TWICE = {
    "inputs": ["x"],
    "attributes": {"width": 2},
    "equations": "h = dense(x, width=width)\nout = dense(h, width=width * 2)",
    "output": "out",
}
PLAIN = {"inputs": ["p"], "equations": "q = p * 2", "output": "q"}


def names(model):
    return list(model.parameters)


def test_parameters_of_a_block_are_named_after_the_equation():
    assert names(net("R1 = dense(x)\na = R1 + 1", blocks={"dense": DENSE})) == ["R1.W", "R1.b"]


def test_two_calls_have_separate_parameters():
    model = net("R1 = dense(x)\nR2 = dense(R1)\na = R2", blocks={"dense": DENSE})
    shapes = {name: p.shape for name, p in model.parameters.items()}
    assert shapes == {"R1.W": (4, 3), "R1.b": (3,), "R2.W": (3, 3), "R2.b": (3,)}


def test_a_block_computes_its_equations_on_the_parameters_of_each_call():
    model = net("R1 = dense(x)\nR2 = dense(R1)\na = R2", blocks={"dense": DENSE})
    value = X
    for call in ("R1", "R2"):
        z = value @ model.parameters[f"{call}.W"].value + model.parameters[f"{call}.b"].value
        value = np.maximum(z, 0.5 * z)
    assert_allclose(model.predict(X), value, rtol=1e-5)


def test_a_block_called_twice_in_one_equation_has_separate_parameters():
    model = net("R = dense(x) + dense(x)\na = R", blocks={"dense": DENSE})
    assert names(model) == ["R.W", "R.b", "R_2.W", "R_2.b"]
    assert (model.parameters["R.W"].value != model.parameters["R_2.W"].value).all()


def test_an_equation_named_like_a_second_call_keeps_parameters_of_its_own():
    model = net("R = dense(x) + dense(x)\nR_2 = dense(x)\na = R + R_2", blocks={"dense": DENSE})
    assert len(names(model)) == 6
    assert len({p.value.tobytes() for name, p in model.parameters.items() if name.endswith("W")}) == 3


def test_a_block_around_a_block_in_one_expression():
    model = net("R = dense(dense(x, width=5))\na = R", blocks={"dense": DENSE})
    assert {name: p.shape for name, p in model.parameters.items() if name.endswith("W")} == {
        "R.W": (4, 5),
        "R_2.W": (5, 3),
    }


def test_blocks_within_blocks():
    model = net("R = twice(x)\na = R", blocks={"twice": TWICE, "dense": DENSE})
    assert {name: p.shape for name, p in model.parameters.items()} == {
        "R.h.W": (4, 2),
        "R.h.b": (2,),
        "R.out.W": (2, 4),
        "R.out.b": (4,),
    }
    assert [e.name for e in model.record(2).equations] == ["R.h.z", "R.h", "R.out.z", "R", "a"]


def test_attributes_of_a_block_have_defaults_and_go_by_keyword():
    model = net("R1 = dense(x)\na = dense(R1, width=2 * 3, slope=0)", blocks={"dense": DENSE})
    assert model.parameters["R1.W"].shape == (4, 3)
    assert model.parameters["a.W"].shape == (3, 6)
    assert model.predict(X).min() == 0


def test_a_block_may_have_two_inputs():
    mix = {"inputs": ["p", "q"], "equations": "r = p - 2 * q", "output": "r"}
    assert_allclose(net("a = mix(x, x + 1)", blocks={"mix": mix}).predict(X), X - 2 * (X + 1))


def test_an_equation_that_only_calls_a_block_names_its_result():
    model = net("h = x + 1\na = plain(h)", blocks={"plain": PLAIN})
    assert model.record(2).output.name == "a"
    assert str(model.graph(2)).splitlines()[-1].split()[:4] == ["a", "=", "h", "*"]
    assert [e.text for e in model.record(2).equations] == ["h = x + 1", "a = h * 2"]


def test_a_block_that_hands_its_input_on_renames_nothing():
    same = {"inputs": ["p"], "equations": "q = p", "output": "q"}
    model = net("h = x + 1\ng = same(h)\na = g * h", blocks={"same": same})
    assert model.record(2).tensors["h"].name == "h"
    assert_allclose(model.predict(X), (X + 1) ** 2)


def test_a_block_on_an_expression_names_the_expression_in_its_equations():
    model = net("a = plain(x + 1)", blocks={"plain": PLAIN})
    lines = [line.split()[:5] for line in str(model).splitlines()]
    assert lines[1][1:] == ["=", "x", "+", "1"]
    assert lines[2] == ["a", "=", lines[1][0], "*", "2"]
    assert_allclose(model.predict(X), (X + 1) * 2)


def test_attributes_of_a_block_are_written_as_their_numbers():
    scaled = {"inputs": ["p"], "attributes": {"by": 2}, "equations": "q = p * by", "output": "q"}
    model = net("h = scaled(x)\na = scaled(h, by=3)", blocks={"scaled": scaled})
    assert [e.text for e in model.record(2).equations] == ["h = x * 2", "a = h * 3"]


def test_names_inside_a_block_are_its_own():
    inner = {
        "inputs": ["h"],
        "parameters": {"W": {"shape": [4], "init": "ones"}},
        "equations": "x = h * W\na = x + 1",
        "output": "a",
    }
    model = net("h = x * W\na = inner(h) * 3", {"W": {"shape": [4], "init": "ones"}}, blocks={"inner": inner})
    assert names(model) == ["W", "a.W"]
    assert_allclose(model.predict(X), (X + 1) * 3)


def test_a_block_sees_nothing_around_it():
    leaky = {"inputs": ["p"], "equations": "q = p * W", "output": "q"}
    with pytest.raises(tg.ModelError, match="'W' is not defined"):
        net("a = leaky(x) * W", {"W": {"shape": [4], "init": "ones"}}, blocks={"leaky": leaky})


def test_equations_of_a_block_know_their_block():
    record = tg.load_model("residual").record(1)
    blocks = [(e.name, e.block) for e in record.equations]
    assert blocks[:5] == [("C0", ""), ("R1.Z1", "R1"), ("R1.C1", "R1"), ("R1.Z2", "R1"), ("R1", "R1")]
    assert dict(blocks)["cost"] == ""


def test_further_blocks_change_no_initial_value():
    one = net("a = dense(x)", blocks={"dense": DENSE})
    two = net("h = dense(x, width=4)\na = dense(h)", blocks={"dense": DENSE})
    assert one.parameters["a.W"].shape != (4, 4)
    assert_array_equal(two.parameters["a.W"].value.ravel()[:12], one.parameters["a.W"].value.ravel())


# ---- operations


def test_every_operation_is_found_by_its_name():
    for name in tg.operations():
        with pytest.raises(tg.ModelError, match=rf"^model:1:5: {name} "):
            net(f"a = {name}()")


def float_calls():
    """Samples of operations whose inputs are all floating and whose attributes can be written down."""
    for function in tg.operations().values():
        for sample in itertools.islice(function.op.samples(np.random.default_rng(0)) if function.op.samples else (), 1):
            if all(x.size and x.dtype.kind == "f" for x in sample.inputs) and _literal(sample.attributes.values()):
                yield function, sample


def _literal(values):
    try:
        return all(ast.literal_eval(repr(value)) == value for value in values)
    except (ValueError, SyntaxError):
        return False


def test_operations_with_samples_compute_in_a_model_what_they_compute_alone():
    seen = set()
    for function, sample in float_calls():
        arrays = {f"p{i}": x for i, x in enumerate(sample.inputs)}
        written = [f"{key}={value!r}" for key, value in sample.attributes.items()]
        tensors = f"[{', '.join(arrays)}]" if function.op.variadic else ", ".join(arrays)
        # Parameters begin as ones, where atanh is infinite.
        with np.errstate(divide="ignore"):
            value = value_of(f"{function.name}({', '.join([tensors, *written])}) + 0 * sum(x)", **arrays)
        inputs = [list(sample.inputs)] if function.op.variadic else sample.inputs
        assert_allclose(value, function(*inputs, **sample.attributes), err_msg=function.name)
        seen.add(function.name)
    assert {"conv2d", "matmul", "max_pool2d", "concatenate", "gelu", "logsumexp"} <= seen
    assert len(seen) > 35


def test_an_operation_of_ones_own(operations):
    @tg.op(formula="{x}^3", elementwise=True)
    def cube(x):
        return x**3

    @cube.vjp
    def cube_vjp(dy, y, x):
        return 3 * x * x * dy

    model = net("a = cube(x * W)", {"W": {"shape": [4], "init": "ones"}})
    assert_allclose(model.predict(X), X**3, rtol=1e-6)
    model(X).sum().backward()
    assert_allclose(model.parameters["W"].grad.value, (3 * X**3).sum(axis=0), rtol=1e-6)
    assert "a  = cube(x * W)" in str(model.graph(2))


def test_an_operation_of_ones_own_with_attributes(operations):
    @tg.op(formula="{x} + {by}")
    def shifted(x, *, by: float, times: int = 1):
        return x + by * times

    assert_allclose(net("a = shifted(x, by=0.5, times=2)").predict(X), X + 1)
    assert_allclose(net("a = shifted(x, 0.5)").predict(X), X + 0.5)
    with pytest.raises(tg.ModelError, match="shifted: times must be int"):
        net("a = shifted(x, by=0.5, times=0.5)")
    with pytest.raises(tg.ModelError, match="shifted needs its attribute 'by'"):
        net("a = shifted(x)")


def test_an_operation_that_went_away_is_not_found(operations):
    @tg.op
    def fleeting(x):
        return x

    net("a = fleeting(x)")
    del operations["fleeting"]
    with pytest.raises(tg.ModelError, match="no operation or block is called 'fleeting'"):
        net("a = fleeting(x)")


def test_a_failing_operation_is_reported_with_its_equation(operations):
    @tg.op
    def broken(x):
        raise RuntimeError("out of order")

    with pytest.raises(tg.ModelError, match="out of order") as caught:
        net("h = x\na = 1 + broken(h)")
    assert (caught.value.line, caught.value.column) == (2, 9)


def test_the_files_of_bundled_models_lie_where_the_package_says():
    for name, path in bundled_models().items():
        assert Path(path).stem == name
        assert Path(path).is_file()


@pytest.mark.parametrize("comparison", [">", ">=", "<", "<=", "==", "!="])
def test_equations_may_compare(comparison):
    model = tg.Model({"x": [3]}, {}, f"y = where(x {comparison} 2, x, 0 * x)", "y")
    x = np.array([[1.0, 2.0, 3.0]])
    chosen = {">": x > 2, ">=": x >= 2, "<": x < 2, "<=": x <= 2, "==": x == 2, "!=": x != 2}[comparison]
    assert_allclose(model.predict(x), np.where(chosen, x, 0))
    assert model.record(2).equations[0].text == f"y = where(x {comparison} 2, x, 0 * x)"


def test_a_model_for_one_size_of_batch():
    text = "batch = 2\n[inputs]\nx = [3]\n[model]\nequations = 'y = x * 2'\noutput = 'y'\nloss = false"
    model = tg.Model.from_toml(text)
    assert model.batch == 2
    assert model.predict(np.ones((4, 3))).shape == (4, 3)
    with pytest.raises(tg.DataError, match="for batches of 2 samples only; found 3"):
        model.predict(np.ones((3, 3)))
    with pytest.raises(tg.ModelError, match="batch must be a whole number of at least 1; found 0"):
        tg.Model.from_toml(text.replace("batch = 2", "batch = 0"))


def test_an_input_that_is_whole_as_it_is():
    model = tg.Model({"x": [3], "w": {"shape": [3], "batched": False}}, {}, "y = x * w", "y")
    assert_allclose(model.predict(np.ones((4, 3)), np.array([1, 2, 3])), np.tile([1.0, 2.0, 3.0], (4, 1)))
    assert "w  input    float32 (3)" in str(model).replace("    input", "  input")
    with pytest.raises(tg.DataError, match="'w' does not hold samples"):
        tg.train.feeds.feeds_of(model, {"x": np.ones((2, 3)), "w": np.ones(3)}, None)


def test_weights_beside_the_file(tmp_path):
    model = tg.load_model("xor", seed=3)
    model.save(tmp_path / "own.safetensors")
    text = (Path(__file__).parents[2] / "models" / "xor.toml").read_text(encoding="utf-8")
    (tmp_path / "own.toml").write_text('weights = "own.safetensors"\n' + text, encoding="utf-8")
    own = tg.load_model(tmp_path / "own.toml")
    assert own.weighted
    assert not model.weighted
    for name, parameter in model.parameters.items():
        assert_array_equal(own.parameters[name].value, parameter.value)
