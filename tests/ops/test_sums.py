"""Sums: the error of pairwise summation along any axis, and float16 that is added up in float32."""

import itertools

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.ops.sums import total

HALF = np.float16
EPS = float(np.finfo(np.float32).eps)
LAYOUTS = {
    "rows": lambda x: x,
    "columns": np.asfortranarray,
    "reversed": lambda x: x[tuple(slice(None, None, -1) for _ in x.shape)],
    "every other": lambda x: np.repeat(x, 2, axis=-1)[..., ::2],
    "repeated": lambda x: np.broadcast_to(x[:1], x.shape),
}


def subsets(axes):
    return itertools.chain.from_iterable(itertools.combinations(range(axes), n) for n in range(axes + 1))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "shape", [(3000,), (3000, 3), (3, 3000), (70, 5, 40), (5, 600, 3), (2, 3, 500, 4), (2000, 1, 7)]
)
def test_a_total_is_the_sum_along_any_axes(shape, layout):
    x = LAYOUTS[layout](np.random.default_rng(0).standard_normal(shape).astype(np.float32))
    exact, sizes = x.astype(np.float64), np.abs(x).astype(np.float64)
    for axes in subsets(len(shape)):
        for keepdims in (False, True):
            found, expected = total(x, axes, keepdims), exact.sum(axes, keepdims=keepdims)
            assert (found.shape, found.dtype) == (expected.shape, np.float32)
            assert np.all(np.abs(found - expected) <= 8 * EPS * sizes.sum(axes, keepdims=keepdims))


# Each reduces along axis 0 of rows that are all the same, and gives this for the number c in them.
ALONG_ROWS = {
    "sum": (lambda x: tg.sum(x, axis=0), lambda c, n: c * n),
    "mean": (lambda x: tg.mean(x, axis=0), lambda c, n: c),
    "sum_to": (lambda x: tg.sum_to(x, x.shape[1:]), lambda c, n: c * n),
    "l1_norm": (lambda x: tg.l1_norm(x, axis=0), lambda c, n: np.abs(c) * n),
    "l2_norm": (lambda x: tg.l2_norm(x, axis=0), lambda c, n: np.abs(c) * np.sqrt(n)),
    "logsumexp": (lambda x: tg.logsumexp(x, axis=0), lambda c, n: c + np.log(n)),
    "softmax": (lambda x: tg.sum(tg.softmax(x, axis=0), axis=0), lambda c, n: 1 + 0 * c),
    "log_softmax": (lambda x: tg.mean(tg.log_softmax(x, axis=0), axis=0), lambda c, n: -np.log(n) + 0 * c),
    "global_avg_pool": (lambda x: tg.global_avg_pool(tg.reshape(x.T, (1, *x.T.shape)))[0], lambda c, n: c),
    "global_lp_pool": (
        lambda x: tg.global_lp_pool(tg.reshape(x.T, (1, *x.T.shape)))[0],
        lambda c, n: np.abs(c) * np.sqrt(n),
    ),
    "einsum": (lambda x: tg.einsum([x], "ij->j"), lambda c, n: c * n),
    "einsum of two": (lambda x: tg.einsum([x, np.float32([1, 1])], "ij,j->j"), lambda c, n: c * n),
}


@pytest.mark.parametrize("engine", ["run", "plan"])
@pytest.mark.parametrize("name", ALONG_ROWS)
def test_equal_rows_are_reduced_exactly_but_for_rounding(name, engine):
    rows = np.tile(np.float32([0.1, -3.3]), (1_000_000, 1))
    f, expected = ALONG_ROWS[name]
    x = tg.input("x", rows.shape)
    graph = tg.Graph(f(x))
    (found,) = tg.run(graph, {"x": rows}) if engine == "run" else tg.compile(graph)({"x": rows})
    np.testing.assert_allclose(found, expected(rows[0].astype(np.float64), len(rows)), rtol=40 * EPS)


@pytest.mark.parametrize("engine", ["run", "plan"])
def test_constants_have_no_variance(engine):
    rows = np.tile(np.float32([100, -100]), (1_000_000, 1))
    x = tg.input("x", rows.shape)
    graph = tg.Graph([tg.variance(x, axis=0), tg.standardize(x, axis=0)])
    variance, standardized = tg.run(graph, {"x": rows}) if engine == "run" else tg.compile(graph)({"x": rows})
    np.testing.assert_array_equal(variance, [0, 0])
    assert not standardized.any()


