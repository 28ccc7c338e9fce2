"""Plans of convolution and pooling."""

import numpy as np
import pytest

import tinygraph as tg
from tests.tools.agreement import agrees_with_plain, ballast
from tests.tools.plans import normal, weighted_sum, with_gradients

pytestmark = pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")


# ---- Convolution and pooling


CONVOLUTIONS = {
    "plain": ((5, 2, 6, 7), (3, 2, 3, 3), {}),
    "one by one": ((5, 3, 4, 5), (2, 3, 1, 1), {}),
    "one by one, stride 2": ((3, 3, 5, 5), (2, 3, 1, 1), {"stride": 2}),
    "padded": ((4, 1, 8, 8), (8, 1, 3, 3), {"padding": 1}),
    "same": ((4, 3, 5, 6), (4, 3, 3, 3), {"padding": "same"}),
    "same, even kernel": ((4, 2, 6, 5), (3, 2, 2, 4), {"padding": "same"}),
    "stride 2": ((3, 2, 8, 8), (4, 2, 3, 3), {"stride": 2, "padding": 1}),
    "stride 3 with a remainder": ((3, 2, 9, 8), (2, 2, 2, 2), {"stride": 3}),
    "stride above the kernel": ((2, 1, 9, 9), (2, 1, 2, 2), {"stride": (4, 3)}),
    "dilated": ((3, 2, 8, 9), (2, 2, 3, 2), {"dilation": 2}),
    "dilated, same": ((3, 2, 7, 7), (2, 2, 3, 3), {"dilation": (2, 3), "padding": "same"}),
    "dilated, stride 2": ((3, 1, 9, 9), (2, 1, 3, 3), {"dilation": 2, "stride": 2, "padding": 2}),
    "groups": ((3, 4, 6, 6), (6, 2, 3, 3), {"groups": 2, "padding": 1}),
    "depthwise": ((3, 4, 6, 6), (4, 1, 3, 3), {"groups": 4}),
    "kernel as large as the image": ((5, 3, 4, 6), (7, 3, 4, 6), {}),
    "kernel larger than the image": ((2, 1, 2, 3), (2, 1, 4, 4), {"padding": 2}),
    "more padding than kernel": ((2, 2, 3, 4), (2, 2, 2, 3), {"padding": 4}),
    "padding of rows": ((2, 2, 4, 5), (3, 2, 3, 3), {"padding": (2, 0)}),
    "padding of one side": ((3, 2, 5, 6), (3, 2, 3, 3), {"padding": ((2, 0), (0, 1))}),
    "padding of one side, stride 2": ((3, 2, 6, 7), (3, 2, 3, 3), {"padding": ((0, 2), (1, 0)), "stride": 2}),
    "more padding than kernel on one side": ((2, 2, 4, 4), (2, 2, 2, 2), {"padding": ((0, 3), (4, 0))}),
    "same, odd pixel before": ((4, 2, 6, 5), (3, 2, 2, 4), {"padding": "same_lower"}),
    "an image of one pixel": ((6, 3, 1, 1), (2, 3, 3, 3), {"padding": 1}),
    "rows only": ((3, 1, 7, 1), (2, 1, 3, 1), {}),
    "columns only": ((3, 2, 1, 7), (2, 2, 1, 5), {"padding": (0, 2)}),
    "five by five": ((3, 6, 10, 10), (4, 6, 5, 5), {}),
    "a long kernel": ((2, 2, 3, 12), (3, 2, 2, 9), {"padding": (1, 4)}),
    "many channels": ((2, 33, 4, 4), (17, 33, 3, 3), {"padding": 1}),
}


@pytest.mark.parametrize("batch", [1, None, 34])
@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_convolutions(case, batch):
    shape, kernel, attributes = CONVOLUTIONS[case]
    shape = (batch or shape[0], *shape[1:])
    x, k = tg.input("x", shape, "float64"), tg.parameter(normal(*kernel, seed=2), name="k")
    b = tg.parameter(normal(kernel[0], 1, 1, seed=3), name="b")
    y = tg.relu(tg.conv2d(x, k, **attributes) + b)
    feeds = {"x": normal(*shape)}
    agrees_with_plain(with_gradients(y, [x, k, b]), feeds, shape[0])
    agrees_with_plain(tg.grad(weighted_sum(y), [k]), feeds, shape[0], threads=1)


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_convolutions_cut_into_tiles(case):
    shape, kernel, attributes = CONVOLUTIONS[case]
    x, k = tg.input("x", (67, *shape[1:]), "float64"), tg.parameter(normal(*kernel, seed=2), name="k")
    y = tg.conv2d(tg.tanh(x), k, **attributes)
    weight, fed = ballast(67)
    agrees_with_plain([*with_gradients(y, [x, k]), weight], fed | {"x": normal(67, *shape[1:])}, 67)


