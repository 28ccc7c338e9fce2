"""What the labels of a model mean: which losses compare them with what, and what follows for checking and counting."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tinygraph.errors import DataError
from tinygraph.graph.arrays import Array, extent
from tinygraph.graph.graph import topological
from tinygraph.graph.tensor import Tensor

if TYPE_CHECKING:
    from tinygraph.model import Model, Recording

CLASSIFYING = ("bce", "bce_with_logits", "cross_entropy")


@dataclass(frozen=True)
class DecisionRule:
    """How an output is read as a decision: above ``threshold``, or, without one, the class with the largest number.

    ``labels`` names the input that says which decisions are right.

    >>> DecisionRule(threshold=0.5).right(np.array([[0.9], [0.2]]), np.array([[1.0], [1.0]]))
    array([[ True],
           [False]])
    >>> DecisionRule().right(np.array([[0.1, 2.0], [3.0, -1.0]]), np.array([1, 1]))
    array([ True, False])
    """

    threshold: float | None = None
    labels: str | None = None

    def right(self, output: Array, labels: Array) -> npt.NDArray[np.bool_]:
        """Return which decisions are right: one for each element, or for each row of classes."""
        if self.threshold is not None:
            return np.asarray((output > self.threshold) == (labels > 0.5))
        classes = labels.argmax(axis=-1) if labels.ndim == output.ndim else labels
        return np.asarray(output.argmax(axis=-1) == classes)


def classifying_losses(recording: Recording) -> Iterator[Tensor]:
    """Yield the nodes behind a model's loss that compare predictions with labels of classes."""
    if recording.loss is not None:
        for node in topological([recording.loss]):
            if node.op is not None and node.op.name in CLASSIFYING:
                yield node


def decision_rule(recording: Recording) -> DecisionRule | None:
    """Return how the model's output is read as a decision, or ``None`` where it is none, as in regression.

    A number is read as a probability, above 0.5; where it is the logits of the loss, above 0. Classes are read by the
    largest.
    """
    output = recording.output
    for node in classifying_losses(recording):
        assert node.op is not None
        prediction = node.inputs[0]
        if output.shape != prediction.shape or not _same_quantity(output, node):
            continue
        if node.op.name == "cross_entropy":
            return DecisionRule(labels=_labels_of(node))
        logits = prediction if node.op.name == "bce_with_logits" else node.inputs[-1] if len(node.inputs) > 2 else None
        return DecisionRule(0.0 if output is logits else 0.5, _labels_of(node))
    return None


def labels_of(model: Model, y: Any) -> Any:
    """Return the labels that say which decisions are right; of several inputs for labels, those of the output."""
    rule = decision_rule(model.record())
    if not isinstance(y, Mapping):
        return y
    return None if rule is None or rule.labels is None else y.get(rule.labels)


def _same_quantity(output: Tensor, loss: Tensor) -> bool:
    """Whether the output is what the loss looks at, or was made from it, or it from the output."""
    looked_at = [loss.inputs[0], *loss.inputs[2:]]
    behind = set(topological([output]))
    return any(x in behind for x in looked_at) or output in set(topological(looked_at))


def _labels_of(loss: Tensor) -> str | None:
    inputs = [x.name for x in topological([loss.inputs[1]]) if x.kind == "input"]
    return inputs[0] if len(inputs) == 1 else None


def check_labels(recording: Recording, arrays: Mapping[str, Array], called: Mapping[str, str]) -> None:
    """Raise ``DataError`` for labels that the model's losses would refuse.

    ``arrays`` are the inputs by name, ``called`` what messages call them.
    """
    for node in classifying_losses(recording):
        assert node.op is not None
        logits, labels = node.inputs[:2]
        name = labels.name or ""
        if labels.kind != "input" or name not in arrays:
            continue
        array, last = arrays[name], logits.shape[-1] - 1
        low, high = array.min(), array.max()
        if labels.ndim < logits.ndim and not (low >= 0 and high <= last):
            raise DataError(
                f"class numbers {called[name]!r} must lie in 0 to {last}, for {node.op.name}; found {low} to {high}"
            )
        if labels.ndim == logits.ndim and not (low >= 0 and high <= 1):
            raise DataError(
                f"labels {called[name]!r} must lie between 0 and 1, for {node.op.name}; found {extent(array)}"
            )
