"""Kill trainings at random moments and continue them: ``python -m tests.kills --count 100 --seed 0``.

Each training is killed with SIGKILL, continued with ``--resume``, killed again, and so on, until it completes. Then weights,
best weights, curve, history and checkpoint must be those of a training that nobody killed, to the bit; only the seconds
differ. The moments are drawn from the whole time that the command takes, with the start of Python and the last files.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

import tinygraph as tg
from tests.interruptions import PROGRAM, faults_of_files, same

# With dropout and batch normalization in notes_cnn_norm, and epochs that are shorter than writing a file in xor.
TRAININGS = {
    "momentum": ["notes_cnn_norm", "--data", "digits.npz", "--epochs", "40"],
    "Adam": ["notes_cnn_norm", "--data", "digits.npz", "--epochs", "40", "--optimizer", "adam", "--seed", "7"],
    "schedule": [
        *("notes_cnn", "--data", "odd.npz", "--epochs", "120", "--batch-size", "50", "--optimizer", "adamw"),
        *("--schedule", "cosine", "--warmup", "30", "--clip-norm", "1", "--weight-decay", "0.01", "--freeze", "K1"),
    ],
    "early stopping": [
        "notes_cnn",
        "--data",
        "odd.npz",
        "--epochs",
        "900",
        "--learning-rate",
        "0.5",
        "--early-stopping",
        "150",
    ],
    "short epochs": ["xor", "--optimizer", "adam", "--learning-rate", "0.05", "--epochs", "1500"],
}
# A training that is killed more often than this may complete.
MOST = 8


def start(name: str, folder: Path, *options: str) -> subprocess.Popen[bytes]:
    """Start a training in the folder ``folder/o``."""
    command = [*PROGRAM, "train", *TRAININGS[name], "--out", "o", *options]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def complete(process: subprocess.Popen[bytes]) -> None:
    """Wait for a training that nobody kills."""
    said, _ = process.communicate(timeout=600)
    assert process.returncode == 0, said.decode()


def write_data(folder: Path) -> None:
    """Write the data of the trainings: few digits, so that an epoch is short."""
    for name, source in (("digits", "digits"), ("odd", "digits_odd")):
        x, y = tg.load_data(source).train
        np.savez(folder / f"{name}.npz", x=x[:300], y=y[:300], x_test=x[300:400], y_test=y[300:400])


def differences(folder: Path, expected: Path) -> list[str]:
    """Return what a training that was killed wrote other than one that was not."""
    names = [path.name for path in expected.iterdir() if path.name not in ("history.csv", "checkpoint.safetensors")]
    found = [name for name in names if not same(folder / name, expected / name)]
    tables = [
        [row.rpartition(",")[0] for row in (f / "history.csv").read_text().split("\n")] for f in (folder, expected)
    ]
    if tables[0] != tables[1]:
        found.append("history.csv")
    checkpoints = [load_file(f / "checkpoint.safetensors") for f in (folder, expected)]
    arrays = [{n: (x.dtype, x.tobytes()) for n, x in c.items() if n != "history/seconds"} for c in checkpoints]
    if arrays[0] != arrays[1]:
        found.append("checkpoint.safetensors")
    return [f"{name} differs" for name in found] + faults_of_files(folder)


class Kills:
    """Kills of trainings, drawn from one seed, and the faults that they showed."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.random = folder, random.Random(seed)
        self.seconds: dict[str, float] = {}
        self.kinds: Counter[str] = Counter()
        self.faults: list[str] = []
        self.trainings = 0

    def uninterrupted(self, name: str) -> Path:
        """Return the folder of the training that nobody kills; it runs once."""
        place = self.folder / name.replace(" ", "_")
        if name not in self.seconds:
            place.mkdir()
            write_data(place)
            begin = time.monotonic()
            complete(start(name, place))
            self.seconds[name] = time.monotonic() - begin
        return place / "o"

    def one(self, name: str, most: int) -> int:
        """Kill one training until it completes, at most so many times; return how often."""
        expected, place = self.uninterrupted(name), self.folder / str(self.trainings)
        self.trainings += 1
        place.mkdir()
        write_data(place)
        for kills in range(most + 1):
            process = start(name, place, *(["--resume"] if kills else []))
            try:
                if kills == most:
                    raise ChildProcessError
                # What is left takes less time.
                process.wait(self.random.uniform(0, self.seconds[name] / (2 if kills else 1)))
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                self.kinds[self._kind(place / "o")] += 1
                continue
            except ChildProcessError:
                pass
            complete(process)
            break
        self.faults += [f"{name}, {kills} kills: {fault}" for fault in differences(place / "o", expected)]
        return kills

    def _kind(self, out: Path) -> str:
        if list(out.glob("*.partial")):
            return "while a file was written"
        if (out / "weights.safetensors").exists():
            return "after the weights were written"
        return "between epochs" if (out / "checkpoint.safetensors").exists() else "before the first checkpoint"


def kill(count: int, seed: int) -> Kills:
    """Kill trainings ``count`` times in all, one training after another."""
    with tempfile.TemporaryDirectory() as folder:
        kills, left = Kills(Path(folder), seed), count
        while left:
            name = list(TRAININGS)[kills.trainings % len(TRAININGS)]
            left -= kills.one(name, min(left, MOST))
    return kills


def main() -> int:
    """Kill, print every fault and the summary, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    kills = kill(options.count, options.seed)
    print("\n".join(kills.faults))
    print(", ".join(f"{count} {kind}" for kind, count in kills.kinds.most_common()))
    print(f"{kills.kinds.total()} kills of {kills.trainings} trainings, {len(kills.faults)} faults")
    return int(bool(kills.faults))


if __name__ == "__main__":
    sys.exit(main())
