"""Picking and putting by positions, and orders of size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import tinygraph as tg

from .compare import need
from .shapes import alike


def indexed(x: Any, index: Any) -> Any:
    if isinstance(index, list) and all(isinstance(part, list | np.ndarray) for part in index):
        index = tuple(index)
    return x[index]


def corner(x: Any, shape: Sequence[int], dim: int) -> Any:
    """Return of ``x`` what positions of ``shape`` along ``dim`` stand beside."""
    rest = [slice(size) for size in shape]
    rest[dim] = slice(None)
    return x[tuple(rest)]


def gathered(x: Any, dim: int, index: Any, **_: Any) -> Any:
    need(x.ndim > 0, "positions along an axis of a scalar")
    need(index.ndim == x.ndim, "positions of nothing with fewer axes than x")
    return tg.gather_elements(corner(x, index.shape, dim), index.astype(np.int64), axis=dim)


def scattered(x: Any, dim: int, index: Any, source: Any) -> Any:
    need(x.ndim > 0, "positions along an axis of a scalar")
    part = source[tuple(slice(size) for size in index.shape)]
    dim = dim % x.ndim
    to = tuple(x.shape[dim] if axis == dim else size for axis, size in enumerate(index.shape))
    added = tg.scatter_add_elements(part, index, to=to, axis=dim)
    return x + tg.pad(added, tuple((0, whole - size) for whole, size in zip(x.shape, to, strict=True)))


def taken_along(x: Any, index: Any, dim: int | None = None) -> Any:
    if dim is None:
        return tg.gather_elements(tg.reshape(x, (-1,)), index.reshape(-1))
    shape = list(np.broadcast_shapes(*(np.delete(y.shape, dim) for y in (x, index))))
    axis = dim % x.ndim
    large, chosen = ((*shape[:axis], y.shape[axis], *shape[axis:]) for y in (x, index))
    return tg.gather_elements(tg.broadcast_to(x, large), np.broadcast_to(index, chosen), axis=axis)


def picked(x: Any, dim: int, index: Any) -> Any:
    need(x.ndim > 0, "positions along an axis of a scalar")
    return tg.gather(x, index, dim)


def added_at(x: Any, dim: int, index: Any, source: Any, *, alpha: float = 1) -> Any:
    need(x.ndim > 0, "positions along an axis of a scalar")
    return x + alpha * tg.scatter_add(source, index, size=x.shape[dim], axis=dim)


def put_at(x: Any, index: Any, values: Any, accumulate: bool = False) -> Any:
    index = tuple(index)
    ones = np.zeros(x.shape)
    ones[index] = 1
    new = tg.put(tg.broadcast_to(values, ones[index].shape), index, x.shape)
    return x + new if accumulate else tg.where(ones == 1, new, x)


def largest(x: Any, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    need(x.ndim > 0, "an axis of a scalar")
    return tuple(function(x, k, axis=dim, largest=largest) for function in (tg.top_k, tg.top_k_indices))


def in_order(x: Any, dim: int = -1, descending: bool = False, *, stable: bool = False) -> Any:
    need(x.ndim > 0, "an axis of a scalar")
    return largest(x, x.shape[dim], dim, descending)


def masked(x: Any, mask: Any) -> Any:
    need(mask.ndim > 0 or x.ndim > 0, "a mask without axes")
    x, mask = alike(x, mask)
    return x[mask]


def one_hot(x: Any, num_classes: int) -> Any:
    return tg.one_hot(tg.tensor(x), int(x.max()) + 1 if num_classes == -1 else num_classes, "int64")
