"""Statistics along axes, and what is made of them with a rule of its own: variance, standardize, moving_sum."""

import math
from typing import Any, ClassVar

import numpy as np

from tinygraph.graph import Explanation, Shape, Terms, composite, register, require
from tinygraph.graph.explanation import element_at, line, members
from tinygraph.ops.elementwise.exponential import sqrt
from tinygraph.ops.reduction.reduction import L2Norm, Reduction, mean
from tinygraph.ops.samples import each, normal
from tinygraph.ops.sums import AlongAxes, Axis, average, floating_dtype, narrowed, summed_dtype, total, wide, widened


def check_epsilon(op: Any) -> None:
    """Refuse an epsilon that would make a variance smaller."""
    require(0 <= op.epsilon < math.inf, op, f"epsilon must not be negative; found {op.epsilon}")


@register
class Variance(Reduction):
    """Mean squared distance from the mean over ``axis`` (all axes by default); divided by ``n - correction`` of n numbers.

    ``correction=1`` is the unbiased estimate; NaN of nothing. Source: NumPy's ``var``, in two passes. Raises ``ShapeError``
    where a correction leaves nothing to divide by, and ``AttributeValueError`` for axes that do not fit the shape.

    >>> import tinygraph as tg
    >>> tg.variance(np.array([[1.0, 3.0], [2.0, 6.0]]), axis=1)
    array([1., 4.])
    """

    correction: int = 0
    formula: ClassVar[str] = "variance({x})"
    tex: ClassVar[str] = r"\operatorname{Var}({x})"
    holomorphic: ClassVar[bool] = True
    samples = each(
        normal,
        ((3, 4), {}),
        ((2, 3, 2), {"axis": 1}),
        ((2, 3, 2), {"axis": (0, -1), "keepdims": True, "correction": 1}),
    )

    def shape(self, x) -> Shape:
        shape = super().shape(x)
        if self.correction and self.count(x) <= self.correction and 0 not in shape:
            self.refuse([x], f"there is no variance of {self.count(x)} numbers with correction {self.correction}")
        return shape

    result_dtype = floating_dtype

    def forward(self, x):
        x = wide(x)
        if not x.size:
            return np.full(self.shape(x), math.nan, x.dtype)
        apart = x - average(x, self.axis, keepdims=True)
        return total(apart * apart, self.axis, self.keepdims) / (self.count(x) - self.correction)

    def explain(self, index: tuple[int, ...], y, /, *inputs) -> Explanation:
        (x,), divisor = inputs, self.count(inputs[0]) - self.correction
        cells = members(self, index, y, x)
        numbers = np.asarray(x, np.float64).reshape(-1)[cells]
        center = float(numbers.mean())
        terms = (numbers - center) ** 2 / divisor
        return Explanation((Terms(((0, cells),), values=terms, text=f"({{0}} − {center:.4g})² / {divisor}"),))

    def vjp(self, dy, y, x):
        x = widened(x)
        apart = x - mean(x, axis=self.axis, keepdims=True)
        return self.spread(dy, x) * apart * 2 / (self.count(x) - self.correction)


@register
class Standardize(AlongAxes):
    """``x`` less its mean, divided by its standard deviation, over ``axis``: numbers of mean 0 and variance 1.

    The deviation is the square root of the variance plus ``epsilon``. Every element moves the mean and the deviation of all,
    so its rule takes from the gradient its mean, and its part along the result:
    ``dx = (dy - mean(dy) - y mean(dy y)) / deviation``. Source: Ioffe and Szegedy, *Batch Normalization*, 2015, section 3.
    Raises ``ShapeError`` and ``AttributeValueError`` for what does not fit the shape.

    >>> import tinygraph as tg
    >>> tg.standardize(np.array([[1.0, 3.0], [2.0, 6.0]]), epsilon=0)
    array([[-1.,  1.],
           [-1.,  1.]])
    """

    axis: Axis = -1
    epsilon: float = 1e-5
    formula: ClassVar[str] = "({x} − mean({x})) / √(variance({x}) + {epsilon})"
    tex: ClassVar[str] = r"\frac{{x} - \operatorname{mean}({x})}{\sqrt{\operatorname{Var}({x}) + {epsilon}}}"
    holomorphic: ClassVar[bool] = True
    samples = each(
        normal,
        ((3, 4), {}),
        ((3, 4), {"axis": 0, "epsilon": 0.5}),
        ((2, 3, 2), {"axis": (0, 2)}),
        ((2, 3), {"axis": None, "epsilon": 0.1}),
    )

    check_attributes = check_epsilon

    result_dtype = floating_dtype

    def forward(self, x):
        x = wide(x)
        if not x.size:
            return x
        apart = x - average(x, self.axis, keepdims=True)
        return apart / np.sqrt(average(apart * apart, self.axis, keepdims=True) + self.epsilon)

    def explain(self, index: tuple[int, ...], y, /, *inputs) -> Explanation:
        (x,) = inputs
        cells = line(index, x, self.combined_axes(x))
        numbers = np.asarray(x, np.float64).reshape(-1)[cells]
        deviation = np.sqrt(numbers.var() + self.epsilon)
        formula = f"({{0}} − mean {numbers.mean():.4g}) / deviation {deviation:.4g}, both of {len(cells)} elements"
        return Explanation(reads=(element_at(0, index, x), (0, cells)), formula=formula)

    def vjp(self, dy, y, x):
        dy, y, x = map(widened, (dy, y, x))
        deviation = sqrt(variance(x, axis=self.axis, keepdims=True) + self.epsilon)
        along = y * mean(dy * y, axis=self.axis, keepdims=True)
        return (dy - mean(dy, axis=self.axis, keepdims=True) - along) / deviation


