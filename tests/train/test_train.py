"""Training: optimizers against their papers and PyTorch, the step as one graph, the loop, its measures, and what stops it."""

import csv
import math
import re
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import tinygraph as tg
from tests.golden.notes_cnn_batches import LEARNING_RATE, weights_and_batches
from tinygraph.model import Model, load_model
from tinygraph.train import (
    SGD,
    Adam,
    Data,
    History,
    Metrics,
    Optimizer,
    Row,
    TrainingInterrupted,
    accuracy,
    check_data,
    evaluate,
    fit,
    initial_state,
    load_data,
    majority_class_baseline,
    make_optimizer,
    training_step,
    update_equations,
)
from tinygraph.train.diagnosis import first_not_finite
from tinygraph.train.labels import decision_rule
from tinygraph.train.loop import batches
from tinygraph.train.optimizers import record_update
from tinygraph.train.step import assign_all

GOLDEN = Path(__file__).parents[1] / "golden" / "notes_cnn.npz"
NOTES_CNN = Path(__file__).parents[2] / "models" / "notes_cnn.toml"


def dense(equations, loss="cost", **changes):
    """A model of three features and one label, with W (3, 1) and b (1,), in float64."""
    settings = {
        "inputs": {"x": [3], "y": [1]},
        "parameters": {"W": {"shape": [3, 1], "init": "normal"}, "b": {"shape": [1], "init": "zeros"}},
        "output": "p",
        "dtype": "float64",
    }
    return Model(**(settings | changes), equations=equations, loss=loss)


def regression():
    return dense("p = x @ W + b\ncost = mse(p, y)")


def classification():
    return dense("z = x @ W + b\np = sigmoid(z)\ncost = bce(p, y)")


def samples(count, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 3))
    return x, (x.sum(axis=1, keepdims=True) > 0).astype(float)


def values(model):
    return {name: parameter.value.copy() for name, parameter in model.parameters.items()}


def assert_close(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-12, atol=1e-15, err_msg=name)


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


# Optimizers

# Three steps of torch.optim (2.13, float64) from [1, -1] with these gradients.
GRADIENTS = [np.array([0.5, -2.0]), np.array([0.25, 1.0]), np.array([-1.0, 0.0])]
OF_PYTORCH = {
    SGD(0.1): [[0.95, -0.8], [0.925, -0.9], [1.025, -0.9]],
    SGD(0.1, momentum=0.9): [[0.95, -0.8], [0.88, -0.72], [0.917, -0.648]],
    Adam(0.1): [
        [0.900000002, -0.9000000005],
        [0.8067820404774624, -0.8733662967024315],
        [0.8274177428854115, -0.8527783665034415],
    ],
    Adam(0.01, 0.5, 0.75, 1e-3): [
        [0.9900199600798403, -0.9900049975012494],
        [0.9812240608049967, -0.9900049975012494],
        [0.987196361269956, -0.9900049975012494],
    ],
}
every_optimizer = pytest.mark.parametrize("optimizer", OF_PYTORCH, ids=str)


@every_optimizer
def test_updates_are_pytorchs(optimizer):
    theta = np.array([1.0, -1.0])
    state = optimizer.initial_state(theta)
    for gradient, expected in zip(GRADIENTS, OF_PYTORCH[optimizer], strict=True):
        theta, state = optimizer.update(theta, gradient, state)
        np.testing.assert_allclose(theta, expected, rtol=1e-14)


@pytest.mark.oracle
@every_optimizer
def test_updates_are_pytorchs_live(optimizer):
    torch = pytest.importorskip("torch")
    theta, state = np.array([1.0, -1.0]), optimizer.initial_state(np.zeros(2))
    peer = torch.tensor(theta, requires_grad=True)
    if isinstance(optimizer, SGD):
        of_torch = torch.optim.SGD([peer], lr=optimizer.learning_rate, momentum=optimizer.momentum)
    else:
        betas = (optimizer.beta1, optimizer.beta2)
        of_torch = torch.optim.Adam([peer], lr=optimizer.learning_rate, betas=betas, eps=optimizer.epsilon)
    for gradient in np.random.default_rng(0).normal(size=(50, 2)):
        theta, state = optimizer.update(theta, gradient, state)
        peer.grad = torch.tensor(gradient)
        of_torch.step()
        np.testing.assert_allclose(theta, peer.detach().numpy(), rtol=1e-12)


def paper_adam(theta, gradients, alpha, beta1, beta2, epsilon):
    """Algorithm 1 of Kingma and Ba, line by line."""
    m, v, t = np.zeros_like(theta), np.zeros_like(theta), 0
    for g in gradients:
        t += 1
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        m_hat = m / (1 - beta1**t)
        v_hat = v / (1 - beta2**t)
        theta = theta - alpha * m_hat / (np.sqrt(v_hat) + epsilon)
    return theta, (m, v, t)


