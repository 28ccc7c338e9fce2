"""How good a model is: every number of ``evaluate`` against one that is counted sample by sample."""

import copy

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import tinygraph as tg
from tests.tools.training import dense, samples
from tinygraph.model import load_model
from tinygraph.train import Data, Evaluation, Metrics, evaluate
from tinygraph.train.evaluation import classification
from tinygraph.train.metrics import DecisionRule

K = 4
LABELS = {"shape": [], "dtype": "int64"}


def counted(expected, decided, classes):
    """Precision, recall, F1 and support of each class, one sample after the other; NaN for 0/0."""
    rows = []
    for c in classes:
        right = sum(e == d == c for e, d in zip(expected, decided, strict=True))
        found, true = sum(d == c for d in decided), sum(e == c for e in expected)
        precision, recall = right / found if found else np.nan, right / true if true else np.nan
        f1 = 2 * right / (found + true) if found + true else np.nan
        rows.append((precision, recall, f1, true))
    return np.array(rows).T


def assert_counted(found, expected, decided, classes):
    for values, wanted in zip(found.values.values(), counted(expected, decided, classes), strict=True):
        assert_allclose(values, wanted, rtol=1e-15)


def classifier(equations="p = x @ W\ncost = cross_entropy(p, y)", labels=LABELS):
    return dense(equations, inputs={"x": [3], "y": labels}, parameters={"W": {"shape": [3, K], "init": "normal"}})


@pytest.mark.parametrize("one_hot", [False, True])
def test_the_numbers_of_classes(one_hot):
    model = classifier(labels=[K] if one_hot else LABELS)
    x, rng = samples(60)[0], np.random.default_rng(1)
    # The last class never occurs, but is predicted.
    y = rng.integers(0, K - 1, 60)
    found = evaluate(model, (x, np.eye(K)[y] if one_hot else y))
    decided = model.predict(x).argmax(axis=1)
    assert set(decided) == set(range(K))
    assert isinstance(found, Evaluation)
    assert found.accuracy == pytest.approx(np.mean(decided == y))
    assert_counted(found, y, decided, range(K))
    matrix = np.zeros((K, K), int)
    for e, d in zip(y, decided, strict=True):
        matrix[e, d] += 1
    assert_array_equal(found.confusion, matrix)
    assert np.isnan(found.recall[3])
    assert "3     0.0000       -  0.0000        0" in str(found)


@pytest.mark.parametrize(
    "equations",
    [
        "p = x @ W\ncost = cross_entropy(p, y)",
        "z = x @ W\np = softmax(z)\ncost = cross_entropy(z, y)",
        "p = log_softmax(x @ W)\ncost = nll(p, y)",
    ],
)
def test_the_worst_mistakes_have_the_largest_loss(equations):
    model, (x, _) = classifier(equations), samples(40)
    y = np.random.default_rng(2).integers(0, K, 40)
    found = evaluate(model, (x, y))
    logits = x @ model.parameters["W"].value
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    loss, decided = -np.log(p[np.arange(40), y]), p.argmax(axis=1)
    order = [i for i in np.argsort(-loss) if decided[i] != y[i]]
    assert found.order.tolist() == order
    head, *rows = found.tables(most=3)["worst mistakes"]
    assert head == ["sample", "true", "predicted", "confidence"]
    assert rows == [[str(i), str(y[i]), str(decided[i]), f"{p[i].max():.4f}"] for i in order[:3]]


@pytest.mark.parametrize("shape", [(), (1,)])
@pytest.mark.parametrize("equations", ["p = sigmoid(z)\ncost = bce(p, y)", "p = z + 0\ncost = bce_with_logits(p, y)"])
def test_an_output_of_one_number_decides_between_two_classes(shape, equations):
    z = "z = x @ W + b" if shape else "z = (x @ W + b)[:, 0]"
    model, (x, y) = dense(f"{z}\n{equations}", inputs={"x": [3], "y": list(shape)}), samples(50, seed=3)
    model.classes = ("no", "yes")
    found = evaluate(model, (x, y.reshape(50, *shape)))
    z = (x @ model.parameters["W"].value).ravel()
    assert_counted(found, y.ravel(), z > 0, (0, 1))
    assert found.names == ("no", "yes")
    assert found.confusion.shape == (2, 2)
    sure = 1 / (1 + np.exp(-np.abs(z)))
    at = int(found.tables()["worst mistakes"][1][0])
    assert found.tables()["worst mistakes"][1][1:] == [
        *(("no", "yes") if y[at] < z[at] else ("yes", "no")),
        f"{sure[at]:.4f}",
    ]


