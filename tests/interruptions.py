"""Interrupt commands at random moments: ``python -m tests.interruptions --count 500 --seed 0``.

Each interruption starts a command in a folder of its own and sends SIGINT, SIGTERM, SIGHUP or SIGKILL, or closes the pipe
that the command writes to. Then it must end soon, without a traceback, with the exit code of that signal or, if it had
finished its work, with 0. Every file must be complete, none may belong to another run than its neighbours, nothing that
was learned may be lost, and unfinished files may be left by SIGKILL only.

Python's own start comes before the first line of the package, so what happens then is counted and not judged.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from safetensors.numpy import load_file

from tinygraph.model import load_model

PROGRAM = [sys.executable, "-m", "tinygraph"]
COMMANDS = {
    "train": ["train", "notes_cnn", "--epochs", "8"],
    "train with a small step": ["train", "xor", "--epochs", "500"],
    "train again": ["train", "notes_cnn", "--epochs", "8", "--out", "runs/notes_cnn", "--force"],
    "predict": ["predict", "xor", "--weights", "xor.safetensors", "--out", "outputs.npz"],
    "draw": ["draw", "notes_cnn", "-o", "net.svg"],
    "notes": ["notes", "xor", "-o", "notes.html"],
}
# Training takes longest and has most to lose.
CHOICES = [*COMMANDS, *[name for name in COMMANDS if name.startswith("train")] * 2]
KINDS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGKILL", "closed pipe")
# Seconds in which a command must have ended after a signal, on a busy machine.
PATIENCE = 60.0
LINUX = Path("/proc/self/status").exists()
# Seconds after which Python has surely started.
SURELY_STARTED = 1.0
LINE = re.compile(r"(error: interrupted( by SIG(TERM|HUP))?(; what was learned is kept in \S+)?\n)?")


@dataclass(frozen=True)
class Outcome:
    """What an interruption did: how the command ended, and what is wrong with that."""

    command: str
    kind: str
    moment: float
    end: str
    faults: tuple[str, ...] = ()


class Interruptions:
    """Interruptions of all commands, drawn from one seed."""

    def __init__(self, folder: Path, seed: str, commands: Sequence[str]) -> None:
        self.folder, self.random, self.commands = folder, random.Random(seed), commands
        self.seconds: dict[str, float] = {}
        self.template = folder / "template"

    def prepare(self) -> None:
        """Make what the commands start from."""
        self.template.mkdir()
        load_model("xor").save(self.template / "xor.safetensors")
        start = time.monotonic()
        # With another seed: the curve of as many epochs would be the same.
        self._run(["train", "notes_cnn", "--epochs", "8", "--seed", "1"], self.template)
        self.seconds["train again"] = time.monotonic() - start

    def _measured(self, command: str) -> float:
        """Return how long a command takes without interruption; the files that it then writes must be complete."""
        if command not in self.seconds:
            folder = self._fresh(command)
            start = time.monotonic()
            self._run(COMMANDS[command], folder)
            self.seconds[command] = time.monotonic() - start
            assert not faults_of_files(folder), faults_of_files(folder)
            shutil.rmtree(folder)
        return self.seconds[command]

    def _run(self, arguments: list[str], folder: Path) -> None:
        subprocess.run([*PROGRAM, *arguments], cwd=folder, check=True, capture_output=True, timeout=10 * PATIENCE)

    def _fresh(self, command: str) -> Path:
        folder = self.folder / "place"
        shutil.copytree(self.template, folder)
        if command == "train":
            shutil.rmtree(folder / "runs")
        return folder

    def one(self) -> Outcome:
        """Interrupt one command once."""
        name = self.random.choice(self.commands)
        kind = self.random.choice(KINDS)
        moment = self.random.uniform(0, self._measured(name))
        folder = self._fresh(name)
        outcome = self._interrupted(name, kind, moment, folder)
        shutil.rmtree(folder)
        return outcome

    def _interrupted(self, name: str, kind: str, moment: float, folder: Path) -> Outcome:
        out, err = self.folder / "stdout", self.folder / "stderr"
        with out.open("wb") as written, err.open("wb") as errors:
            piped = kind == "closed pipe"
            process = subprocess.Popen(
                [*PROGRAM, *COMMANDS[name]], cwd=folder, stdout=subprocess.PIPE if piped else written, stderr=errors
            )
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(moment)
            early = not handlers_installed(process.pid) if LINUX else moment < SURELY_STARTED
            finished = process.poll() is not None
            if process.stdout is not None:
                process.stdout.close()
            else:
                process.send_signal(getattr(signal, kind))
            try:
                code = process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                return Outcome(name, kind, moment, "hung", ("it hung",))
        if finished:
            return Outcome(name, kind, moment, "too late", tuple(faults_of_files(folder)))
        said, text = err.read_text(encoding="utf-8"), out.read_text(encoding="utf-8")
        faults = list(faults_of_files(folder, partial=kind == "SIGKILL"))
        if name == "train again":
            faults += faults_of_mixture(folder / "runs/notes_cnn", self.template / "runs/notes_cnn")
        if early and not piped:
            return Outcome(name, kind, moment, "before tinygraph", tuple(faults))
        faults += faults_of_end(kind, code, said)
        if kind != "SIGKILL" and "epoch " in text and not list(folder.glob("runs/*/weights.safetensors")):
            faults.append("what was learned is lost")
        return Outcome(name, kind, moment, "finished" if code == 0 else "interrupted", tuple(faults))


def handlers_installed(process: int) -> bool:
    """Whether a process handles SIGTERM, which Python itself does not; only Linux says so."""
    with contextlib.suppress(OSError):
        status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
        caught = re.search(r"SigCgt:\s*([0-9a-f]+)", status)
        return caught is not None and bool(int(caught[1], 16) >> (signal.SIGTERM - 1) & 1)
    return False


def faults_of_end(kind: str, code: int, said: str) -> list[str]:
    """Return what is wrong with an exit code and with the text on the error stream."""
    if kind == "SIGKILL":
        expected = {-signal.SIGKILL}
    elif kind == "closed pipe":
        expected = {0, 141}
    else:
        expected = {0, 128 + getattr(signal, kind)}
    faults = [] if code in expected else [f"exit code {code}"]
    if not LINE.fullmatch(said):
        faults.append(f"{'a traceback' if 'Traceback' in said else 'another text'} on the error stream: {said!r}")
    return faults


def faults_of_files(folder: Path, partial: bool = False) -> list[str]:
    """Return the names of files that are not complete; unfinished ones, ``*.partial``, only if these may not be there."""
    faults = []
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".partial":
            faults += [] if partial else [f"{path.name} is left"]
        elif path.is_file() and not whole(path):
            faults.append(f"{path.name} is not whole")
    return faults


def whole(path: Path) -> bool:
    """Whether a file is complete, judged by the rules of its format."""
    data = path.read_bytes()
    try:
        if path.suffix == ".safetensors":
            return bool(load_file(path))
        if path.suffix == ".npz":
            with np.load(path) as arrays:
                return all(arrays[name].size for name in arrays)
        if path.suffix == ".csv":
            rows = list(csv.reader(data.decode().splitlines()))
            return data.endswith(b"\n") and {len(row) for row in rows} == {len(rows[0])}
        if path.suffix == ".svg":
            return ElementTree.fromstring(data) is not None
    except Exception:
        return False
    ends = {".png": b"IEND\xaeB`\x82", ".gv": b"}\n", ".html": b"</html>\n"}
    return data.endswith(ends[path.suffix])


def faults_of_mixture(folder: Path, earlier: Path) -> list[str]:
    """Return the files of an earlier training that stand next to those of a later one."""
    old = {path.name for path in folder.iterdir() if same(path, earlier / path.name)}
    new = {path.name for path in folder.iterdir() if path.suffix != ".partial"} - old
    # Both trainings draw the same graph.
    return (
        [f"{sorted(old)} are of another training than {sorted(new)}"] if new and old - {"graph.svg", "graph.gv"} else []
    )


def same(path: Path, other: Path) -> bool:
    """Whether two files hold the same bytes."""
    return other.is_file() and path.read_bytes() == other.read_bytes()


def interrupt(
    count: int, seed: int, seconds: float = float("inf"), commands: Sequence[str] = CHOICES, jobs: int = 1
) -> list[Outcome]:
    """Interrupt commands ``count`` times, or as often as ``seconds`` allow; ``jobs`` of them at a time."""
    # After nohup, or in the background of a shell, signals would be ignored by this process and those that it starts.
    numbers = [getattr(signal, name) for name in KINDS[:3]]
    before = [signal.signal(number, signal.default_int_handler) for number in numbers]
    stop = threading.Event()
    try:
        with ThreadPoolExecutor(jobs) as pool, contextlib.ExitStack() as at_the_end:
            at_the_end.callback(stop.set)
            parts = [
                pool.submit(_interrupt, count // jobs + (job < count % jobs), f"{seed} {job}", seconds, commands, stop)
                for job in range(jobs)
            ]
            return [outcome for part in parts for outcome in part.result()]
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _interrupt(count: int, seed: str, seconds: float, commands: Sequence[str], stop: threading.Event) -> list[Outcome]:
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory() as folder:
        interruptions = Interruptions(Path(folder), seed, commands)
        interruptions.prepare()
        end = time.monotonic() + seconds
        while len(outcomes) < count and time.monotonic() < end and not stop.is_set():
            outcome = interruptions.one()
            for fault in outcome.faults:
                print(f"{outcome.command}, {outcome.kind} after {outcome.moment:.3f} s: {fault}", flush=True)
            # A command that had ended already was not interrupted.
            if outcome.end != "too late" or outcome.faults:
                outcomes.append(outcome)
    return outcomes


def without_effect(outcomes: list[Outcome]) -> list[str]:
    """Return the kinds of interruption after which most commands went on; few have only their last line left to do."""
    ends = {kind: Counter(outcome.end for outcome in outcomes if outcome.kind == kind) for kind in KINDS}
    return [kind for kind, count in ends.items() if count["finished"] > max(count["interrupted"], 5)]


def summary(outcomes: list[Outcome]) -> str:
    """Return a line for each kind of interruption, and one for all."""
    ends = ("interrupted", "finished", "before tinygraph", "hung")
    lines = [f"{'':12}{''.join(f'{end:>18}' for end in ends)}"]
    for kind in KINDS:
        counts = Counter(outcome.end for outcome in outcomes if outcome.kind == kind)
        lines.append(f"{kind:12}{''.join(f'{counts[end]:18}' for end in ends)}")
    faults = [fault for outcome in outcomes for fault in outcome.faults]
    lines.append(f"{len(outcomes)} interruptions, {len(faults)} faults")
    return "\n".join(lines)


def main() -> int:
    """Interrupt, print the summary and every fault, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after this time")
    parser.add_argument("--jobs", type=int, default=1, help="how many at a time")
    options = parser.parse_args()
    outcomes = interrupt(options.count, options.seed, options.seconds, jobs=options.jobs)
    print(summary(outcomes))
    for kind in without_effect(outcomes):
        print(f"{kind} has no effect")
    return int(any(outcome.faults for outcome in outcomes) or bool(without_effect(outcomes)))


if __name__ == "__main__":
    sys.exit(main())
