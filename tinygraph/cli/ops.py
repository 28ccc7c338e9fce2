"""``tinygraph ops``: the operations, in a table or one at a time."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import click

from tinygraph.cli.columns import columns
from tinygraph.cli.options import ops_option
from tinygraph.cli.terminal import say

if TYPE_CHECKING:
    from tinygraph.graph.op import Op


@click.command(short_help="List the operations, or explain one.")
@click.argument("name", required=False)
@ops_option
def ops(name: str | None) -> None:
    """List the operations, or explain the one called NAME: formula, gradient, attributes, example."""
    from tinygraph.graph.registry import operation, operations

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
    lines = iter(columns([("operation", "formula", "attributes"), *rows]))
    say(next(lines))
    for family, members in families.items():
        say(f"\n{family}", bold=True)
        for _ in members:
            say(next(lines))
    say("\ntinygraph ops NAME explains one of them.")


def by_family(operations: Iterable[type[Op]]) -> dict[str, list[type[Op]]]:
    """Return operations by family; what differs only in the number of axes stands together.

    >>> import tinygraph as tg
    >>> {name: [op.name for op in ops] for name, ops in by_family([tg.bce.op, tg.conv2d.op, tg.conv1d.op]).items()}
    {'convolution': ['conv1d', 'conv2d'], 'loss': ['bce']}
    """
    from tinygraph.ops import FAMILIES

    found: dict[str, list[type[Op]]] = {family: [] for family in FAMILIES}
    for op in operations:
        found.setdefault(op.family, []).append(op)
    for ops in found.values():
        stems = [stem(op.name) for op in ops]
        ops.sort(key=lambda op, stems=stems: (stems.index(stem(op.name)), op.name))  # type: ignore[misc]
    return {family: ops for family, ops in found.items() if ops}


def stem(name: str) -> str:
    """Return a name without its number of axes.

    >>> stem("conv2d_kernel_gradient")
    'conv_kernel_gradient'
    """
    return re.sub(r"\dd(?=_|$)", "", name)


def print_operation(op: type[Op]) -> None:
    """Print everything that is known about one operation."""
    from tinygraph.cli.gradients import gradient_lines, part_lines
    from tinygraph.graph.attributes import describe

    summary, example = explanation(op)
    say(f"{call(op)}   ({op.family})", bold=True)
    section("formula", [op.readable_formula() or "not given"])
    if op.composite:
        section("made of", part_lines(op))
    section("gradient", gradient_lines(op))
    defaults = dict(_defaults(op))
    annotations = op.attribute_annotations().items()
    section("attributes", [f"{name}: {describe(kind)}{defaults[name]}" for name, kind in annotations] or ["none"])
    if summary:
        section("about", summary)
    if example:
        section("example", example)


def explanation(op: type[Op]) -> tuple[list[str], list[str]]:
    """Return the lines of an operation's docstring, and those of its example, with the import that they need."""
    written = (inspect.getdoc(op) or "").strip()
    # A dataclass without a docstring is given its signature as one.
    if re.fullmatch(rf"{re.escape(op.__name__)}\(.*\)", written, re.DOTALL):
        return [], []
    summary, mark, example = written.partition(">>>")
    lines = f"{mark}{example}".rstrip().splitlines()
    if re.search(r"\bnp\.", example) and "import numpy as np" not in example:
        lines.insert(0, ">>> import numpy as np")
    return summary.strip().splitlines(), lines


def section(heading: str, lines: list[str]) -> None:
    """Print lines beside their heading."""
    for index, line in enumerate(lines):
        say(f"{heading if not index else '':<12}{line}".rstrip())
    say()


def call(op: type[Op]) -> str:
    """Return how an operation is called: its tensors, and the attributes that it has to be given.

    >>> import tinygraph as tg
    >>> call(tg.matmul.op), call(tg.concatenate.op), call(tg.avg_pool2d.op)
    ('matmul(x, y)', 'concatenate([x, ...])', 'avg_pool2d(x, window)')
    """
    tensors = [f"[{op.parameters[0]}, ...]"] if op.variadic else op.parameters
    fields: tuple[dataclasses.Field[Any], ...] = dataclasses.fields(op)  # type: ignore[arg-type]
    required = [field for field in fields if field.init and field.default is dataclasses.MISSING]
    return f"{op.name}({', '.join([*tensors, *(f'{f.name}=...' if f.kw_only else f.name for f in required)])})"


def attribute_texts(op: type[Op]) -> list[str]:
    """Return attributes with their defaults; required ones have none."""
    return [f"{name}{default.replace(', default ', '=')}" for name, default in _defaults(op)]


def _defaults(op: type[Op]) -> Iterator[tuple[str, str]]:
    fields = {field.name: field.default for field in dataclasses.fields(op)}  # type: ignore[arg-type]
    for name in op.attribute_annotations():
        required = fields[name] is dataclasses.MISSING
        yield name, "" if required else f", default {fields[name]!r}"
