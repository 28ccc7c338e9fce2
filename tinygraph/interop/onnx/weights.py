"""A weight of an ONNX file: an array, and the parameter or state that it becomes where data meet it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from tinygraph.graph.arrays import Array
from tinygraph.graph.tensor import Tensor
from tinygraph.interop.onnx.names import Reader
from tinygraph.interop.onnx.operators.table import ops


@dataclass
class Weight:
    """An array of real numbers; where data meet it, it becomes a parameter, in the shape that is needed first.

    Running statistics are state instead: in training they follow the batches of ``follows``, by the operation ``statistic``
    and ``momentum``. ``owners`` are the parameters that an exporter merged into one array: this one is the first, the
    others are ``copied``. ``transposed`` is the weight that this one is the transpose of.
    """

    name: str
    array: Array
    tensor: Tensor | None = None
    reader: Reader | None = None
    follows: Tensor | None = None
    statistic: str = ""
    momentum: float = 0.1
    copied: bool = False
    transposed: Weight | None = None
    owners: dict[Any, Weight] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Keep the shape that the array has in the file."""
        self.shape = self.array.shape

    def owned(self, key: Any) -> Weight:
        """Return the parameter with this key among those that were merged."""
        if key not in self.owners:
            name = f"{self.name}#{len(self.owners)}"
            self.owners[key] = Weight(name, self.array.reshape(self.shape), copied=True) if self.owners else self
        return self.owners[key]

    def recorded(self, columns: int = 0, kind: Literal["parameter", "state"] = "parameter") -> Any:
        """Return the parameter; a vector with a number for each channel gets ``columns`` more axes of size 1."""
        if self.transposed is not None:
            return ops.transpose(self.transposed.recorded())
        column = columns > 0 and self.array.ndim == 1
        shape = (self.array.shape[0],) + (1,) * columns if column else self.array.shape
        if self.tensor is None:
            self.array = self.array.reshape(shape)
            self.tensor = Tensor(kind, None, (), None, shape, self.array.dtype, self.name)
        return self.tensor if self.tensor.shape == shape else ops.reshape(self.tensor, shape)
