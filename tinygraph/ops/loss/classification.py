"""Losses for classes and distributions: cross-entropy of logits, nll and kl_divergence of logarithms."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tinygraph.errors import DataError, ShapeError
from tinygraph.graph import Array, Decision, Op, Sample, SampleInputs, Samples, Shape, Tensor, extent, register
from tinygraph.graph.attributes import require
from tinygraph.graph.explanation import Explanation, Terms, element_at
from tinygraph.ops.activation.activation import Softmax, log_softmax, softmax
from tinygraph.ops.comparison.comparison import gate
from tinygraph.ops.elementwise.cast import cast, require_numeric
from tinygraph.ops.elementwise.exponential import log
from tinygraph.ops.loss.loss import Loss, called_tex, mean_count, of_elements, require_probabilities, rows_tex, share
from tinygraph.ops.reduction.reduction import sum
from tinygraph.ops.samples import Draw, normal, tensors, unit
from tinygraph.ops.shape.shape import expand_dims
from tinygraph.ops.sums import average, total, wide, widened


def require_classes(op: Op, labels, classes: int) -> None:
    """Raise ``DataError`` for class numbers outside 0 to ``classes - 1``."""
    if labels.size and not (labels.min() >= 0 and labels.max() < classes):
        raise DataError(f"{op.name}: class numbers must lie in 0 to {classes - 1}; found {extent(labels)}")


def _labelled(draw: Draw, **attributes: Any) -> Samples:
    """Samples with class numbers and with probabilities as labels; some with weights, ignored labels and these attributes."""

    def samples(rng: np.random.Generator) -> Iterable[Sample]:
        weight = (0.5, 2.0, 1.25)
        for labels in (np.array([0, 2, 1, 2]), np.array([[0, 2], [1, 1]])):
            shape = (*labels.shape, 3)
            yield Sample(draw(rng, shape), labels)
            yield Sample(draw(rng, shape), unit(rng, shape))
            yield Sample(draw(rng, shape), labels, weight=weight, ignore_index=1, **attributes)
            yield Sample(draw(rng, shape), unit(rng, shape), weight=weight, **attributes)
        yield Sample(draw(rng, (3, 3)), np.array([2, -1, 0]), ignore_index=-1)
        if attributes:
            yield Sample(draw(rng, (3, 3)), np.array([2, 1, 0]), **attributes)

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


@dataclass(frozen=True)
class LabelLoss(ClassLoss):
    """The base of losses whose labels are class numbers, or probabilities for each class.

    ``weight`` has a number for each class, by which its terms are multiplied. Class numbers that are ``ignore_index`` do not
    count. With either, the mean over class numbers is the sum divided by that of the weights of those that count; the mean
    over rows of probabilities divides by their number. ``tex`` describes the logarithms of the probabilities.
    """

    weight: tuple[float, ...] | None = None
    ignore_index: int | None = None
    decision: ClassVar[Decision] = Decision()

    def check_attributes(self) -> None:
        wrong = [w for w in self.weight or () if not 0 <= w < math.inf]
        require(not wrong, self, f"the weights of classes must be finite and not negative; found {wrong}")

    @property
    def smoothing(self) -> float:
        """The share of every label that is spread evenly over the classes."""
        return 0.0

    def which_count(self, labels) -> Any:
        """Return which class numbers count; ``None`` where all do. A label's dtype may be too small for ``ignore_index``."""
        return None if self.ignore_index is None else cast(labels, "int64") != self.ignore_index

    @staticmethod
    def weights_of(labels, counts, weight) -> Any:
        """Return the weight of the class of each label, 0 for labels that do not count."""
        chosen = labels[..., None] == np.arange(len(weight))
        return (chosen if counts is None else chosen & counts[..., None]) @ weight

    def batch(self, use):
        scores, labels = use.inputs
        weighted = self.weight is not None or self.ignore_index is not None
        return None if weighted and labels.ndim < scores.ndim else super().batch(use)

    def require_fitting(self, scores, labels) -> None:
        if self.weight is not None and len(self.weight) != scores.shape[-1]:
            found = f"found {len(self.weight)} weights for {scores.shape[-1]} classes"
            self.refuse((scores, labels), f"there must be a weight for each class; {found}")
        if self.ignore_index is not None and len(labels.shape) == len(scores.shape):
            self.refuse((scores, labels), "ignore_index is one of the class numbers, and the labels are probabilities")
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
            return
        counts, classes = self.which_count(labels), scores.shape[-1]
        if counts is None:
            require_classes(self, labels, classes)
        else:
            if (counts & ((labels < 0) | (labels >= classes))).any():
                require_classes(self, labels[counts], classes)
            if labels.size and not counts.any():
                raise DataError(f"{self.name}: every label is the ignored {self.ignore_index}, so there is no mean")
            labels = np.where(counts, labels, 0)
        if self.weight is not None and not self.weights_of(labels, counts, np.asarray(self.weight)).any():
            raise DataError(f"{self.name}: the weights of all labels are 0, so there is no mean")

    def sample_inputs(self, rng: np.random.Generator, scores, labels) -> SampleInputs:
        if labels.dtype.kind in "iu":
            return None, rng.integers(0, scores.shape[-1], labels.shape)
        return None, np.eye(labels.shape[-1])[rng.integers(0, labels.shape[-1], labels.shape[:-1])]

    def mean_of_chosen(self, logs, labels) -> Any:
        """Return minus the mean of the logarithms that the labels choose."""
        smooth, weight = self.smoothing, np.asarray(1.0 if self.weight is None else self.weight, logs.dtype)
        if labels.ndim == logs.ndim:
            shares = labels if not smooth else labels * (1 - smooth) + smooth / logs.shape[-1]
            return -average(total(shares * (logs if self.weight is None else logs * weight), axis=-1))
        if self.weight is None and self.ignore_index is None and not smooth:
            return -average(np.take_along_axis(logs, labels[..., None], axis=-1))
        counts = self.which_count(labels)
        labels = labels if counts is None else np.where(counts, labels, 0)
        weights = self.weights_of(labels, counts, np.broadcast_to(weight, logs.shape[-1:]))
        terms = (1 - smooth) * weights * np.take_along_axis(logs, labels[..., None], axis=-1)[..., 0]
        if smooth:
            terms = terms + smooth / logs.shape[-1] * total(logs * weight, axis=-1)
        # What rows hold that do not count does not matter, were it NaN.
        return -total(terms if counts is None else np.where(counts, terms, 0)) / total(weights)

    def shares(self, logs, labels) -> tuple[Any, Any]:
        """Return how much each logarithm counts in the sum, and the divisor of the mean."""
        m, shares, counts = mean_count(logs, *logs.shape[:-1]), labels, None
        dtype = widened(logs).dtype.name
        if len(labels.shape) < len(logs.shape):
            counts = self.which_count(labels)
            if counts is not None:
                labels = labels * counts
            shares = one_hot(labels, logs.shape[-1], dtype)
            if self.weight is not None or counts is not None:
                m = sum(self.weighted(shares, counts))
        if self.smoothing:
            shares = shares * (1 - self.smoothing) + self.smoothing / logs.shape[-1]
        return self.weighted(shares, counts), m

    def weighted(self, shares, counts) -> Any:
        """Return shares times the weights of the classes, and 0 for rows that do not count."""
        if self.weight is not None:
            shares = shares * np.asarray(self.weight, shares.dtype)
        return shares if counts is None else gate(shares, expand_dims(counts, -1))

    def of_probabilities(self, dy, logs, m) -> Any:
        """Return the gradient of labels that are probabilities."""
        if self.weight is not None:
            logs = logs * np.asarray(self.weight, logs.dtype)
        if self.smoothing:
            logs = logs * (1 - self.smoothing)
        return -(dy * logs / m)

    def written_tex(self, *inputs) -> str:
        if self.written_attributes():
            return called_tex(self)
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

    As in PyTorch: ``weight``, K numbers, multiplies the terms of each class, and class numbers that are ``ignore_index`` do
    not count; the mean over class numbers is then the sum divided by that of the weights of the labels that count.
    ``label_smoothing`` (0 to 1) spreads this share of each label evenly over the classes.

    Source: Bishop, *Pattern Recognition and Machine Learning*, 2006, (4.108); smoothing: Szegedy et al., *Rethinking the
    Inception Architecture*, 2015 (arXiv:1512.00567), 7. Raises ``ShapeError``, ``AttributeValueError``, and ``DataError`` for
    class numbers outside 0..K-1, probabilities outside 0..1, and where no label counts.

    >>> import tinygraph as tg
    >>> tg.cross_entropy(np.zeros((2, 4)), np.array([0, 3])).round(4)
    np.float64(1.3863)
    >>> tg.cross_entropy([[2.0, 0.0], [0.0, 0.0]], [0, -1], weight=[1, 5], ignore_index=-1, label_smoothing=0.1).round(4)
    np.float64(0.6523)
    """

    label_smoothing: float = 0.0
    formula: ClassVar[str] = "−mean(log softmax({logits})[{labels}])"
    tex: ClassVar[str] = r"\log \operatorname{softmax}({logits})"
    takes: ClassVar[tuple[str, str]] = ("logits and applies softmax itself", "pass the logits themselves")
    samples = _labelled(normal, label_smoothing=0.2)

    @property
    def smoothing(self) -> float:
        return self.label_smoothing

    def check_attributes(self) -> None:
        super().check_attributes()
        within = 0 <= self.label_smoothing <= 1
        require(within, self, f"label_smoothing must lie in 0 to 1; found {self.label_smoothing}")

    def forward(self, logits, labels):
        return self.mean_of_chosen(log_softmax(wide(logits)), labels)

    def vjp(self, dy, cost, logits, labels) -> Any:
        shares, m = self.shares(logits, labels)

        def of_logits():
            chance = softmax(logits)
            if len(labels.shape) == len(logits.shape) or self.weight is not None or self.ignore_index is not None:
                chance = chance * sum(shares, axis=-1, keepdims=True)
            return dy * (chance - shares) / m

        return of_logits, lambda: self.of_probabilities(dy, log_softmax(logits), m)

    def explain(self, index: tuple[int, ...], y, /, *inputs) -> Explanation:
        logits, labels = inputs
        logs = log_softmax(wide(logits)).reshape(-1)
        if self.written_attributes():
            shares, m = self.shares(logits, labels)
            cells = np.flatnonzero(shares)
            places = cells if labels.ndim == logits.ndim else cells // logits.shape[-1]
            values = -(shares.reshape(-1) * logs)[cells] / m
            text = f"−share of {{1}} · log softmax({{0}}) / {float(m):.4g}"
            return Explanation((Terms(((0, cells), (1, places)), values=values, text=text),))
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


def _log_probabilities(rng: np.random.Generator, shape: Shape) -> Array:
    return np.asarray(log_softmax(normal(rng, shape)))


@register
class Nll(LabelLoss):
    """Negative log-likelihood: cross-entropy from logarithms of probabilities ``logs (..., K)``, averaged over the batch.

    ``labels`` are class numbers ``(...)`` of an integer dtype, or probabilities ``(..., K)``; ``nll(log_softmax(z), y)`` is
    ``cross_entropy(z, y)``, which also explains ``weight`` and ``ignore_index``. Source: Bishop, *Pattern Recognition and
    Machine Learning*, 2006, (4.108). Raises ``ShapeError``, ``AttributeValueError``, and ``DataError`` for class numbers
    outside 0..K-1 or probabilities outside 0..1, and where no label counts.

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
        shares, m = self.shares(logs, labels)
        return lambda: -(dy * shares / m), lambda: self.of_probabilities(dy, logs, m)


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
