"""The base of losses: one number for a batch, with its mean (the 1/m of the notes) as part of the operation."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygraph.errors import DataError
from tinygraph.graph.arrays import extent
from tinygraph.graph.explanation import Explanation, Terms
from tinygraph.graph.leaves import constant
from tinygraph.graph.op import Op, Shape
from tinygraph.graph.tensor import Tensor
from tinygraph.ops.axes import floating_dtype
from tinygraph.ops.floating import countable


def mean_count(x, *shape: int) -> Any:
    """Return how many elements a mean divides by, called m where that is the number of samples."""
    count = countable(math.prod(shape), x)
    if not isinstance(x, Tensor):
        return count
    dtype = x.dtype if isinstance(count, int) else count.dtype
    return constant(count, name="m" if shape and count == shape[0] else None, dtype=dtype)


def mean_tex(x, of: str) -> str:
    """Return the TeX template of a mean over the elements of ``x``; ``of`` is the template for the element i."""
    if math.prod(x.shape) == 1:
        return of.replace("_{i}", "")
    return r"\frac{1}{{size}} \sum_{i=1}^{{size}} " + of


def of_elements(places: tuple[int, int], losses: Any, count: int, text: str) -> Explanation:
    """Return the explanation of a mean, over ``count``, of a loss of every pair of elements."""
    cells = np.arange(len(losses))
    values = np.asarray(losses, np.float64) / count
    return Explanation((Terms(tuple((place, cells) for place in places), values=values, text=text + share(count)),))


def share(count: int) -> str:
    """Return the divisor of a mean as text."""
    return f" / {count}" if count > 1 else ""


def require_probabilities(op: Op, labels) -> None:
    """Raise ``DataError`` for labels outside 0 to 1."""
    if labels.size and not (labels.min() >= 0 and labels.max() <= 1):
        raise DataError(f"{op.name}: labels must lie between 0 and 1; found {extent(labels)}")


def require_classes(op: Op, labels, classes: int) -> None:
    """Raise ``DataError`` for class numbers outside 0 to ``classes - 1``."""
    if labels.size and not (labels.min() >= 0 and labels.max() < classes):
        raise DataError(f"{op.name}: class numbers must lie in 0 to {classes - 1}; found {extent(labels)}")


@dataclass(frozen=True)
class Loss(Op):
    """The base of losses on two tensors of one shape: the result is one number, the mean over the batch."""

    def shape(self, prediction, target) -> Shape:
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
