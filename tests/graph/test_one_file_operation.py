"""A user's loss, written in one file, is a full citizen: tiled, checked, trained, drawn, noted and certified."""

import re

import numpy as np
import pytest

import tinygraph as tg
from tests.tools.agreement import agrees_with_plain
from tinygraph.engines.plan.node import nodes_of
from tinygraph.engines.plan.tiles import analyse
from tinygraph.verify.nodes import completed


def _margin_samples(rng):
    yield tg.Sample(8 * rng.permutation(12).reshape(4, 3) / 10, np.array([0, 2, 1, 2]))
    yield tg.Sample(8 * rng.permutation(8).reshape(2, 4) / 10, np.array([3, 0]), margin=0.3)


# From here on, all that one writes.


@tg.op(
    formula="mean(max(0, {margin} + {scores}[others] − {scores}[{labels}]))",
    decision=tg.Decision(),
    samples=_margin_samples,
)
def class_margin(scores, labels, *, margin: float = 1.0):
    """How far the other classes are within a margin of the right one, for whole numbers ``labels``."""
    right = np.take_along_axis(scores, labels[:, None], axis=1)
    return (np.maximum(0, margin + scores - right).sum(axis=1) - margin).mean()


@class_margin.shape
def class_margin_shape(scores, labels):
    if len(scores.shape) != 2 or tuple(labels.shape) != tuple(scores.shape[:1]) or labels.dtype.kind not in "iu":
        raise tg.ShapeError(
            f"class_margin: scores (N, K) and class numbers (N) are needed; found {tuple(scores.shape)}"
        )
    return ()


@class_margin.result_dtype
def class_margin_dtype(scores, labels):
    return scores.dtype


@class_margin.vjp
def class_margin_vjp(dy, cost, scores, labels, *, margin):
    count, classes = scores.shape
    chosen = tg.one_hot(labels, classes, scores.dtype.name)
    right = tg.sum(scores * chosen, axis=1, keepdims=True)
    within = tg.gate((1 - chosen) * dy / count, margin + scores - right > 0)
    return within - chosen * tg.sum(within, axis=1, keepdims=True), None


@class_margin.check
def class_margin_check(scores, labels):
    if labels.size and not 0 <= labels.min() <= labels.max() < scores.shape[1]:
        raise tg.DataError(f"class_margin: there are {scores.shape[1]} classes; found {labels.min()} to {labels.max()}")


@class_margin.batch
def class_margin_batch(use):
    return use.mean() if use.axis() == 0 else None


@class_margin.sample_inputs
def class_margin_sample_inputs(rng, scores, labels):
    return None, rng.integers(0, scores.shape[1], labels.shape)


# To here.

COUNT = 66


def model(batch=None):
    return tg.Model(
        inputs={"x": [2], "y": {"shape": [], "dtype": "int64"}},
        parameters={"W": {"shape": [2, 3], "init": "normal"}, "b": {"shape": [3], "init": "zeros"}},
        equations="Z = x @ W + b\ncost = class_margin(Z, y)",
        output="Z",
        loss="cost",
    )


def data():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 99)
    return np.array([[0.0, 4.0], [4.0, -4.0], [-4.0, -4.0]])[y] + rng.standard_normal((99, 2)), y


def graph(count=COUNT):
    scores, labels = tg.input("scores", (count, 3)), tg.input("labels", (count,), "int64")
    cost = class_margin(scores, labels)
    return tg.Graph([cost, *tg.grad(cost, [scores])])


def test_it_is_tiled():
    recorded = graph()
    assert analyse(nodes_of(recorded), dict.fromkeys(recorded.inputs.values(), 0), COUNT) is not None
    rng = np.random.default_rng(1)
    feeds = {"scores": rng.standard_normal((COUNT, 3)).astype("float32"), "labels": rng.integers(0, 3, COUNT)}
    agrees_with_plain(list(recorded.outputs), feeds, COUNT)


def test_without_a_rule_it_would_not_be():
    class Unruled(class_margin.op):
        def batch(self, use):
            return None

    scores, labels = tg.input("scores", (4, 3)), tg.input("labels", (4,), "int64")
    graph = tg.Graph(Unruled()(scores, labels))
    assert analyse(nodes_of(graph), {scores: 0, labels: 0}, 4) is None


def test_a_rule_that_returns_something_else_is_an_error():
    class Wrong(class_margin.op):
        def batch(self, use):
            return 0

    scores, labels = tg.input("scores", (4, 3)), tg.input("labels", (4,), "int64")
    with pytest.raises(tg.OperationError, match=re.escape("wrong: batch must return tg.Each(axis), tg.TOTAL")):
        analyse(nodes_of(tg.Graph(Wrong()(scores, labels))), {scores: 0, labels: 0}, 4)


def test_wrong_labels_are_refused_by_each_engine():
    recorded, feeds = graph(4), {"scores": np.zeros((4, 3), "float32"), "labels": np.array([0, 1, 2, 3])}
    for engine in (lambda: tg.run(recorded, feeds), lambda: tg.compile(recorded, 4)(feeds)):
        with pytest.raises(tg.DataError, match="there are 3 classes; found 0 to 3"):
            engine()


def test_its_random_inputs_are_accepted():
    feeds = completed(graph(), {}, np.random.default_rng(0))
    assert set(feeds["labels"]) == {0, 1, 2}
    assert tg.check(graph(8)).ok


def test_it_is_trained_and_its_accuracy_shown():
    x, y = data()
    trained = model()
    history = tg.fit(trained, (x, y), epochs=20, batch_size=33)
    assert tg.evaluate(trained, (x, y)).accuracy > 0.9
    assert history[-1].accuracy > 0.9


def test_wrong_labels_are_refused_before_training():
    x, y = data()
    with pytest.raises(tg.DataError, match=re.escape("labels 'y': class_margin: there are 3 classes; found 1 to 3")):
        tg.fit(model(), (x, y + 1), epochs=1)


def test_it_is_drawn_and_noted():
    assert "class_margin" in tg.draw(model()).dot
    assert "margin" in tg.notes(model()).text()


def test_it_is_certified():
    assert tg.certify(class_margin).ok, tg.certify(class_margin).summary()
