"""``tinygraph train``: from equations and data to weights, a history, a curve and a picture."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np

from tinygraph import interruption
from tinygraph import train as training
from tinygraph.cli import options
from tinygraph.cli.group import INTERRUPTED
from tinygraph.cli.processes import engine_options
from tinygraph.cli.runs import BEST, CHECKPOINT, HISTORY, WEIGHTS, remove_results, resumable, run_folder
from tinygraph.cli.terminal import reporter, say
from tinygraph.draw.picture import draw
from tinygraph.engines import Choice
from tinygraph.engines.processes import is_first, leave_together, several
from tinygraph.errors import RenderError, TinygraphError, TrainingError, counted, printable
from tinygraph.model import Model
from tinygraph.train import Checkpoint, Data, EarlyStopping, History, Progress, TrainingInterrupted
from tinygraph.train.callbacks import Callback
from tinygraph.train.checkpoint import CheckpointFile
from tinygraph.train.data import THE_SAME, required_data, sample_count
from tinygraph.train.loop import held_by, hold
from tinygraph.train.metrics import decision_rule, labels_of
from tinygraph.train.optimizers import as_optimizer


def results_folder(load: options.Load, out: Path | None, force: bool, begun: Checkpoint | None, **given: Any) -> Path:
    """Return the folder for the results of the processes that are started. Process 0 takes it again."""
    with run_folder(out, load().name, force or begun is not None) as folder:
        return folder


@options.command
@options.kernels_option
@options.data_option(
    "Data to learn from: a built-in set, a file or a folder.  [default: what the model says]", divided=True
)
@options.model_options
@click.option("--epochs", type=click.IntRange(min=1), help="Passes over the training data.")
@click.option("--batch-size", type=click.IntRange(min=1), help="Samples in a step.")
@click.option("--learning-rate", type=float, help="Step size of the optimizer.")
@click.option("--optimizer", metavar="sgd|adam|adamw|rmsprop", help="The algorithm that updates the parameters.")
@click.option("--momentum", type=float, help="Share of the last step that is kept, for sgd and rmsprop.")
@click.option(
    "--weight-decay", type=float, help="Share of each parameter that a step takes away, times the learning rate."
)
@click.option("--clip-norm", type=float, help="Scale the gradients down to this norm, of all together.")
@click.option("--schedule", metavar="constant|step|cosine", help="How the learning rate changes after the warm-up.")
@click.option(
    "--warmup", metavar="STEPS", type=click.IntRange(min=0), help="Steps in which the learning rate grows from zero."
)
@click.option(
    "--freeze",
    metavar="PATTERN",
    multiple=True,
    help='Parameters that are not trained, such as "R1.*"; may be given again.',
)
@options.seed_option
@options.weights_option("Weights to start from.  [default: initial values]")
@options.part_options
@click.option(
    "--early-stopping", type=click.IntRange(min=1), metavar="N", help="Stop after N epochs without a better test loss."
)
@resumable
@options.force_option
@engine_options(results_folder)
def train(
    load: options.Load,
    data: str | None,
    epochs: int | None,
    batch_size: int | None,
    optimizer: str | None,
    freeze: tuple[str, ...],
    seed: int | None,
    weights: Path | None,
    part: dict[str, Any],
    early_stopping: int | None,
    out: Path | None,
    force: bool,
    resume: bool,
    begun: Checkpoint | None,
    chosen: dict[str, Any],
    on: Choice,
    **settings: Any,
) -> int:
    """Train MODEL and write weights, those of the best epoch, history, curve and picture.

    The results of an earlier training are kept: without --out, those of this one go into runs/NAME_2, and so on.

    Ctrl-C stops early and keeps what was learned so far; so do SIGTERM, SIGHUP, a closed pipe, and an error in training.
    After these, and after a crash, --resume continues with the epoch after the last complete one, and with the same result
    as without the interruption. Options that are not given are those of the training that it continues.
    """
    start: dict[str, Any] = {} if begun else {"weights": weights, "part": part}
    learner = load(seed=seed, needs_loss="nothing to train on", **start)
    if freeze:
        learner.freeze(*freeze)
    material = training.load_data(required_data(learner, data), learner)
    moves = as_optimizer(learner, optimizer, **settings)
    if early_stopping and material.test is None:
        raise TinygraphError("--early-stopping looks at the loss of test samples, and the data have none")
    first = is_first()
    place = (
        run_folder(out, learner.name, force or begun is not None) if first else contextlib.nullcontext(out or Path())
    )
    folder = click.get_current_context().with_resource(place)
    epochs, batch_size = epochs or learner.training.epochs, batch_size or learner.batch or learner.training.batch_size
    say(" ".join((learner.title or learner.name).split()), bold=True)
    say(str(learner))
    say(f"\ndata {material.name}: {sample_count(material.train[0])} samples to learn from{tested_on(material)}")
    say(f"epochs: {epochs}, batch size: {batch_size}, {moves}")
    if resume:
        after = "" if begun is None else f"continues in {folder} after {counted(len(begun.history), 'epoch')}"
        say(after or f"starts in {folder}: there is no checkpoint to continue from")
    say()
    lost: list[OSError] = []
    file = CheckpointFile(folder / CHECKPOINT, options=chosen) if first else None
    # The command shows the progress itself, on standard output.
    fit = partial(training.fit, learner, material, moves, epochs, batch_size, seed, progress=False, checkpoint=file)
    fit = partial(fit, resume=begun is not None and folder / CHECKPOINT, **on)
    calls: list[Callback] = [EarlyStopping(early_stopping)] if early_stopping else []
    if begun is None and first:
        calls.append(partial(clear_before_the_first_checkpoint, folder))
    with contextlib.ExitStack() as until_saved:
        history, stop = learn(fit, calls, lost, until_saved)
        if stop is None or isinstance(stop, TrainingError):
            # All came to the same end. From here on the others need not wait for process 0.
            leave_together()
        if file is None:
            # Process 0 writes what all of them learned, and says why they ended if they left together.
            if stop is not None and several():
                raise stop
            return 0
        has_checkpoint = file.written or begun is not None
        save(learner, history, folder, has_checkpoint)
        interruption.note_results(printable(str(folder)))
    complete = begun is not None and stop is None and len(history) == len(begun.history)
    finish(learner, material, history, folder, lost, "the training was complete already" if complete else "")
    if isinstance(stop, TrainingInterrupted) and not lost:
        say(f"{stop}; what was learned so far is kept{', and --resume continues' if has_checkpoint else ''}")
        return INTERRUPTED
    for fault in (*lost, *([stop] if stop else [])):
        raise fault
    return 0


def learn(
    fit: Callable[..., History], calls: Sequence[Callback], lost: list[OSError], until_saved: contextlib.ExitStack
) -> tuple[History, BaseException | None]:
    """Train; return the history, and the error that ended the training early.

    From the first step on a signal waits ``until_saved``. When standard output is lost, the training ends and ``lost``
    gets the error. Raises an error that came before the first step.
    """
    history: History | None = None

    def report(progress: Progress) -> None:
        nonlocal history
        if history is None:
            until_saved.enter_context(interruption.held())
            history = progress.history
        with put_off(lost):
            show(progress)
        if lost:
            raise KeyboardInterrupt

    with reporter() as show:
        try:
            return fit(callback=[report, *calls]), None
        except (Exception, KeyboardInterrupt) as stop:
            if history is None:
                raise
            return history, stop


def clear_before_the_first_checkpoint(folder: Path, progress: Progress) -> None:
    """Remove the results of an earlier training at the end of the first epoch."""
    if progress.row is not None and progress.epoch == 1:
        with contextlib.suppress(OSError):
            remove_results(folder)


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


def save(model: Model, history: History, folder: Path, has_checkpoint: bool) -> None:
    """Write what was learned. If that is impossible, as on a full disk, write it to a temporary folder and raise an error."""

    held = {WEIGHTS: held_by(model), BEST: history.best.values}

    def write(place: Path) -> None:
        for name, values in held.items():
            if values:
                hold(model, values)
                model.save(place / name)
        hold(model, held[WEIGHTS])
        history.save_csv(place / HISTORY)

    try:
        remove_results(folder, but=(WEIGHTS, CHECKPOINT) if has_checkpoint else (WEIGHTS,))
        write(folder)
    except (TinygraphError, OSError) as fault:
        rescue = Path(tempfile.mkdtemp(prefix=f"{folder.name}_"))
        write(rescue)
        raise TinygraphError(f"{fault}; what was learned is kept in {str(rescue)!r}") from None


def finish(model: Model, data: Data, history: History, folder: Path, lost: list[OSError], remark: str = "") -> None:
    """Measure what was learned, draw it, and say where everything is."""
    with put_off(lost):
        say(f"\n{verdict(model, data)}")
        if best := history.best.row:
            say(f"best epoch: {best.epoch} of {len(history)}, with test loss {best.test_loss:.4g}")
        for line in filter(None, [history.stopped, remark]):
            say(line)
    written, notes = [WEIGHTS, *([BEST] if history.best.values else []), HISTORY], []
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
    accuracy, rule = f"{which} {metrics.measure} {metrics.accuracy:.4f}", decision_rule(model.record())
    labels = labels_of(model, (data.test or data.train)[1])
    if labels is None or model.metric is not None:
        return accuracy
    if rule is not None and rule.ignored is not None:
        labels = np.asarray(labels)
        labels = labels[labels != rule.ignored]
    return f"{accuracy} (always the most frequent class: {training.majority_class_baseline(labels):.4f})"
