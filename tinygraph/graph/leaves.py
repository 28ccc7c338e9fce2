"""Leaves: the tensors that no operation made."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tinygraph.errors import FeedError, ShapeError, TinygraphError
from tinygraph.graph.arrays import cast_array, check_size, numeric_array, numeric_dtype
from tinygraph.graph.tensor import Kind, Tensor


def _leaf(kind: Kind, value: Any, name: str | None, dtype: npt.DTypeLike | None) -> Tensor:
    what = f"{kind} {name!r}" if name else kind
    if name is not None and not isinstance(name, str):
        raise TinygraphError(f"the name of a {kind} must be text; found {name!r}")
    array = numeric_array(value, what)
    if dtype is not None:
        array = cast_array(array, numeric_dtype(dtype, what), what)
    return Tensor(kind, value=np.array(array), name=name or None)


def tensor(value: Any, name: str | None = None, dtype: npt.DTypeLike | None = None) -> Tensor:
    """Return a leaf with a copy of ``value``; arrays keep their dtype, Python floats become float64.

    Raises ``DTypeError`` for anything but numbers and ``ShapeError`` for rows of unequal length.

    >>> tensor([1.0, 2.0], name="x").value
    array([1., 2.])
    """
    return _leaf("tensor", value, name, dtype)


def parameter(value: Any, name: str | None = None, dtype: npt.DTypeLike | None = None) -> Tensor:
    """Return a leaf that training updates, with a copy of ``value``. Raises as ``tensor`` does.

    >>> W = parameter(np.zeros((4, 2)), name="W")
    >>> W.kind
    'parameter'
    """
    return _leaf("parameter", value, name, dtype)


def state(value: Any, name: str | None = None, dtype: npt.DTypeLike | None = None) -> Tensor:
    """Return a leaf that keeps a value from step to step and is not trained, with a copy of ``value``.

    A model declares them, with the equation of their next value, in its ``[state]`` table. Raises as ``tensor`` does.

    >>> mean = state(np.zeros(8), name="mean")
    >>> mean.kind
    'state'
    """
    return _leaf("state", value, name, dtype)


def constant(value: Any, name: str | None = None, dtype: npt.DTypeLike | None = None) -> Tensor:
    """Return a leaf that is never differentiated, with a copy of ``value``. Raises as ``tensor`` does.

    >>> constant(2.0).kind
    'constant'
    """
    return _leaf("constant", value, name, dtype)


def input(name: str, shape: Sequence[int], dtype: npt.DTypeLike = np.float32) -> Tensor:
    """Return a leaf without a value: operations on it are recorded with shapes only.

    ``tg.run`` gives it a value by its name. Raises ``FeedError`` without a name, ``ShapeError`` and ``DTypeError``.

    >>> Inp = input("Inp", (1, 1, 28, 28))
    >>> Inp.shape, Inp.has_value
    ((1, 1, 28, 28), False)
    """
    if not isinstance(name, str) or not name:
        raise FeedError(f"an input needs a name to be fed by; found {name!r}")
    sizes = tuple(shape) if isinstance(shape, (Sequence, np.ndarray)) and not isinstance(shape, str) else (None,)
    if any(isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 0 for size in sizes):
        raise ShapeError(f"input {name!r}: a shape is a tuple of integers, none negative; found {shape!r}")
    checked, kind = tuple(int(size) for size in sizes), numeric_dtype(dtype, f"input {name!r}")
    check_size(checked, kind, f"input {name!r}")
    return Tensor("input", shape=checked, dtype=kind, name=name)
