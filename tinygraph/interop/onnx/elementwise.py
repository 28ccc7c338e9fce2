"""ONNX's elementwise operators as operations: one result for each element."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from tinygraph.interop.onnx.node import Node, Rule, Value, is_constant
from tinygraph.ops import activation as act
from tinygraph.ops import comparison as cmp
from tinygraph.ops import elementwise as el
from tinygraph.ops.shape import expand_dims

# Before this operator set, a second operand was broadcast only where an attribute said so, and along which axis.
_BROADCAST_BY_AXIS = 7


def unary(function: Rule) -> Rule:
    """Return the rule of an operator that is an operation on one tensor."""
    return lambda n, x: function(x)


def binary(function: Rule) -> Rule:
    """Return the rule of an operator that is an operation on two tensors."""
    return lambda n, x, y: function(x, aligned(n, x, y))


def variadic(function: Rule) -> Rule:
    """Return the rule of an operator that puts any number of tensors together two by two."""
    return lambda n, *x: functools.reduce(function, x)


def aligned(n: Node, x: Value, y: Value) -> Value:
    """Return ``y`` with the axes that the broadcasting of early operator sets gives it."""
    if n.opset >= _BROADCAST_BY_AXIS or not n.get("broadcast") or "axis" not in n.attributes:
        return y
    trailing = x.ndim - n.axis(n.get("axis"), x) - y.ndim
    return expand_dims(y, tuple(range(y.ndim, y.ndim + trailing))) if trailing > 0 else y


def cast(n: Node, x: Value, like: Value = None) -> Value:
    """Cast, and CastLike."""
    dtype = n.dtype(n.need("to")) if like is None else like.dtype
    return x if x.dtype == dtype else el.cast(x, dtype.name)


def divide(n: Node, x: Value, y: Value) -> Value:
    """Div: for whole numbers without the remainder, towards zero."""
    if x.dtype.kind == "f":
        return el.divide(x, aligned(n, x, y))
    if is_constant(x) and is_constant(y):
        return (np.sign(x) * np.sign(y) * (np.abs(x) // np.abs(y))).astype(x.dtype)
    return n.fail("whole numbers are divided only where they are known when the graph is recorded")


def power(n: Node, x: Value, y: Value) -> Value:
    """Pow: the result has the type of the base."""
    y = aligned(n, x, y)
    if x.dtype == y.dtype:
        return el.power(x, y)
    if x.dtype.kind == "f":
        return el.power(x, el.cast(y, x.dtype.name))
    return el.cast(el.power(el.cast(x, "float64"), el.cast(y, "float64")), x.dtype.name)


def clip(n: Node, x: Value, low: Value = None, high: Value = None) -> Value:
    """Clip: with limits as attributes (before opset 11) or as inputs; the upper limit wins."""
    if n.opset < 11:
        low, high = (None if n.get(k) is None else np.asarray(n.get(k), x.dtype) for k in ("min", "max"))
    known = all(limit is None or (is_constant(limit) and limit.size == 1) for limit in (low, high))
    if known and x.dtype.kind == "f":
        ends = [None if limit is None else plain(limit) for limit in (low, high)]
        if None in ends or ends[0] <= ends[1]:
            return act_clip(x, *ends)
    x = x if low is None else cmp.maximum(x, low)
    return x if high is None else cmp.minimum(x, high)


def act_clip(x: Value, low: float | None, high: float | None) -> Value:
    """Limit to a range, and to nothing where it is open on both sides."""
    return x if low is None and high is None else cmp.clip(x, low, high)


def plain(x: Any) -> float:
    """Return a number of ONNX as the shortest that is the same in its own dtype."""
    return float(str(np.asarray(x).reshape(())[()]))


def dropout(n: Node, x: Value, ratio: Value = None, training: Value = None) -> Any:
    """Dropout as in prediction, which drops nothing."""
    if training is not None and training.any() and (ratio is None or ratio != 0):
        n.fail("it is written to train; export the model for prediction")
    return (x, np.ones(n.checked_size(x.shape), bool)) if n.wants(1) else x


def prelu(n: Node, x: Value, slope: Value) -> Value:
    """PRelu: before opset 7 one slope for each channel."""
    if n.opset < _BROADCAST_BY_AXIS and slope.ndim == 1 and slope.shape[0] > 1:
        slope = expand_dims(slope, tuple(range(1, x.ndim - 1)))
    return cmp.where(cmp.less(x, _zero(x)), el.multiply(slope, x), x)


def elu(n: Node, x: Value) -> Value:
    """Elu: alpha (exp(x) - 1) below 0."""
    return _elu(x, n.number("alpha", 1.0))


def _elu(x: Value, alpha: float, scale: float = 1.0) -> Value:
    below = el.multiply(el.expm1(cmp.minimum(x, _zero(x))), _number(x, alpha))
    return el.add(act.relu(x), below) if scale == 1.0 else el.multiply(el.add(act.relu(x), below), _number(x, scale))


def selu(n: Node, x: Value) -> Value:
    """Selu: Elu with a scale; the defaults were other numbers before opset 6."""
    return _elu(x, n.number("alpha", 1.67326319), n.number("gamma", 1.05070102))


def celu(n: Node, x: Value) -> Value:
    """Celu: alpha (exp(x / alpha) - 1) below 0."""
    alpha = n.number("alpha", 1.0)
    below = el.multiply(el.expm1(el.divide(cmp.minimum(x, _zero(x)), _number(x, alpha))), _number(x, alpha))
    return el.add(act.relu(x), below)


def hard_sigmoid(n: Node, x: Value) -> Value:
    """HardSigmoid: alpha x + beta, limited to the range from 0 to 1."""
    alpha, beta = n.number("alpha", 0.2), n.number("beta", 0.5)
    return cmp.clip(el.add(el.multiply(x, _number(x, alpha)), _number(x, beta)), 0.0, 1.0)


def hard_swish(n: Node, x: Value) -> Value:
    """HardSwish: x times the hard sigmoid with alpha 1/6."""
    sixth = el.divide(cmp.clip(el.add(x, _number(x, 3.0)), 0.0, 6.0), _number(x, 6.0))
    return el.multiply(x, sixth)


def thresholded_relu(n: Node, x: Value) -> Value:
    """ThresholdedRelu: x above alpha, and 0 elsewhere."""
    return cmp.where(cmp.greater(x, _number(x, n.number("alpha", 1.0))), x, _zero(x))


def shrink(n: Node, x: Value) -> Value:
    """Shrink: nearer to 0 by the bias outside -lambd..lambd, and 0 within."""
    lambd, bias = n.number("lambd", 0.5), n.number("bias", 0.0)
    low = cmp.where(cmp.less(x, _number(x, -lambd)), el.add(x, _number(x, bias)), _zero(x))
    return cmp.where(cmp.greater(x, _number(x, lambd)), el.subtract(x, _number(x, bias)), low)


def softsign(n: Node, x: Value) -> Value:
    """Softsign: x / (1 + |x|)."""
    return el.divide(x, el.add(el.abs(x), _number(x, 1.0)))


def mish(n: Node, x: Value) -> Value:
    """Mish: x tanh(softplus(x))."""
    return el.multiply(x, act.tanh(act.softplus(x)))


def swish(n: Node, x: Value) -> Value:
    """Swish: x sigmoid(alpha x)."""
    alpha = n.number("alpha", 1.0)
    return el.multiply(x, act.sigmoid(x if alpha == 1.0 else el.multiply(x, _number(x, alpha))))


def leaky_relu(n: Node, x: Value) -> Value:
    """LeakyRelu: alpha x below 0."""
    return act.leaky_relu(x, slope=n.number("alpha", 0.01))


def gelu(n: Node, x: Value) -> Value:
    """Gelu: exact, or by the tangent."""
    return act.gelu(x, approximate=n.get("approximate", "none"))


def mean(n: Node, *x: Value) -> Value:
    """Mean: of any number of tensors, element by element."""
    total = functools.reduce(el.add, x)
    return el.divide(total, _number(x[0], float(len(x)))) if len(x) > 1 else total


def _number(x: Value, number: float) -> Any:
    return np.asarray(number, x.dtype)


def _zero(x: Value) -> Any:
    return np.zeros((), x.dtype)


def one(x: Value) -> Any:
    """Return 1 in the dtype of ``x``."""
    return np.ones((), x.dtype)
