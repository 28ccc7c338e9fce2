"""Training by a plan: whole steps, ``fit``, ``evaluate`` and ``predict`` beside plain evaluation; threads, bits and memory."""

import copy
import gc
import json
import os
import pickle
import re
import subprocess
import sys
import threading
import tracemalloc
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pytest
import threadpoolctl

import tinygraph as tg
from tests.tools.agreement import MODELS, agree, ballast, feeds_for, in_float64
from tinygraph.model import load_model
from tinygraph.train import SGD, Adam, Optimizer, initial_state, training_step

OPTIMIZERS = [SGD(0.1), SGD(0.1, momentum=0.9), Adam(0.01)]
every_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=["SGD", "momentum", "Adam"])


def values(model):
    return {name: parameter.value.copy() for name, parameter in model.parameters.items()}


def copies(state):
    return {name: tuple(np.array(array) for array in arrays) for name, arrays in state.items()}


def assert_agree(found, expected):
    """Assert that parameters, or the states of an optimizer, are the same but for rounding."""
    assert found.keys() == expected.keys()
    for name, wanted in expected.items():
        as_tuples = [x if isinstance(x, tuple) else (x,) for x in (found[name], wanted)]
        agree(*(tuple(np.asarray(array) for array in arrays) for arrays in as_tuples), float64=1e-11)


def assert_same_bits(found, expected):
    assert found.keys() == expected.keys()
    for name, wanted in expected.items():
        np.testing.assert_array_equal(found[name], wanted, err_msg=name)


def dense(equations, loss="cost", **changes):
    """A model of three features and one label, with W (3, 1) and b (1,), in float64."""
    settings = {
        "inputs": {"x": [3], "y": [1]},
        "parameters": {"W": {"shape": [3, 1], "init": "normal"}, "b": {"shape": [1], "init": "zeros"}},
        "output": "p",
        "dtype": "float64",
    }
    return tg.Model(**(settings | changes), equations=equations, loss=loss)


def regression():
    return dense("p = x @ W + b\ncost = mse(p, y)")


def classification():
    return dense("z = x @ W + b\np = sigmoid(z)\ncost = bce(p, y)")


def samples(count, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 3))
    return x, (x.sum(axis=1, keepdims=True) > 0).astype(float)


def as_feeds(data):
    return dict(zip(("x", "y"), data, strict=True))


# The step


def follow(model, optimizer, counts, batch_size, threads=2):
    """Assert that a compiled step does what the plain one does, step by step, on batches of these sizes."""
    twin = copy.deepcopy(model)
    compiled, state = model.compile_step(optimizer, batch_size, threads), initial_state(twin, optimizer)
    plain = {count: training_step(twin, optimizer, count) for count in set(counts)}
    for seed, count in enumerate(counts):
        feeds = feeds_for(model, count, seed)
        expected, expected_loss = plain[count](feeds, state)
        output, loss = compiled(feeds)
        agree((output,), (expected,), float64=1e-11)
        assert type(loss) is float
        assert loss == pytest.approx(expected_loss, rel=1e-11 if expected.dtype == np.float64 else 1e-5)
        assert_agree(values(model), values(twin))
        assert_agree(compiled.state, state)


@every_optimizer
@pytest.mark.parametrize("name", MODELS)
def test_steps_follow_plain_steps(name, optimizer):
    follow(in_float64(name), optimizer, [17, 17, 17], 17)


@pytest.mark.parametrize("name", MODELS)
def test_steps_in_float32_follow_plain_steps(name):
    follow(load_model(name), SGD(0.01, momentum=0.9), [32, 32], 32)


@pytest.mark.parametrize("threads", [1, 2])
def test_steps_cut_into_tiles_follow_plain_steps(threads):
    model = in_float64("notes_cnn_28")
    follow(model, SGD(0.1), [150, 150], 150, threads)
    assert re.search(r"tiles: \d", model.compile_step(SGD(0.1), 150, threads).describe())


@every_optimizer
@pytest.mark.parametrize("name", ["xor", "notes_cnn"])
def test_steps_on_any_number_of_samples(name, optimizer):
    follow(in_float64(name), optimizer, [8, 3, 1, 8, 40, 8, 9, 3], 8)


