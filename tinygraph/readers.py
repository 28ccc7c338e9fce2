"""Readers: what rooms above this one offer to tensors, graphs and models, by name.

A graph prints itself as equations and a model compiles itself, yet neither imports the writer or the compiler. They ask
for it here by name. The package's ``__init__``, which is above all rooms, fills the table; a reader's module is imported
when it is first asked for.
"""

import importlib
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any

from tinygraph.locks import Lock

# The module that has each reader, by the reader's name.
MODULES: dict[str, str] = {}
# Python itself lets two threads wait for each other where one imports a room and the other a file of that room.
_importing = Lock(threading.RLock)


def import_module(name: str) -> ModuleType:
    """Import a module when it is first needed, in one thread at a time.

    >>> import_module("tinygraph.errors").__name__
    'tinygraph.errors'
    """
    with _importing.own:
        return importlib.import_module(name)


def reader(name: str) -> Callable[..., Any]:
    """Return the function of a room above that is called ``name``.

    >>> import tinygraph as tg
    >>> print(reader("aligned")([("x", "input"), ("Z", "= x @ W")]))
    x  input
    Z  = x @ W
    """
    function: Callable[..., Any] = getattr(import_module(MODULES[name]), name)
    return function


def notebook_view(thing: Any, text: str, include: Any = None, exclude: Any = None) -> dict[str, str]:
    """Return what a notebook shows of a tensor, graph or model: its picture, or ``text`` alone where none can be made."""
    view: dict[str, str] = reader("notebook_view")(thing, text, include, exclude)
    return view
