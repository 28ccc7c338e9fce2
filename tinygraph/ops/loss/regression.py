"""Losses on the difference of predictions and targets: mse, l1, huber, smooth_l1."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tinygraph.errors import AttributeValueError
from tinygraph.graph.explanation import Explanation
from tinygraph.graph.function import register
from tinygraph.graph.op import Shape
from tinygraph.graph.record import Edge, Sample, Samples
from tinygraph.ops.comparison.comparison import clip
from tinygraph.ops.elementwise.arithmetic import sign
from tinygraph.ops.floating import wide
from tinygraph.ops.loss.loss import Loss, mean_count, mean_tex, of_elements
from tinygraph.ops.samples import distinct, normal
from tinygraph.ops.sums import average


def _samples(**attributes: float) -> Samples:
    """Return the samples of a loss: one without attributes, and one with these."""

    def samples(rng: np.random.Generator) -> Iterable[Sample]:
        shapes: list[Shape] = [(3, 2), (2, 2, 3)]
        for shape, given in zip(shapes, [{}, attributes], strict=True):
            target = normal(rng, shape)
            # Differences of 0.4, 1.2, 2 and so on: to both sides of the widths in use, and near neither 0 nor those.
            yield Sample(target + 8 * distinct(rng, shape), target, **given)

    return samples


@dataclass(frozen=True)
class OfDifference(Loss):
    """The base of these losses: the mean over all elements of a penalty for the difference."""

    samples = _samples()

    def penalty(self, difference: Any) -> Any:
        """Return the penalty of each difference."""
        raise NotImplementedError

    def slope(self, difference):
        """Return the derivative of the penalty, in operations."""
        raise NotImplementedError

    def forward(self, prediction, target):
        difference = wide(prediction) - wide(target)
        return average(self.penalty(difference))

    def explain(self, index: tuple[int, ...], y, /, *inputs) -> Explanation:
        difference = (wide(inputs[0]) - wide(inputs[1])).reshape(-1)
        return of_elements((0, 1), self.penalty(difference), difference.size, f"{self.name} of {{0}} − {{1}}")

    def vjp(self, dy, cost, prediction, target) -> Any:
        slope = dy * self.slope(prediction - target) / mean_count(prediction, *prediction.shape)
        return slope, lambda: -slope


@register
class L1(OfDifference):
    """Mean absolute error over all elements: predictions and targets of one shape give a scalar.

    The gradient where they are equal is 0.

    Source: Boyd and Vandenberghe, *Convex Optimization*, 6.1. Raises ``ShapeError`` for shapes that differ.

    >>> import tinygraph as tg
    >>> tg.l1(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    array(1.)
    """

    name: ClassVar[str] = "l1"
    formula: ClassVar[str] = "mean(|{prediction} − {target}|)"
    edges: ClassVar[tuple[Edge, ...]] = (Edge(Sample([1.0, 2.0], [1.0, 4.0]), [0.0, -0.5], [0.0, 0.5]),)

    def penalty(self, difference: Any) -> Any:
        return np.abs(difference)

    def slope(self, difference):
        return sign(difference)

    def written_tex(self, *inputs) -> str:
        return mean_tex(inputs[0], r"\left|{(prediction)}_{i} - {(target)}_{i}\right|")


def _bent(difference: Any, width: float) -> Any:
    """Return half the square within ``width``, and beyond it the line that goes on from there; without overflow."""
    size = np.abs(difference)
    within = np.minimum(size, width)
    return within * (size - within / 2)


@register
class Huber(OfDifference):
    """Mean of half the squared differences, but for those larger than ``delta``, which count by their size: a scalar.

    Source: Huber, *Robust Estimation of a Location Parameter*, 1964. Raises ``ShapeError`` for shapes that differ and
    ``AttributeValueError`` for a ``delta`` that is not positive.

    >>> import tinygraph as tg
    >>> tg.huber(np.array([1.0, 5.0]), np.array([2.0, 1.0]), delta=2.0)
    array(3.25)
    """

    delta: float = 1.0
    samples = _samples(delta=1.5)
    formula: ClassVar[str] = "mean(½ r², or {delta} · (|r| − ½ {delta}) beyond {delta}), r = {prediction} − {target}"

    def check_attributes(self) -> None:
        if not self.delta > 0:
            raise AttributeValueError(f"huber: delta must be positive; found {self.delta}")

    def penalty(self, difference: Any) -> Any:
        return _bent(difference, self.delta)

    def slope(self, difference):
        return clip(difference, -self.delta, self.delta)

    def written_tex(self, *inputs) -> str:
        return mean_tex(inputs[0], r"h_{{delta}}\left({(prediction)}_{i} - {(target)}_{i}\right)")


@register
class SmoothL1(OfDifference):
    """Mean absolute error with a parabola of the width ``beta`` in the place of its kink: ``huber`` over ``delta``, a scalar.

    Source: Girshick, *Fast R-CNN*, 2015 (arXiv:1504.08083). Raises ``ShapeError`` for shapes that differ and
    ``AttributeValueError`` for a ``beta`` that is not positive.

    >>> import tinygraph as tg
    >>> tg.smooth_l1(np.array([1.0, 5.0]), np.array([2.0, 1.0]), beta=2.0)
    array(1.625)
    """

    name: ClassVar[str] = "smooth_l1"
    beta: float = 1.0
    samples = _samples(beta=1.5)
    formula: ClassVar[str] = "mean(½ r² / {beta}, or |r| − ½ {beta} beyond {beta}), r = {prediction} − {target}"

    def check_attributes(self) -> None:
        if not self.beta > 0:
            raise AttributeValueError(f"smooth_l1: beta must be positive; found {self.beta}")

    def penalty(self, difference: Any) -> Any:
        return _bent(difference, self.beta) / self.beta

    def slope(self, difference):
        return clip(difference / self.beta, -1.0, 1.0)

    def written_tex(self, *inputs) -> str:
        return mean_tex(inputs[0], r"s_{{beta}}\left({(prediction)}_{i} - {(target)}_{i}\right)")


@register
class Mse(Loss):
    """Mean squared error over all elements: predictions and targets of one shape give a scalar.

    The gradient is ``2 (prediction - target)/m``.

    Source: the mean of squares; its rule is the chain rule. Raises ``ShapeError`` for shapes that differ.

    >>> import tinygraph as tg
    >>> tg.mse(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    array(2.)
    """

    formula: ClassVar[str] = "mean(({prediction} − {target})²)"
    holomorphic: ClassVar[bool] = True
    samples = staticmethod(lambda rng: [Sample(normal(rng, (3, 2)), normal(rng, (3, 2)))])

    def forward(self, prediction, target):
        difference = wide(prediction) - wide(target)
        return average(difference * difference)

    def vjp(self, dy, cost, prediction, target) -> Any:
        slope = dy * 2 * (prediction - target) / mean_count(prediction, *prediction.shape)
        return slope, lambda: -slope

    def explain(self, index: tuple[int, ...], y, /, *inputs) -> Explanation:
        difference = (wide(inputs[0]) - wide(inputs[1])).reshape(-1)
        return of_elements((0, 1), difference * difference, difference.size, "({0} − {1})²")

    def written_tex(self, *inputs) -> str:
        return mean_tex(inputs[0], r"\left({(prediction)}_{i} - {(target)}_{i}\right)^{2}")


l1 = L1.function
huber = Huber.function
mse = Mse.function
smooth_l1 = SmoothL1.function
