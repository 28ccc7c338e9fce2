"""Pools over all pixels of an image of any rank: mean, maximum and norm of each channel."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tinygraph.graph import Edge, Explanation, Op, Sample, Shape, Terms, extreme_of, register
from tinygraph.ops.comparison.comparison import gate, where
from tinygraph.ops.elementwise.arithmetic import abs, sign
from tinygraph.ops.pooling.pooling import norm_of, plane, require_norm
from tinygraph.ops.reduction.extremes import FirstExtreme
from tinygraph.ops.samples import distinct, each, normal, off_zero
from tinygraph.ops.shape.shape import broadcast_to, expand_dims
from tinygraph.ops.sums import average, countable, floating_dtype, total, widened
from tinygraph.ops.windows import in_planes

# A line, a picture and a volume, with attributes.
_CASES: list[tuple[Shape, dict[str, Any]]] = [
    ((2, 2, 3), {}),
    ((1, 2, 2, 3), {"keepdims": True}),
    ((1, 1, 2, 1, 3), {}),
]


@dataclass(frozen=True)
class GlobalPooling(Op):
    """What pools over all pixels share: ``(N, C, ...)`` to ``(N, C)``, or to ``(N, C, 1, ...)`` with ``keepdims``."""

    keepdims: bool = False

    def shape(self, x) -> Shape:
        if len(x.shape) < 3:
            self.refuse((x,), "x must have at least 3 axes: batch, channels, and those of an image")
        if 0 in x.shape[2:]:
            self.refuse((x,), f"the {self.formula.partition(' ')[0]} of no pixels is not defined")
        return (*x.shape[:2], *((1,) * (len(x.shape) - 2) if self.keepdims else ()))

    def over(self, x) -> tuple[int, ...]:
        """Return the axes of an image."""
        return tuple(range(2, len(x.shape)))

    def cells(self, x, index: Sequence[int]):
        """Return the positions of all pixels of the image that an element of the pool is made from."""
        return in_planes(np.arange(math.prod(x.shape[2:])), [plane(x, index)], x)

    def spread(self, pooled, x):
        """Return a pool repeated over its image."""
        return broadcast_to(pooled if self.keepdims else expand_dims(pooled, self.over(x)), x.shape)

    def batch(self, use):
        return use.each(0)


@register
class GlobalAvgPool(GlobalPooling):
    """Mean of each channel's image, of any number of axes: ``(N, C, ...)`` to ``(N, C)``.

    With ``keepdims``, as PyTorch's adaptive pools and ONNX's ``GlobalAveragePool`` have it, to ``(N, C, 1, ...)``. Source:
    Lin, Chen and Yan, 2013 (arXiv:1312.4400). Raises ``ShapeError``.

    >>> import tinygraph as tg
    >>> tg.global_avg_pool(np.array([[[1.0, 2.0, 6.0]]]))
    array([[3.]])
    """

    formula: ClassVar[str] = "mean of {x} over its image"
    tex: ClassVar[str] = r"\operatorname{GlobalAvgPool}({x})"
    holomorphic: ClassVar[bool] = True
    samples = each(normal, *_CASES)

    result_dtype = floating_dtype

    def forward(self, x):
        return average(x, self.over(x), self.keepdims)

    def explain(self, index: tuple[int, ...], y, /, *inputs) -> Explanation:
        cells = self.cells(inputs[0], index)
        return Explanation((Terms(((0, cells),), 1 / cells.size),))

    def vjp(self, dy, y, x):
        return self.spread(dy / countable(math.prod(x.shape[2:]), x), x)


@register
class GlobalAvgPool2d(GlobalAvgPool):
    """Mean over height and width: ``(N, C, H, W)`` to ``(N, C)``. Source: Lin, Chen and Yan, 2013 (arXiv:1312.4400).

    It is ``global_avg_pool`` for pictures only. Raises ``ShapeError`` for anything but four axes.

    >>> import tinygraph as tg
    >>> tg.global_avg_pool2d(np.array([[[[1.0, 2.0], [3.0, 4.0]]]]))
    array([[2.5]])
    """

    formula: ClassVar[str] = "mean of {x} over height and width"
    samples = each(normal, ((2, 3, 2, 4), {}))

    def shape(self, x) -> Shape:
        if len(x.shape) != 4:
            self.refuse((x,), "x must have 4 axes (batch, channels, height, width)")
        return super().shape(x)


@register
class GlobalMaxPool(GlobalPooling):
    """Maximum of each channel's image, of any number of axes: ``(N, C, ...)`` to ``(N, C)``, or ``(N, C, 1, ...)``.

    The gradient goes to the maximum, on a tie to the first in row-major order. Source: ONNX's ``GlobalMaxPool``, which
    has ``keepdims``. Raises ``ShapeError``.

    >>> import tinygraph as tg
    >>> tg.global_max_pool(np.array([[[1.0, 6.0, 2.0]]]))
    array([[6.]])
    """

    formula: ClassVar[str] = "max of {x} over its image"
    tex: ClassVar[str] = r"\operatorname{GlobalMaxPool}({x})"
    samples = each(distinct, *_CASES)
    edges = (Edge(Sample(np.ones((1, 1, 2, 2))), [[[[1.0, 0.0], [0.0, 0.0]]]]),)

    def forward(self, x):
        return x.max(axis=self.over(x), keepdims=self.keepdims)

    def explain(self, index: tuple[int, ...], y, /, *inputs) -> Explanation:
        return extreme_of(self.cells(inputs[0], index), inputs[0])

    def vjp(self, dy, y, x):
        return gate(self.spread(dy, x), FirstExtreme(self.over(x))(x))


@register
class GlobalLpPool(GlobalPooling):
    """The p-norm of each channel's image, of any number of axes: ``(N, C, ...)`` to ``(N, C)``, or ``(N, C, 1, ...)``.

    ``(sum of |x|**p) ** (1/p)`` for ``p`` of at least 1. Nothing overflows, because ``x`` is divided by its largest element
    first. Where all pixels of an image are 0, its gradient is 0. Source: ONNX's ``GlobalLpPool``, which has ``keepdims``.
    Raises ``ShapeError`` and ``AttributeValueError``.

    >>> import tinygraph as tg
    >>> tg.global_lp_pool(np.array([[[3.0, 0.0, -4.0]]]))
    array([[5.]])
    """

    p: float = 2.0
    formula: ClassVar[str] = "{p}-norm of {x} over its image"
    tex: ClassVar[str] = r"\lVert {x}\rVert_{{p}}"
    samples = each(off_zero, *_CASES, *((shape, attributes | {"p": 3.0}) for shape, attributes in _CASES))
    edges = (
        Edge(Sample(np.zeros((1, 1, 2))), [[[0.0, 0.0]]]),
        Edge(Sample([[[0.0, 2.0, -2.0]]], p=1), [[[0.0, 1.0, -1.0]]]),
    )

    def check_attributes(self) -> None:
        require_norm(self, self.p)

    result_dtype = floating_dtype

    def forward(self, x):
        sizes = np.abs(widened(x))
        largest = sizes.max(axis=self.over(x), keepdims=True)
        largest = np.where(np.isfinite(largest) & (largest > 0), largest, np.ones((), largest.dtype))
        result = largest * total((sizes / largest) ** self.p, self.over(x), keepdims=True) ** (1 / self.p)
        return result.reshape(self.shape(x))

    def explain(self, index: tuple[int, ...], y, /, *inputs) -> Explanation:
        return norm_of(self.cells(inputs[0], index), self.p)

    def vjp(self, dy, y, x):
        norm = where(y == 0, 1, y)
        return self.spread(dy, x) * sign(x) * (abs(x) / self.spread(norm, x)) ** (self.p - 1)