@pytest.mark.parametrize("settings", [(0.1, 0.9, 0.999, 1e-8), (0.02, 0.8, 0.9, 1e-4), (0.3, 0.0, 0.0, 1e-8)])
def test_adam_is_the_papers(settings):
    rng = np.random.default_rng(1)
    theta, gradients = rng.normal(size=(2, 3)), rng.normal(size=(20, 2, 3)) * [1e-3, 1, 1e3]
    expected, (m, v, t) = paper_adam(theta, gradients, *settings)
    state = Adam(*settings).initial_state(theta)
    for gradient in gradients:
        theta, state = Adam(*settings).update(theta, gradient, state)
    np.testing.assert_allclose(theta, expected, rtol=1e-12)
    for found, wanted in zip(state, (m, v, t), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12)
        assert np.asarray(found).dtype == np.asarray(wanted).dtype


def test_adam_keeps_its_precision_in_float32():
    rng = np.random.default_rng(2)
    gradients = rng.normal(size=(5, 4))
    expected, _ = paper_adam(np.ones(4), gradients, 0.1, 0.9, 0.999, 1e-8)
    theta = np.ones(4, np.float32)
    state = Adam(0.1).initial_state(theta)
    for gradient in gradients.astype(np.float32):
        theta, state = Adam(0.1).update(theta, gradient, state)
    assert theta.dtype == np.float32
    np.testing.assert_allclose(theta, expected, rtol=1e-6)


def test_momentum_is_a_running_sum_of_gradients():
    rng = np.random.default_rng(3)
    theta, gradients = rng.normal(size=4), rng.normal(size=(6, 4))
    optimizer, expected, v = SGD(0.3, momentum=0.8), theta.copy(), np.zeros(4)
    state = optimizer.initial_state(theta)
    for gradient in gradients:
        v = 0.8 * v + gradient
        expected = expected - 0.3 * v
        theta, state = optimizer.update(theta, gradient, state)
    np.testing.assert_array_equal(theta, expected)
    np.testing.assert_array_equal(state[0], v)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(), (3,), (2, 1, 3)])
@every_optimizer
def test_recorded_update_equals_computed_update(optimizer, shape, dtype):
    rng = np.random.default_rng(4)
    parameter = tg.parameter(rng.normal(size=shape).astype(dtype), name="W")
    gradient = tg.input("dW", shape, dtype)
    new, old_state, new_state = record_update(optimizer, "W", parameter, gradient)
    theta, state = parameter.value, optimizer.initial_state(parameter)
    for _ in range(3):
        g = rng.normal(size=shape).astype(dtype)
        feeds = {parameter: theta, gradient: g, **dict(zip(old_state, state, strict=True))}
        recorded = tg.run(tg.Graph([new, *new_state]), feeds)
        theta, state = optimizer.update(theta, g, state)
        for found, expected in zip(recorded, (theta, *state), strict=True):
            np.testing.assert_array_equal(found, expected)
            assert found.dtype == expected.dtype


def test_sgd_without_momentum_keeps_no_state():
    assert SGD(0.1).initial_state(np.zeros(3)) == ()
    assert SGD(0.1).state_names == ()


BAD_SETTINGS = {
    "SGD: learning_rate must be positive and finite; found 0.0": lambda: SGD(0),
    "SGD: learning_rate must be positive and finite; found -1.0": lambda: SGD(-1.0),
    "SGD: learning_rate must be positive and finite; found inf": lambda: SGD(math.inf),
    "SGD: learning_rate must be positive and finite; found nan": lambda: SGD(math.nan),
    "SGD: learning_rate must be float; found '0.1' (str)": lambda: SGD("0.1"),
    "SGD: momentum must lie in 0 to 1, without 1; found 1.0": lambda: SGD(0.1, momentum=1),
    "SGD: momentum must lie in 0 to 1, without 1; found -0.5": lambda: SGD(0.1, momentum=-0.5),
    "Adam: learning_rate must be positive": lambda: Adam(0.0),
    "Adam: beta1 must lie in 0 to 1": lambda: Adam(beta1=1.0),
    "Adam: beta2 must lie in 0 to 1": lambda: Adam(beta2=-0.1),
    "Adam: epsilon must be positive": lambda: Adam(epsilon=0.0),
    "momentum is a setting of 'sgd'; 'adam' takes none": lambda: make_optimizer("adam", momentum=0.9),
}


@pytest.mark.parametrize("message", BAD_SETTINGS)
def test_optimizer_settings_out_of_range(message):
    with pytest.raises(tg.AttributeValueError, match=re.escape(message)):
        BAD_SETTINGS[message]()


def test_make_optimizer_by_name():
    assert make_optimizer("sgd", 0.2, 0.9) == SGD(0.2, momentum=0.9)
    assert make_optimizer("adam", 0.2) == Adam(0.2)
    assert make_optimizer("adam") == Adam()


def test_unknown_optimizer_offers_the_nearest():
    with pytest.raises(tg.UnknownNameError, match="no optimizer is called 'SGD'; did you mean 'sgd'"):
        make_optimizer("SGD")


def equations_of(model, optimizer):
    """The update as equations, without the spaces that align them."""
    return re.sub(" +", " ", update_equations(model, optimizer))


def test_update_as_equations_is_that_of_the_notes():
    lines = equations_of(load_model("notes_cnn"), SGD(0.1)).splitlines()
    assert sorted(lines) == sorted(f"{p}_new = {p} - 0.1 * d{p}" for p in ("W3", "B3", "K2", "B2", "K1", "B1"))


