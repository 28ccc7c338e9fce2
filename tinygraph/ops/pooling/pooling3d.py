"""Pools of volumes: those of pictures (``pooling.py``, ``max_pooling.py``) for images of three axes."""

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
from tinygraph.ops.windows import Padding3, Size3


@dataclass(frozen=True)
class ThreeAxes(Pooling):
    """The attributes of pools of volumes."""

    window: Size3
    stride: Size3 | None = None
    padding: Padding3 = 0
    dilation: Size3 = 1
    rank: ClassVar[int] = 3


CASES: list[tuple[Shape, dict[str, Any]]] = [
    ((1, 2, 2, 2, 4), {"window": 2}),
    ((1, 1, 3, 2, 3), {"window": (2, 1, 3), "stride": (1, 1, 2), "padding": "same"}),
    (
        (1, 1, 3, 2, 4),
        {
            "window": (2, 2, 2),
            "stride": (2, 1, 3),
            "padding": ((1, 0), (0, 1), (0, 0)),
            "dilation": (1, 1, 2),
            "ceil_mode": True,
        },
    ),
]
_AVERAGES = [*CASES, (CASES[-1][0], CASES[-1][1] | {"count_include_pad": False})]


@register
@dataclass(frozen=True)
class AvgPool3d(AvgPool, ThreeAxes):
    """Mean of each window: ``(N, C, D, H, W)`` to ``(N, C, layers, rows, columns)``.

    As ``avg_pool2d``, with three axes; a pair of paddings is ``((before, after), ...)``. Source: PyTorch's ``avg_pool3d``,
    ONNX's ``AveragePool``. Raises ``ShapeError`` and ``AttributeValueError``.

    >>> import tinygraph as tg
    >>> tg.avg_pool3d(np.arange(8.0).reshape(1, 1, 2, 2, 2), 2)
    array([[[[[3.5]]]]])
    """

    samples = staticmethod(each(normal, *_AVERAGES))


@register
@dataclass(frozen=True)
class AvgUnpool3d(AvgUnpool, ThreeAxes):
    """The transpose of ``avg_pool3d``: each element of ``x`` shared out equally over its window.

    ``output_size`` is the size of the image that was pooled. Source: as ``avg_unpool2d``. Raises ``ShapeError`` and
    ``AttributeValueError``.

    >>> import tinygraph as tg
    >>> tg.avg_unpool3d(np.array([[[[[2.0]]]]]), (1, 1, 2), output_size=(1, 1, 2))
    array([[[[[1., 1.]]]]])
    """

    output_size: tuple[int, int, int] = field(kw_only=True)
    samples = staticmethod(unpooled(_AVERAGES, AvgPool3d))


@register
@dataclass(frozen=True)
class MaxPool3d(MaxPool, ThreeAxes):
    """Maximum of each window: ``(N, C, D, H, W)`` to ``(N, C, layers, rows, columns)``; a tie's gradient goes to the first.

    As ``max_pool2d``, with three axes; a pair of paddings is ``((before, after), ...)``. Source: PyTorch's ``max_pool3d``,
    ONNX's ``MaxPool``. Raises ``ShapeError`` and ``AttributeValueError``.

    >>> import tinygraph as tg
    >>> tg.max_pool3d(np.arange(8.0).reshape(1, 1, 2, 2, 2), 2)
    array([[[[[7.]]]]])
    """

    samples = staticmethod(each(distinct, *CASES))
    edges = (Edge(Sample(np.ones((1, 1, 1, 2, 2)), window=(1, 2, 2)), [[[[[1.0, 0.0], [0.0, 0.0]]]]]),)


@register
@dataclass(frozen=True)
class MaxUnpool3d(MaxUnpool, ThreeAxes):
    """Each element of ``dy`` put at the maximum of its window of ``x``, zeros elsewhere: the gradient of ``max_pool3d``.

    Source: as ``max_unpool2d``. Raises ``ShapeError`` and ``AttributeValueError``.

    >>> import tinygraph as tg
    >>> tg.max_unpool3d(np.array([[[[[5.0]]]]]), np.array([[[[[1.0, 2.0]]]]]), (1, 1, 2))
    array([[[[[0., 5.]]]]])
    """

    samples = staticmethod(gradient_samples(CASES, MaxPool3d))


@register
@dataclass(frozen=True)
class MaxTake3d(MaxTake, ThreeAxes):
    """The elements of ``values`` at the maxima of the windows of ``x``: the transpose of ``max_unpool3d``.

    Source: as ``max_take2d``. Raises ``ShapeError`` and ``AttributeValueError``.

    >>> import tinygraph as tg
    >>> tg.max_take3d(np.array([[[[[3.0, 4.0]]]]]), np.array([[[[[1.0, 2.0]]]]]), (1, 1, 2))
    array([[[[[4.]]]]])
    """

    samples = staticmethod(take_samples(CASES))


pooling.introduce(AvgPool3d, AvgUnpool3d)
max_pooling.introduce(MaxPool3d, MaxUnpool3d, MaxTake3d)
avg_pool3d = AvgPool3d.function
avg_unpool3d = AvgUnpool3d.function
max_pool3d = MaxPool3d.function
max_unpool3d = MaxUnpool3d.function
max_take3d = MaxTake3d.function
