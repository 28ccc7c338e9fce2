"""What gradients are called: the d of what they are of, and on one of several ways back a number more."""

from __future__ import annotations

from collections.abc import Mapping

from tinygraph.describe.subject import Subject
from tinygraph.describe.symbols import Symbol, gradient_symbol, symbol_of
from tinygraph.graph.tensor import Tensor


def owners_of(subject: Subject) -> dict[Tensor, Tensor]:
    """Return, for each gradient that is called d and a label, what has that label."""
    if subject.backward is None:
        return {}
    labels, gradients = subject.labels, subject.backward.gradients
    return {gradient: node for node, gradient in gradients.items() if labels.get(gradient) == f"d{labels[node]}"}


def ways_of(subject: Subject) -> dict[Tensor, Symbol]:
    """Return symbols for what comes back to a tensor on one of several ways, where that has no name of its own.

    >>> import tinygraph as tg
    >>> from tinygraph.describe.subject import subject_of
    >>> x = tg.tensor(3.0, name="x")
    >>> [symbol.text for symbol in ways_of(subject_of(tg.sin(x) * tg.cos(x))).values()]
    ['dx(1)', 'dx(2)']
    """
    owners = owners_of(subject)
    found: dict[Tensor, Symbol] = {}
    backward = subject.backward
    for (user, place), node in backward.contributions.items() if backward is not None else ():
        target = user.inputs[place]
        ways = [(id(x), i) for x, i in subject.uses(target)]
        if len(ways) > 1 and node not in owners and not node.name and node.op is not None:
            way = ways.index((id(user), place)) + 1
            found.setdefault(node, gradient_symbol(symbol_in(subject, owners, target), way))
    return found


def symbol_in(subject: Subject, owners: Mapping[Tensor, Tensor], node: Tensor) -> Symbol:
    """Return the symbol of a node: of a gradient, the d of what it is the gradient of."""
    owner = owners.get(node)
    return symbol_of(subject.labels[node]) if owner is None else gradient_symbol(symbol_in(subject, owners, owner))
