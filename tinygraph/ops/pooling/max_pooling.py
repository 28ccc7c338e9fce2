"""Max-pooling: maxima of windows, and the operations that carry their gradients back."""

import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tinygraph.graph import Edge, Explanation, Sample, Shape, Terms, Value
from tinygraph.graph.explanation import chosen, element_at, extreme_of, one, position
from tinygraph.ops.comparison.comparison import where_of
from tinygraph.ops.pooling.pooling import CASES, Pooling, plane
from tinygraph.ops.samples import distinct, each, normal
from tinygraph.ops.sums import widened
from tinygraph.ops.windows import Windows, element


@dataclass(frozen=True)
class MaxPooling(Pooling):
    """What the operations on the maxima of windows share: which element of each window is the first maximum."""

    def winners(self, x) -> tuple[Windows, Value]:
        """Return the windows over ``x`` and, for each, the row-major offset of its first maximum."""
        windows = self.windows(x.shape)
        winner = np.argmax(np.stack(windows.views(x, self.lowest(x))), axis=0)
        inside = np.stack(windows.views(np.ones(x.shape[2:], bool), False))
        # A winner in the padding: no pixel of the window is larger than what the padding holds.
        is_pixel = np.take_along_axis(inside[:, None, None], winner[None], axis=0)[0]
        return windows, np.where(is_pixel, winner, inside.argmax(axis=0))

    def winner(self, x, index: Sequence[int]) -> int:
        """Return the position in ``x`` of the first maximum of the window ``index``."""
        return chosen(self.cells(x, index), x)[0]

    def won(self, x, index: Sequence[int]) -> tuple[Value, Value]:
        """Return the positions in the pool of the windows whose maximum is the element ``index`` of ``x``.

        Also return the positions in ``x`` of the maxima of the other windows that it lies in.
        """
        windows, image = self.windows(x.shape), plane(x, index)
        own, size = position(index, x.shape), math.prod(windows.count)
        won, maxima = [], []
        for window in windows.pairs("pixel", index[2:])[0]:
            best = self.winner(x, (*index[:2], *np.unravel_index(window, windows.count)))
            won += [image * size + window] * (best == own)
            maxima += [best] * (best != own)
        return np.array(won, np.intp), np.array(maxima, np.intp)

    def result_dtype(self, x, *others) -> np.dtype[Any]:
        return np.result_type(x.dtype)

    @staticmethod
    def lowest(x) -> Any:
        """Return the number that is never a maximum, for padding."""
        if x.dtype.kind in "iu":
            return np.iinfo(x.dtype).min
        return False if x.dtype.kind == "b" else -np.inf


@dataclass(frozen=True)
class MaxPool(MaxPooling):
    """The rules of ``max_pool1d``, ``max_pool2d`` and ``max_pool3d``."""

    formula: ClassVar[str] = "max of {x} in windows of size {window}"
    tex: ClassVar[str] = r"\operatorname{MaxPool}({x})"

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterable[Sample]:
        return each(distinct, *CASES[cls.rank])(rng)

    def forward(self, x):
        return functools.reduce(np.maximum, self.windows(x.shape).views(x, self.lowest(x)))

    def explain(self, index: tuple[int, ...], y, /, *inputs) -> Explanation:
        return extreme_of(self.cells(inputs[0], index), inputs[0])

    def vjp(self, dy, y, x):
        return self.counterpart(MaxUnpool)(dy, x)


