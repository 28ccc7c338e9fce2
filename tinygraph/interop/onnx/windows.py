"""ONNX's convolutions and pools: windows over lines, images and volumes."""

from __future__ import annotations

import math
from typing import Any

from tinygraph.errors import listing
from tinygraph.graph.registry import OPERATIONS
from tinygraph.interop.onnx.node import Node, Rule, Value
from tinygraph.interop.onnx.shaping import whole
from tinygraph.ops.elementwise import arithmetic as el
from tinygraph.ops.indexing import select as ix
from tinygraph.ops.indexing.resize import resize as resized
from tinygraph.ops.pooling import global_pooling as gp
from tinygraph.ops.shape import shape as sh

# ONNX's coordinates as ours; PyTorch's differ from the first where one pixel alone is asked for.
_COORDINATES = {name: name for name in ("half_pixel", "asymmetric", "align_corners")} | {
    "pytorch_half_pixel": "half_pixel"
}
Pairs = tuple[tuple[int, int], ...]


def conv(n: Node, x: Value, k: Value, b: Value = None) -> Value:
    """Conv: images, kernels, and one bias for each kernel."""
    axes = _axes(n, x)
    options = {
        "stride": _sizes(n, "strides", axes),
        "dilation": _sizes(n, "dilations", axes),
        "groups": n.get("group", 1),
    }
    y = _of_rank(axes, "conv{}d")(x, k, padding=_padding(n, list(k.shape[2:])), **options)
    return y if b is None else el.add(y, _column(b, axes))


def conv_transpose(n: Node, x: Value, k: Value, b: Value = None) -> Value:
    """ConvTranspose: the whole image that the windows reach, and from that what is asked for."""
    axes = _axes(n, x)
    stride, dilation = _sizes(n, "strides", axes), _sizes(n, "dilations", axes)
    extra = _sizes(n, "output_padding", axes, 0)
    spans = zip(x.shape[2:], stride, dilation, k.shape[2:], extra, strict=True)
    full = tuple((size - 1) * s + d * (kk - 1) + 1 + e for size, s, d, kk, e in spans)
    n.check_places(full, "pixels in its result")
    options = {"stride": stride, "dilation": dilation, "groups": n.get("group", 1), "output_padding": extra}
    pairs = _transposed_pads(n, x, full, stride)
    if all(a == c and a >= 0 for a, c in pairs):
        y = _of_rank(axes, "conv_transpose{}d")(x, k, padding=tuple(a for a, _ in pairs), **options)
    else:
        y = _cropped(_of_rank(axes, "conv_transpose{}d")(x, k, **options), pairs)
    return y if b is None else el.add(y, _column(b, axes))


def _cropped(y: Value, pairs: Pairs) -> Value:
    """Cut pixels off each side of an image, or add zeros where the number is negative."""
    y = ix.getitem(y, (slice(None), slice(None), *(slice(max(a, 0) or None, min(-c, 0) or None) for a, c in pairs)))
    added = tuple((max(-a, 0), max(-c, 0)) for a, c in pairs)
    return ix.pad(y, ((0, 0), (0, 0), *added)) if any(map(any, added)) else y


def _transposed_pads(n: Node, x: Value, full: tuple[int, ...], stride: tuple[int, ...]) -> Pairs:
    """Return what is cut from each side of the whole image that a transposed convolution could give."""
    axes, wanted = len(full), n.get("output_shape")
    same = n.get("auto_pad", "NOTSET") in ("SAME_UPPER", "SAME_LOWER")
    if wanted is None and not same:
        pads = n.get("pads", [0] * 2 * axes)
        return tuple((pads[i], pads[i + axes]) for i in range(axes))
    target = wanted[-axes:] if wanted is not None else [size * s for size, s in zip(x.shape[2:], stride, strict=True)]
    pairs = []
    for size, aim in zip(full, target, strict=True):
        total = size - aim
        half = total // 2
        pairs.append((half, total - half) if n.get("auto_pad") == "SAME_UPPER" else (total - half, half))
    return tuple(pairs)


def max_pool(n: Node, x: Value) -> Value:
    """MaxPool, without the positions of the maxima."""
    if n.wants(1):
        n.fail("the positions of its maxima are not given")
    return _pool(n, x, "max_pool{}d")


def average_pool(n: Node, x: Value) -> Value:
    """AveragePool: over the pixels of each window, those of the padding only where ``count_include_pad`` says so."""
    return _pool(n, x, "avg_pool{}d", count_include_pad=bool(n.get("count_include_pad", 0)))


def lp_pool(n: Node, x: Value) -> Value:
    """LpPool."""
    return _pool(n, x, "lp_pool{}d", p=n.get("p", 2))


