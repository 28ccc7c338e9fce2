"""Quantized networks: whole numbers in the file, real ones in the model. onnxruntime computes the same."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper

import tinygraph as tg
from tinygraph.errors import OnnxError
from tinygraph.interop.onnx import Backend

RNG = np.random.default_rng(0)


def tensor(name, values, dtype):
    return numpy_helper.from_array(np.asarray(values, dtype), name)


def made(nodes, arrays, x=("m", 2, 5, 5), y=("m", 3, 3, 3), opset=21):
    sides = [helper.make_tensor_value_info(*s) for s in (("x", TensorProto.FLOAT, x), ("y", TensorProto.FLOAT, y))]
    graph = helper.make_graph(nodes, "graph", sides[:1], sides[1:], arrays)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def node(operator, inputs, output, **attributes):
    return helper.make_node(operator, inputs.split(), [output], **attributes)


# Seven bits: on processors without VNNI, onnxruntime adds two products of eight bits in a 16-bit sum, which saturates.
KERNELS = RNG.integers(-63, 64, (3, 2, 3, 3))
ARRAYS = [
    tensor("s", 0.02, np.float32),
    tensor("z", 120, np.uint8),
    tensor("k", KERNELS, np.int8),
    tensor("ks", [0.01, 0.02, 0.004], np.float32),
    tensor("kz", [0, 0, 0], np.int8),
    tensor("ys", 0.1, np.float32),
    tensor("yz", 128, np.uint8),
    tensor("b", [100, -200, 300], np.int32),
]


@pytest.fixture
def opened(tmp_path):
    def opened(proto, **options):
        onnx.save(proto, tmp_path / "net.onnx")
        return tg.from_onnx(tmp_path / "net.onnx", **options)

    return opened


def quantized_weights():
    nodes = [node("DequantizeLinear", "k ks kz", "w", axis=0), node("Conv", "x w", "y")]
    return made(nodes, ARRAYS[2:5])


def test_weights_that_were_whole_numbers_are_parameters(opened):
    model = opened(quantized_weights(), loss="mse")
    assert list(model.parameters) == ["w"]
    np.testing.assert_allclose(
        model.parameters["w"].value, KERNELS * np.float32([0.01, 0.02, 0.004])[:, None, None, None], rtol=1e-6
    )
    assert tg.check(model).ok
    assert len(tg.fit(model, (RNG.normal(size=(8, 2, 5, 5)), RNG.normal(size=(8, 3, 3, 3))), epochs=1)) == 1


@pytest.mark.parametrize("form", ["QDQ", "QOperator", "integers"])
def test_onnxruntime_computes_the_same(opened, form):
    ort = pytest.importorskip("onnxruntime")
    forms = {
        "QDQ": [
            node("QuantizeLinear", "x s z", "q"),
            node("DequantizeLinear", "q s z", "r"),
            node("DequantizeLinear", "k ks kz", "w", axis=0),
            node("Conv", "r w", "y"),
        ],
        "QOperator": [
            node("QuantizeLinear", "x s z", "q"),
            node("QLinearConv", "q s z k ks kz ys yz b", "c"),
            node("DequantizeLinear", "c ys yz", "y"),
        ],
        "integers": [
            helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "qs", "qz"]),
            node("ConvInteger", "q k qz", "i"),
            node("Cast", "i", "f", to=TensorProto.FLOAT),
            node("Mul", "f qs", "y"),
        ],
    }
    used = {name for each in forms[form] for name in each.input}
    proto = made(forms[form], [array for array in ARRAYS if array.name in used])
    model, x = opened(proto), RNG.normal(size=(4, 2, 5, 5)).astype(np.float32)
    session = ort.InferenceSession(proto.SerializeToString())
    np.testing.assert_allclose(model.predict(x), session.run(None, {"x": x})[0], rtol=1e-5, atol=1e-5)


def test_the_whole_numbers_saturate():
    proto = made([node("QuantizeLinear", "x s z", "y")], ARRAYS[:2], x=(3,), y=(3,))
    assert Backend.prepare(proto).run([np.float32([-1000, 0.05, 1000])])[0].tolist() == [0, 122, 255]


def test_blocks_are_refused(opened):
    arrays = [tensor("k", np.zeros((4, 4)), np.int8), tensor("ks", np.ones((2, 4)), np.float32)]
    nodes = [node("DequantizeLinear", "k ks", "w", axis=0, block_size=2), node("MatMul", "x w", "y")]
    with pytest.raises(OnnxError, match=r"scales of blocks \(block_size\) are not supported"):
        opened(made(nodes, arrays, x=("m", 4), y=("m", 4)))


def test_operators_of_a_runtime_are_no_operators_of_onnx(opened):
    proto = made([helper.make_node("QGemm", ["x"], ["y"], domain="com.microsoft")], [])
    with pytest.raises(
        OnnxError, match=r"\(com.microsoft.QGemm, .*no operation for it, which is not an operator of ONNX itself"
    ):
        opened(proto)
