"""``tinygraph predict``: the outputs of a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import click

from tinygraph.cli.columns import columns
from tinygraph.cli.options import data_option, file_path, model_argument, ops_option
from tinygraph.cli.outputs import SHOWN_ROWS, Outputs
from tinygraph.cli.terminal import say
from tinygraph.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from tinygraph.model import Model

    Array: TypeAlias = npt.NDArray[np.generic]


@click.command(short_help="Compute outputs with trained weights.")
@model_argument
@click.option(
    "--weights", metavar="FILE", type=file_path, help="Weights of a training.  [default: those of the model's own file]"
)
@data_option(
    "A file with x, and y where there are labels, or a built-in set, of which the test part is taken.  "
    "[default: what the model says]"
)
@click.option("--out", metavar="FILE.npz|.csv", type=file_path, help="File to write all outputs to.")
@ops_option
def predict(model: str, weights: Path | None, data: str | None, out: Path | None) -> None:
    """Compute the outputs of MODEL on data, with the weights of a training.

    Prints the first outputs, and the accuracy where there are labels.
    """
    from tinygraph.model import load_model
    from tinygraph.train.labels import decision_rule

    if out is not None and out.suffix not in (".npz", ".csv"):
        raise DataError(f"--out: outputs are written as .npz or .csv; found {str(out)!r}")
    trained = load_model(model)
    if weights is not None:
        trained.load(weights)
    elif not trained.weighted:
        raise click.UsageError(f"model {trained.name!r} has no weights of its own; give --weights")
    x, y = samples(trained, data)
    output = trained.predict(x)
    rule = decision_rule(trained.record(trained.batch or 1))
    outputs = Outputs(trained.output, output, y, rule)
    say("\n".join(columns(outputs.shown(), right=True)))
    if len(output) > SHOWN_ROWS:
        say(f"... and {len(output) - SHOWN_ROWS} more")
    if rule is not None and y is not None:
        say(f"accuracy {rule.right(output, y).mean():.4f} on {len(output)} samples")
    if out is not None:
        outputs.write(out)
        say(f"wrote {out}")


def samples(model: Model, source: str | None) -> tuple[Array, Array | None]:
    """Return samples that fit the model, and their labels if there are any.

    All samples of a file are taken, in their order; of a built-in set, its test part. Raises ``DataError``.
    """
    import numpy as np

    from tinygraph.train import check_data, load_data, read_arrays

    source = source or model.training.data
    if source is None:
        raise DataError(f"model {model.name!r} names no data of its own; give --data")
    if Path(source).is_file():
        arrays = read_arrays(source)
        x, y = arrays["x"], arrays.get("y")
    else:
        data = load_data(source)
        x, y = data.test or data.train
    if y is not None:
        check_data(model, x, y)
        return x, y
    # In the model's dtype a very large number may be none.
    with np.errstate(over="ignore"):
        fitted = model.fitted(model.features[0], x)
    if not np.isfinite(fitted).all():
        raise DataError(f"{source}: x holds numbers that are not finite")
    return x, y
