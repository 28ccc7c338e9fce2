"""``tg.run``: feeds, results, watching and memory."""

import gc
import weakref
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import tinygraph as tg
from tests.tools.graphs import network

FEEDS = {
    "x": np.arange(12.0).reshape(4, 3) / 10,
    "y": np.array([[0.0], [1.0], [1.0], [0.0]]),
}


# ---- run: feeds


def test_run_feeds_by_name_and_by_tensor():
    cost, x, _, _, y = network()
    by_name = tg.run(cost, FEEDS)
    by_tensor = tg.run(cost, {x: FEEDS["x"], y: FEEDS["y"]})
    mixed = tg.run(cost, {"x": FEEDS["x"], y: FEEDS["y"]})
    assert by_name == by_tensor == mixed


def test_run_takes_a_graph_a_tensor_or_several():
    x = tg.input("x", ())
    y = x + 1
    for outputs in (tg.Graph(y), y, [y], (y,)):
        assert tg.run(outputs, {"x": 2}) == (3.0,)


def test_run_equals_eager_bit_for_bit():
    cost, *_ = network()
    values = {name: tg.tensor(array, name=name) for name, array in FEEDS.items()}
    W, b = tg.parameter([[0.1], [-0.2], [0.3]]), tg.parameter([0.5])
    eager = tg.bce(tg.sigmoid(values["x"] @ W + b), values["y"])
    assert tg.run(cost, FEEDS)[0] == float(eager)


def test_a_graph_with_values_runs_without_feeds():
    x = tg.tensor([1.0, 2.0])
    y = tg.exp(x)
    assert_array_equal(tg.run(y)[0], y.value)
    assert_array_equal(tg.run(y, {})[0], y.value)


def test_run_uses_the_present_values_of_leaves():
    w = tg.parameter([1.0])
    y = w * 2
    w.value = [5.0]
    assert_array_equal(tg.run(y)[0], [10.0])


def test_every_missing_input_is_named():
    with pytest.raises(tg.FeedError, match="'x'"):
        tg.run(network()[0], {"y": FEEDS["y"]})
    with pytest.raises(tg.FeedError, match=r"'x'.*'y'"):
        tg.run(network()[0])


def test_an_unknown_name_is_refused_with_the_nearest_one():
    x = tg.input("Inp", (2,))
    with pytest.raises(tg.FeedError, match=r"'Imp'.*did you mean 'Inp'"):
        tg.run(x * 2, {"Imp": [1, 2]})


def test_a_name_too_many_is_refused():
    with pytest.raises(tg.FeedError, match="banana"):
        tg.run(network()[0], {**FEEDS, "banana": 1})


@pytest.mark.parametrize("key", [3, None, ("x",), 1.5])
def test_a_key_that_is_neither_name_nor_tensor_is_refused(key):
    with pytest.raises(tg.FeedError):
        tg.run(network()[0], {**FEEDS, key: 1})


@pytest.mark.parametrize("feeds", [[1, 2], np.ones(2), "x", 3])
def test_feeds_that_are_no_mapping_are_refused(feeds):
    with pytest.raises(tg.FeedError):
        tg.run(tg.input("x", (2,)) * 2, feeds)


def test_a_leaf_fed_twice_is_refused():
    x = tg.input("x", (2,))
    with pytest.raises(tg.FeedError, match="x"):
        tg.run(x * 2, {"x": [1, 2], x: [3, 4]})


def test_a_tensor_of_another_graph_and_an_inner_node_are_refused():
    x, other = tg.input("x", ()), tg.input("other", ())
    h = x * 2
    with pytest.raises(tg.FeedError, match="other"):
        tg.run(h + 1, {x: 1, other: 1})
    with pytest.raises(tg.FeedError):
        tg.run(h + 1, {x: 1, h: 5})


@pytest.mark.parametrize("value", [1.0, [1.0], [1.0, 2.0, 3.0], [[1.0, 2.0]]])
def test_a_feed_of_the_wrong_shape_is_refused_and_nothing_is_broadcast(value):
    with pytest.raises(tg.FeedError, match=r"'Inp' \(2,\)"):
        tg.run(tg.input("Inp", (2,)) * 2, {"Inp": value})


