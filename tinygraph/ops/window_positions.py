"""Which pixels a window reads, which windows a pixel lies in, and which windows and pixels meet at one offset.

All three return positions counted row by row from 0, for explanations, and leave out positions in the padding.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygraph.graph.arrays import Array
from tinygraph.ops.windows import Windows

# Pairs of positions, one in each array.
Pairs = tuple[Array, Array]


def pairs_in_window(windows: Windows, at: Sequence[int]) -> Pairs:
    """Return each offset of a window with the pixel that it lies on.

    >>> pairs_in_window(Windows.over((3, 3), 2, 1, 1), (0, 0))
    (array([3]), array([0]))
    """

    def along(axis: int) -> Pairs:
        offsets = np.arange(windows.kernel[axis])
        pixels = _start(windows, axis, at[axis]) + offsets * windows.dilation[axis]
        inside = (pixels >= 0) & (pixels < windows.image[axis])
        return offsets[inside], pixels[inside]

    return _crossed(along, windows.kernel, windows.image)


def pairs_at_pixel(windows: Windows, at: Sequence[int]) -> Pairs:
    """Return each window that a pixel lies in with the offset of the pixel in it.

    >>> pairs_at_pixel(Windows.over((3, 3), 2, 1, 0), (0, 1))
    (array([1, 0]), array([0, 1]))
    """

    def along(axis: int) -> Pairs:
        offsets = np.arange(windows.kernel[axis])
        starts = at[axis] + windows.padding[axis][0] - offsets * windows.dilation[axis]
        found = starts // windows.stride[axis]
        fits = (starts % windows.stride[axis] == 0) & (found >= 0) & (found < windows.count[axis])
        return found[fits], offsets[fits]

    return _crossed(along, windows.count, windows.kernel)


def pairs_at_offset(windows: Windows, at: Sequence[int]) -> Pairs:
    """Return each window that has a pixel of the image at an offset with that pixel.

    >>> pairs_at_offset(Windows.over((1, 3), (1, 2), 1, 0), (0, 1))
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
    """Return every combination of the pairs of all axes, as positions in arrays of the sizes ``first`` and ``second``."""
    left = right = np.zeros(1, np.intp)
    for axis, (a, b) in enumerate(zip(first, second, strict=True)):
        lefts, rights = along(axis)
        left = (left[:, None] * a + lefts).reshape(-1)
        right = (right[:, None] * b + rights).reshape(-1)
    return left, right


def in_planes(cells: Array, planes: Sequence[int], images: Array) -> Array:
    """Return positions in one plane of images ``(N, C, ...)``, repeated in each of some planes, counted over N and C.

    >>> in_planes(np.array([0, 2]), range(2, 4), np.zeros((1, 4, 2, 5)))
    array([20, 22, 30, 32])
    """
    size = math.prod(images.shape[2:])
    return (np.asarray(planes, np.intp)[:, None] * size + cells).reshape(-1)
