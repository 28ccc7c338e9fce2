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

from tinygraph.errors import BudgetError, ModelError, OnnxError, listing, nearest, unknown
from tinygraph.graph.arrays import Array
from tinygraph.graph.budget import opening
from tinygraph.graph.op import Op
from tinygraph.graph.registry import is_operation, operation, operations
from tinygraph.graph.tensor import Tensor
from tinygraph.interop.onnx.equations import Equations, equations_of
from tinygraph.interop.onnx.follow import equations_for_any
from tinygraph.interop.onnx.importer import Imported, Importer, nodes_of
from tinygraph.interop.onnx.inputs import InputShape, fixed_values, input_shapes
from tinygraph.interop.onnx.read import File, read
from tinygraph.interop.onnx.roles import is_uniform
from tinygraph.model.model import Model

# The keys of metadata in files that tinygraph wrote.
NAME, OUTPUT, LOSS, TITLE = (f"tinygraph.{key}" for key in ("name", "output", "loss", "title"))
_REAL = ("float32", "float64")
# The names that exporters give to graphs without a name.
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
            return _declared_in(read(path), **options)
    except BudgetError as error:
        raise OnnxError(f"{path}: {error}") from None


def _size_of(path: Any) -> int:
    try:
        return os.path.getsize(path)
    except (OSError, TypeError, ValueError):
        return 0


def _declared_in(
    file: File,
    *,
    output: str | None = None,
    loss: str | None = None,
    sizes: Mapping[str, int] | None = None,
    values: Mapping[str, npt.ArrayLike] | None = None,
    dtype: npt.DTypeLike | None = None,
) -> Declared:
    outputs = [value.name for value in file.proto.graph.output]
    chosen = output or (file.metadata[OUTPUT] if file.metadata.get(OUTPUT) in outputs else outputs[0])
    if chosen not in outputs:
        file.fail(unknown("it", "output", chosen, outputs))
    loss = loss or (file.metadata[LOSS] if output is None and file.metadata.get(LOSS) in outputs else None)
    wanted = list(dict.fromkeys([chosen, loss] if loss is not None and loss in outputs else [chosen]))
    nodes = nodes_of(file, wanted)
    kind = None if dtype is None else np.dtype(dtype)
    fixed = fixed_values(file, values or {}, sizes or {}, kind)
    shapes = input_shapes(file, nodes, wanted, sizes or {}, fixed, kind)
    # The batch is open if any first axis is.
    firsts = [shape.sizes[0] for shape in shapes.values() if shape.sizes] or [1]
    batch = None if None in firsts else firsts[0]

    def record(count: int) -> Imported:
        leaves = {name: shape.leaf(count) for name, shape in shapes.items()}
        imported = Importer(file, {**leaves, **fixed}, kind, any_batch=batch is None).outputs(wanted, nodes)
        for name, value in imported.outputs.items():
            if not isinstance(value, Tensor):
                file.fail(f"the output {name!r} does not depend on any input")
        return imported

    if batch is None:
        equations = equations_for_any(record, nodes, file.proto.graph, file.fail)
    else:
        equations = equations_of([record(batch)], [batch], file.proto.graph, file.fail)
    if doubt := file.roles.doubt():
        warnings.warn(f"{file.name}: {doubt}", stacklevel=3)
    labels = _add_loss(file, equations, loss, chosen, batch) if loss is not None and loss not in outputs else {}
    tables = _tables(file, equations, shapes, batch, labels)
    names = equations.outputs
    tables["model"] |= {"output": names[chosen], "loss": names[loss] if loss is not None else False}
    return Declared(tables, {**equations.parameters, **equations.state})


