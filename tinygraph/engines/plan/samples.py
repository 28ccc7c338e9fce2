"""How each node of a graph treats the samples of a batch, by the rule ``batch`` of its operation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tinygraph.engines.plan.node import Node, topological
from tinygraph.graph.batch import AFTER, MEAN, SHARED, TOTAL, Each, Tiling, Use


def analyse(outputs: Sequence[Node], samples: Mapping[Any, int], count: int) -> dict[Node, Tiling] | None:
    """Return how every node is tiled, or ``None`` where a batch of ``count`` cannot be cut.

    ``samples`` gives the axis of the samples of each leaf that holds them.

    >>> import tinygraph as tg
    >>> from tinygraph.engines.plan.node import lift
    >>> x = tg.input("x", (4, 3))
    >>> found = analyse(lift(tg.Graph(tg.sum(x * 2.0))), {x: 0}, 4)
    >>> [tiling.state for tiling in found.values()]
    [Each(axis=0), <Part.SHARED: 'shared'>, Each(axis=0), <Part.TOTAL: 'total'>]
    >>> analyse(lift(tg.Graph(x.T @ x)), {x: 0}, 4) is None, analyse(lift(tg.Graph(tg.max(x))), {x: 0}, 4) is None
    (False, True)
    """
    found: dict[Node, Tiling] = {}
    for node in topological(outputs):
        tiling = _tiling(node, found, samples, count)
        if tiling is None:
            return None
        found[node] = tiling
    return found


def _tiling(node: Node, found: Mapping[Node, Tiling], samples: Mapping[Any, int], count: int) -> Tiling | None:
    if node.op is None:
        return Tiling(Each(samples[node.leaf]) if node.leaf in samples else SHARED)
    states = tuple(found[x].state for x in node.inputs)
    if not any(isinstance(state, Each) for state in states):
        return Tiling(SHARED if set(states) <= {SHARED} else AFTER)
    if {TOTAL, MEAN, AFTER} & set(states):
        return None
    rule = node.op.batch(Use(node, states, count))
    tiling = rule if rule is None or isinstance(rule, Tiling) else Tiling(rule)
    # A sum in float16 is taken in a wider type, which the sums of tiles have lost.
    return None if tiling is not None and tiling.state in (TOTAL, MEAN) and node.dtype.char == "e" else tiling
