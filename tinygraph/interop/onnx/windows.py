"""ONNX's convolutions and pools: windows over images."""

from __future__ import annotations

import math
from typing import Any

from tinygraph.interop.onnx.node import Node, Value
from tinygraph.ops import convolution as cv
from tinygraph.ops import elementwise as el
from tinygraph.ops import indexing as ix
from tinygraph.ops import pooling as po
from tinygraph.ops import reduction as red
from tinygraph.ops import shape as sh

Pairs = list[tuple[int, int]]


def conv(n: Node, x: Value, k: Value, b: Value = None) -> Value:
    """Conv: images, kernels, and one bias for each kernel."""
    axes = _images(n, x)
    size = list(k.shape[2:])
    x, padding = _padded(n, x, _pads(n, x, size), 0.0)
    y = cv.conv2d(
        x,
        k,
        stride=_sizes(n, "strides", axes),
        padding=padding,
        dilation=_sizes(n, "dilations", axes),
        groups=n.get("group", 1),
    )
    return y if b is None else el.add(y, _column(b, axes))


def conv_transpose(n: Node, x: Value, k: Value, b: Value = None) -> Value:
    """ConvTranspose."""
    axes = _images(n, x)
    stride, dilation = _sizes(n, "strides", axes), _sizes(n, "dilations", axes)
    extra = _sizes(n, "output_padding", axes, 0)
    full = tuple(
        (s - 1) * t + d * (kk - 1) + 1 + e
        for s, t, d, kk, e in zip(x.shape[2:], stride, dilation, k.shape[2:], extra, strict=True)
    )
    y = cv.conv_transpose2d(x, k, stride=stride, dilation=dilation, groups=n.get("group", 1), output_padding=extra)
    pairs = _transposed_pads(n, x, full, stride, axes)
    if any(map(any, pairs)):
        y = ix.getitem(y, (slice(None), slice(None), *(slice(a or None, -c or None) for a, c in pairs)))
    return y if b is None else el.add(y, _column(b, axes))


def _transposed_pads(n: Node, x: Value, full: tuple[int, ...], stride: tuple[int, ...], axes: int) -> Pairs:
    """Return what is cut from each side of the whole image that a transposed convolution could give."""
    wanted = n.get("output_shape")
    same = n.get("auto_pad", "NOTSET") in ("SAME_UPPER", "SAME_LOWER")
    if wanted is None and not same:
        pads = n.get("pads", [0] * 2 * axes)
        return [(pads[i], pads[i + axes]) for i in range(axes)]
    target = list(wanted)[-axes:] if wanted is not None else [s * t for s, t in zip(x.shape[2:], stride, strict=True)]
    pairs = []
    for size, aim in zip(full, target, strict=True):
        total = size - aim
        if total < 0:
            n.fail(f"an output of {tuple(target)} is larger than the {full} that its windows reach")
        before = total // 2 if n.get("auto_pad") == "SAME_UPPER" else total - total // 2
        pairs.append((before, total - before))
    return pairs


def max_pool(n: Node, x: Value) -> Value:
    """MaxPool, without the positions of the maxima."""
    axes, window = _images(n, x), list(n.need("kernel_shape"))
    if n.wants(1):
        n.fail("the positions of its maxima are not given")
    if n.get("ceil_mode", 0) or set(n.get("dilations", [1])) != {1}:
        n.fail("ceil_mode and dilations are not known")
    x, padding = _padded(n, x, _pads(n, x, window), -math.inf, window)
    return po.max_pool2d(x, tuple(window), stride=_sizes(n, "strides", axes), padding=padding)


def average_pool(n: Node, x: Value) -> Value:
    """AveragePool."""
    axes, window = _images(n, x), list(n.need("kernel_shape"))
    pairs = _pads(n, x, window)
    if n.get("ceil_mode", 0) or set(n.get("dilations", [1])) != {1}:
        n.fail("ceil_mode and dilations are not known")
    if any(map(any, pairs)) and not n.get("count_include_pad", 0):
        n.fail("padding that does not count is not known")
    x, padding = _padded(n, x, pairs, 0.0, window)
    return po.avg_pool2d(x, tuple(window), stride=_sizes(n, "strides", axes), padding=padding)


def global_average_pool(n: Node, x: Value) -> Value:
    """GlobalAveragePool."""
    return red.mean(x, axis=tuple(range(2, x.ndim)), keepdims=True)


def global_max_pool(n: Node, x: Value) -> Value:
    """GlobalMaxPool."""
    return red.max(x, axis=tuple(range(2, x.ndim)), keepdims=True)


def _images(n: Node, x: Value) -> int:
    """Return over how many axes windows move."""
    if x.ndim != 4:
        n.fail(f"windows move over two axes here; found shape {tuple(x.shape)}")
    return int(x.ndim) - 2


def _sizes(n: Node, name: str, axes: int, default: int = 1) -> tuple[int, ...]:
    sizes = n.get(name, [default] * axes)
    if len(sizes) != axes:
        n.fail(f"its attribute {name!r} must hold {axes} sizes; found {sizes}")
    return tuple(sizes)


def _pads(n: Node, x: Value, window: list[int]) -> Pairs:
    """Return the padding before and after each axis, worked out where it goes by a name."""
    axes = len(window)
    if len(x.shape) - 2 != axes or (n.get("kernel_shape") or window) != window:
        n.fail(f"its kernel_shape {n.get('kernel_shape')} does not fit windows of {window} over shape {tuple(x.shape)}")
    auto = n.get("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        pairs = []
        sizes = zip(x.shape[2:], window, _sizes(n, "strides", axes), _sizes(n, "dilations", axes), strict=True)
        for size, k, s, d in sizes:
            total = max((-(-size // s) - 1) * s + d * (k - 1) + 1 - size, 0)
            small, large = total // 2, total - total // 2
            pairs.append((small, large) if auto == "SAME_UPPER" else (large, small))
        return pairs
    if auto not in ("NOTSET", "VALID"):
        n.fail(f"its auto_pad {auto!r} is not known")
    pads = n.get("pads", [0] * 2 * axes) if auto == "NOTSET" else [0] * 2 * axes
    if len(pads) != 2 * axes or min(pads) < 0:
        n.fail(f"its pads must hold {2 * axes} sizes, none negative; found {pads}")
    return [(pads[i], pads[i + axes]) for i in range(axes)]


def _padded(n: Node, x: Value, pairs: Pairs, value: float, window: list[int] | None = None) -> tuple[Value, Any]:
    """Return the images and the padding that is left to the operation: none where its two sides differ."""
    fits = window is None or all(2 * a <= k for (a, _), k in zip(pairs, window, strict=True))
    if all(a == b for a, b in pairs) and fits:
        return x, tuple(a for a, _ in pairs)
    return ix.pad(x, ((0, 0), (0, 0), *pairs), value), 0


def _column(b: Value, axes: int) -> Value:
    return sh.reshape(b, (-1,) + (1,) * axes) if b.ndim == 1 else b
