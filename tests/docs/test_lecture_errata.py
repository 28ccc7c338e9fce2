"""The errata of docs/notes.md: every statement that the notes get wrong, and what is right.

Test names begin with the id of the statement, as in ``test_lecture_notes.py``.
"""

import numpy as np
import pytest

import tinygraph as tg
from tests.tools.lecture_notes import close, gradient_of, image, named


def test_E1_the_factor_of_the_average_pool_is_a_quarter():
    C1 = image([[1, 2], [3, 4]])
    P1 = tg.avg_pool2d(C1, 2)
    assert gradient_of(P1, C1, [[1]]).tolist() == [[0.25, 0.25], [0.25, 0.25]]
    step = np.zeros((1, 1, 2, 2))
    step[0, 0, 1, 0] = 1
    assert (tg.avg_pool2d(C1.value + step, 2) - P1.value).item() == 0.25


def test_E2_the_average_pool_passes_on_its_own_gradient(cnn):
    assert cnn["dP2"].shape[1] != cnn["dC1"].shape[1] == cnn["dP1"].shape[1]
    for i, c, x, y in np.ndindex(cnn["dP1"].shape):
        window = cnn["dC1"][i, c, 2 * x : 2 * x + 2, 2 * y : 2 * y + 2]
        assert window.sum() == pytest.approx(cnn["dP1"][i, c, x, y], rel=1e-12, abs=1e-300)


def test_E3_the_second_relu_is_of_Z2(cnn):
    C2 = cnn.tensors["C2"]
    assert C2.op.name == "relu"
    assert C2.inputs == (cnn.tensors["Z2"],)
    assert tg.relu(np.array(7.2)) == 7.2


@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_E4_slope_of_relu_at_zero_is_zero(zero):
    Z2 = image([[zero, 1], [-1, zero]])
    assert gradient_of(tg.relu(Z2), Z2, [[5, 6], [7, 8]]).tolist() == [[0, 6], [0, 0]]


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        ([[4, 4], [4, 4]], [[2, 0], [0, 0]]),
        ([[1, 4], [4, 4]], [[0, 2], [0, 0]]),
        ([[1, 2], [4, 4]], [[0, 0], [2, 0]]),
        ([[0, 0], [0, 0]], [[2, 0], [0, 0]]),
        ([[-3, -3], [-1, -1]], [[0, 0], [2, 0]]),
    ],
)
def test_E4_tie_goes_to_the_first_maximum_in_row_major_order(window, expected):
    C2 = image(window)
    assert gradient_of(tg.max_pool2d(C2, 2), C2, [[2]]).tolist() == expected


@pytest.mark.parametrize("keepdims", [True, False])
def test_E4_tie_in_a_reduction_goes_to_the_first_maximum_too(keepdims):
    x = tg.tensor([[4.0, 4.0], [1.0, 4.0]])
    (dx,) = tg.grad(tg.max(x, keepdims=keepdims).sum(), [x])
    assert dx.value.tolist() == [[1, 0], [0, 0]]


def test_E5_apart_the_rules_of_sigmoid_and_cost_fail_in_float32():
    z, y = np.float32(20), np.float32(0)
    a = 1 / (1 + np.exp(-z))
    with np.errstate(divide="ignore", invalid="ignore"):
        dZ3 = (-(y / a) + (1 - y) / (1 - a)) * (a * (1 - a))
    assert not np.isfinite(dZ3)


EXTREMES = [float(sign * size) for size in [0, 1, *range(16, 41), 88, 104, 710, 746, 1e4] for sign in (1, -1)]
dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])


def logits(dtype, y):
    """The extremes as a batch of 256, because a division by a power of two is exact."""
    z = np.resize(np.array(EXTREMES, dtype=dtype), (256, 1))
    return z, np.full_like(z, y)


