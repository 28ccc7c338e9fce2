"""Where the largest elements are, and which: argmax, argmin, top_k. Places are whole numbers and have no gradient."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tinygraph.graph.function import register
from tinygraph.graph.op import Op, Shape
from tinygraph.ops.axes import normalized_axes, normalized_axis, reduced_shape
from tinygraph.ops.indexing.gather import scatter_add_elements
from tinygraph.ops.samples import distinct, each

_PLACES = each(distinct, ((3, 4), {}), ((2, 3, 2), {"axis": 1}), ((2, 3), {"axis": -1, "keepdims": True, "last": True}))


@dataclass(frozen=True)
class _Place(Op):
    """The base of argmax and argmin."""

    axis: int | None = None
    keepdims: bool = False
    last: bool = False
    samples = _PLACES

    def shape(self, x) -> Shape:
        if not (math.prod(x.shape) if self.axis is None else x.shape[normalized_axis(self, x, self.axis)]):
            self.refuse([x], f"the {self.name} of no elements is not defined")
        return reduced_shape(self, x, self.axis, self.keepdims)

    def result_dtype(self, x) -> np.dtype[Any]:
        return np.dtype(np.int64)

    def combined_axes(self, x) -> tuple[int, ...]:
        return normalized_axes(self, x, self.axis)

    def found(self, x, find: Any):
        """Return the places that ``find`` finds, the first ones or the ``last``."""
        if not self.last:
            return find(x, self.axis, keepdims=self.keepdims)
        count = x.size if self.axis is None else x.shape[self.axis]
        return count - 1 - find(np.flip(x, self.axis), self.axis, keepdims=self.keepdims)


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

    def forward(self, x):
        return self.found(x, np.argmax)


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

    def forward(self, x):
        return self.found(x, np.argmin)


@dataclass(frozen=True)
class _Ranked(Op):
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

    def combined_axes(self, x) -> tuple[int, ...]:
        return normalized_axes(self, x, self.axis)

    def places(self, x) -> Any:
        """Return the places of the first ``k`` elements in their order; of equal ones the first comes first."""
        rows = np.moveaxis(x, self.axis, -1)
        if self.largest:
            # Ascending from the end, where NaN is sorted to, and counted from the end: so equal ones keep their order.
            order = rows.shape[-1] - 1 - np.argsort(rows[..., ::-1], axis=-1, kind="stable")[..., ::-1]
        else:
            order = np.lexsort((rows, ~np.isnan(rows)), axis=-1)
        return np.moveaxis(order[..., : self.k], -1, self.axis)

    def batch(self, use):
        return use.outside_axis()


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
        places = top_k_indices(x, self.k, axis=self.axis, largest=self.largest)
        return scatter_add_elements(dy, places, x.shape, self.axis)


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


top_k_indices = TopKIndices.function
