"""The base of losses, and those on differences of predictions and targets: mse, l1, huber, smooth_l1.

A loss is one number for a batch, with its mean (the 1/m of the notes) as part of the operation.
"""

import math
from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

from tinygraph.errors import DataError
from tinygraph.graph import Edge, Explanation, Op, Sample, Samples, Shape, Tensor, Terms, constant, extent, register
from tinygraph.graph.attributes import require
from tinygraph.ops.comparison.comparison import clip
from tinygraph.ops.elementwise.arithmetic import sign
from tinygraph.ops.samples import distinct, normal, tensors
from tinygraph.ops.sums import average, countable, floating_dtype, wide


def mean_count(x, *shape: int) -> Any:
    """Return how many elements a mean divides by, called m where that is the number of samples."""
    count = countable(math.prod(shape), x)
    if not isinstance(x, Tensor):
        return count
    dtype = x.dtype if isinstance(count, int) else count.dtype
    return constant(count, name="m" if shape and count == shape[0] else None, dtype=dtype)


def called_tex(op: Op) -> str:
    """Return a loss with attributes as a call, for lecture notes.

    >>> import tinygraph as tg
    >>> called_tex(tg.cross_entropy.op(ignore_index=-1))
    '\\\\operatorname{cross\\\\_entropy}({logits}, {labels}; \\\\text{ignore\\\\_index=-1})'
    """
    attributes = ", ".join(op.written_attributes())
    inputs = ", ".join(f"{{{name}}}" for name in op.parameters)
    return rf"\operatorname{{{op.name}}}({inputs}; \text{{{attributes}}})".replace("_", r"\_")


def mean_tex(x, of: str) -> str:
    """Return the TeX template of a mean over the elements of ``x``; ``of`` is the template for the element i.

    A minus sign in front of ``of`` stands in front of the sum.
    """
    if math.prod(x.shape) == 1:
        return of.replace("_{i}", "")
    sign = "-" * of.startswith("-")
    return sign + r"\frac{1}{{size}} \sum_{i=1}^{{size}} " + of.removeprefix(sign)


def rows_tex(x, of: str) -> str:
    """Return the TeX template of a mean over the rows of ``x``; ``of`` is the template for the row i."""
    if math.prod(x.shape[:-1]) == 1:
        return of.replace("_{ik}", "_{k}")
    return r"\frac{1}{{rows}} \sum_{i=1}^{{rows}} " + of


def of_elements(losses: Any, count: int, text: str) -> Explanation:
    """Return the explanation of a mean, over ``count``, of a loss of every pair of elements, of both inputs."""
    cells = np.arange(len(losses))
    values = np.asarray(losses, np.float64) / count
    return Explanation((Terms(((0, cells), (1, cells)), values=values, text=text + share(count)),))


def share(count: int) -> str:
    """Return the divisor of a mean as text."""
    return f" / {count}" if count > 1 else ""


def require_probabilities(op: Op, labels) -> None:
    """Raise ``DataError`` for labels outside 0 to 1."""
    if labels.size and not (labels.min() >= 0 and labels.max() <= 1):
        raise DataError(f"{op.name}: labels must lie between 0 and 1; found {extent(labels)}")


class Loss(Op):
    """The base of losses on two tensors of one shape: the result is one number, the mean over the batch.

    Shape and dtype are those of these two; ``bce`` may take its logits as a third.

    ``tex`` describes the loss of the element i.
    """

    def shape(self, prediction, target, *others) -> Shape:
        self.require_fitting(prediction, target)
        if 0 in prediction.shape:
            self.refuse((prediction, target), "the batch is empty, and the mean loss of no samples is not defined")
        return ()

    def require_fitting(self, prediction, target) -> None:
        """Refuse targets that do not fit the predictions."""
        if tuple(prediction.shape) != tuple(target.shape):
            self.refuse((prediction, target), "both must have one shape, so that nothing is broadcast by mistake")

    result_dtype = floating_dtype

    def batch(self, use):
        return use.mean()

    def written_tex(self, *inputs) -> str:
        return mean_tex(inputs[0], self.tex)


