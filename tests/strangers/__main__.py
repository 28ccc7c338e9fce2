"""Certify operations of strangers: ``python -m tests.strangers [--set-aside] [--only NAME] [--page docs/trust.md]``."""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from tests.strangers.cases import Case, cases
from tests.strangers.runs import Outcome, examine, judged_again, look

BEGIN, END = "<!-- strangers -->\n", "<!-- end of strangers -->"


def counts(outcomes: list[Outcome]) -> Counter[str]:
    """Count operations, mistakes and hints by what became of them."""
    found: Counter[str] = Counter()
    for outcome in outcomes:
        verdict = {"ok": "right", "wrong": "refused", "no inputs": "no inputs"}.get(outcome.right.verdict, "crashed")
        found["operations"] += 1
        found[verdict] += 1
        for mistake in outcome.mistakes:
            found["mistakes"] += 1
            found["found" if mistake.found else "missed"] += 1
            found[mistake.hint] += mistake.found
    return found


ROWS = [
    ("operations, written right", "operations", ""),
    ("  certified", "right", "operations"),
    ("  refused", "refused", "operations"),
    ("  no inputs found", "no inputs", "operations"),
    ("  no certificate", "crashed", "operations"),
    ("mistakes, one in each", "mistakes", ""),
    ("  found", "found", "mistakes"),
    ("  missed", "missed", "mistakes"),
    ("hints at what is found", "found", ""),
    ("  name the cause", "named", "found"),
    ("  leave it open", "unknown", "found"),
    ("  mislead", "misleading", "found"),
]


def matrix(outcomes: list[Outcome]) -> str:
    """Return the matrix: operations, mistakes and hints, for those set aside and for the rest."""
    parts = {"the rest": [], "set aside": []}
    for outcome in outcomes:
        parts["set aside" if outcome.case.aside else "the rest"].append(outcome)
    columns = {title: counts(part) for title, part in parts.items() if part}
    lines = [" " * 26 + "".join(f"{title:>20}" for title in columns)]
    for title, key, total in ROWS:
        cells = [
            f"{c[key]:>10}{100 * c[key] / max(1, c[total]):>8.1f} %" if total else f"{c[key]:>10}" + " " * 10
            for c in columns.values()
        ]
        lines.append(f"{title:26}" + "".join(cells).rstrip())
    return "\n".join(lines)


def details(outcome: Outcome, everything: bool) -> list[str]:
    """Name what is refused, missed or misled, or every mistake with what the certificate says about it."""
    name, lines = outcome.case.name, []
    if everything or outcome.right.verdict != "ok":
        lines.append(f"{name}: {outcome.right.verdict}, {outcome.right.seconds:.1f} s")
        lines += [f"    {check}: {figure}; {hint}" for check, figure, hint, _ in outcome.right.lines]
    for found in outcome.mistakes:
        if everything or not found.found or found.hint == "misleading":
            became = found.hint or f"missed ({found.run.verdict})"
            lines.append(f"{name}, {found.mistake.what}: {became}, {found.run.seconds:.1f} s")
            lines += [
                f"    {check}: {figure}; {hint}" for check, figure, hint, _ in found.run.lines[: 3 if everything else 1]
            ]
    return lines


def write_page(path: Path, text: str) -> None:
    """Put the matrix between the markers of a page."""
    page = path.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    path.write_text(f"{before}{BEGIN}```text\n{text}\n```\n{END}{rest.split(END)[1]}", encoding="utf-8")


def saved(paths: list[Path], chosen: list[Case]) -> Iterator[Outcome]:
    """Judge certificates that were saved once more."""
    by_name = {case.name: case for case in chosen}
    for path in paths:
        for entry in json.loads(path.read_text(encoding="utf-8")):
            if case := by_name.get(entry["case"]["name"]):
                found = {found["mistake"]["what"]: found["run"] for found in entry["mistakes"]}
                pairs = [(mistake, found[mistake.what]) for mistake in case.mistakes if mistake.what in found]
                right = judged_again(case, case.source, entry["right"])
                yield Outcome(
                    case, right, [look(m, judged_again(case, case.mistaken(m), run), right) for m, run in pairs]
                )


def main() -> int:
    """Certify, print what went wrong with those that are not set aside, and the matrix."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--set-aside", action="store_true", help="certify those set aside too, and print their figures alone"
    )
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="certify it alone, and print everything"
    )
    parser.add_argument("--share", type=int, default=1, metavar="N", help="certify every Nth operation")
    parser.add_argument("--part", type=int, default=0, metavar="K", help="begin with the Kth of them, counted from 0")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--page", type=Path, help="write the matrix between the markers of a page")
    parser.add_argument(
        "--save", type=Path, metavar="FILE", help="write all certificates, as JSON, those set aside too"
    )
    parser.add_argument(
        "--again", type=Path, action="append", metavar="FILE", help="judge saved certificates, and make none"
    )
    options = parser.parse_args()
    chosen = [c for c in cases() if (c.name in options.only if options.only else options.set_aside or not c.aside)]
    if not chosen:
        parser.error(f"there is no operation {', '.join(options.only)}")
    outcomes = []
    made = (
        saved(options.again, chosen)
        if options.again
        else examine(chosen[options.part :: options.share], options.processes)
    )
    for outcome in made:
        outcomes.append(outcome)
        if options.save:
            options.save.write_text(json.dumps([asdict(outcome) for outcome in outcomes], indent=1), encoding="utf-8")
        if options.only or not outcome.case.aside:
            for line in details(outcome, bool(options.only)):
                print(line, flush=True)
    text = matrix(outcomes)
    print(text)
    if options.page:
        write_page(options.page, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
