"""The one command: ``python -m tests.conformance``."""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import tinygraph as tg

from .engines import ALL, ENGINES
from .known import KNOWN
from .suite import Choice, Outcome, compare

# Random graphs are compared in parts of this many.
PART = 100


def main() -> None:
    """Compare every engine with plain evaluation; print how many combinations were compared, and every difference."""
    options = parser().parse_args()
    if unknown := set(options.names) - set(tg.operations()):
        sys.exit(f"no operation is called {', '.join(sorted(unknown))}")
    whole = Choice(tuple(options.names), tuple(options.engine or ENGINES), options.seed, options.part)
    whole = replace(whole, pattern=options.problem, listed=not options.names)
    parts = [replace(whole, names=(name,), listed=False) for name in options.names or tg.operations()]
    count = 0 if options.names else options.graphs
    starts = range(0, count, PART)
    parts += [replace(whole, part=0, graphs=range(i, min(i + PART, count)), listed=False) for i in starts]
    parts += [replace(whole, part=0)] if whole.listed else []
    outcome = Outcome()
    with ProcessPoolExecutor(options.jobs) as pool:
        for found in pool.map(compare, parts):
            outcome.add(found)
            print(*found.new, sep="\n", end="\n" if found.new else "", flush=True)
    everything = not options.names and not options.engine and options.part >= 1 and not options.problem
    faults = [f"known, and differs no longer: {x}" for x in KNOWN if everything and x not in outcome.known]
    lines = report(outcome, options.seed)
    print(*lines, *faults, sep="\n")
    if options.page and not faults and not outcome.new:
        write(options.page, lines)
    sys.exit(1 if faults or outcome.new else 0)


def parser() -> argparse.ArgumentParser:
    """Return the options of the command."""
    made = argparse.ArgumentParser(prog="python -m tests.conformance", description=main.__doc__)
    made.add_argument("names", nargs="*", metavar="OPERATION", help="only these operations (default: everything)")
    made.add_argument("--engine", action="append", choices=ALL, help="only this engine; may be repeated")
    made.add_argument("--seed", type=int, default=0, help="of the random numbers and graphs (default 0)")
    made.add_argument(
        "--part", type=float, default=1.0, metavar="SHARE", help="of the problems of operations (default 1)"
    )
    made.add_argument("--graphs", type=int, default=3000, metavar="N", help="how many random graphs (default 3000)")
    made.add_argument("--problem", default="", metavar="PATTERN", help="only problems whose names match")
    made.add_argument("--jobs", type=int, default=2, help="processes (default 2)")
    made.add_argument("--page", type=Path, metavar="FILE.md", help="write the figures between their marks there")
    return made


def report(outcome: Outcome, seed: int) -> list[str]:
    """Return the figures."""
    what = {"operation": "problems of single operations", "graph": "random graphs", "listed:": "listed problems"}
    lines = [f"{outcome.problems[kind]:7d}  {words}" for kind, words in what.items() if outcome.problems[kind]]
    lines += [f"{number:7d}  comparisons of {name}" for name, number in outcome.comparisons.items()]
    lines += [f"{number:7d}  differences of which it is stated: {reason}" for reason, number in outcome.known.items()]
    differing = len(outcome.new) + outcome.known.total()
    return [*lines, f"{outcome.comparisons.total()} combinations compared (seed {seed}), {differing} differ"]


def write(page: Path, lines: list[str]) -> None:
    """Put the figures between their two marks of a page."""
    before, mark, rest = page.read_text(encoding="utf-8").partition("<!-- conformance -->\n")
    _, end, after = rest.partition("<!-- end of conformance -->")
    page.write_text("\n".join([before + mark + "```text", *lines, "```", end + after]), encoding="utf-8")


if __name__ == "__main__":
    main()
