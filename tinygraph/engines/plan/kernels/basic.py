"""Kernels of operations that are a few calls of NumPy: elementwise ones, moves of elements, sums, and losses."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from tinygraph.engines.plan.kernels.base import Call, Work, gated, kernel, ordinary, provided, summing
from tinygraph.engines.plan.memory import reshaped
from tinygraph.graph import Array, Shape
from tinygraph.ops.activation import activation
from tinygraph.ops.activation.activation import Softmax, relu, sigmoid
from tinygraph.ops.comparison import comparison
from tinygraph.ops.comparison.comparison import gate
from tinygraph.ops.elementwise import arithmetic, exponential
from tinygraph.ops.elementwise.arithmetic import add_all
from tinygraph.ops.elementwise.cast import Cast
from tinygraph.ops.loss.binary import Bce, BceWithLogits
from tinygraph.ops.loss.classification import CrossEntropy, OneHot
from tinygraph.ops.pooling.global_pooling import GlobalAvgPool, GlobalAvgPool2d
from tinygraph.ops.reduction.reduction import Mean, Sum
from tinygraph.ops.shape.shape import BroadcastTo, ExpandDims, Flatten, Reshape, Squeeze, SumTo, Transpose
from tinygraph.ops.sums import FEW, normalized_axes

# Operations that are the ufunc of NumPy with the same name.
_UFUNCS = {
    getattr(module, name).op: getattr(np, name)
    for module, names in (
        (arithmetic, "add subtract multiply divide negative abs sign"),
        (exponential, "exp expm1 log log1p sqrt"),
        (comparison, "greater greater_equal less less_equal equal not_equal maximum minimum"),
        (activation, "tanh"),
    )
    for name in names.split()
}


@kernel(*_UFUNCS, in_place=True)
def _ufunc(work: Work) -> Sequence[Call]:
    # Of small integers NumPy computes functions such as exp in float16, and operations in float64.
    if work.out.dtype.kind == "f" and work.inputs[0].dtype.kind in "biu":
        return ordinary(work)
    calls: list[Call] = []
    inputs = [_in_longer_runs(x, work, calls) for x in work.inputs]
    ufunc = _UFUNCS[type(work.op)]
    # A named argument costs as much as the rest of a small call; the extrema take their result by name only.
    if ufunc in (np.maximum, np.minimum):
        return [*calls, partial(ufunc, *inputs, out=work.out)]
    return [*calls, partial(ufunc, *inputs, work.out)]


# NumPy takes its time for each run of elements; one of this many is long.
_LONG_RUN = 256


def _in_longer_runs(x: Array, work: Work, calls: list[Call]) -> Array:
    """Return an input with a number for each sample and channel, repeated along the columns of images.

    Without that the runs in memory would be as long as there are samples in a tile.
    """
    out = work.out
    if x.ndim != out.ndim or x.dtype != out.dtype or out.ndim < 3:
        return x
    *_, outer, inner = sorted(range(out.ndim), key=lambda axis: -out.strides[axis])
    sizes, strides = (out.shape[outer], out.shape[inner]), (x.shape[outer], x.shape[inner])
    if strides != (1, sizes[1]) or sizes[0] == 1 or not 1 < sizes[1] < _LONG_RUN or 8 * x.size * sizes[0] > out.size:
        return x
    repeated = work.scratch.take(tuple(np.where(np.arange(x.ndim) == outer, sizes[0], x.shape).tolist()), x.dtype, out)
    calls.append(partial(np.copyto, repeated, x))
    return repeated


@kernel(gate.op, in_place=True)
def _gate(work: Work) -> Sequence[Call]:
    x, condition = work.inputs
    return [gated(x, condition, work.out)] if work.out.dtype.char in "efd" else ordinary(work)


@kernel(add_all.op)
def _add_all(work: Work) -> Sequence[Call]:
    first, *rest = work.inputs
    if not rest or work.out.dtype.char == "e":
        return ordinary(work)
    return [partial(np.add, first, rest[0], work.out)] + [partial(np.add, work.out, x, work.out) for x in rest[1:]]


@kernel(Cast, in_place=True)
def _cast(work: Work) -> Sequence[Call]:
    return [partial(np.copyto, work.out, work.inputs[0], casting="unsafe")]


@kernel(comparison.where.op, in_place=True)
def _where(work: Work) -> Sequence[Call]:
    condition, x, y = work.inputs
    if {x.dtype, y.dtype} != {work.out.dtype} or condition.dtype != bool or work.out.dtype.char not in "efd":
        return ordinary(work)
    x, y, out = (array.view(f"u{array.itemsize}") for array in (x, y, work.out))
    changed = work.scratch.take(out.shape, out.dtype, like=out)
    # See ``chosen``: the bits in which the two differ.
    return [
        partial(np.bitwise_xor, x, y, changed),
        partial(np.multiply, changed, condition, changed),
        partial(np.bitwise_xor, changed, y, out),
    ]


@kernel(activation.leaky_relu.op, in_place=True, floats=True)
def _leaky_relu(work: Work) -> Sequence[Call]:
    (x,), slope = work.inputs, np.asarray(work.op.slope, work.out.dtype)
    if not 0 < slope <= 1:
        return ordinary(work)
    below = work.scratch.take(x.shape, x.dtype, like=x)
    return [partial(np.multiply, x, slope, below), partial(np.maximum, x, below, out=work.out)]


# For more elements than this, clip with two numbers is fastest. For fewer, its wrapper costs more than zeros to compare with.
_MANY_TO_CLIP = 16384


@kernel(relu.op, in_place=True)
def _relu(work: Work) -> Sequence[Call]:
    (x,), zero = work.inputs, np.zeros((), work.node.dtype)
    if x.size <= _MANY_TO_CLIP:
        return [partial(np.maximum, x, work.scratch.zeros(x.shape, x.dtype, like=x), out=work.out)]
    if work.node.dtype.kind == "f":
        return [partial(np.clip, x, zero, np.asarray(np.inf, zero.dtype), work.out)]
    return [partial(np.maximum, x, zero, out=work.out)]


# exp(-x) is finite, and 1/(1 + exp(-x)) no subnormal number, for every x above these.
_LEAST = {"f": -87.0, "d": -708.0}


@kernel(sigmoid.op, in_place=True, floats=True)
def _sigmoid(work: Work) -> Sequence[Call]:
    """1/(1 + exp(-x)), where exp does not overflow."""
    (x,), y = work.inputs, work.out
    one, least = np.ones((), y.dtype), _LEAST[y.dtype.char]
    calls = [
        partial(np.negative, x, y),
        partial(np.exp, y, y),
        partial(np.add, y, one, y),
        partial(np.true_divide, one, y, y),
    ]
    return provided(lambda: bool(np.minimum.reduce(x, None) >= least), calls, work)


@kernel(Reshape, Flatten, Squeeze, ExpandDims)
def _reshape(work: Work) -> Sequence[Call]:
    """Copy between two shapes, through a view of one array in the shape of the other."""
    (x,), out = work.inputs, work.out
    for source, target, to in ((x, out, x.shape), (out, x, out.shape)):
        view = _viewed(target, to)
        if view is not None:
            return [partial(np.copyto, view, source) if target is out else partial(np.copyto, out, view)]
    return ordinary(work)


def _viewed(x: Array, to: Shape) -> Array | None:
    strides = None if x.size == 0 else reshaped(x.shape, x.strides, to)
    return None if strides is None else np.lib.stride_tricks.as_strided(x, to, strides)


@kernel(Transpose, BroadcastTo)
def _copy(work: Work) -> Sequence[Call]:
    x = work.inputs[0]
    if isinstance(work.op, Transpose):
        x = work.op.forward(x)
    return [partial(np.copyto, work.out, x)]


@kernel(Mean, GlobalAvgPool, GlobalAvgPool2d, floats=True)
def _mean(work: Work) -> Sequence[Call]:
    calls, count = _sum(work), work.inputs[0].size // work.out.size
    return [*calls, partial(np.true_divide, work.out, np.asarray(count, work.out.dtype), work.out)]


@kernel(Sum, SumTo)
def _sum(work: Work) -> Sequence[Call]:
    (x,), out = work.inputs, work.out
    if isinstance(work.op, GlobalAvgPool):
        axes = work.op.over(x)
    elif isinstance(work.op, (Sum, Mean)):
        axes = normalized_axes(work.op, x, work.op.axis)
    else:
        extra = x.ndim - out.ndim
        axes = tuple(i for i in range(x.ndim) if i < extra or (out.shape[i - extra] == 1 and x.shape[i] != 1))
    kept = tuple(1 if i in axes else size for i, size in enumerate(x.shape))
    if not axes:
        return [partial(np.copyto, out.reshape(x.shape), x)]
    as_kept = _viewed(out, kept)
    if as_kept is None or out.dtype.char == "e":
        return ordinary(work)
    by_product = _sum_by_product(work, axes)
    if by_product is not None:
        return by_product
    return [summing(x, as_kept, axes)]


# Fewer elements are summed as quickly by NumPy's own reduction.
_MANY_TO_SUM = 2048
# How many elements one product with ones sums: the error of BLAS grows with their number.
_LONG = 1024


def _sum_by_product(work: Work, axes: tuple[int, ...]) -> Sequence[Call] | None:
    """Sum the innermost axes in parts, as products with ones, and then the parts and the outermost axes.

    BLAS does the first several times faster than NumPy's reduction. ``None`` if the axes lie in another order.
    """
    x, out = work.inputs[0], work.out
    # NumPy's own reduction is not accurate for many elements in one sum.
    few = x.size < _MANY_TO_SUM and x.size <= FEW * out.size
    if few or not out.flags.c_contiguous or x.dtype != out.dtype or x.dtype.char not in "fd" or 0 in x.strides:
        return None
    order = sorted(range(x.ndim), key=lambda i: -x.strides[i])
    lying = x.transpose(order)
    if not lying.flags.c_contiguous:
        return None
    summed = [i in axes for i in order]
    kept = [n for n, s in enumerate(summed) if not s] or [0]
    outer, inner = kept[0], kept[-1] + 1
    if any(summed[outer:inner]) or inner == x.ndim or order[outer:inner] != sorted(order[outer:inner]):
        return None
    length = int(np.prod(lying.shape[inner:]))
    rows = lying.reshape(int(np.prod(lying.shape[:outer])), -1, length)
    ones = np.ones((min(length, _LONG), 1), x.dtype)
    result = out.reshape(-1, 1)
    if len(rows) == 1 and length <= _LONG:
        return [partial(np.matmul, rows[0], ones, result)]
    parts, left = divmod(length, _LONG)
    sums: Array = work.scratch.take((*rows.shape[:2], parts + (left > 0)), x.dtype)
    calls = []
    if parts:
        full = rows[:, :, : length - left].reshape(*rows.shape[:2], parts, _LONG)
        calls.append(partial(np.matmul, full, ones, sums[:, :, :parts, None]))
    if left:
        calls.append(partial(np.matmul, rows[:, :, length - left :], ones[:left], sums[:, :, -1:]))
    return [*calls, summing(sums, out.reshape(1, -1, 1), (0, 2))]


@kernel(Bce, BceWithLogits, floats=True)
def _bce_from_logits(work: Work) -> Sequence[Call]:
    """The mean of (max(z, 0) - z y) + log(1 + exp(-|z|)).

    The large terms come first: added last, they would round the small one away.
    """
    if work.op.pos_weight is not None:
        return ordinary(work)
    if isinstance(work.op, BceWithLogits):
        z, y = work.inputs
    elif len(work.inputs) == 3:
        _, y, z = work.inputs
    else:
        return ordinary(work)
    term, rest = (work.scratch.take(z.shape, z.dtype, like=z) for _ in range(2))
    zero, out, count = np.zeros((), z.dtype), work.out, np.asarray(z.size, z.dtype)
    return [
        partial(np.multiply, z, y, term),
        partial(np.maximum, z, zero, out=rest),
        partial(np.subtract, rest, term, term),
        partial(np.abs, z, rest),
        partial(np.negative, rest, rest),
        partial(np.exp, rest, rest),
        partial(np.log1p, rest, rest),
        partial(np.add, term, rest, term),
        partial(np.add.reduce, term, None, None, out),
        partial(np.true_divide, out, count, out),
    ]


@kernel(OneHot)
def _one_hot(work: Work) -> Sequence[Call]:
    labels, classes = work.inputs[0], np.arange(work.op.classes)
    is_it = work.scratch.take(work.out.shape, np.dtype(bool), like=work.out)
    return [partial(np.equal, labels[..., None], classes, is_it), partial(np.copyto, work.out, is_it)]


@kernel(Softmax, floats=True)
def _softmax(work: Work) -> Sequence[Call]:
    (x,), y, axis = work.inputs, work.out, work.op.axis
    over = tuple(1 if i == axis % x.ndim else size for i, size in enumerate(x.shape))
    reduced = work.scratch.take(over, y.dtype, like=y)
    return [
        partial(np.maximum.reduce, x, axis, None, reduced, True),
        partial(np.subtract, x, reduced, y),
        partial(np.exp, y, y),
        summing(y, reduced, axis),
        partial(np.true_divide, y, reduced, y),
    ]


@kernel(CrossEntropy, floats=True)
def _cross_entropy(work: Work) -> Sequence[Call]:
    """The mean of log(sum(exp(s))) - s[label], s = z - max(z), for class numbers."""
    (z, labels), out = work.inputs, work.out
    if z.ndim != 2 or labels.ndim != 1 or work.op != CrossEntropy():
        return ordinary(work)
    shifted = work.scratch.take(z.shape, z.dtype, like=z)
    largest, total = (work.scratch.take((z.shape[0], 1), z.dtype) for _ in range(2))
    rows, count = np.arange(z.shape[0]), np.asarray(z.shape[0], z.dtype)

    def pick() -> None:
        largest[:, 0] = shifted[rows, labels]

    return [
        partial(np.maximum.reduce, z, 1, None, largest, True),
        partial(np.subtract, z, largest, shifted),
        pick,
        partial(np.exp, shifted, shifted),
        summing(shifted, total, 1),
        partial(np.log, total, total),
        partial(np.subtract, total, largest, total),
        partial(np.add.reduce, total, None, None, out),
        partial(np.true_divide, out, count, out),
    ]