@pytest.mark.parametrize("shape", [(20_000_000, 1), (10_000_000, 2)])
def test_float32_counts_beyond_its_integers(shape):
    x = tg.input("x", shape)
    graph, feeds = tg.Graph([tg.sum(x, axis=0), tg.mean(x, axis=0)]), {"x": np.ones(shape, np.float32)}
    for total_, mean in (tg.run(graph, feeds), tg.compile(graph)(feeds)):
        assert total_.tolist() == [shape[0]] * shape[1]
        assert mean.tolist() == [1] * shape[1]


def test_a_running_sum_counts_beyond_the_integers_of_float32():
    assert tg.cumsum(np.ones(20_000_000, np.float32), 0)[-1] == 20_000_000


def test_a_sum_of_infinities_is_infinite():
    x = np.tile(np.float32([np.inf, -np.inf, np.nan]), (1000, 1))
    np.testing.assert_array_equal(tg.sum(x, axis=0), [np.inf, -np.inf, np.nan])


# ---- float16

N = 4096
ZEROS, LABELS = np.zeros(N, HALF), np.zeros(N, np.int64)


def full(value, *shape):
    return np.full(shape or (N,), value, HALF)


IN_FLOAT16 = {
    "mse": (lambda: tg.mse(full(10), ZEROS), 100),
    "mse of squares above the largest float16": (
        lambda: tg.mse(np.eye(1, N, dtype=HALF)[0] * HALF(1000), ZEROS),
        1e6 / N,
    ),
    "l1": (lambda: tg.l1(full(1000), ZEROS), 1000),
    "huber": (lambda: tg.huber(full(1000), ZEROS), 999.5),
    "smooth_l1": (lambda: tg.smooth_l1(full(1000), ZEROS), 999.5),
    "bce": (lambda: tg.bce(full(0.5), full(1)), np.log(2)),
    "bce_with_logits": (lambda: tg.bce_with_logits(full(100), ZEROS), 100),
    "hinge": (lambda: tg.hinge(full(-100), np.ones(N, int)), 101),
    "nll": (lambda: tg.nll(full(-100, N, 3), LABELS), 100),
    "nll of rows": (lambda: tg.nll(full(-100, N, 2), full(0.5, N, 2)), 100),
    "cross_entropy": (lambda: tg.cross_entropy(np.stack([ZEROS, full(100)], 1), LABELS), 100),
    "kl_divergence": (lambda: tg.kl_divergence(full(-100, N, 2), full(0.5, N, 2)), 100 - np.log(2)),
    "sum": (lambda: tg.sum(full(1, N, 2), axis=0), N),
    "add_all": (lambda: tg.add_all([full(1, 2)] * N), N),
    "mean_all": (lambda: tg.mean_all([full(1000, 2)] * N), 1000),
    "mean": (lambda: tg.mean(full(1000)), 1000),
    "sum_to": (lambda: tg.sum_to(full(1, N, 2), (2,)), N),
    "variance": (lambda: tg.variance(np.tile(HALF([100, -100]), N)), 1e4),
    "standardize": (lambda: tg.standardize(np.tile(HALF([300, -300]), N), axis=0)[::2], 1),
    "l1_norm": (lambda: tg.l1_norm(full(1, N, 2), axis=0), N),
    "l2_norm": (lambda: tg.l2_norm(full(1, N, 2), axis=0), 64),
    "logsumexp": (lambda: tg.logsumexp(full(0)), np.log(N)),
    "softmax": (lambda: tg.softmax(full(0)), 1 / N),
    "log_softmax": (lambda: tg.log_softmax(full(0)), -np.log(N)),
    "prod": (lambda: tg.prod(HALF([1000, 1000, 0.001])), 1000),
    "cumsum": (lambda: tg.cumsum(full(1), 0)[-1], N),
    "moving_sum": (lambda: tg.moving_sum(full(1), N, 0)[-1], N),
    "matmul": (lambda: full(1, 1, N) @ tg.tensor(full(1, N, 1)), N),
    "einsum": (lambda: tg.einsum([full(1), full(1)], "i,i->"), N),
    "einsum of one": (lambda: tg.einsum([full(1, N, 2)], "ij->j"), N),
    "conv1d": (lambda: tg.conv1d(full(1, 1, 1, N), full(1, 1, 1, N)), N),
    "conv_transpose2d": (lambda: tg.conv_transpose2d(full(1, 1, N, 1, 1), full(1, N, 1, 1, 1)), N),
    "conv2d_kernel_gradient": (
        lambda: tg.conv2d_kernel_gradient(full(1, N, 1, 1, 1), full(1, N, 1, 1, 1), kernel_size=(1, 1)),
        N,
    ),
    "avg_pool1d": (lambda: tg.avg_pool1d(full(1000, 1, 1, N), N), 1000),
    "avg_unpool1d": (lambda: tg.avg_unpool1d(full(N, 1, 1, N), N, stride=1, output_size=(2 * N - 1,))[0, 0, N - 1], N),
    "max_unpool1d": (
        lambda: tg.max_unpool1d(full(1, 1, 1, N), np.eye(1, 2 * N - 1, N - 1, HALF)[None], N, stride=1)[0, 0, N - 1],
        N,
    ),
    "global_avg_pool": (lambda: tg.global_avg_pool(full(1000, 1, 1, N)), 1000),
    "global_lp_pool": (lambda: tg.global_lp_pool(full(10, 1, 1, N)), 640),
    "lp_pool1d": (lambda: tg.lp_pool1d(full(10, 1, 1, N), N), 640),
    "scatter_add": (lambda: tg.scatter_add(full(1), LABELS, 1), N),
    "scatter_add_elements": (lambda: tg.scatter_add_elements(full(1), LABELS, (1,)), N),
    "scatter_add_nd": (lambda: tg.scatter_add_nd(full(1), LABELS[:, None], (1,)), N),
    "put": (lambda: tg.put(full(1), LABELS, (1,)), N),
    "batch_norm": (
        lambda: tg.batch_norm(np.tile(HALF([[300], [-300]]), (N, 1)), *[HALF([1])] * 4, training=True)[::2],
        2,
    ),
    "layer_norm": (lambda: tg.layer_norm(np.tile(HALF([300, -300]), (1, N)), HALF(1), HALF(0))[:, ::2], 1),
    "local_response_norm": (
        lambda: tg.local_response_norm(full(300, 1, 4), size=3, alpha=3.0, beta=0.5, bias=0.0)[0, 1],
        3**-0.5,
    ),
}


