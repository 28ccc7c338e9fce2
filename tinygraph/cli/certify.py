"""``tinygraph certify``: proof that operations are right, one line for each check."""

import json
from collections.abc import Sequence
from pathlib import Path

import click

from tinygraph import verify
from tinygraph.cli import options
from tinygraph.cli.group import WRONG_RULE
from tinygraph.cli.terminal import say
from tinygraph.errors import TinygraphError
from tinygraph.graph import operations


@options.command
@click.argument("names", nargs=-1, required=True, metavar="[FILE.py] [NAME]...")
@click.option("--json", "as_json", is_flag=True, help="Print the certificates as JSON.")
@options.seed_option
def certify(names: tuple[str, ...], as_json: bool, seed: int | None) -> int:
    """Certify the operations in a Python file, or those called NAME: gradients, shapes, kinks, dtypes, NaN, and more.

    Ends with code 1 if an operation is not right.
    """
    certificates = [verify.certify(name, seed or 0) for name in _chosen(names)]
    right = sum(certificate.ok for certificate in certificates)
    if as_json:
        say(json.dumps([certificate.to_json() for certificate in certificates], indent=2))
    else:
        say("\n\n".join(map(str, certificates)))
        if len(certificates) > 1:
            say(f"\n{right} of {len(certificates)} operations are certified")
    return 0 if right == len(certificates) else WRONG_RULE


def _chosen(names: Sequence[str]) -> list[str]:
    """Return the names of the operations to certify: those given, or else all that the given files register."""
    files = [name for name in names if name.endswith(".py")]
    wanted = [name for name in names if not name.endswith(".py")]
    for name in wanted:
        if name not in operations() and Path(name).exists():
            raise TinygraphError(f"certify takes Python files of operations, and names of operations; found {name!r}")
    before = dict(operations())
    for file in files:
        options.import_operations(Path(file))
    registered = [name for name, function in operations().items() if before.get(name) is not function]
    if files and not registered:
        raise TinygraphError(f"{', '.join(files)}: no operation is registered there; write @tg.op above a function")
    return wanted or registered
