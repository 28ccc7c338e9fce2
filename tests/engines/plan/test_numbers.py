"""Plans with numbers that are not finite, signed zeros, shapes, dtypes and higher derivatives."""

import numpy as np
import pytest

import tinygraph as tg
from tests.tools.agreement import MODELS, agree, agrees_with_plain, ballast, feeds_for, in_float64
from tests.tools.plans import BATCH, normal, output_loss_and_gradients, weighted_sum

pytestmark = pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")


# ---- Numbers that are not finite, zeros of both signs, constants that look alike


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
@pytest.mark.parametrize("name", MODELS)
def test_a_pixel_that_is_not_finite_spoils_what_it_spoils_in_plain_evaluation(name, bad):
    model = in_float64(name)
    feeds = feeds_for(model, 5)
    feeds[model.features[0]][3].flat[0] = bad
    agrees_with_plain(output_loss_and_gradients(model, 5), feeds, 5)


@pytest.mark.parametrize("name", ["notes_cnn", "lenet5"])
def test_a_parameter_that_is_not_finite_spoils_what_it_spoils_in_plain_evaluation(name):
    model = in_float64(name)
    value = model.parameters["K1"].value.copy()
    value.flat[:2] = np.inf, np.nan
    model.parameters["K1"].value = value
    agrees_with_plain(output_loss_and_gradients(model, 3), feeds_for(model, 3), 3)


def test_zeros_of_both_signs_are_kept_apart():
    x = tg.input("x", (3,), "float64")
    zero, minus_zero = tg.constant(0.0), tg.constant(-0.0)
    padded = [1 / tg.pad(x, 1, value=value) for value in (0.0, -0.0)]
    outputs = [x / zero, x / minus_zero, *padded, 1 / (x * 0.0), 1 / (x * -0.0), 1 / -(x - x), 1 / (0.0 - (x - x))]
    agrees_with_plain(outputs, {"x": [1.0, -2.0, 3.0]})


def test_constants_of_the_same_bytes_are_kept_apart():
    x = tg.input("x", (2, 2), "float64")
    constants = [np.zeros(4), np.zeros((2, 2)), np.zeros(4, "int64"), np.zeros((2, 2), "int64"), np.zeros(8, "float32")]
    agrees_with_plain(
        [tg.reshape(x, (4,)) + tg.reshape(tg.exp(tg.constant(c)), (-1,))[:4] for c in constants], {"x": np.ones((2, 2))}
    )
    agrees_with_plain([tg.exp(tg.tensor(c)) for c in constants] + [x], {"x": np.ones((2, 2))})


def test_expressions_that_look_alike_are_kept_apart():
    x, y = tg.input("x", (4, 4), "float64"), tg.input("y", (4, 4), "float64")
    outputs = [
        *(x - y, y - x, x / y, y / x, x @ y, y @ x, x**2, x**3, tg.where(x > y, x, y), tg.where(y > x, x, y)),
        *(tg.sum(x, axis=0), tg.sum(x, axis=1), tg.sum(x), tg.mean(x, axis=0), tg.sum(x, axis=0, keepdims=True)),
        *(tg.softmax(x, axis=0), tg.softmax(x, axis=1), tg.clip(x, 0.0), tg.clip(x, None, 0.0), x[0], x[:, 0], x[[0]]),
        *(tg.cast(x, "float32"), tg.leaky_relu(x), tg.leaky_relu(x, slope=0.5), tg.flip(x, axis=0), tg.flip(x, axis=1)),
        *(tg.concatenate([x, y]), tg.concatenate([y, x]), tg.concatenate([x, y], axis=1), tg.gelu(x), tg.relu(-x)),
    ]
    agrees_with_plain(outputs, {"x": normal(4, 4), "y": normal(4, 4, seed=1)})


# ---- Shapes and dtypes


@pytest.mark.parametrize("shape", [(), (1,), (0,), (0, 3), (3, 0), (1, 1), (1, 5), (5, 1), (2, 0, 3)])
@pytest.mark.parametrize("threads", [1, 2])
def test_scalars_and_empty_arrays(shape, threads):
    x = tg.input("x", shape, "float64")
    y = tg.tanh(x * 2) + 1
    outputs = [
        x,
        y,
        y.sum(),
        *tg.grad((y * y).sum(), [x]),
        tg.flip(y),
        tg.expand_dims(y, 0),
        tg.reshape(y, (-1,)) if 0 not in shape else y,
    ]
    outputs += [y.sum(axis=0), tg.concatenate([y, x]), y[:1], x @ tg.constant(np.ones((shape[-1], 2)))] if shape else []
    agrees_with_plain(outputs, {"x": normal(*shape)}, threads=threads)


@pytest.mark.parametrize("index", [0, (1, 2), (slice(None), 1), (Ellipsis, 2), (0, None), ([0, 1], [1, 1])])
def test_elements_taken_out(index):
    x = tg.input("x", (2, 3), "float64")
    y = tg.tanh(x)
    outputs = [x[index], y[index], y[index] * 2, *tg.grad((y[index] * y[index]).sum(), [x])]
    plan = tg.compile(outputs)
    for seed in range(3):
        feeds = {"x": normal(2, 3, seed=seed)}
        agree(plan(feeds), tg.run(outputs, feeds))


