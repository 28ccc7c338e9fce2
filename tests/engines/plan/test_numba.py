"""Generated kernels: the same results as plain evaluation, compiled once, kept in a folder that several processes share."""

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest

import tinygraph as tg
from tests.conformance.engines import tiles_of
from tests.conformance.suite import Choice, compare
from tinygraph.engines.plan.fuse import fuse
from tinygraph.engines.plan.kernels import generated
from tinygraph.engines.plan.node import nodes_of
from tinygraph.graph import topological

needs_numba = pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="needs the extra fast")


def operations(*tensors):
    return [node.op.name for node in topological(fuse(nodes_of(tg.Graph(tensors)))) if node.op is not None]


def test_a_chain_and_the_mean_of_it_are_one_node():
    x = tg.input("x", (4, 3))
    assert operations(tg.mean(tg.exp(x * 2.0) + x, axis=0)) == ["fused_sum"]
    assert operations(tg.relu(x * 2.0 + 1.0)) == ["fused"]


def test_what_is_read_elsewhere_is_computed_again_only_if_that_is_cheap():
    x, W = tg.input("x", (4, 3)), tg.input("W", (3, 2))
    cheap, dear = x - 1.0, tg.exp(x)
    assert operations(tg.exp(cheap), tg.sqrt(cheap)) == ["fused", "fused"]
    assert operations(dear + 1.0, dear * dear) == ["fused", "add", "multiply"]
    assert operations(cheap @ W, tg.exp(cheap)) == ["subtract", "matmul", "fused"]


@pytest.mark.parametrize("dtype", ["float16", "int64", "uint8"])
def test_other_dtypes_keep_their_rules(dtype):
    x = tg.input("x", (4, 3), dtype)
    assert operations(abs(x * x) + x) == ["multiply", "abs", "add"]


def test_kernels_are_chosen_by_argument_and_environment(monkeypatch):
    x = tg.input("x", (2, 3))
    assert tg.compile(tg.relu(x)).kernels == "numpy"
    with pytest.raises(tg.AttributeValueError, match=r"^kernels must be 'numpy' or 'numba'; found 'c'"):
        tg.compile(tg.relu(x), kernels="c")
    monkeypatch.setenv("TINYGRAPH_KERNELS", "numbra")
    with pytest.raises(tg.AttributeValueError, match="the environment variable TINYGRAPH_KERNELS must be"):
        tg.load_model("xor").compile_step("sgd", 4)


@pytest.mark.parametrize("name", [None, "numba"])
def test_without_numba_the_error_names_the_extra(name, monkeypatch):
    monkeypatch.setenv("TINYGRAPH_KERNELS", "numba")
    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.raises(tg.TinygraphError, match=r"pip install 'tinygraph-engine\[fast\]'"):
        tg.compile(tg.relu(tg.input("x", (2, 3))), kernels=name)
    assert tg.compile(tg.relu(tg.input("x", (2, 3))), kernels="numpy").kernels == "numpy"


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    """Kernels are compiled and kept for one test alone."""
    monkeypatch.setattr(generated, "folder", lambda: tmp_path / "kernels")
    generated._compiled.cache_clear()
    yield tmp_path / "kernels"
    generated._compiled.cache_clear()


def softened(feeds):
    x = tg.input("x", (5, 4), "float64")
    return tg.compile(tg.tanh(x * 2.0) + 1.0, kernels="numba", threads=1)({"x": feeds})[0]


@needs_numba
def test_a_kernel_is_kept_on_disk_and_damage_does_no_harm(own_folder):
    x = np.linspace(-3, 3, 20).reshape(5, 4)
    wanted = np.tanh(x * 2) + 1
    np.testing.assert_allclose(softened(x), wanted, rtol=1e-14, atol=1e-15)
    (source,) = own_folder.glob("*.py")
    compiled = list(own_folder.glob("__pycache__/*.nbc"))
    assert compiled
    for damaged in (source, *compiled):
        damaged.write_bytes(b"exit()")
        generated._compiled.cache_clear()
        np.testing.assert_allclose(softened(x), wanted, rtol=1e-14, atol=1e-15)


@needs_numba
def test_a_place_that_is_no_folder_is_done_without(own_folder):
    own_folder.write_text("a file")
    np.testing.assert_allclose(softened(np.zeros((5, 4))), 1.0)


@needs_numba
def test_several_processes_compile_the_same_kernel_at_the_same_time(tmp_path):
    code = (
        "import tinygraph as tg; x = tg.input('x', (3,));"
        "y = tg.compile(tg.exp(x * 3.0), kernels='numba')({'x': [0, 1, 2]})[0];"
        "print([round(float(number), 1) for number in y])"
    )
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path), "LOCALAPPDATA": str(tmp_path), "HOME": str(tmp_path)}
    processes = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    found = {process.communicate()[0] for process in processes}
    assert found == {"[1.0, 20.1, 403.4]\n"}
    assert len(list(tmp_path.rglob("kernel_*.py"))) == 1
    assert not list(tmp_path.rglob("*.new"))


@needs_numba
@pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")
@pytest.mark.parametrize("name", ["tanh", "standardize", "where", "normal_cdf"])
def test_operations_agree_with_plain_evaluation(name):
    found = compare(Choice((name,), ("numba",), part=0.1, listed=False))
    assert found.comparisons.total() > 5
    assert not found.new


