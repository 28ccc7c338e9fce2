"""The process that opens mutated files, one at a time, and reports how each went. It may be killed at any moment."""

from __future__ import annotations

import ast
import contextlib
import json
import os
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

import tinygraph as tg
from tests.fuzz.mutate import mutated
from tests.fuzz.seeds import DATA, seeds, weighed

# Memory that the process may ask for beyond what it has, in bytes: what asks for more gets a MemoryError, a finding.
ROOM = 1 << 30


def opened(kind: str, data: bytes, folder: Path) -> str:
    """Open a file of a kind; return ``loaded`` or, for an error of the package, its message."""
    names = {"operators": "file.onnx", "npy": "x.npy", "idx": "train-images-idx3-ubyte"}
    path = folder / names.get(kind, f"file.{kind}")
    path.write_bytes(data)
    try:
        if kind in DATA:
            tg.load_data(path, labels=kind == "npz")
        elif kind == "safetensors":
            weighed().load(path)
        else:
            tg.load_model(path)
    except tg.TinygraphError as error:
        if _has_memory_error(error):
            raise
        return f"{type(error).__name__}: {error}"
    return "loaded"


def _has_memory_error(error: BaseException | None) -> bool:
    """Whether an error stands for one of memory, which came only because this process has little.

    Python's parser raises a ``MemoryError`` for what is nested too deeply, whatever memory there is.
    """
    while error is not None:
        if isinstance(error, MemoryError):
            frames = traceback.extract_tb(error.__traceback__)
            return not frames or frames[-1].filename != ast.__file__
        error = error.__cause__ or error.__context__
    return False


def report(kind: str, seed: int, index: int, folder: Path) -> dict[str, Any]:
    """Return the outcome of one file, with the seconds, bytes and characters that it took."""
    data = mutated(kind, seed, index)
    _reset_peak()
    before, begin = _memory("VmRSS"), time.process_time()
    try:
        outcome, crash = opened(kind, data, folder), ""
    except BaseException as error:
        outcome, crash = (
            "crashed",
            f"{type(error).__name__}: {error}"[:300] + "\n" + "".join(traceback.format_exc()[-1500:]),
        )
    seconds = time.process_time() - begin
    return {
        "outcome": outcome if outcome == "loaded" else "refused" if not crash else "crashed",
        "message": crash or outcome,
        "characters": len(outcome),
        "seconds": seconds,
        "bytes": max(_memory("VmHWM") - before, 0),
    }


def _reset_peak() -> None:
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def _memory(field: str) -> int:
    """Return a line of the process's status, in bytes; 0 where the system does not tell."""
    with contextlib.suppress(OSError), open("/proc/self/status") as file:
        for line in file:
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
    return 0


def _limit_memory() -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        if used := _memory("VmSize"):
            resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, used + ROOM))


def main() -> None:
    """Answer each line ``kind seed index`` of the input with a line of JSON."""
    # What libraries print goes elsewhere than the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        if hasattr(os, "mkfifo"):
            os.mkfifo(Path(folder, "pipe"))
        kind = sys.argv[1]
        # Whatever is imported late is imported, and measured, here.
        for data in seeds(kind)[:3]:
            opened(kind, data, Path(folder))
        _limit_memory()
        for line in sys.stdin:
            seed, index = map(int, line.split())
            print(json.dumps(report(kind, seed, index, Path(folder))), file=answers, flush=True)


if __name__ == "__main__":
    main()
