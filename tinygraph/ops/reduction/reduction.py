"""Reductions over axes: sum, mean, max, min, logsumexp, and norms. ``axis`` and ``keepdims`` are NumPy's."""

import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tinygraph.errors import TinygraphError
from tinygraph.graph.batch import MEAN, TOTAL, Each, Part
from tinygraph.graph.explanation import Explanation, Terms, chosen, members, one, position, summed
from tinygraph.graph.function import register
from tinygraph.graph.op import Op, Shape
from tinygraph.graph.record import Edge, Sample
from tinygraph.graph.registry import NUMPY_FUNCTIONS, OPERATIONS
from tinygraph.ops.axes import Axis, floating_dtype, normalized_axes, reduced_shape, summed_dtype
from tinygraph.ops.comparison.comparison import gate
from tinygraph.ops.elementwise.arithmetic import sign
from tinygraph.ops.floating import countable, wide
from tinygraph.ops.length import along
from tinygraph.ops.samples import distinct
from tinygraph.ops.shape.shape import broadcast_to, reshape, transpose
from tinygraph.ops.sums import average, total


def _samples(rng: np.random.Generator) -> Iterable[Sample]:
    yield Sample(distinct(rng, (3, 4)))
    yield Sample(distinct(rng, (2, 3, 2)), axis=1)
    yield Sample(distinct(rng, (2, 3)), axis=1)
    yield Sample(distinct(rng, (2, 3, 2)), axis=(0, -1), keepdims=True)


@dataclass(frozen=True)
class Reduction(Op):
    """The base of reductions: axes, and spreading a gradient back over them."""

    axis: Axis = None
    keepdims: bool = False
    # How the results of tiles are joined if samples are reduced too; None if they cannot be.
    over_samples: ClassVar[Part | None] = None
    samples = _samples

    def shape(self, x) -> Shape:
        return reduced_shape(self, x, self.axis, self.keepdims)

    def combined_axes(self, x) -> tuple[int, ...]:
        return normalized_axes(self, x, self.axis)

    def spread(self, reduced, x):
        """Return a reduced tensor repeated over the axes that ``x`` was reduced along."""
        return broadcast_to(reshape(reduced, reduced_shape(self, x, self.axis, True)), x.shape)

    def owners(self, shape: Shape):
        """Return, for each element of a tensor of ``shape``, the position in the result that it goes to."""
        kept = reduced_shape(self, np.broadcast_to(0, shape), self.axis, True)
        return np.broadcast_to(np.arange(math.prod(kept)).reshape(kept), shape)

    def count(self, x) -> int:
        """Return how many elements go into each result."""
        return math.prod(x.shape[axis] for axis in normalized_axes(self, x, self.axis))

    def batch(self, use):
        axis, axes = use.axis(), normalized_axes(self, use.inputs[0], self.axis)
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

    def explain(self, index: tuple[int, ...], y, /, *inputs) -> Explanation:
        return summed(self, index, inputs[0].shape, y.shape)

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
        return summed(self, index, inputs[0].shape, y.shape, 1 / (self.count(inputs[0]) or 1))

    def vjp(self, dy, y, x):
        # Of nothing there is no mean, and no gradient either: whatever it is divided by.
        return self.spread(dy / countable(self.count(x) or 1, x), x)


@dataclass(frozen=True)
class _Extreme(Reduction):
    """Largest or smallest: the gradient goes to the first such element in row-major order."""

    def shape(self, x) -> Shape:
        if self.count(x) == 0 and 0 not in reduced_shape(self, x, self.axis, False):
            self.refuse([x], f"the {self.name} of no elements is not defined")
        return super().shape(x)

    def explain(self, index: tuple[int, ...], y, /, *inputs) -> Explanation:
        cells = members(self, position(index, y.shape), inputs[0].shape)
        taken, others = chosen(cells, inputs[0], self.name == "max")
        reason = f"the {'largest' if self.name == 'max' else 'smallest'} of {len(cells)}"
        return Explanation((Terms((one(0, taken),)),), ((0, others),) if len(others) else (), reason)

    def vjp(self, dy, y, x):
        return gate(self.spread(dy, x), FirstExtreme(self.axis, largest=self.name == "max")(x))


@register(numpy=[np.max, np.amax])
class Max(_Extreme):
    """Largest element over ``axis``; a tie sends its gradient to the first in row-major order.

    Source: NumPy's ``max``. Raises ``ShapeError`` and ``AttributeValueError`` for what does not fit the shape.

    >>> import tinygraph as tg
    >>> tg.max(np.array([[1.0, 2.0], [4.0, 3.0]]), axis=1)
    array([2., 4.])
    """

    formula: ClassVar[str] = "max({x})"
    tex: ClassVar[str] = r"\max({x})"

    def forward(self, x):
        return x.max(axis=self.axis, keepdims=self.keepdims)


@register(numpy=[np.min, np.amin])
class Min(_Extreme):
    """Smallest element over ``axis``; a tie sends its gradient to the first in row-major order.

    Source: NumPy's ``min``. Raises ``ShapeError`` and ``AttributeValueError`` for what does not fit the shape.

    >>> import tinygraph as tg
    >>> tg.min(np.array([[1.0, 2.0], [4.0, 3.0]]), axis=1)
    array([1., 3.])
    """

    formula: ClassVar[str] = "min({x})"
    tex: ClassVar[str] = r"\min({x})"

    def forward(self, x):
        return x.min(axis=self.axis, keepdims=self.keepdims)


