"""Choosing by bits gives what NumPy's ``where`` gives, to the bit."""

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.ops.comparison.comparison import where_of

ENDS = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-7, -3.0]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "int64", "complex128", "bool"])
@pytest.mark.parametrize(
    "shapes",
    [
        ((7, 5), (7, 5), (7, 5)),
        ((7, 1), (5,), (7, 5)),
        ((), (5,), (2, 5)),
        ((3,), (), ()),
        ((), (3,), ()),
        ((), (), (2, 3)),
        ((0, 2), (), (2,)),
        ((), (), ()),
    ],
)
def test_what_where_gives(dtype, shapes):
    rng = np.random.default_rng(0)
    condition = np.asarray(rng.random(shapes[0]) > 0.5)
    with np.errstate(invalid="ignore"):
        x, y = (np.asarray(rng.choice(ENDS, shape)).astype(dtype) for shape in shapes[1:])
    for found in (where_of(condition, x, y), tg.where(condition, x, y)):
        expected = np.where(condition, x, y)
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        assert found.tobytes() == expected.tobytes()


def test_views_and_results_in_place():
    x, y = np.random.default_rng(0).normal(size=(2, 4, 6))
    expected = np.where(x.T > 0, x.T, y.T)
    np.testing.assert_array_equal(where_of(x.T > 0, x.T, y.T), expected)
    where_of(x > 0, x, y, out=y)
    np.testing.assert_array_equal(y.T, expected)


@pytest.mark.parametrize("slope", [0.0, 0.01, 1.0, 2.0, -0.5])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_leaky_relu_of_the_plan_is_that_of_the_operation(slope, dtype):
    x = np.array([*ENDS, 1e-45, -1e-45, 2.0], dtype)
    node = tg.input("x", x.shape, dtype)
    # A slope of 0 times infinity is NaN.
    with np.errstate(invalid="ignore"):
        expected = tg.leaky_relu(x, slope=slope)
        np.testing.assert_array_equal(tg.compile(tg.leaky_relu(node, slope=slope) + 0)({"x": x})[0], expected + 0)
    finite = x[np.isfinite(x)]
    node = tg.input("x", finite.shape, dtype)
    (found,) = tg.compile(tg.leaky_relu(node, slope=slope))({"x": finite})
    assert found.tobytes() == tg.leaky_relu(finite, slope=slope).tobytes()
