"""ONNX's convolutions and pools: windows over lines, images and volumes."""

import math
from typing import Any

from tinygraph.errors import listing
from tinygraph.interop.onnx.node import OPERATORS, Node, Operator, operator, ops
from tinygraph.interop.onnx.operators.shaping import widened

# ONNX's coordinates; PyTorch's differ from the first only where the result has a single pixel.
_COORDINATES = ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
_POOLS = {"AveragePool": "avg_pool", "LpPool": "lp_pool", "MaxPool": "max_pool"}
_AUTO_PAD = {"SAME_UPPER": "same", "SAME_LOWER": "same_lower", "VALID": 0}

OPERATORS |= {
    "GlobalAveragePool": Operator(lambda node, x: ops.global_avg_pool(x, keepdims=True)),
    "GlobalLpPool": Operator(lambda node, x: ops.global_lp_pool(x, p=float(node.get("p", 2)), keepdims=True)),
    "GlobalMaxPool": Operator(lambda node, x: ops.global_max_pool(x, keepdims=True)),
}


@operator("Conv", columns=(2,), weights={1: "weight", 2: "bias"})
def conv(node: Node, x, k, b=None):
    """Convolve images with kernels, and add one bias for each kernel."""
    axes = _axes(node, x)
    convolve = getattr(ops, f"conv{axes}d")
    return _with_bias(convolve(x, k, padding=_padding(node, list(k.shape[2:])), **_options(node, axes)), b)


@operator("ConvTranspose", columns=(2,), weights={1: "weight", 2: "bias"})
def conv_transpose(node: Node, x, k, b=None):
    """Compute the largest image that the windows reach, and crop or pad it to the size of the result."""
    axes = _axes(node, x)
    options = _options(node, axes) | {"output_padding": _sizes(node, "output_padding", axes, 0)}
    spans = x.shape[2:], options["stride"], options["dilation"], k.shape[2:], options["output_padding"]
    full = tuple((size - 1) * s + d * (kk - 1) + 1 + e for size, s, d, kk, e in zip(*spans, strict=True))
    node.check_places(full, "pixels in its result")
    pairs = _transposed_pads(node, x, full, options["stride"])
    function = getattr(ops, f"conv_transpose{axes}d")
    if all(a == c and a >= 0 for a, c in pairs):
        return _with_bias(function(x, k, padding=tuple(a for a, _ in pairs), **options), b)
    return _with_bias(widened(function(x, k, **options), [(0, 0), (0, 0), *((-a, -c) for a, c in pairs)]), b)