@pytest.mark.parametrize("value", [[1j, 2], ["a", "b"], [None, 1.0], [[1.0], [2.0, 3.0]]])
def test_a_feed_that_is_not_real_numbers_is_refused(value):
    with pytest.raises(tg.FeedError, match="Inp"):
        tg.run(tg.input("Inp", (2,)) * 2, {"Inp": value})


@pytest.mark.parametrize(
    ("dtype", "fed"), [("float32", "float64"), ("float32", "int64"), ("float64", "float32"), ("float64", "bool")]
)
def test_a_feed_is_cast_to_the_dtype_of_the_leaf(dtype, fed):
    (result,) = tg.run(tg.input("x", (2,), dtype) * 2, {"x": np.ones(2, fed)})
    assert result.dtype == dtype
    assert_array_equal(result, [2, 2])


@pytest.mark.parametrize(("dtype", "fed"), [("int64", "float64"), ("bool", "float32"), ("float64", "complex128")])
def test_a_feed_that_would_lose_a_part_of_its_numbers_is_refused(dtype, fed):
    with pytest.raises(tg.FeedError, match=fed):
        tg.run(tg.input("x", (2,), dtype), {"x": np.full(2, 0.5, fed)})


def test_a_feed_that_does_not_fit_in_a_small_integer_is_refused():
    with pytest.raises(tg.FeedError):
        tg.run(tg.input("x", (1,), "int8"), {"x": [300]})


def test_parameters_and_other_leaves_with_values_may_be_fed():
    w, c = tg.parameter([1.0, 2.0], name="w"), tg.tensor(3.0, name="c")
    y = w * c
    assert_array_equal(tg.run(y, {"w": [10, 20]})[0], [30.0, 60.0])
    assert_array_equal(tg.run(y, {"c": 5})[0], [5.0, 10.0])
    assert_array_equal(tg.run(y, {"w": [1, 1], c: 1})[0], [1.0, 1.0])
    assert_array_equal(w.value, [1.0, 2.0])
    assert_array_equal(y.value, [3.0, 6.0])


def test_a_leaf_without_name_is_fed_by_tensor():
    w = tg.parameter([1.0])
    assert_array_equal(tg.run(w * 2, {w: [4]})[0], [8.0])


def test_a_feed_may_be_a_tensor_with_a_value():
    assert_array_equal(tg.run(tg.input("x", (2,)) * 2, {"x": tg.tensor([1.0, 2.0])})[0], [2.0, 4.0])


# ---- run: results


def test_results_are_numpy_arrays_of_the_right_shape_and_dtype():
    x = tg.input("x", (2, 3))
    outputs = [x, x.sum(), x > 0, tg.sum(x, axis=0)]
    for output, result in zip(outputs, tg.run(outputs, {"x": np.ones((2, 3))}), strict=True):
        assert type(result) is np.ndarray
        assert (result.shape, result.dtype) == (output.shape, output.dtype)


def test_results_belong_to_the_caller():
    x, w = tg.input("x", (3,), "float64"), tg.parameter([1.0, 2.0, 3.0], name="w")
    fed = np.ones(3)
    for _ in range(2):
        results = tg.run([x, w, x.reshape(3, 1), w.T, w[:2], x * w, x], {"x": fed})
        for result in results:
            result[...] = 7
        assert_array_equal(fed, np.ones(3))
        assert_array_equal(w.value, [1.0, 2.0, 3.0])


def test_results_of_one_run_do_not_share_memory():
    x = tg.input("x", (3,), "float64")
    y = x * 2
    a, b, c = tg.run([y, y, y.reshape(3, 1)], {"x": np.ones(3)})
    a[:] = 7
    assert_array_equal(b, [2.0, 2.0, 2.0])
    assert_array_equal(c, [[2.0], [2.0], [2.0]])