@register
class FirstExtreme(Op):
    """True at the first largest (or smallest) element along ``axis`` in row-major order, False elsewhere.

    Source: NumPy's ``argmax`` and ``argmin``. Raises ``ShapeError`` and ``AttributeValueError`` for what does not fit
    the shape.

    >>> import tinygraph as tg
    >>> tg.operation("first_extreme")(np.array([1.0, 3.0, 3.0]))
    array([False,  True, False])
    """

    axis: Axis = None
    largest: bool = True
    helper: ClassVar[bool] = True
    formula: ClassVar[str] = "{x} is the first extreme"
    samples = staticmethod(lambda rng: [Sample(distinct(rng, (2, 3, 2)), axis=(0, 2)), Sample(distinct(rng, (3, 4)))])

    def shape(self, x) -> Shape:
        normalized_axes(self, x, self.axis)
        return tuple(x.shape)

    def result_dtype(self, x) -> np.dtype[Any]:
        return np.dtype(bool)

    def combined_axes(self, x) -> tuple[int, ...]:
        return normalized_axes(self, x, self.axis)

    def written_tex(self, *inputs) -> str:
        return rf"\mathbf{{1}}[{{x}} \text{{ is the first {'maximum' if self.largest else 'minimum'}}}]"

    def explain(self, index: tuple[int, ...], y, /, *inputs) -> Explanation:
        which = "largest" if self.largest else "smallest"
        return Explanation(reads=(one(0, position(index, y.shape)),), formula=f"{{0}} is the first {which}")

    def forward(self, x):
        axes = normalized_axes(self, x, self.axis)
        front = tuple(range(len(axes)))
        moved = np.moveaxis(x, axes, front)
        flat = moved.reshape(math.prod(moved.shape[: len(axes)]), math.prod(moved.shape[len(axes) :]))
        mask = np.zeros(flat.shape, bool)
        if flat.size:
            chosen = flat.argmax(axis=0) if self.largest else flat.argmin(axis=0)
            mask[chosen, np.arange(flat.shape[1])] = True
        return np.moveaxis(mask.reshape(moved.shape), front, axes)

    def batch(self, use):
        return use.outside_axis()


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
        axes, x = normalized_axes(self, x, self.axis), wide(x)
        if not self.count(x):
            return np.full(self.shape(x), -np.inf, self.result_dtype(x))
        largest = x.max(axis=axes, keepdims=True)
        largest = np.where(np.isfinite(largest), largest, 0)
        with np.errstate(divide="ignore"):
            result = np.log(total(np.exp(x - largest), axes, keepdims=True)) + largest
        return result if self.keepdims else result.reshape(self.shape(x))

    def explain(self, index: tuple[int, ...], y, /, *inputs) -> Explanation:
        cells = members(self, position(index, y.shape), inputs[0].shape)
        return Explanation(reads=((0, cells),), formula=f"log of the sum of {len(cells)} exponentials")

    def vjp(self, dy, y, x):
        return self.spread(dy, x) * self.shares(x)

    def shares(self, x):
        """Return softmax over all axes of the sum. ``exp(x - y)`` is that too, until log 2 is rounded away next to 1e16."""
        axes = normalized_axes(self, x, self.axis)
        if len(axes) == 1:
            return OPERATIONS["softmax"](x, axis=axes[0])
        order = (*(axis for axis in range(x.ndim) if axis not in axes), *axes)
        moved = transpose(x, axes=order)
        rows = reshape(moved, (*moved.shape[: x.ndim - len(axes)], self.count(x)))
        return transpose(reshape(OPERATIONS["softmax"](rows), moved.shape), axes=tuple(np.argsort(order).tolist()))


@register
class L1Norm(Reduction):
    """Sum of absolute values over ``axis`` (all axes by default); the gradient at 0 is 0.

    Source: Golub and Van Loan, *Matrix Computations*, 2.2. Raises ``ShapeError`` and ``AttributeValueError`` for what
    does not fit the shape.

    >>> import tinygraph as tg
    >>> tg.l1_norm(np.array([[3.0, -4.0], [0.0, 1.0]]), axis=1)
    array([7., 1.])
    """

    name: ClassVar[str] = "l1_norm"
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

    name: ClassVar[str] = "l2_norm"
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
l1_norm = L1Norm.function
l2_norm = L2Norm.function


def _norm_as_numpy(x, ord: Any = None, axis: Axis = None, keepdims: bool = False):
    """The norm as NumPy's own function takes it: of vectors, and of matrices where it is the root of all squares."""
    vectors = isinstance(axis, int) or (axis is None and len(x.shape) == 1)
    if ord is None or (ord == 2 and vectors) or (ord == "fro" and not vectors):
        return l2_norm(x, axis, keepdims)
    if ord == 1 and vectors:
        return l1_norm(x, axis, keepdims)
    raise TinygraphError(
        f"numpy.linalg.norm on tensors takes no order {ord!r} here; vectors have 1 and 2, matrices 'fro'"
    )


NUMPY_FUNCTIONS[np.linalg.norm] = _norm_as_numpy
