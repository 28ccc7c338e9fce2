"""Files that are damaged or hostile: a clear error each, nothing is executed, and nothing outside the folder is read."""

import os
import sys

import pytest

onnx = pytest.importorskip("onnx")

import numpy as np
from onnx import TensorProto, external_data_helper, helper, numpy_helper

import tinygraph as tg
from tinygraph.errors import OnnxError
from tinygraph.interop.onnx import tensors as package_module


def value(name, shape=("m", 2), kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def proto(nodes, inputs=("x",), outputs=("y",), arrays=(), opset=17, **more):
    """A model of nodes; inputs and outputs are matrices unless they are declared."""
    declared = [[value(v) if isinstance(v, str) else v for v in values] for values in (inputs, outputs)]
    graph = helper.make_graph(list(nodes), "graph", *declared, list(arrays))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], **more)


def node(operator, inputs="x", outputs="y", **attributes):
    return helper.make_node(operator, inputs.split(), outputs.split(), **attributes)


@pytest.fixture
def opened(tmp_path):
    """Return a function that writes a model to a file and opens it."""

    def opened(model, **options):
        path = tmp_path / "model.onnx"
        path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
        return tg.from_onnx(path, **options)

    return opened


def whole(*numbers, name="n"):
    return numpy_helper.from_array(np.asarray(numbers, np.int64), name)


