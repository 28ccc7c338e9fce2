"""Losses for two classes: binary cross-entropy of probabilities and of logits, and hinge for signs."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tinygraph.errors import DataError, counted
from tinygraph.graph import (
    Decision,
    Edge,
    Explanation,
    Sample,
    SampleInputs,
    Samples,
    Tensor,
    Value,
    apply,
    extent,
    register,
)
from tinygraph.graph.attributes import require
from tinygraph.ops.activation.activation import log_sigmoid, sigmoid
from tinygraph.ops.comparison.comparison import gate, where
from tinygraph.ops.elementwise.arithmetic import identity
from tinygraph.ops.elementwise.exponential import log
from tinygraph.ops.loss.loss import Loss, called_tex, mean_count, mean_tex, of_elements, require_probabilities
from tinygraph.ops.samples import Draw, distinct, normal, unit
from tinygraph.ops.shape.shape import SameElements, Transpose
from tinygraph.ops.sums import average, wide

_CROSS_ENTROPY = r"-\left[{(y)}_{i} \log {(a)}_{i} + (1 - {(y)}_{i}) \log(1 - {(a)}_{i})\right]"


# What may stand between a sigmoid and its loss: the same numbers in another shape.
_MOVES = (SameElements, Transpose, identity.op)


def _samples(draw: Draw) -> Samples:
    """Samples without and with weights of the label 1."""

    def samples(rng: np.random.Generator) -> Iterable[Sample]:
        for shape in ((4, 1), (2, 3)):
            for attributes in ({}, {"pos_weight": 2.5}, {"pos_weight": (0.5, 2.0, 3.0)[: shape[1]]}):
                yield Sample(draw(rng, shape), unit(rng, shape), **attributes)

    return samples


def _samples_with_logits(rng: np.random.Generator) -> Iterable[Sample]:
    for attributes in ({}, {"pos_weight": (0.5, 2.0, 3.0)}):
        z = normal(rng, (2, 3))
        yield Sample(sigmoid(z), unit(rng, (2, 3)), z, **attributes)


def _logits_of(a) -> list[Value]:
    """Return the ``z`` of which ``a`` is the sigmoid, in the shape of ``a``, or nothing."""
    moves = []
    while isinstance(a, Tensor) and isinstance(a.op, _MOVES):
        moves.append(a.op)
        a = a.inputs[0]
    if not isinstance(a, Tensor) or not isinstance(a.op, sigmoid.op):
        return []
    z = a.inputs[0]
    for move in reversed(moves):
        z = move(z)
    return [z]


@dataclass(frozen=True)
class BinaryLoss(Loss):
    """The base of losses of probabilities and logits; ``pos_weight`` multiplies the terms of the label 1.

    It is a number, or one for each column of the last axis.
    """

    pos_weight: float | tuple[float, ...] | None = None

    def check_attributes(self) -> None:
        wrong = [w for w in np.atleast_1d(self.pos_weight or 0.0).tolist() if not 0 <= w < math.inf]
        require(not wrong, self, f"pos_weight must be finite and not negative; found {wrong}")

    def require_fitting(self, prediction, target) -> None:
        super().require_fitting(prediction, target)
        columns = prediction.shape[-1] if prediction.shape else 1
        if isinstance(self.pos_weight, tuple) and len(self.pos_weight) != columns:
            found = f"{counted(len(self.pos_weight), 'number')} for a last axis of {columns}"
            self.refuse((prediction, target), f"pos_weight must be a number or one for each column; found {found}")

    def batch(self, use):
        return None if isinstance(self.pos_weight, tuple) and use.axis() == use.inputs[0].ndim - 1 else use.mean()

    @property
    def weighing(self) -> str:
        """What an explanation writes in front of the term of the label 1."""
        return "" if self.pos_weight is None else "weight · "

    def positive(self, x) -> Any:
        """Return the weight of the terms of the label 1, in the dtype of ``x``."""
        return np.asarray(self.pos_weight, x.dtype)

    def from_logits(self, z, y) -> Any:
        """Return the loss of each element, for arrays."""
        rest = np.log1p(np.exp(-np.abs(z)))
        if self.pos_weight is None:
            return np.maximum(z, 0) - z * y + rest
        return (1 - y) * z + (1 + (self.positive(z) - 1) * y) * (rest + np.maximum(-z, 0))

    def of_logits(self, chance, y) -> Any:
        """Return the slope of the loss of each element in its logit, given the sigmoid of that."""
        if self.pos_weight is None:
            return chance - y
        weight = self.positive(chance)
        return chance * (1 + (weight - 1) * y) - weight * y

    def of_labels(self, z) -> Any:
        """Return minus the slope of the loss of each element in its label."""
        return z if self.pos_weight is None else z + (self.positive(z) - 1) * log_sigmoid(z)

    def written_tex(self, *inputs) -> str:
        if isinstance(self.pos_weight, tuple):
            return called_tex(self)
        weighed = self.tex if self.pos_weight is None else self.tex.replace("[{(y", r"[{pos_weight} \, {(y")
        return mean_tex(inputs[0], weighed)


@register
class Bce(BinaryLoss):
    """Binary cross-entropy, the notes' cost (F10; for one sample F11): predictions ``a`` and labels ``y`` in 0..1, one shape.

    The mean over all elements of ``-(y log a + (1-y) log(1-a))``, a scalar. Where ``a`` is the sigmoid of some ``z``,
    reshaped or not, the loss takes ``z`` as a third operand: the value is then computed from ``z``, and the gradient for
    ``z`` is the notes' (B1, A1, E5) ``(a - y)/m`` directly, both exact and finite for every ``z``, where the two rules
    apart would meet 0/0. ``pos_weight``, a number or one for each column, multiplies the terms ``y log a``.
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
    tex: ClassVar[str] = _CROSS_ENTROPY
    # The gradient of input 0 (a) reaches what a was made from through input 2 (z) instead.
    shortcuts: ClassVar[dict[int, int]] = {0: 2}
    samples = _samples(unit)
    shortcut_samples = _samples_with_logits
    decision: ClassVar[Decision] = Decision(thresholds={0: 0.5, 2: 0.0})
    # Labels that are 0 or 1 exactly, met exactly: 0/0 is nowhere taken.
    edges: ClassVar[tuple[Edge, ...]] = (Edge(Sample([1.0, 0.0], [1.0, 0.0]), [-0.5, 0.5], [-np.inf, np.inf]),)

    def compose(self, *inputs) -> Any:
        """Record the loss, with the logits after the predictions where those are a sigmoid, in their shape."""
        a, y, *z = inputs
        return apply(self, (a, y, *(z or _logits_of(a))))

    def check(self, a, y, z: Value | None = None) -> None:
        require_probabilities(self, y)
        if z is None and np.any((a < 0) | (a > 1)):
            raise DataError(
                f"bce: predictions must lie between 0 and 1; found {extent(a)} (for logits there is bce_with_logits)"
            )

    def sample_inputs(self, rng: np.random.Generator, a, y, z: Value | None = None) -> SampleInputs:
        return unit(rng, a.shape), rng.integers(0, 2, y.shape), None

    def forward(self, a, y, z: Value | None = None):
        return average(self.losses(a, y, z))

    def losses(self, a, y, z: Value | None = None) -> Any:
        """Return the loss of each element, for arrays."""
        if z is not None:
            return self.from_logits(wide(z), wide(y))
        with np.errstate(divide="ignore"):
            # Where a label is 0 or 1 exactly, the other term is left out rather than multiplied by 0: 0 log 0 is 0 here.
            a, y = wide(a), wide(y)
            of_ones = y * np.log(np.where(y > 0, a, 1))
            of_zeros = (1 - y) * np.log1p(np.where(y < 1, -a, 0))
        return -((of_ones if self.pos_weight is None else of_ones * self.positive(a)) + of_zeros)

    def explain(self, index: tuple[int, ...], y, /, *inputs) -> Explanation:
        text = f"−[{self.weighing}{{1}} log {{0}} + (1 − {{1}}) log(1 − {{0}})]"
        return of_elements(self.losses(*inputs).reshape(-1), inputs[0].size, text)

    def vjp(self, dy, cost, a, y, z: Value | None = None) -> Any:
        m = mean_count(a, *a.shape)
        ones = y if self.pos_weight is None else self.positive(a) * y
        of_a = lambda: dy * ((1 - y) / where(y < 1, 1 - a, 1.0) - ones / where(y > 0, a, 1.0)) / m  # noqa: E731
        if z is None:
            logs = lambda: log(a) if self.pos_weight is None else self.positive(a) * log(a)  # noqa: E731
            return of_a, lambda: dy * (log(1 - a) - logs()) / m
        return of_a, lambda: -(dy * self.of_labels(z) / m), lambda: dy * self.of_logits(a, y) / m


