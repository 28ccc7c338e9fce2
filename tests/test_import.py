"""What ``import tinygraph`` loads, and when the rest is loaded."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import tinygraph as tg

STUB = ast.parse(Path(tg.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
LISTED = {alias.asname for node in STUB.body if isinstance(node, ast.ImportFrom) for alias in node.names}
LISTED |= {node.target.id for node in STUB.body if isinstance(node, ast.AnnAssign) and node.target.id != "__version__"}
# What one call may need and the import does not.
HEAVY = {
    "click",
    "graphviz",
    "jax",
    "matplotlib",
    "onnx",
    "pygraphviz",
    "safetensors",
    "scipy",
    "threadpoolctl",
    "torch",
}


def run(code):
    """Return what a new process prints, as words."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()


def loaded(code):
    """Return the modules that a new process has loaded after some code."""
    return set(run(f"import sys\n{code}\nprint(*sys.modules)"))


def test_import_loads_nothing_heavy_and_no_room():
    modules = loaded("import tinygraph")
    assert HEAVY.isdisjoint(modules)
    assert {m for m in modules if m.startswith("tinygraph.")} == {
        f"tinygraph.{name}" for name in ("interruption", "locks", "readers")
    }


def test_first_lines_load_operations_and_nothing_above():
    modules = loaded("import tinygraph as tg\nx = tg.tensor([1.0])\ny = tg.relu(x + 1)\ny.sum().backward()")
    rooms = {m.split(".")[1] for m in modules if m.startswith("tinygraph.")}
    assert HEAVY.isdisjoint(modules)
    assert rooms <= {"errors", "graph", "interruption", "locks", "ops", "readers", "synonyms"}


def test_the_version_on_the_command_line_loads_no_numbers():
    modules = loaded("from tinygraph.cli import main\ntry:\n    main(['--version'])\nexcept SystemExit:\n    pass")
    assert {m.partition(".")[0] for m in modules} & {*HEAVY, "numpy"} == {"click"}


@pytest.mark.parametrize(
    "code",
    [
        "from tinygraph.graph.tensor import tensor; print((tensor(1.0) + 1).item())",
        "import numpy as np; from tinygraph.graph.tensor import tensor; print(np.exp(tensor(0.0)).item() + 1)",
        "from tinygraph.graph.registry import OPERATIONS; print(OPERATIONS['add'](1.0, 1.0))",
        "import tinygraph as tg; print(tg.operation('bce').op.__name__ and 2.0)",
        "import tinygraph as tg; print(2.0 if 'conv2d' in tg.operations() else 0)",
        "from tinygraph.model import load_model; print(len(str(load_model('xor')).splitlines()) - 9.0)",
    ],
)
def test_operations_are_there_whatever_is_imported_first(code):
    assert run(code) == ["2.0"]


@pytest.mark.parametrize("first", ["tinygraph.draw.picture", "tinygraph.notes.notes", "tinygraph.cli"])
def test_functions_keep_names_that_rooms_have_too(first):
    code = f"import {first}, tinygraph as tg; print(callable(tg.draw), callable(tg.notes), tg.draw.__name__)"
    assert run(code) == ["True", "True", "draw"]


def test_every_public_name_is_there():
    assert set(dir(tg)) >= LISTED
    missing = [name for name in LISTED if not hasattr(tg, name)]
    assert missing == []


def test_every_operation_is_listed_but_helpers():
    built_in = {name: f for name, f in tg.operations().items() if f.__module__.startswith("tinygraph.ops.")}
    assert {name for name, f in built_in.items() if not f.op.helper} == {
        name for name in LISTED if isinstance(getattr(tg, name), tg.OpFunction)
    }
    helpers = [name for name, f in built_in.items() if f.op.helper]
    assert "max_take2d" in helpers
    assert not [name for name in helpers if hasattr(tg, name)]
    assert all(tg.operation(name) is built_in[name] for name in helpers)


def test_a_star_import_leaves_what_python_has():
    names = {}
    exec("from tinygraph import *", names)
    assert names["relu"] is tg.relu
    assert inspect.isfunction(names["draw"])
    assert {"sum", "max", "input", "abs"}.isdisjoint(names)
    assert names["__builtins__"] is not None


def test_threads_that_import_at_once_find_everything():
    code = """
import sys, threading
sys.setswitchinterval(1e-6)
import tinygraph as tg
names = ["relu", "draw", "fit", "compile", "notes", "Model", "operations", "check"]
start, found = threading.Barrier(len(names)), []
def use(name):
    start.wait()
    found.append((name, len(tg.operations()), callable(getattr(tg, name)), (tg.tensor(1.0) + 1).item()))
threads = [threading.Thread(target=use, args=(name,)) for name in names]
[t.start() for t in threads]
[t.join() for t in threads]
print(len(found), len({f[1:] for f in found}))
"""
    assert run(code) == ["8", "1"]


def test_an_operation_of_a_user_replaces_one_that_was_not_loaded_yet():
    code = """
import warnings
import tinygraph as tg
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    @tg.op
    def relu(x):
        return x
print(len(caught), tg.operation("relu") is relu, len(tg.operations()) > 100)
"""
    assert run(code) == ["1", "True", "True"]
