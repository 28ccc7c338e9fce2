"""Cells of windows: which pixels a window reads, which windows a pixel lies in, and which pairs meet at one offset.

All three give positions counted row by row from 0, for explanations; what would lie in the padding is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygraph.graph.arrays import Array
from tinygraph.ops.windows import Windows

# Of one axis: pairs of what stands in the first array with what stands in the second.
Pairs = tuple[Array, Array]


def of_window(windows: Windows, at: Sequence[int]) -> Pairs:
    """Return the offsets in a window and the pixels that they lie on.

    >>> of_window(Windows.over((3, 3), 2, 1, 1), (0, 0))
    (array([3]), array([0]))
    """

    def along(axis: int) -> Pairs:
        offsets = np.arange(windows.kernel[axis])
        pixels = _start(windows, axis, at[axis]) + offsets * windows.dilation[axis]
        inside = (pixels >= 0) & (pixels < windows.image[axis])
        return offsets[inside], pixels[inside]

    return _crossed(along, windows.kernel, windows.image)


def of_pixel(windows: Windows, at: Sequence[int]) -> Pairs:
    """Return the windows that a pixel lies in and the offsets that it has in them.

    >>> of_pixel(Windows.over((3, 3), 2, 1, 0), (0, 1))
    (array([1, 0]), array([0, 1]))
    """

    def along(axis: int) -> Pairs:
        offsets = np.arange(windows.kernel[axis])
        starts = at[axis] + windows.padding[axis][0] - offsets * windows.dilation[axis]
        found = starts // windows.stride[axis]
        fits = (starts % windows.stride[axis] == 0) & (found >= 0) & (found < windows.count[axis])
        return found[fits], offsets[fits]

    return _crossed(along, windows.count, windows.kernel)


def of_offset(windows: Windows, at: Sequence[int]) -> Pairs:
    """Return the windows whose pixel at an offset is one of the image, and that pixel.

    >>> of_offset(Windows.over((1, 3), (1, 2), 1, 0), (0, 1))
    (array([0, 1]), array([1, 2]))
    """

    def along(axis: int) -> Pairs:
        found = np.arange(windows.count[axis])
        pixels = _start(windows, axis, found) + at[axis] * windows.dilation[axis]
        inside = (pixels >= 0) & (pixels < windows.image[axis])
        return found[inside], pixels[inside]

    return _crossed(along, windows.count, windows.image)


def _start(windows: Windows, axis: int, window: Any) -> Any:
    return window * windows.stride[axis] - windows.padding[axis][0]


def _crossed(along: Callable[[int], Pairs], first: Sequence[int], second: Sequence[int]) -> Pairs:
    """Return every combination of what the axes give, as positions in arrays of the sizes ``first`` and ``second``."""
    left = right = np.zeros(1, np.intp)
    for axis, (a, b) in enumerate(zip(first, second, strict=True)):
        lefts, rights = along(axis)
        left = (left[:, None] * a + lefts).reshape(-1)
        right = (right[:, None] * b + rights).reshape(-1)
    return left, right


def in_planes(cells: Array, planes: Sequence[int], images: Array) -> Array:
    """Return cells of one plane of images ``(N, C, ...)``, repeated in each of several planes, counted over N and C.

    >>> in_planes(np.array([0, 2]), range(2, 4), np.zeros((1, 4, 2, 5)))
    array([20, 22, 30, 32])
    """
    size = math.prod(images.shape[2:])
    return (np.asarray(planes, np.intp)[:, None] * size + cells).reshape(-1)
