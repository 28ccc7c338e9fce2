"""Plans of graphs that mix samples, and of leaves that are no samples."""

import numpy as np
import pytest

import tinygraph as tg
from tests.tools.agreement import agrees_with_plain, ballast
from tests.tools.plans import BATCH, normal, with_gradients
from tinygraph.engines.plan import tiles

pytestmark = pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")


# ---- Graphs that mix samples, and leaves that are no samples


def standardized(x, w):
    centred = x - x.mean(axis=0)
    return centred / tg.sqrt((centred * centred).mean(axis=0) + 1e-5)


MIXING = {
    "batch statistics": standardized,
    "batch statistics, kept axes": lambda x, w: x - tg.mean(x, axis=0, keepdims=True),
    "softmax over samples": lambda x, w: tg.softmax(x, axis=0),
    "log softmax over samples": lambda x, w: tg.log_softmax(x, axis=-2),
    "logsumexp over samples": lambda x, w: x - tg.logsumexp(x, axis=0),
    "share of the largest": lambda x, w: x / tg.max(tg.abs(x)),
    "largest of all samples": lambda x, w: tg.max(x, axis=0) * w + tg.min(x, axis=0),
    "all with all": lambda x, w: x @ x.T,
    "covariance": lambda x, w: x @ (x.T @ x) / BATCH,
    "pairwise differences": lambda x, w: tg.tanh(x[:, None, :2] - x[None, :, :2]),
    "flip": lambda x, w: tg.tanh(tg.flip(x, axis=0)) * x,
    "flip of everything": lambda x, w: tg.flip(x) + x,
    "joined along samples": lambda x, w: tg.concatenate([x, tg.tanh(x)], axis=0) * w,
    "joined and halved": lambda x, w: tg.concatenate([x[35:], x[:35]], axis=0) * x,
    "cumulative": lambda x, w: tg.constant(np.tril(np.ones((BATCH, BATCH)))) @ x,
    "differences of neighbours": lambda x, w: tg.tanh(x[1:] - x[:-1]),
    "every other row": lambda x, w: x[::2] * w,
    "some rows": lambda x, w: x[[0, 5, 5, 69]] * w,
    "one row": lambda x, w: x - x[3],
    "one row from all": lambda x, w: x * w - x[-1:],
    "rows backwards": lambda x, w: x[::-1] * x,
    "rows by a mask": lambda x, w: x[np.arange(BATCH) % 3 == 0] + w,
    "positions in both axes": lambda x, w: x[[0, 1, 69], [3, 0, 2]],
    "put into rows": lambda x, w: tg.put(x, (np.arange(BATCH)[::-1].copy(),), (BATCH + 1, 4)),
    "padded samples": lambda x, w: tg.pad(x, ((1, 0), (0, 0)))[:-1] * x,
    "transposed": lambda x, w: tg.transpose(x) * 2 + 1,
    "transposed and reshaped": lambda x, w: tg.reshape(x.T, (BATCH, 4)) * x,
    "two samples in a row": lambda x, w: tg.reshape(x, (BATCH // 2, 8)) @ tg.constant(normal(8, 2)),
    "samples cut apart": lambda x, w: tg.softmax(tg.reshape(x, (2 * BATCH, 2)), axis=1),
    "as many rows, mixed": lambda x, w: tg.reshape(tg.reshape(x, (4, BATCH)) * 2, (BATCH, 4)) + x,
    "one flat axis": lambda x, w: tg.flatten(x, start_axis=0) * 2,
    "samples as channels": lambda x, w: tg.conv2d(
        tg.reshape(x, (1, BATCH, 2, 2)), tg.constant(normal(3, BATCH, 2, 2)), padding=1
    ),
    "samples as rows of an image": lambda x, w: tg.max_pool2d(tg.reshape(x, (1, 1, BATCH, 4)), 2),
    "mean of all into each": lambda x, w: x * tg.mean(x) + tg.sum(x),
    "sum of squares of all into each": lambda x, w: x / tg.sqrt((x * x).sum() + 1),
    "summed to a row and back": lambda x, w: tg.broadcast_to(tg.sum_to(x, (1, 4)), (BATCH, 4)) * x,
    "first of the largest": lambda x, w: tg.cast(x == tg.max(x, axis=0), "float64") * x,
    "a sample axis put behind": lambda x, w: tg.expand_dims(x, 0) - tg.expand_dims(x, 1)[:2],
    "a loss in each sample": lambda x, w: x * tg.mse(x, tg.tanh(x)),
    "the batch's own matrix": lambda x, w: tg.softmax(x @ x.T, axis=1) @ x,
    "not mixed after all": lambda x, w: tg.softmax(x * w, axis=1) + tg.mean(x, axis=1, keepdims=True),
}


@pytest.mark.parametrize("case", MIXING)
def test_graphs_that_mix_samples(case):
    x, w = tg.input("x", (BATCH, 4), "float64"), tg.parameter(normal(4, seed=9), name="w")
    y = MIXING[case](x, w)
    weight, fed = ballast(BATCH)
    agrees_with_plain([*with_gradients(y, [x, w]), weight], fed | {"x": normal(BATCH, 4)}, BATCH)


OF_BATCH_SIZE = {
    "a weight for each row": lambda x, p, q: x * p,
    "a matrix from samples to samples": lambda x, p, q: q @ x,
    "a matrix between features": lambda x, p, q: (x @ p.T) @ q,
    "against the samples": lambda x, p, q: x.T @ p,
    "a bias": lambda x, p, q: x @ p.T + q[0],
    "a penalty": lambda x, p, q: x.sum(axis=1) + (p * p).mean(),
    "its softmax": lambda x, p, q: x * tg.softmax(p, axis=0),
}


@pytest.mark.parametrize("kind", ["parameter", "constant", "tensor", "input"])
@pytest.mark.parametrize("case", OF_BATCH_SIZE)
def test_leaves_whose_first_axis_happens_to_be_the_batch_size(case, kind):
    values = {"p": normal(BATCH, 4, seed=1), "q": normal(BATCH, BATCH, seed=2)}
    x = tg.input("x", (BATCH, 4), "float64")
    feeds = {"x": normal(BATCH, 4)}
    if kind == "input":
        p, q = (tg.input(name, value.shape, "float64") for name, value in values.items())
        feeds |= values
    else:
        p, q = (getattr(tg, kind)(value, name=name) for name, value in values.items())
    y = OF_BATCH_SIZE[case](x, p, q)
    weight, fed = ballast(BATCH)
    wrt = [x] if kind == "constant" else [x, p, q]
    graph = tg.Graph([*with_gradients(y, wrt), weight])
    agrees_with_plain(graph, {name: value for name, value in (feeds | fed).items() if name in graph.inputs}, BATCH)


def test_inputs_that_are_no_samples():
    x, scale, table = (tg.input(n, s, "float64") for n, s in (("x", (BATCH, 4)), ("scale", (4,)), ("table", (3, 4))))
    y = tg.tanh(x * scale) @ table.T
    weight, fed = ballast(BATCH)
    feeds = fed | {"x": normal(BATCH, 4), "scale": normal(4), "table": normal(3, 4)}
    agrees_with_plain([*with_gradients(y, [x, scale, table]), weight, scale * 2], feeds, BATCH)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("number", [4e37, 2.0**99, 0.25])
def test_a_mean_of_tiles_overflows_and_is_exact_where_that_of_the_batch_is(number, threads, monkeypatch):
    monkeypatch.setattr(tiles, "CACHE_BYTES", 1)
    monkeypatch.setattr(tiles, "LEAST_SAMPLES", 4)
    monkeypatch.setattr(tiles, "LEAST_SAMPLES_ON_THREADS", 4)
    for cost in ("START", "WAIT", "MOVE", "SHARE"):
        monkeypatch.setattr(tiles, cost, 0.0)
    x = tg.input("x", (21, 1))
    mean = tg.mean(-x)
    feeds = {"x": np.full((21, 1), number, np.float32)}
    for outputs in ([mean], [tg.tanh(mean * 1e-38), x + mean]):
        plan = tg.compile(outputs, 21, threads)
        assert len(plan.schedule.tiles) > 1
        for found, expected in zip(plan(feeds), tg.run(outputs, feeds), strict=True):
            np.testing.assert_array_equal(found, expected)
    signs = {"x": np.resize([1.0, -2.0, 1.0], (21, 1)).astype(np.float32)}
    assert tg.compile(mean, 21, threads)(signs)[0] == 0


@pytest.mark.parametrize(("batch", "whole"), [(16, True), (512, False)])
def test_a_small_batch_with_statistics_is_computed_as_a_whole(batch, whole):
    x, k = tg.input("x", (batch, 8, 24, 24)), tg.tensor(normal(64, 8, 3, 3).astype(np.float32))
    y = tg.relu(tg.standardize(tg.conv2d(x, k, padding=1), axis=(0, 2, 3))).sum()
    step = tg.compile([y, *tg.grad(y, [k])], batch, 2)
    assert (step.schedule.tiles == (batch,)) == whole