@every_optimizer
@pytest.mark.parametrize(
    ("name", "batch"), [("xor", 2), ("xor", 4), ("notes_cnn", 8), ("notes_cnn", 16), ("residual", 12)]
)
def test_parameters_and_states_whose_first_axis_is_the_batch_size(name, batch, optimizer):
    model = in_float64(name)
    assert batch in {parameter.shape[0] for parameter in model.parameters.values()}
    follow(model, optimizer, [batch, batch], batch)


@dataclass(frozen=True)
class Clipped(Optimizer):
    """Steps along the gradient, no longer than one; its state counts them and keeps the largest gradients."""

    def initial_state(self, parameter):
        return np.zeros(parameter.shape, parameter.dtype), np.array(0)

    def update(self, parameter, gradient, state):
        largest, count = state
        length = tg.sqrt((gradient * gradient).sum() + 1e-12)
        step = gradient / tg.maximum(length, 1.0) / (1 + tg.cast(count, "float64"))
        return parameter - step, (np.maximum(largest, np.abs(gradient)), count + 1)


def test_optimizer_of_the_users_own():
    follow(in_float64("notes_cnn"), Clipped(), [8, 8, 5], 8)


def test_step_of_a_model_with_batch_statistics():
    model = dense(
        "n = (x - mean(x, axis=0)) / sqrt(mean((x - mean(x, axis=0)) ** 2, axis=0) + 1e-5)\n"
        "h = tanh(n @ W + b)\np = h / sum(abs(h))\ncost = mse(p, y)"
    )
    follow(model, SGD(0.1), [70, 70, 11], 70)


def test_step_of_a_model_with_a_penalty():
    follow(dense("p = x @ W + b\ncost = mse(p, y) + 0.1 * mean(W * W) + sum(b * b)"), SGD(0.1), [6, 6, 4], 6)


def test_parameter_that_the_loss_ignores_stays():
    model = dense("p = x @ W + b\ncost = mse(x @ W, y)")
    model.parameters["b"].value = [3.0]
    model.compile_step(SGD(0.1), 4)(as_feeds(samples(4)))
    assert model.parameters["b"].value == 3.0


def test_output_and_loss_are_from_before_the_update():
    model = regression()
    feeds = as_feeds(samples(4))
    output, loss = tg.run(model.graph(4), feeds)
    found, found_loss = model.compile_step(SGD(0.5), 4)(feeds)
    agree((found,), (output,))
    assert found_loss == pytest.approx(float(loss), rel=1e-12)


def test_an_optimizer_is_given_as_for_fit():
    model = regression()
    assert model.compile_step("adam", 4).optimizer == Adam()
    with pytest.raises(tg.TinygraphError, match="optimizer must be an optimizer, such as"):
        model.compile_step(0.1, 4)


def test_a_step_starts_from_what_the_parameters_are():
    model, twin = classification(), classification()
    step = model.compile_step(SGD(0.1), 4)
    step(as_feeds(samples(4)))
    for each in (model, twin):
        each.parameters["W"].value = [[1.0], [2.0], [3.0]]
        each.parameters["b"].value = [0.5]
    step(as_feeds(samples(4, 1)))
    training_step(twin, SGD(0.1), 4)(as_feeds(samples(4, 1)), initial_state(twin, SGD(0.1)))
    assert_agree(values(model), values(twin))


def test_a_state_of_the_callers_moves_instead_of_the_steps_own():
    model, optimizer = classification(), SGD(0.1, momentum=0.9)
    step, state = model.compile_step(optimizer, 4), initial_state(model, optimizer)
    own = copies(step.state)
    step(as_feeds(samples(4)), state)
    assert_agree(step.state, own)
    assert any(np.any(v) for (v,) in state.values())
    first = copies(state)
    step(as_feeds(samples(4)))
    assert_agree(state, first)


def test_two_states_are_kept_apart():
    """Each takes turns with the other, on one model, as the plain steps do."""
    model, twin, optimizer = classification(), classification(), Adam(0.1)
    step, plain = model.compile_step(optimizer, 4), training_step(twin, optimizer, 4)
    states, expected = ([initial_state(model, optimizer) for _ in range(2)] for _ in range(2))
    for turn in range(6):
        feeds = as_feeds(samples(4, turn))
        step(feeds, states[turn % 2])
        plain(feeds, expected[turn % 2])
    assert_agree(values(model), values(twin))
    for found, wanted in zip(states, expected, strict=True):
        assert_agree(found, wanted)


