"""The inputs of an ONNX file: their sizes, some of them given by the user, and those that the user fixes to a value."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tinygraph.errors import TinygraphError, listing, nearest, unknown
from tinygraph.graph.arrays import Array, cast_array, numeric_array
from tinygraph.graph.tensor import Tensor
from tinygraph.interop.onnx.inner import names_read
from tinygraph.interop.onnx.node import Node
from tinygraph.interop.onnx.read import File
from tinygraph.interop.onnx.tensors import MOST_ELEMENTS, REAL


@dataclass(frozen=True)
class InputShape:
    """An input of a graph: its sizes, the first of which may be open, and a dtype."""

    name: str
    sizes: tuple[int | None, ...]
    dtype: np.dtype[Any]

    def leaf(self, batch: int) -> Tensor:
        """Return the input for a number of samples."""
        sizes = tuple(batch if size is None else size for size in self.sizes)
        return Tensor("input", None, (), None, sizes, self.dtype, self.name)

    def batched(self, batch: int | None) -> bool:
        """Whether the first axis is the batch, which is open or of a fixed size."""
        return bool(self.sizes) and self.sizes[0] == batch


@dataclass(frozen=True)
class Axis:
    """An axis of an input: its size where it has one, and the name of the size in the file."""

    place: str
    symbol: str
    size: int | None

    @property
    def key(self) -> str:
        """The name by which a user gives the size: that of the size, or else the place of the axis."""
        return self.symbol if re.fullmatch(r"\w+", self.symbol) else self.place


def input_shapes(
    file: File,
    nodes: Iterable[Node],
    outputs: Iterable[str],
    given: Mapping[str, int],
    fixed: Mapping[str, Array],
    dtype: np.dtype[Any] | None,
) -> dict[str, InputShape]:
    """Return the inputs that outputs are computed from; only the first of their sizes may still be open: the batch.

    ``given`` has sizes by their names in the file, or by the place of an axis such as ``x.2``. Raises ``OnnxError`` that
    names every size that is missing.
    """
    needed = {name for node in nodes for name in names_read(node.proto)}.union(outputs)
    values = {name: value for name, value in file.inputs.items() if name in needed and name not in fixed}
    axes = {name: axes_of(file, value, given) for name, value in values.items()}
    if not axes:
        file.fail("its output does not depend on any input")
    missing = [axis for found in axes.values() for axis in found[1:] if axis.size is None]
    if missing:
        keys = list(dict.fromkeys(axis.key for axis in missing))
        places = listing(axis.place + (f" ({axis.symbol})" if axis.symbol else "") for axis in missing)
        sizes = ", ".join(f"{key!r}: ..." for key in keys)
        options = " ".join(f"--size {key}=..." for key in keys)
        file.fail(f"axes without a size: {places}; give them with sizes={{{sizes}}} or {options}")
    return {
        name: InputShape(name, tuple(axis.size for axis in found), _dtype(file, values[name], dtype))
        for name, found in axes.items()
    }


def _dtype(file: File, value: Any, dtype: np.dtype[Any] | None) -> np.dtype[Any]:
    kind = file.dtype_of(value)
    return dtype if dtype is not None and kind in REAL else kind


def axes_of(file: File, value: Any, given: Mapping[str, int]) -> list[Axis]:
    """Return the axes of an input, with the sizes that a user gives."""
    file.dtype_of(value)
    if not value.type.tensor_type.HasField("shape"):
        file.fail(f"input {value.name!r} does not say how many axes it has")
    axes = []
    for place, dim in enumerate(value.type.tensor_type.shape.dim):
        axis = f"{value.name}.{place}"
        # Some exporters write 0 or -1 where they mean any size.
        size = dim.dim_value if dim.dim_value >= 1 else given.get(axis, given.get(dim.dim_param))
        axes.append(Axis(axis, dim.dim_param, size))
    return axes


def check_sizes(file: File, given: Mapping[str, int]) -> None:
    """Refuse sizes that no input needs, and values that are not sizes."""
    axes = [axis for value in file.inputs.values() for axis in axes_of(file, value, {})] if given else []
    known = {key for axis in axes if axis.size is None for key in (axis.symbol, axis.place) if key}
    for key, size in given.items():
        if key not in known:
            has = next((f"; {key} is {axis.size} in the file" for axis in axes if axis.place == key), "")
            file.fail(f"no input has an open size called {key!r}{has or nearest(key, known)}")
        if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 1:
            file.fail(f"the size {key!r} must be a whole number of at least 1; found {size!r}")


def fixed_values(
    file: File, given: Mapping[str, npt.ArrayLike], sizes: Mapping[str, int], dtype: np.dtype[Any] | None
) -> dict[str, Array]:
    """Return the inputs that are fixed to a value, in their dtypes and shapes; one number fills any shape."""
    check_sizes(file, sizes)
    fixed = {}
    for name, value in given.items():
        if name not in file.inputs:
            file.fail(unknown("it", "input", name, file.inputs))
        declared = file.inputs[name]
        wanted = [axis.size for axis in axes_of(file, declared, sizes)]
        try:
            array = cast_array(numeric_array(value, "the value"), _dtype(file, declared, dtype), "the value")
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
