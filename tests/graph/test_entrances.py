"""One rule for the numbers that integers and booleans take, at every entrance: nothing is lost, or it is refused."""

import re

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.model import Model
from tinygraph.train import check_data, fit, training_step
from tinygraph.train.step import initial_state

X = np.ones((4, 3), "float32")


def model(dtype):
    """A regression on samples, each with a number ``k`` of ``dtype``."""
    return Model(
        inputs={"x": [3], "k": {"shape": [3], "dtype": dtype}, "y": [1]},
        parameters={"W": {"shape": [3, 1], "init": "ones"}},
        equations="h = where(k, x, 0) @ W\ncost = mse(h, y)"
        if dtype == "bool"
        else "h = (x + k) @ W\ncost = mse(h, y)",
        output="h",
        loss="cost",
    )


def _step(model, k):
    optimizer = tg.SGD(0.1)
    training_step(model, optimizer, 4)({"x": X, "k": k, "y": X[:, :1]}, initial_state(model, optimizer))


def _assign(model, k):
    tensor = tg.tensor(np.ones((4, 3), model.inputs["k"].dtype), name="k")
    tensor.value = k


ENTRANCES = {
    "run": lambda m, k: tg.run(m.record(4).output, {"x": X, "k": k}),
    "compile": lambda m, k: tg.compile(m, batch_size=4)({"x": X, "k": k, "y": X[:, :1]}),
    "predict": lambda m, k: m.predict(X, k),
    "trace": lambda m, k: m.trace({"x": X, "k": k}),
    "trace of a tensor": lambda m, k: m.trace({"x": X, "k": tg.tensor(k)}) if k.dtype.kind != "f" else m.predict(X, k),
    "fit": lambda m, k: fit(m, ({"x": X, "k": k}, X[:, :1]), epochs=1),
    "evaluate": lambda m, k: tg.evaluate(m, ({"x": X, "k": k}, X[:, :1])),
    "check_data": lambda m, k: check_data(m, {"x": X, "k": k}, X[:, :1]),
    "compile_step": lambda m, k: m.compile_step("sgd", 4)({"x": X, "k": k, "y": X[:, :1]}),
    "training_step": _step,
    "tensor": lambda m, k: tg.tensor(k, dtype=m.inputs["k"].dtype),
    "assignment": _assign,
}


@pytest.mark.parametrize("entrance", ENTRANCES)
@pytest.mark.parametrize("given", [int, float, "uint8", "float16", bool])
@pytest.mark.parametrize("dtype", ["bool", "int64", "uint8"])
def test_zeros_and_ones_are_taken_whatever_their_dtype(entrance, given, dtype):
    ENTRANCES[entrance](model(dtype), np.array([[0, 1, 1]] * 4, given))


@pytest.mark.parametrize("entrance", ENTRANCES)
@pytest.mark.parametrize(
    ("dtype", "value"),
    [("bool", 0.5), ("bool", -3), ("bool", 2), ("int64", 1.5), ("int64", 2.0**63), ("uint8", -1), ("uint8", 256.0)],
)
def test_other_numbers_are_refused_with_the_number(entrance, dtype, value):
    takes = "true and false, or 1 and 0" if dtype == "bool" else "integers from"
    with pytest.raises(tg.TinygraphError, match=f"holds {dtype}, which takes {takes}.*; found {re.escape(str(value))}"):
        ENTRANCES[entrance](model(dtype), np.array([[0, 1, value]] * 4))


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("dtype", ["bool", "int64"])
def test_what_is_not_finite_is_neither_whole_nor_true(dtype, value):
    with pytest.raises(tg.TinygraphError, match=f"found {value}"):
        tg.run(tg.input("k", (1,), dtype), {"k": [value]})


def test_large_whole_numbers_are_compared_exactly():
    leaf = tg.input("k", (1,), "int64")
    assert tg.run(leaf, {"k": np.array([2**60 + 1])})[0] == 2**60 + 1
    assert tg.run(leaf, {"k": [-(2.0**63)]})[0] == -(2**63)
    with pytest.raises(tg.FeedError, match=str(2**63)):
        tg.run(leaf, {"k": np.array([2**63], "uint64")})


