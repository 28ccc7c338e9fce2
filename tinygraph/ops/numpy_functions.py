"""NumPy's functions as operations: what a call such as ``np.vstack([x, y])`` on tensors records.

A function whose arguments are those of one operation stands where that is registered (``numpy=[...]``). The others are here,
each a composition of operations, with arguments under NumPy's names; ``graph/protocols.py`` refuses all others by name. What
only moves elements is not written again: NumPy's own function moves axes, sizes or places, and the elements follow.
"""

import functools
import math
import string
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np

from tinygraph.errors import AttributeValueError, ShapeError, TinygraphError
from tinygraph.graph import NUMPY_FUNCTIONS, OPERATIONS, Tensor
from tinygraph.ops.indexing.select import split

ops = SimpleNamespace(**OPERATIONS)
# NumPy's numbers for the axes of einsum, as letters in the same order.
_LETTERS = string.ascii_uppercase + string.ascii_lowercase


# ---- moved by NumPy


def _axes_moved(function, x, *args, **kwargs):
    """A transpose: what a function does to axes of the sizes 0, 1, 2, ... shows where it moves them."""
    return ops.transpose(x, function(np.empty(range(x.ndim)), *args, **kwargs).shape)


def _places_moved(function, x, *args, **kwargs):
    """An index into all elements, numbered from 1, with a 0 in front: a function moves their numbers, and may fill in zeros."""
    options = {name: _plain(value) for name, value in kwargs.items()}
    places = function(np.arange(1, x.size + 1).reshape(x.shape), *map(_plain, args), **options)
    flat = ops.reshape(x, -1)
    return flat[places - 1] if (places > 0).all() else ops.pad(flat, (1, 0))[places]


def _plain(x):
    return x.value if isinstance(x, Tensor) else x


def _at_least(function, *arys):
    """A reshape of each argument: new axes of size 1 stand where a function puts them."""
    found = tuple(ops.reshape(x, function(np.broadcast_to(0, np.shape(x))).shape) for x in arys)
    return found if len(found) > 1 else found[0]


atleast_1d, atleast_2d, atleast_3d = (partial(_at_least, f) for f in (np.atleast_1d, np.atleast_2d, np.atleast_3d))


def _split(ary, indices_or_sections, axis=0, function=np.split):
    """Parts of the sizes that a function gives them."""
    parts = function(np.empty(ary.shape[axis]), indices_or_sections)
    return list(split(ary, [len(part) for part in parts], axis))


def _hstack(tup):
    parts = [atleast_1d(x) for x in tup]
    return ops.concatenate(parts, axis=min(1, parts[0].ndim - 1))


def _append(arr, values, axis=None):
    parts = [ops.reshape(x, -1) for x in (arr, values)] if axis is None else [arr, values]
    return ops.concatenate(parts, axis=axis or 0)


def _pad(array, pad_width, mode="constant", constant_values=None):
    if mode != "constant" and constant_values is not None:
        raise AttributeValueError(f"numpy.pad takes constant_values with mode 'constant' only; found mode {mode!r}")
    return ops.pad(array, np.broadcast_to(pad_width, (array.ndim, 2)).tolist(), constant_values or 0, mode)


def _take(a, indices, axis=None):
    indices = indices if isinstance(indices, Tensor) else np.asarray(indices)
    return ops.gather(ops.reshape(a, -1) if axis is None else a, indices, axis=axis or 0)


def _take_along_axis(arr, indices, axis=-1):
    """Positions are repeated along axes of size 1."""
    sizes = list(arr.shape)
    sizes[axis] = np.shape(indices)[axis]
    same = math.prod(sizes) == math.prod(np.shape(indices))
    return ops.gather_elements(arr, indices if same else ops.broadcast_to(indices, tuple(sizes)), axis=axis)


def _select(condlist, choicelist, default=0):
    for condition, choice in reversed(list(zip(condlist, choicelist, strict=True))):
        default = ops.where(condition, choice, default)
    return default


# ---- products


def _einsum(*operands, optimize=False):
    """The equation first, or tensors and lists of numbers for their axes in turn. The order of products is chosen anyway."""
    if isinstance(operands[0], str):
        return ops.einsum(list(operands[1:]), operands[0])
    count = len(operands) // 2
    lists = [*operands[1 : 2 * count : 2], *operands[2 * count :]]
    if any(number is not Ellipsis and not 0 <= number < len(_LETTERS) for axes in lists for number in axes):
        raise AttributeValueError(f"numpy.einsum takes numbers of axes from 0 to {len(_LETTERS) - 1}; found {lists}")
    terms = ["".join("..." if number is Ellipsis else _LETTERS[number] for number in axes) for axes in lists]
    return ops.einsum(list(operands[: 2 * count : 2]), "->".join([",".join(terms[:count]), *terms[count:]]))


def _tensordot(a, b, axes: Any = 2):
    rank = np.ndim(a)
    left, right = list(range(rank)), list(range(rank, rank + np.ndim(b)))
    pairs = (left[rank - axes :], range(axes)) if isinstance(axes, int) else axes
    for i, j in np.nditer([np.asarray(part, int) for part in pairs], ["zerosize_ok"]):
        right[j] = left[i]
    return _einsum(a, left, b, right, [axis for axis in left + right if (left + right).count(axis) == 1])


