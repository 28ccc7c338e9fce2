"""Opening a file costs no more than its size allows: charged before it is computed, recorded or allocated."""

import itertools
import os
import re
import struct
import time
import zipfile
import zlib

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.errors import BudgetError
from tinygraph.graph.budget import Budget, current, opening
from tinygraph.model.variables import initial_value
from tinygraph.ops.indexing.index import Index
from tinygraph.ops.windows import Windows


def model_text(equations, parameters='W = { shape = [4, 4], init = "ones" }', inputs="x = [4]", rest=""):
    return (
        f'[inputs]\n{inputs}\n[parameters]\n{parameters}\n{rest}\n[model]\noutput = "a"\nloss = false\n'
        f'equations = """\n{equations}\n"""\n'
    )


@pytest.fixture
def cheap():
    """Fail where a test has taken more than 30 seconds of this process: six at most are usual, 13 while lines are counted."""
    begin = time.process_time()
    yield
    assert time.process_time() - begin < 30


SCALAR, ROW = 'W = { shape = [], init = "ones" }', 'W = { shape = [1], init = "ones" }'
FREE = {
    "product": ("a = x * sum(broadcast_to(W, (16384, 16384)) @ broadcast_to(W, (16384, 16384)))", SCALAR),
    "tile": ("a = x * sum(tile(W, (10**9,)))", ROW),
    "einsum": (
        "a = x * sum(einsum([W, W, W, W, W, W], 'ab,bc,cd,de,ef,fa->abcdef'))",
        'W = { shape = [400, 400], init = "ones" }',
    ),
    "index": ("a = x * sum(broadcast_to(W, (2, 1, 10**11))[:, [0]])", SCALAR),
    "grid": ("a = x * sum(broadcast_to(W, (3, 3))[[[0]] , [1, 2]])", SCALAR),
    "classes": ("a = x * sum(one_hot(argmax(x, -1), 10**12))", None),
}


@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize("case", FREE)
def test_a_model_is_opened_without_computing_what_it_says(case):
    equations, parameters = FREE[case]
    text = model_text(equations, parameters) if parameters else model_text(equations + " @ W")
    model = tg.Model.from_toml(text)
    assert not any(node.has_value for node in model.record(2).graph.nodes if node.op is not None)


def nested_blocks():
    blocks, body = "", "x + 1"
    for name in "BCD":
        equations = "\n".join(f"t{i} = {body if i == 0 else body.replace('x', f't{i - 1}')}" for i in range(125))
        blocks += f'[blocks.{name}]\ninputs = ["x"]\noutput = "t124"\nequations = """\n{equations}\n"""\n'
        body = f"{name}(x)"
    return model_text("a = D(x) @ W", rest=blocks)


chain = "\n".join(f"a{i} = {'x' if i == 0 else f'a{i - 1}'} + 1" for i in range(100_000))
many = "\n".join(f'W{i} = {{ shape = [100000000], init = "ones" }}' for i in range(20))
REFUSED = {
    "nested blocks": (nested_blocks(), "more than 10,000 equations"),
    "a long text": (model_text(chain), "more than 524,288 characters; .* TINYGRAPH_BUDGET=10"),
    "many operations": (
        model_text("\n".join(f"a{i} = {' + '.join(['x'] * 40)}" for i in range(2800)) + "\na = a0 @ W"),
        r"more than 10\d,\d+ operations",
    ),
    "many parameters": (model_text("a = x" + "".join(f" + sum(W{i})" for i in range(20)), many), "bytes of values"),
    "pad by 2**63": (model_text("a = pad(x, 9223372036854775808) @ W"), "pad: .* larger than any array can be"),
    "a huge stride": (
        model_text("a = conv_transpose2d(x, W, stride=10**12)", 'W = { shape = [1, 1, 2, 2], init = "ones" }', "x = [1, 4, 4]"),
        "larger than any array can be",
    ),
    "a huge input": (model_text("a = x @ W", inputs="x = [9223372036854775807, 4]"), "larger than any array can be"),
    "a number of many digits": (model_text(f"a = x @ W * 0x{'f' * 100_000}"), "the number is too large"),
    "a size of many digits": (f"batch = 0x{'f' * 100_000}\n" + model_text("a = x @ W"), "more than 64 bits"),
    "a dotted key": (".".join("a" * 20_000) + " = 1", "a key of more than 20 parts"),
    "a quoted dotted key": (".".join(['"a"', "'a'", r'"\""'] * 9_000) + " = 1", "a key of more than 20 parts"),
    "deep arrays": (f"a = {'[' * 5000}{']' * 5000}", "nested too deeply"),
    "deep parentheses": (model_text(f"a = x @ W + {'(' * 5000}1{')' * 5000}"), "too many nested parentheses|deeply"),
    "a deep sum": (model_text(f"a = x @ W{' + 1' * 5000}"), "nested too deeply"),
    "many axes": (model_text("a = x @ W", f'W = {{ shape = [{"1, " * 100_000}1], init = "ones" }}'), "at most 64 axes"),
}  # fmt: skip


