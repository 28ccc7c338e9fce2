"""A metric that the model declares: recorded in every step, no part of the gradient, shown in place of the accuracy."""

import io
import pickle

import numpy as np
import pytest

import tinygraph as tg
from tests.tools.training import assert_agree, assert_same, classification, dense, samples, values
from tinygraph.train import SGD, Data, initial_state, training_step
from tinygraph.train.metrics import decision_rule
from tinygraph.train.progress import ProgressLine

OWN_LOSS = "p = sigmoid(x @ W + b)\ncost = mean((p - y) * (p - y))\n"
FORMS = {
    "one number": "acc = mean((p > 0.5) == (y > 0.5))",
    "of each sample": "acc = ((p > 0.5) == (y > 0.5))[:, 0]",
    "a column": "acc = where((p > 0.5) == (y > 0.5), 1, 0)",
}


def own(metric=FORMS["one number"], **changes):
    return dense(OWN_LOSS + metric, metric="acc", **changes)


def share(model, data):
    x, y = data
    return float(np.mean((model.predict(x) > 0.5) == (y > 0.5)))


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("form", FORMS)
def test_a_metric_is_the_accuracy_of_ones_own_loss(form, compiled):
    model, data, test = own(FORMS[form]), samples(50), samples(20, seed=1)
    before = share(model, data)
    history = tg.fit(model, Data("both", data, test), SGD(0.5), epochs=2, batch_size=64, compiled=compiled)
    assert history[0].accuracy == pytest.approx(before)
    assert history[1].test_accuracy == share(model, test)
    assert tg.evaluate(model, data, compiled=compiled).accuracy == share(model, data)


@pytest.mark.parametrize("compiled", [True, False])
def test_the_mean_over_an_epoch_is_weighted_by_samples(compiled):
    model, (x, y) = own(), samples(10)
    step = (model.compile_step if compiled else lambda rule, count: training_step(model, rule, count))(SGD(0.1), 8)
    rest = (model.compile_step if compiled else lambda rule, count: training_step(model, rule, count))(SGD(0.1), 2)
    order, parts, state = np.random.default_rng([0, 1]).permutation(10), [], initial_state(model, SGD(0.1))
    for at, one in ((order[:8], step), (order[8:], rest)):
        parts.append(share(model, (x[at], y[at])))
        one({"x": x[at], "y": y[at]}, state)
        assert one.metric == parts[-1]
    history = tg.fit(own(), (x, y), SGD(0.1), epochs=1, batch_size=8, seed=0, compiled=compiled)
    assert history[0].accuracy == pytest.approx((8 * parts[0] + 2 * parts[1]) / 10)


def test_a_metric_moves_nothing():
    alone, measured = dense(OWN_LOSS), own("acc = mean(abs(p - y))")
    for model in (alone, measured):
        tg.fit(model, samples(40), epochs=3, batch_size=16)
    assert_same(values(measured), values(alone))
    for model in (alone, measured):
        tg.fit(model, samples(40), epochs=1, batch_size=16, compiled=False)
    assert_agree(values(measured), values(alone))


def test_a_metric_replaces_the_accuracy_of_a_decision():
    model = dense(
        "z = x @ W + b\np = sigmoid(z)\ncost = bce(p, y)\nrecall = sum(where(y > 0.5, p, 0)) / sum(y)", metric="recall"
    )
    x, y = samples(30)
    found = tg.evaluate(model, (x, y))
    p = model.predict(x)
    assert found.accuracy == pytest.approx(np.sum(p * y) / np.sum(y))
    assert str(found).startswith(f"loss {found.loss:.4f}, recall {found.accuracy:.4f}, 30 samples\n\nconfusion")
    # The ratio of two sums is not the mean of those of batches.
    assert tg.evaluate(model, (x, y), batch_size=7).accuracy == found.accuracy
    assert decision_rule(model.record()) is not None