@dataclass(frozen=True)
class MaxUnpool(MaxPooling):
    """The rules of ``max_unpool1d``, ``max_unpool2d`` and ``max_unpool3d``."""

    formula: ClassVar[str] = "{dy} where {x} is the max of its window"

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterable[Sample]:
        for shape, attributes in CASES[cls.rank]:
            dy = normal(rng, (*shape[:2], *cls(**attributes).windows(shape).count))
            yield Sample(dy, distinct(rng, shape), **attributes)

    def shape(self, dy, x) -> Shape:
        self.require_images(dy, x)
        if self.pooled((dy, x), x) != tuple(dy.shape):
            self.refuse((dy, x), "dy does not have the shape of the pool of x")
        return tuple(x.shape)

    def forward(self, dy, x):
        (windows, winner), dy = self.winners(x), widened(dy)
        zero = np.zeros((), dy.dtype)
        return windows.overlay(where_of(winner == k, dy, zero) for k in range(math.prod(windows.kernel)))

    def explain(self, index: tuple[int, ...], y, /, *inputs) -> Explanation:
        won, maxima = self.won(inputs[1], index)
        terms = (Terms(((0, won),)),) if len(won) else ()
        if not len(maxima):
            return Explanation(terms, (element_at(1, index, inputs[1]),), "{0} is the maximum of its window")
        reason = "the maximum of some of its windows, not of all"
        if not len(won):
            reason = "not the maximum of its window, which is {0}"
        return Explanation(terms, ((1, maxima),), reason)

    def vjp(self, dz, z, dy, x) -> Any:
        return self.counterpart(MaxTake)(dz, x), None

    def written_tex(self, *inputs) -> str:
        pixel, window = element(self.rank)
        if not self.is_partition(inputs[1]):
            windows = rf"{window} \text{{ whose max is }} {{(x)}}_{{{pixel}}}"
            return rf"_{{{pixel}}} = \sum_{{{windows}}} {{(dy)}}_{{{window}}}"
        maximum = rf"{{(dy)}}_{{{window}}} & \text{{if }} {{(x)}}_{{{pixel}}} \text{{ is the max of its window}}"
        return rf"_{{{pixel}}} = \begin{{cases}} {maximum} \\ 0 & \text{{otherwise}} \end{{cases}}"


@dataclass(frozen=True)
class MaxTake(MaxPooling):
    """The rules of ``max_take1d``, ``max_take2d`` and ``max_take3d``."""

    helper: ClassVar[bool] = True
    formula: ClassVar[str] = "{values} where {x} is the max of its window"
    tex: ClassVar[str] = r"\operatorname{take}({values}, \operatorname{argmax}({x}))"

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterable[Sample]:
        for shape, attributes in CASES[cls.rank]:
            yield Sample(normal(rng, shape), distinct(rng, shape), **attributes)

    def shape(self, values, x) -> Shape:
        self.require_images(values, x)
        if tuple(values.shape) != tuple(x.shape):
            self.refuse((values, x), "the two must have one shape")
        return self.pooled((values, x), x)

    def forward(self, values, x):
        windows, winner = self.winners(x)
        zero = np.zeros((), values.dtype)
        taken: Any = sum(where_of(winner == k, view, zero) for k, view in enumerate(windows.views(values)))
        return taken.astype(values.dtype)

    def explain(self, index: tuple[int, ...], y, /, *inputs) -> Explanation:
        best = self.winner(inputs[1], index)
        return Explanation((Terms((one(0, best),)),), (one(1, best),), "where {0} is the maximum of its window")

    def vjp(self, dy, y, values, x) -> Any:
        return self.counterpart(MaxUnpool)(dy, x), None


