"""Evaluation, metrics and the history of a training."""

import csv
import sys

import numpy as np
import pytest

import tinygraph as tg
from tests.tools.training import (
    assert_same,
    classification,
    dense,
    regression,
    samples,
    values,
)
from tinygraph.model import load_model
from tinygraph.train import (
    Data,
    History,
    Metrics,
    Row,
    accuracy,
    evaluate,
    load_data,
    majority_class_baseline,
)
from tinygraph.train.metrics import decision_rule

# ---- Evaluation


@pytest.mark.parametrize("batch_size", [1, 7, 50, 1000])
def test_evaluation_in_batches_is_evaluation_at_once(batch_size):
    model, data = classification(), samples(50)
    at_once = tg.run(model.graph(50), {"x": data[0], "y": data[1]})
    metrics = evaluate(model, data, batch_size)
    assert metrics.loss == pytest.approx(float(at_once[1]), rel=1e-13)
    assert metrics.accuracy == ((at_once[0] > 0.5) == data[1]).mean()
    assert metrics.count == 50


def test_evaluation_is_of_the_test_part():
    model, train, test = classification(), samples(20), samples(10, seed=1)
    assert evaluate(model, Data("both", train, test)) == evaluate(model, test)
    assert evaluate(model, Data("one", train)) == evaluate(model, train)
    assert evaluate(load_model("xor"), "xor").count == 4


def test_evaluation_moves_nothing():
    model = classification()
    before = values(model)
    evaluate(model, samples(20))
    assert_same(values(model), before)


def test_evaluation_needs_a_loss():
    with pytest.raises(tg.TrainingError, match="declares no loss, so there is nothing to evaluate"):
        evaluate(dense("p = x @ W + b", loss=None, inputs={"x": [3]}), (np.zeros((2, 3)), None))


# ---- Metrics


LABELS_OF_CLASSES = {"y": {"shape": [], "dtype": "int64"}}
SIX = {"W": {"shape": [3, 2], "init": "normal"}}
RULES = {
    "probability": (classification, 0.5),
    "logits of bce": (lambda: dense("p = x @ W + b\ncost = bce(sigmoid(p), y)"), 0.0),
    "logits": (lambda: dense("p = x @ W + b\ncost = bce_with_logits(p, y)"), 0.0),
    "probability beside logits": (lambda: dense("z = x @ W + b\np = sigmoid(z)\ncost = bce_with_logits(z, y)"), 0.5),
    "no sigmoid": (lambda: dense("p = clip(x @ W + b, 0.1, 0.9)\ncost = bce(p, y)"), 0.5),
    "with a penalty": (lambda: dense("p = sigmoid(x @ W + b)\ncost = bce(p, y) + 0.1 * mean(W * W)"), 0.5),
    "smoothed labels": (lambda: dense("p = sigmoid(x @ W + b)\ncost = bce(p, 0.1 + 0.8 * y)"), 0.5),
}


@pytest.mark.parametrize("case", RULES)
def test_binary_decisions(case):
    make, threshold = RULES[case]
    model = make()
    rule = decision_rule(model.record(2))
    assert (rule.threshold, rule.labels) == (threshold, "y")
    x, y = samples(200)
    right = (model.predict(x) > threshold) == y
    assert 0 < right.mean() < 1
    assert evaluate(model, (x, y)).accuracy == pytest.approx(right.mean())


CLASSES = {
    "logits": ("p = x @ W\ncost = cross_entropy(p, y)", LABELS_OF_CLASSES),
    "probabilities": ("z = x @ W\np = softmax(z)\ncost = cross_entropy(z, y)", LABELS_OF_CLASSES),
    "log probabilities": ("p = log_softmax(x @ W)\ncost = nll(p, y)", LABELS_OF_CLASSES),
    "one-hot": ("p = x @ W\ncost = cross_entropy(p, y)", {"y": [2]}),
    "made one-hot": ("p = x @ W\ncost = cross_entropy(p, one_hot(y, 2, 'float64'))", LABELS_OF_CLASSES),
}


@pytest.mark.parametrize("case", CLASSES)
def test_decisions_among_classes(case):
    equations, labels = CLASSES[case]
    model = dense(equations, inputs={"x": [3]} | labels, parameters=SIX)
    assert decision_rule(model.record(2)).threshold is None
    x, y = samples(200)
    classes = y[:, 0].astype(int)
    right = model.predict(x).argmax(axis=1) == classes
    given = np.eye(2)[classes] if labels == {"y": [2]} else classes
    assert evaluate(model, (x, given)).accuracy == pytest.approx(right.mean())


def test_decisions_about_signs():
    model, (x, y) = dense("p = x @ W + b\ncost = hinge(p, y)"), samples(200)
    assert decision_rule(model.record(2)).threshold == 0.0
    right = (model.predict(x) > 0) == y
    assert evaluate(model, (x, 2 * y - 1)).accuracy == pytest.approx(right.mean())


NO_DECISION = {
    "regression": lambda: regression(),
    "no loss": lambda: dense("p = x @ W + b", loss=None, inputs={"x": [3]}),
    "features of a classifier": lambda: dense("p = tanh(x)\ncost = bce(sigmoid(p @ W + b), y)"),
    "something else": lambda: dense("p = x[:, :1]\ncost = bce(sigmoid(x @ W + b), y)"),
}


@pytest.mark.parametrize("case", NO_DECISION)
def test_outputs_that_are_no_decision(case):
    assert decision_rule(NO_DECISION[case]().record(2)) is None