RELU = node("Relu")
HOSTILE = {
    "empty file": (b"", "the file is empty"),
    "no protocol buffer": (b"\x89PNG\r\n" * 50, "damaged, or not an ONNX file"),
    "truncated": (
        proto([RELU] * 1).SerializeToString()[:-9],
        "damaged, or not an ONNX file|defined by no node|no output",
    ),
    "text": (b"import os; os.system('true')", "damaged, or not an ONNX file"),
    "no graph": (onnx.ModelProto(ir_version=8).SerializeToString(), "it holds no graph"),
    "no operator set": (
        helper.make_model(helper.make_graph([RELU], "g", [value("x")], [value("y")]), opset_imports=[]),
        "it must say which set of ONNX's operators",
    ),
    "another domain": (
        helper.make_model(
            helper.make_graph([node("Binarizer")], "g", [value("x")], [value("y")]),
            opset_imports=[helper.make_opsetid("ai.onnx.ml", 1)],
        ),
        "only operators of 'ai.onnx.ml'",
    ),
    "from the future": (proto([RELU], opset=1000), "operator set 1000; supported are 1 to"),
    "a cycle": (
        proto([node("Add", "x b", "a"), node("Relu", "a", "b"), node("Relu", "b", "y")]),
        "'b', which only a later node defines: a cycle",
    ),
    "itself": (proto([node("Add", "x y")]), "a cycle"),
    "an unknown value": (proto([node("Add", "x q")]), "node '?0'? \\(Add\\) reads 'q', which nothing defines"),
    "a producer that is no text": (
        proto([RELU], producer_name="caf").SerializeToString().replace(b"caf", b"ca\xff"),
        "damaged: its metadata are not text",
    ),
    "a name twice": (proto([RELU, RELU]), "defines 'y', which is defined already"),
    "an input twice": (proto([RELU], inputs=("x", "x")), "input 'x' is defined twice"),
    "an array twice": (proto([node("Add", "x n")], arrays=[whole(1), whole(2)]), "initializer 'n' is defined twice"),
    "no output": (proto([RELU], outputs=()), "no output"),
    "an output of nothing": (proto([RELU], outputs=("z",)), "the output 'z' is defined by no node"),
    "an unknown operator": (
        proto([node("Relo")]),
        "node 'y' \\(Relo, opset 17\\): there is no operation for it; did you mean 'Relu'",
    ),
    "an operator of another domain": (
        proto([helper.make_node("Relu", ["x"], ["y"], domain="com.evil")]),
        "node 'y' \\(com.evil.Relu, opset 17\\): there is no operation for it",
    ),
    "an operator before its time": (proto([node("Gelu")], opset=13), "its operator set does not have this operator"),
    "an operator after its time": (proto([node("Upsample", "x n")], arrays=[whole(1, 1)], opset=17), "has withdrawn"),
    "an unknown attribute": (proto([node("Softmax", axes=1)]), "it has no attribute 'axes'; here it is called 'axis'"),
    "an attribute of the wrong type": (
        proto([node("Softmax", axis="one")]),
        "its attribute 'axis' is of the wrong type",
    ),
    "too many inputs": (proto([node("Relu", "x x x")]), "it takes 1 to 1 inputs; found 3"),
    "an axis out of range": (proto([node("Softmax", axis=7)]), "axis 7 is out of range for shape"),
    "shapes that do not fit": (
        proto([node("Reshape", "x n")], arrays=[whole(7, 3)]),
        "node 'y' \\(Reshape, opset 17\\): reshape: .*21\\)|do not fill shape",
    ),
    "an absurd shape": (
        proto([node("ConstantOfShape", "n", "c"), node("Add", "x c")], arrays=[whole(10**9, 10**9)]),
        "its result would have the shape \\(1000000000, 1000000000\\)",
    ),
    "an absurd range": (
        proto(
            [node("Range", "n k l", "c"), node("Cast", "c", "d", to=1), node("Add", "x d")],
            arrays=[numpy_helper.from_array(np.int64(v), name) for v, name in ((0, "n"), (2**40, "k"), (1, "l"))],
        ),
        "its result would have the shape",
    ),
    "an absurd product": (
        proto(
            [
                node("ConstantOfShape", "n", "a"),
                node("ConstantOfShape", "k", "b"),
                node("MatMul", "a b", "c"),
                node("Add", "x c"),
            ],
            arrays=[whole(10**6, 1), whole(1, 10**6, name="k")],
        ),
        "node 'c' \\(MatMul, opset 17\\): opening this file would take more than 33,.* steps of computation",
    ),
    "absurdly many parts": (
        proto([helper.make_node("Split", ["x"], ["y", "z"], axis=1, num_outputs=2**40)], opset=18),
        "it splits into 1,099,511,627,776 parts and has 2 outputs",
    ),
    "absurdly many classes": (
        proto(
            [node("OneHot", "i n v", "y")],
            inputs=[value("i", ("m",), TensorProto.INT64)],
            arrays=[whole(2**40), whole(0, 1, name="v")],
        ),
        "1,099,511,627,776 classes; at most 67,108,864 are possible",
    ),
    "absurd images": (
        proto([node("AveragePool", kernel_shape=[2, 2], pads=[1] * 4)], inputs=[value("x", ("m", 1, 2**31, 2**31))]),
        "2,147,483,648 x 2,147,483,648 pixels in an image",
    ),
    "absurd windows": (
        proto([node("AveragePool", kernel_shape=[2**20], pads=[1] * 2)], inputs=[value("x", ("m", 1, 2**22))]),
        "windows and pixels in each",
    ),
    "absurd padding": (
        proto([node("MaxPool", kernel_shape=[2], pads=[2**40, 0])], inputs=[value("x", ("m", 1, 4))]),
        "pixels of padding",
    ),
    "a huge result of a small image": (
        proto(
            [node("ConvTranspose", "x w", "y", strides=[2**40])],
            inputs=[value("x", ("m", 1, 4))],
            arrays=[numpy_helper.from_array(np.ones((1, 1, 2), np.float32), "w")],
        ),
        "pixels in its result",
    ),
    "an operator that is known, but not here": (
        proto([node("MaxUnpool", "x n")], arrays=[whole(1)]),
        "\\(MaxUnpool, opset 17\\): there is no operation for it \\(docs",
    ),
    "many large arrays": (
        proto(
            [
                *(node("ConstantOfShape", "n", f"a{i}") for i in range(4)),
                node("Sum", "a0 a1 a2 a3", "s"),
                node("Add", "x s"),
            ],
            arrays=[whole(2**27)],
        ),
        "node 's' \\(Sum, opset 17\\): opening this file would take more than 33,.* steps of computation",
    ),
    "a shape of the data": (
        proto([node("Cast", "x", "c", to=7), node("Reshape", "x c")]),
        "its shape must be a list of whole numbers that do not depend on the data",
    ),
    "an axis without a size": (
        proto([RELU], inputs=[value("x", ("m", "width"))]),
        r"axes without a size: 'x\.1 \(width\)'; give them with sizes=\{'width': ...\} or --size width=",
    ),
    "a sequence": (
        proto([node("Identity")], inputs=[helper.make_tensor_sequence_value_info("x", 1, [2])]),
        "'x' is not a tensor",
    ),
    "text as data": (
        proto([node("Identity")], inputs=[value("x", ("m",), TensorProto.STRING)]),
        "no element type STRING",
    ),
    "an output that needs no input": (
        proto([node("ConstantOfShape", "n", "y")], arrays=[whole(2)]),
        "does not depend on any input",
    ),
    "a branch": (
        proto(
            [
                helper.make_node(
                    "If",
                    ["x"],
                    ["y"],
                    then_branch=helper.make_graph([RELU], "t", [], [value("y")]),
                    else_branch=helper.make_graph([RELU], "e", [], [value("y")]),
                )
            ]
        ),
        "node 'y' \\(If, opset 17\\): which branch is computed depends on data",
    ),
    "functions of its own": (
        proto(
            [helper.make_node("Relu", ["x"], ["y"])],
            functions=[helper.make_function("own", "Relu", ["x"], ["y"], [RELU], [helper.make_opsetid("", 17)])],
        ),
        "it defines operators of its own",
    ),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_file_is_a_clear_error(opened, what):
    model, message = HOSTILE[what]
    with pytest.raises(OnnxError, match=message) as caught:
        opened(model)
    assert str(caught.value).count("model.onnx") == 1


def test_missing_file(tmp_path):
    with pytest.raises(OnnxError, match=r"^[^:]*none\.onnx: there is no such file$"):
        tg.from_onnx(tmp_path / "none.onnx")


def test_folder(tmp_path):
    with pytest.raises(OnnxError, match=r"^[^:]*: it is a folder$"):
        tg.from_onnx(tmp_path)


def with_array(array):
    return proto([node("Add", "x w")], arrays=[array])


def test_declared_size_without_data(opened):
    array = TensorProto(name="w", data_type=1, dims=[2**20, 2**20])
    with pytest.raises(OnnxError, match=r"initializer w declares 1,099,511,627,776 elements"):
        opened(with_array(array))


def test_negative_size(opened):
    with pytest.raises(OnnxError, match=r"declares the shape \(-2, 2\)"):
        opened(with_array(TensorProto(name="w", data_type=1, dims=[-2, 2])))


@pytest.mark.parametrize("length", [0, 4, 12, 4096])
def test_data_of_another_length(opened, length):
    with pytest.raises(OnnxError, match="needs 8 bytes; found"):
        opened(with_array(TensorProto(name="w", data_type=1, dims=[2], raw_data=b"\0" * length)))


def test_numbers_of_another_length(opened):
    with pytest.raises(OnnxError, match="cannot be read"):
        opened(with_array(TensorProto(name="w", data_type=1, dims=[2], float_data=[1.0])))


def external(location, **entries):
    array = TensorProto(name="w", data_type=1, dims=[2], data_location=TensorProto.EXTERNAL)
    for key, text in {"location": location, **entries}.items():
        array.external_data.add(key=key, value=str(text))
    return array


def test_external_data_beside_the_file(opened, tmp_path):
    (tmp_path / "w.bin").write_bytes(b"\0" * 16 + np.float32([1, 2]).tobytes())
    model = opened(with_array(external("w.bin", offset=16, length=8)))
    np.testing.assert_array_equal(model.predict(np.float32([[1, 1]])), [[2, 3]])


def test_external_data_in_a_folder_below(opened, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "w.bin").write_bytes(np.float32([1, 2]).tobytes())
    assert opened(with_array(external("data/w.bin"))).parameters["w"].value.tolist() == [1, 2]


def test_onnx_s_own_external_data(tmp_path):
    weight = numpy_helper.from_array(np.arange(6, dtype=np.float32).reshape(2, 3), "w")
    model = proto([node("MatMul", "x w")], outputs=[value("y", ("m", 3))], arrays=[weight])
    external_data_helper.convert_model_to_external_data(model, location="weights.bin", size_threshold=0)
    onnx.save(model, tmp_path / "model.onnx")
    np.testing.assert_array_equal(tg.from_onnx(tmp_path / "model.onnx").predict(np.float32([[1, 1]])), [[3, 5, 7]])


@pytest.mark.parametrize(
    "location",
    ["../secret.bin", "/etc/passwd", "a/../../secret.bin", "", ".", "..", "C:\\secret", "..\\secret.bin", "a\0b"],
)
def test_external_data_elsewhere_is_not_read(opened, tmp_path, location):
    (tmp_path.parent / "secret.bin").write_bytes(b"\0" * 8)
    with pytest.raises(OnnxError, match="must be in the model's own folder"):
        opened(with_array(external(location)))


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
@pytest.mark.parametrize("through", ["file", "folder"])
def test_links_are_not_followed(opened, tmp_path, through):
    secret = tmp_path.parent / "outside"
    secret.mkdir(exist_ok=True)
    (secret / "w.bin").write_bytes(b"\0" * 8)
    if through == "file":
        (tmp_path / "w.bin").symlink_to(secret / "w.bin")
    else:
        (tmp_path / "data").symlink_to(secret)
    with pytest.raises(OnnxError, match="link"):
        opened(with_array(external("w.bin" if through == "file" else "data/w.bin")))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
def test_a_pipe_is_no_file(opened, tmp_path):
    os.mkfifo(tmp_path / "w.bin")
    with pytest.raises(OnnxError, match="must be in a file"):
        opened(with_array(external("w.bin")))


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"offset": 4}, "ends before its data"),
        ({"offset": -4}, "not a whole number"),
        ({"offset": 10**30}, "not a whole number"),
        ({"length": 4}, "needs 8 bytes; its external data declare 4"),
        ({"length": "many"}, "not a whole number"),
    ],
)
def test_external_data_that_do_not_fit(opened, tmp_path, entries, message):
    (tmp_path / "w.bin").write_bytes(b"\0" * 8)
    with pytest.raises(OnnxError, match=message):
        opened(with_array(external("w.bin", **entries)))


