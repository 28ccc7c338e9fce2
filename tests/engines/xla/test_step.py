"""Training steps on XLA give what the plan gives."""

import copy

import numpy as np
import pytest

import tinygraph as tg

jax = pytest.importorskip("jax")
from tests.engines.xla.models import OPTIMIZERS, batches, difference, model_in


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_twenty_steps_give_the_losses_of_the_plan(optimizer):
    losses, moved = difference("xor", OPTIMIZERS[optimizer], "float64", 4)
    assert losses < 1e-12
    assert moved < 1e-11


def test_what_the_model_gets_between_steps_is_pushed():
    model, twin = model_in("float64", "xor"), model_in("float64", "xor")
    step, plan = model.compile_step("adam", 4, engine="xla"), twin.compile_step("adam", 4)
    feeds = next(batches(model, 4, 1))
    for _ in range(3):
        assert step(feeds)[1] == pytest.approx(plan(feeds)[1], rel=1e-12)
    step.pull()
    for net in (model, twin):
        net.parameters["W1"].value = net.parameters["W1"].value + 1
    assert step(feeds)[1] == pytest.approx(plan(feeds)[1], rel=1e-12)


def test_nothing_moves_where_a_value_is_not_finite_and_the_error_names_it():
    model = model_in("float32", "xor")
    step, feeds = model.compile_step(tg.SGD(0.5), 4, engine="xla"), next(batches(model, 4, 1))
    before = [x.value.copy() for x in model.parameters.values()]
    with pytest.raises(tg.TrainingError, match="the input 'x' itself: nan in 1 of 8 elements"):
        step(feeds | {"x": np.where(np.arange(8).reshape(4, 2) == 3, np.nan, feeds["x"])})
    step.pull()
    assert all(np.array_equal(x, y.value) for x, y in zip(before, model.parameters.values(), strict=True))


def test_a_refused_label_is_named_by_plain_evaluation():
    model = model_in("float32", "notes_ann")
    step, feeds = model.compile_step(tg.SGD(0.5), 4, engine="xla"), next(batches(model, 4, 1))
    label = next(name for name in model.labels)
    with pytest.raises(tg.DataError, match="found"):
        step(feeds | {label: feeds[label] + 12})


def test_the_model_has_the_newest_values_whoever_reads_them():
    model, twin = model_in("float64", "xor"), model_in("float64", "xor")
    step, plan, feeds = (
        model.compile_step("adam", 4, engine="xla"),
        twin.compile_step("adam", 4),
        next(batches(model, 4, 1)),
    )
    reads = [
        lambda net: net.parameters["W1"].value,
        lambda net: net.predict(feeds["x"]),
        lambda net: net(feeds["x"]).value,
        lambda net: copy.deepcopy(net).parameters["W2"].value,
        lambda net: net.predict(feeds["x"], engine="xla" if net is model else "plan"),
    ]
    for read in reads:
        step(feeds), plan(feeds)
        np.testing.assert_allclose(read(model), read(twin), rtol=1e-12)


def test_the_learning_rate_is_set_and_follows_a_schedule():
    model, twin = model_in("float64", "xor"), model_in("float64", "xor")
    for optimizer in (tg.SGD(0.5), tg.SGD(tg.StepDecay(0.5, every=2, factor=0.5))):
        step, plan = model.compile_step(optimizer, 4, engine="xla"), twin.compile_step(optimizer, 4)
        for feeds in batches(model, 4, 5):
            assert step(feeds)[1] == pytest.approx(plan(feeds)[1], rel=1e-12)
            assert step.learning_rate == plan.learning_rate
        model.predict(feeds["x"])
        if isinstance(optimizer.learning_rate, float):
            step.learning_rate = plan.learning_rate = 0.1
            assert step(feeds)[1] == pytest.approx(plan(feeds)[1], rel=1e-12)
            assert step(feeds)[1] == pytest.approx(plan(feeds)[1], rel=1e-12)
        else:
            with pytest.raises(tg.TrainingError, match="is fixed"):
                step.learning_rate = 0.1


