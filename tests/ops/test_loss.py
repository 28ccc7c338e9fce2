"""Losses: what they refuse, and the loss that looks behind a sigmoid."""

import re

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import tinygraph as tg
from tinygraph.train import initial_state, training_step


def test_bce_refuses_logits():
    with pytest.raises(
        tg.DataError, match=r"bce: predictions must lie between 0 and 1; found -3 to 2 .*bce_with_logits"
    ):
        tg.bce(tg.tensor([[-3.0], [2.0]]), [[0.0], [1.0]])


@pytest.mark.parametrize("labels", [[[2.0]], [[-1.0]], [[np.nan]]])
def test_labels_outside_0_to_1_are_refused(labels):
    for loss in (tg.bce, tg.bce_with_logits):
        with pytest.raises(tg.DataError, match=rf"{loss.name}: labels must lie between 0 and 1"):
            loss(tg.tensor([[0.5]]), labels)


@pytest.mark.parametrize("labels", [[3], [-1]])
def test_class_numbers_out_of_range_are_refused(labels):
    with pytest.raises(tg.DataError, match=r"class numbers must lie in 0 to 2"):
        tg.cross_entropy(tg.tensor([[0.1, 0.2, 0.3]]), labels)


def test_cross_entropy_refuses_a_softmax():
    a = tg.softmax(tg.tensor([[0.1, 0.2, 0.3]]))
    a.name = "a"
    with pytest.raises(tg.ShapeError, match="takes logits and applies softmax itself; it was given the softmax 'a'"):
        tg.cross_entropy(a, [0])


def test_one_hot_refuses_what_is_no_class_number():
    with pytest.raises(tg.ShapeError, match="labels must be whole numbers; found float64"):
        tg.one_hot(tg.tensor([0.5]), 3)


def test_shapes_are_not_broadcast_by_mistake():
    with pytest.raises(tg.ShapeError, match="must have one shape"):
        tg.bce(tg.sigmoid(tg.tensor([[0.1], [0.2]])), [1.0, 0.0])


@pytest.fixture
def network():
    z = tg.tensor([[0.3], [-1.2], [2.0]], name="z")
    a = tg.sigmoid(z)
    a.name = "a"
    y = np.array([[1.0], [0.0], [0.0]])
    return z, a, y, tg.bce(a, y)


def test_the_gradient_behind_a_sigmoid_comes_directly(network):
    z, a, y, cost = network
    (dz,) = tg.grad(cost, [z])
    assert_array_equal(dz.value, (a.value - y) / 3)


def test_the_prediction_has_its_own_gradient_beside_that_of_the_logits(network):
    z, a, y, cost = network
    da, dz = tg.grad(cost, [a, z])
    assert (da.name, dz.name) == ("da", "dz")
    assert_allclose(da.value, (a.value - y) / (a.value * (1 - a.value)) / 3)
    assert_array_equal(dz.value, (a.value - y) / 3)


def test_other_uses_of_the_prediction_add_up(network):
    z, a, y, cost = network
    da, dz = tg.grad(cost + (a * a).sum(), [a, z])
    plain = (a.value - y) / (a.value * (1 - a.value)) / 3
    assert_allclose(da.value, plain + 2 * a.value)
    assert_allclose(dz.value, (a.value - y) / 3 + 2 * a.value * a.value * (1 - a.value))


def test_backward_agrees_with_grad_behind_a_sigmoid(network):
    z, a, y, cost = network
    cost.backward()
    assert_array_equal(z.grad, (a.value - y) / 3)


def test_second_derivatives_pass_through_the_shortcut(network):
    z, a, _, cost = network
    (dz,) = tg.grad(cost, [z])
    (ddz,) = tg.grad(dz.sum(), [z])
    assert_allclose(ddz.value, a.value * (1 - a.value) / 3)


def test_a_picture_of_the_loss_shows_sigmoid_and_bce(network):
    *_, cost = network
    text = str(tg.Graph(cost))
    assert "a   = sigmoid(z)" in text
    assert "= bce(a, " in text


