"""``tinygraph certify``: proof that operations are right, one line for each thing that can be wrong."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tinygraph.cli.group import WRONG_RULE
from tinygraph.cli.options import import_operations, new_file, ops_option, seed_option
from tinygraph.cli.terminal import say

if TYPE_CHECKING:
    from tinygraph.verify.certificate import Certificate


@click.command(short_help="Prove that an operation is right.")
@click.argument("names", nargs=-1, required=True, metavar="[FILE.py] [NAME]...")
@click.option("--json", "as_json", is_flag=True, help="Print the certificates as JSON.")
@click.option("--plot", type=new_file, metavar="FILE.png", help="Draw the error of the gradients against the step.")
@seed_option
@ops_option
@click.pass_context
def certify(context: click.Context, names: tuple[str, ...], as_json: bool, plot: Path | None, seed: int | None) -> None:
    """Certify the operations in a Python file, or those called NAME: gradients, shapes, kinks, dtypes, NaN, and more.

    Ends with code 1 if an operation is not right.
    """
    from tinygraph.verify.certificate import certify
    from tinygraph.verify.certificate.plot import plot_format

    chosen = _chosen(names)
    if plot is not None and len(chosen) != 1:
        raise click.UsageError(f"--plot draws one operation; found {len(chosen)}: {', '.join(chosen)}")
    if plot is not None:
        plot_format(plot)
    certificates = [certify(name, seed or 0) for name in chosen]
    if as_json:
        say(json.dumps([certificate.to_json() for certificate in certificates], indent=2))
    else:
        say("\n\n".join(map(str, certificates)))
        _say_total(certificates)
    if plot is not None:
        _plot(chosen[0], seed or 0, plot)
    if not all(certificate.ok for certificate in certificates):
        context.exit(WRONG_RULE)


def _chosen(names: Sequence[str]) -> list[str]:
    """Return the operations that are asked for; a file is run, and without names after it all that it registers count."""
    from tinygraph.errors import TinygraphError
    from tinygraph.graph.registry import operations

    other = next((name for name in names if not name.endswith(".py") and Path(name).exists()), None)
    if other is not None and other not in operations():
        raise TinygraphError(f"certify takes Python files of operations, and names of operations; found {other!r}")
    files = [name for name in names if name.endswith(".py")]
    wanted = [name for name in names if not name.endswith(".py")]
    before = dict(operations())
    for file in files:
        import_operations(Path(file))
    registered = [name for name, function in operations().items() if before.get(name) is not function]
    if files and not registered:
        raise TinygraphError(f"{', '.join(files)}: no operation is registered there; write @tg.op above a function")
    return wanted or registered


def _say_total(certificates: Sequence[Certificate]) -> None:
    if len(certificates) > 1:
        right = sum(certificate.ok for certificate in certificates)
        say(f"\n{right} of {len(certificates)} operations are certified")


def _plot(name: str, seed: int, path: Path) -> None:
    from tinygraph.verify.certificate.curve import curves
    from tinygraph.verify.certificate.plot import plot
    from tinygraph.verify.certificate.subject import subject_of

    plot(curves(subject_of(name, seed)), name, path)
    say(f"wrote {path}")
