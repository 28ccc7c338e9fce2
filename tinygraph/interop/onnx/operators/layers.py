"""ONNX's normalizations and losses."""

import numpy as np

from tinygraph.interop.onnx.node import Node
from tinygraph.interop.onnx.operators.table import operator, ops


def _epsilon(node: Node) -> float:
    return node.number("epsilon", 1e-5)


@operator(
    "BatchNormalization",
    weights={1: "weight", 2: "bias", 3: "running_mean", 4: "running_var"},
    state={3: "running_mean", 4: "running_variance"},
)
def batch_normalization(node: Node, x, scale, shift, mean, variance):
    """Normalize by the statistics given, or in training by those of the batch; then return running statistics too."""
    if node.get("spatial", 1) != 1:
        node.fail("statistics for each place of the image (spatial=0) are not supported")
    if node.opset < 7 and node.get("is_test", 0) == 0 and "is_test" in node.attributes:
        node.fail("it is written for training (is_test=0); export the model for prediction")
    inputs = x, scale, shift, mean, variance
    if not node.get("training_mode", 0):
        if any(map(node.wants, range(1, 5))):
            node.fail("in prediction it has no running statistics as results")
        return ops.batch_norm(*inputs, epsilon=_epsilon(node))
    momentum = 1 - node.number("momentum", 0.9)
    y = ops.batch_norm(*inputs, epsilon=_epsilon(node), training=True)
    mean = ops.running_mean(mean, x, momentum=momentum)
    return y, mean, ops.running_variance(variance, x, momentum=momentum, correction=0)


@operator("LayerNormalization", weights={1: "weight", 2: "bias"})
def layer_normalization(node: Node, x, scale, shift=None):
    """Normalize over all axes from ``axis`` on; return the mean and the inverse deviation too where they are used."""
    axis = node.axis(node.get("axis", -1), x)
    shift = np.zeros((), x.dtype) if shift is None else shift
    y = ops.layer_norm(x, scale, shift, axis=axis if axis < x.ndim - 1 else -1, epsilon=_epsilon(node))
    if not node.wants(1) and not node.wants(2):
        return y
    over = {"axis": tuple(range(axis, x.ndim)), "keepdims": True}
    deviation = ops.sqrt(ops.add(ops.variance(x, **over), np.asarray(_epsilon(node), x.dtype)))
    return y, ops.mean(x, **over), ops.divide(np.ones((), x.dtype), deviation)


@operator("GroupNormalization", weights={1: "weight", 2: "bias"})
def group_normalization(node: Node, x, scale, shift):
    """Normalize groups of channels; before opset 21, with one scale for each group."""
    groups = node.need("num_groups")
    if node.opset < 21 and scale.ndim == 1 and scale.shape[0] == groups:
        # A copy for each channel of a group.
        to = (groups, x.shape[1] // groups)
        scale, shift = (ops.reshape(ops.broadcast_to(ops.expand_dims(p, 1), to), (-1,)) for p in (scale, shift))
    return ops.group_norm(x, scale, shift, groups=groups, epsilon=_epsilon(node))


@operator("RMSNormalization", weights={1: "weight"})
def rms_normalization(node: Node, x, scale):
    """Divide by the root of the mean square over all axes from ``axis`` on."""
    axes = tuple(range(node.axis(node.get("axis", -1), x), x.ndim))
    mean = ops.mean(ops.multiply(x, x), axis=axes, keepdims=True)
    return ops.multiply(ops.divide(x, ops.sqrt(ops.add(mean, np.asarray(_epsilon(node), x.dtype)))), scale)


@operator("MeanVarianceNormalization")
def mean_variance_normalization(node: Node, x):
    """Subtract the mean and divide by the deviation."""
    return ops.standardize(x, axis=tuple(node.axis(a, x) for a in node.get("axes", [0, 2, 3])), epsilon=1e-18)


@operator("LpNormalization")
def lp_normalization(node: Node, x):
    """Divide by the L1 or L2 norm along one axis; 0 stays 0."""
    axis, p = node.axis(node.get("axis", -1), x), node.get("p", 2)
    if p not in (1, 2):
        node.fail(f"its p must be 1 or 2; found {p}")
    size = (ops.l1_norm if p == 1 else ops.l2_norm)(x, axis=axis, keepdims=True)
    return ops.divide(x, ops.where(ops.equal(size, np.zeros((), x.dtype)), np.ones((), x.dtype), size))


@operator("NegativeLogLikelihoodLoss")
def negative_log_likelihood(node: Node, logs, target, weight=None):
    """Return minus the log-probability of each target, weighted by its class: each, their sum, or their mean."""
    ignored = node.get("ignore_index")
    target = ops.cast(target, "int64")
    share = None
    if ignored is not None:
        counts = ops.not_equal(target, np.int64(ignored))
        target, share = ops.where(counts, target, np.int64(0)), ops.cast(counts, logs.dtype.name)
    losses = ops.negative(ops.squeeze(ops.gather_elements(logs, ops.expand_dims(target, 1), axis=1), 1))
    if weight is not None:
        weights = ops.gather(weight, target)
        share = weights if share is None else ops.multiply(weights, share)
    losses = losses if share is None else ops.multiply(losses, share)
    reduction = node.get("reduction", "mean")
    if reduction not in ("none", "sum", "mean"):
        node.fail(f"its reduction must be 'none', 'sum' or 'mean'; found {reduction!r}")
    if reduction == "none":
        return losses
    if reduction == "mean" and share is None:
        return ops.mean(losses)
    return ops.sum(losses) if reduction == "sum" else ops.divide(ops.sum(losses), ops.sum(share))


@operator("SoftmaxCrossEntropyLoss")
def softmax_cross_entropy(node: Node, logits, target, weight=None):
    """Return the loss of the softmax over the classes, axis 1; return its logarithm too where it is used."""
    logs = ops.log_softmax(logits, axis=1 if logits.ndim > 2 else -1)
    loss = negative_log_likelihood(node, logs, target, weight)
    return (loss, logs) if node.wants(1) else loss
