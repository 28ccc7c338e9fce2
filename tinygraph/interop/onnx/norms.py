"""ONNX's normalizations. Each is recorded as one node, so that a model's equations call it by its name."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.graph.apply import apply
from tinygraph.graph.op import Op
from tinygraph.graph.tensor import Tensor
from tinygraph.interop.onnx.node import Node, Value
from tinygraph.ops.comparison import comparison as cmp
from tinygraph.ops.elementwise import arithmetic as el
from tinygraph.ops.elementwise import exponential as ex
from tinygraph.ops.normalization import normalization as nz
from tinygraph.ops.reduction import norm
from tinygraph.ops.reduction import reduction as red
from tinygraph.ops.shape import shape as sh
from tinygraph.ops.statistics import statistics as st


def as_one(op: Op, *inputs: Value) -> Value:
    """Record an operation that is made of others as one node."""
    return apply(op, inputs) if any(isinstance(x, Tensor) for x in inputs) else op(*inputs)


def _epsilon(n: Node) -> float:
    return n.number("epsilon", 1e-5)


def batch_normalization(n: Node, x: Value, scale: Value, shift: Value, mean: Value, variance: Value) -> Any:
    """BatchNormalization: by the mean and variance given, or in training by those of the batch, with their running means."""
    if n.get("spatial", 1) != 1:
        n.fail("statistics for each place of the image (spatial=0) are not known")
    if n.opset < 7 and n.get("is_test", 0) == 0 and "is_test" in n.attributes:
        n.fail("it is written to train (is_test=0); export the model for prediction")
    if not n.get("training_mode", 0):
        if any(map(n.wants, range(1, 5))):
            n.fail("in prediction there are no running statistics to give")
        return as_one(nz.BatchNorm(_epsilon(n)), x, scale, shift, mean, variance)
    momentum = 1 - n.number("momentum", 0.9)
    y = as_one(nz.BatchNorm(_epsilon(n), training=True), x, scale, shift, mean, variance)
    means = as_one(nz.RunningMean(momentum), mean, x)
    return y, means, as_one(nz.RunningVariance(momentum, correction=0), variance, x)


def instance_normalization(n: Node, x: Value, scale: Value, shift: Value) -> Value:
    """InstanceNormalization: each channel of each sample by itself."""
    return as_one(nz.InstanceNorm(_epsilon(n)), x, scale, shift)


def layer_normalization(n: Node, x: Value, scale: Value, shift: Value = None) -> Any:
    """LayerNormalization: over all axes from ``axis`` on; with the mean, and one over the deviation, where they are wanted."""
    axis = n.axis(n.get("axis", -1), x)
    shift = np.zeros((), x.dtype) if shift is None else shift
    y = as_one(nz.LayerNorm(axis if axis < x.ndim - 1 else -1, _epsilon(n)), x, scale, shift)
    if not n.wants(1) and not n.wants(2):
        return y
    axes = tuple(range(axis, x.ndim))
    deviation = ex.sqrt(el.add(st.variance(x, axis=axes, keepdims=True), np.asarray(_epsilon(n), x.dtype)))
    return y, red.mean(x, axis=axes, keepdims=True), el.divide(np.ones((), x.dtype), deviation)


def group_normalization(n: Node, x: Value, scale: Value, shift: Value) -> Value:
    """GroupNormalization: before opset 21 with one scale for each group."""
    groups, op = n.need("num_groups"), nz.GroupNorm
    if n.opset < 21 and scale.ndim == 1 and scale.shape[0] == groups:
        scale, shift = (_repeated(part, x.shape[1] // groups) for part in (scale, shift))
    return as_one(op(groups, _epsilon(n)), x, scale, shift)


def _repeated(x: Value, count: int) -> Value:
    """Return numbers for groups as numbers for each of their ``count`` channels."""
    return sh.reshape(sh.broadcast_to(sh.expand_dims(x, 1), (x.shape[0], count)), (-1,))


def rms_normalization(n: Node, x: Value, scale: Value) -> Value:
    """RMSNormalization: divided by the root of the mean square over all axes from ``axis`` on."""
    axes = tuple(range(n.axis(n.get("axis", -1), x), x.ndim))
    mean = red.mean(el.multiply(x, x), axis=axes, keepdims=True)
    return el.multiply(el.divide(x, ex.sqrt(el.add(mean, np.asarray(_epsilon(n), x.dtype)))), scale)


def mean_variance_normalization(n: Node, x: Value) -> Value:
    """MeanVarianceNormalization."""
    return st.standardize(x, axis=tuple(n.axis(a, x) for a in n.get("axes", [0, 2, 3])), epsilon=1e-18)


def lp_normalization(n: Node, x: Value) -> Value:
    """LpNormalization: divided by the sum of sizes, or by the length; 0 stays 0."""
    axis, p = n.axis(n.get("axis", -1), x), n.get("p", 2)
    if p not in (1, 2):
        n.fail(f"its p must be 1 or 2; found {p}")
    size = (norm.l1_norm if p == 1 else norm.l2_norm)(x, axis=axis, keepdims=True)
    return el.divide(x, cmp.where(cmp.equal(size, np.zeros((), x.dtype)), np.ones((), x.dtype), size))


def local_response_normalization(n: Node, x: Value) -> Value:
    """LRN: each element divided by a power of the squares in neighbouring channels."""
    numbers = {name: n.number(name, default) for name, default in (("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0))}
    return as_one(nz.LocalResponseNorm(n.need("size"), **numbers), x)
