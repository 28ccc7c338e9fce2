"""Pooling: what all pools share, means of windows and the operations that carry their gradients back, norms of windows.

The rules are those for images of any rank; the operations for one, two and three axes are registered at the end. Maxima are
in ``max_pooling.py``, and pools of entire images in ``global_pooling.py``.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from tinygraph.graph import Array, Edge, Explanation, Op, Sample, Shape, Terms, require
from tinygraph.ops.comparison.comparison import where
from tinygraph.ops.elementwise.arithmetic import abs, sign
from tinygraph.ops.samples import each, normal, off_zero
from tinygraph.ops.sums import floating_dtype, wide, widened
from tinygraph.ops.windows import Padding, RankedOp, Size, Windows, element, in_planes, per_axis, pixels_in, sides

# Shapes of images and attributes of pools on which they are tested, by the rank of the images.
CASES: dict[int, list[tuple[Shape, dict[str, Any]]]] = {
    1: [
        ((2, 2, 6), {"window": 2}),
        ((1, 1, 5), {"window": 3, "stride": 1, "padding": "same_lower"}),
        ((1, 1, 6), {"window": 3, "stride": 2, "padding": ((2, 0),), "ceil_mode": True}),
        ((1, 1, 7), {"window": 2, "stride": 3, "padding": 1, "dilation": 2}),
    ],
    2: [
        ((2, 2, 4, 6), {"window": 2}),
        ((1, 2, 5, 5), {"window": 3, "stride": 1}),
        ((1, 1, 5, 6), {"window": (2, 3), "stride": (2, 1), "padding": (1, 1)}),
        ((1, 1, 5, 4), {"window": 2, "padding": "same"}),
        (
            (1, 1, 4, 6),
            {"window": (3, 2), "stride": 2, "padding": ((1, 0), (0, 1)), "ceil_mode": True, "dilation": (1, 2)},
        ),
    ],
    3: [
        ((1, 2, 2, 2, 4), {"window": 2}),
        ((1, 1, 3, 2, 3), {"window": (2, 1, 3), "stride": (1, 1, 2), "padding": "same"}),
        ((1, 1, 3, 2, 4), {"window": 2, "stride": (2, 1, 3), "padding": ((1, 0), (0, 1), (0, 0)), "ceil_mode": True}),
        ((1, 1, 2, 3, 4), {"window": 2, "padding": (0, 0, 1), "dilation": (1, 2, 3)}),
    ],
}


@dataclass(frozen=True)
class Pooling(RankedOp):
    """What pools share: a window, a stride (the window's size by default), padding, and where the windows lie."""

    window: Size
    stride: Size | None = None
    padding: Padding = 0
    dilation: Size = 1
    ceil_mode: bool = False

    def shape(self, *inputs) -> Shape:
        (x,) = inputs
        self.require_images(x)
        return self.pooled((x,), x)

    def batch(self, use):
        return use.each()

    def windows(self, image: Shape) -> Windows:
        """Return the windows over an image ``(..., H, W)``."""
        stride = self.window if self.stride is None else self.stride
        size = tuple(image[-self.rank :])
        return Windows.over(size, self.window, stride, self.padding, self.dilation, self.ceil_mode)

    def work(self, *inputs) -> int:
        # Each offset in a window is one call of NumPy, on all windows.
        windows: int = min(math.prod(inputs[0].shape), self.result_size(*inputs))
        return super().work(*inputs) + pixels_in(self.window, self.rank) * (windows + 1000)

    def is_partition(self, image) -> bool:
        """Whether every element of an image lies in exactly one window, and the windows have no padding."""
        windows = self.windows(image.shape)
        covered = tuple(n * k for n, k in zip(windows.count, windows.kernel, strict=True))
        return windows.stride == windows.reach == windows.kernel and covered == windows.padded == windows.image

    def pooled(self, inputs, image) -> Shape:
        """Return the shape of the pool of an image, or refuse one that no window fits."""
        windows = self.windows(image.shape)
        if not isinstance(self.padding, str):
            pads = sides(self.padding, self.rank)
            if any(sum(pad) > reach for pad, reach in zip(pads, windows.reach, strict=True)):
                self.refuse(inputs, f"padding {self.padding} is more than half of the window {self.window}")
        window = f"a window of {windows.reach}"
        if min(windows.count) < 1:
            self.refuse(inputs, f"{window} does not fit an image of {windows.padded} with its padding")
        if windows.has_padding and any(0 in windows.sizes_along(axis, (0, 0)) for axis in range(self.rank)):
            self.refuse(inputs, f"{window} covers nothing but the padding {self.padding}")
        return (*image.shape[:2], *windows.count)

    def cells(self, x, index: Sequence[int]) -> Array:
        """Return the positions in ``x`` of the pixels of the window ``index`` of the pool."""
        return in_planes(self.windows(x.shape).pairs("window", index[2:])[1], [plane(x, index)], x)


def plane(images, index: Sequence[int]) -> int:
    """Return which of the images ``(N, C, ...)`` an element is one of, counted over N and C."""
    return index[0] * int(images.shape[1]) + index[1]


def norm_of(cells: Array, p: float) -> Explanation:
    """Return the explanation of the p-norm of the elements of ``x`` at some positions."""
    return Explanation(reads=((0, cells),), formula=f"{p:g}-norm of {len(cells)} elements")


def require_norm(op: Op, p: float) -> None:
    """Refuse a ``p`` for which there is no norm."""
    require(1 <= p < math.inf, op, f"p must be at least 1, and finite; found {p}")


@dataclass(frozen=True)
class AveragePooling(Pooling):
    """What the average pools and their transposes share: which pixels of a window its mean is over."""

    count_include_pad: bool = True
    holomorphic: ClassVar[bool] = True

    def divisor(self, windows: Windows, dtype: np.dtype[Any]) -> Any:
        """Return what the sum of each window is divided by: one number, or one for each where they differ."""
        if not windows.has_padding:
            return math.prod(windows.kernel)
        counted = ((0, 0),) * self.rank
        if self.count_include_pad:
            # Without what ceil_mode adds.
            counted = replace(self, ceil_mode=False).windows(windows.image).padding
            if counted == windows.padding:
                return math.prod(windows.kernel)
        return windows.sizes(counted).astype(dtype)

    @classmethod
    def cases(cls) -> list[tuple[Shape, dict[str, Any]]]:
        """Return shapes of images and attributes on which the two are tested."""
        padded = [case for case in CASES[cls.rank] if "padding" in case[1]]
        return [*CASES[cls.rank], *((shape, attributes | {"count_include_pad": False}) for shape, attributes in padded)]

    result_dtype = floating_dtype


@dataclass(frozen=True)
class AvgPool(AveragePooling):
    """The rules of ``avg_pool1d``, ``avg_pool2d`` and ``avg_pool3d``."""

    formula: ClassVar[str] = "mean of {x} in windows of size {window}"
    tex: ClassVar[str] = r"\operatorname{AvgPool}({x})"

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterable[Sample]:
        return each(normal, *cls.cases())(rng)

    def forward(self, x):
        windows, x = self.windows(x.shape), wide(x)
        return sum(windows.views(x)) / self.divisor(windows, x.dtype)

    def explain(self, index: tuple[int, ...], y, /, *inputs) -> Explanation:
        windows = self.windows(inputs[0].shape)
        weight = 1 / np.broadcast_to(self.divisor(windows, np.dtype(float)), windows.count)[tuple(index[2:])]
        return Explanation((Terms(((0, self.cells(inputs[0], index)),), weight),))

    def vjp(self, dy, y, x):
        return self.counterpart(AvgUnpool, output_size=x.shape[2:])(dy)


@dataclass(frozen=True)
class AvgUnpool(AveragePooling):
    """The rules of ``avg_unpool1d``, ``avg_unpool2d`` and ``avg_unpool3d``."""

    output_size: tuple[int, ...] = field(kw_only=True)
    formula: ClassVar[str] = "{x} shared out over windows of size {window}"

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterable[Sample]:
        for shape, attributes in cls.cases():
            op = cls(**attributes, output_size=shape[2:])
            yield Sample(normal(rng, (*shape[:2], *op.windows(shape).count)), **attributes, output_size=shape[2:])

    def shape(self, x) -> Shape:
        self.require_images(x)
        shape = (*x.shape[:2], *self.output_size)
        if self.pooled((x,), np.broadcast_to(0, shape)) != tuple(x.shape):
            self.refuse((x,), f"an image of size {self.output_size} does not have {tuple(x.shape[2:])} windows")
        return shape

    def forward(self, x):
        windows, x = self.windows(self.output_size), wide(x)
        share = x / self.divisor(windows, x.dtype)
        return windows.overlay([share] * math.prod(windows.kernel))

    def explain(self, index: tuple[int, ...], y, /, *inputs) -> Explanation:
        x = inputs[0]
        windows = self.windows(y.shape)
        found, _ = windows.pairs("pixel", index[2:])
        weights = 1 / np.broadcast_to(self.divisor(windows, np.dtype(float)), windows.count).reshape(-1)[found]
        return Explanation((Terms(((0, in_planes(found, [plane(x, index)], x)),), weights),))

    def vjp(self, dy, y, x):
        return self.counterpart(AvgPool)(dy)

    def written_tex(self, *inputs) -> str:
        pixel, window = element(self.rank)
        share = rf"\frac{{1}}{{{pixels_in(self.window, self.rank)}}}"
        if not self.is_partition(np.broadcast_to(0, (1, 1, *self.output_size))):
            total = rf"\sum_{{{window} \text{{ whose window holds }} {pixel}}}"
            if not isinstance(self.divisor(self.windows(self.output_size), np.dtype(float)), int):
                return rf"_{{{pixel}}} = {total} {{(x)}}_{{{window}}} / \text{{(pixels of its window)}}"
            return rf"_{{{pixel}}} = {share} {total} {{(x)}}_{{{window}}}"
        sizes = zip(pixel, window, per_axis(self.window, self.rank), strict=True)
        places = [f"{w} = " + (p if n == 1 else rf"\lfloor {p}/{n}\rfloor") for p, w, n in sizes]
        place = r", \; ".join(places)
        return rf"_{{{pixel}}} = {share}\, {{(x)}}_{{{window}}}, \quad {place}"


@dataclass(frozen=True)
class LpPool(Pooling):
    """The rules of ``lp_pool1d``, ``lp_pool2d`` and ``lp_pool3d``."""

    p: float = 2.0
    formula: ClassVar[str] = "{p}-norm of {x} in windows of size {window}"
    tex: ClassVar[str] = r"\operatorname{LpPool}_{{p}}({x})"

    def check_attributes(self) -> None:
        super().check_attributes()
        require_norm(self, self.p)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterable[Sample]:
        first, *others = CASES[cls.rank]
        return each(off_zero, first, *((shape, attributes | {"p": 3}) for shape, attributes in others))(rng)

    result_dtype = floating_dtype

    def forward(self, x):
        return sum(self.windows(x.shape).views(np.abs(widened(x)) ** self.p)) ** (1 / self.p)

    def explain(self, index: tuple[int, ...], y, /, *inputs) -> Explanation:
        return norm_of(self.cells(inputs[0], index), self.p)

    def vjp(self, dy, y, x):
        dy, y, x = map(widened, (dy, y, x))
        mean = self.counterpart(AvgUnpool, output_size=x.shape[2:])
        # A mean times its divisor is a sum. Where a norm is 0, all its pixels are 0, and so is the last factor.
        undivided = mean.divisor(self.windows(x.shape), np.dtype(y.dtype))
        return mean(dy / where(y == 0, 1, y) ** (self.p - 1) * undivided) * sign(x) * abs(x) ** (self.p - 1)


class AvgPool2d(AvgPool, rank=2):
    """Mean of each window (notes F3): ``(N, C, H, W)`` to ``(N, C, rows, columns)``.

    Zeros in the padding count, and the divisor is the size of the window; with ``count_include_pad=False`` it is the number
    of the window's pixels in the image. With ``ceil_mode`` a last window may reach beyond the padding if it begins in the image
    or in the padding before it; what lies beyond never counts. ``padding`` is a number of pixels, a pair (rows, columns), a
    pair of pairs ((above, below), (left, right)), ``"valid"``, ``"same"`` or ``"same_lower"`` (the odd pixel before).
    PyTorch and ONNX (``AveragePool``) agree where they have these attributes; ONNX's default is not to count the
    padding. The gradient (notes B11, W3 and their errata E1, E2) gives each element of a window its equal share. Raises
    ``ShapeError`` and ``AttributeValueError``.

    >>> import tinygraph as tg
    >>> tg.avg_pool2d(np.array([[[[1.0, 2.0], [3.0, 4.0]]]]), 2)
    array([[[[2.5]]]])
    """


class AvgUnpool2d(AvgUnpool, rank=2):
    """The transpose of ``avg_pool2d``: each element of ``x`` shared out equally over its window (notes B11).

    Windows that overlap add up. ``output_size`` is the size of the image that was pooled.

    Raises ``ShapeError`` and ``AttributeValueError``.

    >>> import tinygraph as tg
    >>> tg.operation("avg_unpool2d")(np.array([[[[4.0]]]]), 2, output_size=(2, 2))
    array([[[[1., 1.],
             [1., 1.]]]])
    """


class AvgPool1d(AvgPool, rank=1):
    """Mean of each window: ``(N, C, L)`` to ``(N, C, windows)``.

    As ``avg_pool2d``, with one axis; a pair of paddings is ``((before, after),)``. Source: PyTorch's ``avg_pool1d``,
    ONNX's ``AveragePool``. Raises ``ShapeError`` and ``AttributeValueError``.

    >>> import tinygraph as tg
    >>> tg.avg_pool1d(np.array([[[1.0, 2.0, 4.0, 8.0]]]), 2)
    array([[[1.5, 6. ]]])
    """


class AvgUnpool1d(AvgUnpool, rank=1):
    """The transpose of ``avg_pool1d``: each element of ``x`` shared out equally over its window.

    ``output_size`` is the size of the image that was pooled. Source: as ``avg_unpool2d``. Raises ``ShapeError`` and
    ``AttributeValueError``.

    >>> import tinygraph as tg
    >>> tg.avg_unpool1d(np.array([[[2.0, 4.0]]]), 2, output_size=(4,))
    array([[[1., 1., 2., 2.]]])
    """


class AvgPool3d(AvgPool, rank=3):
    """Mean of each window: ``(N, C, D, H, W)`` to ``(N, C, layers, rows, columns)``.

    As ``avg_pool2d``, with three axes; a pair of paddings is ``((before, after), ...)``. Source: PyTorch's ``avg_pool3d``,
    ONNX's ``AveragePool``. Raises ``ShapeError`` and ``AttributeValueError``.

    >>> import tinygraph as tg
    >>> tg.avg_pool3d(np.arange(8.0).reshape(1, 1, 2, 2, 2), 2)
    array([[[[[3.5]]]]])
    """


class AvgUnpool3d(AvgUnpool, rank=3):
    """The transpose of ``avg_pool3d``: each element of ``x`` shared out equally over its window.

    ``output_size`` is the size of the image that was pooled. Source: as ``avg_unpool2d``. Raises ``ShapeError`` and
    ``AttributeValueError``.

    >>> import tinygraph as tg
    >>> tg.avg_unpool3d(np.array([[[[[2.0]]]]]), (1, 1, 2), output_size=(1, 1, 2))
    array([[[[[1., 1.]]]]])
    """


class LpPool2d(LpPool, rank=2):
    """The p-norm of each window, ``(sum of |x|**p) ** (1/p)``: ``(N, C, H, W)`` to ``(N, C, rows, columns)``.

    ``p`` is at least 1. Window, stride, padding, dilation and ``ceil_mode`` are those of ``avg_pool2d``; padding adds
    nothing. ``|x|**p`` must not overflow. Where all pixels of a window are 0, its gradient is 0. For ``p = 1`` the
    gradient of each 0 is 0. Source: ONNX's ``LpPool``. PyTorch's ``lp_pool2d`` takes ``x**p`` without the absolute value, which
    differs for odd ``p``, and with ``ceil_mode`` multiplies the norm of a window that is cut short. Raises
    ``ShapeError`` and ``AttributeValueError``.

    >>> import tinygraph as tg
    >>> tg.lp_pool2d(np.array([[[[3.0, 0.0], [-4.0, 0.0]]]]), 2)
    array([[[[5.]]]])
    """

    edges = (
        Edge(Sample(np.zeros((1, 1, 2, 2)), window=2), np.zeros((1, 1, 2, 2))),
        Edge(Sample([[[[0.0, 2.0, -2.0]]]], window=(1, 3), p=1), [[[[0.0, 1.0, -1.0]]]]),
    )


class LpPool1d(LpPool, rank=1):
    """The p-norm of each window, ``(sum of |x|**p) ** (1/p)``: ``(N, C, L)`` to ``(N, C, windows)``.

    As ``lp_pool2d``. Raises ``ShapeError`` and ``AttributeValueError``.

    >>> import tinygraph as tg
    >>> tg.lp_pool1d(np.array([[[3.0, -4.0, 0.0, 2.0]]]), 2)
    array([[[5., 2.]]])
    """


class LpPool3d(LpPool, rank=3):
    """The p-norm of each window, ``(sum of |x|**p) ** (1/p)``: ``(N, C, D, H, W)`` to ``(N, C, layers, rows, columns)``.

    As ``lp_pool2d``. Raises ``ShapeError`` and ``AttributeValueError``.

    >>> import tinygraph as tg
    >>> tg.lp_pool3d(np.array([[[[[3.0, -4.0]]]]]), (1, 1, 2))
    array([[[[[5.]]]]])
    """
