"""Values and gradients at the ends: tails, poles, infinities, squares of lengths at 0, and index arrays without elements."""

import math

import mpmath
import numpy as np
import pytest
import torch

import tinygraph as tg

X = [-30.0, -12.0, -9.0, -6.0, -5.5, -4.0, -3.0, -1.0, -0.1, -1e-6, 0.0, 1e-6, 0.1, 1.0, 3.0, 5.5, 6.0, 9.0]

# Functions that fade away on one side, where a sum with 1 would lose all digits.
TAILS = {
    "gelu": (tg.gelu, lambda x: x * mpmath.erfc(-x / mpmath.sqrt(2)) / 2),
    "gelu tanh": (
        lambda x: tg.gelu(x, approximate="tanh"),
        lambda x: x * (1 + mpmath.tanh(mpmath.sqrt(2 / mpmath.pi) * (x + mpmath.mpf("0.044715") * x**3))) / 2,
    ),
    "normal_cdf": (tg.normal_cdf, lambda x: mpmath.erfc(-x / mpmath.sqrt(2)) / 2),
    "normal_pdf": (tg.normal_pdf, lambda x: mpmath.exp(-x * x / 2) / mpmath.sqrt(2 * mpmath.pi)),
    "erf": (tg.erf, mpmath.erf),
    "softplus": (tg.softplus, lambda x: mpmath.log1p(mpmath.exp(x))),
    "log_sigmoid": (tg.log_sigmoid, lambda x: -mpmath.log1p(mpmath.exp(-x))),
    "silu": (tg.silu, lambda x: x / (1 + mpmath.exp(-x))),
    "mish": (tg.mish, lambda x: x * mpmath.tanh(mpmath.log1p(mpmath.exp(x)))),
    "expm1": (tg.expm1, mpmath.expm1),
}


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("name", TAILS)
def test_tails_keep_their_digits(name, dtype):
    ours, exact = TAILS[name]
    x = tg.tensor(np.array(X, dtype))
    y = ours(x)
    (dx,) = tg.grad(y, [x], cotangent=np.ones(x.shape, dtype))
    with mpmath.workdps(280):
        numbers = [mpmath.mpf(float(number)) for number in x.value]
        values = [float(exact(number)) for number in numbers]
        slopes = [float(mpmath.diff(exact, number, h=mpmath.mpf(10) ** -40)) for number in numbers]
    # Python's erfc rounds its argument, which far out moves its value by some hundred roundings of float64.
    tolerance = 20 * np.finfo(dtype).eps if dtype != np.float64 else 2e-13
    for found, expected in ((y.value, values), (dx.value, slopes)):
        np.testing.assert_allclose(found, expected, tolerance, 2 * float(np.finfo(dtype).smallest_subnormal))


@pytest.mark.parametrize(
    ("operation", "number", "right"),
    [
        (tg.gelu, -5.5, -1.0444e-7),
        (tg.silu, -17.25, -5.558e-7),
        (tg.mish, -17.25, -5.558e-7),
        (tg.hard_swish, -2.998, -9.76e-4),
    ],
)
def test_float16_keeps_what_it_can_hold_in_tails(operation, number, right):
    x = tg.input("x", (1,), "float16")
    for found in (operation(np.float16([number])), *tg.compile(operation(x))({"x": np.float16([number])})):
        assert found.dtype == np.float16
        assert abs(found[0] - right) <= 2**-24


def test_gelu_in_the_tail():
    np.testing.assert_allclose(tg.gelu(np.array([-5.5, -6.0])), [-1.0444259e-07, -5.9195259e-09], rtol=1e-6)
    np.testing.assert_allclose(tg.gelu(np.float32([-5.5, -6.0])), [-1.0444259e-07, -5.9195259e-09], rtol=5e-7)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_powers_of_zero_have_pytorchs_gradients():
    exponents = [-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0]
    pairs = [tg.tensor(np.zeros(7)), tg.tensor(exponents)]
    theirs = [torch.zeros(7, dtype=torch.float64, requires_grad=True), torch.tensor(exponents, requires_grad=True)]
    expected = torch.autograd.grad((theirs[0] ** theirs[1]).sum(), theirs)
    found = tg.grad((pairs[0] ** pairs[1]).sum(), pairs)
    for ours, torchs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours.value, torchs.numpy())


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_hard_swish_at_infinity_has_the_slopes_of_its_ends():
    x = tg.tensor([-np.inf, np.inf])
    assert tg.grad(tg.hard_swish(x).sum(), [x])[0].value.tolist() == [0, 1]


LENGTHS = {
    "l2_norm": lambda x: tg.l2_norm(x) ** 2,
    "l2_norm of rows": lambda x: tg.sum(tg.l2_norm(x.reshape(1, 2), axis=1) ** 2.0),
    "l2_norm times itself": lambda x: (lambda length: length * length)(tg.l2_norm(x)),
    "two l2_norms": lambda x: tg.l2_norm(x) * tg.l2_norm(x),
    "square": lambda x: np.square(tg.l2_norm(x)),
    "hypot": lambda x: tg.hypot(x[0], x[1]) ** 2,
}


@pytest.mark.parametrize("at", [[0.0, 0.0], [3.0, -4.0]])
@pytest.mark.parametrize("name", LENGTHS)
def test_the_square_of_a_length_has_second_derivatives_everywhere(name, at):
    x = tg.tensor(at)
    (dx,) = tg.grad(LENGTHS[name](x), [x])
    np.testing.assert_allclose(dx.value, 2 * x.value)
    rows = [tg.grad(dx[i], [x])[0].value for i in range(2)]
    np.testing.assert_allclose(rows, 2 * np.eye(2), atol=1e-12)


def test_a_length_that_is_not_squared_keeps_its_gradient():
    x = tg.tensor([3.0, -4.0])
    (dx,) = tg.grad(tg.l2_norm(x) ** 3 + tg.l2_norm(x), [x])
    np.testing.assert_allclose(dx.value, 3 * 5 * x.value + x.value / 5)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (0, 0), (2, 0, 3)])
def test_an_index_array_without_elements_keeps_its_shape(shape):
    x, index = np.zeros((4, 2), np.float32), np.zeros(shape, int)
    declared, leaf = tg.input("x", (4, 2)), tg.tensor(x)
    for parts in (index, (index, 0), (slice(1, 3), index), (index, index), (None, index)):
        expected = x[parts].shape
        assert declared[parts].shape == leaf[parts].shape == expected
        assert tg.compile(tg.Graph(declared[parts]))({"x": x})[0].shape == expected
        assert tg.grad(leaf[parts].sum(), [leaf])[0].value.tolist() == x.tolist()
    assert declared[index].op != declared[np.zeros((0, math.prod(shape) + 7), int)].op
