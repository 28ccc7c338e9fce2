"""A user's operations on XLA: traced where that is possible, and on the host where it is not."""

import warnings

import numpy as np
import pytest

import tinygraph as tg

pytest.importorskip("jax")
from tests.engines.xla import custom
from tests.engines.xla.models import batches
from tinygraph.engines.xla import lower


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch):
    monkeypatch.setattr(lower, "_said", set())


def test_a_model_of_each_kind_of_operation_gives_the_losses_of_the_plan():
    model, twin = custom.model(), custom.model()
    step, plan = model.compile_step("sgd", 8, engine="xla"), twin.compile_step("sgd", 8)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        losses = [(plan(feeds)[1], step(feeds)[1]) for feeds in batches(model, 8, 4)]
    np.testing.assert_allclose(*zip(*losses, strict=True), rtol=1e-12)
    on_host = sorted(str(warning.message).split(":")[0] for warning in said)
    assert on_host == ["'own_loop' runs on the host", "'own_rows' runs on the host"]


def test_an_operation_that_was_just_written_needs_no_entry():
    @tg.op(elementwise=True)
    def freshly_made(x, y):
        return np.where(x > y, np.hypot(x, y), np.maximum(x, 0.25) ** 2) - np.minimum(y, 1)

    @freshly_made.vjp
    def freshly_made_vjp(dy, y, x, z):
        return dy * x, dy * z

    x, y = tg.input("x", (3, 4), "float64"), tg.input("y", (4,), "float64")
    graph = tg.Graph([z := freshly_made(x, y), *tg.grad(z.sum(), [x, y])])
    feeds = {"x": np.linspace(-2, 2, 12).reshape(3, 4), "y": np.linspace(-1, 1.5, 4)}
    found = tg.compile(graph, engine="xla")(feeds)
    for a, b in zip(found, tg.run(graph, feeds), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "uint8", "bool"])
def test_numbers_of_every_dtype_reach_the_host_and_return(dtype):
    @tg.op(elementwise=True)
    def there_and_back(x):
        return np.array(np.ravel(x).tolist(), x.dtype).reshape(x.shape)

    values = np.array([[0.1, 1, 2], [3, 2**40 + 1 if np.dtype(dtype).itemsize == 8 else 5, 7]]).astype(dtype)
    graph = tg.Graph(there_and_back(tg.input("x", (2, 3), dtype)))
    with pytest.warns(UserWarning, match="'there_and_back' runs on the host"):
        (found,) = tg.compile(graph, engine="xla")({"x": values})
    assert found.dtype == values.dtype
    np.testing.assert_array_equal(found, values)


@pytest.mark.filterwarnings("ignore:.*runs on the host")
def test_what_a_user_refuses_is_raised_and_no_parameter_moves():
    model = custom.model()
    step, feeds = model.compile_step("sgd", 8, engine="xla"), next(batches(model, 8, 1))
    before = model.parameters["W1"].value.copy()
    with pytest.raises(tg.OperationError, match="own_steps: forward failed: ValueError: too large"):
        step(feeds | {"Inp": -feeds["Inp"] * 1e9})
    assert np.array_equal(model.parameters["W1"].value, before)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda x: x * float(x.sum()), "array of NumPy's"),
        (lambda x: np.add(x, x, out=np.empty(x.shape)), "writes a traced value"),
        (lambda x: np.resize(x[x > 0], x.shape), "depends on values"),
        (lambda x: [y := np.copy(x), y.sort()][0], "sort"),
        (lambda x: [y := np.copy(x), np.put(y, [0], 7.0)][0], "in-place|copy"),
    ],
)
def test_what_cannot_be_traced_runs_on_the_host(make, why):
    @tg.op
    def of_the_host(x):
        return make(x)

    x = np.array([1.0, -2.0, 3.0])
    with pytest.warns(UserWarning, match=f"of_the_host.*{why}"):
        (found,) = tg.compile(of_the_host(tg.input("x", (3,), "float64")), engine="xla")({"x": x})
    np.testing.assert_allclose(found, make(x))


def test_a_write_into_a_view_of_an_input_is_left_to_numpy():
    @tg.op
    def writes_elsewhere(x):
        y = np.copy(x)
        z = y.reshape(-1)
        y[0] = 9.0
        return z + y

    with pytest.warns(UserWarning, match="may share its memory"):
        (found,) = tg.compile(writes_elsewhere(tg.input("x", (3,), "float64")), engine="xla")({"x": np.ones(3)})
    np.testing.assert_array_equal(found, [18, 2, 2])


@pytest.mark.parametrize(
    "pick",
    [lambda x, i: x[i], lambda x, i: x[..., i], lambda x, i: np.take(x, i), lambda x, i: np.take_along_axis(x, i, 0)],
)
def test_positions_beyond_the_end_are_refused_as_by_numpy(pick):
    @tg.op
    def picked(x, i):
        return pick(x, i)

    @picked.shape
    def picked_shape(x, i):
        return tuple(i.shape)

    graph = tg.Graph(picked(tg.input("x", (3,), "float64"), tg.input("i", (2,), "int64")))
    plan, x = tg.compile(graph, engine="xla"), np.array([1.0, 2.0, 3.0])
    np.testing.assert_array_equal(plan({"x": x, "i": np.array([-3, 2])})[0], [1, 3])
    for wrong in (3, -4):
        with pytest.raises(tg.OperationError, match="IndexError"):
            plan({"x": x, "i": np.array([0, wrong])})
