"""Small models and samples to train on, and comparisons of their parameters."""

import re

import numpy as np
import pytest

from tests.tools.agreement import agree
from tinygraph.model import Model
from tinygraph.train import (
    SGD,
    Adam,
    AdamW,
    RMSprop,
    update_equations,
)


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


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def assert_agree(found, expected):
    """Assert that parameters, or the states of an optimizer, are the same but for rounding."""
    assert found.keys() == expected.keys()
    for name, wanted in expected.items():
        as_tuples = [x if isinstance(x, tuple) else (x,) for x in (found[name], wanted)]
        agree(*(tuple(np.asarray(array) for array in arrays) for arrays in as_tuples), float64=1e-11)


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
    AdamW(0.1): [
        [0.899000002, -0.8990000005],
        [0.8048830404754623, -0.8714672967019315],
        [0.824713859842936, -0.8500078992062395],
    ],
    RMSprop(): [
        [0.900000019999996, -0.9000000049999998],
        [0.855098702557817, -0.9449013284905645],
        [0.9425726616071325, -0.9449013284905645],
    ],
    RMSprop(0.1, 0.9, momentum=0.5, epsilon=1e-4): [
        [0.683972107572005, -0.6838222260787177],
        [0.3786031104709187, -0.6731535593473262],
        [0.5076971204963333, -0.6678192259816306],
    ],
}


def torch_optimizer(torch, optimizer, parameters):
    decay = {"weight_decay": optimizer.weight_decay}
    if isinstance(optimizer, Adam):
        betas = (optimizer.beta1, optimizer.beta2)
        return torch.optim.AdamW(parameters, optimizer.learning_rate, betas, optimizer.epsilon, **decay)
    if isinstance(optimizer, RMSprop):
        settings = {"alpha": optimizer.rho, "eps": optimizer.epsilon, "momentum": optimizer.momentum}
        return torch.optim.RMSprop(parameters, optimizer.learning_rate, **settings)
    return torch.optim.SGD(parameters, optimizer.learning_rate, optimizer.momentum, **decay)


every_optimizer = pytest.mark.parametrize("optimizer", OF_PYTORCH, ids=str)


def equations_of(model, optimizer):
    """The update as equations, without the spaces that align them."""
    return re.sub(" +", " ", update_equations(model, optimizer))
