"""What is exported, onnxruntime runs to the same numbers, and reading it again gives the same model."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

import tinygraph as tg
from tinygraph.errors import OnnxError
from tinygraph.graph.apply import composites_as_nodes
from tinygraph.interop.onnx.export import EXPORTS
from tinygraph.interop.onnx.export.save import proto_of_graph
from tinygraph.model import bundled_models

# Operations of gradients and of training, and those that ONNX cannot say.
WITHOUT_OPERATOR = {
    *(f"{name}{axes}d" for name in ("avg_unpool", "max_take", "max_unpool") for axes in (1, 2, 3)),
    *(f"conv{axes}d_kernel_gradient" for axes in (1, 2, 3)),
    *(
        "atan2",
        "dropout_mask",
        "first_extreme",
        "normal_cdf",
        "normal_pdf",
        "put",
        "running_mean",
        "running_variance",
        "scatter_add",
        "moving_sum",
    ),
}
# Samples that an operator of ONNX has no words for, by their numbers.
REFUSED = {
    ("batch_norm", 1): "in training",
    ("batch_norm", 3): "in training",
    ("dropout", 0): "in training",
    ("dropout", 1): "in training",
    ("einsum", 5): "an ellipsis for different numbers of axes",
    ("getitem", 2): "several arrays of positions",
    ("pad", 6): "mirrors the ends too",
    ("scatter_add_nd", 2): "batch_dims",
    ("space_to_depth", 1): "only the mode 'DCR'",
}
# Samples that ONNX allows and onnxruntime does not compute.
NOT_IN_ONNXRUNTIME = {("local_response_norm", 0): "four axes", ("local_response_norm", 1): "an odd size"}


def computed(proto, feeds):
    """The outputs that onnxruntime computes."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    known = {value.name for value in session.get_inputs()}
    return session.run(None, {name: array for name, array in feeds.items() if name in known})


def values_for(model, names, count, rng):
    """Random values for inputs, whole numbers where they are class numbers."""
    feeds = {}
    for name in names:
        declared = model.inputs[name]
        shape = declared.batch_shape(count)
        drawn = rng.random(shape) if declared.dtype.kind == "f" else rng.integers(0, 9, shape)
        feeds[name] = drawn.astype(declared.dtype)
    return feeds