def test_update_of_adam_as_equations():
    text = equations_of(regression(), Adam(0.25))
    for line in ("m_W_new = 0.9 * m_W + 0.1 * dW", "v_b_new = 0.999 * v_b + 0.001 * (db * db)", "t_b_new = t_b + 1"):
        assert line in text
    assert re.search(r"W_new = W - 0\.25 \* ", text)
    assert text == equations_of(regression(), Adam(0.25))


@dataclass(frozen=True)
class Custom(Optimizer):
    """An optimizer whose update is given; its state is one array, without a symbol."""

    rule: object

    def initial_state(self, parameter):
        return (np.zeros(parameter.shape, parameter.dtype),)

    def update(self, parameter, gradient, state):
        return self.rule(parameter, gradient, *state)


def test_custom_optimizer_trains_and_prints():
    def decayed(parameter, gradient, total):
        total = total + gradient * gradient
        return parameter - 0.5 * gradient / (np.sqrt(total) + 1e-6), (total,)

    model = classification()
    assert "s1_W_new = s1_W + dW * dW" in equations_of(model, Custom(decayed))
    history = fit(model, samples(40), Custom(decayed), epochs=5, batch_size=8)
    assert history[-1].loss < history[0].loss


def test_custom_optimizer_without_state():
    @dataclass(frozen=True)
    class SignDescent(Optimizer):
        def update(self, parameter, gradient, state):
            return parameter - 0.01 * np.sign(gradient), state

    assert "W_new = W - 0.01 * sign(dW)" in equations_of(classification(), SignDescent())
    history = fit(classification(), samples(40), SignDescent(), epochs=5, batch_size=8)
    assert history[-1].loss < history[0].loss


BAD_UPDATES = {
    "update returned 2 states; initial_state returned 1": lambda p, g, s: (p, (s, s)),
    "returned ndarray where it was given tensors": lambda p, g, s: (np.zeros(p.shape), (s,)),
    "update of parameter 'W' (3, 1) of float64 returned float64 ()": lambda p, g, s: (p.sum() - g.sum(), (s,)),
    "update of input 's1_W' (3, 1) of float64 returned float32": lambda p, g, s: (p - g, (tg.cast(s, "float32"),)),
}


@pytest.mark.parametrize("message", BAD_UPDATES)
def test_custom_optimizer_with_a_wrong_update(message):
    with pytest.raises(tg.AttributeValueError, match=re.escape(message)):
        training_step(regression(), Custom(BAD_UPDATES[message]), 4)


# The step


def eager_gradients(model, feeds):
    recording = model.trace(feeds)
    return recording, dict(zip(model.parameters, tg.grad(recording.loss, list(model.parameters.values())), strict=True))


@every_optimizer
def test_step_equals_eager_gradients_and_computed_updates(optimizer):
    model = classification()
    x, y = samples(24)
    step, state = training_step(model, optimizer, 8), initial_state(model, optimizer)
    expected_state = initial_state(model, optimizer)
    for feeds in batches({"x": x, "y": y}, 8):
        recording, gradients = eager_gradients(model, feeds)
        expected = {}
        for name, parameter in values(model).items():
            expected[name], expected_state[name] = optimizer.update(
                parameter, gradients[name].value, expected_state[name]
            )
        output, loss = step(feeds, state)
        np.testing.assert_array_equal(output, recording.output.value)
        assert loss == float(recording.loss.value)
        assert_same(values(model), expected)
    for name, arrays in state.items():
        for found, wanted in zip(arrays, expected_state[name], strict=True):
            np.testing.assert_array_equal(found, wanted)


def test_step_is_one_graph_with_every_update():
    step = training_step(load_model("notes_cnn"), SGD(0.2, momentum=0.9), 4)
    text = str(step.graph)
    for name in load_model("notes_cnn").parameters:
        assert re.search(rf"^{name}_new += {name} - learning_rate \* v_{name}_new ", text, flags=re.M)
        assert re.search(rf"^v_{name}_new += 0\.9 \* v_{name} \+ d{name} ", text, flags=re.M)


def notes_cnn_in_float64():
    model = Model.from_toml('dtype = "float64"\n' + NOTES_CNN.read_text(encoding="utf-8"))
    weights, given = weights_and_batches()
    for name, array in weights.items():
        model.parameters[name].value = array
    return model, given


def test_hundred_steps_of_the_declared_notes_cnn_follow_pytorch():
    model, given = notes_cnn_in_float64()
    optimizer = SGD(LEARNING_RATE)
    step, state = training_step(model, optimizer, 32), initial_state(model, optimizer)
    losses = [step({"Inp": images, "y": labels}, state)[1] for images, labels in given]
    with np.load(GOLDEN) as golden:
        np.testing.assert_allclose(losses, golden["losses"], rtol=1e-9)


@pytest.mark.oracle
def test_hundred_steps_of_the_declared_notes_cnn_follow_pytorch_live():
    pytest.importorskip("torch")
    from tests.golden.make_golden import notes_cnn_losses

    model, given = notes_cnn_in_float64()
    step, state = training_step(model, SGD(LEARNING_RATE), 32), initial_state(model, SGD(LEARNING_RATE))
    losses = [step({"Inp": images, "y": labels}, state)[1] for images, labels in given]
    np.testing.assert_allclose(losses, notes_cnn_losses(), rtol=1e-9)