def test_an_opaque_rule_may_say_that_no_gradient_flows(registry):
    @tg.op(elementwise=True)
    def gated(x, gate):
        return x * gate

    @gated.vjp(opaque=True)
    def gated_vjp(dy, y, x, gate):
        return dy * gate, None

    x, gate = tg.tensor([2.0]), tg.tensor([3.0])
    dx, dgate = tg.grad(gated(x, gate).sum(), [x, gate])
    assert (dx.value, dgate.value) == (3.0, 0.0)


# ---- weights of classes, ignored labels, smooth labels


CLASSES = [
    {"weight": (1.0, 2.0, 5.0)},
    {"ignore_index": -1},
    {"label_smoothing": 0.1},
    {"weight": (0.0, 2.0, 0.5), "ignore_index": 1, "label_smoothing": 0.3},
    {"weight": (1.0, 2.0, 5.0), "ignore_index": -1},
]


def labels_for(attributes, shape, rng):
    labels = rng.integers(0, 3, shape)
    labels.flat[0] = 2
    labels.flat[1] = attributes.get("ignore_index", 1)
    return labels


@pytest.mark.oracle
@pytest.mark.parametrize("loss", ["cross_entropy", "nll"])
@pytest.mark.parametrize("kind", ["numbers", "probabilities", "images"])
@pytest.mark.parametrize("attributes", CLASSES, ids=str)
def test_attributes_of_losses_of_classes_mean_what_pytorchs_mean(attributes, kind, loss):
    torch = pytest.importorskip("torch")
    if (kind == "probabilities" and (loss == "nll" or "ignore_index" in attributes)) or (
        loss == "nll" and "label_smoothing" in attributes
    ):
        pytest.skip("PyTorch has none")
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(2, 4, 3) if kind == "images" else (6, 3))
    labels = rng.dirichlet(np.ones(3), 6) if kind == "probabilities" else labels_for(attributes, scores.shape[:-1], rng)
    x, y = tg.tensor(scores), tg.tensor(labels)
    cost = tg.operation(loss)(x, y, **attributes)
    cost.backward()
    theirs, of_labels = torch.tensor(scores, requires_grad=True), torch.tensor(labels)
    of_labels.requires_grad_(kind == "probabilities")
    settings = {"ignore_index": -100, **attributes}
    settings["weight"] = torch.tensor(attributes["weight"], dtype=torch.float64) if "weight" in attributes else None
    classes_first = torch.movedim(theirs, -1, 1)
    peer = getattr(torch.nn.functional, {"nll": "nll_loss"}.get(loss, loss))(classes_first, of_labels, **settings)
    peer.backward()
    assert_allclose(cost.value, peer.item(), rtol=1e-12)
    assert_allclose(x.grad.value, theirs.grad.numpy(), rtol=1e-10, atol=1e-14)
    if kind == "probabilities":
        assert_allclose(y.grad.value, of_labels.grad.numpy(), rtol=1e-10)


@pytest.mark.oracle
@pytest.mark.parametrize("weight", [2.5, 0.0, (0.5, 2.0, 3.0)], ids=str)
def test_pos_weight_is_pytorchs(weight):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    scores, labels = rng.normal(size=(4, 3)) * 3, rng.random((4, 3))
    z, y = torch.tensor(scores, requires_grad=True), torch.tensor(labels, requires_grad=True)
    of_ones = torch.tensor(weight, dtype=torch.float64)
    peer = torch.nn.functional.binary_cross_entropy_with_logits(z, y, pos_weight=of_ones)
    peer.backward()
    for loss in (
        lambda z, y: tg.bce_with_logits(z, y, pos_weight=weight),
        lambda z, y: tg.bce(tg.sigmoid(z), y, pos_weight=weight),
        lambda z, y: tg.bce(1 / (1 + tg.exp(-z)), y, pos_weight=weight),
    ):
        ours, target = tg.tensor(scores), tg.tensor(labels)
        cost = loss(ours, target)
        cost.backward()
        assert_allclose(cost.value, peer.item(), rtol=1e-12)
        assert_allclose(ours.grad.value, z.grad.numpy(), rtol=1e-9)
        assert_allclose(target.grad.value, y.grad.numpy(), rtol=1e-9)


