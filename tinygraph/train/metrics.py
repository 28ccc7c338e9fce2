"""What the labels of a model mean for checking and counting, and the loss and the accuracy of a model on data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tinygraph.describe import html
from tinygraph.describe.symbols import shown
from tinygraph.engines.processes import totals
from tinygraph.errors import DataError, counted
from tinygraph.graph import Array, Decision, Tensor, numeric_array, topological
from tinygraph.train.progress import loss_text

if TYPE_CHECKING:
    from tinygraph.model import Model, Recording


# A longer name of a class is cut where it is shown.
LONGEST_NAME = 32


@dataclass(frozen=True)
class DecisionRule:
    """How an output is read as a decision: above ``threshold``, or, without one, the class with the largest number.

    ``labels`` names the input that says which decisions are right; those whose label is the class ``ignored`` do not count.

    >>> DecisionRule(threshold=0.5).right(np.array([[0.9], [0.2]]), np.array([[1.0], [1.0]]))
    array([[ True],
           [False]])
    >>> DecisionRule().right(np.array([[0.1, 2.0], [3.0, -1.0]]), np.array([1, 1]))
    array([ True, False])
    """

    threshold: float | None = None
    labels: str | None = None
    ignored: int | None = None

    def decisions(self, output: Array) -> Array:
        """Return 1 or 0 for each element, or the class of each row."""
        return output.argmax(axis=-1) if self.threshold is None else np.greater(output, self.threshold).astype(int)

    def classes(self, labels: Array, output: Array) -> Array:
        """Return labels as class numbers where they are one-hot rows, for an output of classes; all others unchanged."""
        return labels.argmax(axis=-1) if self.threshold is None and labels.ndim == output.ndim else labels

    def expected(self, labels: Array, output: Array) -> Array:
        """Return the decisions that labels say are right: one for each element, or for each row of classes."""
        return self.classes(labels, output) if self.threshold is None else np.asarray(labels > 0.5)

    def right(self, output: Array, labels: Array) -> npt.NDArray[np.bool_]:
        """Return which decisions are right: one for each element, or for each row of classes, of those that count."""
        right = np.asarray(self.decisions(output) == self.expected(labels, output))
        return right if self.ignored is None else right[labels != self.ignored]

    def probabilities(self, output: Array) -> Array:
        """Return the probability of each class, of 0 and 1 for an element, in a last axis, float64.

        Numbers that are no probabilities are read as logits.
        """
        if self.threshold is not None:
            ones = (
                np.clip(output, 0, 1)
                if self.threshold
                else 1 / (1 + np.exp(-np.clip(output, -500, 500, dtype=np.float64)))
            )
            return np.stack([1 - ones, ones], axis=-1)
        if (output >= 0).all() and np.allclose(output.sum(axis=-1), 1, atol=1e-3):
            return output
        powers = np.exp(output - output.max(axis=-1, keepdims=True), dtype=np.float64)
        return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def classifying_losses(recording: Recording) -> Iterator[tuple[Tensor, Decision]]:
    """Yield the nodes in a model's loss that compare decisions with labels, each with how it is read."""
    for node in topological([] if recording.loss is None else [recording.loss]):
        if node.op is not None and node.op.decision is not None:
            yield node, node.op.decision


def decision_rule(recording: Recording) -> DecisionRule | None:
    """Return how the model's output is read as a decision, or ``None`` where it is none, as in regression.

    The loss says how the numbers that it takes are read; see ``tg.Decision``. An output that is computed from those, or the
    other way round, is read as a probability.
    """
    output = recording.output
    for node, decision in classifying_losses(recording):
        read = [x for place, x in enumerate(node.inputs) if place != decision.labels]
        # The output is what the loss reads, or one is computed from the other.
        related = output in set(topological(read)) or not set(read).isdisjoint(topological([output]))
        if output.shape != node.inputs[0].shape or not related:
            continue
        inputs = [x.name for x in topological([node.inputs[decision.labels]]) if x.kind == "input"]
        labels = inputs[0] if len(inputs) == 1 else None
        thresholds = {node.inputs[place]: at for place, at in decision.thresholds.items() if place < len(node.inputs)}
        ignored = getattr(node.op, "ignore_index", None)
        return DecisionRule(thresholds.get(output, 0.5) if thresholds else None, labels, ignored)
    return None


