"""The folder of a training: which one it is, what it holds, and how a training continues there."""

import contextlib
import functools
import glob
import itertools
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import click
from click.core import ParameterSource

from tinygraph.cli import options
from tinygraph.errors import TinygraphError
from tinygraph.files import lock, remove_stale
from tinygraph.train import Checkpoint

CHECKPOINT, WEIGHTS, BEST, HISTORY = "checkpoint.safetensors", "weights.safetensors", "best.safetensors", "history.csv"
# What a training writes into its folder; without a renderer there is graph.gv in place of graph.svg.
RESULTS = (CHECKPOINT, WEIGHTS, BEST, HISTORY, "curve.png", "graph.svg", "graph.gv")
# Options that a checkpoint does not note: those that say which model, and where it is trained.
_NOT_NOTED = re.compile(
    "model|out|resume|force|onnx_.*|engine|devices|precision|processes|coordinator|process_.*|restarts"
)


def resumable(command: Callable[..., int]) -> Callable[..., int]:
    """Add ``--out`` and ``--resume``; an option that is not given has the value of the training that is continued.

    The command gets ``begun``, the checkpoint to continue from or ``None``, and ``chosen``, the options that the next
    checkpoint notes.
    """

    @functools.wraps(command)
    def wrapped(load: options.Load, out: Path | None, resume: bool, **given: Any) -> int:
        context = click.get_current_context()
        chosen = {name: value for name, value in context.params.items() if not _NOT_NOTED.fullmatch(name)}
        chosen = {n: x for n, x in chosen.items() if context.get_parameter_source(n) is ParameterSource.COMMANDLINE}
        if resume:
            out = out or _latest(load().name)
        path = Path(out or "", CHECKPOINT)
        begun = Checkpoint.load(path) if resume and out is not None and path.exists() else None
        noted = None if begun is None else begun.settings.get("options")
        noted = noted if isinstance(noted, dict) else {}
        for parameter in context.command.params:
            if (name := parameter.name or "") in noted and name not in chosen and not _NOT_NOTED.fullmatch(name):
                chosen[name] = parameter.type_cast_value(context, noted[name])
        if noted and CHECKPOINT not in context.meta:
            # The model is loaded with options too, so all begins again.
            context.meta[CHECKPOINT] = path
            context.params |= chosen
            return cast(Callable[..., int], context.command.callback)(**context.params)
        return command(load, out=out, resume=resume, begun=begun, chosen=chosen, **given)

    place = click.option(
        "--out", metavar="FOLDER", type=options.file_path, help="Where to write.  [default: a new folder, runs/NAME]"
    )
    on = click.option("--resume", is_flag=True, help="Continue the training in --out, or else the latest one of MODEL.")
    return place(on(wrapped))


def _latest(name: str) -> Path | None:
    """Return the folder below ``runs`` with the latest checkpoint of a model, if there is one."""
    name = options.file_name(name)
    found = [path for path in Path("runs").glob(f"{glob.escape(name)}*/{CHECKPOINT}") if path.is_file()]
    own = [path for path in found if re.fullmatch(rf"{re.escape(name)}(_\d+)?", path.parent.name)]
    return max(own, key=lambda path: path.stat().st_mtime).parent if own else None


def remove_results(folder: Path, but: tuple[str, ...] = ()) -> None:
    """Remove what an earlier training left: weights of one next to the history of another would mislead."""
    for name in RESULTS:
        if name not in but:
            (folder / name).unlink(missing_ok=True)


@contextlib.contextmanager
def run_folder(out: Path | None, name: str, force: bool) -> Iterator[Path]:
    """Make the folder of a training: ``out``, or the first of ``runs/NAME``, ``runs/NAME_2``, ... without results.

    Until the block ends, no other training uses it. Raises ``TinygraphError`` where ``out`` holds results that may not be
    replaced, where no file can be written, and where another training is using ``out``.
    """
    first = out or Path("runs") / options.file_name(name)
    if out is not None and not force:
        _refuse_to_replace_results(out)
    others = (first.with_name(f"{first.name}_{number}") for number in itertools.count(2))
    for folder in itertools.chain([first], others):
        remove_stale(folder)
        if out is None and not force and _has_results(folder):
            continue
        with _locked(prepared_folder(folder)) as alone:
            if not alone and (out is not None or force):
                busy = f"another training writes to the output folder {str(folder)!r}"
                raise TinygraphError(f"{busy}; wait for its end, or name another folder with --out")
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
        options.refuse_to_replace(folder / result, "--out names another folder")


def prepared_folder(folder: Path, results: Sequence[str] = RESULTS) -> Path:
    """Make a folder, with its parents, and find out whether files can be written in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        why = "it is a file" if folder.is_file() else error.strerror
        raise TinygraphError(f"the output folder {str(folder)!r} cannot be written to: {why}") from None
    for result in results:
        options.writable(folder / result)
    return folder
