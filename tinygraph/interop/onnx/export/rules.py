"""Exports that need more than a table: layers, and operations that move and pick elements."""

from typing import Any

import numpy as np

from tinygraph.interop.onnx.batch import Size
from tinygraph.interop.onnx.export.table import EXPORTS, Export, Step, export_of, one_operator, same_dtype
from tinygraph.ops.indexing.index import Positions
from tinygraph.ops.sums import normalized_axes
from tinygraph.ops.windows import per_axis, sides

# Beyond the end of any axis.
_FAR = 2**62

EXPORTS |= {
    "broadcast_to": lambda s: s.node("Expand", s.x, s.integers(s.op.to)),
    "concatenate": lambda s: s.node("Concat", *same_dtype(s), axis=s.op.axis),
    "expand_dims": lambda s: s.node("Unsqueeze", s.x, s.integers(s.op.axis)),
    "gather": lambda s: s.node("Gather", s.x, s.cast(1, np.int64, np.int32), axis=s.op.axis),
    "gather_elements": lambda s: s.node("GatherElements", s.x, s.cast(1, np.int64, np.int32), axis=s.op.axis),
    "gather_nd": lambda s: s.node("GatherND", s.x, s.cast(1, np.int64), batch_dims=s.op.batch_dims),
    "group_norm": one_operator("GroupNormalization", {"groups": ("num_groups", None), "epsilon": ("epsilon", 1e-5)}),
    "transpose": lambda s: s.node("Transpose", s.x, perm=s.op.axes and [axis % len(s.op.axes) for axis in s.op.axes]),
    "trilu": lambda s: s.node("Trilu", s.x, s.writer.array(np.int64(s.op.k)), upper=int(s.op.upper)),
}


@export_of("reshape")
def _reshape(s: Step) -> str:
    to = s.op.to if isinstance(s.op.to, tuple) else (s.op.to,)
    if sum(isinstance(size, Size) for size in to) == 1 and -1 not in to:
        to = tuple(-1 if isinstance(size, Size) else size for size in to)
    return s.node("Reshape", s.x, s.integers(to), allowzero=1 if 0 in to else None)


@export_of("flatten")
def _flatten(s: Step) -> str:
    start = s.op.start_axis if s.op.start_axis >= 0 else s.op.start_axis + s.inputs[0].ndim
    if start == 1:
        return s.node("Flatten", s.x, axis=1)
    return s.node("Reshape", s.x, s.integers((0,) * start + (-1,)))


@export_of("squeeze")
def _squeeze(s: Step) -> str:
    axes = s.op.axis
    if axes is None:
        axes = tuple(axis for axis, size in enumerate(s.inputs[0].shape) if size == 1)
    return s.node("Squeeze", s.x, s.integers(axes)) if axes != () else s.node("Identity", s.x)


@export_of("sum_to")
def _sum_to(s: Step) -> str:
    shape, to = s.inputs[0].shape, s.op.to
    extra = len(shape) - len(to)
    axes = (*range(extra), *(extra + i for i, size in enumerate(to) if size == 1 and shape[extra + i] != 1))
    total = s.node("ReduceSum", s.x, s.integers(axes), keepdims=1, noop_with_empty_axes=1)
    return s.node("Reshape", total, s.integers(to)) if extra else total


@export_of("tile")
def _tile(s: Step) -> str:
    reps, ndim = s.op.reps if isinstance(s.op.reps, tuple) else (s.op.reps,), s.inputs[0].ndim
    extra = len(reps) - ndim
    x = s.node("Unsqueeze", s.x, s.integers(tuple(range(extra)))) if extra > 0 else s.x
    return s.node("Tile", x, s.integers((1,) * -extra + reps))


@export_of("flip")
def _flip(s: Step) -> str:
    axes = normalized_axes(s.op, s.inputs[0], s.op.axis)
    ends = [s.integers([number] * len(axes)) for number in (-1, -_FAR)]
    return s.node("Slice", s.x, *ends, s.integers(axes), s.integers([-1] * len(axes)))


@export_of("pad")
def _pad(s: Step) -> str:
    if s.op.mode == "symmetric":
        s.fail("padding that mirrors the ends too (symmetric)")
    width, ndim = s.op.pad_width, s.inputs[0].ndim
    width = (width, width) if isinstance(width, int) else width
    pairs: Any = [width] * ndim if all(isinstance(part, int) for part in width) else list(width)
    pads = s.integers([pair[0] for pair in pairs] + [pair[1] for pair in pairs])
    value = [s.number(s.op.value)] if s.op.mode == "constant" else []
    return s.node("Pad", s.x, pads, *value, mode=s.op.mode)


