"""Updates of small parameters as one: the same numbers as one by one, whatever an optimizer computes."""

import copy
import pickle
from dataclasses import dataclass

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.engines.plan import joined as module
from tinygraph.engines.plan.joined import Join, joined
from tinygraph.engines.plan.node import nodes_of
from tinygraph.graph import topological
from tinygraph.train.optimizers import Optimizer
from tinygraph.train.step import initial_state, training_step


@dataclass(frozen=True)
class Scaled(Optimizer):
    """The gradient scaled by norms of each parameter; the state is a number and means over rows."""

    def initial_state(self, parameter):
        return np.zeros((), parameter.dtype), np.zeros(parameter.shape[:1], parameter.dtype)

    def update(self, parameter, gradient, state):
        norm, rows = state
        norm = 0.5 * norm + tg.sqrt(tg.sum(gradient * gradient))
        axes = tuple(range(1, len(parameter.shape)))
        rows = 0.5 * rows + (tg.mean(gradient * gradient, axis=axes) if axes else gradient * gradient)
        return parameter - 0.1 * gradient / (norm + 1.0), (norm, rows)


@dataclass(frozen=True)
class OnlyMatricesDecay(Optimizer):
    """Another update for biases than for matrices."""

    def update(self, parameter, gradient, state):
        decayed = gradient + 0.01 * parameter if len(parameter.shape) > 1 else gradient
        return parameter - 0.1 * decayed, state


OPTIMIZERS = [
    tg.SGD(0.1),
    tg.SGD(0.1, momentum=0.9, weight_decay=0.01),
    tg.SGD(0.1, clip_norm=0.5),
    tg.Adam(0.01),
    tg.AdamW(tg.CosineDecay(0.01, warmup=2, steps=9)),
    tg.RMSprop(0.01, momentum=0.5),
    Scaled(),
    OnlyMatricesDecay(),
]


def feeds_of(model, count, seed=0):
    rng = np.random.default_rng(seed)
    labels = {name: rng.integers(0, 2, i.batch_shape(count)) for name, i in model.inputs.items()}
    values = {name: x if name in model.labels else rng.normal(size=x.shape) for name, x in labels.items()}
    return {name: x.astype(model.inputs[name].dtype) for name, x in values.items()}


def trained(model, optimizer, count):
    step = model.compile_step(optimizer, count)
    return [step(feeds_of(model, count, i)) for i in range(4)], step.state


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
@pytest.mark.parametrize(
    ("name", "count"), [("notes_cnn", 1), ("notes_cnn_norm", 3), ("lenet5", 1), ("notes_cnn", 130)]
)
def test_a_joined_update_gives_the_numbers_of_each_parameters_own(name, count, optimizer, monkeypatch):
    model, other = tg.load_model(name), tg.load_model(name)
    found, state = trained(model, optimizer, count)
    monkeypatch.setattr(module, "_MOST_BYTES", 0)
    expected, state2 = trained(other, optimizer, count)
    for (y, loss), (y2, loss2) in zip(found, expected, strict=True):
        np.testing.assert_allclose(y, y2, rtol=1e-4, atol=1e-6)
        assert loss == pytest.approx(loss2, rel=1e-5)
    for key, parameter in model.parameters.items():
        np.testing.assert_allclose(parameter.value, other.parameters[key].value, rtol=1e-4, atol=1e-6)
        for array, array2 in zip(state.get(key, ()), state2.get(key, ()), strict=True):
            np.testing.assert_allclose(array, array2, rtol=1e-4, atol=1e-6)
            assert (array.dtype, array.shape) == (array2.dtype, array2.shape)


@pytest.mark.parametrize("optimizer", OPTIMIZERS[:-2], ids=repr)
def test_most_calls_of_an_update_are_made_once(optimizer):
    step = tg.load_model("notes_ann").compile_step(optimizer, 1)
    names = [x.operation for x in step.schedule.steps]
    assert sum(x.shape == (2625,) and x.operation == "subtract" for x in step.schedule.steps) == 1
    assert names.count("join") >= 2
    # The graph still has the update of each parameter.
    assert {f"{name}_new" for name in step.model.parameters} <= set(step.graph.labels.values())


