"""Numeric derivatives, and how gradients are compared with them."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.verify.numeric import Derivative, compare, derivative

Array = np.ndarray[Any, Any]
Scalar = Callable[[Any], Any]


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def slope(function: Scalar, x: float, holomorphic: bool = False) -> Derivative:
    """The derivative of a function of one number."""
    return derivative(function, np.array([x]), np.ones(1), np.ones(1), holomorphic)


# ---- numeric derivatives


SMOOTH: list[tuple[str, Scalar, float, float]] = [
    ("exp", np.exp, 1.0, math.e),
    ("steep exp", lambda x: np.exp(20 * x), 0.5, 20 * math.exp(10)),
    ("waves", lambda x: np.sin(30 * x), 0.1, 30 * math.cos(3)),
    ("near a pole", lambda x: 1 / x, 0.01, -1e4),
    ("near a branch point", np.log, 1e-3, 1e3),
    ("sharp step", lambda x: np.tanh(100 * x), 0.001, 100 / math.cosh(0.1) ** 2),
    ("small numbers", lambda x: 1e-8 * x * x, 1e-8, 2e-16),
    ("large numbers", lambda x: x * x, 1e6, 2e6),
    ("small slope on a large offset", lambda x: 1 + 1e-6 * x * x, 1.0, 2e-6),
    ("flat", lambda x: 0 * x + 3, 1.0, 0.0),
]


SMOOTH_IDS = [name for name, _, _, _ in SMOOTH]


@pytest.mark.parametrize(("name", "function", "x", "exact"), SMOOTH, ids=SMOOTH_IDS)
def test_differences_settle_on_the_derivative_and_know_their_error(
    name: str, function: Scalar, x: float, exact: float
) -> None:
    found = slope(function, x)
    assert not found.kink
    # What the last digits of the values may hide is an error too, of a slope that is 0 the only one.
    assert found.error <= 1e-7 * abs(exact) + 1e-14 * abs(function(x) / x)
    assert abs(found.value - exact) <= 3 * found.error + 1e-15 * abs(exact)


@pytest.mark.parametrize(("name", "function", "x", "exact"), SMOOTH, ids=SMOOTH_IDS)
def test_a_complex_step_gives_every_digit(name: str, function: Scalar, x: float, exact: float) -> None:
    assert slope(function, x, holomorphic=True).value == pytest.approx(exact, rel=1e-14)


@pytest.mark.parametrize(
    "function",
    [np.square, lambda x: x**4, np.cosh, lambda x: 1e6 * x * x, lambda x: np.logaddexp(0, 50 * x)],
    ids=["square", "quartic", "cosh", "narrow", "softplus"],
)
def test_a_curve_is_no_kink(function: Scalar) -> None:
    assert not slope(function, 0.0).kink


@pytest.mark.parametrize(
    "function",
    [
        np.abs,
        lambda x: np.maximum(x, 0),
        lambda x: 1e-9 * np.maximum(x, 0),
        lambda x: np.exp(x) + 1e-3 * np.abs(x),
        lambda x: np.maximum(x * x, x),
        np.sign,
        np.sqrt,
        lambda x: np.sqrt(np.abs(x)),
        np.cbrt,
    ],
    ids=["abs", "relu", "tiny", "small on a curve", "max of two", "jump", "edge of infinite slope", "cusp", "upright"],
)
def test_a_kink_is_found(function: Scalar) -> None:
    assert slope(function, 0.0).kink


@pytest.mark.parametrize("x", [1e-1, 1e-3, 1e-5, -1e-3, -1e-5])
def test_beside_a_kink_there_is_a_derivative(x: float) -> None:
    found = slope(lambda x: np.maximum(x, 0) + np.sin(x), x)
    assert not found.kink
    assert found.value == pytest.approx((x > 0) + math.cos(x), rel=1e-9)


@pytest.mark.parametrize("outside", ["raises", "is not a number"])
@pytest.mark.parametrize(("x", "exact"), [(0.0, -1.0), (1e-4, -0.9998), (1.0, 1.0), (0.5, 0.0)])
def test_at_the_edge_of_a_domain_the_side_inside_counts(outside: str, x: float, exact: float) -> None:
    def function(x: Array) -> Array:
        if outside == "raises" and not ((x >= 0) & (x <= 1)).all():
            raise tg.DataError("outside 0..1")
        return np.where((x >= 0) & (x <= 1), x * x - x, np.nan)

    found = slope(function, x)
    assert not found.kink
    assert found.value == pytest.approx(exact, rel=1e-9, abs=1e-12)


def test_teeth_that_long_steps_jump_over_alike_are_no_slope() -> None:
    x, direction = np.array([-0.2608, 5.0]), np.array([1.0, 0.0])
    found = derivative(lambda v: np.mod(8.273, v), x, direction, np.ones(2))
    assert found.value == pytest.approx(32.0)


def test_a_point_without_neighbours_has_no_derivative() -> None:
    def function(x: Array) -> Array:
        if x[0] != 1:
            raise ValueError("nothing here")
        return x

    assert slope(function, 1.0).kink


def test_a_function_that_does_not_follow_into_the_complex_plane_gets_differences() -> None:
    def only_real(x: Array) -> Array:
        if x.dtype.kind == "c":
            raise TypeError("real numbers only")
        return x**3

    def drops_the_imaginary_part(x: Array) -> Array:
        return x.real**3

    for function in (only_real, drops_the_imaginary_part):
        assert slope(function, 2.0, holomorphic=True).value == pytest.approx(12, rel=1e-11)


def test_a_branch_cut_is_no_complex_step() -> None:
    """A negative number to a real power: the imaginary part that appears is no slope."""
    assert slope(
        lambda x: (-2.0 + 0j) ** x if x.dtype.kind == "c" else np.full(1, -2.0) ** x, 2.0, holomorphic=True
    ).kink


def test_outputs_that_are_not_finite_are_left_out() -> None:
    x = np.array([0.0, 4.0])
    found = derivative(np.log, x, np.array([0.0, 1.0]), np.ones(2))
    assert found.value == pytest.approx(0.25, rel=1e-10)


# ---- comparing


def numeric(gradient: Array) -> Callable[[Array], Derivative]:
    return lambda direction: Derivative(float((gradient * direction).sum()), 0.0)


def test_no_size_is_too_small_to_be_wrong() -> None:
    truth = np.array([1.0, 1e-9])
    points = compare(truth * [1, 3], numeric(truth), rng(), 1e-7, elements=2, directions=0)
    assert points[0].error == 0
    assert points[1].error > 1e-7


def test_rounding_beside_a_large_element_passes() -> None:
    truth = np.array([1.0, 1e-9])
    points = compare(truth + np.array([0, 1e-16]), numeric(truth), rng(), 1e-7, elements=2, directions=0)
    assert max(point.error for point in points) < 1e-12


def test_all_zeros_agree() -> None:
    points = compare(np.zeros(3), numeric(np.zeros(3)), rng(), 1e-7, elements=3, directions=2)
    assert [point.error for point in points] == [0.0] * 5


def test_an_uncertain_derivative_passes_what_is_within_its_error() -> None:
    def uncertain(direction: Array) -> Derivative:
        return Derivative(1.0, 1e-5)

    for rule, passes in [(1 + 1e-5, True), (1 + 3e-5, False)]:
        (point,) = compare(np.array([rule]), uncertain, rng(), 1e-7, elements=1, directions=0)
        assert (point.error <= 1e-7 * (1 + 1e-6)) == passes


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_rule_that_is_not_finite_is_wrong(value: float) -> None:
    points = compare(np.array([value, 1.0]), numeric(np.array([2.0, 1.0])), rng(), 1e-7, elements=2, directions=0)
    assert [point.error for point in points] == [math.inf, 0.0]


def test_one_wrong_element_of_many_is_searched_for() -> None:
    truth = np.arange(1.0, 3001.0).reshape(3, 1000)
    rule = truth.copy()
    rule[1, 234] *= 1.01
    *_, last = compare(rule, numeric(truth), rng(), 1e-7, elements=5, directions=1)
    assert last.index == (1, 234)
    assert (last.rule, last.numeric) == (rule[1, 234], truth[1, 234])


def test_a_scalar_has_one_element() -> None:
    (point,) = compare(np.array(2.0), numeric(np.array(2.0)), rng(), 1e-7, elements=9, directions=0)
    assert point.index == ()
