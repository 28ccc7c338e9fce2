"""Sizes that follow the batch, in proportion or otherwise, are right for every number of samples or refused."""

import warnings

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper

import tinygraph as tg
from tinygraph.errors import OnnxError
from tinygraph.interop.onnx.batch import fit

BATCHES = (1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 61, 64, 101)


def node(operator, inputs, outputs, **attributes):
    return helper.make_node(operator, inputs.split(), outputs.split(), **attributes)


def whole(name, *numbers):
    return numpy_helper.from_array(np.asarray(numbers, np.int64), name)


NUMBERS = [
    whole(name, number)
    for name, number in (("0", 0), ("1", 1), ("2", 2), ("-1", -1), ("5", 5), ("8", 8), ("far", 2**62))
]
SIZE = node("Shape", "x", "m", start=0, end=1)
HALF = [SIZE, node("Div", "m 2", "half")]


def branch(name, *nodes):
    return helper.make_graph(list(nodes), name, [], [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)])


SCALARS = [
    numpy_helper.from_array(np.array(number, np.int64), name)
    for name, number in (("zero", 0), ("one", 1), ("four", 4), ("many", 500), ("odd", 77777))
]


@pytest.fixture
def opened(tmp_path):
    """Return a function that opens a file of nodes from ``x`` of shape (m, 4) to ``y``, which is ``path``."""

    def opened(*nodes, arrays=(), **options):
        sides = [helper.make_tensor_value_info("x", 1, ["m", 4])], [helper.make_tensor_value_info("y", 1, None)]
        graph = helper.make_graph(list(nodes), "graph", *sides, [*NUMBERS, *SCALARS, *arrays])
        opened.path = tmp_path / "net.onnx"
        proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
        opened.path.write_bytes(proto.SerializeToString())
        return tg.from_onnx(opened.path, **options)

    return opened


def assert_as_onnxruntime(model, path, batches=BATCHES):
    """The model computes what onnxruntime does for every number of samples that onnxruntime takes."""
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    computed = 0
    for m in batches:
        x = np.random.default_rng(m).normal(size=(m, 4)).astype(np.float32)
        try:
            (expected,) = session.run(None, {session.get_inputs()[0].name: x})
        except Exception:  # onnxruntime's own classes of errors are not public.
            continue
        found = model.predict(x, batch_size=m, compiled=False)
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6, err_msg=f"{m} samples")
        computed += 1
    assert computed >= min(len(batches), 5)


def decided(compare, number):
    """An ``If`` on the number of samples."""
    branches = {"then_branch": branch("a", node("Neg", "x", "a")), "else_branch": branch("b", node("Abs", "x", "b"))}
    return [
        SIZE,
        node("Squeeze", "m 0", "count"),
        node(compare, f"count {number}", "whether"),
        node("If", "whether", "y", **branches),
    ]


FOLLOWED = {
    "two parts": [node("Split", "x", "y rest", axis=0, num_outputs=2)],
    "second of two parts": [node("Split", "x", "rest y", axis=0, num_outputs=2)],
    "middle of three parts": [node("Split", "x", "a y b", axis=0, num_outputs=3)],
    "last of seven parts": [node("Split", "x", "a b c d e f y", axis=0, num_outputs=7)],
    "first half": [*HALF, node("Slice", "x 0 half 0", "y")],
    "second half": [*HALF, node("Slice", "x half far 0", "y")],
    "from the end": [*HALF, node("Neg", "half", "back"), node("Slice", "x back far 0", "y")],
    "rows of pairs": [
        *HALF,
        node("Mul", "half 2", "even"),
        node("Slice", "x 0 even 0", "h"),
        node("Concat", "half 8", "to", axis=0),
        node("Reshape", "h to", "y", allowzero=1),
    ],
    "at most five": [node("Slice", "x 0 5 0", "y")],
    "min(m, 5)": [SIZE, node("Min", "m 5", "count"), node("Slice", "x 0 count 0", "y")],
    "all but one": [node("Slice", "x 1 far 0", "y")],
    "to the size": [SIZE, node("Slice", "x 0 m 0", "y")],
    "every second": [node("Slice", "x 0 far 0 2", "y")],
    "sum over their number": [
        SIZE,
        node("Cast", "m", "count", to=TensorProto.FLOAT),
        node("ReduceSum", "x 0", "total", keepdims=1),
        node("Div", "total count", "y"),
    ],
    "times half their number": [*HALF, node("Cast", "half", "h", to=TensorProto.FLOAT), node("Mul", "x h", "y")],
    "a branch for none at all": decided("Less", "one"),
}