def _dot(a, b, axes=(-1, -2)):
    if not np.ndim(a) or not np.ndim(b):
        return ops.multiply(a, b)
    return ops.matmul(a, b) if np.ndim(b) <= -axes[1] else _tensordot(a, b, axes)


def _kron(a, b):
    ndim = max(np.ndim(a), np.ndim(b))
    a, b = (ops.reshape(x, (1,) * (ndim - np.ndim(x)) + np.shape(x)) for x in (a, b))
    blocks = ops.expand_dims(a, tuple(range(1, 2 * ndim, 2))) * ops.expand_dims(b, tuple(range(0, 2 * ndim, 2)))
    return ops.reshape(blocks, tuple(m * n for m, n in zip(a.shape, b.shape, strict=True)))


def _cross(a, b, axisa=-1, axisb=-1, axisc=-1, axis=None):
    axisa, axisb, axisc = (axisa, axisb, axisc) if axis is None else (axis,) * 3
    a, b = np.moveaxis(a, axisa, -1), np.moveaxis(b, axisb, -1)
    if a.shape[-1:] != (3,) or b.shape[-1:] != (3,):
        raise ShapeError(f"numpy.cross on tensors takes vectors of 3 numbers; found shapes {a.shape} and {b.shape}")
    return np.moveaxis(a[..., [1, 2, 0]] * b[..., [2, 0, 1]] - a[..., [2, 0, 1]] * b[..., [1, 2, 0]], -1, axisc)


def _norm(x, ord=None, axis=None, keepdims=False):
    """Norms of vectors, and of matrices where it is the root of all squares."""
    vectors = isinstance(axis, int) or (axis is None and x.ndim == 1)
    if ord is None or (ord == 2 and vectors) or (ord == "fro" and not vectors):
        return ops.l2_norm(x, axis=axis, keepdims=keepdims)
    if ord == 1 and vectors:
        return ops.l1_norm(x, axis=axis, keepdims=keepdims)
    raise TinygraphError(f"numpy.linalg.norm on tensors takes no ord {ord!r}; vectors have 1 and 2, matrices 'fro'")


# ---- elements


def _clip(a, a_min=None, a_max=None, *, min=None, max=None):
    """Limits may be tensors and arrays too; whole numbers stay whole."""
    if (a_min is not None or a_max is not None) and (min is not None or max is not None):
        raise AttributeValueError("numpy.clip takes a_min and a_max, or min and max, not both")
    low, high = min if a_min is None else a_min, max if a_max is None else a_max
    if a.dtype.kind == "f" and all(x is None or isinstance(x, (int, float)) for x in (low, high)):
        return ops.clip(a, low, high)
    a = a if low is None else ops.maximum(a, low)
    return a if high is None else ops.minimum(a, high)


def _round(a, decimals=0):
    if not decimals or (decimals > 0 and a.dtype.kind != "f"):
        return ops.round(a)
    scale = 10.0 ** abs(decimals)
    rounded = ops.round(a * scale) / scale if decimals > 0 else ops.round(a / scale) * scale
    return rounded if rounded.dtype == a.dtype else ops.cast(rounded, a.dtype.name)


def _floor_divide(x, y):
    rest = ops.mod(x, y)
    # Of a division by 0 the remainder is NaN, and the result infinite; of whole numbers both are 0.
    by_zero = ops.divide(x, y) if rest.dtype.kind == "f" else 0
    found = ops.where(ops.equal(y, 0), by_zero, ops.round(ops.subtract(x, rest) / y))
    return found if found.dtype == rest.dtype else ops.cast(found, rest.dtype.name)


def _sinc(x):
    angle = ops.where(x == 0, 1.0, x * math.pi)
    return ops.where(x == 0, 1.0, ops.sin(angle) / angle)


def _nan_to_num(x, nan=0.0, posinf=None, neginf=None):
    if x.dtype.kind != "f":
        return ops.identity(x)
    low, high = (float(x) for x in (np.finfo(x.dtype).min, np.finfo(x.dtype).max))
    x = ops.where(ops.isinf(x, negative=False), high if posinf is None else posinf, x)
    x = ops.where(ops.isinf(x, positive=False), low if neginf is None else neginf, x)
    return ops.where(ops.isnan(x), nan, x)


def _but_nan(choose, x, y):
    """The result of ``fmax`` or ``fmin``: of a number and NaN, the number."""
    return ops.where(ops.isnan(x), y, ops.where(ops.isnan(y), x, choose(x, y)))


def _along_all(function, default=None):
    """Return a function along one axis, which NumPy calls for all elements in a row where no axis is named."""
    return lambda a, axis=default: function(*([ops.reshape(a, -1), 0] if axis is None else [a, axis]))


def _spread(function):
    """Return ``var`` or ``std``, whose correction NumPy calls ``ddof``."""
    return lambda a, axis=None, ddof=0, keepdims=False: function(a, axis=axis, keepdims=keepdims, correction=ddof)