def _samples(**attributes: float) -> Samples:
    """Return the samples of a loss: one without attributes, and one with these."""

    def samples(rng: np.random.Generator) -> Iterable[Sample]:
        shapes: list[Shape] = [(3, 2), (2, 2, 3)]
        for shape, given in zip(shapes, [{}, attributes], strict=True):
            target = normal(rng, shape)
            # Differences of 0.4, 1.2, 2 and so on: to both sides of the widths in use, and near neither 0 nor those.
            yield Sample(target + 8 * distinct(rng, shape), target, **given)

    return samples


class OfDifference(Loss):
    """The base of these losses: the mean over all elements of a penalty for the difference.

    ``penalty(difference)`` returns the penalty of each difference, and ``slope(dy, difference)`` the gradient ``dy`` times
    its derivative, in operations.
    """

    penalty: ClassVar[Any]
    slope: ClassVar[Any]

    samples = _samples()
    # How an explanation writes the penalty of one element.
    element: ClassVar[str] = ""

    def forward(self, prediction, target):
        difference = wide(prediction) - wide(target)
        return average(self.penalty(difference))

    def explain(self, index: tuple[int, ...], y, /, *inputs) -> Explanation:
        difference = (wide(inputs[0]) - wide(inputs[1])).reshape(-1)
        return of_elements(self.penalty(difference), difference.size, self.element or f"{self.name} of {{0}} − {{1}}")

    def vjp(self, dy, cost, prediction, target) -> Any:
        slope = self.slope(dy, prediction - target) / mean_count(prediction, *prediction.shape)
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

    formula: ClassVar[str] = "mean(|{prediction} − {target}|)"
    tex: ClassVar[str] = r"\left|{(prediction)}_{i} - {(target)}_{i}\right|"
    edges: ClassVar[tuple[Edge, ...]] = (Edge(Sample([1.0, 2.0], [1.0, 4.0]), [0.0, -0.5], [0.0, 0.5]),)

    def penalty(self, difference: Any) -> Any:
        return np.abs(difference)

    def slope(self, dy, difference):
        return dy * sign(difference)


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
    tex: ClassVar[str] = r"h_{{delta}}\left({(prediction)}_{i} - {(target)}_{i}\right)"

    def check_attributes(self) -> None:
        require(self.delta > 0, self, f"delta must be positive; found {self.delta}")

    def penalty(self, difference: Any) -> Any:
        return _bent(difference, self.delta)

    def slope(self, dy, difference):
        return dy * clip(difference, -self.delta, self.delta)


@register
class SmoothL1(OfDifference):
    """Mean absolute error with a parabola of the width ``beta`` in the place of its kink: ``huber`` over ``delta``, a scalar.

    Source: Girshick, *Fast R-CNN*, 2015 (arXiv:1504.08083). Raises ``ShapeError`` for shapes that differ and
    ``AttributeValueError`` for a ``beta`` that is not positive.

    >>> import tinygraph as tg
    >>> tg.smooth_l1(np.array([1.0, 5.0]), np.array([2.0, 1.0]), beta=2.0)
    array(1.625)
    """

    beta: float = 1.0
    samples = _samples(beta=1.5)
    formula: ClassVar[str] = "mean(½ r² / {beta}, or |r| − ½ {beta} beyond {beta}), r = {prediction} − {target}"
    tex: ClassVar[str] = r"s_{{beta}}\left({(prediction)}_{i} - {(target)}_{i}\right)"

    def check_attributes(self) -> None:
        require(self.beta > 0, self, f"beta must be positive; found {self.beta}")

    def penalty(self, difference: Any) -> Any:
        return _bent(difference, self.beta) / self.beta

    def slope(self, dy, difference):
        return dy * clip(difference / self.beta, -1.0, 1.0)


@register
class Mse(OfDifference):
    """Mean squared error over all elements: predictions and targets of one shape give a scalar.

    The gradient is ``2 (prediction - target)/m``.

    Source: the mean of squares; its rule is the chain rule. Raises ``ShapeError`` for shapes that differ.

    >>> import tinygraph as tg
    >>> tg.mse(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    array(2.)
    """

    formula: ClassVar[str] = "mean(({prediction} − {target})²)"
    tex: ClassVar[str] = r"\left({(prediction)}_{i} - {(target)}_{i}\right)^{2}"
    holomorphic: ClassVar[bool] = True
    samples = tensors((normal, normal), ((3, 2), (3, 2)))
    element: ClassVar[str] = "({0} − {1})²"

    def penalty(self, difference: Any) -> Any:
        return difference * difference

    def slope(self, dy, difference):
        return dy * 2 * difference
