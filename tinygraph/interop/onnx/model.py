"""From an ONNX file to a declared model: its inputs, the tables of a model file, and the values of its weights."""

import math
import os
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from tinygraph.errors import BudgetError, ModelError, OnnxError, TinygraphError, listing, nearest, unknown
from tinygraph.graph import Array, Tensor, cast_array, numeric_array, opening, operation, operations
from tinygraph.interop.onnx.equations import Equations, equations_for_any
from tinygraph.interop.onnx.importer import Importer, nodes_of
from tinygraph.interop.onnx.inner import names_read
from tinygraph.interop.onnx.read import File, read
from tinygraph.interop.onnx.roles import is_uniform
from tinygraph.interop.onnx.tensors import MOST_ELEMENTS, REAL
from tinygraph.model.model import Model

# The keys of metadata in files that tinygraph wrote.
NAME, OUTPUT, LOSS, TITLE, FROZEN = (f"tinygraph.{key}" for key in ("name", "output", "loss", "title", "frozen"))
_Shape: TypeAlias = tuple[int | None, ...]
_REAL = ("float32", "float64")
# The names that exporters give to graphs without a name.
_NAMELESS = {"graph", "main_graph", "torch_jit", "torch-jit-export", "tf2onnx"}


class Declared(NamedTuple):
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


def _size_of(path: Any) -> int:
    try:
        return os.path.getsize(path)
    except (OSError, TypeError, ValueError):
        return 0


def declared_in(path: str | os.PathLike[str], **options: Any) -> Declared:
    """Return the model in an ONNX file as tables and values. The options are those of ``from_onnx``."""
    try:
        with opening(_size_of(path)):
            return _Opening(read(path), **options).declared()
    except BudgetError as error:
        raise OnnxError(f"{path}: {error}") from None


class Axis(NamedTuple):
    """An axis of an input: its size where it has one, and the name of the size in the file."""

    place: str
    symbol: str
    size: int | None


