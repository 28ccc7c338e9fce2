"""The one command: ``python -m tests.mutants``."""

from __future__ import annotations

import argparse
import sys
import tomllib
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from .kill import killer
from .mistakes import Mutant, mutants
from .rules import rules

EQUIVALENTS = Path(__file__).with_name("equivalents.toml")


def main() -> None:
    """Make the mutants, ask the certificate about each, and say what came out; code 1 if one lives without a reason."""
    options = parser().parse_args()
    chosen = [rule for rule in rules() if not options.names or set(options.names) & {rule.name, *rule.owners}]
    if not chosen:
        sys.exit(f"no rule belongs to {', '.join(options.names)}")
    with ProcessPoolExecutor(options.jobs) as pool:
        results = {}
        for found in pool.map(partial(fates, every=options.every), [rule.name for rule in chosen]):
            results |= found
            if options.verbose:
                print(*(f"{text}: {fate or 'SURVIVED'}" for text, fate in found.items()), sep="\n", flush=True)
    faults, lines = report(results, equivalents(), bool(options.names) or options.every > 1, len(chosen))
    print(*lines, *faults, sep="\n")
    if options.page:
        write(options.page, lines)
    sys.exit(1 if faults else 0)


def parser() -> argparse.ArgumentParser:
    """Return the options of the command."""
    made = argparse.ArgumentParser(prog="python -m tests.mutants", description="Plant mistakes in every gradient rule.")
    made.add_argument("names", nargs="*", metavar="NAME", help="operations or rules (default: all)")
    made.add_argument("--every", type=int, default=1, metavar="N", help="only every N-th mutant of a rule")
    made.add_argument("--jobs", type=int, default=2, help="processes (default 2)")
    made.add_argument("--page", type=Path, metavar="FILE.md", help="write the score between its marks there")
    made.add_argument("--verbose", action="store_true", help="say which check found each mutant")
    return made


def fates(name: str, every: int = 1) -> dict[str, str]:
    """Return which check kills each mutant of the rule called ``name``; those that change nothing are left out."""
    rule = next(rule for rule in rules() if rule.name == name)
    found = {str(mutant): killer(mutant) for mutant in sampled(mutants(rule), every)}
    return {text: fate for text, fate in found.items() if fate != "no change"}


def sampled(made: list[Mutant], every: int) -> list[Mutant]:
    return made[::every]


def equivalents() -> dict[str, str]:
    """Return the mutants that compute the same as their rule, each with the reason."""
    listed = tomllib.loads(EQUIVALENTS.read_text(encoding="utf-8"))
    return {f"{rule}: {text}": reason for rule, entries in listed.items() for text, reason in entries.items()}


def report(results: dict[str, str], reasons: dict[str, str], partly: bool, count: int) -> tuple[list[str], list[str]]:
    """Return what is not as it must be, and the lines of the score."""
    killed = {text for text, fate in results.items() if fate}
    survivors = [text for text in results if text not in killed]
    faults = [f"survived: {text}" for text in survivors if text not in reasons]
    faults += [f"listed as equivalent, and killed: {text}" for text in reasons if text in killed]
    if not partly:
        faults += [f"listed as equivalent, and no mutant: {text}" for text in reasons if text not in results]
    equal = sum(text in reasons for text in survivors)
    found = Counter(fate for fate in results.values() if fate).most_common()
    score = 100 * len(killed) / max(1, len(results) - equal)
    last = f"{count} rules, {len(results)} mutants, {equal} equivalent: {len(killed)} killed, score {score:.1f} %"
    return faults, [*(f"{number:6d}  found by: {check}" for check, number in found), last]


def write(page: Path, lines: list[str]) -> None:
    """Put the lines of the score between the two marks of a page."""
    before, mark, rest = page.read_text(encoding="utf-8").partition("<!-- score -->\n")
    _, end, after = rest.partition("<!-- end of score -->")
    score = "\n".join(["```text", *lines, "```", ""])
    page.write_text(f"{before}{mark}{score}{end}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