def _pool(n: Node, x: Value, name: str, **options: Any) -> Value:
    axes, window = _axes(n, x), [int(size) for size in n.need("kernel_shape")]
    padding = _padding(n, window)
    if padding == 0 or padding == ((0, 0),) * axes:
        # Without padding it does not matter how padding counts.
        options.pop("count_include_pad", None)
    stride = _sizes(n, "strides", axes)
    pairs = padding if isinstance(padding, tuple) else ((0, 0),) * axes
    for size, pair, k, s in zip(x.shape[2:], pairs, window, stride, strict=True):
        n.check_places(((size + sum(pair)) // max(s, 1) + 1, k), "windows and pixels in each")
    if isinstance(padding, tuple) and any(sum(pair) > size for pair, size in zip(padding, window, strict=True)):
        # Windows that may lie in the padding alone: what they find there is written out.
        if name.startswith("avg") and not options.get("count_include_pad"):
            n.fail(f"with the padding {padding} a window of {window} may hold no pixel, and there is no mean of none")
        x = ix.pad(x, ((0, 0), (0, 0), *padding), -math.inf if name.startswith("max") else 0.0)
        padding = 0
    options |= {"stride": None if stride == tuple(window) else stride, "dilation": _sizes(n, "dilations", axes)}
    return _of_rank(axes, name)(x, tuple(window), padding=padding, ceil_mode=bool(n.get("ceil_mode", 0)), **options)


def whole_image(function: Rule) -> Rule:
    """Return the rule of a pool of the whole image, which keeps axes of size 1."""
    return lambda n, x: function(x, keepdims=True)


def global_lp_pool(n: Node, x: Value) -> Value:
    """GlobalLpPool."""
    return gp.global_lp_pool(x, p=float(n.get("p", 2)), keepdims=True)


def resize(n: Node, x: Value, roi: Value = None, scales: Value = None, sizes: Value = None) -> Value:
    """Resize and Upsample, to copies of the nearest pixel, or between two or four."""
    if n.op_type == "Upsample" or n.opset < 11:
        scales = roi
    mode, coordinates = n.get("mode", "nearest"), n.get("coordinate_transformation_mode", "half_pixel")
    rounding = n.get("nearest_mode", "round_prefer_floor")
    if n.opset < 11:
        coordinates, rounding = "asymmetric", "floor"
    if coordinates not in _COORDINATES:
        n.fail(f"coordinate_transformation_mode {coordinates!r} is not known; known are {listing(_COORDINATES)}")
    if mode == "cubic" and (n.number("cubic_coeff_a", -0.75) != -0.75 or n.get("exclude_outside", 0)):
        n.fail("cubic_coeff_a other than -0.75, and exclude_outside, are not known")
    if n.get("keep_aspect_ratio_policy", "stretch") != "stretch" or n.get("antialias", 0):
        n.fail("keep_aspect_ratio_policy and antialias are not known")
    options = {"mode": mode, "coordinates": _COORDINATES[coordinates], "rounding": rounding}
    if sizes is not None and sizes.size:
        to = _on_all_axes(n, list(x.shape), whole(n, sizes, "its sizes"))
        if tuple(to[:2]) != tuple(x.shape[:2]):
            n.fail(f"samples and channels keep their sizes; found {tuple(to)} for {tuple(x.shape)}")
        return resized(x, size=_checked_pixels(n, to[2:], coordinates), **options)
    given = n.get("scales", []) if scales is None else scales.ravel()
    factors = _on_all_axes(n, [1.0] * x.ndim, [float(str(f)) for f in given])
    if factors[:2] != [1.0, 1.0]:
        n.fail(f"samples and channels keep their sizes; found scales {factors}")
    if coordinates == "align_corners" and any(size * f % 1 for size, f in zip(x.shape, factors, strict=True)):
        n.fail(f"corners are aligned where sizes come out whole; found scales {factors} of {tuple(x.shape)}")
    _checked_pixels(n, [int(size * f) for size, f in zip(x.shape[2:], factors[2:], strict=True)], coordinates)
    return resized(x, scale=tuple(factors[2:]), **options)


def _checked_pixels(n: Node, sizes: list[int], coordinates: str) -> tuple[int, ...]:
    """Return the sizes of images, or fail for those that are absurd or that PyTorch's coordinates tell apart."""
    n.check_places(sizes, "pixels in an image")
    if coordinates == "pytorch_half_pixel" and 1 in sizes:
        n.fail("for a size of 1, 'pytorch_half_pixel' is not known; 'half_pixel' is")
    return tuple(sizes)


def _on_all_axes(n: Node, unchanged: list[Any], given: list[Any]) -> list[Any]:
    """Return sizes or scales for all axes, where they are given for some."""
    axes = n.get("axes") or range(len(unchanged))
    if len(given) != len(axes) or any(not -len(unchanged) <= axis < len(unchanged) for axis in axes):
        n.fail(f"it changes {len(given)} of {len(axes)} axes of {len(unchanged)}")
    for axis, value in zip(axes, given, strict=True):
        unchanged[axis] = value
    return unchanged


def _of_rank(axes: int, name: str) -> Any:
    return OPERATIONS[name.format(axes)]


def _axes(n: Node, x: Value) -> int:
    """Return over how many axes windows move."""
    if not 3 <= x.ndim <= 5:
        n.fail(f"windows move over one to three axes here; found shape {tuple(x.shape)}")
    n.check_places(x.shape[2:], "pixels in an image")
    return int(x.ndim) - 2


def _sizes(n: Node, name: str, axes: int, default: int = 1) -> tuple[int, ...]:
    sizes = n.get(name, [default] * axes)
    if len(sizes) != axes:
        n.fail(f"its attribute {name!r} must hold {axes} sizes; found {sizes}")
    return tuple(sizes)


def _padding(n: Node, window: list[int]) -> Any:
    """Return the padding: by name, or pixels before and after each axis."""
    axes = len(window)
    if list(n.get("kernel_shape") or window) != window:
        n.fail(f"its kernel_shape {n.get('kernel_shape')} is not that of its kernels, {window}")
    auto = n.get("auto_pad", "NOTSET")
    named = {"SAME_UPPER": "same", "SAME_LOWER": "same_lower", "VALID": 0}
    if auto in named:
        return named[auto]
    pads = n.get("pads", [0] * 2 * axes)
    if auto != "NOTSET" or len(pads) != 2 * axes:
        n.fail(f"its pads must hold {2 * axes} sizes, or a known auto_pad; found {pads} and {auto!r}")
    n.check_places([max(abs(pad), 1) for pad in pads], "pixels of padding")
    return tuple((pads[i], pads[i + axes]) for i in range(axes))


def _column(b: Value, axes: int) -> Value:
    return sh.reshape(b, (-1,) + (1,) * axes) if b.ndim == 1 else b
