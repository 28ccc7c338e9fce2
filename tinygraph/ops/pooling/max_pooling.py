"""Max-pooling: maxima of windows, and the operations that carry their gradients back."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tinygraph.graph.explanation import Explanation, Terms, chosen, one, position
from tinygraph.graph.function import OpFunction, register
from tinygraph.graph.op import Edge, Sample, Samples, Shape, Value
from tinygraph.ops.cells import in_planes, of_pixel, of_window
from tinygraph.ops.floating import widened
from tinygraph.ops.pooling.pooling import CASES, Pooling, TwoAxes, plane
from tinygraph.ops.samples import distinct, each, normal
from tinygraph.ops.windows import Windows, element, require_images


@dataclass(frozen=True)
class MaxPooling(Pooling):
    """What the operations on the maxima of windows share: which element of each window is the first maximum.

    ``pool``, ``unpool`` and ``take`` are the three for images of ``rank`` axes.
    """

    pool: ClassVar[OpFunction]
    unpool: ClassVar[OpFunction]
    take: ClassVar[OpFunction]

    def winners(self, x) -> tuple[Windows, Value]:
        """Return the windows over ``x`` and, for each, the row-major offset of its first maximum."""
        windows = self.windows(x.shape)
        padded = self.padded(windows, x)
        best = np.full((*x.shape[:2], *windows.count), self.lowest(x), x.dtype)
        winner = np.full(best.shape, -1, np.intp)
        inside = windows.pad(np.ones(x.shape[2:], bool))
        for k, (_, pixels) in enumerate(windows.offsets()):
            candidate = padded[pixels]
            # "not <=" rather than ">" lets the first NaN win, as it does in the forward pass.
            better = ~(candidate <= best) & (best == best) | (winner < 0) & inside[pixels]
            winner[better] = k
            best = np.where(better, candidate, best)
        return windows, winner

    def winner(self, x, index: Sequence[int]) -> tuple[int, Value]:
        """Return the cell of ``x`` that is the first maximum of the window ``index``, and the other cells of that window."""
        _, pixels = of_window(self.windows(x.shape), index[2:])
        return chosen(in_planes(pixels, [plane(x, index)], x), x)

    def won(self, x, index: Sequence[int]) -> tuple[Value, Value]:
        """Return the windows, as positions in the pool, whose maximum is the element ``index`` of ``x``, and the maxima of
        the other windows that it lies in."""
        windows, image = self.windows(x.shape), plane(x, index)
        own, size = position(index, x.shape), math.prod(windows.count)
        won, maxima = [], []
        for window in of_pixel(windows, index[2:])[0]:
            best, _ = self.winner(x, (*index[:2], *np.unravel_index(window, windows.count)))
            won += [image * size + window] * (best == own)
            maxima += [best] * (best != own)
        return np.array(won, np.intp), np.array(maxima, np.intp)

    @staticmethod
    def lowest(x) -> Any:
        """Return the number that is never a maximum, for padding."""
        if x.dtype.kind in "iu":
            return np.iinfo(x.dtype).min
        return False if x.dtype.kind == "b" else -np.inf

    def padded(self, windows: Windows, x):
        """Return ``x`` with padding that is never the maximum."""
        return windows.pad(x, self.lowest(x))


@dataclass(frozen=True)
class MaxPool(MaxPooling):
    """What ``max_pool2d`` and its like for other numbers of axes are."""

    formula: ClassVar[str] = "max of {x} in windows of size {window}"
    tex: ClassVar[str] = r"\operatorname{MaxPool}({x})"

    def shape(self, x) -> Shape:
        require_images(self, (x,), 0, rank=self.rank)
        return self.pooled((x,), x)

    def forward(self, x):
        windows = self.windows(x.shape)
        padded = self.padded(windows, x)
        result = np.full((*x.shape[:2], *windows.count), self.lowest(x), x.dtype)
        for _, pixels in windows.offsets():
            np.maximum(result, padded[pixels], out=result)
        return result

    def explain(self, index: tuple[int, ...], y, /, *inputs) -> Explanation:
        best, others = self.winner(inputs[0], index)
        return Explanation(
            (Terms((one(0, best),)),), ((0, others),) if len(others) else (), f"the largest of {len(others) + 1}"
        )

    def vjp(self, dy, y, x):
        return self.unpool(dy, x, **self.shared())

    def batch(self, use):
        return use.each(0)


@dataclass(frozen=True)
class MaxUnpool(MaxPooling):
    """What ``max_unpool2d`` and its like for other numbers of axes are."""

    formula: ClassVar[str] = "{dy} where {x} is the max of its window"

    def shape(self, dy, x) -> Shape:
        require_images(self, (dy, x), 0, 1, rank=self.rank)
        if self.pooled((dy, x), x) != tuple(dy.shape):
            self.refuse((dy, x), "dy does not have the shape of the pool of x")
        return tuple(x.shape)

    def forward(self, dy, x):
        windows, winner = self.winners(x)
        dy = widened(dy)
        padded = np.zeros((*x.shape[:2], *windows.padded), dy.dtype)
        for k, (_, pixels) in enumerate(windows.offsets()):
            padded[pixels] += np.where(winner == k, dy, 0)
        return windows.crop(padded)

    def result_dtype(self, dy, x) -> np.dtype[Any]:
        return np.result_type(dy.dtype)

    def explain(self, index: tuple[int, ...], y, /, *inputs) -> Explanation:
        won, maxima = self.won(inputs[1], index)
        terms = (Terms(((0, won),)),) if len(won) else ()
        if not len(maxima):
            return Explanation(terms, (one(1, position(index, y.shape)),), "{0} is the maximum of its window")
        reason = "the maximum of some of its windows, not of all"
        if not len(won):
            reason = "not the maximum of its window, which is {0}"
        return Explanation(terms, ((1, maxima),), reason)

    def vjp(self, dz, z, dy, x) -> Any:
        return self.take(dz, x, **self.shared()), None

    def written_tex(self, *inputs) -> str:
        pixel, window = element(self.rank)
        if not self.is_partition(inputs[1]):
            return (
                rf"_{{{pixel}}} = \sum_{{{window} \text{{ whose max is }} {{(x)}}_{{{pixel}}}}} {{(dy)}}_{{{window}}}"
            )
        maximum = rf"{{(dy)}}_{{{window}}} & \text{{if }} {{(x)}}_{{{pixel}}} \text{{ is the max of its window}}"
        return rf"_{{{pixel}}} = \begin{{cases}} {maximum} \\ 0 & \text{{otherwise}} \end{{cases}}"

    def batch(self, use):
        return use.each(0, 1)


@dataclass(frozen=True)
class MaxTake(MaxPooling):
    """What ``max_take2d`` and its like for other numbers of axes are."""

    helper: ClassVar[bool] = True
    formula: ClassVar[str] = "{values} where {x} is the max of its window"
    tex: ClassVar[str] = r"\operatorname{take}({values}, \operatorname{argmax}({x}))"

    def shape(self, values, x) -> Shape:
        require_images(self, (values, x), 0, 1, rank=self.rank)
        if tuple(values.shape) != tuple(x.shape):
            self.refuse((values, x), "the two must have one shape")
        return self.pooled((values, x), x)

    def forward(self, values, x):
        windows, winner = self.winners(x)
        padded = windows.pad(values)
        result = np.zeros(winner.shape, values.dtype)
        for k, (_, pixels) in enumerate(windows.offsets()):
            result += np.where(winner == k, padded[pixels], 0)
        return result

    def result_dtype(self, values, x) -> np.dtype[Any]:
        return np.result_type(values.dtype)

    def explain(self, index: tuple[int, ...], y, /, *inputs) -> Explanation:
        best, _ = self.winner(inputs[1], index)
        return Explanation((Terms((one(0, best),)),), (one(1, best),), "where {0} is the maximum of its window")

    def vjp(self, dy, y, values, x) -> Any:
        return self.unpool(dy, x, **self.shared()), None

    def batch(self, use):
        return use.each(0, 1)


def introduce(pool: type[MaxPool], unpool: type[MaxUnpool], take: type[MaxTake]) -> None:
    """Tell a max-pool and what carries its gradients of each other."""
    for kind in (pool, unpool, take):
        kind.pool, kind.unpool, kind.take = pool.function, unpool.function, take.function


@register
@dataclass(frozen=True)
class MaxPool2d(MaxPool, TwoAxes):
    """Maximum of each window (notes F6): ``(N, C, H, W)`` to ``(N, C, rows, columns)``.

    The padding is never the maximum. The gradient (notes B6, W1) goes to the maximum of its window, on a tie (notes E4) to
    the first in row-major order; an element that is the maximum of several windows gets the sum. ``padding`` and
    ``ceil_mode`` are those of ``avg_pool2d``; PyTorch and ONNX (``MaxPool``) agree where they have them. Raises
    ``ShapeError`` and ``AttributeValueError``.

    >>> import tinygraph as tg
    >>> tg.max_pool2d(np.array([[[[1.0, 2.0], [3.0, 4.0]]]]), 2)
    array([[[[4.]]]])
    """

    samples = staticmethod(each(distinct, *CASES))
    edges = (Edge(Sample(np.ones((1, 1, 2, 3)), window=2, stride=1), [[[[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]]]),)


def gradient_samples(cases: Sequence[tuple[Shape, dict[str, Any]]], pool: type[MaxPool]) -> Samples:
    """Return samples of a max-pool's gradient: for each case a gradient of the pool, and what is pooled."""

    def samples(rng: np.random.Generator) -> Iterable[Sample]:
        for shape, attributes in cases:
            x = distinct(rng, shape)
            yield Sample(normal(rng, pool(**attributes).shape(x)), x, **attributes)

    return samples


