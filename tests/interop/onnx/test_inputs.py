"""Inputs of ONNX files: sizes by name and by place, fixed values, inputs that are handed on, empty parts; and the options."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper

import tinygraph as tg
from tinygraph.cli import main
from tinygraph.errors import OnnxError

RNG = np.random.default_rng(0)
BOOL, INT64 = TensorProto.BOOL, TensorProto.INT64


def value(name, shape=("m", 4), kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def node(operator, inputs, outputs, **attributes):
    return helper.make_node(operator, inputs.split(), outputs.split(), **attributes)


def array(name, content):
    return numpy_helper.from_array(np.asarray(content), name)


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Return a function that writes a file of nodes, ``net.onnx``."""
    monkeypatch.chdir(tmp_path)

    def written(*nodes, arrays=(), inputs=("x",), outputs=("y",), opset=18):
        declared = [value(name) if isinstance(name, str) else name for name in inputs]
        results = [value(name, None) if isinstance(name, str) else name for name in outputs]
        graph = helper.make_graph(list(nodes), "graph", declared, results, list(arrays))
        proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
        (tmp_path / "net.onnx").write_bytes(proto.SerializeToString())
        return "net.onnx"

    return written


def by_onnxruntime(path, output, **feeds):
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run([output], feeds)[0]


RELU = node("Relu", "x", "y")


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (
            [value("x", ("?", "?", "?"))],
            r"axes without a size: 'x\.1 \(\?\)' and 'x\.2 \(\?\)'; give them with "
            r"sizes=\{'x\.1': \.\.\., 'x\.2': \.\.\.\} or --size x\.1=\.\.\. --size x\.2=\.\.\.",
        ),
        (
            [value("x", ("m", None, "width")), value("w", ("m", 3, "width"))],
            r"'x\.1', 'x\.2 \(width\)' and 'w\.2 \(width\)'; give them with sizes=\{'x\.1': \.\.\., 'width': \.\.\.\}",
        ),
    ],
)
def test_all_sizes_that_are_missing_are_named(written, inputs, message):
    path = written(node("Sum", " ".join(x.name for x in inputs), "y"), inputs=inputs)
    with pytest.raises(OnnxError, match=message):
        tg.from_onnx(path)


def test_sizes_by_place_are_for_one_axis(written):
    path = written(RELU, inputs=[value("x", ("?", "?", "?"))])
    assert tg.from_onnx(path, sizes={"x.1": 3, "x.2": 5}).inputs["x"].shape == (3, 5)
    assert tg.from_onnx(path, sizes={"?": 3, "x.2": 5}).inputs["x"].shape == (3, 5)
    assert tg.from_onnx(path, sizes={"x.0": 2, "x.1": 3, "x.2": 5}).batch == 2


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"x.1": 3, "x.3": 5}, r"no input has an open size called 'x\.3'; did you mean 'x\.\d'"),
        ({"x.1": 0, "x.2": 5}, r"the size 'x\.1' must be a whole number of at least 1; found 0"),
        ({"x.1": 2.5, "x.2": 5}, r"the size 'x\.1' must be a whole number of at least 1; found 2\.5"),
    ],
)
def test_sizes_that_are_none_are_refused(written, sizes, message):
    with pytest.raises(OnnxError, match=message):
        tg.from_onnx(written(RELU, inputs=[value("x", ("?", "?", "?"))]), sizes=sizes)


def test_a_size_that_the_file_has_is_not_given_again(written):
    with pytest.raises(OnnxError, match=r"no input has an open size called 'x\.1'; x\.1 is 4 in the file"):
        tg.from_onnx(written(RELU), sizes={"x.1": 4})


def rate_file(written):
    """A file that computes one of two graphs, by the sampling rate that it is given."""
    branches = {
        f"{name}_branch": helper.make_graph([node(operator, "x", name)], name, [], [value(name, None)])
        for name, operator in (("then", "Neg"), ("else", "Abs"))
    }
    nodes = [node("Equal", "sr rate", "is_it"), node("If", "is_it", "y", **branches)]
    return written(*nodes, arrays=[array("rate", np.int64(16000))], inputs=["x", value("sr", (), INT64)])


