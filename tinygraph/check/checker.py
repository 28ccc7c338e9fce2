"""``check``, for a graph or a model at given values, and ``check_op``, for one operation on its own samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tinygraph.check.double import doubled, in_double, widened
from tinygraph.check.feeds import completed
from tinygraph.check.local import check_node
from tinygraph.check.names import equation_labels
from tinygraph.check.report import Record, Report
from tinygraph.check.whole import check_gradients
from tinygraph.errors import TinygraphError
from tinygraph.graph.apply import apply
from tinygraph.graph.graph import Graph
from tinygraph.graph.op import Op
from tinygraph.graph.run import bind
from tinygraph.graph.tensor import Tensor

Feeds = Mapping[str | Tensor, Any]


@np.errstate(all="ignore")
def check(thing: Any, feeds: Feeds | None = None, seed: int = 0, tolerance: float = 1e-7) -> Report:
    """Check every gradient rule of a tensor, a graph or a model against numeric derivatives, node by node, then the whole.

    Everything is computed in float64 at the actual values. Each node's rule is given a random cotangent and compared
    for each floating input, element by element (a sample of large inputs). A node that is wrong is
    named with the index, the two numbers, and the likely slip; kinks are counted, not failed. Then the gradients of the
    last scalar output for all leaves are compared, at some elements and along random directions.

    ``feeds`` are as in ``tg.run``; inputs without one, and those of a model, get random values drawn from ``seed``
    (a batch of 2 where nothing says how many). An error is relative, and ``tolerance`` is the largest that passes.
    Rules that raise are findings; a forward computation that raises ends the check, as does ``FeedError``.

    >>> import tinygraph as tg
    >>> z = tg.tensor([[0.5], [-1.0]], name="Z3")
    >>> print(check(tg.bce(tg.sigmoid(z), [[1.0], [0.0]])))  # doctest: +ELLIPSIS
    node  operation    input      checked                error    kinks  verdict
    t2    sigmoid      x = Z3     2 of 2                 ...             ok
    t2    bce          z = Z3     2 of 2                 ...             ok
    dZ3   whole graph  tensor Z3  2 of 2 + 3 directions  ...             ok
    all gradients: worst relative error ... (tensor Z3)
    """
    rng = np.random.default_rng(seed)
    graph = _graph_of(thing, feeds or {})
    twins = in_double(graph, bind(graph, completed(graph, feeds or {}, rng)))
    labels, owners = equation_labels(graph)
    nodes: list[Record] = []
    for node in graph.nodes:
        input_labels = [labels.get(x, "") for x in node.inputs]
        nodes += check_node(twins[node], owners[node], input_labels, rng, tolerance)
    return Report(tuple(nodes), tuple(check_gradients(graph, twins, rng, tolerance)), tolerance)


@np.errstate(all="ignore")
def check_op(operation: Any, seed: int = 0, tolerance: float = 1e-7) -> Report:
    """Check the gradient rule of one operation on its own samples; takes its function, such as ``tg.conv2d``, or its class.

    >>> import tinygraph as tg
    >>> check_op(tg.matmul).ok
    True
    """
    op: type[Op] = getattr(operation, "op", operation)
    if op.samples is None:
        raise TinygraphError(
            f"{op.name} has no samples to check it on; give it samples, or check a graph with tg.check"
        )
    rng = np.random.default_rng(seed)
    nodes: list[Record] = []
    for number, sample in enumerate(op.samples(rng), start=1):
        instance = widened(op(**sample.attributes))
        leaves = [Tensor("tensor", value=doubled(value)) for value in sample.inputs]
        node = apply(instance, op.operands(*leaves))
        name = ", ".join([f"sample {number}", *(f"{key}={value!r}" for key, value in sample.attributes.items())])
        nodes += check_node(node, name, [str(x.shape) for x in node.inputs], rng, tolerance)
    return Report(tuple(nodes), (), tolerance)


def _graph_of(thing: Any, feeds: Feeds) -> Graph:
    if isinstance(thing, Graph):
        return thing
    if isinstance(thing, Tensor):
        return Graph(thing)
    if hasattr(thing, "record"):
        batches = [np.shape(value)[0] for name, value in feeds.items() if name in thing.inputs and np.ndim(value)]
        graph: Graph = thing.record(batches[0] if batches else 2).graph
        return graph
    raise TinygraphError(f"check takes a tensor, a graph or a model; found {type(thing).__name__}")
