"""The table of certificates in the docs: ``python -m tests.certificates docs/certificates.md``."""

from __future__ import annotations

import argparse
from pathlib import Path

import tinygraph as tg
from tinygraph.cli.ops import gradient_lines

INTRODUCTION = """\
# Certificates

What `tinygraph certify` finds for every operation of the package. Written by
`python -m tests.certificates docs/certificates.md`.

The error is the largest relative difference between the rule and numeric derivatives, over all elements, inputs and samples.
Kinks are those that were met at ties, zeros, whole numbers and attributes. A gradient
is written out for the operation's first sample.

| operation | gradient | checks | worst error | kinks | seconds |
|---|---|---|---|---|---|
"""


def main() -> None:
    """Certify every operation and write the page."""
    parser = argparse.ArgumentParser(prog="python -m tests.certificates", description=__doc__)
    parser.add_argument("page", type=Path, metavar="FILE.md")
    page: Path = parser.parse_args().page
    names = [name for name, function in tg.operations().items() if function.__module__.startswith("tinygraph.")]
    rows = [row(tg.certify(name)) for name in names]
    page.write_text(INTRODUCTION + "\n".join(rows) + "\n", encoding="utf-8")


def row(certificate: tg.Certificate) -> str:
    """Return one operation's line of the table."""
    lines = [line for line in gradient_lines(tg.operation(certificate.name).op) if not line.startswith("where ")]
    error = "" if certificate.error is None else f"{certificate.error:.0e}"
    verdict = "certified" if certificate.ok else f"{len(certificate.failures)} wrong"
    cells = [
        f"`{certificate.name}`",
        "<br>".join(f"`{line}`" for line in lines).replace("|", "\\|"),
        verdict,
        error,
        str(certificate.kinks or ""),
        f"{certificate.seconds:.2f}",
    ]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