@export_of("getitem")
def _getitem(s: Step) -> str:
    """Write slices in one node, then positions along one axis, and then the axes that are removed and inserted."""
    index, x = s.op.index, s.x
    arrays = [part for part in index if isinstance(part, Positions)]
    if len(arrays) > 1 or any(array.is_mask for array in arrays):
        s.fail("an index of booleans, or with several arrays of positions")
    if arrays and any(isinstance(part, int) for part in index):
        s.fail("an index with a number and an array of positions")
    spans, positions = list[tuple[int, int, int, int]](), list[tuple[int, Any]]()
    removed, inserted = list[int](), list[int]()
    axis = place = 0
    for part in index.spread(s.inputs[0].ndim):
        if part is None:
            inserted.append(place)
        elif isinstance(part, Positions):
            positions.append((axis, part.array()))
        elif isinstance(part, int):
            spans.append((part, part + 1 if part != -1 else _FAR, axis, 1))
            removed.append(axis)
        elif (part.start, part.stop, part.step or 1) != (None, None, 1):
            forward = (part.step or 1) > 0
            start = part.start if part.start is not None else (0 if forward else -1)
            stop = part.stop if part.stop is not None else (_FAR if forward else -_FAR)
            spans.append((start, stop, axis, part.step or 1))
        place += positions[0][1].ndim if isinstance(part, Positions) else not isinstance(part, int)
        axis += part is not None
    if spans:
        x = s.node("Slice", x, *(s.integers(column) for column in zip(*spans, strict=True)))
    for axis, array in positions:
        x = s.node("Gather", x, s.writer.array(array.astype(np.int64)), axis=axis)
    x = s.node("Squeeze", x, s.integers(removed)) if removed else x
    x = s.node("Unsqueeze", x, s.integers(inserted)) if inserted else x
    return x if x != s.x else s.node("Identity", x)


@export_of("scatter_add_elements", "scatter_add_nd")
def _scatter(s: Step) -> str:
    zeros = s.node("Expand", s.number(0), s.integers(s.op.to))
    if s.op.name == "scatter_add_elements":
        positions = s.cast(1, np.int64, np.int32)
        return s.node("ScatterElements", zeros, positions, s.x, axis=s.op.axis, reduction="add")
    if s.op.batch_dims:
        s.fail("coordinates for each sample (batch_dims)")
    return s.node("ScatterND", zeros, s.cast(1, np.int64), s.x, reduction="add")


@export_of("argmax", "argmin")
def _position(s: Step) -> str:
    operator, flat = "ArgMax" if s.op.name == "argmax" else "ArgMin", s.op.axis is None
    x, axis = (s.node("Reshape", s.x, s.integers(-1)), 0) if flat else (s.x, s.op.axis)
    keepdims = int(s.op.keepdims and not flat)
    found = s.node(operator, x, axis=axis, keepdims=keepdims, select_last_index=int(s.op.last))
    return s.node("Reshape", found, s.integers((1,) * s.inputs[0].ndim)) if flat and s.op.keepdims else found


@export_of("top_k", "top_k_indices")
def _top_k(s: Step) -> str:
    values = s.node("TopK", s.x, s.integers(s.op.k), axis=s.op.axis, largest=int(s.op.largest))
    positions = s.writer.new(values)
    s.writer.nodes[-1].output.append(positions)
    return values if s.op.name == "top_k" else positions


@export_of("cumsum")
def _cumsum(s: Step) -> str:
    x, axis = s.cast(0, s.tensor.dtype), s.writer.array(np.int64(s.op.axis))
    return s.node("CumSum", x, axis, exclusive=int(s.op.exclusive), reverse=int(s.op.reverse))


@export_of("one_hot")
def _one_hot(s: Step) -> str:
    values, labels = s.writer.array(np.asarray([0, 1], np.float32)), s.cast(0, np.int64)
    hot = s.node("OneHot", labels, s.integers(s.op.classes), values, axis=-1)
    return hot if s.tensor.dtype == np.float32 else s.writer.cast(hot, s.tensor.dtype)


@export_of("einsum")
def _einsum(s: Step) -> str:
    terms = s.op.equation.partition("->")[0].split(",")
    spans = {x.ndim - len(t.replace("...", "")) for x, t in zip(s.inputs, terms, strict=True) if "..." in t}
    if len(spans) > 1:
        s.fail("an ellipsis for different numbers of axes")
    return s.node("Einsum", *same_dtype(s), equation=s.op.equation)


@export_of("space_to_depth")
def _space_to_depth(s: Step) -> str:
    if s.op.mode != "DCR":
        s.fail("ONNX's SpaceToDepth has only the mode 'DCR'")
    return s.node("SpaceToDepth", s.x, blocksize=s.op.blocksize)


