"""The one table of operations, by name and by the NumPy function that they answer to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from tinygraph.errors import UnknownNameError, nearest

if TYPE_CHECKING:
    from tinygraph.graph.function import OpFunction

OPERATIONS: dict[str, OpFunction] = {}
NUMPY_FUNCTIONS: dict[Callable[..., Any], Callable[..., Any]] = {}


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
    try:
        return OPERATIONS[name]
    except KeyError:
        raise UnknownNameError(f"no operation is called {name!r}{nearest(name, OPERATIONS)}") from None


def operations() -> Mapping[str, OpFunction]:
    """Return a read-only view of all registered operations, by name, in the order of their registration.

    >>> import tinygraph as tg
    >>> "conv2d" in tg.operations()
    True
    """
    return MappingProxyType(OPERATIONS)
