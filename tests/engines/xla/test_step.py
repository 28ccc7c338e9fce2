"""Training steps on XLA give what the plan gives."""

import numpy as np
import pytest

import tinygraph as tg

pytest.importorskip("jax")
from tests.engines.xla.models import batches, difference, model_in

OPTIMIZERS = {"sgd": tg.SGD(0.05), "momentum": tg.SGD(0.05, momentum=0.9), "adam": tg.Adam(1e-3)}


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
