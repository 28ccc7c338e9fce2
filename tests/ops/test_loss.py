"""Losses: what they refuse, and the loss that looks behind a sigmoid."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import tinygraph as tg


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