def _tables(
    file: File, equations: Equations, shapes: Mapping[str, InputShape], batch: int | None, labels: dict[str, Any]
) -> dict[str, Any]:
    real = {array.dtype.name for array in equations.parameters.values()}
    real = real or {shape.dtype.name for shape in shapes.values() if shape.dtype.kind == "f"}
    if len(real) > 1 or not real.issubset(_REAL):
        one = "float64" if "float64" in real else "float32"
        file.fail(
            f"its weights hold {listing(sorted(real))}; a model holds only float32 or float64: read it with "
            f"dtype={one!r}, or --dtype {one}"
        )
    dtype = next(iter(real), "float32")
    title = "" if file.proto.graph.name in _NAMELESS else file.proto.graph.name
    tables: dict[str, Any] = {
        "name": file.metadata.get(NAME) or Path(file.name).stem,
        "title": file.metadata.get(TITLE) or title,
        "dtype": dtype,
        "inputs": {},
        "parameters": {name: _declaration(array, dtype) for name, array in equations.parameters.items()},
        "state": {name: _declaration(array, dtype) for name, array in equations.state.items()},
        "model": {"equations": equations.text},
        "training": {} if batch is None else {"batch_size": batch},
    }
    for name, label in equations.inputs.items():
        shape, batched = shapes[name], shapes[name].batched(batch)
        table: dict[str, Any] = {"shape": list(shape.sizes[1:] if batched else shape.sizes)}
        table |= {} if shape.dtype.name == dtype else {"dtype": shape.dtype.name}
        tables["inputs"][label] = table if batched else table | {"batched": False}
    tables["inputs"] |= labels
    for name, update in equations.next.items():
        tables["state"][name]["next"] = update
    return tables if batch is None else tables | {"batch": batch}


def _declaration(array: Array, dtype: str) -> dict[str, Any]:
    """Return the declaration of a weight: its shape, its dtype if not that of the model, and a new initial value."""
    table: dict[str, Any] = {"shape": list(array.shape)}
    table |= {} if array.dtype.name == dtype else {"dtype": array.dtype.name}
    first = array.flat[0].item() if array.size else 0.0
    if array.dtype.kind in "iub" or not array.size or not math.isfinite(first):
        return table | {"init": "zeros"}
    if is_uniform(array):
        known = {0.0: "zeros", 1.0: "ones"}
        return table | ({"init": known[first]} if first in known else {"init": "constant", "value": first})
    # A column of one number for each channel is a bias.
    matrix = array.ndim > 1 and any(size != 1 for size in array.shape[1:])
    return table | {"init": "he_normal" if matrix else "zeros"}


def _add_loss(file: File, equations: Equations, loss: str, output: str, batch: int | None) -> dict[str, Any]:
    """Add the equation of a loss of the output, and return the table of the labels that it takes."""
    losses = [name for name, function in operations().items() if _is_loss(function.op)]
    if not is_operation(loss) or not _is_loss(operation(loss).op):
        outputs = [value.name for value in file.proto.graph.output]
        close = nearest(loss, [*outputs, *losses])
        file.fail(f"the loss {loss!r} is neither an output ({listing(outputs)}) nor one of {listing(losses)}{close}")
    tensor = equations.template.outputs[0]
    shape, dtype, given = list(tensor.shape[1:]), tensor.dtype.name, equations.outputs[output]
    decision = operation(loss).op.decision
    if decision is not None and not decision.thresholds:
        # Labels are class numbers, and predictions are logits.
        shape, dtype, given = shape[:-1], "int64", equations.logits or given
    if not tensor.shape or (batch is not None and tensor.shape[0] != batch):
        file.fail(f"its output {output!r} of shape {tensor.shape} has no axis of samples for a loss")
    labels, cost = equations.names.new("y"), equations.names.new("cost")
    equations.text += f"\n{cost} = {loss}({given}, {labels})"
    equations.outputs[loss] = cost
    return {labels: {"shape": shape, "dtype": dtype}}


def _is_loss(op: type[Op]) -> bool:
    """Whether an operation is a loss of predictions and labels."""
    return op.family == "loss" and len(op.parameters) == 2
