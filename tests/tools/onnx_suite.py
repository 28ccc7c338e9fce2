"""ONNX's official backend tests, by name: every operator's, and the models of its other collections that need no download."""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Mapping
from typing import Any

# The collections whose tests travel with the package; "real" has the large architectures, see test_onnx_architectures.py.
CATEGORIES = {
    "OnnxBackendNodeModelTest": "node",
    "OnnxBackendSimpleModelTest": "simple",
    "OnnxBackendPyTorchConvertedModelTest": "pytorch-converted",
    "OnnxBackendPyTorchOperatorModelTest": "pytorch-operator",
}


@functools.cache
def suite() -> Mapping[str, Any]:
    """Return the official tests for the CPU, as ONNX's own runner makes them for our backend: functions by name."""
    with warnings.catch_warnings():
        # The expected results of some tests are computed as they are imported, with overflows that are meant.
        warnings.simplefilter("ignore")
        from onnx.backend.test import BackendTest

        from tinygraph.interop.onnx import Backend

        class Exact(BackendTest):
            """ONNX computed what it expects of float16 with sums in float16: two units in the last place are the same."""

            @classmethod
            def assert_similar_outputs(
                cls, ref_outputs: Any, outputs: Any, rtol: float, *rest: Any, **more: Any
            ) -> None:
                half = any(getattr(array, "dtype", None) == "float16" for array in ref_outputs)
                super().assert_similar_outputs(ref_outputs, outputs, max(rtol, 2**-9) if half else rtol, *rest, **more)

        # ONNX's runner skips what a backend says beforehand is not for it; here the reason is asked for.
        asked = type("Asked", (Backend,), {"is_compatible": classmethod(lambda cls, model, *rest, **more: True)})
        cases = Exact(asked, __name__).test_cases
    found = {}
    for category, short in CATEGORIES.items():
        for name in sorted(vars(cases[category])):
            if name.startswith("test_") and name.endswith("_cpu"):
                found[f"{short}/{name.removesuffix('_cpu')}"] = functools.partial(run_case, cases[category], name)
    return found


def run_case(case: type, name: str) -> None:
    """Run one test as ONNX's runner wrote it; it raises where something is wrong."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        getattr(case(name), name)()


@functools.cache
def operators_of() -> Mapping[str, str]:
    """Return the operator that each node test of one node is about, by the test's name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.loader import load_model_tests

        cases = load_model_tests(kind="node")
    about = {}
    for case in cases:
        domain = {node.domain for node in case.model.graph.node}
        operators = {node.op_type for node in case.model.graph.node}
        if len(operators) == 1 and domain <= {"", "ai.onnx"} and not case.name.endswith("_expanded"):
            about[f"node/{case.name}"] = next(iter(operators))
    return about


def reason(error: Exception) -> str:
    """Return why a test is refused, without what is the test's own: names of nodes and inputs."""
    text = str(error)
    if "there is no operation for it" in text:
        operator = re.search(r"\((?:[\w.]*\.)?(\w+), opset \d+\)", text)
        return f"no operation for {operator[1] if operator else text}"
    text = re.sub(r"^.*?: (?=node |'|it )", "", text, count=1)
    text = re.sub(r"^node '[^']*' \((\w+), opset \d+\): ", r"\1: ", text)
    return re.sub(r"^'[^']*'(: | )", "", text)
