"""Frozen parameters: those that training keeps as they are."""

import copy
import pickle

import numpy as np
import pytest

import tinygraph as tg
from tests.tools.models import net
from tinygraph.train.step import initial_state

X, Y = np.random.default_rng(0).random((8, 4)), np.ones((8, 1))
SCALE = {
    "inputs": ["p"],
    "parameters": {"by": {"shape": [4], "init": "ones", "trainable": False}},
    "equations": "q = p * by",
    "output": "q",
}


def dense(**first):
    """A network of two layers; ``first`` are keys of its first parameter."""
    return tg.Model(
        inputs={"x": [4], "y": [1]},
        parameters={
            "W1": {"shape": [4, 3], "init": "he_normal", **first},
            "b1": {"shape": [3], "init": "zeros"},
            "W2": {"shape": [3, 1], "init": "he_normal"},
        },
        equations="h = tanh(x @ W1 + b1)\na = h @ W2\ncost = mse(a, y)",
        output="a",
        loss="cost",
    )


def moved(model, **settings):
    before = {name: p.value for name, p in model.parameters.items()}
    tg.fit(model, (X, Y), epochs=2, batch_size=4, **settings)
    return [name for name, p in model.parameters.items() if not np.array_equal(p.value, before[name])]


@pytest.mark.parametrize("optimizer", [tg.SGD(0.1), tg.SGD(0.1, momentum=0.9), tg.Adam(0.1)])
@pytest.mark.parametrize("compiled", [True, False])
def test_training_moves_only_trainable_parameters(optimizer, compiled):
    model = dense(trainable=False)
    assert list(model.trainable) == ["b1", "W2"]
    assert list(initial_state(model, optimizer)) == ["b1", "W2"]
    assert moved(model, optimizer=optimizer, compiled=compiled) == ["b1", "W2"]


def test_what_is_trained_moves_as_it_does_next_to_trained_ones():
    free, frozen = dense(), dense()
    frozen.freeze("W1")
    for model in (free, frozen):
        tg.fit(model, (X, Y), epochs=1, batch_size=8)
    for name in ("b1", "W2"):
        np.testing.assert_array_equal(free.parameters[name].value, frozen.parameters[name].value)


def test_the_step_computes_no_gradient_of_a_frozen_parameter():
    model = dense()
    model.freeze("*1")
    nodes = model.compile_step("sgd", 4).graph.nodes
    assert {"dW2", "da"} <= {node.name for node in nodes}
    assert {"dW1", "db1", "dh"}.isdisjoint(node.name for node in nodes)


def test_parameters_are_trained_again_once_they_are_free():
    model = dense(trainable=False)
    model.unfreeze("W*")
    model.freeze("b1")
    assert moved(model) == ["W1", "W2"]


def test_the_declaration_of_a_block_holds_for_each_call():
    model = net("R1 = scale(x)\na = scale(R1 * W)", {"W": {"shape": [4], "init": "ones"}}, blocks={"scale": SCALE})
    assert list(model.trainable) == ["W"]
    model.unfreeze("a.*")
    assert list(model.trainable) == ["W", "a.by"]


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_has_the_same_parameters_frozen(copied):
    model = dense(trainable=False)
    model.unfreeze("W1")
    model.freeze("W2")
    assert list(copied(model).trainable) == ["W1", "b1"]


def test_onnx_keeps_what_is_frozen(tmp_path):
    pytest.importorskip("onnx")
    model = tg.load_model("residual")
    model.freeze("R1.*", "W")
    model.to_onnx(tmp_path / "net.onnx")
    again = tg.from_onnx(tmp_path / "net.onnx")
    assert {name.replace("_", ".") for name in again.trainable} == set(model.trainable)


def test_what_is_frozen_is_shown():
    model = dense(trainable=False)
    assert "W1    parameter, frozen" in str(model)
    assert str(model).splitlines()[-1].split() == ["trainable", "6"]
    assert "12 parameters, frozen" in tg.draw(model).dot
    assert "parameter, frozen" in str(tg.notes(model))
    model.unfreeze()
    assert not any("frozen" in str(shown) for shown in (model, tg.draw(model).dot, tg.notes(model)))


def test_a_model_that_is_frozen_entirely_cannot_be_trained_but_shown():
    model = dense()
    model.freeze()
    with pytest.raises(tg.TrainingError, match=r"no parameter that could be trained; some are frozen: model.unfreeze"):
        tg.fit(model, (X, Y))
    assert "frozen" in str(tg.notes(model))


@pytest.mark.parametrize(
    ("pattern", "message"), [("w2", "no parameter 'w2'; did you mean 'W2'"), ("x", "parameter 'x'"), (1, "parameter 1")]
)
def test_a_pattern_that_fits_nothing_changes_nothing(pattern, message):
    model = dense()
    with pytest.raises(tg.TinygraphError, match=message):
        model.freeze("W1", pattern)
    assert list(model.trainable) == list(model.parameters)


@pytest.mark.parametrize("value", [0, "no", None])
def test_trainable_is_true_or_false(value):
    with pytest.raises(tg.ModelError, match="parameter 'W1': trainable is true or false; found"):
        dense(trainable=value)


def test_state_is_not_trained_and_cannot_be_frozen():
    state = {"k": {"shape": [], "init": "zeros", "trainable": False}}
    with pytest.raises(tg.ModelError, match="no key 'trainable'"):
        net("a = x + k", state=state)
    with pytest.raises(tg.UnknownNameError, match="no parameter 'M1'"):
        tg.load_model("notes_cnn_norm").freeze("M1")