def test_accuracy_of_arrays():
    assert accuracy([[0.6], [0.4]], [[1], [1]], threshold=0.5) == 0.5
    assert accuracy([[0.5]], [[0]], threshold=0.5) == 1.0
    assert accuracy([[1.0, 2.0], [2.0, 1.0]], [[0, 1], [0, 1]]) == 0.5
    assert accuracy([[1.0, 2.0], [2.0, 1.0]], [1, 0]) == 1.0


@pytest.mark.parametrize(
    ("output", "labels", "threshold"),
    [
        ([[0.1]], [1], 0.5),
        ([[0.1, 0.2]], [[1]], None),
        (np.zeros((0, 2)), np.zeros(0), None),
        (np.zeros(3), np.zeros(2), None),
    ],
)
def test_accuracy_of_arrays_that_do_not_fit(output, labels, threshold):
    with pytest.raises(tg.DataError, match="do not fit"):
        accuracy(output, labels, threshold)


def test_majority_class_baseline():
    assert majority_class_baseline([3, 1, 3, 3]) == 0.75
    assert majority_class_baseline([[0.0], [0.0], [1.0]]) == pytest.approx(2 / 3)
    assert majority_class_baseline([[0.1], [0.2], [0.9]]) == pytest.approx(2 / 3)
    assert majority_class_baseline(np.eye(4)[[0, 2, 2, 1]]) == 0.5
    assert majority_class_baseline([[1, 1], [1, 0], [1, 1], [0, 1]]) == 0.75
    assert majority_class_baseline(load_data("digits_odd").test[1]) == pytest.approx(182 / 359)
    with pytest.raises(tg.DataError, match="there are no labels"):
        majority_class_baseline([])


def test_metrics_as_text():
    assert str(Metrics(0.5, None, 1)) == "loss 0.5000, 1 sample"


# ---- History


ROWS = [Row(1, 0.1 + 0.2, 0.5, 1 / 3, 0.25, 1.5), Row(2, 0.2, 0.75, 0.3, 0.5, 1.25)]


def test_history_as_csv_gives_every_bit_back(tmp_path):
    History(ROWS).save_csv(tmp_path / "history.csv")
    with open(tmp_path / "history.csv", newline="") as file:
        read = list(csv.DictReader(file))
    assert list(read[0]) == ["epoch", "loss", "accuracy", "test_loss", "test_accuracy", "seconds"]
    for row, cells in zip(ROWS, read, strict=True):
        assert {name: float(cell) for name, cell in cells.items()} == {name: getattr(row, name) for name in cells}


def test_history_that_cannot_be_written(tmp_path):
    with pytest.raises(tg.TinygraphError, match=r"cannot be written to '.*missing/history\.csv': there is no folder"):
        History(ROWS).save_csv(tmp_path / "missing" / "history.csv")


def test_history_is_a_sequence_and_a_table():
    history = History(ROWS)
    assert (len(history), history[0], history[-1:], list(history)) == (2, ROWS[0], ROWS[1:], ROWS)
    assert repr(history) == "<History of 2 epochs>"
    assert str(History([Row(1, 0.5, None, None, None, 2.0)])).splitlines()[1].split() == [
        "1",
        "0.5000",
        "-",
        "-",
        "-",
        "2.00",
    ]


SIGNATURES = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}


@pytest.mark.parametrize("ending", SIGNATURES)
def test_curve_is_drawn_in_the_format_of_its_name(tmp_path, ending):
    pytest.importorskip("matplotlib")
    path = tmp_path / f"curve{ending}"
    History(ROWS).curve(path)
    assert path.read_bytes().startswith(SIGNATURES[ending])
    assert "matplotlib.pyplot" not in sys.modules


@pytest.mark.parametrize("row", [Row(1, 0.5, None, 0.4, None, 1.0), Row(1, 0.5, 0.8, None, None, 1.0)])
def test_curve_of_what_was_measured(tmp_path, row):
    pytest.importorskip("matplotlib")
    History([row]).curve(tmp_path / "curve.svg")
    text = (tmp_path / "curve.svg").read_text(encoding="utf-8")
    assert ("accuracy" in text) == (row.accuracy is not None)
    assert ("<!-- test -->" in text) == (row.test_loss is not None)


@pytest.mark.parametrize(("epochs", "marked"), [(60, True), (61, False)])
def test_curve_of_many_epochs_has_no_markers(tmp_path, epochs, marked):
    pytest.importorskip("matplotlib")
    History([Row(epoch, 1 / epoch, None, None, None, 1.0) for epoch in range(1, epochs + 1)]).curve(tmp_path / "c.svg")
    # Fewer uses of one shape than points are the ticks of the axes.
    assert ((tmp_path / "c.svg").read_text(encoding="utf-8").count("<use ") > epochs) == marked


def test_curve_without_matplotlib(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(tg.RenderError, match="needs matplotlib: pip install"):
        History(ROWS).curve(tmp_path / "curve.png")


@pytest.mark.parametrize(
    ("name", "why"),
    [("missing/curve.png", "there is no folder"), ("curve", "not supported"), ("curve.unknown", "not supported")],
)
def test_curve_that_cannot_be_written(tmp_path, name, why):
    pytest.importorskip("matplotlib")
    with pytest.raises(tg.RenderError, match=why):
        History(ROWS).curve(tmp_path / name)


def test_curve_of_nothing(tmp_path):
    with pytest.raises(tg.RenderError, match="the history has no complete epoch"):
        History().curve(tmp_path / "curve.png")
