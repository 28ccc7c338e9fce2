"""Dropout: the share that is left out, the same every time, in the gradient too."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import tinygraph as tg

ONES = np.ones((200, 300))


def left_out(key, **attributes):
    return tg.dropout(ONES, key, training=True, **attributes) == 0


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_the_share_is_left_out_and_the_rest_makes_up_for_it(rate):
    y = tg.dropout(ONES, 1, rate=rate, training=True)
    assert abs((y == 0).mean() - rate) < 0.01
    assert set(np.unique(y).round(12)) == {0.0, round(1 / (1 - rate), 12)}
    assert abs(y.mean() - 1) < 0.03


def test_elements_are_left_out_independently():
    mask = left_out(3).astype(float) - 0.5
    for shift in (1, 2, 7):
        assert abs((mask[:, shift:] * mask[:, :-shift]).mean()) < 0.005
        assert abs((mask[shift:] * mask[:-shift]).mean()) < 0.005


def test_the_same_key_leaves_out_the_same_and_others_do_not():
    assert_array_equal(left_out(7), left_out(7))
    for other in (left_out(8), left_out(-7), left_out(7, stream=1), left_out(7 + 2**62)):
        assert 0.45 < (other != left_out(7)).mean() < 0.55


def test_the_numbers_of_a_key_are_pinned():
    # Philox is defined bit by bit, so these hold on every machine.
    y = tg.dropout(np.ones((2, 6)), 2024, rate=0.25, training=True)
    assert_array_equal(y != 0, [[True, True, False, True, True, True], [True, True, True, True, False, True]])


def test_what_is_left_out_does_not_depend_on_the_dtype():
    single, double = (tg.dropout(ONES.astype(d), 5, rate=0.3, training=True) for d in (np.float32, np.float64))
    assert (single.dtype, double.dtype) == (np.float32, np.float64)
    assert_array_equal(single == 0, double == 0)


@pytest.mark.parametrize("attributes", [{}, {"training": False}, {"training": True, "rate": 0.0}])
def test_nothing_is_left_out_in_prediction_or_at_rate_zero(attributes):
    x = tg.tensor([[1.0, -2.0]], name="x")
    y = tg.dropout(x, 1, **attributes)
    assert y is not x
    assert_array_equal(y.value, x.value)


def test_the_gradient_leaves_out_the_same_elements():
    x = tg.tensor(np.random.default_rng(0).standard_normal((20, 30)))
    y = tg.dropout(x, 11, rate=0.4, training=True)
    (dx,) = tg.grad(y.sum(), [x])
    assert_array_equal(dx.value, np.where(y.value == 0, 0, 1 / 0.6))
    (ddx,) = tg.grad((dx * dx * x).sum(), [x], unreached="zeros")
    assert_array_equal(ddx.value, dx.value**2)


def test_the_key_may_be_a_tensor_of_any_whole_dtype():
    expected = left_out(9)
    for dtype in (np.int32, np.int64, np.uint8):
        key = tg.state(np.array(9, dtype))
        assert_array_equal(tg.dropout(ONES, key, training=True).value == 0, expected)


def test_a_recorded_graph_takes_its_key_when_it_runs():
    x, key = tg.input("x", (200, 300), "float64"), tg.input("key", (), "int64")
    y = tg.dropout(x, key, training=True)
    for k in (1, 2):
        (found,) = tg.run(y, {"x": ONES, "key": k})
        (planned,) = tg.compile(y)({"x": ONES, "key": k})
        assert_array_equal(found == 0, left_out(k))
        assert_array_equal(planned, found)


WRONG = {
    "rate must lie in 0 to 1, without 1; found 1.0": lambda: tg.dropout(ONES, 1, rate=1.0),
    "rate must lie in 0 to 1, without 1; found -0.1": lambda: tg.dropout(ONES, 1, rate=-0.1),
    "found nan": lambda: tg.dropout(ONES, 1, rate=float("nan")),
    "stream must not be negative": lambda: tg.dropout(ONES, 1, stream=-1),
    "must be one whole number, as in dropout(x, key, rate=0.5); found float64": lambda: tg.dropout(ONES, 1.5),
    "found int64 of shape (2,)": lambda: tg.dropout(ONES, np.array([1, 2])),
    "a shape holds sizes": lambda: tg.dropout_mask(np.array(1), (2, -1)),
}


@pytest.mark.parametrize("message", WRONG)
def test_what_does_not_fit_is_refused_in_a_sentence(message):
    with pytest.raises((tg.ShapeError, tg.AttributeValueError)) as caught:
        WRONG[message]()
    assert message in str(caught.value)
