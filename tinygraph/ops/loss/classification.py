"""Losses for classes and distributions: cross-entropy of logits, nll and kl_divergence of logarithms, hinge for signs."""

import math
from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

from tinygraph.errors import DataError, ShapeError
from tinygraph.graph import Array, Decision, Edge, Op, Sample, SampleInputs, Samples, Shape, Tensor, extent, register
from tinygraph.graph.attributes import require
from tinygraph.graph.explanation import Explanation, Terms, element_at
from tinygraph.ops.activation.activation import Softmax, log_softmax, softmax
from tinygraph.ops.comparison.comparison import gate
from tinygraph.ops.elementwise.cast import require_numeric
from tinygraph.ops.elementwise.exponential import log
from tinygraph.ops.loss.loss import Loss, mean_count, of_elements, require_probabilities, rows_tex, share
from tinygraph.ops.reduction.reduction import sum
from tinygraph.ops.samples import Draw, distinct, normal, tensors, unit
from tinygraph.ops.sums import average, total, wide


def require_classes(op: Op, labels, classes: int) -> None:
    """Raise ``DataError`` for class numbers outside 0 to ``classes - 1``."""
    if labels.size and not (labels.min() >= 0 and labels.max() < classes):
        raise DataError(f"{op.name}: class numbers must lie in 0 to {classes - 1}; found {extent(labels)}")


def _labelled(draw: Draw) -> Samples:
    """Samples with class numbers and with probabilities as labels."""

    def samples(rng: np.random.Generator) -> Iterable[Sample]:
        for labels in (np.array([0, 2, 1, 2]), np.array([[0, 2], [1, 1]])):
            shape = (*labels.shape, 3)
            yield Sample(draw(rng, shape), labels)
            yield Sample(draw(rng, shape), unit(rng, shape))

    return samples


class ClassLoss(Loss):
    """The base of losses with a last axis of classes; ``takes`` says what they take in place of probabilities."""

    takes: ClassVar[tuple[str, str]] = ("logarithms", "use log_softmax instead")

    def shape(self, scores, labels) -> Shape:
        if isinstance(scores, Tensor) and isinstance(scores.op, Softmax):
            name, (what, instead) = f" {scores.name!r}" if scores.name else "", self.takes
            raise ShapeError(f"{self.name} takes {what}; it was given the softmax{name}: {instead}")
        if not scores.shape or scores.shape[-1] < 1:
            self.refuse((scores, labels), f"{self.parameters[0]} need a last axis of classes")
        return super().shape(scores, labels)

    def batch(self, use):
        return None if use.axis() == use.inputs[0].ndim - 1 else use.mean()


class LabelLoss(ClassLoss):
    """The base of losses whose labels are class numbers, or probabilities for each class.

    ``tex`` describes the logarithms of the probabilities.
    """

    decision: ClassVar[Decision] = Decision()

    def require_fitting(self, scores, labels) -> None:
        shape = tuple(scores.shape)
        one_each = tuple(labels.shape) == shape[:-1]
        if not (labels.dtype.kind in "iu" and one_each) and (tuple(labels.shape) != shape or labels.dtype.kind == "c"):
            self.refuse(
                (scores, labels),
                f"labels must be class numbers (integers) of shape {shape[:-1]} "
                f"or probabilities of the shape of {self.parameters[0]}; found {labels.dtype} of shape {tuple(labels.shape)}"
                + ('; an input of whole numbers is declared with dtype = "int64"' if one_each else ""),
            )

    def check(self, scores, labels) -> None:
        if labels.ndim == len(scores.shape):
            require_probabilities(self, labels)
        else:
            require_classes(self, labels, scores.shape[-1])

    def sample_inputs(self, rng: np.random.Generator, scores, labels) -> SampleInputs:
        if labels.dtype.kind in "iu":
            return None, rng.integers(0, scores.shape[-1], labels.shape)
        return None, np.eye(labels.shape[-1])[rng.integers(0, labels.shape[-1], labels.shape[:-1])]

    def mean_of_chosen(self, logs, labels) -> Any:
        """Return minus the mean of the logarithms that the labels choose."""
        if labels.ndim == logs.ndim:
            return -average(total(labels * logs, axis=-1))
        return -average(np.take_along_axis(logs, labels[..., None], axis=-1))

    def written_tex(self, *inputs) -> str:
        scores, labels = inputs
        if len(labels.shape) == len(scores.shape):
            return "-" + rows_tex(scores, rf"\sum_{{k}} {{(labels)}}_{{ik}} {self.tex}_{{ik}}")
        place = "{labels}" if math.prod(labels.shape) == 1 else "i, {(labels)}_{i}"
        return "-" + rows_tex(scores, f"{self.tex}_{{{place}}}")