REALS = {
    "a quotient": "z = x / 255",
    "a float": "z = x * 0.5",
    "a function": "z = exp(x) + sqrt(x)",
    "a mean": "z = mean(x, axis=1)",
    "a loss": "z = mse(x, x[:, ::-1])",
    "a product": "z = x @ (W * 3)",
    "a choice": "z = where(x > 3, x, W.T[0:1])",
    "a power": "z = x ** 0.5",
    "a function of integers": "z = relu(x) / 2",
}


@pytest.mark.parametrize("real", REALS)
@pytest.mark.parametrize("given", ["uint8", "int16", "int64", "bool"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_model_computes_in_its_own_dtype_whatever_integers_come_in(real, given, dtype):
    model = Model(
        inputs={"x": {"shape": [4], "dtype": given}},
        parameters={"W": {"shape": [4, 1], "init": "ones"}},
        equations=f"{REALS[real]}\ncost = sum(W) * sum(z)",
        output="z",
        loss="cost",
        dtype=dtype,
    )
    recording = model.record(2)
    assert {str(node.dtype) for node in recording.graph.nodes if node.dtype.kind == "f"} == {dtype}
    step = model.compile_step(tg.SGD(0.5), 3)
    assert {str(node.dtype) for node in step.graph.nodes if node.dtype.kind == "f"} == {dtype}
    x = np.arange(8).reshape(2, 4).astype(given)
    twin = Model(
        inputs={"x": [4]},
        parameters={"W": {"shape": [4, 1], "init": "ones"}},
        equations=f"{REALS[real]}\ncost = sum(W) * sum(z)",
        output="z",
        loss="cost",
        dtype=dtype,
    )
    np.testing.assert_array_equal(model.predict(x), twin.predict(x))
    assert step({"x": np.ones((3, 4), given)})[0].dtype == dtype


def test_integers_stay_integers_and_a_cast_is_what_it_says():
    model = Model(
        inputs={"x": {"shape": [4], "dtype": "int64"}},
        parameters={"E": {"shape": [3, 2], "init": "ones"}},
        equations="a = cast(x, 'float64')\nb = relu(x) * 2 + 1\nc = embedding(E, x)\nz = sum(a) + sum(b) + sum(c)",
        output="z",
    )
    tensors = model.record(2).tensors
    assert [str(tensors[name].dtype) for name in "abc"] == ["float64", "int64", "float32"]


def test_outside_models_integers_are_promoted_as_in_numpy():
    x = tg.input("x", (2,), "uint8")
    load = np.ones(2, "uint8")
    assert (x / 255).dtype == (load / 255).dtype == np.float64


def test_a_tensor_of_integers_is_not_wrapped():
    found = model("int8").trace({"x": X, "k": tg.tensor(np.full((4, 3), 100))})
    assert found.tensors["k"].dtype == np.int8
    with pytest.raises(tg.DTypeError, match="input 'k' holds int8, which takes integers from -128 to 127; found 300"):
        model("int8").trace({"x": X, "k": tg.tensor(np.full((4, 3), 300))})
    with pytest.raises(tg.DTypeError, match="input 'k' takes int8"):
        model("int8").trace({"x": X, "k": tg.tensor(np.ones((4, 3)))})


@pytest.mark.parametrize("number", [1e300, -1e39])
def test_a_number_beyond_the_range_of_a_dtype_is_refused(number):
    x = tg.input("x", (2,))
    with pytest.raises(tg.FeedError, match=r"input 'x' \(2,\) holds float32, which ends at 3\.40"):
        tg.run([x * 1], {"x": [number, 1.0]})
    with pytest.raises(tg.DTypeError, match=r"which ends at 65504\.0; found 70000"):
        tg.tensor([70000], dtype="float16")
    assert tg.run([x * 1], {"x": [np.inf, 1.0]})[0][0] == np.inf


def test_one_hot_rows_have_the_dtype_of_the_model():
    text = """
name = "rows"
[inputs]
y = { shape = [], dtype = "uint8" }
[model]
equations = "o = one_hot(y, 3)\\np = one_hot(y, 3, dtype='float64')\\nq = sum(o * p)"
output = "q"
loss = false
"""
    tensors = tg.Model.from_toml(text).record(2).tensors
    assert [str(tensors[name].dtype) for name in "op"] == ["float32", "float64"]
