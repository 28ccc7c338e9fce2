"""avg_pool2d, max_pool2d and global_avg_pool2d against loops over every window (naive.py)."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import tinygraph as tg
from tests.golden.cases import Case, cases_of
from tests.tools import naive
from tests.tools.sweeps import part

Array = np.ndarray[Any, np.dtype[np.float64]]
Pooling = tuple[Array, dict[str, Any]]
quickly = settings(derandomize=True, deadline=None, max_examples=part(150))


def normal(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape)


def image(*rows: list[float]) -> Array:
    return np.array(rows, dtype=float)[None, None]


def assert_close(found: Any, expected: Array) -> None:
    assert found.shape == expected.shape
    assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


def gradient(function: Callable[..., tg.Tensor], x: Array, cotangent: Array, **attributes: Any) -> Any:
    tensor = tg.tensor(x)
    (dx,) = tg.grad(function(tensor, **attributes), [tensor], cotangent=cotangent)
    return dx.value


# ---- random shapes and settings


@st.composite
def poolings(draw: st.DrawFn, ties: bool = False) -> Pooling:
    """x and the settings of a pooling whose windows fit; with `ties`, x holds few different numbers."""
    window = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    pads = tuple(draw(st.integers(0, size // 2)) for size in window)
    padding = draw(st.sampled_from(["same", "valid", pads, min(pads)]))
    added = (0, 0) if isinstance(padding, str) else naive.pair(padding)
    least = [1 if padding == "same" else max(1, size - 2 * p) for size, p in zip(window, added, strict=True)]
    height, width = (size + draw(st.integers(0, 4)) for size in least)
    steps = st.integers(1, 4)
    stride = draw(st.one_of(st.none(), steps, st.tuples(steps, steps)))
    x = normal(draw(st.integers(0, 1000)), draw(st.integers(1, 2)), draw(st.integers(1, 2)), height, width)
    return np.rint(x) if ties else x, {"window": window, "stride": stride, "padding": padding}


# ---- values and gradients


LOOPS: dict[str, tuple[Callable[..., Array], Callable[..., Array]]] = {
    "avg_pool2d": (naive.avg_pool2d, naive.avg_pool2d_gradient),
    "max_pool2d": (naive.max_pool2d, naive.max_pool2d_gradient),
}
both = pytest.mark.parametrize("operation", list(LOOPS))


def cotangent_of(x: Array, attributes: dict[str, Any]) -> Array:
    return normal(2, *naive.pool_shape(x.shape, **attributes))


@pytest.mark.parametrize("case", cases_of(*LOOPS), ids=lambda case: case.name)
def test_value(case: Case) -> None:
    x, forward = case.inputs["x"], LOOPS[case.operation][0]
    assert_close(tg.operation(case.operation)(x, **case.attributes), forward(x, **case.attributes))


@both
@quickly
@given(pooling=poolings())
def test_value_for_any_settings(operation: str, pooling: Pooling) -> None:
    x, attributes = pooling
    assert_close(tg.operation(operation)(x, **attributes), LOOPS[operation][0](x, **attributes))


@both
@quickly
@given(pooling=poolings())
def test_gradient_for_any_settings(operation: str, pooling: Pooling) -> None:
    x, attributes = pooling
    cotangent = cotangent_of(x, attributes)
    expected = LOOPS[operation][1](cotangent, x, **attributes)
    assert_close(gradient(tg.operation(operation), x, cotangent, **attributes), expected)


@quickly
@given(poolings(ties=True))
def test_max_pool2d_gradient_with_ties(pooling: Pooling) -> None:
    x, attributes = pooling
    cotangent = cotangent_of(x, attributes)
    expected = naive.max_pool2d_gradient(cotangent, x, **attributes)
    assert_close(gradient(tg.max_pool2d, x, cotangent, **attributes), expected)


@both
@quickly
@given(pooling=poolings())
def test_shape_is_known_without_values(operation: str, pooling: Pooling) -> None:
    x, attributes = pooling
    y = tg.operation(operation)(tg.input("x", x.shape), **attributes)
    assert y.shape == naive.pool_shape(x.shape, **attributes)


@both
def test_stride_is_the_window_by_default(operation: str) -> None:
    pool, x = tg.operation(operation), normal(0, 1, 2, 4, 6)
    assert_array_equal(pool(x, (2, 3)), pool(x, (2, 3), stride=(2, 3)))


def test_global_avg_pool2d_value() -> None:
    x = normal(0, 2, 3, 4, 5)
    assert_close(tg.global_avg_pool2d(x), naive.global_avg_pool2d(x))


def test_global_avg_pool2d_spreads_its_gradient_evenly() -> None:
    cotangent = normal(1, 2, 3)
    dx = gradient(tg.global_avg_pool2d, normal(0, 2, 3, 4, 5), cotangent)
    assert_close(dx, np.broadcast_to(cotangent[:, :, None, None] / 20, (2, 3, 4, 5)))


# ---- padding, overlap and ties


def test_avg_pool2d_counts_the_zeros_of_the_padding() -> None:
    assert_array_equal(tg.avg_pool2d(image([4.0]), 2, padding="same"), image([1.0]))


@pytest.mark.parametrize("padding", [1, "same"])
def test_max_pool2d_padding_never_wins(padding: int | str) -> None:
    assert tg.max_pool2d(image([-3.0, -2.0], [-5.0, -4.0]), 3, stride=1, padding=padding).max() == -2.0


def test_max_pool2d_padding_never_wins_against_minus_infinity() -> None:
    x = np.full((1, 1, 2, 2), -np.inf)
    dx = gradient(
        tg.max_pool2d, x, image([1.0, 2.0, 4.0], [8.0, 16.0, 32.0], [64.0, 128.0, 256.0]), window=2, stride=1, padding=1
    )
    assert_array_equal(dx, image([1.0 + 2.0 + 8.0 + 16.0, 4.0 + 32.0], [64.0 + 128.0, 256.0]))


def test_max_pool2d_adds_up_the_gradients_of_overlapping_windows() -> None:
    x = image([1.0, 2.0, 3.0], [4.0, 9.0, 5.0], [6.0, 7.0, 8.0])
    dx = gradient(tg.max_pool2d, x, image([1.0, 2.0], [4.0, 8.0]), window=2, stride=1)
    assert_array_equal(dx, image([0.0, 0.0, 0.0], [0.0, 15.0, 0.0], [0.0, 0.0, 0.0]))


def test_max_pool2d_gives_a_tie_to_the_first_in_row_major_order() -> None:
    x = image([0.0, 7.0, 7.0, 7.0], [7.0, 7.0, 7.0, 7.0])
    dx = gradient(tg.max_pool2d, x, image([1.0, 2.0]), window=2)
    assert_array_equal(dx, image([0.0, 1.0, 2.0, 0.0], [0.0, 0.0, 0.0, 0.0]))


def test_max_pool2d_gives_ties_of_overlapping_windows_to_the_first_of_each() -> None:
    dx = gradient(tg.max_pool2d, np.zeros((1, 1, 3, 3)), image([1.0, 2.0], [4.0, 8.0]), window=2, stride=1)
    assert_array_equal(dx, image([1.0, 2.0, 0.0], [4.0, 8.0, 0.0], [0.0, 0.0, 0.0]))


# ---- memory layout, dtype and empty batches


@both
@pytest.mark.parametrize(
    "x",
    [
        pytest.param(normal(0, 3, 5, 5, 2).transpose(3, 0, 1, 2), id="batch last"),
        pytest.param(normal(0, 2, 3, 10, 5)[:, :, ::2], id="every second row"),
        pytest.param(normal(0, 2, 3, 5, 5)[..., ::-1], id="mirrored"),
    ],
)
def test_views_in_memory(operation: str, x: Array) -> None:
    pool, (forward, backward) = tg.operation(operation), LOOPS[operation]
    attributes: dict[str, Any] = {"window": 3, "stride": 2, "padding": 1}
    cotangent = cotangent_of(x, attributes)
    assert_close(pool(x, **attributes), forward(x, **attributes))
    assert_close(gradient(pool, x, cotangent, **attributes), backward(cotangent, x, **attributes))


@both
def test_float32_stays_float32(operation: str) -> None:
    x = normal(0, 1, 2, 4, 4).astype(np.float32)
    assert tg.operation(operation)(x, 2).dtype == np.float32
    assert gradient(tg.operation(operation), x, np.ones((1, 2, 2, 2), np.float32), window=2).dtype == np.float32


@both
def test_empty_batch(operation: str) -> None:
    dx = gradient(tg.operation(operation), np.zeros((0, 2, 4, 4)), np.zeros((0, 2, 2, 2)), window=2)
    assert dx.shape == (0, 2, 4, 4)


# ---- mistakes


def bad(x: tuple[int, ...], label: str, **attributes: Any) -> Any:
    return pytest.param(x, attributes, id=label)


@both
@pytest.mark.parametrize(
    ("x", "attributes"),
    [
        bad((2, 4, 4), "image without a batch", window=2),
        bad((1, 2, 4, 4), "window higher than the image", window=(5, 2)),
        bad((1, 2, 2, 1), "window larger than the padded image", window=(4, 4), padding=1),
        bad((1, 2, 4, 4), "window larger than the image, valid", window=5, padding="valid"),
        bad((1, 2, 4, 4), "padding over half the window", window=2, padding=2),
        bad((1, 2, 4, 4), "padding over half an odd window", window=3, padding=2),
        bad((1, 2, 4, 4), "padding over half of one side", window=(4, 2), padding=2),
        bad((1, 2, 4, 4), "pair of paddings over half of one side", window=(2, 4), padding=(2, 2)),
        bad((1, 2, 4, 4), "negative padding", window=2, padding=-1),
        bad((1, 2, 4, 4), "misspelt padding", window=2, padding="sane"),
        bad((1, 2, 4, 4), "window 0", window=0),
        bad((1, 2, 4, 4), "window of three numbers", window=(2, 2, 2)),
        bad((1, 2, 4, 4), "fractional window", window=2.5),
        bad((1, 2, 4, 4), "stride 0", window=2, stride=0),
    ],
)
def test_refuses(operation: str, x: tuple[int, ...], attributes: dict[str, Any]) -> None:
    with pytest.raises((tg.ShapeError, tg.AttributeValueError), match=operation):
        tg.operation(operation)(np.zeros(x), **attributes)


def test_global_avg_pool2d_refuses_an_image_without_a_batch() -> None:
    with pytest.raises(tg.ShapeError, match="global_avg_pool2d"):
        tg.global_avg_pool2d(np.zeros((2, 4, 4)))
