"""Losses: one number for a batch, with its mean (the 1/m of the notes) as part of the operation."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tinygraph.errors import DataError
from tinygraph.graph.arrays import extent
from tinygraph.graph.explanation import Explanation, Terms
from tinygraph.graph.function import register
from tinygraph.graph.leaves import constant
from tinygraph.graph.op import Edge, Op, Sample, Shape, Value
from tinygraph.graph.tensor import Tensor
from tinygraph.ops.activation.activation import sigmoid
from tinygraph.ops.comparison.comparison import where
from tinygraph.ops.elementwise.arithmetic import identity
from tinygraph.ops.elementwise.exponential import log
from tinygraph.ops.floating import countable, wide
from tinygraph.ops.samples import normal, unit
from tinygraph.ops.shape.shape import SameElements, Transpose
from tinygraph.ops.sums import average


def mean_count(x, *shape: int) -> Any:
    """Return how many elements a mean divides by, called m where that is the number of samples."""
    count = countable(math.prod(shape), x)
    if not isinstance(x, Tensor):
        return count
    dtype = x.dtype if isinstance(count, int) else count.dtype
    return constant(count, name="m" if shape and count == shape[0] else None, dtype=dtype)


def mean_tex(x, of: str) -> str:
    """Return the template of the mean over all elements of ``x`` of what ``of`` says about the element i."""
    if math.prod(x.shape) == 1:
        return of.replace("_{i}", "")
    return r"\frac{1}{{size}} \sum_{i=1}^{{size}} " + of


def of_elements(places: tuple[int, int], losses: Any, count: int, text: str) -> Explanation:
    """Return the explanation of a mean, over ``count``, of a loss of every pair of elements."""
    cells = np.arange(len(losses))
    values = np.asarray(losses, np.float64) / count
    return Explanation((Terms(tuple((place, cells) for place in places), values=values, text=text + share(count)),))


def share(count: int) -> str:
    """Return the words of a part of a mean."""
    return f" / {count}" if count > 1 else ""


_CROSS_ENTROPY = r"\left[{(y)}_{i} \log {(a)}_{i} + (1 - {(y)}_{i}) \log(1 - {(a)}_{i})\right]"


def check_labels(op: Op, y) -> None:
    """Raise ``DataError`` for labels outside 0 to 1."""
    if y.size and not (y.min() >= 0 and y.max() <= 1):
        raise DataError(f"{op.name}: labels must lie between 0 and 1; found {extent(y)}")


@dataclass(frozen=True)
class Loss(Op):
    """What losses on two tensors of one shape share: a scalar result, never of nothing."""

    def shape(self, prediction, target) -> Shape:
        if tuple(prediction.shape) != tuple(target.shape):
            self.refuse((prediction, target), "both must have one shape, so that nothing is broadcast by mistake")
        return self.of_something(prediction, target)

    def of_something(self, *inputs) -> Shape:
        """Return the shape of one number, or refuse an empty batch."""
        if 0 in inputs[0].shape:
            self.refuse(inputs, "the batch is empty, and the mean loss of no samples is not defined")
        return ()

    def result_dtype(self, prediction, target) -> np.dtype[Any]:
        return np.result_type(prediction.dtype, 0.0)

    def batch(self, use):
        return use.mean()


# What may stand between a sigmoid and its loss: the same numbers in another shape.
_MOVES = (SameElements, Transpose, identity.op)


def _bce_samples(rng: np.random.Generator) -> Iterable[Sample]:
    yield Sample(unit(rng, (4, 1)), unit(rng, (4, 1)))
    yield Sample(unit(rng, (2, 3)), unit(rng, (2, 3)))


def _bce_with_logits_beside(rng: np.random.Generator) -> Iterable[Sample]:
    z = normal(rng, (2, 3))
    yield Sample(sigmoid(z), unit(rng, (2, 3)), z)


def _cross_entropy_from_logits(z, y):
    return np.maximum(z, 0) - z * y + np.log1p(np.exp(-np.abs(z)))


@register
@dataclass(frozen=True)
class Bce(Loss):
    """Binary cross-entropy, the notes' cost (F10; for one sample F11): predictions ``a`` and labels ``y`` in 0..1, one shape.

    The mean over all elements of ``-(y log a + (1-y) log(1-a))``, a scalar. Where ``a`` is the sigmoid of some ``z``,
    reshaped or not, the loss takes ``z`` as a third operand: the value is then computed from ``z``, and the gradient for
    ``z`` is the notes' (B1, A1, E5) ``(a - y)/m`` directly, both exact and finite for every ``z``, where the two rules
    apart would meet 0/0.
    Raises ``ShapeError``, and ``DataError`` for labels or predictions outside 0..1.

    >>> import tinygraph as tg
    >>> tg.bce(np.array([[0.5]]), np.array([[1.0]])).round(4)
    np.float64(0.6931)
    >>> z = tg.tensor([[1e4], [-1e4]], name="Z3")
    >>> tg.bce(tg.sigmoid(z), [[0.0], [0.0]]).backward()
    >>> z.grad.value
    array([[0.5],
           [0. ]])
    """

    formula: ClassVar[str] = "−mean({y} log {a} + (1 − {y}) log(1 − {a}))"
    # The gradient of input 0 (a) reaches what a was made from through input 2 (z) instead.
    shortcuts: ClassVar[dict[int, int]] = {0: 2}
    samples = staticmethod(_bce_samples)
    shortcut_samples = staticmethod(_bce_with_logits_beside)
    # Labels that are 0 or 1 exactly, met exactly: 0/0 is nowhere taken.
    edges: ClassVar[tuple[Edge, ...]] = (Edge(Sample([1.0, 0.0], [1.0, 0.0]), [-0.5, 0.5], [-np.inf, np.inf]),)

    @classmethod
    def operands(cls, a, y, *rest) -> Sequence[Value]:
        """Add the logits behind a sigmoid, in the shape of the predictions."""
        if rest or not isinstance(a, Tensor):
            return (a, y, *rest)
        made_by, moves = a, []
        while isinstance(made_by.op, _MOVES):
            moves.append(made_by.op)
            made_by = made_by.inputs[0]
        if not isinstance(made_by.op, sigmoid.op):
            return a, y
        z = made_by.inputs[0]
        for move in reversed(moves):
            z = move(z)
        return a, y, z

    def shape(self, a, y, z: Value | None = None) -> Shape:
        return super().shape(a, y)

    def result_dtype(self, a, y, z: Value | None = None) -> np.dtype[Any]:
        return super().result_dtype(a, y)

    def forward(self, a, y, z: Value | None = None):
        check_labels(self, y)
        if z is not None:
            return average(_cross_entropy_from_logits(wide(z), wide(y)))
        if np.any((a < 0) | (a > 1)):
            raise DataError(
                f"bce: predictions must lie between 0 and 1; found {extent(a)} (for logits there is bce_with_logits)"
            )
        with np.errstate(divide="ignore"):
            # Where a label is 0 or 1 exactly, the other term is left out rather than multiplied by 0: 0 log 0 is 0 here.
            a, y = wide(a), wide(y)
            of_ones = y * np.log(np.where(y > 0, a, 1))
            of_zeros = (1 - y) * np.log1p(np.where(y < 1, -a, 0))
        return -average(of_ones + of_zeros)

    def explain(self, index: tuple[int, ...], y, /, *inputs) -> Explanation:
        a = inputs[0]
        losses = [self.forward(*(np.atleast_1d(x).reshape(-1)[i : i + 1] for x in inputs)) for i in range(a.size)]
        return of_elements((0, 1), losses, a.size, "−[{1} log {0} + (1 − {1}) log(1 − {0})]")

    def vjp(self, dy, cost, a, y, z: Value | None = None) -> Any:
        m = mean_count(a, *a.shape)
        of_a = lambda: dy * ((1 - y) / where(y < 1, 1 - a, 1.0) - y / where(y > 0, a, 1.0)) / m  # noqa: E731
        if z is None:
            return of_a, lambda: dy * (log(1 - a) - log(a)) / m
        return of_a, lambda: -(dy * z / m), lambda: dy * (a - y) / m

    def written_tex(self, *inputs) -> str:
        return f"-{mean_tex(inputs[0], _CROSS_ENTROPY)}"


@register
@dataclass(frozen=True)
class BceWithLogits(Loss):
    """Binary cross-entropy of ``sigmoid(z)``, computed from the logits ``z``: ``bce(sigmoid(z), y)`` as one operation.

    The gradient for ``z`` is ``(sigmoid(z) - y)/m`` (notes B1). Shapes must be equal; labels lie in 0..1.

    Raises ``ShapeError``, and ``DataError`` for labels outside 0..1.

    >>> import tinygraph as tg
    >>> tg.bce_with_logits(np.array([[-1e4]]), np.array([[1.0]]))
    array(10000.)
    """

    formula: ClassVar[str] = "−mean({y} log σ({z}) + (1 − {y}) log(1 − σ({z})))"
    samples = staticmethod(
        lambda rng: [Sample(normal(rng, (4, 1)), unit(rng, (4, 1))), Sample(normal(rng, (2, 3)), unit(rng, (2, 3)))]
    )

    def forward(self, z, y):
        check_labels(self, y)
        return average(_cross_entropy_from_logits(wide(z), wide(y)))

    def vjp(self, dy, cost, z, y) -> Any:
        m = mean_count(z, *z.shape)
        return lambda: dy * (sigmoid(z) - y) / m, lambda: -(dy * z / m)

    def explain(self, index: tuple[int, ...], y, /, *inputs) -> Explanation:
        z, labels = inputs
        losses = _cross_entropy_from_logits(wide(z), wide(labels)).reshape(-1)
        return of_elements((0, 1), losses, z.size, "−[{1} log σ({0}) + (1 − {1}) log(1 − σ({0}))]")

    def written_tex(self, *inputs) -> str:
        return f"-{mean_tex(inputs[0], _CROSS_ENTROPY)}".replace("{(a)}", r"\operatorname{sigmoid}({z})")


@register
@dataclass(frozen=True)
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


bce = Bce.function
bce_with_logits = BceWithLogits.function
mse = Mse.function
