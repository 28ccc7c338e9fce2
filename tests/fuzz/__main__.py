"""Open mutated files and print what any of them did that no file may do.

    python -m tests.fuzz                        10,000 files of each kind
    python -m tests.fuzz toml --count 500       fewer, of one kind
    python -m tests.fuzz onnx --only 1234       one file again, as a finding names it; --save FILE keeps it

A file loads, or is refused with an error of the package whose message is short. Anything else is a finding: another
exception, a hang, more than 5 seconds of the processor or 500 MB of memory, a message of more than 700 characters.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.fuzz.fuzz import KINDS, fuzz
from tests.fuzz.mutate import mutated


def main() -> int:
    """Run the command; return 1 where there was a finding."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=", ".join(KINDS) + "; all of them by default")
    parser.add_argument("--count", type=int, default=10_000, help="how many files of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="the number of the one file to open")
    parser.add_argument("--save", type=Path, help="write the file of --only here")
    given = parser.parse_args()
    unknown = set(given.kinds) - set(KINDS)
    if unknown:
        parser.error(f"a kind is one of {', '.join(KINDS)}; found {', '.join(sorted(unknown))}")
    if given.save and given.only is not None and given.kinds:
        given.save.write_bytes(mutated(given.kinds[0], given.seed, given.only))
    findings = 0
    for kind in given.kinds or KINDS:
        places = range(given.count) if given.only is None else [given.only]
        total = fuzz(kind, given.seed, places, say=lambda text: print(text, flush=True))
        print(total, flush=True)
        findings += len(total.findings)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
