"""``tinygraph train``: from equations and data to weights, a history, a curve and a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tinygraph.cli.folders import RESULTS, run_folder
from tinygraph.cli.group import INTERRUPTED
from tinygraph.cli.options import (
    data_of,
    data_option,
    file_path,
    force_option,
    model_argument,
    opened,
    ops_option,
    seed_option,
)
from tinygraph.cli.progress import reporter
from tinygraph.cli.reading import onnx_options
from tinygraph.cli.terminal import say

if TYPE_CHECKING:
    from tinygraph.model import Model
    from tinygraph.train import Data, History

# Files that a training writes where it can.
DRAWN = RESULTS[2:]


@click.command(short_help="Train a model on data.")
@model_argument
@data_option("Data to learn from: a built-in set, or a file with x and y.  [default: what the model says]")
@onnx_options()
@click.option("--epochs", type=click.IntRange(min=1), help="How often each sample is seen.")
@click.option("--batch-size", type=click.IntRange(min=1), help="How many samples make a step.")
@click.option("--learning-rate", type=float, help="How far a step goes.")
@click.option("--optimizer", metavar="sgd|adam", help="How parameters move.")
@seed_option
@click.option("--out", metavar="FOLDER", type=file_path, help="Where to write.  [default: a new folder, runs/NAME]")
@force_option
@ops_option
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

    Ctrl-C stops early and keeps what was learned so far.
    """
    from tinygraph.train import TrainingInterrupted, fit, load_data
    from tinygraph.train.arguments import as_optimizer

    learner = opened(model, seed, onnx, needs_loss="nothing to train on")
    material = load_data(data_of(learner, data), learner)
    moves = as_optimizer(learner, optimizer, learning_rate)
    folder = run_folder(out, learner.name, force)
    epochs, batch_size = epochs or learner.training.epochs, batch_size or learner.batch or learner.training.batch_size
    introduce(learner, material)
    say(f"epochs: {epochs}, batch size: {batch_size}, {moves}\n")
    try:
        with reporter() as report:
            history = fit(learner, material, moves, epochs, batch_size, seed, report)
        interrupted = None
    except TrainingInterrupted as stop:
        history, interrupted = stop.history, stop
    keep(learner, material, history, folder)
    if interrupted is not None:
        say(f"{interrupted}; what was learned so far is kept")
        context.exit(INTERRUPTED)


def introduce(model: Model, data: Data) -> None:
    """Print what is trained, and on what."""
    say(" ".join((model.title or model.name).split()), bold=True)
    say(str(model))
    say(f"\ndata {data.name}: {len(data.train[0])} samples to learn from{tested_on(data)}")


def tested_on(data: Data) -> str:
    """Return what the data have to test on, as the end of a sentence."""
    from tinygraph.train.data import THE_SAME

    if data.test is None:
        return ""
    if data.split == THE_SAME:
        return ", and the same to test on"
    return f", {len(data.test[0])} to test on ({data.split})"


def keep(model: Model, data: Data, history: History, folder: Path) -> None:
    """Write what was learned, measure it, and say where everything is."""
    from concurrent.futures import ThreadPoolExecutor

    from tinygraph.draw import draw
    from tinygraph.errors import RenderError

    model.save(folder / "weights.safetensors")
    history.save_csv(folder / "history.csv")
    say(f"\n{verdict(model, data)}")
    # What an earlier run left here must not pass for a picture of this one.
    for name in DRAWN:
        (folder / name).unlink(missing_ok=True)
    written, notes = ["weights.safetensors", "history.csv"], []
    with ThreadPoolExecutor(1) as beside:
        # Graphviz is a program of its own, and lays the graph out while the curve is drawn here.
        picture = beside.submit(draw(model).render, folder / "graph.svg")
        for name, make in (("curve.png", lambda: history.curve(folder / "curve.png")), ("graph.svg", picture.result)):
            try:
                make()
                written.append(name)
            except RenderError as fault:
                notes.append(str(fault))
    say(f"wrote {', '.join(written)} in {folder}")
    for note in notes:
        say(f"note: {note}")


def verdict(model: Model, data: Data) -> str:
    """Return the result on the test samples, beside what always answering the most frequent class would give."""
    from tinygraph.train import evaluate, majority_class_baseline

    metrics = evaluate(model, data)
    which = "training" if data.test is None else "test"
    if metrics.accuracy is None:
        return f"{which} loss {metrics.loss:.6g}"
    _, labels = data.test or data.train
    baseline = majority_class_baseline(labels)
    return f"{which} accuracy {metrics.accuracy:.4f} (always the most frequent class: {baseline:.4f})"
