"""Where the windows of a convolution or a pool lie over an image, and copying between images and windows.

No loop over positions or samples: only over the offsets inside a window.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tinygraph.errors import AttributeValueError
from tinygraph.graph.op import Op, Value

Array = npt.NDArray[Any]
Size = int | tuple[int, int]
Padding = int | tuple[int, int] | Literal["same", "valid"]


def pair(size: Size) -> tuple[int, int]:
    """Return a size for each of two axes."""
    return (size, size) if isinstance(size, int) else size


def collapse(op: Op, *names: str, least: int) -> None:
    """Check sizes of an operation and write equal pairs as one number, so that ``2`` and ``(2, 2)`` are one attribute."""
    for name in names:
        value = getattr(op, name)
        if value is None or isinstance(value, str):
            continue
        if min(pair(value)) < least:
            raise AttributeValueError(f"{op.name}: {name} must be at least {least}; found {value}")
        if isinstance(value, tuple) and value[0] == value[1]:
            object.__setattr__(op, name, value[0])


@dataclass(frozen=True)
class Windows:
    """Windows over an image, axis by axis: sizes in pixels, ``padding`` as pixels before and after."""

    image: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: tuple[tuple[int, int], tuple[int, int]]

    @classmethod
    def over(cls, image: tuple[int, int], kernel: Size, stride: Size, padding: Padding, dilation: Size = 1) -> Windows:
        """Return the windows that a padding by number, pair or name stands for.

        ``"same"`` gives ``ceil(size / stride)`` windows, with the smaller half of the padding before the image.
        """
        kernel, stride, dilation = pair(kernel), pair(stride), pair(dilation)
        sides = tuple(
            _same(size, k, s, d)
            if padding == "same"
            else (0, 0)
            if isinstance(padding, str)
            else (pair(padding)[axis],) * 2
            for axis, (size, k, s, d) in enumerate(zip(image, kernel, stride, dilation, strict=True))
        )
        return cls(image, kernel, stride, dilation, sides)  # type: ignore[arg-type]

    @property
    def reach(self) -> tuple[int, int]:
        """How many pixels a window spans."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True))  # type: ignore[return-value]

    @property
    def padded(self) -> tuple[int, int]:
        """The size of the image with its padding."""
        return tuple(size + before + after for size, (before, after) in zip(self.image, self.padding, strict=True))  # type: ignore[return-value]

    @property
    def count(self) -> tuple[int, int]:
        """How many windows there are along each axis; not positive when none fits."""
        axes = zip(self.padded, self.reach, self.stride, strict=True)
        return tuple((size - reach) // s + 1 for size, reach, s in axes)  # type: ignore[return-value]

    def offsets(self) -> Iterator[tuple[int, int, tuple[Any, ...]]]:
        """Yield each offset in a window, row-major, and the index of the pixels at that offset of all windows."""
        for i in range(self.kernel[0]):
            for j in range(self.kernel[1]):
                spans = zip((i, j), self.count, self.stride, self.dilation, strict=True)
                yield i, j, (..., *(slice(k * d, k * d + s * (n - 1) + 1, s) for k, n, s, d in spans))

    def pad(self, x: Array, value: Any = 0) -> Array:
        """Return images ``(..., H, W)`` with their padding."""
        if not any(map(any, self.padding)):
            return x
        return np.pad(x, ((0, 0),) * (x.ndim - 2) + self.padding, constant_values=value)

    def crop(self, padded: Array) -> Array:
        """Return padded images without their padding."""
        (top, _), (left, _) = self.padding
        return padded[..., top : top + self.image[0], left : left + self.image[1]]

    def patches(self, x: Array) -> Array:
        """Return the pixels of every window (im2col): from ``(N, C, H, W)`` to ``(C, kh, kw, N, rows, columns)``."""
        padded = self.pad(x).swapaxes(0, 1)
        result = np.empty((padded.shape[0], *self.kernel, padded.shape[1], *self.count), x.dtype)
        for i, j, pixels in self.offsets():
            result[:, i, j] = padded[pixels]
        return result

    def overlay(self, patches: Array) -> Array:
        """Add the pixels of every window into images (col2im): from ``(C, kh, kw, N, rows, columns)`` to ``(N, C, H, W)``."""
        padded = np.zeros((patches.shape[0], patches.shape[3], *self.padded), patches.dtype)
        for i, j, pixels in self.offsets():
            padded[pixels] += patches[:, i, j]
        return self.crop(padded).swapaxes(0, 1)


def _same(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    total = max((-(-size // stride) - 1) * stride + dilation * (kernel - 1) + 1 - size, 0)
    return total // 2, total - total // 2


def require_images(op: Op, inputs: tuple[Value, ...], *which: int) -> None:
    """Refuse inputs that are not ``(N, C, H, W)``."""
    for i in which:
        if len(inputs[i].shape) != 4:
            op.refuse(inputs, f"{op.parameters[i]} must have 4 axes (batch, channels, height, width)")
