"""The largest and smallest elements, and their places: max, min, argmax, argmin, top_k.

Places are whole numbers and have no gradient.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tinygraph.graph import Explanation, Sample, Shape, composite, element_at, extreme_of, members, register
from tinygraph.ops.comparison.comparison import gate
from tinygraph.ops.indexing.gather import ScatterAddElements
from tinygraph.ops.indexing.select import Flip
from tinygraph.ops.reduction.reduction import Reduction
from tinygraph.ops.samples import distinct, each
from tinygraph.ops.sums import AlongAxes, Axis, normalized_axes, normalized_axis, size_along


class _Extreme(Reduction):
    """Largest or smallest: the gradient goes to the first such element in row-major order."""

    def shape(self, x) -> Shape:
        if self.count(x) == 0 and 0 not in self.reduced_shape(x, False):
            self.refuse([x], f"the {self.name} of no elements is not defined")
        return super().shape(x)

    def explain(self, index: tuple[int, ...], y, /, *inputs) -> Explanation:
        return extreme_of(members(self, index, y, *inputs), inputs[0], largest=self.name == "max")

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
class FirstExtreme(AlongAxes):
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

    def result_dtype(self, x) -> np.dtype[Any]:
        return np.dtype(bool)

    def written_tex(self, *inputs) -> str:
        return rf"\mathbf{{1}}[{{x}} \text{{ is the first {'maximum' if self.largest else 'minimum'}}}]"

    def explain(self, index: tuple[int, ...], y, /, *inputs) -> Explanation:
        which = "largest" if self.largest else "smallest"
        return Explanation(reads=(element_at(0, index, inputs[0]),), formula=f"{{0}} is the first {which}")

    def forward(self, x):
        axes = normalized_axes(self, x, self.axis)
        front = tuple(range(len(axes)))
        moved = np.moveaxis(x, axes, front)
        flat = moved.reshape(math.prod(moved.shape[: len(axes)]), math.prod(moved.shape[len(axes) :]))
        mask = np.zeros(flat.shape, bool)
        if flat.size:
            mask = np.arange(len(flat))[:, None] == (flat.argmax(axis=0) if self.largest else flat.argmin(axis=0))
        return np.moveaxis(mask.reshape(moved.shape), front, axes)


@dataclass(frozen=True)
class _Place(Reduction):
    """The base of argmax and argmin."""

    axis: int | None = None
    last: bool = False
    find: ClassVar[Any]
    samples = each(
        distinct, ((3, 4), {}), ((2, 3, 2), {"axis": 1}), ((2, 3), {"axis": -1, "keepdims": True, "last": True})
    )

    def shape(self, x) -> Shape:
        if not self.count(x):
            self.refuse([x], f"the {self.name} of no elements is not defined")
        return super().shape(x)

    def result_dtype(self, x) -> np.dtype[Any]:
        return np.dtype(np.int64)

    def forward(self, x):
        if not self.last:
            return self.find(x, self.axis, keepdims=self.keepdims)
        return self.count(x) - 1 - self.find(np.flip(x, self.axis), self.axis, keepdims=self.keepdims)


@register(numpy=[np.argmax])
class Argmax(_Place):
    """The place of the largest element along ``axis``, or among all elements in row-major order; no gradient flows.

    Of several that are equal it is the first place, or the ``last``. Source: NumPy's ``argmax``. Raises ``ShapeError`` for an
    axis that is not there or has no elements.

    >>> import tinygraph as tg
    >>> tg.argmax(np.array([[1.0, 5.0, 5.0], [3.0, 2.0, 1.0]]), axis=1)
    array([1, 0])
    """

    formula: ClassVar[str] = "argmax({x})"
    tex: ClassVar[str] = r"\operatorname{argmax}({x})"
    find = staticmethod(np.argmax)


@register(numpy=[np.argmin])
class Argmin(_Place):
    """The place of the smallest element along ``axis``, or among all elements in row-major order; no gradient flows.

    Of several that are equal it is the first place, or the ``last``. Source: NumPy's ``argmin``. Raises ``ShapeError`` for an
    axis that is not there or has no elements.

    >>> import tinygraph as tg
    >>> tg.argmin(np.array([[1.0, 5.0, 1.0], [3.0, 2.0, 1.0]]), axis=1, last=True)
    array([2, 2])
    """

    formula: ClassVar[str] = "argmin({x})"
    tex: ClassVar[str] = r"\operatorname{argmin}({x})"
    find = staticmethod(np.argmin)


@dataclass(frozen=True)
class _Ranked(AlongAxes):
    """The base of both results of ONNX's TopK: the places of the ``k`` largest or smallest, in order, NaN first."""

    k: int
    axis: int = -1
    largest: bool = True
    samples = each(
        distinct,
        ((3, 4), {"k": 2}),
        ((3, 4), {"k": 2, "axis": 0, "largest": False}),
        ((2, 3, 2), {"k": 3, "axis": 1}),
    )

    def shape(self, x) -> Shape:
        axis = normalized_axis(self, x, self.axis)
        if not 0 <= self.k <= x.shape[axis]:
            self.refuse([x], f"k must lie in 0 to {x.shape[axis]}, the size of axis {axis}; found {self.k}")
        return (*x.shape[:axis], self.k, *x.shape[axis + 1 :])

    def places(self, x) -> Any:
        """Return the places of the first ``k`` elements in their order; of equal ones the first comes first."""
        rows = np.moveaxis(x, self.axis, -1)
        if self.largest:
            # Ascending from the end, where NaN is sorted to, and counted from the end: so equal ones keep their order.
            order = rows.shape[-1] - 1 - np.argsort(rows[..., ::-1], axis=-1, kind="stable")[..., ::-1]
        else:
            order = np.lexsort((rows, ~np.isnan(rows)), axis=-1)
        return np.moveaxis(order[..., : self.k], -1, self.axis)


