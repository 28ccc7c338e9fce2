"""Comparisons, choices between tensors (maximum, minimum, where, clip), and logic. Booleans have no gradient.

Where a choice has a kink the rule takes one side and says which.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from tinygraph.errors import DTypeError
from tinygraph.graph import Array, Edge, Explanation, Op, Sample, Terms, op, register, require
from tinygraph.graph.explanation import element_at, product, weighted
from tinygraph.ops.samples import apart, distinct, each, normal, tensors, truth, unary


def where_of(condition: Any, x: Any, y: Any, out: Array | None = None) -> Any:
    """Return what NumPy's ``where`` returns, for floats of one dtype in less time; ``out`` may be one of them.

    NumPy branches at each element, which costs time where the condition changes often. Here ``y`` is changed by the bits in
    which it differs from ``x``, times the condition. Either may be a single number, an array of no axes.

    >>> where_of(np.array([True, False]), np.array([np.nan, 1.0]), np.array([2.0, -0.0]))
    array([nan, -0.])
    """
    alike = condition.__class__ is x.__class__ is y.__class__ is np.ndarray and condition.dtype == bool
    if not (alike and x.dtype == y.dtype and x.dtype.char in "efd" and (x.ndim or y.ndim)):
        return np.where(condition, x, y)
    bits = f"u{x.itemsize}"
    changed = (x.view(bits) ^ y.view(bits)) * condition
    return np.bitwise_xor(changed, y.view(bits), None if out is None else out.view(bits)).view(x.dtype)


@op(
    formula="{x} · {condition}",
    symbol="*",
    elementwise=True,
    conditions=(1,),
    samples=tensors((normal, truth), ((3, 4), (3, 4)), ((2, 3, 2), (3, 1))),
    edges=[Edge(Sample([np.inf, 1.0], np.array([False, True])), [0.0, 1.0])],
)
def gate(x, condition):
    """``x`` where the condition holds and 0 elsewhere, even where ``x`` is infinite or NaN; broadcast.

    Gradient rules use it where lecture notes multiply by a condition, and it is written as that product. Source: notes
    B7, B12. Raises ``ShapeError`` for shapes that do not broadcast and ``DTypeError`` for a condition that is not boolean.

    >>> import tinygraph as tg
    >>> tg.gate(np.array([2.0, np.inf, np.nan]), np.array([True, False, False]))
    array([2., 0., 0.])
    """
    if np.asarray(condition).dtype != bool:
        raise DTypeError(f"gate: the condition must be boolean, such as x > 0; found {np.asarray(condition).dtype}")
    x = np.asarray(x)
    if x.dtype.char not in "efd":
        return np.where(condition, x, np.zeros((), x.dtype))
    # A product of the bits selects exactly, as fast as a product of the numbers, which would turn infinity into NaN.
    return (x.view(f"u{x.itemsize}") * condition).view(x.dtype)


@gate.vjp
def gate_vjp(dy, y, x, condition) -> Any:
    return gate(dy, condition), None


gate.explain(product)


@register
class Clip(Op):
    """Elements limited to the range from ``low`` to ``high``; ``None`` leaves a side open.

    The gradient passes inside the range, its ends included, as in PyTorch.

    Source: NumPy's ``clip``. Raises ``AttributeValueError`` for ends in the wrong order.

    >>> import tinygraph as tg
    >>> tg.clip(np.array([-2.0, 0.5, 3.0]), 0.0, 1.0)
    array([0. , 0.5, 1. ])
    """

    low: float | None = None
    high: float | None = None
    formula: ClassVar[str] = "min(max({x}, {low}), {high})"
    tex: ClassVar[str] = r"\operatorname{clip}({x}, {low}, {high})"
    elementwise: ClassVar[bool] = True

    def check_attributes(self) -> None:
        ordered = self.low is None or self.high is None or not self.low > self.high
        require(ordered, self, f"low must not be above high; found {self.low} and {self.high}")

    def forward(self, x):
        return x if self.low is None and self.high is None else np.clip(x, self.low, self.high)

    def vjp(self, dy, y, x):
        if self.low is not None:
            dy = gate(dy, x >= self.low)
        return dy if self.high is None else gate(dy, x <= self.high)

    def explain(self, index: tuple[int, ...], y, /, *inputs) -> Explanation:
        x = inputs[0]
        limit = self.low if self.low is not None and x[index] < self.low else self.high
        if limit is None or x[index] == y[index] or np.isnan(x[index]):
            return weighted()(index, y, x)
        return Explanation((Terms((), float(limit)),), (element_at(0, index, x),), "limited: {0} lies outside")

    samples = each(distinct, ((3, 4), {"low": -0.2, "high": 0.3}), ((3,), {"low": 0.1}), ((2, 2), {"high": 0.1}))
    edges: ClassVar[tuple[Edge, ...]] = (Edge(Sample([-1.0, 1.0], low=-1.0, high=1.0), [1.0, 1.0]),)


clip = Clip.function


@op(formula="{x} > {y}", symbol=">", elementwise=True, numpy=[np.greater], samples=apart)
def greater(x, y):
    """Whether ``x`` is greater than ``y``, element by element; booleans have no gradient.

    Source: NumPy's ``greater``. Raises ``ShapeError`` for shapes that do not broadcast.

    >>> import tinygraph as tg
    >>> tg.greater(np.array([1.0, 2.0]), 1.0)
    array([False,  True])
    """
    return x > y


@op(formula="{x} ≥ {y}", symbol=">=", elementwise=True, numpy=[np.greater_equal], samples=apart)
def greater_equal(x, y):
    """Whether ``x`` is at least ``y``, element by element; booleans have no gradient.

    Source: NumPy's ``greater_equal``. Raises ``ShapeError`` for shapes that do not broadcast.

    >>> import tinygraph as tg
    >>> tg.greater_equal(np.array([1.0, 2.0]), 2.0)
    array([False,  True])
    """
    return x >= y


@op(formula="{x} < {y}", symbol="<", elementwise=True, numpy=[np.less], samples=apart)
def less(x, y):
    """Whether ``x`` is less than ``y``, element by element; booleans have no gradient.

    Source: NumPy's ``less``. Raises ``ShapeError`` for shapes that do not broadcast.

    >>> import tinygraph as tg
    >>> tg.less(np.array([1.0, 2.0]), 2.0)
    array([ True, False])
    """
    return x < y


@op(formula="{x} ≤ {y}", symbol="<=", elementwise=True, numpy=[np.less_equal], samples=apart)
def less_equal(x, y):
    """Whether ``x`` is at most ``y``, element by element; booleans have no gradient.

    Source: NumPy's ``less_equal``. Raises ``ShapeError`` for shapes that do not broadcast.

    >>> import tinygraph as tg
    >>> tg.less_equal(np.array([1.0, 2.0]), 1.0)
    array([ True, False])
    """
    return x <= y


@op(formula="{x} = {y}", symbol="==", elementwise=True, numpy=[np.equal], samples=apart)
def equal(x, y):
    """Whether two tensors are equal, element by element; booleans have no gradient.

    Source: NumPy's ``equal``. Raises ``ShapeError`` for shapes that do not broadcast.

    >>> import tinygraph as tg
    >>> tg.equal(np.array([1.0, 2.0]), 1.0)
    array([ True, False])
    """
    return np.equal(x, y)


@op(formula="{x} ≠ {y}", symbol="!=", elementwise=True, numpy=[np.not_equal], samples=apart)
def not_equal(x, y):
    """Whether two tensors differ, element by element; booleans have no gradient.

    Source: NumPy's ``not_equal``. Raises ``ShapeError`` for shapes that do not broadcast.

    >>> import tinygraph as tg
    >>> tg.not_equal(np.array([1.0, 2.0]), 1.0)
    array([False,  True])
    """
    return np.not_equal(x, y)


def _first_that(reason: str) -> Callable[..., Explanation]:
    """Return the explanation of a choice: the first of two elements that equals the result."""

    def explain(index: tuple[int, ...], y, x1, x2) -> Explanation:
        cells = [element_at(i, index, x) for i, x in enumerate((x1, x2))]
        first = np.array_equal(x1.reshape(-1)[cells[0][1]], y[index].reshape(1), equal_nan=True)
        taken, other = cells if first else cells[::-1]
        return Explanation((Terms((taken,)),), (other,), reason)

    return explain


@op(formula="max({x}, {y})", tex=r"\max({x}, {y})", elementwise=True, numpy=[np.maximum], samples=apart)
def maximum(x, y):
    """The larger of two tensors, element by element; NaN where either is. A tie sends its gradient to the first.

    Source: NumPy's ``maximum``. Raises ``ShapeError`` for shapes that do not broadcast.

    >>> import tinygraph as tg
    >>> tg.maximum(np.array([1.0, 5.0]), 3.0)
    array([3., 5.])
    """
    return np.maximum(x, y)


@maximum.vjp
def maximum_vjp(dy, y, x1, x2) -> Any:
    return lambda: gate(dy, x1 >= x2), lambda: gate(dy, x1 < x2)


maximum.explain(_first_that("the larger: {0} is not above it"))


@op(formula="min({x}, {y})", tex=r"\min({x}, {y})", elementwise=True, numpy=[np.minimum], samples=apart)
def minimum(x, y):
    """The smaller of two tensors, element by element; NaN where either is. A tie sends its gradient to the first.

    Source: NumPy's ``minimum``. Raises ``ShapeError`` for shapes that do not broadcast.

    >>> import tinygraph as tg
    >>> tg.minimum(np.array([1.0, 5.0]), 3.0)
    array([1., 3.])
    """
    return np.minimum(x, y)


@minimum.vjp
def minimum_vjp(dy, y, x1, x2) -> Any:
    return lambda: gate(dy, x1 <= x2), lambda: gate(dy, x1 > x2)


minimum.explain(_first_that("the smaller: {0} is not below it"))


@op(
    formula="{x} where {condition}, else {y}",
    tex=r"\begin{cases} {x} & \text{if } {condition} \\ {y} & \text{otherwise} \end{cases}",
    elementwise=True,
    conditions=(0,),
    numpy=[np.where],
    samples=tensors((truth, normal, normal), ((3, 4),) * 3, ((3, 1), (3, 4), (4,))),
)
def where(condition, x, y):
    """``x`` where the condition holds and ``y`` elsewhere, broadcast; the gradient follows the choice.

    Source: NumPy's ``where``. Raises ``ShapeError`` for shapes that do not broadcast.

    >>> import tinygraph as tg
    >>> tg.where(np.array([True, False]), np.array([1.0, 2.0]), 0.0)
    array([1., 0.])
    """
    return where_of(condition, x, y)


@where.vjp
def where_vjp(dy, y, condition, x1, x2) -> Any:
    return None, lambda: where(condition, dy, 0.0), lambda: where(condition, 0.0, dy)


@where.explain
def where_explain(index: tuple[int, ...], y, condition, x1, x2) -> Explanation:
    asked, first, second = (element_at(i, index, x) for i, x in enumerate((condition, x1, x2)))
    holds = bool(condition.reshape(-1)[asked[1]][0])
    reason = f"{{0}}, so the {'first' if holds else 'second'} of two is chosen"
    return Explanation((Terms((first if holds else second,)),), (asked,), reason)


_truths = tensors((truth, truth), ((3, 4), (3, 4)), ((3, 1), (4,)))


@op(formula="{x} and {y}", tex=r"{(x)} \land {(y)}", elementwise=True, numpy=[np.logical_and], samples=_truths)
def logical_and(x, y):
    """Whether both are true; a number is true unless it is 0.

    Source: NumPy's ``logical_and``. Raises ``ShapeError`` for shapes that do not broadcast.

    >>> import tinygraph as tg
    >>> tg.logical_and(np.array([True, False]), True)
    array([ True, False])
    """
    return np.logical_and(x, y)


@op(formula="{x} or {y}", tex=r"{(x)} \lor {(y)}", elementwise=True, numpy=[np.logical_or], samples=_truths)
def logical_or(x, y):
    """Whether one or both are true; a number is true unless it is 0.

    Source: NumPy's ``logical_or``. Raises ``ShapeError`` for shapes that do not broadcast.

    >>> import tinygraph as tg
    >>> tg.logical_or(np.array([True, False]), False)
    array([ True, False])
    """
    return np.logical_or(x, y)


@op(formula="{x} xor {y}", tex=r"{(x)} \oplus {(y)}", elementwise=True, numpy=[np.logical_xor], samples=_truths)
def logical_xor(x, y):
    """Whether one of the two is true and the other is not; a number is true unless it is 0.

    Source: NumPy's ``logical_xor``. Raises ``ShapeError`` for shapes that do not broadcast.

    >>> import tinygraph as tg
    >>> tg.logical_xor(np.array([True, False]), True)
    array([False,  True])
    """
    return np.logical_xor(x, y)


@op(formula="not {x}", tex=r"\lnot {(x)}", elementwise=True, numpy=[np.logical_not], samples=unary(truth))
def logical_not(x):
    """Whether an element is false; a number is false if it is 0.

    Source: NumPy's ``logical_not``. Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.logical_not(np.array([True, False]))
    array([False,  True])
    """
    return np.logical_not(x)


@op(formula="{x} is NaN", tex=r"\operatorname{isnan}({x})", elementwise=True, samples=unary(normal))
def isnan(x):
    """Whether an element is NaN, as a node of the graph; NumPy's ``isnan`` asks about the value instead.

    Source: NumPy's ``isnan``. Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.isnan(np.array([1.0, np.nan]))
    array([False,  True])
    """
    return np.isnan(x)


@op(formula="{x} is infinite", tex=r"\operatorname{isinf}({x})", elementwise=True, samples=unary(normal))
def isinf(x, *, negative: bool = True, positive: bool = True):
    """Whether an element is infinite, of either sign or of those asked for, as a node of the graph.

    Source: NumPy's ``isinf``; ONNX's ``IsInf`` for the signs. Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.isinf(np.array([1.0, -np.inf, np.inf]), negative=False)
    array([False, False,  True])
    """
    return np.isinf(x) & ((x > 0) & positive | (x < 0) & negative)