def test_gradients_are_computed_where_they_are_joined():
    step = tg.load_model("notes_ann").compile_step(tg.SGD(0.1), 1)
    program = step._own[1].phases[0].program
    joins = [(node, calls) for node, calls in program.actions if isinstance(node.op, Join)]
    assert len(joins) == 2
    assert all(not calls for _, calls in joins)


def test_values_that_a_user_holds_do_not_change():
    model = tg.load_model("notes_ann")
    step = model.compile_step(tg.Adam(0.01), 1)
    held = []
    for i in range(3):
        step(feeds_of(model, 1, i))
        arrays = [p.value for p in model.parameters.values()] + [x for each in step.state.values() for x in each]
        held.append([(x, x.copy()) for x in arrays])
        assert not any(p.value.flags.writeable for p in model.parameters.values())
        assert not any(np.may_share_memory(x, y) for k, x in enumerate(arrays) for y in arrays[:k])
    for x, then in (pair for arrays in held for pair in arrays):
        np.testing.assert_array_equal(x, then)


def test_values_assigned_and_states_given_between_steps_are_used():
    model, other = tg.load_model("notes_ann"), tg.load_model("notes_ann")
    step, plain = model.compile_step(tg.Adam(0.01), 1), training_step(other, tg.Adam(0.01), 1)
    state, state2 = (initial_state(m, tg.Adam(0.01)) for m in (model, other))
    for i in range(3):
        for m, s in ((model, state), (other, state2)):
            m.parameters["B1"].value = np.full(32, 0.1 * i)
            # The counts of steps need not be the same for all parameters.
            s["W2"] = (*s["W2"][:2], np.array(7 * i, np.int64))
        step(feeds_of(model, 1, i), state)
        plain(feeds_of(other, 1, i), state2)
    for key, parameter in model.parameters.items():
        np.testing.assert_allclose(parameter.value, other.parameters[key].value, rtol=1e-4, atol=1e-6)
    assert [int(each[-1]) for each in state.values()] == [int(each[-1]) for each in state2.values()]


def test_two_steps_that_share_parameters_each_see_what_the_other_did():
    model, other = tg.load_model("notes_ann"), tg.load_model("notes_ann")
    a, b = model.compile_step(tg.SGD(0.1), 1), model.compile_step(tg.Adam(0.01), 2)
    c, d = training_step(other, tg.SGD(0.1), 1), training_step(other, tg.Adam(0.01), 2)
    states = initial_state(other, tg.SGD(0.1)), initial_state(other, tg.Adam(0.01))
    for i in range(3):
        a(feeds_of(model, 1, i)), b(feeds_of(model, 2, i))
        c(feeds_of(model, 1, i), states[0]), d(feeds_of(model, 2, i), states[1])
    for key, parameter in model.parameters.items():
        np.testing.assert_allclose(parameter.value, other.parameters[key].value, rtol=1e-4, atol=1e-5)


def test_copies_and_pickles_go_on_alone():
    model = tg.load_model("notes_ann")
    step = model.compile_step(tg.Adam(0.01), 1)
    step(feeds_of(model, 1))
    for twin in (copy.deepcopy(step), pickle.loads(pickle.dumps(step))):
        before = {name: p.value for name, p in model.parameters.items()}
        twin(feeds_of(model, 1, 1))
        assert all(p.value is before[name] for name, p in model.parameters.items())
        assert not np.array_equal(twin.model.parameters["W1"].value, before["W1"])


