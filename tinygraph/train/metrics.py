"""Metrics: the loss and the accuracy of a model on data."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tinygraph.errors import DataError
from tinygraph.graph import numeric_array
from tinygraph.train.labels import DecisionRule


@dataclass(frozen=True)
class Metrics:
    """The mean loss, the accuracy in 0 to 1 (``None`` for regression), and the number of samples.

    >>> print(Metrics(loss=0.25, accuracy=0.9, count=359))
    loss 0.2500, accuracy 0.9000, 359 samples
    """

    loss: float
    accuracy: float | None
    count: int

    def __str__(self) -> str:
        accuracy = "" if self.accuracy is None else f", accuracy {self.accuracy:.4f}"
        return f"loss {self.loss:.4f}{accuracy}, {self.count} sample{'' if self.count == 1 else 's'}"


class RunningMeans:
    """Means over batches of loss and accuracy, each batch weighted by its number of samples.

    >>> means = RunningMeans()
    >>> means.add(0.5, 1.0, 30)
    >>> means.add(1.5, 0.5, 10)
    >>> means.metrics
    Metrics(loss=0.75, accuracy=0.875, count=40)
    """

    def __init__(self) -> None:
        self.count = 0
        self._loss = self._accuracy = 0.0
        self._decides = True

    def add(self, loss: float, accuracy: float | None, count: int) -> None:
        """Add the means of a batch of ``count`` samples."""
        self.count += count
        self._loss += loss * count
        if accuracy is None:
            self._decides = False
        else:
            self._accuracy += accuracy * count

    @property
    def metrics(self) -> Metrics:
        """The means so far."""
        accuracy = self._accuracy / self.count if self._decides else None
        return Metrics(self._loss / self.count, accuracy, self.count)


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
