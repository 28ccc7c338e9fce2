"""The kinds of numbers that problems are made of."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Array = np.ndarray
Generator = np.random.Generator


def ordinary(x: Array, rng: Generator) -> Array:
    """The operation's own sample."""
    return x


def huge(x: Array, rng: Generator) -> Array:
    """Numbers whose squares overflow and whose sums do not."""
    return x * 2.0 ** (np.finfo(x.dtype).maxexp * rng.uniform(0.55, 0.8))


def tiny(x: Array, rng: Generator) -> Array:
    """Numbers near the smallest, most of them subnormal."""
    return np.ldexp(x.astype(np.float64), rng.integers(-8, 2, x.shape)) * float(np.finfo(x.dtype).tiny)


def infinite(x: Array, rng: Generator) -> Array:
    """Infinities of both signs among ordinary numbers."""
    return sprinkled(x, [np.inf, -np.inf], rng)


def not_numbers(x: Array, rng: Generator) -> Array:
    """NaN among ordinary numbers."""
    return sprinkled(x, [np.nan], rng)


def zeros(x: Array, rng: Generator) -> Array:
    """Zeros of both signs among ordinary numbers."""
    return sprinkled(x, [0.0, -0.0], rng, share=0.4)


def ties(x: Array, rng: Generator) -> Array:
    """Few numbers, halves, each of them many times."""
    return np.clip(np.round(2 * x), -6, 6) / 2


def saturated(x: Array, rng: Generator) -> Array:
    """Numbers at which exponential functions overflow, underflow or round to a constant."""
    return rng.choice([8, 12, 17, 25, 40, 89, 104, 710, 746, 1e4, 3e4], x.shape) * rng.choice([-1.0, 1.0], x.shape)


def mixed(x: Array, rng: Generator) -> Array:
    """All of these together."""
    most = 2.0 ** (np.finfo(x.dtype).maxexp * 0.45)
    least = float(np.finfo(x.dtype).smallest_subnormal)
    special = [np.nan, np.inf, -np.inf, 0.0, -0.0, most, -most, least, -least, 1.0, -1.0, 0.5]
    return sprinkled(x, special, rng, share=0.5)


def sprinkled(x: Array, special: list[float], rng: Generator, share: float = 0.2) -> Array:
    """Return an array with some of its elements replaced, one at least."""
    chosen = rng.random(x.shape) < share
    if x.size and not chosen.any():
        chosen.flat[rng.integers(x.size)] = True
    return np.where(chosen, rng.choice(special, x.shape), x)


VALUES: dict[str, Callable[[Array, Generator], Array]] = {
    "ordinary": ordinary,
    "huge": huge,
    "tiny": tiny,
    "infinite": infinite,
    "nan": not_numbers,
    "zeros": zeros,
    "ties": ties,
    "saturated": saturated,
    "mixed": mixed,
}
# Sums of these are exact.
EXACT = {"ties"}
# Gradients that come in are of these kinds, too.
OF_COTANGENTS = {"infinite", "nan", "zeros", "ties", "mixed"}
FLOATS = ("float64", "float32", "float16")
INTEGERS = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")


def whole(x: Array, dtype: str, rng: Generator) -> Array:
    """Return small whole numbers near an array's, or truth values."""
    if dtype == "bool":
        return x > 0
    return np.abs(np.round(3 * x)).astype(dtype) if dtype[0] == "u" else np.round(3 * x).astype(dtype)


def limits(x: Array, dtype: str, rng: Generator) -> Array:
    """Return whole numbers at one of the limits of a dtype, and small ones of this sign, whose sums do not cancel."""
    if dtype == "bool":
        return rng.random(x.shape) < 0.5
    info = np.iinfo(dtype)
    large, sign = (info.min, -1) if info.min and rng.random() < 0.5 else (info.max, 1)
    return rng.choice(np.array([large, large - sign, 0, sign, 2 * sign], dtype), x.shape)


def reversed_axes(x: Array) -> Array:
    """Return the same numbers with negative strides."""
    at = (slice(None, None, -1),) * x.ndim
    return x[at].copy()[at]


def strided(x: Array) -> Array:
    """Return the same numbers with others between them."""
    return np.repeat(x, 2, axis=-1)[..., ::2] if x.ndim else x


def shifted(x: Array) -> Array:
    """Return the same numbers at an address that is no multiple of their size."""
    raw = np.zeros(x.nbytes + 1, np.uint8)
    moved = raw[1:].view(x.dtype).reshape(x.shape) if x.size else x
    moved[...] = x
    return moved


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "reversed": reversed_axes,
    "strided": strided,
    "fortran": lambda x: np.array(x, order="F"),
    "unaligned": shifted,
    "swapped bytes": lambda x: x.astype(x.dtype.newbyteorder("S")),
    "read-only": lambda x: np.broadcast_to(x, x.shape),
}
