"""The check of all gradients of a graph at once: backpropagation against numeric derivatives of the computation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from tinygraph.graph.arrays import Array
from tinygraph.graph.backprop import gradients_of
from tinygraph.graph.graph import Graph, topological
from tinygraph.graph.run import run
from tinygraph.graph.tensor import Tensor
from tinygraph.verify.compare import Slope, compare
from tinygraph.verify.finite import is_given
from tinygraph.verify.numeric import EPSILON, derivative
from tinygraph.verify.report import WHOLE, Record

DIRECTIONS = 3
ELEMENTS = 5
# A gradient that is 0, such as that of a bias before a normalization, is a sum of terms as large as those of the other
# gradients. Their rounding remains: so many times that of the largest gradient.
ROUNDINGS = 64


def check_gradients(
    graph: Graph, twins: Mapping[Tensor, Tensor], rng: np.random.Generator, tolerance: float, fault: str = ""
) -> list[Record]:
    """Return a record for each floating leaf that the differentiated outputs depend on.

    ``twins`` are the nodes of ``graph`` computed in float64. Differentiated is the last output that is one number, or
    else all outputs with random cotangents. A ``fault`` says what was not finite: then gradients that do not agree are
    not called wrong.
    """
    outputs = [twins[y] for y in differentiated(graph)]
    needed = set(topological(differentiated(graph)))
    leaves = {x: label for label, x in graph.leaves.items() if x in needed and x.dtype.kind == "f" and not is_given(x)}
    if not leaves:
        return []
    weights = [np.ones(y.shape) if y.size == 1 else rng.standard_normal(y.shape) for y in outputs]
    gradients: dict[Tensor, Array] = {twins[leaf]: np.zeros(leaf.shape) for leaf in leaves}
    try:
        for y, weight in zip(outputs, weights, strict=True):
            for leaf, gradient in gradients_of(y, list(gradients), weight).items():
                gradients[leaf] = gradients[leaf] + gradient.value
    except Exception as error:
        message = f"{type(error).__name__}: {error}"
        return [Record("", WHOLE, "every leaf", 0, tolerance, message=message)]
    largest = max(float(abs(gradient).max(initial=0.0)) for gradient in gradients.values())
    rounding = ROUNDINGS * EPSILON * largest if np.isfinite(largest) else 0.0
    positions = {node: position for position, node in enumerate(graph.nodes)}
    double, cotangent = Graph(outputs), np.concatenate([weight.ravel() for weight in weights])
    records = []
    for leaf, label in leaves.items():
        slope = _slope(double, twins[leaf], cotangent)
        points = compare(gradients[twins[leaf]], slope, rng, tolerance, ELEMENTS, DIRECTIONS, rounding)
        name = f"{leaf.kind} {label}"
        record = Record(f"d{label}", WHOLE, name, leaf.size, tolerance, points, position=positions[leaf])
        records.append(replace(record, points=(), fault=fault) if fault and not record.ok else record)
    return records


def _slope(graph: Graph, leaf: Tensor, cotangent: Array) -> Slope:
    def outputs(x: Array) -> Array:
        return np.concatenate([value.ravel() for value in run(graph, {leaf: x})])

    return lambda direction: derivative(outputs, leaf.value, direction, cotangent)


def differentiated(graph: Graph) -> list[Tensor]:
    """Return the last output with one element, or else all outputs that have a gradient.

    >>> import tinygraph as tg
    >>> a = tg.sigmoid(tg.tensor([0.0, 1.0]))
    >>> [y.op.name for y in differentiated(Graph([a, tg.bce(a, [1.0, 0.0])]))]
    ['bce']
    """
    floating = [y for y in graph.outputs if y.dtype.kind == "f"]
    return [y for y in floating if y.size == 1][-1:] or floating
