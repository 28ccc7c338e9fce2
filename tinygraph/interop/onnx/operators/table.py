"""The table of ONNX's operators: a rule for each, which says it in operations. What is not in it is refused by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, TypeAlias

import tinygraph.ops  # noqa: F401 (registers the operations)
from tinygraph.graph.registry import OPERATIONS

# From a node and its inputs to its result, or to a tuple of results. An input is a tensor that is recorded, an array that
# is known already, or None where it is left out.
Rule: TypeAlias = Callable[..., Any]
# The operations by name: ops.relu(x).
ops = SimpleNamespace(**OPERATIONS)


@dataclass(frozen=True)
class Operator:
    """An entry of the table.

    ``constants`` are the places of inputs that say *how* something is computed, such as the shape of a reshape: they must
    be known when the graph is recorded. ``columns`` are those that hold one number for each channel: weights there get an
    axis of size 1 for each axis of an image, so that they broadcast. ``since`` is the first operator set whose definition
    is supported. ``state`` are the places of running statistics, which are not trained, with the operation that updates
    each in training.
    """

    rule: Rule
    constants: tuple[int, ...] = ()
    columns: tuple[int, ...] = ()
    since: int = 1
    state: Mapping[int, str] = field(default_factory=dict)


OPERATORS: dict[str, Operator] = {}


def operator(*names: str, **options: Any) -> Callable[[Rule], Rule]:
    """Enter the function below as the rule of these operators; use as a decorator. ``options`` are those of ``Operator``."""

    def enter(rule: Rule) -> Rule:
        OPERATORS.update(dict.fromkeys(names, Operator(rule, **options)))
        return rule

    return enter
