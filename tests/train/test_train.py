"""Training: the step, the loop, interruption, and the main job."""

import re
import signal
from pathlib import Path

import numpy as np
import pytest

import tinygraph as tg
from tests.golden.notes_cnn_batches import LEARNING_RATE, weights_and_batches
from tests.tools.training import assert_same, classification, dense, every_optimizer, samples, values
from tinygraph.model import Model, load_model
from tinygraph.train import (
    SGD,
    Adam,
    Data,
    TrainingInterrupted,
    check_data,
    evaluate,
    fit,
    initial_state,
    load_data,
    majority_class_baseline,
    training_step,
)
from tinygraph.train.measure import batches
from tinygraph.train.step import assign_all

GOLDEN = Path(__file__).parents[1] / "golden" / "notes_cnn.npz"
NOTES_CNN = Path(__file__).parents[2] / "models" / "notes_cnn.toml"


def assert_close(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-12, atol=1e-15, err_msg=name)


# ---- The step


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


# ---- The loop


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


AN_OPTIMIZER = (
    "optimizer must be an optimizer, such as SGD(0.1), or one of the names 'sgd', 'adam', 'adamw' and 'rmsprop'; found "
)
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
    f"{AN_OPTIMIZER}int": lambda: training_step(classification(), 3, 4),
    "load_data takes the name of a data set, or the path of a file or folder; found 3": lambda: load_data(3),
    "the path of a file or folder; found b'xor'": lambda: load_data(b"xor"),
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
    with pytest.raises(tg.DataError, match="labels 'y': bce: labels must lie between 0 and 1"):
        fit(model, (x, y + 1), epochs=1)
    with pytest.raises(tg.DataError, match="x_test is not finite"):
        fit(model, Data("half bad", (x, y), (x * np.nan, y)), epochs=1)
    assert_same(values(model), before)


# ---- Interruption


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


# ---- The main job


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
