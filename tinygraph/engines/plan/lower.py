"""Pass: replace operations by those that the plan computes faster, for convolutions, gradients of pools, and statistics."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from tinygraph.engines.plan.kernels import rows
from tinygraph.engines.plan.kernels.normal import NormalCdfGivenPdf
from tinygraph.engines.plan.kernels.pooling import AvgUnpoolProduct, MaxUnpoolGivenMaxima
from tinygraph.engines.plan.kernels.products import SummedProduct
from tinygraph.engines.plan.node import Node, constant, is_a, make, remade, rewrite, users
from tinygraph.ops.activation.activation import Gelu
from tinygraph.ops.comparison.comparison import gate
from tinygraph.ops.convolution.convolution import (
    Conv2d,
    Conv2dKernelGradient,
    Convolution,
    Convolve,
    ConvolveTransposed,
)
from tinygraph.ops.elementwise.arithmetic import add, divide, multiply, subtract
from tinygraph.ops.elementwise.exponential import normal_cdf, normal_pdf, sqrt
from tinygraph.ops.indexing.select import Flip
from tinygraph.ops.linear.linear import Matmul
from tinygraph.ops.pooling.max_pooling import MaxPool, MaxUnpool2d
from tinygraph.ops.pooling.pooling import AvgUnpool2d
from tinygraph.ops.reduction.reduction import Mean
from tinygraph.ops.shape.shape import Reshape, SumTo, Transpose
from tinygraph.ops.statistics.statistics import Standardize, Variance
from tinygraph.ops.windows import Windows


def lower(outputs: Sequence[Node]) -> list[Node]:
    """Return the outputs with faster operations in the place of those that have some.

    Done for float32 and float64 only: sums in a wider type are left to the ordinary rules. Each operation gets new nodes for
    its inputs; ``share_common`` finds that a convolution and its kernel gradient need the same patches.

    >>> import numpy as np
    >>> import tinygraph as tg
    >>> from tinygraph.engines.plan.node import nodes_of
    >>> x, k = tg.input("x", (1, 1, 4, 4)), tg.parameter(np.ones((2, 1, 3, 3), np.float32), name="k")
    >>> lower(nodes_of(tg.Graph(tg.conv2d(x, k))))[0].inputs
    (<reshape float32 (1, 2, 9)>, <row_patches float32 (1, 4, 3, 2, 1)>)
    """
    used_by = users(outputs)

    def rule(node: Node, inputs: tuple[Node, ...]) -> Node:
        if node.dtype.char not in "fd" or any(x.dtype != node.dtype for x in inputs if x.dtype.kind != "b"):
            return remade(node, inputs)
        if is_a(node.op, Convolution):
            return _convolution(node.op, node, inputs)
        if is_a(node.op, Gelu) and node.op.approximate == "none":
            # Its gradient needs the same chance.
            chance = _normal_cdf(node, inputs[0], used_by)
            return make(multiply.op(), inputs[0], chance, tensors=node.tensors)
        if is_a(node.op, normal_cdf.op):
            chance = _normal_cdf(node, inputs[0], used_by)
            chance.tensors = node.tensors
            return chance
        if is_a(node.op, Standardize, Variance):
            return _in_parts(node, inputs[0]) or remade(node, inputs)
        if is_a(node.op, add.op):
            return _with_bias(node, inputs, used_by) or remade(node, inputs)
        if is_a(node.op, SumTo):
            return _summed_product(node, inputs[0], used_by) or remade(node, inputs)
        if is_a(node.op, MaxUnpool2d):
            dy, x = inputs
            maxima = make(node.op.counterpart(MaxPool), x)
            return make(MaxUnpoolGivenMaxima(node.op), dy, x, maxima, tensors=node.tensors)
        if is_a(node.op, multiply.op, gate.op):
            for x, unpooled, factor in zip(node.inputs, inputs, inputs[::-1], strict=True):
                if is_a(unpooled.op, AvgUnpool2d) and len(used_by[x]) == 1 and factor.shape == node.shape:
                    product = AvgUnpoolProduct(unpooled.op, node.op)
                    return make(product, unpooled.inputs[0], factor, tensors=unpooled.tensors + node.tensors)
        return remade(node, inputs)

    return rewrite(outputs, rule)


def _convolution(op: Convolution, node: Node, inputs: tuple[Node, ...]) -> Node:
    """Return a convolution, its transpose or its kernel gradient by rows of windows. A line is a picture with one row."""
    if not node.size or not all(x.size for x in inputs):
        return remade(node, inputs)
    (x, y), shape = inputs, node.shape
    convolves, transposes = is_a(op, Convolve), is_a(op, ConvolveTransposed)
    image, k = (x.shape, y.shape) if convolves else (shape, y.shape) if transposes else (x.shape, shape)
    windows, lines = op.windows(image, k), op.rank == 1
    if lines:
        image, k, stride, dilation = (
            (1, *size) for size in (windows.image, windows.kernel, windows.stride, windows.dilation)
        )
        windows = Windows(image, k, stride, dilation, ((0, 0), *windows.padding))
        x, y = (make(Reshape((*each.shape[:2], 1, each.shape[2])), each) for each in (x, y))
    result = _picture(op, windows, x, y, node)
    return make(Reshape(shape), result, tensors=node.tensors) if lines else result


def _picture(op: Convolution, windows: Windows, x: Node, y: Node, node: Node) -> Node:
    """Return the convolution of images with at least two axes; ``node`` is what it computes."""
    settings = (windows, op.groups)
    by_rows = rows.RowPatches(*settings)
    # The axes of a kernel in the order of the rows of a matrix: the copied offsets after the rows, where these are a view.
    *outer, h, w = range(2, 2 + len(windows.kernel))
    rows_of_k, offsets = ((h,), (*outer, w)) if by_rows.adjoin else ((), (*outer, h, w))
    if is_a(op, Convolve):
        matrix = _reshaped(_moved(y, (0, *rows_of_k, *offsets, 1)), (op.groups, y.shape[0] // op.groups, -1))
        return make(rows.RowConvolution(*settings), matrix, _patches(by_rows, x), tensors=node.tensors)
    if is_a(op, ConvolveTransposed):
        kernel = make(Flip(h), y) if rows_of_k else y
        kernel = _reshaped(kernel, (op.groups, y.shape[0] // op.groups, *y.shape[1:]))
        # The groups, the copied offsets and the channels; then the rows in reverse, and the kernels.
        order = (0, *(axis + 1 for axis in offsets), 2, *(axis + 1 for axis in rows_of_k), 1)
        inner = math.prod(by_rows.offsets) * y.shape[1]
        spread = make(rows.RowSpread(*settings), _reshaped(_moved(kernel, order), (op.groups, inner, -1)), x)
        return make(rows.ColumnOverlay(*settings), spread, tensors=node.tensors)
    matrix = make(rows.RowKernelGradient(*settings), _patches(by_rows, x), y, tensors=node.tensors)
    order = (0, *rows_of_k, *offsets, 1)
    lying = _reshaped(matrix, tuple((y.shape[1], x.shape[1] // op.groups, *windows.kernel)[axis] for axis in order))
    return _moved(lying, tuple(np.argsort(order)))


def _patches(by_rows: rows.RowPatches, x: Node) -> Node:
    """Return the row patches of images: the images themselves where nothing would be copied twice or padded."""
    windows, groups = by_rows.windows, by_rows.groups
    copied = (*windows.kernel[:-2], windows.kernel[-1], *windows.stride[:-2], windows.stride[-1])
    if groups == 1 and set(copied) == {1} and not windows.has_padding and by_rows.adjoin and len(windows.kernel) == 2:
        lying = _moved(x, (2, 1, 3, 0))
        return _reshaped(lying, (1, *lying.shape))
    return make(by_rows, x)


def _moved(x: Node, axes: tuple[int, ...]) -> Node:
    return make(Transpose(tuple(map(int, axes))), x)


def _reshaped(x: Node, shape: tuple[int, ...]) -> Node:
    return make(Reshape(shape), x)


def _normal_cdf(node: Node, x: Node, used_by: Mapping[Node, list[Node]]) -> Node:
    """Return the chance below ``x``, made with the density at ``x`` where that is computed too."""
    if any(is_a(user.op, normal_pdf.op) for user in used_by[node.inputs[0]]):
        return make(NormalCdfGivenPdf(), x, make(normal_pdf.op(), x))
    return make(normal_cdf.op(), x)


def _with_bias(node: Node, inputs: tuple[Node, ...], used_by: Mapping[Node, list[Node]]) -> Node | None:
    """Return a convolution of pictures and the bias that is added to it as one product, or ``None`` for any other sum.

    Where the gradient of the kernel needs the patches, they are left as they are: this product adds ones to them.
    """
    for place in (0, 1):
        conv, b, lowered = node.inputs[place], inputs[1 - place], inputs[place]
        if not (is_a(conv.op, Conv2d) and is_a(lowered.op, rows.RowConvolution) and used_by[conv] == [node]):
            continue
        patches, (x, k) = lowered.inputs[1], conv.inputs
        shared = any(is_a(user.op, Conv2dKernelGradient) for user in used_by[x])
        fits = is_a(patches.op, rows.RowPatches) and patches.op.adjoin and patches.op.groups == 1
        if fits and not shared and b.shape == (k.shape[0], 1, 1):
            windows = lowered.op.windows
            # The matrix of a lowered convolution is its kernel, transposed and reshaped.
            kernel, image = lowered.inputs[0].inputs[0].inputs[0], patches.inputs[0]
            with_ones = make(rows.RowPatches(windows, ones=True), image)
            return make(
                rows.RowConvolution(windows), make(rows.RowMatrix(windows), kernel, b), with_ones, tensors=node.tensors
            )
    return None


def _summed_product(node: Node, products: Node, used_by: Mapping[Node, list[Node]]) -> Node | None:
    """Return the sum of a stack of products ``xᵀ dy``, which nothing else reads, as one product; ``None`` for other sums."""
    if not is_a(products.op, Matmul) or used_by[node.inputs[0]] != [node] or products.shape[-2:] != node.shape:
        return None
    x, dy = products.inputs
    swapped = (*range(x.ndim - 2), x.ndim - 1, x.ndim - 2)
    if x.ndim < 3 or not is_a(x.op, Transpose) or x.op.axes != swapped or x.shape[:-2] != dy.shape[:-2]:
        return None
    return make(SummedProduct(), x.inputs[0], dy, tensors=products.tensors + node.tensors)


def _in_parts(node: Node, x: Node) -> Node | None:
    """Return a standardization or a variance as new nodes for its parts; ``None`` for no elements, or if it casts them.

    ``share_common`` finds that the gradient of a standardization needs the variance that it was made with.
    """
    op, mean = node.op, Mean(node.op.axis, keepdims=True)  # type: ignore[union-attr]
    if not node.size or not x.size or x.dtype != node.dtype:
        return None

    def number(value: float) -> Node:
        return constant(np.asarray(value, x.dtype))

    apart = make(subtract.op(), x, make(mean, x))
    variance = make(mean, make(multiply.op(), apart, apart))
    if is_a(op, Standardize):
        deviation = make(sqrt.op(), make(add.op(), variance, number(op.epsilon)))
        return make(divide.op(), apart, deviation, tensors=node.tensors)
    if is_a(op, Variance) and op.correction:
        count = op.count(x)
        variance = make(multiply.op(), variance, number(count / (count - op.correction)))
    return make(Reshape(node.shape), variance, tensors=node.tensors)
