"""Convolutions by rows of windows give what plain evaluation gives, for every setting, whole and in tiles."""

import itertools

import numpy as np
import pytest
from numpy.testing import assert_allclose

import tinygraph as tg
from tinygraph.engines.plan.passes import prepared
from tinygraph.engines.plan.program import lines
from tinygraph.graph import topological

PADDINGS = (0, 1, 3, ((1, 0), (0, 2)), "same")
KERNELS = ((3, 3), (1, 1), (2, 3), (1, 4), (5, 1))
PICTURES = [
    (kernel, {"stride": stride, "dilation": dilation, "padding": padding, "groups": groups})
    for stride, dilation, padding, groups in itertools.product((1, 2, 3), (1, 2), PADDINGS, (1, 2, 4))
    for kernel in KERNELS
]
OTHERS = [
    {"stride": stride, "dilation": dilation, "padding": padding, "groups": groups}
    for stride, dilation, padding, groups in itertools.product((1, 2), (1, 2), (0, 1, "same"), (1, 2))
]


def agrees(convolve, image, kernel, attributes, count=3):
    """The convolution and its gradients, in a plan and plain; ``False`` where the kernel does not fit."""
    rng = np.random.default_rng(0)
    x = tg.input("x", (count, *image), dtype="float64")
    k = tg.parameter(rng.normal(size=kernel), name="k")
    try:
        y = convolve(x, k, **attributes)
    except tg.ShapeError:
        return False
    graph = [y, *tg.grad(tg.sum(y * y), [x, k])]
    feeds = {"x": rng.normal(size=x.shape)}
    for found, expected in zip(tg.compile(graph, count)(feeds), tg.run(graph, feeds), strict=True):
        assert_allclose(found, expected, rtol=1e-10, atol=1e-10)
    return True


@pytest.mark.parametrize(("kernel", "attributes"), PICTURES, ids=str)
def test_pictures(kernel, attributes):
    channels = 4 // attributes["groups"]
    assert agrees(tg.conv2d, (4, 8, 7), (8, channels, *kernel), attributes) or attributes["padding"] in (
        0,
        ((1, 0), (0, 2)),
    )


@pytest.mark.parametrize("attributes", OTHERS, ids=str)
def test_lines_and_volumes(attributes):
    channels = 4 // attributes["groups"]
    assert agrees(tg.conv1d, (4, 13), (6, channels, 3), attributes)
    assert agrees(tg.conv3d, (4, 5, 6, 7), (6, channels, 2, 3, 2), attributes)


def test_lines_lie_as_pictures_with_one_row_and_sequences_do_not():
    x, rng = tg.input("x", (6, 3, 10), dtype="float64"), np.random.default_rng(0)
    k, W = (tg.parameter(rng.normal(size=shape), name=name) for name, shape in (("k", (3, 3, 3)), ("W", (10, 4))))
    y = tg.tanh(tg.relu(tg.conv1d(x, k, padding=1) + 1.0) * x)
    outputs, _ = prepared(tg.Graph(y))
    assert {node.op.name for node in lines(topological(outputs)) if node.op} >= {"relu", "add", "multiply", "tanh"}
    assert not lines(topological(prepared(tg.Graph(tg.tanh(x @ W)))[0]))
    graph, feeds = [y, y @ W, *tg.grad(tg.sum(tg.tanh(y @ W)), [x, k, W])], {"x": rng.normal(size=x.shape)}
    for found, expected in zip(tg.compile(graph, 6)(feeds), tg.run(graph, feeds), strict=True):
        assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("channels", [1, 3])
def test_images_that_lie_in_another_order(count, channels):
    assert agrees(tg.conv1d, (channels, 5), (2, channels, 1), {}, count)
    x = tg.input("x", (5, 6, count, channels), dtype="float64")
    k = tg.parameter(np.random.default_rng(0).normal(size=(2, channels, 1, 1)), name="k")
    graph = [tg.conv2d(x.transpose(2, 3, 0, 1), k), *tg.grad(tg.conv2d(x.transpose(2, 3, 0, 1), k).sum(), [x, k])]
    feeds = {"x": np.random.default_rng(1).normal(size=x.shape)}
    for found, expected in zip(tg.compile(graph)(feeds), tg.run(graph, feeds), strict=True):
        assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize(
    "attributes",
    [{"padding": 2, "dilation": 2}, {"groups": 4, "padding": 1}, {"stride": 2, "padding": 1}, {"stride": (4, 1)}],
    ids=str,
)
def test_a_batch_in_tiles(attributes):
    channels = 8 // attributes.get("groups", 1)
    assert agrees(tg.conv2d, (8, 20, 20), (8, channels, 3, 3), attributes, count=130)
    if isinstance(attributes.get("stride", 1), int):
        assert agrees(tg.conv1d, (8, 90), (8, channels, 3), attributes, count=130)
        assert agrees(tg.conv3d, (8, 6, 7, 8), (8, channels, 3, 2, 3), attributes, count=130)


def test_sums_over_many_rows_need_little_memory():
    x = tg.input("x", (4, 16, 2000, 1))
    k = tg.parameter(np.ones((32, 16, 5, 1), np.float32), name="k")
    y = tg.conv2d(x, k, padding=(2, 0))
    plan = tg.compile([*tg.grad(tg.sum(y * y), [k])], 4)
    # One product for each of 2,000 rows, all at once, would take 20 MB; the image and its gradient take 0.5 and 1 MB.
    assert plan.schedule.nbytes < 8e6


def test_large_numbers_are_no_reason_for_a_warning():
    x = tg.input("x", (4,))
    assert (
        tg.compile(x * 1.0 + 0.0)({"x": np.full(4, 1e19)})[0].tolist()
        == tg.run(x * 1.0, {"x": np.full(4, 1e19)})[0].tolist()
    )
