"""Extreme values: a plan gives what plain evaluation gives for numbers that are huge, tiny, infinite or none, in every dtype.

What becomes finite again inside a graph is looked at too: outputs are asked for their signs, which are booleans.
"""

import numpy as np
import pytest

import tinygraph as tg
from tests.tools.agreement import agree, ballast

pytestmark = pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")
INTEGERS = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def operations(plan):
    return [step.operation for step in plan.schedule.steps]


def signs(y):
    """What kind of number each element is; none of these numbers is ever infinite or NaN."""
    return [y > 0, y < 0, y == y, abs(y) < 1e30]


def agrees(outputs, feeds, batch_size=None):
    """Assert that a plan gives the values of plain evaluation, and inside a graph their signs; return the plan."""
    outputs = list(outputs)
    asked = [sign for y in outputs if y.dtype.kind == "f" for sign in signs(y)]
    plan = tg.compile(asked or outputs, batch_size, threads=1)
    agree(plan(feeds), tg.run(asked or outputs, feeds))
    agree(tg.compile(outputs, batch_size, threads=1)(feeds), tg.run(outputs, feeds))
    return plan


# Class numbers


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("loss", [tg.cross_entropy, lambda z, y: tg.nll(tg.log_softmax(z), y)], ids=["logits", "nll"])
def test_more_classes_than_the_type_of_the_labels_counts(loss, dtype):
    y, z = tg.input("y", (2,), dtype), tg.input("z", (2, 300))
    (dz,) = tg.grad(loss(z, y), [z])
    feeds = {"y": np.array([0, 100], dtype), "z": np.zeros((2, 300), np.float32)}
    found = tg.compile([dz])(feeds)[0]
    assert found[0, 256] == pytest.approx(1 / 600)
    agrees([dz, tg.one_hot(y, 300), loss(z, y)], feeds)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_positions_of_every_integer_type(dtype):
    i, w = tg.input("i", (3,), dtype), tg.parameter(normal(300, 2), name="w")
    pairs = tg.reshape(i, (3, 1))
    picked = [tg.embedding(w, i), tg.gather(w, i, 0), tg.gather_nd(w, pairs), tg.gather_elements(w, pairs, 0)]
    feeds = {"i": np.array([0, 127, 5], dtype)}
    agrees([*picked, *(tg.grad(y.sum(), [w])[0] for y in picked)], feeds)
    np.testing.assert_array_equal(tg.run(picked[0], feeds)[0], w.value[[0, 127, 5]])


def test_a_model_with_small_labels_trains_as_with_large_ones():
    def trained(dtype):
        model = tg.Model(
            {"x": [3], "y": {"shape": [], "dtype": dtype}},
            {"W": {"shape": [3, 300], "init": "normal"}},
            "z = x @ W\ncost = cross_entropy(z, y)",
            "z",
            "cost",
        )
        step = model.compile_step(tg.SGD(0.5), 4)
        return [step({"x": normal(4, 3), "y": np.array([0, 1, 2, 99], dtype)})[1] for _ in range(3)]

    assert trained("uint8") == trained("int64")


# Large and small numbers


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("size", [1e4, 6e4, 1e8, 1e30])
def test_cross_entropy_of_large_equal_logits_is_log_2(dtype, size):
    if size > np.finfo(dtype).max:
        pytest.skip("no such number")
    z = tg.input("z", (2, 2), dtype)
    feeds = {"z": np.full((2, 2), size, dtype)}
    y = tg.cross_entropy(z, np.array([0, 1]))
    assert tg.compile(y)(feeds)[0] == pytest.approx(np.log(2), rel=1e-3)
    agrees([y, *tg.grad(y, [z])], feeds)


@pytest.mark.parametrize("count", [3, 2000])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_small_loss_of_a_large_logit_is_not_rounded_away(dtype, count):
    z, y = tg.input("z", (count,), dtype), tg.input("y", (count,), dtype)
    feeds = {"z": np.linspace(8, 40, count).astype(dtype), "y": np.ones(count, dtype)}
    for loss in (tg.bce_with_logits(z, y), tg.bce(tg.sigmoid(z), y)):
        found = tg.compile(loss)(feeds)[0]
        wanted = np.log1p(np.exp(-feeds["z"].astype(float))).mean()
        assert found == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize(("dtype", "least"), [("float16", -17), ("float32", -103), ("float64", -744)])
