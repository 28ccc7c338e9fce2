"""Recurrent networks from ONNX files: written out step by step, they compute and learn as other programs' do."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import tinygraph as tg
from tinygraph.errors import OnnxError
from tinygraph.interop.onnx import Backend
from tinygraph.interop.onnx.node import MOST_STEPS

RNG = np.random.default_rng(0)
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
# Samples, steps, inputs, and the size of the state.
M, T, N, H = 3, 4, 2, 5


def array(name, *shape):
    return numpy_helper.from_array(RNG.normal(size=shape).astype(np.float32), name)


def recurrent(operator, *, direction="forward", biased=True, extra=(), arrays=(), last=False, **attributes):
    """A model of one recurrent layer over samples (m, T, N), as PyTorch's exporter writes it, and a dense layer behind it."""
    sides, gates = 1 + (direction == "bidirectional"), GATES[operator]
    outputs = ["", "h"] if last else ["seq"]
    inputs = ["turned", "W", "R", "B" if biased else "", *extra]
    end = (
        [helper.make_node("Transpose", ["h"], ["t"], perm=[1, 0, 2])]
        if last
        else [helper.make_node("Transpose", ["seq"], ["t"], perm=[2, 0, 1, 3])]
    )
    wide = sides * H * (1 if last else T)
    nodes = [
        helper.make_node("Transpose", ["x"], ["turned"], perm=[1, 0, 2]),
        helper.make_node(operator, inputs, outputs, "/r/Layer", hidden_size=H, direction=direction, **attributes),
        *end,
        helper.make_node("Flatten", ["t"], ["f"]),
        helper.make_node("MatMul", ["f", "V"], ["y"]),
    ]
    shapes = {"W": (sides, gates * H, N), "R": (sides, gates * H, H), "B": (sides, 2 * gates * H)}
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("m", T, N))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("m", 2))],
        [
            *(array(name, *shape) for name, shape in shapes.items() if biased or name != "B"),
            *arrays,
            array("V", wide, 2),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


@pytest.fixture
def opened(tmp_path):
    def opened(proto, **options):
        onnx.save(proto, tmp_path / "net.onnx")
        return tg.from_onnx(tmp_path / "net.onnx", **options)

    return opened


VARIANTS = {
    "RNN": {"operator": "RNN"},
    "RNN without a bias": {"operator": "RNN", "biased": False},
    "GRU": {"operator": "GRU", "linear_before_reset": 1},
    "GRU that resets first": {"operator": "GRU"},
    "GRU without a bias": {"operator": "GRU", "linear_before_reset": 1, "biased": False},
    "GRU, its last state": {"operator": "GRU", "last": True, "linear_before_reset": 1},
    "LSTM": {"operator": "LSTM"},
    "LSTM, its last state": {"operator": "LSTM", "last": True},
    "LSTM with peepholes": {"operator": "LSTM", "extra": ["", "", "", "P"], "arrays": [array("P", 1, 3 * H)]},
    "LSTM with states of its own": {
        "operator": "LSTM",
        "extra": ["", "H0", "C0"],
        "arrays": [array("H0", 1, 1, H), array("C0", 1, 1, H)],
    },
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_computes_what_the_definition_says(opened, variant):
    proto = recurrent(**VARIANTS[variant])
    model = opened(proto)
    x = RNG.normal(size=(M, T, N)).astype(np.float32)
    if "states" in variant:
        # One state that stands for all samples is more than ONNX's own evaluation knows.
        x = x[:1]
    np.testing.assert_allclose(model.predict(x), ReferenceEvaluator(proto).run(None, {"x": x})[0], rtol=1e-4, atol=1e-5)


@pytest.mark.sweep
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_gradient_is_right(opened, variant):
    assert tg.check(opened(recurrent(**VARIANTS[variant]), loss="mse")).ok


@pytest.mark.oracle
@pytest.mark.parametrize("operator", GATES)
@pytest.mark.parametrize("last", [False, True])
def test_agrees_with_pytorch(opened, operator, last):
    torch = pytest.importorskip("torch")
    options = {"linear_before_reset": 1} if operator == "GRU" else {}
    proto = recurrent(operator, direction="bidirectional", last=last, **options)
    model = opened(proto)
    theirs = getattr(torch.nn, operator)(N, H, batch_first=True, bidirectional=True)
    values = {a.name: numpy_helper.to_array(a) for a in proto.graph.initializer}
    # PyTorch's order of gates, as places in ONNX's.
    order = {"RNN": [0], "GRU": [1, 0, 2], "LSTM": [0, 2, 3, 1]}[operator]
    for side, suffix in enumerate(["", "_reverse"]):
        bias = values["B"][side].reshape(2, GATES[operator], H)
        for name, gates in {
            "weight_ih": values["W"][side].reshape(-1, H, N),
            "weight_hh": values["R"][side].reshape(-1, H, H),
            "bias_ih": bias[0],
            "bias_hh": bias[1],
        }.items():
            parameter = getattr(theirs, f"{name}_l0{suffix}")
            parameter.data = torch.tensor(gates[order].reshape(parameter.shape).copy())
    x = torch.tensor(RNG.normal(size=(M, T, N)).astype(np.float32), requires_grad=True)
    sequence, h = theirs(x)
    h = h[0] if isinstance(h, tuple) else h
    y = (h.transpose(0, 1) if last else sequence).reshape(M, -1) @ torch.tensor(values["V"].copy())
    np.testing.assert_allclose(model.predict(x.detach().numpy()), y.detach().numpy(), rtol=1e-4, atol=1e-5)


def test_steps_are_equations(opened):
    model = opened(recurrent("LSTM", last=True))
    lines = [equation.text for equation in model.record(1).equations]
    assert lines[:7] == [
        "turned = transpose(x, axes=(1, 0, 2))",
        "r_RT = R[0].T",
        "r_x = turned @ W[0].T + (B[0, :20] + B[0, 20:])",
        "r_g1 = r_x[0]",
        "r_c1 = sigmoid(r_g1[..., :5]) * tanh(r_g1[..., 15:20])",
        "r_h1 = sigmoid(r_g1[..., 5:10]) * tanh(r_c1)",
        "r_g2 = r_x[1] + r_h1 @ r_RT",
    ]
    assert [line.partition(" ")[0] for line in lines].count("r_h4") == 1


def test_learns_to_tell_sequences_apart(opened):
    model = opened(recurrent("GRU", last=True, linear_before_reset=1), loss="cross_entropy")
    x = RNG.normal(size=(120, T, N))
    labels = (x[:, :, 0].sum(1) > 0).astype(int)
    tg.fit(model, (x, labels), tg.Adam(0.02), epochs=25, batch_size=20)
    assert tg.evaluate(model, (x, labels)).accuracy > 0.9


def test_is_written_again(opened, tmp_path):
    model = opened(recurrent("LSTM"))
    model.to_onnx(tmp_path / "again.onnx")
    x = RNG.normal(size=(M, T, N)).astype(np.float32)
    np.testing.assert_allclose(tg.from_onnx(tmp_path / "again.onnx").predict(x), model.predict(x), rtol=1e-5)


@pytest.mark.parametrize("operator", GATES)
def test_sequences_of_several_lengths(operator):
    """Past its end a sequence gives zeros, and its state stays."""
    proto = recurrent(operator, extra=["lengths"], direction="bidirectional")
    proto.graph.input.append(helper.make_tensor_value_info("lengths", TensorProto.INT32, ("m",)))
    proto.graph.output.append(helper.make_tensor_value_info("seq", TensorProto.FLOAT, None))
    x = RNG.normal(size=(2, T, N)).astype(np.float32)
    both = Backend.prepare(proto).run([x, np.int32([T, 2])])[1]
    short = recurrent(operator, direction="bidirectional")
    del short.graph.initializer[:]
    short.graph.initializer.extend(proto.graph.initializer)
    short.graph.output[0].CopyFrom(helper.make_tensor_value_info("seq", TensorProto.FLOAT, None))
    alone = Backend.prepare(short).run([x[1:, :2]])[0]
    np.testing.assert_allclose(both[:2, :, 1:], alone, rtol=1e-4, atol=1e-6)
    assert not both[2:, :, 1].any()


def test_zeros_for_a_state_are_none(opened):
    """As PyTorch's exporter writes them: zeros of a shape that is computed from the batch."""
    nodes = [
        helper.make_node("Shape", ["x"], ["m"], start=0, end=1),
        helper.make_node("Concat", ["one", "m", "size"], ["to"], axis=0),
        helper.make_node("ConstantOfShape", ["to"], ["H0"]),
    ]
    whole = [numpy_helper.from_array(np.int64([value]), name) for name, value in (("one", 1), ("size", H))]
    proto = recurrent("GRU", extra=["", "H0"], arrays=whole)
    rest = list(proto.graph.node)
    del proto.graph.node[:]
    proto.graph.node.extend([*nodes, *rest])
    model = opened(proto)
    assert not model.state
    assert model.predict(np.zeros((7, T, N))).shape == (7, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"operator": "LSTM", "input_forget": 1}, "\\(input_forget=1\\) are not supported"),
        (
            {"operator": "RNN", "activations": ["Affine"]},
            "its activations must be 1 of Relu, Sigmoid, .* found \\['Affine'\\]",
        ),
        ({"operator": "GRU", "activations": ["Sigmoid"]}, "its activations must be 2 of"),
    ],
)
def test_what_is_not_known_is_refused(opened, options, message):
    with pytest.raises(OnnxError, match=f"node '/r/Layer' .*{message}"):
        opened(recurrent(**options))


