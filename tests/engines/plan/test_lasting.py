"""Plans compute again only what has changed: parameters, and what is made from parameters alone, stay from run to run."""

import numpy as np
import pytest

import tinygraph as tg

CHANGES = {
    "nothing": lambda p: None,
    "assigned": lambda p: setattr(p, "value", p.value * 2),
    "assigned the same numbers": lambda p: setattr(p, "value", p.value),
}


def network(count, dtype="float32"):
    rng = np.random.default_rng(0)
    x = tg.input("x", (count, 2, 6, 6), dtype)
    k, b = (
        tg.parameter(rng.normal(size=(4, 2, 3, 3)).astype(dtype), name="k"),
        tg.parameter(np.ones((4, 1, 1), dtype), name="b"),
    )
    w, s = tg.parameter(rng.normal(size=(64, 3)).astype(dtype), name="w"), tg.parameter(np.ones(3, dtype), name="s")
    h = tg.relu(tg.conv2d(x, k * tg.exp(tg.reshape(b, (4, 1, 1, 1)))) + b)
    # A parameter is read first, and then nothing but a product of parameters.
    return tg.Graph([tg.flatten(h) @ (w * tg.tanh(s)) + s, tg.tanh(s)]), (k, b, w, s)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("count", [1, 3, 200])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_plan_sees_every_change_of_a_parameter(dtype, count, change):
    graph, parameters = network(count, dtype)
    plan, rng = tg.compile(graph, count), np.random.default_rng(1)
    for parameter in (None, *parameters, None):
        if parameter is not None:
            change(parameter)
        for _ in range(2):
            feeds = {"x": rng.normal(size=(count, 2, 6, 6)).astype(dtype)}
            for found, expected in zip(plan(feeds), tg.run(graph, feeds), strict=True):
                np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_a_value_that_is_fed_for_a_parameter_lasts_for_one_run():
    graph, (k, *_) = network(1)
    plan, x = tg.compile(graph, 1), np.ones((1, 2, 6, 6), np.float32)
    own = plan({"x": x})
    fed = plan({"x": x, "k": np.zeros(k.shape)})
    assert not np.array_equal(own[0], fed[0])
    for _ in range(2):
        np.testing.assert_array_equal(plan({"x": x})[0], own[0])


def test_what_is_made_from_parameters_alone_is_computed_once():
    graph, parameters = network(1)
    plan, calls = tg.compile(graph, 1), []
    program = plan._own[1].phases[0].program
    fixed = [node for node, _ in program.actions if node in program.layout.fixed]
    assert {"exp", "multiply", "tanh"} <= {node.op.name for node in fixed}
    program._calls.append(lambda: calls.append("all"))
    x = np.ones((1, 2, 6, 6), np.float32)
    plan({"x": x}), plan({"x": x})
    assert calls == ["all"]
    parameters[0].value = parameters[0].value * 2
    plan({"x": x}), plan({"x": x})
    assert calls == ["all"] * 2


def test_a_run_that_failed_is_not_taken_for_done():
    graph, (k, *_) = network(1)
    plan, x = tg.compile(graph, 1), np.ones((1, 2, 6, 6), np.float32)
    plan({"x": x})
    program = plan._own[1].phases[0].program
    k.value = k.value * 2

    def interrupt():
        program._calls.pop(0)
        raise KeyboardInterrupt

    program._calls.insert(0, interrupt)
    with pytest.raises(KeyboardInterrupt):
        plan({"x": x})
    np.testing.assert_allclose(plan({"x": x})[0], tg.run(graph, {"x": x})[0], rtol=1e-4, atol=1e-4)


def test_a_model_predicts_with_what_training_has_changed():
    model = tg.load_model("notes_cnn_norm")
    data = np.random.default_rng(0).normal(size=(4, 1, 8, 8)).astype(np.float32)
    labels = np.zeros(model.inputs[model.labels[0]].batch_shape(4), np.float32)
    name, label = model.features[0], model.labels[0]
    step = model.compile_step(tg.SGD(0.1), 4)
    for _ in range(3):
        step({name: data, label: labels})
        for part in (data, data[:1]):
            found, expected = model.predict(part), model.predict(part, compiled=False)
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