@dtypes
@pytest.mark.parametrize("label", [0, 1, 0.25])
def test_E5_B1_is_exact_for_every_logit(dtype, label):
    values, y = logits(dtype, label)
    Z3 = tg.tensor(values, name="Z3")
    a = tg.sigmoid(Z3)
    (dZ3,) = tg.grad(tg.bce(a, y), [Z3])
    assert dZ3.dtype == a.dtype == dtype
    np.testing.assert_array_equal(dZ3.value, (a.value - y) / len(y))
    exact = np.exp(-np.logaddexp(0, -values.astype(float))) - label
    np.testing.assert_allclose(dZ3.value * len(y), exact, rtol=0, atol=np.finfo(dtype).eps)


@dtypes
@pytest.mark.parametrize("label", [0, 1])
def test_E5_cost_is_finite_and_of_a_confident_mistake_the_size_of_the_logit(dtype, label):
    eps, smallest = np.finfo(dtype).eps, np.finfo(dtype).smallest_normal
    for z in EXTREMES:
        cost = tg.bce(tg.sigmoid(tg.tensor([[z]], dtype=dtype)), np.array([[label]], dtype=dtype))
        assert cost.dtype == dtype
        exact = np.logaddexp(0, z if label == 0 else -z)
        np.testing.assert_allclose(cost.value, exact, rtol=4 * eps, atol=smallest, err_msg=f"z = {z}")
        if (label == 0) == (z > 0) and abs(z) >= 40:
            np.testing.assert_allclose(cost.value, abs(z), rtol=eps, err_msg=f"z = {z}")


@dtypes
def test_E5_B1_is_exact_in_a_recording_without_values(dtype):
    Z3, y = tg.input("Z3", (256, 1), dtype=dtype), tg.input("y", (256, 1), dtype=dtype)
    a = tg.sigmoid(Z3)
    cost = tg.bce(a, y)
    (dZ3,) = tg.grad(cost, [Z3])
    z, labels = logits(dtype, 1)
    feeds = {"Z3": z, "y": labels}
    a, cost, dZ3 = tg.run(tg.Graph([a, cost, dZ3]), feeds)
    np.testing.assert_array_equal(dZ3, (a - labels) / len(z))
    np.testing.assert_allclose(cost, np.mean(np.logaddexp(0, -z.astype(float))), rtol=1e-6)


def test_E5_B1_is_exact_through_backward():
    z, y = logits("float32", 0)
    Z3 = tg.parameter(z, name="Z3")
    a = tg.sigmoid(Z3)
    tg.bce(a, y).backward()
    np.testing.assert_array_equal(Z3.grad.value, (a.value - y) / len(y))


@pytest.mark.parametrize("together", [False, True])
def test_E5_gradient_of_the_prediction_is_the_plain_rule(together):
    y = np.array([[0.0], [1.0], [1.0], [0.25]])
    Z3 = tg.tensor([[-3.0], [0.5], [8.0], [1.0]], name="Z3")
    a = named("a", tg.sigmoid(Z3))
    da, *others = tg.grad(tg.bce(a, y), [a, Z3] if together else [a])
    assert da.name == "da"
    close(da.value, -(y / a.value - (1 - y) / (1 - a.value)) / len(y))
    for dZ3 in others:
        close(dZ3.value, (a.value - y) / len(y))


def test_E5_other_uses_of_the_prediction_add_their_own_gradient():
    y = np.array([[0.0], [1.0], [1.0]])
    Z3 = tg.tensor([[-3.0], [0.5], [2.0]], name="Z3")
    a = tg.sigmoid(Z3)
    (dZ3,) = tg.grad(tg.bce(a, y) + 3 * a.sum(), [Z3])
    close(dZ3.value, (a.value - y) / 3 + 3 * a.value * (1 - a.value))


def test_E5_B1_can_be_differentiated_again():
    z, y = logits("float64", 0)
    Z3 = tg.tensor(z, name="Z3")
    (dZ3,) = tg.grad(tg.bce(tg.sigmoid(Z3), y), [Z3])
    (curvature,) = tg.grad(dZ3.sum(), [Z3])
    size = np.abs(z)
    close(curvature.value, np.exp(-size) / (1 + np.exp(-size)) ** 2 / len(y))
