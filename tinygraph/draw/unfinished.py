"""Models that stop being valid: what was recorded before the mistake, and the equation that could not be."""

from __future__ import annotations

from tinygraph.describe.subject import Item, Subject, equation_items
from tinygraph.describe.text import leaf_note
from tinygraph.errors import ModelError, TinygraphError


def unfinished_subject(error: ModelError, title: str | None = None) -> Subject:
    """Return what was recorded of a model before its mistake as a subject, without a backward pass.

    Raises ``TinygraphError`` where nothing was: the mistake is in the file or in its tables.

    >>> import tinygraph as tg
    >>> try:
    ...     tg.Model(inputs={"x": [3]}, parameters={}, equations="h = tanh(x)\\no = h @ x", output="o")
    ... except tg.errors.ModelError as error:
    ...     subject = unfinished_subject(error)
    >>> [item.symbol for item in subject.items], subject.unfinished.name
    (['x', 'h'], 'o')
    """
    found = error.recorded
    if found is None:
        raise TinygraphError(f"no equation of the model was recorded, so there is nothing to draw: {error.message}")
    items = equation_items(found.equations)
    known = {item.node for item in items}
    for x in found.inputs:
        if x.op is None and x not in known:
            items.append(Item(x, x.name or "", leaf_note(x), group=(x.name or "").rpartition(".")[0]))
    ends = tuple(item.node for item in items)
    title = found.title if title is None else title
    return Subject(title, tuple(items), None, "the model is not valid", {}, ends, found)
