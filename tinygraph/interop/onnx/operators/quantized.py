"""ONNX's operators on quantized numbers: integers that represent real numbers, by a scale and a zero point.

Their rounding stops every gradient; a real number that is read from integers has one.
"""

import numpy as np

from tinygraph.interop.onnx.node import Node, operator, ops
from tinygraph.interop.onnx.operators.windows import conv


@operator("DequantizeLinear", constants=(1, 2))
def dequantize(node: Node, x, scale, zero=None):
    """Return the real numbers that integers represent."""
    return _real(x, _along(node, scale, x), _along(node, zero, x))


@operator("QuantizeLinear", constants=(1, 2))
def quantize(node: Node, x, scale, zero=None):
    """Return the nearest integers that represent real numbers."""
    dtype = np.dtype(np.uint8) if zero is None else zero.dtype
    if zero is None and node.get("output_dtype"):
        dtype = node.dtype(node.get("output_dtype"))
    return _rounded(node, x, _along(node, scale, x), _along(node, zero, x), dtype)


def _along(node: Node, numbers, x):
    """Return a scale or zero in a shape that broadcasts with ``x``: one number, or one for each place of the node's axis."""
    if node.get("block_size", 0):
        node.fail("scales of blocks (block_size) are not supported")
    if numbers is None:
        return None
    if numbers.ndim > 1:
        node.fail(f"it takes one scale, or one for each place of an axis; found shape {tuple(numbers.shape)}")
    if numbers.ndim == 0 or numbers.shape[0] == 1:
        return ops.reshape(numbers, ())
    return _column(numbers, x.ndim - 1 - node.axis(node.get("axis", 1), x))


def _column(x, axes: int):
    """Return a vector with ``axes`` more axes of size 1."""
    return ops.reshape(x, (-1,) + (1,) * axes)


def _from_zero(x, zero, dtype: str):
    x = ops.cast(x, dtype)
    return x if zero is None else ops.subtract(x, ops.cast(zero, dtype))


def _real(x, scale, zero):
    return ops.multiply(_from_zero(x, zero, scale.dtype.name), scale)


def _rounded(node: Node, x, scale, zero, dtype):
    if dtype.kind not in "iu":
        node.fail(f"its result must be integers; found {dtype.name}")
    y = ops.round(ops.divide(x, ops.cast(scale, x.dtype.name)))
    y = y if zero is None else ops.add(y, ops.cast(zero, y.dtype.name))
    return ops.cast(ops.clip(y, float(np.iinfo(dtype).min), float(np.iinfo(dtype).max)), dtype.name)


@operator("MatMulInteger")
def matmul_integer(node: Node, a, b, a_zero=None, b_zero=None):
    """Multiply matrices of integers, counted from their zeros; the first may have a zero for each row."""
    if a_zero is not None and a_zero.ndim == 1 and a_zero.shape[0] > 1:
        a_zero = ops.expand_dims(a_zero, (-1,))
    return ops.matmul(_from_zero(a, a_zero, "int32"), _from_zero(b, b_zero, "int32"))


@operator("ConvInteger")
def conv_integer(node: Node, x, k, x_zero=None, k_zero=None):
    """Convolve in float64, which holds every sum that int32 can hold."""
    k_zero = None if k_zero is None else _column(k_zero, k.ndim - 1)
    return ops.cast(conv(node, _from_zero(x, x_zero, "float64"), _from_zero(k, k_zero, "float64")), "int32")


@operator("QLinearConv", "QLinearMatMul", constants=(1, 2, 4, 5, 6, 7))
def quantized_product(node: Node, a, a_scale, a_zero, b, b_scale, b_zero, scale, zero, bias=None):
    """Compute on the real numbers, and round the result. The second operand may have a scale for each kernel or column."""
    if any(x.size > 1 for x in (a_scale, a_zero, scale, zero)):
        node.fail("it takes one scale and one zero for its first operand, and for its result")
    a_scale, a_zero, scale, zero = (ops.reshape(x, ()) for x in (a_scale, a_zero, scale, zero))
    convolution = node.op_type == "QLinearConv"
    axes = b.ndim - 1 if convolution else 0
    a, b = _real(a, a_scale, a_zero), _real(b, _column(b_scale, axes), _column(b_zero, axes))
    y = conv(node, a, b) if convolution else ops.matmul(a, b)
    if bias is not None:
        # Integers on the scale of the products, one for each channel.
        each = ops.multiply(ops.reshape(b_scale, (-1,)), a_scale)
        y = ops.add(y, _column(_real(bias, each, None), y.ndim - 2))
    return _rounded(node, y, scale, zero, zero.dtype)
