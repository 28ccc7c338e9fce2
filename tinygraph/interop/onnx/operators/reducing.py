"""ONNX's operators that combine elements: reductions, matrix products, softmax."""

from __future__ import annotations

import math

import numpy as np

from tinygraph.interop.onnx.node import Node
from tinygraph.interop.onnx.operators.elementwise import to_dtype
from tinygraph.interop.onnx.operators.pairs import REDUCTIONS
from tinygraph.interop.onnx.operators.shaping import axes_of
from tinygraph.interop.onnx.operators.table import OPERATORS, Operator, Rule, operator, ops


def _reduction(function) -> Rule:
    """Return the rule of a reduction, a function of a tensor, its axes and whether they are kept."""

    def rule(node: Node, x, axes=None):
        given = axes_of(node, axes)
        if not given and node.get("noop_with_empty_axes", 0):
            axis: tuple[int, ...] | None = ()
        else:
            axis = tuple(node.axis(a, x) for a in given) if given else None
        return to_dtype(function(x, axis=axis, keepdims=bool(node.get("keepdims", 1))), x.dtype)

    return rule


_REDUCTIONS = {onnx: getattr(ops, name) for onnx, name in REDUCTIONS.items()} | {
    "ReduceLogSum": lambda x, **options: ops.log(ops.sum(x, **options)),
    "ReduceSumSquare": lambda x, **options: ops.sum(ops.multiply(x, x), **options),
}
OPERATORS |= {onnx: Operator(_reduction(function), constants=(1,)) for onnx, function in _REDUCTIONS.items()}
OPERATORS |= {
    "MatMul": Operator(lambda node, x, y: ops.matmul(x, y)),
    "Einsum": Operator(lambda node, *x: ops.einsum(list(x), node.need("equation").replace(" ", ""))),
}


@operator("Gemm")
def gemm(node: Node, a, b, c=None):
    """Return alpha a b + beta c, with either matrix transposed."""
    if a.ndim != 2 or b.ndim != 2:
        node.fail(f"it multiplies matrices; found shapes {tuple(a.shape)} and {tuple(b.shape)}")
    a, b = (ops.transpose(x) if node.get(name, 0) else x for x, name in ((a, "transA"), (b, "transB")))
    product = _scaled(ops.matmul(a, b), node.number("alpha", 1.0))
    return product if c is None else ops.add(product, _scaled(c, node.number("beta", 1.0)))


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
    function = ops.argmax if node.op_type == "ArgMax" else ops.argmin
    options = {"keepdims": bool(node.get("keepdims", 1)), "last": bool(node.get("select_last_index", 0))}
    return function(x, axis=node.axis(node.get("axis", 0), x), **options)


@operator("CumSum", constants=(1,))
def cumsum(node: Node, x, axis):
    """Return cumulative sums along one axis."""
    options = {name: bool(node.get(name, 0)) for name in ("exclusive", "reverse")}
    return to_dtype(ops.cumsum(x, node.axis(int(axis.reshape(())), x), **options), x.dtype)
