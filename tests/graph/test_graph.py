"""Graph: order, leaves, and the printed equations; tg.run: feeds, results, and what it must leave alone."""

import gc
import weakref
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import tinygraph as tg


def network():
    """A dense layer without values, as the README writes it: the loss and its leaves."""
    x = tg.input("x", (4, 3), dtype="float64")
    W = tg.parameter([[0.1], [-0.2], [0.3]], name="W")
    b = tg.parameter([0.5], name="b")
    y = tg.input("y", (4, 1), dtype="float64")
    Z = x @ W + b
    Z.name = "Z"
    a = tg.sigmoid(Z)
    a.name = "a"
    cost = tg.bce(a, y)
    cost.name = "cost"
    return cost, x, W, b, y


FEEDS = {
    "x": np.arange(12.0).reshape(4, 3) / 10,
    "y": np.array([[0.0], [1.0], [1.0], [0.0]]),
}


# ---- nodes and leaves


def test_the_nodes_are_those_the_outputs_depend_on_and_no_others():
    x, other = tg.tensor(1.0), tg.tensor(2.0)
    h = x * x
    _elsewhere = h * other
    y = h + x
    assert set(tg.Graph(y).nodes) == {x, h, y}


def test_inputs_come_before_what_uses_them_and_each_node_once():
    cost, *leaves = network()
    graph = tg.Graph([cost, *tg.grad(cost, leaves[1:3])])
    place = {node: i for i, node in enumerate(graph.nodes)}
    assert len(place) == len(graph.nodes) == len(graph)
    assert all(place[x] < place[node] for node in graph.nodes for x in node.inputs)


def test_the_order_does_not_depend_on_the_order_of_the_outputs():
    x = tg.tensor(1.0)
    a, b = tg.exp(x), tg.tanh(x)
    one, other = tg.Graph([a, b]).nodes, tg.Graph([b, a]).nodes
    assert all(node is twin for node, twin in zip(one, other, strict=True))


def test_inputs_and_parameters_open_the_graph_whenever_they_were_made():
    W = tg.parameter(1.0, name="W")
    h = tg.exp(W)
    b, x = tg.parameter(2.0, name="b"), tg.input("x", ())
    assert [node.name for node in tg.Graph(h * x + b).nodes[:4]] == ["x", "W", "b", None]


def test_the_order_is_that_of_the_program():
    x, y = tg.tensor(1.0), tg.tensor(2.0)
    b = tg.tanh(y)
    a = tg.exp(x)
    c = a + b
    expected = (x, y, b, a, c)
    assert all(node is other for node, other in zip(tg.Graph(c).nodes, expected, strict=True))


def test_leaves_made_late_still_come_before_their_users():
    x = tg.tensor(1.0)
    h = tg.exp(x)
    late = tg.tensor(2.0)
    assert [node.op and node.op.name for node in tg.Graph(h * late).nodes] == [None, "exp", None, "multiply"]


def test_a_tensor_used_twice_is_one_node():
    x = tg.tensor(1.0)
    assert len(tg.Graph((x * x) * (x * x))) == 4


def test_one_output_or_several():
    x = tg.tensor(1.0)
    y = x + x
    for outputs in (y, [y], (y,), iter([y])):
        graph = tg.Graph(outputs)
        assert len(graph.outputs) == 1
        assert graph.outputs[0] is y


def test_inputs_and_parameters_are_mappings_in_the_order_of_the_program():
    cost, x, W, b, y = network()
    graph = tg.Graph(cost)
    assert list(graph.inputs) == ["x", "y"]
    assert list(graph.parameters) == ["W", "b"]
    assert graph.inputs["y"] is y
    assert graph.parameters["b"] is b
    assert graph.inputs["x"] is x
    assert graph.parameters["W"] is W


def test_inputs_and_parameters_cannot_be_changed_from_outside():
    graph = tg.Graph(network()[0])
    with pytest.raises(TypeError):
        graph.parameters["W"] = None
    with pytest.raises(AttributeError):
        graph.inputs = {}


def test_leaves_with_the_same_name_are_told_apart():
    x, twin = tg.input("x", (2,)), tg.input("x", (2,))
    graph = tg.Graph(x - twin)
    assert len(graph.inputs) == 2
    assert set(graph.inputs.values()) == {x, twin}
    first, second = graph.inputs
    assert_array_equal(tg.run(graph, {first: [5, 5], second: [1, 2]})[0], [4.0, 3.0])


def test_a_name_made_unique_does_not_take_the_name_of_another():
    tensors = [tg.input(name, ()) for name in ("x", "x", "x_2", "x")]
    total = tensors[0] + tensors[1] + tensors[2] + tensors[3]
    graph = tg.Graph(total)
    assert len(graph.inputs) == 4
    assert graph.inputs["x_2"] is tensors[2]