def test_sigmoid_down_to_the_least_number_of_its_type(dtype, least):
    x = tg.input("x", (200,), dtype)
    feeds = {"x": np.concatenate([np.linspace(least, 20, 196), [np.inf, -np.inf, np.nan, 0.0]]).astype(dtype)}
    found, wanted = tg.compile(tg.sigmoid(x))(feeds)[0], tg.run(tg.sigmoid(x), feeds)[0]
    assert found[0] > 0
    np.testing.assert_allclose(found, wanted, rtol=4 * np.finfo(dtype).eps, atol=2 * np.finfo(dtype).smallest_subnormal)
    agrees([tg.sigmoid(x)], feeds)


def test_float16_is_left_to_the_ordinary_rules():
    x, k = tg.input("x", (2, 3, 8, 8), "float16"), tg.parameter(normal(4, 3, 3, 3).astype("float16"), name="k")
    y = tg.max_pool2d(tg.relu(tg.conv2d(x, k)), 2)
    plan = tg.compile([y, *tg.grad(y.sum(), [x, k]), tg.avg_pool2d(x, 2), tg.variance(x, axis=0)])
    feeds = {"x": normal(2, 3, 8, 8).astype("float16")}
    for found, wanted in zip(plan(feeds), tg.run(plan.graph, feeds), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_a_step_of_large_logits_reports_the_loss_of_plain_evaluation():
    equations = "z = x @ W\ncost = cross_entropy(z, y)"
    parameters = {"W": {"shape": [1, 2], "init": "ones"}}
    model = tg.Model({"x": [1], "y": {"shape": [], "dtype": "int64"}}, parameters, equations, "z", "cost")
    x, y = np.full((4, 1), 1e8, np.float32), np.array([0, 1, 0, 1])
    assert model.compile_step(tg.SGD(1e-9), 4)({"x": x, "y": y})[1] == pytest.approx(np.log(2))
    model.initialize()
    assert tg.evaluate(model, (x, y)).loss == pytest.approx(np.log(2))


def test_what_overflows_in_the_program_alone_is_computed_plainly():
    """A product of matrices may add its terms in an order in which they overflow."""
    model = tg.Model(
        {"x": [2], "y": [1]}, {"W": {"shape": [2, 1], "init": "ones"}}, "p = x @ W\nc = mse(p, y)", "p", "c"
    )
    step = model.compile_step(tg.SGD(1e-9), 4)
    compiled = step._own[1]
    spoilt = lambda values, use: type(compiled).run(compiled, values, lambda arrays: use([a * np.inf for a in arrays]))  # noqa: E731
    x, y = normal(4, 2), normal(4, 1)
    wanted = tg.mse(x.sum(axis=1, keepdims=True), y)
    compiled.run = spoilt
    assert step({"x": x, "y": y})[1] == pytest.approx(float(wanted), rel=1e-5)
    assert np.isfinite(model.parameters["W"].value).all()


# Products with zeros

ODD = [np.inf, -np.inf, np.nan]


def with_odd(shape, odd, seed=0):
    """Random numbers, some of which are not finite."""
    x = normal(*shape, seed=seed).astype("float32")
    x.reshape(-1)[1 :: max(x.size // 5, 1)] = odd
    return x


@pytest.mark.parametrize("odd", ODD)
def test_pixels_that_are_not_finite_stay_in_their_windows(odd):
    x = tg.input("x", (1, 1, 2, 1))
    y = tg.conv2d(x, np.ones((1, 1, 1, 1), np.float32))
    plan = agrees([y, tg.where(y >= 0, 1.0, 0.0)], {"x": np.array([[[[odd], [0]]]], np.float32)})
    assert "row_convolution" in operations(plan)


CONVOLUTIONS = [
    {},
    {"padding": 1},
    {"stride": 2},
    {"stride": (2, 1), "padding": (1, 0)},
    {"dilation": (1, 2)},
    {"padding": "same"},
]


@pytest.mark.parametrize("settings", CONVOLUTIONS, ids=str)
@pytest.mark.parametrize("filters", [1, 3, 9])
@pytest.mark.parametrize("place", ["x", "k", "b", "dy"])
@pytest.mark.parametrize("odd", ODD)
def test_convolutions_of_numbers_that_are_not_finite(settings, filters, place, odd):
    shapes = {"x": (3, 2, 8, 8), "k": (filters, 2, 3, 3), "b": (filters, 1, 1)}
    x, k, b = (tg.input(name, shape) for name, shape in shapes.items())
    y = tg.conv2d(x, k, **settings)
    dy = tg.input("dy", y.shape)
    gradients = tg.grad((y * dy).sum(), [x, k])
    shapes["dy"] = y.shape
    feeds = {name: with_odd(shape, odd) if name == place else normal(*shape) for name, shape in shapes.items()}
    agrees([y + b, *gradients], feeds, 3)


def test_convolutions_with_strides_and_padding_are_computed_by_rows():
    x, k = tg.input("x", (2, 1, 6, 6)), tg.input("k", (2, 1, 3, 3))
    y = tg.conv2d(x, k, stride=2, padding=1)
    graph = [y, *tg.grad(y.sum(), [x])]
    feeds = {"x": normal(2, 1, 6, 6), "k": normal(2, 1, 3, 3)}
    plan = tg.compile(graph)
    assert {"row_convolution", "row_spread"} <= set(operations(plan))
    agree(plan(feeds), tg.run(graph, feeds))


@pytest.mark.parametrize("settings", [(2,), (3,), (3, 1), (2, 2, 1), ((2, 3), None, 0, 1, True)], ids=str)
@pytest.mark.parametrize("pool", [tg.max_pool2d, tg.avg_pool2d])
@pytest.mark.parametrize("place", ["z", "dy"])
@pytest.mark.parametrize("odd", ODD)
def test_pools_of_numbers_that_are_not_finite(pool, settings, place, odd):
    z = tg.input("z", (3, 2, 7, 8))
    for before in (z, tg.relu(z), z * z):
        y = pool(before, *settings)
        dy = tg.input("dy", y.shape)
        shapes = {"z": z.shape, "dy": y.shape}
        feeds = {name: with_odd(shape, odd) if name == place else normal(*shape) for name, shape in shapes.items()}
        agrees([y, *tg.grad((y * dy).sum(), [z])], feeds, 3)


def test_what_no_window_reaches_is_multiplied_by_zero():
    """A factor that is not finite beside the windows: 0 times infinity is NaN in a plan too."""
    x = tg.input("x", (1, 1, 3, 3))
    dy, factor = tg.input("dy", (1, 1, 1, 1)), np.ones((1, 1, 3, 3), np.float32)
    factor[0, 0, 2, 0] = factor[0, 0, 0, 2] = np.inf
    (share,) = tg.grad((tg.avg_pool2d(x, 2) * dy).sum(), [x])
    f = tg.input("f", (1, 1, 3, 3))
    plan = agrees([share * f], {"dy": np.ones((1, 1, 1, 1)), "f": factor})
    assert "avg_unpool_product" in operations(plan)


@pytest.mark.parametrize("odd", [*ODD, -0.0])
@pytest.mark.parametrize("shape", [(3, 4), (40, 70), (3, 4, 9, 9)])
def test_sums_and_products_of_numbers_that_are_not_finite(shape, odd):
    x, w = tg.input("x", shape), tg.input("w", (shape[-1], 1))
    feeds = {"x": with_odd(shape, odd), "w": normal(shape[-1], 1)}
    outputs = [x.sum(axis=-1), x.sum(axis=0), x.sum(axis=(0, -1)), x @ w, tg.softmax(x), tg.standardize(x, axis=-1)]
    agrees(outputs, feeds)


@pytest.mark.parametrize("order", ["<", ">"])
def test_numbers_in_the_byte_order_of_another_machine(order):
    values = normal(2, 3).astype(f"{order}f4")
    x, k = tg.input("x", (2, 3), values.dtype), tg.tensor(values)
    assert x.dtype.isnative
    assert k.dtype.isnative
    outputs = [x.T, tg.relu(x), x[0], x * k.T.reshape(2, 3)]
    agrees(outputs, {"x": values})
    assert all(y.dtype.isnative for y in (*tg.run(outputs, {"x": values}), *tg.compile(outputs)({"x": values})))


def test_what_a_tile_refuses_and_the_batch_accepts_is_accepted(registry):
    @tg.op(elementwise=True)
    def some_positive(x):
        if not (x > 0).any():
            raise tg.DataError("nothing is positive")
        return x + 1

    x, weight = tg.input("x", (66, 2)), ballast(66)
    y = some_positive(x)
    values = np.zeros((66, 2), np.float32)
    values[0] = 1
    plan = tg.compile([y, weight[0]], 66, threads=1)
    assert len(plan.schedule.tiles) > 1
    np.testing.assert_array_equal(plan({"x": values, **weight[1]})[0], values + 1)


def test_truth_values_have_a_variance_and_a_pool():
    x = tg.input("x", (2, 1, 4, 4), "bool")
    feeds = {"x": normal(2, 1, 4, 4) > 0}
    agrees([tg.standardize(x), tg.variance(x, axis=(2, 3))], feeds)
    pools = [tg.max_pool2d(x, 2), tg.max_pool2d(x, 3, padding=1)]
    agree(tg.compile(pools)(feeds), tg.run(pools, feeds))
    assert pools[0].dtype == bool


def test_float16_totals_are_those_of_the_whole_batch():
    x, weight = tg.input("x", (66, 2), "float16"), ballast(66)
    plan = tg.compile([x.sum(), x.sum(axis=0), weight[0]], 66, threads=1)
    values = np.full((66, 2), 60000, np.float16)
    values[33:] = -60000
    values[0] = 61024
    feeds = {"x": values, **weight[1]}
    found = plan(feeds)
    assert found[0] == 2048
    np.testing.assert_array_equal(found[1], tg.run(x.sum(axis=0), {"x": values})[0])


def test_predictions_out_of_range_are_refused_beside_nan_too():
    a = tg.input("a", (2,), "float64")
    with pytest.raises(tg.DataError, match="between 0 and 1"):
        tg.run(tg.bce(a, np.array([1.0, 0.0])), {"a": np.array([np.nan, 1.5])})


def test_operations_that_differ_in_the_sign_of_zero_are_not_one():
    x = tg.input("x", (2,))
    outputs = [1 / tg.pad(x, 1, zero) > 0 for zero in (0.0, -0.0)]
    agrees(outputs, {"x": np.ones(2)})
    assert [y.tolist() for y in tg.compile(outputs)({"x": np.ones(2)})] == [[True] * 4, [False, True, True, False]]


@pytest.mark.parametrize("classes", [10, 900, 20_000])
@pytest.mark.parametrize("shape", [(6,), (3, 2, 4)])
def test_sums_over_many_classes_are_as_exact_as_plain_ones(classes, shape):
    z, y = tg.input("z", (*shape, classes)), np.zeros(shape, int)
    feeds = {"z": np.linspace(0, 0.1, classes) * np.ones((*shape, classes))}
    outputs = [tg.softmax(z), tg.cross_entropy(z, y), *tg.grad(tg.cross_entropy(z, y), [z])]
    for found, wanted in zip(tg.compile(outputs, shape[0], 1)(feeds), tg.run(outputs, feeds), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=2e-6)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_an_explanation_counts_classes_in_a_large_type(dtype):
    logits, labels = normal(3, 300), np.array([0, 100, 5], dtype)
    loss = tg.cross_entropy.op()
    found, wanted = (loss.explain((), np.array(0.0), logits, y) for y in (labels, labels.astype("int64")))
    assert repr(found) == repr(wanted)
