"""ONNX's operators that put elements together: reductions, matrix products, softmax."""

from __future__ import annotations

import math

import numpy as np

from tinygraph.interop.onnx.node import Node, Rule, Value
from tinygraph.interop.onnx.shaping import axes_of
from tinygraph.ops.elementwise import arithmetic as el
from tinygraph.ops.elementwise.cast import cast
from tinygraph.ops.linear.linear import matmul
from tinygraph.ops.reduction import product
from tinygraph.ops.reduction import reduction as red
from tinygraph.ops.shape import shape as sh


def reduction(function: Rule) -> Rule:
    """Return the rule of a reduction that is ``function`` of a tensor, its axes and whether they are kept."""

    def rule(n: Node, x: Value, axes: Value = None) -> Value:
        given = axes_of(n, axes)
        if not given and n.get("noop_with_empty_axes", 0):
            axis: tuple[int, ...] | None = ()
        else:
            axis = tuple(n.axis(a, x) for a in given) if given else None
        y = function(x, axis=axis, keepdims=bool(n.get("keepdims", 1)))
        return y if y.dtype == x.dtype else cast(y, x.dtype.name)

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


def place(function: Rule) -> Rule:
    """Return the rule of ArgMax or ArgMin."""

    def rule(n: Node, x: Value) -> Value:
        options = {"keepdims": bool(n.get("keepdims", 1)), "last": bool(n.get("select_last_index", 0))}
        return function(x, axis=n.axis(n.get("axis", 0), x), **options)

    return rule


def cumsum(n: Node, x: Value, axis: Value) -> Value:
    """CumSum."""
    options = {"exclusive": bool(n.get("exclusive", 0)), "reverse": bool(n.get("reverse", 0))}
    y = product.cumsum(x, n.axis(int(axis.reshape(())), x), **options)
    return y if y.dtype == x.dtype else cast(y, x.dtype.name)


def hardmax(n: Node, x: Value) -> Value:
    """Hardmax: 1 at the first maximum, and 0 elsewhere; before opset 13 over all axes from ``axis`` on, as one."""
    axis = n.axis(n.get("axis", -1 if n.opset >= 13 else 1), x)
    axes = (axis,) if n.opset >= 13 else tuple(range(axis, x.ndim))
    return cast(red.FirstExtreme(axes)(x), x.dtype.name)
