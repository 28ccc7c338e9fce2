"""``tinygraph train``: from equations and data to weights, a history, a curve and a picture."""

import contextlib
import itertools
import os
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import click

from tinygraph import interruption
from tinygraph import train as training
from tinygraph.cli import options
from tinygraph.cli.group import INTERRUPTED
from tinygraph.cli.terminal import reporter, say
from tinygraph.draw.picture import draw
from tinygraph.errors import RenderError, TinygraphError, printable
from tinygraph.files import lock, remove_stale
from tinygraph.model import Model
from tinygraph.train import Data, History, Progress, TrainingInterrupted
from tinygraph.train.data import THE_SAME, required_data, sample_count
from tinygraph.train.metrics import labels_of
from tinygraph.train.optimizers import as_optimizer

# What a training writes into its folder; without a renderer there is graph.gv in place of graph.svg.
RESULTS = ("weights.safetensors", "history.csv", "curve.png", "graph.svg", "graph.gv")


@options.command
@options.data_option(
    "Data to learn from: a built-in set, a file or a folder.  [default: what the model says]", divided=True
)
@options.model_options
@click.option("--epochs", type=click.IntRange(min=1), help="How often each sample is seen.")
@click.option("--batch-size", type=click.IntRange(min=1), help="How many samples make a step.")
@click.option("--learning-rate", type=float, help="How far a step goes.")
@click.option("--optimizer", metavar="sgd|adam|adamw|rmsprop", help="How parameters move.")
@click.option("--momentum", type=float, help="How much of the last step is kept, for sgd and rmsprop.")
@click.option("--weight-decay", type=float, help="How fast parameters shrink, times the learning rate.")
@click.option("--clip-norm", type=float, help="The largest norm of all gradients together.")
@click.option("--schedule", metavar="constant|step|cosine", help="How the learning rate changes after the warm-up.")
@click.option("--warmup", metavar="STEPS", type=click.IntRange(min=0), help="Steps in which the learning rate grows.")
@click.option(
    "--freeze", metavar="PATTERN", multiple=True, help='Parameters that are kept, as "R1.*"; may be given again.'
)
@options.seed_option
@click.option(
    "--out", metavar="FOLDER", type=options.file_path, help="Where to write.  [default: a new folder, runs/NAME]"
)
@options.force_option
def train(
    load: options.Load,
    data: str | None,
    epochs: int | None,
    batch_size: int | None,
    optimizer: str | None,
    freeze: tuple[str, ...],
    seed: int | None,
    out: Path | None,
    force: bool,
    **settings: Any,
) -> int:
    """Train MODEL and write weights, history, curve and picture.

    The results of an earlier training are kept: without --out, those of this one go into runs/NAME_2, and so on.

    Ctrl-C stops early and keeps what was learned so far; so do SIGTERM, SIGHUP, a closed pipe, and an error in training.
    """
    learner = load(seed=seed, needs_loss="nothing to train on")
    if freeze:
        learner.freeze(*freeze)
    material = training.load_data(required_data(learner, data), learner)
    moves = as_optimizer(learner, optimizer, **settings)
    folder = click.get_current_context().with_resource(run_folder(out, learner.name, force))
    epochs, batch_size = epochs or learner.training.epochs, batch_size or learner.batch or learner.training.batch_size
    say(" ".join((learner.title or learner.name).split()), bold=True)
    say(str(learner))
    say(f"\ndata {material.name}: {sample_count(material.train[0])} samples to learn from{tested_on(material)}")
    say(f"epochs: {epochs}, batch size: {batch_size}, {moves}\n")
    lost: list[OSError] = []
    # The command shows the progress itself, on standard output.
    fit = partial(training.fit, learner, material, moves, epochs, batch_size, seed, progress=False)
    with contextlib.ExitStack() as until_saved:
        history, stop = learn(fit, lost, until_saved)
        save(learner, history, folder)
        interruption.note_results(printable(str(folder)))
    finish(learner, material, history, folder, lost)
    if isinstance(stop, TrainingInterrupted) and not lost:
        say(f"{stop}; what was learned so far is kept")
        return INTERRUPTED
    for fault in (*lost, *([stop] if stop else [])):
        raise fault
    return 0


def learn(
    fit: Callable[..., History], lost: list[OSError], until_saved: contextlib.ExitStack
) -> tuple[History, BaseException | None]:
    """Train; return the history, and the error that ended the training early.

    From the first step on a signal waits ``until_saved``. When standard output is lost, the training ends and ``lost``
    gets the error. Raises an error that came before the first step.
    """
    history, learned = History(), False

    def report(progress: Progress) -> None:
        nonlocal learned
        if not learned:
            until_saved.enter_context(interruption.held())
            learned = True
        if progress.row is not None:
            history.rows.append(progress.row)
            history.measure = progress.history.measure
        with put_off(lost):
            show(progress)
        if lost:
            raise KeyboardInterrupt

    with reporter() as show:
        try:
            fit(callback=report)
        except (Exception, KeyboardInterrupt) as stop:
            if not learned:
                raise
            return history, stop
    return history, None


@contextlib.contextmanager
def put_off(lost: list[OSError]) -> Iterator[None]:
    """Go on after an error in writing to standard output, and add it to ``lost``."""
    try:
        yield
    except OSError as error:
        lost.append(error)


def tested_on(data: Data) -> str:
    """Return which samples the data have to test on, as the end of a sentence."""
    if data.test is None:
        return ""
    if data.split == THE_SAME:
        return ", and the same to test on"
    return f", {sample_count(data.test[0])} to test on ({data.split})"


def save(model: Model, history: History, folder: Path) -> None:
    """Write what was learned. If that is impossible, as on a full disk, write it to a temporary folder and raise an error."""

    def write(place: Path) -> None:
        model.save(place / "weights.safetensors")
        history.save_csv(place / "history.csv")

    try:
        # Weights of one training next to the history or picture of another would mislead.
        for name in RESULTS[1:]:
            (folder / name).unlink(missing_ok=True)
        write(folder)
    except (TinygraphError, OSError) as fault:
        rescue = Path(tempfile.mkdtemp(prefix=f"{folder.name}_"))
        write(rescue)
        raise TinygraphError(f"{fault}; what was learned is kept in {str(rescue)!r}") from None


def finish(model: Model, data: Data, history: History, folder: Path, lost: list[OSError]) -> None:
    """Measure what was learned, draw it, and say where everything is."""
    with put_off(lost):
        say(f"\n{verdict(model, data)}")
    written, notes = ["weights.safetensors", "history.csv"], []
    for name, make in (("curve.png", history.curve), ("graph.svg", draw(model).render)):
        try:
            make(folder / name)
            written.append(name)
        except RenderError as fault:
            notes.append(f"note: {fault}")
    with put_off(lost):
        say("\n".join([f"wrote {', '.join(written)} in {folder}", *notes]))


def verdict(model: Model, data: Data) -> str:
    """Return the result on the test samples, next to the accuracy of always answering the most frequent class."""
    metrics = training.evaluate(model, data)
    which = "training" if data.test is None else "test"
    if metrics.accuracy is None:
        return f"{which} loss {metrics.loss:.6g}"
    accuracy, labels = (
        f"{which} {metrics.measure} {metrics.accuracy:.4f}",
        labels_of(model, (data.test or data.train)[1]),
    )
    if labels is None or model.metric is not None:
        return accuracy
    return f"{accuracy} (always the most frequent class: {training.majority_class_baseline(labels):.4f})"


# ---- the folder of a training


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
        options.writable(folder / result)
    return folder
