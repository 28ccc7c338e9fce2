"""Pass: what is computed from constants alone is computed once, now."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinygraph.engines.plan.node import Node, constant, remade, rewrite
from tinygraph.engines.plan.trust import known
from tinygraph.errors import TinygraphError
from tinygraph.graph.op import evaluate

# A larger result is computed each time rather than kept.
_MOST_BYTES = 1 << 20


def fold_constants(outputs: Sequence[Node]) -> list[Node]:
    """Return the outputs with constants in the place of known operations on constants.

    >>> import tinygraph as tg
    >>> from tinygraph.engines.plan.node import make
    >>> two = make(tg.operation("add").op(), constant(1.0), constant(1.0))
    >>> fold_constants([two])[0].value
    array(2.)
    """
    return rewrite(outputs, _folded)


def _folded(node: Node, inputs: tuple[Node, ...]) -> Node:
    if not known(node.op) or node.nbytes > _MOST_BYTES or any(x.value is None for x in inputs):
        return remade(node, inputs)
    assert node.op is not None
    try:
        with np.errstate(all="ignore"):
            value = evaluate(node.op, [x.value for x in inputs], node.shape, node.dtype)
    except TinygraphError:
        return remade(node, inputs)
    return constant(np.array(value), node.tensors)