def test_a_copy_of_a_step_has_its_own_parameters_and_state():
    model, feeds = model_in("float64", "xor"), next(batches(model_in("float64", "xor"), 4, 1))
    step = model.compile_step("adam", 4, engine="xla")
    step(feeds)
    other = copy.deepcopy(step)
    assert other.model is not model
    first = other(feeds)[1]
    assert [other(feeds)[1] < first, step(feeds)[1]] == [True, first]


def test_a_training_is_that_of_the_plan():
    model, twin = model_in("float64", "xor"), model_in("float64", "xor")
    found = tg.fit(model, "xor", "adam", epochs=3, batch_size=3, engine="xla", progress=False)
    wanted = tg.fit(twin, "xor", "adam", epochs=3, batch_size=3, progress=False)
    assert [row.loss for row in found] == pytest.approx([row.loss for row in wanted], rel=1e-12)
    assert [row.accuracy for row in found] == [row.accuracy for row in wanted]


@pytest.mark.parametrize(
    ("choice", "error"),
    [
        ({"engine": "xls"}, "no engine 'xls'; did you mean 'xla'"),
        ({"engine": "xla", "precision": "half"}, "no precision 'half'"),
        ({"engine": "xla", "kernels": "numba"}, "those of the plan"),
        ({"devices": 2}, "devices=2 are chosen with engine='xla'"),
    ],
)
def test_wrong_choices_are_refused(choice, error):
    model = tg.load_model("xor")
    for use in (lambda: tg.compile(model, 4, **choice), lambda: model.compile_step("sgd", 4, **choice)):
        with pytest.raises(tg.TinygraphError, match=error):
            use()


@pytest.mark.parametrize("missing", ["jax", "jaxlib"])
def test_without_jax_or_its_library_the_error_names_the_extra(monkeypatch, missing):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == missing else object())
    assert not tg.engines()[1].available
    with pytest.raises(tg.TinygraphError, match=r"needs the package jax: pip install 'tinygraph-engine\[xla\]'"):
        tg.load_model("xor").compile_step("sgd", 4, engine="xla")


def test_a_wrong_batch_is_refused_as_by_the_plan():
    step = tg.load_model("xor").compile_step("sgd", 4, engine="xla")
    with pytest.raises(tg.FeedError, match="fed"):
        step({"x": np.zeros((4, 2))})
    with pytest.raises(tg.FeedError, match="was fed shape"):
        step({"x": np.zeros((4, 3)), "y": np.zeros((4, 1))})
    with pytest.raises(tg.FeedError, match="no sample"):
        step({"x": np.zeros((0, 2)), "y": np.zeros((0, 1))})


def test_a_device_without_enough_memory_is_a_short_error_and_the_model_keeps_the_values_of_the_last_pull():
    x = tg.input("x", (10**7, 1), "float32")
    with pytest.raises(tg.EngineError, match=r"^XLA failed: RESOURCE_EXHAUSTED: Out of memory allocating \d+ bytes\.$"):
        tg.compile(x @ tg.transpose(x), engine="xla")({"x": np.ones((10**7, 1), "f")})

    model = model_in("float64", "xor")
    step, feeds = model.compile_step("adam", 4, engine="xla"), next(batches(model, 4, 1))
    step(feeds)
    step.pull()
    before, second = {key: x.value.copy() for key, x in model.parameters.items()}, step(feeds)[1]

    def fails(held, fed):
        for array in held:
            array.delete()
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory\nBufferAssignment: ...")

    program = step._for(4)[1]
    works, program._run = program._run, fails
    with pytest.raises(tg.EngineError, match=r"Out of memory$"):
        step(feeds)
    program._run = works
    step.pull()
    assert all(np.array_equal(x.value, before[key]) for key, x in model.parameters.items())
    assert step(feeds)[1] == second