@export_of("resize")
def _resize(s: Step) -> str:
    options = {"mode": s.op.mode, "nearest_mode": s.op.rounding, "coordinate_transformation_mode": s.op.coordinates}
    axes = s.inputs[0].ndim - 2
    if s.op.size is not None:
        ends = s.integers(per_axis(s.op.size, axes))
        sizes = s.node("Concat", s.node("Shape", s.x, start=0, end=2), ends, axis=0)
        return s.node("Resize", s.x, "", "", sizes, **options)
    scales = np.ones(axes + 2, np.float32)
    scales[2:] = s.op.scale
    return s.node("Resize", s.x, "", s.writer.array(scales), **options)


def _flat(pairs: Any) -> list[int]:
    """Return pads in ONNX's order: all before, then all after."""
    return [before for before, _ in pairs] + [after for _, after in pairs]


def _padding(s: Step, axes: int) -> dict[str, Any]:
    padding = s.op.padding
    named = {"same": "SAME_UPPER", "same_lower": "SAME_LOWER", "valid": "VALID"}
    if isinstance(padding, str) and set(per_axis(s.op.dilation, axes)) == {1}:
        return {"auto_pad": named[padding]}
    # Not every program computes a named padding correctly for windows with gaps.
    shapes = [x.shape for x in s.inputs]
    return {"pads": _flat(s.op.windows(*shapes).padding if isinstance(padding, str) else sides(padding, axes))}


def _spans(s: Step, axes: int) -> dict[str, Any]:
    return {"strides": per_axis(s.op.stride, axes), "dilations": per_axis(s.op.dilation, axes)}


@export_of("conv1d", "conv2d", "conv3d")
def _conv(s: Step) -> str:
    axes = len(s.inputs[0].shape) - 2
    return s.node("Conv", *same_dtype(s), group=s.op.groups, **_spans(s, axes), **_padding(s, axes))


@export_of("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def _conv_transpose(s: Step) -> str:
    x, k = s.inputs
    axes, padding, full = len(x.shape) - 2, s.op.padding, s.tensor.shape
    pairs = s.op.windows(full, k.shape).padding if isinstance(padding, str) else sides(padding, axes)
    spans = _spans(s, axes)
    rows = zip(x.shape[2:], spans["strides"], spans["dilations"], k.shape[2:], pairs, full[2:], strict=True)
    # The part of the image after the last window.
    extra = [size - ((n - 1) * t + d * (kk - 1) + 1 - sum(pair)) for n, t, d, kk, pair, size in rows]
    options = {"group": s.op.groups, "pads": _flat(pairs), "output_padding": extra if any(extra) else None}
    return s.node("ConvTranspose", *same_dtype(s), **options, **spans)


def _pool(operator: str, *attributes: str) -> Export:
    def export(s: Step) -> str:
        axes = len(s.inputs[0].shape) - 2
        window = per_axis(s.op.window, axes)
        options: dict[str, Any] = {name: int(getattr(s.op, name)) for name in attributes}
        if options.get("p", 0) != getattr(s.op, "p", 0):
            s.fail("ONNX's pools take only norms of whole numbers")
        options |= {"kernel_shape": window, "ceil_mode": int(s.op.ceil_mode), **_padding(s, axes)}
        strides = window if s.op.stride is None else per_axis(s.op.stride, axes)
        return s.node(operator, s.x, **options, strides=strides, dilations=per_axis(s.op.dilation, axes))

    return export


for _axes in (1, 2, 3):
    EXPORTS[f"max_pool{_axes}d"] = _pool("MaxPool")
    EXPORTS[f"avg_pool{_axes}d"] = _pool("AveragePool", "count_include_pad")
    EXPORTS[f"lp_pool{_axes}d"] = _pool("LpPool", "p")


def _global_pool(operator: str) -> Export:
    def export(s: Step) -> str:
        y = s.node(operator, s.x, p=int(s.op.p) if hasattr(s.op, "p") else None)
        return y if s.op.keepdims else s.node("Flatten", y, axis=1)

    return export


EXPORTS["global_avg_pool"] = EXPORTS["global_avg_pool2d"] = _global_pool("GlobalAveragePool")
EXPORTS["global_max_pool"] = _global_pool("GlobalMaxPool")
EXPORTS["global_lp_pool"] = _global_pool("GlobalLpPool")


@export_of("batch_norm")
def _batch_norm(s: Step) -> str:
    if s.op.training:
        s.fail("batch normalization in training")
    return s.node("BatchNormalization", *s.names, epsilon=s.op.epsilon)


@export_of("layer_norm")
def _layer_norm(s: Step) -> str:
    axis, shape = s.op.axis, s.inputs[0].shape
    over = shape[axis % len(shape) :]
    names = [
        name if x.shape == over else s.node("Expand", name, s.integers(over))
        for name, x in zip(s.names[1:], s.inputs[1:], strict=True)
    ]
    return s.node("LayerNormalization", s.x, *names, axis=axis, epsilon=s.op.epsilon)


@export_of("dropout")
def _dropout(s: Step) -> str:
    if s.op.training and s.op.rate:
        s.fail("dropout in training")
    return s.node("Identity", s.x)