@pytest.mark.parametrize("optimizer", [tg.SGD(1.0), tg.Adam(1.0)], ids=repr)
def test_a_value_that_is_not_finite_is_named_and_changes_nothing(optimizer):
    model = tg.load_model("notes_ann")
    step = model.compile_step(optimizer, 1)
    step(feeds_of(model, 1))
    model.parameters["B3"].value = [np.inf]
    before = {name: p.value for name, p in model.parameters.items()}
    state = dict(step.state)
    with pytest.raises(tg.TrainingError, match="the parameter 'B3' itself: inf in 1 of 1 element"):
        step(feeds_of(model, 1, 1))
    assert all(p.value is before[name] for name, p in model.parameters.items())
    assert all(step.state[name] is state[name] for name in state)


def test_new_values_stay_where_the_next_step_reads_them_unless_something_came_between():
    model, other = tg.load_model("notes_ann"), tg.load_model("notes_ann")
    step, plain = model.compile_step(tg.SGD(0.1), 1), training_step(other, tg.SGD(0.1), 1)
    state = initial_state(other, tg.SGD(0.1))
    program = step._own[1].phases[0].program
    bad = feeds_of(model, 1) | {"X": np.full((1, 1, 8, 8), np.inf, np.float32)}

    def fail():
        with pytest.raises(tg.TrainingError, match="not finite"):
            step(bad)

    def assign():
        for m in (model, other):
            m.parameters["W1"].value = m.parameters["W1"].value * 2

    between = [
        lambda: None,
        fail,
        lambda: step.profile(feeds_of(model, 1), 1),
        assign,
        lambda: step(feeds_of(model, 3)),
    ]
    for i, act in enumerate(between):
        step(feeds_of(model, 1, i))
        plain(feeds_of(other, 1, i), state)
        assert len(program.held) == 6
        act()
        if i == len(between) - 1:
            training_step(other, tg.SGD(0.1), 3)(feeds_of(other, 3), state)
        step(feeds_of(model, 1, i + 50))
        plain(feeds_of(other, 1, i + 50), state)
        for key, parameter in model.parameters.items():
            np.testing.assert_allclose(parameter.value, other.parameters[key].value, rtol=1e-4, atol=1e-5)


def test_large_updates_are_joined_in_parts(monkeypatch):
    monkeypatch.setattr(module, "_MOST_BYTES", 16 * 4)
    leaves = [tg.input(f"x{i}", (size,)) for i, size in enumerate((2, 40, 7, 8, 3, 1))]
    found = joined(nodes_of(tg.Graph([x * 2.0 for x in leaves])), [range(6)])
    assert [node.shape for node in found[6:]] == [(15,), (6,)]
    assert [node.op.name for node in found[:6]] == ["part", "multiply", "part", "part", "part", "part"]


def test_what_differs_is_computed_for_each_and_then_joined():
    a, b, two = tg.input("a", (2,)), tg.input("b", (3,)), tg.constant(np.float32(2))
    found = joined(nodes_of(tg.Graph([tg.exp(a) * two, tg.tanh(b) * two])), [[0, 1]])
    assert [x.op.name for x in topological(found) if x.op] == ["exp", "tanh", "join", "multiply", "part", "part"]
    found = joined(nodes_of(tg.Graph([a * 2.0, b * 3.0])), [[0, 1]])
    assert [x.op.name for x in topological(found) if x.op] == ["join", "join", "spread", "multiply", "part", "part"]


def test_a_deep_gradient_is_no_deep_recursion():
    outputs = []
    for i in range(2):
        y = x = tg.input(f"x{i}", (2,))
        for _ in range(3000):
            y = y + x
        outputs.append(y)
    assert joined(nodes_of(tg.Graph(outputs)), [[0, 1]])[2].shape == (4,)


def test_parameters_of_different_dtypes_are_joined_apart():
    leaves = [tg.input(f"x{i}", (2,), dtype) for i, dtype in enumerate(("float32", "float64") * 2)]
    found = joined(nodes_of(tg.Graph([x * x for x in leaves])), [range(4)])
    assert [str(node.dtype) for node in found[4:]] == ["float64", "float32"]
