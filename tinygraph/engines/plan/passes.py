"""The passes that turn a recorded graph into the graph that is computed, in their order."""

from __future__ import annotations

from collections.abc import Sequence

from tinygraph.engines.plan.common import share_common
from tinygraph.engines.plan.fold import fold_constants
from tinygraph.engines.plan.gates import gate_by_result, pool_before_relu
from tinygraph.engines.plan.lower import lower
from tinygraph.engines.plan.node import Node, lift
from tinygraph.engines.plan.simplify import simplify
from tinygraph.graph.graph import Graph


def prepared(graph: Graph) -> tuple[list[Node], Sequence[Node]]:
    """Return a graph's outputs as they are computed, and the nodes that are not computed a second time.

    Nodes that no output needs are left out by every pass, because each begins at the outputs.

    >>> import tinygraph as tg
    >>> prepared(Graph(tg.relu(tg.input("x", (2,)))))
    ([<relu float32 (2,)>], [])
    """
    outputs = simplify(fold_constants(lift(graph)))
    outputs, early = share_common(outputs)
    outputs = gate_by_result(pool_before_relu(outputs))
    outputs, _ = share_common(outputs)
    outputs, late = share_common(lower(outputs))
    return outputs, [*early, *late]
