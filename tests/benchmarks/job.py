"""The main job as whole processes, started cold: ``tinygraph train models/notes_cnn.toml``, and the same in PyTorch."""

from __future__ import annotations

import csv
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from .contest import DisagreementError
from .measure import PAUSE, Controller, Measured, Settings, Spread
from .peers import OURS, PLAIN
from .process import PeerProcess

ROOT = Path(__file__).resolve().parents[2]
TINYGRAPH = (
    "-c",
    "from tinygraph.cli import main; main()",
    "train",
    str(ROOT / "models" / "notes_cnn.toml"),
)
TOLERANCE = 0.02
WORK = "notes_cnn, 30 epochs, cold process"


def command(name: str, folder: Path, threads: int) -> list[str]:
    """Return the command that does the job; PyTorch draws a curve if tinygraph can, too."""
    if name == OURS:
        return [sys.executable, *TINYGRAPH, "--out", str(folder)]
    curve = ["--curve"] if importlib.util.find_spec("matplotlib") else []
    script = Path(__file__).with_name("torch_job.py")
    return [sys.executable, str(script), "--out", str(folder), "--threads", str(threads), *curve]


def run(name: str, threads: int) -> tuple[float, dict[str, float]]:
    """Do the job; return the seconds from start to end, and the last row of the history."""
    # As on a user's machine, Python keeps the bytecode of what it imports, of the checkout as of installed packages.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        subprocess.run(
            command(name, Path(folder), threads), check=True, stdout=subprocess.DEVNULL, cwd=ROOT, env=environment
        )
        seconds = time.perf_counter() - start
        with open(Path(folder, "history.csv"), encoding="utf-8") as file:
            *_, last = csv.DictReader(file)
    return seconds, {column: float(last[column]) for column in ("loss", "test_loss", "test_accuracy")}


def measure_job(settings: Settings) -> Iterator[Measured]:
    """Yield the seconds of whole processes, in turns; the first of each is not counted."""
    names = [name for name in (OURS, "torch") if name in settings.peers]
    _, expected = run(OURS, settings.threads)
    for name in names[1:]:
        _, found = run(name, settings.threads)
        if any(abs(found[column] - expected[column]) > TOLERANCE for column in expected):
            raise DisagreementError(f"{name}: the training ended at {found}, and tinygraph's at {expected}")
    samples: dict[str, list[float]] = {name: [] for name in names}
    with PeerProcess(PLAIN, settings.threads) as process:
        controller = Controller(process)
        for _ in range(settings.rounds):
            for name in names:
                time.sleep(PAUSE)
                samples[name].append(run(name, settings.threads)[0])
            controller.check()
    spreads = {name: Spread.of(seconds) for name, seconds in samples.items()}
    yield Measured("job", WORK, "s", spreads, control=controller.control)