@pytest.mark.parametrize("loss", [False, True], ids=["output", "loss"])
@pytest.mark.parametrize("name", bundled_models())
def test_every_model(name, loss, tmp_path):
    model, rng, path = tg.load_model(name, seed=1), np.random.default_rng(0), tmp_path / "model.onnx"
    for state in model.state.values():
        if state.dtype.kind == "f":
            state.value = rng.uniform(0.5, 1.5, state.shape)
    model.to_onnx(path, loss=loss)
    again = tg.from_onnx(path)
    assert (again.output, again.loss) == (model.output, model.loss if loss else None)
    for count in (1, 5):
        feeds = values_for(model, model.inputs if loss else model.features, count, rng)
        ours, theirs, reread = (
            [x.value for x in (recording.output, recording.loss) if x is not None][: 2 if loss else 1]
            for recording in (model.trace(feeds), model.trace(feeds), again.trace(feeds))
        )
        theirs = computed(onnx.load(path), feeds)
        for own, other, read in zip(ours, theirs, reread, strict=True):
            np.testing.assert_allclose(other, own, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(read, own, rtol=1e-6, atol=1e-7)


def test_reading_again_gives_the_same_page(tmp_path):
    model = tg.load_model("notes_cnn")
    model.to_onnx(tmp_path / "model.onnx", loss=True)
    again = tg.from_onnx(tmp_path / "model.onnx")
    assert list(again.parameters) == list(model.parameters)
    # The loss is written in the operators that ONNX has; all before it is the page as it was.
    assert [e.text for e in again.record(2).equations][:9] == [e.text for e in model.record(2).equations][:9]
    assert (again.name, again.title) == (model.name, model.title)


def test_imported_architectures_can_be_exported(tmp_path):
    equations = "a = batch_norm(x, g, b, m, v)\ny = softmax(a @ w.T)"
    one = {"init": "ones"}
    model = tg.Model(
        {"x": [3]},
        {"g": {"shape": [3], **one}, "b": {"shape": [3], **one}, "w": {"shape": [2, 3], "init": "he_normal"}},
        equations,
        "y",
        state={"m": {"shape": [3], **one}, "v": {"shape": [3], **one}},
    )
    model.to_onnx(tmp_path / "a.onnx")
    tg.from_onnx(tmp_path / "a.onnx").to_onnx(tmp_path / "b.onnx")
    feeds = {"x": np.float32([[1, 2, 3]])}
    one, other = (computed(onnx.load(tmp_path / name), feeds)[0] for name in ("a.onnx", "b.onnx"))
    np.testing.assert_array_equal(one, other)
    assert [node.op_type for node in onnx.load(tmp_path / "a.onnx").graph.node] == [
        "BatchNormalization",
        "Transpose",
        "MatMul",
        "Softmax",
    ]


@pytest.mark.parametrize("name", [name for name in tg.operations() if name not in WITHOUT_OPERATOR])
def test_every_operation(name):
    function = tg.operation(name)
    if not function.__module__.startswith("tinygraph.ops."):
        pytest.skip("an operation of another test")
    for number, sample in enumerate(function.op.samples(np.random.default_rng(0))):
        arrays = [x.astype(np.float32) if x.dtype.kind == "f" else x for x in sample.inputs]
        attributes = {k: "float32" if v == "float64" else v for k, v in sample.attributes.items()}
        leaves = [tg.input(f"x{i}", x.shape, x.dtype) for i, x in enumerate(arrays)]
        with composites_as_nodes(EXPORTS):
            y = function(leaves, **attributes) if function.op.variadic else function(*leaves, **attributes)
        if (name, number) in REFUSED:
            with pytest.raises(OnnxError, match=REFUSED[name, number]):
                proto_of_graph(y)
            continue
        proto = proto_of_graph(y)
        if (name, number) in NOT_IN_ONNXRUNTIME:
            continue
        feeds = {leaf.name: x for leaf, x in zip(leaves, arrays, strict=True)}
        with np.errstate(all="ignore"):
            expected = tg.run(y, feeds)[0]
        (found,) = computed(proto, feeds)
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_what_has_no_operator_says_so():
    # A composite without one is written in its parts.
    own = {name: f for name, f in tg.operations().items() if f.__module__.startswith("tinygraph.ops.")}
    known = {name for name, f in own.items() if name in EXPORTS or not f.op.composite}
    assert known - set(EXPORTS) == WITHOUT_OPERATOR & known
    x = tg.input("x", (3, 4))
    with pytest.raises(
        OnnxError, match=r"first_extreme .* cannot be written as ONNX: ONNX has no operator for 'first_extreme'"
    ):
        proto_of_graph(tg.operation("first_extreme")(x))


def test_mixed_dtypes_are_cast_as_numpy_does():
    x, n = tg.input("x", (3,)), tg.input("n", (3,), "int32")
    y = x * (x > 0) + n / 2
    feeds = {"x": np.float32([-1, 2, 3]), "n": np.int32([1, 2, 4])}
    (found,) = computed(proto_of_graph(y), feeds)
    np.testing.assert_allclose(found, tg.run(y, feeds)[0])


def test_sizes_follow_the_batch(tmp_path):
    model = tg.Model(
        {"x": [3]},
        {"w": {"shape": [1, 3], "init": "ones"}},
        "y = x + broadcast_to(w, (x.shape[0], 3))\nz = reshape(y, (3 * x.shape[0],))\no = reshape(z, (x.shape[0], 3, 1))",
        "o",
    )
    model.to_onnx(tmp_path / "m.onnx")
    for count in (1, 4):
        x = np.ones((count, 3), np.float32)
        assert computed(onnx.load(tmp_path / "m.onnx"), {"x": x})[0].shape == (count, 3, 1)
    np.testing.assert_array_equal(tg.from_onnx(tmp_path / "m.onnx").predict(x), model.predict(x))


def test_a_graph_is_written_in_its_own_sizes(tmp_path):
    x = tg.input("x", (2, 3))
    W = tg.parameter(np.ones((3, 4), np.float32), name="W")
    tg.to_onnx(tg.Graph([tg.relu(x @ W), (x * x).sum()]), tmp_path / "graph.onnx")
    first, second = computed(onnx.load(tmp_path / "graph.onnx"), {"x": np.ones((2, 3), np.float32)})
    assert (first.shape, float(second)) == ((2, 4), 6.0)


def test_file_of_a_model_says_what_it_is(tmp_path):
    tg.load_model("xor").to_onnx(tmp_path / "xor.onnx", loss=True)
    proto = onnx.load(tmp_path / "xor.onnx")
    assert {entry.key: entry.value for entry in proto.metadata_props} == {
        "tinygraph.name": "xor",
        "tinygraph.title": "Exclusive or, with four hidden units",
        "tinygraph.output": "a",
        "tinygraph.loss": "cost",
    }
    assert [dim.dim_param or dim.dim_value for dim in proto.graph.input[0].type.tensor_type.shape.dim] == ["m", 2]
    assert {array.name for array in proto.graph.initializer} >= {"W1", "B1", "W2", "B2"}


def test_unused_state_is_left_out(tmp_path):
    tg.load_model("notes_cnn_norm").to_onnx(tmp_path / "m.onnx")
    assert "chance" not in {array.name for array in onnx.load(tmp_path / "m.onnx").graph.initializer}


def test_loss_of_a_model_without_one(tmp_path):
    model = tg.Model({"x": [1]}, {}, "y = relu(x)", "y")
    with pytest.raises(OnnxError, match="declares no loss"):
        model.to_onnx(tmp_path / "m.onnx", loss=True)


def test_where_nothing_can_be_written(tmp_path):
    model = tg.load_model("xor")
    with pytest.raises(OnnxError, match="there is no folder"):
        model.to_onnx(tmp_path / "none" / "m.onnx")
    with pytest.raises(OnnxError, match="is a folder"):
        model.to_onnx(tmp_path)
    assert not list(tmp_path.iterdir())


def test_state_stays_state(tmp_path):
    model = tg.Model(
        {"x": [3]},
        {"w": {"shape": [3], "init": "ones"}},
        "y = x * w + table",
        "y",
        state={"table": {"shape": [3], "init": "normal"}},
    )
    model.to_onnx(tmp_path / "m.onnx")
    again = tg.from_onnx(tmp_path / "m.onnx")
    assert (list(again.parameters), len(again.state)) == (["w"], 1)
    np.testing.assert_array_equal(again.predict(np.ones((2, 3))), model.predict(np.ones((2, 3))))


@pytest.mark.parametrize(
    "picked", ["x[::-1]", "x[::-2]", "x[:5:-1]", "x[:-5:-1]", "x[5::-1]", "x[::-1, ::-1]", "x[1:-1]"]
)
def test_slices_of_samples_for_other_numbers_of_samples(picked, tmp_path):
    model = tg.Model({"x": [4]}, {}, f"y = {picked} * 2", "y")
    model.to_onnx(tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    for count in (1, 7, 59, 61, 300):
        x = np.random.default_rng(count).normal(size=(count, 4)).astype(np.float32)
        np.testing.assert_array_equal(session.run(None, {"x": x})[0], model.predict(x, batch_size=count))


def test_a_model_that_does_not_take_single_samples(tmp_path):
    model = tg.Model({"x": [4]}, {}, "y = top_k(x, 2, axis=0)", "y")
    model.to_onnx(tmp_path / "m.onnx")
    x = np.random.default_rng(0).normal(size=(7, 4)).astype(np.float32)
    np.testing.assert_array_equal(computed(onnx.load(tmp_path / "m.onnx"), {"x": x})[0], model.predict(x))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_not_written(value, tmp_path):
    model = tg.load_model("xor")
    model.parameters["B1"].value = np.full(4, value)
    with pytest.raises(OnnxError, match="'B1' holds NaN or infinity"):
        model.to_onnx(tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())
