"""Mutated files handed to a process that opens them, and what came of it."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.fuzz.seeds import DATA

KINDS = ("toml", "safetensors", *DATA, "onnx", "operators")
MOST_SECONDS, MOST_BYTES, MOST_CHARACTERS = 5.0, 500 * 10**6, 700
# By the clock on the wall, after which a process is ended; other processes may keep the processors busy.
_PATIENCE = 120.0


@dataclass
class Total:
    """What came of all files of a kind."""

    kind: str
    outcomes: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    bytes: int = 0
    characters: int = 0
    findings: list[str] = field(default_factory=list)

    def add(self, result: dict[str, Any]) -> None:
        """Count one file."""
        self.outcomes[result["outcome"]] += 1
        self.seconds = max(self.seconds, result["seconds"])
        self.bytes = max(self.bytes, result["bytes"])
        self.characters = max(self.characters, result["characters"])

    def __str__(self) -> str:
        return (
            f"{self.kind:<12}{sum(self.outcomes.values()):>6} files: {self.outcomes['loaded']} loaded, "
            f"{self.outcomes['refused']} refused, {len(self.findings)} findings; at most {self.seconds:.2f} s, "
            f"{self.bytes / 10**6:.0f} MB, {self.characters} characters"
        )


def fuzz(kind: str, seed: int, places: Iterable[int], say: Callable[[str], object] = lambda text: None) -> Total:
    """Open the files numbered ``places`` of a kind; ``say`` is given each finding, with the command that repeats it."""
    total, worker = Total(kind), _Worker(kind)
    try:
        for place in places:
            result = worker.open(seed, place)
            total.add(result)
            if why := _finding(result):
                command = f"python -m tests.fuzz {kind} --seed {seed} --only {place}"
                total.findings.append(f"{command}\n  {why}\n  " + result["message"].replace("\n", "\n  "))
                say(total.findings[-1])
    finally:
        worker.end()
    return total


def _finding(result: dict[str, Any]) -> str:
    """Return what a file did that it may not do, or nothing."""
    if result["outcome"] not in ("loaded", "refused"):
        return str(result["outcome"])
    for what, most, unit in (
        ("seconds", MOST_SECONDS, "s"),
        ("bytes", MOST_BYTES, "bytes"),
        ("characters", MOST_CHARACTERS, "characters"),
    ):
        if result[what] > most:
            return f"more than {most} {unit}: {result[what]}"
    return ""


class _Worker:
    """A process that opens files, replaced by another when it hangs or dies."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.process: subprocess.Popen[str] | None = None

    def open(self, seed: int, place: int) -> dict[str, Any]:
        """Return what came of one file."""
        if self.process is None:
            command = [sys.executable, "-m", "tests.fuzz.worker", self.kind]
            # Threads of BLAS take address space, which is limited.
            environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
            environment.pop("TINYGRAPH_BUDGET", None)
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env=environment,
            )
        assert self.process.stdin is not None
        self.process.stdin.write(f"{seed} {place}\n")
        self.process.stdin.flush()
        answer = self._answer()
        if answer:
            return dict(json.loads(answer))
        code = self.process.poll()
        outcome = f"hung for {_PATIENCE:.0f} s" if code is None else f"died with {code}"
        self.end()
        return {"outcome": outcome, "message": "", "seconds": 0.0, "bytes": 0, "characters": 0}

    def _answer(self) -> str:
        assert self.process is not None
        assert self.process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            if not selector.select(_PATIENCE):
                return ""
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
        return line

    def end(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None
