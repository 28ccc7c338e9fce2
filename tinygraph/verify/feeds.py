"""Random values for the inputs of a graph, of the kind that the operations which use them expect."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tinygraph.graph import Array, Graph, Tensor

Use = tuple[Tensor, int]


def completed(graph: Graph, feeds: Mapping[str | Tensor, Any], rng: np.random.Generator) -> dict[str | Tensor, Any]:
    """Return ``feeds`` with a random value for each input that they leave out.

    The operations that use an input say which values they accept; see ``tg.Op.sample_inputs``. Other floating inputs are
    standard normal, and other inputs 0 or 1.

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
        if user.op is not None:
            # An input that is moved before it is used is drawn in its own shape.
            inputs = [x if i == place else other for i, other in enumerate(user.inputs)]
            value = user.op.sample_inputs(rng, *inputs)[place]
            if value is not None:
                return value if x.dtype.kind in "fc" else value.astype(x.dtype)
    if x.dtype.kind in "fc":
        return rng.standard_normal(x.shape)
    return rng.integers(0, 2, x.shape).astype(x.dtype)