@pytest.mark.usefixtures("cheap")
@pytest.mark.sweep
@pytest.mark.parametrize("case", REFUSED)
def test_what_costs_too_much_is_refused(case):
    text, message = REFUSED[case]
    with pytest.raises(tg.ModelError, match=message) as caught:
        tg.Model.from_toml(text)
    assert caught.value.line is not None


@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize("lines", ["\n", "\\n"], ids=["one to a line", "all in one line"])
def test_nine_thousand_equations_open_with_their_lines(lines):
    count = 9000
    equations = lines.join([f"a{i} = {'x' if i == 0 else f'a{i - 1}'} + 1" for i in range(count)] + ["a = a8999 @ W"])
    text = model_text(equations) if lines == "\n" else model_text("").replace('"""\n\n"""', f'"{equations}"')
    found = tg.Model.from_toml(text).record(2).equations
    start = text.splitlines().index('equations = """') + 2 if lines == "\n" else len(text.splitlines())
    assert [equation.line for equation in found[:3]] == [start, start + 1, start + 2] if lines == "\n" else [start] * 3


def test_the_environment_raises_the_limits(monkeypatch):
    text = model_text("a = x + sum(W)", 'W = { shape = [70000000], init = "ones" }')
    with pytest.raises(tg.ModelError, match="cannot be made: opening this file would take more than 268,"):
        tg.Model.from_toml(text)
    monkeypatch.setenv("TINYGRAPH_BUDGET", "2")
    assert tg.Model.from_toml(text).parameters["W"].size == 70_000_000


def test_the_environment_must_be_a_number(monkeypatch):
    monkeypatch.setenv("TINYGRAPH_BUDGET", "much")
    with pytest.raises(BudgetError, match="TINYGRAPH_BUDGET must be a positive number; found 'much'"):
        tg.Model.from_toml(model_text("a = x @ W"))


def test_a_model_written_in_python_has_no_limit():
    model = tg.Model({"x": [4]}, {"W": {"shape": [70_000_000], "init": "zeros"}}, "a = x + sum(W)", "a")
    assert model.parameters["W"].size == 70_000_000


def test_what_a_larger_file_may_cost():
    small, large, free = Budget(0), Budget(500_000_000), Budget(np.inf)
    large.spend("bytes of values", 4 * 500_000_000)
    free.spend("bytes of values", 10**30)
    with pytest.raises(BudgetError):
        small.spend("bytes of values", 500_000_000)


def test_constants_are_charged_before_they_are_computed():
    with opening(size=0), pytest.raises(BudgetError, match=r"bytes of values|steps"):
        tg.tile(np.ones(1000), 10**9)
    with opening(size=0), pytest.raises(BudgetError, match="steps of computation"):
        tg.matmul(np.ones((10**4, 1)), np.ones((1, 10**4)))
    assert current() is None


WORK = {
    "matmul": (lambda: (tg.matmul, (2, 3), (3, 4)), 24),
    "conv2d": (lambda: (tg.conv2d, (1, 2, 4, 4), (3, 2, 2, 2)), 9 * 3 * 8),
    "einsum": (lambda: (lambda x, y: tg.einsum([x, y], "ij,jk->"), (2, 3), (3, 4)), 24 + 8),
    "max_pool2d": (lambda: (lambda x: tg.max_pool2d(x, 2), (1, 1, 4, 4)), 20 + 4 * 1004),
    "relu": (lambda: (tg.relu, (5,)), 10),
}


@pytest.mark.parametrize("name", WORK)
def test_the_work_of_an_operation_is_known_from_shapes(name):
    (function, *shapes), work = WORK[name][0](), WORK[name][1]
    with opening(size=0) as budget:
        before = budget.spent["steps of computation"]
        function(*[np.ones(shape) for shape in shapes])
        assert budget.spent["steps of computation"] - before == work


def test_values_drawn_in_pieces_are_those_drawn_at_once():
    shape = (1500, 1000)
    found = initial_value("W", shape, "normal", {"std": 1.0}, 3, np.dtype("float64"))
    rng = np.random.default_rng([3, zlib.crc32(b"W")])
    np.testing.assert_array_equal(found, rng.normal(0.0, 1.0, shape))