def test_parameter_that_the_loss_ignores_stays():
    model = dense(
        "p = x @ W + b\ncost = mse(x @ V, y)",
        parameters={
            name: {"shape": shape, "init": "normal"} for name, shape in (("W", [3, 1]), ("b", [1]), ("V", [3, 1]))
        },
    )
    before = values(model)
    fit(model, samples(10), SGD(0.1), epochs=1, batch_size=5)
    after = values(model)
    np.testing.assert_array_equal(after["W"], before["W"])
    np.testing.assert_array_equal(after["b"], before["b"])
    assert (after["V"] != before["V"]).all()


def test_nothing_to_train_on():
    with pytest.raises(tg.TrainingError, match="the model 'model' declares no loss, so there is nothing to train on"):
        fit(dense("p = x @ W + b", loss=None, inputs={"x": [3]}), samples(4), epochs=1)
    with pytest.raises(tg.TrainingError, match="depends on no parameter that could be trained"):
        fit(dense("p = x @ W + b\ncost = mse(x[:, :1], y)"), samples(4), epochs=1)


class Interrupting:
    """A tensor that is interrupted the first time it is given a value."""

    def __init__(self):
        self.given = []

    def __setattr__(self, name, value):
        if name == "value":
            self.given.append(value)
            if len(self.given) == 1:
                raise KeyboardInterrupt
        else:
            super().__setattr__(name, value)


def test_interrupt_between_two_parameters_moves_both():
    first, middle, last = tg.parameter([1.0]), Interrupting(), tg.parameter([2.0])
    with pytest.raises(KeyboardInterrupt):
        assign_all([(first, [3.0]), (middle, 4.0), (last, [5.0])])
    assert (first.value.tolist(), middle.given, last.value.tolist()) == ([3.0], [4.0, 4.0], [5.0])


# The loop


def test_fit_makes_the_steps_it_describes():
    x, y = samples(11)
    model, optimizer = classification(), SGD(0.3, momentum=0.5)
    history = fit(model, (x, y), optimizer, epochs=3, batch_size=4, seed=7)
    by_hand, state = classification(), initial_state(model, optimizer)
    for epoch, row in enumerate(history, start=1):
        losses, right = [], 0
        order = np.random.default_rng([7, epoch]).permutation(11)
        for chosen in (order[:4], order[4:8], order[8:]):
            step = training_step(by_hand, optimizer, len(chosen))
            output, loss = step({"x": x[chosen], "y": y[chosen]}, state)
            losses += [loss] * len(chosen)
            right += ((output > 0.5) == y[chosen]).sum()
        assert row.epoch == epoch
        assert row.loss == pytest.approx(np.mean(losses), rel=1e-12)
        assert row.accuracy == pytest.approx(right / 11)
        assert row.test_loss is row.test_accuracy is None
        assert row.seconds > 0
    assert_close(values(model), values(by_hand))


def test_same_seed_gives_the_same_bits():
    runs = []
    for _ in range(2):
        model = load_model("notes_cnn")
        history = fit(model, "digits_odd", SGD(0.2, momentum=0.5), epochs=2, batch_size=50, seed=3)
        runs.append((history.rows, values(model)))
    assert runs[0][0] == runs[1][0]
    assert_same(*[parameters for _, parameters in runs])


def test_another_seed_gives_other_batches():
    models = [classification() for _ in range(2)]
    for seed, model in enumerate(models):
        fit(model, samples(20), SGD(0.5), epochs=1, batch_size=4, seed=seed)
    assert (values(models[0])["W"] != values(models[1])["W"]).any()


def test_what_is_not_given_is_the_models_own():
    def model():
        training = {"data": "xor", "epochs": 3, "batch_size": 2, "learning_rate": 0.7, "momentum": 0.3, "seed": 5}
        return dense(
            "z = x @ W + b\np = sigmoid(z)\ncost = bce(p, y)",
            inputs={"x": [2], "y": [1]},
            parameters={"W": {"shape": [2, 1], "init": "normal"}, "b": {"shape": [1], "init": "zeros"}},
            training=training,
        )

    declared, spelled_out = model(), model()
    rows = fit(declared).rows
    assert rows == fit(spelled_out, "xor", SGD(0.7, momentum=0.3), epochs=3, batch_size=2, seed=5).rows
    assert len(rows) == 3
    assert_same(values(declared), values(spelled_out))


def test_batch_larger_than_the_data_is_all_of_it():
    large, exact = classification(), classification()
    rows = fit(large, samples(6), SGD(0.5), epochs=2, batch_size=1000).rows
    assert rows == fit(exact, samples(6), SGD(0.5), epochs=2, batch_size=6).rows


def test_test_set_is_measured_after_each_epoch():
    model, train, test = classification(), samples(20), samples(9, seed=1)
    seen = []

    def watch(progress):
        if progress.row is not None:
            seen.append((progress.row, evaluate(model, test)))

    fit(model, Data("both", train, test), SGD(0.5), epochs=3, batch_size=6, callback=watch)
    assert len(seen) == 3
    for row, metrics in seen:
        assert (row.test_loss, row.test_accuracy) == (metrics.loss, metrics.accuracy)


