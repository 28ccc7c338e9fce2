"""Optimizers against their papers and PyTorch."""

import math
import re
from dataclasses import dataclass

import numpy as np
import pytest

import tinygraph as tg
from tests.tools.training import (
    OF_PYTORCH,
    classification,
    equations_of,
    every_optimizer,
    regression,
    samples,
    torch_optimizer,
)
from tinygraph.model import load_model
from tinygraph.train import (
    SGD,
    Adam,
    Optimizer,
    fit,
    make_optimizer,
    training_step,
)
from tinygraph.train.update import record_update

# Three steps of torch.optim (2.13, float64) from [1, -1] with these gradients.
GRADIENTS = [np.array([0.5, -2.0]), np.array([0.25, 1.0]), np.array([-1.0, 0.0])]


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
    of_torch = torch_optimizer(torch, optimizer, [peer])
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
    update = record_update(optimizer, "W", parameter, gradient)
    new, old_state, new_state = update.new, update.state, update.new_state
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
    "SGD: learning_rate must be float or Schedule; found '0.1' (str)": lambda: SGD("0.1"),
    "SGD: momentum must lie in 0 to 1, without 1; found 1.0": lambda: SGD(0.1, momentum=1),
    "SGD: momentum must lie in 0 to 1, without 1; found -0.5": lambda: SGD(0.1, momentum=-0.5),
    "Adam: learning_rate must be positive": lambda: Adam(0.0),
    "Adam: beta1 must lie in 0 to 1": lambda: Adam(beta1=1.0),
    "Adam: beta2 must lie in 0 to 1": lambda: Adam(beta2=-0.1),
    "Adam: epsilon must be positive": lambda: Adam(epsilon=0.0),
    "momentum is a setting of 'sgd' and 'rmsprop'; 'adam' takes none": lambda: make_optimizer("adam", momentum=0.9),
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
