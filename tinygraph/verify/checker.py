"""``check``, for a graph or a model at given values, and ``check_op``, for one operation on its own samples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from tinygraph.errors import AttributeValueError, TinygraphError
from tinygraph.graph.apply import apply
from tinygraph.graph.attributes import conform
from tinygraph.graph.graph import Graph
from tinygraph.graph.op import Op
from tinygraph.graph.registry import operation as operation_called
from tinygraph.graph.run import bind, require_feeds
from tinygraph.graph.tensor import Tensor
from tinygraph.model.values import samples_in
from tinygraph.verify.double import doubled, in_double, widened
from tinygraph.verify.feeds import completed
from tinygraph.verify.finite import faults
from tinygraph.verify.local import check_node
from tinygraph.verify.names import equation_labels
from tinygraph.verify.report import Record, Report
from tinygraph.verify.whole import check_gradients

Feeds = Mapping[str | Tensor, Any]


@np.errstate(all="ignore")
def check(thing: Any, feeds: Feeds | None = None, seed: int = 0, tolerance: float = 1e-7) -> Report:
    """Check every gradient rule of a tensor, a graph or a model against numeric derivatives, node by node, then the whole.

    Everything is computed in float64 at the actual values. Each node's rule is given a random cotangent and compared
    for each floating input, element by element (a sample of large inputs). A node that is wrong is
    named with the index, the two numbers, and the likely slip; kinks are counted, not failed. Then the gradients of the
    last scalar output for all leaves are compared, at some elements and along random directions.

    A model is checked as it is in training, its state's new values included: there its gradients are taken.

    ``feeds`` are as in ``tg.run``; inputs without one, and those of a model, get random values drawn from ``seed``
    (a batch of 2 where nothing says how many). An error is relative, and ``tolerance`` is the largest that passes.
    Rules that raise are findings; a forward computation that raises ends the check, as does ``FeedError``. Where values
    or gradients are not finite, nothing is said of a rule: the verdict is ``not finite``, and the report not ok.

    >>> import tinygraph as tg
    >>> z = tg.tensor([[0.5], [-1.0]], name="Z3")
    >>> print(check(tg.bce(tg.sigmoid(z), [[1.0], [0.0]])))  # doctest: +ELLIPSIS
    node  operation    input      checked                error    kinks  verdict
    t2    sigmoid      x = Z3     2 of 2                 ...             ok
    t2    bce          z = Z3     2 of 2                 ...             ok
    dZ3   whole graph  tensor Z3  2 of 2 + 3 directions  ...             ok
    all gradients: worst relative error ... (tensor Z3)
    """
    rng = _generator("check", seed, tolerance)
    feeds = {} if feeds is None else feeds
    require_feeds(feeds)
    graph = _graph_of(thing, feeds)
    twins = in_double(graph, bind(graph, completed(graph, feeds, rng)))
    labels, owners = equation_labels(graph)
    faulty = faults(twins.values(), {twins[node]: owners[node] for node in graph.nodes})
    nodes: list[Record] = []
    for position, node in enumerate(graph.nodes):
        input_labels = [labels.get(x, "") for x in node.inputs]
        found = check_node(twins[node], owners[node], input_labels, rng, tolerance, faulty.get(twins[node], ""))
        nodes += [replace(record, position=position) for record in found]
    fault = next(filter(None, (record.not_finite for record in nodes)), "")
    return Report(tuple(nodes), tuple(check_gradients(graph, twins, rng, tolerance, fault)), tolerance)


@np.errstate(all="ignore")
def check_op(operation: Any, seed: int = 0, tolerance: float = 1e-7) -> Report:
    """Check the gradient rule of one operation on its own samples.

    ``operation`` is its function, such as ``tg.conv2d``, its name or its class.

    >>> import tinygraph as tg
    >>> check_op(tg.matmul).ok, check_op("relu").ok
    (True, True)
    """
    op = _operation_class(operation)
    if op.samples is None:
        raise TinygraphError(
            f"{op.name} has no samples to check it on; give it samples, or check a graph with tg.check"
        )
    rng = _generator("check_op", seed, tolerance)
    nodes: list[Record] = []
    for number, sample in enumerate(op.samples(rng), start=1):
        instance = widened(op(**sample.attributes))
        leaves = [Tensor("tensor", value=doubled(value)) for value in sample.inputs]
        node = apply(instance, leaves)
        name = ", ".join([f"sample {number}", *(f"{key}={value!r}" for key, value in sample.attributes.items())])
        nodes += check_node(node, name, [str(x.shape) for x in node.inputs], rng, tolerance)
    return Report(tuple(nodes), (), tolerance)


def _generator(who: str, seed: Any, tolerance: Any) -> np.random.Generator:
    if conform(who, "seed", seed, int) < 0:
        raise AttributeValueError(f"{who}: seed must be at least 0; found {seed}")
    if not 0 < conform(who, "tolerance", tolerance, float) < math.inf:
        raise AttributeValueError(f"{who}: tolerance must be positive and finite; found {tolerance}")
    return np.random.default_rng(seed)


def _operation_class(operation: Any) -> type[Op]:
    if isinstance(operation, str):
        operation = operation_called(operation)
    op = getattr(operation, "op", operation)
    if not isinstance(op, type) or not issubclass(op, Op):
        raise TinygraphError(
            f"check_op takes an operation, such as tg.relu, its name or its class; found {type(operation).__name__}"
        )
    return op


def _graph_of(thing: Any, feeds: Feeds) -> Graph:
    if isinstance(thing, Graph):
        return thing
    if isinstance(thing, Tensor):
        return Graph(thing)
    if hasattr(thing, "record") and not isinstance(thing, type):
        graph: Graph = thing.record(thing.batch or samples_in(thing, feeds) or 2, training=True).whole
        return graph
    found = repr(thing) if isinstance(thing, str) else type(thing).__name__
    hint = f"; load_model({thing!r}) would make a model of a name" if isinstance(thing, str) else ""
    raise TinygraphError(f"check takes a tensor, a graph or a model; found {found}{hint}")
