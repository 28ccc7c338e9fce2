"""``tinygraph predict``: the outputs of a trained model."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tinygraph.cli.columns import columns
from tinygraph.cli.options import data_of, data_option, file_path, model_argument, new_file, opened, ops_option
from tinygraph.cli.outputs import SHOWN_ROWS, Outputs
from tinygraph.cli.reading import onnx_options
from tinygraph.cli.terminal import say
from tinygraph.errors import DataError
from tinygraph.files import write_whole

if TYPE_CHECKING:
    from tinygraph.graph.arrays import Array
    from tinygraph.model import Model
    from tinygraph.train.data import PartName


@click.command(short_help="Compute outputs with trained weights.")
@model_argument
@click.option(
    "--weights", metavar="FILE", type=file_path, help="Weights of a training.  [default: those of the model's own file]"
)
@data_option("A file with x, and y where there are labels, or a built-in set.  [default: what the model says]")
@click.option(
    "--part",
    type=click.Choice(["test", "train", "all"]),
    default="test",
    show_default=True,
    help="Which samples of labelled data: those that train tests on, those that it learns from, or all.",
)
@click.option("--out", metavar="FILE.npz|.csv", type=new_file, help="File to write all outputs to.")
@onnx_options()
@ops_option
def predict(
    model: str, weights: Path | None, data: str | None, part: PartName, out: Path | None, onnx: dict[str, Any]
) -> None:
    """Compute the outputs of MODEL on data, with the weights of a training.

    Prints the first outputs, and the accuracy where there are labels. Labelled data are divided as in train, and the samples to
    test on are taken unless --part says otherwise; of data without labels, all samples are.
    """
    from tinygraph.model.values import samples_in
    from tinygraph.train.labels import decision_rule, labels_of

    if out is not None and out.suffix not in (".npz", ".csv"):
        raise DataError(f"--out: outputs are written as .npz or .csv; found {str(out)!r}")
    trained = opened(model, onnx=onnx)
    if weights is not None:
        trained.load(weights)
    elif not trained.weighted:
        raise click.UsageError(f"model {trained.name!r} comes without weights; give --weights")
    source = data_of(trained, data)
    if out is not None and out.exists() and Path(source).exists() and out.samefile(source):
        raise DataError(f"--out: {str(out)!r} holds the data; outputs are written to another file")
    x, y, numbers, which = samples(trained, source, part)
    output = trained.predict(x)
    count = (samples_in(trained, x) or 1) if isinstance(x, dict) else len(x)
    if output.shape[:1] != (count,):
        show_together(trained.output, output, which, out)
        return
    rule = decision_rule(trained.record())
    y = labels_of(trained, y)
    outputs = Outputs(trained.output, output, y, rule, numbers)
    say("\n".join(columns(outputs.shown(), right=True)))
    if len(output) > SHOWN_ROWS:
        say(f"... and {len(output) - SHOWN_ROWS} more")
    say(which)
    if rule is not None and y is not None:
        say(f"accuracy {rule.right(output, y).mean():.4f} on {len(output)} samples")
    if out is not None:
        outputs.write(out)
        say(f"wrote {out}")


def show_together(name: str, output: Array, which: str, out: Path | None) -> None:
    """Print, and write to a ``.npz``, an output that has no row for each sample. Raises ``DataError`` for a table."""
    import numpy as np

    if out is not None and out.suffix == ".csv":
        raise DataError(f"--out: {name} has shape {output.shape} and no row for each sample; write it as .npz")
    say(f"{name} of shape {output.shape}, with no row for each sample:\n{output}\n{which}")
    if out is not None:
        packed = io.BytesIO()
        np.savez(packed, output=output)
        write_whole(out, packed.getvalue())
        say(f"wrote {out}")


def samples(model: Model, source: str, part: PartName) -> tuple[Any, Any, Array | None, str]:
    """Return samples that fit the model, their labels if there are any, their numbers in the source, and which they are.

    Data with labels are divided as in training. The numbers are ``None`` where they count from 0. Raises ``DataError``.
    """
    from tinygraph.model.values import samples_in
    from tinygraph.train import load_data, read_arrays
    from tinygraph.train.data import names_in_files, sample_count
    from tinygraph.train.feeds import check_finite

    features, labels = names_in_files(model.features, "x"), names_in_files(model.labels, "y")
    arrays = read_arrays(source, features) if Path(source).is_file() else None
    if arrays is None or all(name in arrays for name in labels):
        data = load_data(source, model)
        x, y, numbers = data.part(part)
        which = {"test": "to test on", "train": "to learn from", "all": "of both parts"}[part]
        split = f" ({data.split})" if data.split and part != "all" else ""
        return x, y, numbers, f"data {data.name}: the {sample_count(x)} samples {which}{split}"
    given = dict(zip(model.features, (arrays[name] for name in features), strict=True))
    for (name, array), own in zip(given.items(), features, strict=True):
        check_finite(f"{source}: {own}", model.fitted(name, array))
    return given, None, None, f"data {Path(source).stem}: all {samples_in(model, given) or 1} samples"
