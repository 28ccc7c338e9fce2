"""``tinygraph ops``: the operations, in a table or one at a time."""

from __future__ import annotations

import dataclasses
import inspect
from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from tinygraph.cli.options import ops_option

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
    from tinygraph.graph.text import aligned

    families: dict[str, list[type[Op]]] = defaultdict(list)
    for op in operations:
        families[op.family].append(op)
    rows = [(call(op), formula(op), ", ".join(attribute_texts(op))) for ops in families.values() for op in ops]
    lines = iter(aligned([("operation", "formula", "attributes"), *rows]).splitlines())
    click.echo(next(lines))
    for family, members in families.items():
        click.secho(f"\n{family}", bold=True)
        for _ in members:
            click.echo(next(lines))
    click.echo("\ntinygraph ops NAME explains one of them.")


def print_operation(op: type[Op]) -> None:
    """Print everything that is known about one operation."""
    from tinygraph.cli.gradients import gradient_lines
    from tinygraph.graph.attributes import describe

    summary, _, example = (inspect.getdoc(op) or "").partition(">>>")
    click.secho(f"{call(op)}   ({op.family})", bold=True)
    section("formula", [formula(op) or "not given"])
    section("gradient", gradient_lines(op))
    defaults = dict(_defaults(op))
    annotations = op.attribute_annotations().items()
    section("attributes", [f"{name}: {describe(kind)}{defaults[name]}" for name, kind in annotations] or ["none"])
    section("about", summary.strip().splitlines() or ["no docstring"])
    if example:
        section("example", f">>>{example}".rstrip().splitlines())


def section(heading: str, lines: list[str]) -> None:
    """Print lines beside their heading."""
    for index, line in enumerate(lines):
        click.echo(f"{heading if not index else '':<12}{line}".rstrip())
    click.echo()


def call(op: type[Op]) -> str:
    """Return how an operation is called with tensors.

    >>> import tinygraph as tg
    >>> call(tg.matmul.op), call(tg.concatenate.op)
    ('matmul(x, y)', 'concatenate([x, ...])')
    """
    return f"{op.name}([{op.parameters[0]}, ...])" if op.variadic else f"{op.name}({', '.join(op.parameters)})"


def formula(op: type[Op]) -> str:
    """Return an operation's formula with its inputs and attributes by name.

    >>> import tinygraph as tg
    >>> formula(tg.relu.op)
    'max(0, x)'
    """
    names = {name: name for name in (*op.parameters, *op.attribute_annotations())}
    try:
        return op.formula.format(**names)
    except (KeyError, IndexError, ValueError, AttributeError):
        return op.formula


def attribute_texts(op: type[Op]) -> list[str]:
    """Return attributes with their defaults; required ones have none."""
    return [f"{name}{default.replace(', default ', '=')}" for name, default in _defaults(op)]


def _defaults(op: type[Op]) -> Iterator[tuple[str, str]]:
    fields = {field.name: field.default for field in dataclasses.fields(op)}  # type: ignore[arg-type]
    for name in op.attribute_annotations():
        required = fields[name] is dataclasses.MISSING
        yield name, "" if required else f", default {fields[name]!r}"
