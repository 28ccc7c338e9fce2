"""``tinygraph check`` and ``tinygraph certify``: proof that a model's gradients are right, or operations."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from tinygraph import verify
from tinygraph.cli import options
from tinygraph.cli.group import MISTAKE, WRONG_RULE
from tinygraph.cli.terminal import say
from tinygraph.draw.picture import draw
from tinygraph.draw.render import format_of
from tinygraph.errors import TinygraphError
from tinygraph.graph import operations
from tinygraph.train.data import samples_of
from tinygraph.verify.certificate import certify as certificate_of


@options.command
@options.model_options
@options.data_option(
    "Data to check on: a built-in set, a file or a folder.  [default: the model's [sample], or random values]"
)
@click.option(
    "--batch-size",
    type=click.IntRange(1, options.MOST_SAMPLES),
    help="How many samples to check on.  [default: those of [sample], or 2]",
)
@options.seed_option
@click.option(
    "--draw",
    "picture",
    metavar="FILE",
    type=options.new_file,
    help="Draw the model there, each card with its verdict (.gv, .svg, .png, .pdf).",
)
def check(load: options.Load, data: str | None, batch_size: int | None, seed: int | None, picture: Path | None) -> int:
    """Check every gradient of MODEL against numeric derivatives, rule by rule and then all together.

    Ends with code 1 if a rule is wrong.
    """
    if picture is not None:
        format_of(picture)
    checked = load(seed=seed)
    count = batch_size or checked.batch or 2
    thing: Any = checked.record(count, training=True).full_graph
    feeds: Any = None
    if data:
        thing, feeds = checked, {name: array[:count] for name, array in samples_of(checked, data).items()}
    elif batch_size is None and checked.sample:
        thing, feeds = checked, checked.sample
    report = verify.check(thing, feeds, seed=seed or 0)
    say(str(report))
    if picture is not None:
        draw(checked, picture, feeds=feeds, report=report)
        say(f"wrote {picture}")
    return 0 if report.ok else WRONG_RULE


@options.command
@click.argument("names", nargs=-1, required=True, metavar="[FILE.py] [NAME]...")
@click.option("--json", "as_json", is_flag=True, help="Print the certificates as JSON.")
@options.seed_option
def certify(names: tuple[str, ...], as_json: bool, seed: int | None) -> int:
    """Certify the operations in a Python file, or those called NAME: gradients, shapes, kinks, dtypes, NaN, and more.

    Ends with code 1 if an operation is not right, and with 2 if no inputs were found to check one on.
    """
    certificates = [certificate_of(name, seed or 0) for name in _chosen(names)]
    right = sum(certificate.ok for certificate in certificates)
    if as_json:
        say(json.dumps([certificate.to_json() for certificate in certificates], indent=2))
    else:
        say("\n\n".join(map(str, certificates)))
        if len(certificates) > 1:
            say(f"\n{right} of {len(certificates)} operations are certified")
    verdicts = {certificate.verdict for certificate in certificates} - {"certified"}
    if verdicts == {"no inputs"}:
        return MISTAKE
    return WRONG_RULE if verdicts else 0


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
