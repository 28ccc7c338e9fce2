"""What a training step says about a value that is not finite: the first node that has one, and its equation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.errors import TrainingError, counted
from tinygraph.graph import Graph, Tensor, run

if TYPE_CHECKING:
    from tinygraph.model import Recording


class NotFiniteError(TrainingError):
    """A training step with a value that is not finite; ``moving`` if only the update of the parameters made it so.

    >>> NotFiniteError("the first value that is not finite is ...", moving=True).moving
    True
    """

    def __init__(self, message: str, moving: bool) -> None:
        super().__init__(message)
        self.moving = moving


def first_not_finite(graph: Graph, recording: Recording, feeds: Mapping[str | Tensor, Any]) -> tuple[Tensor, str]:
    """Evaluate ``graph`` again; return the first node, in topological order, that became not finite, and a sentence.

    A node *became* not finite if its inputs are finite; constants, such as a mask of minus infinity, are not reported.

    >>> import tinygraph as tg
    >>> from types import SimpleNamespace
    >>> x = tg.input("x", (2,), dtype="float64")
    >>> z = tg.exp(x)
    >>> z.name = "z"
    >>> with np.errstate(over="ignore"):
    ...     node, sentence = first_not_finite(tg.Graph(z.sum()), SimpleNamespace(equations=()), {"x": [1.0, 1e4]})
    >>> print(sentence)
    the first value that is not finite is z = exp(x), where exp gave inf in 1 of 2 elements
    """
    bad: dict[Tensor, Any] = {}

    def watch(node: Tensor, value: Any) -> None:
        if not np.isfinite(value).all():
            bad[node] = np.asarray(value)

    run(graph, feeds, watch)
    became = [node for node in bad if node.kind != "constant" and bad.keys().isdisjoint(node.inputs)]
    node = next(iter(became or bad))
    value = bad[node]
    wrong = value[~np.isfinite(value)]
    amount = f"{wrong[0]} in {wrong.size} of {counted(value.size, 'element')}"
    if node.op is None:
        where = f"the {node.kind} {graph.labels[node]!r} itself: {amount}"
    else:
        where = f"{_equation(node, graph, recording)}, where {node.op.name} gave {amount}"
    return node, f"the first value that is not finite is {where}"


def _equation(node: Tensor, graph: Graph, recording: Recording) -> str:
    """Return the equation that computes a node: the model's, with its line, or one of the backward pass or the update."""
    own = [equation for equation in recording.equations if any(made is node for made in equation.nodes)]
    if own:
        equation = min(own, key=lambda equation: len(equation.nodes))
        return equation.text + (f" (line {equation.line})" if equation.line else "")
    lines = {line.node: line for line in graph.layout.equations}
    users = {x: user for user in graph.nodes for x in user.inputs}
    # A node without a line of its own is part of the line of its only user.
    while node not in lines:
        node = users[node]
    return f"{lines[node].label} = {lines[node].expression}"
