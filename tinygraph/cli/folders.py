"""Where results are written."""

from __future__ import annotations

import itertools
import os
import re
import tempfile
from pathlib import Path

from tinygraph.errors import TinygraphError


def file_name(name: str) -> str:
    """Return a model's name as the name of a file, which is in no other folder and not too long, whatever the model says.

    >>> file_name("notes_cnn"), file_name("../etc/x y")
    ('notes_cnn', 'etc_x_y')
    """
    return re.sub(r"[^\w.-]+", "_", name[:80]).strip("._") or "model"


# What a training writes into its folder; without a renderer there is graph.gv in place of graph.svg.
RESULTS = ("weights.safetensors", "history.csv", "curve.png", "graph.svg", "graph.gv")


def run_folder(out: Path | None, name: str, force: bool) -> Path:
    """Make the folder of a training: ``out``, or the first of ``runs/NAME``, ``runs/NAME_2``, ... that holds no results.

    Raises ``TinygraphError`` where ``out`` holds results that may not be replaced.
    """
    if out is not None:
        for result in RESULTS if not force else ():
            refuse_to_replace(out / result, "--out names another folder")
        return prepared_folder(out)
    first = Path("runs") / file_name(name)
    folders = itertools.chain([first], (first.with_name(f"{first.name}_{number}") for number in itertools.count(2)))
    return prepared_folder(next(folder for folder in folders if force or not _has_results(folder)))


def _has_results(folder: Path) -> bool:
    return any(os.path.lexists(folder / result) for result in RESULTS)


def refuse_to_replace(path: Path, otherwise: str, force: bool = False) -> None:
    """Raise ``TinygraphError`` for a file that exists, unless it may be replaced by ``force``."""
    if path.is_file() and not force:
        raise TinygraphError(f"{str(path)!r} exists and is not replaced: {otherwise}, or --force replaces it")


def prepared_folder(folder: Path) -> Path:
    """Make a folder, with its parents, and find out whether files can be written in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        why = "it is a file" if folder.is_file() else error.strerror
        raise TinygraphError(f"the output folder {str(folder)!r} cannot be written to: {why}") from None
    return folder
