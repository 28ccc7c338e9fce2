"""Random values for the inputs of a graph, of the kind that the operations which use them expect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tinygraph.graph.arrays import Array
from tinygraph.graph.graph import Graph
from tinygraph.graph.tensor import Tensor

Use = tuple[Tensor, int]


def completed(graph: Graph, feeds: Mapping[str | Tensor, Any], rng: np.random.Generator) -> dict[str | Tensor, Any]:
    """Return ``feeds`` with a random value for each input that they leave out.

    Floating inputs are standard normal, labels of a binary loss 0 or 1, class numbers in range, booleans either.

    >>> import tinygraph as tg
    >>> z, y = tg.input("z", (4, 1)), tg.input("y", (4, 1))
    >>> feeds = completed(Graph(tg.bce_with_logits(z, y)), {"z": np.zeros((4, 1))}, np.random.default_rng(0))
    >>> set(feeds["y"].ravel().tolist()) <= {0.0, 1.0}
    True
    """
    absent = {name: x for name, x in graph.inputs.items() if name not in feeds and x not in feeds}
    return {**feeds, **{name: _drawn(x, _uses(graph, x), rng) for name, x in absent.items()}}


def _uses(graph: Graph, x: Tensor) -> list[Use]:
    """Return the nodes that use a tensor, with its place among their inputs; moves of elements are looked through."""
    moved, uses = {x}, []
    for node in graph.nodes:
        places = [place for place, operand in enumerate(node.inputs) if operand in moved]
        if places and node.op is not None and node.op.family == "shape":
            moved.add(node)
        uses += [(node, place) for place in places]
    return uses


def _drawn(x: Tensor, uses: list[Use], rng: np.random.Generator) -> Array:
    for user, place in uses:
        value = _for_use(x, user, place, rng)
        if value is not None:
            return value
    if x.dtype.kind in "fc":
        return rng.standard_normal(x.shape)
    return rng.integers(0, 2, x.shape).astype(x.dtype)


def _for_use(x: Tensor, user: Tensor, place: int, rng: np.random.Generator) -> Array | None:
    """Return values that one operation accepts, or None where it accepts any."""
    name = user.op.name if user.op is not None else ""
    if name in ("bce", "bce_with_logits") and place == 1:
        return rng.integers(0, 2, x.shape).astype(x.dtype)
    if name == "bce" and place == 0:
        return rng.uniform(0.1, 0.9, x.shape)
    if name in ("cross_entropy", "nll") and place == 1:
        return _classes(x, user.inputs[0].shape[-1], rng)
    if name == "kl_divergence" and place == 1:
        return rng.dirichlet(np.ones(x.shape[-1]), x.shape[:-1])
    if name == "hinge" and place == 1:
        return rng.choice([-1, 1], x.shape).astype(x.dtype)
    if name in ("embedding", "gather", "gather_elements") and place == 1:
        axis = user.op.attributes().get("axis", 0) if user.op is not None else 0
        return rng.integers(0, user.inputs[0].shape[axis], x.shape).astype(x.dtype)
    if name == "one_hot":
        return rng.integers(0, user.shape[-1], x.shape).astype(x.dtype)
    return None


def _classes(x: Tensor, classes: int, rng: np.random.Generator) -> Array:
    """Return class numbers, or rows with a one for a floating input."""
    if x.dtype.kind in "iu":
        return rng.integers(0, classes, x.shape).astype(x.dtype)
    return np.eye(classes)[rng.integers(0, classes, x.shape[:-1])]
