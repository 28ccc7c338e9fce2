"""``tinygraph evaluate``: how good a trained model is."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from tinygraph import train as training
from tinygraph.cli import options
from tinygraph.cli.predict import csv_bytes, part_text
from tinygraph.cli.processes import engine_options
from tinygraph.cli.runs import prepared_folder
from tinygraph.cli.terminal import say
from tinygraph.engines import Choice
from tinygraph.engines.processes import is_first
from tinygraph.errors import RenderError
from tinygraph.files import write_whole
from tinygraph.train import Evaluation
from tinygraph.train.data import PartName, required_data
from tinygraph.train.samples import are_images

RESULTS = (NUMBERS, MISTAKES, PICTURE) = "metrics.json", "mistakes.csv", "mistakes.png"


@options.command
@options.kernels_option
@options.weights_option("Weights of a training.  [default: those of the model's own file]")
@options.data_option("Labelled data: a built-in set, a file or a folder.  [default: what the model says]", divided=True)
@options.part_option
@click.option(
    "--out", metavar="FOLDER", type=options.file_path, help="Write the numbers, the mistakes and a picture of them."
)
@options.force_option
@options.model_options
@engine_options()
def evaluate(
    load: options.Load,
    weights: Path | None,
    data: str | None,
    part: PartName,
    out: Path | None,
    force: bool,
    on: Choice,
) -> None:
    """Measure how good MODEL is on labelled data, with the weights of a training.

    Prints loss and accuracy; the confusion, and precision, recall and F1 of each class, or for numbers MAE, RMSE and R2; and
    the worst mistakes. Data are divided as in train, and the samples to test on are used unless --part says otherwise.
    --out FOLDER gets metrics.json, mistakes.csv and, for images, mistakes.png.
    """
    for path in [out / name for name in RESULTS] if out is not None else ():
        options.refuse_to_replace(path, "--out names another folder", force)
    model = options.trained(load, weights)
    material = training.load_data(required_data(model, data), model)
    if out is not None and is_first():
        prepared_folder(out, RESULTS)
    metrics = training.evaluate(model, material, part=part, **on)
    say(f"{part_text(material, part)}\n{metrics}")
    if out is not None and is_first():
        x = material.part(part)[0]
        write(metrics, [*x.values()] if isinstance(x, Mapping) else [x], out)


def write(metrics: training.Metrics, inputs: Sequence[Any], out: Path) -> None:
    """Write what was measured into a folder, and say which files; of a picture that cannot be drawn, why."""
    numbers: dict[str, Any] = {"loss": metrics.loss, metrics.measure: metrics.accuracy, "count": metrics.count}
    written, note = [NUMBERS], ""
    # A picture of an earlier evaluation would mislead.
    (out / PICTURE).unlink(missing_ok=True)
    if isinstance(metrics, Evaluation):
        numbers |= {"names": metrics.names, **metrics.values}
        numbers |= {} if metrics.confusion is None else {"confusion": metrics.confusion}
        rows = zip(*(column.astype(str).tolist() for column in metrics.mistakes.values()), strict=True)
        write_whole(out / MISTAKES, csv_bytes([[*metrics.mistakes], *map(list, rows)]))
        written.append(MISTAKES)
        images = [x for x in inputs if are_images(x) and x.shape[:3] == inputs[0].shape[:3]]
        if images and len(metrics.order):
            try:
                metrics.draw_mistakes(out / PICTURE, *images)
                written.append(PICTURE)
            except RenderError as fault:
                note = f"\nnote: {fault}"
    known = {name: _plain(value) for name, value in numbers.items()}
    write_whole(out / NUMBERS, json.dumps(known, indent=1).encode())
    say(f"wrote {', '.join(written)} in {out}{note}")


def _plain(value: Any) -> Any:
    """Return arrays as lists, and what JSON does not know, such as NaN, as ``None``."""
    if isinstance(value, np.ndarray):
        return [_plain(each) for each in value.tolist()]
    return None if isinstance(value, float) and not math.isfinite(value) else value