def test_what_a_step_returned_and_moved_is_not_overwritten():
    model = in_float64("notes_cnn")
    step, state = model.compile_step(Adam(0.01), 8), initial_state(model, Adam(0.01))
    held, kept = [], []
    for seed in range(4):
        output, _ = step(feeds_for(model, 8, seed), state)
        arrays = [output, *(parameter.value for parameter in model.parameters.values()), *sum(state.values(), ())]
        held.append(arrays)
        kept.append([np.array(x) for x in arrays])
    for arrays, copied in zip(held, kept, strict=True):
        for x, y in zip(arrays, copied, strict=True):
            np.testing.assert_array_equal(x, y)


def test_the_output_is_the_callers_own():
    model = classification()
    step, twin = model.compile_step(SGD(0.1), 4), copy.deepcopy(model).compile_step(SGD(0.1), 4)
    for seed in range(3):
        output, loss = step(as_feeds(samples(4, seed)))
        output[...] = 0
        assert loss == twin(as_feeds(samples(4, seed)))[1]


def test_a_model_without_a_loss_has_no_step():
    with pytest.raises(tg.TrainingError, match="declares no loss"):
        dense("p = x @ W + b", loss=None, inputs={"x": [3]}).compile_step(SGD(0.1), 4)


@pytest.mark.parametrize("batch_size", [0, -1, 1.5, True, "4", None])
def test_a_step_is_compiled_for_a_whole_number_of_samples(batch_size):
    with pytest.raises(tg.TinygraphError, match="batch"):
        load_model("xor").compile_step(SGD(0.1), batch_size)


@pytest.mark.parametrize("threads", [0, -1, 1.5, True, "2"])
def test_threads_of_a_step_are_a_positive_whole_number(threads):
    with pytest.raises(tg.AttributeValueError, match="threads"):
        load_model("xor").compile_step(SGD(0.1), 4, threads=threads)


# Steps that are refused, or whose numbers are not finite


def refused(model, step, feeds, error):
    """Return the message of a step that must move nothing."""
    before, state = values(model), copies(step.state)
    with pytest.raises(error) as raised:
        step(feeds)
    assert_same_bits(values(model), before)
    assert_agree(step.state, state)
    return str(raised.value)


MISTAKEN = {
    "a missing input": lambda x, y: {"x": x},
    "features of the wrong shape": lambda x, y: {"x": x[:, :2], "y": y},
    "different numbers of samples": lambda x, y: {"x": x, "y": y[:3]},
    "one label for all": lambda x, y: {"x": x, "y": y[:1]},
    "complex numbers": lambda x, y: {"x": x * 1j, "y": y},
    "texts": lambda x, y: {"x": np.full(x.shape, "a"), "y": y},
}


@pytest.mark.parametrize("case", MISTAKEN)
def test_mistaken_feeds_of_a_step_are_refused(case):
    model = classification()
    step = model.compile_step(SGD(0.1, momentum=0.9), 4)
    step(as_feeds(samples(4)))
    refused(model, step, MISTAKEN[case](*samples(4)), tg.TinygraphError)
    step(as_feeds(samples(4)))


EXPLODING = {
    "forward": (lambda: dense("p = abs(x @ W + b)\ne = exp(p)\ncost = mse(e, y)"), 1e4, SGD(0.1), "e = exp(p)"),
    "backward": (
        lambda: dense("r = sqrt(abs(0 * x @ W + 0 * b))\np = r * r\ncost = mse(p, y)"),
        1.0,
        SGD(0.1),
        "divide",
    ),
    "gradient": (regression, 1e200, SGD(0.1), ""),
    "square of the gradient": (regression, 1e120, Adam(0.1), ""),
    "update": (regression, 1e3, SGD(1e306), "_new = "),
    "feeds": (regression, np.nan, SGD(0.1), "x"),
}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("case", EXPLODING)
def test_a_step_that_is_not_finite_names_the_node_and_moves_nothing(case, threads):
    make, size, optimizer, node = EXPLODING[case]
    model = make()
    twin = copy.deepcopy(model)
    x, y = samples(6)
    bad = {"x": x * size, "y": y}
    with pytest.raises(tg.TrainingError) as plain:
        training_step(twin, optimizer, 6)(bad, initial_state(twin, optimizer))
    step = model.compile_step(optimizer, 6, threads)
    message = refused(model, step, bad, tg.TrainingError)
    assert message == str(plain.value)
    assert "the first value that is not finite" in message
    assert node in message