INDICES = [
    (slice(None), [0, 2]), ([0, 1], slice(None), [1, 1]), (None, [[0], [1]], [0, 2]), (..., [1, 0]), ([0, 1], None, 1),
    (0, slice(None), [0, 3]), (slice(1, None, 2), [-1]), (np.array([[True, False, True], [False, True, True]]),),
    (np.array([True, False]), slice(None), [0]), (-1, ..., [0, 1]), ([],),
]  # fmt: skip


@pytest.mark.parametrize("place", range(len(INDICES)))
def test_the_shape_of_an_index_is_that_of_numpy(place):
    index, shape = INDICES[place], (2, 3, 4)
    found = Index.of(tuple(np.array(p, np.intp) if isinstance(p, list) else p for p in index), "getitem").picked(shape)
    assert found == np.zeros(shape)[tuple(np.array(p, np.intp) if isinstance(p, list) else p for p in index)].shape


@pytest.mark.parametrize(
    "index", [([0, 3],), ([0], [0], [0], [0]), ([0, 1], [0, 1, 2]), (np.array([True]),), (..., [0], ...)]
)
def test_an_index_that_does_not_fit_is_refused(index):
    with pytest.raises((IndexError, ValueError)):
        Index.of(index, "getitem").picked((2, 3, 4))


def test_the_sizes_of_windows_are_counted_without_walking_them():
    sizes = range(1, 7)
    for image, kernel, stride, dilation, pad in itertools.product(sizes, range(1, 4), (1, 2), (1, 2, 5), (0, 2)):
        windows = Windows((image,), (kernel,), (stride,), (dilation,), ((pad, 1),))
        if windows.count[0] < 1:
            continue
        places = (np.arange(windows.count[0]) * stride - pad)[:, None] + np.arange(kernel) * dilation
        for before, after in ((0, 0), (pad, 1)):
            inside = ((places >= -before) & (places < image + after)).sum(axis=1)
            np.testing.assert_array_equal(windows.sizes(((before, after),)), inside)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_weights_that_are_no_file_are_refused(tmp_path, kind):
    if kind == "pipe":
        os.mkfifo(tmp_path / "w")
    else:
        (tmp_path / "w").symlink_to("/dev/zero")
    (tmp_path / "net.toml").write_text('weights = "w"\n' + model_text("a = x @ W"))
    with pytest.raises(tg.WeightsError, match=r"w: cannot be read: it is not a regular file"):
        tg.load_model(tmp_path / "net.toml")


def member(header, data=b""):
    text = header.encode("latin1")
    text += b" " * ((64 - (len(text) + 11) % 64) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def claimed(shape, descr="<f4"):
    return f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}}}"


HEADERS = {
    "an open parenthesis": (member("((("), "'x.npy' has a damaged header"),
    "a truth value as size": (member(claimed("(True, 2)"), bytes(8)), "there are no arrays of shape"),
    "a claim of 4 TB": (member(claimed("(1099511627776,)"), bytes(8)), "needs 4,398,046,511,104 bytes and holds 8"),
    "a negative size": (member(claimed("(-5,)")), "there are no arrays of shape"),
    "a size beyond 64 bits": (member(claimed(f"({10**30}, 0)")), "there are no arrays of shape"),
    "seventy axes": (member(claimed("(" + "1, " * 70 + ")"), bytes(4)), "there are no arrays of shape"),
    "deep nesting": (member("{'descr': " + "(" * 3000), "'x.npy' has a damaged header: "),
    "objects": (member(claimed("(1,)", "|O"), bytes(8)), "it holds Python objects"),
    "too few bytes": (member(claimed("(3,)"), bytes(8)), "needs 12 bytes and holds 8"),
    "another version": (b"\x93NUMPY\x09\x00" + bytes(60), "damaged header"),
}


@pytest.mark.parametrize("case", HEADERS)
def test_an_array_that_claims_what_is_not_there_is_refused(case, tmp_path):
    content, message = HEADERS[case]
    with zipfile.ZipFile(tmp_path / "mine.npz", "w") as archive:
        archive.writestr("x.npy", content)
    with pytest.raises(tg.DataError, match=rf"mine\.npz: cannot be read as an \.npz file \(.*{re.escape(message)}"):
        tg.load_data(tmp_path / "mine.npz")


def test_an_archive_that_unpacks_to_gigabytes_is_refused(tmp_path):
    with (
        zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("x.npy", "w") as file,
    ):
        file.write(member(claimed("(400000000,)", "|u1")))
        for _ in range(400):
            file.write(bytes(10**6))
    with pytest.raises(
        tg.DataError, match=r"bomb\.npz: .* more than 2\d\d,\d+,\d+ bytes of values; .*TINYGRAPH_BUDGET"
    ):
        tg.load_data(tmp_path / "bomb.npz")


