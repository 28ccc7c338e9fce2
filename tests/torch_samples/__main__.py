"""The one command: ``python -m tests.torch_samples``."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from functools import partial
from pathlib import Path

from .compare import Outcome, compare, infos
from .edges import NAMES, refuse_edges
from .table import TABLE


def main() -> None:
    """Compare every operation of the table with PyTorch, and say how many samples were; code 1 if one differs."""
    options = parser().parse_args()
    if unknown := set(options.names) - set(TABLE):
        sys.exit(
            f"the table has no row for {', '.join(sorted(unknown))}; names are PyTorch's, such as nn.functional.relu"
        )
    try:
        records, faults = infos(), []
    except ImportError as missing:
        sys.exit(f"PyTorch's sample inputs need the extra oracle (pip install -e '.[oracle]'): {missing}")
    at_edges = [name for name in options.names or NAMES if name in NAMES]
    asked = [(name, None) for name in options.names or TABLE]
    asked += [(name, partial(refuse_edges, name)) for name in at_edges]
    outcomes: tuple[dict[str, Outcome], dict[str, Outcome]] = {}, {}
    for name, refuse in asked:
        try:
            outcome = compare(records[name], TABLE[name], refuse)
        except AssertionError as fault:
            faults.append(f"{name}: {fault}")
        else:
            outcomes[refuse is not None][name] = outcome
            if options.verbose:
                print(described(name, outcome), flush=True)
    lines = [*report(outcomes[0]), *report_edges(outcomes[1])]
    print(*lines, *faults, sep="\n")
    if options.page and not faults:
        write(options.page, lines)
    sys.exit(1 if faults else 0)


def parser() -> argparse.ArgumentParser:
    """Return the options of the command."""
    made = argparse.ArgumentParser(prog="python -m tests.torch_samples", description=main.__doc__)
    made.add_argument("names", nargs="*", metavar="NAME", help="PyTorch's names of operations (default: all)")
    made.add_argument("--page", type=Path, metavar="FILE.md", help="write the figures between their marks there")
    made.add_argument("--verbose", action="store_true", help="say of each operation what was compared and what not")
    return made


def described(name: str, outcome: Outcome) -> str:
    """Return one operation's samples in a line."""
    skipped = "".join(f"; {count} not: {reason}" for reason, count in outcome.skipped.items())
    return f"{outcome.ran:6d}  {name}{skipped}"


def report(outcomes: dict[str, Outcome]) -> list[str]:
    """Return the figures of all operations together."""
    orders: Counter[int] = sum((outcome.orders for outcome in outcomes.values()), Counter())
    ours = set().union(*(outcome.operations for outcome in outcomes.values()))
    skipped = sum(outcome.skipped.total() for outcome in outcomes.values())
    return [
        f"{orders[0]:6d}  samples compared in values, of results that have no gradients",
        f"{orders[1]:6d}  in values and gradients, where PyTorch does not differentiate again",
        f"{orders[2]:6d}  in values, gradients and second gradients",
        f"{skipped:6d}  not compared, for what tinygraph does not have",
        f"{len(outcomes)} operations of PyTorch, {orders.total()} samples, {len(ours)} operations of tinygraph",
    ]


def report_edges(outcomes: dict[str, Outcome]) -> list[str]:
    """Return the figures of the inputs at edges."""
    ran = sum(outcome.ran for outcome in outcomes.values())
    skipped = sum(outcome.skipped.total() for outcome in outcomes.values())
    return [f"{ran} inputs of {len(outcomes)} operations at edges, {skipped} not compared"]


def write(page: Path, lines: list[str]) -> None:
    """Put the figures between their two marks of a page."""
    before, mark, rest = page.read_text(encoding="utf-8").partition("<!-- samples -->\n")
    _, end, after = rest.partition("<!-- end of samples -->")
    page.write_text("\n".join([before + mark + "```text", *lines, "```", end + after]), encoding="utf-8")


if __name__ == "__main__":
    main()
