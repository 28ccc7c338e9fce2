"""conv2d, conv_transpose2d and conv2d_kernel_gradient against loops over every product (naive.py)."""

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
quickly = settings(derandomize=True, deadline=None, max_examples=part(150))


def normal(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape)


def assert_close(found: Any, expected: Array) -> None:
    assert found.shape == expected.shape
    assert_allclose(found, expected, rtol=1e-11, atol=1e-13)


def gradients(
    function: Callable[..., tg.Tensor], arrays: list[Array], cotangent: Array, **attributes: Any
) -> list[Any]:
    tensors = [tg.tensor(array) for array in arrays]
    return [gradient.value for gradient in tg.grad(function(*tensors, **attributes), tensors, cotangent=cotangent)]


# ---- random shapes and settings


def one_or_pair(low: int, high: int) -> st.SearchStrategy[Any]:
    numbers = st.integers(low, high)
    return st.one_of(numbers, st.tuples(numbers, numbers))


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[Array, Array, dict[str, Any]]:
    """x, k and the settings of a convolution whose windows fit."""
    groups = draw(st.integers(1, 3))
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    dilation = draw(one_or_pair(1, 2))
    padding = draw(st.one_of(st.sampled_from(["same", "valid"]), one_or_pair(0, 2)))
    added = (0, 0) if isinstance(padding, str) else naive.pair(padding)
    spans = [d * (size - 1) + 1 for size, d in zip(kernel, naive.pair(dilation), strict=True)]
    least = [1 if padding == "same" else max(1, span - 2 * p) for span, p in zip(spans, added, strict=True)]
    height, width = (size + draw(st.integers(0, 4)) for size in least)
    channels, filters = draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    seed = draw(st.integers(0, 1000))
    x = normal(seed, draw(st.integers(1, 2)), groups * channels, height, width)
    k = normal(seed + 1, filters, channels, *kernel)
    return x, k, {"stride": draw(one_or_pair(1, 3)), "padding": padding, "dilation": dilation, "groups": groups}


