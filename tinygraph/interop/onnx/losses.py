"""ONNX's losses: of log-probabilities, and of the logits before them."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.interop.onnx.node import Node, Value
from tinygraph.ops.activation.activation import log_softmax
from tinygraph.ops.comparison import comparison as cmp
from tinygraph.ops.elementwise import arithmetic as el
from tinygraph.ops.elementwise.cast import cast
from tinygraph.ops.indexing import gather as ga
from tinygraph.ops.reduction import reduction as red
from tinygraph.ops.shape import shape as sh


def negative_log_likelihood(n: Node, logs: Value, target: Value, weight: Value = None) -> Value:
    """NegativeLogLikelihoodLoss: minus the log-probability of each target, weighted by its class, and their sum or mean."""
    ignored = n.get("ignore_index")
    target = cast(target, "int64")
    counts = None if ignored is None else cmp.not_equal(target, np.int64(ignored))
    if counts is not None:
        target = cmp.where(counts, target, np.int64(0))
    picked = el.negative(sh.squeeze(ga.gather_elements(logs, sh.expand_dims(target, 1), axis=1), 1))
    share = None if weight is None else ga.gather(weight, target)
    if counts is not None:
        kept = cast(counts, logs.dtype.name)
        share = kept if share is None else el.multiply(share, kept)
    return _reduced(n, picked if share is None else el.multiply(picked, share), share)


def _reduced(n: Node, losses: Value, share: Value) -> Value:
    """Return the losses as they are, their sum, or their mean by the shares that they have."""
    how = n.get("reduction", "mean")
    if how == "none":
        return losses
    if how == "sum":
        return red.sum(losses)
    if how != "mean":
        n.fail(f"its reduction must be 'none', 'sum' or 'mean'; found {how!r}")
    return red.mean(losses) if share is None else el.divide(red.sum(losses), red.sum(share))


def softmax_cross_entropy(n: Node, logits: Value, target: Value, weight: Value = None) -> Any:
    """SoftmaxCrossEntropyLoss: of the softmax over the classes, axis 1; with its logarithm where that is wanted."""
    logs = log_softmax(logits, axis=1 if logits.ndim > 2 else -1)
    loss = negative_log_likelihood(n, logs, target, weight)
    return (loss, logs) if n.wants(1) else loss
