"""``tinygraph predict``: the outputs of a trained model."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from tinygraph.cli.options import data_option, model_argument, ops_option
from tinygraph.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from tinygraph.model import Model

    Array: TypeAlias = npt.NDArray[np.generic]

SHOWN_ROWS, SHOWN_NUMBERS = 10, 10


@click.command(short_help="Compute outputs with trained weights.")
@model_argument
@click.option(
    "--weights", required=True, metavar="FILE", type=click.Path(path_type=Path), help="Weights of a training."
)
@data_option("A file with x, and y where there are labels, or a built-in set, of which the test part is taken.")
@click.option("--out", metavar="FILE.npz|.csv", type=click.Path(path_type=Path), help="File to write all outputs to.")
@ops_option
def predict(model: str, weights: Path, data: str | None, out: Path | None) -> None:
    """Compute the outputs of MODEL on data, with the weights of a training.

    Prints the first outputs, and the accuracy where there are labels.
    """
    from tinygraph.graph.text import aligned
    from tinygraph.model import load_model
    from tinygraph.train.labels import decision_rule

    if out is not None and out.suffix not in (".npz", ".csv"):
        raise DataError(f"--out: outputs are written as .npz or .csv; found {str(out)!r}")
    trained = load_model(model)
    trained.load(weights)
    x, y = samples(trained, data)
    output = trained.predict(x)
    click.echo(aligned(list(rows(trained.output, output, y))))
    if len(output) > SHOWN_ROWS:
        click.echo(f"... and {len(output) - SHOWN_ROWS} more")
    rule = decision_rule(trained.record(1))
    if rule is not None and y is not None:
        click.echo(f"accuracy {rule.right(output, y).mean():.4f} on {len(output)} samples")
    if out is not None:
        write(out, output)
        click.echo(f"wrote {out}")


def samples(model: Model, source: str | None) -> tuple[Array, Array | None]:
    """Return samples that fit the model, and their labels if there are any.

    All samples of a file are taken, in their order; of a built-in set, its test part. Raises ``DataError``.
    """
    import numpy as np

    from tinygraph.train import check_data, load_data

    source = source or model.training.data
    if source is None:
        raise DataError(f"model {model.name!r} names no data of its own; give --data")
    if Path(source).is_file():
        arrays = read(Path(source))
        x, y = arrays["x"], arrays.get("y")
    else:
        data = load_data(source)
        x, y = data.test or data.train
    if y is not None:
        check_data(model, x, y)
    elif not np.isfinite(model.fitted(model.features[0], x)).all():
        raise DataError(f"{source}: x holds numbers that are not finite")
    return x, y


def read(path: Path) -> dict[str, Array]:
    """Return the arrays x and y of a ``.npz`` file; y may be missing."""
    import numpy as np

    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in ("x", "y") if name in arrays}
    except (OSError, ValueError, AttributeError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: cannot be read as an .npz file ({error})") from None
    if "x" not in found:
        raise DataError(f"{path}: an array called 'x' is missing")
    return found


def rows(name: str, output: Array, labels: Array | None) -> Iterator[tuple[str, ...]]:
    """Yield the first outputs as rows of a table, with their labels beside them."""
    yield ("sample", name) if labels is None else ("sample", name, "label")
    for index, row in enumerate(output[:SHOWN_ROWS]):
        cells = (str(index), numbers(row))
        yield cells if labels is None else (*cells, numbers(labels[index]))


def numbers(row: Any) -> str:
    """Return the numbers of one sample, the rest of very many left out.

    >>> import numpy as np
    >>> numbers(np.array([0.25, 1e-9])), numbers(np.int64(7))
    ('0.25  1e-09', '7')
    """
    import numpy as np

    flat = np.ravel(row)
    shown = "  ".join(f"{number:.4g}" for number in flat[:SHOWN_NUMBERS].tolist())
    return shown + ("  ..." if flat.size > SHOWN_NUMBERS else "")


def write(path: Path, output: Array) -> None:
    """Write outputs: to ``.npz`` as the array ``output``, to ``.csv`` one sample to a line."""
    import numpy as np

    if path.suffix == ".npz":
        np.savez(path, output=output)
    else:
        np.savetxt(path, output.reshape(len(output), -1), delimiter=",", fmt="%.9g")