def test_a_step_goes_on_after_one_that_was_not_finite():
    model, twin = in_float64("notes_cnn"), in_float64("notes_cnn")
    optimizer = SGD(0.1, momentum=0.9)
    step, state = model.compile_step(optimizer, 8), initial_state(twin, optimizer)
    for seed in range(3):
        feeds = feeds_for(model, 8, seed)
        refused(model, step, feeds | {"Inp": feeds["Inp"] * np.inf}, tg.TrainingError)
        step(feeds)
        training_step(twin, optimizer, 8)(feeds, state)
    assert_agree(values(model), values(twin))


@pytest.mark.parametrize("bad", [-0.5, 1.5])
@pytest.mark.parametrize("name", ["xor", "notes_cnn", "notes_ann"])
def test_labels_that_the_loss_refuses_are_refused_in_the_same_words(name, bad):
    model = load_model(name)
    feeds = feeds_for(model, 40)
    feeds[model.labels[0]][7] = bad
    with pytest.raises(tg.DataError) as plain:
        training_step(model, SGD(0.1), 40)(feeds, initial_state(model, SGD(0.1)))
    step = model.compile_step(SGD(0.1), 40, threads=2)
    assert refused(model, step, feeds, tg.DataError) == str(plain.value)


def test_classes_that_the_loss_refuses_are_refused_in_the_same_words():
    model = load_model("residual")
    feeds = feeds_for(model, 40)
    feeds["y"][7] = 10
    with pytest.raises(tg.DataError) as plain:
        training_step(model, SGD(0.1), 40)(feeds, initial_state(model, SGD(0.1)))
    assert refused(model, model.compile_step(SGD(0.1), 40), feeds, tg.DataError) == str(plain.value)


def test_no_warning_leaks_from_a_step_that_overflows(recwarn):
    model = load_model("notes_cnn")
    feeds = feeds_for(model, 200)
    feeds["Inp"] *= 5e37
    with pytest.raises(tg.TrainingError):
        model.compile_step(SGD(0.1), 200, threads=2)(feeds)
    assert not recwarn.list


# fit, evaluate, predict


def assert_rows_agree(found, expected, rel):
    assert len(found) == len(expected)
    for row, wanted in zip(found, expected, strict=True):
        for name in ("epoch", "loss", "accuracy", "test_loss", "test_accuracy"):
            value = getattr(wanted, name)
            assert getattr(row, name) == (value if value is None else pytest.approx(value, rel=rel)), name


@every_optimizer
def test_fit_by_a_plan_is_fit_by_plain_evaluation(optimizer):
    model, twin = in_float64("notes_cnn"), in_float64("notes_cnn")
    data = feeds_for(model, 75)
    data = tg.Data("random", (data["Inp"], data["y"]), (data["Inp"][:30], data["y"][:30]))
    settings = {"optimizer": optimizer, "epochs": 3, "batch_size": 16, "seed": 5}
    assert_rows_agree(tg.fit(model, data, **settings), tg.fit(twin, data, **settings, compiled=False), rel=1e-9)
    assert_agree(values(model), values(twin))


@pytest.mark.parametrize("batch_size", [1, 4, 7, 30, 1000])
def test_fit_on_batches_of_any_size(batch_size):
    model, twin = classification(), classification()
    settings = {"optimizer": SGD(0.3), "epochs": 2, "batch_size": batch_size}
    assert_rows_agree(
        tg.fit(model, samples(30), **settings), tg.fit(twin, samples(30), **settings, compiled=False), 1e-10
    )
    assert_agree(values(model), values(twin))