def test_callback_sees_every_step_and_every_epoch():
    seen = []
    history = fit(classification(), samples(10), SGD(0.1), epochs=2, batch_size=4, callback=seen.append)
    places = [(p.epoch, p.epochs, p.step, p.steps, p.row is None) for p in seen]
    assert places == [(e, 2, s, 3, row) for e in (1, 2) for s, row in ((1, True), (2, True), (3, True), (3, False))]
    assert [p.row for p in seen if p.row] == history.rows
    assert [p.loss for p in seen if p.row] == [row.loss for row in history]


def test_training_can_go_on_after_training():
    model = dense("p = x @ W + b\npenalty = mean(W * W)\ncost = mse(p, y) + 0.01 * penalty")
    first = fit(model, samples(20), SGD(0.1), epochs=2, batch_size=5)
    second = fit(model, samples(20), Adam(0.01), epochs=2, batch_size=5)
    assert second[-1].loss < first[-1].loss


def test_several_inputs_and_no_decision():
    model = Model(
        inputs={"left": [2], "right": [3], "y": [1]},
        parameters={"A": {"shape": [2, 1], "init": "normal"}, "B": {"shape": [3, 1], "init": "normal"}},
        equations="p = left @ A + right @ B\ncost = mse(p, y)",
        output="p",
        loss="cost",
    )
    rng = np.random.default_rng(0)
    x = {"left": rng.normal(size=(30, 2)), "right": rng.normal(size=(30, 3))}
    y = x["left"].sum(axis=1, keepdims=True) - x["right"].sum(axis=1, keepdims=True)
    history = fit(model, (x, {"y": y}), SGD(0.1), epochs=30, batch_size=10)
    assert history[-1].loss < 1e-3
    assert history[-1].accuracy is None
    assert evaluate(model, (x, y)).accuracy is None


def test_model_without_labels_ignores_them():
    model = Model(
        inputs={"x": [4]},
        parameters={"E": {"shape": [4, 2], "init": "normal"}, "D": {"shape": [2, 4], "init": "normal"}},
        equations="r = (x @ E) @ D\ncost = mse(r, x)",
        output="r",
        loss="cost",
    )
    x = np.random.default_rng(0).normal(size=(20, 4))
    assert fit(model, (x, np.zeros(3)), SGD(0.05), epochs=2, batch_size=5)[-1].accuracy is None
    assert evaluate(model, (x, None)).count == 20


BAD_ARGUMENTS = {
    "epochs must be a whole number of at least 1; found 0": {"epochs": 0},
    "epochs must be a whole number of at least 1; found 1.5": {"epochs": 1.5},
    "batch_size must be a whole number of at least 1; found -3": {"batch_size": -3},
    "batch_size must be a whole number of at least 1; found True": {"batch_size": True},
    "seed must be a whole number of at least 0; found -1": {"seed": -1},
}


@pytest.mark.parametrize("message", BAD_ARGUMENTS)
def test_arguments_out_of_range(message):
    with pytest.raises(tg.AttributeValueError, match=re.escape(message)):
        fit(classification(), samples(4), **BAD_ARGUMENTS[message])


@pytest.mark.parametrize(
    ("data", "found"),
    [(None, "nothing, and the model's [training] names none"), (np.zeros(3), "ndarray"), ((1,), "tuple")],
)
def test_data_that_are_none(data, found):
    with pytest.raises(tg.DataError, match=re.escape(f"or a name or path for load_data; found {found}")):
        fit(classification(), data)


def test_optimizers_go_by_name():
    def trained(optimizer):
        model = load_model("xor")
        fit(model, "xor", optimizer, epochs=3)
        return values(model)

    # The learning rate that xor declares is meant for the optimizer that it declares.
    assert_same(trained("sgd"), trained(SGD(load_model("xor").training.learning_rate)))
    assert_same(trained("adam"), trained(Adam()))
    with pytest.raises(tg.UnknownNameError, match="no optimizer is called 'adm'; did you mean 'adam'"):
        trained("adm")


AN_OPTIMIZER = "optimizer must be an optimizer, such as SGD(0.1), or the name of one, 'sgd' or 'adam'; found "
WRONG_TYPES = {
    AN_OPTIMIZER + "the class SGD itself": lambda: fit(classification(), samples(4), SGD),
    AN_OPTIMIZER + "float": lambda: fit(classification(), samples(4), 0.1),
    "fit takes a model, such as load_model('xor'); found 'xor'": lambda: fit("xor"),
    "fit takes a model, such as load_model('xor'); found the class Model itself": lambda: fit(Model, "xor"),
    "evaluate takes a model, such as load_model('digits'); found 'digits'": lambda: evaluate("digits", "digits"),
    "evaluate takes a model, such as load_model('xor'); found tuple": lambda: evaluate(samples(4), samples(4)),
    "callback must be a function of one Progress; found int": lambda: fit(classification(), samples(4), callback=3),
    "or a name or path for load_data; found the class Data itself": lambda: evaluate(classification(), Data),
    "majority_class_baseline: expected numbers; found": lambda: majority_class_baseline(["a", "b"]),
    "check_data takes a model, such as load_model('xor'); found 'xor'": lambda: check_data("xor", *samples(4)),
    "load_data takes a model, such as load_model('xor'); found int": lambda: load_data("xor", 3),
    "training_step takes a model, such as load_model('xor'); found 'xor'": lambda: training_step("xor", SGD(), 4),
    "optimizer must be an optimizer, such as SGD(0.1), or the name of one, 'sgd' or 'adam'; found int": lambda: (
        training_step(classification(), 3, 4)
    ),
    "load_data takes the name of a data set or the path of an .npz file; found 3": lambda: load_data(3),
    "the path of an .npz file; found b'xor'": lambda: load_data(b"xor"),
}


