"""Convolutions and pools of lines, pictures and volumes against loops over every product and window (naive.py)."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import tinygraph as tg
from tests.tools import naive
from tests.tools.sweeps import part

Array = np.ndarray[Any, np.dtype[np.float64]]
Attributes = dict[str, Any]
quickly = settings(derandomize=True, deadline=None, max_examples=part(60))
every_rank = pytest.mark.parametrize("rank", [1, 2, 3])


def normal(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape)


def assert_close(found: Any, expected: Array) -> None:
    assert found.shape == expected.shape
    assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


def operation(name: str, rank: int) -> Any:
    return tg.operation(name.format(f"{rank}d"))


def gradients(function: Callable[..., Any], arrays: list[Array], cotangent: Array, **attributes: Any) -> list[Any]:
    tensors = [tg.tensor(array) for array in arrays]
    return [dx.value for dx in tg.grad(function(*tensors, **attributes), tensors, cotangent=cotangent)]


# ---- random shapes and settings


def sizes(rank: int, low: int, high: int) -> st.SearchStrategy[Any]:
    numbers = st.integers(low, high)
    return st.one_of(numbers, st.tuples(*[numbers] * rank))


def paddings(rank: int, high: int, names: bool = True) -> st.SearchStrategy[Any]:
    """One number, one for each axis, a pair for each axis, or a name."""
    sides = st.tuples(*[st.tuples(st.integers(0, high), st.integers(0, high))] * rank)
    numbers = st.one_of(sizes(rank, 0, high), sides, sides)
    return st.one_of(numbers, st.sampled_from(["same", "same_upper", "same_lower", "valid"])) if names else numbers


def images(draw: st.DrawFn, span: tuple[int, ...], padding: Any, extra: int) -> tuple[int, ...]:
    """Sizes of an image in which a window that spans so much fits."""
    rank = len(span)
    added = (
        [0] * rank
        if isinstance(padding, str)
        else [sum(naive.padding_along(0, 0, 1, p)) for p in naive.along(padding, rank)]
    )
    named = isinstance(padding, str) and padding != "valid"
    least = [1 if named else max(1, size - pads) for size, pads in zip(span, added, strict=True)]
    return tuple(size + draw(st.integers(0, extra)) for size in least)


@st.composite
def convolutions(draw: st.DrawFn, rank: int) -> tuple[Array, Array, Attributes]:
    """x, k and the settings of a convolution whose windows fit."""
    groups, kernel = draw(st.integers(1, 3)), draw(st.tuples(*[st.integers(1, 3 if rank < 3 else 2)] * rank))
    dilation, padding = draw(sizes(rank, 1, 2)), draw(paddings(rank, 2))
    image = images(draw, naive.spans(kernel, dilation, rank), padding, 3 if rank < 3 else 1)
    channels, filters, seed = draw(st.integers(1, 2)), groups * draw(st.integers(1, 2)), draw(st.integers(0, 1000))
    x, k = (
        normal(seed, draw(st.integers(1, 2)), groups * channels, *image),
        normal(seed + 1, filters, channels, *kernel),
    )
    return x, k, {"stride": draw(sizes(rank, 1, 3)), "padding": padding, "dilation": dilation, "groups": groups}


@st.composite
def transposed_convolutions(draw: st.DrawFn, rank: int) -> tuple[Array, Array, Attributes]:
    """x, k and the settings of a transposed convolution that leaves something of its image."""
    groups, kernel = draw(st.integers(1, 2)), draw(st.tuples(*[st.integers(1, 3 if rank < 3 else 2)] * rank))
    stride, dilation, padding = draw(sizes(rank, 1, 3)), draw(sizes(rank, 1, 2)), draw(paddings(rank, 1, names=False))
    extra = tuple(draw(st.integers(0, s - 1)) for s in naive.along(stride, rank))
    attributes = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups, "output_padding": extra}
    seed, count = draw(st.integers(0, 1000)), draw(st.tuples(*[st.integers(1, 3)] * rank))
    x = normal(seed, draw(st.integers(1, 2)), groups * draw(st.integers(1, 2)), *count)
    k = normal(seed + 1, x.shape[1], draw(st.integers(1, 2)), *kernel)
    assume(min(naive.conv_transpose_shape(x.shape, k.shape, **attributes)) > 0)
    return x, k, attributes


@st.composite
def poolings(draw: st.DrawFn, rank: int) -> tuple[Array, Attributes]:
    """x and the settings of a pool of which every window holds a pixel."""
    window, dilation = draw(st.tuples(*[st.integers(1, 3)] * rank)), draw(sizes(rank, 1, 2))
    span = naive.spans(window, dilation, rank)
    padding = draw(paddings(rank, 2))
    if not isinstance(padding, str):
        pads = [naive.padding_along(0, 0, 1, p) for p in naive.along(padding, rank)]
        assume(all(sum(p) <= size for p, size in zip(pads, span, strict=True)))
    image = images(draw, span, padding, 4 if rank < 3 else 2)
    settings = {"window": window, "stride": draw(st.one_of(st.none(), sizes(rank, 1, 3))), "padding": padding}
    settings |= {"dilation": dilation, "ceil_mode": draw(st.booleans())}
    x = normal(draw(st.integers(0, 1000)), draw(st.integers(1, 2)), draw(st.integers(1, 2)), *image)
    assume(all(inside for _, inside, _ in naive.pool_windows(x.shape, **settings)))
    return x, settings


# ---- convolutions


@every_rank
@quickly
@given(data=st.data())
def test_convolution_for_any_settings(rank: int, data: st.DataObject) -> None:
    x, k, attributes = data.draw(convolutions(rank))
    conv, kernel_gradient = operation("conv{}", rank), operation("conv{}_kernel_gradient", rank)
    shape = naive.conv_shape(x.shape, k.shape, **attributes)
    assert conv(tg.input("x", x.shape), tg.input("k", k.shape), **attributes).shape == shape
    assert_close(conv(x, k, **attributes), naive.conv(x, k, **attributes))
    dy = normal(2, *shape)
    dx, dk = (
        naive.conv_input_gradient(dy, x.shape, k, **attributes),
        naive.conv_kernel_gradient(dy, x, k.shape, **attributes),
    )
    for found, expected in zip(gradients(conv, [x, k], dy, **attributes), [dx, dk], strict=True):
        assert_close(found, expected)
    assert_close(operation("conv_transpose{}", rank)(dy, k, output_size=x.shape[2:], **attributes), dx)
    of_dk = gradients(kernel_gradient, [x, dy], k, kernel_size=k.shape[2:], **attributes)
    assert_close(of_dk[0], dx)
    assert_close(of_dk[1], naive.conv(x, k, **attributes))


@every_rank
@quickly
@given(data=st.data())
def test_transposed_convolution_for_any_settings(rank: int, data: st.DataObject) -> None:
    x, k, attributes = data.draw(transposed_convolutions(rank))
    transposed, shape = operation("conv_transpose{}", rank), naive.conv_transpose_shape(x.shape, k.shape, **attributes)
    assert transposed(tg.input("x", x.shape), tg.input("k", k.shape), **attributes).shape == shape
    assert_close(transposed(x, k, **attributes), naive.conv_transpose(x, k, **attributes))
    dy = normal(2, *shape)
    dx, dk = gradients(transposed, [x, k], dy, **attributes)
    assert_close(dx, naive.conv_transpose_input_gradient(dy, x.shape, k, **attributes))
    assert_close(dk, naive.conv_transpose_kernel_gradient(dy, x, k.shape, **attributes))


@pytest.mark.parametrize("padding", ["same", "same_lower"])
@pytest.mark.parametrize("stride", [1, 2, 4])
def test_transposed_convolution_of_same_gives_a_stride_for_each_window(padding: str, stride: int) -> None:
    x, k = normal(0, 1, 2, 3), normal(1, 2, 1, 4 if stride < 4 else 2)
    y = tg.conv_transpose1d(x, k, stride=stride, padding=padding)
    assert y.shape == (1, 1, 3 * stride)
    assert_close(y, naive.conv_input_gradient(x, y.shape, k, stride=stride, padding=padding))


def test_depthwise_convolution_of_many_channels_is_one_convolution_of_each() -> None:
    x, k = normal(0, 2, 130, 6, 5), normal(1, 260, 1, 3, 3)
    y = tg.conv2d(x, k, padding=1, groups=130)
    for c in (0, 64, 129):
        assert_close(y[:, 2 * c : 2 * c + 2], tg.conv2d(x[:, c : c + 1], k[2 * c : 2 * c + 2], padding=1))


# ---- pools

POOLS: dict[str, tuple[Callable[..., Array], Callable[..., Array], Attributes]] = {
    "avg_pool{}": (naive.avg_pool, naive.avg_pool_gradient, {}),
    "avg_pool{} of real pixels": (naive.avg_pool, naive.avg_pool_gradient, {"count_include_pad": False}),
    "max_pool{}": (naive.max_pool, naive.max_pool_gradient, {}),
    "max_pool{} with ties": (naive.max_pool, naive.max_pool_gradient, {}),
    "lp_pool{}": (naive.lp_pool, naive.lp_pool_gradient, {}),
    "lp_pool{} of p = 1": (naive.lp_pool, naive.lp_pool_gradient, {"p": 1}),
    "lp_pool{} of p = 3.5": (naive.lp_pool, naive.lp_pool_gradient, {"p": 3.5}),
    "lp_pool{} with zeros": (naive.lp_pool, naive.lp_pool_gradient, {"p": 3}),
}


@every_rank
@pytest.mark.parametrize("pool", POOLS)
@quickly
@given(data=st.data())
def test_pool_for_any_settings(pool: str, rank: int, data: st.DataObject) -> None:
    x, attributes = data.draw(poolings(rank))
    if "with" in pool:
        x = np.rint(x)
    forward, backward, more = POOLS[pool]
    function, attributes = operation(pool.partition(" ")[0], rank), attributes | more
    shape = naive.pool_shape(x.shape, **attributes)
    assert function(tg.input("x", x.shape), **attributes).shape == shape
    assert_close(function(x, **attributes), forward(x, **attributes))
    dy = normal(2, *shape)
    (dx,) = gradients(function, [x], dy, **attributes)
    assert_close(dx, backward(dy, x, **attributes))


@pytest.mark.parametrize("shape", [(2, 3, 5), (2, 3, 4, 5), (2, 3, 2, 4, 3), (1, 2, 2, 1, 3, 2)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_global_pools(shape: tuple[int, ...], keepdims: bool) -> None:
    x, axes = normal(0, *shape), tuple(range(2, len(shape)))
    dy = normal(1, *shape[:2], *(1 for _ in axes if keepdims))
    spread = dy.reshape(*shape[:2], *(1 for _ in axes))
    largest = x == x.max(axis=axes, keepdims=True)
    norm = (abs(x) ** 3).sum(axis=axes, keepdims=True) ** (1 / 3)
    cases = [
        (tg.global_avg_pool, {}, x.mean(axis=axes, keepdims=True), spread / np.prod(shape[2:]) * np.ones(shape)),
        (tg.global_max_pool, {}, x.max(axis=axes, keepdims=True), spread * largest),
        (tg.global_lp_pool, {"p": 3}, norm, spread * np.sign(x) * (abs(x) / norm) ** 2),
    ]
    for function, attributes, y, dx in cases:
        assert_close(function(x, keepdims=keepdims, **attributes), y.reshape(dy.shape))
        assert_close(gradients(function, [x], dy, keepdims=keepdims, **attributes)[0], dx)


# ---- what is agreed on: where ceil mode stops, what the padding counts, where ties go


def line(*numbers: float) -> Array:
    return np.array([[numbers]])


def test_ceil_mode_adds_a_window_that_begins_in_the_image() -> None:
    assert_array_equal(tg.max_pool1d(line(1.0, 2.0, 3.0), 2, ceil_mode=True), line(2.0, 3.0))
    assert_array_equal(tg.max_pool1d(line(1.0, 2.0, 3.0), 2), line(2.0))


def test_ceil_mode_adds_no_window_that_begins_behind_the_image() -> None:
    # The third window would begin at 4, in the padding behind the four pixels.
    assert_array_equal(tg.max_pool1d(line(1.0, 2.0, 3.0, 4.0), 2, stride=3, padding=1, ceil_mode=True), line(1.0, 4.0))


def test_average_counts_the_padding_and_never_what_lies_beyond() -> None:
    x = line(2.0, 4.0, 6.0)
    assert_array_equal(tg.avg_pool1d(x, 2, padding=((1, 0),)), line(1.0, 5.0))
    assert_array_equal(tg.avg_pool1d(x, 2, padding=((1, 0),), count_include_pad=False), line(2.0, 5.0))
    assert_array_equal(tg.avg_pool1d(x, 2, ceil_mode=True), line(3.0, 6.0))


def test_same_puts_the_odd_pixel_after_and_same_lower_before() -> None:
    x, k = line(1.0, 2.0, 3.0), line(1.0, 10.0)
    assert_array_equal(tg.conv1d(x, k, padding="same"), line(21.0, 32.0, 3.0))
    assert_array_equal(tg.conv1d(x, k, padding="same_lower"), line(10.0, 21.0, 32.0))


def test_ties_in_dilated_windows_go_to_the_first() -> None:
    (dx,) = gradients(tg.max_pool1d, [np.zeros((1, 1, 4))], line(1.0, 2.0), window=2, stride=1, dilation=2)
    assert_array_equal(dx, line(1.0, 2.0, 0.0, 0.0))


def test_norm_of_zeros_has_gradient_zero() -> None:
    x = line(0.0, 0.0, 3.0, 4.0)
    assert_close(gradients(tg.lp_pool1d, [x], line(1.0, 1.0), window=2)[0], line(0.0, 0.0, 0.6, 0.8))


def test_global_norm_does_not_overflow() -> None:
    x = line(3e200, 4e200)
    assert_allclose(tg.global_lp_pool(x), [[5e200]])
    assert_allclose(gradients(tg.global_lp_pool, [x], np.ones((1, 1)))[0], line(0.6, 0.8))


@pytest.mark.parametrize("name", ["avg_pool", "lp_pool"])
def test_whole_numbers_have_floating_pools(name: str) -> None:
    x = np.array([[[3, 4]]])
    assert tg.operation(f"{name}1d")(x, 2).dtype == np.float64
    assert tg.operation(f"global_{name}")(x).dtype == np.float64


def test_whole_numbers_have_whole_maxima() -> None:
    assert_array_equal(tg.max_pool1d(np.array([[[-3, -4, -5]]]), 2, padding=1), [[[-3, -4]]])
    assert tg.max_pool1d(np.array([[[3, 4]]]), 2).dtype == np.int64


@pytest.mark.parametrize(
    ("attributes", "written"),
    [
        ({"padding": ((1, 1), (2, 2))}, {"padding": (1, 2)}),
        ({"padding": ((1, 1), (1, 1)), "stride": (1, 1)}, {"padding": 1}),
        ({"padding": "same_upper"}, {"padding": "same"}),
        ({"padding": ((0, 1), (0, 1))}, {"padding": ((0, 1), (0, 1))}),
    ],
)
def test_attributes_that_mean_the_same_are_the_same(attributes: Attributes, written: Attributes) -> None:
    assert tg.conv2d.op(**attributes) == tg.conv2d.op(**written)
    assert tg.conv2d.op(**attributes).expression("x", "k") == tg.conv2d.op(**written).expression("x", "k")


# ---- as lecture notes write them


def test_gradients_of_pools_are_written_for_any_number_of_axes() -> None:
    share = tg.avg_unpool3d.op(2, output_size=(2, 4, 4)).written_tex()
    assert share == (
        r"_{lmn} = \frac{1}{8}\, {(x)}_{xyz}, "
        r"\quad x = \lfloor l/2\rfloor, \; y = \lfloor m/2\rfloor, \; z = \lfloor n/2\rfloor"
    )
    largest = tg.max_unpool1d.op(2).written_tex(None, np.ones((1, 1, 4)))
    assert largest.startswith(r"_{i} = \begin{cases} {(dy)}_{j} & \text{if } {(x)}_{i} \text{ is the max")
    overlapping = tg.max_unpool1d.op(2, stride=1).written_tex(None, np.ones((1, 1, 4)))
    assert overlapping == r"_{i} = \sum_{j \text{ whose max is } {(x)}_{i}} {(dy)}_{j}"


def test_shares_that_differ_are_written_as_such() -> None:
    real = tg.avg_unpool1d.op(2, padding=1, count_include_pad=False, output_size=(4,))
    assert (
        real.written_tex() == r"_{i} = \sum_{j \text{ whose window holds } i} {(x)}_{j} / \text{(pixels of its window)}"
    )
    alike = tg.avg_unpool1d.op(2, padding=1, output_size=(4,))
    assert alike.written_tex() == r"_{i} = \frac{1}{2} \sum_{j \text{ whose window holds } i} {(x)}_{j}"


@every_rank
def test_only_pictures_are_turned_by_half_a_turn(rank: int) -> None:
    assert ("rot180" if rank == 2 else "flip") in operation("conv_transpose{}", rank).op().written_tex()


# ---- memory, dtype and empty batches


@every_rank
def test_float32_stays_float32(rank: int) -> None:
    x, k = (a.astype(np.float32) for a in (normal(0, 1, 2, *[5] * rank), normal(1, 2, 2, *[2] * rank)))
    for name in ("avg_pool{}", "lp_pool{}", "max_pool{}"):
        y = operation(name, rank)(x, 2, padding=1, ceil_mode=True)
        (dx,) = gradients(operation(name, rank), [x], np.ones_like(y), window=2, padding=1, ceil_mode=True)
        assert (y.dtype, dx.dtype) == (np.float32, np.float32)
    assert operation("conv{}", rank)(x, k).dtype == np.float32


@every_rank
def test_empty_batch(rank: int) -> None:
    x, k = np.zeros((0, 2, *[4] * rank)), np.ones((3, 2, *[2] * rank))
    y = operation("conv{}", rank)(x, k)
    assert y.shape == (0, 3, *[3] * rank)
    dx, dk = gradients(operation("conv{}", rank), [x, k], y)
    assert dx.shape == x.shape
    assert_array_equal(dk, np.zeros(k.shape))
    for name in ("avg_pool{}", "lp_pool{}", "max_pool{}"):
        assert operation(name, rank)(x, 3, stride=2, ceil_mode=True, padding=1).shape == (0, 2, *[3] * rank)


# ---- mistakes


@pytest.mark.parametrize(
    ("name", "shapes", "attributes", "told"),
    [
        (
            "conv1d",
            [(1, 2, 5, 5), (1, 2, 3)],
            {},
            r"\(1, 2, 5, 5\).* x must have 3 axes \(batch, channels, length\)",
        ),
        ("conv3d", [(1, 2, 5, 5), (1, 2, 3, 3)], {}, r"5 axes \(batch, channels, depth, height, width\)"),
        ("conv1d", [(1, 2, 3), (1, 2, 5)], {}, r"spans \(5,\) does not fit an image of \(3,\)"),
        ("conv2d", [(1, 2, 3, 3), (1, 2, 5, 3)], {"padding": ((1, 0), (0, 0))}, r"does not fit an image of \(4, 3\)"),
        (
            "conv_transpose1d",
            [(1, 2, 3), (2, 1, 2)],
            {"stride": 2, "output_padding": 2},
            "output_padding must be less than the stride",
        ),
        ("conv_transpose1d", [(1, 1, 1), (1, 1, 2)], {"padding": ((1, 2),)}, "an image of size"),
        ("max_pool1d", [(1, 1, 4)], {"window": 2, "padding": ((2, 0),)}, "covers nothing but the padding"),
        ("max_pool1d", [(1, 1, 4)], {"window": 2, "padding": ((1, 2),)}, "more than half of the window"),
        ("max_pool1d", [(1, 1, 1)], {"window": 2, "padding": 2, "dilation": 4}, "covers nothing but the padding 2"),
        ("avg_pool3d", [(1, 1, 4, 4, 2)], {"window": 3}, r"a window of \(3, 3, 3\) does not fit"),
        (
            "max_pool1d",
            [(1, 1, 4)],
            {"window": 3, "dilation": 2},
            r"a window of \(5,\) does not fit an image of \(4,\)",
        ),
        ("lp_pool2d", [(1, 4, 4)], {"window": 2}, "x must have 4 axes"),
        ("global_max_pool", [(1, 4)], {}, "at least 3 axes"),
        ("global_max_pool", [(1, 4, 0)], {}, "the max of no pixels is not defined"),
        ("global_avg_pool", [(1, 4, 0)], {}, "the mean of no pixels is not defined"),
    ],
)
def test_refuses_shapes(name: str, shapes: list[tuple[int, ...]], attributes: Attributes, told: str) -> None:
    for make in (np.ones, lambda shape: tg.input("t", shape)):
        with pytest.raises(tg.ShapeError, match=told) as caught:
            tg.operation(name)(*map(make, shapes), **attributes)
        assert str(caught.value).startswith(f"{name}: ")


@pytest.mark.parametrize(
    ("name", "attributes", "told"),
    [
        ("conv1d", {"stride": (1, 2)}, r"stride must be int or a tuple of one int; found \(1, 2\)"),
        ("conv1d", {"padding": (1, 2)}, r"padding must be .* or 'same_lower' or 'valid'; found \(1, 2\)"),
        ("conv2d", {"padding": ((1, -1), (0, 0))}, r"padding must be at least 0; found \(\(1, -1\), \(0, 0\)\)"),
        ("conv3d", {"dilation": 0}, "dilation must be at least 1; found 0"),
        ("max_pool2d", {"window": 2, "dilation": 0}, "dilation must be at least 1"),
        ("max_pool2d", {"window": 2, "ceil_mode": 1}, "ceil_mode must be bool"),
        ("lp_pool1d", {"window": 2, "p": 0.5}, "p must be at least 1, and finite; found 0.5"),
        ("lp_pool1d", {"window": 2, "p": float("inf")}, "p must be at least 1, and finite"),
        ("global_lp_pool", {"p": 0}, "p must be at least 1"),
        ("avg_pool1d", {"window": (2, 2)}, "window must be int or a tuple of one int"),
        ("conv_transpose3d", {"output_size": (2, 2)}, "output_size must be 3 of int or None"),
    ],
)
def test_refuses_attributes(name: str, attributes: Attributes, told: str) -> None:
    with pytest.raises(tg.AttributeValueError, match=f"^{name}: {told}"):
        tg.operation(name).op(**attributes)


def test_lp_pool_has_no_count_include_pad() -> None:
    with pytest.raises(tg.AttributeValueError, match="lp_pool2d has no attribute 'count_include_pad'"):
        tg.lp_pool2d(np.ones((1, 1, 2, 2)), 2, count_include_pad=False)
