"""The entries of operations for which XLA has its own word; all others are traced as they are, see ``lower.py``.

An entry is a function of the operation and its inputs, arrays of JAX; it stands for the class and its subclasses. Gradients
that are transposes of other operations take no entry of their own but a place in ``TRANSPOSED``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from tinygraph.engines.xla.array import Untraceable, product
from tinygraph.graph import OPERATIONS, Op
from tinygraph.ops.convolution.convolution import Convolve, ConvolveTransposed, KernelGradient
from tinygraph.ops.dropout.dropout import DropoutMask
from tinygraph.ops.elementwise.cast import Cast
from tinygraph.ops.indexing.gather import ScatterAdd, ScatterAddElements
from tinygraph.ops.indexing.gather_nd import ScatterAddNd
from tinygraph.ops.indexing.select import Put
from tinygraph.ops.pooling.max_pooling import MaxUnpool
from tinygraph.ops.pooling.pooling import AvgUnpool
from tinygraph.ops.reduction.running import Cumsum
from tinygraph.ops.statistics.statistics import MovingSum

Entry = Callable[..., Any]
TABLE: dict[type[Op], Entry] = {}
# Operations that are linear in the input at this place. Their own rule is the transpose, so they are the transpose of it.
TRANSPOSED: dict[type[Op], int] = {ConvolveTransposed: 0, KernelGradient: 1, AvgUnpool: 0, MaxUnpool: 0, Put: 0}
TRANSPOSED |= dict.fromkeys((ScatterAdd, ScatterAddElements, ScatterAddNd), 0)


def entry(*classes: type[Op]) -> Callable[[Entry], Entry]:
    """Make a function the entry of these operations."""

    def note(function: Entry) -> Entry:
        TABLE.update(dict.fromkeys(classes, function))
        return function

    return note


def wide(x: Any) -> Any:
    """Return float16 as float32, in which sums are taken."""
    return x.astype(jnp.float32) if x.dtype == jnp.float16 else x


def real(x: Any) -> Any:
    """Return integers as float64, as NumPy takes them in functions of real numbers."""
    return x if x.dtype.kind == "f" else x.astype(np.float64)


@entry(Convolve)
def _convolve(op: Convolve, x: Any, k: Any) -> Any:
    windows = op.windows(x.shape, k.shape)
    if x.dtype.kind != "f" or k.dtype.kind != "f":
        raise Untraceable("XLA's convolutions of integers are not those of NumPy")

    def convolve(x: Any, k: Any) -> Any:
        return lax.conv_general_dilated(
            x, k, windows.stride, windows.padding, rhs_dilation=windows.dilation, feature_group_count=op.groups
        )

    return product(convolve, (wide(x), wide(k)))


@entry(DropoutMask)
def _dropout_mask(op: DropoutMask, key: Any) -> Any:
    words = _philox(key, op.stream, math.prod(op.to))
    kept = (words >= np.uint32(op.rate * 2**32)).reshape(op.to)
    return jnp.where(kept, np.asarray(1 / (1 - op.rate), op.dtype), np.zeros((), op.dtype))


def _philox(key: Any, stream: int, count: int) -> Any:
    """Return ``count`` words of 32 bits of Philox4x64-10 (Salmon et al., 2011), as NumPy's generator begins.

    The block at counter ``i + 1`` gives four words of 64 bits. Each element needs no other, so that devices make parts of it.
    """
    i = jnp.arange(-(-count // 8), dtype=jnp.uint64) + np.uint64(1)
    zero = jnp.zeros_like(i)
    half, low = np.uint64(32), np.uint64(0xFFFFFFFF)

    def multiplied(a: np.uint64, b: Any) -> tuple[Any, Any]:
        """Return the upper and the lower 64 bits of a product."""
        middle = (a >> half) * (b & low) + ((a & low) * (b & low) >> half)
        other = (a & low) * (b >> half) + (middle & low)
        return (a >> half) * (b >> half) + (middle >> half) + (other >> half), a * b

    def one_round(_: Any, state: Any) -> Any:
        (c0, c1, c2, c3), (k0, k1) = state
        high0, low0 = multiplied(np.uint64(0xD2E7470EE14C6C93), c0)
        high1, low1 = multiplied(np.uint64(0xCA5A826395121157), c2)
        keys = k0 + np.uint64(0x9E3779B97F4A7C15), k1 + np.uint64(0xBB67AE8584CAA73B)
        return (high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0), keys

    keys = key.astype(jnp.int64).astype(jnp.uint64), jnp.uint64(stream % 2**64)
    # A loop, not ten copies: XLA would fuse those into one expression and compute its parts again and again.
    counters, _ = lax.fori_loop(0, 10, one_round, ((i, zero, zero, zero), keys))
    words = jnp.stack([(w >> shift).astype(jnp.uint32) for w in counters for shift in (np.uint64(0), half)], -1)
    return words.reshape(-1)[:count]


@entry(Cumsum)
def _cumsum(op: Cumsum, x: Any) -> Any:
    summed = x.astype(np.float64 if x.dtype.kind == "f" and x.dtype.itemsize < 8 else op.result_dtype(x))
    axis = op.axis % x.ndim
    if op.exclusive and x.shape[axis]:
        # Not a difference, in which NaN would not leave itself out.
        zero = jnp.zeros_like(lax.slice_in_dim(summed, 0, 1, axis=axis))
        first, last = (1, None) if op.reverse else (0, -1)
        rest = lax.slice_in_dim(summed, first, last, axis=axis)
        summed = jnp.concatenate([rest, zero] if op.reverse else [zero, rest], axis)
    return lax.cumsum(summed, axis, reverse=op.reverse)


@entry(MovingSum)
def _moving_sum(op: MovingSum, x: Any) -> Any:
    x = wide(x.astype(op.result_dtype(x)))
    along = lambda value, rest: tuple(value if i == op.axis % x.ndim else rest for i in range(x.ndim))  # noqa: E731
    sizes, sides = along(op.before + op.after + 1, 1), along((op.before, op.after), (0, 0))
    return lax.reduce_window(x, np.zeros((), x.dtype), lax.add, sizes, along(1, 1), sides)


@entry(Cast)
def _cast(op: Cast, x: Any) -> Any:
    return x.astype(op.dtype)


@entry(OPERATIONS["gate"].op)
def _gate(op: Op, x: Any, condition: Any) -> Any:
    return jnp.where(condition, x, np.zeros((), x.dtype))


@entry(OPERATIONS["erf"].op)
def _erf(op: Op, x: Any) -> Any:
    return lax.erf(real(x))


@entry(OPERATIONS["normal_cdf"].op)
def _normal_cdf(op: Op, x: Any) -> Any:
    return lax.erfc(real(x) * -math.sqrt(0.5)) / 2


@entry(OPERATIONS["normal_pdf"].op)
def _normal_pdf(op: Op, x: Any) -> Any:
    x = real(x)
    return jnp.exp(-x * x / 2) / math.sqrt(2 * math.pi)