def _transposed_pads(node: Node, x, full: tuple[int, ...], stride: tuple[int, ...]) -> list[tuple[int, int]]:
    """Return how many pixels are cut from each side of the largest image of a transposed convolution."""
    axes, wanted, auto = len(full), node.get("output_shape"), node.get("auto_pad", "NOTSET")
    if wanted is None and auto not in ("SAME_UPPER", "SAME_LOWER"):
        pads = node.get("pads", [0] * 2 * axes)
        return [(pads[i], pads[i + axes]) for i in range(axes)]
    target = wanted[-axes:] if wanted is not None else [size * s for size, s in zip(x.shape[2:], stride, strict=True)]
    totals = [size - aim for size, aim in zip(full, target, strict=True)]
    pairs = [(total // 2, total - total // 2) for total in totals]
    return pairs if auto == "SAME_UPPER" else [(b, a) for a, b in pairs]


@operator(*_POOLS)
def pool(node: Node, x):
    """Return the mean, the maximum or a norm of each window; the padding counts only for ``count_include_pad``."""
    if node.op_type == "MaxPool" and node.wants(1):
        node.fail("the positions of its maxima are not supported")
    axes, window = _axes(node, x), tuple(int(size) for size in node.read("kernel_shape"))
    padding, options = _padding(node, list(window)), dict[str, Any]()
    if node.op_type == "LpPool":
        options["p"] = node.get("p", 2)
    # Without padding it does not matter how padding counts.
    if node.op_type == "AveragePool" and padding not in (0, ((0, 0),) * axes):
        options["count_include_pad"] = node.read("count_include_pad", False)
    stride = _sizes(node, "strides", axes)
    pairs = padding if isinstance(padding, tuple) else ((0, 0),) * axes
    for size, pair, k, s in zip(x.shape[2:], pairs, window, stride, strict=True):
        node.check_places(((size + sum(pair)) // max(s, 1) + 1, k), "windows and pixels in each")
    if any(sum(pair) > size for pair, size in zip(pairs, window, strict=True)):
        # Some windows may contain only padding: pad first, so that what they contain is defined.
        if node.op_type == "AveragePool" and not options.get("count_include_pad"):
            node.fail(f"with the padding {padding} a window of {list(window)} may hold no pixel, and has no mean")
        x = ops.pad(x, ((0, 0), (0, 0), *padding), -math.inf if node.op_type == "MaxPool" else 0.0)
        padding = 0
    options |= {"stride": None if stride == window else stride, "dilation": _sizes(node, "dilations", axes)}
    function = getattr(ops, f"{_POOLS[node.op_type]}{axes}d")
    return function(x, window, padding=padding, ceil_mode=node.read("ceil_mode", False), **options)


@operator("Resize", "Upsample", integers={3: "sizes"}, constants=(1, 2))
def resize(node: Node, x, roi, scales, sizes):
    """Resize to copies of the nearest pixel, or interpolate between two or four."""
    if node.op_type == "Upsample" or node.opset < 11:
        scales = roi
    mode, coordinates = node.get("mode", "nearest"), node.get("coordinate_transformation_mode", "half_pixel")
    rounding = node.get("nearest_mode", "round_prefer_floor")
    if node.opset < 11:
        coordinates, rounding = "asymmetric", "floor"
    if coordinates not in _COORDINATES:
        known = listing(_COORDINATES)
        node.fail(f"coordinate_transformation_mode {coordinates!r} is not supported; supported are {known}")
    if mode == "cubic" and (node.read("cubic_coeff_a", -0.75) != -0.75 or node.get("exclude_outside", 0)):
        node.fail("cubic_coeff_a other than -0.75, and exclude_outside, are not supported")
    if node.get("keep_aspect_ratio_policy", "stretch") != "stretch" or node.get("antialias", 0):
        node.fail("keep_aspect_ratio_policy and antialias are not supported")
    options: dict[str, Any] = {"mode": mode, "coordinates": coordinates.removeprefix("pytorch_"), "rounding": rounding}
    if sizes:
        found = to = _on_all_axes(node, list(x.shape), sizes)
        kept, options["size"] = found[:2] == list(x.shape[:2]), tuple(to[2:])
    else:
        given = node.get("scales", []) if scales is None else scales.ravel()
        found = _on_all_axes(node, [1.0] * x.ndim, [float(str(f)) for f in given])
        to = [size * factor for size, factor in zip(x.shape, found, strict=True)]
        if coordinates == "align_corners" and any(size % 1 for size in to):
            node.fail(f"corners are aligned only where sizes are whole; found scales {found} of {tuple(x.shape)}")
        kept, options["scale"] = found[:2] == [1.0, 1.0], tuple(found[2:])
    if not kept:
        node.fail(f"samples and channels must keep their sizes; found {found} for {tuple(x.shape)}")
    pixels = [int(size) for size in to[2:]]
    node.check_places(pixels, "pixels in an image")
    if coordinates == "pytorch_half_pixel" and 1 in pixels:
        node.fail("for a size of 1, 'pytorch_half_pixel' is not supported; 'half_pixel' is")
    return ops.resize(x, **options)


def _on_all_axes(node: Node, unchanged: list[Any], given: list[Any]) -> list[Any]:
    """Return sizes or scales for all axes, where they are given for some."""
    axes = node.get("axes") or range(len(unchanged))
    if len(given) != len(axes) or any(not -len(unchanged) <= axis < len(unchanged) for axis in axes):
        node.fail(f"it changes {len(given)} of {len(axes)} axes of {len(unchanged)}")
    for axis, value in zip(axes, given, strict=True):
        unchanged[axis] = value
    return unchanged


def _axes(node: Node, x) -> int:
    """Return the number of axes that windows move over."""
    if not 3 <= x.ndim <= 5:
        node.fail(f"windows move over one to three axes here; found shape {tuple(x.shape)}")
    node.check_places(x.shape[2:], "pixels in an image")
    return int(x.ndim) - 2


def _options(node: Node, axes: int) -> dict[str, Any]:
    spans = {"stride": _sizes(node, "strides", axes), "dilation": _sizes(node, "dilations", axes)}
    return spans | {"groups": node.get("group", 1)}


def _sizes(node: Node, name: str, axes: int, default: int = 1) -> tuple[int, ...]:
    sizes = node.get(name, [default] * axes)
    if len(sizes) != axes:
        node.fail(f"its attribute {name!r} must hold {axes} sizes; found {sizes}")
    return tuple(sizes)


def _padding(node: Node, window: list[int]) -> Any:
    """Return the padding: by name, or pixels before and after each axis."""
    axes = len(window)
    if list(node.get("kernel_shape") or window) != window:
        node.fail(f"its kernel_shape {node.get('kernel_shape')} is not that of its kernels, {window}")
    auto = node.get("auto_pad", "NOTSET")
    if auto in _AUTO_PAD:
        return _AUTO_PAD[auto]
    pads = node.get("pads", [0] * 2 * axes)
    if auto != "NOTSET" or len(pads) != 2 * axes:
        node.fail(f"its pads must hold {2 * axes} sizes, or a known auto_pad; found {pads} and {auto!r}")
    node.check_places([max(abs(pad), 1) for pad in pads], "pixels of padding")
    return tuple((pads[i], pads[i + axes]) for i in range(axes))


def _with_bias(y, b):
    if b is None:
        return y
    return ops.add(y, ops.reshape(b, (-1,) + (1,) * (y.ndim - 2)) if b.ndim == 1 else b)
