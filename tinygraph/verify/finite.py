"""Values that are not finite: where they are, nothing can be said of a rule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from tinygraph.graph.tensor import Tensor


def faults(nodes: Iterable[Tensor], labels: Mapping[Tensor, str]) -> dict[Tensor, str]:
    """Return what stopped being finite, in a sentence, for each node in which it did and each that is computed from it.

    Infinity that is given, by a constant or an input, such as a mask of minus infinity, is meant to be so, and no fault where
    it comes to nothing worse; NaN that is made of it is one.

    >>> import tinygraph as tg
    >>> x = tg.tensor([-1.0, 4.0], name="x")
    >>> with np.errstate(invalid="ignore"):
    ...     a = tg.sqrt(x)
    >>> faults([x, a], {x: "x", a: "a"})[a]
    'sqrt in a gave nan in 1 of 2 elements'
    """
    found: dict[Tensor, str] = {}
    for node in nodes:
        inherited = next((found[x] for x in node.inputs if x in found and not _finite(x)), "")
        if inherited or not (_finite(node) or _meant(node)):
            found[node] = inherited or _sentence(node, labels.get(node, ""))
    return found


def is_given(node: Tensor) -> bool:
    """Whether a leaf is what it is, and nothing is differentiated with respect to it: a constant, or a mask kept as state."""
    return node.kind == "constant" or (
        node.kind == "state" and node.dtype.kind == "f" and bool(np.isinf(node.value).any())
    )


def _meant(node: Tensor) -> bool:
    """Whether what is infinite here was given, or comes from what was."""
    if np.isnan(node.value).any():
        return node.kind == "constant"
    if node.op is None:
        return node.kind != "parameter"
    return not all(map(_finite, node.inputs))


def _finite(node: Tensor) -> bool:
    return bool(np.isfinite(node.value).all())


def _sentence(node: Tensor, label: str) -> str:
    wrong = node.value[~np.isfinite(node.value)]
    amount = f"{wrong[0]} in {wrong.size} of {node.size} element{'' if node.size == 1 else 's'}"
    if node.op is None:
        return f"{label} holds {amount}"
    return f"{node.op.name} in {label} gave {amount}"
