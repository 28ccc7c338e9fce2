"""The table of operations by name, and by the NumPy functions that record them."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from tinygraph.errors import UnknownNameError, nearest
from tinygraph.locks import Lock
from tinygraph.readers import MODULES, import_module
from tinygraph.synonyms import FORMULAS

if TYPE_CHECKING:
    from tinygraph.graph.function import OpFunction


class _Table(dict[Any, Any]):
    """A table that loads the package's operations, which fill it, when it misses a key."""

    def __missing__(self, key: Any) -> Any:
        load_operations()
        return dict(self)[key]


OPERATIONS: dict[str, OpFunction] = _Table()
NUMPY_FUNCTIONS: dict[Callable[..., Any], Callable[..., Any]] = _Table()
_extensions_loaded: list[bool] = []
# Reentrant: a package that is being imported may look up operations.
_loading = Lock(threading.RLock)


def load_operations() -> None:
    """Import the package's operations, which register themselves, unless this is done.

    >>> load_operations()
    """
    import_module(MODULES["operations"])


def load_extensions() -> None:
    """Import the operations that installed packages offer in the entry-point group ``tinygraph.ops``, once.

    For a package that fails to import, or ends the program, there is a warning that names it, and the others are imported.

    >>> load_extensions()
    """
    from importlib.metadata import entry_points

    load_operations()
    with _loading.own:
        if _extensions_loaded:
            return
        _extensions_loaded.append(True)
        for entry in entry_points(group="tinygraph.ops"):
            try:
                entry.load()
            except (Exception, SystemExit) as error:
                message = f"operations of {entry.value!r} were not loaded: {type(error).__name__}: {error}"
                warnings.warn(message, stacklevel=2)


def is_operation(name: str) -> bool:
    """Whether an operation called ``name`` exists, here or in an installed package of operations.

    >>> is_operation("relu"), is_operation("rellu")
    (True, False)
    """
    if name not in OPERATIONS:
        load_extensions()
    return name in OPERATIONS


def operation(name: str) -> OpFunction:
    """Return the registered operation called ``name``.

    Raises ``UnknownNameError`` with the nearest valid name.

    >>> import tinygraph as tg
    >>> tg.operation("relu")(tg.tensor([-1.0, 2.0])).value
    array([0., 2.])
    >>> tg.operation("rellu")
    Traceback (most recent call last):
    tinygraph.errors.UnknownNameError: no operation is called 'rellu'; did you mean 'relu'?
    """
    if not isinstance(name, str) or not is_operation(name):
        raise UnknownNameError(f"no operation is called {name!r}{operation_hint(str(name))}")
    return OPERATIONS[name]


def operation_hint(name: str, others: Iterable[str] = ()) -> str:
    """Return the end of a message about an unknown operation: its name here, or how to register one.

    >>> operation_hint("swish"), operation_hint("dense")
    ("; here it is called 'silu'", '; write x @ W + b')
    >>> operation_hint("my_op")
    '; an operation of your own has to be registered first, by @tg.op in Python or --ops FILE.py on the command line'
    """
    if name.lower() in FORMULAS:
        return f"; write {FORMULAS[name.lower()]}"
    near = nearest(name, [*operations(), *others])
    own = (
        "an operation of your own has to be registered first, by @tg.op in Python or --ops FILE.py on the command line"
    )
    return near if "here it is called" in near else f"{near}{' Or' if near else ';'} {own}"


def operations() -> Mapping[str, OpFunction]:
    """Return a read-only view of all registered operations, by name, in the order of their registration.

    Installed packages of operations are loaded first.

    >>> import tinygraph as tg
    >>> "conv2d" in tg.operations()
    True
    """
    load_extensions()
    return MappingProxyType(OPERATIONS)
