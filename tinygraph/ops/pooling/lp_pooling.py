"""Pools by the p-norm of each window, for images of one, two and three axes."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygraph.graph.explanation import Explanation
from tinygraph.graph.function import register
from tinygraph.graph.record import Edge, Sample
from tinygraph.ops.axes import floating_dtype
from tinygraph.ops.comparison.comparison import where
from tinygraph.ops.elementwise.arithmetic import abs, sign
from tinygraph.ops.floating import widened
from tinygraph.ops.pooling.global_pooling import require_norm
from tinygraph.ops.pooling.pooling import CASES, AvgUnpool, Pooling
from tinygraph.ops.samples import each, off_zero


@dataclass(frozen=True)
class LpPool(Pooling):
    """The rules of ``lp_pool1d``, ``lp_pool2d`` and ``lp_pool3d``."""

    p: float = 2.0
    formula: ClassVar[str] = "{p}-norm of {x} in windows of size {window}"
    tex: ClassVar[str] = r"\operatorname{LpPool}_{{p}}({x})"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_norm(self, self.p)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterable[Sample]:
        first, *others = CASES[cls.rank]
        return each(off_zero, first, *((shape, attributes | {"p": 3}) for shape, attributes in others))(rng)

    result_dtype = floating_dtype

    def forward(self, x):
        windows = self.windows(x.shape)
        powers = windows.pad(np.abs(widened(x)) ** self.p)
        total = np.zeros((*x.shape[:2], *windows.count), powers.dtype)
        for pixels in windows.pixels():
            total += powers[pixels]
        return total ** (1 / self.p)

    def explain(self, index: tuple[int, ...], y, /, *inputs) -> Explanation:
        cells = self.cells(inputs[0], index)
        return Explanation(reads=((0, cells),), formula=f"{self.p:g}-norm of {len(cells)} elements")

    def vjp(self, dy, y, x):
        dy, y, x = map(widened, (dy, y, x))
        mean = self.counterpart(AvgUnpool, output_size=x.shape[2:])
        # A mean times its divisor is a sum. Where a norm is 0, all its pixels are 0, and so is the last factor.
        undivided = mean.divisor(self.windows(x.shape), np.dtype(y.dtype))
        return mean(dy / where(y == 0, 1, y) ** (self.p - 1) * undivided) * sign(x) * abs(x) ** (self.p - 1)


@register
class LpPool2d(LpPool, rank=2):
    """The p-norm of each window, ``(sum of |x|**p) ** (1/p)``: ``(N, C, H, W)`` to ``(N, C, rows, columns)``.

    ``p`` is at least 1. Window, stride, padding, dilation and ``ceil_mode`` are those of ``avg_pool2d``; padding adds
    nothing. ``|x|**p`` must not overflow. Where all pixels of a window are 0, its gradient is 0. For ``p = 1`` the
    gradient of each 0 is 0. Source: ONNX's ``LpPool``. PyTorch's ``lp_pool2d`` takes ``x**p`` without the absolute value, which
    differs for odd ``p``, and with ``ceil_mode`` multiplies the norm of a window that is cut short. Raises
    ``ShapeError`` and ``AttributeValueError``.

    >>> import tinygraph as tg
    >>> tg.lp_pool2d(np.array([[[[3.0, 0.0], [-4.0, 0.0]]]]), 2)
    array([[[[5.]]]])
    """

    edges = (
        Edge(Sample(np.zeros((1, 1, 2, 2)), window=2), np.zeros((1, 1, 2, 2))),
        Edge(Sample([[[[0.0, 2.0, -2.0]]]], window=(1, 3), p=1), [[[[0.0, 1.0, -1.0]]]]),
    )


@register
class LpPool1d(LpPool, rank=1):
    """The p-norm of each window, ``(sum of |x|**p) ** (1/p)``: ``(N, C, L)`` to ``(N, C, windows)``.

    As ``lp_pool2d``. Raises ``ShapeError`` and ``AttributeValueError``.

    >>> import tinygraph as tg
    >>> tg.lp_pool1d(np.array([[[3.0, -4.0, 0.0, 2.0]]]), 2)
    array([[[5., 2.]]])
    """


@register
class LpPool3d(LpPool, rank=3):
    """The p-norm of each window, ``(sum of |x|**p) ** (1/p)``: ``(N, C, D, H, W)`` to ``(N, C, layers, rows, columns)``.

    As ``lp_pool2d``. Raises ``ShapeError`` and ``AttributeValueError``.

    >>> import tinygraph as tg
    >>> tg.lp_pool3d(np.array([[[[[3.0, -4.0]]]]]), (1, 1, 2))
    array([[[[[5.]]]]])
    """


lp_pool1d, lp_pool2d, lp_pool3d = LpPool1d.function, LpPool2d.function, LpPool3d.function
