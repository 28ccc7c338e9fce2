"""tinygraph: models as equations, recorded as a graph whose backward pass is more graph.

>>> import tinygraph as tg
>>> Z2 = tg.tensor([[1.02, -0.25], [-3.45, 2.2]], name="Z2")
>>> C2 = tg.relu(Z2)
>>> (dZ2,) = tg.grad((C2 * C2).sum(), [Z2])
>>> dZ2.name, dZ2.value
('dZ2', array([[2.04, 0.  ],
       [0.  , 4.4 ]]))

A public name is imported from its module, or taken from the table of operations, when it is first used; ``__init__.pyi``
lists them all.
``from tinygraph import *`` leaves out those that Python has too, such as ``sum``.
"""

from tinygraph import interruption  # isort: skip  # First: Ctrl-C may come during the other imports.
import ast
import builtins
import functools
import pathlib
import sys
import types

from tinygraph.readers import MODULES, import_module

__version__ = "0.2.0"

# What rooms above offer to tensors, graphs and models.
MODULES.update(
    operations="tinygraph.ops",
    lay_out="tinygraph.describe.text",
    equations_text="tinygraph.describe.text",
    aligned="tinygraph.describe.text",
    model_text="tinygraph.describe.text",
    tensors_view="tinygraph.describe.html",
    draw="tinygraph.draw.picture",
    notebook_view="tinygraph.draw.picture",
    plan_for="tinygraph.engines.predict",
    predicted="tinygraph.engines.predict",
    step_on="tinygraph.train.step",
    from_onnx="tinygraph.interop.onnx",
    to_onnx="tinygraph.interop.onnx",
)


@functools.cache
def _modules() -> dict[str, str]:
    """Return the module of each public name, as ``__init__.pyi`` lists them; for an operation, the room of operations."""
    modules: dict[str, str] = {}
    for node in ast.parse(pathlib.Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom):
            modules |= {alias.name: node.module for alias in node.names}
        elif isinstance(node, ast.AnnAssign) and ast.unparse(node.annotation) == "OpFunction":
            modules[ast.unparse(node.target)] = MODULES["operations"]
    return modules


def __getattr__(name: str) -> object:
    """Import a public name from its module, or raise the ``AttributeError`` that says what it is called here."""
    if name == "__all__":
        return [public for public in _modules() if not hasattr(builtins, public)]
    module = _modules().get(name)
    if module is None:
        from tinygraph.graph.protocols import attribute_hint

        hint = "" if name.startswith("_") else attribute_hint(name)
        raise AttributeError(f"tinygraph has no {name!r}{hint}", name=name)
    found = import_module(f"tinygraph.{name}" if module == __name__ else module)
    table = found.OPERATIONS if module == MODULES["operations"] else vars(found)
    value = globals()[name] = found if module == __name__ else table[name]
    return value


def __dir__() -> list[str]:
    return sorted({*(name for name in globals() if name.startswith("__")), *_modules()})


class _Package(types.ModuleType):
    """The package: importing the room ``tinygraph.draw`` leaves ``tg.draw`` the function, and so for ``notes``."""

    def __setattr__(self, name: str, value: object) -> None:
        if not isinstance(value, types.ModuleType) or _modules().get(name, __name__) == __name__:
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
