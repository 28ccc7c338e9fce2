"""What the labels of a model mean: which losses compare them with what, and what follows for checking and counting."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tinygraph.errors import DataError
from tinygraph.graph import Array, Decision, Tensor, topological

if TYPE_CHECKING:
    from tinygraph.model import Model, Recording


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
        if output.shape != node.inputs[0].shape or not _same_quantity(output, node, decision):
            continue
        labels = _labels_of(node.inputs[decision.labels])
        thresholds = {node.inputs[place]: at for place, at in decision.thresholds.items() if place < len(node.inputs)}
        return DecisionRule(thresholds.get(output, 0.5) if thresholds else None, labels)
    return None


def labels_of(model: Model, y: Any) -> Any:
    """Return the labels that say which decisions are right; of several inputs for labels, those of the output."""
    rule = decision_rule(model.record())
    if not isinstance(y, Mapping):
        return y
    return None if rule is None or rule.labels is None else y.get(rule.labels)


def _same_quantity(output: Tensor, loss: Tensor, decision: Decision) -> bool:
    """Whether the output is what the loss reads, or one is computed from the other."""
    read = [x for place, x in enumerate(loss.inputs) if place != decision.labels]
    used = set(topological([output]))
    return any(x in used for x in read) or output in set(topological(read))


def _labels_of(labels: Tensor) -> str | None:
    inputs = [x.name for x in topological([labels]) if x.kind == "input"]
    return inputs[0] if len(inputs) == 1 else None


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
        half = [np.broadcast_to(np.asarray(0.5, x.dtype), x.shape) for x in node.inputs]
        try:
            node.op.check(
                *[arrays[name] if x is labels else stand_in for x, stand_in in zip(node.inputs, half, strict=True)]
            )
        except DataError as error:
            raise DataError(f"labels {called[name]!r}: {error}") from None