@pytest.mark.parametrize("name", IN_FLOAT16)
def test_float16_is_added_up_in_float32(name):
    f, expected = IN_FLOAT16[name]
    y = f()
    assert y.dtype == HALF
    np.testing.assert_allclose(np.asarray(y, np.float64), expected, rtol=2e-3)


@pytest.mark.parametrize(
    "f",
    [
        tg.mean,
        lambda x: tg.global_avg_pool(x.reshape(1, 1, -1))[0, 0],
        lambda x: tg.avg_pool1d(x.reshape(1, 1, -1), x.size)[0, 0, 0],
        lambda x: tg.mse(x, np.full(x.shape, 0.5, HALF)),
        lambda x: tg.l1(x, np.zeros(x.shape, HALF)),
        lambda x: tg.bce_with_logits(2 * x, np.zeros(x.shape, HALF)) / np.float16(2 / (1 + np.exp(-2))),
        lambda x: tg.variance(tg.concatenate([x, np.zeros(x.shape, HALF)])) * HALF(2),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow")
def test_the_gradient_of_a_mean_over_more_elements_than_float16_counts(f):
    ones, expected = np.ones(70_000, HALF), 1 / 70_000
    x = tg.tensor(ones)
    f(x).backward()
    declared = tg.input("x", ones.shape, "float16")
    graph = tg.Graph(tg.grad(f(declared), [declared])[0])
    feeds = {"x": ones} if graph.inputs else {}
    for found in (x.grad.value, tg.grad(f(x), [x])[0].value, tg.run(graph, feeds)[0], tg.compile(graph)(feeds)[0]):
        assert found.dtype == HALF
        np.testing.assert_allclose(found, expected, rtol=0.02)


def test_the_gradients_of_many_uses_are_added_up_in_float32():
    x = tg.tensor(np.ones(2, HALF))
    y = tg.add_all([x.reshape(1, 2) for _ in range(N)]).sum()
    y.backward()
    declared = tg.input("x", (2,), "float16")
    z = tg.add_all([declared.reshape(1, 2) * HALF(1) for _ in range(N)]).sum()
    graph = tg.Graph(tg.grad(z, [declared])[0])
    feeds = {"x": x.value} if graph.inputs else {}
    for found in (x.grad.value, tg.grad(y, [x])[0].value, tg.run(graph, feeds)[0], tg.compile(graph)(feeds)[0]):
        assert found.tolist() == [N, N]


def test_the_gradient_of_standardize_in_float16():
    x, w = np.linspace(-1000, 1000, 64), np.linspace(-1, 1, 64) ** 3
    single, half = (tg.tensor(x.astype(dtype)) for dtype in (np.float64, HALF))
    expected, found = (tg.grad(tg.standardize(t, axis=0), [t], cotangent=w.astype(t.dtype))[0] for t in (single, half))
    assert found.dtype == HALF
    np.testing.assert_allclose(found.value, expected.value, rtol=0.01, atol=1e-6)
