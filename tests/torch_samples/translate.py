"""What PyTorch's arguments are called here: axes for dims, pairs for paddings, scales and shifts that may be left out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import tinygraph as tg

from .compare import NotOursError

Call = Callable[..., Any]


def need(condition: bool, reason: str) -> None:
    if not condition:
        raise NotOursError(reason)


# Axes.


def axes(x: Any, dim: Any) -> Any:
    """Return ``dim`` as our ``axis``: of a scalar none, of an empty list all."""
    if dim is None or x.ndim == 0 or (isinstance(dim, list | tuple) and not dim):
        return None
    return tuple(dim) if isinstance(dim, list | tuple) else dim


def reduction(function: Call, **fixed: Any) -> Call:
    def call(x: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, out: Any = None) -> Any:
        return function(x, axis=axes(x, dim), keepdims=keepdim, **fixed)

    return call


def extreme(function: Call, place: Call) -> Call:
    """Of an axis the extreme and its place, of a whole tensor the extreme alone."""

    def call(x: Any, dim: Any = None, keepdim: bool = False) -> Any:
        settings = {"axis": axes(x, dim), "keepdims": keepdim and x.ndim > 0}
        return function(x, **settings) if dim is None else (function(x, **settings), place(x, **settings))

    return call


def spread(square: bool, *, also_mean: bool = False) -> Call:
    """Variance, or deviation if not ``square``; PyTorch divides by one less than the count if not told otherwise."""

    def call(x: Any, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = 1) -> Any:
        if isinstance(dim, bool):
            dim, unbiased = None, dim
        correction = int(unbiased) if unbiased is not None else 1 if correction is None else correction
        need(correction == int(correction), "a correction that is no whole number")
        need(correction >= 0, "a negative correction")
        settings = {"axis": axes(x, dim), "keepdims": keepdim}
        y = tg.variance(x, **settings, correction=int(correction))
        y = y if square else tg.sqrt(y)
        return (y, tg.mean(x, **settings)) if also_mean else y

    return call


def along(function: Call) -> Call:
    """A function along one axis; of a scalar, along the only axis of a line of one."""

    def call(x: Any, dim: int, dtype: Any = None) -> Any:
        return function(x, dim) if x.ndim else tg.reshape(function(tg.reshape(x, (1,)), 0), ())

    return call


def moved(x: Any, source: int | Sequence[int], target: int | Sequence[int]) -> Any:
    sources, targets = np.atleast_1d(source), np.atleast_1d(target)
    return tg.transpose(x, np.moveaxis(np.empty(range(x.ndim)), sources, targets).shape) if x.ndim else x


def swapped(x: Any, first: int, second: int) -> Any:
    order = list(range(x.ndim))
    if order:
        order[first], order[second] = order[second], order[first]
    return tg.transpose(x, tuple(order))


def sizes(*given: Any) -> tuple[int, ...]:
    """Return sizes that stand in one list or one by one."""
    return tuple(given[0]) if len(given) == 1 and isinstance(given[0], list | tuple) else given


def expanded(x: Any, *to: Any) -> Any:
    to = sizes(*to)
    kept = (1,) * (len(to) - x.ndim) + tuple(x.shape)
    return tg.broadcast_to(x, tuple(old if new == -1 else new for old, new in zip(kept, to, strict=True)))


def repeated(x: Any, *reps: Any) -> Any:
    return tg.tile(x, sizes(*reps))


def parts(x: Any, size: Any, dim: int = 0) -> Any:
    """Parts of one size, the last perhaps smaller, or of the listed sizes."""
    length = x.shape[dim]
    wanted = list(size) if isinstance(size, list | tuple) else [min(size, length - i) for i in range(0, length, size)]
    return tg.split(x, wanted, axis=dim)


def chunks(x: Any, count: int, dim: int = 0) -> Any:
    return parts(x, math.ceil(x.shape[dim] / count), dim)


def split_at(x: Any, places: Any, dim: int = 0) -> Any:
    """Parts between ``places``, or so many parts of nearly the same size."""
    length = x.shape[dim]
    if np.ndim(places) == 0:
        count = int(places)
        return parts(x, [length // count + (i < length % count) for i in range(count)], dim)
    return parts(x, list(np.diff([0, *(int(place) for place in places), length])), dim)


def rolled(x: Any, shifts: Any, dims: Any = ()) -> Any:
    if not isinstance(dims, int) and not dims:
        return tg.reshape(rolled(tg.reshape(x, (-1,)), shifts, 0), x.shape)
    for shift, dim in zip(np.atleast_1d(shifts), np.atleast_1d(dims), strict=True):
        size = x.shape[dim]
        if size:
            x = tg.gather(x, (np.arange(size) - shift) % size, int(dim))
    return x


def turned(x: Any, k: int = 1, dims: Sequence[int] = (0, 1)) -> Any:
    for _ in range(k % 4):
        x = tg.flip(swapped(x, *dims), dims[0])
    return x


def stacked(x: Sequence[Any], dim: int = 0) -> Any:
    return tg.concatenate([tg.expand_dims(part, dim) for part in x], axis=dim)


def concatenated(x: Sequence[Any], dim: int = 0) -> Any:
    """PyTorch leaves lines of nothing out, whatever they are joined with."""
    kept = [part for part in x if part.shape != (0,)] or list(x)
    return tg.concatenate(kept, axis=dim)


def alike(*x: Any) -> list[Any]:
    """Return the tensors in the shape that they broadcast to together."""
    shape = np.broadcast_shapes(*(tuple(part.shape) for part in x))
    return [tg.broadcast_to(part, shape) for part in x]


def tensors(given: Any) -> Any:
    """Return the tensors that stand in one list or one by one."""
    return given[0] if len(given) == 1 and isinstance(given[0], list | tuple) else given


def deep(x: Any) -> Any:
    shape = {0: (1, 1, 1), 1: (1, -1, 1), 2: (*x.shape, 1)}.get(x.ndim, x.shape)
    return tg.reshape(x, shape)


def flattened(x: Any, start_dim: int, end_dim: int) -> Any:
    if not x.ndim:
        return tg.reshape(x, (1,))
    start, end = start_dim % x.ndim, end_dim % x.ndim
    if end == x.ndim - 1:
        return tg.flatten(x, start)
    return tg.reshape(x, (*x.shape[:start], math.prod(x.shape[start : end + 1]), *x.shape[end + 1 :]))


def unflattened(x: Any, dim: int, sizes: Any) -> tuple[int, ...]:
    dim = dim % x.ndim
    return (*x.shape[:dim], *sizes, *x.shape[dim + 1 :])


def at(x: Any, dim: int, index: Any) -> Any:
    """Return what indexes ``x`` along one axis."""
    return (slice(None),) * (dim % x.ndim) + (index,)


def narrowed(x: Any, dim: int, start: Any, length: int) -> Any:
    start = int(start) % x.shape[dim] if start < 0 else int(start)
    return x[at(x, dim, slice(start, start + length))]


def squeezed(x: Any, dim: Any) -> Any:
    """PyTorch leaves axes that are not of size 1 as they are."""
    dims = range(x.ndim) if dim is None else [dim] if isinstance(dim, int) else dim
    return tg.squeeze(x, tuple(axis for axis in dims if x.ndim and x.shape[axis] == 1))


def grid(*lines: Any, indexing: str = "ij") -> list[Any]:
    lines = tensors(lines)
    order = list(range(len(lines)))
    if indexing == "xy":
        order[:2] = order[:2][::-1]
    shape = tuple(lines[i].size for i in order)
    return [
        tg.broadcast_to(tg.reshape(x, tuple(-1 if place == i else 1 for place in order)), shape)
        for i, x in enumerate(lines)
    ]


def clamped(x: Any, low: Any, high: Any) -> Any:
    x = x if low is None else tg.maximum(x, low)
    return x if high is None else tg.minimum(x, high)


def channels(numbers: Any, x: Any) -> Any:
    """Return one number for each channel in a shape that broadcasts with ``x``."""
    return tg.reshape(numbers, (-1,) + (1,) * (x.ndim - 2)) if x.ndim > 1 and numbers.ndim else tg.reshape(numbers, ())


# Places.


def indexed(x: Any, index: Any) -> Any:
    if isinstance(index, list) and all(isinstance(part, list | np.ndarray) for part in index):
        index = tuple(index)
    return x[index]


def corner(x: Any, shape: Sequence[int], dim: int) -> Any:
    """Return of ``x`` what positions of ``shape`` along ``dim`` stand beside."""
    rest = [slice(size) for size in shape]
    rest[dim] = slice(None)
    return x[tuple(rest)]


def gathered(x: Any, dim: int, index: Any, **_: Any) -> Any:
    need(x.ndim > 0, "positions along an axis of a scalar")
    need(index.ndim == x.ndim, "positions of nothing with fewer axes than x")
    return tg.gather_elements(corner(x, index.shape, dim), index.astype(np.int64), axis=dim)


def scattered(x: Any, dim: int, index: Any, source: Any) -> Any:
    need(x.ndim > 0, "positions along an axis of a scalar")
    part = source[tuple(slice(size) for size in index.shape)]
    dim = dim % x.ndim
    to = tuple(x.shape[dim] if axis == dim else size for axis, size in enumerate(index.shape))
    added = tg.scatter_add_elements(part, index, to=to, axis=dim)
    return x + tg.pad(added, tuple((0, whole - size) for whole, size in zip(x.shape, to, strict=True)))


def taken_along(x: Any, index: Any, dim: int | None = None) -> Any:
    if dim is None:
        return tg.gather_elements(tg.reshape(x, (-1,)), index.reshape(-1))
    shape = list(np.broadcast_shapes(*(np.delete(y.shape, dim) for y in (x, index))))
    axis = dim % x.ndim
    large, chosen = ((*shape[:axis], y.shape[axis], *shape[axis:]) for y in (x, index))
    return tg.gather_elements(tg.broadcast_to(x, large), np.broadcast_to(index, chosen), axis=axis)


def picked(x: Any, dim: int, index: Any) -> Any:
    need(x.ndim > 0, "positions along an axis of a scalar")
    return tg.gather(x, index, dim)


def added_at(x: Any, dim: int, index: Any, source: Any, *, alpha: float = 1) -> Any:
    need(x.ndim > 0, "positions along an axis of a scalar")
    return x + alpha * tg.scatter_add(source, index, size=x.shape[dim], axis=dim)


def put_at(x: Any, index: Any, values: Any, accumulate: bool = False) -> Any:
    index = tuple(index)
    ones = np.zeros(x.shape)
    ones[index] = 1
    new = tg.put(tg.broadcast_to(values, ones[index].shape), index, x.shape)
    return x + new if accumulate else tg.where(ones == 1, new, x)


def largest(x: Any, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    need(x.ndim > 0, "an axis of a scalar")
    return tuple(function(x, k, axis=dim, largest=largest) for function in (tg.top_k, tg.top_k_indices))


def in_order(x: Any, dim: int = -1, descending: bool = False, *, stable: bool = False) -> Any:
    need(x.ndim > 0, "an axis of a scalar")
    return largest(x, x.shape[dim], dim, descending)


def masked(x: Any, mask: Any) -> Any:
    need(mask.ndim > 0 or x.ndim > 0, "a mask without axes")
    x, mask = alike(x, mask)
    return x[mask]


def one_hot(x: Any, num_classes: int) -> Any:
    return tg.one_hot(tg.tensor(x), int(x.max()) + 1 if num_classes == -1 else num_classes, "int64")


# Matrices.


def plus_product(product: Call) -> Call:
    """A tensor times beta plus a product times alpha."""
    return lambda x, *factors, beta=1, alpha=1: beta * x + alpha * product(*factors)


def affine(x: Any, weight: Any, bias: Any = None) -> Any:
    y = x @ swapped(weight, 0, 1) if weight.ndim == 2 else x @ weight
    return y if bias is None else y + bias


def einsum(x: Any, equation: str) -> Any:
    need(
        "..." not in equation or "->" not in equation or "..." in equation.split("->")[1],
        "a ... that the result leaves out: it is refused, as in NumPy",
    )
    return tg.einsum(x, equation)


def inner(x: Any, y: Any) -> Any:
    return x * y if 0 in (x.ndim, y.ndim) else tg.einsum([x, y], "ai,bi->ab" if x.ndim + y.ndim == 4 else "...i,i->...")


def outer(x: Any, y: Any) -> Any:
    return tg.reshape(x, (-1, 1)) * tg.reshape(y, (1, -1))


def bilinear(x: Any, y: Any, weight: Any, bias: Any = None) -> Any:
    z = tg.einsum([x, weight, y], "...i,kij,...j->...k")
    return z if bias is None else z + bias


def summed_products(x: Any, y: Any, dims: Any) -> Any:
    first, second = (range(x.ndim - dims, x.ndim), range(dims)) if isinstance(dims, int) else dims
    letters = [chr(ord("a") + i) for i in range(x.ndim)], [chr(ord("A") + i) for i in range(y.ndim)]
    need(all(x.shape[i] == y.shape[j] for i, j in zip(first, second, strict=True)), "sizes of 1 that stand for any")
    for i, j in zip(first, second, strict=True):
        letters[1][j] = letters[0][i]
    once = [a for a in letters[0] if a not in letters[1]] + [b for b in letters[1] if b not in letters[0]]
    return tg.einsum([x, y], f"{''.join(letters[0])},{''.join(letters[1])}->{''.join(once)}")


def attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    last = key.ndim - 1
    scores = query @ swapped(key, last, last - 1) * (scale or 1 / math.sqrt(query.shape[-1]))
    if is_causal:
        attn_mask = np.tri(*scores.shape[-2:], dtype=bool)
    if attn_mask is not None:
        scores = tg.where(attn_mask, scores, -np.inf) if attn_mask.dtype == bool else scores + attn_mask
    return tg.softmax(scores) @ value


# Losses.


def loss(function: Call) -> Call:
    """A loss that is a mean, or as many times that as it is a mean of."""

    def call(
        x: Any, y: Any, *, reduction: str = "mean", weight: Any = None, pos_weight: Any = None, **settings: Any
    ) -> Any:
        return times_count(function(x, y, **settings), reduction, x.size)

    return call


def smooth_l1(x: Any, y: Any, beta: float = 1.0) -> Any:
    """With a ``beta`` of 0 it is ``l1``, and called so here."""
    return tg.smooth_l1(x, y, beta=beta) if beta else tg.l1(x, y)


def times_count(mean: Any, reduction: str, count: int) -> Any:
    need(reduction != "none", "the losses of single elements")
    return mean * count if reduction == "sum" else mean


def classes_last(x: Any) -> Any:
    """Return scores ``(N, C, ...)`` or ``(C,)`` as rows of classes."""
    if x.ndim == 1:
        return tg.reshape(x, (1, -1))
    return tg.reshape(moved(x, 1, -1), (-1, x.shape[1]))


def of_classes(function: Call) -> Call:
    def call(
        x: Any,
        y: Any,
        weight: Any = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> Any:
        rows = classes_last(x)
        labels = y.reshape(-1) if y.dtype.kind == "i" else classes_last(y)
        need(bool(rows.shape[0]), "a mean of nothing")
        return times_count(function(rows, labels), reduction, rows.shape[0])

    return call


def divergence(x: Any, y: Any, *, reduction: str = "mean", log_target: bool = False) -> Any:
    need(x.ndim > 0, "samples without an axis")
    need(reduction != "none", "the losses of single elements")
    divided = {"batchmean": x.shape[0], "mean": x.size, "sum": 1}[reduction]
    return tg.kl_divergence(x, tg.exp(y) if log_target else y) * (math.prod(x.shape[:-1]) / divided)


# Windows.


def batched(rank: int, x: Any, function: Call) -> Any:
    """Call ``function`` with a batch, of one image where PyTorch is given an image without a batch."""
    return function(x) if x.ndim == rank + 2 else tg.squeeze(function(tg.expand_dims(x, 0)), 0)


def each_axis(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def per_axis(value: Any, rank: int) -> Any:
    """Return a list as a tuple of one size for each axis; PyTorch lets one stand for all."""
    return tuple(value) * (rank if len(value) == 1 else 1) if isinstance(value, list | tuple) else value


def conv(rank: int) -> Call:
    function = tg.operation(f"conv{rank}d")

    def call(
        x: Any, k: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
    ) -> Any:
        settings = {"stride": stride, "padding": padding, "dilation": dilation}
        settings = {name: each_axis(value) for name, value in settings.items()}
        y = batched(rank, x, lambda x: function(x, k, **settings, groups=groups))
        return y if bias is None else y + tg.reshape(bias, (-1,) + (1,) * rank)

    return call


def conv_transpose(rank: int) -> Call:
    function = tg.operation(f"conv_transpose{rank}d")

    def fits(stride: Any, more: Any) -> bool:
        return all(n < step for n, step in zip(np.broadcast_to(more, rank), np.broadcast_to(stride, rank), strict=True))

    def call(
        x: Any,
        k: Any,
        bias: Any = None,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        dilation: Any = 1,
    ) -> Any:
        need(fits(stride, output_padding) or not np.any(output_padding), "images in which another window would fit")
        settings = {"stride": stride, "padding": padding, "output_padding": output_padding, "dilation": dilation}
        settings = {name: each_axis(value) for name, value in settings.items()}
        y = batched(rank, x, lambda x: function(x, k, **settings, groups=groups))
        return y if bias is None else y + tg.reshape(bias, (-1,) + (1,) * rank)

    return call


def pool(kind: str, rank: int) -> Call:
    function = tg.operation(f"{kind}_pool{rank}d")

    def call(
        x: Any,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> Any:
        return pooled(x, kernel_size, stride, padding, dilation=dilation, ceil_mode=ceil_mode)

    def mean(
        x: Any,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: Any = None,
    ) -> Any:
        return pooled(x, kernel_size, stride, padding, ceil_mode=ceil_mode, count_include_pad=count_include_pad)

    def pooled(x: Any, *sizes: Any, **settings: Any) -> Any:
        window, stride, padding = (per_axis(size, rank) for size in sizes)
        settings = {name: each_axis(value) for name, value in settings.items()}
        return batched(rank, x, lambda x: function(x, window, stride or None, padding, **settings))

    return mean if kind == "avg" else call


def adaptive(kind: str, rank: int) -> Call:
    function, whole = tg.operation(f"{kind}_pool{rank}d"), tg.operation(f"global_{kind}_pool")

    def call(x: Any, output_size: Any, return_indices: bool = False) -> Any:
        wanted = tuple(output_size) if isinstance(output_size, list | tuple) else (output_size,) * rank
        images = x.shape[-rank:]
        wanted = tuple(size if size is not None else old for size, old in zip(wanted, images, strict=True))
        need(
            all(size and old % size == 0 for size, old in zip(wanted, images, strict=True)), "windows of several sizes"
        )
        if set(wanted) == {1}:
            return batched(rank, x, lambda x: whole(x, keepdims=True))
        window = tuple(old // size for size, old in zip(wanted, images, strict=True))
        return batched(rank, x, lambda x: function(x, window))

    return call


def padded(x: Any, pads: Sequence[int], mode: str = "constant", value: float | None = None) -> Any:
    """PyTorch's pairs begin with the last axis; a negative one cuts off."""
    pairs = [(0, 0)] * x.ndim
    for i in range(len(pads) // 2):
        pairs[-1 - i] = (pads[2 * i], pads[2 * i + 1])
    names = {"reflect": "reflect", "replicate": "edge"}
    kept = [slice(max(-first, 0), size - max(-last, 0)) for size, (first, last) in zip(x.shape, pairs, strict=True)]
    grown = tuple((max(first, 0), max(last, 0)) for first, last in pairs)
    if mode == "constant":
        return tg.pad(x[tuple(kept)], grown, value or 0.0)
    if mode == "circular":
        return tg.pad(x[tuple(kept)], grown, mode="wrap")
    cut = tuple(slice(max(-first, 0), min(last, 0) or None) for first, last in pairs)
    return tg.pad(x, grown, mode=names[mode])[cut]


def resized(**settings: Any) -> Call:
    def call(
        x: Any,
        size: Any = None,
        scale_factor: Any = None,
        mode: Any = None,
        align_corners: Any = None,
        recompute_scale_factor: Any = None,
        antialias: bool = False,
    ) -> Any:
        chosen = dict(settings)
        if align_corners:
            chosen["coordinates"] = "align_corners"
        if recompute_scale_factor:
            size = [math.floor(length * scale_factor) for length in x.shape[2:]]
        if size is not None:
            return tg.resize(x, size=each_axis(size), **chosen)
        return tg.resize(x, scale=each_axis(scale_factor), **chosen)

    return call


# Normalizations, and what chance leaves out.


def dropout(x: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    need(not training or p == 0, "chance")
    need(p < 1, "a rate that leaves nothing")
    return tg.dropout(x, 0, rate=p, training=training)


def ones_and_zeros(count: Any, scale: Any, shift: Any) -> tuple[Any, Any]:
    return np.ones(count) if scale is None else scale, np.zeros(count) if shift is None else shift


def batch_norm(
    x: Any,
    mean: Any,
    variance: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    need(x.ndim > 1, "images without channels")
    scale, shift = ones_and_zeros(x.shape[1], weight, bias)
    zeros = np.zeros(x.shape[1])
    before, spread = (zeros if mean is None else mean), (zeros if variance is None else variance)
    return tg.batch_norm(x, scale, shift, before, spread, epsilon=eps, training=training)


def layer_norm(x: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    need(eps >= 0, "a negative epsilon")
    scale, shift = ones_and_zeros(tuple(normalized_shape), weight, bias)
    return tg.layer_norm(x, scale, shift, axis=-len(normalized_shape), epsilon=eps)


def group_norm(x: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    need(eps >= 0, "a negative epsilon")
    return tg.group_norm(x, *ones_and_zeros(x.shape[1], weight, bias), groups=num_groups, epsilon=eps)


def instance_norm(
    x: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    return tg.instance_norm(x, *ones_and_zeros(x.shape[1], weight, bias), epsilon=eps)


def response_norm(x: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Any:
    """A window of even size reaches one further to the front there, to the back here, as in ONNX."""
    turn = (lambda x: tg.flip(x, 1)) if size % 2 == 0 else (lambda x: x)
    return turn(tg.local_response_norm(turn(x), size=size, alpha=alpha, beta=beta, bias=k))


def rms_norm(x: Any, normalized_shape: Any, weight: Any = None, eps: float | None = None) -> Any:
    last = tuple(range(-len(normalized_shape), 0))
    eps = float(np.finfo(np.float64).eps) if eps is None else eps
    y = x / tg.sqrt(tg.mean(x * x, axis=last, keepdims=True) + eps)
    return y if weight is None else y * weight


def normalized(x: Any, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Any:
    need(p in (1, 2), "norms other than those of 1 and 2")
    function = tg.l1_norm if p == 1 else tg.l2_norm
    return x / tg.maximum(function(x, axis=axes(x, dim), keepdims=True), eps)


def vector_norm(x: Any, ord: Any = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    settings = {"axis": axes(x, dim), "keepdims": keepdim}
    choices = {1: tg.l1_norm, 2: tg.l2_norm, math.inf: lambda x, **s: tg.max(tg.abs(x), **s)}
    need(ord in choices, "norms other than those of 1, 2 and the largest")
    need(dtype is None, "results of another dtype")
    return choices[ord](x, **settings)
