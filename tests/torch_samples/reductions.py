"""Reductions: PyTorch's ``dim`` as our ``axis``, of scalars too."""

from __future__ import annotations

from typing import Any

import tinygraph as tg

from .compare import Call, need


def axes(x: Any, dim: Any) -> Any:
    """Return ``dim`` as our ``axis``: of a scalar none, of an empty list all."""
    if dim is None or x.ndim == 0 or (isinstance(dim, list | tuple) and not dim):
        return None
    return tuple(dim) if isinstance(dim, list | tuple) else dim


def reduction(function: Call) -> Call:
    def call(x: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, out: Any = None) -> Any:
        return function(x, axis=axes(x, dim), keepdims=keepdim)

    return call


def extreme(function: Call, place: Call) -> Call:
    """Of an axis the extreme and its place, of a whole tensor the extreme alone."""

    def call(x: Any, dim: Any = None, keepdim: bool = False) -> Any:
        settings = {"axis": axes(x, dim), "keepdims": keepdim and x.ndim > 0}
        return function(x, **settings) if dim is None else (function(x, **settings), place(x, **settings))

    return call


def spread(square: bool, *, also_mean: bool = False) -> Call:
    """Variance, or deviation if not ``square``; PyTorch divides by one less than the count if not told otherwise."""

    def call(x: Any, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = 1) -> Any:
        if isinstance(dim, bool):
            dim, unbiased = None, dim
        correction = int(unbiased) if unbiased is not None else 1 if correction is None else correction
        need(correction == int(correction), "a correction that is no whole number")
        need(correction >= 0, "a negative correction")
        settings = {"axis": axes(x, dim), "keepdims": keepdim}
        y = tg.variance(x, **settings, correction=int(correction))
        y = y if square else tg.sqrt(y)
        return (y, tg.mean(x, **settings)) if also_mean else y

    return call


def along(function: Call) -> Call:
    """A function along one axis; of a scalar, along the only axis of a line of one."""

    def call(x: Any, dim: int, dtype: Any = None) -> Any:
        return function(x, dim) if x.ndim else tg.reshape(function(tg.reshape(x, (1,)), 0), ())

    return call
