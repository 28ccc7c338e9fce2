"""Sums over axes and their relatives: sum, mean, prod, logsumexp and norms.

``axis`` and ``keepdims`` are NumPy's.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tinygraph.graph import MEAN, OPERATIONS, TOTAL, Each, Edge, Part, Sample, Samples, Shape, register
from tinygraph.graph.explanation import Explanation, Terms, members, one, summed
from tinygraph.ops.elementwise.arithmetic import sign
from tinygraph.ops.elementwise.trigonometry import along
from tinygraph.ops.indexing.select import concatenate
from tinygraph.ops.samples import Draw, distinct, each, off_zero
from tinygraph.ops.shape.shape import broadcast_to, reshape, transpose
from tinygraph.ops.sums import AlongAxes, Axis, average, countable, floating_dtype, summed_dtype, total, wide, widened


def _over_axes(draw: Draw) -> Samples:
    return each(
        draw,
        ((3, 4), {}),
        ((2, 3, 2), {"axis": 1}),
        ((2, 5), {"axis": 1}),
        ((2, 3, 2), {"axis": (0, -1), "keepdims": True}),
    )


@dataclass(frozen=True)
class Reduction(AlongAxes):
    """The base of reductions: axes, and spreading a gradient back over them."""

    axis: Axis = None
    keepdims: bool = False
    # How the results of tiles are joined if samples are reduced too; None if they cannot be.
    over_samples: ClassVar[Part | None] = None
    samples = _over_axes(distinct)

    def shape(self, x) -> Shape:
        return self.reduced_shape(x, self.keepdims)

    def spread(self, reduced, x):
        """Return a reduced tensor repeated over the axes that ``x`` was reduced along."""
        return broadcast_to(reshape(reduced, self.reduced_shape(x, True)), x.shape)

    def owners(self, shape: Shape):
        """Return, for each element of a tensor of ``shape``, the position in the result that it goes to."""
        kept = self.reduced_shape(np.broadcast_to(0, shape), True)
        return np.broadcast_to(np.arange(math.prod(kept)).reshape(kept), shape)

    def on_columns(self, x, function: Callable[[Any], Any]):
        """Return what a function makes of ``x`` as a matrix, with a column for each result, in the shape of ``x``."""
        axes = self.combined_axes(x)
        order = (*axes, *(axis for axis in range(len(x.shape)) if axis not in axes))
        moved = transpose(x, order)
        columns = reshape(moved, (self.count(x), math.prod(moved.shape[len(axes) :])))
        return transpose(reshape(function(columns), moved.shape), tuple(np.argsort(order).tolist()))

    def count(self, x) -> int:
        """Return how many elements go into each result."""
        return math.prod(x.shape[axis] for axis in self.combined_axes(x))

    def batch(self, use):
        axis, axes = use.axis(), self.combined_axes(use.inputs[0])
        if axis in axes:
            return self.over_samples
        return Each(axis if self.keepdims else axis - len([i for i in axes if i < axis]))


@register(numpy=[np.sum])
class Sum(Reduction):
    """Sum over ``axis`` (all axes by default); the gradient goes to every summand. Source: notes B9, B14.

    Raises ``ShapeError`` and ``AttributeValueError`` for what does not fit the shape.

    >>> import tinygraph as tg
    >>> tg.sum(np.array([[1.0, 2.0], [3.0, 4.0]]), axis=0)
    array([4., 6.])
    """

    formula: ClassVar[str] = "sum({x})"
    over_samples: ClassVar[Part] = TOTAL
    tex: ClassVar[str] = r"\operatorname{sum}({x})"
    holomorphic: ClassVar[bool] = True

    def forward(self, x):
        return total(x, self.axis, self.keepdims)

    result_dtype = summed_dtype

    explain = summed

    def vjp(self, dy, y, x):
        return self.spread(dy, x)


@register(numpy=[np.mean])
class Mean(Reduction):
    """Mean over ``axis`` (all axes by default); NaN of nothing.

    Source: NumPy's ``mean``. Raises ``ShapeError`` and ``AttributeValueError`` for what does not fit the shape.

    >>> import tinygraph as tg
    >>> tg.mean(np.array([[1.0, 2.0], [3.0, 4.0]]))
    array(2.5)
    """

    formula: ClassVar[str] = "mean({x})"
    over_samples: ClassVar[Part] = MEAN
    tex: ClassVar[str] = r"\operatorname{mean}({x})"
    holomorphic: ClassVar[bool] = True

    def forward(self, x):
        if not self.count(x):
            return np.full(self.shape(x), math.nan, self.result_dtype(x))
        return average(x, self.axis, self.keepdims)

    result_dtype = floating_dtype

    def explain(self, index: tuple[int, ...], y, /, *inputs) -> Explanation:
        return summed(self, index, y, *inputs, weight=1 / (self.count(inputs[0]) or 1))

    def vjp(self, dy, y, x):
        # Of nothing there is no mean, and no gradient either: whatever it is divided by.
        return self.spread(dy / countable(self.count(x) or 1, x), x)


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
    samples = _over_axes(off_zero)
    edges: ClassVar[tuple[Edge, ...]] = (
        Edge(Sample([[2.0, 0.0, 4.0], [0.0, 0.0, 3.0]], axis=1), [[0.0, 8.0, 0.0], [0.0, 0.0, 0.0]]),
    )

    def forward(self, x):
        return widened(x).prod(axis=self.axis, keepdims=self.keepdims)

    result_dtype = summed_dtype

    def explain(self, index: tuple[int, ...], y, /, *inputs) -> Explanation:
        cells = members(self, index, y, *inputs)
        return Explanation((Terms(tuple(one(0, int(cell)) for cell in cells)),))

    def vjp(self, dy, y, x):
        return self.on_columns(x, lambda columns: self.times_others(columns, reshape(dy, (1, columns.shape[1]))))

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
class LogSumExp(Reduction):
    """Logarithm of the sum of exponentials over ``axis``, without overflow; its gradient is the softmax.

    Source: Blanchard, Higham and Higham, *Accurately computing the log-sum-exp and softmax functions*, 2021. Raises
    ``ShapeError`` and ``AttributeValueError`` for what does not fit the shape.

    >>> import tinygraph as tg
    >>> tg.logsumexp(np.array([1e4, 1e4])).round(4)
    np.float64(10000.6931)
    """

    name: ClassVar[str] = "logsumexp"
    edges = (Edge(Sample([1e16, 1e16]), [0.5, 0.5]),)
    formula: ClassVar[str] = "log(sum(exp({x})))"
    tex: ClassVar[str] = r"\operatorname{logsumexp}({x})"

    result_dtype = floating_dtype

    def forward(self, x):
        axes, x = self.combined_axes(x), wide(x)
        if not self.count(x):
            return np.full(self.shape(x), -np.inf, self.result_dtype(x))
        largest = x.max(axis=axes, keepdims=True)
        largest = np.where(np.isfinite(largest), largest, 0)
        with np.errstate(divide="ignore"):
            result = np.log(total(np.exp(x - largest), axes, keepdims=True)) + largest
        return result if self.keepdims else result.reshape(self.shape(x))

    def explain(self, index: tuple[int, ...], y, /, *inputs) -> Explanation:
        cells = members(self, index, y, *inputs)
        return Explanation(reads=((0, cells),), formula=f"log of the sum of {len(cells)} exponentials")

    def vjp(self, dy, y, x):
        return self.spread(dy, x) * self.shares(x)

    def shares(self, x):
        """Return softmax over all axes of the sum. ``exp(x - y)`` is that too, until log 2 is rounded away next to 1e16."""
        axes, softmax = self.combined_axes(x), OPERATIONS["softmax"]
        if len(axes) == 1:
            return softmax(x, axis=axes[0])
        return self.on_columns(x, lambda columns: softmax(columns, axis=0))


@register
class L1Norm(Reduction):
    """Sum of absolute values over ``axis`` (all axes by default); the gradient at 0 is 0.

    Source: Golub and Van Loan, *Matrix Computations*, 2.2. Raises ``ShapeError`` and ``AttributeValueError`` for what
    does not fit the shape.

    >>> import tinygraph as tg
    >>> tg.l1_norm(np.array([[3.0, -4.0], [0.0, 1.0]]), axis=1)
    array([7., 1.])
    """

    formula: ClassVar[str] = "sum(|{x}|)"
    tex: ClassVar[str] = r"\left\|{x}\right\|_{1}"
    edges: ClassVar[tuple[Edge, ...]] = (Edge(Sample([0.0, -2.0]), [0.0, -1.0]),)
    result_dtype = floating_dtype

    def forward(self, x):
        return total(np.abs(wide(x)), self.axis, self.keepdims)

    def vjp(self, dy, y, x):
        return self.spread(dy, x) * sign(x)


@register
class L2Norm(Reduction):
    """Euclidean length over ``axis`` (all axes by default), without overflow; the gradient of the length 0 is 0.

    Source: Golub and Van Loan, *Matrix Computations*, 2.2. Raises ``ShapeError`` and ``AttributeValueError`` for what
    does not fit the shape.

    >>> import tinygraph as tg
    >>> tg.l2_norm(np.array([[3.0, -4.0], [0.0, 1e200]]), axis=1)
    array([5.e+000, 1.e+200])
    """

    formula: ClassVar[str] = "√sum({x}²)"
    tex: ClassVar[str] = r"\left\|{x}\right\|_{2}"
    edges: ClassVar[tuple[Edge, ...]] = (Edge(Sample([[0.0, 0.0], [0.0, -4.0]], axis=1), [[0.0, 0.0], [0.0, -1.0]]),)
    result_dtype = floating_dtype

    def forward(self, x):
        x = wide(x)
        largest = np.abs(x).max(axis=self.axis, keepdims=True, initial=0)
        scale = np.where((largest > 0) & np.isfinite(largest), largest, 1)
        length = np.sqrt(total((x / scale) ** 2, self.axis, keepdims=True)) * scale
        return length.reshape(self.shape(x))

    def vjp(self, dy, y, x):
        return along(dy, y, x, functools.partial(self.spread, x=x))


sum = Sum.function
mean = Mean.function
