"""What a compiled step lets its user change, and what it refuses."""

import copy
import math
import pickle
from dataclasses import dataclass

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.engines.plan import compiled
from tinygraph.model import load_model
from tinygraph.train import Adam, Optimizer, training_step
from tinygraph.train import step as steps
from tinygraph.train.step import initial_state

X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], "float32")
FEEDS = {"x": X, "y": np.array([[0], [1], [1], [0]], "float32")}
HALF = {name: array[:2] for name, array in FEEDS.items()}


@dataclass(frozen=True)
class Decay(Optimizer):
    """A rule of a user's own, whose rate is used in arithmetic only."""

    learning_rate: float = 0.5

    def update(self, parameter, gradient, state):
        return (1 - 0.01 * self.learning_rate) * parameter - self.learning_rate * gradient, state


@dataclass(frozen=True)
class Root(Optimizer):
    """A rule of a user's own that needs its rate as a number."""

    learning_rate: float = 0.25

    def update(self, parameter, gradient, state):
        return parameter - math.sqrt(self.learning_rate) * gradient, state


class Rateless(Optimizer):
    """A rule without a rate."""

    def update(self, parameter, gradient, state):
        return parameter - 0.5 * gradient, state


def values(model):
    return [p.value for p in model.parameters.values()]


@pytest.mark.parametrize("attribute", ["optimizer", "model", "batch_size", "threads"])
def test_what_a_step_is_compiled_for_cannot_be_reassigned(attribute):
    step = load_model("xor").compile_step(tg.SGD(0.5), 4)
    with pytest.raises(AttributeError):
        setattr(step, attribute, getattr(step, attribute))


@pytest.mark.parametrize("attribute", ["graph", "batch_size", "threads", "schedule"])
def test_what_a_plan_is_compiled_for_cannot_be_reassigned(attribute):
    plan = tg.compile(load_model("xor"), batch_size=4)
    with pytest.raises(AttributeError):
        setattr(plan, attribute, getattr(plan, attribute))


@pytest.mark.parametrize("optimizer", [tg.SGD(0.5), tg.SGD(0.5, momentum=0.9), Adam(0.5), Decay(0.5)])
@pytest.mark.parametrize("name", ["xor", "notes_cnn"])
def test_another_rate_moves_as_a_step_compiled_with_it(optimizer, name, monkeypatch):
    model, twin = load_model(name), load_model(name)
    feeds = FEEDS if name == "xor" else {"Inp": np.random.default_rng(0).random((4, 1, 8, 8)), "y": FEEDS["y"]}
    half = {key: array[:2] for key, array in feeds.items()}
    step, other = model.compile_step(optimizer, 4), twin.compile_step(optimizer, 4)
    step(feeds), step(half), other(feeds), other(half)
    monkeypatch.setattr(steps, "Compiled", None)  # nothing is compiled from here on
    step.learning_rate = 0.125
    assert step.learning_rate == step.optimizer.learning_rate == 0.125
    assert optimizer.learning_rate == 0.5
    monkeypatch.setattr(steps, "Compiled", compiled.Compiled)
    exact = twin.compile_step(type(optimizer)(**{**vars(optimizer), "learning_rate": 0.125}), 4)
    exact.state = other.state
    for batch in (feeds, half):
        assert step(batch)[1] == exact(batch)[1]
        for found, expected in zip(values(model), values(twin), strict=True):
            np.testing.assert_array_equal(found, expected)


def test_the_rate_of_every_size_changes_and_nothing_compiles(monkeypatch):
    model = load_model("xor")
    step = model.compile_step(tg.SGD(0.5), 4)
    step(FEEDS), step(HALF)
    monkeypatch.setattr(steps, "Compiled", None)
    step.learning_rate = 1e-30
    before = values(model)
    step(FEEDS), step(HALF)
    for found, expected in zip(values(model), before, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("rate", [0, -1.0, math.inf, math.nan, "fast", 1e-60, None, True, tg.tensor(0.5), np.ones(2)])
def test_a_rate_that_the_optimizer_refuses_changes_nothing(rate):
    for optimizer in (tg.SGD(0.5), Decay(0.5)):
        step = load_model("xor").compile_step(optimizer, 4)
        with pytest.raises(tg.AttributeValueError, match="learning_rate"):
            step.learning_rate = rate
        assert step.optimizer == optimizer


@pytest.mark.parametrize("optimizer", [Root(), Rateless()])
def test_a_rate_that_is_fixed_is_said_to_be(optimizer):
    model, twin = load_model("xor"), load_model("xor")
    step = model.compile_step(optimizer, 4)
    with pytest.raises(tg.TrainingError, match=r"the learning rate of .* is fixed; compile a step with another"):
        step.learning_rate = 0.1
    assert step(FEEDS)[1] == twin.compile_step(tg.SGD(0.5), 4)(FEEDS)[1]
    for found, expected in zip(values(model), values(twin), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda step: pickle.loads(pickle.dumps(step))])
