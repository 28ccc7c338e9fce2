"""The order of an array's axes in memory: samples last.

NumPy's loops run along the axis that lies densest. With the samples there, slices of images, pools and columns of windows
are long runs whatever the stride, and a row of windows is a matrix. Users and rules see the same axes as ever.
"""

from __future__ import annotations

from tinygraph.graph.op import Shape

# (N, C, H, W) lies as rows of channels of columns of samples.
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