def _scaled(factor):
    return lambda x: ops.multiply(x, factor)


_AXES = (np.moveaxis, np.rollaxis, np.swapaxes, np.matrix_transpose, np.linalg.matrix_transpose)
_PLACES = (np.delete, np.diag, np.diagflat, np.diagonal, np.linalg.diagonal, np.repeat, np.resize, np.roll, np.rot90)
NUMPY_FUNCTIONS |= {
    **{f: partial(_axes_moved, f) for f in _AXES},
    **{f: partial(_places_moved, f) for f in _PLACES},
    **{f: partial(_at_least, f) for f in (np.atleast_1d, np.atleast_2d, np.atleast_3d)},
    **dict.fromkeys((np.conjugate, np.copy, np.real), ops.identity),
    **dict.fromkeys((np.degrees, np.rad2deg), _scaled(180 / math.pi)),
    **dict.fromkeys((np.radians, np.deg2rad), _scaled(math.pi / 180)),
    **dict.fromkeys((np.round, np.around), _round),
    **{np.append: _append, np.clip: _clip, np.cross: _cross, np.einsum: _einsum, np.floor_divide: _floor_divide},
    **{np.hstack: _hstack, np.kron: _kron, np.linalg.norm: _norm, np.nan_to_num: _nan_to_num, np.pad: _pad},
    **{np.select: _select, np.sinc: _sinc, np.split: _split, np.take: _take, np.take_along_axis: _take_along_axis},
    **{np.tensordot: _tensordot},
    np.array_split: lambda ary, indices_or_sections, axis=0: _split(ary, indices_or_sections, axis, np.array_split),
    np.column_stack: lambda tup: _hstack([x if np.ndim(x) > 1 else ops.reshape(x, (-1, 1)) for x in tup]),
    np.cumprod: _along_all(ops.cumprod),
    np.cumsum: _along_all(ops.cumsum),
    np.divmod: lambda x, y: (_floor_divide(x, y), ops.mod(x, y)),
    np.dot: lambda a, b: _dot(a, b),
    np.dsplit: lambda ary, indices_or_sections: _split(ary, indices_or_sections, 2),
    np.dstack: lambda tup: ops.concatenate([atleast_3d(x) for x in tup], axis=2),
    np.fabs: lambda x: ops.abs(x if x.dtype.kind == "f" else x * 1.0),
    np.fliplr: lambda m: ops.flip(m, axis=1),
    np.flipud: lambda m: ops.flip(m, axis=0),
    np.fmax: partial(_but_nan, ops.maximum),
    np.fmin: partial(_but_nan, ops.minimum),
    np.fmod: lambda x, y: ops.mod(x, y, fmod=True),
    np.full_like: lambda a, fill_value, dtype=None: np.full(a.shape, fill_value, dtype or a.dtype),
    np.hsplit: lambda ary, indices_or_sections: _split(ary, indices_or_sections, min(1, ary.ndim - 1)),
    np.inner: lambda a, b: _dot(a, b, (-1, -1)),
    np.linalg.cross: lambda x1, x2, axis=-1: _cross(x1, x2, axis=axis),
    np.linalg.multi_dot: lambda arrays: functools.reduce(_dot, arrays),
    np.linalg.outer: lambda x1, x2: np.outer(x1, x2),
    np.linalg.tensordot: lambda x1, x2, axes=2: _tensordot(x1, x2, axes),
    np.linalg.trace: lambda x, offset=0: ops.sum(np.linalg.diagonal(x, offset=offset), axis=-1),
    np.logaddexp2: lambda x, y: ops.logaddexp(x * math.log(2), y * math.log(2)) / math.log(2),
    np.nanprod: lambda a, axis=None, keepdims=False: ops.prod(ops.where(ops.isnan(a), 1, a), axis, keepdims),
    np.nansum: lambda a, axis=None, keepdims=False: ops.sum(ops.where(ops.isnan(a), 0, a), axis, keepdims),
    np.outer: lambda a, b: ops.multiply(ops.reshape(a, (-1, 1)), ops.reshape(b, -1)),
    np.partition: lambda a, kth, axis=-1: np.sort(a, axis),
    np.ptp: lambda a, axis=None, keepdims=False: ops.max(a, axis, keepdims) - ops.min(a, axis, keepdims),
    np.ravel: lambda a: ops.reshape(a, -1),
    np.sort: _along_all(ops.sort, -1),
    np.square: lambda x: ops.multiply(x, x),
    np.std: _spread(ops.std),
    np.trace: lambda a, offset=0, axis1=0, axis2=1: ops.sum(np.diagonal(a, offset, axis1, axis2), axis=-1),
    np.tril: lambda m, k=0: ops.trilu(m, k, upper=False),
    np.var: _spread(ops.variance),
    np.vdot: lambda a, b: ops.matmul(ops.reshape(a, -1), ops.reshape(b, -1)),
    np.vecdot: lambda x1, x2: ops.einsum([x1, x2], "...i,...i->..."),
    np.vsplit: lambda ary, indices_or_sections: _split(ary, indices_or_sections),
    np.vstack: lambda tup: ops.concatenate([atleast_2d(x) for x in tup]),
}
