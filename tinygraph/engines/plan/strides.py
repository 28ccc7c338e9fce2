"""Where the elements of arrays lie in memory: orders of axes, and views found without touching an array."""

from __future__ import annotations

from collections.abc import Sequence

from tinygraph.graph.op import Shape


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
    """Return axes with neighbours that lie dense in one another as one."""
    merged: list[tuple[int, int]] = []
    for size, step in axes:
        if merged and merged[-1][1] == size * step:
            merged[-1] = (merged[-1][0] * size, step)
        else:
            merged.append((size, step))
    return merged