@pytest.mark.parametrize("message", WRONG_TYPES)
def test_arguments_of_the_wrong_type(message):
    with pytest.raises(tg.TinygraphError, match=re.escape(message)):
        WRONG_TYPES[message]()


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float16])
def test_samples_and_labels_of_other_dtypes_train_alike(dtype):
    x, y = load_data("xor").train
    exact, cast = load_model("xor"), load_model("xor")
    rows = fit(exact, (x, y), epochs=3).rows
    assert fit(cast, (x.astype(dtype), y.astype(dtype)), epochs=3).rows == rows
    assert evaluate(cast, (x.astype(dtype), y.astype(dtype))) == evaluate(exact, (x, y))
    assert_same(values(cast), values(exact))
    assert {array.dtype for array in values(cast).values()} == {np.dtype("float32")}


def test_data_are_checked_before_anything_moves():
    model = classification()
    before = values(model)
    x, y = samples(10)
    with pytest.raises(tg.DataError, match="labels 'y' must lie between 0 and 1, for bce"):
        fit(model, (x, y + 1), epochs=1)
    with pytest.raises(tg.DataError, match="x_test is not finite"):
        fit(model, Data("half bad", (x, y), (x * np.nan, y)), epochs=1)
    assert_same(values(model), before)


# Interruption


def interrupting_after(steps, how):
    count = iter(range(1, 1000))

    def callback(progress):
        if progress.row is None and next(count) == steps:
            how()

    return callback


def by_exception():
    raise KeyboardInterrupt


@pytest.mark.parametrize("how", [by_exception, lambda: signal.raise_signal(signal.SIGINT)], ids=["raised", "Ctrl-C"])
def test_interrupt_keeps_whole_steps_and_whole_epochs(how, interruptible):
    interrupted, whole = classification(), classification()
    full = fit(whole, samples(20), SGD(0.1), epochs=2, batch_size=5, seed=1)
    with pytest.raises(TrainingInterrupted, match="training was interrupted after 2 epochs") as stop:
        fit(interrupted, samples(20), SGD(0.1), 5, 5, seed=1, callback=interrupting_after(11, how))
    assert isinstance(stop.value, KeyboardInterrupt)
    assert stop.value.history.rows == full.rows
    step, state = training_step(whole, SGD(0.1), 5), initial_state(whole, SGD(0.1))
    x, y = samples(20)
    order = np.random.default_rng([1, 3]).permutation(20)
    for feeds in list(batches({"x": x, "y": y}, 5, order))[:3]:
        step(feeds, state)
    assert_close(values(interrupted), values(whole))


def test_interrupt_in_the_first_epoch_leaves_an_empty_history():
    with pytest.raises(TrainingInterrupted, match="after 0 epochs") as stop:
        fit(classification(), samples(20), epochs=5, batch_size=5, callback=interrupting_after(2, by_exception))
    assert len(stop.value.history) == 0


def test_interrupt_after_the_last_step_of_an_epoch_is_before_its_end():
    def callback(progress):
        if progress.row is not None and progress.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(TrainingInterrupted) as stop:
        fit(classification(), samples(20), epochs=5, batch_size=5, callback=callback)
    assert [row.epoch for row in stop.value.history] == [1, 2]


# Numbers that are no longer finite


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


# Evaluation


@pytest.mark.parametrize("batch_size", [1, 7, 50, 1000])
def test_evaluation_in_batches_is_evaluation_at_once(batch_size):
    model, data = classification(), samples(50)
    at_once = tg.run(model.graph(50), {"x": data[0], "y": data[1]})
    metrics = evaluate(model, data, batch_size)
    assert metrics.loss == pytest.approx(float(at_once[1]), rel=1e-13)
    assert metrics.accuracy == ((at_once[0] > 0.5) == data[1]).mean()
    assert metrics.count == 50


def test_evaluation_is_of_the_test_part():
    model, train, test = classification(), samples(20), samples(10, seed=1)
    assert evaluate(model, Data("both", train, test)) == evaluate(model, test)
    assert evaluate(model, Data("one", train)) == evaluate(model, train)
    assert evaluate(load_model("xor"), "xor").count == 4


def test_evaluation_moves_nothing():
    model = classification()
    before = values(model)
    evaluate(model, samples(20))
    assert_same(values(model), before)


