"""Models that are called, predict and trace: values, batches and refused inputs."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import tinygraph as tg
from tests.tools.models import PLAIN, SHAPES, X, net


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