@pytest.mark.parametrize("outputs", [3, None, [3], "x", np.ones(2), [None]])
def test_a_graph_is_made_of_tensors(outputs):
    with pytest.raises(tg.TinygraphError, match="tensor"):
        tg.Graph(outputs)


def test_repr_names_the_outputs():
    assert "cost" in repr(tg.Graph(network()[0]))


# ---- printing


def test_the_printed_network():
    assert str(tg.Graph(network()[0])) == "\n".join(
        [
            "x     input         float64 (4, 3)",
            "y     input         float64 (4, 1)",
            "W     parameter     float64 (3, 1)",
            "b     parameter     float64 (1,)",
            "Z     = x @ W + b   float64 (4, 1)",
            "a     = sigmoid(Z)  float64 (4, 1)",
            "cost  = bce(a, y)   float64 ()",
        ]
    )


def test_nodes_without_names_are_numbered_where_they_are_shown():
    x = tg.tensor([1.0, 2.0], name="x")
    h = tg.exp(x)
    assert str(tg.Graph(h * h + h)) == "\n".join(
        [
            "x   value           float64 (2,)",
            "t1  = exp(x)        float64 (2,)",
            "t2  = t1 * t1 + t1  float64 (2,)",
        ]
    )


def test_printing_twice_gives_the_same_text():
    cost, *leaves = network()
    graph = tg.Graph([cost, *tg.grad(cost, leaves[1:3])])
    assert str(graph) == str(graph)
    assert str(tg.Graph(graph.outputs)) == str(graph)


def test_two_recordings_of_one_program_give_the_same_text():
    def text():
        cost, _, W, b, _ = network()
        return str(tg.Graph([cost, *tg.grad(cost, [W, b])]))

    first = text()
    garbage = [tg.tensor(float(i)) * 2 for i in range(100)]
    assert text() == first
    assert len(garbage) == 100


def test_the_text_does_not_depend_on_the_order_of_the_outputs():
    x = tg.tensor(1.0, name="x")
    nodes = [tg.exp(x * i) for i in range(2, 30)]
    total = sum(reversed(nodes), x)
    assert str(tg.Graph([total, *reversed(nodes)])) == str(tg.Graph([*nodes, total]))


def test_the_backward_pass_is_printed_in_the_symbols_of_the_notes():
    cost, _, W, b, _ = network()
    text = str(tg.Graph([cost, *tg.grad(cost, [W, b])]))
    equations = {line.split()[0]: line for line in text.splitlines()}
    assert "= (a - y) / m" in equations["dZ"]
    assert "= x.T @ dZ" in equations["dW"]
    assert "db" in equations


def test_columns_start_at_the_same_place_on_every_line():
    lines = str(tg.Graph(network()[0])).splitlines()
    assert len({line.index("float64") for line in lines}) == 1
    assert all(line[4:6] == "  " and line[6] != " " for line in lines)
    assert not any(line != line.rstrip() for line in lines)


def test_every_name_printed_is_printed_once():
    x = tg.tensor(1.0, name="t1")
    y = tg.tensor(2.0)
    z = tg.exp(y) * x
    z.name = "t2"
    w = z * z + y
    names = printed_names(tg.Graph(w))
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("kind", ["leaf", "node"])
def test_an_empty_name_is_no_name(kind):
    x = tg.tensor(2.0, name="" if kind == "leaf" else "x")
    y = tg.exp(x)
    if kind == "node":
        y.name = ""
    assert all(name.isidentifier() for name in printed_names(tg.Graph(y * y)))


def test_equal_names_are_printed_apart():
    x, twin = tg.tensor(1.0, name="x"), tg.tensor(2.0, name="x")
    assert "x - x_2" in str(tg.Graph(x - twin))


def printed_names(graph):
    return [line.split()[0] for line in str(graph).splitlines()]


def test_a_leaf_is_fed_by_the_name_it_is_printed_with():
    x = tg.input("x", (2,), "float64")
    total = (x * 5).sum()
    leaf = tg.tensor(2.0)
    graph = tg.Graph(total + leaf)
    printed = next(line.split()[0] for line in str(graph).splitlines() if " value " in line)
    assert graph.leaves[printed] is leaf
    assert tg.run(graph, {"x": [1, 2], printed: 100.0})[0] == 115.0


def test_repr_calls_an_output_without_name_as_the_text_does():
    x = tg.input("x", (2,))
    graph = tg.Graph(tg.exp((x * 5).sum()))
    assert repr(graph).startswith(f"<Graph of {printed_names(graph)[-1]}:")


