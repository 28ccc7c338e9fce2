"""``tinygraph ops``: the operations, in a table or one at a time."""

import dataclasses
import inspect
import re
from collections.abc import Iterable
from typing import Any

import click

from tinygraph.cli import options
from tinygraph.cli.gradients import gradient_lines, part_lines
from tinygraph.cli.terminal import say
from tinygraph.describe.columns import aligned
from tinygraph.graph import Op, operation, operations
from tinygraph.graph.attributes import describe
from tinygraph.ops import FAMILIES


@click.command
@click.argument("name", required=False)
@options.ops_option
def ops(name: str | None) -> None:
    """List the operations, or explain the one called NAME: formula, gradient, attributes, example."""
    if name is None:
        print_table([function.op for function in operations().values()])
    else:
        print_operation(operation(name).op)


def print_table(operations: list[type[Op]]) -> None:
    """Print operations by family, with the columns of all families in line."""
    families = by_family(operations)
    rows = [
        (call(op), op.readable_formula(), ", ".join(attribute_texts(op))) for ops in families.values() for op in ops
    ]
    lines = iter(aligned([("operation", "formula", "attributes"), *rows], longest=(99, 999)).splitlines())
    say(next(lines))
    for family, members in families.items():
        say(f"\n{family}", bold=True)
        for _ in members:
            say(next(lines))
    say("\ntinygraph ops NAME explains one of them.")


def by_family(operations: Iterable[type[Op]]) -> dict[str, list[type[Op]]]:
    """Return operations by family; those that differ only in the number of axes follow each other.

    >>> import tinygraph as tg
    >>> {name: [op.name for op in ops] for name, ops in by_family([tg.bce.op, tg.conv2d.op, tg.conv1d.op]).items()}
    {'convolution': ['conv1d', 'conv2d'], 'loss': ['bce']}
    """
    found: dict[str, list[type[Op]]] = {family: [] for family in FAMILIES}
    for op in operations:
        found.setdefault(op.family, []).append(op)
    return {family: _ranks_together(ops) for family, ops in found.items() if ops}


def _ranks_together(ops: list[type[Op]]) -> list[type[Op]]:
    # Without its number of axes, conv2d_kernel_gradient is conv_kernel_gradient.
    stems = {op: re.sub(r"\dd(?=_|$)", "", op.name) for op in ops}
    order = list(stems.values())
    return sorted(ops, key=lambda op: (order.index(stems[op]), op.name))


def print_operation(op: type[Op]) -> None:
    """Print everything about one operation."""
    summary, example = explanation(op)
    say(f"{call(op)}   ({op.family})", bold=True)
    kinds = [describe(annotation) for annotation in op.attribute_annotations().values()]
    defaults = [text.partition("=") for text in attribute_texts(op)]
    attributes = [
        f"{name}: {kind}" + (f", default {default}" if given else "")
        for kind, (name, given, default) in zip(kinds, defaults, strict=True)
    ]
    sections = {
        "formula": [op.readable_formula() or "not given"],
        "made of": part_lines(op) if op.composite else [],
        "gradient": gradient_lines(op),
        "attributes": attributes or ["none"],
        "about": summary,
        "example": example,
    }
    for heading, lines in sections.items():
        for index, line in enumerate(lines):
            say(f"{heading if not index else '':<12}{line}".rstrip())
        if lines:
            say()


def explanation(op: type[Op]) -> tuple[list[str], list[str]]:
    """Return the lines of an operation's docstring, and those of its example, with the import that they need."""
    written = (inspect.getdoc(op) or "").strip()
    # A dataclass without a docstring gets its signature as one.
    if re.fullmatch(rf"{re.escape(op.__name__)}\(.*\)", written, re.DOTALL):
        return [], []
    summary, mark, example = written.partition(">>>")
    lines = f"{mark}{example}".rstrip().splitlines()
    if re.search(r"\bnp\.", example) and "import numpy as np" not in example:
        lines.insert(0, ">>> import numpy as np")
    return summary.strip().splitlines(), lines


def call(op: type[Op]) -> str:
    """Return how an operation is called: its tensors, and the attributes that have no default.

    >>> import tinygraph as tg
    >>> call(tg.matmul.op), call(tg.concatenate.op), call(tg.avg_pool2d.op)
    ('matmul(x, y)', 'concatenate([x, ...])', 'avg_pool2d(x, window)')
    """
    tensors = [f"[{op.parameters[0]}, ...]"] if op.variadic else op.parameters
    fields: tuple[dataclasses.Field[Any], ...] = dataclasses.fields(op)  # type: ignore[arg-type]
    required = [field for field in fields if field.init and field.default is dataclasses.MISSING]
    return f"{op.name}({', '.join([*tensors, *(f'{f.name}=...' if f.kw_only else f.name for f in required)])})"


def attribute_texts(op: type[Op]) -> list[str]:
    """Return attributes with their defaults; required ones have none.

    >>> import tinygraph as tg
    >>> attribute_texts(tg.avg_pool2d.op)[:2]
    ['window', 'stride=None']
    """
    defaults = {field.name: field.default for field in dataclasses.fields(op)}  # type: ignore[arg-type]
    return [
        name if defaults[name] is dataclasses.MISSING else f"{name}={defaults[name]!r}"
        for name in op.attribute_annotations()
    ]
