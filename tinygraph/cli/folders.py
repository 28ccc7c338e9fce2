"""Where results are written."""

import contextlib
import itertools
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tinygraph.errors import TinygraphError
from tinygraph.files import check_writable, lock, remove_stale


def file_name(name: str) -> str:
    """Return a model's name as the name of a file, which is in no other folder and not too long, whatever the model says.

    >>> file_name("notes_cnn"), file_name("../etc/x y")
    ('notes_cnn', 'etc_x_y')
    """
    return re.sub(r"[^\w.-]+", "_", name[:80]).strip("._") or "model"


# What a training writes into its folder; without a renderer there is graph.gv in place of graph.svg.
RESULTS = ("weights.safetensors", "history.csv", "curve.png", "graph.svg", "graph.gv")


@contextlib.contextmanager
def run_folder(out: Path | None, name: str, force: bool) -> Iterator[Path]:
    """Make the folder of a training: ``out``, or the first of ``runs/NAME``, ``runs/NAME_2``, ... without results.

    Until the block ends, no other training uses it. Raises ``TinygraphError`` where ``out`` holds results that may not be
    replaced, where no file can be written, and where another training is using ``out``.
    """
    first = out or Path("runs") / file_name(name)
    if out is not None and not force:
        _refuse_to_replace_results(out)
    others = (first.with_name(f"{first.name}_{number}") for number in itertools.count(2))
    for folder in itertools.chain([first], others):
        remove_stale(folder)
        if out is None and not force and _has_results(folder):
            continue
        with _locked(prepared_folder(folder)) as alone:
            if not alone and (out is not None or force):
                raise TinygraphError(
                    f"another training writes to the output folder {str(folder)!r}; wait for its end, or name another folder"
                    " with --out"
                )
            if alone and (force or not _has_results(folder)):
                yield folder
                return
            if out is not None:
                _refuse_to_replace_results(out)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Hold the lock of a folder, and say whether this process got it. The lock ends with the process, however it ends."""
    # Windows opens no folders; there the lock is a file that the system removes with its process.
    of_windows = getattr(os, "O_TEMPORARY", 0)
    try:
        if of_windows:
            descriptor = os.open(folder / "training.lock", os.O_CREAT | os.O_EXCL | of_windows)
        else:
            descriptor = os.open(folder, os.O_RDONLY)
    except FileExistsError:
        yield False
        return
    try:
        yield lock(descriptor) is not False
    finally:
        os.close(descriptor)


def _has_results(folder: Path) -> bool:
    return any(os.path.lexists(folder / result) for result in RESULTS)


def _refuse_to_replace_results(folder: Path) -> None:
    for result in RESULTS:
        refuse_to_replace(folder / result, "--out names another folder")


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
    for result in RESULTS:
        writable(folder / result)
    return folder


def writable(path: Path) -> Path:
    """Return a path to which a file can be written, or raise ``TinygraphError`` before any work is done.

    >>> writable(Path("."))
    Traceback (most recent call last):
    tinygraph.errors.TinygraphError: '.' cannot be written: it is a folder
    """
    try:
        check_writable(path)
    except OSError as error:
        raise TinygraphError(f"{str(path)!r} cannot be written: {error.strerror}") from None
    return path
