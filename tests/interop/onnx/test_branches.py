"""An ``If`` whose condition shapes and constants decide is the branch that it chooses."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper

import tinygraph as tg
from tinygraph.errors import OnnxError

X = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)


def value(name, shape=None):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def node(operator, inputs, outputs, **attributes):
    return helper.make_node(operator, inputs.split(), outputs.split(), **attributes)


def whole(name, *numbers):
    return numpy_helper.from_array(np.asarray(numbers, np.int64), name)


def branch(name, nodes, output, arrays=()):
    return helper.make_graph(nodes, name, [], [value(output)], list(arrays))


ROOT = branch("then", [node("Abs", "h", "size"), node("Sqrt", "size", "a")], "a")
SCALED = branch(
    "else", [node("Mul", "h w", "b")], "b", [numpy_helper.from_array(np.array([1, 2, 3, 4], np.float32), "w")]
)


@pytest.fixture
def opened(tmp_path):
    """Return a function that opens a file whose ``y`` is a branch, by whether the second size of ``x`` is a number."""

    def opened(then_branch, else_branch, columns=4, condition=None):
        nodes = [
            node("Neg", "x", "h"),
            node("Shape", "x", "shape"),
            node("Gather", "shape one", "size_of_x"),
            *(condition or [node("Equal", "size_of_x wanted", "whether")]),
            node("If", "whether", "chosen", then_branch=then_branch, else_branch=else_branch),
            node("Mul", "chosen chosen", "y"),
        ]
        arrays = [whole("one", 1), whole("wanted", columns)]
        graph = helper.make_graph(nodes, "graph", [value("x", ["m", 4])], [value("y", ["m", 4])], arrays)
        path = tmp_path / "net.onnx"
        path.write_bytes(
            helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
        )
        return tg.from_onnx(path)

    return opened


def test_a_shape_decides_which_branch_is_computed(opened):
    model = opened(ROOT, SCALED)
    np.testing.assert_allclose(model.predict(X), abs(X), rtol=1e-6)
    assert list(model.parameters) == []


def test_weights_of_the_branch_are_parameters(opened):
    model = opened(ROOT, SCALED, columns=5)
    np.testing.assert_allclose(model.predict(X), (X * [1, 2, 3, 4]) ** 2, rtol=1e-6)
    assert list(model.parameters) == ["w"]


def test_onnxruntime_computes_the_same(opened, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    for columns in (4, 5):
        model = opened(ROOT, SCALED, columns)
        session = runtime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
        np.testing.assert_allclose(model.predict(X), session.run(None, {"x": X})[0], rtol=1e-6)


def test_a_branch_within_a_branch(opened):
    inner = branch("outer", [node("If", "whether", "c", then_branch=ROOT, else_branch=SCALED)], "c")
    np.testing.assert_allclose(opened(inner, SCALED).predict(X), abs(X), rtol=1e-6)


def test_a_branch_that_only_hands_on_what_is_around_it(opened):
    handed = branch("then", [node("Identity", "h", "same")], "same")
    np.testing.assert_allclose(opened(handed, SCALED).predict(X), X * X, rtol=1e-6)


def test_the_branch_that_is_not_computed_may_hold_what_is_not_read(opened):
    unknown = branch("else", [node("Det", "h", "b")], "b")
    np.testing.assert_allclose(opened(ROOT, unknown).predict(X), abs(X), rtol=1e-6)


def refused(name, then_branch=ROOT, else_branch=SCALED, condition=None, message=""):
    return pytest.param(then_branch, else_branch, condition, message, id=name)


@pytest.mark.parametrize(
    ("then_branch", "else_branch", "condition", "message"),
    [
        refused(
            "data",
            condition=[
                node("ReduceSum", "x", "total", keepdims=0),
                node("Cast", "total", "whether", to=TensorProto.BOOL),
            ],
            message=r"node 'chosen' \(If, opset 17\): which branch is computed depends on data",
        ),
        refused("many", condition=[node("Equal", "shape shape", "whether")], message="its condition must be one truth"),
        refused(
            "unknown", branch("then", [node("Det", "h", "a")], "a"), message=r"\(Det, opset 17\): there is no oper"
        ),
        refused(
            "undefined",
            branch("then", [node("Abs", "nothing", "a")], "a"),
            message="in its branch node 0 \\(Abs\\) reads 'nothing', which nothing defines",
        ),
        refused(
            "twice", branch("then", [node("Abs", "h", "h")], "h"), message="in its branch node 0 .* defined already"
        ),
        refused("a branch alone", None, message="it needs its attribute 'then_branch'"),
        refused(
            "two results",
            helper.make_graph([node("Abs", "h", "a")], "then", [], [value("a"), value("h")]),
            message="must have as many results; found 1 and 2",
        ),
    ],
)
def test_what_cannot_be_followed_is_a_clear_error(opened, then_branch, else_branch, condition, message):
    with pytest.raises(OnnxError, match=message):
        opened(then_branch, else_branch, condition=condition)
