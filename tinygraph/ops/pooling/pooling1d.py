"""Pools of lines: those of pictures (``pooling.py``, ``max_pooling.py``) for images of one axis."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from tinygraph.graph.function import register
from tinygraph.graph.op import Edge, Sample, Shape
from tinygraph.ops.pooling import max_pooling, pooling
from tinygraph.ops.pooling.max_pooling import MaxPool, MaxTake, MaxUnpool, gradient_samples, take_samples
from tinygraph.ops.pooling.pooling import AvgPool, AvgUnpool, Pooling, unpooled
from tinygraph.ops.samples import distinct, each, normal
from tinygraph.ops.windows import Padding1, Size1


@dataclass(frozen=True)
class OneAxis(Pooling):
    """The attributes of pools of lines."""

    window: Size1
    stride: Size1 | None = None
    padding: Padding1 = 0
    dilation: Size1 = 1
    rank: ClassVar[int] = 1


CASES: list[tuple[Shape, dict[str, Any]]] = [
    ((2, 2, 6), {"window": 2}),
    ((1, 1, 5), {"window": 3, "stride": 1, "padding": "same_lower"}),
    ((1, 1, 6), {"window": 3, "stride": 2, "padding": ((2, 0),), "ceil_mode": True}),
    ((1, 1, 7), {"window": 2, "stride": 3, "padding": 1, "dilation": 2}),
]
_AVERAGES = [*CASES, (CASES[-1][0], CASES[-1][1] | {"count_include_pad": False})]


@register
@dataclass(frozen=True)
class AvgPool1d(AvgPool, OneAxis):
    """Mean of each window: ``(N, C, L)`` to ``(N, C, windows)``.

    As ``avg_pool2d``, with one axis; a pair of paddings is ``((before, after),)``. Source: PyTorch's ``avg_pool1d``,
    ONNX's ``AveragePool``. Raises ``ShapeError`` and ``AttributeValueError``.

    >>> import tinygraph as tg
    >>> tg.avg_pool1d(np.array([[[1.0, 2.0, 4.0, 8.0]]]), 2)
    array([[[1.5, 6. ]]])
    """

    samples = staticmethod(each(normal, *_AVERAGES))


@register
@dataclass(frozen=True)
class AvgUnpool1d(AvgUnpool, OneAxis):
    """The transpose of ``avg_pool1d``: each element of ``x`` shared out equally over its window.

    ``output_size`` is the size of the image that was pooled. Source: as ``avg_unpool2d``. Raises ``ShapeError`` and
    ``AttributeValueError``.

    >>> import tinygraph as tg
    >>> tg.avg_unpool1d(np.array([[[2.0, 4.0]]]), 2, output_size=(4,))
    array([[[1., 1., 2., 2.]]])
    """

    output_size: tuple[int] = field(kw_only=True)
    samples = staticmethod(unpooled(_AVERAGES, AvgPool1d))


@register
@dataclass(frozen=True)
class MaxPool1d(MaxPool, OneAxis):
    """Maximum of each window: ``(N, C, L)`` to ``(N, C, windows)``; a tie's gradient goes to the first.

    As ``max_pool2d``, with one axis; a pair of paddings is ``((before, after),)``. Source: PyTorch's ``max_pool1d``,
    ONNX's ``MaxPool``. Raises ``ShapeError`` and ``AttributeValueError``.

    >>> import tinygraph as tg
    >>> tg.max_pool1d(np.array([[[1.0, 2.0, 8.0, 4.0]]]), 2)
    array([[[2., 8.]]])
    """

    samples = staticmethod(each(distinct, *CASES))
    edges = (Edge(Sample(np.ones((1, 1, 3)), window=2, stride=1), [[[1.0, 1.0, 0.0]]]),)


@register
@dataclass(frozen=True)
class MaxUnpool1d(MaxUnpool, OneAxis):
    """Each element of ``dy`` put at the maximum of its window of ``x``, zeros elsewhere: the gradient of ``max_pool1d``.

    Source: as ``max_unpool2d``. Raises ``ShapeError`` and ``AttributeValueError``.

    >>> import tinygraph as tg
    >>> tg.max_unpool1d(np.array([[[5.0, 6.0]]]), np.array([[[1.0, 2.0, 8.0, 4.0]]]), 2)
    array([[[0., 5., 6., 0.]]])
    """

    samples = staticmethod(gradient_samples(CASES, MaxPool1d))


@register
@dataclass(frozen=True)
class MaxTake1d(MaxTake, OneAxis):
    """The elements of ``values`` at the maxima of the windows of ``x``: the transpose of ``max_unpool1d``.

    Source: as ``max_take2d``. Raises ``ShapeError`` and ``AttributeValueError``.

    >>> import tinygraph as tg
    >>> tg.max_take1d(np.array([[[1.0, 2.0, 3.0, 4.0]]]), np.array([[[1.0, 2.0, 8.0, 4.0]]]), 2)
    array([[[2., 3.]]])
    """

    samples = staticmethod(take_samples(CASES))


pooling.introduce(AvgPool1d, AvgUnpool1d)
max_pooling.introduce(MaxPool1d, MaxUnpool1d, MaxTake1d)
avg_pool1d = AvgPool1d.function
avg_unpool1d = AvgUnpool1d.function
max_pool1d = MaxPool1d.function
max_unpool1d = MaxUnpool1d.function
max_take1d = MaxTake1d.function