@register
class BceWithLogits(BinaryLoss):
    """Binary cross-entropy of ``sigmoid(z)``, computed from the logits ``z``: ``bce(sigmoid(z), y)`` as one operation.

    The gradient for ``z`` is ``(sigmoid(z) - y)/m`` (notes B1). Shapes must be equal; labels lie in 0..1. ``pos_weight``, a
    number or one for each column, multiplies the terms of the label 1, as in PyTorch.

    Raises ``ShapeError``, and ``DataError`` for labels outside 0..1.

    >>> import tinygraph as tg
    >>> tg.bce_with_logits(np.array([[-1e4]]), np.array([[1.0]]))
    array(10000.)
    """

    formula: ClassVar[str] = "−mean({y} log σ({z}) + (1 − {y}) log(1 − σ({z})))"
    tex: ClassVar[str] = _CROSS_ENTROPY.replace("{(a)}", r"\operatorname{sigmoid}({z})")
    decision: ClassVar[Decision] = Decision(thresholds={0: 0.0})
    samples = _samples(normal)

    def check(self, z, y) -> None:
        require_probabilities(self, y)

    def sample_inputs(self, rng: np.random.Generator, z, y) -> SampleInputs:
        return None, rng.integers(0, 2, y.shape)

    def forward(self, z, y):
        return average(self.from_logits(wide(z), wide(y)))

    def vjp(self, dy, cost, z, y) -> Any:
        m = mean_count(z, *z.shape)
        return lambda: dy * self.of_logits(sigmoid(z), y) / m, lambda: -(dy * self.of_labels(z) / m)

    def explain(self, index: tuple[int, ...], y, /, *inputs) -> Explanation:
        z, labels = inputs
        text = f"−[{self.weighing}{{1}} log σ({{0}}) + (1 − {{1}}) log(1 − σ({{0}}))]"
        return of_elements(self.from_logits(wide(z), wide(labels)).reshape(-1), z.size, text)


