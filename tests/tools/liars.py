"""Operations with planted mistakes, each a slip that gradient rules are really written with.

None is registered: an instance is called directly, ``Sign()(x)``. Their samples are where the mistake shows.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

import tinygraph as tg

Value = Any


def normal(*shapes: tuple[int, ...]) -> Any:
    """Samples of one call on standard normal arrays."""
    return staticmethod(lambda rng: [tg.Sample(*(rng.standard_normal(shape) for shape in shapes))])


class Square(tg.Op):
    """x * x, with its right rule: what the liars below get wrong."""

    holomorphic: ClassVar[bool] = True
    samples = normal((3, 4))

    def forward(self, x: Value) -> Value:
        return x * x

    def vjp(self, dy: Value, y: Value, x: Value) -> Value:
        return 2 * dy * x


@dataclass(frozen=True)
class Honest(Square):
    pass


@dataclass(frozen=True)
class Sign(Square):
    def vjp(self, dy: Value, y: Value, x: Value) -> Value:
        return -2 * dy * x


@dataclass(frozen=True)
class FactorTwo(Square):
    def vjp(self, dy: Value, y: Value, x: Value) -> Value:
        return 4 * dy * x


@dataclass(frozen=True)
class FactorOneHalf(Square):
    def vjp(self, dy: Value, y: Value, x: Value) -> Value:
        return dy * x


@dataclass(frozen=True)
class FactorSlightlyOff(Square):
    def vjp(self, dy: Value, y: Value, x: Value) -> Value:
        return 2.002 * dy * x


@dataclass(frozen=True)
class Zero(Square):
    def vjp(self, dy: Value, y: Value, x: Value) -> Value:
        return 0 * dy


@dataclass(frozen=True)
class Nothing(Square):
    def vjp(self, dy: Value, y: Value, x: Value) -> Value:
        return None


@dataclass(frozen=True)
class NotANumber(Square):
    def vjp(self, dy: Value, y: Value, x: Value) -> Value:
        return dy * np.nan


@dataclass(frozen=True)
class CotangentIgnored(Square):
    def vjp(self, dy: Value, y: Value, x: Value) -> Value:
        return 2 * x


@dataclass(frozen=True)
class WrongNumber(Square):
    def vjp(self, dy: Value, y: Value, x: Value) -> Value:
        return 2 * dy * x, None


@dataclass(frozen=True)
class WrongShape(Square):
    def vjp(self, dy: Value, y: Value, x: Value) -> Value:
        return (2 * dy * x)[:, :2]


@dataclass(frozen=True)
class TransposedShape(Square):
    def vjp(self, dy: Value, y: Value, x: Value) -> Value:
        return (2 * dy * x).T


@dataclass(frozen=True)
class Raises(Square):
    def vjp(self, dy: Value, y: Value, x: Value) -> Value:
        raise ZeroDivisionError("a slip of the rule's author")


@dataclass(frozen=True)
class Unwritten(Square):
    vjp = tg.Op.vjp


@dataclass(frozen=True)
class OpaqueFactorTwo(FactorTwo):
    """A rule on plain arrays, by a NumPy function that cannot be recorded."""

    opaque_vjp: ClassVar[bool] = True

    def vjp(self, dy: Value, y: Value, x: Value) -> Value:
        return np.ldexp(dy * x, 2)


@dataclass(frozen=True)
class TinyFactorThree(tg.Op):
    """Numbers of the size 1e-8, where an absolute tolerance accepts anything."""

    samples = normal((5,))

    def forward(self, x: Value) -> Value:
        return 1e-8 * x * x

    def vjp(self, dy: Value, y: Value, x: Value) -> Value:
        return 6e-8 * dy * x


@dataclass(frozen=True)
class OneElementWrong(tg.Op):
    """Right but for one element of many, which a sample of the elements is likely to miss."""

    samples = normal((40, 50))

    def forward(self, x: Value) -> Value:
        return x * x

    def vjp(self, dy: Value, y: Value, x: Value) -> Value:
        slope = np.full(x.shape, 2.0)
        slope[17, 23] = 2.2
        return dy * x * slope


@dataclass(frozen=True)
class TransposeMissing(tg.Op):
    """A product of square matrices whose first rule forgets to transpose the second."""

    samples = normal((3, 3), (3, 3))

    def forward(self, x: Value, y: Value) -> Value:
        return x @ y

    def vjp(self, dz: Value, z: Value, x: Value, y: Value) -> Value:
        return dz @ y, x.T @ dz


@dataclass(frozen=True)
class TransposeMissingInBatch(TransposeMissing):
    samples = normal((2, 3, 3), (2, 3, 3))

    def vjp(self, dz: Value, z: Value, x: Value, y: Value) -> Value:
        return dz @ y.transpose(0, 2, 1), x @ dz


@dataclass(frozen=True)
class TransposedResult(TransposeMissing):
    def vjp(self, dz: Value, z: Value, x: Value, y: Value) -> Value:
        return (dz @ y.T).T, x.T @ dz


@dataclass(frozen=True)
class Swapped(tg.Op):
    samples = normal((3, 2), (3, 2))

    def forward(self, x: Value, y: Value) -> Value:
        return x * y * y

    def vjp(self, dz: Value, z: Value, x: Value, y: Value) -> Value:
        return 2 * dz * x * y, dz * y * y


@dataclass(frozen=True)
class SwappedShapes(TransposeMissing):
    samples = normal((2, 3), (3, 4))

    def vjp(self, dz: Value, z: Value, x: Value, y: Value) -> Value:
        return x.T @ dz, dz @ y.T


@dataclass(frozen=True)
class SoftmaxZero(tg.Op):
    """What a checker with cotangents of ones takes for right: there the true gradient is zero."""

    samples = normal((3, 4))

    def forward(self, x: Value) -> Value:
        return np.asarray(tg.softmax(x))

    def vjp(self, dy: Value, y: Value, x: Value) -> Value:
        return 0 * dy


@dataclass(frozen=True)
class SoftmaxWithoutSum(SoftmaxZero):
    """The diagonal of softmax's derivative alone."""

    def vjp(self, dy: Value, y: Value, x: Value) -> Value:
        return dy * y * (1 - y)