def test_it_has_its_own_name_everywhere(tmp_path):
    model, stream, seen = own(), io.StringIO(), []
    line = ProgressLine(stream)
    history = tg.fit(model, Data("both", samples(20), samples(9, 1)), epochs=2, callback=[line, seen.append])
    text = f"acc {history[1].accuracy:.4f}, test {history[1].test_accuracy:.4f}"
    assert text in stream.getvalue()
    assert seen[0].accuracy == history[0].accuracy
    assert str(history).splitlines()[0].split() == ["epoch", "loss", "acc", "test_loss", "test_acc", "seconds"]
    history.save_csv(tmp_path / "history.csv")
    assert (tmp_path / "history.csv").read_text().startswith("epoch,loss,acc,test_loss,test_acc,seconds\n1,")
    view = history._repr_html_()
    assert "test_acc" in view
    assert "accuracy" not in view
    pytest.importorskip("matplotlib")
    history.curve(tmp_path / "curve.svg")
    assert "<!-- acc -->" in (tmp_path / "curve.svg").read_text()


def test_a_metric_that_is_not_a_number_ends_nothing():
    model = own("acc = sum(p) / (sum(p) - sum(p))")
    history = tg.fit(model, samples(20), epochs=2)
    assert len(history) == 2
    assert not np.isfinite(history[1].accuracy)
    assert np.isfinite(history[1].loss)


def test_labels_of_the_metric_alone_are_labels():
    model = own("acc = mean(where((p > 0.5) == (y > 0.5), weight, 0))", inputs={"x": [3], "y": [1], "weight": [1]})
    assert (model.features, model.labels, model.metric) == (("x",), ("y", "weight"), "acc")
    (x, y), weight = samples(12), np.full((12, 1), 0.5)
    assert model.predict(x).shape == (12, 1)
    history = tg.fit(model, (x, {"y": y, "weight": weight}), epochs=1)
    assert history[0].accuracy <= 0.5
    assert tg.evaluate(model, (x, {"y": y, "weight": weight})).accuracy == share(model, (x, y)) / 2


def test_a_copy_and_a_checkpoint_keep_it(tmp_path):
    model = pickle.loads(pickle.dumps(own()))
    assert model.metric == "acc"
    history = tg.fit(model, samples(20), epochs=1, checkpoint=tmp_path / "c.safetensors")
    again = tg.fit(own(), samples(20), epochs=2, checkpoint=tmp_path / "c.safetensors", resume=True)
    assert again[0] == history[0]
    assert again.measure == "acc"


def test_the_gradients_are_those_of_the_loss():
    x, y = samples(4)
    assert tg.check(own(), {"x": x, "y": y}).ok
    graph = own().graph(4)
    assert [graph.labels[node] for node in graph.outputs] == ["p", "acc", "cost"]


@pytest.mark.parametrize(
    ("metric", "equation", "message"),
    [
        ("acx", "acc = mean(p)", "the metric 'acx' is not defined by an equation; did you mean 'acc'"),
        ("W", "acc = mean(p)", "the metric 'W' is not defined by an equation"),
        ("acc", "acc = sum(x, axis=0)", r"one number, or one for each sample; 'acc' has shape \(3,\)"),
        ("acc", "acc = x * 2", r"one number, or one for each sample; 'acc' has shape \(2, 3\)"),
        ("cost", "acc = mean(p)", "the metric cannot be 'cost', which the history of a training has anyway"),
        ("seconds", "seconds = mean(p)", "the metric cannot be 'seconds'"),
        (3, "acc = mean(p)", "metric must be text; found a number"),
    ],
)
def test_what_is_no_metric(metric, equation, message):
    with pytest.raises(tg.ModelError, match=message):
        dense(OWN_LOSS + equation, metric=metric)


def test_without_a_metric_nothing_changes():
    model = classification()
    step = model.compile_step(SGD(0.1), 4)
    step({"x": samples(4)[0], "y": samples(4)[1]})
    assert (model.metric, step.metric) == (None, None)
    assert [model.graph(2).labels[node] for node in model.graph(2).outputs] == ["p", "cost"]
