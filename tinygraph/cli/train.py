"""``tinygraph train``: from equations and data to weights, a history, a curve and a picture."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import click

from tinygraph import interruption
from tinygraph.cli import options
from tinygraph.cli.folders import RESULTS, run_folder
from tinygraph.cli.group import INTERRUPTED
from tinygraph.cli.progress import reporter
from tinygraph.cli.terminal import say
from tinygraph.draw.picture import draw
from tinygraph.errors import RenderError, TinygraphError, printable
from tinygraph.model import Model
from tinygraph.train import (
    Data,
    History,
    Progress,
    TrainingInterrupted,
    evaluate,
    fit,
    load_data,
    majority_class_baseline,
)
from tinygraph.train.data import THE_SAME, sample_count
from tinygraph.train.metrics import labels_of
from tinygraph.train.optimizers import as_optimizer


@click.command
@options.model_argument
@options.data_option("Data to learn from: a built-in set, or a file with x and y.  [default: what the model says]")
@options.onnx_options()
@click.option("--epochs", type=click.IntRange(min=1), help="How often each sample is seen.")
@click.option("--batch-size", type=click.IntRange(min=1), help="How many samples make a step.")
@click.option("--learning-rate", type=float, help="How far a step goes.")
@click.option("--optimizer", metavar="sgd|adam", help="How parameters move.")
@options.seed_option
@click.option(
    "--out", metavar="FOLDER", type=options.file_path, help="Where to write.  [default: a new folder, runs/NAME]"
)
@options.force_option
@options.ops_option
@click.pass_context
def train(
    context: click.Context,
    model: str,
    data: str | None,
    onnx: dict[str, Any],
    epochs: int | None,
    batch_size: int | None,
    learning_rate: float | None,
    optimizer: str | None,
    seed: int | None,
    out: Path | None,
    force: bool,
) -> None:
    """Train MODEL and write weights, history, curve and picture.

    The results of an earlier training are kept: without --out, those of this one go into runs/NAME_2, and so on.

    Ctrl-C stops early and keeps what was learned so far; so do SIGTERM, SIGHUP, a closed pipe, and an error in training.
    """
    learner = options.opened(model, seed, onnx, needs_loss="nothing to train on")
    material = load_data(options.data_of(learner, data), learner)
    moves = as_optimizer(learner, optimizer, learning_rate)
    folder = context.with_resource(run_folder(out, learner.name, force))
    epochs, batch_size = epochs or learner.training.epochs, batch_size or learner.batch or learner.training.batch_size
    say(" ".join((learner.title or learner.name).split()), bold=True)
    say(str(learner))
    say(f"\ndata {material.name}: {sample_count(material.train[0])} samples to learn from{tested_on(material)}")
    say(f"epochs: {epochs}, batch size: {batch_size}, {moves}\n")
    lost: list[OSError] = []
    with contextlib.ExitStack() as until_saved:
        history, stop = learn(partial(fit, learner, material, moves, epochs, batch_size, seed), lost, until_saved)
        save(learner, history, folder)
        interruption.note_results(printable(str(folder)))
    finish(learner, material, history, folder, lost)
    if isinstance(stop, TrainingInterrupted) and not lost:
        say(f"{stop}; what was learned so far is kept")
        context.exit(INTERRUPTED)
    for fault in (*lost, *([stop] if stop else [])):
        raise fault


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
    metrics = evaluate(model, data)
    which = "training" if data.test is None else "test"
    if metrics.accuracy is None:
        return f"{which} loss {metrics.loss:.6g}"
    labels = labels_of(model, (data.test or data.train)[1])
    if labels is None:
        return f"{which} accuracy {metrics.accuracy:.4f}"
    baseline = majority_class_baseline(labels)
    return f"{which} accuracy {metrics.accuracy:.4f} (always the most frequent class: {baseline:.4f})"