def test_missing_external_data(opened):
    with pytest.raises(OnnxError, match=r"'w.bin' cannot be read: No such file"):
        opened(with_array(external("w.bin")))


def test_deep_chain_does_not_recurse(opened):
    count = 5_000
    nodes = [node("Relu", f"a{i - 1}" if i else "x", f"a{i}" if i < count - 1 else "y") for i in range(count)]
    model = opened(proto(nodes))
    assert len(model.record(2).equations) == count


def test_nothing_of_the_file_is_executed(opened):
    model = opened(
        proto([node("Relu", "x", "__import__('os').system('true')")], outputs=["__import__('os').system('true')"])
    )
    assert model.output == "import_os_system_true"


def test_random_damage_never_is_anything_but_an_error_of_the_family(opened):
    weights = numpy_helper.from_array(np.ones((2, 2), np.float32), "w")
    data = bytearray(
        proto([node("MatMul", "x w", "z"), node("Softmax", "z", axis=1)], arrays=[weights]).SerializeToString()
    )
    rng = np.random.default_rng(0)
    outcomes = set()
    for _ in range(300):
        damaged = bytearray(data)
        for place in rng.integers(len(data), size=rng.integers(1, 4)):
            damaged[place] = rng.integers(256)
        try:
            opened(bytes(damaged))
            outcomes.add("opened")
        except tg.TinygraphError:
            outcomes.add("refused")
    assert outcomes == {"opened", "refused"}


def test_missing_package_names_the_command(monkeypatch, tmp_path):
    imported = package_module.importlib.import_module

    def without(name):
        if name.startswith("onnx"):
            raise ModuleNotFoundError(f"No module named {name!r}")
        return imported(name)

    monkeypatch.setattr(package_module.importlib, "import_module", without)
    (tmp_path / "model.onnx").write_bytes(b"x")
    with pytest.raises(OnnxError, match="pip install onnx"):
        tg.from_onnx(tmp_path / "model.onnx")
    with pytest.raises(OnnxError, match="pip install onnx"):
        tg.load_model("xor").to_onnx(tmp_path / "xor.onnx")


def test_the_nearest_loss_is_offered(tmp_path):
    tg.load_model("xor").to_onnx(tmp_path / "xor.onnx")
    with pytest.raises(OnnxError, match=r"did you mean 'cross_entropy'\?$"):
        tg.from_onnx(tmp_path / "xor.onnx", loss="cros_entropy")