def classifier(call, binary=False, dtype="float64"):
    labels = "[3]" if binary else '{ shape = [], dtype = "int64" }'
    return tg.Model.from_toml(f"""
        dtype = "{dtype}"
        inputs = {{ x = [4], y = {labels} }}
        parameters = {{ W = {{ shape = [4, 3], init = "normal" }} }}
        model = {{ equations = "Z = x @ W\\ncost = {call}", output = "Z", loss = "cost" }}
    """)


CALLS = [
    "cross_entropy(Z, y, weight=[1, 2, 5])",
    "cross_entropy(Z, y, ignore_index=-1)",
    "cross_entropy(Z, y, label_smoothing=0.1)",
    "cross_entropy(Z, y, weight=[1, 2, 5], ignore_index=-1, label_smoothing=0.1)",
    "nll(log_softmax(Z), y, weight=[1, 2, 5], ignore_index=-1)",
    "bce_with_logits(Z, y, pos_weight=[1, 2, 0.5])",
    "bce(sigmoid(Z), y, pos_weight=3)",
]


def labelled(call, count):
    """Samples whose labels are unevenly distributed over the batch, so that a mean over tiles would differ."""
    rng = np.random.default_rng(2)
    x, classes = rng.normal(size=(count, 4)), np.sort(rng.integers(0, 3, count))
    if "bce" in call:
        return x, np.eye(3)[classes]
    return x, np.where(classes == 1, -1, classes) if "ignore_index=-1" in call else classes


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("call", CALLS)
def test_a_compiled_step_on_a_large_batch_is_the_plain_one(call, dtype):
    model, twin = (classifier(call, "bce" in call, dtype) for _ in range(2))
    x, y = labelled(call, 256)
    optimizer = tg.SGD(0.5)
    step, plain = model.compile_step(optimizer, 256, threads=2), training_step(twin, optimizer, 256)
    feeds = {"x": x.astype(dtype), "y": y.astype(model.inputs["y"].dtype)}
    close = {"float32": 2e-6, "float64": 1e-13}[dtype]
    for _ in range(3):
        assert_allclose(step(feeds)[1], plain(feeds, initial_state(twin, optimizer))[1], rtol=close)
    assert_allclose(model.parameters["W"].value, twin.parameters["W"].value, rtol=close, atol=close)


@pytest.mark.parametrize("call", CALLS)
def test_a_loss_is_evaluated_in_parts_only_where_it_is_a_mean_of_them(call):
    model, (x, y) = classifier(call, "bce" in call), labelled(call, 300)
    whole = tg.run(model.record(300).graph, {"x": x, "y": y})[-1]
    assert_allclose(tg.evaluate(model, (x, y), batch_size=64).loss, whole, rtol=1e-12)


def test_ignored_labels_count_neither_for_accuracy_nor_for_confusion():
    model, (x, y) = classifier(CALLS[1]), labelled(CALLS[1], 60)
    found, kept = tg.evaluate(model, (x, y)), tg.evaluate(model, (x[y >= 0], y[y >= 0]))
    assert_allclose((found.loss, found.accuracy), (kept.loss, kept.accuracy))
    assert_array_equal(found.confusion, kept.confusion)
    inside = classifier("cross_entropy(Z, y, ignore_index=2)")
    x, y = labelled("", 60)
    found, kept = tg.evaluate(inside, (x, y)), tg.evaluate(inside, (x[y != 2], y[y != 2]))
    assert_allclose(found.accuracy, kept.accuracy)
    assert_array_equal(found.confusion, kept.confusion)


