"""Schedules, weight decay and clipping: against PyTorch, as equations, compiled, and with what a checkpoint keeps."""

import re
from dataclasses import dataclass, replace

import numpy as np
import pytest

import tinygraph as tg
from tests.tools.training import (
    assert_agree,
    assert_same,
    classification,
    dense,
    equations_of,
    regression,
    samples,
    torch_optimizer,
    values,
)
from tinygraph.train import SGD, Adam, AdamW, CosineDecay, Optimizer, RMSprop, Schedule, StepDecay, fit, initial_state
from tinygraph.train.update import STEP_COUNT, over

SCHEDULES = [
    Schedule(0.1, warmup=5),
    StepDecay(0.1, every=7, factor=0.5),
    StepDecay(0.1, every=7, warmup=4),
    CosineDecay(0.1, steps=30),
    CosineDecay(0.1, steps=25, final=0.02, warmup=6),
]


def of_torch(schedule, peer):
    """The schedule in PyTorch's parts."""
    rates = __import__("torch").optim.lr_scheduler
    after = rates.ConstantLR(peer, 1.0)
    if isinstance(schedule, StepDecay):
        after = rates.StepLR(peer, schedule.every, schedule.factor)
    if isinstance(schedule, CosineDecay):
        after = rates.CosineAnnealingLR(peer, schedule.steps - schedule.warmup, schedule.final)
    if not schedule.warmup:
        return after
    before = rates.LinearLR(peer, 1 / schedule.warmup, total_iters=schedule.warmup - 1)
    return rates.SequentialLR(peer, [before, after], [schedule.warmup])


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_schedules_are_pytorchs(schedule):
    torch = pytest.importorskip("torch")
    peer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=schedule.rate)
    rates, length = of_torch(schedule, peer), getattr(schedule, "steps", None) or 30
    for t in range(length):
        np.testing.assert_allclose(schedule(t), peer.param_groups[0]["lr"], rtol=1e-12)
        peer.step()
        rates.step()


OPTIMIZERS = [
    SGD(0.1, weight_decay=0.05),
    SGD(0.1, momentum=0.9, clip_norm=0.3),
    AdamW(0.02),
    AdamW(0.02, 0.7, 0.9, weight_decay=0.3, clip_norm=0.05),
    Adam(0.02, clip_norm=100.0),
    RMSprop(),
    RMSprop(0.02, 0.9, momentum=0.8, epsilon=1e-4, clip_norm=0.5),
]


@pytest.mark.oracle
@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "plain"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_twenty_steps_are_pytorchs(optimizer, compiled):
    torch = pytest.importorskip("torch")
    model, (x, y) = regression(), samples(40)
    W, b = (torch.tensor(p, requires_grad=True) for p in values(model).values())
    peer, peer_losses = torch_optimizer(torch, optimizer, [W, b]), []
    for _ in range(20):
        loss = torch.nn.functional.mse_loss(torch.tensor(x) @ W + b, torch.tensor(y))
        peer.zero_grad()
        loss.backward()
        if optimizer.clip_norm:
            torch.nn.utils.clip_grad_norm_([W, b], optimizer.clip_norm)
        peer.step()
        peer_losses.append(loss.item())
    history = fit(model, (x, y), optimizer, epochs=20, batch_size=40, compiled=compiled)
    # PyTorch divides by the norm + 1e-6.
    close = 1e-4 if optimizer.clip_norm else 1e-10
    np.testing.assert_allclose([row.loss for row in history], peer_losses, rtol=close)
    for found, wanted in zip(values(model).values(), (W, b), strict=True):
        np.testing.assert_allclose(found, wanted.detach().numpy(), rtol=close, atol=close / 10)


