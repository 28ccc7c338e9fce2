"""From an ONNX file to a declared model: the tables of a model file, and the values of its weights."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tinygraph.errors import BudgetError, ModelError, OnnxError, listing, nearest
from tinygraph.graph.arrays import Array
from tinygraph.graph.budget import opening
from tinygraph.graph.registry import OPERATIONS, is_operation
from tinygraph.graph.tensor import Tensor
from tinygraph.interop.onnx.equations import Written, written
from tinygraph.interop.onnx.follow import equations_for_any
from tinygraph.interop.onnx.importer import Imported, Importer, nodes_of
from tinygraph.interop.onnx.inputs import InputShape, fixed_values, input_shapes
from tinygraph.interop.onnx.node import Node, Parts
from tinygraph.interop.onnx.read import File, read
from tinygraph.interop.onnx.roles import is_uniform
from tinygraph.model.model import Model

# What a file that tinygraph wrote says of itself.
OUTPUT, LOSS, TITLE = "tinygraph.output", "tinygraph.loss", "tinygraph.title"
_REAL = ("float32", "float64")
# What exporters call a graph for want of a name.
_NAMELESS = {"graph", "main_graph", "torch_jit", "torch-jit-export", "tf2onnx"}


@dataclass(frozen=True)
class Declared:
    """A model as the tables of a model file, with the values of its parameters and state by name."""

    tables: dict[str, Any]
    values: dict[str, Array]


def model_in(path: str | os.PathLike[str], **options: Any) -> Model:
    """Return the model in an ONNX file. The options are those of ``from_onnx``."""
    with opening(_size_of(path)):
        declared = declared_in(path, **options)
        try:
            return Model.from_tables(declared.tables, declared.values)
        except ModelError as error:
            raise OnnxError(f"{path}: its equations do not make a model: {error}") from None


def declared_in(path: str | os.PathLike[str], **options: Any) -> Declared:
    """Return the model in an ONNX file as tables and values. The options are those of ``from_onnx``."""
    try:
        with opening(_size_of(path)):
            return _declared_in(path, **options)
    except BudgetError as error:
        raise OnnxError(f"{path}: {error}") from None


def _size_of(path: Any) -> int:
    try:
        return os.path.getsize(path)
    except (OSError, TypeError, ValueError):
        return 0


def _declared_in(
    path: str | os.PathLike[str],
    *,
    output: str | None = None,
    loss: str | None = None,
    sizes: Mapping[str, int] | None = None,
    values: Mapping[str, npt.ArrayLike] | None = None,
    dtype: npt.DTypeLike | None = None,
) -> Declared:
    file = read(path)
    metadata = {entry.key: entry.value for entry in file.proto.metadata_props}
    outputs = [value.name for value in file.proto.graph.output]
    chosen = output or (metadata[OUTPUT] if metadata.get(OUTPUT) in outputs else outputs[0])
    if chosen not in outputs:
        file.fail(f"it has no output {chosen!r}{nearest(chosen, outputs)} (outputs: {listing(outputs)})")
    loss = loss or (metadata[LOSS] if output is None and metadata.get(LOSS) in outputs else None)
    wanted = [chosen, loss] if loss is not None and loss in outputs and loss != chosen else [chosen]
    nodes = nodes_of(file, wanted)
    kind = None if dtype is None else np.dtype(dtype)
    fixed = fixed_values(file, values or {}, sizes or {}, kind)
    shapes = input_shapes(file, nodes, wanted, sizes or {}, fixed, kind)
    batch = _fixed_batch(shapes)

    def record(count: int) -> Imported:
        leaves = {name: shape.leaf(count) for name, shape in shapes.items()}
        return _recorded(Importer(file, {**leaves, **fixed}, kind, any_batch=batch is None), wanted, nodes)

    if batch is None:
        text = equations_for_any(record, nodes, file.proto.graph, file.fail)
    else:
        text = written([record(batch)], [batch], file.proto.graph, file.fail)
    if doubt := file.roles.doubt():
        warnings.warn(f"{file.name}: {doubt}", stacklevel=3)
    added = loss is not None and loss not in outputs
    labels = _add_loss(file, text, loss or "", chosen, batch) if added else {}
    tables = _tables(file, metadata, text, shapes, batch, labels)
    tables["model"] |= {"output": text.outputs[chosen], "loss": text.outputs[loss] if loss is not None else False}
    return Declared(tables, {**text.parameters, **text.state})


def _fixed_batch(shapes: Mapping[str, InputShape]) -> int | None:
    """Return the batch that a file fixes, or ``None`` where it leaves it open."""
    firsts = [shape.sizes[0] for shape in shapes.values() if shape.sizes]
    if any(not isinstance(size, int) for size in firsts):
        return None
    return next((size for size in firsts if isinstance(size, int)), 1)


def _batched(shape: InputShape, batch: int | None) -> bool:
    """Whether the first axis of an input is the batch."""
    if not shape.sizes:
        return False
    return shape.sizes[0] == batch if batch is not None else not isinstance(shape.sizes[0], int)


def _recorded(importer: Importer, outputs: list[str], nodes: list[Node]) -> Imported:
    imported, file = importer.outputs(outputs, nodes), importer.file
    for name, value in imported.outputs.items():
        if isinstance(value, Parts):
            file.fail(f"the output {name!r} is a sequence, and a model gives one tensor")
        if not isinstance(value, Tensor):
            file.fail(f"the output {name!r} does not depend on any input")
    return imported


def _tables(
    file: File,
    metadata: Mapping[str, str],
    text: Written,
    shapes: Mapping[str, InputShape],
    batch: int | None,
    labels: dict[str, Any],
) -> dict[str, Any]:
    real = {array.dtype for array in text.parameters.values()} or {
        shape.dtype for shape in shapes.values() if shape.dtype.kind == "f"
    }
    if len(real) > 1 or any(dtype.name not in _REAL for dtype in real):
        names = sorted(dtype.name for dtype in real)
        one = "float64" if "float64" in names else "float32"
        file.fail(
            f"its weights hold {listing(names)}; a model holds only float32 or float64: read it with dtype={one!r}, "
            f"or --dtype {one}"
        )
    dtype = next(iter(real)).name if real else "float32"
    inputs = {}
    for name, shape in shapes.items():
        if name not in text.inputs:
            continue
        batched = _batched(shape, batch)
        table: dict[str, Any] = {"shape": list(shape.sizes[1:] if batched else shape.sizes)}
        table |= {} if shape.dtype.name == dtype else {"dtype": shape.dtype.name}
        inputs[text.inputs[name]] = table if batched else table | {"batched": False}
    tables: dict[str, Any] = {
        "name": metadata.get("tinygraph.name") or Path(file.name).stem,
        "title": metadata.get(TITLE) or ("" if file.proto.graph.name in _NAMELESS else file.proto.graph.name),
        "dtype": dtype,
        "inputs": inputs | labels,
        "parameters": {name: _drawn(array) for name, array in text.parameters.items()},
        "state": {
            name: _drawn(array) | _kept(array, dtype) | ({"next": text.next[name]} if name in text.next else {})
            for name, array in text.state.items()
        },
        "model": {"equations": text.equations},
        "training": {} if batch is None else {"batch_size": batch},
    }
    return tables if batch is None else tables | {"batch": batch}


def _drawn(array: Array) -> dict[str, Any]:
    """Return the declaration of a weight: its shape, and how it would be drawn again."""
    table: dict[str, Any] = {"shape": list(array.shape)}
    first = array.flat[0].item() if array.size else 0.0
    if array.dtype.kind in "iub" or not array.size or not math.isfinite(first):
        return table | {"init": "zeros"}
    if is_uniform(array):
        known = {0.0: "zeros", 1.0: "ones"}
        return table | ({"init": known[first]} if first in known else {"init": "constant", "value": first})
    # A column of one number for each channel is a bias.
    matrix = array.ndim > 1 and array.shape[1:] not in ((1,), (1, 1), (1, 1, 1))
    return table | {"init": "he_normal" if matrix else "zeros"}


def _kept(array: Array, dtype: str) -> dict[str, Any]:
    return {} if array.dtype.name == dtype else {"dtype": array.dtype.name}


def _add_loss(file: File, text: Written, loss: str, output: str, batch: int | None) -> dict[str, Any]:
    """Put a loss behind the output, and return the table of the labels that it takes."""
    losses = [name for name, function in OPERATIONS.items() if function.op.family == "loss" and _is_loss(name)]
    if not is_operation(loss) or not _is_loss(loss):
        outputs = [value.name for value in file.proto.graph.output]
        close = nearest(loss, [*outputs, *losses])
        file.fail(f"the loss {loss!r} is neither an output ({listing(outputs)}) nor one of {listing(losses)}{close}")
    tensor = text.template[0]
    shape, dtype, given = list(tensor.shape[1:]), tensor.dtype.name, text.outputs[output]
    if loss == "cross_entropy":
        shape, dtype, given = shape[:-1], "int64", text.logits or given
    if not tensor.shape or (batch is not None and tensor.shape[0] != batch):
        file.fail(f"its output {output!r} of shape {tensor.shape} holds no samples for a loss to go over")
    labels, cost = text.names.new("y"), text.names.new("cost")
    text.equations += f"\n{cost} = {loss}({given}, {labels})"
    text.outputs[loss] = cost
    return {labels: {"shape": shape, "dtype": dtype}}


def _is_loss(name: str) -> bool:
    """Whether an operation is a loss of predictions and labels."""
    op = OPERATIONS[name].op
    return len(op.parameters) == 2 and issubclass(op, _loss_class())


def _loss_class() -> type:
    from tinygraph.ops.loss.loss import Loss

    return Loss
