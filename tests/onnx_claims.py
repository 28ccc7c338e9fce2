"""What tinygraph claims of ONNX: ``python -m tests.onnx_claims`` runs the official tests and writes down which ones pass.

It writes ``tests/onnx_claims.toml``, the names of all tests claimed, and of all others by the reason, and the page
``docs/onnx_operators.md``, a line for each operator.
"""

from __future__ import annotations

import json
import tomllib
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import onnx

from tests.tools.onnx_suite import operators_of, reason, suite
from tinygraph.errors import OnnxError
from tinygraph.interop.onnx.operators import OPERATORS

ROOT = Path(__file__).parents[1]
CLAIMS = ROOT / "tests" / "onnx_claims.toml"
PAGE = ROOT / "docs" / "onnx_operators.md"

INTRODUCTION = """\
# ONNX operators

{operators} operators are read: each one becomes one or a few of tinygraph's operations, and has their gradients. The table
says how many of ONNX's official tests of that operator alone pass; the rest are refused, with the reason.
Altogether {claimed:,} of the {total:,} official tests that travel with onnx {version} are claimed: `tests/onnx_claims.toml`
lists every one, and the tests run them. None of the others computes a wrong result: each is refused with an error,
which the tests check too.

Written by `python -m tests.onnx_claims`.

| operator | official tests | refused |
|---|---|---|
"""


def main() -> None:
    """Run every official test and write down the outcome."""
    claimed, refused = outcome()
    CLAIMS.write_text(claims_text(claimed, refused), encoding="utf-8")
    PAGE.write_text(page_text(claimed, refused), encoding="utf-8")
    print(f"{len(claimed):,} of {len(claimed) + len(refused):,} official tests pass")


def outcome() -> tuple[list[str], dict[str, str]]:
    """Return the names of the tests that pass, and of those that are refused with the reason. Any other failure is raised."""
    claimed: list[str] = []
    refused: dict[str, str] = {}
    for name, test in suite().items():
        try:
            test()
            claimed.append(name)
        except OnnxError as error:
            refused[name] = reason(error)
    return claimed, refused


def claims_text(claimed: list[str], refused: dict[str, str]) -> str:
    """Return the list of claims as TOML, sorted."""
    reasons: dict[str, list[str]] = defaultdict(list)
    for name, why in refused.items():
        reasons[why].append(name)
    lines = [
        "# What tinygraph claims of ONNX's official backend tests. Written by `python -m tests.onnx_claims`.",
        f'onnx = "{onnx.__version__}"',
        "",
        "claimed = [",
        *(f'    "{name}",' for name in sorted(claimed)),
        "]",
        "",
        "[refused]",
    ]
    for why, names in sorted(reasons.items()):
        lines += [f"{json.dumps(why, ensure_ascii=False)} = [", *(f'    "{name}",' for name in sorted(names)), "]"]
    return "\n".join(lines) + "\n"


def read_claims() -> dict[str, Any]:
    """Return the list of claims."""
    return tomllib.loads(CLAIMS.read_text(encoding="utf-8"))


def page_text(claimed: list[str], refused: dict[str, str]) -> str:
    """Return the page of operators."""
    about = operators_of()
    passed = Counter(about[name] for name in claimed if name in about)
    failed: dict[str, Counter[str]] = defaultdict(Counter)
    for name, why in refused.items():
        if name in about:
            failed[about[name]][why.removeprefix(f"{about[name]}: ")] += 1
    total = len(claimed) + len(refused)
    defined = sorted((name for name in passed if name and name not in OPERATORS), key=str.lower)
    text = INTRODUCTION.format(operators=len(OPERATORS), claimed=len(claimed), total=total, version=onnx.__version__)
    for operator in sorted(OPERATORS, key=str.lower):
        count = passed[operator] + failed[operator].total()
        whys = "; ".join(f"{number}: {why}" for why, number in sorted(failed[operator].items()))
        text += f"| {operator} | {passed[operator]} of {count} | {cell(whys)} |\n"
    told = [f"{name} ({passed[name]} of {passed[name] + failed[name].total()})" for name in defined]
    text += f"\nRead by ONNX's own definition of them in other operators: {', '.join(told)}.\n"
    others = sorted((name for name in failed if name not in OPERATORS and name not in defined), key=str.lower)
    text += "\nOperators with official tests that are not read: "
    return text + ", ".join(f"{name} ({failed[name].total()})" for name in others) + ".\n"


def cell(text: str) -> str:
    """Return a text as a cell of a table."""
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


if __name__ == "__main__":
    main()