@dataclass
class _Opening:
    """A file that is opened, with the options of ``from_onnx``."""

    file: File
    output: str | Sequence[str] | None = None
    loss: str | None = None
    sizes: Mapping[str, int] | None = None
    values: Mapping[str, Any] | None = None
    dtype: Any = None

    def declared(self) -> Declared:
        """Return the model as tables and values."""
        file, outputs = self.file, [value.name for value in self.file.proto.graph.output]
        own, own_loss = file.metadata.get(OUTPUT, ""), file.metadata.get(LOSS, "")
        given = [self.output] if isinstance(self.output, str) else list(self.output or ())
        chosen, *others = given or [own if own in outputs else outputs[0]]
        for name in (chosen, *others):
            if name not in outputs:
                file.fail(unknown("it", "output", name, outputs))
        loss = self.loss or (own_loss if self.output is None and own_loss in outputs else None)
        wanted = list(dict.fromkeys([chosen, *others, *([loss] if loss is not None and loss in outputs else [])]))
        nodes = nodes_of(file, wanted)
        self.dtype = None if self.dtype is None else np.dtype(self.dtype)
        fixed = self.fixed_values()
        needed = set(wanted).union(*(names_read(node.proto) for node in nodes))
        shapes = self.input_shapes([name for name in file.inputs if name in needed and name not in fixed])
        # The batch is open if any first axis is.
        firsts = [shape[0] for shape in shapes.values() if shape] or [1]
        batch = None if None in firsts else firsts[0]

        def record(count: int) -> Importer:
            leaves: dict[str, Any] = dict(fixed)
            for name, shape in shapes.items():
                sizes = tuple(count if size is None else size for size in shape)
                leaves[name] = Tensor("input", None, (), None, sizes, self.dtype_of(name), name)
            imported = Importer(file, leaves, self.dtype, any_batch=batch is None).record(wanted, nodes)
            for name, value in imported.outputs.items():
                if not isinstance(value, Tensor):
                    file.fail(f"the output {name!r} does not depend on any input")
            return imported

        if batch is None:
            equations = equations_for_any(record, nodes, file.proto.graph, file.fail)
        else:
            equations = Equations([record(batch)], [batch], file.proto.graph, file.fail)
        if doubt := file.roles.doubt():
            warnings.warn(f"{file.name}: {doubt}", stacklevel=3)
        labels = _add_loss(file, equations, loss, chosen, batch) if loss is not None and loss not in outputs else {}
        tables, names = self._tables(equations, shapes, batch), equations.outputs
        tables["inputs"] |= labels
        tables["model"] |= {"output": names[chosen], "loss": names[loss] if loss is not None else False}
        return Declared(tables, {**equations.parameters, **equations.state})

    def dtype_of(self, name: str) -> np.dtype[Any]:
        """Return the dtype of an input."""
        found = self.file.dtype_of(self.file.inputs[name])
        return self.dtype if self.dtype is not None and found in REAL else found

    def axes(self, name: str, given: Mapping[str, int]) -> list[Axis]:
        """Return the axes of an input, with the sizes that a user gives."""
        self.dtype_of(name)
        declared = self.file.inputs[name].type.tensor_type
        if not declared.HasField("shape"):
            self.file.fail(f"input {name!r} does not say how many axes it has")
        axes = []
        for number, dim in enumerate(declared.shape.dim):
            place = f"{name}.{number}"
            # Some exporters write 0 or -1 where they mean any size.
            size = dim.dim_value if dim.dim_value >= 1 else given.get(place, given.get(dim.dim_param))
            axes.append(Axis(place, dim.dim_param, size))
        return axes

    def input_shapes(self, names: list[str]) -> dict[str, _Shape]:
        """Return the shapes of inputs; only the first of their sizes may be open: the batch.

        Raises ``OnnxError`` that names every size that is missing.
        """
        axes = {name: self.axes(name, self.sizes or {}) for name in names}
        if not axes:
            self.file.fail("its output does not depend on any input")
        missing = [axis for found in axes.values() for axis in found[1:] if axis.size is None]
        if missing:
            # A user gives a size by its name, or else by the place of the axis.
            named = [axis.symbol if re.fullmatch(r"\w+", axis.symbol) else axis.place for axis in missing]
            keys = list(dict.fromkeys(named))
            places = listing(axis.place + (f" ({axis.symbol})" if axis.symbol else "") for axis in missing)
            sizes = ", ".join(f"{key!r}: ..." for key in keys)
            options = " ".join(f"--size {key}=..." for key in keys)
            self.file.fail(f"axes without a size: {places}; give them with sizes={{{sizes}}} or {options}")
        return {name: tuple(axis.size for axis in found) for name, found in axes.items()}

    def check_sizes(self, given: Mapping[str, int]) -> None:
        """Refuse sizes that no input needs, and values that are not sizes."""
        axes = [axis for name in self.file.inputs for axis in self.axes(name, {})] if given else []
        known = {key for axis in axes if axis.size is None for key in (axis.symbol, axis.place) if key}
        for key, size in given.items():
            if key not in known:
                has = next((f"; {key} is {axis.size} in the file" for axis in axes if axis.place == key), "")
                self.file.fail(f"no input has an open size called {key!r}{has or nearest(key, known)}")
            if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 1:
                self.file.fail(f"the size {key!r} must be a whole number of at least 1; found {size!r}")

    def fixed_values(self) -> dict[str, Array]:
        """Return the inputs that are fixed to a value, in their dtypes and shapes; one number fills any shape."""
        file, sizes = self.file, self.sizes or {}
        self.check_sizes(sizes)
        fixed = {}
        for name, value in (self.values or {}).items():
            if name not in file.inputs:
                file.fail(unknown("it", "input", name, file.inputs))
            wanted = [axis.size for axis in self.axes(name, sizes)]
            try:
                array = cast_array(numeric_array(value, "the value"), self.dtype_of(name), "the value")
            except TinygraphError as error:
                file.fail(f"input {name!r}: {error}")
            shape = tuple(size for size in wanted if size is not None)
            if array.ndim == 0 and len(shape) == len(wanted):
                if math.prod(shape) > MOST_ELEMENTS:
                    file.fail(f"input {name!r} would have the shape {shape}")
                array = np.broadcast_to(array, shape)
            if len(wanted) != array.ndim or any(a not in (None, b) for a, b in zip(wanted, array.shape, strict=True)):
                sides = ", ".join("?" if size is None else str(size) for size in wanted)
                file.fail(f"input {name!r} takes a value of shape ({sides}); found {array.shape}")
            fixed[name] = array
        return fixed

    def _tables(self, equations: Equations, shapes: Mapping[str, _Shape], batch: int | None) -> dict[str, Any]:
        file, graph_name = self.file, self.file.proto.graph.name
        real = {array.dtype.name for array in equations.parameters.values()}
        real = real or {dtype.name for dtype in map(self.dtype_of, shapes) if dtype.kind == "f"}
        if len(real) > 1 or not real.issubset(_REAL):
            one = "float64" if "float64" in real else "float32"
            advice = f"a model holds only float32 or float64: read it with dtype={one!r}, or --dtype {one}"
            file.fail(f"its weights hold {listing(sorted(real))}; {advice}")
        dtype = next(iter(real), "float32")
        tables: dict[str, Any] = {
            "name": file.metadata.get(NAME) or Path(file.name).stem,
            "title": file.metadata.get(TITLE) or ("" if graph_name in _NAMELESS else graph_name),
            "dtype": dtype,
            "inputs": {},
            "parameters": {name: _declaration(array, dtype) for name, array in equations.parameters.items()},
            "state": {name: _declaration(array, dtype) for name, array in equations.state.items()},
            "model": {"equations": equations.text},
            "training": {} if batch is None else {"batch_size": batch},
            "names": equations.originals,
            "groups": equations.groups,
        }
        for name, label in equations.inputs.items():
            shape, kind = shapes[name], self.dtype_of(name).name
            batched = bool(shape) and shape[0] == batch
            table = {"shape": list(shape[1:] if batched else shape)} | ({} if kind == dtype else {"dtype": kind})
            tables["inputs"][label] = table if batched else table | {"batched": False}
        frozen = file.metadata.get(FROZEN, "").split()
        for leaf, name in equations.leaves.items():
            if name in frozen and leaf.name in tables["parameters"]:
                tables["parameters"][leaf.name]["trainable"] = False
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
    # The losses of predictions and labels.
    losses = [name for name, f in operations().items() if f.op.family == "loss" and len(f.op.parameters) == 2]
    if loss not in losses:
        outputs = [value.name for value in file.proto.graph.output]
        close = nearest(loss, [*outputs, *losses])
        file.fail(f"the loss {loss!r} is neither an output ({listing(outputs)}) nor one of {listing(losses)}{close}")
    tensor = equations.results[0]
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