def test_fit_in_float32_by_a_plan_learns_like_plain_evaluation():
    model, twin = load_model("notes_cnn"), load_model("notes_cnn")
    plan, plain = tg.fit(model, epochs=2, seed=0), tg.fit(twin, epochs=2, seed=0, compiled=False)
    assert plan[-1].loss == pytest.approx(plain[-1].loss, rel=1e-2)
    assert plan[-1].test_accuracy == pytest.approx(plain[-1].test_accuracy, abs=0.03)


def test_fit_reports_what_is_not_finite_in_the_words_of_plain_evaluation():
    x, y = samples(12)
    messages = []
    for compiled in (True, False):
        model = regression()
        with pytest.raises(tg.TrainingError) as error:
            tg.fit(model, (x * 1e60, y), SGD(1e60), epochs=9, batch_size=4, seed=0, compiled=compiled)
        messages.append(str(error.value))
    assert messages[0] == messages[1]
    assert re.match(r"epoch \d, step \d: the first value that is not finite is ", messages[0])


@pytest.mark.parametrize("batch_size", [1, 7, 50, 1000])
@pytest.mark.parametrize("name", ["xor", "notes_cnn", "residual"])
def test_evaluation_by_a_plan_is_evaluation_by_plain_evaluation(name, batch_size):
    model = in_float64(name)
    feeds = feeds_for(model, 50)
    data = (feeds[model.features[0]], feeds[model.labels[0]])
    found, expected = (tg.evaluate(model, data, batch_size, compiled=compiled) for compiled in (True, False))
    assert found.loss == pytest.approx(expected.loss, rel=1e-12)
    assert (found.accuracy, found.count) == (pytest.approx(expected.accuracy), expected.count)


@pytest.mark.parametrize("batch_size", [1, 7, 50, 1000])
@pytest.mark.parametrize("name", MODELS)
def test_prediction_by_a_plan_is_prediction_by_plain_evaluation(name, batch_size):
    model = in_float64(name)
    x = feeds_for(model, 50)[model.features[0]]
    found, expected = (model.predict(x, batch_size=batch_size, compiled=compiled) for compiled in (True, False))
    agree((found,), (expected,))


def test_prediction_follows_the_parameters():
    model = classification()
    x, _ = samples(5)
    first = model.predict(x)
    model.parameters["W"].value = [[1.0], [2.0], [3.0]]
    agree((model.predict(x),), (model.predict(x, compiled=False),))
    assert not np.allclose(model.predict(x), first)


def test_evaluation_and_prediction_between_steps_see_each_step():
    model, twin = in_float64("notes_cnn"), in_float64("notes_cnn")
    step, state = model.compile_step(SGD(0.1), 8), initial_state(twin, SGD(0.1))
    for seed in range(3):
        feeds = feeds_for(model, 8, seed)
        step(feeds)
        training_step(twin, SGD(0.1), 8)(feeds, state)
        agree((model.predict(feeds["Inp"]),), (twin.predict(feeds["Inp"], compiled=False),))
        data = (feeds["Inp"], feeds["y"])
        assert tg.evaluate(model, data).loss == pytest.approx(tg.evaluate(twin, data, compiled=False).loss, rel=1e-11)


@pytest.mark.parametrize("compiled", [True, False])
def test_labels_out_of_range_are_refused_by_fit_and_evaluate(compiled):
    x, y = samples(6)
    for call in (
        lambda: tg.fit(classification(), (x, y * 2), compiled=compiled),
        lambda: tg.evaluate(classification(), (x, y * 2), compiled=compiled),
    ):
        with pytest.raises(tg.DataError, match="must lie between 0 and 1"):
            call()


# Copies


def used():
    """A model that has compiled plans of every kind."""
    model = in_float64("notes_cnn")
    step = model.compile_step(SGD(0.1), 8)
    step(feeds_for(model, 8))
    model.predict(feeds_for(model, 9)["Inp"])
    tg.compile(model, 4)(feeds_for(model, 4))
    return model, step


@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_model_with_plans_is_copied(how):
    model, step = used()
    twin = how(model)
    before, x = values(model), feeds_for(model, 9, seed=3)["Inp"]
    agree((twin.predict(x),), (model.predict(x),))
    twin.compile_step(SGD(0.1), 8)(feeds_for(model, 8))
    assert_same_bits(values(model), before)
    step(feeds_for(model, 8))
    assert_agree(values(twin), values(model))


