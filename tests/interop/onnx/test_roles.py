"""What the arrays of an ONNX file are: weights that are learned, several weights that an exporter merged, masks, constants."""

import warnings

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper

import tinygraph as tg

RNG = np.random.default_rng(0)
ONES, ZEROS = np.ones(4, np.float32), np.zeros(4, np.float32)


def value(name, shape=("m", 4), kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def node(operator, inputs, outputs, name="", **attributes):
    return helper.make_node(operator, inputs.split(), outputs.split(), name, **attributes)


def matrix(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def constant(name, content):
    return node("Constant", "", name, value=numpy_helper.from_array(np.asarray(content)))


@pytest.fixture
def opened(tmp_path):
    """Return a function that opens a file of nodes and arrays by name."""

    def opened(*nodes, inputs=("x",), opset=18, producer=("", ""), **arrays):
        named = [numpy_helper.from_array(content, name) for name, content in arrays.items()]
        declared = [value(name) if isinstance(name, str) else name for name in inputs]
        graph = helper.make_graph(list(nodes), "graph", declared, [value("y", None)], named)
        proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
        proto.producer_name, proto.producer_version = producer
        path = tmp_path / "net.onnx"
        path.write_bytes(proto.SerializeToString())
        return tg.from_onnx(path)

    return opened


def gradients_of(model, **feeds):
    """The gradients of a random weighting of the output, by parameter."""
    leaves = list(model.parameters.values())
    recording = model.record(len(next(iter(feeds.values()))))
    weighted = (recording.output * np.random.default_rng(1).normal(size=recording.output.shape)).sum()
    found = tg.run(tg.grad(weighted, leaves), {recording.graph.inputs[name]: array for name, array in feeds.items()})
    return dict(zip(model.parameters, found, strict=True))


def norm(x, y, scale="ones", shift="zeros", mean="zeros", variance="ones"):
    return node("BatchNormalization", f"{x} {scale} {shift} {mean} {variance}", y)


def test_the_scale_and_the_variance_of_a_fresh_norm_are_two(opened):
    model = opened(norm("x", "y"), ones=ONES, zeros=ZEROS)
    assert (len(model.parameters), len(model.state)) == (2, 2)
    recording = model.record(8, training=True)
    assert set(recording.new_state) == set(model.state)
    assert [tuple(sorted(set(p.value.tolist()))) for p in model.parameters.values()] == [(1.0,), (0.0,)]


def test_training_moves_the_scale_and_not_the_variance(opened, tmp_path):
    opened(norm("x", "y"), ones=ONES, zeros=ZEROS)
    model = tg.from_onnx(tmp_path / "net.onnx", loss="mse")
    x = RNG.normal(3, 2, size=(64, 4)).astype(np.float32)
    tg.fit(model, (x, 5 * x), tg.SGD(0.1), epochs=3, batch_size=16)
    scale, shift = (p.value for p in model.parameters.values())
    mean, variance = (s.value for s in model.state.values())
    assert np.abs(scale - variance).min() > 0.05
    # Towards the statistics of the data.
    assert np.abs(mean - 3).max() < 2.5
    assert variance.min() > 1.1
    assert not np.array_equal(shift, mean)


FRESH = [
    node("MatMul", "x w1", "h1"),
    node("Add", "h1 zeros", "z1"),
    norm("z1", "n1"),
    node("Relu", "n1", "a1"),
    node("MatMul", "a1 w2", "h2"),
    node("Add", "zeros h2", "z2"),
    norm("z2", "n2"),
    node("LayerNormalization", "n2 ones zeros", "y"),
]


def test_each_layer_of_a_fresh_network_has_its_own(opened):
    """Two matrices, two biases, two norms with scale and shift, a third; and two means and variances."""
    model = opened(*FRESH, w1=matrix(4, 4), w2=matrix(4, 4), ones=ONES, zeros=ZEROS)
    assert (len(model.parameters), len(model.state)) == (2 + 2 + 4 + 2, 4)
    x = matrix(5, 4)
    found = gradients_of(model, x=x)
    assert len({array.tobytes() for array in found.values()}) == len(found)


def shared():
    """A layer that is applied to two inputs, and their difference."""
    nodes = []
    for side in "ab":
        nodes += [
            node("MatMul", f"{side} w", f"h{side}"),
            node("Add", f"h{side} zeros", f"z{side}"),
            node("LayerNormalization", f"z{side} ones zeros", f"n{side}"),
        ]
    return [*nodes, node("Sub", "na nb", "y")]


def test_a_layer_that_is_applied_twice_is_one(opened):
    model = opened(*shared(), inputs=("a", "b"), w=matrix(4, 4), ones=ONES, zeros=ZEROS)
    assert [p.shape for p in model.parameters.values()] == [(4, 4), (4,), (4,), (4,)]


def test_two_norms_of_one_tensor_are_two(opened):
    nodes = [node("LayerNormalization", "h ones zeros", f"n{i}") for i in (1, 2)]
    nodes = [node("MatMul", "x w", "h"), *nodes, node("Relu", "n2", "r"), node("Sub", "n1 r", "y")]
    assert len(opened(*nodes, w=matrix(4, 4), ones=ONES, zeros=ZEROS).parameters) == 5


def test_matrices_and_vectors_that_differ_stay_shared(opened):
    """An embedding and its decoder; a bias with numbers of its own."""
    nodes = [
        node("Gather", "e x", "h"),
        node("Add", "h b", "z"),
        node("Relu", "z", "a"),
        node("Add", "a b", "s"),
        node("Transpose", "e", "d"),
        node("MatMul", "s d", "y"),
    ]
    model = opened(*nodes, inputs=(value("x", ("m", 3), TensorProto.INT64),), e=matrix(10, 4), b=matrix(4))
    assert {name: p.shape for name, p in model.parameters.items()} == {"e": (10, 4), "b": (4,)}


def test_what_tinygraph_writes_is_not_split(tmp_path):
    parameters = {"W": {"shape": [4, 4], "init": "he_normal"}, "b": {"shape": [4], "init": "zeros"}}
    equations = "h = relu(x @ W + b)\ny = h @ W.T + b"
    tg.Model({"x": [4]}, parameters, equations, "y").to_onnx(tmp_path / "own.onnx")
    assert list(tg.from_onnx(tmp_path / "own.onnx").parameters) == ["W", "b"]


def scoped(made, *modules):
    """A node with the modules that it lies in, as PyTorch's newer exporter writes them."""
    entry = made.metadata_props.add()
    entry.key, entry.value = "pkg.torch.onnx.name_scopes", str(["", *modules, made.op_type])
    return made


def test_modules_say_whose_an_array_is(opened):
    """Random biases that are equal since the layers are copies of one; a norm that is applied in two places."""
    arrays = {
        "a.weight": matrix(4, 4),
        "a.bias": matrix(4),
        "b.weight": matrix(4, 4),
        "n.weight": ONES,
        "n.bias": ZEROS,
    }
    nodes = [
        scoped(node("Gemm", "x a.weight a.bias", "h1"), "a"),
        scoped(node("LayerNormalization", "h1 n.weight n.bias", "n1"), "n"),
        scoped(node("Gemm", "n1 b.weight a.bias", "h2"), "b"),
        scoped(node("LayerNormalization", "h2 n.weight n.bias", "n2"), "n"),
        scoped(node("LayerNormalization", "n2 n.weight n.bias", "y"), "last"),
    ]
    model = opened(*nodes, **arrays)
    assert list(model.parameters) == [
        *("a_weight", "a_bias", "n_weight", "n_bias", "b_weight", "b_bias", "last_weight", "last_bias"),
    ]


def test_a_matrix_of_several_modules_is_doubtful(opened):
    """Copied layers, or one layer under two names: a file does not say which."""
    arrays = {"val_1": matrix(4, 4), "b": matrix(4)}
    nodes = [
        scoped(node("MatMul", "x val_1", "h1"), "layers.0"),
        scoped(node("MatMul", "h1 val_1", "h2"), "layers.1"),
        scoped(node("Relu", "h2", "y"), "act"),
    ]
    with pytest.warns(
        UserWarning, match=r"the matrix 'val_1' is shared by 'layers.0' and 'layers.1': .*optimize=False"
    ):
        model = opened(*nodes, val_1=arrays["val_1"])
    assert len(model.parameters) == 1
    again = [scoped(node("MatMul", "x val_1", "h1"), "a"), scoped(node("MatMul", "h1 val_1", "y"), "a")]
    assert len(opened(*again, val_1=arrays["val_1"]).parameters) == 1


def test_the_identities_of_the_older_exporter_are_parameters(opened):
    nodes = [
        node("Identity", "a.bias", "b.bias", "Identity_0"),
        node("Gemm", "x a.weight a.bias", "h"),
        node("Gemm", "h b.weight b.bias", "y"),
    ]
    arrays = {"a.weight": matrix(4, 4), "b.weight": matrix(4, 4), "a.bias": matrix(4)}
    model = opened(*nodes, producer=("pytorch", "2.6.0"), **arrays)
    assert sorted(model.parameters) == ["a_bias", "a_weight", "b_bias", "b_weight"]
    assert sorted(opened(*nodes, **arrays).parameters) == ["a_bias", "a_weight", "b_weight"]


def test_the_transpose_of_a_shared_matrix_is_no_matrix_of_its_own(opened):
    e = matrix(10, 4)
    nodes = [node("Gather", "e.weight x", "h"), node("MatMul", "h onnx::MatMul_12", "y")]
    arrays = {"e.weight": e, "onnx::MatMul_12": np.ascontiguousarray(e.T)}
    model = opened(*nodes, inputs=(value("x", ("m", 3), TensorProto.INT64),), **arrays)
    assert list(model.parameters) == ["e_weight"]
    np.testing.assert_allclose(model.predict([[1, 2, 3]]), e[[[1, 2, 3]]] @ e.T, rtol=1e-5)


PADDLE = [
    constant("conv.w_0", matrix(3, 2, 1, 1)),
    constant("conv.b_0", matrix(3)),
    constant("bn.w_0", np.ones(3, np.float32)),
    constant("bn.b_0", np.zeros(3, np.float32)),
    constant("bn.w_1", np.zeros(3, np.float32)),
    constant("bn.w_2", np.ones(3, np.float32)),
    constant("fc.w_0", matrix(12, 4)),
    constant("fc.b_0", matrix(4)),
    constant("colours", np.float32([0.4, 0.5]).reshape(1, 2, 1, 1)),
    constant("half", np.float32([0.5])),
    node("Sub", "x colours", "centred"),
    node("Conv", "centred conv.w_0 conv.b_0", "c"),
    norm("c", "b", "bn.w_0", "bn.b_0", "bn.w_1", "bn.w_2"),
    node("Flatten", "b", "f"),
    node("MatMul", "f fc.w_0", "m"),
    node("Add", "m fc.b_0", "a"),
    node("Mul", "a half", "y"),
]


def test_a_file_whose_weights_are_constants_has_parameters(opened):
    model = opened(*PADDLE, inputs=(value("x", ("m", 2, 2, 2)),))
    assert {name: p.size for name, p in model.parameters.items()} == {
        **{"conv_w_0": 6, "conv_b_0": 3, "bn_w_0": 3, "bn_b_0": 3},
        **{"fc_w_0": 48, "fc_b_0": 4},
    }
    assert [name for name in model.state if name.startswith("bn")] == ["bn_w_1", "bn_w_2"]


def test_ones_and_zeros_that_an_exporter_invents_are_no_weights(opened):
    nodes = [
        constant("one", np.ones(4, np.float32)),
        constant("none", np.zeros(4, np.float32)),
        node("MatMul", "x w", "h"),
        node("LayerNormalization", "h one none", "n"),
        node("LayerNormalization", "n val_3 val_7", "y"),
    ]
    model = opened(*nodes, w=matrix(4, 4), val_3=ONES, val_7=ZEROS)
    assert list(model.parameters) == ["w"]


TRIANGLE = np.tril(np.ones((1, 8, 8), np.float32))
HIDING = np.triu(np.full((8, 8), -1e9, np.float32), 1)
MASKED = [
    node("MatMul", "x w", "q"),
    node("Slice", "mask start end axis", "part"),
    node("Squeeze", "part zero", "whole"),
    node("Equal", "whole none", "hidden"),
    node("Where", "hidden low q", "scores"),
]


@pytest.mark.parametrize(
    "kept",
    [
        MASKED,
        [*MASKED[:3], node("Cast", "whole", "shown", to=TensorProto.BOOL), node("Where", "shown q low", "scores")],
    ],
)
@pytest.mark.parametrize("as_constant", [False, True])
def test_a_mask_that_is_cut_before_it_is_compared_is_no_weight(opened, kept, as_constant):
    arrays = {"start": np.array([0]), "end": np.array([4]), "axis": np.array([1]), "zero": np.array([0])}
    arrays |= {"none": np.float32(0), "low": np.float32(-np.inf), "w": matrix(8, 8)}
    nodes = [constant("mask", TRIANGLE), *kept] if as_constant else kept
    arrays |= {} if as_constant else {"mask": TRIANGLE}
    model = opened(*nodes, node("Softmax", "scores", "y"), inputs=(value("x", ("m", 4, 8)),), **arrays)
    assert list(model.parameters) == ["w"]
    assert all(state.dtype == bool for state in model.state.values())


def test_small_numbers_that_are_added_hide(opened):
    nodes = [node("MatMul", "x w", "q"), node("Add", "q mask", "s"), node("Softmax", "s", "y")]
    model = opened(*nodes, inputs=(value("x", ("m", 8, 8)),), w=matrix(8, 8), mask=HIDING)
    assert list(model.parameters) == ["w"]
    assert [state.shape for state in model.state.values()] == [(8, 8)]


@pytest.mark.parametrize("as_constant", [False, True])
def test_zeros_and_ones_that_are_computed_with_are_no_weights(opened, as_constant):
    """As some networks hide places: ``(1 - mask) * -10000``, added."""
    arrays = {"one": np.float32(1), "low": np.float32(-10000), "w": matrix(8, 8)}
    nodes = [
        node("MatMul", "x w", "q"),
        node("Sub", "one mask", "off"),
        node("Mul", "off low", "hidden"),
        node("Add", "q hidden", "s"),
        node("Softmax", "s", "y"),
    ]
    nodes, arrays = (
        ([constant("mask", TRIANGLE), *nodes], arrays) if as_constant else (nodes, arrays | {"mask": TRIANGLE})
    )
    assert list(opened(*nodes, inputs=(value("x", ("m", 8, 8)),), **arrays).parameters) == ["w"]


def test_a_kernel_of_zeros_and_ones_is_a_weight(opened):
    kernel = np.eye(4, dtype=np.float32)
    assert list(opened(node("MatMul", "x k", "y"), k=kernel).parameters) == ["k"]


def test_a_weight_that_is_compared_and_learned_is_a_weight(opened):
    nodes = [node("Mul", "x b", "h"), node("Greater", "b none", "p"), node("Where", "p h x", "y")]
    assert list(opened(*nodes, b=matrix(4), none=np.float32(0)).parameters) == ["b"]


def fresh_network():
    torch = pytest.importorskip("torch")
    layers = [
        torch.nn.Linear(4, 4),
        torch.nn.BatchNorm1d(4),
        torch.nn.ReLU(),
        torch.nn.Linear(4, 4),
        torch.nn.BatchNorm1d(4),
    ]
    for layer in layers[::3]:
        torch.nn.init.zeros_(layer.bias)
    return torch, torch.nn.Sequential(
        *layers, torch.nn.LayerNorm(4), torch.nn.LayerNorm(4, elementwise_affine=False)
    ).eval()


def test_a_fresh_network_exported_from_pytorch(tmp_path):
    """Every parameter of the network is one, under its own name, and the statistics of the norms are state."""
    torch, network = fresh_network()
    path = tmp_path / "fresh.onnx"
    names = {"input_names": ["x"], "dynamic_axes": {"x": {0: "m"}}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (torch.ones(2, 4),),
            path,
            dynamo=False,
            **names,
            training=torch.onnx.TrainingMode.PRESERVE,
            do_constant_folding=False,
        )
    model = tg.from_onnx(path)
    expected = {name.replace(".", "_") for name, _ in network.named_parameters()}
    assert {name.removeprefix("t") for name in model.parameters} == expected
    assert len(model.state) >= 4
    x = matrix(6, 4)
    found = gradients_of(model, x=x)
    network.zero_grad()
    y = network(torch.tensor(x))
    (y * torch.tensor(np.random.default_rng(1).normal(size=y.shape))).sum().backward()
    for name, parameter in network.named_parameters():
        mine = found[next(own for own in found if own.removeprefix("t") == name.replace(".", "_"))]
        np.testing.assert_allclose(mine.reshape(parameter.shape), parameter.grad, rtol=1e-3, atol=1e-4)