class MaxPool2d(MaxPool, rank=2):
    """Maximum of each window (notes F6): ``(N, C, H, W)`` to ``(N, C, rows, columns)``.

    The padding is never the maximum. The gradient (notes B6, W1) goes to the maximum of its window, on a tie (notes E4) to
    the first in row-major order; an element that is the maximum of several windows gets the sum. ``padding`` and
    ``ceil_mode`` are those of ``avg_pool2d``; PyTorch and ONNX (``MaxPool``) agree where they have them. Raises
    ``ShapeError`` and ``AttributeValueError``.

    >>> import tinygraph as tg
    >>> tg.max_pool2d(np.array([[[[1.0, 2.0], [3.0, 4.0]]]]), 2)
    array([[[[4.]]]])
    """

    edges = (Edge(Sample(np.ones((1, 1, 2, 3)), window=2, stride=1), [[[[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]]]),)


class MaxUnpool2d(MaxUnpool, rank=2):
    """Each element of ``dy`` put at the maximum of its window of ``x``, zeros elsewhere: the gradient of ``max_pool2d``.

    Windows that share their maximum add up (notes B6). ``dy (N, C, rows, columns)`` and ``x (N, C, H, W)`` give the shape of
    ``x``; where the maxima are does not change with small changes of ``x``, so no gradient flows to it.

    Raises ``ShapeError`` and ``AttributeValueError``.

    >>> import tinygraph as tg
    >>> x = np.array([[[[1.0, 2.0], [3.0, 4.0]]]])
    >>> tg.operation("max_unpool2d")(np.array([[[[2.0]]]]), x, 2)
    array([[[[0., 0.],
             [0., 2.]]]])
    """


class MaxTake2d(MaxTake, rank=2):
    """The elements of ``values`` at the maxima of the windows of ``x``: the transpose of ``max_unpool2d``.

    Source: the transpose of notes B6. Raises ``ShapeError`` and ``AttributeValueError``.

    >>> import tinygraph as tg
    >>> x = np.array([[[[1.0, 2.0], [3.0, 4.0]]]])
    >>> tg.operation("max_take2d")(10 * x, x, 2)
    array([[[[40.]]]])
    """


class MaxPool1d(MaxPool, rank=1):
    """Maximum of each window: ``(N, C, L)`` to ``(N, C, windows)``; a tie's gradient goes to the first.

    As ``max_pool2d``, with one axis; a pair of paddings is ``((before, after),)``. Source: PyTorch's ``max_pool1d``,
    ONNX's ``MaxPool``. Raises ``ShapeError`` and ``AttributeValueError``.

    >>> import tinygraph as tg
    >>> tg.max_pool1d(np.array([[[1.0, 2.0, 8.0, 4.0]]]), 2)
    array([[[2., 8.]]])
    """

    edges = (Edge(Sample(np.ones((1, 1, 3)), window=2, stride=1), [[[1.0, 1.0, 0.0]]]),)


class MaxUnpool1d(MaxUnpool, rank=1):
    """Each element of ``dy`` put at the maximum of its window of ``x``, zeros elsewhere: the gradient of ``max_pool1d``.

    Source: as ``max_unpool2d``. Raises ``ShapeError`` and ``AttributeValueError``.

    >>> import tinygraph as tg
    >>> tg.max_unpool1d(np.array([[[5.0, 6.0]]]), np.array([[[1.0, 2.0, 8.0, 4.0]]]), 2)
    array([[[0., 5., 6., 0.]]])
    """


class MaxTake1d(MaxTake, rank=1):
    """The elements of ``values`` at the maxima of the windows of ``x``: the transpose of ``max_unpool1d``.

    Source: as ``max_take2d``. Raises ``ShapeError`` and ``AttributeValueError``.

    >>> import tinygraph as tg
    >>> tg.operation("max_take1d")(np.array([[[1.0, 2.0, 3.0, 4.0]]]), np.array([[[1.0, 2.0, 8.0, 4.0]]]), 2)
    array([[[2., 3.]]])
    """


class MaxPool3d(MaxPool, rank=3):
    """Maximum of each window: ``(N, C, D, H, W)`` to ``(N, C, layers, rows, columns)``; a tie's gradient goes to the first.

    As ``max_pool2d``, with three axes; a pair of paddings is ``((before, after), ...)``. Source: PyTorch's ``max_pool3d``,
    ONNX's ``MaxPool``. Raises ``ShapeError`` and ``AttributeValueError``.

    >>> import tinygraph as tg
    >>> tg.max_pool3d(np.arange(8.0).reshape(1, 1, 2, 2, 2), 2)
    array([[[[[7.]]]]])
    """

    edges = (Edge(Sample(np.ones((1, 1, 1, 2, 2)), window=(1, 2, 2)), [[[[[1.0, 0.0], [0.0, 0.0]]]]]),)


class MaxUnpool3d(MaxUnpool, rank=3):
    """Each element of ``dy`` put at the maximum of its window of ``x``, zeros elsewhere: the gradient of ``max_pool3d``.

    Source: as ``max_unpool2d``. Raises ``ShapeError`` and ``AttributeValueError``.

    >>> import tinygraph as tg
    >>> tg.max_unpool3d(np.array([[[[[5.0]]]]]), np.array([[[[[1.0, 2.0]]]]]), (1, 1, 2))
    array([[[[[0., 5.]]]]])
    """


class MaxTake3d(MaxTake, rank=3):
    """The elements of ``values`` at the maxima of the windows of ``x``: the transpose of ``max_unpool3d``.

    Source: as ``max_take2d``. Raises ``ShapeError`` and ``AttributeValueError``.

    >>> import tinygraph as tg
    >>> tg.operation("max_take3d")(np.array([[[[[3.0, 4.0]]]]]), np.array([[[[[1.0, 2.0]]]]]), (1, 1, 2))
    array([[[[[4.]]]]])
    """
