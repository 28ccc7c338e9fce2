"""Prediction and evaluation of many samples: in batches only where that gives what all samples together give."""

import numpy as np
import pytest
from click.testing import CliRunner

import tinygraph as tg
from tinygraph.cli import main
from tinygraph.engines.predict import in_parts

COUNT, FEATURES = 600, 3


def model(equations, loss=None, **more):
    parameters = {"W": {"shape": [FEATURES, 2], "init": "normal"}}
    inputs = {"x": [FEATURES], **({"y": [2]} if loss else {})}
    equations = f"h = x @ W\np = {equations}"
    return tg.Model(inputs, parameters, equations, "p", loss, dtype="float64", **more)


def x(count=COUNT):
    return np.random.default_rng(0).standard_normal((count, FEATURES)) + np.arange(count)[:, None] / count


# What is made of h (m, 2), one row for each sample. Where samples stand alone, the axis along which their outputs are.
ALONE = {
    "tanh(h)": 0,
    "transpose(h)": 1,
    "concatenate([expand_dims(h, 0), expand_dims(-h, 0), expand_dims(h * h, 0)])": 1,
    "softmax(h)": 0,
    "sum(h, axis=1)": 0,
    "reshape(h, (h.shape[0], 1, 2))": 0,
}
MIXED = [
    "mean(h, axis=0)",
    "sum(h)",
    "h - mean(h, axis=0)",
    "softmax(h, axis=0)",
    "h / h.shape[0]",
    "leaky_relu(h, slope=h.shape[0] / 10)",
    "h[:256]",
    "flip(h, axis=0)",
    "reshape(h, (2, -1))",
    "h * broadcast_to(sum(W), (h.shape[0], 2))",
    "cumsum(h, axis=0)",
]


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("batch_size", [256, 100, 1])
@pytest.mark.parametrize("equations", [*ALONE, *MIXED])
def test_predictions_are_those_of_all_samples_together(equations, batch_size, compiled):
    made = model(equations)
    (wanted,) = tg.run(made.record(COUNT).output, {"x": x()})
    found = made.predict(x(), batch_size=batch_size, compiled=compiled)
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("equations", [*ALONE, *MIXED])
def test_which_models_are_predicted_in_batches(equations):
    found = in_parts(model(equations), COUNT, 256, "output")
    axis = None if found is None else getattr(found[0].state, "axis", None)
    assert axis == ALONE.get(equations)


def test_what_the_last_batch_would_change_is_evaluated_together():
    """A last batch of one sample would lose its first axis."""
    made = model("squeeze(h)")
    assert made.predict(x(257)).shape == (257, 2)


FIXED = """batch = 4
[inputs]
x = [3]
[parameters]
W = {{ shape = [3, 2], init = "normal" }}
[model]
equations = "p = {}"
output = "p"
loss = false
"""


def test_a_model_for_one_size_of_batch_joins_rows_or_refuses():
    rows = tg.Model.from_toml(FIXED.format("x @ W"))
    assert rows.predict(np.ones((8, 3))).shape == (8, 2)
    columns = tg.Model.from_toml(FIXED.format("transpose(x @ W)"))
    assert columns.predict(np.ones((4, 3))).shape == (2, 4)
    with pytest.raises(tg.DataError, match="predict 4 samples at a time"):
        columns.predict(np.ones((8, 3)))


LOSSES = [
    "cost = mse(p, y)",
    "cost = sum((p - y) ** 2)",
    "cost = sqrt(mse(p, y))",
    "cost = mse(p, y) + 0.1 * sum(W ** 2)",
    "cost = max(abs(p - y))",
    "cost = mse(p - mean(p, axis=0), y)",
    "cost = sum((p - y) ** 2) / p.shape[0]",
    "cost = mse(p, y) * mse(p, y)",
]


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("loss", LOSSES)
def test_losses_are_those_of_all_samples_together(loss, compiled):
    made = model(f"h\n{loss}", "cost")
    feeds = {"x": x(), "y": x()[:, :2]}
    wanted = tg.run(made.record(COUNT).loss, feeds)[0]
    found = tg.evaluate(made, (feeds["x"], feeds["y"]), batch_size=100, compiled=compiled)
    assert found.loss == pytest.approx(float(wanted), rel=1e-12)
    assert found.count == COUNT


def test_a_mean_over_samples_is_evaluated_in_batches(monkeypatch):
    made = model("h\ncost = mse(p, y)", "cost")
    sizes = []
    plan_for = made.plan_for
    monkeypatch.setattr(made, "plan_for", lambda count: sizes.append(count) or plan_for(count))
    tg.evaluate(made, (x(), x()[:, :2]))
    assert sizes == [256, 256, 88]