def test_several_labels_of_a_sample():
    W = {"W": {"shape": [3, 3], "init": "normal"}}
    model = dense("p = sigmoid(x @ W)\ncost = bce(p, y)", inputs={"x": [3], "y": [3]}, parameters=W)
    x, y = samples(30)[0], np.random.default_rng(4).integers(0, 2, (30, 3))
    found, decided = evaluate(model, (x, y)), model.predict(x) > 0.5
    for k in range(3):
        each = counted(y[:, k], decided[:, k], (1,))[:, 0]
        assert_allclose([values[k] for values in found.values.values()], each)
        pairs = [(int(e), int(d)) for e, d in zip(y[:, k], decided[:, k], strict=True)]
        assert found.confusion[k].tolist() == [[pairs.count((e, d)) for d in (0, 1)] for e in (0, 1)]
    assert "confusion" not in str(found)
    rows = found.tables(most=99)["worst mistakes"]
    assert rows[0] == ["sample", "output", "true", "predicted", "confidence"]
    wrong = {(str(i), str(k)) for i, k in np.argwhere(decided != y)}
    assert {tuple(row[:2]) for row in rows[1:]} == wrong


def test_a_decision_for_each_place_of_a_sequence():
    W = {"W": {"shape": [3, K], "init": "normal"}}
    model = dense(
        "p = x @ W\ncost = cross_entropy(p, y)",
        inputs={"x": [5, 3], "y": {"shape": [5], "dtype": "int64"}},
        parameters=W,
    )
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(8, 5, 3)), rng.integers(0, K, (8, 5))
    found, decided = evaluate(model, (x, y)), model.predict(x).argmax(axis=2)
    assert_counted(found, y.ravel(), decided.ravel(), range(K))
    rows = found.tables(most=99)["worst mistakes"]
    assert rows[0][:2] == ["sample", "output"]
    assert {(int(s), int(p)) for s, p, *_ in rows[1:]} == {(i, j) for i, j in np.argwhere(decided != y)}
    assert len(found.order) == np.sum(decided != y)


def test_averages_leave_out_what_is_not_a_number():
    output = np.eye(3)[[0, 0, 1, 0]]
    labels, metrics = np.array([0, 0, 1, 1]), Metrics(0.0, 0.5, 4)
    found = classification(metrics, output, labels, DecisionRule(), ("a", "b", "c"), np.arange(4))
    rows = {row[0]: row[1:] for row in found.tables()[""][1:]}
    assert rows["c"] == ["-", "-", "-", "0"]
    assert rows["macro avg"] == [f"{(2 / 3 + 1) / 2:.4f}", f"{(1 + 1 / 2) / 2:.4f}", f"{(4 / 5 + 2 / 3) / 2:.4f}", "4"]
    assert rows["weighted avg"] == rows["macro avg"]


def test_many_classes_are_shown_as_pairs():
    count, rng = 60, np.random.default_rng(6)
    y = rng.integers(0, count, 400)
    decided = np.where(rng.random(400) < 0.7, y, (y + 1) % count)
    names, metrics = tuple(map(str, range(count))), Metrics(0.0, 0.7, 400)
    found = classification(metrics, np.eye(count)[decided], y, DecisionRule(), names, np.arange(400))
    tables = found.tables()
    head, *rows = tables["most often confused"]
    assert head == ["true", "predicted", "samples"]
    for true, predicted, samples_ in rows:
        together = np.sum((y == int(true)) & (decided == int(predicted)))
        assert samples_ == f"{together} of {np.sum(y == int(true))}"
    assert int(rows[0][2].split()[0]) == max(found.confusion[i, (i + 1) % count] for i in range(count))
    assert not any("confusion" in caption for caption in tables)


def test_names_of_classes_are_shown_and_cannot_break_a_line():
    model = load_model("notes_cnn_norm")
    model.classes = ("a\nb", "\x1b[31m", "x" * 1000, *"defghij")
    text = str(evaluate(model, "digits"))
    assert "a\\nb" in text
    assert "\x1b" not in text
    assert "x" * 31 + "…" in text
    model.classes = ("one", "two")
    assert evaluate(model, "digits").names == tuple(map(str, range(10)))


def test_fit_takes_the_names_from_its_data():
    model, (x, y) = dense("z = x @ W + b\np = sigmoid(z)\ncost = bce(p, y)"), samples(10)
    tg.fit(model, Data("pets", (x, y), classes=("cat", "dog")), epochs=1)
    assert model.classes == ("cat", "dog")
    tg.fit(model, (x, y), epochs=1)
    assert model.classes == ()


def test_numbers_are_those_of_the_source():
    model, data = load_model("notes_cnn_norm"), tg.load_data("digits")
    found = {part: evaluate(model, data, part=part) for part in ("test", "train", "all")}
    assert [found[part].count for part in found] == [359, 1438, 1797]
    assert found["test"].tables()["worst mistakes"][1][0] == str(data.drawn[found["test"].order[0]])
    y = data.part("all")[1]
    worst = found["all"].order[0]
    assert found["all"].tables()["worst mistakes"][1][:2] == [str(worst), str(y[worst])]
    with pytest.raises(tg.DataError, match="'train', 'test' and 'all'; found 'rest'"):
        evaluate(model, data, part="rest")


