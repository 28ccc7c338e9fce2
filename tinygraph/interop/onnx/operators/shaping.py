"""ONNX's operators that move elements, and those that compute shapes: the latter are known when a graph is recorded."""

import math

import numpy as np

from tinygraph.interop.onnx.node import OPERATORS, Node, Operator, is_constant, operator, ops

# Exporters write ends beyond this for the end of an axis.
_FAR = 2**31 - 1
# The dtypes of the attributes of a Constant that do not have their own.
_CONSTANTS = {"value_float": "float32", "value_floats": "float32", "value_int": "int64", "value_ints": "int64"}


OPERATORS |= {
    "Shape": Operator(lambda node, x: np.asarray(x.shape[slice(node.get("start", 0), node.get("end"))], np.int64)),
    "Size": Operator(lambda node, x: np.asarray(math.prod(x.shape), np.int64)),
    "GatherElements": Operator(
        lambda node, x, indices: ops.gather_elements(x, indices, axis=node.axis(node.get("axis", 0), x))
    ),
}


@operator("Constant")
def constant(node: Node):
    """Return a tensor, a number or a list of numbers."""
    for name, dtype in _CONSTANTS.items():
        if name in node.attributes:
            return np.asarray(node.attributes[name], dtype)
    return node.get("value") if "value" in node.attributes else node.fail("it holds no tensor of numbers")


@operator("ConstantOfShape", integers={0: "shape"})
def constant_of_shape(node: Node, shape):
    """Return a view of one number, which takes no memory."""
    value = node.get("value", np.zeros(1, np.float32))
    if value.size != 1:
        node.fail(f"its value must be one number; found shape {value.shape}")
    return np.broadcast_to(value.reshape(()), node.check_shape(shape))


@operator("Range", constants=(0, 1, 2))
def arange(node: Node, start, limit, delta):
    """Return numbers from ``start`` on, ``delta`` apart."""
    first, last, step = (x.reshape(()) for x in (start, limit, delta))
    if step == 0:
        node.fail("its delta must not be 0")
    count = max(math.ceil((last.item() - first.item()) / step.item()), 0)
    node.allocate((count,))
    return (first + np.arange(count) * step).astype(start.dtype)


@operator("EyeLike")
def eye_like(node: Node, x):
    """Return ones on a diagonal, in the shape of a matrix."""
    if x.ndim != 2:
        node.fail(f"it takes a matrix; found shape {tuple(x.shape)}")
    dtype = node.dtype(node.get("dtype")) if node.get("dtype") else x.dtype
    rows, columns = node.allocate(x.shape)
    return np.eye(rows, columns, k=node.get("k", 0), dtype=dtype)


@operator("Reshape", integers={1: "shape"})
def reshape(node: Node, x, sizes):
    """Reshape; a 0 keeps the size of its axis, unless ``allowzero`` makes it a size."""
    if not node.get("allowzero", 0):
        if any(s == 0 and i >= x.ndim for i, s in enumerate(sizes)):
            node.fail(f"shape {tuple(sizes)} keeps an axis that {tuple(x.shape)} does not have")
        sizes = [x.shape[i] if s == 0 else s for i, s in enumerate(sizes)]
    return ops.reshape(x, tuple(sizes))


@operator("Flatten")
def flatten(node: Node, x):
    """Reshape to a matrix, with the axes before ``axis`` as rows."""
    axis = node.get("axis", 1)
    if axis != x.ndim:
        axis = node.axis(axis, x)
    if axis == 1:
        return ops.flatten(x)
    return ops.reshape(x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))


@operator("Transpose")
def transpose(node: Node, x):
    """Permute the axes; reverse them where ``perm`` is left out."""
    order = tuple(node.get("perm") or ())
    return ops.transpose(x, order) if order and order != tuple(range(x.ndim))[::-1] else ops.transpose(x)


@operator("Concat")
def concat(node: Node, *x):
    """Concatenate, without the empty parts."""
    axis = node.axis(node.read("axis") if node.opset >= 4 else node.get("axis", 1), x[0])
    parts = [part for part in x if not is_constant(part) or part.ndim <= axis or part.shape[axis]] or [x[0]]
    return parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=axis)


@operator("Squeeze", integers={1: "axes"})
def squeeze(node: Node, x, axes):
    """Remove all axes of size 1, or those that are named."""
    return x if axes == [] else ops.squeeze(x, None if axes is None else tuple(axes))


