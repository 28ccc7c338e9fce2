"""ONNX's operators on quantized numbers: whole numbers that stand for real ones, by a scale and a place of zero."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.interop.onnx.node import Node, Rule, Value
from tinygraph.interop.onnx.windows import conv
from tinygraph.ops.comparison import comparison as cmp
from tinygraph.ops.elementwise import arithmetic as el
from tinygraph.ops.elementwise import rounding
from tinygraph.ops.elementwise.cast import cast
from tinygraph.ops.linear.linear import matmul
from tinygraph.ops.shape import shape as sh


def dequantize(n: Node, x: Value, scale: Value, zero: Value = None) -> Value:
    """DequantizeLinear: what whole numbers stand for."""
    return _real(x, _along(n, scale, x), None if zero is None else _along(n, zero, x))


def quantize(n: Node, x: Value, scale: Value, zero: Value = None) -> Value:
    """QuantizeLinear: the whole numbers that stand for real ones, each the nearest there is."""
    dtype = np.dtype(np.uint8) if zero is None else zero.dtype
    if zero is None and n.get("output_dtype"):
        dtype = n.dtype(n.get("output_dtype"))
    return _whole(n, x, _along(n, scale, x), None if zero is None else _along(n, zero, x), dtype)


def _along(n: Node, numbers: Value, x: Value) -> Value:
    """Return a scale or zero so that it meets ``x``: one number, or one for each place of the node's axis."""
    if n.get("block_size", 0):
        n.fail("scales of blocks (block_size) are not known")
    if numbers.ndim > 1:
        n.fail(f"it takes one scale, or one for each place of an axis; found shape {tuple(numbers.shape)}")
    if numbers.ndim == 0 or numbers.shape[0] == 1:
        return sh.reshape(numbers, ())
    axis = n.axis(n.get("axis", 1), x)
    return sh.reshape(numbers, (-1,) + (1,) * (x.ndim - 1 - axis))


def _real(x: Value, scale: Value, zero: Value) -> Value:
    y = cast(x, scale.dtype.name)
    return el.multiply(y if zero is None else el.subtract(y, cast(zero, scale.dtype.name)), scale)


def _whole(n: Node, x: Value, scale: Value, zero: Value, dtype: np.dtype[Any]) -> Value:
    if dtype.kind not in "iu":
        n.fail(f"it gives whole numbers; found {dtype.name}")
    y = rounding.round(el.divide(x, cast(scale, x.dtype.name)))
    y = y if zero is None else el.add(y, cast(zero, y.dtype.name))
    return cast(cmp.clip(y, float(np.iinfo(dtype).min), float(np.iinfo(dtype).max)), dtype.name)


def matmul_integer(n: Node, a: Value, b: Value, a_zero: Value = None, b_zero: Value = None) -> Value:
    """MatMulInteger: a product of whole numbers, counted from their zeros; one for each row of the first may be given."""
    a_zero = (
        sh.expand_dims(a_zero, (-1,)) if a_zero is not None and a_zero.ndim == 1 and a_zero.shape[0] > 1 else a_zero
    )
    return matmul(_from_zero(a, a_zero, "int32"), _from_zero(b, b_zero, "int32"))


def conv_integer(n: Node, x: Value, k: Value, x_zero: Value = None, k_zero: Value = None) -> Value:
    """ConvInteger: in float64, which holds every sum that int32 can hold."""
    k_zero = None if k_zero is None else sh.reshape(k_zero, (-1,) + (1,) * (k.ndim - 1))
    return cast(conv(n, _from_zero(x, x_zero, "float64"), _from_zero(k, k_zero, "float64")), "int32")


def _from_zero(x: Value, zero: Value, dtype: str) -> Value:
    x = cast(x, dtype)
    return x if zero is None else el.subtract(x, cast(zero, dtype))


def of_quantized(function: Rule, axis: int) -> Rule:
    """Return the rule of an operator on quantized numbers: ``function`` of what they stand for, quantized again.

    ``axis`` is that of the second operand along which it may have a scale and a zero for each place.
    """

    def rule(
        n: Node,
        a: Value,
        a_scale: Value,
        a_zero: Value,
        b: Value,
        b_scale: Value,
        b_zero: Value,
        scale: Value,
        zero: Value,
        *more: Value,
    ) -> Value:
        if any(x.size > 1 for x in (a_scale, a_zero, scale, zero)):
            n.fail("it takes one scale and one zero for its first operand, and for its result")
        a_scale, a_zero, scale, zero = (sh.reshape(x, ()) for x in (a_scale, a_zero, scale, zero))
        column = (-1,) + (1,) * (b.ndim - 1 - axis % b.ndim)
        y = function(n, _real(a, a_scale, a_zero), _real(b, *(sh.reshape(x, column) for x in (b_scale, b_zero))))
        for bias in more:
            # Whole numbers on the scale of the products, one for each channel.
            each = el.multiply(sh.reshape(b_scale, (-1,)), a_scale)
            y = el.add(y, sh.reshape(_real(bias, each, None), (-1,) + (1,) * (y.ndim - 2)))
        return _whole(n, y, scale, zero, zero.dtype)

    return rule