@register
class Hinge(Loss):
    """Mean hinge loss ``max(0, 1 - labels · scores)`` over all elements, for labels that are -1 or 1: a scalar.

    Labels have no gradient; at a margin of 1 exactly the gradient is 0. Source: Cortes and Vapnik, *Support-Vector
    Networks*, 1995. Raises ``ShapeError`` for shapes that differ, and ``DataError`` for other labels.

    >>> import tinygraph as tg
    >>> tg.hinge(np.array([0.5, -2.0]), np.array([1, -1]))
    array(0.25)
    """

    formula: ClassVar[str] = "mean(max(0, 1 − {labels} · {scores}))"
    tex: ClassVar[str] = r"\max\left(0, 1 - {(labels)}_{i} {(scores)}_{i}\right)"
    samples = staticmethod(
        lambda rng: [Sample(8 * distinct(rng, shape), rng.choice([-1, 1], shape)) for shape in [(3, 2), (5,)]]
    )
    decision: ClassVar[Decision] = Decision(thresholds={0: 0.0})
    edges: ClassVar[tuple[Edge, ...]] = (Edge(Sample([1.0, -1.0], np.array([1, 1])), [0.0, -0.5]),)

    def check(self, scores, labels) -> None:
        wrong = (labels != 1) & (labels != -1)
        if wrong.any():
            raise DataError(f"hinge: labels must be -1 or 1; found {labels[wrong][0]}")

    def sample_inputs(self, rng: np.random.Generator, scores, labels) -> SampleInputs:
        return None, rng.choice([-1, 1], labels.shape)

    def forward(self, scores, labels):
        margins = np.maximum(0, 1 - labels * wide(scores))
        return average(margins)

    def vjp(self, dy, cost, scores, labels) -> Any:
        return -gate(dy * labels, labels * scores < 1) / mean_count(scores, *scores.shape), None
