"""Training that meets numbers that are not finite."""

import math
import re
from types import SimpleNamespace

import numpy as np
import pytest

import tinygraph as tg
from tests.tools.training import assert_same, dense, equations_of, regression, samples, values
from tinygraph.model import load_model
from tinygraph.train import (
    SGD,
    Adam,
    Data,
    evaluate,
    fit,
)
from tinygraph.train.diagnosis import first_not_finite


@pytest.mark.parametrize("compiled", [True, False])
def test_evaluate_says_that_parameters_are_nan(compiled):
    model = regression()
    model.parameters["W"].value = np.array([[1.0], [np.nan], [np.nan]])
    with pytest.raises(tg.TrainingError, match=r"^parameter 'W' of model '\w+' holds NaN in 2 of 3 elements"):
        evaluate(model, samples(12), compiled=compiled)


def test_evaluate_says_that_state_is_nan():
    model = load_model("notes_cnn_norm")
    name = next(iter(model.state))
    model.state[name].value = np.full_like(model.state[name].value, np.nan)
    with pytest.raises(tg.TrainingError, match=rf"^state '{re.escape(name)}' of model 'notes_cnn_norm' holds NaN"):
        evaluate(model, "digits")


def stopped(model, data, optimizer, **settings):
    before = values(model)
    with pytest.raises(tg.TrainingError) as error:
        fit(model, data, optimizer, **{"epochs": 1, "batch_size": 4, "seed": 0, **settings})
    return str(error.value), before


def test_overflow_in_the_forward_pass_is_named():
    model = dense("p = x @ W + b\ne = exp(p)\ncost = mse(e, y)")
    model.parameters["W"].value = np.ones((3, 1))
    x = np.zeros((4, 3))
    x[:3] = 1e4
    message, before = stopped(model, (x, np.zeros((4, 1))), SGD(0.1))
    found = "epoch 1, step 1: the first value that is not finite is e = exp(p) (line 2), where exp gave inf in 3 of 4 elements"
    assert message == found + "; no parameter has moved yet: look at the size of the data and the initial values"
    assert_same(values(model), before)


def test_overflow_later_in_training_names_its_step():
    model = regression()
    x, y = samples(12)
    message, _ = stopped(model, (x * 1e60, y), SGD(1e60), epochs=9)
    place = re.match(r"epoch (\d), step (\d): the first value that is not finite is ", message)
    assert place is not None
    assert "; a learning rate below 1e+60 may help" in message
    assert all(np.isfinite(array).all() for array in values(model).values())


def test_overflow_in_the_backward_pass_is_named():
    # sqrt has an infinite slope at 0, where its value is finite.
    model = dense("h = x @ W + b\nr = sqrt(abs(h))\np = r * r\ncost = mean(r)", inputs={"x": [3]})
    model.parameters["W"].value = np.zeros((3, 1))
    message, before = stopped(model, (np.ones((4, 3)), None), SGD(0.1))
    assert "where divide gave inf in 4 of 4 elements" in message
    assert re.search(r"is [\w.]+ = .*/ \(2 \* r\)", message)
    assert_same(values(model), before)


def test_overflow_in_the_update_is_named():
    model = regression()
    model.parameters["b"].value = [1e160]
    message, before = stopped(model, (np.ones((4, 3)) * 1e-200, np.zeros((4, 1))), Adam(1e-3))
    assert "first value that is not finite" in message
    # It is the square of the gradient that is too large, whatever the learning rate.
    assert message.endswith("look at the size of the data and the initial values")
    assert_same(values(model), before)


def test_update_that_overflows_by_itself_is_named():
    model = regression()
    model.parameters["b"].value = [1e3]
    message, before = stopped(model, (np.ones((4, 3)), np.zeros((4, 1))), SGD(1e306))
    assert re.search(r"is (W|b)_new = \1 - learning_rate \* d\1, where (multiply|subtract) gave -?inf", message)
    assert message.endswith("; a learning rate below 1e+306 may help")
    assert_same(values(model), before)


def test_parameter_that_was_not_finite_before_is_named():
    model = regression()
    model.parameters["W"].value = [[1.0], [np.nan], [np.inf]]
    message, _ = stopped(model, samples(4), SGD(0.1))
    assert "the first value that is not finite is the parameter 'W' itself: nan in 2 of 3 elements" in message


def test_mask_of_minus_infinity_is_not_blamed():
    x, mask = tg.input("x", (3,), "float64"), tg.constant([0.0, -np.inf, 0.0])
    masked = tg.softmax(x + mask)
    too_large = tg.exp(x * 1e4)
    graph = tg.Graph([masked, too_large])
    with np.errstate(over="ignore"):
        node, sentence = first_not_finite(graph, SimpleNamespace(equations=()), {"x": np.ones(3)})
    assert node is too_large
    found = "the first value that is not finite is t3 = exp(x * 10000), where exp gave inf in 3 of 3 elements"
    assert sentence == found
    _, sentence = first_not_finite(tg.Graph(x + mask), SimpleNamespace(equations=()), {"x": np.ones(3)})
    assert sentence.endswith("itself: -inf in 1 of 3 elements")


BEYOND_FLOAT32 = {
    "SGD: learning_rate 1e+300 is inf in float32, the dtype of the parameter 'W1'": SGD(1e300),
    "SGD: learning_rate 1e-60 is 0 in float32": SGD(1e-60),
    "Adam: learning_rate 1e+39 is inf in float32": Adam(1e39),
    "Adam: epsilon 1e+39 is inf in float32": Adam(epsilon=1e39),
}


@pytest.mark.parametrize("message", BEYOND_FLOAT32)
def test_settings_beyond_the_models_dtype_are_refused(message, recwarn):
    model = load_model("xor")
    for use in (
        lambda: fit(model, "xor", BEYOND_FLOAT32[message]),
        lambda: equations_of(model, BEYOND_FLOAT32[message]),
    ):
        with pytest.raises(tg.AttributeValueError, match=re.escape(message)):
            use()
    assert not recwarn.list


def test_no_warning_leaks_from_what_overflows(recwarn):
    stopped(load_model("notes_cnn"), "digits_odd", SGD(1e38), batch_size=200)
    assert not recwarn.list


def test_loss_of_the_test_set_may_be_infinite_without_a_warning():
    model = dense("p = x @ W + b\ncost = mse(exp(p), y)")
    model.parameters["W"].value = np.ones((3, 1))
    x, y = samples(4)
    history = fit(model, Data("far", (x, y), (np.full((2, 3), 1e3), y[:2])), SGD(1e-6), epochs=1, batch_size=4)
    assert history[0].test_loss == math.inf