@st.composite
def transposed_convolutions(draw: st.DrawFn) -> tuple[Array, Array, dict[str, Any]]:
    """x, k and the settings of a transposed convolution with at least one row and column of output."""
    groups = draw(st.integers(1, 2))
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    stride, dilation = draw(one_or_pair(1, 3)), draw(one_or_pair(1, 2))
    spans = [d * (size - 1) + 1 for size, d in zip(kernel, naive.pair(dilation), strict=True)]
    strides = naive.pair(stride)
    size = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    full = [(n - 1) * s + span for n, s, span in zip(size, strides, spans, strict=True)]
    padding = tuple(draw(st.integers(0, (length - 1) // 2)) for length in full)
    output_padding = tuple(draw(st.integers(0, s - 1)) for s in strides)
    seed = draw(st.integers(0, 1000))
    x = normal(seed, draw(st.integers(1, 2)), groups * draw(st.integers(1, 2)), *size)
    k = normal(seed + 1, x.shape[1], draw(st.integers(1, 2)), *kernel)
    attributes = {"stride": stride, "padding": padding, "dilation": dilation, "output_padding": output_padding}
    return x, k, {**attributes, "groups": groups}


# ---- conv2d


@pytest.mark.parametrize("case", cases_of("conv2d"), ids=lambda case: case.label)
def test_conv2d_value(case: Case) -> None:
    x, k = case.inputs.values()
    assert_close(tg.conv2d(x, k, **case.attributes), naive.conv2d(x, k, **case.attributes))


@quickly
@given(convolutions())
def test_conv2d_value_for_any_settings(convolution: tuple[Array, Array, dict[str, Any]]) -> None:
    x, k, attributes = convolution
    assert_close(tg.conv2d(x, k, **attributes), naive.conv2d(x, k, **attributes))


@quickly
@given(convolutions())
def test_conv2d_gradients_for_any_settings(convolution: tuple[Array, Array, dict[str, Any]]) -> None:
    x, k, attributes = convolution
    cotangent = normal(2, *naive.conv2d_shape(x.shape, k.shape, **attributes))
    dx, dk = gradients(tg.conv2d, [x, k], cotangent, **attributes)
    assert_close(dx, naive.conv2d_input_gradient(cotangent, x.shape, k, **attributes))
    assert_close(dk, naive.conv2d_kernel_gradient(cotangent, x, k.shape, **attributes))


@quickly
@given(convolutions())
def test_conv2d_shape_is_known_without_values(convolution: tuple[Array, Array, dict[str, Any]]) -> None:
    x, k, attributes = convolution
    y = tg.conv2d(tg.input("x", x.shape), tg.input("k", k.shape), **attributes)
    assert y.shape == naive.conv2d_shape(x.shape, k.shape, **attributes)


def test_conv2d_is_cross_correlation() -> None:
    x = np.arange(9.0).reshape(1, 1, 3, 3)
    k = np.array([[1.0, 2.0], [3.0, 4.0]]).reshape(1, 1, 2, 2)
    assert_array_equal(tg.conv2d(x, k), [[[[27.0, 37.0], [57.0, 67.0]]]])


def test_conv2d_same_puts_the_odd_column_of_padding_after() -> None:
    x = np.array([1.0, 2.0, 3.0]).reshape(1, 1, 1, 3)
    k = np.array([1.0, 10.0]).reshape(1, 1, 1, 2)
    assert_array_equal(tg.conv2d(x, k, padding="same"), [[[[21.0, 32.0, 3.0]]]])


def test_conv2d_ignores_columns_that_no_window_reaches() -> None:
    cotangent = np.ones((1, 1, 1, 2))
    dx, _ = gradients(tg.conv2d, [np.ones((1, 1, 1, 6)), np.ones((1, 1, 1, 2))], cotangent, stride=3)
    assert_array_equal(dx, [[[[1.0, 1.0, 0.0, 1.0, 1.0, 0.0]]]])


def test_conv2d_keeps_float32() -> None:
    x, k = normal(0, 2, 3, 5, 5).astype(np.float32), normal(1, 4, 3, 3, 3).astype(np.float32)
    y = tg.conv2d(x, k, padding=1)
    assert y.dtype == np.float32
    assert_allclose(y, naive.conv2d(x, k, padding=1), rtol=1e-4, atol=1e-5)


# ---- the kernel gradient as an operation (notes B8, B13)


@quickly
@given(convolutions())
def test_kernel_gradient_value_for_any_settings(convolution: tuple[Array, Array, dict[str, Any]]) -> None:
    x, k, attributes = convolution
    dy = normal(2, *naive.conv2d_shape(x.shape, k.shape, **attributes))
    dk = tg.conv2d_kernel_gradient(x, dy, kernel_size=k.shape[2:], **attributes)
    assert_close(dk, naive.conv2d_kernel_gradient(dy, x, k.shape, **attributes))


@quickly
@given(convolutions())
def test_kernel_gradient_gradients_for_any_settings(convolution: tuple[Array, Array, dict[str, Any]]) -> None:
    x, k, attributes = convolution
    dy = normal(2, *naive.conv2d_shape(x.shape, k.shape, **attributes))
    dx, ddy = gradients(tg.conv2d_kernel_gradient, [x, dy], k, kernel_size=k.shape[2:], **attributes)
    assert_close(dx, naive.conv2d_input_gradient(dy, x.shape, k, **attributes))
    assert_close(ddy, naive.conv2d(x, k, **attributes))


# ---- conv_transpose2d


@quickly
@given(transposed_convolutions())
def test_conv_transpose2d_value_for_any_settings(convolution: tuple[Array, Array, dict[str, Any]]) -> None:
    x, k, attributes = convolution
    assert_close(tg.conv_transpose2d(x, k, **attributes), naive.conv_transpose2d(x, k, **attributes))


@quickly
@given(transposed_convolutions())
def test_conv_transpose2d_gradients_for_any_settings(convolution: tuple[Array, Array, dict[str, Any]]) -> None:
    x, k, attributes = convolution
    cotangent = normal(2, *naive.conv_transpose2d_shape(x.shape, k.shape, **attributes))
    dx, dk = gradients(tg.conv_transpose2d, [x, k], cotangent, **attributes)
    assert_close(dx, naive.conv_transpose2d_input_gradient(cotangent, x.shape, k, **attributes))
    assert_close(dk, naive.conv_transpose2d_kernel_gradient(cotangent, x, k.shape, **attributes))


@quickly
@given(convolutions())
def test_conv_transpose2d_is_the_input_gradient_of_conv2d(convolution: tuple[Array, Array, dict[str, Any]]) -> None:
    x, k, attributes = convolution
    dy = normal(2, *naive.conv2d_shape(x.shape, k.shape, **attributes))
    dx = tg.conv_transpose2d(dy, k, output_size=x.shape[2:], **attributes)
    assert_close(dx, naive.conv2d_input_gradient(dy, x.shape, k, **attributes))


# ---- memory layout and empty batches


@pytest.mark.parametrize(
    "view",
    [
        pytest.param(lambda shape: normal(0, *shape[1:], shape[0]).transpose(3, 0, 1, 2), id="batch last"),
        pytest.param(lambda shape: normal(0, *shape[:2], 2 * shape[2], shape[3])[:, :, ::2], id="every second row"),
        pytest.param(lambda shape: normal(0, *shape)[..., ::-1], id="mirrored"),
        pytest.param(lambda shape: np.broadcast_to(normal(0, *shape[1:]), shape), id="one sample broadcast"),
    ],
)
def test_conv2d_of_views_in_memory(view: Callable[[tuple[int, ...]], Array]) -> None:
    x, k = view((2, 2, 5, 5)), view((3, 2, 3, 3))
    cotangent = view((2, 3, 5, 5))
    dx, dk = gradients(tg.conv2d, [x, k], cotangent, padding=1)
    assert_close(tg.conv2d(x, k, padding=1), naive.conv2d(x, k, padding=1))
    assert_close(dx, naive.conv2d_input_gradient(cotangent, x.shape, k, padding=1))
    assert_close(dk, naive.conv2d_kernel_gradient(cotangent, x, k.shape, padding=1))


def test_conv2d_of_an_empty_batch() -> None:
    x, k = np.zeros((0, 2, 5, 5)), normal(1, 3, 2, 3, 3)
    dx, dk = gradients(tg.conv2d, [x, k], np.zeros((0, 3, 3, 3)))
    assert tg.conv2d(x, k).shape == (0, 3, 3, 3)
    assert dx.shape == x.shape
    assert_array_equal(dk, np.zeros(k.shape))


def test_conv_transpose2d_of_an_empty_batch() -> None:
    x, k = np.zeros((0, 2, 3, 3)), normal(1, 2, 3, 3, 3)
    dx, dk = gradients(tg.conv_transpose2d, [x, k], np.zeros((0, 3, 5, 5)))
    assert tg.conv_transpose2d(x, k).shape == (0, 3, 5, 5)
    assert dx.shape == x.shape
    assert_array_equal(dk, np.zeros(k.shape))


# ---- second derivatives


def central_difference(function: Callable[[Array], float], at: Array) -> Array:
    """Exact but for rounding where `function` is linear, hence the wide step."""
    slope = np.zeros(at.shape)
    for index in np.ndindex(at.shape):
        step = np.zeros(at.shape)
        step[index] = 1.0
        slope[index] = (function(at + step) - function(at - step)) / 2
    return slope


@pytest.mark.sweep
@pytest.mark.parametrize(
    "attributes",
    [
        pytest.param({}, id="plain"),
        pytest.param({"stride": 2, "padding": 1}, id="stride and padding"),
        pytest.param({"stride": (1, 2), "padding": "same", "dilation": (2, 1)}, id="same and dilation"),
        pytest.param({"padding": (0, 1), "groups": 2}, id="groups"),
    ],
)
def test_conv2d_second_derivatives(attributes: dict[str, Any]) -> None:
    x, k = normal(0, 2, 4, 4, 5), normal(1, 2, 4 // attributes.get("groups", 1), 3, 2)
    cotangent = normal(2, *naive.conv2d_shape(x.shape, k.shape, **attributes))
    u, v = normal(3, *x.shape), normal(4, *k.shape)

    def weighed_gradients(x: Array, k: Array, cotangent: Array) -> float:
        dx = naive.conv2d_input_gradient(cotangent, x.shape, k, **attributes)
        dk = naive.conv2d_kernel_gradient(cotangent, x, k.shape, **attributes)
        return float((u * dx).sum() + (v * dk).sum())

    leaves = [tg.tensor(x, name="x"), tg.tensor(k, name="k"), tg.tensor(cotangent, name="c")]
    dx, dk = tg.grad(tg.conv2d(*leaves[:2], **attributes), leaves[:2], cotangent=leaves[2])
    second = tg.grad(tg.sum(dx * u) + tg.sum(dk * v), leaves)

    assert_allclose(second[0].value, central_difference(lambda at: weighed_gradients(at, k, cotangent), x), atol=1e-11)
    assert_allclose(second[1].value, central_difference(lambda at: weighed_gradients(x, at, cotangent), k), atol=1e-11)
    assert_allclose(second[2].value, central_difference(lambda at: weighed_gradients(x, k, at), cotangent), atol=1e-11)


# ---- mistakes


def bad(x: tuple[int, ...], k: tuple[int, ...], label: str, **attributes: Any) -> Any:
    return pytest.param(x, k, attributes, id=label)


@pytest.mark.parametrize(
    ("x", "k", "attributes"),
    [
        bad((1, 3, 5, 5), (2, 2, 3, 3), "channels differ"),
        bad((1, 3, 5, 5), (2, 1, 3, 3), "groups do not divide the channels", groups=2),
        bad((1, 4, 5, 5), (3, 2, 3, 3), "groups do not divide the filters", groups=2),
        bad((1, 4, 5, 5), (2, 4, 3, 3), "kernel made for one group", groups=2),
        bad((1, 2, 5, 5), (2, 2, 6, 3), "kernel higher than the image"),
        bad((1, 2, 5, 5), (2, 2, 3, 8), "kernel wider than the padded image", padding=1),
        bad((1, 2, 5, 5), (2, 2, 3, 3), "dilated kernel larger than the image", dilation=3),
        bad((1, 2, 5, 5), (2, 2, 6, 6), "kernel larger than the image, valid", padding="valid"),
        bad((2, 5, 5), (2, 2, 3, 3), "image without a batch"),
        bad((1, 2, 5, 5), (2, 3, 3), "kernel of three axes"),
        bad((1, 2, 5, 5), (2, 2, 3, 3), "stride 0", stride=0),
        bad((1, 2, 5, 5), (2, 2, 3, 3), "stride of three numbers", stride=(1, 1, 1)),
        bad((1, 2, 5, 5), (2, 2, 3, 3), "fractional stride", stride=1.5),
        bad((1, 2, 5, 5), (2, 2, 3, 3), "negative padding", padding=-1),
        bad((1, 2, 5, 5), (2, 2, 3, 3), "misspelt padding", padding="sane"),
        bad((1, 2, 5, 5), (2, 2, 3, 3), "dilation 0", dilation=0),
        bad((1, 2, 5, 5), (2, 2, 3, 3), "groups 0", groups=0),
    ],
)
@pytest.mark.parametrize("make", [np.zeros, lambda shape: tg.input("t", shape)], ids=["arrays", "shapes only"])
def test_conv2d_refuses(
    x: tuple[int, ...], k: tuple[int, ...], attributes: dict[str, Any], make: Callable[[tuple[int, ...]], Any]
) -> None:
    with pytest.raises((tg.ShapeError, tg.AttributeValueError), match="conv2d"):
        tg.conv2d(make(x), make(k), **attributes)


@pytest.mark.parametrize(
    ("x", "k", "attributes"),
    [
        bad((1, 3, 4, 4), (2, 3, 3, 3), "channels differ"),
        bad((1, 3, 4, 4), (3, 2, 3, 3), "groups do not divide the channels", groups=2),
        bad((2, 4, 4), (2, 2, 3, 3), "image without a batch"),
        bad((1, 2, 4, 4), (2, 3, 3), "kernel of three axes"),
        bad((1, 2, 1, 1), (2, 2, 2, 2), "padding eats the output", padding=1),
        bad((1, 2, 4, 4), (2, 2, 3, 3), "output padding beyond the stride", stride=2, output_padding=2),
        bad((1, 2, 4, 4), (2, 2, 3, 3), "output size too small", stride=2, output_size=(8, 9)),
        bad((1, 2, 4, 4), (2, 2, 3, 3), "output size too large", stride=2, output_size=(9, 11)),
    ],
)
def test_conv_transpose2d_refuses(x: tuple[int, ...], k: tuple[int, ...], attributes: dict[str, Any]) -> None:
    with pytest.raises((tg.ShapeError, tg.AttributeValueError), match="conv_transpose2d"):
        tg.conv_transpose2d(np.zeros(x), np.zeros(k), **attributes)


@pytest.mark.parametrize(
    ("x", "dy", "attributes"),
    [
        bad((2, 2, 5, 5), (2, 3, 3, 4), "dy too wide"),
        bad((2, 2, 5, 5), (1, 3, 3, 3), "batches differ"),
        bad((2, 2, 5, 5), (3, 3, 3), "dy of three axes"),
        bad((2, 2, 5, 5), (2, 3, 3, 3), "groups do not divide the filters", groups=2),
    ],
)
def test_kernel_gradient_refuses(x: tuple[int, ...], dy: tuple[int, ...], attributes: dict[str, Any]) -> None:
    with pytest.raises((tg.ShapeError, tg.AttributeValueError), match="conv2d_kernel_gradient"):
        tg.conv2d_kernel_gradient(np.zeros(x), np.zeros(dy), kernel_size=(3, 3), **attributes)