@operator("Unsqueeze", integers={1: "axes"})
def unsqueeze(node: Node, x, axes):
    """Insert axes of size 1."""
    if axes is None:
        node.fail("it needs its axes")
    return ops.expand_dims(x, tuple(axes)) if axes else x


@operator("Expand", integers={1: "shape"})
def expand(node: Node, x, to):
    """Broadcast two shapes with each other."""
    sizes = node.check_shape(to)
    try:
        full = np.broadcast_shapes(tuple(x.shape), sizes)
    except ValueError:
        node.fail(f"shapes {tuple(x.shape)} and {sizes} do not broadcast")
    node.check_shape(full)
    return x if full == tuple(x.shape) else ops.broadcast_to(x, full)


@operator("Tile", integers={1: "repeats", 2: "axis"})
def tile(node: Node, x, times, along):
    """Repeat a tensor; before opset 6, along one axis."""
    if along is not None:
        axis = node.axis(along[0], x)
        times = [times[0] if i == axis else 1 for i in range(x.ndim)]
    if len(times) != x.ndim:
        node.fail(f"it repeats {len(times)} axes of shape {tuple(x.shape)}")
    node.check_shape([size * count for size, count in zip(x.shape, times, strict=True)])
    return ops.tile(x, tuple(times))


@operator("Slice", integers={1: "starts", 2: "ends", 3: "axes", 4: "steps"})
def slice_(node: Node, x, starts, ends, axes, steps):
    """Slice by attributes before opset 10, and by inputs since."""
    axes = list(range(len(starts))) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(axes) == len(steps):
        node.fail("starts, ends, axes and steps have different lengths")
    index = [slice(None)] * x.ndim
    for place, start, end, step in zip(axes, starts, ends, steps, strict=True):
        axis = node.axis(place, x)
        if step == 0:
            node.fail("a step must not be 0")
        # The end of an axis that follows the batch is its end only for some numbers of samples.
        size = max(x.shape[axis], _FAR) if node.any_batch and axis == 0 and step > 0 else x.shape[axis]
        # Ends that are the ends of the axis anyway are left out.
        if step > 0:
            first, last = None if start == 0 or start <= -size else start, None if end >= size else end
        else:
            # ONNX moves a start before the first element onto it, where Python finds nothing.
            start = 0 if size and start < -size else start
            first, last = None if start >= size - 1 else start, None if end < -size else end
        index[axis] = slice(first, last, None if step == 1 else step)
    while index and index[-1] == slice(None):
        index.pop()
    return ops.getitem(x, tuple(index)) if index else x


@operator("Gather")
def gather(node: Node, x, indices):
    """Pick elements along one axis, at positions that are known or that are data."""
    axis = node.axis(node.get("axis", 0), x)
    if is_constant(indices) and not is_constant(x) and indices.ndim == 0 and indices.dtype.kind in "iu":
        return ops.getitem(x, (slice(None),) * axis + (int(indices),))
    return ops.gather(x, indices, axis=axis)


@operator("Scatter", "ScatterElements", "ScatterND")
def scatter(node: Node, x, indices, updates):
    """Put or add elements at positions. Where a position is named twice, ONNX leaves open which element is put there."""
    to = tuple(x.shape)
    axis = None if node.op_type == "ScatterND" else node.axis(node.get("axis", 0), x)

    def scattered(part):
        if axis is None:
            return ops.scatter_add_nd(part, indices, to)
        return ops.scatter_add_elements(part, indices, to, axis=axis)

    reduction = node.get("reduction", "none")
    if reduction == "add":
        return ops.add(x, scattered(updates))
    if reduction != "none":
        node.fail(f"the reduction {reduction!r} is not supported; supported are 'none' and 'add'")
    count = scattered(np.ones(node.allocate(updates.shape), np.int64))
    return ops.where(ops.greater(count, np.int64(0)), scattered(updates), x)