def test_kernel_that_is_computed_from_samples():
    x, k = tg.input("x", (3, 2, 5, 5), "float64"), tg.input("k", (3, 2, 3, 3), "float64")
    y = tg.conv2d(x, tg.tanh(k) * x.mean(axis=0)[None, :, 1:4, 1:4])
    agrees_with_plain(with_gradients(y, [x, k]), {"x": normal(3, 2, 5, 5), "k": normal(3, 2, 3, 3)}, 3)


def test_two_convolutions_of_one_image():
    """Patches that may be shared, where the attributes are the same, and may not where they differ."""
    x = tg.input("x", (4, 2, 6, 6), "float64")
    kernels = [tg.parameter(normal(3, 2, 3, 3, seed=i)) for i in range(4)]
    ways = [{"padding": 1}, {"padding": 1}, {"padding": "same", "dilation": 2}, {"stride": 2, "padding": 1}]
    ys = [tg.conv2d(x, k, **way) for k, way in zip(kernels, ways, strict=True)]
    total = sum(weighted_sum(tg.tanh(y)) for y in ys)
    agrees_with_plain([total, *tg.grad(total, [x, *kernels])], {"x": normal(4, 2, 6, 6)}, 4)


def test_one_kernel_for_two_images():
    x, y, k = tg.input("x", (4, 2, 6, 6), "float64"), tg.input("y", (4, 2, 4, 5), "float64"), normal(3, 2, 3, 3)
    k = tg.parameter(k)
    total = weighted_sum(tg.conv2d(x, k)) + weighted_sum(tg.conv2d(y, k, padding=1))
    agrees_with_plain([total, *tg.grad(total, [x, y, k])], {"x": normal(4, 2, 6, 6), "y": normal(4, 2, 4, 5)}, 4)


POOLS = {
    "2": ((4, 3, 6, 6), {"window": 2}),
    "remainder": ((4, 3, 7, 9), {"window": 2}),
    "3 by 2": ((4, 2, 9, 8), {"window": (3, 2)}),
    "overlapping": ((3, 2, 7, 8), {"window": 3, "stride": 2}),
    "stride 1": ((3, 2, 5, 6), {"window": 2, "stride": 1}),
    "stride above the window": ((3, 2, 8, 9), {"window": 2, "stride": 3}),
    "padded": ((3, 2, 6, 5), {"window": 3, "stride": 2, "padding": 1}),
    "rows padded": ((3, 2, 5, 5), {"window": 2, "padding": (1, 0)}),
    "whole image": ((3, 2, 4, 5), {"window": (4, 5)}),
    "one pixel": ((3, 2, 4, 5), {"window": 1}),
    "rows": ((3, 1, 8, 1), {"window": (2, 1)}),
    "dilated": ((3, 2, 7, 8), {"window": 2, "stride": 1, "dilation": 2}),
    "gaps as wide as the stride": ((3, 2, 7, 8), {"window": 2, "dilation": 2}),
    "dilated columns": ((3, 2, 6, 9), {"window": (2, 3), "dilation": (1, 3)}),
    "ceil mode": ((3, 2, 7, 9), {"window": 2, "ceil_mode": True}),
    "ceil mode that changes nothing": ((3, 2, 6, 8), {"window": 2, "ceil_mode": True}),
    "ceil mode, overlapping": ((3, 2, 6, 8), {"window": 3, "stride": 2, "padding": 1, "ceil_mode": True}),
    "padding above": ((3, 2, 5, 6), {"window": 2, "padding": ((1, 0), (0, 0))}),
    "padding behind": ((3, 2, 5, 7), {"window": 2, "padding": ((0, 1), (0, 1))}),
    "same, odd pixel before": ((3, 2, 5, 7), {"window": 2, "padding": "same_lower"}),
}