def test_a_compression_that_can_ask_for_gigabytes_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "mine.npz", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("x.npy", member(claimed("(2,)"), bytes(8)))
    with pytest.raises(tg.DataError, match=r"is compressed in a way that numpy\.savez does not use"):
        tg.load_data(tmp_path / "mine.npz")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
@pytest.mark.parametrize("name", ["mine.npz", "mine.onnx", "mine.safetensors"])
def test_a_pipe_is_refused_and_not_waited_for(name, tmp_path):
    path = tmp_path / name
    os.mkfifo(path)
    read = {"npz": tg.load_data, "onnx": tg.from_onnx, "safetensors": tg.load_model("xor").load}[name.partition(".")[2]]
    with pytest.raises(tg.TinygraphError, match="it is not a regular file"):
        read(path)


def onnx_model(nodes, arrays, opset=17):
    from onnx import TensorProto, helper

    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["m", 2]) for name in "xy"]
    made = [helper.make_node(operator, inputs.split(), [output], **more) for operator, inputs, output, more in nodes]
    graph = helper.make_graph(made, "graph", values[:1], values[1:], arrays)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)]).SerializeToString()


def onnx_files():
    from onnx import numpy_helper

    def whole(*numbers, name="n"):
        return numpy_helper.from_array(np.asarray(numbers, np.int64), name)

    half = numpy_helper.from_array(np.array([0.5], np.float32), "")
    large, added = (
        ("ConstantOfShape", "n", "a", {}),
        [("ReduceSum", "c", "s", {"keepdims": 0}), ("Add", "x s", "y", {})],
    )
    chain = [("Relu", f"a{i - 1}" if i else "x", f"a{i}" if i < 29_999 else "y", {}) for i in range(30_000)]
    return {
        "product": ([large, ("MatMul", "a a", "c", {}), *added], [whole(16_000, 16_000)]),
        "weight": (
            [
                ("ConstantOfShape", "n", "a", {"value": half}),
                ("ReduceSum", "a", "s", {"keepdims": 0}),
                ("Add", "x s", "y", {}),
            ],
            [whole(16_000, 16_000)],
        ),
        "places": ([large, ("NonZero", "a", "b", {}), ("Cast", "b", "c", {"to": 1}), *added], [whole(10_000, 10_000)]),
        "convolution": (
            [large, ("ConstantOfShape", "k", "b", {}), ("Conv", "a b", "c", {}), *added],
            [whole(1, 16, 512, 512), whole(16, 16, 7, 7, name="k")],
        ),
        "pool": ([large, ("MaxPool", "a", "c", {"kernel_shape": [300, 300]}), *added], [whole(1, 1, 2000, 2000)]),
        "running sum": ([large, ("CumSum", "a k", "c", {}), *added], [whole(2**25), whole(0, name="k")]),
        "chain": (chain, []),
        "inputs": ([("Concat", " ".join(["x"] * 200_000), "c", {"axis": 1}), *added], []),
    }


@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize(
    "case", ["product", "weight", "places", "convolution", "pool", "running sum", "chain", "inputs"]
)
def test_an_onnx_file_that_costs_too_much_is_refused(case, tmp_path):
    pytest.importorskip("onnx")
    (tmp_path / "model.onnx").write_bytes(onnx_model(*onnx_files()[case]))
    with pytest.raises(tg.errors.OnnxError, match=r"model\.onnx: .*opening this file would take more than") as caught:
        tg.from_onnx(tmp_path / "model.onnx")
    assert str(caught.value).count("model.onnx") == 1


def test_tensors_that_claim_the_same_external_bytes_are_each_charged(tmp_path):
    onnx = pytest.importorskip("onnx")
    (tmp_path / "w.bin").write_bytes(bytes(4 * 2**20))
    arrays, nodes = [], []
    for i in range(90):
        array = onnx.TensorProto(name=f"w{i}", data_type=1, dims=[2**20], data_location=onnx.TensorProto.EXTERNAL)
        array.external_data.add(key="location", value="w.bin")
        arrays.append(array)
        nodes.append(("Add", f"s{i - 1} w{i}" if i else "x w0", f"s{i}" if i < 89 else "y", {}))
    (tmp_path / "model.onnx").write_bytes(onnx_model(nodes, arrays))
    with pytest.raises(tg.errors.OnnxError, match="bytes of values"):
        tg.from_onnx(tmp_path / "model.onnx")
