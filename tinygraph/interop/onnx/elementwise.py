"""ONNX's elementwise operators as operations: one result for each element."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.interop.onnx.node import Node, Rule, Value, is_constant
from tinygraph.ops.activation import activation as act
from tinygraph.ops.activation import rectifier
from tinygraph.ops.comparison import comparison as cmp
from tinygraph.ops.comparison import logic
from tinygraph.ops.elementwise import arithmetic as el
from tinygraph.ops.elementwise import exponential as ex
from tinygraph.ops.elementwise import rounding
from tinygraph.ops.elementwise.cast import cast as cast_to
from tinygraph.ops.shape.shape import expand_dims

# Before this operator set, a second operand was broadcast only where an attribute said so, and along which axis.
_BROADCAST_BY_AXIS = 7


def unary(function: Rule) -> Rule:
    """Return the rule of an operator that is an operation on one tensor."""
    return lambda n, x: function(x)


def binary(function: Rule) -> Rule:
    """Return the rule of an operator that is an operation on two tensors."""
    return lambda n, x, y: function(x, aligned(n, x, y))


def several(function: Rule) -> Rule:
    """Return the rule of an operator that puts any number of tensors together; of one alone it is that one."""
    return lambda n, *x: function(list(x)) if len(x) > 1 else x[0]


def numbered(function: Rule, **attributes: tuple[str, float]) -> Rule:
    """Return the rule of an operation with numbers for attributes: its name for each, with ONNX's name and default."""
    return lambda n, x: function(x, **{own: n.number(name, default) for own, (name, default) in attributes.items()})


def aligned(n: Node, x: Value, y: Value) -> Value:
    """Return ``y`` with the axes that the broadcasting of early operator sets gives it."""
    if n.opset >= _BROADCAST_BY_AXIS or not n.get("broadcast") or "axis" not in n.attributes:
        return y
    trailing = x.ndim - n.axis(n.get("axis"), x) - y.ndim
    return expand_dims(y, tuple(range(y.ndim, y.ndim + trailing))) if trailing > 0 else y


def cast(n: Node, x: Value) -> Value:
    """Cast."""
    return to_dtype(x, n.dtype(n.need("to")))


def cast_like(n: Node, x: Value, like: Value) -> Value:
    """CastLike."""
    return to_dtype(x, like.dtype)


def to_dtype(x: Value, dtype: Any) -> Value:
    """Return a tensor in another dtype, or itself where it has it already."""
    return x if x.dtype == dtype else cast_to(x, dtype.name)


def divide(n: Node, x: Value, y: Value) -> Value:
    """Div: of whole numbers what is left without the remainder, which has the sign of the dividend."""
    y = aligned(n, x, y)
    if x.dtype.kind == "f":
        return el.divide(x, y)
    if x.dtype.itemsize < 8 or not (is_constant(x) and is_constant(y)):
        return cast_to(el.divide(el.subtract(x, rounding.mod(x, y, fmod=True)), y), x.dtype.name)
    return (x - np.fmod(x, y)) // y


def power(n: Node, x: Value, y: Value) -> Value:
    """Pow: the result has the type of the base."""
    y = aligned(n, x, y)
    if x.dtype == y.dtype:
        return ex.power(x, y)
    if x.dtype.kind == "f":
        return ex.power(x, cast_to(y, x.dtype.name))
    return cast_to(ex.power(cast_to(x, "float64"), cast_to(y, "float64")), x.dtype.name)


def clip(n: Node, x: Value, low: Value = None, high: Value = None) -> Value:
    """Clip: with limits as attributes (before opset 11) or as inputs; the upper limit wins."""
    if n.opset < 11:
        low, high = (None if n.get(k) is None else np.asarray(n.get(k), x.dtype) for k in ("min", "max"))
    known = all(limit is None or (is_constant(limit) and limit.size == 1) for limit in (low, high))
    if known and x.dtype.kind == "f":
        least, most = (None if limit is None else plain(limit) for limit in (low, high))
        if least is None or most is None or least <= most:
            return x if least is None and most is None else cmp.clip(x, least, most)
    x = x if low is None else cmp.maximum(x, low)
    return x if high is None else cmp.minimum(x, high)


def plain(x: Any) -> float:
    """Return a number of ONNX as the shortest that is the same in its own dtype."""
    return float(str(np.asarray(x).reshape(())[()]))


def dropout(n: Node, x: Value, ratio: Value = None, training: Value = None) -> Any:
    """Dropout as in prediction, which drops nothing."""
    if training is not None and training.any() and (ratio is None or ratio != 0):
        n.fail("it is written to train; export the model for prediction, from PyTorch after model.eval()")
    return (x, np.ones(n.allocated(x.shape), bool)) if n.wants(1) else x


def prelu(n: Node, x: Value, slope: Value) -> Value:
    """PRelu: before opset 7 one slope for each channel."""
    if n.opset < _BROADCAST_BY_AXIS and slope.ndim == 1 and slope.shape[0] > 1:
        slope = expand_dims(slope, tuple(range(1, x.ndim - 1)))
    return rectifier.prelu(x, slope)


def selu(n: Node, x: Value) -> Value:
    """Selu: the numbers by default are the more exact ones of opset 6."""
    return rectifier.selu(x, alpha=n.number("alpha", 1.6732632423543772), gamma=n.number("gamma", 1.0507009873554805))


def is_infinite(n: Node, x: Value) -> Value:
    """IsInf."""
    return logic.isinf(x, negative=bool(n.get("detect_negative", 1)), positive=bool(n.get("detect_positive", 1)))


def thresholded_relu(n: Node, x: Value) -> Value:
    """ThresholdedRelu: what is not greater than alpha is 0, NaN too, which ``thresholded_relu`` lets through."""
    return cmp.where(cmp.greater(x, _number(x, n.number("alpha", 1.0))), x, _zero(x))


def shrink(n: Node, x: Value) -> Value:
    """Shrink: nearer to 0 by the bias outside -lambd..lambd, and 0 within."""
    lambd, bias = n.number("lambd", 0.5), n.number("bias", 0.0)
    low = cmp.where(cmp.less(x, _number(x, -lambd)), el.add(x, _number(x, bias)), _zero(x))
    return cmp.where(cmp.greater(x, _number(x, lambd)), el.subtract(x, _number(x, bias)), low)


def swish(n: Node, x: Value) -> Value:
    """Swish: x sigmoid(alpha x)."""
    alpha = n.number("alpha", 1.0)
    return el.multiply(x, act.sigmoid(x if alpha == 1.0 else el.multiply(x, _number(x, alpha))))


def gelu(n: Node, x: Value) -> Value:
    """Gelu: exact, or by the tangent."""
    return act.gelu(x, approximate=n.get("approximate", "none"))


def _number(x: Value, number: float) -> Any:
    return np.asarray(number, x.dtype)


def _zero(x: Value) -> Any:
    return np.zeros((), x.dtype)