# Threads: how many, the same bits, several at once


def test_number_of_threads_is_that_of_the_environment(monkeypatch):
    monkeypatch.setenv("TINYGRAPH_THREADS", "3")
    assert tg.compile(in_float64("notes_cnn_28"), 100).threads == tg.compile(in_float64("notes_cnn_28"), 100, 3).threads
    monkeypatch.setenv("TINYGRAPH_THREADS", "1")
    assert tg.compile(in_float64("notes_cnn_28"), 100).threads == 1
    assert load_model("xor").compile_step(SGD(0.1), 4).threads == 1


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="how many CPUs are usable is asked of Linux")
def test_number_of_threads_is_otherwise_that_of_the_usable_cpus(monkeypatch):
    monkeypatch.delenv("TINYGRAPH_THREADS", raising=False)
    usable = len(os.sched_getaffinity(0))
    model = load_model("notes_cnn_28")
    assert tg.compile(model, 400).threads == tg.compile(model, 400, usable).threads


def test_number_of_threads_given_counts_more_than_the_environment(monkeypatch):
    monkeypatch.setenv("TINYGRAPH_THREADS", "2")
    assert tg.compile(load_model("notes_cnn_28"), 100, threads=1).threads == 1


@pytest.mark.parametrize("value", ["0", "-1", "two", "", " ", "1.5", "2 threads"])
def test_wrong_number_of_threads_in_the_environment_is_named(value, monkeypatch):
    monkeypatch.setenv("TINYGRAPH_THREADS", value)
    model = load_model("xor")
    for call in (
        lambda: tg.compile(model, 4),
        lambda: model.compile_step(SGD(0.1), 4),
        lambda: tg.fit(model, "xor", epochs=1),
        lambda: model.predict([[0.0, 1.0]]),
    ):
        with pytest.raises(tg.AttributeValueError, match="TINYGRAPH_THREADS"):
            call()


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_any_number_of_threads_computes_the_same_but_for_rounding(threads):
    model = in_float64("notes_cnn_28")
    feeds = feeds_for(model, 50)
    agree(tg.compile(model, 50, threads)(feeds), tg.run(model.graph(50), feeds))


@pytest.mark.parametrize("threads", [1, 2])
def test_same_seed_and_threads_give_the_same_bits(threads):
    results = []
    for _ in range(2):
        model = load_model("notes_cnn_28")
        step = model.compile_step(SGD(0.1), 120, threads)
        losses = [step(feeds_for(model, 120, seed))[1] for seed in range(4)]
        results.append((losses, values(model)))
    assert results[0][0] == results[1][0]
    assert_same_bits(results[0][1], results[1][1])


def test_bits_do_not_depend_on_what_else_the_machine_does():
    model = load_model("notes_cnn_28")
    recording = model.record(120)
    graph = tg.Graph([recording.loss, *tg.grad(recording.loss, list(model.parameters.values()))])
    plan, feeds = tg.compile(graph, 120, 2), feeds_for(model, 120)
    expected = plan(feeds)
    stop = threading.Event()

    def busy():
        while not stop.is_set():
            np.ones((200, 200)) @ np.ones((200, 200))

    others = [threading.Thread(target=busy) for _ in range(3)]
    for other in others:
        other.start()
    try:
        results = [plan(feeds) for _ in range(20)]
    finally:
        stop.set()
    for other in others:
        other.join()
    for result in results:
        for x, wanted in zip(result, expected, strict=True):
            np.testing.assert_array_equal(x, wanted)


def test_fit_gives_the_same_bits_again(monkeypatch):
    monkeypatch.setenv("TINYGRAPH_THREADS", "2")
    runs = []
    for _ in range(2):
        model = load_model("notes_cnn")
        runs.append((tg.fit(model, epochs=1, seed=3, batch_size=128).rows, values(model)))
    assert runs[0][0] == runs[1][0]
    assert_same_bits(runs[0][1], runs[1][1])


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("name", "batch"), [("xor", 4), ("notes_cnn_28", 60)])
def test_one_plan_is_called_from_several_threads_at_once(name, batch, threads):
    model = load_model(name)
    plan = tg.compile(model, batch, threads)
    calls = [feeds_for(model, count, seed) for seed, count in enumerate((batch, batch, batch - 1, batch))]
    expected = [plan(feeds) for feeds in calls]

    def many(turn):
        for _ in range(10 if batch > 10 else 200):
            for x, wanted in zip(plan(calls[turn]), expected[turn], strict=True):
                np.testing.assert_array_equal(x, wanted)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(many, range(4)))