@needs_numba
def test_a_model_is_trained_and_tested():
    plain, model = tg.load_model("xor"), tg.load_model("xor")
    step, other = plain.compile_step(tg.Adam(0.1), 4), model.compile_step(tg.Adam(0.1), 4, kernels="numba")
    assert "fused" in {step.operation for step in other.schedule.steps}
    x, y = tg.load_data("xor").train
    for _ in range(5):
        assert step({"x": x, "y": y})[1] == pytest.approx(other({"x": x, "y": y})[1], rel=1e-5)
    assert tg.fit(model, "xor", "adam", epochs=2, kernels="numba")


@needs_numba
def test_a_step_on_one_element_of_each_kind_of_layout():
    """Transposed inputs, repeated ones, a result in the place of an input, and numbers alone."""
    rng = np.random.default_rng(0)
    x, row, one = (rng.standard_normal(shape, np.float32) for shape in ((6, 5), (5,), (1, 1)))
    a, b, c = (tg.input(name, value.shape) for name, value in (("a", x), ("b", row), ("c", one)))
    feeds = {"a": x, "b": row, "c": one}
    tensors = [tg.transpose(a) * 2.0 + c, tg.exp(a) + b, tg.sum(a * a + b, axis=0), tg.exp(tg.sum(c)), a * b > c]
    # The outer axis is summed, and the two others do not lie as one.
    tensors += [tg.sum(tg.reshape(a, (3, 2, 5)) * tg.reshape(a[:2, 0], (2, 1)), axis=0)]
    tensors += [tg.mean(tg.transpose(a) * c, axis=1, keepdims=True), tg.exp(a[:, ::2]) * c]
    for found, wanted in zip(
        tg.compile(tensors, kernels="numba", threads=1)(feeds), tg.run(tg.Graph(tensors), feeds), strict=True
    ):
        np.testing.assert_allclose(found, wanted, rtol=2e-6)


@needs_numba
@pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")
@pytest.mark.parametrize(
    ("name", "pattern"), [("conv2d", "5 float(32|64) (ordinary|infinite)"), ("max_pool2d", "float32 (ties|nan)")]
)
def test_windows_agree_with_plain_evaluation(name, pattern):
    found = compare(Choice((name,), ("numba",), pattern=pattern, listed=False))
    assert found.comparisons.total() > 5
    assert not found.new


WINDOWS = {
    "columns and samples as one run": ((3, 4, 6, 5), {"padding": 1}),
    "stride and dilation": ((9, 2, 11, 10), {"stride": 2, "dilation": 2, "padding": (2, 1)}),
    "one sample": ((1, 3, 7, 6), {"padding": ((1, 0), (0, 2))}),
    "more filters than channels": ((4, 2, 5, 5), {}),
    "a window in the padding": ((2, 2, 4, 4), {"padding": 3}),
}


@needs_numba
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", WINDOWS)
def test_depthwise_convolutions_and_their_gradients(case, dtype):
    shape, settings = WINDOWS[case]
    rng = np.random.default_rng(0)
    filters = shape[1] * (2 if "filters" in case else 1)
    x, k = tg.input("x", shape, dtype), tg.input("k", (filters, 1, 3, 3), dtype)
    y = tg.conv2d(x, k, groups=shape[1], **settings)
    tensors = [y, *tg.grad(tg.sum(y * y * y), [x, k])]
    feeds = {"x": rng.standard_normal(shape), "k": rng.standard_normal(k.shape)}
    plan = tg.compile(tensors, shape[0], kernels="numba", threads=1)
    assert not any("row" in step.operation for step in plan.schedule.steps)
    for found, wanted in zip(plan(feeds), tg.run(tg.Graph(tensors), feeds), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5 if dtype == "float32" else 1e-13, atol=1e-4)


@needs_numba
@pytest.mark.parametrize(
    "window", [{"window": 3, "stride": 2, "padding": 1}, {"window": 2}, {"window": (3, 1), "stride": 1}]
)
def test_max_pools_and_their_gradients(window):
    x = tg.input("x", (3, 2, 7, 6))
    y = tg.max_pool2d(x, **window)
    tensors = [y, *tg.grad(tg.sum(y * y), [x])]
    # Small whole numbers have many ties.
    values = np.random.default_rng(0).integers(-3, 3, x.shape)
    for value in (values, np.where(values == 2, np.nan, values)):
        found, wanted = tg.compile(tensors, 3, kernels="numba")({"x": value}), tg.run(tg.Graph(tensors), {"x": value})
        for a, b in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(a, b)


@needs_numba
def test_threads_of_the_plan_run_generated_kernels():
    x = tg.input("x", (7, 3, 6, 6))
    y = tg.max_pool2d(tg.gelu(tg.conv2d(x, np.ones((3, 1, 3, 3), np.float32), groups=3)), 2)
    tensors = [y, tg.mean(tg.standardize(y, axis=(0, 2, 3)) * y)]
    feeds = {"x": np.random.default_rng(0).standard_normal(x.shape, np.float32)}
    with tiles_of(2):
        plan = tg.compile(tensors, 7, threads=2, kernels="numba")
    assert plan.schedule.threads == 2
    for found, wanted in zip(plan(feeds), tg.run(tg.Graph(tensors), feeds), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
