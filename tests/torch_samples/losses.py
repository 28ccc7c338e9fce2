"""Losses, which are means here."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import tinygraph as tg

from .compare import Call, need
from .shapes import moved


def loss(function: Call) -> Call:
    """A loss that is a mean, or as many times that as it is a mean of."""

    def call(
        x: Any, y: Any, *, reduction: str = "mean", weight: Any = None, pos_weight: Any = None, **settings: Any
    ) -> Any:
        if pos_weight is not None:
            need(bool((as_array(pos_weight) >= 0).all()), "negative weights")
            settings["pos_weight"] = as_array(pos_weight)
        return times_count(function(x, y, **settings), reduction, x.size)

    return call


def as_array(x: Any) -> Any:
    return x.value if isinstance(x, tg.Tensor) else x


def smooth_l1(x: Any, y: Any, beta: float = 1.0) -> Any:
    """With a ``beta`` of 0 it is ``l1``, and called so here."""
    return tg.smooth_l1(x, y, beta=beta) if beta else tg.l1(x, y)


def times_count(mean: Any, reduction: str, count: Any) -> Any:
    need(reduction != "none", "the losses of single elements")
    return mean * count if reduction == "sum" else mean


def classes_last(x: Any) -> Any:
    """Return scores ``(N, C, ...)`` or ``(C,)`` as rows of classes."""
    if x.ndim == 1:
        return tg.reshape(x, (1, -1))
    return tg.reshape(moved(x, 1, -1), (-1, x.shape[1]))


def of_classes(function: Call) -> Call:
    def call(
        x: Any,
        y: Any,
        weight: Any = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> Any:
        rows, numbers = classes_last(x), y.dtype.kind == "i"
        labels = y.reshape(-1) if numbers else classes_last(y)
        need(bool(rows.shape[0]), "a mean of nothing")
        need(weight is None or bool((as_array(weight) >= 0).all()), "negative weights")
        settings = {"weight": None if weight is None else as_array(weight), "label_smoothing": label_smoothing}
        settings = {name: value for name, value in settings.items() if value is not None and np.any(value)}
        count: Any = rows.shape[0]
        if numbers:
            settings["ignore_index"] = ignore_index
            kept = as_array(labels)[as_array(labels) != ignore_index]
            need(bool(kept.size), "a mean of nothing")
            count = kept.size if weight is None else as_array(weight)[kept].sum()
        return times_count(function(rows, labels, **settings), reduction, count)

    return call


def divergence(x: Any, y: Any, *, reduction: str = "mean", log_target: bool = False) -> Any:
    need(x.ndim > 0, "samples without an axis")
    need(reduction != "none", "the losses of single elements")
    divided = {"batchmean": x.shape[0], "mean": x.size, "sum": 1}[reduction]
    return tg.kl_divergence(x, tg.exp(y) if log_target else y) * (math.prod(x.shape[:-1]) / divided)