# ---- regression


@pytest.mark.parametrize("shape", [[1], [2], [2, 2]])
def test_the_errors_of_numbers(shape):
    size = int(np.prod(shape))
    W = {"W": {"shape": [3, size], "init": "normal"}}
    equations = f"p = reshape(x @ W, (x.shape[0], {', '.join(map(str, shape))}))\ncost = mse(p, y)"
    model = dense(equations, inputs={"x": [3], "y": shape}, parameters=W)
    x, y = samples(20)[0], np.random.default_rng(7).normal(size=(20, *shape))
    y.reshape(20, -1)[:, -1] = 2.5 if size > 1 else y.reshape(20, -1)[:, -1]
    found = evaluate(model, (x, y))
    assert isinstance(found, Evaluation)
    p, y = model.predict(x).reshape(20, -1), y.reshape(20, -1)
    for k in range(size):
        errors = p[:, k] - y[:, k]
        assert found.mae[k] == pytest.approx(np.mean(np.abs(errors)))
        assert found.rmse[k] == pytest.approx(np.sqrt(np.mean(errors**2)))
        if size > 1 and k == size - 1:
            assert np.isnan(found.r2[k])
        else:
            assert found.r2[k] == pytest.approx(1 - np.sum(errors**2) / np.sum((y[:, k] - y[:, k].mean()) ** 2))
    assert found.order.tolist() == sorted(range(20), key=lambda i: -np.abs(p - y)[i].max())
    rows = found.tables()[""]
    assert rows[0] == ["", "mae", "rmse", "r2"]
    assert rows[1][0] == {1: "p", 2: "p[0]", 4: "p[0, 0]"}[size]
    assert (rows[-1][0] == "mean") == (size > 1)
    at = found.order[0]
    assert found.mistakes["error"][0] == pytest.approx((p - y)[at][np.abs(p - y)[at].argmax()])


def test_a_perfect_prediction_and_an_autoencoder():
    W = {"W": {"value": np.eye(3)}}
    model = dense("p = x @ W\ncost = mse(p, x)", inputs={"x": [3]}, parameters=W)
    found = evaluate(model, (samples(10)[0], None))
    assert found.r2.tolist() == [1, 1, 1]
    assert found.rmse.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    "equations",
    [
        "p = x @ W + b\ncost = mse(p / 10, y / 10)",
        "z = x @ W + b\np = 10 * z\ncost = mse(z, y)",
        "p = sum(x @ W + b)\ncost = mse(p, mean(y))",
    ],
)
def test_an_output_on_another_scale_is_not_compared(equations):
    found = evaluate(dense(equations), samples(10))
    assert type(found) is Metrics
    assert found.accuracy is None


# ---- pictures


def test_the_picture_of_the_mistakes(tmp_path):
    pytest.importorskip("matplotlib")
    model, data = load_model("notes_cnn_norm"), tg.load_data("digits")
    model.classes = tuple(f"${i}$" for i in range(10))
    evaluate(model, data).draw_mistakes(tmp_path / "worst.png", data.test[0])
    assert (tmp_path / "worst.png").read_bytes().startswith(b"\x89PNG")
    colours = data.test[0].repeat(3, axis=1)
    evaluate(model, data).draw_mistakes(tmp_path / "worst.svg", colours, colours[..., :5], most=1)
    assert b"<svg" in (tmp_path / "worst.svg").read_bytes()
    with pytest.raises(tg.RenderError, match=r"cannot be written to .*: Format 'mp9' is not supported"):
        evaluate(model, data).draw_mistakes(tmp_path / "worst.mp9", data.test[0])


def test_there_may_be_nothing_to_draw():
    model, (x, y) = classifier(), (samples(10)[0], np.zeros(10, int))
    with pytest.raises(tg.RenderError, match=r"images \(N, C, H, W\).*; found shape \(10, 3\)"):
        evaluate(model, (x, y)).draw_mistakes("none.png", x)
    right = model.predict(x).argmax(axis=1)
    with pytest.raises(tg.RenderError, match="there is none"):
        evaluate(model, (x, right)).draw_mistakes("none.png", x)
    assert "worst" not in str(evaluate(model, (x, right)))


def test_a_notebook_shows_the_tables():
    found = evaluate(load_model("notes_cnn_norm"), "digits")
    view = found._repr_html_()
    assert view.count("<table>") == 4
    assert "<script" not in view


def test_values_are_attributes_also_of_copies():
    found = copy.deepcopy(evaluate(load_model("xor"), "xor"))
    assert found.recall is found.values["recall"]
    with pytest.raises(AttributeError, match="no 'recal'; its values are 'precision', 'recall', 'f1' and 'support'"):
        _ = found.recal
