"""Convolution and pooling as plain loops over samples, channels and positions.

Written for reading, not for speed, and independent of the package: the tests compare the operations with these loops.
Arrays are float64. Shapes are those of the operations: x (N, C, H, W), k (F, C / groups, kh, kw).
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Index = tuple[int, int, int, int]
Shape = tuple[int, ...]
Pair = int | tuple[int, int]
Padding = int | tuple[int, int] | str


def pair(value: Pair) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


def padding_along(size: int, window: int, stride: int, padding: int | str) -> tuple[int, int]:
    """Rows added before and after an axis of `size`, for a window that spans `window` rows."""
    if padding == "valid":
        return 0, 0
    if padding == "same":
        output = -(-size // stride)
        total = max((output - 1) * stride + window - size, 0)
        return total // 2, total - total // 2
    assert isinstance(padding, int)
    return padding, padding


def window_starts(size: int, window: int, stride: int, padding: int | str) -> list[int]:
    """First row of every window; negative where the window begins in the padding."""
    before, after = padding_along(size, window, stride, padding)
    return list(range(-before, size + after - window + 1, stride))


def starts_of(shape: Shape, window: tuple[int, int], stride: Pair, padding: Padding) -> tuple[list[int], list[int]]:
    (_, _, height, width), (down, across) = shape, pair(stride)
    vertical, horizontal = (padding, padding) if isinstance(padding, str) else pair(padding)
    return (
        window_starts(height, window[0], down, vertical),
        window_starts(width, window[1], across, horizontal),
    )


# ---- convolution: every product y[output] += x[input] * k[kernel]


def conv2d_starts(
    x_shape: Shape, k_shape: Shape, stride: Pair, padding: Padding, dilation: Pair
) -> tuple[list[int], list[int]]:
    (_, _, kh, kw), (dh, dw) = k_shape, pair(dilation)
    return starts_of(x_shape, (dh * (kh - 1) + 1, dw * (kw - 1) + 1), stride, padding)


def conv2d_shape(
    x_shape: Shape, k_shape: Shape, stride: Pair = 1, padding: Padding = 0, dilation: Pair = 1, groups: int = 1
) -> Shape:
    rows, columns = conv2d_starts(x_shape, k_shape, stride, padding, dilation)
    return x_shape[0], k_shape[0], len(rows), len(columns)


def conv2d_products(
    x_shape: Shape, k_shape: Shape, stride: Pair = 1, padding: Padding = 0, dilation: Pair = 1, groups: int = 1
) -> Iterator[tuple[Index, Index, Index]]:
    """(output, input, kernel) indices of every product of the convolution; products with padding are left out."""
    samples, _, height, width = x_shape
    filters, channels_per_group, kh, kw = k_shape
    filters_per_group = filters // groups
    dh, dw = pair(dilation)
    rows, columns = conv2d_starts(x_shape, k_shape, stride, padding, dilation)
    for n in range(samples):
        for f in range(filters):
            group = f // filters_per_group
            for oy, top in enumerate(rows):
                for ox, left in enumerate(columns):
                    for c in range(channels_per_group):
                        for i in range(kh):
                            for j in range(kw):
                                iy, ix = top + i * dh, left + j * dw
                                if 0 <= iy < height and 0 <= ix < width:
                                    yield (n, f, oy, ox), (n, group * channels_per_group + c, iy, ix), (f, c, i, j)


def conv2d(x: Array, k: Array, **settings) -> Array:
    y = np.zeros(conv2d_shape(x.shape, k.shape, **settings))
    for output, input, kernel in conv2d_products(x.shape, k.shape, **settings):
        y[output] += x[input] * k[kernel]
    return y


def conv2d_input_gradient(dy: Array, x_shape: Shape, k: Array, **settings) -> Array:
    dx = np.zeros(x_shape)
    for output, input, kernel in conv2d_products(x_shape, k.shape, **settings):
        dx[input] += dy[output] * k[kernel]
    return dx


def conv2d_kernel_gradient(dy: Array, x: Array, k_shape: Shape, **settings) -> Array:
    dk = np.zeros(k_shape)
    for output, input, kernel in conv2d_products(x.shape, k_shape, **settings):
        dk[kernel] += dy[output] * x[input]
    return dk


# ---- transposed convolution: every input number is spread over the output by the kernel; k (C, F / groups, kh, kw)


def conv_transpose2d_shape(
    x_shape: Shape,
    k_shape: Shape,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
    output_padding: Pair = 0,
) -> Shape:
    (samples, _, height, width), (_, filters_per_group, kh, kw) = x_shape, k_shape
    (down, across), (ph, pw), (dh, dw), (extra_h, extra_w) = map(pair, (stride, padding, dilation, output_padding))
    return (
        samples,
        groups * filters_per_group,
        (height - 1) * down - 2 * ph + dh * (kh - 1) + 1 + extra_h,
        (width - 1) * across - 2 * pw + dw * (kw - 1) + 1 + extra_w,
    )


def conv_transpose2d_products(
    x_shape: Shape,
    k_shape: Shape,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
    output_padding: Pair = 0,
) -> Iterator[tuple[Index, Index, Index]]:
    """(output, input, kernel) indices of every product of the transposed convolution."""
    samples, channels, height, width = x_shape
    _, filters_per_group, kh, kw = k_shape
    _, _, out_height, out_width = conv_transpose2d_shape(
        x_shape, k_shape, stride, padding, dilation, groups, output_padding
    )
    channels_per_group = channels // groups
    (down, across), (ph, pw), (dh, dw) = map(pair, (stride, padding, dilation))
    for n in range(samples):
        for c in range(channels):
            group = c // channels_per_group
            for iy in range(height):
                for ix in range(width):
                    for f in range(filters_per_group):
                        for i in range(kh):
                            for j in range(kw):
                                oy, ox = iy * down - ph + i * dh, ix * across - pw + j * dw
                                if 0 <= oy < out_height and 0 <= ox < out_width:
                                    yield (n, group * filters_per_group + f, oy, ox), (n, c, iy, ix), (c, f, i, j)


def conv_transpose2d(x: Array, k: Array, **settings) -> Array:
    y = np.zeros(conv_transpose2d_shape(x.shape, k.shape, **settings))
    for output, input, kernel in conv_transpose2d_products(x.shape, k.shape, **settings):
        y[output] += x[input] * k[kernel]
    return y


def conv_transpose2d_input_gradient(dy: Array, x_shape: Shape, k: Array, **settings) -> Array:
    dx = np.zeros(x_shape)
    for output, input, kernel in conv_transpose2d_products(x_shape, k.shape, **settings):
        dx[input] += dy[output] * k[kernel]
    return dx


def conv_transpose2d_kernel_gradient(dy: Array, x: Array, k_shape: Shape, **settings) -> Array:
    dk = np.zeros(k_shape)
    for output, input, kernel in conv_transpose2d_products(x.shape, k_shape, **settings):
        dk[kernel] += dy[output] * x[input]
    return dk


# ---- pooling


def pool_shape(x_shape: Shape, window: Pair, stride: Pair | None = None, padding: Padding = 0) -> Shape:
    rows, columns = starts_of(x_shape, pair(window), window if stride is None else stride, padding)
    return x_shape[0], x_shape[1], len(rows), len(columns)


def pool_windows(
    x_shape: Shape, window: Pair, stride: Pair | None = None, padding: Padding = 0
) -> Iterator[tuple[Index, list[Index]]]:
    """Each output index with the indices in x of its window, row by row; positions in the padding are left out."""
    samples, channels, height, width = x_shape
    kh, kw = pair(window)
    rows, columns = starts_of(x_shape, (kh, kw), window if stride is None else stride, padding)
    for n in range(samples):
        for c in range(channels):
            for oy, top in enumerate(rows):
                for ox, left in enumerate(columns):
                    window_rows = [iy for iy in range(top, top + kh) if 0 <= iy < height]
                    window_columns = [ix for ix in range(left, left + kw) if 0 <= ix < width]
                    yield (n, c, oy, ox), [(n, c, iy, ix) for iy in window_rows for ix in window_columns]


def avg_pool2d(x: Array, window: Pair, **settings) -> Array:
    """Mean over the whole window, padded zeros included."""
    kh, kw = pair(window)
    y = np.zeros(pool_shape(x.shape, window, **settings))
    for output, inside in pool_windows(x.shape, window, **settings):
        for position in inside:
            y[output] += x[position] / (kh * kw)
    return y


def avg_pool2d_gradient(dy: Array, x: Array, window: Pair, **settings) -> Array:
    kh, kw = pair(window)
    dx = np.zeros(x.shape)
    for output, inside in pool_windows(x.shape, window, **settings):
        for position in inside:
            dx[position] += dy[output] / (kh * kw)
    return dx


def first_maximum(x: Array, positions: list[Index]) -> Index:
    best = positions[0]
    for position in positions:
        if x[position] > x[best]:
            best = position
    return best


def max_pool2d(x: Array, window: Pair, **settings) -> Array:
    """Maximum of each window; the padding never wins."""
    y = np.zeros(pool_shape(x.shape, window, **settings))
    for output, inside in pool_windows(x.shape, window, **settings):
        y[output] = x[first_maximum(x, inside)]
    return y


def max_pool2d_gradient(dy: Array, x: Array, window: Pair, **settings) -> Array:
    dx = np.zeros(x.shape)
    for output, inside in pool_windows(x.shape, window, **settings):
        dx[first_maximum(x, inside)] += dy[output]
    return dx


def global_avg_pool2d(x: Array) -> Array:
    samples, channels, height, width = x.shape
    y = np.zeros((samples, channels))
    for n in range(samples):
        for c in range(channels):
            for iy in range(height):
                for ix in range(width):
                    y[n, c] += x[n, c, iy, ix] / (height * width)
    return y
