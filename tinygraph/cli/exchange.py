"""``tinygraph import`` and ``tinygraph export``: models from and for other programs, as ONNX files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tinygraph.cli.folders import file_name, refuse_to_replace
from tinygraph.cli.options import file_path, force_option, model_argument, new_file, opened, ops_option
from tinygraph.cli.reading import onnx_options
from tinygraph.cli.terminal import say
from tinygraph.errors import TinygraphError
from tinygraph.files import write_whole
from tinygraph.interruption import held


@click.command("import", short_help="Write an ONNX file as a model file and weights.")
@click.argument("file", type=file_path)
@click.option("-o", "--out", metavar="FILE.toml", type=new_file, help="Model file to write.  [default: NAME.toml]")
@onnx_options()
@force_option
def import_(file: Path, out: Path | None, onnx: dict[str, Any], force: bool) -> None:
    """Write the model in the ONNX FILE as equations, NAME.toml, with its weights in NAME.safetensors.

    The model file is like any other: it can be read, changed, drawn, checked and trained, and needs ONNX no more.
    """
    from tinygraph.interop.onnx.model import declared_in
    from tinygraph.interop.onnx.tables import model_text
    from tinygraph.model import Model

    path = out or Path(f"{file_name(file.stem)}.toml")
    if path.suffix != ".toml":
        raise TinygraphError(f"a model file ends in .toml; found {str(path)!r}")
    weights = path.with_suffix(".safetensors")
    for written in (path, weights):
        refuse_to_replace(written, "-o names another file", force)
    declared = declared_in(file, **onnx)
    model = Model.from_tables(declared.tables, declared.values)
    text = model_text({**declared.tables, "weights": weights.name})
    with held():
        # The weights of one model next to the equations of another would mislead.
        model.save(weights)
        write_whole(path, text.encode("utf-8"))
    parameters = sum(parameter.size for parameter in model.parameters.values())
    count = len(declared.tables["model"]["equations"].splitlines())
    say(f"wrote {path} ({count:,} equations) and {weights.name} ({parameters:,} parameters)")


@click.command(short_help="Write a model as an ONNX file.")
@model_argument
@click.option("-o", "--out", metavar="FILE.onnx", type=new_file, help="File to write.  [default: NAME.onnx]")
@click.option("--weights", metavar="FILE", type=file_path, help="Weights of a training.  [default: initial values]")
@click.option("--loss", is_flag=True, help="Write the loss too, as a second output, with the labels as inputs.")
@onnx_options(loss="--loss-name")
@force_option
@ops_option
def export(model: str, out: Path | None, weights: Path | None, loss: bool, onnx: dict[str, Any], force: bool) -> None:
    """Write MODEL, with its weights, as an ONNX file: what it computes in prediction, for any number of samples."""
    written = opened(model, onnx=onnx)
    if weights is not None:
        written.load(weights)
    path = out or Path(f"{file_name(written.name)}.onnx")
    if path.suffix.lower() != ".onnx":
        raise TinygraphError(f"an ONNX file ends in .onnx; found {str(path)!r}")
    refuse_to_replace(path, "-o names another file", force)
    written.to_onnx(path, loss=loss or "loss" in onnx)
    say(f"wrote {path}")
