"""Training by a plan: steps, ``fit``, ``evaluate`` and ``predict`` next to plain evaluation."""

import copy
import json
import re
from dataclasses import asdict, dataclass

import numpy as np
import pytest

import tinygraph as tg
from tests.tools.agreement import MODELS, agree, feeds_for, in_float64
from tests.tools.training import assert_agree, assert_same, classification, dense, regression, samples, values
from tinygraph.model import load_model
from tinygraph.train import SGD, Adam, Optimizer, initial_state, training_step

OPTIMIZERS = [SGD(0.1), SGD(0.1, momentum=0.9), Adam(0.01)]
every_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=["SGD", "momentum", "Adam"])


def copies(state):
    return {name: tuple(np.array(array) for array in arrays) for name, arrays in state.items()}


def as_feeds(data):
    return dict(zip(("x", "y"), data, strict=True))


# ---- The step


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


# ---- Steps that are refused, or whose numbers are not finite


def refused(model, step, feeds, error):
    """Return the message of a step that must move nothing."""
    before, state = values(model), copies(step.state)
    with pytest.raises(error) as raised:
        step(feeds)
    assert_same(values(model), before)
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


# ---- fit, evaluate, predict


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


# ---- What the step tells about itself


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
    assert_same(values(model), before)
    assert_agree(step.state, state)


def test_schedule_of_a_step_is_a_record():
    step = load_model("notes_cnn").compile_step(SGD(0.1), 32)
    record = json.loads(json.dumps(asdict(step.schedule)))
    assert record["batch_size"] == 32
