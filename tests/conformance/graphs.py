"""Problems of random graphs, in which operations meet the neighbours that the plan's passes fuse.

Every graph has one floating dtype and one kind of number. Labels and indices are integers of any size.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

import tinygraph as tg

from . import values
from .operations import Generator, generator
from .problem import Problem, overflows, veiled

MOST_ELEMENTS = 3000
# Kinds of numbers of graphs that are differentiated twice: others overflow, or not, by a unit in the last place.
TWICE = {"ordinary", "ties", "zeros", "infinite", "nan"}
KINDS = [*(["ordinary"] * 4), "ties", "zeros", "infinite", "nan", "saturated", "mixed", "huge", "tiny"]

UNARY: list[Callable[[Any], Any]] = [
    *(tg.tanh, tg.sigmoid, tg.softplus, tg.gelu, tg.erf, tg.identity, tg.relu, tg.leaky_relu, tg.silu, tg.mish),
    *(tg.log_sigmoid, tg.relu6, tg.hard_sigmoid, tg.hard_swish, tg.elu, tg.abs, tg.sign, tg.floor, tg.round),
    *(lambda x: -x, lambda x: 1.5 * x - 0.25, lambda x: 1 / (1 + x * x), lambda x: tg.exp(tg.tanh(x))),
    *(lambda x: tg.sqrt(tg.relu(x)), lambda x: tg.log1p(x * x), lambda x: x**2, lambda x: tg.clip(x, -1.0, 1.5)),
    *(lambda x: tg.where(x >= 0, 1.0, 0.0) + 0 * x, lambda x: tg.where(x > 0.5, x, 0.5 * x), lambda x: (x < 0.5) * x),
    *(lambda x: tg.where(tg.isnan(x), 0.0, x), lambda x: tg.where(tg.isinf(x), 2.0, x), lambda x: tg.maximum(x, 0.25)),
    *(lambda x: x * 1.0, lambda x: x + 0.0, lambda x: tg.cast(tg.cast(x, "float32"), x.dtype.name)),
]
BINARY: list[Callable[[Any, Any], Any]] = [
    *(tg.maximum, tg.minimum, tg.hypot, lambda x, y: x + y, lambda x, y: x - y, lambda x, y: tg.tanh(x) * y),
    *(lambda x, y: x * y, lambda x, y: x / (1 + y * y), lambda x, y: tg.add_all([x, y, x]), lambda x, y: x / y),
    *(lambda x, y: tg.where(y > 0.5, x, y), lambda x, y: tg.where(x == y, x, 0.5 * y)),
]
REDUCTIONS = [tg.sum, tg.mean, tg.logsumexp, tg.max, tg.min, tg.variance, tg.l2_norm, tg.prod]
CONVOLUTIONS = {3: tg.conv1d, 4: tg.conv2d, 5: tg.conv3d}
MAX_POOLS = {3: tg.max_pool1d, 4: tg.max_pool2d, 5: tg.max_pool3d}
AVG_POOLS = {3: tg.avg_pool1d, 4: tg.avg_pool2d, 5: tg.avg_pool3d}


class Grower:
    """Adds one random node after another to a pool of tensors.

    It grows the same graph each time from the same words; from ``leaves``, where they are given, and else from new inputs.
    """

    def __init__(self, *words: object, leaves: Sequence[tg.Tensor] | None = None) -> None:
        self.rng: Generator = generator(*words)
        self.dtype = self.one_of(values.FLOATS)
        self.kind = self.one_of(KINDS)
        self.batch = self.one_of([1, 2, 3, 4, 5, 6, 7, 5, 6, 7])
        # Most graphs leave the axis of the samples alone, so that the batch may be cut.
        self.first = self.one_of([0, 1, 1, 1])
        self.given = leaves
        self.arrays: list[np.ndarray] = []
        self.leaves: list[tg.Tensor] = []
        self.pool = [self.input(self.numbers((self.batch, *self.sizes(3))))]

    # Random choices

    def whole(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, max(low, high) + 1))

    def one_of(self, choices: Sequence[Any]) -> Any:
        return choices[self.whole(0, len(choices) - 1)]

    def sizes(self, most: int) -> tuple[int, ...]:
        return tuple(self.one_of([1, 2, 3, 4, 5, 7]) for _ in range(self.whole(0, most)))

    def numbers(self, shape: Sequence[int]) -> np.ndarray:
        x = self.rng.standard_normal(shape).astype(self.dtype)
        with np.errstate(all="ignore"):
            return values.VALUES[self.kind](x, self.rng).astype(self.dtype)

    def integers(self, most: int, shape: Sequence[int]) -> np.ndarray:
        """Return integers below ``most`` in a dtype that holds them."""
        dtypes = [dtype for dtype in values.INTEGERS[1:] if np.iinfo(dtype).max >= most - 1]
        return self.rng.integers(0, most, shape).astype(self.one_of(dtypes))

    def axis(self, x: tg.Tensor) -> int:
        return self.whole(self.first, x.ndim - 1) - self.one_of([0, x.ndim])

    def axes(self, x: tg.Tensor) -> tuple[int, ...]:
        return tuple(axis for axis in range(self.first, x.ndim) if self.whole(0, 2))

    # Leaves

    def input(self, array: np.ndarray) -> tg.Tensor:
        number = len(self.arrays)
        self.arrays.append(array)
        leaf = tg.input(f"x{number}", array.shape, array.dtype) if self.given is None else self.given[number]
        return self.differentiable(leaf)

    def differentiable(self, leaf: tg.Tensor) -> tg.Tensor:
        if leaf.dtype.kind == "f":
            self.leaves.append(leaf)
        return leaf

    def leaf(self, shape: Sequence[int]) -> tg.Tensor:
        array = self.numbers(shape)
        kinds = [self.input, lambda array: self.differentiable(tg.parameter(array)), tg.constant]
        return self.one_of(kinds)(array)

    def labels(self, most: int, shape: Sequence[int]) -> tg.Tensor:
        return self.one_of([self.input, tg.constant])(self.integers(most, shape))

    # One node or a few, on a tensor of the pool; None where they do not fit.

    def elementwise(self, x: tg.Tensor) -> tg.Tensor | None:
        return self.one_of(UNARY)(x)

    def binary(self, x: tg.Tensor) -> tg.Tensor | None:
        shape = tuple(1 if self.whole(0, 2) == 0 else size for size in x.shape[self.whole(0, x.ndim) :])
        partners = [y for y in self.pool if _broadcast(x.shape, y.shape)]
        y = self.one_of(partners) if self.whole(0, 1) else self.leaf(shape)
        return self.one_of(BINARY)(*((x, y) if self.whole(0, 1) else (y, x)))

    def reduction(self, x: tg.Tensor) -> tg.Tensor | None:
        return self.one_of(REDUCTIONS)(x, axis=self.axes(x), keepdims=bool(self.whole(0, 1)))

    def along_axis(self, x: tg.Tensor) -> tg.Tensor | None:
        ways = [tg.softmax, tg.log_softmax, tg.standardize, tg.cumsum, lambda x, axis: tg.top_k(x, 1, axis)]
        return self.one_of(ways)(x, axis=self.axis(x)) if x.ndim > self.first else None

    def reshaped(self, x: tg.Tensor) -> tg.Tensor | None:
        sizes = list(x.shape)
        if x.ndim >= self.first + 2 and self.whole(0, 1):
            at = self.whole(self.first, x.ndim - 2)
            sizes[at : at + 2] = [sizes[at] * sizes[at + 1]]
        elif x.ndim > self.first:
            at = self.whole(self.first, x.ndim - 1)
            factor = self.one_of([d for d in (1, 2, 3, 5, 7, sizes[at]) if sizes[at] % d == 0])
            sizes[at : at + 1] = self.one_of([[factor, sizes[at] // factor], [sizes[at] // factor, factor]])
        return tg.reshape(x, tuple(sizes))

    def moved(self, x: tg.Tensor) -> tg.Tensor | None:
        ways = [
            lambda: tg.transpose(
                x, (*range(self.first), *(self.first + self.rng.permutation(x.ndim - self.first)).tolist())
            ),
            lambda: tg.flip(x, axis=self.axes(x)),
            lambda: tg.expand_dims(x, self.whole(min(self.first, x.ndim), x.ndim)),
            lambda: tg.flatten(x) if x.ndim > self.first else None,
            lambda: tg.squeeze(x, tuple(i for i in range(self.first, x.ndim) if x.shape[i] == 1)),
            lambda: (
                tg.pad(x, ((0, 0),) * self.first + tuple((self.whole(0, 2), 1) for _ in x.shape[self.first :]))
                if x.ndim > self.first
                else None
            ),
            lambda: tg.broadcast_to(x, (self.whole(1, 3), *x.shape)),
            lambda: tg.tile(x, (1,) * (x.ndim - 1) + (2,)) if x.ndim > self.first else None,
        ]
        return self.one_of(ways)()

    def part(self, x: tg.Tensor) -> tg.Tensor | None:
        """Elements by numbers, slices, lists and masks."""
        if x.ndim <= self.first:
            return None
        index: list[Any] = [slice(None)] * self.first
        for size in x.shape[self.first : self.whole(self.first + 1, x.ndim)]:
            start = self.whole(0, size - 1)
            plain = [slice(None), slice(None), slice(start, None), slice(None, None, -1), start, slice(0, None, 2)]
            index.append(self.one_of(plain))
        if self.whole(0, 2) == 0:
            at = self.whole(self.first, len(index) - 1)
            chosen = self.rng.random(x.shape[at]) < 0.6
            index[at] = self.one_of([chosen, chosen.nonzero()[0], [self.whole(0, x.shape[at] - 1) for _ in range(3)]])
        return x[tuple(index)]

    def joined(self, x: tg.Tensor) -> tg.Tensor | None:
        partners = [y for y in self.pool if y.shape == x.shape]
        return tg.concatenate([x, *partners[: self.whole(1, 2)]], axis=self.axis(x)) if x.ndim > self.first else None

    def product(self, x: tg.Tensor) -> tg.Tensor | None:
        if x.ndim <= self.first:
            return None
        ways = [lambda: x @ self.leaf((x.shape[-1], self.whole(1, 4))), lambda: x @ self.leaf((x.shape[-1],))]
        if x.ndim >= 2:
            turned = (*range(x.ndim - 2), x.ndim - 1, x.ndim - 2)
            ways += [lambda: x @ tg.transpose(x, turned)] if x.ndim > 2 or self.first == 0 else []
            ways += [lambda: tg.relu(x @ self.leaf((x.shape[-1], 3)) + self.leaf((3,)))]
            ways += [lambda: x @ tg.transpose(self.leaf((3, x.shape[-1])))]
        return self.one_of(ways)()

    def images(self, x: tg.Tensor) -> tg.Tensor | None:
        """The tensor as lines, images or volumes."""
        if x.ndim < 2:
            return None
        if x.ndim == 2 or x.ndim > 4:
            return tg.reshape(x, (x.shape[0], 1, 1, -1))
        return x if x.ndim == 4 or self.whole(0, 1) else tg.reshape(x, (x.shape[0], 1, *x.shape[1:]))

    def convolution(self, x: tg.Tensor) -> tg.Tensor | None:
        """A convolution, often with a bias, a gate and a pool after it."""
        images = self.images(x)
        if images is None:
            return None
        space, channels = images.ndim - 2, images.shape[1]
        groups = self.one_of([1, 1, math.gcd(channels, 2), channels])
        filters = groups * self.one_of([1, 2, 3, 9])
        kernel = self.leaf((filters, channels // groups, *(self.whole(1, 3) for _ in range(space))))
        padding = self.one_of([0, 1, 2, "same", "same_lower"])
        stride, dilation = self.one_of([1, 1, 2, 3]), self.one_of([1, 1, 2])
        operation = CONVOLUTIONS[images.ndim]
        y = operation(images, kernel, stride, padding, dilation, groups)
        if self.whole(0, 1):
            y = y + self.leaf((filters, *[1] * space))
        if self.whole(0, 1):
            y = tg.relu(y)
        return y if self.whole(0, 1) else self.pooling(y)

    def pooling(self, x: tg.Tensor) -> tg.Tensor | None:
        images = self.images(x)
        if images is None:
            return None
        space = images.ndim - 2
        window = tuple(self.whole(1, 3) for _ in range(space))
        settings = (window, self.one_of([None, 1, 2]), self.one_of([0, 0, 1]), self.one_of([1, 1, 2]))
        operation = self.one_of([MAX_POOLS, MAX_POOLS, AVG_POOLS])[images.ndim]
        return operation(images, *settings, self.one_of([False, False, True]))

    def normalized(self, x: tg.Tensor) -> tg.Tensor | None:
        if x.ndim < 2:
            return None
        scale, shift = self.leaf((x.shape[1],)), self.leaf((x.shape[1],))
        if self.whole(0, 1):
            return tg.batch_norm(
                x, scale, shift, tg.constant(np.zeros(x.shape[1], self.dtype)), scale * scale + 1, training=True
            )
        return tg.layer_norm(x, self.leaf((x.shape[-1],)), self.leaf((x.shape[-1],)))

    def looked_up(self, x: tg.Tensor) -> tg.Tensor | None:
        """Rows, elements or classes chosen by integers."""
        if x.ndim <= self.first:
            return None
        places = self.labels(x.shape[0], (self.batch,))
        ways = [lambda: tg.gather(x, self.labels(x.shape[-1], (2,)), axis=-1)]
        ways += [
            lambda: tg.sum(x, axis=self.axes(x)) * tg.one_hot(self.labels(300, (self.batch,)), 300, dtype=self.dtype)
        ]
        if x.ndim == 2:
            ways += [lambda: tg.embedding(self.leaf((5, 3)), self.labels(5, (self.batch, 2)))]
            ways += [lambda: tg.embedding(x, places)] if self.first == 0 else []
            ways += [lambda: tg.gather_elements(x, self.labels(x.shape[1], x.shape), axis=1)]
        return self.one_of(ways)()

    def classified(self, x: tg.Tensor) -> tg.Tensor | None:
        """A loss on class numbers, sometimes of more classes than 8 bits count."""
        if x.ndim < 2:
            return None
        logits = tg.tile(x, (1,) * (x.ndim - 1) + (300,)) if self.whole(0, 3) == 0 else x
        labels = self.labels(logits.shape[-1], logits.shape[:-1])
        if self.whole(0, 1):
            return tg.cross_entropy(logits, labels)
        return tg.nll(tg.log_softmax(logits), labels)

    def loss(self, x: tg.Tensor) -> tg.Tensor | None:
        target = self.leaf(x.shape)
        truth = tg.constant(self.rng.integers(0, 2, x.shape).astype(self.dtype))
        ways = [lambda: tg.bce_with_logits(x, truth), lambda: tg.bce(tg.sigmoid(x), truth), lambda: tg.mse(x, target)]
        ways += [lambda: tg.huber(x, target), lambda: tg.l1(x, target), lambda: tg.hinge(x, 2 * truth - 1)]
        return self.one_of(ways)()

    def grow(self) -> None:
        steps = [
            *(self.elementwise, self.elementwise, self.binary, self.binary, self.reduction, self.along_axis),
            *(self.reshaped, self.moved, self.part, self.joined, self.product, self.convolution, self.convolution),
            *(self.pooling, self.normalized, self.looked_up, self.classified, self.loss),
        ]
        x = self.pool[-1 - min(self.whole(0, 5), len(self.pool) - 1)]
        step = self.one_of(steps)
        y = _fitting(lambda: step(x))
        if y is not None and 0 < math.prod(y.shape) <= MOST_ELEMENTS and y.ndim <= 5:
            self.pool.append(y)

    def outputs(self) -> list[tg.Tensor]:
        """Grow; return some tensors of the pool and the gradients of a weighted sum of others, or questions about them."""
        for _ in range(self.whole(1, 16)):
            self.grow()
        found = [x for x in self.pool if self.whole(0, 2) == 0] or [self.pool[-1]]
        summed = [x for x in self.pool[1:] if self.whole(0, 1)] or [self.pool[-1]]
        total = sum(((x * tg.constant(self.numbers(x.shape))).sum() for x in summed), start=tg.constant(0.0))
        gradients = tg.grad(total, self.leaves, unreached="zeros")
        if self.kind in TWICE and self.whole(0, 5) == 0:
            squares = sum((tg.sum(dx * dx) for dx in gradients), start=tg.constant(0.0))
            gradients += tg.grad(squares, self.leaves, unreached="zeros")
        found += [gradient for gradient in gradients if self.whole(0, 3)]
        return (
            veiled(found, overflows(self.arrays))
            if self.whole(0, 1) and self.kind not in ("ordinary", "ties", "zeros")
            else found
        )


def _broadcast(first: Sequence[int], second: Sequence[int]) -> bool:
    with contextlib.suppress(ValueError):
        return bool(np.broadcast_shapes(tuple(first), tuple(second)) or True)
    return False


def _fitting(make: Callable[[], tg.Tensor]) -> tg.Tensor | None:
    with contextlib.suppress(tg.ShapeError, tg.AttributeValueError):
        return make()
    return None


def graph(number: int, seed: int) -> Problem:
    """Return the problem of a random graph."""
    words = ("graph", number, seed)
    grower = Grower(*words)
    grower.outputs()
    name = f"graph {number} {grower.dtype} {grower.kind}"

    def build(leaves: Sequence[tg.Tensor]) -> list[tg.Tensor]:
        return Grower(*words, leaves=leaves).outputs()

    return Problem(name, build, grower.arrays, grower.batch, grower.kind in values.EXACT)


def problems(numbers: Iterable[int], seed: int) -> Iterator[Problem]:
    """Yield the problems of random graphs with these numbers."""
    return (graph(number, seed) for number in numbers)
