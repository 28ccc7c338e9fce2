"""Sequences of tensors: splits whose parts are picked, and lists that are joined."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper

import tinygraph as tg
from tinygraph.errors import OnnxError

RNG = np.random.default_rng(0)


def node(operator, inputs, output, **attributes):
    return helper.make_node(operator, inputs.split(), [output], **attributes)


def whole(name, value):
    return numpy_helper.from_array(np.asarray(value, np.int64), name)


@pytest.fixture
def opened(tmp_path):
    def opened(nodes, arrays, x=("m", 6), y=("m", 2)):
        sides = [helper.make_tensor_value_info(*s) for s in (("x", TensorProto.FLOAT, x), ("y", TensorProto.FLOAT, y))]
        graph = helper.make_graph(nodes, "graph", sides[:1], sides[1:], arrays)
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), tmp_path / "net.onnx")
        return tg.from_onnx(tmp_path / "net.onnx", loss="mse")

    return opened


def texts(model):
    return [equation.text for equation in model.record(2).equations[:-1]]


def test_a_split_whose_parts_are_picked(opened):
    """As ``torch.chunk`` is exported."""
    nodes = [
        node("SplitToSequence", "x two", "s", axis=1),
        node("SequenceAt", "s zero", "a"),
        node("SequenceAt", "s last", "b"),
        node("Mul", "a b", "y"),
    ]
    model = opened(nodes, [whole("two", 2), whole("zero", 0), whole("last", -1)])
    assert texts(model) == ["a = x[:, 0:2]", "b = x[:, 4:6]", "y = a * b"]
    assert tg.check(model).ok


@pytest.mark.parametrize(
    ("split", "wanted"), [([1, 2, 3], ["x[:, 0:1]", "x[:, 3:6]"]), (4, ["x[:, 0:4]", "x[:, 4:6]"])]
)
def test_parts_of_several_sizes(opened, split, wanted):
    nodes = [
        node("SplitToSequence", "x sizes", "s", axis=1),
        node("SequenceAt", "s zero", "a"),
        node("SequenceAt", "s last", "b"),
        node("Concat", "a b", "y", axis=1),
    ]
    model = opened(nodes, [whole("sizes", split), whole("zero", 0), whole("last", -1)], y=("m", None))
    assert [text.partition("= ")[2] for text in texts(model)[:2]] == wanted


def test_a_weight_that_is_split(opened):
    """Parts of one parameter, which stays one."""
    weight = numpy_helper.from_array(RNG.normal(size=(6, 4)).astype(np.float32), "w")
    nodes = [
        node("SplitToSequence", "w two", "s", axis=1),
        node("SequenceAt", "s one", "v"),
        node("MatMul", "x v", "y"),
    ]
    model = opened(nodes, [weight, whole("two", 2), whole("one", 1)])
    assert list(model.parameters) == ["w"]
    assert texts(model) == ["v = w[:, 2:4]", "y = x @ v"]


@pytest.mark.parametrize(("new", "shape"), [(0, (2, 12)), (1, (2, 2, 6))])
def test_a_list_that_is_joined(opened, new, shape):
    """As ``torch.cat`` and ``torch.stack`` of a list are."""
    nodes = [
        node("Relu", "x", "r"),
        node("SequenceConstruct", "x r", "s"),
        node("ConcatFromSequence", "s", "y", axis=1, new_axis=new),
    ]
    model = opened(nodes, [], y=("m", *shape[1:]))
    assert model.predict(np.ones((2, 6))).shape == shape
    assert tg.check(model).ok


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        (
            [node("SplitToSequence", "x big", "s"), node("SequenceAt", "s zero", "y")],
            "position 0 is out of range|parts of",
        ),
        ([node("SequenceConstruct", "x", "s"), node("SequenceAt", "s big", "y")], "position 2,?000 is out of range"),
        ([node("SequenceConstruct", "x", "s"), node("Relu", "s", "y")], "it takes tensors; found a sequence"),
        (
            [node("SplitToSequence", "x", "s", axis=1), node("SequenceAt", "s zero", "y")],
            "2,000 steps would be as many",
        ),
    ],
)
def test_what_does_not_fit_is_an_error(opened, nodes, message):
    with pytest.raises(OnnxError, match=message):
        opened(
            nodes,
            [whole("big", [2000] if nodes[0].op_type == "SplitToSequence" else 2000), whole("zero", 0)],
            x=("m", 2000),
        )
