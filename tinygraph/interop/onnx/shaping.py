"""ONNX's operators that move elements, and those that compute shapes: the latter are known when a graph is recorded."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygraph.interop.onnx.node import Node, Value, is_constant
from tinygraph.ops.comparison import comparison as cmp
from tinygraph.ops.elementwise import arithmetic as el
from tinygraph.ops.elementwise.cast import cast
from tinygraph.ops.indexing import gather as ga
from tinygraph.ops.indexing import gather_nd as gd
from tinygraph.ops.indexing import select as ix
from tinygraph.ops.reduction import ranking as rk
from tinygraph.ops.shape import arrange as ar
from tinygraph.ops.shape import shape as sh

# Exporters write ends beyond this for the end of an axis.
_FAR = 2**31 - 1
# Sizes, axes, parts of a split and the like are not more.
_MOST_NUMBERS = 10_000


def whole(n: Node, x: Value, what: str) -> list[int]:
    """Return whole numbers that must be known when the graph is recorded."""
    if not is_constant(x) or x.dtype.kind not in "iu" or x.ndim > 1:
        n.fail(f"{what} must be a list of whole numbers that do not depend on the data")
    if x.size > _MOST_NUMBERS:
        n.fail(f"{what} must be a list of whole numbers; found one of {x.size:,}")
    return [int(item) for item in np.ravel(x)]


def axes_of(n: Node, given: Value, attribute: str = "axes") -> list[int] | None:
    """Return axes from an input, or from the attribute of earlier operator sets; ``None`` where there are none."""
    if given is not None:
        return whole(n, given, "its axes")
    axes = n.get(attribute)
    return None if axes is None else list(axes)


def constant(n: Node) -> Any:
    """Constant: a tensor, a number or a list of numbers."""
    kinds = {
        "value": None,
        "value_float": "float32",
        "value_floats": "float32",
        "value_int": "int64",
        "value_ints": "int64",
    }
    for name, dtype in kinds.items():
        if name in n.attributes:
            return n.attributes[name] if dtype is None else np.asarray(n.attributes[name], dtype)
    return n.fail("it holds no tensor of numbers")


def constant_of_shape(n: Node, shape: Value) -> Any:
    """ConstantOfShape: a view of one number, which takes no memory."""
    value = n.get("value", np.zeros(1, np.float32))
    if value.size != 1:
        n.fail(f"its value must be one number; found shape {value.shape}")
    return np.broadcast_to(value.reshape(()), n.checked_size(whole(n, shape, "its shape")))


def shape(n: Node, x: Value) -> Any:
    """Shape: sizes of the axes from ``start`` to ``end``."""
    return np.asarray(tuple(x.shape)[slice(n.get("start", 0), n.get("end"))], np.int64)


def size(n: Node, x: Value) -> Any:
    """Size: how many elements there are."""
    return np.asarray(math.prod(x.shape), np.int64)


def arange(n: Node, start: Value, limit: Value, delta: Value) -> Any:
    """Range: numbers from ``start`` on, ``delta`` apart."""
    first, last, step = (x.reshape(()) for x in (start, limit, delta))
    if step == 0:
        n.fail("its delta must not be 0")
    count = max(math.ceil((last.item() - first.item()) / step.item()), 0)
    n.allocated((count,))
    return (first + np.arange(count) * step).astype(start.dtype)


def eye_like(n: Node, x: Value) -> Any:
    """EyeLike: ones on a diagonal, in the shape of a matrix."""
    if x.ndim != 2:
        n.fail(f"it takes a matrix; found shape {tuple(x.shape)}")
    dtype = n.dtype(n.get("dtype")) if n.get("dtype") else x.dtype
    rows, columns = n.allocated(x.shape)
    return np.eye(rows, columns, k=n.get("k", 0), dtype=dtype)


def reshape(n: Node, x: Value, to: Value = None) -> Value:
    """Reshape: a 0 keeps the size of its axis, unless ``allowzero`` says that it is one."""
    sizes = list(n.need("shape")) if to is None else whole(n, to, "its shape")
    if not n.get("allowzero", 0):
        if any(s == 0 and i >= x.ndim for i, s in enumerate(sizes)):
            n.fail(f"shape {tuple(sizes)} keeps an axis that {tuple(x.shape)} does not have")
        sizes = [x.shape[i] if s == 0 else s for i, s in enumerate(sizes)]
    return sh.reshape(x, tuple(sizes))


def flatten(n: Node, x: Value) -> Value:
    """Flatten: to a matrix, the axes before ``axis`` as rows."""
    axis = n.get("axis", 1)
    if not -x.ndim <= axis <= x.ndim:
        n.fail(f"axis {axis} is out of range for shape {tuple(x.shape)}")
    axis = axis % x.ndim if axis < 0 else axis
    if axis == 1:
        return sh.flatten(x)
    return sh.reshape(x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))


def transpose(n: Node, x: Value) -> Value:
    """Transpose: in reverse order without ``perm``."""
    perm = n.get("perm")
    return sh.transpose(x) if perm is None or list(perm) == list(range(x.ndim))[::-1] else sh.transpose(x, tuple(perm))


def concat(n: Node, *x: Value) -> Value:
    """Concat, without empty parts."""
    axis = n.axis(n.need("axis") if n.opset >= 4 else n.get("axis", 1), x[0])
    parts = [part for part in x if not is_constant(part) or part.ndim <= axis or part.shape[axis]] or [x[0]]
    return parts[0] if len(parts) == 1 else ix.concatenate(parts, axis=axis)


def squeeze(n: Node, x: Value, axes: Value = None) -> Value:
    """Squeeze: all axes of size 1, or those that are named."""
    given = axes_of(n, axes)
    if given is not None and not given:
        return x
    return sh.squeeze(x, None if given is None else tuple(given))


def unsqueeze(n: Node, x: Value, axes: Value = None) -> Value:
    """Unsqueeze."""
    given = axes_of(n, axes)
    if given is None:
        n.fail("it needs its axes")
    return sh.expand_dims(x, tuple(given)) if given else x


def expand(n: Node, x: Value, to: Value) -> Value:
    """Expand: both shapes are broadcast."""
    sizes = n.checked_size(whole(n, to, "its shape"))
    try:
        full = np.broadcast_shapes(tuple(x.shape), sizes)
    except ValueError:
        n.fail(f"shapes {tuple(x.shape)} and {sizes} do not broadcast")
    n.checked_size(full)
    return x if full == tuple(x.shape) else sh.broadcast_to(x, full)


def tile(n: Node, x: Value, repeats: Value, along: Value = None) -> Value:
    """Tile: before opset 6 along one axis."""
    times = whole(n, repeats, "its repeats")
    if along is not None:
        axis = n.axis(whole(n, along, "its axis")[0], x)
        times = [times[0] if i == axis else 1 for i in range(x.ndim)]
    if len(times) != x.ndim:
        n.fail(f"it repeats {len(times)} axes of shape {tuple(x.shape)}")
    n.checked_size([size * count for size, count in zip(x.shape, times, strict=True)])
    return ar.tile(x, tuple(times))


def slice_(
    n: Node, x: Value, starts: Value = None, ends: Value = None, axes: Value = None, steps: Value = None
) -> Value:
    """Slice: by attributes before opset 10, by inputs since."""
    if n.opset < 10:
        first, last, places, strides = list(n.need("starts")), list(n.need("ends")), n.get("axes"), None
    else:
        first, last = whole(n, starts, "its starts"), whole(n, ends, "its ends")
        places = None if axes is None else whole(n, axes, "its axes")
        strides = None if steps is None else whole(n, steps, "its steps")
    places = list(range(len(first))) if places is None else list(places)
    strides = [1] * len(first) if strides is None else strides
    if not len(first) == len(last) == len(places) == len(strides):
        n.fail("starts, ends, axes and steps have different lengths")
    index = [slice(None)] * x.ndim
    for place, start, end, step in zip(places, first, last, strides, strict=True):
        axis = n.axis(place, x)
        if step == 0:
            n.fail("a step must not be 0")
        # The end of an axis that follows the batch is its end only for some numbers of samples.
        size = max(x.shape[axis], _FAR) if n.any_batch and axis == 0 and step > 0 else x.shape[axis]
        index[axis] = _span(start, end, step, size)
    while index and index[-1] == slice(None):
        index.pop()
    return ix.getitem(x, tuple(index)) if index else x


def _span(start: int, end: int, step: int, size: int) -> slice:
    """Return a slice without ends that are the ends of the axis anyway."""
    if step > 0:
        return slice(
            None if start == 0 or start <= -size else start, None if end >= size else end, None if step == 1 else step
        )
    # ONNX moves a start before the first element onto it, where Python finds nothing.
    start = 0 if size and start < -size else start
    return slice(None if start >= size - 1 else start, None if end < -size else end, step)


def gather(n: Node, x: Value, indices: Value) -> Value:
    """Gather: elements along one axis, at positions that are known or that are data."""
    axis = n.axis(n.get("axis", 0), x)
    if is_constant(indices) and not is_constant(x) and indices.ndim == 0 and indices.dtype.kind in "iu":
        return ix.getitem(x, (slice(None),) * axis + (int(indices),))
    return ga.gather(x, indices, axis=axis)


def scatter_elements(n: Node, x: Value, indices: Value, updates: Value) -> Value:
    """ScatterElements, and Scatter: elements put, or added, at positions along one axis."""
    to, axis = tuple(x.shape), n.axis(n.get("axis", 0), x)
    return _scattered(n, x, updates, lambda part: ga.scatter_add_elements(part, indices, to, axis=axis))


def scatter_nd(n: Node, x: Value, indices: Value, updates: Value) -> Value:
    """ScatterND: elements or slices put, or added, at coordinates."""
    to = tuple(x.shape)
    return _scattered(n, x, updates, lambda part: gd.scatter_add_nd(part, indices, to))


def _scattered(n: Node, x: Value, updates: Value, add: Callable[[Value], Value]) -> Value:
    """Add what ``add`` scatters, or put it in the place of what was there; of a place that is named twice ONNX says nothing."""
    reduction = n.get("reduction", "none")
    if reduction == "add":
        return el.add(x, add(updates))
    if reduction != "none":
        n.fail(f"the reduction {reduction!r} is not known; known are 'none' and 'add'")
    there = add(np.ones(n.allocated(updates.shape), np.int64))
    return cmp.where(cmp.greater(there, np.int64(0)), add(updates), x)


def split(n: Node, x: Value, sizes: Value = None) -> tuple[Value, ...]:
    """Split: into equal parts, or into parts of the sizes given."""
    axis, parts = n.axis(n.get("axis", 0), x), len(n.outputs)
    given = axes_of(n, sizes, "split")
    if given is None:
        count = n.get("num_outputs", parts)
        if count != parts:
            n.fail(f"it splits into {count:,} parts and has {parts} outputs")
        each = -(-x.shape[axis] // count)
        given = [min(each, max(x.shape[axis] - i * each, 0)) for i in range(count)]
    if len(given) != parts:
        n.fail(f"it has {parts} outputs for parts of {given}")
    return parted(n, x, axis, given)


def parted(n: Node, x: Value, axis: int, sizes: list[int]) -> tuple[Value, ...]:
    """Return parts of the sizes given along an axis, which they must fill."""
    if sum(sizes) != x.shape[axis] or min(sizes, default=0) < 0:
        n.fail(f"parts of {sizes} do not fill the {x.shape[axis]} of axis {axis}")
    ends = np.cumsum(sizes).tolist()
    before = (slice(None),) * axis
    return tuple(ix.getitem(x, (*before, slice(end - size, end))) for size, end in zip(sizes, ends, strict=True))


def pad(n: Node, x: Value, pads: Value = None, value: Value = None, axes: Value = None) -> Value:
    """Pad: with a number or with copies; less than nothing takes away."""
    mode = n.get("mode", "constant")
    widths = list(n.get("pads", n.get("paddings", ()))) if pads is None else whole(n, pads, "its pads")
    places = list(range(x.ndim)) if axes is None else [n.axis(a, x) for a in whole(n, axes, "its axes")]
    if len(widths) != 2 * len(places):
        n.fail(f"it pads {len(widths)} sides of {len(places)} axes")
    pairs = [(0, 0)] * x.ndim
    for i, axis in enumerate(places):
        pairs[axis] = (widths[i], widths[i + len(places)])
    if any(a < 0 or b < 0 for a, b in pairs):
        x = ix.getitem(x, tuple(slice(max(-a, 0) or None, min(b, 0) or None) for a, b in pairs))
        pairs = [(max(a, 0), max(b, 0)) for a, b in pairs]
    n.checked_size([a + size + b for size, (a, b) in zip(x.shape, pairs, strict=True)])
    if not any(map(any, pairs)):
        return x
    return ix.pad(x, tuple(pairs), _fill(n, value) if mode == "constant" else 0.0, mode=mode)


def _fill(n: Node, value: Value) -> float:
    """Return what is padded with."""
    if value is None or not value.size:
        return n.number("value", 0.0)
    if not is_constant(value):
        n.fail("what it pads with must not depend on the data")
    return float(str(value.reshape(())[()])) if value.dtype.kind == "f" else float(value.reshape(()))


def one_hot(n: Node, indices: Value, depth: Value, values: Value) -> Value:
    """OneHot: the second of two values where the new axis counts the index, the first elsewhere."""
    count = int(whole(n, depth.astype(np.int64), "its depth")[0])
    n.check_places((count,), "classes")
    n.allocated((count,))
    axis = n.axis(n.get("axis", -1), indices, extra=1)
    places = np.arange(count).reshape((count,) + (1,) * (indices.ndim - axis))
    indices = cast(indices, "int64")
    indices = cmp.where(cmp.less(indices, np.int64(0)), el.add(indices, np.int64(count)), indices)
    hot = cmp.equal(sh.expand_dims(indices, axis), places)
    return cmp.where(hot, ix.getitem(values, 1), ix.getitem(values, 0))


def trilu(n: Node, x: Value, k: Value = None) -> Value:
    """Trilu: the upper or the lower triangle, zeros elsewhere."""
    return ar.trilu(x, 0 if k is None else whole(n, k, "its k")[0], upper=bool(n.get("upper", 1)))


def compress(n: Node, x: Value, condition: Value) -> Value:
    """Compress: what a known list of truths keeps along one axis, or of all elements."""
    kept = np.flatnonzero(np.asarray(condition))
    if n.get("axis") is None:
        return ga.gather(sh.reshape(x, (-1,)), kept, axis=0)
    return ga.gather(x, kept, axis=n.axis(n.get("axis"), x))


def nonzero(n: Node, x: Value) -> Any:
    """NonZero, of what is known: how many there are must not depend on the data."""
    if not is_constant(x):
        n.fail("the shape of its result depends on the data")
    n.allocated((x.ndim, x.size))
    return np.asarray(np.nonzero(x), np.int64).reshape(x.ndim, -1)


def top_k(n: Node, x: Value, k: Value = None) -> tuple[Value, Value]:
    """TopK: the largest or smallest elements along one axis, in order, and their places."""
    count = n.need("k") if k is None else whole(n, k, "its k")[0]
    options = {"axis": n.axis(n.get("axis", -1), x), "largest": bool(n.get("largest", 1))}
    return rk.top_k(x, count, **options), rk.top_k_indices(x, count, **options)
