"""All gradients of a graph, as the reverse sweep finds them, against numeric derivatives of the whole computation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from tinygraph.graph.arrays import Array
from tinygraph.graph.backprop import gradients_of
from tinygraph.graph.graph import Graph, topological
from tinygraph.graph.run import run
from tinygraph.graph.tensor import Tensor
from tinygraph.verify.compare import Slope, compare
from tinygraph.verify.finite import is_given
from tinygraph.verify.numeric import derivative
from tinygraph.verify.report import WHOLE, Record

DIRECTIONS = 3
ELEMENTS = 5
# A gradient that is 0, such as of a bias before a normalization, is a sum of terms like those of the other gradients, and
# what is left of it is their rounding: so many times that of the largest gradient.
ROUNDINGS = 64


def check_gradients(
    graph: Graph, twins: Mapping[Tensor, Tensor], rng: np.random.Generator, tolerance: float, fault: str = ""
) -> list[Record]:
    """Return a record for each floating leaf behind what is differentiated: some of its elements, and random directions.

    ``twins`` are the nodes of ``graph`` computed in float64. What is differentiated is the last output that is one
    number, or else all outputs with random cotangents. With a ``fault``, gradients that do not agree are not wrong: it
    is why.
    """
    told = differentiated(graph)
    behind, outputs = set(topological(told)), [twins[x] for x in told]
    # What the other outputs alone are computed from, such as the state of a model, has no gradient to be compared.
    floating = ((x, label) for label, x in graph.leaves.items() if x.dtype.kind == "f" and not is_given(x))
    leaves = {x: label for x, label in floating if x in behind}
    if not leaves or not outputs:
        return []
    weights = [np.ones(()) if y.size == 1 else rng.standard_normal(y.shape) for y in outputs]
    weights = [np.broadcast_to(weight, y.shape) for weight, y in zip(weights, outputs, strict=True)]
    try:
        gradients = _swept(outputs, weights, [twins[leaf] for leaf in leaves])
    except Exception as error:
        message = f"{type(error).__name__}: {error}"
        return [Record("", WHOLE, "every leaf", 0, tolerance, message=message)]
    largest = max((float(abs(gradient).max(initial=0.0)) for gradient in gradients.values()), default=0.0)
    rounding = ROUNDINGS * float(np.finfo(np.float64).eps) * largest if np.isfinite(largest) else 0.0
    positions = {node: position for position, node in enumerate(graph.nodes)}
    records = [
        Record(
            f"d{label}",
            WHOLE,
            f"{leaf.kind} {label}",
            leaf.size,
            tolerance,
            compare(
                gradients[twins[leaf]],
                _slope(outputs, weights, twins[leaf]),
                rng,
                tolerance,
                ELEMENTS,
                DIRECTIONS,
                rounding,
            ),
            position=positions[leaf],
        )
        for leaf, label in leaves.items()
    ]
    return [replace(record, points=(), fault=fault) if fault and not record.ok else record for record in records]


def differentiated(graph: Graph) -> list[Tensor]:
    """Return the last output with one element, or else all outputs that have a gradient.

    >>> import tinygraph as tg
    >>> a = tg.sigmoid(tg.tensor([0.0, 1.0]))
    >>> [y.op.name for y in differentiated(Graph([a, tg.bce(a, [1.0, 0.0])]))]
    ['bce']
    """
    floating = [y for y in graph.outputs if y.dtype.kind == "f"]
    return [y for y in floating if y.size == 1][-1:] or floating


def _swept(outputs: Sequence[Tensor], weights: Sequence[Array], leaves: Sequence[Tensor]) -> dict[Tensor, Array]:
    """Return the gradient of each leaf; zeros where the sweep does not reach it."""
    totals: dict[Tensor, Array] = {leaf: np.zeros(leaf.shape) for leaf in leaves}
    for output, weight in zip(outputs, weights, strict=True):
        for leaf, gradient in gradients_of(output, leaves, weight).items():
            totals[leaf] = totals[leaf] + gradient.value
    return totals


def _slope(outputs: Sequence[Tensor], weights: Sequence[Array], leaf: Tensor) -> Slope:
    graph = Graph(outputs)
    cotangent = np.concatenate([weight.ravel() for weight in weights])

    def function(x: Array) -> Array:
        return np.concatenate([value.ravel() for value in run(graph, {leaf: x})])

    return lambda direction: derivative(function, leaf.value, direction, cotangent)