@register
@dataclass(frozen=True)
class MaxUnpool2d(MaxUnpool, TwoAxes):
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

    samples = staticmethod(gradient_samples(CASES, MaxPool2d))


def take_samples(cases: Sequence[tuple[Shape, dict[str, Any]]]) -> Samples:
    """Return samples of the transpose of a max-pool's gradient."""

    def samples(rng: np.random.Generator) -> Iterable[Sample]:
        for shape, attributes in cases:
            yield Sample(normal(rng, shape), distinct(rng, shape), **attributes)

    return samples


@register
@dataclass(frozen=True)
class MaxTake2d(MaxTake, TwoAxes):
    """The elements of ``values`` at the maxima of the windows of ``x``: the transpose of ``max_unpool2d``.

    Source: the transpose of notes B6. Raises ``ShapeError`` and ``AttributeValueError``.

    >>> import tinygraph as tg
    >>> x = np.array([[[[1.0, 2.0], [3.0, 4.0]]]])
    >>> tg.operation("max_take2d")(10 * x, x, 2)
    array([[[[40.]]]])
    """

    samples = staticmethod(take_samples(CASES))


introduce(MaxPool2d, MaxUnpool2d, MaxTake2d)
max_pool2d = MaxPool2d.function
max_unpool2d = MaxUnpool2d.function
max_take2d = MaxTake2d.function