@register
class CrossEntropy(LabelLoss):
    """Cross-entropy of ``softmax(logits)`` over the last axis, averaged over the batch: a scalar.

    ``logits (..., K)``, before any softmax; ``labels`` are class numbers ``(...)`` of an integer dtype, or probabilities
    ``(..., K)`` such as one-hot rows. The gradient for one-hot rows is ``(softmax(logits) - labels)/m``.
    Source: Bishop, *Pattern Recognition and Machine Learning*, 2006, (4.108). Raises ``ShapeError``, and ``DataError`` for
    class numbers outside 0..K-1 or probabilities outside 0..1.

    >>> import tinygraph as tg
    >>> tg.cross_entropy(np.zeros((2, 4)), np.array([0, 3])).round(4)
    np.float64(1.3863)
    """

    formula: ClassVar[str] = "−mean(log softmax({logits})[{labels}])"
    tex: ClassVar[str] = r"\log \operatorname{softmax}({logits})"
    takes: ClassVar[tuple[str, str]] = ("logits and applies softmax itself", "pass the logits themselves")
    samples = _labelled(normal)

    def forward(self, logits, labels):
        return self.mean_of_chosen(log_softmax(wide(logits)), labels)

    def vjp(self, dy, cost, logits, labels) -> Any:
        m = mean_count(logits, *logits.shape[:-1])
        if len(labels.shape) < len(logits.shape):
            hits = one_hot(labels, logits.shape[-1], logits.dtype.name)
            return lambda: dy * (softmax(logits) - hits) / m, None
        weight = sum(labels, axis=-1, keepdims=True)
        return lambda: dy * (softmax(logits) * weight - labels) / m, lambda: -(dy * log_softmax(logits) / m)

    def explain(self, index: tuple[int, ...], y, /, *inputs) -> Explanation:
        logits, labels = inputs
        logs = log_softmax(wide(logits)).reshape(-1)
        if labels.ndim == logits.ndim:
            text = "−{1} · log softmax({0})"
            return of_elements(-labels.reshape(-1) * logs, logits.size // logits.shape[-1], text)
        rows = np.arange(labels.size)
        cells = rows * logits.shape[-1] + labels.reshape(-1).astype(np.intp)
        values = -logs[cells] / labels.size
        text = "−log softmax({0})" + share(labels.size)
        return Explanation((Terms(((0, cells), (1, rows)), values=values, text=text),))


@register
class OneHot(Op):
    """Class numbers ``(...)`` as rows ``(..., classes)`` of zeros with a one; whole numbers have no gradient.

    Source: NumPy's comparison with ``arange``. Raises ``ShapeError`` for labels that are no whole numbers and
    ``DataError`` for those out of range.

    >>> import tinygraph as tg
    >>> tg.one_hot(np.array([0, 2]), 3)
    array([[1., 0., 0.],
           [0., 0., 1.]])
    """

    classes: int
    dtype: str = "float64"
    formula: ClassVar[str] = "one-hot({labels})"
    tex: ClassVar[str] = r"\operatorname{onehot}({labels})"
    samples = staticmethod(lambda rng: [Sample(rng.integers(0, 3, (4,)), classes=3)])

    def check_attributes(self) -> None:
        require(self.classes >= 1, self, f"classes must be at least 1; found {self.classes}")
        require_numeric(self, self.dtype)

    def shape(self, labels) -> Shape:
        if labels.dtype.kind not in "iu":
            self.refuse((labels,), f"labels must be whole numbers; found {labels.dtype}")
        return (*labels.shape, self.classes)

    def result_dtype(self, labels) -> np.dtype[Any]:
        return np.dtype(self.dtype)

    def explain(self, index: tuple[int, ...], y, /, *inputs) -> Explanation:
        *row, label = index
        cell = element_at(0, row, inputs[0])
        whether = "is" if y[index] else "is not"
        reason = f"class {label} {whether} that of the label {{0}}"
        return Explanation((Terms((), 1.0),) if y[index] else (), (cell,), reason)

    def check(self, labels) -> None:
        require_classes(self, labels, self.classes)

    def sample_inputs(self, rng: np.random.Generator, labels) -> SampleInputs:
        return (rng.integers(0, self.classes, labels.shape),)

    def forward(self, labels):
        return (labels[..., None] == np.arange(self.classes)).astype(self.dtype)

    def batch(self, use):
        return use.states[0]


one_hot = OneHot.function


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
        wrong = labels[(labels != 1) & (labels != -1)]
        if wrong.size:
            raise DataError(f"hinge: labels must be -1 or 1; found {wrong[0]}")

    def sample_inputs(self, rng: np.random.Generator, scores, labels) -> SampleInputs:
        return None, rng.choice([-1, 1], labels.shape)

    def forward(self, scores, labels):
        margins = np.maximum(0, 1 - labels * wide(scores))
        return average(margins)

    def vjp(self, dy, cost, scores, labels) -> Any:
        return -gate(dy * labels, labels * scores < 1) / mean_count(scores, *scores.shape), None


def _log_probabilities(rng: np.random.Generator, shape: Shape) -> Array:
    return np.asarray(log_softmax(normal(rng, shape)))


@register
class Nll(LabelLoss):
    """Negative log-likelihood: cross-entropy from logarithms of probabilities ``logs (..., K)``, averaged over the batch.

    ``labels`` are class numbers ``(...)`` of an integer dtype, or probabilities ``(..., K)``; ``nll(log_softmax(z), y)`` is
    ``cross_entropy(z, y)``. Source: Bishop, *Pattern Recognition and Machine Learning*, 2006, (4.108). Raises ``ShapeError``,
    and ``DataError`` for class numbers outside 0..K-1 or probabilities outside 0..1.

    >>> import tinygraph as tg
    >>> tg.nll(np.log(np.array([[0.5, 0.5], [0.25, 0.75]])), np.array([0, 0])).round(4)
    np.float64(1.0397)
    """

    formula: ClassVar[str] = "−mean({logs}[{labels}])"
    tex: ClassVar[str] = "{(logs)}"
    samples = _labelled(_log_probabilities)

    def forward(self, logs, labels):
        return self.mean_of_chosen(wide(logs), labels)

    def vjp(self, dy, cost, logs, labels) -> Any:
        m = mean_count(logs, *logs.shape[:-1])
        if len(labels.shape) < len(logs.shape):
            return -(dy * one_hot(labels, logs.shape[-1], logs.dtype.name) / m), None
        return lambda: -(dy * labels / m), lambda: -(dy * logs / m)


@register
class KlDivergence(ClassLoss):
    """Kullback-Leibler divergence of probabilities ``labels (..., K)`` from those whose logarithms are ``logs``, of one shape.

    The sum of ``labels · (log labels - logs)`` over the last axis, averaged over the batch: a scalar. Where a label is 0 its
    term is 0. Source: Kullback and Leibler, *On Information and Sufficiency*, 1951. Raises ``ShapeError``, and
    ``DataError`` for labels outside 0..1.

    >>> import tinygraph as tg
    >>> tg.kl_divergence(np.log(np.array([[0.5, 0.5]])), np.array([[1.0, 0.0]])).round(4)
    np.float64(0.6931)
    """

    formula: ClassVar[str] = "mean(sum({labels} · (log {labels} − {logs})))"
    samples = tensors((_log_probabilities, unit), ((4, 3), (4, 3)), ((2, 2, 3), (2, 2, 3)), ((3,), (3,)))

    def check(self, logs, labels) -> None:
        require_probabilities(self, labels)

    def sample_inputs(self, rng: np.random.Generator, logs, labels) -> SampleInputs:
        return None, rng.dirichlet(np.ones(labels.shape[-1]), labels.shape[:-1])

    def forward(self, logs, labels):
        surprise = np.log(np.where(labels == 0, 1, wide(labels))) - wide(logs)
        # Where a label is 0 nothing is added, whatever the logarithm is.
        terms = labels * np.where(labels == 0, 0, surprise)
        return average(total(terms, axis=-1))

    def vjp(self, dy, cost, logs, labels) -> Any:
        m = mean_count(logs, *logs.shape[:-1])
        return lambda: -(dy * labels / m), lambda: dy * (log(labels) + 1 - logs) / m

    def written_tex(self, *inputs) -> str:
        return rows_tex(inputs[0], r"\sum_{k} {(labels)}_{ik} \left(\log {(labels)}_{ik} - {(logs)}_{ik}\right)")
