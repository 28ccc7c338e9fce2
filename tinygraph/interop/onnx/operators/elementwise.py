"""ONNX's elementwise operators: one result for each element."""

from __future__ import annotations

import numpy as np

from tinygraph.interop.onnx.node import Node, is_constant
from tinygraph.interop.onnx.operators.pairs import BINARY, LOGICAL, NUMBERED, UNARY, VARIADIC
from tinygraph.interop.onnx.operators.table import OPERATORS, Operator, Rule, operator, ops

# Before this operator set, a second operand was broadcast only where an attribute said so, and along which axis.
_BROADCAST_BY_AXIS = 7


def _unary(name: str) -> Rule:
    function = getattr(ops, name)
    return lambda node, x: function(x)


def _binary(name: str) -> Rule:
    function = getattr(ops, name)
    return lambda node, x, y: function(x, _aligned(node, x, y))


def _variadic(name: str) -> Rule:
    function = getattr(ops, name)
    return lambda node, *x: function(list(x)) if len(x) > 1 else x[0]


def _numbered(name, attributes) -> Rule:
    function = getattr(ops, name)
    return lambda node, x: function(x, **{own: node.number(*given) for own, given in attributes.items()})


OPERATORS |= {onnx: Operator(_unary(name)) for onnx, name in UNARY.items()}
OPERATORS |= {onnx: Operator(_binary(name)) for onnx, name in (BINARY | LOGICAL).items()}
OPERATORS |= {onnx: Operator(_variadic(name)) for onnx, name in VARIADIC.items()}
OPERATORS |= {onnx: Operator(_numbered(*entry)) for onnx, entry in NUMBERED.items()}
OPERATORS |= {
    # What it returns is the same value, so that a weight stays a weight.
    "Identity": Operator(lambda node, x: x),
    "CastLike": Operator(lambda node, x, like: to_dtype(x, like.dtype)),
    "Cast": Operator(lambda node, x: to_dtype(x, node.dtype(node.need("to")))),
    "Gelu": Operator(lambda node, x: ops.gelu(x, approximate=node.get("approximate", "none"))),
    "Mod": Operator(lambda node, x, y: ops.mod(x, y, fmod=bool(node.get("fmod", 0)))),
    "Where": Operator(lambda node, condition, x, y: ops.where(condition, x, y)),
}


def _aligned(node: Node, x, y):
    """Return ``y`` with the axes that the broadcasting of early operator sets gives it."""
    if node.opset >= _BROADCAST_BY_AXIS or not node.get("broadcast") or "axis" not in node.attributes:
        return y
    trailing = x.ndim - node.axis(node.get("axis"), x) - y.ndim
    return ops.expand_dims(y, tuple(range(y.ndim, y.ndim + trailing))) if trailing > 0 else y


def to_dtype(x, dtype):
    """Return a tensor in another dtype, or the tensor itself where it has it already."""
    return x if x.dtype == dtype else ops.cast(x, np.dtype(dtype).name)


@operator("Div")
def divide(node: Node, x, y):
    """Divide; for integers, drop the remainder, which has the sign of the dividend."""
    y = _aligned(node, x, y)
    if x.dtype.kind == "f":
        return ops.divide(x, y)
    if x.dtype.itemsize < 8 or not (is_constant(x) and is_constant(y)):
        return ops.cast(ops.divide(ops.subtract(x, ops.mod(x, y, fmod=True)), y), x.dtype.name)
    return (x - np.fmod(x, y)) // y


@operator("Pow")
def power(node: Node, x, y):
    """Return a power in the dtype of the base."""
    y = _aligned(node, x, y)
    if x.dtype == y.dtype:
        return ops.power(x, y)
    real = x.dtype if x.dtype.kind == "f" else "float64"
    return to_dtype(ops.power(to_dtype(x, real), to_dtype(y, real)), x.dtype)


@operator("Clip", constants=(1, 2))
def clip(node: Node, x, low=None, high=None):
    """Clip to limits that are attributes (before opset 11) or inputs; the upper limit wins."""
    if node.opset < 11:
        low, high = (None if node.get(k) is None else np.asarray(node.get(k), x.dtype) for k in ("min", "max"))
    known = all(limit is None or (is_constant(limit) and limit.size == 1) for limit in (low, high))
    if known and x.dtype.kind == "f":
        # Each as the shortest number that is the same in its dtype.
        least, most = (None if limit is None else float(str(limit.reshape(())[()])) for limit in (low, high))
        if least is None or most is None or least <= most:
            return x if least is None and most is None else ops.clip(x, least, most)
    x = x if low is None else ops.maximum(x, low)
    return x if high is None else ops.minimum(x, high)


@operator("Dropout", constants=(1, 2))
def dropout(node: Node, x, ratio=None, training=None):
    """Drop nothing, as in prediction."""
    if training is not None and training.any() and (ratio is None or ratio != 0):
        node.fail("it is written for training; export the model for prediction, from PyTorch after model.eval()")
    return (x, np.ones(node.allocate(x.shape), bool)) if node.wants(1) else x


@operator("PRelu")
def prelu(node: Node, x, slope):
    """Return PReLU; before opset 7, one slope for each channel."""
    if node.opset < _BROADCAST_BY_AXIS and slope.ndim == 1 and slope.shape[0] > 1:
        slope = ops.expand_dims(slope, tuple(range(1, x.ndim - 1)))
    return ops.prelu(x, slope)


@operator("IsInf")
def is_infinite(node: Node, x):
    """Test for infinity of one sign or both."""
    signs = {sign: bool(node.get(f"detect_{sign}", 1)) for sign in ("negative", "positive")}
    return ops.isinf(x, **signs)


@operator("ThresholdedRelu")
def thresholded_relu(node: Node, x):
    """Return 0 for all that is not greater than alpha, NaN too, which our ``thresholded_relu`` lets through."""
    alpha = np.asarray(node.number("alpha", 1.0), x.dtype)
    return ops.where(ops.greater(x, alpha), x, np.zeros((), x.dtype))


@operator("Shrink")
def shrink(node: Node, x):
    """Move elements outside -lambd..lambd towards 0 by the bias; return 0 within."""
    lambd, bias = (np.asarray(node.number(*number), x.dtype) for number in (("lambd", 0.5), ("bias", 0.0)))
    low = ops.where(ops.less(x, -lambd), ops.add(x, bias), np.zeros((), x.dtype))
    return ops.where(ops.greater(x, lambd), ops.subtract(x, bias), low)


@operator("Swish")
def swish(node: Node, x):
    """Return x sigmoid(alpha x)."""
    alpha = node.number("alpha", 1.0)
    return ops.multiply(x, ops.sigmoid(x if alpha == 1.0 else ops.multiply(x, np.asarray(alpha, x.dtype))))