def test_feeds_are_left_as_they_were():
    fed, feeds = np.array([-1.0, 2.0]), {}
    feeds["x"] = fed
    tg.run(tg.relu(tg.input("x", (2,), "float64")) + 1, feeds)
    assert list(feeds) == ["x"]
    assert feeds["x"] is fed
    assert fed.flags.writeable
    assert_array_equal(fed, [-1.0, 2.0])


@dataclass(frozen=True)
class Vandal(tg.Op):
    """An operation that changes its input in place, by mistake."""

    def shape(self, x):
        return x.shape

    def forward(self, x):
        x *= 2
        return x


def test_an_operation_that_changes_its_input_in_place_is_caught():
    x, fed = tg.input("x", (2,), "float64"), np.array([1.0, 2.0])
    with pytest.raises(tg.OperationError, match="vandal"):
        tg.run(Vandal()(x), {"x": fed})
    with pytest.raises(tg.OperationError, match="vandal"):
        tg.run(Vandal()(tg.exp(x)), {"x": fed})
    with pytest.raises(tg.OperationError, match="vandal"):
        Vandal()(tg.tensor(fed))
    assert_array_equal(fed, [1.0, 2.0])


def test_two_outputs_of_which_one_feeds_the_other():
    x = tg.input("x", (), "float64")
    h = x * x
    assert tg.run([h * 2, h], {"x": 3.0}) == (18.0, 9.0)


def test_an_output_may_be_a_leaf():
    x, w = tg.input("x", (2,)), tg.parameter([1.0], name="w")
    fed, held = tg.run([x, w], {"x": [1, 2]})
    assert_array_equal(fed, [1, 2])
    assert fed.dtype == np.float32
    assert_array_equal(held, [1.0])


def test_running_stores_nothing_on_the_tensors():
    cost, x, W, *_ = network()
    tg.run(cost, FEEDS)
    assert not cost.has_value
    assert not x.has_value
    assert W.grad is None


def test_runs_do_not_influence_each_other():
    cost, *_ = network()
    first = tg.run(cost, FEEDS)
    tg.run(cost, {**FEEDS, "x": FEEDS["x"] * 100, "W": [[9.0], [9.0], [9.0]]})
    assert tg.run(cost, FEEDS) == first


def test_only_what_the_outputs_need_is_asked_for():
    x, labels = tg.input("x", ()), tg.input("labels", ())
    prediction = x * 2
    _loss = prediction - labels
    assert tg.run(prediction, {"x": 3}) == (6.0,)


# ---- run: watching and memory


def test_watch_sees_every_node_with_its_value_in_order():
    cost, *_ = network()
    graph, seen = tg.Graph(cost), []
    (result,) = tg.run(graph, FEEDS, watch=lambda node, value: seen.append((node, np.array(value))))
    assert all(node is other for (node, _), other in zip(seen, graph.nodes, strict=True))
    assert all(value.shape == node.shape for node, value in seen)
    assert seen[-1][1] == result


def test_watch_cannot_change_what_is_computed():
    x = tg.input("x", (2,), "float64")

    def meddle(_node, value):
        value[...] = 0

    with pytest.raises(ValueError, match="read-only"):
        tg.run(tg.exp(x), {"x": np.ones(2)}, watch=meddle)


def test_an_error_in_watch_stops_the_run():
    x, seen = tg.input("x", (), "float64"), []

    def stop(node, value):
        seen.append(node)
        if not np.isfinite(value):
            raise FloatingPointError("stop here")

    with np.errstate(divide="ignore"), pytest.raises(FloatingPointError, match="stop here"):
        tg.run(tg.exp(tg.log(x)), {"x": 0.0}, watch=stop)
    assert len(seen) == 2


def test_a_value_is_dropped_when_its_last_user_has_run():
    x = tg.input("x", (4,), "float64")
    y = tg.tanh(tg.exp(x) * 2) + x
    seen, alive = [], []

    def watch(node, value):
        if node.op is not None:
            seen.append(weakref.ref(value))
            alive.append(sum(reference() is not None for reference in seen))

    tg.run(y, {"x": np.ones(4)}, watch=watch)
    assert len(alive) == 4
    assert max(alive) <= 2
    gc.collect()
    assert not any(reference() is not None for reference in seen)