@pytest.mark.parametrize("nodes", FOLLOWED.values(), ids=FOLLOWED)
def test_sizes_follow_the_batch_as_the_file_says(opened, nodes):
    assert_as_onnxruntime(opened(*nodes), opened.path)


@pytest.mark.parametrize(
    ("nodes", "text"),
    [
        ("second of two parts", "y = x[(x.shape[0] + 1) // 2:]"),
        ("middle of three parts", "y = x[(x.shape[0] + 2) // 3:2 * ((x.shape[0] + 2) // 3)]"),
        ("first half", "y = x[:x.shape[0] // 2]"),
        ("at most five", "y = x[:5]"),
        ("sum over their number", "y = total / x.shape[0]"),
    ],
)
def test_sizes_are_written_as_expressions(opened, nodes, text):
    assert opened(*FOLLOWED[nodes]).record(6).equations[-1].text == text


REFUSED = {
    "a branch for one": decided("Equal", "one"),
    "a branch for few": decided("Less", "four"),
    "a branch for many": decided("Greater", "many"),
    "a branch for one number that nobody would try": decided("Equal", "odd"),
    "min(m, 900) as a number": [
        SIZE,
        node("Min", "m 900", "count"),
        node("Cast", "count", "c", to=TensorProto.FLOAT),
        node("Mul", "x c", "y"),
    ],
    "positions": [
        SIZE,
        node("Squeeze", "m 0", "count"),
        node("Range", "zero count one", "places"),
        node("Cast", "places", "p", to=TensorProto.FLOAT),
        node("Unsqueeze", "p 1", "column"),
        node("Add", "x column", "y"),
    ],
    "the square of their number": [
        SIZE,
        node("Mul", "m m", "s"),
        node("Cast", "s", "c", to=1),
        node("Mul", "x c", "y"),
    ],
    # For one sample the 0 keeps the size of the axis.
    "rows of pairs, or all": [*HALF, node("Concat", "half -1", "to", axis=0), node("Reshape", "x to", "y")],
    "one part in a hundred": [SIZE, node("Div", "m 100", "part"), node("Slice", "x part far 0", "y")],
    # Of one sample ONNX takes that one, and Python none.
    "backwards from the last but one": [node("Slice", "x -2 -far 0 -1", "y")],
    "one part in more than are tried": [SIZE, node("Div", "m 9000", "part"), node("Slice", "x part far 0", "y")],
    "every 9000th sample": [
        SIZE,
        node("Squeeze", "m 0", "count"),
        node("Squeeze", "9000 0", "step"),
        node("Range", "zero count step", "places"),
        node("Gather", "x places", "y"),
    ],
}
LARGE = [whole("-2", -2), whole("-far", -(2**62)), whole("900", 900), whole("100", 100), whole("9000", 9000)]


@pytest.mark.parametrize("nodes", REFUSED.values(), ids=REFUSED)
def test_what_follows_no_rule_is_refused(opened, nodes):
    with pytest.raises(OnnxError, match=r"number of samples.*sizes=\{"):
        opened(*nodes, arrays=LARGE)
    model = tg.from_onnx(opened.path, sizes={"m": 8})
    assert_as_onnxruntime(model, opened.path, [8])


def test_a_size_beyond_those_that_were_tried_first(opened):
    """``x[:100]`` is all of 60 samples, and not of 1,020."""
    model = opened(node("Slice", "x 0 100 0", "y"), arrays=[whole("100", 100)])
    assert_as_onnxruntime(model, opened.path, [1, 99, 100, 101, 300])