EVERYTHING = [
    replace(optimizer, learning_rate=schedule, clip_norm=0.2, weight_decay=0.01)
    for optimizer in (SGD(), SGD(momentum=0.9), AdamW(), RMSprop(momentum=0.5))
    for schedule in (0.1, Schedule(0.1), *SCHEDULES)
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", EVERYTHING, ids=str)
def test_compiled_and_plain_trainings_agree(optimizer, dtype):
    models = [dense("z = x @ W + b\np = sigmoid(z)\ncost = bce(p, y)", dtype=dtype) for _ in range(2)]
    losses = [
        [row.loss for row in fit(model, samples(300), optimizer, epochs=4, batch_size=256, compiled=compiled)]
        for model, compiled in zip(models, (True, False), strict=True)
    ]
    np.testing.assert_allclose(*losses, rtol=1e-5 if dtype == "float32" else 1e-11)
    if dtype == "float64":
        assert_agree(*map(values, models))


@pytest.mark.parametrize("optimizer", EVERYTHING, ids=str)
def test_the_optimizers_state_holds_all_that_a_step_needs(optimizer):
    """A training that goes on with a copy of the state in another process continues bit for bit."""
    x, y = samples(16)
    without, first, second = classification(), classification(), classification()
    long = over(optimizer, 20)
    step, state = without.compile_step(long, 16), initial_state(without, long)
    for _ in range(9):
        step({"x": x, "y": y}, state)
    step, kept = first.compile_step(long, 16), initial_state(first, long)
    for _ in range(5):
        step({"x": x, "y": y}, kept)
    for name, parameter in second.parameters.items():
        parameter.value = first.parameters[name].value
    assert all(type(array) is np.ndarray for arrays in kept.values() for array in arrays)
    step = second.compile_step(long, 16)
    for _ in range(4):
        step({"x": x, "y": y}, kept)
    assert_same(values(second), values(without))


@pytest.mark.parametrize("rate", [CosineDecay(0.5, warmup=4), StepDecay(0.5)], ids=str)
def test_a_training_with_a_schedule_resumes_from_its_checkpoint_bit_for_bit(rate, tmp_path):
    def stop(progress):
        if progress.row is not None and progress.epoch == 4:
            raise tg.StopTraining

    uninterrupted, begun, resumed = classification(), classification(), classification()
    settings = {"optimizer": AdamW(rate, clip_norm=0.3), "epochs": 9, "batch_size": 8}
    history = fit(uninterrupted, samples(30), **settings)
    settings["checkpoint"] = tmp_path / "checkpoint.safetensors"
    fit(begun, samples(30), callback=stop, **settings)
    rows = fit(resumed, samples(30), resume=True, **settings)
    assert [row.loss for row in rows] == [row.loss for row in history]
    assert_same(values(resumed), values(uninterrupted))
    assert not np.array_equal(values(begun)["W"], values(resumed)["W"])


def test_the_length_of_a_schedule_is_that_of_the_training():
    rates, x_y = [], samples(10)

    @dataclass(frozen=True)
    class Watched(Schedule):
        def over(self, steps):
            rates.append(steps)
            return self

    fit(classification(), x_y, SGD(Watched(0.1)), epochs=3, batch_size=4)
    assert rates == [9]
    model, twin = classification(), classification()
    fit(model, x_y, SGD(CosineDecay(0.5, warmup=2)), epochs=3, batch_size=4)
    fit(twin, x_y, SGD(CosineDecay(0.5, steps=9, warmup=2)), epochs=3, batch_size=4)
    assert_same(values(model), values(twin))


def test_the_rate_of_a_compiled_step_follows_its_schedule():
    model, (x, y) = classification(), samples(8)
    step = model.compile_step(SGD(StepDecay(0.5, every=2, factor=0.5)), 8)
    rates = []
    for _ in range(4):
        rates.append(step.learning_rate)
        step({"x": x, "y": y})
    assert rates == [0.5, 0.5, 0.25, 0.25]
    assert int(step.state[STEP_COUNT][0]) == 4
    with pytest.raises(tg.TrainingError, match=r"the learning rate of SGD.* is fixed"):
        step.learning_rate = 0.1


def test_an_input_of_the_model_may_be_called_t():
    model = dense("z = t @ W + b\np = sigmoid(z)\nnorm = z\ncost = bce(p, y)", inputs={"t": [3], "y": [1]})
    history = fit(model, samples(20), SGD(CosineDecay(0.5, warmup=1), clip_norm=1.0), epochs=3, batch_size=5)
    assert history[-1].loss < history[0].loss


def test_a_step_that_is_not_finite_counts_nothing():
    model, (x, y) = regression(), samples(4)
    optimizer = SGD(Schedule(0.1, warmup=3), clip_norm=1.0)
    step, state = model.compile_step(optimizer, 4), initial_state(model, optimizer)
    with pytest.raises(tg.TrainingError):
        step({"x": x * np.inf, "y": y}, state)
    assert int(state[STEP_COUNT][0]) == 0


def test_a_norm_that_overflows_is_an_error_and_no_step_of_zero():
    model, (x, y) = dense("p = x @ W + b\ncost = mse(p, y)", dtype="float32"), samples(4)
    with pytest.raises(tg.TrainingError, match=r"gave inf"):
        fit(model, (x * 1e12, y), SGD(0.1, clip_norm=1.0), epochs=1)


def test_an_optimizer_of_ones_own_may_have_a_schedule_and_a_clip_norm():
    @dataclass(frozen=True)
    class Own(Optimizer):
        learning_rate: object = Schedule(0.2, warmup=4)
        clip_norm: float = 0.1

        def update(self, parameter, gradient, state):
            return parameter - self.learning_rate * gradient, state

    model, twin = classification(), classification()
    for each, optimizer in ((model, Own()), (twin, SGD(Schedule(0.2, warmup=4), clip_norm=0.1))):
        fit(each, samples(20), optimizer, epochs=2, batch_size=5)
    assert_same(values(model), values(twin))


def test_the_update_as_equations():
    optimizer = SGD(CosineDecay(0.1, steps=100), momentum=0.9, weight_decay=0.01, clip_norm=2.0)
    assert equations_of(regression(), optimizer).splitlines() == [
        "learning_rate = 0.1 * ((1 + cos(3.14159 * minimum(t / 100, 1))) / 2)",
        "t_new = t + 1",
        "norm = sqrt(sum(dW * dW) + sum(db * db))",
        "scale = 2 / maximum(norm, 2)",
        "v_W_new = 0.9 * v_W + scale * dW",
        "W_new = W - learning_rate * (v_W_new + 0.01 * W)",
        "v_b_new = 0.9 * v_b + scale * db",
        "b_new = b - learning_rate * (v_b_new + 0.01 * b)",
    ]


def test_a_length_that_only_the_training_knows_is_a_symbol():
    assert "cos(3.14159 * minimum(t / steps, 1))" in equations_of(regression(), SGD(CosineDecay(0.1)))
    with pytest.raises(tg.AttributeValueError, match="CosineDecay: steps is missing; give it, or train with fit"):
        regression().compile_step(SGD(CosineDecay(0.1)), 4)
    with pytest.raises(tg.AttributeValueError, match="StepDecay: every is missing"):
        regression().compile_step(SGD(StepDecay(0.1)), 4)


def test_frozen_parameters_count_neither_for_the_norm_nor_in_the_equations():
    model = regression()
    model.freeze("b")
    assert "norm = sqrt(sum(dW * dW))" in equations_of(model, SGD(0.1, clip_norm=1.0))
    assert "b_new" not in equations_of(model, SGD(0.1, clip_norm=1.0))


BAD_SETTINGS = {
    "Schedule: rate must be positive and finite; found 0.0": lambda: Schedule(0),
    "Schedule: warmup must not be negative; found -1": lambda: Schedule(0.1, warmup=-1),
    "Schedule: warmup must be int; found 2.5 (float)": lambda: Schedule(0.1, warmup=2.5),
    "StepDecay: every must be at least 1; found 0": lambda: StepDecay(0.1, every=0),
    "StepDecay: factor must lie between 0 and 1; found 1.0": lambda: StepDecay(0.1, factor=1),
    "CosineDecay: final must lie in 0 to 0.1, the rate; found 0.2": lambda: CosineDecay(0.1, final=0.2),
    "CosineDecay: steps must be positive; found 0": lambda: CosineDecay(0.1, steps=0),
    "CosineDecay: a warm-up of 5 steps must be shorter than the training, 5 steps": lambda: CosineDecay(
        0.1, steps=5, warmup=5
    ),
    "CosineDecay: a warm-up of 99 steps must be shorter than the training, 2 steps": lambda: fit(
        regression(), samples(8), SGD(CosineDecay(0.1, warmup=99)), epochs=2, batch_size=8
    ),
    "SGD: weight_decay must be finite and not negative; found -1.0": lambda: SGD(weight_decay=-1),
    "SGD: clip_norm must be positive and finite; found 0.0": lambda: SGD(clip_norm=0),
    "RMSprop: rho must lie in 0 to 1, without 1; found 1.0": lambda: RMSprop(rho=1),
    "AdamW: weight_decay must be float; found '1' (str)": lambda: AdamW(weight_decay="1"),
    "no schedule is called 'cosin'; did you mean 'cosine'?": lambda: tg.train.make_optimizer("sgd", schedule="cosin"),
}


@pytest.mark.parametrize("message", BAD_SETTINGS)
def test_settings_out_of_range(message):
    with pytest.raises(tg.TinygraphError, match=re.escape(message)):
        BAD_SETTINGS[message]()