@register
class TopK(_Ranked):
    """The ``k`` largest elements along ``axis``, the largest first, or the smallest; each gets its own gradient back.

    Of equal elements the first come first; NaN comes before numbers. Source: NumPy's ``argsort``; ONNX's ``TopK``, whose
    second result is ``top_k_indices``. Raises ``ShapeError`` for more elements than there are.

    >>> import tinygraph as tg
    >>> tg.top_k(np.array([1.0, 5.0, 3.0]), 2)
    array([5., 3.])
    """

    formula: ClassVar[str] = "the first {k} of {x}"
    tex: ClassVar[str] = r"\operatorname{top}_{{k}}({x})"

    def forward(self, x):
        return np.take_along_axis(x, self.places(x), self.axis)

    def vjp(self, dy, y, x):
        places = TopKIndices(self.k, self.axis, self.largest)(x)
        return ScatterAddElements(x.shape, self.axis)(dy, places)


@composite(
    formula="{x} in ascending order",
    tex=r"\operatorname{sort}({x})",
    samples=each(distinct, ((3, 4), {}), ((2, 3, 2), {"axis": 1})),
)
def sort(x, *, axis: int = -1):
    """Elements in ascending order along ``axis``, NaN last; each gets its own gradient back.

    Source: NumPy's ``sort``. Raises ``ShapeError`` for an axis that is not there.

    >>> import tinygraph as tg
    >>> tg.sort(np.array([[3.0, 1.0], [2.0, 5.0]]))
    array([[1., 3.],
           [2., 5.]])
    """
    return Flip(axis)(TopK(size_along("sort", x, axis), axis)(x))


@register
class TopKIndices(_Ranked):
    """The places of the ``k`` largest elements along ``axis``, the largest first, or of the smallest; no gradient flows.

    Of equal elements the first come first; NaN comes before numbers. Source: NumPy's ``argsort``; ONNX's ``TopK``, whose
    first result is ``top_k``. Raises ``ShapeError`` for more elements than there are.

    >>> import tinygraph as tg
    >>> tg.top_k_indices(np.array([1.0, 5.0, 3.0]), 2)
    array([1, 2])
    """

    name: ClassVar[str] = "top_k_indices"
    formula: ClassVar[str] = "places of the first {k} of {x}"
    tex: ClassVar[str] = r"\operatorname{argtop}_{{k}}({x})"

    def result_dtype(self, x) -> np.dtype[Any]:
        return np.dtype(np.int64)

    def forward(self, x):
        return self.places(x)