def test_two_models_are_trained_from_two_threads_at_once():
    def train(seed):
        model = load_model("notes_cnn")
        step = model.compile_step(SGD(0.05), 100, threads=2)
        for turn in range(40):
            step(feeds_for(model, 100, seed + turn % 3))
        return values(model)

    expected = [train(seed) for seed in (0, 10)]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(train, (0, 10)))
    for one, other in zip(found, expected, strict=True):
        assert_same_bits(one, other)


def test_predictions_of_one_model_from_several_threads_at_once():
    model = in_float64("notes_cnn")
    x = feeds_for(model, 40)["Inp"]
    expected = model.predict(x, compiled=False)

    def predict(count):
        return [model.predict(x[:count], batch_size=7) for _ in range(10)]

    with ThreadPoolExecutor(4) as pool:
        for count, results in zip((40, 13, 1, 22), pool.map(predict, (40, 13, 1, 22)), strict=True):
            for result in results:
                agree((result,), (expected[:count],))


def test_a_plan_called_while_another_one_runs():
    """Inside an operation of the user's own, which evaluates another graph."""
    inner_x = tg.input("x", (66, 4), "float64")
    inner = tg.compile([tg.tanh(inner_x)], 66, 2)

    @dataclass(frozen=True)
    class Nested(tg.Op):
        def shape(self, x):
            return x.shape

        def forward(self, x):
            return inner({"x": x})[0]

    x = tg.input("x", (66, 4), "float64")
    weight, fed = ballast(66)
    feeds = fed | {"x": samples(88)[0].reshape(66, 4)}
    found = tg.compile([Nested()(x * 2), weight], 66, 2)(feeds)
    np.testing.assert_allclose(found[0], np.tanh(2 * feeds["x"]), rtol=1e-12)


# BLAS is held to one thread while a plan runs


@pytest.fixture
def blas():
    """Two threads for BLAS, and a function that tells how many it may use now."""

    def limits():
        return {library["num_threads"] for library in threadpoolctl.threadpool_info() if library["user_api"] == "blas"}

    with threadpoolctl.threadpool_limits(2, "blas"):
        if limits() != {2}:
            pytest.skip("this BLAS has no threads to hold")
        yield limits


def spying(look):
    """An operation that looks around while it computes."""

    @dataclass(frozen=True)
    class Spy(tg.Op):
        def shape(self, x):
            return x.shape

        def forward(self, x):
            look(x)
            return x + 1

    return Spy()


def spied(look, batch=66):
    """A plan of a graph with such an operation, for a batch that is cut into tiles."""
    x = tg.input("x", (batch, 4), "float64")
    weight, fed = ballast(batch)
    plan = tg.compile([spying(look)(tg.tanh(x)), weight], batch, 2)
    return lambda value: plan(fed | {"x": np.full((batch, 4), value)})


def test_blas_has_one_thread_while_a_plan_runs_and_its_own_again_after(blas):
    seen = []
    spied(lambda x: seen.append(blas()))(1.0)
    assert seen
    assert all(limits == {1} for limits in seen), seen
    assert blas() == {2}


def test_blas_has_its_threads_again_after_a_step(blas):
    load_model("notes_cnn").compile_step(SGD(0.1), 100, 2)(feeds_for(load_model("notes_cnn"), 100))
    assert blas() == {2}


def test_blas_has_its_threads_again_after_a_plan_that_fails(blas):
    def fail(x):
        if x.max() > 0.5:
            raise ValueError("no")

    plan = spied(fail)
    with pytest.raises(tg.OperationError):
        plan(1.0)
    assert blas() == {2}
    plan(0.1)
    assert blas() == {2}