def test_rows_that_do_not_count_may_hold_anything():
    logits = np.array([[1.0, 2.0], [np.nan, np.inf]])
    assert_allclose(tg.cross_entropy(logits, [0, -1], ignore_index=-1), tg.cross_entropy(logits[:1], [0]))


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int32"])
def test_small_labels_are_compared_with_an_index_that_they_cannot_hold(dtype):
    logits, labels = np.array([[1.0, 2.0], [0.0, 1.0]]), np.array([0, 1], dtype)
    for index in (-1, 255, 1000):
        assert_allclose(
            tg.cross_entropy(tg.tensor(logits), labels, ignore_index=index).value, tg.cross_entropy(logits, labels)
        )
    assert_allclose(
        tg.cross_entropy(logits, np.array([0, 255], "uint8"), ignore_index=255), tg.cross_entropy(logits[:1], [0])
    )


REFUSED = {
    "every label is the ignored -1, so there is no mean": ([[-1, -1]], {"ignore_index": -1}),
    "the weights of all labels are 0, so there is no mean": ([[1, 1]], {"weight": [1, 0, 1]}),
    "class numbers must lie in 0 to 2; found -2 to 1": ([[1, -2]], {"ignore_index": -1}),
    "there must be a weight for each class; found 2 weights for 3 classes": ([[0, 1]], {"weight": [1, 2]}),
    "the weights of classes must be finite and not negative; found [-2.0]": ([[0, 1]], {"weight": [1, -2, 3]}),
    "weight must be a tuple of float or None; found 3": ([[0, 1]], {"weight": 3}),
    "label_smoothing must lie in 0 to 1; found 1.5": ([[0, 1]], {"label_smoothing": 1.5}),
    "ignore_index is one of the class numbers, and the labels are": ([[[0.5, 0.5, 0.0]] * 2], {"ignore_index": 1}),
}


@pytest.mark.parametrize("message", REFUSED)
def test_attributes_of_cross_entropy_that_make_no_sense(message):
    (labels,), attributes = REFUSED[message]
    with pytest.raises(tg.TinygraphError, match=re.escape(message)):
        tg.cross_entropy(tg.tensor(np.zeros((2, 3))), np.array(labels), **attributes)


@pytest.mark.parametrize("loss", [tg.bce, tg.bce_with_logits])
def test_a_pos_weight_that_makes_no_sense(loss):
    half = np.full((2, 3), 0.5)
    with pytest.raises(tg.AttributeValueError, match=r"pos_weight must be finite and not negative; found \[-1.0\]"):
        loss(half, half, pos_weight=-1)
    with pytest.raises(tg.ShapeError, match="one for each column; found 2 numbers for a last axis of 3"):
        loss(half, half, pos_weight=[1, 2])


# ---- stop_gradient


def test_no_gradient_flows_through_stop_gradient():
    x = tg.tensor([2.0, 3.0], name="x")
    (dx,) = tg.grad((x * tg.stop_gradient(x * x)).sum(), [x])
    assert_array_equal(dx.value, [4.0, 9.0])
    fixed = tg.stop_gradient(x)
    with pytest.raises(tg.GradientError):
        tg.grad(fixed.sum(), [x])
    assert "stop_gradient(x)" in str(tg.Graph(fixed * x))
    assert tg.check((fixed * x).sum()).ok


def test_a_branch_behind_stop_gradient_is_not_trained():
    model = tg.Model(
        inputs={"x": [2], "y": [1]},
        parameters={"W": {"shape": [2, 1], "init": "normal"}, "V": {"shape": [2, 1], "init": "normal"}},
        equations="p = x @ W + stop_gradient(x @ V)\ncost = mse(p, y)",
        output="p",
        loss="cost",
    )
    before = {name: parameter.value.copy() for name, parameter in model.parameters.items()}
    x = np.ones((8, 2), np.float32)
    for compiled in (True, False):
        tg.fit(model, (x, x[:, :1]), tg.SGD(0.01), epochs=1, compiled=compiled)
    assert_array_equal(model.parameters["V"].value, before["V"])
    assert (model.parameters["W"].value != before["W"]).all()
    assert "stopgradient(x V)" in tg.notes(model).text()