@dataclass(frozen=True)
class MeanMissing(tg.Op):
    samples = normal((5, 3))

    def forward(self, x: Value) -> Value:
        return np.mean(np.sum(x * x, axis=1))

    def vjp(self, dy: Value, y: Value, x: Value) -> Value:
        return 2 * dy * x


@dataclass(frozen=True)
class MeanTwice(MeanMissing):
    def vjp(self, dy: Value, y: Value, x: Value) -> Value:
        return 2 * dy * x / 25


@dataclass(frozen=True)
class MeanMissingOfTwo(MeanMissing):
    """With a batch of two, a missing 1/m and a factor of 2 look alike."""

    samples = normal((2, 3))


@dataclass(frozen=True)
class PoolAssigned(tg.Op):
    """Overlapping max pooling that assigns a gradient where it should add one."""

    window: int = 3
    stride: int = 1
    samples: ClassVar[Any] = staticmethod(lambda rng: [tg.Sample(rng.permutation(np.arange(30.0)).reshape(1, 1, 5, 6))])

    def windows(self, x: Value) -> list[tuple[int, int]]:
        steps = (range(0, size - self.window + 1, self.stride) for size in x.shape[2:])
        rows, columns = steps
        return [(i, j) for i in rows for j in columns]

    def forward(self, x: Value) -> Value:
        return np.asarray(tg.max_pool2d(x, self.window, stride=self.stride))

    def vjp(self, dy: Value, y: Value, x: Value) -> Value:
        dx = np.zeros(x.shape)
        for (i, j), gradient in zip(self.windows(x), np.asarray(dy).ravel(), strict=True):
            window = np.asarray(x)[0, 0, i : i + self.window, j : j + self.window]
            row, column = np.unravel_index(window.argmax(), window.shape)
            dx[0, 0, i + row, j + column] = gradient
        return dx


@dataclass(frozen=True)
class TakeAssigned(tg.Op):
    """Elements taken by position, one of them twice, whose gradients overwrite each other."""

    samples = normal((4,))

    def forward(self, x: Value) -> Value:
        return x[[0, 2, 2]]

    def vjp(self, dy: Value, y: Value, x: Value) -> Value:
        dx = np.zeros(x.shape)
        dx[[0, 2, 2]] = dy
        return dx


@dataclass(frozen=True)
class WrongForOnes(Square):
    """Right for random cotangents and wrong for the ones of a sum: only the check of the whole can tell."""

    def vjp(self, dy: Value, y: Value, x: Value) -> Value:
        return dy * x * (3 if np.array_equal(dy, np.ones(dy.shape)) else 2)
