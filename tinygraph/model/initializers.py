"""Initial values of parameters, drawn from a generator of their own so that no parameter depends on another."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygraph.graph.arrays import Array

Draw = Callable[..., Array]


@dataclass(frozen=True)
class Initializer:
    """How initial values are drawn, and the names of the options that it takes."""

    draw: Draw
    options: tuple[str, ...] = ()


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return how many inputs and outputs one element of a weight connects.

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


def _normal(rng: np.random.Generator, shape: tuple[int, ...], mean: float = 0.0, std: float = 0.01) -> Array:
    return rng.normal(mean, std, shape)


def _uniform(rng: np.random.Generator, shape: tuple[int, ...], low: float = -0.05, high: float = 0.05) -> Array:
    return rng.uniform(low, high, shape)


def _he_normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Standard deviation ``sqrt(2 / inputs)``. Source: He, Zhang, Ren and Sun, 2015 (arXiv:1502.01852)."""
    return rng.normal(0.0, math.sqrt(2 / fans(shape)[0]), shape)


def _glorot_uniform(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Within ``sqrt(6 / (inputs + outputs))`` of 0. Source: Glorot and Bengio, 2010."""
    limit = math.sqrt(6 / sum(fans(shape)))
    return rng.uniform(-limit, limit, shape)


INITIALIZERS: Mapping[str, Initializer] = {
    "zeros": Initializer(lambda rng, shape: np.zeros(shape)),
    "ones": Initializer(lambda rng, shape: np.ones(shape)),
    "constant": Initializer(lambda rng, shape, value=0.0: np.full(shape, float(value)), ("value",)),
    "normal": Initializer(_normal, ("mean", "std")),
    "uniform": Initializer(_uniform, ("low", "high")),
    "he_normal": Initializer(_he_normal),
    "glorot_uniform": Initializer(_glorot_uniform),
}

# A state may also be drawn as a whole number: where what is left to chance in training begins.
STATE_INITIALIZERS: Mapping[str, Initializer] = {
    **INITIALIZERS,
    "seed": Initializer(lambda rng, shape: rng.integers(2**62, size=shape)),
}


def initial_value(
    name: str, shape: tuple[int, ...], init: str, options: Mapping[str, float], seed: int, dtype: np.dtype[Any]
) -> Array:
    """Return the initial value of the parameter or state called ``name``, the same for the same name and seed.

    >>> initial_value("b", (2,), "constant", {"value": 0.5}, seed=0, dtype=np.dtype("float32"))
    array([0.5, 0.5], dtype=float32)
    """
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    with np.errstate(over="ignore"):
        value: Array = np.asarray(STATE_INITIALIZERS[init].draw(rng, shape, **options)).astype(dtype)
    if not np.isfinite(value).all():
        raise OverflowError(f"its values lie beyond {dtype}")
    return value
