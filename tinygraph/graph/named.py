"""Tensors by name, such as the parameters of a model."""

from collections.abc import Iterator, Mapping
from typing import Any

from tinygraph.graph.tensor import Tensor
from tinygraph.readers import reader


class NamedTensors(Mapping[str, Tensor]):
    """Tensors by name, for reading. ``print`` shows them as a table, and so does a notebook.

    >>> import tinygraph as tg
    >>> print(tg.load_model("xor").parameters)
    W1  parameter  float32 (2, 4)  8
    B1  parameter  float32 (4,)    4
    W2  parameter  float32 (4, 1)  4
    B2  parameter  float32 (1,)    1
    """

    __slots__ = ("_tensors",)

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._tensors = tensors

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def __or__(self, others: Mapping[str, Any]) -> dict[str, Any]:
        return {**self, **others}

    def __repr__(self) -> str:
        rows = [(name, x.kind, f"{x.dtype} {x.shape}", f"{x.size:,}") for name, x in self.items()]
        return str(reader("aligned")(rows)) if rows else "no tensors"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: a table of shapes and of the numbers that the tensors hold."""
        view: str = reader("tensors_view")(self)
        return view
