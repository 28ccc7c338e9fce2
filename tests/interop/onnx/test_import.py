"""An ONNX file is a model like any other: equations, names, batch, weights, state, loss, and every command."""

from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper

import tinygraph as tg
from tinygraph.cli import main
from tinygraph.errors import OnnxError

RNG = np.random.default_rng(0)


def value(name, shape=("m", 4), kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def node(operator, inputs="x", outputs="y", **attributes):
    return helper.make_node(operator, inputs.split(), outputs.split(), **attributes)


def array(name, *shape, dtype=np.float32):
    return numpy_helper.from_array(RNG.normal(size=shape).astype(dtype), name)


def whole(name, *numbers):
    return numpy_helper.from_array(np.asarray(numbers, np.int64), name)


@pytest.fixture
def opened(tmp_path):
    """Return a function that makes a file of nodes and opens it."""

    def opened(nodes, arrays=(), inputs=("x",), outputs=("y",), opset=17, **options):
        declared = [[value(v) if isinstance(v, str) else v for v in values] for values in (inputs, outputs)]
        graph = helper.make_graph(list(nodes), "graph", *declared, list(arrays))
        opened.path = tmp_path / "net.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)]), opened.path)
        return tg.from_onnx(opened.path, **options)

    return opened


@pytest.fixture
def perceptron(opened):
    """Two layers and a softmax."""

    def perceptron(**options):
        return opened(
            [
                node("Gemm", "x fc1.weight fc1.bias", "/fc1/Gemm_output_0", transB=1),
                node("Relu", "/fc1/Gemm_output_0", "/act/Relu_output_0"),
                node("Gemm", "/act/Relu_output_0 fc2.weight fc2.bias", "17", transB=1),
                node("Softmax", "17", "y", axis=1),
            ],
            [array("fc1.weight", 8, 4), array("fc1.bias", 8), array("fc2.weight", 3, 8), array("fc2.bias", 3)],
            **options,
        )

    return perceptron


def test_model_is_equations(perceptron):
    model = perceptron()
    assert [equation.text for equation in model.record(2).equations] == [
        "fc1_Gemm = x @ fc1_weight.T + fc1_bias",
        "act_Relu = relu(fc1_Gemm)",
        "t17 = act_Relu @ fc2_weight.T + fc2_bias",
        "y = softmax(t17)",
    ]


def test_weights_are_those_of_the_file(perceptron, opened):
    model = perceptron()
    stored = {a.name: numpy_helper.to_array(a) for a in onnx.load(opened.path).graph.initializer}
    assert {name: p.shape for name, p in model.parameters.items()} == {
        name.replace(".", "_"): a.shape for name, a in stored.items()
    }
    for name, a in stored.items():
        np.testing.assert_array_equal(model.parameters[name.replace(".", "_")].value, a)


def test_computes_what_numpy_does(perceptron):
    model = perceptron()
    x = RNG.normal(size=(5, 4)).astype(np.float32)
    w1, b1, w2, b2 = (p.value for p in model.parameters.values())
    z = np.maximum(x @ w1.T + b1, 0) @ w2.T + b2
    np.testing.assert_allclose(model.predict(x), tg.softmax(z), rtol=1e-5)


def test_symbolic_first_axis_is_the_batch(perceptron):
    model = perceptron()
    assert model.batch is None
    assert [model.predict(np.zeros((count, 4))).shape for count in (1, 7)] == [(1, 3), (7, 3)]


def test_fixed_first_axis_stays(perceptron):
    model = perceptron(inputs=[value("x", (2, 4))])
    assert model.batch == 2
    assert model.predict(np.zeros((6, 4))).shape == (6, 3)
    with pytest.raises(tg.DataError, match="'net' is for batches of 2 samples only; found 3"):
        model.predict(np.zeros((3, 4)))
    with pytest.raises(tg.DataError, match="is for batches of 2 samples only; found 5"):
        model.record(5)
    assert "float32 (2, 4)" in str(model)


def test_loss_makes_it_trainable(perceptron):
    model = perceptron(loss="cross_entropy")
    assert model.record(2).equations[-1].text == "cost = cross_entropy(t17, y_2)"
    assert model.labels == ("y_2",)
    x = RNG.normal(size=(60, 4))
    labels = (x[:, 0] > 0).astype(int) + (x[:, 1] > 0)
    before = tg.evaluate(model, (x, labels)).loss
    tg.fit(model, (x, labels), tg.Adam(0.05), epochs=30, batch_size=20)
    assert tg.evaluate(model, (x, labels)).loss < before / 2
    assert tg.check(model).ok


def test_fixed_batch_is_trainable(perceptron):
    model = perceptron(inputs=[value("x", (2, 4))], loss="cross_entropy")
    x, labels = RNG.normal(size=(8, 4)), RNG.integers(0, 3, 8)
    assert len(tg.fit(model, (x, labels), epochs=2)) == 2
    with pytest.raises(tg.DataError, match="batches of 2 samples only; found 7"):
        tg.fit(model, (x[:7], labels[:7]), epochs=1)


def test_loss_of_the_graph_itself(opened):
    nodes = [
        node("MatMul", "x w", "y"),
        node("Sub", "y t", "d"),
        node("Mul", "d d", "q"),
        node("ReduceMean", "q", "c", keepdims=0),
    ]
    model = opened(
        nodes,
        [array("w", 4, 2)],
        inputs=["x", value("t", ("m", 2))],
        outputs=[value("y", ("m", 2)), value("c", ())],
        loss="c",
    )
    assert (model.output, model.loss, model.labels) == ("y", "c", ("t",))


def test_unknown_loss_and_output(perceptron):
    with pytest.raises(OnnxError, match=r"the loss 'cross_entropi' is neither an output \('y'\) nor one of .*'bce'"):
        perceptron(loss="cross_entropi")
    with pytest.raises(OnnxError, match="has no output 'z'"):
        perceptron(output="z")


def test_output_is_chosen_by_name_and_the_rest_is_left_out(opened):
    nodes = [node("Relu", "x", "y"), node("MatMul", "x w", "z")]
    model = opened(nodes, [array("w", 4, 2)], outputs=["y", value("z", ("m", 2))], output="z")
    assert (model.output, [e.name for e in model.record(2).equations]) == ("z", ["z"])
    assert not opened(nodes, [array("w", 4, 2)], outputs=["y", value("z", ("m", 2))]).parameters


def test_sizes_that_the_file_only_names(opened):
    inputs, nodes = [value("x", ("m", "width"))], [node("Relu")]
    with pytest.raises(OnnxError, match=r"axes without a size: .x\.1 \(width\).; give them with sizes={'width': ...}"):
        opened(nodes, inputs=inputs)
    assert opened(nodes, inputs=inputs, sizes={"width": 3}).inputs["x"].shape == (3,)
    assert opened(nodes, inputs=inputs, sizes={"width": 3, "m": 5}).batch == 5
    with pytest.raises(OnnxError, match="no input has an open size called 'widht'; did you mean 'width'"):
        opened(nodes, inputs=inputs, sizes={"widht": 3})


def test_shapes_computed_from_the_input_hold_for_every_batch(opened):
    nodes = [
        node("Shape", "x", "s"),
        node("Gather", "s zero", "m", axis=0),
        node("Unsqueeze", "m zeros", "mm"),
        node("Concat", "mm rest", "to", axis=0),
        node("Reshape", "x to", "r"),
        node("Mul", "r two", "y"),
    ]
    arrays = [numpy_helper.from_array(np.int64(0), "zero"), whole("zeros", 0), whole("rest", 2, 2)]
    arrays.append(numpy_helper.from_array(np.float32(2), "two"))
    model = opened(nodes, arrays, outputs=[value("y", ("m", 2, 2))])
    assert [e.text for e in model.record(2).equations] == ["r = reshape(x, (-1, 2, 2))", "y = r * 2.0"]
    assert model.predict(np.ones((3, 4))).shape == (3, 2, 2)


def test_sizes_that_follow_the_batch_are_written_so(opened):
    nodes = [
        node("Shape", "x", "s", start=0, end=1),
        node("Concat", "s three", "to", axis=0),
        node("Expand", "w to", "e"),
        node("MatMul", "e v", "f"),
        node("Add", "x f", "y"),
    ]
    model = opened(nodes, [whole("three", 3), array("w", 1, 3), array("v", 3, 4)])
    assert "broadcast_to(w, (x.shape[0], 3))" in str(model)
    assert model.predict(np.ones((7, 4))).shape == (7, 4)


def test_a_graph_that_differs_with_the_batch_is_refused(opened):
    nodes = [node("Shape", "x", "s", start=0, end=1), node("Mul", "s s", "q"), node("Cast", "q", "f", to=1)]
    with pytest.raises(OnnxError, match="its graph is not the same for every number of samples"):
        opened([*nodes, node("Mul", "x f", "y")])


def test_constants_are_numbers_or_state(opened):
    mask = numpy_helper.from_array(np.array([True, False, True, True]), "mask")
    nodes = [
        node("Constant", "", "table", value=numpy_helper.from_array(np.float32([1, 2, 3, 4]))),
        node("Constant", "", "third", value=numpy_helper.from_array(np.float32(1 / 3))),
        node("Mul", "x third", "a"),
        node("Where", "mask a x", "b"),
        node("Add", "b table", "y"),
    ]
    model = opened(nodes, [mask])
    assert not model.parameters
    assert {s.dtype.name for s in model.state.values()} == {"bool", "float32"}
    assert "x * 0.33333334" in str(model)
    x = np.float32([[3, 3, 3, 3]])
    np.testing.assert_allclose(model.predict(x), [[2, 5, 4, 5]])


def test_tied_weights_stay_one_parameter(opened):
    nodes = [node("MatMul", "x w", "a"), node("Transpose", "w", "v"), node("MatMul", "a v", "y")]
    model = opened(nodes, [array("w", 4, 3)], loss="mse")
    assert list(model.parameters) == ["w"]
    assert tg.check(model).ok


def test_statistics_of_batch_normalization_follow_the_training(opened):
    nodes = [node("BatchNormalization", "x g b M V", "y", momentum=0.8)]
    positive = numpy_helper.from_array(np.ones(4, np.float32), "V")
    model = opened(nodes, [array("g", 4), array("b", 4), array("M", 4), positive], loss="mse")
    assert (list(model.parameters), list(model.state)) == (["g", "b"], ["M", "V"])
    assert {e.name: e.text for e in model.record(2, training=True).equations}["M_new"] == (
        "M_new = running_mean(M, x, momentum=0.2)"
    )
    before = model.state["M"].value.copy()
    tg.fit(model, (RNG.normal(size=(20, 4)), RNG.normal(size=(20, 4))), epochs=1, batch_size=10)
    assert (model.state["M"].value != before).all()


def test_bias_of_a_convolution_is_a_column(opened):
    nodes = [node("Conv", "x k b", "y", pads=[1, 1, 1, 1])]
    model = opened(nodes, [array("k", 2, 1, 3, 3), array("b", 2)], inputs=[value("x", ("m", 1, 5, 5))])
    assert model.record(2).equations[0].text == "y = conv2d(x, k, padding=1) + b"
    assert model.parameters["b"].shape == (2, 1, 1)


def test_float64_on_request(perceptron):
    model = perceptron(dtype="float64")
    assert {p.dtype.name for p in model.parameters.values()} == {"float64"}
    assert model.predict(np.zeros((1, 4))).dtype == np.float64


def test_half_precision_is_read_as_more(opened):
    half = {"inputs": [value("x", kind=TensorProto.FLOAT16)]}
    arrays = [array("w", 4, 4, dtype=np.float16), array("b", 4)]
    nodes = [node("MatMul", "x w", "z"), node("Cast", "z", "c", to=TensorProto.FLOAT), node("Add", "c b", "y")]
    with pytest.raises(OnnxError, match=r"its weights hold 'float16' and 'float32'; .* read it with dtype='float32'"):
        opened(nodes, arrays, **half)
    for dtype in ("float32", "float64"):
        model = opened(nodes, arrays, dtype=dtype, **half)
        assert {p.dtype.name for p in model.parameters.values()} == {dtype}
        assert [e.text for e in model.record(2).equations] == ["z = x @ w", "y = z + b"]


def test_whole_numbers_as_input(opened):
    nodes = [node("Gather", "table ids", "y")]
    model = opened(
        nodes,
        [array("table", 9, 3)],
        inputs=[value("ids", ("m", 2), TensorProto.INT64)],
        outputs=[value("y", ("m", 2, 3))],
    )
    assert model.inputs["ids"].dtype == np.int64
    assert model.predict(np.int64([[8, 0]])).shape == (1, 2, 3)


def test_inputs_that_are_not_batched(opened):
    nodes = [node("Mul", "x scale", "y")]
    model = opened(nodes, inputs=["x", value("scale", (4,))])
    assert (model.inputs["x"].batched, model.inputs["scale"].batched) == (True, False)
    np.testing.assert_array_equal(model.predict(np.ones((3, 4)), np.float32([1, 2, 3, 4]))[2], [1, 2, 3, 4])


def test_early_operator_sets(opened):
    nodes = [node("Add", "x b", "a", broadcast=1, axis=1), node("Squeeze", "a", "y", axes=[2])]
    model = opened(nodes, [array("b", 4)], inputs=[value("x", ("m", 4, 1))], opset=6)
    assert model.predict(np.zeros((2, 4, 1))).shape == (2, 4)


def test_load_model_opens_onnx_files(perceptron, opened):
    perceptron()
    model = tg.load_model(opened.path)
    assert model.name == "net"
    assert model.weighted


def test_drawn_and_told(perceptron):
    model = perceptron(loss="cross_entropy")
    assert "dfc1_weight" in str(tg.draw(model))
    assert "fc1" in str(tg.notes(model))


def run(*args):
    outcome = CliRunner().invoke(main, [str(arg) for arg in args], standalone_mode=False)
    if outcome.exception:
        raise outcome.exception
    return outcome.output


@pytest.mark.parametrize(
    "command",
    [
        ["equations"],
        ["draw", "-o", "net.gv"],
        ["notes", "-o", "net.md"],
        ["check"],
        ["plan", "--batch-size", "3"],
        ["predict", "--data", "data.npz"],
        ["train", "--loss", "cross_entropy", "--data", "data.npz", "--epochs", "1", "--out", "run"],
        ["export", "-o", "again.onnx"],
    ],
    ids=lambda command: command[0],
)
def test_every_command_takes_an_onnx_file(perceptron, opened, command, monkeypatch):
    perceptron()
    monkeypatch.chdir(opened.path.parent)
    np.savez("data.npz", x=RNG.normal(size=(12, 4)), y=RNG.integers(0, 3, 12))
    if command[0] == "predict":
        np.savez("data.npz", x=RNG.normal(size=(12, 4)))
    run(command[0], "net.onnx", *command[1:])


def test_import_writes_a_model_file_that_needs_onnx_no_more(perceptron, opened, monkeypatch):
    model = perceptron(loss="cross_entropy")
    monkeypatch.chdir(opened.path.parent)
    assert run("import", "net.onnx", "--loss", "cross_entropy", "-o", "own.toml") == (
        "wrote own.toml (5 equations) and own.safetensors (67 parameters)\n"
    )
    own = tg.load_model("own.toml")
    assert str(own) == str(model)
    x = RNG.normal(size=(3, 4))
    np.testing.assert_array_equal(own.predict(x), model.predict(x))


@pytest.mark.parametrize("mine", ["net.toml", "net.safetensors"])
def test_import_replaces_no_file_unless_forced(perceptron, opened, monkeypatch, mine):
    model = perceptron()
    monkeypatch.chdir(opened.path.parent)
    Path(mine).write_text("mine")
    for options in ([], ["-o", "net.toml"]):
        with pytest.raises(tg.TinygraphError, match=f"'{mine}' exists and is not replaced: -o names another file"):
            run("import", "net.onnx", *options)
    assert (Path(mine).read_text(), len(list(Path().glob("net.*")))) == ("mine", 2)
    run("import", "net.onnx", "--force")
    assert str(tg.load_model("net.toml")) == str(model)


def test_import_takes_sizes(opened, monkeypatch):
    opened([node("Relu")], inputs=[value("x", ("m", "w"))], sizes={"w": 3})
    monkeypatch.chdir(opened.path.parent)
    run("import", "net.onnx", "--size", "w=5")
    assert tg.load_model("net.toml").inputs["x"].shape == (5,)
    with pytest.raises(Exception, match="a size is given as NAME=NUMBER; found 'w'"):
        run("import", "net.onnx", "--size", "w")


@pytest.mark.parametrize("weights", ["../own.safetensors", "a/b", "", "..", "c:own"])
def test_model_file_takes_weights_from_its_own_folder_alone(weights):
    text = f"weights = '{weights}'\n[inputs]\nx = [1]\n[model]\nequations = 'y = relu(x)'\noutput = 'y'\nloss = false"
    with pytest.raises(tg.ModelError, match="the name of a file in the model's folder"):
        tg.Model.from_toml(text)


def test_what_is_computed_without_data_is_no_weight(opened):
    """As in a causal mask of attention: ones, their triangle, a comparison."""
    nodes = [
        node("ConstantOfShape", "shape", "ones", value=numpy_helper.from_array(np.float32([1]))),
        node("Trilu", "ones", "low", upper=0),
        node("Cast", "low", "seen", to=TensorProto.BOOL),
        node("Where", "seen x far", "y"),
    ]
    far = numpy_helper.from_array(np.float32(-np.inf), "far")
    model = opened(
        nodes, [whole("shape", 4, 4), far], inputs=[value("x", ("m", 4, 4))], outputs=[value("y", ("m", 4, 4))]
    )
    assert not model.parameters
    assert [state.dtype.name for state in model.state.values()] == ["bool"]
    x = np.ones((1, 4, 4), np.float32)
    np.testing.assert_array_equal(model.predict(x), np.where(np.tri(4, dtype=bool), x, -np.inf))


def test_a_model_file_names_its_own_loss():
    with pytest.raises(tg.DataError, match=r"--loss is for \.onnx files"):
        run("train", "xor", "--loss", "mse")


def test_what_onnx_defines_by_other_operators_is_read_by_that_definition(opened):
    """Attention over three words, of two heads, as one node of the file; and its gradients."""
    nodes = [
        node("MatMul", "x wq", "q"),
        node("MatMul", "x wk", "k"),
        node("MatMul", "x wv", "v"),
        node("Attention", "q k v", "y", q_num_heads=2, kv_num_heads=2),
    ]
    arrays = [array(name, 4, 4) for name in ("wq", "wk", "wv")]
    sides = {"inputs": [value("x", ("m", 3, 4))], "outputs": [value("y", ("m", 3, 4))]}
    model = opened(nodes, arrays, opset=23, loss="mse", **sides)
    assert model.record(2).equations[0].name == "q"
    x = RNG.normal(size=(2, 3, 4)).astype(np.float32)
    q, k, v = (np.moveaxis((x @ p.value).reshape(2, 3, 2, 2), 2, 1) for p in model.parameters.values())
    scores = q @ np.swapaxes(k, 2, 3) / np.sqrt(2)
    expected = np.moveaxis(tg.softmax(scores) @ v, 1, 2).reshape(2, 3, 4)
    np.testing.assert_allclose(model.predict(x), expected, rtol=1e-5, atol=1e-6)
    assert tg.check(model).ok
