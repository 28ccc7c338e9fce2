"""What tests of plans share."""

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.graph import topological
from tinygraph.graph.op import evaluate


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def weighted_sum(y, seed=7):
    """A scalar in which every element of ``y`` has a weight of its own."""
    return (y * tg.constant(normal(*y.shape, seed=seed).astype(y.dtype))).sum()


def with_gradients(y, wrt):
    return [y, *tg.grad(weighted_sum(y), wrt, unreached="zeros")]


def refusal(call):
    """Return the type and message of the error that a call raises."""
    with pytest.raises(tg.TinygraphError) as error:
        call()
    return type(error.value), str(error.value)


def output_loss_and_gradients(model, batch):
    recording = model.record(batch)
    return tg.Graph([recording.output, recording.loss, *tg.grad(recording.loss, list(model.parameters.values()))])


BATCH = 70


def compute(outputs, feeds):
    """Return the values of a plan's nodes by the operations' ordinary rules: what a pass must not change."""
    values = {}
    for node in topological(outputs):
        if node.op is not None:
            values[node] = evaluate(node.op, [values[x] for x in node.inputs], node.shape, node.dtype)
        elif node.leaf in feeds:
            values[node] = feeds[node.leaf]
        else:
            values[node] = node.value if node.leaf is None else node.leaf.value
    return [np.asarray(values[output]) for output in outputs]