def class_names(classes: Sequence[str], count: int) -> tuple[str, ...]:
    """Return the names of ``count`` classes as they are shown, without what does not print; without names, the numbers.

    >>> class_names(("cat", "dog"), 2), class_names((), 2)
    (('cat', 'dog'), ('0', '1'))
    """
    if len(classes) != count:
        return tuple(map(str, range(count)))
    return tuple(name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…" for name in map(shown, classes))


def class_words(model: Model, values: Mapping[str, Array]) -> dict[str, str]:
    """Return what the output decides and what the labels say, in names of classes, by the names of these two tensors.

    ``values`` are arrays of a few samples by the names of tensors. Nothing for a model that does not know its classes.

    >>> import tinygraph as tg
    >>> model = tg.load_model("xor")
    >>> model.classes = ("same", "other")
    >>> class_words(model, {"a": np.array([[0.75]]), "y": np.array([[0.0]])})
    {'a': 'other (0.75)', 'y': 'same'}
    """
    rule, output = decision_rule(model.record()) if model.classes else None, values.get(model.output)
    if rule is None or output is None or (rule.threshold is not None and output[:1].size > 1):
        return {}
    probabilities = rule.probabilities(output)
    names, found = dict(enumerate(class_names(model.classes, probabilities.shape[-1]))), {}
    decided = zip(rule.decisions(output).ravel(), probabilities.max(axis=-1).ravel(), strict=True)
    found[model.output] = ", ".join(f"{names[i]} ({p:.2f})" for i, p in decided)
    if rule.labels is not None and rule.labels in values:
        expected = rule.expected(values[rule.labels], output).ravel()
        found[rule.labels] = ", ".join(names.get(int(i), "-") for i in expected)
    return found


def labels_of(model: Model, y: Any) -> Any:
    """Return the labels that say which decisions are right; of several inputs for labels, those of the output."""
    rule = decision_rule(model.record())
    if not isinstance(y, Mapping):
        return y
    return None if rule is None or rule.labels is None else y.get(rule.labels)


def check_labels(recording: Recording, arrays: Mapping[str, Array], called: Mapping[str, str]) -> None:
    """Raise ``DataError`` for labels that the model's losses refuse.

    ``arrays`` are the inputs by name, and ``called`` is what messages call them.
    """
    for node, decision in classifying_losses(recording):
        labels = node.inputs[decision.labels]
        name = labels.name or ""
        if node.op is None or labels.kind != "input" or name not in arrays:
            continue
        # There are no predictions yet: one half is accepted as a probability, and as a score.
        inputs = [np.broadcast_to(np.asarray(0.5, x.dtype), x.shape) for x in node.inputs]
        inputs[decision.labels] = arrays[name]
        try:
            node.op.check(*inputs)
        except DataError as error:
            raise DataError(f"labels {called[name]!r}: {error}") from None


@dataclass(frozen=True)
class Metrics:
    """The mean loss, the accuracy in 0 to 1 (``None`` for regression), and the number of samples.

    For a model that declares a metric, the accuracy is the mean of that metric, and ``measure`` is its name.

    >>> print(Metrics(loss=0.25, accuracy=0.9, count=359))
    loss 0.2500, accuracy 0.9000, 359 samples
    """

    loss: float
    accuracy: float | None
    count: int
    measure: str = "accuracy"

    def __str__(self) -> str:
        accuracy = "" if self.accuracy is None else f", {self.measure} {loss_text(self.accuracy)}"
        return f"loss {loss_text(self.loss)}{accuracy}, {counted(self.count, 'sample')}"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: a table of one row, and those that an evaluation has next to each other."""
        accuracy = "-" if self.accuracy is None else f"{self.accuracy:.4f}"
        row = (f"{self.loss:.4f}", accuracy, f"{self.count:,}")
        return html.view(html.table(("loss", self.measure, "samples"), [row]), html.pictures(self._tables_html()))

    def _tables_html(self) -> Iterator[str]:
        yield from ()


class RunningMeans:
    """Means over batches of loss and accuracy, or of the ``metric`` of that name, each weighted by its number of samples.

    >>> means = RunningMeans()
    >>> means.add(0.5, 1.0, 30)
    >>> means.add(1.5, 0.5, 10)
    >>> print(means.metrics)
    loss 0.7500, accuracy 0.8750, 40 samples
    """

    def __init__(self, metric: str | None = None) -> None:
        self.count, self._loss, self._measure = 0, 0.0, metric or "accuracy"
        self._accuracy: float | None = 0.0

    def add(self, loss: float, accuracy: float | None, count: int) -> None:
        """Add the means of a batch of ``count`` samples."""
        self.count += count
        self._loss += loss * count
        self._accuracy = None if accuracy is None or self._accuracy is None else self._accuracy + accuracy * count

    def add_others(self) -> None:
        """Add what the other processes have added: each has its own batches."""
        unmeasured = self._accuracy is None
        found = totals(np.array([self.count, self._loss, self._accuracy or 0.0, unmeasured]))
        self.count, self._loss, self._accuracy = int(found[0]), float(found[1]), None if found[3] else float(found[2])

    @property
    def metrics(self) -> Metrics:
        """The means so far."""
        accuracy = None if self._accuracy is None else self._accuracy / self.count
        return Metrics(self._loss / self.count, accuracy, self.count, self._measure)


def accuracy(output: npt.ArrayLike, labels: npt.ArrayLike, threshold: float | None = None) -> float:
    """Return the share of right decisions, in 0 to 1.

    With ``threshold``, decisions are binary: ``output`` and ``labels`` have the same shape, and a decision is right if
    ``output`` is above the threshold and the label above 0.5, or neither is. Give 0.5 for probabilities and 0 for
    logits. Without ``threshold``, ``output (N, K)`` holds a score for each class, the largest is chosen, and ``labels`` are
    class numbers ``(N,)`` or one-hot rows ``(N, K)``. Raises ``DataError`` for shapes that do not fit and for an
    empty batch.

    >>> round(accuracy([[0.9], [0.2], [0.7]], [[1.0], [0.0], [0.0]], threshold=0.5), 4)
    0.6667
    >>> accuracy([[0.1, 2.0], [3.0, -1.0]], [1, 0])
    1.0
    """
    output, labels = numeric_array(output, "accuracy: output"), numeric_array(labels, "accuracy: labels")
    fits = (output.shape,) if threshold is not None else (output.shape, output.shape[:-1])
    if labels.shape not in fits or not output.size:
        raise DataError(f"accuracy: output {output.shape} and labels {labels.shape} do not fit")
    return float(DecisionRule(threshold).right(output, labels).mean())


def majority_class_baseline(y: npt.ArrayLike) -> float:
    """Return the accuracy of always answering the most frequent class, which a useful model exceeds.

    ``y`` holds class numbers or binary labels ``(N,)`` or ``(N, 1)``, one-hot rows ``(N, K)``, or several binary
    labels ``(N, K)``, for which the mean over the columns is returned. Labels between 0 and 1 are rounded. Raises
    ``DataError`` for empty labels.

    >>> majority_class_baseline([[1.0], [0.0], [1.0], [1.0]])
    0.75
    >>> majority_class_baseline([0, 1, 2, 2, 2])
    0.6
    """
    labels = numeric_array(y, "majority_class_baseline")
    if not labels.size:
        raise DataError("majority_class_baseline: there are no labels")
    if labels.ndim > 1 and labels.shape[-1] > 1:
        if not np.allclose(labels.sum(axis=-1), 1):
            columns = labels.reshape(-1, labels.shape[-1]).T
            return float(np.mean([majority_class_baseline(column) for column in columns]))
        labels = labels.argmax(axis=-1)
    _, counts = np.unique(np.rint(labels), return_counts=True)
    return float(counts.max() / labels.size)
