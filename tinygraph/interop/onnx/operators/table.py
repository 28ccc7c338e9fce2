"""The table of ONNX's operators: a rule for each, which says it in operations. What is not in it is refused by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, TypeAlias

import tinygraph.ops  # noqa: F401 (registers the operations)
from tinygraph.graph import OPERATIONS
from tinygraph.interop.onnx.node import Node

# From a node and its inputs to its result, or to a tuple of results. An input is a tensor that is recorded, an array that
# is known already, or None where it is left out.
Rule: TypeAlias = Callable[..., Any]
# The operations by name: ops.relu(x).
ops = SimpleNamespace(**OPERATIONS)


@dataclass(frozen=True)
class Operator:
    """An entry of the table; without a rule, ONNX's own definition of the operator is used.

    ``constants`` are the places of inputs that say *how* something is computed, such as the shape of a reshape: they must
    be known when the graph is recorded. ``weights`` names the inputs that hold weights in networks, as PyTorch does.
    ``columns`` are the places of vectors with a number for each channel: weights there get an axis of size 1 for each axis
    of an image, so that they broadcast. ``state`` are the places of running statistics, which are not trained, with the
    operation that updates each in training.
    """

    rule: Any
    constants: tuple[int, ...] = ()
    weights: Mapping[int, str] = field(default_factory=dict)
    columns: tuple[int, ...] = ()
    state: Mapping[int, str] = field(default_factory=dict)


OPERATORS: dict[str, Operator] = {}


def operator(
    *names: str, integers: Mapping[int, str] | None = None, constants: tuple[int, ...] = (), **options: Any
) -> Callable[[Rule], Rule]:
    """Enter the function below as the rule of these operators; use as a decorator. ``options`` are those of ``Operator``.

    ``integers`` names inputs, by place, that are known integers, such as the axes of a reduction. The rule gets them as a
    list; where one is left out, it gets the attribute of that name, as in earlier operator sets, or ``None``.
    """
    lists = integers or {}

    def enter(rule: Rule) -> Rule:
        def with_integers(node: Node, *inputs: Any) -> Any:
            given = [*inputs, *[None] * (max(lists) + 1 - len(inputs))]
            for place, name in lists.items():
                given[place] = node.integers(name, given[place])
            return rule(node, *given)

        entry = Operator(with_integers if lists else rule, (*constants, *lists), **options)
        OPERATORS.update(dict.fromkeys(names, entry))
        return rule

    return enter