def test_a_value_decides_a_branch(written):
    path, x = rate_file(written), RNG.normal(size=(3, 4)).astype(np.float32)
    for rate in (16000, 8000):
        model = tg.from_onnx(path, values={"sr": rate})
        assert list(model.inputs) == ["x"]
        np.testing.assert_array_equal(model.predict(x), by_onnxruntime(path, "y", x=x, sr=np.array(rate)))


def test_a_branch_that_an_input_decides_says_how_to_fix_it(written):
    with pytest.raises(
        OnnxError, match=r"depends on data.*; fix the input with values=\{'sr': \.\.\.\} or --value sr="
    ):
        tg.from_onnx(rate_file(written))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"st": 1}, r"it has no input 'st' \(inputs: 'x' and 'sr'\)"),
        ({"sr": 0.5}, r"input 'sr': .*int64.*found 0\.5"),
        ({"sr": [1, 2]}, r"input 'sr' takes a value of shape \(\); found \(2,\)"),
        ({"sr": "fast"}, r"input 'sr': the value"),
        ({"x": np.ones((2, 3))}, r"input 'x' takes a value of shape \(\?, 4\); found \(2, 3\)"),
    ],
)
def test_a_value_that_does_not_fit_is_refused(written, values, message):
    with pytest.raises(OnnxError, match=message):
        tg.from_onnx(rate_file(written), values={"sr": 8000} | values)


def test_one_number_fills_an_input(written):
    path = written(node("Add", "x state", "y"), inputs=["x", value("state", (1, "n"))])
    model = tg.from_onnx(path, sizes={"n": 4}, values={"state": 2})
    np.testing.assert_array_equal(model.predict(np.ones((2, 4))), np.full((2, 4), 3))
    assert not model.parameters


DROPOUT = {
    "arrays": [array("ratio", np.float32(0.5))],
    "inputs": ["x", value("training", (), BOOL)],
}


def test_dropout_whose_mode_is_an_input(written):
    path = written(node("Dropout", "x ratio training", "y"), **DROPOUT)
    with pytest.raises(
        OnnxError, match=r"\(Dropout, opset 18\).*must be known.*values=\{'training': \.\.\.\} or --value"
    ):
        tg.from_onnx(path)
    x = RNG.normal(size=(3, 4)).astype(np.float32)
    np.testing.assert_array_equal(tg.from_onnx(path, values={"training": False}).predict(x), x)
    with pytest.raises(OnnxError, match="written for training"):
        tg.from_onnx(path, values={"training": True})


def test_a_shape_that_is_an_input(written):
    path = written(node("Reshape", "x to", "y"), inputs=["x", value("to", (2,), INT64)])
    with pytest.raises(OnnxError, match=r"do not depend on the data; fix the input with values=\{'to': \.\.\.\}"):
        tg.from_onnx(path)
    assert tg.from_onnx(path, values={"to": [-1, 2]}).predict(np.ones((3, 4))).shape == (6, 2)


@pytest.mark.parametrize("output", ["x", "u", "same"])
def test_an_output_that_hands_an_input_on(written, output):
    nodes = [RELU, node("Identity", "x", "same")]
    path = written(*nodes, inputs=["x", "u"], outputs=["y", "same", "x", "u"])
    model = tg.from_onnx(path, output=output)
    (name,) = model.inputs
    x = RNG.normal(size=(3, 4))
    np.testing.assert_array_equal(model.predict(x), x.astype(np.float32))
    assert model.output != name
    model.to_onnx("again.onnx")
    np.testing.assert_array_equal(tg.from_onnx("again.onnx").predict(x), x.astype(np.float32))


def test_a_file_without_nodes_hands_its_input_on(written):
    assert tg.from_onnx(written(outputs=["x"])).predict(np.ones((2, 4))).shape == (2, 4)


