"""Convolution and pooling as plain loops over samples, channels and positions, for images of any number of axes.

Written for reading, not for speed, and independent of the package: the tests compare the operations with these loops.
Arrays are float64. Shapes are those of the operations: x (N, C, H, W), k (F, C / groups, kh, kw), and for lines and
volumes one and three axes in the place of H, W.
"""

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Index = tuple[int, ...]
Shape = tuple[int, ...]
Size = int | tuple[int, ...]
# A number, one for each axis, a pair (before, after) for each axis, or a name.
Padding = Any


def along(value: Size, rank: int) -> tuple[Any, ...]:
    return (value,) * rank if isinstance(value, int | str) else value


def pair(value: Size) -> tuple[Any, ...]:
    return along(value, 2)


def padding_along(size: int, span: int, stride: int, padding: int | tuple[int, int] | str) -> tuple[int, int]:
    """Pixels added before and after an axis of `size`, for a window that spans `span` of them."""
    if padding == "valid":
        return 0, 0
    if isinstance(padding, str):
        output = -(-size // stride)
        total = max((output - 1) * stride + span - size, 0)
        return (total - total // 2, total // 2) if padding == "same_lower" else (total // 2, total - total // 2)
    return (padding, padding) if isinstance(padding, int) else padding


def window_starts(
    size: int, span: int, stride: int, padding: int | tuple[int, int] | str, ceil_mode: bool = False
) -> list[int]:
    """First pixel of every window; negative where the window begins in the padding.

    With `ceil_mode` one more, if it reaches beyond the padding by less than a stride and does not begin behind the image.
    """
    before, after = padding_along(size, span, stride, padding)
    starts = list(range(-before, size + after - span + 1, stride))
    following = starts[-1] + stride if starts else -before
    if ceil_mode and following + span - (size + after) < stride and following < size:
        starts.append(following)
    return starts


def spans(kernel: Size, dilation: Size, rank: int) -> tuple[int, ...]:
    return tuple(d * (size - 1) + 1 for size, d in zip(along(kernel, rank), along(dilation, rank), strict=True))


def starts_of(
    image: Shape, span: tuple[int, ...], stride: Size, padding: Padding, ceil_mode: bool = False
) -> list[list[int]]:
    axes = zip(image, span, along(stride, len(image)), along(padding, len(image)), strict=True)
    return [window_starts(*axis, ceil_mode) for axis in axes]


# ---- convolution: every product y[output] += x[input] * k[kernel]


def conv_shape(
    x_shape: Shape, k_shape: Shape, stride: Size = 1, padding: Padding = 0, dilation: Size = 1, groups: int = 1
) -> Shape:
    image, kernel = x_shape[2:], k_shape[2:]
    starts = starts_of(image, spans(kernel, dilation, len(image)), stride, padding)
    return x_shape[0], k_shape[0], *map(len, starts)


def conv_products(
    x_shape: Shape, k_shape: Shape, stride: Size = 1, padding: Padding = 0, dilation: Size = 1, groups: int = 1
) -> Iterator[tuple[Index, Index, Index]]:
    """(output, input, kernel) indices of every product of the convolution; products with padding are left out."""
    samples, _, *image = x_shape
    filters, channels_per_group, *kernel = k_shape
    filters_per_group = filters // groups
    dilation = along(dilation, len(image))
    starts = starts_of(tuple(image), spans(tuple(kernel), dilation, len(image)), stride, padding)
    for n in range(samples):
        for f in range(filters):
            group = f // filters_per_group
            for window in product(*(range(len(axis)) for axis in starts)):
                for c in range(channels_per_group):
                    for offset in product(*map(range, kernel)):
                        first = [axis[i] for axis, i in zip(starts, window, strict=True)]
                        pixel = tuple(i + k * d for i, k, d in zip(first, offset, dilation, strict=True))
                        if all(0 <= i < size for i, size in zip(pixel, image, strict=True)):
                            yield (n, f, *window), (n, group * channels_per_group + c, *pixel), (f, c, *offset)


def conv(x: Array, k: Array, **settings) -> Array:
    y = np.zeros(conv_shape(x.shape, k.shape, **settings))
    for output, input, kernel in conv_products(x.shape, k.shape, **settings):
        y[output] += x[input] * k[kernel]
    return y


def conv_input_gradient(dy: Array, x_shape: Shape, k: Array, **settings) -> Array:
    dx = np.zeros(x_shape)
    for output, input, kernel in conv_products(x_shape, k.shape, **settings):
        dx[input] += dy[output] * k[kernel]
    return dx


def conv_kernel_gradient(dy: Array, x: Array, k_shape: Shape, **settings) -> Array:
    dk = np.zeros(k_shape)
    for output, input, kernel in conv_products(x.shape, k_shape, **settings):
        dk[kernel] += dy[output] * x[input]
    return dk


# ---- transposed convolution: every input number is spread over the output by the kernel; k (C, F / groups, kh, kw)


def conv_transpose_shape(
    x_shape: Shape,
    k_shape: Shape,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
    output_padding: Size = 0,
) -> Shape:
    rank = len(x_shape) - 2
    settings = [along(value, rank) for value in (stride, padding, output_padding)]
    axes = zip(x_shape[2:], spans(k_shape[2:], dilation, rank), *settings, strict=True)
    image = [(n - 1) * s + span - sum(padding_along(0, 0, 1, pads)) + extra for n, span, s, pads, extra in axes]
    return x_shape[0], groups * k_shape[1], *image


def conv_transpose_products(
    x_shape: Shape,
    k_shape: Shape,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
    output_padding: Size = 0,
) -> Iterator[tuple[Index, Index, Index]]:
    """(output, input, kernel) indices of every product of the transposed convolution."""
    samples, channels, *image = x_shape
    _, filters_per_group, *kernel = k_shape
    larger = conv_transpose_shape(x_shape, k_shape, stride, padding, dilation, groups, output_padding)[2:]
    channels_per_group = channels // groups
    stride, dilation = along(stride, len(image)), along(dilation, len(image))
    before = [padding_along(0, 0, 1, pads)[0] for pads in along(padding, len(image))]
    for n in range(samples):
        for c in range(channels):
            group = c // channels_per_group
            for place in product(*map(range, image)):
                for f in range(filters_per_group):
                    for offset in product(*map(range, kernel)):
                        axes = zip(place, stride, before, offset, dilation, strict=True)
                        pixel = tuple(i * s - first + k * d for i, s, first, k, d in axes)
                        if all(0 <= i < size for i, size in zip(pixel, larger, strict=True)):
                            yield (n, group * filters_per_group + f, *pixel), (n, c, *place), (c, f, *offset)


def conv_transpose(x: Array, k: Array, **settings) -> Array:
    y = np.zeros(conv_transpose_shape(x.shape, k.shape, **settings))
    for output, input, kernel in conv_transpose_products(x.shape, k.shape, **settings):
        y[output] += x[input] * k[kernel]
    return y


def conv_transpose_input_gradient(dy: Array, x_shape: Shape, k: Array, **settings) -> Array:
    dx = np.zeros(x_shape)
    for output, input, kernel in conv_transpose_products(x_shape, k.shape, **settings):
        dx[input] += dy[output] * k[kernel]
    return dx


def conv_transpose_kernel_gradient(dy: Array, x: Array, k_shape: Shape, **settings) -> Array:
    dk = np.zeros(k_shape)
    for output, input, kernel in conv_transpose_products(x.shape, k_shape, **settings):
        dk[kernel] += dy[output] * x[input]
    return dk


# ---- pooling

Pools = Iterator[tuple[Index, list[Index], int]]


def pool_shape(
    x_shape: Shape,
    window: Size,
    stride: Size | None = None,
    padding: Padding = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    **others: Any,
) -> Shape:
    span = spans(window, dilation, len(x_shape) - 2)
    starts = starts_of(x_shape[2:], span, window if stride is None else stride, padding, ceil_mode)
    return x_shape[0], x_shape[1], *map(len, starts)


def pool_windows(
    x_shape: Shape,
    window: Size,
    stride: Size | None = None,
    padding: Padding = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
) -> Pools:
    """Each output index with the indices in x of its window, row by row, and how many of its places are not beyond the padding.

    Positions in the padding are left out.
    """
    image = x_shape[2:]
    rank = len(image)
    kernel, stride = along(window, rank), along(window if stride is None else stride, rank)
    span, dilation = spans(kernel, dilation, rank), along(dilation, rank)
    starts = starts_of(image, span, stride, padding, ceil_mode)
    sides = [padding_along(*axis) for axis in zip(image, span, stride, along(padding, rank), strict=True)]
    for n, c in product(range(x_shape[0]), range(x_shape[1])):
        for place in product(*(range(len(axis)) for axis in starts)):
            first = [axis[i] for axis, i in zip(starts, place, strict=True)]
            reached = [[i + k * d for k in range(size)] for i, size, d in zip(first, kernel, dilation, strict=True)]
            real = [[i for i in axis if 0 <= i < size] for axis, size in zip(reached, image, strict=True)]
            axes = zip(reached, image, sides, strict=True)
            counted = [sum(-before <= i < size + after for i in axis) for axis, size, (before, after) in axes]
            yield (n, c, *place), [(n, c, *pixel) for pixel in product(*real)], int(np.prod(counted))


def avg_pool(x: Array, window: Size, count_include_pad: bool = True, **settings) -> Array:
    """Mean over the window with the zeros of its padding, or without them."""
    y = np.zeros(pool_shape(x.shape, window, **settings))
    for output, inside, counted in pool_windows(x.shape, window, **settings):
        for position in inside:
            y[output] += x[position] / (counted if count_include_pad else len(inside))
    return y


def avg_pool_gradient(dy: Array, x: Array, window: Size, count_include_pad: bool = True, **settings) -> Array:
    dx = np.zeros(x.shape)
    for output, inside, counted in pool_windows(x.shape, window, **settings):
        for position in inside:
            dx[position] += dy[output] / (counted if count_include_pad else len(inside))
    return dx


def first_maximum(x: Array, positions: list[Index]) -> Index:
    best = positions[0]
    for position in positions:
        if x[position] > x[best]:
            best = position
    return best


def max_pool(x: Array, window: Size, **settings) -> Array:
    """Maximum of each window; the padding never wins."""
    y = np.zeros(pool_shape(x.shape, window, **settings))
    for output, inside, _ in pool_windows(x.shape, window, **settings):
        y[output] = x[first_maximum(x, inside)]
    return y


def max_pool_gradient(dy: Array, x: Array, window: Size, **settings) -> Array:
    dx = np.zeros(x.shape)
    for output, inside, _ in pool_windows(x.shape, window, **settings):
        dx[first_maximum(x, inside)] += dy[output]
    return dx


def lp_pool(x: Array, window: Size, p: float = 2.0, **settings) -> Array:
    """The p-norm of each window."""
    y = np.zeros(pool_shape(x.shape, window, **settings))
    for output, inside, _ in pool_windows(x.shape, window, **settings):
        y[output] = sum(abs(x[position]) ** p for position in inside) ** (1 / p)
    return y


def lp_pool_gradient(dy: Array, x: Array, window: Size, p: float = 2.0, **settings) -> Array:
    dx, y = np.zeros(x.shape), lp_pool(x, window, p, **settings)
    for output, inside, _ in pool_windows(x.shape, window, **settings):
        for position in inside:
            if y[output]:
                dx[position] += dy[output] * np.sign(x[position]) * (abs(x[position]) / y[output]) ** (p - 1)
    return dx


def global_avg_pool(x: Array) -> Array:
    samples, channels, *image = x.shape
    y = np.zeros((samples, channels))
    for n in range(samples):
        for c in range(channels):
            for pixel in product(*map(range, image)):
                y[n, c] += x[n, c, *pixel] / np.prod(image)
    return y


# ---- the names for pictures

conv2d, conv2d_shape = conv, conv_shape
conv2d_input_gradient, conv2d_kernel_gradient = conv_input_gradient, conv_kernel_gradient
conv_transpose2d, conv_transpose2d_shape = conv_transpose, conv_transpose_shape
conv_transpose2d_input_gradient = conv_transpose_input_gradient
conv_transpose2d_kernel_gradient = conv_transpose_kernel_gradient
avg_pool2d, avg_pool2d_gradient = avg_pool, avg_pool_gradient
max_pool2d, max_pool2d_gradient = max_pool, max_pool_gradient
global_avg_pool2d = global_avg_pool
