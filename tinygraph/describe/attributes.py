"""Operations and constants in words, for the cards of a picture."""

import ast
from collections.abc import Sequence
from dataclasses import fields

from tinygraph.describe.numbers import number_text
from tinygraph.describe.text import leaf_note
from tinygraph.describe.writer import equal_elements
from tinygraph.graph import OPERATIONS, Op, Tensor


def uniform(node: Tensor, expression: str) -> str:
    """Return an expression; for a constant with equal elements, what they are.

    >>> import tinygraph as tg
    >>> uniform(tg.constant([1.0, 1.0]), "constant"), uniform(tg.constant([1.0, 2.0]), "constant")
    ('1 everywhere', 'constant')
    """
    value = equal_elements(node)
    if value is None or node.size < 2 or expression != leaf_note(node):
        return expression
    return f"{number_text(value)} everywhere"


def attributes_text(op: Op) -> str:
    """Return the attributes that a call must name: required ones, and those changed from their default.

    Operations written after their operand, such as ``x[1:3]``, show theirs in the equation only.

    >>> import tinygraph as tg
    >>> attributes_text(tg.operation("avg_pool2d").op(2))
    'window=2'
    """
    if op.symbol == "postfix":
        return ""
    defaults = {field.name: field.default for field in fields(op)}  # type: ignore[arg-type]
    return ", ".join(f"{name}={value!r}" for name, value in op.attributes().items() if value != defaults[name])


def composite_called(expression: str) -> tuple[type[Op], str] | None:
    """Return the composite operation that an expression calls, and the attributes that it is given.

    >>> found = composite_called("dropout(f, chance, rate=0.2)")
    >>> (found[0].name, found[1]), composite_called("relu(Z)")
    (('dropout', 'rate=0.2'), None)
    """
    name = expression.partition("(")[0]
    if name not in OPERATIONS or not OPERATIONS[name].op.composite:
        return None
    call = ast.parse(expression, mode="eval").body
    if not isinstance(call, ast.Call):
        return None
    op = OPERATIONS[name].op
    given = [f"{word.arg}={ast.unparse(word.value)}" for word in call.keywords if word.arg not in op.parameters]
    return op, ", ".join(given)


def doc_line(op: Op | type[Op]) -> str:
    """Return the first line of an operation's documentation, empty where it has none of its own.

    >>> import tinygraph as tg
    >>> doc_line(tg.relu.op()) != ""
    True
    """
    # A dataclass without a docstring is given its signature for one.
    kind = op if isinstance(op, type) else type(op)
    doc = (kind.__doc__ or "").strip().split("\n")[0]
    return "" if doc.startswith(f"{kind.__name__}(") else doc


def title_of(ops: Sequence[Op]) -> str:
    """Return the names of a card's operations, each once, in the order in which they are computed."""
    names = list(dict.fromkeys(op.name for op in ops))
    if len(names) > 3:
        return f"{', '.join(names[:3])} … ({len(ops)} operations)"
    return ", ".join(names) or "same as"