def test_blas_has_its_threads_again_when_two_plans_overlap(blas):
    """The first to begin is the first to end, so each restoring what it found would leave one thread."""
    first_runs, second_runs, first_is_done, seen = threading.Event(), threading.Event(), threading.Event(), []

    def first(x):
        first_runs.set()
        second_runs.wait(2)

    def second(x):
        second_runs.set()
        first_is_done.wait(2)
        seen.append(blas())

    plans = [spied(first), spied(second)]
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(plans[0], 1.0)
        first_runs.wait(2)
        other = pool.submit(plans[1], 1.0)
        one.result(10)
        first_is_done.set()
        other.result(10)
    assert all(limits == {1} for limits in seen), seen
    assert blas() == {2}


# Memory


GROWTH = """
import json, resource, sys
import numpy as np
import tinygraph as tg
from tests.tools.agreement import feeds_for

name, batch, warm, steps, threads = sys.argv[1], *map(int, sys.argv[2:])
model = tg.load_model(name)
step, plan = model.compile_step(tg.SGD(0.01), batch, threads), tg.compile(model, batch, threads)
calls = [feeds_for(model, batch, seed) for seed in range(4)]

def go(count):
    for i in range(count):
        step(calls[i % 4])
        if i % 10 == 0:
            plan(calls[i % 4])

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

go(warm)
before, peak = resident(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
go(steps)
print(json.dumps([resident() - before, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) * 1024]))
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="resident memory is read from Linux's /proc")
@pytest.mark.parametrize(
    ("name", "batch", "steps"), [("xor", 4, 10_000), ("notes_cnn", 32, 600), ("notes_cnn_28", 64, 60)]
)
def test_steps_leave_resident_memory_flat(name, batch, steps):
    arguments = [name, batch, max(20, steps // 10), steps, 2]
    output = subprocess.run(
        [sys.executable, "-c", GROWTH, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    growth, peak = json.loads(output)
    assert growth < 1_500_000
    assert peak < 1_500_000


def test_batches_of_many_sizes_do_not_pile_up():
    model = load_model("notes_cnn_28")
    plan = tg.compile(model, 4, 1)

    def every_size(start):
        for count in range(start, start + 40):
            plan(feeds_for(model, count))

    tracemalloc.start()
    try:
        every_size(1)
        before, _ = tracemalloc.get_traced_memory()
        every_size(41)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after < 4 * before + 5_000_000


def test_a_model_with_plans_is_freed():
    model, _ = used()
    freed = weakref.ref(model)
    del model, _
    gc.collect()
    assert freed() is None


def test_plans_leave_the_handling_of_floating_point_errors_alone():
    with np.errstate(over="raise", under="ignore", divide="warn", invalid="raise"):
        before = np.geterr()
        _, step = used()
        with pytest.raises(tg.TrainingError):
            step(feeds_for(load_model("notes_cnn"), 8) | {"Inp": np.full((8, 1, 8, 8), np.inf)})
        assert np.geterr() == before


# What the step tells about itself


def test_step_describes_forward_backward_and_update():
    step = load_model("notes_cnn").compile_step(SGD(0.1), 32)
    words = set(re.findall(r"[\w.]+", step.describe()))
    assert {"Z1", "P1", "Z3", "a", "cost", "dZ3", "dW3", "dK1", "dK2", "K1_new", "B3_new"} <= words
    assert "bytes" in step.describe()


def test_step_tells_patches_that_are_shared_as_saved_work():
    (line,) = (
        line
        for line in load_model("notes_cnn").compile_step(SGD(0.1), 32).describe().splitlines()
        if re.match(r"\W*saved", line)
    )
    assert re.search(r"\d[\d,]* bytes.*patches", line)


def test_step_is_profiled_without_moving_anything_for_good():
    model = load_model("notes_cnn")
    step = model.compile_step(SGD(0.1, momentum=0.9), 32)
    before, described = values(model), step.describe()
    state = copies(step.state)
    step.profile(feeds_for(model, 32), 3)
    assert step.describe() != described
    assert_same_bits(values(model), before)
    assert_agree(step.state, state)


def test_schedule_of_a_step_is_a_record():
    step = load_model("notes_cnn").compile_step(SGD(0.1), 32)
    record = json.loads(json.dumps(asdict(step.schedule)))
    assert record["batch_size"] == 32