def test_attributes_are_printed_where_they_differ_from_the_default():
    x = tg.input("x", (1, 2, 8, 8))
    k = tg.parameter(np.ones((3, 2, 3, 3), "float32"), name="k")
    text = str(tg.Graph([tg.conv2d(x, k), tg.conv2d(x, k, stride=2, padding="same")]))
    assert "= conv2d(x, k) " in text
    assert "= conv2d(x, k, stride=2, padding='same')" in text


def test_a_long_expression_is_cut_into_lines():
    x = tg.tensor(1.0, name="x")
    y = x
    for _ in range(100):
        y = tg.tanh(y) + x
    assert max(map(len, str(tg.Graph(y)).splitlines())) < 120


def test_a_shape_only_graph_prints_like_one_with_values():
    def text(x):
        y = tg.relu(x @ x.T) * 2
        return str(tg.Graph(y)).replace("input", "value")

    eager, recorded = text(tg.tensor(np.ones((2, 2)), name="x")), text(tg.input("x", (2, 2), "float64"))
    assert eager == recorded


# ---- the text means what the graph computes


def reread(graph, values):
    """Compute a printed graph from its text alone, with Python reading the equations."""
    symbols = {**tg.operations(), **values}
    label = None
    for line in str(graph).splitlines():
        label, rest = line.split(maxsplit=1)
        if rest.startswith("="):
            symbols[label] = eval(rest[2 : rest.rindex("  float64")], {"__builtins__": {}}, symbols)
    return symbols[label]


VALUES = {"x": np.array([[0.3, -1.2], [2.0, 0.7]]), "y": np.array([1.5, 0.25])}
EXPRESSIONS = [
    "x - (x - y)",
    "x - x - y",
    "x / (y * y)",
    "x / y / y",
    "x / (y / y)",
    "-(x + y)",
    "-x + y",
    "-(-x)",
    "(-y) ** 2",
    "-(y**2)",
    "(y**2) ** 3",
    "y ** (y**2)",
    "2.0 ** (-y)",
    "y ** -2.0",
    "(-2.0) ** (0 * y + 2)",
    "(-2.0 * y) ** 2",
    "x * -1.5 - -2.0",
    "1 / y - 1",
    "(x @ y) * y",
    "x @ (y * y)",
    "(x @ x).T @ y",
    "(x + y).T - x.T",
    "(x * y)[0]",
    "x[:, [1, 0]]",
    "x[[1, 0]]",
    "x[::-1, None]",
    "x[..., -1] * y",
    "x[x.value > 0]",
    "sum(x, axis=0, keepdims=True) - y",
    "reshape(x, (4, 1)) * y",
    "concatenate([x, x * 2], axis=1)",
    "clip(x, -0.5, 0.5)",
    "pad(x, ((1, 0), (0, 2)))",
    "where(x > 0, x, y)",
    "abs(x) + maximum(x, 0)",
    "(x > y) * x",
    "(x == x) * x",
    "x * 1e-7 + 1e20",
]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_equation_reads_back_as_what_it_computes(expression):
    leaves = {name: tg.tensor(value, name=name) for name, value in VALUES.items()}
    result = eval(expression, {**tg.operations(), **leaves})
    assert_allclose(reread(tg.Graph(result), VALUES), result.value, rtol=1e-5)


operators = st.sampled_from(["+", "-", "*", "/", "**", "neg"])
terms = st.recursive(
    st.sampled_from(["x", "y", "2.0", "-3.0"]),
    lambda inner: st.tuples(operators, inner, inner),
    max_leaves=8,
)


def build(term, symbols):
    if isinstance(term, str):
        return symbols[term]
    operator, left, right = term[0], build(term[1], symbols), build(term[2], symbols)
    return {
        "+": lambda: left + right,
        "-": lambda: left - right,
        "*": lambda: left * right,
        "/": lambda: left / right,
        "**": lambda: left**2 + right,
        "neg": lambda: -left,
    }[operator]()


@settings(derandomize=True, deadline=None, max_examples=100)
@given(terms)
def test_random_arithmetic_reads_back_as_what_it_computes(term):
    symbols = {"x": tg.tensor(1.25, name="x"), "y": tg.tensor(-0.75, name="y"), "2.0": 2.0, "-3.0": -3.0}
    try:
        result = build(term, symbols)
    except ZeroDivisionError:
        return
    if not isinstance(result, tg.Tensor) or not np.isfinite(result.value):
        return
    again = reread(tg.Graph(result), {"x": 1.25, "y": -0.75})
    assert_allclose(float(again), float(result), rtol=1e-4)


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