SIZES = [node("Shape", "x", "m", end=1), node("Concat", "m none", "to", axis=0), node("ConstantOfShape", "to", "e")]
EMPTY = {
    "computed from the batch": ([*SIZES, node("Concat", "x e", "y", axis=1)], [array("none", [0])]),
    "an initializer": ([node("Concat", "e x", "y", axis=0)], [array("e", np.zeros((0, 4), np.float32))]),
    "with elements computed on": (
        [*SIZES, node("Neg", "e", "f"), node("Concat", "f x", "y", axis=1)],
        [array("none", [0])],
    ),
    "all of it": ([*SIZES, node("MatMul", "x w", "h"), node("Concat", "h e", "y", axis=1)], [array("none", [0])]),
    "a result of nothing": ([*SIZES, node("MatMul", "e w", "h"), node("Add", "x h", "y")], [array("none", [0])]),
}


@pytest.mark.parametrize("nodes", EMPTY.values(), ids=EMPTY)
def test_an_empty_part_of_a_batch(written, nodes):
    nodes, arrays = nodes
    width = 4 if any(made.op_type == "MatMul" and made.input[0] == "x" for made in nodes) else 0
    path = written(*nodes, arrays=[*arrays, array("w", np.ones((width, 4), np.float32))])
    x = RNG.normal(size=(3, 4)).astype(np.float32)
    for compiled in (False, True):
        np.testing.assert_allclose(tg.from_onnx(path).predict(x, compiled=compiled), by_onnxruntime(path, "y", x=x))


def test_an_empty_array_for_a_fixed_batch(written):
    arrays = [array("e", np.zeros((2, 0), np.float32))]
    path = written(node("Concat", "x e", "y", axis=1), arrays=arrays, inputs=[value("x", (2, 4))])
    assert tg.from_onnx(path).predict(np.ones((2, 4))).shape == (2, 4)


def test_an_empty_array_that_is_computed_on(written):
    arrays = [array("e", np.zeros((2, 0), np.float32)), array("w", np.ones((0, 4), np.float32))]
    nodes = [node("MatMul", "e w", "h"), node("Add", "x h", "y")]
    model = tg.from_onnx(written(*nodes, arrays=arrays, inputs=[value("x", (2, 4))]))
    np.testing.assert_array_equal(model.predict(np.ones((2, 4))), np.ones((2, 4)))


def test_thresholded_relu_and_nan(written):
    """ONNX makes 0 of NaN; ``thresholded_relu`` lets it through. Each file says what it means."""
    x = np.array([[np.nan, 0.5, 2.0, np.inf]], np.float32)
    path = written(node("ThresholdedRelu", "x", "y", alpha=1.0))
    np.testing.assert_array_equal(tg.from_onnx(path).predict(x), by_onnxruntime(path, "y", x=x))
    own = tg.Model({"x": [4]}, {}, "y = thresholded_relu(x)", "y")
    own.to_onnx("own.onnx")
    np.testing.assert_array_equal(by_onnxruntime("own.onnx", "y", x=x), own.predict(x))
    np.testing.assert_array_equal(own.predict(x), [[np.nan, 0, 2, np.inf]])


def test_weights_of_two_dtypes_say_which_reads_them(written):
    nodes = [node("MatMul", "x w", "h"), node("Cast", "h", "h64", to=11), node("Add", "h64 b", "y")]
    arrays = [array("w", RNG.normal(size=(4, 3)).astype("f")), array("b", np.arange(3.0))]
    path = written(*nodes, arrays=arrays, outputs=[value("y", None, TensorProto.DOUBLE)])
    with pytest.raises(
        OnnxError, match=r"hold 'float32' and 'float64'.*read it with dtype='float64', or --dtype float64"
    ):
        tg.from_onnx(path)
    x = RNG.normal(size=(2, 4)).astype(np.float32)
    found = tg.from_onnx(path, dtype="float64").predict(x)
    np.testing.assert_allclose(found, by_onnxruntime(path, "y", x=x), rtol=1e-5)


