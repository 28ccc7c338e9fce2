"""Gradients of pools as the plan computes them: beside the pool's result, and in one pass with what they are multiplied by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygraph.graph.batch import BatchRule, Use
from tinygraph.graph.op import Op, Shape, Value
from tinygraph.ops.pooling.max_pooling import MaxUnpool2d
from tinygraph.ops.pooling.pooling import AvgUnpool2d


@dataclass(frozen=True)
class MaxUnpoolBeside(Op):
    """``max_unpool2d(dy, x)``, given ``y``, the pool of ``x``: the first element of a window that equals ``y`` gets ``dy``."""

    of: MaxUnpool2d
    formula: ClassVar[str] = "{dy} where {x} is the first in its window equal to {y}"

    def shape(self, dy: Value, x: Value, y: Value) -> Shape:
        return self.of.shape(dy, x)

    def result_dtype(self, dy: Value, x: Value, y: Value) -> np.dtype[np.generic]:
        return self.of.result_dtype(dy, x)

    def forward(self, dy: Value, x: Value, y: Value) -> Value:
        return self.of.forward(dy, x)

    def batch(self, use: Use) -> BatchRule:
        return use.each(0, 1, 2)


@dataclass(frozen=True)
class AvgUnpoolProduct(Op):
    """``avg_unpool2d(dy) * factor``, for a factor of the image's shape; ``product`` is ``multiply`` or ``gate``."""

    of: AvgUnpool2d
    product: Op
    formula: ClassVar[str] = "{dy} shared out · {factor}"

    def shape(self, dy: Value, factor: Value) -> Shape:
        return self.of.shape(dy)

    def forward(self, dy: Value, factor: Value) -> Value:
        return self.product.forward(self.of.forward(dy), factor)

    def batch(self, use: Use) -> BatchRule:
        return use.each(0, 1)
