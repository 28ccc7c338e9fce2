"""Samples that are read when they are indexed, so that data may be larger than the memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygraph.graph import Array, Shaped

# In bytes: arrays up to this size are read at once, so that all their mistakes are found before a training starts.
MOST_IN_MEMORY = 2**28


class Lazy(Shaped):
    """Samples of a file or folder that are read batch by batch. An index, a slice or an array of places, gives an array.

    ``read`` returns the samples at an array of places in their source, and ``places`` are those of the samples, in order.
    ``shape`` and ``dtype`` are those of the array that they would be, ``sample`` is the shape of one.

    >>> squares = Lazy(lambda at: at**2, np.arange(1000), (), "int64")
    >>> squares.shape, squares[2:4], squares.take(np.array([30, 20]))[:]
    ((1000,), array([4, 9]), array([900, 400]))
    >>> squares.map(lambda array, at: array / 2, "float64", ())[:2]
    array([0. , 0.5])
    """

    def __init__(self, read: Callable[[Array], Array], places: Array, sample: tuple[int, ...], dtype: Any) -> None:
        self._read, self.places, self.sample, self.dtype = read, places, sample, np.dtype(dtype)
        self.shape = (len(places), *sample)

    @staticmethod
    def of(array: Array) -> Lazy:
        """Return the samples of an array, perhaps one that lies in a file (``np.memmap``)."""
        return Lazy(lambda at: np.asarray(array[at]), np.arange(len(array)), array.shape[1:], array.dtype)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: Any) -> Array:
        at = self.places[index]
        if not at.size:
            return np.empty((0, *self.sample), self.dtype)
        return self._read(at) if at.ndim else self._read(at[None])[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.asarray(self[:], dtype)

    def take(self, chosen: Array) -> Lazy:
        """Return the samples at some indices, which are not read yet."""
        return Lazy(self._read, self.places[chosen], self.sample, self.dtype)

    def map(self, function: Callable[[Array, Array], Array], dtype: Any, sample: tuple[int, ...]) -> Lazy:
        """Return ``function`` of the samples and their places in the source, computed when they are read."""
        return Lazy(lambda at: function(self._read(at), at), self.places, sample, dtype)


def lazily(samples: Any) -> Any:
    """Return lazy samples, or those of a ``np.memmap``, as an array if they are few, and as ``Lazy`` if not; others unchanged.

    >>> lazily(Lazy(lambda at: at, np.arange(3), (), "int64"))
    array([0, 1, 2])
    """
    samples = Lazy.of(samples) if isinstance(samples, np.memmap) and samples.ndim else samples
    few = isinstance(samples, Lazy) and samples.size * samples.dtype.itemsize <= MOST_IN_MEMORY
    return samples[:] if few else samples


def taken(samples: Any, chosen: Array) -> Any:
    """Return the samples at some indices, without reading them if they are lazy."""
    return samples.take(chosen) if isinstance(samples, Lazy) else None if samples is None else samples[chosen]


def joined(first: Any, second: Any) -> Any:
    """Return the samples of two sources, one after the other, without reading them if they are lazy.

    >>> joined(np.arange(2), Lazy(lambda at: at, np.arange(9), (), "int64").take(np.array([7, 8])))[:]
    array([0, 1, 7, 8])
    """
    if not isinstance(first, Lazy) and not isinstance(second, Lazy):
        return None if first is None or second is None else np.concatenate([first, second])

    def read(at: Array) -> Array:
        of_first, found = at < len(first), np.empty((len(at), *first.shape[1:]), first.dtype)
        found[of_first], found[~of_first] = first[at[of_first]], second[at[~of_first] - len(first)]
        return found

    return Lazy(read, np.arange(len(first) + len(second)), first.shape[1:], first.dtype)
