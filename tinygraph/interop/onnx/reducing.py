"""ONNX's operators that put elements together: reductions, matrix products, softmax, norms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygraph.interop.onnx.node import Node, Rule, Value
from tinygraph.interop.onnx.shaping import axes_of
from tinygraph.ops import activation as act
from tinygraph.ops import elementwise as el
from tinygraph.ops import reduction as red
from tinygraph.ops import shape as sh
from tinygraph.ops.linear import matmul


def reduction(function: Rule) -> Rule:
    """Return the rule of a reduction that is ``function`` of a tensor, its axes and whether they are kept."""

    def rule(n: Node, x: Value, axes: Value = None) -> Value:
        given = axes_of(n, axes)
        if not given and n.get("noop_with_empty_axes", 0):
            axis: tuple[int, ...] | None = ()
        else:
            axis = tuple(n.axis(a, x) for a in given) if given else None
        y = function(x, axis=axis, keepdims=bool(n.get("keepdims", 1)))
        return y if y.dtype == x.dtype else el.cast(y, x.dtype.name)

    return rule


def sum_of(inner: Rule, outer: Rule = lambda y: y) -> Rule:
    """Return a reduction: ``outer`` of the sum of ``inner`` of the elements."""
    return reduction(lambda x, axis, keepdims: outer(red.sum(inner(x), axis=axis, keepdims=keepdims)))


def square(x: Value) -> Value:
    """Return the square of each element."""
    return el.multiply(x, x)


def gemm(n: Node, a: Value, b: Value, c: Value = None) -> Value:
    """Gemm: alpha a b + beta c, either matrix transposed."""
    if a.ndim != 2 or b.ndim != 2:
        n.fail(f"it multiplies matrices; found shapes {tuple(a.shape)} and {tuple(b.shape)}")
    product = matmul(sh.transpose(a) if n.get("transA", 0) else a, sh.transpose(b) if n.get("transB", 0) else b)
    product = _scaled(product, n.number("alpha", 1.0))
    return product if c is None else el.add(product, _scaled(c, n.number("beta", 1.0)))


def _scaled(x: Value, factor: float) -> Value:
    return x if factor == 1.0 else el.multiply(x, np.asarray(factor, x.dtype))


def softmax(function: Rule) -> Rule:
    """Return the rule of softmax or its logarithm: before opset 13 over all axes from ``axis`` on, as one."""

    def rule(n: Node, x: Value) -> Value:
        axis = n.axis(n.get("axis", -1 if n.opset >= 13 else 1), x)
        if n.opset >= 13 or math.prod(x.shape[axis + 1 :]) == 1:
            return function(x, axis=axis if axis < x.ndim - 1 else -1)
        rows = sh.reshape(x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))
        return sh.reshape(function(rows), tuple(x.shape))

    return rule


def lp_normalization(n: Node, x: Value) -> Value:
    """LpNormalization: divided by the sum of sizes, or by the length; 0 stays 0."""
    axis, p = n.axis(n.get("axis", -1), x), n.get("p", 2)
    if p not in (1, 2):
        n.fail(f"its p must be 1 or 2; found {p}")
    total = red.sum(el.abs(x) if p == 1 else square(x), axis=axis, keepdims=True)
    norm = total if p == 1 else el.sqrt(total)
    from tinygraph.ops.comparison import equal, where

    return el.divide(x, where(equal(norm, np.zeros((), x.dtype)), np.ones((), x.dtype), norm))


def standardized(x: Value, axes: tuple[int, ...], epsilon: float) -> Value:
    """Return ``x`` less its mean over axes, divided by the square root of its variance and ``epsilon``."""
    centered = el.subtract(x, red.mean(x, axis=axes, keepdims=True))
    variance = red.mean(square(centered), axis=axes, keepdims=True)
    return el.divide(centered, el.sqrt(el.add(variance, np.asarray(epsilon, x.dtype))))


def instance_normalization(n: Node, x: Value, scale: Value, b: Value) -> Value:
    """InstanceNormalization: each channel of each sample by itself."""
    axes = x.ndim - 2
    y = standardized(x, tuple(range(2, x.ndim)), n.number("epsilon", 1e-5))
    return el.add(el.multiply(y, column(scale, axes)), column(b, axes))


def batch_normalization(n: Node, x: Value, scale: Value, b: Value, mean: Value, variance: Value) -> Any:
    """BatchNormalization with the mean and variance of the file, as in prediction."""
    if n.get("training_mode", 0) or any(map(n.wants, range(1, 5))):
        n.fail("it is written to train; export the model for prediction")
    axes = x.ndim - 2
    scale, b, mean, variance = (column(part, axes) for part in (scale, b, mean, variance))
    deviation = el.sqrt(el.add(variance, np.asarray(n.number("epsilon", 1e-5), variance.dtype)))
    return el.add(el.multiply(el.divide(el.subtract(x, mean), deviation), scale), b)


def layer_normalization(n: Node, x: Value, scale: Value, b: Value = None) -> Value:
    """LayerNormalization: over all axes from ``axis`` on."""
    if n.wants(1) or n.wants(2):
        n.fail("the mean and deviation are not given as outputs")
    axis = n.axis(n.get("axis", -1), x)
    y = el.multiply(standardized(x, tuple(range(axis, x.ndim)), n.number("epsilon", 1e-5)), scale)
    return y if b is None else el.add(y, b)


def rms_normalization(n: Node, x: Value, scale: Value) -> Value:
    """RMSNormalization: divided by the root of the mean square over all axes from ``axis`` on."""
    axis = n.axis(n.get("axis", -1), x)
    mean = red.mean(square(x), axis=tuple(range(axis, x.ndim)), keepdims=True)
    return el.multiply(el.divide(x, el.sqrt(el.add(mean, np.asarray(n.number("epsilon", 1e-5), x.dtype)))), scale)


def mean_variance_normalization(n: Node, x: Value) -> Value:
    """MeanVarianceNormalization."""
    return standardized(x, tuple(n.axis(a, x) for a in n.get("axes", [0, 2, 3])), 1e-9)


def group_normalization(n: Node, x: Value, scale: Value, b: Value) -> Value:
    """GroupNormalization: channels in groups; since opset 21 one scale for each channel, before for each group."""
    groups, (count, channels, *image) = n.need("num_groups"), tuple(x.shape)
    parts = sh.reshape(x, (count, groups, channels // groups, *image))
    y = standardized(parts, tuple(range(2, parts.ndim)), n.number("epsilon", 1e-5))
    if n.opset < 21:
        axes = parts.ndim - 2
        return sh.reshape(el.add(el.multiply(y, column(scale, axes)), column(b, axes)), tuple(x.shape))
    y = sh.reshape(y, tuple(x.shape))
    return el.add(el.multiply(y, column(scale, len(image))), column(b, len(image)))


def column(x: Value, axes: int) -> Value:
    """Return one number for each channel with an axis of size 1 for each axis of an image."""
    return sh.reshape(x, (-1,) + (1,) * axes) if x.ndim == 1 and axes else x


def log_softmax(n: Node, x: Value) -> Value:
    """LogSoftmax."""
    return softmax(act.log_softmax)(n, x)
