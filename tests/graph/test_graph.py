"""Graphs: nodes, leaves and their text."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import tinygraph as tg
from tests.tools.graphs import network
from tests.tools.sweeps import part

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


@settings(derandomize=True, deadline=None, max_examples=part(100))
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
