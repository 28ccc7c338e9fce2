"""Operations that move and pick elements, as ONNX's operators: shapes, indexing, places, sizes."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.interop.onnx.batch import Size
from tinygraph.interop.onnx.exports import export_of, joined
from tinygraph.interop.onnx.writer import Step
from tinygraph.ops.axes import normalized_axes
from tinygraph.ops.indexing.index import Index, Mask, Slice, for_numpy
from tinygraph.ops.windows import per_axis

# Beyond the end of any axis.
_FAR = 2**62


@export_of("reshape")
def _reshape(s: Step) -> str:
    to = s.attributes["to"]
    to = to if isinstance(to, tuple) else (to,)
    if sum(isinstance(size, Size) for size in to) == 1 and -1 not in to:
        to = tuple(-1 if isinstance(size, Size) else size for size in to)
    return s.writer.node("Reshape", s.x, s.writer.whole(to), allowzero=1 if 0 in to else None)


@export_of("flatten")
def _flatten(s: Step) -> str:
    ndim, start = len(s.inputs[0].shape), s.attributes["start_axis"]
    start = start + ndim if start < 0 else start
    if start == 1:
        return s.writer.node("Flatten", s.x, axis=1)
    return s.writer.node("Reshape", s.x, s.writer.whole((0,) * start + (-1,)))


@export_of("squeeze")
def _squeeze(s: Step) -> str:
    axes = s.attributes["axis"]
    if axes is None:
        axes = tuple(axis for axis, size in enumerate(s.inputs[0].shape) if size == 1)
    return s.writer.node("Squeeze", s.x, s.writer.whole(axes)) if axes != () else s.writer.node("Identity", s.x)


@export_of("expand_dims")
def _expand_dims(s: Step) -> str:
    return s.writer.node("Unsqueeze", s.x, s.writer.whole(s.attributes["axis"]))


@export_of("transpose")
def _transpose(s: Step) -> str:
    axes = s.attributes["axes"]
    return s.writer.node("Transpose", s.x, perm=None if axes is None else [axis % len(axes) for axis in axes])


@export_of("broadcast_to")
def _broadcast_to(s: Step) -> str:
    return s.writer.node("Expand", s.x, s.writer.whole(s.attributes["to"]))


@export_of("sum_to")
def _sum_to(s: Step) -> str:
    x, to = s.inputs[0], s.attributes["to"]
    extra = len(x.shape) - len(to)
    axes = [*range(extra), *(extra + i for i, size in enumerate(to) if size == 1 and x.shape[extra + i] != 1)]
    total = s.writer.node("ReduceSum", s.x, s.writer.whole(axes), keepdims=1, noop_with_empty_axes=1)
    return s.writer.node("Reshape", total, s.writer.whole(to)) if extra else total


@export_of("concatenate")
def _concatenate(s: Step) -> str:
    return s.writer.node("Concat", *joined(s), axis=s.attributes["axis"])


@export_of("tile")
def _tile(s: Step) -> str:
    reps, ndim = s.attributes["reps"], len(s.inputs[0].shape)
    reps = reps if isinstance(reps, tuple) else (reps,)
    x = s.x
    if len(reps) > ndim:
        x = s.writer.node("Unsqueeze", x, s.writer.whole(tuple(range(len(reps) - ndim))))
    return s.writer.node("Tile", x, s.writer.whole((1,) * (ndim - len(reps)) + reps))


@export_of("trilu")
def _trilu(s: Step) -> str:
    return s.writer.node("Trilu", s.x, s.writer.array(np.int64(s.attributes["k"])), upper=int(s.attributes["upper"]))


@export_of("flip")
def _flip(s: Step) -> str:
    axes = normalized_axes(s.op, s.inputs[0], s.attributes["axis"])
    ends = [s.writer.whole([number] * len(axes)) for number in (-1, -_FAR)]
    return s.writer.node("Slice", s.x, *ends, s.writer.whole(axes), s.writer.whole([-1] * len(axes)))


@export_of("pad")
def _pad(s: Step) -> str:
    width, ndim = s.attributes["pad_width"], len(s.inputs[0].shape)
    width = (width, width) if isinstance(width, int) else width
    pairs: Any = [width] * ndim if all(isinstance(part, int) for part in width) else list(width)
    pads = s.writer.whole([pair[0] for pair in pairs] + [pair[1] for pair in pairs])
    if s.attributes["mode"] == "constant":
        return s.writer.node("Pad", s.x, pads, s.writer.number(s.attributes["value"], s.tensor))
    return s.writer.node("Pad", s.x, pads, mode=s.attributes["mode"])


@export_of("getitem")
def _getitem(s: Step) -> str:
    """Slices in one node, then positions along one axis, and then the axes that go and come."""
    index: Index = s.attributes["index"]
    used = sum(1 for part in index if part is not None and part is not Ellipsis)
    if any(isinstance(part, Mask) for part in index) or sum(isinstance(part, tuple) for part in index) > 1:
        s.fail("an index of booleans, or with several arrays of positions")
    if any(isinstance(part, tuple) for part in index) and any(isinstance(part, int) for part in index):
        s.fail("an index with a number and an array of positions")
    parts: list[Any] = []
    for part in index:
        parts += [Slice(None, None, None)] * (len(s.inputs[0].shape) - used) if part is Ellipsis else [part]
    return _picked(s, parts)


def _picked(s: Step, parts: list[Any]) -> str:
    w, x = s.writer, s.x
    spans: list[tuple[int, int, int, int]] = []
    gone: list[int] = []
    come: list[int] = []
    axis, place = 0, 0
    positions: tuple[int, Any] | None = None
    for part in parts:
        if part is None:
            come.append(place)
            place += 1
            continue
        if isinstance(part, tuple):
            positions = (axis, for_numpy(part))
            place += positions[1].ndim
        elif isinstance(part, int):
            spans.append((part, part + 1 if part != -1 else _FAR, axis, 1))
            gone.append(axis)
        else:
            spans += _span(part, axis)
            place += 1
        axis += 1
    if spans:
        x = w.node("Slice", x, *(w.whole(list(column)) for column in zip(*spans, strict=True)))
    if positions is not None:
        x = w.node("Gather", x, w.array(positions[1].astype(np.int64)), axis=positions[0])
    x = w.node("Squeeze", x, w.whole(gone)) if gone else x
    return w.node("Unsqueeze", x, w.whole(come)) if come else x if x != s.x else w.node("Identity", x)


def _span(part: Slice, axis: int) -> list[tuple[int, int, int, int]]:
    """Return start, end, axis and step of a slice that leaves something out."""
    step = part.step or 1
    if (part.start, part.stop, step) == (None, None, 1):
        return []
    start = part.start if part.start is not None else (0 if step > 0 else -1)
    return [(start, part.stop if part.stop is not None else (_FAR if step > 0 else -_FAR), axis, step)]


@export_of("gather")
def _gather(s: Step) -> str:
    return s.writer.node("Gather", s.x, _positions(s, 1), axis=s.attributes["axis"])


@export_of("embedding")
def _embedding(s: Step) -> str:
    return s.writer.node("Gather", s.x, _positions(s, 1), axis=0)


@export_of("gather_elements")
def _gather_elements(s: Step) -> str:
    return s.writer.node("GatherElements", s.x, _positions(s, 1), axis=s.attributes["axis"])


@export_of("gather_nd")
def _gather_nd(s: Step) -> str:
    return s.writer.node("GatherND", s.x, s.writer.cast(s.names[1], np.int64), batch_dims=s.attributes["batch_dims"])


def _positions(s: Step, place: int) -> str:
    known = s.inputs[place].dtype in (np.int32, np.int64)
    return s.names[place] if known else s.writer.cast(s.names[place], np.int64)


@export_of("scatter_add_elements", "scatter_add_nd")
def _scatter(s: Step) -> str:
    zeros = s.writer.node("Expand", s.writer.number(0, s.tensor), s.writer.whole(s.attributes["to"]))
    if s.op.name == "scatter_add_elements":
        axis = s.attributes["axis"]
        return s.writer.node("ScatterElements", zeros, _positions(s, 1), s.x, axis=axis, reduction="add")
    if s.attributes["batch_dims"]:
        s.fail("coordinates for each sample (batch_dims)")
    return s.writer.node("ScatterND", zeros, s.writer.cast(s.names[1], np.int64), s.x, reduction="add")


@export_of("argmax", "argmin")
def _place(s: Step) -> str:
    axis, keep = s.attributes["axis"], int(s.attributes["keepdims"])
    operator = "ArgMax" if s.op.name == "argmax" else "ArgMin"
    last = int(s.attributes["last"])
    if axis is not None:
        return s.writer.node(operator, s.x, axis=axis, keepdims=keep, select_last_index=last)
    flat = s.writer.node("Reshape", s.x, s.writer.whole(-1))
    found = s.writer.node(operator, flat, axis=0, keepdims=0, select_last_index=last)
    return s.writer.node("Reshape", found, s.writer.whole((1,) * len(s.inputs[0].shape))) if keep else found


@export_of("top_k", "top_k_indices")
def _top_k(s: Step) -> str:
    options = {"axis": s.attributes["axis"], "largest": int(s.attributes["largest"])}
    found = s.writer.several(2, "TopK", s.x, s.writer.whole(s.attributes["k"]), **options)
    return found[0 if s.op.name == "top_k" else 1]


@export_of("cumsum")
def _cumsum(s: Step) -> str:
    options = {name: int(s.attributes[name]) for name in ("exclusive", "reverse")}
    x = s.x if s.inputs[0].dtype == s.tensor.dtype else s.writer.cast(s.x, s.tensor.dtype)
    return s.writer.node("CumSum", x, s.writer.array(np.int64(s.attributes["axis"])), **options)


@export_of("one_hot")
def _one_hot(s: Step) -> str:
    values, labels = s.writer.array(np.asarray([0, 1], np.float32)), s.writer.cast(s.x, np.int64)
    hot = s.writer.node("OneHot", labels, s.writer.whole(s.attributes["classes"]), values, axis=-1)
    return hot if s.tensor.dtype == np.float32 else s.writer.cast(hot, s.tensor.dtype)


@export_of("einsum")
def _einsum(s: Step) -> str:
    terms = s.attributes["equation"].partition("->")[0].split(",")
    spans = {x.ndim - len(t.replace("...", "")) for x, t in zip(s.inputs, terms, strict=True) if "..." in t}
    if len(spans) > 1:
        s.fail("an ellipsis that stands for different numbers of axes")
    return s.writer.node("Einsum", *joined(s), equation=s.attributes["equation"])


@export_of("depth_to_space")
def _depth_to_space(s: Step) -> str:
    return s.writer.node("DepthToSpace", s.x, blocksize=s.attributes["blocksize"], mode=s.attributes["mode"])


@export_of("space_to_depth")
def _space_to_depth(s: Step) -> str:
    if s.attributes["mode"] != "DCR":
        s.fail("ONNX's SpaceToDepth has the mode 'DCR' alone")
    return s.writer.node("SpaceToDepth", s.x, blocksize=s.attributes["blocksize"])


@export_of("resize")
def _resize(s: Step) -> str:
    options = {"mode": s.attributes["mode"], "nearest_mode": s.attributes["rounding"]}
    options["coordinate_transformation_mode"] = s.attributes["coordinates"]
    axes = len(s.inputs[0].shape) - 2
    if s.attributes["size"] is not None:
        ends = s.writer.whole(per_axis(s.attributes["size"], axes))
        sizes = s.writer.node("Concat", s.writer.node("Shape", s.x, start=0, end=2), ends, axis=0)
        return s.writer.node("Resize", s.x, "", "", sizes, **options)
    scale = s.attributes["scale"]
    scales = (1.0, 1.0, *(scale if isinstance(scale, tuple) else (scale,) * axes))
    return s.writer.node("Resize", s.x, "", s.writer.array(np.asarray(scales, np.float32)), **options)


@export_of("dropout")
def _dropout(s: Step) -> str:
    if s.attributes["training"] and s.attributes["rate"]:
        s.fail("dropout in training")
    return s.writer.node("Identity", s.x)
