"""``tinygraph train``: from equations and data to weights, a history, a curve and a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tinygraph.cli.folders import file_name, prepared_folder
from tinygraph.cli.group import INTERRUPTED
from tinygraph.cli.options import data_option, model_argument, ops_option, seed_option
from tinygraph.cli.progress import reporter

if TYPE_CHECKING:
    from tinygraph.model import Model
    from tinygraph.train import Data, History, Optimizer


@click.command(short_help="Train a model on data.")
@model_argument
@data_option("Data to learn from: a built-in set, or a file with x and y.  [default: what the model says]")
@click.option("--epochs", type=click.IntRange(min=1), help="How often each sample is seen.")
@click.option("--batch-size", type=click.IntRange(min=1), help="How many samples make a step.")
@click.option("--learning-rate", type=float, help="How far a step goes.")
@click.option("--optimizer", metavar="sgd|adam", help="How parameters move.")
@seed_option
@click.option("--out", metavar="FOLDER", type=click.Path(path_type=Path), help="Where to write.  [default: runs/NAME]")
@ops_option
@click.pass_context
def train(
    context: click.Context,
    model: str,
    data: str | None,
    epochs: int | None,
    batch_size: int | None,
    learning_rate: float | None,
    optimizer: str | None,
    seed: int | None,
    out: Path | None,
) -> None:
    """Train MODEL and write weights, history, curve and picture.

    Ctrl-C stops early and keeps what was learned so far.
    """
    from tinygraph.errors import DataError
    from tinygraph.model import load_model
    from tinygraph.train import TrainingInterrupted, fit, load_data

    learner = load_model(model, seed)
    source = data or learner.training.data
    if source is None:
        raise DataError(f"model {learner.name!r} names no data of its own; give --data")
    material = load_data(source, learner)
    moves = chosen_optimizer(learner, optimizer, learning_rate)
    folder = prepared_folder(out or Path("runs") / file_name(learner.name))
    epochs, batch_size = epochs or learner.training.epochs, batch_size or learner.training.batch_size
    introduce(learner, material)
    click.echo(f"epochs: {epochs}, batch size: {batch_size}, {moves}\n")
    try:
        with reporter() as report:
            history = fit(learner, material, moves, epochs, batch_size, seed, report)
        interrupted = None
    except TrainingInterrupted as stop:
        history, interrupted = stop.history, stop
    keep(learner, material, history, folder)
    if interrupted is not None:
        click.echo(f"{interrupted}; what was learned so far is kept")
        context.exit(INTERRUPTED)


def chosen_optimizer(model: Model, name: str | None, learning_rate: float | None) -> Optimizer:
    """Return the optimizer that the options ask for; what they leave open is the model's, or the other optimizer's default."""
    from tinygraph.train import make_optimizer

    settings = model.training
    if name is None or name == settings.optimizer:
        rate = settings.learning_rate if learning_rate is None else learning_rate
        return make_optimizer(settings.optimizer, rate, settings.momentum)
    return make_optimizer(name, learning_rate)


def introduce(model: Model, data: Data) -> None:
    """Print what is trained, and on what."""
    click.secho(model.title or model.name, bold=True)
    click.echo(str(model))
    tested = "" if data.test is None else f", {len(data.test[0])} to test on"
    click.echo(f"\ndata {data.name}: {len(data.train[0])} samples to learn from{tested}")


def keep(model: Model, data: Data, history: History, folder: Path) -> None:
    """Write what was learned, measure it, and say where everything is."""
    from tinygraph.draw import draw
    from tinygraph.errors import RenderError

    model.save(folder / "weights.safetensors")
    history.save_csv(folder / "history.csv")
    click.echo(f"\n{verdict(model, data)}")
    written, notes = ["weights.safetensors", "history.csv"], []
    for name, make in (("curve.png", history.curve), ("graph.svg", draw(model).render)):
        try:
            make(folder / name)
            written.append(name)
        except RenderError as fault:
            notes.append(str(fault))
    click.echo(f"wrote {', '.join(written)} in {folder}")
    for note in notes:
        click.echo(f"note: {note}")


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
