"""``tinygraph import`` and ``tinygraph export``: models of other programs, and for them, as ONNX files."""

from pathlib import Path
from typing import Any

import click

from tinygraph.cli import options
from tinygraph.cli.terminal import say
from tinygraph.errors import TinygraphError
from tinygraph.files import write_whole
from tinygraph.interop.onnx.model import declared_in
from tinygraph.interruption import held
from tinygraph.model import Model
from tinygraph.model.writer import toml_text


@click.command("import")
@click.argument("file", type=options.file_path)
@options.out_option("FILE.toml", "Model file to write.  [default: NAME.toml]")
@options.onnx_options()
@options.force_option
def import_(file: Path, out: Path | None, onnx: dict[str, Any], force: bool) -> None:
    """Write the model in the ONNX FILE as equations, NAME.toml, with its weights in NAME.safetensors.

    The model file is like any other: it can be read, changed, drawn, checked and trained, and needs ONNX no more.
    """
    path = out or Path(f"{options.file_name(file.stem)}.toml")
    if path.suffix != ".toml":
        raise TinygraphError(f"a model file ends in .toml; found {str(path)!r}")
    weights = path.with_suffix(".safetensors")
    for written in (path, weights):
        options.refuse_to_replace(written, "-o names another file", force)
    declared = declared_in(file, **onnx)
    model = Model.from_tables(declared.tables, declared.values)
    text = toml_text({**declared.tables, "weights": weights.name})
    with held():
        # The weights of one model next to the equations of another would mislead.
        model.save(weights)
        write_whole(path, text.encode("utf-8"))
    parameters = sum(parameter.size for parameter in model.parameters.values())
    count = len(declared.tables["model"]["equations"].splitlines())
    say(f"wrote {path} ({count:,} equations) and {weights.name} ({parameters:,} parameters)")


@options.command
@click.argument("model")
@options.out_option("FILE.onnx", "File to write.  [default: NAME.onnx]")
@options.weights_option("Weights of a training.  [default: initial values]")
@click.option("--loss", is_flag=True, help="Write the loss too, as a second output, with the labels as inputs.")
@options.onnx_options(loss="--loss-name")
@options.force_option
def export(model: str, out: Path | None, weights: Path | None, loss: bool, onnx: dict[str, Any], force: bool) -> None:
    """Write MODEL, with its weights, as an ONNX file: what it computes in prediction, for any number of samples.

    With -o FILE.toml it is written as a model file, with the values of --weights in it.
    """
    written = options.opened(model, onnx, weights=weights)
    path = out or Path(f"{options.file_name(written.name)}.onnx")
    if path.suffix.lower() not in (".onnx", ".toml"):
        raise TinygraphError(f"an ONNX file ends in .onnx, and a model file in .toml; found {str(path)!r}")
    options.refuse_to_replace(path, "-o names another file", force)
    if path.suffix.lower() == ".toml":
        write_whole(path, written.to_toml(values=weights is not None).encode("utf-8"))
    else:
        written.to_onnx(path, loss=loss or "loss" in onnx)
    say(f"wrote {path}")
