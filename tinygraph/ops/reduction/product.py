"""Products over axes, and running sums."""

import math
from collections.abc import Iterable
from typing import ClassVar

import numpy as np

from tinygraph.graph.explanation import Explanation, Terms, members, one, position
from tinygraph.graph.function import register
from tinygraph.graph.op import Op, Shape
from tinygraph.graph.record import Edge, Sample
from tinygraph.graph.registry import NUMPY_FUNCTIONS
from tinygraph.ops.axes import normalized_axes, normalized_axis, summed_dtype
from tinygraph.ops.floating import widened
from tinygraph.ops.indexing.select import concatenate
from tinygraph.ops.reduction.reduction import Reduction
from tinygraph.ops.samples import each, normal, off_zero
from tinygraph.ops.shape.shape import reshape, transpose


def _prod_samples(rng: np.random.Generator) -> Iterable[Sample]:
    yield Sample(off_zero(rng, (3, 4)))
    yield Sample(off_zero(rng, (2, 3, 2)), axis=1)
    yield Sample(off_zero(rng, (2, 5)), axis=1)
    yield Sample(off_zero(rng, (2, 3, 2)), axis=(0, -1), keepdims=True)


@register(numpy=[np.prod])
class Prod(Reduction):
    """Product over ``axis`` (all axes by default); 1 of nothing.

    The gradient of a factor is the product of the others. It is not found by a division, so factors may be 0: where one is,
    its own gradient is that product, and where two are, all gradients are 0. Source: the product rule.

    Raises ``ShapeError`` and ``AttributeValueError`` for what does not fit the shape.

    >>> import tinygraph as tg
    >>> tg.prod(np.array([[1.0, 2.0], [3.0, 4.0]]), axis=0)
    array([3., 8.])
    >>> x = tg.tensor([2.0, 0.0, 4.0])
    >>> tg.prod(x).backward()
    >>> x.grad.value
    array([0., 8., 0.])
    """

    formula: ClassVar[str] = "prod({x})"
    tex: ClassVar[str] = r"\operatorname{prod}({x})"
    holomorphic: ClassVar[bool] = True
    samples = _prod_samples
    edges: ClassVar[tuple[Edge, ...]] = (
        Edge(Sample([[2.0, 0.0, 4.0], [0.0, 0.0, 3.0]], axis=1), [[0.0, 8.0, 0.0], [0.0, 0.0, 0.0]]),
    )

    def forward(self, x):
        return widened(x).prod(axis=self.axis, keepdims=self.keepdims)

    result_dtype = summed_dtype

    def explain(self, index: tuple[int, ...], y, /, *inputs) -> Explanation:
        cells = members(self, position(index, y.shape), inputs[0].shape)
        return Explanation((Terms(tuple(one(0, int(cell)) for cell in cells)),))

    def vjp(self, dy, y, x):
        axes = normalized_axes(self, x, self.axis)
        order = (*axes, *(axis for axis in range(len(x.shape)) if axis not in axes))
        moved = transpose(x, order)
        columns = math.prod(moved.shape[len(axes) :])
        rows = reshape(moved, (self.count(x), columns))
        gradient = reshape(self.times_others(rows, reshape(dy, (1, columns))), moved.shape)
        return transpose(gradient, tuple(order.index(axis) for axis in range(len(order))))

    def times_others(self, factors, dy):
        """Return for each row of factors the product of all other rows, times ``dy``: halves multiplied, and taken back."""
        count, columns = factors.shape
        ones = np.ones((2 ** max(count - 1, 0).bit_length() - count, columns), factors.dtype)
        factors, halves = concatenate([factors, ones]), []
        while factors.shape[0] > 1:
            middle = factors.shape[0] // 2
            halves.append((factors[:middle], factors[middle:]))
            factors = factors[:middle] * factors[middle:]
        for first, second in reversed(halves):
            dy = concatenate([dy * second, dy * first])
        return dy[:count]


@register
class Cumsum(Op):
    """Running sums along ``axis``: each element becomes the sum of those up to it.

    ``exclusive`` leaves the element itself out, so that the first sum is 0; ``reverse`` begins at the end. The gradient is the
    running sum the other way.

    Source: NumPy's ``cumsum``; ONNX's ``CumSum`` for the options. Raises ``ShapeError`` for an axis that is not there.

    >>> import tinygraph as tg
    >>> tg.cumsum(np.array([1.0, 2.0, 4.0]), 0), tg.cumsum(np.array([1.0, 2.0, 4.0]), 0, exclusive=True, reverse=True)
    (array([1., 3., 7.]), array([6., 4., 0.]))
    """

    axis: int
    exclusive: bool = False
    reverse: bool = False
    formula: ClassVar[str] = "cumsum({x})"
    tex: ClassVar[str] = r"\operatorname{cumsum}({x})"
    holomorphic: ClassVar[bool] = True
    samples = each(
        normal,
        ((3, 4), {"axis": 1}),
        ((2, 3, 2), {"axis": -2, "exclusive": True}),
        ((4,), {"axis": 0, "reverse": True}),
        ((4, 2), {"axis": 0, "exclusive": True, "reverse": True}),
    )

    def shape(self, x) -> Shape:
        normalized_axis(self, x, self.axis)
        return tuple(x.shape)

    def combined_axes(self, x) -> tuple[int, ...]:
        return normalized_axes(self, x, self.axis)

    result_dtype = summed_dtype

    def forward(self, x):
        step = -1 if self.reverse else 1
        summands = np.moveaxis(x, self.axis, 0)[::step]
        # One after the other, float32 would stop counting at 2**24.
        sums = np.zeros(summands.shape, np.float64 if x.dtype.kind == "f" and x.itemsize < 8 else self.result_dtype(x))
        if self.exclusive:
            np.cumsum(summands[:-1], axis=0, out=sums[1:])
        else:
            np.cumsum(summands, axis=0, out=sums)
        return np.moveaxis(sums[::step], 0, self.axis)

    def vjp(self, dy, y, x):
        return cumsum(dy, self.axis, exclusive=self.exclusive, reverse=not self.reverse)

    def batch(self, use):
        return use.outside_axis()


cumsum = Cumsum.function


def _as_numpy(x, axis: int | None = None):
    """Running sums as NumPy's own function takes them: over all elements where no axis is named."""
    return cumsum(reshape(x, -1), 0) if axis is None else cumsum(x, axis)


NUMPY_FUNCTIONS[np.cumsum] = _as_numpy
