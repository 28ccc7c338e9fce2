"""Normalizations, whose scale and shift may be left out there, and dropout."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import tinygraph as tg

from .compare import need
from .reductions import axes


def dropout(x: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    need(not training or p == 0, "chance, which is another there")
    need(p < 1, "a rate that leaves nothing")
    return tg.dropout(x, 0, rate=p, training=training)


def ones_and_zeros(count: Any, scale: Any, shift: Any) -> tuple[Any, Any]:
    return np.ones(count) if scale is None else scale, np.zeros(count) if shift is None else shift


def batch_norm(
    x: Any,
    mean: Any,
    variance: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    need(x.ndim > 1, "images without channels")
    scale, shift = ones_and_zeros(x.shape[1], weight, bias)
    zeros = np.zeros(x.shape[1])
    before, spread = (zeros if mean is None else mean), (zeros if variance is None else variance)
    return tg.batch_norm(x, scale, shift, before, spread, epsilon=eps, training=training)


def layer_norm(x: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    need(eps >= 0, "a negative epsilon")
    scale, shift = ones_and_zeros(tuple(normalized_shape), weight, bias)
    return tg.layer_norm(x, scale, shift, axis=-len(normalized_shape), epsilon=eps)


def group_norm(x: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    need(eps >= 0, "a negative epsilon")
    return tg.group_norm(x, *ones_and_zeros(x.shape[1], weight, bias), groups=num_groups, epsilon=eps)


def instance_norm(
    x: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    return tg.instance_norm(x, *ones_and_zeros(x.shape[1], weight, bias), epsilon=eps)


def response_norm(x: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Any:
    """A window of even size reaches one further to the front there, to the back here, as in ONNX."""
    turn = (lambda x: tg.flip(x, 1)) if size % 2 == 0 else (lambda x: x)
    return turn(tg.local_response_norm(turn(x), size=size, alpha=alpha, beta=beta, bias=k))


def rms_norm(x: Any, normalized_shape: Any, weight: Any = None, eps: float | None = None) -> Any:
    last = tuple(range(-len(normalized_shape), 0))
    eps = float(np.finfo(np.float64).eps) if eps is None else eps
    y = x / tg.sqrt(tg.mean(x * x, axis=last, keepdims=True) + eps)
    return y if weight is None else y * weight


def normalized(x: Any, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Any:
    need(p in (1, 2), "norms other than those of 1 and 2")
    function = tg.l1_norm if p == 1 else tg.l2_norm
    return x / tg.maximum(function(x, axis=axes(x, dim), keepdims=True), eps)


def vector_norm(x: Any, ord: Any = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    settings = {"axis": axes(x, dim), "keepdims": keepdim}
    choices = {1: tg.l1_norm, 2: tg.l2_norm, math.inf: lambda x, **s: tg.max(tg.abs(x), **s)}
    need(ord in choices, "norms other than those of 1, 2 and the largest")
    need(dtype is None, "results of another dtype")
    return choices[ord](x, **settings)