@pytest.mark.parametrize(
    ("made", "inputs", "message"),
    [
        (node("RotaryEmbedding", "x c c", "y", num_heads=2), [value("x", ("m", 8))], "does not compute 'y'"),
        (
            node("CausalConvWithState", "x c", "y state"),
            [value("x", ("m", 4))],
            "Concat in its definition: axis 2 is out",
        ),
    ],
)
def test_what_a_definition_does_not_compute_is_refused(written, made, inputs, message):
    if not onnx.defs.has(made.op_type):
        pytest.skip("this release of onnx does not have the operator")
    opset = onnx.defs.get_schema(made.op_type).since_version
    for output in made.output:
        arrays = [array("c", np.ones((5, 4), np.float32))]
        path = written(made, arrays=arrays, inputs=inputs, outputs=[output], opset=opset)
        with pytest.raises(OnnxError, match=rf"node 'y' \({made.op_type}, opset {opset}\).*{message}"):
            tg.from_onnx(path)


def test_a_model_without_a_name_is_exported(written):
    tg.Model({"x": [4]}, {}, "y = relu(x)", "y", name="").to_onnx("nameless.onnx")
    onnx.checker.check_model("nameless.onnx")
    assert tg.from_onnx("nameless.onnx").name == "nameless"


COMMANDS = {
    "check": [],
    "draw": ["--format", "text"],
    "equations": [],
    "export": ["-o", "again.onnx"],
    "import": [],
    "notes": ["-o", "net.md"],
    "plan": [],
    "predict": ["--data", "data.npz"],
    "train": ["--data", "data.npz", "--epochs", "1", "--out", "run"],
}


def run(*args):
    outcome = CliRunner().invoke(main, list(args), standalone_mode=False)
    if outcome.exception:
        raise outcome.exception
    return outcome.output


@pytest.fixture
def open_file(written):
    """A file that needs every option: two outputs, an open size, an input to fix, half precision, no loss."""
    nodes = [
        node("Cast", "x", "half", to=TensorProto.FLOAT16),
        node("MatMul", "half w", "h"),
        node("Reshape", "h to", "y"),
        node("Relu", "y", "unused"),
    ]
    inputs = [value("x", ("m", "width")), value("to", (2,), INT64)]
    arrays = [array("w", RNG.normal(size=(4, 3)).astype(np.float16))]
    np.savez("data.npz", x=RNG.normal(size=(8, 4)), y=RNG.normal(size=(8, 3)))
    return written(*nodes, arrays=arrays, inputs=inputs, outputs=["unused", "y"])


GIVEN = ["--output", "y", "--size", "x.1=4", "--value", "to=[-1, 3]", "--dtype", "float32"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_opens_what_leaves_something_open(open_file, command):
    loss = "--loss-name" if command == "export" else "--loss"
    printed = run(command, open_file, *GIVEN, loss, "mse", *COMMANDS[command])
    if command == "equations":
        assert "unused" not in printed
    if command == "export":
        again = tg.from_onnx("again.onnx")
        assert (again.output, again.loss) == ("y", "cost")
    with pytest.raises(OnnxError, match="axes without a size"):
        run(command, open_file, *COMMANDS[command], *(["--force"] if command in ("export", "import") else []))


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - {"import"}))
@pytest.mark.parametrize("option", [["--output", "y"], ["--size", "n=3"], ["--value", "n=3"], ["--dtype", "float32"]])
def test_a_model_file_leaves_nothing_open(written, command, option):
    np.savez("data.npz", x=np.zeros((8, 2)), y=np.zeros((8, 1)))
    with pytest.raises(tg.DataError, match=rf"{option[0]} is for \.onnx files"):
        run(command, "xor", *option, *COMMANDS[command])


@pytest.mark.parametrize("text", ["to", "to=", "to=nothing", 'to="text"', "=3", "to=" + "[" * 100000])
def test_a_value_that_is_none_is_refused(open_file, text):
    with pytest.raises(Exception, match="a value is given as NAME=VALUE, a number, true, false or a list"):
        run("equations", open_file, "--value", text)
