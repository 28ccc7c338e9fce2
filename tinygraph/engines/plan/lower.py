"""Pass: replace operations by those that the plan computes faster, for convolutions, gradients of pools, and statistics."""

from collections.abc import Mapping, Sequence

import numpy as np

from tinygraph.engines.plan.kernels import rows
from tinygraph.engines.plan.kernels.pooling import AvgUnpoolProduct, MaxUnpoolGivenMaxima
from tinygraph.engines.plan.node import Node, constant, is_a, make, remade, rewrite, users
from tinygraph.ops.activation.activation import Gelu
from tinygraph.ops.comparison.comparison import gate
from tinygraph.ops.convolution.convolution import Conv2d, Conv2dKernelGradient, Convolution, ConvTranspose2d
from tinygraph.ops.elementwise.arithmetic import add, divide, multiply, subtract
from tinygraph.ops.elementwise.exponential import normal_cdf, sqrt
from tinygraph.ops.indexing.select import Flip
from tinygraph.ops.pooling.max_pooling import MaxPool, MaxUnpool2d
from tinygraph.ops.pooling.pooling import AvgUnpool2d
from tinygraph.ops.reduction.reduction import Mean
from tinygraph.ops.shape.shape import Reshape, Transpose
from tinygraph.ops.statistics.statistics import Standardize, Variance


def lower(outputs: Sequence[Node]) -> list[Node]:
    """Return the outputs with faster operations in the place of those that have some.

    Done for float32 and float64 only: sums in a wider type are left to the ordinary rules. Each operation gets new nodes for
    its inputs; ``share_common`` finds that a convolution and its kernel gradient need the same patches.

    >>> import numpy as np
    >>> import tinygraph as tg
    >>> from tinygraph.engines.plan.node import nodes_of
    >>> x, k = tg.input("x", (1, 1, 4, 4)), tg.parameter(np.ones((2, 1, 3, 3), np.float32), name="k")
    >>> lower(nodes_of(tg.Graph(tg.conv2d(x, k))))[0].inputs
    (<reshape float32 (2, 9)>, <row_patches float32 (4, 3, 1, 2, 1)>)
    """
    used_by = users(outputs)

    def rule(node: Node, inputs: tuple[Node, ...]) -> Node:
        if node.dtype.char not in "fd" or any(x.dtype != node.dtype for x in inputs if x.dtype.kind != "b"):
            return remade(node, inputs)
        if is_a(node.op, Convolution):
            return _convolution(node.op, node, inputs)
        if is_a(node.op, Gelu) and node.op.approximate == "none":
            # Its gradient needs the same chance.
            return make(multiply.op(), inputs[0], make(normal_cdf.op(), inputs[0]), tensors=node.tensors)
        if is_a(node.op, Standardize, Variance):
            return _in_parts(node, inputs[0]) or remade(node, inputs)
        if is_a(node.op, add.op):
            return _with_bias(node, inputs, used_by) or remade(node, inputs)
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
    """Return a convolution, its transpose or its kernel gradient by rows of windows; unchanged where these do not fit."""
    (x, y), shape = inputs, node.shape
    shapes = {
        Conv2d: (x.shape, y.shape),
        ConvTranspose2d: (shape, y.shape),
        Conv2dKernelGradient: (x.shape, shape),
    }
    windows = op.windows(*shapes[type(op)]) if type(op) in shapes else None
    if windows is None or not rows.rows_fit(windows, op.groups):
        return remade(node, inputs)
    f, c, kh, kw = shape if isinstance(op, Conv2dKernelGradient) else y.shape
    if isinstance(op, Conv2d):
        matrix = make(Reshape((f, kh * kw * c)), make(Transpose((0, 2, 3, 1)), y))
        return make(rows.RowConvolution(windows), matrix, make(rows.RowPatches(windows), x), tensors=node.tensors)
    if isinstance(op, ConvTranspose2d):
        # The rows of the kernel in reverse.
        matrix = make(Reshape((kw * c, kh * f)), make(Transpose((3, 1, 2, 0)), make(Flip(2), y)))
        return make(rows.ColumnOverlay(windows), make(rows.RowSpread(windows), matrix, x), tensors=node.tensors)
    matrix = make(rows.RowKernelGradient(windows), make(rows.RowPatches(windows), x), y, tensors=node.tensors)
    return make(Transpose((0, 3, 1, 2)), make(Reshape((f, kh, kw, c)), matrix))


def _with_bias(node: Node, inputs: tuple[Node, ...], used_by: Mapping[Node, list[Node]]) -> Node | None:
    """Return a convolution and the bias that is added to it as one product, or ``None`` for any other sum.

    Where the gradient of the kernel needs the patches, they are left as they are: this product adds ones to them.
    """
    for place in (0, 1):
        conv, b, lowered = node.inputs[place], inputs[1 - place], inputs[place]
        if not (is_a(conv.op, Conv2d) and is_a(lowered.op, rows.RowConvolution) and used_by[conv] == [node]):
            continue
        x, k = conv.inputs
        shared = any(is_a(user.op, Conv2dKernelGradient) for user in used_by[x])
        if not shared and b.shape == (k.shape[0], 1, 1):
            windows = lowered.op.windows
            # The matrix of a lowered convolution is its kernel, transposed and reshaped.
            kernel, image = lowered.inputs[0].inputs[0].inputs[0], lowered.inputs[1].inputs[0]
            patches = make(rows.RowPatches(windows, ones=True), image)
            return make(
                rows.RowConvolution(windows), make(rows.RowMatrix(windows), kernel, b), patches, tensors=node.tensors
            )
    return None


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
