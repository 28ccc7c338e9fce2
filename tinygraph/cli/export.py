"""``tinygraph export``: a model for other programs, as an ONNX file."""

from pathlib import Path
from typing import Any

import click

from tinygraph.cli import options
from tinygraph.cli.terminal import say
from tinygraph.errors import TinygraphError


@options.command
@click.argument("model")
@options.out_option("FILE.onnx", "File to write.  [default: NAME.onnx]")
@options.weights_option("Weights of a training.  [default: initial values]")
@click.option("--loss", is_flag=True, help="Write the loss too, as a second output, with the labels as inputs.")
@options.onnx_options(loss="--loss-name")
@options.force_option
def export(model: str, out: Path | None, weights: Path | None, loss: bool, onnx: dict[str, Any], force: bool) -> None:
    """Write MODEL, with its weights, as an ONNX file: what it computes in prediction, for any number of samples."""
    written = options.opened(model, onnx, weights=weights)
    path = out or Path(f"{options.file_name(written.name)}.onnx")
    if path.suffix.lower() != ".onnx":
        raise TinygraphError(f"an ONNX file ends in .onnx; found {str(path)!r}")
    options.refuse_to_replace(path, "-o names another file", force)
    written.to_onnx(path, loss=loss or "loss" in onnx)
    say(f"wrote {path}")
