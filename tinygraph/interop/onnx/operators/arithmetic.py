"""ONNX's operators that compute: elementwise, reductions, matrix products, softmax."""

import math

import numpy as np

from tinygraph.interop.onnx.node import OPERATORS, Node, Operator, Rule, is_constant, operator, ops
from tinygraph.interop.onnx.operators.pairs import ATTRIBUTES, BINARY, LOGICAL, REDUCTIONS, UNARY, VARIADIC, Attributes

# Before this operator set, a second operand was broadcast only where an attribute said so, and along which axis.
_BROADCAST_BY_AXIS = 7


def _binary(name: str) -> Rule:
    function = getattr(ops, name)
    return lambda node, x, y: function(x, _aligned(node, x, y))


def _variadic(name: str) -> Rule:
    function = getattr(ops, name)
    return lambda node, *x: function(list(x)) if len(x) > 1 else x[0]


def _with_attributes(name: str, attributes: Attributes) -> Rule:
    function = getattr(ops, name)
    return lambda node, *x: function(*x, **{own: node.read(*given) for own, given in attributes.items()})


OPERATORS |= {onnx: Operator(_with_attributes(name, {})) for onnx, name in UNARY.items()}
OPERATORS |= {onnx: Operator(_binary(name)) for onnx, name in (BINARY | LOGICAL).items()}
OPERATORS |= {onnx: Operator(_variadic(name)) for onnx, name in VARIADIC.items()}
for _onnx, _entry in ATTRIBUTES.items():
    operator(_onnx, weights={1: "weight", 2: "bias"} if "Norm" in _onnx else {})(_with_attributes(*_entry))
OPERATORS |= {
    # It returns the same value, so that a weight stays a weight.
    "Identity": Operator(lambda node, x: x),
    "Cast": Operator(lambda node, x: to_dtype(x, node.dtype(node.read("to")))),
    "CastLike": Operator(lambda node, x, like: to_dtype(x, like.dtype)),
    "Einsum": Operator(lambda node, *x: ops.einsum(list(x), node.read("equation").replace(" ", ""))),
    "GatherND": Operator(_with_attributes("gather_nd", {"batch_dims": ("batch_dims", 0)})),
    "MatMul": Operator(_with_attributes("matmul", {}), weights={0: "weight", 1: "weight"}),
    "Mod": Operator(_with_attributes("mod", {"fmod": ("fmod", False)})),
    "SpaceToDepth": Operator(_with_attributes("space_to_depth", ATTRIBUTES["DepthToSpace"][1])),
    "Where": Operator(_with_attributes("where", {})),
}
# ONNX defines these by other operators, in all operator sets; tinygraph has no operation that computes just the same.
_LOSSES = ("NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss")
OPERATORS |= dict.fromkeys((*_LOSSES, "Shrink", "Swish", "ThresholdedRelu"), Operator(None))


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


@operator("PRelu", weights={1: "weight"})
def prelu(node: Node, x, slope):
    """Return PReLU; before opset 7, one slope for each channel."""
    if node.opset < _BROADCAST_BY_AXIS and slope.ndim == 1 and slope.shape[0] > 1:
        slope = ops.expand_dims(slope, tuple(range(1, x.ndim - 1)))
    return ops.prelu(x, slope)


def _reduction(function) -> Rule:
    """Return the rule of a reduction, a function of a tensor, its axes and whether they are kept."""

    def rule(node: Node, x, axes):
        axis = tuple(node.axis(a, x) for a in axes or ())
        over = axis if axis or node.get("noop_with_empty_axes", 0) else None
        return to_dtype(function(x, axis=over, keepdims=node.read("keepdims", True)), x.dtype)

    return rule


_REDUCTIONS = {onnx: getattr(ops, name) for onnx, name in REDUCTIONS.items()} | {
    "ReduceLogSum": lambda x, **options: ops.log(ops.sum(x, **options)),
    "ReduceSumSquare": lambda x, **options: ops.sum(ops.multiply(x, x), **options),
}
for _onnx, _function in _REDUCTIONS.items():
    operator(_onnx, integers={1: "axes"})(_reduction(_function))


@operator("Gemm", weights={1: "weight", 2: "bias"})
def gemm(node: Node, a, b, c=None):
    """Return alpha a b + beta c, with either matrix transposed."""
    if a.ndim != 2 or b.ndim != 2:
        node.fail(f"it multiplies matrices; found shapes {tuple(a.shape)} and {tuple(b.shape)}")
    a, b = (ops.transpose(x) if node.get(name, 0) else x for x, name in ((a, "transA"), (b, "transB")))
    product = _scaled(ops.matmul(a, b), node.read("alpha", 1.0))
    return product if c is None else ops.add(product, _scaled(c, node.read("beta", 1.0)))


def _scaled(x, factor: float):
    return x if factor == 1.0 else ops.multiply(x, np.asarray(factor, x.dtype))


@operator("Softmax", "LogSoftmax")
def softmax(node: Node, x):
    """Return softmax or its logarithm; before opset 13, over all axes from ``axis`` on as if they were one."""
    function = ops.softmax if node.op_type == "Softmax" else ops.log_softmax
    axis = node.axis(node.get("axis", -1 if node.opset >= 13 else 1), x)
    if node.opset >= 13 or math.prod(x.shape[axis + 1 :]) == 1:
        return function(x, axis=axis if axis < x.ndim - 1 else -1)
    rows = ops.reshape(x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))
    return ops.reshape(function(rows), tuple(x.shape))


@operator("Hardmax")
def hardmax(node: Node, x):
    """Return 1 at the first maximum and 0 elsewhere; before opset 13, over all axes from ``axis`` on as if they were one."""
    axis = node.axis(node.get("axis", -1 if node.opset >= 13 else 1), x)
    axes = (axis,) if node.opset >= 13 else tuple(range(axis, x.ndim))
    return ops.cast(ops.first_extreme(x, axes), x.dtype.name)


@operator("ArgMax", "ArgMin")
def position(node: Node, x):
    """Return the position of an extreme element along one axis."""
    options = {"keepdims": node.read("keepdims", True), "last": node.read("select_last_index", False)}
    return getattr(ops, node.op_type.lower())(x, axis=node.axis(node.get("axis", 0), x), **options)


@operator("CumSum", constants=(1,))
def cumsum(node: Node, x, axis):
    """Return cumulative sums along one axis."""
    options = {name: node.read(name, False) for name in ("exclusive", "reverse")}
    return to_dtype(ops.cumsum(x, node.axis(int(axis.reshape(())), x), **options), x.dtype)
