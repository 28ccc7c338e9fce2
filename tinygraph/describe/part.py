"""A part of a subject: one tensor, or one gradient, with what leads to it."""

from dataclasses import replace

from tinygraph.describe.subject import Subject
from tinygraph.errors import TinygraphError, listing, nearest
from tinygraph.graph import Tensor, topological


def part_of(subject: Subject, name: str) -> Subject:
    """Return the part of the subject that leads to the tensor or the gradient called ``name``; names stay the same.

    Raises ``TinygraphError`` for an unknown name.

    >>> import tinygraph as tg
    >>> from tinygraph.describe.subject import subject_of
    >>> xor = subject_of(tg.load_model("xor")).general
    >>> [item.symbol for item in part_of(xor, "h").items], [item.symbol for item in part_of(xor, "dZ").items][-2:]
    (['x', 'W1', 'B1', 'h'], ['y', 'cost'])
    """
    tensors: dict[str, Tensor] = {}
    for item in subject.items:
        tensors.setdefault(item.symbol, item.node)
    owners = {symbol: x for x, symbol in subject.gradient_labels.items()}
    if not isinstance(name, str) or (name not in tensors and name not in owners):
        known = [*tensors, *owners]
        raise TinygraphError(f"no tensor is called {name!r}{nearest(str(name), known)} (there are {listing(known)})")
    backward, rules, defined = None, {}, {}
    ends = [tensors[name]] if name in tensors else []
    if name not in tensors and subject.backward is not None:
        reached = set(topological([subject.backward.gradients[owners[name]]]))
        gradients = {x: gradient for x, gradient in subject.backward.gradients.items() if gradient in reached}
        backward = replace(subject.backward, gradients=gradients)
        rules = {id(item): tuple(r for r in subject.rules(item) if r.node in reached) for item in subject.items}
        defined = {key: tuple(x for x in nodes if x in reached) for key, nodes in subject._defined.items()}
        # What an equation reads is shown too, even if the gradient needs only a part of the equation.
        needed = reached | gradients.keys()
        ends = [i.node for i in subject.items if rules[id(i)] or not needed.isdisjoint((i.node, *i.nodes))]
    kept = set(topological(ends))
    items = tuple(item for item in subject.items if item.node in kept)
    part = replace(subject, items=items, backward=backward, unfinished=None)
    gradient_labels = {x: s for x, s in subject.gradient_labels.items() if backward and x in backward.gradients}
    # A part has the names and lines of all.
    vars(part).update(layout=subject.layout, larger_nodes=subject.larger_nodes, uses=subject.uses, _defined=defined)
    vars(part).update(gradient_labels=gradient_labels, numbered=subject.numbered, _rules=rules)
    return part
