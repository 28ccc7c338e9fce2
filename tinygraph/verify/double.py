"""The same graph again in float64, whatever dtypes it was declared in."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from tinygraph.graph.apply import apply
from tinygraph.graph.graph import Graph
from tinygraph.graph.op import Op
from tinygraph.graph.tensor import Tensor


def in_double(graph: Graph, values: Mapping[Tensor, Any]) -> dict[Tensor, Tensor]:
    """Return, for each node of a graph, its twin in the same graph computed in float64.

    ``values`` gives leaves their values; the others keep their own. Whole numbers and booleans stay what they are.

    >>> import tinygraph as tg
    >>> x = tg.input("x", (2,), dtype="float32")
    >>> y = tg.exp(x)
    >>> in_double(Graph(y), {x: np.zeros(2)})[y].value
    array([1., 1.])
    """
    twins: dict[Tensor, Tensor] = {}
    for node in graph.nodes:
        if node.op is None:
            kind = "tensor" if node.kind == "input" else node.kind
            given = values.get(node)
            twins[node] = Tensor(kind, value=doubled(node.value if given is None else given), name=node.name)
        else:
            twins[node] = apply(widened(node.op), [twins[x] for x in node.inputs])
            twins[node].name = node.name
    return twins


def doubled(value: Any) -> Any:
    """Return a copy of an array, in float64 if it holds floating point numbers."""
    return np.array(value, dtype=np.float64 if value.dtype.kind == "f" else value.dtype)


def widened(op: Op) -> Op:
    """Return the operation, with an attribute ``dtype`` that names a floating point type changed to float64."""
    dtype = op.attributes().get("dtype")
    try:
        floating = isinstance(dtype, str) and np.dtype(dtype).kind == "f"
    except TypeError:
        floating = False
    return dataclasses.replace(op, dtype="float64") if floating else op  # type: ignore[type-var]
