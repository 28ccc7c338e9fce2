"""An index as an attribute of an operation: what stands in ``x[...]``, in a form that can be compared and hashed."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygraph.errors import AttributeValueError
from tinygraph.graph import Tensor


@dataclass(frozen=True)
class Slice:
    """A slice that can be compared and hashed."""

    start: int | None
    stop: int | None
    step: int | None

    def __str__(self) -> str:
        text = ":".join("" if part is None else str(part) for part in (self.start, self.stop))
        return text if self.step is None else f"{text}:{self.step}"


@dataclass(frozen=True)
class Positions:
    """An array of positions along one axis, or of booleans for several (a mask), that can be compared and hashed."""

    shape: tuple[int, ...]
    elements: bytes
    is_mask: bool

    @property
    def axes(self) -> int:
        """How many axes it picks along."""
        return len(self.shape) if self.is_mask else 1

    def array(self) -> Any:
        """Return the positions as an array."""
        return np.frombuffer(self.elements, bool if self.is_mask else np.intp).reshape(self.shape)

    def __str__(self) -> str:
        # Lists would not show all sizes of an array without elements.
        kind = "bool" if self.is_mask else "int"
        return f"np.zeros({self.shape}, {kind})" if 0 in self.shape[:-1] else str(self.array().tolist())


class Index(tuple[Any, ...]):
    """An index: integers, ``Slice``, ``Positions``, ``None``, ``...``."""

    @classmethod
    def of(cls, index: Any, operation: str) -> Index:
        """Return what a user wrote as an index, or raise ``AttributeValueError`` in the name of an operation."""
        if isinstance(index, Index):
            return index
        try:
            return cls(_part(part) for part in (index if isinstance(index, tuple) else (index,)))
        except (TypeError, ValueError) as error:
            raise AttributeValueError(f"{operation}: {error}") from None

    def apply(self) -> tuple[Any, ...]:
        """Return the index as NumPy takes it."""
        return tuple(for_numpy(part) for part in self)

    def picked(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of what the index picks out of an array of ``shape``, as NumPy does, without picking it.

        Raises ``IndexError`` and ``ValueError`` where it does not fit.
        """
        if self.is_basic:
            # A view of one number, which costs nothing.
            picked: tuple[int, ...] = np.broadcast_to(np.zeros((), bool), shape)[self.apply()].shape
            return picked
        blocks, sizes, places, axis = [], [], [], 0
        for place, part in enumerate(self.spread(len(shape))):
            if part is None:
                sizes.append((place, 1))
            elif isinstance(part, Slice):
                sizes.append((place, len(range(*for_numpy(part).indices(shape[axis])))))
                axis += 1
            else:
                blocks.append(_block(for_numpy(part), shape, axis))
                places.append(place)
                axis += part.axes if isinstance(part, Positions) else 1
        # What arrays pick stands where they stand; in front, where something stands between them.
        together = places[-1] - places[0] < len(places)
        first = sum(place < places[0] for place, _ in sizes) if together else 0
        counts = [size for _, size in sizes]
        return (*counts[:first], *np.broadcast_shapes(*blocks), *counts[first:])

    def spread(self, ndim: int) -> list[Any]:
        """Return the parts with a slice for each axis that ``...`` or no part covers."""
        parts = list(self) if any(part is Ellipsis for part in self) else [*self, Ellipsis]
        taken = sum(p.axes if isinstance(p, Positions) else p is not None and p is not Ellipsis for p in parts)
        if taken > ndim:
            raise IndexError(f"there are {ndim} axes, and {taken} are indexed")
        at = next(i for i, part in enumerate(parts) if part is Ellipsis)
        if any(part is Ellipsis for part in parts[at + 1 :]):
            raise IndexError("an index can hold ... once")
        return [*parts[:at], *[Slice(None, None, None)] * (ndim - taken), *parts[at + 1 :]]

    @property
    def is_basic(self) -> bool:
        """Whether it holds no arrays (NumPy's basic indexing): then the axes keep their order."""
        return not any(isinstance(part, Positions) for part in self)

    @property
    def takes_once(self) -> bool:
        """Whether every element is taken at most once: no arrays of positions."""
        return not any(isinstance(part, Positions) and not part.is_mask for part in self)

    def __str__(self) -> str:
        return ", ".join("..." if part is Ellipsis else str(part) for part in self)

    def keeps_first(self, count: int) -> bool:
        """Whether the index takes the first axis, of size ``count``, as it stands."""
        first = self[0] if self else None
        if not self.is_basic or not isinstance(first, Slice):
            return False
        return first.start in (None, 0) and (first.stop is None or first.stop >= count) and first.step in (None, 1)


def _part(part: Any) -> Any:
    if isinstance(part, slice):
        ends = [None if end is None else operator.index(end) for end in (part.start, part.stop, part.step)]
        if ends[2] == 0:
            raise ValueError("the step of a slice cannot be 0")
        return Slice(*ends)
    if part is None or part is Ellipsis or isinstance(part, (Slice, Positions)):
        return part
    if isinstance(part, Tensor) and part.kind != "constant":
        raise TypeError(
            "positions are fixed when a graph is recorded, so a tensor cannot be one; index with its .value"
        )
    array = np.asarray(part)
    is_mask = array.dtype == bool and array.ndim > 0
    if not is_mask and ((array.dtype.kind not in "iu" and array.size) or array.dtype == bool):
        raise TypeError(f"an index holds whole numbers, slices, None, ... or arrays of positions; found {part!r}")
    if not array.ndim:
        return int(array)
    return Positions(array.shape, array.astype(bool if is_mask else np.intp).tobytes(), is_mask)


def _block(part: Any, shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    """Return the shape of an array of positions along ``axis``, or of a mask as one; they must lie within ``shape``."""
    array = np.asarray(part)
    if array.dtype == bool:
        if array.shape != shape[axis : axis + array.ndim]:
            raise IndexError(f"a mask of shape {array.shape} does not fit axes of sizes {shape[axis:][: array.ndim]}")
        return (int(np.count_nonzero(array)),)
    if array.size and not (-shape[axis] <= array.min() and array.max() < shape[axis]):
        outside = array[(array < -shape[axis]) | (array >= shape[axis])].flat[0]
        raise IndexError(f"index {outside} is out of bounds for axis {axis} with size {shape[axis]}")
    return array.shape


def for_numpy(part: Any) -> Any:
    """Return a part of an index as NumPy takes it.

    >>> for_numpy(Slice(1, None, 2))
    slice(1, None, 2)
    """
    if isinstance(part, Slice):
        return slice(part.start, part.stop, part.step)
    return part.array() if isinstance(part, Positions) else part