@pytest.mark.parametrize(
    "view", [tg.flip, tg.transpose, tg.squeeze, tg.identity, lambda t: tg.reshape(t, ()), lambda t: t.T]
)
def test_scalars_seen_in_another_way(view):
    x = tg.input("x", (3, 2), "float64")
    y = view(tg.mse(x, tg.tanh(x)))
    outputs = [y, y * y, tg.exp(x) / (1 + y * y)]
    plan = tg.compile(outputs)
    for seed in range(3):
        feeds = {"x": normal(3, 2, seed=seed)}
        agree(plan(feeds), tg.run(outputs, feeds))


def test_empty_batch_of_images():
    x, k = tg.input("x", (0, 2, 5, 5), "float64"), tg.parameter(normal(3, 2, 2, 2))
    y = tg.max_pool2d(tg.relu(tg.conv2d(x, k)), 2)
    agrees_with_plain([y, *tg.grad(y.sum(), [x, k])], {"x": np.zeros((0, 2, 5, 5))})


def test_whole_numbers_and_truth_values():
    i, j, b = tg.input("i", (6, 3), "int64"), tg.input("j", (3,), "int8"), tg.input("b", (6, 3), "bool")
    outputs = [
        *(i + j, i * i, i - 2, -i, i @ tg.constant(np.ones((3, 2), int)), tg.abs(i), tg.max(i, axis=0), tg.sum(b)),
        *(
            i > j,
            i == 2,
            tg.where(b, i, j),
            b * i,
            b * 1.5,
            tg.sum(b, axis=0),
            tg.mean(i, axis=0),
            tg.cast(i, "float32"),
        ),
        *(tg.one_hot(tg.abs(i), 5), tg.where(i > 1, 1.0, 0.0), i / 2, tg.relu(i), j + j, tg.clip(i, -1, 1), i[1:], b.T),
    ]
    rng = np.random.default_rng(0)
    feeds = {"i": rng.integers(-4, 5, (6, 3)), "j": np.array([100, 1, -3], "int8"), "b": rng.random((6, 3)) > 0.5}
    agrees_with_plain(outputs, feeds)
    agrees_with_plain(outputs, feeds, 6, threads=1)


def test_mixed_dtypes():
    leaves = {"a": "float32", "b": "float64", "c": "int32", "d": "float16", "e": "bool"}
    a, b, c, d, e = (tg.input(name, (5, 2), dtype) for name, dtype in leaves.items())
    y = tg.tanh(a) * b + c
    outputs = [a + b, a + c, a + d, d * 2, d + d, e + d, a * e, c / c, tg.exp(a) + b, a @ b.T, tg.relu(d), y]
    outputs += [*tg.grad(weighted_sum(y), [a, b]), tg.cast(a, "float64") + tg.cast(b, "float32")]
    rng = np.random.default_rng(0)
    agrees_with_plain(outputs, {name: rng.integers(1, 2, (5, 2)).astype(dtype) for name, dtype in leaves.items()}, 5)


@pytest.mark.parametrize("threads", [1, 2])
def test_half_precision(threads):
    x, k = tg.input("x", (4, 1, 6, 6), "float16"), tg.parameter(normal(2, 1, 3, 3).astype("float16"))
    y = tg.avg_pool2d(tg.relu(tg.conv2d(x, k, padding=1)), 2)
    outputs = [y, tg.max_pool2d(y, 3), tg.flatten(y) @ tg.constant(np.ones((18, 2), "float16")), *tg.grad(y.sum(), [k])]
    agrees_with_plain(outputs, {"x": normal(4, 1, 6, 6).astype("float16")}, 4, threads)


def test_complex_numbers():
    x = tg.input("x", (3, 2), "complex128")
    agrees_with_plain(
        [tg.exp(x) * x, x @ x.T, x.sum(axis=0), x.reshape(2, 3)], {"x": normal(3, 2) + 1j * normal(3, 2, seed=1)}
    )


# ---- Derivatives of derivatives


def test_second_derivatives_of_a_network():
    x = tg.input("x", (3, 1, 6, 6), "float64")
    k, w = tg.parameter(normal(2, 1, 3, 3)), tg.parameter(normal(18, 2))
    c = tg.tanh(tg.conv2d(x, k, padding=1))
    logits = tg.flatten(tg.max_pool2d(c, 2) + tg.avg_pool2d(c, 2)) @ w
    loss = tg.cross_entropy(logits, np.array([0, 1, 1]))
    first = tg.grad(loss, [x, k, w])
    second = tg.grad(sum(weighted_sum(dx) for dx in first), [x, k, w])
    agrees_with_plain([loss, *first, *second], {"x": normal(3, 1, 6, 6)}, 3)


def test_gradient_of_the_gradients_length():
    x, w = tg.input("x", (BATCH, 4), "float64"), tg.parameter(normal(4, 4))
    (dx,) = tg.grad(tg.sigmoid(x @ w).sum(), [x])
    penalty = ((dx * dx).sum(axis=1) - 1) ** 2
    weight, fed = ballast(BATCH)
    agrees_with_plain([penalty.mean(), *tg.grad(penalty.mean(), [w]), weight], fed | {"x": normal(BATCH, 4)}, BATCH)


def test_classes_of_whole_numbers():
    x, labels = tg.input("x", (6, 3), "int64"), tg.input("labels", (6,), "int64")
    loss = tg.cross_entropy(x, labels)
    feeds = {"x": np.arange(18).reshape(6, 3) * 7 % 11, "labels": np.arange(6) % 3}
    np.testing.assert_allclose(tg.compile(loss)(feeds)[0], tg.run(loss, feeds)[0], rtol=1e-14)
