"""Initial values of parameters. Each has its own random generator, so that no parameter depends on another."""

import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygraph.graph import Array, Shape

Draw = Callable[..., Array]
# The number of values drawn at a time.
_PIECE = 1 << 20


@dataclass(frozen=True)
class Initializer:
    """A function that draws a number of initial values, and the names of its options."""

    draw: Draw
    options: tuple[str, ...] = ()


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return the number of inputs and of outputs that a weight connects.

    Matrices are ``(inputs, outputs)``; kernels are ``(outputs, inputs, height, width)``.

    >>> fans((64, 10)), fans((8, 3, 5, 5))
    ((64, 10), (75, 200))
    """
    if len(shape) < 2:
        return max(math.prod(shape), 1), max(math.prod(shape), 1)
    if len(shape) == 2:
        return shape[0], shape[1]
    window = math.prod(shape[2:])
    return shape[1] * window, shape[0] * window


def _normal(rng: np.random.Generator, shape: Shape, count: int, mean: float = 0.0, std: float = 0.01) -> Array:
    if std < 0:
        raise ValueError(f"std must not be negative; found {std}")
    return rng.normal(mean, std, count)


def _uniform(rng: np.random.Generator, shape: Shape, count: int, low: float = -0.05, high: float = 0.05) -> Array:
    if low > high:
        raise ValueError(f"low must not be above high; found {low} and {high}")
    return rng.uniform(low, high, count)


def _he_normal(rng: np.random.Generator, shape: Shape, count: int) -> Array:
    """Standard deviation ``sqrt(2 / inputs)``. Source: He, Zhang, Ren and Sun, 2015 (arXiv:1502.01852)."""
    return rng.normal(0.0, math.sqrt(2 / fans(shape)[0]), count)


def _glorot_uniform(rng: np.random.Generator, shape: Shape, count: int) -> Array:
    """Within ``sqrt(6 / (inputs + outputs))`` of 0. Source: Glorot and Bengio, 2010."""
    limit = math.sqrt(6 / sum(fans(shape)))
    return rng.uniform(-limit, limit, count)


INITIALIZERS: Mapping[str, Initializer] = {
    "zeros": Initializer(lambda rng, shape, count: np.zeros(count)),
    "ones": Initializer(lambda rng, shape, count: np.ones(count)),
    "constant": Initializer(lambda rng, shape, count, value=0.0: np.full(count, float(value)), ("value",)),
    "normal": Initializer(_normal, ("mean", "std")),
    "uniform": Initializer(_uniform, ("low", "high")),
    "he_normal": Initializer(_he_normal),
    "glorot_uniform": Initializer(_glorot_uniform),
}

# A state may also be an integer: the seed of the random numbers used in training.
STATE_INITIALIZERS: Mapping[str, Initializer] = {
    **INITIALIZERS,
    "seed": Initializer(lambda rng, shape, count: rng.integers(2**62, size=count)),
}


def initial_value(
    name: str, shape: tuple[int, ...], init: str, options: Mapping[str, float], seed: int, dtype: np.dtype[Any]
) -> Array:
    """Return the initial value of the parameter or state called ``name``, the same for the same name and seed.

    >>> initial_value("b", (2,), "constant", {"value": 0.5}, seed=0, dtype=np.dtype("float32"))
    array([0.5, 0.5], dtype=float32)
    """
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    value = np.empty(math.prod(shape), dtype)
    # In pieces: values are drawn in float64, which would take twice the memory of the float32 that are kept.
    for start in range(0, value.size, _PIECE):
        piece = value[start : start + _PIECE]
        with np.errstate(over="ignore"):
            piece[:] = STATE_INITIALIZERS[init].draw(rng, shape, piece.size, **options)
        if not np.isfinite(piece).all():
            raise OverflowError(f"its values are too large for {dtype}")
    return value.reshape(shape)
