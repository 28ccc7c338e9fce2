"""Dropout: elements left out by chance in training, a chance that is a function of its key and so the same every time."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np

from tinygraph.graph import Composite, Explanation, Op, Sample, Shape, Value, element_at, register, require
from tinygraph.ops.elementwise.cast import require_numeric
from tinygraph.ops.samples import normal

_WORD = 2**64


def _check_chance(op: Any) -> None:
    require(0 <= op.rate < 1, op, f"rate must lie in 0 to 1, without 1; found {op.rate}")
    require(op.stream >= 0, op, f"stream must not be negative; found {op.stream}")


def _check_key(op: Op, inputs: Sequence[Value]) -> None:
    key = inputs[-1]
    if tuple(key.shape) != () or key.dtype.kind not in "iu":
        call = f"{op.name}({', '.join([*op.parameters, 'rate=0.5'])})"
        what = f"the key, from which the random numbers are drawn, must be one whole number, as in {call}"
        op.refuse(inputs, f"{what}; found {key.dtype} of shape {tuple(key.shape)}")


@register
class DropoutMask(Op):
    """The factors of dropout: at each place 0 with probability ``rate``, and 1/(1 - rate) otherwise.

    A function of the key, a whole number, and of ``stream``: the same numbers on every machine, others for the next key or
    another stream. ``to`` is the shape. Source: Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov, *Dropout*,
    2014, with the scaling in training ("inverted"); the numbers are those of Philox (Salmon, Moraes, Dror and Shaw, 2011).
    Raises ``ShapeError`` for a key that is not one whole number, ``AttributeValueError`` for a rate outside 0..1.

    >>> import tinygraph as tg
    >>> tg.dropout_mask(np.array(7), (2, 4), rate=0.5)
    array([[0., 2., 2., 0.],
           [0., 0., 2., 0.]], dtype=float32)
    """

    to: tuple[int, ...]
    rate: float = 0.5
    stream: int = 0
    dtype: str = "float32"
    formula: ClassVar[str] = "[random({key}) ≥ {rate}] / (1 − {rate})"
    tex: ClassVar[str] = r"\operatorname{mask}({key})"
    samples = staticmethod(
        lambda rng: [Sample(np.array(3), to=(4, 5), dtype="float64"), Sample(np.array(-1), to=(), rate=0.2, stream=2)]
    )

    def check_attributes(self) -> None:
        _check_chance(self)
        require_numeric(self, self.dtype)

    def shape(self, key) -> Shape:
        _check_key(self, (key,))
        if any(size < 0 for size in self.to):
            self.refuse((key,), f"a shape holds sizes; found {self.to}")
        return self.to

    def result_dtype(self, key) -> np.dtype[Any]:
        return np.dtype(self.dtype)

    def explain(self, index: tuple[int, ...], y, /, *inputs) -> Explanation:
        chance = "0, left out" if y[index] == 0 else f"{float(y[index]):.4g}, kept"
        return Explanation(reads=(element_at(0, (), inputs[0]),), formula=f"{chance}, as drawn with the key {{0}}")

    def forward(self, key):
        # Two numbers make the key of a cipher, whose words NumPy keeps as they are from version to version: 32 bits for each
        # element, of which a share below the rate is left out.
        count = math.prod(self.to)
        cipher = np.random.Philox(key=int(key) % _WORD + _WORD * (self.stream % _WORD))
        words = cipher.random_raw((count + 1) // 2).astype("<u8").view("<u4")[:count]
        kept = (words >= np.uint32(self.rate * 2**32)).reshape(self.to)
        return np.multiply(kept, np.asarray(1 / (1 - self.rate), self.dtype), dtype=self.dtype)


def _samples(rng: np.random.Generator) -> Iterable[Sample]:
    yield Sample(normal(rng, (3, 4)), np.array(5), training=True)
    yield Sample(normal(rng, (2, 3, 2)), np.array(5), rate=0.2, stream=1, training=True)
    yield Sample(normal(rng, (3, 4)), np.array(5))


@register
class Dropout(Composite):
    """In training ``x`` with a share ``rate`` of its elements left out by chance, and the others times 1/(1 - rate).

    In prediction (``training=False``) it is ``x``. Which elements are left out depends on ``key``, one whole number, and on
    ``stream``, which tells several uses of one key apart: the same key, the same elements, in the gradient too. In a model
    the key is a state that counts the steps from a start drawn from the seed, and the recording says whether it is training
    and numbers the streams. Source: Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov, *Dropout: A Simple Way to
    Prevent Neural Networks from Overfitting*, 2014.

    Raises ``ShapeError`` for a key that is not one whole number, ``AttributeValueError`` for a rate outside 0..1.

    >>> import tinygraph as tg
    >>> tg.dropout(np.ones((2, 4), np.float32), 7, training=True)
    array([[0., 2., 2., 0.],
           [0., 0., 2., 0.]], dtype=float32)
    """

    rate: float = 0.5
    stream: int = 0
    training: bool = False
    formula: ClassVar[str] = "{x} · mask({key}, {rate}) in training"
    tex: ClassVar[str] = r"\operatorname{dropout}({x}; {key})"
    # The key stays a whole number next to floating ones.
    conditions: ClassVar[tuple[int, ...]] = (1,)
    holomorphic: ClassVar[bool] = True
    samples = _samples
    check_attributes = _check_chance

    def shape(self, x, key) -> Shape:
        _check_key(self, (x, key))
        return tuple(x.shape)

    def result_dtype(self, x, key) -> np.dtype[Any]:
        return np.result_type(x.dtype, 0.0) if self._drops else x.dtype

    @property
    def _drops(self) -> bool:
        return self.training and self.rate > 0

    def forward(self, x, key):
        if not self._drops:
            return x
        dtype = np.result_type(x.dtype, 0.0).name
        mask = DropoutMask(tuple(x.shape), self.rate, self.stream, dtype)(key)
        return x * self.named(mask, x, "mask")