@pytest.mark.parametrize("optimizer", [tg.SGD(0.5, momentum=0.9), Adam(0.1)])
def test_a_copy_goes_on_alike_and_apart(copied, optimizer):
    step = load_model("xor").compile_step(optimizer, 4)
    step(FEEDS)
    step.learning_rate = 0.25
    twin = copied(step)
    assert (twin.optimizer, twin.batch_size, twin.threads) == (step.optimizer, 4, step.threads)
    assert twin.model is not step.model
    assert [twin(FEEDS)[1] for _ in range(3)] == [step(FEEDS)[1] for _ in range(3)]
    before = values(twin.model)
    step(FEEDS)
    assert all(a is b for a, b in zip(values(twin.model), before, strict=True))


def test_a_copy_of_a_model_and_its_step_stay_together():
    model = load_model("xor")
    twin, step = copy.deepcopy((model, model.compile_step("sgd", 4)))
    assert step.model is twin


def test_inputs_by_position_are_refused_with_their_names():
    step = load_model("xor").compile_step("sgd", 4)
    with pytest.raises(tg.FeedError, match=r'by name, such as \{"x": \.\.\., "y": \.\.\.\}; found ndarray'):
        step(FEEDS["x"], FEEDS["y"])
    with pytest.raises(tg.FeedError, match="found ndarray"):
        step.profile(FEEDS["x"])
    plain = training_step(load_model("xor"), tg.SGD(0.1), 4)
    with pytest.raises(tg.FeedError, match=r'such as \{"x": \.\.\., "y": \.\.\.\}; found ndarray'):
        plain(FEEDS["x"], FEEDS["y"])


@pytest.mark.parametrize("state", [{}, FEEDS["y"], {"W1": None}, "another", "another model"])
def test_the_state_of_another_optimizer_is_refused(state):
    model = load_model("xor")
    step, before = model.compile_step(Adam(0.1), 4), values(model)
    if isinstance(state, str) and state == "another":
        state = initial_state(model, tg.SGD(0.1, momentum=0.9))
    elif isinstance(state, str):
        state = initial_state(load_model("notes_cnn"), Adam(0.1))
    with pytest.raises(tg.TrainingError, match=r"not one of Adam\(.*\): for 'W1' it holds 3 arrays; make it"):
        step(FEEDS, state)
    step.state = state
    with pytest.raises(tg.TrainingError, match="not one of Adam"):
        step(FEEDS)
    assert values(model) == before


def test_the_state_of_another_size_is_refused():
    model = load_model("xor")
    step = model.compile_step(tg.SGD(0.1, momentum=0.9), 4)
    with pytest.raises(tg.FeedError, match=r"'v_W1' \(2, 4\) was fed shape \(3, 3\)"):
        step(FEEDS, {**step.state, "W1": (np.zeros((3, 3), "float32"),)})


def test_a_model_with_an_input_called_learning_rate_keeps_it():
    model = tg.Model(
        inputs={"learning_rate": [2], "y": [1]},
        parameters={"W": {"shape": [2, 1], "init": "ones"}},
        equations="z = learning_rate @ W\ncost = mse(z, y)",
        output="z",
        loss="cost",
    )
    step = model.compile_step(tg.SGD(0.25), 4)
    output, loss = step({"learning_rate": X, "y": X[:, :1] * 0})
    assert (output.ravel().tolist(), loss) == ([0, 1, 1, 2], 1.5)
    assert model.parameters["W"].value.ravel().tolist() == [0.625, 0.625]


def test_a_misspelled_setting_of_a_step_is_an_error():
    step = tg.load_model("xor").compile_step("sgd", 4)
    for name in ("lr", "learningrate", "momentum"):
        with pytest.raises(AttributeError, match=name):
            setattr(step, name, 0.5)
