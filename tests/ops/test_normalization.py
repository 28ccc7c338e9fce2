"""Normalizations beyond their certificates and golden numbers: edges of shapes, refusals, numbers that are hard."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import tinygraph as tg

RNG = np.random.default_rng(0)
IMAGES = [(4, 3), (4, 3, 5), (4, 3, 5, 2), (2, 3, 2, 2, 2), (2, 3, 1, 2, 1, 2)]


def naive_moving_sum(x, before, after, axis):
    moved = np.moveaxis(x, axis, 0)
    sums = [moved[max(0, i - before) : i + after + 1].sum(axis=0) for i in range(len(moved))]
    return np.moveaxis(np.array(sums), 0, axis)


@pytest.mark.parametrize("shape", IMAGES)
def test_in_training_every_channel_has_mean_shift_and_deviation_scale(shape):
    x = 5 + 3 * RNG.standard_normal(shape)
    scale, shift = np.array([1.0, 2.0, 0.5]), np.array([0.0, -1.0, 3.0])
    y = tg.batch_norm(x, scale, shift, np.zeros(3), np.ones(3), epsilon=0, training=True)
    axes = (0, *range(2, len(shape)))
    assert_allclose(y.mean(axis=axes), shift, atol=1e-12)
    assert_allclose(y.std(axis=axes), scale, rtol=1e-12)


@pytest.mark.parametrize("shape", IMAGES)
def test_prediction_with_the_statistics_of_the_batch_is_training(shape):
    x = RNG.standard_normal(shape)
    axes = (0, *range(2, len(shape)))
    given = (x, np.full(3, 2.0), np.ones(3), x.mean(axis=axes), x.var(axis=axes))
    assert_allclose(tg.batch_norm(*given), tg.batch_norm(*given, training=True), rtol=1e-10)


def test_in_training_the_running_statistics_are_not_looked_at_and_take_no_gradient():
    x = tg.tensor(RNG.standard_normal((4, 3)))
    mean, variance = tg.state(np.full(3, np.nan)), tg.state(np.full(3, np.nan))
    y = tg.batch_norm(x, np.ones(3), np.zeros(3), mean, variance, training=True)
    assert np.isfinite(y.value).all()
    with pytest.raises(tg.GradientError, match="no gradient"):
        tg.grad(y.sum(), [mean])


def test_running_statistics_after_many_batches_are_those_of_the_data():
    mean, variance = np.zeros(2), np.ones(2)
    data = np.array([3.0, -1.0]) + np.array([0.5, 2.0]) * RNG.standard_normal((400, 50, 2))
    for batch in data:
        mean, variance = tg.running_mean(mean, batch, 0.05), tg.running_variance(variance, batch, 0.05)
    assert_allclose(mean, [3.0, -1.0], atol=0.15)
    assert_allclose(variance, [0.25, 4.0], rtol=0.15)


@pytest.mark.parametrize(("correction", "expected"), [(0, 1.5), (1, 2.0)])
def test_running_variance_takes_either_estimate(correction, expected):
    assert_allclose(tg.running_variance(np.array([2.0]), np.array([[0.0], [2.0]]), 0.5, correction), [expected])
    # One sample has no variance; the running one stays.
    assert_allclose(tg.running_variance(np.array([2.0]), np.array([[7.0]]), 0.5, correction), [2.0])


def test_momentum_one_forgets_and_momentum_zero_keeps():
    old, x = np.array([5.0]), np.array([[1.0], [3.0]])
    assert_allclose(tg.running_mean(old, x, momentum=1.0), [2.0])
    assert_allclose(tg.running_mean(old, x, momentum=0.0), [5.0])


def test_one_group_is_a_layer_and_a_group_to_each_channel_an_instance():
    x, one, zero = RNG.standard_normal((2, 4, 3, 2)), np.ones(4), np.zeros(4)
    layer = tg.layer_norm(x, np.ones((4, 1, 1)), np.zeros((4, 1, 1)), axis=1)
    assert_allclose(tg.group_norm(x, one, zero, groups=1), layer, rtol=1e-10)
    assert_allclose(tg.group_norm(x, one, zero, groups=4), tg.instance_norm(x, one, zero), rtol=1e-10)


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2, -3])
def test_layer_norm_goes_along_all_axes_from_one_on(axis):
    x = RNG.standard_normal((2, 3, 4))
    y = tg.layer_norm(x, np.ones(4), np.zeros(4), axis=axis, epsilon=0)
    axes = tuple(range(axis % 3, 3))
    assert_allclose(y.mean(axis=axes), 0, atol=1e-12)
    assert_allclose(y.std(axis=axes), 1, rtol=1e-12)


def test_standardized_numbers_far_from_zero_keep_their_digits():
    x = np.array([[10000.0, 10001.0, 10002.0]], np.float32)
    assert_allclose(tg.standardize(x, epsilon=0), [[-(1.5**0.5), 0, 1.5**0.5]], rtol=1e-6, atol=1e-6)
    assert tg.standardize(x).dtype == np.float32


def test_equal_numbers_are_standardized_to_zero_with_zero_gradients_along_them():
    x = tg.tensor(np.full((2, 3), 7.0))
    y = tg.standardize(x)
    assert_array_equal(y.value, np.zeros((2, 3)))
    (dx,) = tg.grad(y, [x], cotangent=np.ones((2, 3)))
    assert_array_equal(dx.value, np.zeros((2, 3)))


def test_of_nothing_there_is_no_variance_and_nothing_to_standardize():
    assert np.isnan(tg.variance(np.ones((0, 2)), axis=0)).all()
    x = tg.tensor(np.ones((0, 2)))
    (dx,) = tg.grad(tg.standardize(x, axis=0).sum(), [x])
    assert dx.shape == (0, 2)


def test_whole_numbers_are_normalized_as_floating_ones():
    assert tg.standardize(np.array([1, 3])).dtype == np.float64
    assert tg.variance(np.array([1, 3], np.uint8)) == 1.0


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize(("before", "after"), [(0, 0), (1, 1), (2, 0), (0, 3), (9, 9)])
def test_moving_sum_is_the_sum_of_the_neighbours(before, after, axis):
    x = RNG.standard_normal((4, 5, 3))
    assert_allclose(tg.moving_sum(x, before, after, axis), naive_moving_sum(x, before, after, axis), rtol=1e-12)


def test_moving_sum_is_its_own_transpose_the_other_way_round():
    x, dy = RNG.standard_normal((2, 6)), RNG.standard_normal((2, 6))
    forward, back = tg.moving_sum(x, 2, 1), tg.moving_sum(dy, 1, 2)
    assert_allclose((forward * dy).sum(), (x * back).sum(), rtol=1e-12)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8])
def test_local_response_norm_of_any_size_takes_the_channels_of_onnx(size):
    x = RNG.standard_normal((2, 6, 3))
    squares = np.zeros_like(x)
    for c in range(6):
        # ONNX, operator LRN: from c - floor((size - 1)/2) to c + ceil((size - 1)/2), within the channels.
        first, last = max(0, c - (size - 1) // 2), min(5, c + -(-(size - 1) // 2))
        squares[:, c] = (x[:, first : last + 1] ** 2).sum(axis=1)
    expected = x / (1.5 + 0.2 / size * squares) ** 0.75
    assert_allclose(tg.local_response_norm(x, size, alpha=0.2, bias=1.5), expected, rtol=1e-12)


WRONG = {
    "batch_norm: x (3,), scale (3,)": lambda: tg.batch_norm(np.ones(3), *[np.ones(3)] * 4),
    "batch_norm: x (2, 3), scale (2,)": lambda: tg.batch_norm(np.ones((2, 3)), *[np.ones(2)] * 4),
    "x has 3 channels (axis 1), so the others must have shape (3,)": lambda: tg.running_mean(
        np.ones(2), np.ones((4, 3))
    ),
    "4 channels do not make 3 groups": lambda: tg.group_norm(np.ones((2, 4)), np.ones(4), np.ones(4), groups=3),
    "4 channels do not make 0 groups": lambda: tg.group_norm(np.ones((2, 4)), np.ones(4), np.ones(4), groups=0),
    "x needs at least one axis after its channels": lambda: tg.instance_norm(np.ones((2, 4)), np.ones(4), np.ones(4)),
    "scale and shift must broadcast to the axes from -1 on, (4,)": lambda: tg.layer_norm(
        np.ones((3, 4)), np.ones(3), np.ones(4)
    ),
    "axis 2 is out of range": lambda: tg.layer_norm(np.ones((3, 4)), np.ones(4), np.ones(4), axis=2),
    "there is no variance of 1 numbers with correction 1": lambda: tg.variance(np.ones((3, 1)), axis=1, correction=1),
    "epsilon must not be negative": lambda: tg.standardize(np.ones(3), epsilon=-1e-5),
    "batch_norm: epsilon must not be negative": lambda: tg.batch_norm(np.ones((2, 3)), *[np.ones(3)] * 4, epsilon=-1),
    "running_mean: momentum must lie in 0 to 1": lambda: tg.running_mean(np.ones(3), np.ones((2, 3)), momentum=1.5),
    "size must be at least 1": lambda: tg.local_response_norm(np.ones((2, 3)), size=0),
    "before and after must not be negative": lambda: tg.moving_sum(np.ones(3), before=-1, after=0),
}


@pytest.mark.parametrize("message", WRONG)
def test_what_does_not_fit_is_refused_in_a_sentence(message):
    with pytest.raises((tg.ShapeError, tg.AttributeValueError)) as caught:
        WRONG[message]()
    assert message in str(caught.value)


def test_tensors_are_refused_as_arrays_are():
    x, g = tg.input("Z", (2, 3)), tg.parameter(np.ones(2), name="G")
    with pytest.raises(tg.ShapeError, match=r"batch_norm: x 'Z' .*scale 'G'"):
        tg.batch_norm(x, g, np.ones(3), np.ones(3), np.ones(3))
