"""Pass: numbers for each channel that a convolution is multiplied by, or that are added to it, go into its kernel and its bias.

Batch normalization in prediction is such numbers. The kernel is small, so four passes over the image become one. Done where
nothing else reads what lies between, so never in a step, where gradients read it. Exact but for rounding: numbers so large or
small that one order of multiplying could overflow or underflow, and the other not, are refused when the plan runs, and left to
plain evaluation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from tinygraph.engines.plan.node import Node, is_a, make, remade, rewrite, users
from tinygraph.errors import TinygraphError
from tinygraph.graph import Array, BatchRule, Each, Op, Shape, Use, Value
from tinygraph.ops.convolution.convolution import Convolve, KernelGradient
from tinygraph.ops.elementwise.arithmetic import add, divide, multiply, negative, subtract
from tinygraph.ops.shape.shape import BroadcastTo, Reshape, SameElements

# For smaller images the operations on numbers for channels cost more than the passes over them.
_LEAST_SIZE = 1 << 14
# A convolution, and what is added to it for each channel.
_Shifted: TypeAlias = tuple[Node, Node | None]


def _require(x: Array, smallest: float, largest: float) -> None:
    """Raise an error unless ``smallest <= log(x) / log(greatest number of its dtype) <= largest`` where ``x`` is not zero."""
    size = np.abs(x[x != 0])
    low, high = (2.0 ** (share * np.finfo(x.dtype).maxexp) for share in (smallest, largest))
    if size.size and not low <= size.min() <= size.max() <= high:
        raise TinygraphError("numbers for channels go into kernels only where no product overflows or underflows")


class InRange(SameElements):
    """Images as they are, whose largest element is so near to 1 that no product with a scaled kernel overflows."""

    def shape(self, x: Value) -> Shape:
        return (*x.shape,)

    def check(self, x: Value) -> None:
        if x.size:
            _require(np.fmax(np.max(x, keepdims=True), -np.min(x, keepdims=True)), -0.25, 0.25)

    def batch(self, use: Use) -> BatchRule:
        return Each(0) if use.axis() == 0 else None


@dataclass(frozen=True)
class ScaledKernel(Op):
    """A kernel ``(F, C, ...)`` times or divided by a factor for each filter, both so near to 1 that the result is exact."""

    divided: bool

    def shape(self, k: Value, factor: Value) -> Shape:
        return (*k.shape,)

    def forward(self, k: Value, factor: Value) -> Value:
        return k / factor if self.divided else k * factor

    def check(self, k: Value, factor: Value) -> None:
        _require(k, -0.7, 0.2)
        _require(factor, -0.2, 0.2)
        if self.divided and not np.all(factor):
            raise TinygraphError("a kernel is not divided by zero")


def into_kernels(outputs: Sequence[Node]) -> list[Node]:
    """Return the outputs with factors and summands for each channel of a convolution in its kernel and in one bias.

    >>> import numpy as np
    >>> import tinygraph as tg
    >>> from tinygraph.engines.plan.node import nodes_of
    >>> x, k = tg.input("x", (1, 1, 102, 102)), tg.parameter(np.ones((2, 1, 3, 3), np.float32), name="k")
    >>> s = tg.parameter(np.ones((2, 1, 1), np.float32), name="s")
    >>> into_kernels(nodes_of(tg.Graph((tg.conv2d(x, k) - s) / s)))[0].inputs
    (<conv2d float32 (1, 2, 100, 100)>, <divide float32 (2, 1, 1)>)
    """
    used_by = users(outputs)
    # The images of the new convolutions, by what they were.
    images: dict[Node, Node] = {}

    def rule(node: Node, inputs: tuple[Node, ...]) -> Node:
        for place in (0, 1)[: len(inputs)]:
            found = None if used_by[node.inputs[place]] != [node] else _shifted(inputs[place])
            if found is not None and is_a(node.op, add.op, subtract.op, multiply.op, divide.op):
                return _taken_in(node, found, inputs, place, images) or remade(node, inputs)
        if is_a(node.op, KernelGradient):
            # It shares its patches with the convolution.
            inputs = (images.get(inputs[0], inputs[0]), inputs[1])
        return remade(node, inputs)

    return rewrite(outputs, rule)


def _shifted(node: Node) -> _Shifted | None:
    """Return a node as a convolution and a summand for each channel, or ``None`` if it is none."""
    if node.size < _LEAST_SIZE:
        return None
    if is_a(node.op, Convolve):
        return node, None
    if is_a(node.op, add.op) and is_a(node.inputs[0].op, Convolve) and _is_for_channels(node.inputs[1], node):
        return node.inputs[0], node.inputs[1]
    return None


def _is_for_channels(x: Node, image: Node) -> bool:
    """Whether ``x`` has one number, or one for each channel of images ``(N, C, ...)``, and is repeated over them."""
    if x.size == 1 and x.ndim < image.ndim:
        return x.dtype == image.dtype
    shape = x.shape[1:] if x.ndim == image.ndim and x.shape[0] == 1 else x.shape
    return x.dtype == image.dtype and shape == (image.shape[1], *(1,) * (image.ndim - 2))


def _taken_in(
    node: Node, found: _Shifted, inputs: tuple[Node, ...], place: int, images: dict[Node, Node]
) -> Node | None:
    """Return a convolution with a factor or summand taken in, or ``None`` where it is none for each channel."""
    (conv, shift), other, op = found, inputs[1 - place], node.op
    if not _is_for_channels(other, conv) or node.shape != conv.shape or (place and is_a(op, subtract.op, divide.op)):
        return None
    ones = (1,) * (conv.ndim - 2)
    if other.size == 1:
        other = make(BroadcastTo((conv.shape[1], *ones)), make(Reshape((1, *ones)), other))
    other = make(Reshape((conv.shape[1], *ones)), other)
    if is_a(op, add.op, subtract.op):
        own = other if is_a(op, add.op) else make(negative.op(), other)
        shift = own if shift is None else make(_own(op), shift, other)
    else:
        x, k = conv.inputs
        x = x if is_a(x.op, InRange) else images.setdefault(x, make(InRange(), x))
        factor = make(Reshape((conv.shape[1], 1, *ones)), other)
        conv = make(_own(conv.op), x, make(ScaledKernel(is_a(op, divide.op)), k, factor))
        shift = None if shift is None else make(_own(op), shift, other)
    if shift is None:
        conv.tensors += node.tensors
        return conv
    return make(add.op(), conv, shift, tensors=node.tensors)


def _own(op: Op | None) -> Op:
    assert op is not None
    return op