def test_evaluation_needs_a_loss():
    with pytest.raises(tg.TrainingError, match="declares no loss, so there is nothing to evaluate"):
        evaluate(dense("p = x @ W + b", loss=None, inputs={"x": [3]}), (np.zeros((2, 3)), None))


# Metrics

LABELS_OF_CLASSES = {"y": {"shape": [], "dtype": "int64"}}
SIX = {"W": {"shape": [3, 2], "init": "normal"}}
RULES = {
    "probability": (classification, 0.5),
    "logits of bce": (lambda: dense("p = x @ W + b\ncost = bce(sigmoid(p), y)"), 0.0),
    "logits": (lambda: dense("p = x @ W + b\ncost = bce_with_logits(p, y)"), 0.0),
    "probability beside logits": (lambda: dense("z = x @ W + b\np = sigmoid(z)\ncost = bce_with_logits(z, y)"), 0.5),
    "no sigmoid": (lambda: dense("p = clip(x @ W + b, 0.1, 0.9)\ncost = bce(p, y)"), 0.5),
    "with a penalty": (lambda: dense("p = sigmoid(x @ W + b)\ncost = bce(p, y) + 0.1 * mean(W * W)"), 0.5),
    "smoothed labels": (lambda: dense("p = sigmoid(x @ W + b)\ncost = bce(p, 0.1 + 0.8 * y)"), 0.5),
}


@pytest.mark.parametrize("case", RULES)
def test_binary_decisions(case):
    make, threshold = RULES[case]
    model = make()
    rule = decision_rule(model.record(2))
    assert (rule.threshold, rule.labels) == (threshold, "y")
    x, y = samples(200)
    right = (model.predict(x) > threshold) == y
    assert 0 < right.mean() < 1
    assert evaluate(model, (x, y)).accuracy == pytest.approx(right.mean())


CLASSES = {
    "logits": ("p = x @ W\ncost = cross_entropy(p, y)", LABELS_OF_CLASSES),
    "probabilities": ("z = x @ W\np = softmax(z)\ncost = cross_entropy(z, y)", LABELS_OF_CLASSES),
    "one-hot": ("p = x @ W\ncost = cross_entropy(p, y)", {"y": [2]}),
    "made one-hot": ("p = x @ W\ncost = cross_entropy(p, one_hot(y, 2, 'float64'))", LABELS_OF_CLASSES),
}


@pytest.mark.parametrize("case", CLASSES)
def test_decisions_among_classes(case):
    equations, labels = CLASSES[case]
    model = dense(equations, inputs={"x": [3]} | labels, parameters=SIX)
    assert decision_rule(model.record(2)).threshold is None
    x, y = samples(200)
    classes = y[:, 0].astype(int)
    right = model.predict(x).argmax(axis=1) == classes
    given = np.eye(2)[classes] if labels == {"y": [2]} else classes
    assert evaluate(model, (x, given)).accuracy == pytest.approx(right.mean())


NO_DECISION = {
    "regression": lambda: regression(),
    "no loss": lambda: dense("p = x @ W + b", loss=None, inputs={"x": [3]}),
    "features of a classifier": lambda: dense("p = tanh(x)\ncost = bce(sigmoid(p @ W + b), y)"),
    "something else": lambda: dense("p = x[:, :1]\ncost = bce(sigmoid(x @ W + b), y)"),
}


@pytest.mark.parametrize("case", NO_DECISION)
def test_outputs_that_are_no_decision(case):
    assert decision_rule(NO_DECISION[case]().record(2)) is None


def test_accuracy_of_arrays():
    assert accuracy([[0.6], [0.4]], [[1], [1]], threshold=0.5) == 0.5
    assert accuracy([[0.5]], [[0]], threshold=0.5) == 1.0
    assert accuracy([[1.0, 2.0], [2.0, 1.0]], [[0, 1], [0, 1]]) == 0.5
    assert accuracy([[1.0, 2.0], [2.0, 1.0]], [1, 0]) == 1.0


@pytest.mark.parametrize(
    ("output", "labels", "threshold"),
    [
        ([[0.1]], [1], 0.5),
        ([[0.1, 0.2]], [[1]], None),
        (np.zeros((0, 2)), np.zeros(0), None),
        (np.zeros(3), np.zeros(2), None),
    ],
)
def test_accuracy_of_arrays_that_do_not_fit(output, labels, threshold):
    with pytest.raises(tg.DataError, match="do not fit"):
        accuracy(output, labels, threshold)


def test_majority_class_baseline():
    assert majority_class_baseline([3, 1, 3, 3]) == 0.75
    assert majority_class_baseline([[0.0], [0.0], [1.0]]) == pytest.approx(2 / 3)
    assert majority_class_baseline([[0.1], [0.2], [0.9]]) == pytest.approx(2 / 3)
    assert majority_class_baseline(np.eye(4)[[0, 2, 2, 1]]) == 0.5
    assert majority_class_baseline([[1, 1], [1, 0], [1, 1], [0, 1]]) == 0.75
    assert majority_class_baseline(load_data("digits_odd").test[1]) == pytest.approx(182 / 359)
    with pytest.raises(tg.DataError, match="there are no labels"):
        majority_class_baseline([])