IMAGES = {
    "numbers": lambda shape: normal(*shape),
    "zeros": np.zeros,
    "few levels": lambda shape: np.random.default_rng(0).integers(-1, 2, shape).astype(float),
    "constant regions": lambda shape: np.sign(normal(*shape)),
    "all negative": lambda shape: -np.abs(normal(*shape)) - 1,
    "not finite": lambda shape: np.random.default_rng(0).choice([np.nan, np.inf, -np.inf, 0.0, 1.0], shape),
    "minus infinity": lambda shape: np.full(shape, -np.inf),
}


@pytest.mark.parametrize("values", IMAGES)
@pytest.mark.parametrize("pool", POOLS)
def test_max_pools_have_the_winners_of_plain_evaluation(pool, values):
    shape, attributes = POOLS[pool]
    x = tg.input("x", shape, "float64")
    y = tg.max_pool2d(x, **attributes)
    agrees_with_plain(with_gradients(y, [x]), {"x": IMAGES[values](shape)}, shape[0])


@pytest.mark.parametrize("values", IMAGES)
@pytest.mark.parametrize("pool", POOLS)
def test_max_pools_of_relu_have_the_winners_of_plain_evaluation(pool, values):
    """Where relu gives zeros all are the largest; the gradient of relu's own result shows which one was taken."""
    shape, attributes = POOLS[pool]
    x = tg.input("x", shape, "float64")
    c = tg.relu(x)
    y = tg.max_pool2d(c, **attributes)
    total = weighted_sum(y)
    feeds = {"x": IMAGES[values](shape)}
    agrees_with_plain([y, *tg.grad(total, [x])], feeds, shape[0])
    agrees_with_plain([y, c, *tg.grad(total, [c, x])], feeds, shape[0])
    penalized = total + weighted_sum(c * c)
    agrees_with_plain(tg.grad(penalized, [x]), feeds, shape[0])


@pytest.mark.parametrize("activation", [tg.relu, tg.tanh, tg.leaky_relu, tg.sigmoid, lambda x: -x, lambda x: x * x])
@pytest.mark.parametrize("operation", [tg.max_pool2d, tg.avg_pool2d], ids=["max", "avg"])
@pytest.mark.parametrize("pool", POOLS)
def test_pools_of_activations(pool, operation, activation):
    shape, attributes = POOLS[pool]
    x = tg.input("x", (66, *shape[1:]), "float64")
    y = operation(activation(x), **attributes)
    agrees_with_plain(with_gradients(activation(y), [x]), {"x": normal(66, *shape[1:])}, 66)


@pytest.mark.parametrize("pool", POOLS)
def test_means_of_real_pixels(pool):
    shape, attributes = POOLS[pool]
    x = tg.input("x", (66, *shape[1:]), "float64")
    y = tg.avg_pool2d(tg.tanh(x), **attributes, count_include_pad=False)
    agrees_with_plain(with_gradients(y, [x]), {"x": normal(66, *shape[1:])}, 66)


LINES_AND_VOLUMES = {
    "line": ((3, 9), (4, 3, 3), tg.conv1d, tg.avg_pool1d, tg.max_pool1d),
    "volume": ((2, 4, 6, 5), (3, 2, 2, 3, 2), tg.conv3d, tg.avg_pool3d, tg.max_pool3d),
}


@pytest.mark.parametrize("batch", [5, 66])
@pytest.mark.parametrize("images", LINES_AND_VOLUMES)
def test_networks_of_lines_and_volumes(images, batch):
    shape, kernel, conv, avg_pool, max_pool = LINES_AND_VOLUMES[images]
    x, k = tg.input("x", (batch, *shape), "float64"), tg.parameter(normal(*kernel, seed=2), name="k")
    b = tg.parameter(normal(kernel[0], *(1 for _ in shape[1:]), seed=3), name="b")
    c = tg.relu(conv(x, k, padding=1) + b)
    y = max_pool(avg_pool(c, 2, stride=1), 2, ceil_mode=True)
    agrees_with_plain(with_gradients(tg.relu(y), [x, k, b]), {"x": normal(batch, *shape)}, batch)


def test_pool_of_pool_of_convolution():
    x, k = tg.input("x", (5, 1, 12, 10), "float64"), tg.parameter(normal(2, 1, 3, 3))
    c = tg.relu(tg.conv2d(x, k, padding=1))
    y = tg.avg_pool2d(tg.max_pool2d(c, 3, stride=2), 2, stride=1)
    agrees_with_plain(with_gradients(y, [x, k]), {"x": normal(5, 1, 12, 10)}, 5)
