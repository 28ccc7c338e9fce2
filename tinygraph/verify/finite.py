"""Values that are not finite: where there are such values, a check can say nothing about a rule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from tinygraph.graph.arrays import all_finite
from tinygraph.graph.tensor import Tensor


def not_finite(nodes: Iterable[Tensor], labels: Mapping[Tensor, str]) -> dict[Tensor, str]:
    """Return a sentence for each node that is not finite, or is computed from one: the first node that was not, and how.

    An infinity in a constant or an input, such as a mask of minus infinity, is intended and no fault, unless NaN is
    computed from it.

    >>> import tinygraph as tg
    >>> x = tg.tensor([-1.0, 4.0], name="x")
    >>> with np.errstate(invalid="ignore"):
    ...     a = tg.sqrt(x)
    >>> not_finite([x, a], {x: "x", a: "a"})[a]
    'sqrt in a gave nan in 1 of 2 elements'
    """
    found: dict[Tensor, str] = {}
    for node in nodes:
        inherited = next((found[x] for x in node.inputs if x in found and not all_finite(x.value)), "")
        if inherited or not (all_finite(node.value) or _is_intended(node)):
            found[node] = inherited or _sentence(node, labels.get(node, ""))
    return found


def is_given(node: Tensor) -> bool:
    """Whether nothing is differentiated with respect to a leaf: it is a constant, or a mask of infinities kept as state."""
    return node.kind == "constant" or (
        node.kind == "state" and node.dtype.kind == "f" and bool(np.isinf(node.value).any())
    )


def _is_intended(node: Tensor) -> bool:
    """Whether an infinity was given, or comes from one that was."""
    if np.isnan(node.value).any():
        return node.kind == "constant"
    if node.op is None:
        return node.kind != "parameter"
    return not all(all_finite(x.value) for x in node.inputs)


def _sentence(node: Tensor, label: str) -> str:
    wrong = node.value[~np.isfinite(node.value)]
    amount = f"{wrong[0]} in {wrong.size} of {node.size} element{'' if node.size == 1 else 's'}"
    return f"{label} holds {amount}" if node.op is None else f"{node.op.name} in {label} gave {amount}"