def test_metrics_as_text():
    assert str(Metrics(0.5, None, 1)) == "loss 0.5000, 1 sample"


# History

ROWS = [Row(1, 0.1 + 0.2, 0.5, 1 / 3, 0.25, 1.5), Row(2, 0.2, 0.75, 0.3, 0.5, 1.25)]


def test_history_as_csv_gives_every_bit_back(tmp_path):
    History(ROWS).save_csv(tmp_path / "history.csv")
    with open(tmp_path / "history.csv", newline="") as file:
        read = list(csv.DictReader(file))
    assert list(read[0]) == ["epoch", "loss", "accuracy", "test_loss", "test_accuracy", "seconds"]
    for row, cells in zip(ROWS, read, strict=True):
        assert {name: float(cell) for name, cell in cells.items()} == {name: getattr(row, name) for name in cells}


def test_history_that_cannot_be_written(tmp_path):
    with pytest.raises(tg.TinygraphError, match=r"cannot be written to '.*missing/history\.csv': there is no folder"):
        History(ROWS).save_csv(tmp_path / "missing" / "history.csv")


def test_history_is_a_sequence_and_a_table():
    history = History(ROWS)
    assert (len(history), history[0], history[-1:], list(history)) == (2, ROWS[0], ROWS[1:], ROWS)
    assert repr(history) == "<History of 2 epochs>"
    assert str(History([Row(1, 0.5, None, None, None, 2.0)])).splitlines()[1].split() == [
        "1",
        "0.5000",
        "-",
        "-",
        "-",
        "2.00",
    ]


SIGNATURES = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}


@pytest.mark.parametrize("ending", SIGNATURES)
def test_curve_is_drawn_in_the_format_of_its_name(tmp_path, ending):
    pytest.importorskip("matplotlib")
    path = tmp_path / f"curve{ending}"
    History(ROWS).curve(path)
    assert path.read_bytes().startswith(SIGNATURES[ending])
    assert "matplotlib.pyplot" not in sys.modules


@pytest.mark.parametrize("row", [Row(1, 0.5, None, 0.4, None, 1.0), Row(1, 0.5, 0.8, None, None, 1.0)])
def test_curve_of_what_was_measured(tmp_path, row):
    pytest.importorskip("matplotlib")
    History([row]).curve(tmp_path / "curve.svg")
    text = (tmp_path / "curve.svg").read_text(encoding="utf-8")
    assert ("accuracy" in text) == (row.accuracy is not None)
    assert ("<!-- test -->" in text) == (row.test_loss is not None)


@pytest.mark.parametrize(("epochs", "marked"), [(60, True), (61, False)])
def test_curve_of_many_epochs_has_no_markers(tmp_path, epochs, marked):
    pytest.importorskip("matplotlib")
    History([Row(epoch, 1 / epoch, None, None, None, 1.0) for epoch in range(1, epochs + 1)]).curve(tmp_path / "c.svg")
    # Fewer uses of one shape than points are the ticks of the axes.
    assert ((tmp_path / "c.svg").read_text(encoding="utf-8").count("<use ") > epochs) == marked


def test_curve_without_matplotlib(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(tg.RenderError, match="needs matplotlib: pip install"):
        History(ROWS).curve(tmp_path / "curve.png")


@pytest.mark.parametrize(
    ("name", "why"),
    [("missing/curve.png", "there is no folder"), ("curve", "not supported"), ("curve.unknown", "not supported")],
)
def test_curve_that_cannot_be_written(tmp_path, name, why):
    pytest.importorskip("matplotlib")
    with pytest.raises(tg.RenderError, match=why):
        History(ROWS).curve(tmp_path / name)


def test_curve_of_nothing(tmp_path):
    with pytest.raises(tg.RenderError, match="the history has no complete epoch"):
        History().curve(tmp_path / "curve.png")


# The main job


def test_notes_cnn_learns_to_tell_odd_digits_and_again_to_the_same_bits():
    runs = []
    for _ in range(2):
        model = load_model("notes_cnn")
        runs.append((fit(model), model))
    (history, model), (again, twin) = runs
    assert history[-1].loss < history[0].loss / 4
    assert evaluate(model, "digits_odd").accuracy == history[-1].test_accuracy >= 0.96
    assert majority_class_baseline(load_data("digits_odd").test[1]) < 0.55
    assert history.rows == again.rows
    for name, array in values(model).items():
        assert array.tobytes() == twin.parameters[name].value.tobytes()


def test_xor_is_learned():
    model = load_model("xor")
    fit(model, "xor", Adam(0.1), epochs=150, batch_size=4)
    assert evaluate(model, "xor").accuracy == 1.0


def test_a_recording_keeps_up_with_parameters_that_are_used_alone():
    model = tg.Model({"x": [3]}, {"W": {"shape": [1, 3], "init": "ones"}}, "p = (x @ W.T) * (x @ W.T)", "p")
    model.record(2)
    model.parameters["W"].value = [[1.0, 2.0, 3.0]]
    output = model.record(2).output
    (dW,) = tg.grad(output.sum(), [model.parameters["W"]])
    assert tg.run(dW, {"x": [[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]]})[0].tolist() == [[12.0, 12.0, 12.0]]