@operator("Split", integers={1: "split"})
def split(node: Node, x, given):
    """Split into equal parts, or into parts of the sizes given."""
    axis, parts = node.axis(node.get("axis", 0), x), len(node.outputs)
    if given is None:
        count = node.get("num_outputs", parts)
        if count != parts:
            node.fail(f"it splits into {count:,} parts and has {parts} outputs")
        each = -(-x.shape[axis] // count)
        given = [min(each, max(x.shape[axis] - i * each, 0)) for i in range(count)]
    if len(given) != parts:
        node.fail(f"it has {parts} outputs for parts of {given}")
    if sum(given) != x.shape[axis] or min(given, default=0) < 0:
        node.fail(f"parts of {given} do not fill the {x.shape[axis]} of axis {axis}")
    before, ends = (slice(None),) * axis, np.cumsum(given).tolist()
    return tuple(ops.getitem(x, (*before, slice(end - size, end))) for size, end in zip(given, ends, strict=True))


@operator("Pad", integers={1: "pads", 3: "axes"}, constants=(2,))
def pad(node: Node, x, pads, value, axes):
    """Pad with a number or with copies; a negative width removes elements."""
    mode = node.get("mode", "constant")
    widths = node.get("paddings", []) if pads is None else pads
    places = range(x.ndim) if axes is None else [node.axis(axis, x) for axis in axes]
    if len(widths) != 2 * len(places):
        node.fail(f"it pads {len(widths)} sides of {len(places)} axes")
    pairs = [(0, 0)] * x.ndim
    for i, axis in enumerate(places):
        pairs[axis] = (widths[i], widths[i + len(places)])
    kept = [max(size + min(a, 0) + min(b, 0), 0) for size, (a, b) in zip(x.shape, pairs, strict=True)]
    node.check_shape([size + max(a, 0) + max(b, 0) for size, (a, b) in zip(kept, pairs, strict=True)])
    if mode != "constant":
        return widened(x, pairs, mode=mode)
    if value is None or not value.size:
        return widened(x, pairs, node.read("value", 0.0))
    if not is_constant(value):
        node.fail("the number that it pads with must not depend on the data")
    number = value.reshape(())[()]
    return widened(x, pairs, float(str(number) if value.dtype.kind == "f" else number))


def widened(x, pairs, value: float = 0.0, **options):
    """Return a tensor with elements added before and after each axis; a negative number of them is removed."""
    if any(a < 0 or b < 0 for a, b in pairs):
        x = ops.getitem(x, tuple(slice(max(-a, 0) or None, min(b, 0) or None) for a, b in pairs))
    added = tuple((max(a, 0), max(b, 0)) for a, b in pairs)
    return ops.pad(x, added, value, **options) if any(map(any, added)) else x


@operator("OneHot", constants=(1,))
def one_hot(node: Node, indices, depth, values):
    """Return the second of two values where the new axis counts the index, and the first elsewhere."""
    count = int(depth.reshape(()))
    node.check_places((count,), "classes")
    node.allocate((count,))
    axis = node.axis(node.get("axis", -1), indices, extra=1)
    places = np.arange(count).reshape((count,) + (1,) * (indices.ndim - axis))
    indices = ops.cast(indices, "int64")
    indices = ops.where(ops.less(indices, np.int64(0)), ops.add(indices, np.int64(count)), indices)
    hot = ops.equal(ops.expand_dims(indices, axis), places)
    return ops.where(hot, ops.getitem(values, 1), ops.getitem(values, 0))


@operator("Trilu", integers={1: "k"})
def trilu(node: Node, x, k):
    """Return the upper or the lower triangle, with zeros elsewhere."""
    return ops.trilu(x, k[0] if k else 0, upper=node.read("upper", True))


@operator("Compress", constants=(1,))
def compress(node: Node, x, condition):
    """Return what a known list of booleans keeps along one axis, or of all elements."""
    kept = np.flatnonzero(np.asarray(condition))
    if node.get("axis") is None:
        return ops.gather(ops.reshape(x, (-1,)), kept, axis=0)
    return ops.gather(x, kept, axis=node.axis(node.get("axis"), x))


@operator("NonZero", constants=(0,))
def nonzero(node: Node, x):
    """Return the positions of nonzero elements of a known array: how many there are must not depend on the data."""
    if not is_constant(x):
        node.fail("the shape of its result depends on the data")
    node.allocate((x.ndim, x.size))
    return np.asarray(np.nonzero(x), np.int64).reshape(x.ndim, -1)


@operator("TopK", integers={1: "k"})
def top_k(node: Node, x, k):
    """Return the largest or smallest elements along one axis, in order, and their positions."""
    options = {"axis": node.axis(node.get("axis", -1), x), "largest": node.read("largest", True)}
    return ops.top_k(x, *k, **options), ops.top_k_indices(x, *k, **options)