def test_weights_of_another_shape(opened):
    proto = recurrent("GRU")
    proto.graph.initializer[1].CopyFrom(array("R", 1, 3 * H, H + 1))
    with pytest.raises(OnnxError, match=r"its weights must have the shapes \(1, 15, 2\) and \(1, 15, 5\); found"):
        opened(proto)


@pytest.mark.parametrize("layers", [1, 3])
def test_more_steps_than_anyone_reads(opened, layers):
    proto = recurrent("RNN")
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_value = MOST_STEPS + 1 if layers == 1 else MOST_STEPS // 2
    proto.graph.node[3].CopyFrom(helper.make_node("Reshape", ["t", "shape"], ["f"]))
    proto.graph.initializer.append(numpy_helper.from_array(np.int64([-1, T * H]), "shape"))
    if layers > 1:
        sides = [helper.make_node("RNN", ["turned", "W", "R"], [f"seq{i}"], hidden_size=H) for i in range(layers)]
        total = helper.make_node("Sum", [f"seq{i}" for i in range(layers)], ["seq"])
        rest = list(proto.graph.node)
        del proto.graph.node[:]
        proto.graph.node.extend([rest[0], *sides, total, *rest[2:]])
    with pytest.raises(OnnxError, match=r"1,001 steps would be at least as many|more than 1,000 steps"):
        opened(proto)