def test_a_file_for_one_number_of_samples_says_so(opened):
    parts = node("Split", "x parts", "y rest", axis=0)
    with pytest.raises(OnnxError, match="it fits only 9 samples; fix the number of samples with sizes="):
        opened(parts, arrays=[whole("parts", 3, 6)])
    assert tg.from_onnx(opened.path, sizes={"m": 9}).predict(np.ones((9, 4))).shape == (3, 4)


@pytest.mark.parametrize("part", [0, 1])
@pytest.mark.parametrize("count", [2, 3])
def test_chunks_exported_from_pytorch(tmp_path, part, count):
    torch = pytest.importorskip("torch")

    class Chunk(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(4, 4)

        def forward(self, x):
            return self.linear(x).chunk(count, 0)[part]

    path = tmp_path / "chunk.onnx"
    names = {"input_names": ["x"], "dynamic_axes": {"x": {0: "m"}}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(Chunk().eval(), (torch.ones(8, 4),), path, dynamo=False, **names)
    model = tg.from_onnx(path)
    assert_as_onnxruntime(model, path)


@pytest.mark.parametrize(
    "rule",
    [
        lambda m: 3 * m + 2,
        lambda m: m // 2,
        lambda m: (m + 1) // 2,
        lambda m: (3 * m + 4) // 5,
        lambda m: 2 * ((m + 2) // 3),
        lambda m: -(m // 2),
        lambda m: m // 12 - 1,
    ],
)
def test_rules_are_found(rule):
    batches = tuple(range(60, 84))
    found = fit(tuple(map(rule, batches)), batches)
    assert [found.at(m) for m in range(500)] == [rule(m) for m in range(500)]


@pytest.mark.parametrize("rule", [lambda m: m * m, lambda m: m % 7, lambda m: min(m, 70), lambda m: m // 13])
def test_no_rule_is_invented(rule):
    batches = tuple(range(60, 84))
    assert fit(tuple(map(rule, batches)), batches) is None


EQUATIONS = {
    "first half": "y = x[:x.shape[0] // 2]",
    "second half": "y = x[(x.shape[0] + 1) // 2:]",
    "times their number": "y = x * x.shape[0]",
    "over their number": "t = sum(x, axis=0)\ny = t / x.shape[0]",
    "at most five": "y = x[:5]",
    "pairs": "h = x[:2 * (x.shape[0] // 2)]\ny = reshape(h, (x.shape[0] // 2, 8))",
}


@pytest.mark.parametrize("equations", EQUATIONS.values(), ids=EQUATIONS)
def test_sizes_that_follow_the_batch_are_exported(equations, tmp_path):
    model = tg.Model({"x": [4]}, {}, equations, "y")
    model.to_onnx(tmp_path / "net.onnx")
    assert_as_onnxruntime(model, tmp_path / "net.onnx")
    assert_as_onnxruntime(tg.from_onnx(tmp_path / "net.onnx"), tmp_path / "net.onnx")


def test_a_model_whose_sizes_follow_no_rule_is_not_exported(tmp_path):
    model = tg.Model({"x": [4]}, {}, "y = x * (x.shape[0] * x.shape[0])", "y")
    with pytest.raises(OnnxError, match="follow the batch by no known rule"):
        model.to_onnx(tmp_path / "net.onnx")


@pytest.mark.parametrize("diagonal", [0, 50, -1100, 5000])
def test_a_diagonal_that_grows_with_the_samples_is_refused(diagonal, tmp_path):
    nodes = [
        node("Gemm", "x x", "g", transB=1),
        node("EyeLike", "g", "e", k=diagonal, dtype=TensorProto.FLOAT),
        node("Add", "g e", "y"),
    ]
    x, y = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("x", ["N", 2]), ("y", ["N", "N"]))
    )
    proto = helper.make_model(helper.make_graph(nodes, "g", [x], [y]), opset_imports=[helper.make_opsetid("", 17)])
    path = tmp_path / "net.onnx"
    onnx.save(proto, path)
    with pytest.raises(OnnxError, match="computed from the number of samples, by EyeLike"):
        tg.from_onnx(path)
    assert np.array_equal(tg.from_onnx(path, sizes={"x.0": 3}).predict(np.zeros((3, 2))), np.eye(3, k=diagonal))
