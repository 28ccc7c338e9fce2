"""Inputs on which operations are tested: away from kinks, ties and the edges of domains."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from tinygraph.graph import Array, Sample, Samples, Shape

Draw = Callable[[np.random.Generator, Shape], Array]


def normal(rng: np.random.Generator, shape: Shape) -> Array:
    """Standard normal numbers."""
    return rng.standard_normal(shape)


def positive(rng: np.random.Generator, shape: Shape) -> Array:
    """Numbers between 0.5 and 2."""
    return rng.uniform(0.5, 2.0, shape)


def unit(rng: np.random.Generator, shape: Shape) -> Array:
    """Numbers between 0.1 and 0.9."""
    return rng.uniform(0.1, 0.9, shape)


def off_zero(rng: np.random.Generator, shape: Shape) -> Array:
    """Numbers of either sign between 0.2 and 2 in size: no kink at zero is near."""
    return rng.choice([-1.0, 1.0], shape) * rng.uniform(0.2, 2.0, shape)


def truth(rng: np.random.Generator, shape: Shape) -> Array:
    """Booleans."""
    return rng.random(shape) < 0.5


def distinct(rng: np.random.Generator, shape: Shape) -> Array:
    """A shuffle of numbers 0.1 apart, none within 0.05 of zero: no ties, no kinks."""
    count = int(np.prod(shape))
    return (rng.permutation(count).reshape(shape) - count // 2 + 0.5) / 10


def unary(draw: Draw = normal, **attributes: Any) -> Samples:
    """Samples of an operation on one tensor: a matrix, four axes, a scalar."""

    return each(draw, ((3, 4), attributes), ((2, 3, 2, 2), attributes), ((), attributes))


def tensors(draws: Sequence[Draw], *cases: Sequence[Shape]) -> Samples:
    """Samples of an operation on several tensors, one draw for each; each case lists their shapes."""

    return lambda rng: [Sample(*(draw(rng, shape) for draw, shape in zip(draws, case, strict=True))) for case in cases]


def binary(left: Draw = normal, right: Draw = normal) -> Samples:
    """Samples of an operation that broadcasts two tensors."""
    return tensors((left, right), ((3, 4), (3, 4)), ((3, 4), (4,)), ((2, 1, 3), (4, 1)), ((), (2, 2)))


def apart(rng: np.random.Generator) -> Iterable[Sample]:
    """Samples of two tensors that nowhere come closer than 0.1."""
    for shape in [(3, 4), (2, 3, 2)]:
        x = normal(rng, shape)
        yield Sample(x, x + off_zero(rng, shape))


def each(draw: Draw, *cases: tuple[Shape, dict[str, Any]]) -> Samples:
    """Samples of an operation on one tensor, one for each pair of a shape and attributes."""
    return lambda rng: [Sample(draw(rng, shape), **attributes) for shape, attributes in cases]
