"""The error function and the normal distribution agree with Python's, everywhere and in every layout."""

import math

import numpy as np
import pytest

import tinygraph as tg

FUNCTIONS = {
    tg.erf: math.erf,
    tg.normal_cdf: lambda x: math.erfc(-x / math.sqrt(2)) / 2,
    tg.normal_pdf: lambda x: math.exp(-x * x / 2) / math.sqrt(2 * math.pi),
}


@pytest.mark.parametrize("function", FUNCTIONS, ids=str)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_within_a_few_units_in_the_last_place(function, dtype):
    rng, limits = np.random.default_rng(0), np.finfo(dtype)
    x = np.concatenate([3 * rng.normal(size=20_000), np.linspace(-12, 12, 4801), np.geomspace(1e-7, 1, 500)]).astype(
        dtype
    )
    expected = np.array([FUNCTIONS[function](float(number)) for number in x])
    found = np.asarray(function(x), np.float64)
    assert function(x).dtype == dtype
    normal = np.abs(expected) > limits.tiny
    # math.erfc(-x / sqrt(2)) has itself an error that grows with the square of x.
    allowed = 6 * float(limits.eps) + 3e-16 * np.square(x, dtype=np.float64)
    assert (np.abs(found - expected) <= allowed * np.abs(expected))[normal].all()
    assert (np.abs(found - expected) <= limits.tiny)[~normal].all()


def test_the_tail_is_exact_where_half_of_erfc_is_not():
    # DLMF 7.12.1 with terms enough for x = -37: the continued fraction of the Mills ratio.
    x = -37.501280000000001
    ratio = 0.0
    for k in range(60, 0, -1):
        ratio = k / (-x + ratio)
    # The square of x in two parts, so that its rounding does not count.
    upper = float(np.float32(x))
    density = math.exp(-upper * upper / 2) * math.exp(-(x - upper) * (x + upper) / 2) / math.sqrt(2 * math.pi)
    assert tg.normal_cdf(np.array([x]))[0] == pytest.approx(density / (-x + ratio), rel=1e-15)


@pytest.mark.parametrize("function", FUNCTIONS, ids=str)
def test_every_layout_and_the_ends_of_the_axis(function):
    x = np.random.default_rng(0).normal(size=(5, 30, 700))
    np.testing.assert_array_equal(function(x.transpose(2, 0, 1)), function(x).transpose(2, 0, 1))
    np.testing.assert_array_equal(function(x[:, ::3, ::-2]), function(x)[:, ::3, ::-2])
    assert function(np.zeros((0, 3))).shape == (0, 3)
    assert function(np.array(0.5)).shape == ()
    ends = np.array([-np.inf, np.inf, -1e300, 1e300, np.nan])
    with np.errstate(divide="raise", over="raise", invalid="raise"):
        expected = [FUNCTIONS[function](max(-1e9, min(1e9, end))) for end in ends[:4]]
        np.testing.assert_array_equal(function(ends), [*expected, np.nan])
    with pytest.raises(tg.errors.OperationError, match="complex"):
        function(np.array([1j]))


def test_the_sign_of_zero_is_kept():
    assert np.signbit(tg.erf(np.array([-0.0, 0.0]))).tolist() == [True, False]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("exponent", [-1, 3, 4])
def test_powers_that_are_products(exponent, dtype):
    x = np.array([-3.0, -0.0, 0.0, 0.1, 2.0, 1e9, np.inf, -np.inf, np.nan], dtype)
    with np.errstate(all="ignore"):
        expected = np.power(x, np.full(x.shape, exponent, dtype))
        np.testing.assert_allclose(tg.power(x, exponent), expected, rtol=4 * np.finfo(dtype).eps)
        assert tg.power(x, exponent).dtype == dtype
