"""What the equations of an imported network call things: by the modules that the exporter tells of."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper

import tinygraph as tg
from tinygraph.interop.onnx.model import declared_in

RNG = np.random.default_rng(0)


def array(name, *shape):
    return numpy_helper.from_array(RNG.normal(size=shape).astype(np.float32), name)


def node(operator, inputs, output, name, scopes=(), **attributes):
    made = helper.make_node(
        operator, inputs.split() if isinstance(inputs, str) else inputs, [output], name, **attributes
    )
    if scopes:
        made.metadata_props.add(key="pkg.torch.onnx.name_scopes", value=str(["", *scopes]))
    return made


@pytest.fixture
def opened(tmp_path):
    def opened(nodes, arrays, name="main_graph", x=("m", 1, 4, 4), y=("m", 3)):
        sides = [helper.make_tensor_value_info(*s) for s in (("x", TensorProto.FLOAT, x), ("y", TensorProto.FLOAT, y))]
        graph = helper.make_graph(nodes, name, sides[:1], sides[1:], arrays)
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), tmp_path / "net.onnx")
        return tg.from_onnx(tmp_path / "net.onnx")

    return opened


def texts(model):
    return [equation.text for equation in model.record(2).equations]


def test_modules_of_pytorch_s_first_exporter(opened):
    """Paths in the names of nodes; what was folded into a convolution has names like ``onnx::Conv_20``."""
    nodes = [
        node("Conv", "x onnx::Conv_20 onnx::Conv_21", "/a/a.0/conv/Conv_output_0", "/a/a.0/conv/Conv", pads=[1] * 4),
        node("Relu", "/a/a.0/conv/Conv_output_0", "/a/a.0/Relu_output_0", "/a/a.0/Relu"),
        node("Add", "/a/a.0/Relu_output_0 x", "/a/a.0/Add_output_0", "/a/a.0/Add"),
        node("Relu", "/a/a.0/Add_output_0", "/Relu_output_0", "/Relu"),
        node("Flatten", "/Relu_output_0", "/Flatten_output_0", "/Flatten"),
        node("Gemm", "/Flatten_output_0 fc.weight fc.bias", "y", "/fc/Gemm", transB=1),
    ]
    arrays = [
        array("onnx::Conv_20", 2, 1, 3, 3),
        array("onnx::Conv_21", 2),
        array("fc.weight", 3, 32),
        array("fc.bias", 3),
    ]
    model = opened(nodes, arrays)
    assert texts(model) == [
        "a_0_conv = conv2d(x, a_0_conv_weight, padding=1) + a_0_conv_bias",
        "a_0_Relu = relu(a_0_conv)",
        "a_0_Add = a_0_Relu + x",
        "Relu = relu(a_0_Add)",
        "Flatten = flatten(Relu)",
        "y = Flatten @ fc_weight.T + fc_bias",
    ]
    # A picture is titled by the name of the file where the graph's says nothing.
    assert (model.name, model.title) == ("net", "")


def test_modules_of_pytorch_s_second_exporter(opened):
    """Scopes beside each node; weights that it computed, and numbers, are called ``val_3``."""
    nodes = [
        node("Flatten", "x", "flatten", "node_flatten", ["flatten"]),
        node("MatMul", "flatten val_3", "val_4", "node_MatMul_4", ["mlp", "mlp.0", "linear"]),
        node("Add", "val_4 mlp.0.bias", "linear", "node_linear", ["mlp", "mlp.0", "linear"]),
        node("Mul", "linear val_5", "mul_7", "node_mul", ["mlp", "mul_7"]),
        node("Relu", "mul_7", "relu", "node_relu", ["mlp", "mlp.1", "relu"]),
        node("MatMul", "relu out.weight", "y", "node_out", ["out", "y"]),
    ]
    two = numpy_helper.from_array(np.float32([2]), "val_5")
    model = opened(nodes, [array("val_3", 16, 5), array("mlp.0.bias", 5), two, array("out.weight", 5, 3)])
    assert texts(model) == [
        "flatten_1 = flatten(x)",
        "mlp_0_MatMul = flatten_1 @ mlp_0_weight",
        "mlp_0_linear = mlp_0_MatMul + mlp_0_bias",
        "mlp = mlp_0_linear * 2.0",
        "mlp_1 = relu(mlp)",
        "y = mlp_1 @ out_weight",
    ]
    assert not model.state
    assert "val_5" not in model.parameters


def test_a_name_of_a_graph_is_a_title(opened):
    assert opened([node("Flatten", "x", "y", "")], [], "Sorter", y=("m", 16)).title == "Sorter"


def test_biases_would_be_drawn_as_zeros(opened, tmp_path):
    """A column of one number for each channel is a bias, and no matrix."""
    nodes = [node("Conv", "x k b", "y", "")]
    opened(nodes, [array("k", 2, 1, 3, 3), array("b", 2)], y=("m", 2, 2, 2))
    tables = declared_in(tmp_path / "net.onnx").tables
    assert {name: table["init"] for name, table in tables["parameters"].items()} == {"k": "he_normal", "b": "zeros"}


def test_a_size_that_was_left_to_be_found_out_is_written_where_it_is_known(opened):
    """As ``x.view(x.size(0), -1)`` is exported."""
    nodes = [
        node("Shape", "x", "m", "", start=0, end=1),
        node("Concat", "m rest", "to", "", axis=0),
        node("Reshape", "x to", "y", ""),
    ]
    model = opened(nodes, [numpy_helper.from_array(np.int64([-1]), "rest")], y=("m", 16))
    assert texts(model) == ["y = reshape(x, (-1, 16))"]


def test_one_number_for_each_sample_is_spread_over_the_batch(opened):
    """As zeros for the state of a recurrent cell, of a shape that is computed from the batch."""
    nodes = [
        node("Flatten", "x", "f", ""),
        node("Shape", "x", "m", "", start=0, end=1),
        node("Concat", "m size", "to", "", axis=0),
        helper.make_node("ConstantOfShape", ["to"], ["ones"], value=numpy_helper.from_array(np.float32([1]))),
        node("MatMul", "ones v", "o", ""),
        node("Mul", "f ones", "s", ""),
        node("MatMul", "s w", "p", ""),
        node("Add", "o p", "y", ""),
    ]
    size = numpy_helper.from_array(np.int64([16]), "size")
    model = opened(nodes, [size, array("v", 16, 3), array("w", 16, 3)])
    assert texts(model)[1] == "o = broadcast_to(constant, (x.shape[0], 16)) @ v"
    x = RNG.normal(size=(5, 1, 4, 4)).astype(np.float32)
    v, w = (model.parameters[name].value for name in "vw")
    np.testing.assert_allclose(model.predict(x), x.reshape(5, 16) @ w + v.sum(0), rtol=1e-4, atol=1e-5)


def test_a_choice_between_two_arrays_of_one_number_each(opened):
    """Where none of them can be a number, as the result is wider than what is left, both are state."""
    ones, zeros = (numpy_helper.from_array(np.full(3, value, np.float32), name) for value, name in ((1, "o"), (0, "z")))
    nodes = [node("Cast", "x", "c", "", to=TensorProto.BOOL), helper.make_node("Where", ["c", "hi", "lo"], ["y"])]
    constants = [helper.make_node("Constant", [], [name], value=value) for name, value in (("hi", ones), ("lo", zeros))]
    model = opened([*constants, *nodes], [], x=("m", 1))
    assert model.predict(np.float32([[1], [0]])).tolist() == [[1, 1, 1], [0, 0, 0]]


def test_a_mask_of_infinity_is_no_weight(opened, tmp_path):
    """Also where it stands among the arrays of the file; and it is saved and loaded with the weights."""
    mask = numpy_helper.from_array(np.float32([0, -np.inf, 0]), "onnx::Add_7")
    nodes = [node("Flatten", "x", "f", ""), node("Gemm", "f w b", "z", ""), node("Add", "z onnx::Add_7", "s", "")]
    model = opened([*nodes, node("Softmax", "s", "y", "")], [array("w", 16, 3), array("b", 3), mask])
    assert (list(model.parameters), list(model.state)) == (["w", "b"], ["constant"])
    model.save(tmp_path / "net.safetensors")
    model.load(tmp_path / "net.safetensors")
    assert model.predict(np.ones((1, 1, 4, 4)))[0, 1] == 0
    assert tg.check(model).ok


def test_what_is_true_of_an_array_makes_it_no_weight(opened):
    """As a causal mask of ones and zeros, which is compared with 0."""
    mask, zero = numpy_helper.from_array(np.float32([1, 0, 1]), "mask"), numpy_helper.from_array(np.float32(0), "zero")
    far = numpy_helper.from_array(np.float32(-9), "far")
    nodes = [
        node("Flatten", "x", "f", ""),
        node("MatMul", "f w", "s", ""),
        node("Equal", "mask zero", "hidden", ""),
        node("Where", "hidden far s", "y", ""),
    ]
    model = opened(nodes, [array("w", 16, 3), mask, zero, far])
    assert (list(model.parameters), [state.dtype.name for state in model.state.values()]) == (["w"], ["bool"])
    assert model.predict(np.ones((1, 1, 4, 4)))[0, 1] == -9


def test_names_of_a_file_that_are_no_names_in_equations_stand_on_the_cards(tmp_path):
    """And other outputs than the first can be drawn."""
    nodes = [node("Relu", ["输入"], "输出:0", ""), node("Tanh", ["输出:0"], "features/f:0", "")]
    sides = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ("m", 3)) for n in ("输入", "输出:0", "features/f:0")]
    graph = helper.make_graph(nodes, "main_graph", sides[:1], sides[1:], [])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), tmp_path / "net.onnx")
    both = tg.from_onnx(tmp_path / "net.onnx", output=["输出:0", "features/f:0"])
    assert both.predict(np.float32([[-1, 0, 1]])).tolist() == [[0, 0, 1]]
    cards = tg.draw(both).drawing.cards
    assert [card.original for card in cards] == ["输入", "输出:0", "features/f:0"]
    assert "in the file: 输出:0" in str(tg.draw(tg.from_onnx(tmp_path / "net.onnx")))
    assert "in the file: 输出:0" in tg.draw(both).dot
    with pytest.raises(tg.OnnxError, match="it has no output '输出:1'"):
        tg.from_onnx(tmp_path / "net.onnx", output=["输出:0", "输出:1"])


def test_equations_are_in_the_modules_of_the_file_and_fold_with_them(opened):
    nodes, arrays, x = [], [], "x"
    for i in range(24):
        first, second, name = (
            f"/net/net.{i}/a/Conv_output_0",
            f"/net/net.{i}/Relu_output_0",
            f"/net/net.{i}/Add_output_0",
        )
        nodes += [node("Conv", [x, f"net.{i}.a.weight"], first, f"/net/net.{i}/a/Conv", pads=[1] * 4)]
        nodes += [
            node("Relu", [first], second, f"/net/net.{i}/Relu"),
            node("Add", [second, x], name, f"/net/net.{i}/Add"),
        ]
        arrays, x = [*arrays, array(f"net.{i}.a.weight", 1, 1, 3, 3)], name
    nodes.append(node("Flatten", [x], "y", "/Flatten"))
    model = opened(nodes, arrays, y=("m", 16))
    # A long chain of equal modules is one card.
    assert [card.title for card in tg.draw(model).drawing.cards[1:-1]] == ["net.0 … net.23"]
    modules = [f"net.{i}" for i in range(24)]
    cards = tg.draw(model, fold=modules).drawing.cards
    assert [card.title for card in cards[1:-1]] == modules
    assert {(card.holds, card.parameters, card.group) for card in cards[1:-1]} == {(4, 9, "net")}
    assert [card.title for card in tg.draw(model, fold=["net"]).drawing.cards[1:-1]] == ["net"]
    # A module with one value has no frame of its own.
    assert {card.group for card in tg.draw(model, fold="none").drawing.cards} == {"", *(f"net.{i}" for i in range(24))}
