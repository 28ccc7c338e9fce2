"""Losses for classes and distributions: hinge for signs, nll and kl_divergence for logarithms of probabilities."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tinygraph.errors import DataError, ShapeError
from tinygraph.graph.function import register
from tinygraph.graph.op import Edge, Sample, Shape, Value
from tinygraph.graph.tensor import Tensor
from tinygraph.ops.activation import Softmax, log_softmax
from tinygraph.ops.elementwise import log
from tinygraph.ops.floating import floating
from tinygraph.ops.loss import Loss, OfClasses, check_labels, mean_count, mean_tex, one_hot
from tinygraph.ops.samples import Array, distinct, normal, unit

FAMILY = "loss"


def _require_logarithms(name: str, logs: Value) -> None:
    """Refuse probabilities where their logarithms belong."""
    if isinstance(logs, Tensor) and isinstance(logs.op, Softmax):
        called = f" {logs.name!r}" if logs.name else ""
        raise ShapeError(f"{name} takes logarithms; it was given the softmax{called}: use log_softmax for it")


@register
@dataclass(frozen=True)
class Hinge(Loss):
    """Mean hinge loss ``max(0, 1 - labels · scores)`` over all elements, for labels that are -1 or 1: a scalar.

    Labels have no gradient; at a margin of 1 exactly the gradient is 0. Source: Cortes and Vapnik, *Support-Vector
    Networks*, 1995. Raises ``ShapeError`` for shapes that differ, and ``DataError`` for other labels.

    >>> import tinygraph as tg
    >>> tg.hinge(np.array([0.5, -2.0]), np.array([1, -1]))
    array(0.25)
    """

    formula: ClassVar[str] = "mean(max(0, 1 − {labels} · {scores}))"
    samples = staticmethod(
        lambda rng: [
            Sample(8 * distinct(rng, (3, 2)), rng.choice([-1, 1], (3, 2))),
            Sample(8 * distinct(rng, (5,)), rng.choice([-1, 1], (5,))),
        ]
    )
    edges: ClassVar[tuple[Edge, ...]] = (Edge(Sample([1.0, -1.0], np.array([1, 1])), [0.0, -0.5]),)

    def forward(self, scores: Value, labels: Value) -> Value:
        if not ((labels == 1) | (labels == -1)).all():
            raise DataError(f"hinge: labels must be -1 or 1; found {labels.min():g} to {labels.max():g}")
        margins = np.maximum(0, 1 - labels * floating(scores))
        return margins.mean(dtype=self.result_dtype(scores, labels))

    def vjp(self, dy: Value, cost: Value, scores: Value, labels: Value) -> Any:
        return -(dy * labels * (labels * scores < 1)) / mean_count(scores, *scores.shape), None

    def written_tex(self, *inputs: Value) -> str:
        return mean_tex(inputs[0], r"\max\left(0, 1 - {(labels)}_{i} {(scores)}_{i}\right)")


def _log_probabilities(rng: np.random.Generator, shape: Shape) -> Array:
    return np.asarray(log_softmax(normal(rng, shape)))


def _nll_samples(rng: np.random.Generator) -> Iterable[Sample]:
    yield Sample(_log_probabilities(rng, (4, 3)), np.array([0, 2, 1, 2]))
    yield Sample(_log_probabilities(rng, (2, 2, 3)), np.array([[0, 2], [1, 1]]))
    yield Sample(_log_probabilities(rng, (2, 2, 3)), unit(rng, (2, 2, 3)))


@register
@dataclass(frozen=True)
class Nll(OfClasses):
    """Negative log-likelihood: cross-entropy from logarithms of probabilities ``logs (..., K)``, averaged over the batch.

    ``labels`` are class numbers ``(...)`` of an integer dtype, or probabilities ``(..., K)``; ``nll(log_softmax(z), y)`` is
    ``cross_entropy(z, y)``. Source: Bishop, *Pattern Recognition and Machine Learning*, 2006, (4.108). Raises ``ShapeError``,
    and ``DataError`` for class numbers outside 0..K-1 or probabilities outside 0..1.

    >>> import tinygraph as tg
    >>> tg.nll(np.log(np.array([[0.5, 0.5], [0.25, 0.75]])), np.array([0, 0])).round(4)
    np.float64(1.0397)
    """

    formula: ClassVar[str] = "−mean({logs}[{labels}])"
    samples = staticmethod(_nll_samples)

    @classmethod
    def operands(cls, logs: Value, labels: Value) -> Sequence[Value]:
        """Refuse probabilities where their logarithms belong."""
        _require_logarithms(cls.name, logs)
        return logs, labels

    def forward(self, logs: Value, labels: Value) -> Value:
        return self.mean_of_chosen(floating(logs), labels, self.result_dtype(logs, labels))

    def vjp(self, dy: Value, cost: Value, logs: Value, labels: Value) -> Any:
        m = mean_count(logs, *logs.shape[:-1])
        if len(labels.shape) < len(logs.shape):
            return -(dy * one_hot(labels, logs.shape[-1], logs.dtype.name) / m), None
        return lambda: -(dy * labels / m), lambda: -(dy * logs / m)

    def written_tex(self, *inputs: Value) -> str:
        logs, labels = inputs
        mean = "-" if math.prod(logs.shape[:-1]) == 1 else r"-\frac{1}{{rows}} \sum_{i=1}^{{rows}} "
        if len(labels.shape) < len(logs.shape):
            return rf"{mean}{{(logs)}}_{{i, {{(labels)}}_{{i}}}}"
        return rf"{mean}\sum_{{k}} {{(labels)}}_{{ik}} {{(logs)}}_{{ik}}"


@register
@dataclass(frozen=True)
class KlDivergence(Loss):
    """Kullback-Leibler divergence of probabilities ``labels (..., K)`` from those whose logarithms are ``logs``, of one shape.

    The sum of ``labels · (log labels - logs)`` over the last axis, averaged over the batch: a scalar. Where a label is 0 its
    term is 0. Source: Kullback and Leibler, *On Information and Sufficiency*, 1951. Raises ``ShapeError``, and
    ``DataError`` for labels outside 0..1.

    >>> import tinygraph as tg
    >>> tg.kl_divergence(np.log(np.array([[0.5, 0.5]])), np.array([[1.0, 0.0]])).round(4)
    np.float64(0.6931)
    """

    formula: ClassVar[str] = "mean(sum({labels} · (log {labels} − {logs})))"
    samples = staticmethod(
        lambda rng: [Sample(_log_probabilities(rng, shape), unit(rng, shape)) for shape in [(4, 3), (2, 2, 3), (3,)]]
    )

    @classmethod
    def operands(cls, logs: Value, labels: Value) -> Sequence[Value]:
        """Refuse probabilities where their logarithms belong."""
        _require_logarithms(cls.name, logs)
        return logs, labels

    def shape(self, logs: Value, labels: Value) -> Shape:
        if not logs.shape:
            self.refuse((logs, labels), "logs need a last axis of classes")
        return super().shape(logs, labels)

    def forward(self, logs: Value, labels: Value) -> Value:
        check_labels(self, labels)
        surprise = np.log(np.where(labels == 0, 1, floating(labels))) - floating(logs)
        # Where a label is 0 nothing is added, whatever the logarithm is.
        terms = labels * np.where(labels == 0, 0, surprise)
        return terms.sum(axis=-1).mean(dtype=self.result_dtype(logs, labels))

    def vjp(self, dy: Value, cost: Value, logs: Value, labels: Value) -> Any:
        m = mean_count(logs, *logs.shape[:-1])
        return lambda: -(dy * labels / m), lambda: dy * (log(labels) + 1 - logs) / m

    def written_tex(self, *inputs: Value) -> str:
        mean = "" if math.prod(inputs[0].shape[:-1]) == 1 else r"\frac{1}{{rows}} \sum_{i=1}^{{rows}} "
        return mean + r"\sum_{k} {(labels)}_{ik} \left(\log {(labels)}_{ik} - {(logs)}_{ik}\right)"


hinge = Hinge.function
nll = Nll.function
kl_divergence = KlDivergence.function
