"""ONNX's official backend tests: every one that is claimed passes, every other is refused, and the lists say so."""

import re

import pytest

onnx = pytest.importorskip("onnx")

import numpy as np
from onnx import TensorProto, helper

import tinygraph as tg
from tests.onnx_claims import PAGE, claims_text, page_text, read_claims
from tests.tools.onnx_suite import operators_of, reason, suite
from tinygraph.errors import OnnxError
from tinygraph.interop.onnx import Backend
from tinygraph.interop.onnx.operators import OPERATORS

CLAIMS = read_claims()
REFUSED = {name: why for why, names in CLAIMS["refused"].items() for name in names}
# Another release of onnx has other tests, and writes some of these anew.
SAME_RELEASE = CLAIMS["onnx"] == onnx.__version__


@pytest.mark.parametrize("name", CLAIMS["claimed"])
def test_claimed_test_passes(name):
    if name not in suite():
        pytest.skip("another release of onnx, which has no such test")
    suite()[name]()


def test_what_is_not_claimed_is_refused_and_says_why():
    wrong = {}
    for name, why in REFUSED.items():
        if name not in suite():
            continue
        with pytest.raises(OnnxError) as caught:
            suite()[name]()
        if reason(caught.value) != why:
            wrong[name] = reason(caught.value)
    assert not SAME_RELEASE or not wrong


@pytest.mark.skipif(not SAME_RELEASE, reason="the lists are those of another release of onnx")
def test_every_official_test_is_on_one_list():
    assert sorted([*CLAIMS["claimed"], *REFUSED]) == sorted(suite())
    assert sorted(set(CLAIMS["claimed"])) == CLAIMS["claimed"]


@pytest.mark.skipif(not SAME_RELEASE, reason="the page is that of another release of onnx")
def test_the_lists_and_the_page_are_what_the_command_writes():
    claimed, refused = CLAIMS["claimed"], dict(REFUSED)
    assert claims_text(claimed, refused) == (PAGE.parents[1] / "tests" / "onnx_claims.toml").read_text(encoding="utf-8")
    assert page_text(claimed, refused) == PAGE.read_text(encoding="utf-8")


def test_every_operator_of_the_table_has_a_line_on_the_page():
    listed = re.findall(r"^\| (\w+) \| \d+ of \d+", PAGE.read_text(encoding="utf-8"), flags=re.M)
    assert listed == sorted(OPERATORS, key=str.lower)


def test_every_operator_of_the_table_passes_a_test_of_its_own():
    passed = {operators_of().get(name) for name in CLAIMS["claimed"]}
    # There is no test of it in this collection.
    assert set(OPERATORS) - passed == {"GlobalLpPool"}


def test_run_node():
    node = helper.make_node("Add", ["a", "b"], ["c"])
    (c,) = Backend.run_node(node, [np.float32([1, 2]), np.float32([3, 4])])
    assert c.tolist() == [4, 6]


def test_run_node_of_an_older_operator_set():
    node = helper.make_node("Squeeze", ["x"], ["y"], axes=[0])
    (y,) = Backend.run_node(node, [np.zeros((1, 3), np.float32)], opset_version=11)
    assert y.shape == (3,)


def test_run_model_by_names_and_by_order():
    sides = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["m"]) for name in ("x", "y", "z")]
    graph = helper.make_graph([helper.make_node("Sub", ["x", "y"], ["z"])], "difference", sides[:2], sides[2:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    prepared = Backend.prepare(model)
    x, y = np.float32([5, 7]), np.float32([1, 2])
    assert prepared.run([x, y])[0].tolist() == prepared.run({"y": y, "x": x})[0].tolist() == [4, 5]
    assert prepared.run([x[:1], y[:1]])[0].tolist() == [4]
    with pytest.raises(OnnxError, match="no value is given for 'y'"):
        prepared.run([x])
    with pytest.raises(OnnxError, match="takes 'x' and 'y'; found 3 inputs"):
        prepared.run([x, y, y])


def test_devices():
    assert Backend.supports_device("CPU")
    assert not Backend.supports_device("CUDA:1")


def test_is_compatible():
    def model(operator):
        sides = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in ("x", "y")]
        graph = helper.make_graph([helper.make_node(operator, ["x"], ["y"])], "graph", sides[:1], sides[1:])
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])

    assert Backend.is_compatible(model("Relu"))
    assert not Backend.is_compatible(model("Bernoulli"))


def test_errors_are_of_the_family():
    assert issubclass(OnnxError, tg.TinygraphError)
