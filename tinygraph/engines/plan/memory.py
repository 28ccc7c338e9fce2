"""Memory of a program: which arrays share bytes, and in which order the elements of an array lie.

The samples are the innermost axis in memory. NumPy's loops run along this axis; so slices of images, pools and columns of
windows are long runs for any stride, and a row of windows is a matrix. Users and rules see the usual order of axes.
"""

import bisect
from collections.abc import Sequence
from dataclasses import dataclass, field

from tinygraph.graph import Shape

# Vectors of the widest instructions, and lines of the cache, begin at multiples of this.
ALIGNMENT = 64


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
    _starts: list[int] = field(default_factory=list)
    _ends: list[int] = field(default_factory=list)

    def take(self, nbytes: int) -> int:
        """Return the offset of ``nbytes`` free bytes, which are in use from now on."""
        nbytes = _rounded(nbytes)
        for i, (start, end) in enumerate(zip(self._starts, self._ends, strict=True)):
            if end - start >= nbytes:
                self._starts[i] = start + nbytes
                if self._starts[i] == end:
                    del self._starts[i], self._ends[i]
                return start
        # A free place at the end can grow.
        start = self.size
        if self._ends and self._ends[-1] == self.size:
            start = self._starts.pop()
            self._ends.pop()
        self.size = start + nbytes
        return start

    def give(self, start: int, nbytes: int) -> None:
        """Free bytes that were taken."""
        end = start + _rounded(nbytes)
        i = bisect.bisect_left(self._starts, start)
        if i < len(self._starts) and self._starts[i] == end:
            end = self._ends[i]
            del self._starts[i], self._ends[i]
        if i > 0 and self._ends[i - 1] == start:
            self._ends[i - 1] = end
            return
        self._starts.insert(i, start)
        self._ends.insert(i, end)


def _rounded(nbytes: int) -> int:
    return max(-(-nbytes // ALIGNMENT), 1) * ALIGNMENT


# Images (N, C, H, W) lie as rows, channels, columns, samples.
IMAGE = (2, 1, 3, 0)


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


def reshaped(shape: Shape, strides: Sequence[int], to: Shape) -> tuple[int, ...] | None:
    """Return the strides of a view in another shape, or ``None`` where only a copy has it.

    >>> reshaped((2, 3, 4), (48, 16, 4), (6, 4)), reshaped((2, 3), (4, 8), (6,))
    ((16, 4), None)
    """
    old = [(size, step) for size, step in zip(shape, strides, strict=True) if size != 1]
    new: list[int] = []
    sizes = list(to)
    i = 0
    for size, step in _merged(old):
        # Fill one dense run of the old array with axes of the new shape.
        run = size
        axes = []
        while i < len(sizes) and run > 1 and run % sizes[i] == 0:
            run //= sizes[i]
            axes.append((sizes[i], run * step))
            i += 1
        if run != 1:
            return None
        new += [stride for _, stride in axes]
    if any(size != 1 for size in sizes[i:]):
        return None
    return (*new, *(0 for _ in sizes[i:]))


def _merged(axes: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return axes with neighbours merged that are dense in one another."""
    merged: list[tuple[int, int]] = []
    for size, step in axes:
        if merged and merged[-1][1] == size * step:
            merged[-1] = (merged[-1][0] * size, step)
        else:
            merged.append((size, step))
    return merged
