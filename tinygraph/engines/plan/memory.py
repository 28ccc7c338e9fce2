"""Memory of a program: which arrays share bytes, and in which order the elements of an array lie.

The samples are the innermost axis in memory. NumPy's loops run along this axis; so slices of images, pools and columns of
windows are long runs for any stride, and a row of windows is a matrix. Users and rules see the usual order of axes.
"""

import bisect
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from tinygraph.graph import Array, Shape

# Vectors of the widest instructions, and lines of the cache, begin at multiples of this.
ALIGNMENT = 64
# On most machines, lines of the first cache whose addresses differ by a multiple of SETS share a place for WAYS lines.
_SETS, _WAYS = 4096, 8
# So many bytes are copied at a time through other memory.
_MOST_BYTES = 1 << 19


@dataclass
class Arena:
    """Bytes from 0 up. A request gets the lowest free place that fits.

    >>> arena = Arena()
    >>> a, b = arena.take(100), arena.take(100)
    >>> arena.give(a, 100)
    >>> arena.take(64), arena.take(200), arena.size
    (0, 256, 512)
    """

    size: int = 0
    # The start and end of every free place, from the lowest to the highest.
    _free: list[tuple[int, int]] = field(default_factory=list)

    def take(self, nbytes: int) -> int:
        """Return the offset of ``nbytes`` free bytes, which are in use from now on."""
        nbytes = _rounded(nbytes)
        for place, (start, end) in enumerate(self._free):
            # A free place at the end can grow.
            if end - start >= nbytes or end == self.size:
                left = (start + nbytes, end)
                self._free[place : place + 1] = [left] if left[0] < end else []
                break
        else:
            start = self.size
        self.size = max(self.size, start + nbytes)
        return start

    def give(self, start: int, nbytes: int) -> None:
        """Free bytes that were taken."""
        end = start + _rounded(nbytes)
        place = bisect.bisect(self._free, (start, end))
        if place < len(self._free) and self._free[place][0] == end:
            _, end = self._free.pop(place)
        if place and self._free[place - 1][1] == start:
            place -= 1
            start, _ = self._free.pop(place)
        self._free.insert(place, (start, end))


def _rounded(nbytes: int) -> int:
    return max(-(-nbytes // ALIGNMENT), 1) * ALIGNMENT


# Images (N, C, H, W) lie as rows, channels, columns, samples.
IMAGE = (2, 1, 3, 0)
# Lines (N, C, L) lie as pictures with one row do.
LINE = (1, 2, 0)
# Images with their groups of channels apart (N, G, C/G, H, W) lie as the images do.
GROUPS = (3, 1, 2, 4, 0)


def memory_order(shape: Shape, samples: int | None) -> tuple[int, ...]:
    """Return the axes, slowest first, for an array with its samples along an axis, or with none (``None``).

    >>> memory_order((32, 8, 28, 28), 0), memory_order((32, 10), 0), memory_order((8, 1, 3, 3), None)
    ((2, 1, 3, 0), (1, 0), (0, 1, 2, 3))
    """
    if samples == 0 and len(shape) == 4:
        return IMAGE
    if samples == 0 and len(shape) == 2:
        return (1, 0)
    return tuple(range(len(shape)))


def strides_in(order: Sequence[int], shape: Shape, itemsize: int) -> tuple[int, ...]:
    """Return the strides of a dense array whose axes lie in ``order``, slowest first.

    >>> strides_in((1, 0), (2, 3), 4)
    (4, 8)
    """
    strides = [0] * len(shape)
    step = itemsize
    for axis in reversed(order):
        strides[axis] = step
        step *= max(shape[axis], 1)
    return tuple(strides)


def copy_samples(target: Array, source: Array) -> None:
    """Copy arrays with samples along their first axis, which in either may be the innermost in memory.

    NumPy reads one element of every sample after the other. Where samples are apart by a multiple of a large power of two,
    as images of 32 by 32 pixels are, these share few places in the cache, and all are read from memory 16 times. So the
    samples are first copied to where they are apart by another distance. The other way round, a sample is read across all
    of the memory, so parts are copied that stay in the cache, which is faster, with the same numbers.

    >>> x = np.arange(6.0).reshape(3, 2)
    >>> y = np.empty((2, 3)).T
    >>> copy_samples(y, x)
    >>> (x == y).all()
    np.True_
    """
    crowded = source.ndim > 1 and source.size and math.gcd(source.strides[0], _SETS) * len(source) > _SETS * _WAYS
    if crowded and target.strides[0] == target.itemsize:
        for some in _parts(target, _MOST_BYTES):
            part = source[some]
            # An odd number of lines, at the least.
            lines = part.nbytes // len(part) // ALIGNMENT + 1 | 1
            memory = np.empty((len(part), lines * ALIGNMENT), np.uint8)
            strides = strides_in(range(1, part.ndim), part.shape, part.itemsize)
            apart = np.ndarray(part.shape, part.dtype, memory, 0, (memory.strides[0], *strides[1:]))
            apart[...] = part
            target[some] = apart
    elif source.ndim > 1 and source.nbytes > _SETS * _WAYS and source.strides[0] == source.itemsize:
        for some in _parts(source, _SETS * _WAYS):
            target[some] = source[some]
    else:
        target[...] = source


def _parts(array: Array, most: int) -> Iterator[tuple[slice, ...]]:
    """Yield the parts of an array of about ``most`` bytes along the axis that is the outermost in memory after the first."""
    axis = max(range(1, array.ndim), key=lambda axis: array.strides[axis])
    step = max(1, most * array.shape[axis] // array.nbytes)
    for start in range(0, array.shape[axis], step):
        yield (slice(None),) * axis + (slice(start, start + step),)


def reshaped(shape: Shape, strides: Sequence[int], to: Shape) -> tuple[int, ...] | None:
    """Return the strides of a view in another shape, or ``None`` where only a copy has it.

    >>> reshaped((2, 3, 4), (48, 16, 4), (6, 4)), reshaped((2, 3), (4, 8), (6,))
    ((16, 4), None)
    """
    # Axes that are dense in one another, as (number of elements, stride).
    runs: list[tuple[int, int]] = []
    for size, step in zip(shape, strides, strict=True):
        if runs and runs[-1][1] == size * step:
            runs[-1] = (runs[-1][0] * size, step)
        elif size != 1:
            runs.append((size, step))
    new: list[int] = []
    left, step = 1, 0
    # Each run is split into axes of the new shape, from the last to the first.
    for size in reversed(to):
        if left == 1 and size != 1:
            left, step = runs.pop()
        if left % size:
            return None
        new.append(step)
        left, step = left // size, step * size
    return tuple(reversed(new))