def test_an_input_without_samples_does_not_say_how_many_there_are():
    made = tg.Model(
        {"scale": {"shape": [3], "batched": False}, "x": [3], "y": [2]},
        {"W": {"shape": [3, 2], "init": "normal"}},
        "p = (x * scale) @ W\ncost = mse(p, y)",
        "p",
        "cost",
    )
    feeds = {"scale": np.arange(3.0), "x": x(5), "y": x(5)[:, :2]}
    wanted = tg.run(made.graph(5), feeds)
    for found, right in zip(tg.compile(made, 8)(feeds), wanted, strict=True):
        np.testing.assert_allclose(found, right, rtol=1e-5)
    assert made.compile_step(tg.SGD(0.1), 8)(feeds)[1] == pytest.approx(float(wanted[1]), rel=1e-5)
    many = made.predict({"scale": feeds["scale"], "x": x()})
    np.testing.assert_allclose(
        many, tg.run(made.record(COUNT).output, {"scale": feeds["scale"], "x": x()})[0], rtol=1e-5
    )


TOGETHER = """
[inputs]
x = [64]
y = {{ shape = [], dtype = "int64" }}
[parameters]
W = {{ shape = [64, 10], init = "normal" }}
[model]
equations = '''
z = x @ W
cost = cross_entropy(z, y)
p = {}
'''
output = "p"
loss = "cost"
"""


@pytest.mark.parametrize("equation", ["sum(z)", "mean(z, axis=0)", "transpose(z)"])
def test_outputs_without_rows_on_the_command_line(equation, tmp_path):
    def command(*more):
        return CliRunner().invoke(main, ["predict", str(tmp_path / "m.toml"), *more])

    made = tg.Model.from_toml(TOGETHER.format(equation))
    made.save(tmp_path / "w.safetensors")
    (tmp_path / "m.toml").write_text(TOGETHER.format(equation))
    features = np.random.default_rng(0).standard_normal((300, 64)).astype("float32")
    np.savez(tmp_path / "d.npz", x=features)
    given = ["--weights", str(tmp_path / "w.safetensors"), "--data", str(tmp_path / "d.npz")]
    done = command(*given, "--out", str(tmp_path / "o.npz"))
    assert done.exit_code == 0, done.output
    assert "no row for each sample" in done.output
    (wanted,) = tg.run(made.record(300).output, {"x": features})
    np.testing.assert_allclose(np.load(tmp_path / "o.npz")["output"], wanted, rtol=1e-4, atol=1e-4)
    refused = command(*given, "--out", str(tmp_path / "o.csv"))
    assert refused.exit_code != 0
    assert "write it as .npz" in refused.output
    assert not (tmp_path / "o.csv").exists()


def test_only_inputs_that_hold_samples_say_how_many_samples_are_fed():
    scaled = tg.Model(
        {"t": {"shape": [5], "batched": False}, "x": [3], "y": [1]},
        {"W": {"shape": [3, 1], "init": "he_normal"}},
        "a = sigmoid((x * mean(t)) @ W)\ncost = bce(a, y)",
        "a",
        "cost",
    )
    feeds = {"t": np.ones(5), "x": np.ones((2, 3)), "y": np.ones((2, 1))}
    assert tg.check(scaled, feeds).ok
    assert "float32 (2, 3)" in str(tg.draw(scaled, feeds=feeds))
    for evaluate in (tg.compile(scaled, 4), scaled.compile_step("sgd", 4)):
        with pytest.raises(tg.FeedError, match="input 'x' was fed no sample"):
            evaluate(feeds | {"x": np.ones((0, 3))})
        with pytest.raises(tg.FeedError, match="rows of unequal length"):
            evaluate(feeds | {"x": [[1, 2, 3], [1, 2]]})


@pytest.mark.parametrize("batch_size", [256, 1, COUNT - 1])
def test_a_model_that_does_not_take_single_samples(batch_size):
    """What is asked of the model before it computes must not need an evaluation of one sample."""
    made = model("top_k(h, 2, axis=0)")
    (wanted,) = tg.run(made.record(COUNT).output, {"x": x()})
    np.testing.assert_allclose(made.predict(x(), batch_size=batch_size), wanted, rtol=1e-12)
    with pytest.raises(tg.ModelError, match="k must lie in 0 to 1"):
        made.predict(x(1))


def test_a_loss_that_does_not_take_single_samples():
    made = model("h\ncost = mean(abs(top_k(p - y, 2, axis=0)))", "cost")
    y = np.zeros((COUNT, 2))
    (wanted,) = tg.run(made.record(COUNT).loss, {"x": x(), "y": y})
    for batch_size in (256, COUNT - 1):
        assert tg.evaluate(made, (x(), y), batch_size=batch_size).loss == pytest.approx(float(wanted))
    assert len(tg.fit(made, (x(), y), tg.SGD(0.1), epochs=1, batch_size=300)) == 1
