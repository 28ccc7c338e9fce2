"""``tinygraph import`` and ``tinygraph export``: models of other programs, and for them, as ONNX files or StableHLO."""

from pathlib import Path
from typing import Any

import click

from tinygraph.cli import options
from tinygraph.cli.terminal import say
from tinygraph.engines import chosen_engine
from tinygraph.errors import TinygraphError, counted
from tinygraph.files import write_whole
from tinygraph.graph import Graph
from tinygraph.interop.onnx.model import declared_in
from tinygraph.interruption import held
from tinygraph.model import Model
from tinygraph.model.values import batched_inputs
from tinygraph.model.weights import described, write_arrays
from tinygraph.model.writer import toml_text


@click.command("import")
@click.argument("file", type=options.file_path)
@options.out_option("FILE.toml", "Model file to write.  [default: NAME.toml]")
@options.onnx_options()
@options.force_option
def import_(file: Path, out: Path | None, onnx: dict[str, Any], force: bool) -> None:
    """Write the model in the ONNX FILE as equations, NAME.toml, with its weights in NAME.safetensors.

    The model file is like any other: it can be read, changed, drawn, checked and trained, and no longer needs ONNX.
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
@click.option(
    "--stablehlo", metavar="FILE", type=options.new_file, help="Write StableHLO for CPU, CUDA and TPU, by JAX."
)
@click.option("--step", is_flag=True, help="With --stablehlo: a training step, and its state in FILE.safetensors.")
@options.batch_option(1, "How many samples --stablehlo is for.")
@options.onnx_options(loss="--loss-name")
@options.force_option
def export(
    model: str,
    out: Path | None,
    weights: Path | None,
    loss: bool,
    stablehlo: Path | None,
    step: bool,
    batch_size: int | None,
    onnx: dict[str, Any],
    force: bool,
) -> None:
    """Write MODEL, with its weights, as an ONNX file: what it computes in prediction, for any number of samples.

    With -o FILE.toml it is written as a model file, with the values of --weights in it; with --stablehlo FILE as a program
    that runs with JAX alone, on --batch-size samples.
    """
    written = options.opened(model, onnx, weights=weights)
    if stablehlo is not None:
        _export_stablehlo(written, stablehlo, step, batch_size or written.batch or 1, force)
        return
    if step or batch_size:
        raise TinygraphError(
            f"--{'step' if step else 'batch-size'} is for --stablehlo; an ONNX file predicts any number of samples"
        )
    path = out or Path(f"{options.file_name(written.name)}.onnx")
    if path.suffix.lower() not in (".onnx", ".toml"):
        raise TinygraphError(f"an ONNX file ends in .onnx, and a model file in .toml; found {str(path)!r}")
    options.refuse_to_replace(path, "-o names another file", force)
    if path.suffix.lower() == ".toml":
        write_whole(path, written.to_toml(values=weights is not None).encode("utf-8"))
    else:
        written.to_onnx(path, loss=loss or "loss" in onnx)
    say(f"wrote {path}")


def _export_stablehlo(model: Model, path: Path, step: bool, size: int, force: bool) -> None:
    chosen_engine("xla")
    from tinygraph.engines.xla.export import exported_prediction

    start = path.with_suffix(".safetensors")
    for each in (path, start)[: 1 + step]:
        options.refuse_to_replace(each, "--stablehlo names another file", force)
    if step:
        compiled: Any = model.compile_step(None, size, engine="xla", devices=1)
        content, state = compiled.exported()
        write_arrays(start, state, described(model.name, model.classes))
    else:
        content = exported_prediction(Graph(model.record(size).output), size, batched_inputs(model))
    write_whole(path, content)
    say(f"wrote {path}{f' and {start}' if step else ''}, for {counted(size, 'sample')}")