@register
class MovingSum(AlongAxes):
    """For each place along ``axis`` the sum of it, the ``before`` elements before it and the ``after`` elements after it.

    Beyond the ends there is nothing. Its gradient is the same sum the other way round. Source: the sum rule. Raises
    ``ShapeError`` for an axis that ``x`` does not have, ``AttributeValueError`` for a negative reach.

    >>> import tinygraph as tg
    >>> tg.moving_sum(np.array([1.0, 2.0, 3.0, 4.0]), before=1, after=0)
    array([1., 3., 5., 7.])
    """

    before: int
    after: int
    axis: int = -1
    formula: ClassVar[str] = "sum of {x} from {before} before to {after} after"
    tex: ClassVar[str] = r"\operatorname{movingsum}({x})"
    holomorphic: ClassVar[bool] = True
    samples = each(
        normal,
        ((2, 5), {"before": 1, "after": 2}),
        ((2, 5, 2), {"before": 0, "after": 1, "axis": 1}),
        ((3, 2), {"before": 4, "after": 0, "axis": 0}),
    )

    def check_attributes(self) -> None:
        require(min(self.before, self.after) >= 0, self, f"before and after must not be negative; found {self}")

    result_dtype = summed_dtype

    def forward(self, x):
        x = widened(x)
        y = np.zeros(x.shape, self.result_dtype(x))
        source, target = np.moveaxis(x, self.axis, 0), np.moveaxis(y, self.axis, 0)
        size = len(source)
        for shift in range(-min(self.before, size - 1), min(self.after, size - 1) + 1):
            target[max(0, -shift) : size - max(0, shift)] += source[max(0, shift) : size - max(0, -shift)]
        return y

    def explain(self, index: tuple[int, ...], y, /, *inputs) -> Explanation:
        (axis,) = self.combined_axes(inputs[0])
        near = slice(max(0, index[axis] - self.before), index[axis] + self.after + 1)
        return Explanation((Terms(((0, line(index, inputs[0], [axis], near)),)),))

    def vjp(self, dy, y, x):
        return MovingSum(self.after, self.before, self.axis)(dy)


@composite(formula="√variance({x})", tex=r"\operatorname{std}({x})", holomorphic=True, samples=Variance.samples)
def std(x, *, axis: Axis = None, keepdims: bool = False, correction: int = 0):
    """Standard deviation over ``axis`` (all axes by default), the root of ``tg.variance``; of equal numbers its gradient is 0.

    ``correction=1`` divides by ``n - 1``; NaN of nothing. It is the Euclidean length of the distances from the mean, scaled.
    Source: NumPy's ``std``. Raises ``ShapeError`` as ``variance`` does.

    >>> import tinygraph as tg
    >>> tg.std(np.array([[1.0, 3.0], [2.0, 6.0]]), axis=1)
    array([1., 2.])
    """
    over, full = Variance(axis, keepdims, correction), widened(x)
    over.shape(x)
    length = L2Norm(axis, keepdims)(full - mean(full, axis=axis, keepdims=True))
    return narrowed(length / (math.sqrt(over.count(x) - correction) or math.nan), x)


variance = Variance.function
standardize = Standardize.function
