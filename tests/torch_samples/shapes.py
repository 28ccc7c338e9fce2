"""Shapes: the same parts, orders and sizes by other names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

import tinygraph as tg


def moved(x: Any, source: int | Sequence[int], target: int | Sequence[int]) -> Any:
    sources, targets = np.atleast_1d(source), np.atleast_1d(target)
    return tg.transpose(x, np.moveaxis(np.empty(range(x.ndim)), sources, targets).shape) if x.ndim else x


def swapped(x: Any, first: int, second: int) -> Any:
    order = list(range(x.ndim))
    if order:
        order[first], order[second] = order[second], order[first]
    return tg.transpose(x, tuple(order))


def sizes(*given: Any) -> tuple[int, ...]:
    """Return sizes that stand in one list or one by one."""
    return tuple(given[0]) if len(given) == 1 and isinstance(given[0], list | tuple) else given


def expanded(x: Any, *to: Any) -> Any:
    to = sizes(*to)
    kept = (1,) * (len(to) - x.ndim) + tuple(x.shape)
    return tg.broadcast_to(x, tuple(old if new == -1 else new for old, new in zip(kept, to, strict=True)))


def repeated(x: Any, *reps: Any) -> Any:
    return tg.tile(x, sizes(*reps))


def parts(x: Any, size: Any, dim: int = 0) -> Any:
    """Parts of one size, the last perhaps smaller, or of the listed sizes."""
    length = x.shape[dim]
    wanted = list(size) if isinstance(size, list | tuple) else [min(size, length - i) for i in range(0, length, size)]
    return tg.split(x, wanted, axis=dim)


def chunks(x: Any, count: int, dim: int = 0) -> Any:
    return parts(x, math.ceil(x.shape[dim] / count), dim)


def split_at(x: Any, places: Any, dim: int = 0) -> Any:
    """Parts between ``places``, or so many parts of nearly the same size."""
    length = x.shape[dim]
    if np.ndim(places) == 0:
        count = int(places)
        return parts(x, [length // count + (i < length % count) for i in range(count)], dim)
    return parts(x, list(np.diff([0, *(int(place) for place in places), length])), dim)


def rolled(x: Any, shifts: Any, dims: Any = ()) -> Any:
    if not isinstance(dims, int) and not dims:
        return tg.reshape(rolled(tg.reshape(x, (-1,)), shifts, 0), x.shape)
    for shift, dim in zip(np.atleast_1d(shifts), np.atleast_1d(dims), strict=True):
        size = x.shape[dim]
        if size:
            x = tg.gather(x, (np.arange(size) - shift) % size, int(dim))
    return x


def turned(x: Any, k: int = 1, dims: Sequence[int] = (0, 1)) -> Any:
    for _ in range(k % 4):
        x = tg.flip(swapped(x, *dims), dims[0])
    return x


def stacked(x: Sequence[Any], dim: int = 0) -> Any:
    return tg.concatenate([tg.expand_dims(part, dim) for part in x], axis=dim)


def concatenated(x: Sequence[Any], dim: int = 0) -> Any:
    """PyTorch leaves lines of nothing out, whatever they are joined with."""
    kept = [part for part in x if part.shape != (0,)] or list(x)
    return tg.concatenate(kept, axis=dim)


def alike(*x: Any) -> list[Any]:
    """Return the tensors in the shape that they broadcast to together."""
    shape = np.broadcast_shapes(*(tuple(part.shape) for part in x))
    return [tg.broadcast_to(part, shape) for part in x]


def tensors(given: Any) -> Any:
    """Return the tensors that stand in one list or one by one."""
    return given[0] if len(given) == 1 and isinstance(given[0], list | tuple) else given


def deep(x: Any) -> Any:
    shape = {0: (1, 1, 1), 1: (1, -1, 1), 2: (*x.shape, 1)}.get(x.ndim, x.shape)
    return tg.reshape(x, shape)


def flattened(x: Any, start_dim: int, end_dim: int) -> Any:
    if not x.ndim:
        return tg.reshape(x, (1,))
    start, end = start_dim % x.ndim, end_dim % x.ndim
    if end == x.ndim - 1:
        return tg.flatten(x, start)
    return tg.reshape(x, (*x.shape[:start], math.prod(x.shape[start : end + 1]), *x.shape[end + 1 :]))


def unflattened(x: Any, dim: int, sizes: Any) -> tuple[int, ...]:
    dim = dim % x.ndim
    return (*x.shape[:dim], *sizes, *x.shape[dim + 1 :])


def at(x: Any, dim: int, index: Any) -> Any:
    """Return what indexes ``x`` along one axis."""
    return (slice(None),) * (dim % x.ndim) + (index,)


def narrowed(x: Any, dim: int, start: Any, length: int) -> Any:
    start = int(start) % x.shape[dim] if start < 0 else int(start)
    return x[at(x, dim, slice(start, start + length))]


def squeezed(x: Any, dim: Any) -> Any:
    """PyTorch leaves axes that are not of size 1 as they are."""
    dims = range(x.ndim) if dim is None else [dim] if isinstance(dim, int) else dim
    return tg.squeeze(x, tuple(axis for axis in dims if x.ndim and x.shape[axis] == 1))


def grid(*lines: Any, indexing: str = "ij") -> list[Any]:
    lines = tensors(lines)
    order = list(range(len(lines)))
    if indexing == "xy":
        order[:2] = order[:2][::-1]
    shape = tuple(lines[i].size for i in order)
    return [
        tg.broadcast_to(tg.reshape(x, tuple(-1 if place == i else 1 for place in order)), shape)
        for i, x in enumerate(lines)
    ]


def clamped(x: Any, low: Any, high: Any) -> Any:
    x = x if low is None else tg.maximum(x, low)
    return x if high is None else tg.minimum(x, high)


def channels(numbers: Any, x: Any) -> Any:
    """Return one number for each channel in a shape that broadcasts with ``x``."""
    return tg.reshape(numbers, (-1,) + (1,) * (x.ndim - 2)) if x.ndim > 1 and numbers.ndim else tg.reshape(numbers, ())
