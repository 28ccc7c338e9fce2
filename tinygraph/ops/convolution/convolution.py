"""Convolution, its transpose and its kernel gradient: three views of one trilinear form.

With windows ``w`` over an image ``x``, a kernel ``k`` and a result ``y``, all three compute two-factor sums of the terms
``x[pixel] k[offset] y[window]``: ``conv2d`` over pixels for each window, ``conv_transpose2d`` over windows for each pixel,
``conv2d_kernel_gradient`` over windows for each offset. So each one's gradients are the other two, to any order.
Each is patches and one matrix product (GEMM) for each group. The rules are those for images of any rank; the operations for
one, two and three axes are registered at the end.
"""

import math
import operator
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from tinygraph.graph import TOTAL, Explanation, Sample, Shape
from tinygraph.ops.samples import normal
from tinygraph.ops.sums import widened
from tinygraph.ops.windows import Padding, RankedOp, Size, Sizes, Windows, image_size, per_axis, sum_of_products

# Shapes of images and kernels, and attributes, on which the three are tested, by the rank of the images.
_CASES: dict[int, list[tuple[Shape, Shape, dict[str, Any]]]] = {
    1: [
        ((2, 2, 6), (3, 2, 3), {}),
        ((1, 4, 7), (4, 2, 2), {"stride": 2, "padding": "same", "dilation": 2, "groups": 2}),
        ((1, 1, 5), (2, 1, 3), {"stride": 2, "padding": ((2, 1),)}),
    ],
    2: [
        ((2, 2, 5, 4), (3, 2, 3, 2), {}),
        ((2, 2, 5, 5), (2, 2, 3, 3), {"stride": 2, "padding": "same"}),
        ((1, 4, 6, 5), (6, 2, 2, 2), {"stride": (2, 1), "padding": (1, 2), "dilation": 2, "groups": 2}),
        ((1, 1, 3, 4), (1, 1, 2, 3), {"stride": (1, 2), "padding": ((1, 0), (0, 2))}),
        ((1, 3, 3, 3), (3, 1, 2, 2), {"padding": "same_lower", "groups": 3}),
    ],
    3: [
        ((1, 2, 5, 2, 3), (2, 2, 2, 1, 2), {"stride": (2, 1, 3)}),
        ((2, 2, 2, 3, 4), (2, 1, 2, 2, 2), {"stride": (1, 2, 3), "padding": "same", "groups": 2}),
        ((1, 1, 2, 2, 3), (1, 1, 2, 1, 2), {"padding": ((1, 0), (0, 0), (1, 2)), "dilation": (2, 1, 3)}),
    ],
}


@dataclass(frozen=True)
class Convolution(RankedOp):
    """What the three operations share: stride, padding, dilation, groups, and the windows that these define."""

    stride: Size = 1
    padding: Padding = 0
    dilation: Size = 1
    groups: int = 1
    holomorphic: ClassVar[bool] = True

    def windows(self, image: Shape, kernel: Shape) -> Windows:
        """Return the windows over an image ``(..., H, W)`` of a kernel ``(..., kh, kw)``."""
        return Windows.over(image[-self.rank :], kernel[-self.rank :], self.stride, self.padding, self.dilation)

    def window_count(self, inputs, image: Shape, kernel: Shape) -> Sizes:
        """Return how many windows there are, or refuse a kernel that does not fit."""
        windows = self.windows(image, kernel)
        if min(windows.kernel) < 1 or min(windows.count) < 1:
            kernel, image = windows.reach, windows.padded
            self.refuse(inputs, f"a kernel that spans {kernel} does not fit an image of {image} with its padding")
        return windows.count

    def batch(self, use):
        return use.each(0)

    def kernels(self, k):
        """Return kernels ``(F, C/groups, kh, kw)`` as a matrix for each group, with a row for each kernel."""
        return k.reshape(self.groups, k.shape[0] // self.groups, math.prod(k.shape[1:]))

    def channels(self, y):
        """Return ``(N, F, rows, columns)`` as a matrix for each group, with a row for each channel."""
        positions = y.shape[0] * math.prod(y.shape[2:])
        return y.swapaxes(0, 1).reshape(self.groups, y.shape[1] // self.groups, positions)

    def patches(self, x, windows: Windows):
        """Return images ``(N, C, H, W)`` as a matrix for each group, with a column of pixels for each window (im2col)."""
        patches, pixels = np.stack(windows.views(x.swapaxes(0, 1)), axis=1), math.prod(windows.kernel)
        positions = x.shape[0] * math.prod(windows.count)
        return patches.reshape(self.groups, x.shape[1] // self.groups * pixels, positions)


@dataclass(frozen=True)
class Convolve(Convolution):
    """The rules of ``conv1d``, ``conv2d`` and ``conv3d``."""

    formula: ClassVar[str] = "{x} ⋆ {k}"
    tex: ClassVar[str] = r"\operatorname{conv}({x}, {k})"

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterable[Sample]:
        for image, kernel, attributes in _CASES[cls.rank]:
            yield Sample(normal(rng, image), normal(rng, kernel), **attributes)

    def shape(self, x, k) -> Shape:
        self.require_images(x, k)
        if x.shape[1] != k.shape[1] * self.groups:
            takes = k.shape[1] * self.groups
            last = "; they seem to be its last axis: write np.moveaxis(x, -1, 1)" if x.shape[-1] == takes else ""
            self.refuse((x, k), f"x has {x.shape[1]} channels, its axis 1, and k takes {takes}{last}")
        if k.shape[0] % self.groups:
            self.refuse((x, k), f"{k.shape[0]} kernels do not divide into {self.groups} groups")
        return (x.shape[0], k.shape[0], *self.window_count((x, k), x.shape, k.shape))

    def multiply_adds(self, x, k) -> int:
        return self.result_size(x, k) * int(math.prod(k.shape[1:]))

    def forward(self, x, k):
        x, k = widened(x), widened(k)
        windows = self.windows(x.shape, k.shape)
        y = self.kernels(k) @ self.patches(x, windows)
        return y.reshape(k.shape[0], x.shape[0], *windows.count).swapaxes(0, 1)

    def explain(self, index: tuple[int, ...], y, /, *inputs) -> Explanation:
        (x, k), (n, f, *at) = inputs, index
        offsets, pixels = self.windows(x.shape, k.shape).pairs("window", at)
        first = n * x.shape[1] + f * self.groups // k.shape[0] * k.shape[1]
        kernels = range(f * k.shape[1], (f + 1) * k.shape[1])
        return sum_of_products((pixels, offsets), inputs, range(first, first + k.shape[1]), kernels)

    def vjp(self, dy, y, x, k) -> Any:
        return (
            lambda: self.counterpart(ConvolveTransposed, output_size=x.shape[2:])(dy, k),
            lambda: self.counterpart(KernelGradient, kernel_size=k.shape[2:])(x, dy),
        )


@dataclass(frozen=True)
class ConvolveTransposed(Convolution):
    """The rules of ``conv_transpose1d``, ``conv_transpose2d`` and ``conv_transpose3d``."""

    output_padding: Size = 0
    output_size: tuple[int, ...] | None = None
    formula: ClassVar[str] = "pad({x}) ⋆ flip({k})"
    tex: ClassVar[str] = r"\operatorname{conv}(\operatorname{padded}({x}), \operatorname{flip}({k}))"

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterable[Sample]:
        for image, kernel, attributes in _CASES[cls.rank]:
            op = cls(**attributes)
            x, k = normal(rng, (image[0], kernel[0], *op.windows(image, kernel).count)), normal(rng, kernel)
            missing = tuple(map(operator.sub, image[2:], op.image_size(x, k)))
            size = {"output_padding": missing} if min(missing) >= 0 else {"output_size": image[2:]}
            yield Sample(x, k, **attributes | size)

    def shape(self, x, k) -> Shape:
        self.require_images(x, k)
        if x.shape[1] != k.shape[0]:
            self.refuse((x, k), f"x has {x.shape[1]} channels and k takes {k.shape[0]}")
        if x.shape[1] % self.groups:
            self.refuse((x, k), f"{x.shape[1]} channels do not divide into {self.groups} groups")
        added, stride = per_axis(self.output_padding, self.rank), per_axis(self.stride, self.rank)
        if self.output_size is None and any(map(operator.ge, added, stride)):
            why = "output_padding must be less than the stride, or it would only add zeros, for which there is pad"
            self.refuse((x, k), f"{why}; found output_padding {self.output_padding} and stride {self.stride}")
        image = self.image_size(x, k)
        if min(image) < 1 or self.window_count((x, k), image, k.shape) != tuple(x.shape[2:]):
            self.refuse((x, k), f"an image of size {image} does not have {tuple(x.shape[2:])} windows")
        return (x.shape[0], k.shape[1] * self.groups, *image)

    def image_size(self, x, k) -> Sizes:
        """Return the size of the result without batch and channels."""
        settings = (self.stride, self.padding, self.dilation, self.output_padding)
        return self.output_size or image_size(x.shape[2:], k.shape[2:], *settings)

    def remark(self, y, *inputs) -> str:
        """Return by how much the correlation that this is pads its image, if all sides are alike."""
        windows = self.windows(y.shape, inputs[1].shape)
        ends = zip(windows.reach, windows.padding, strict=True)
        sizes = {reach - 1 - pixels for reach, pair in ends for pixels in pair}
        return f"padded by {sizes.pop()}" if set(windows.stride) == {1} and len(sizes) == 1 and self.groups == 1 else ""

    def multiply_adds(self, x, k) -> int:
        return int(math.prod((*x.shape, *k.shape[1:])))

    def work(self, x, k) -> int:
        return self.multiply_adds(x, k) + self.result_size(x, k)

    def forward(self, x, k):
        x, k = widened(x), widened(k)
        windows = self.windows(self.image_size(x, k), k.shape)
        kernels, channels = self.kernels(k).swapaxes(1, 2), self.channels(x)
        # With one kernel to a group (depthwise) it is an outer product, for which BLAS is slow.
        patches = kernels * channels if kernels.shape[2] == 1 else kernels @ channels
        parts = patches.reshape(k.shape[1] * self.groups, math.prod(windows.kernel), x.shape[0], *windows.count)
        return windows.overlay(parts.swapaxes(0, 1)).swapaxes(0, 1)

    def explain(self, index: tuple[int, ...], y, /, *inputs) -> Explanation:
        (x, k), (n, c, *at) = inputs, index
        group, channel = divmod(c, k.shape[1])
        kernels = np.arange(k.shape[0]).reshape(self.groups, -1)[group]
        taken = n * x.shape[1] + kernels
        planes = kernels * k.shape[1] + channel
        return sum_of_products(self.windows(y.shape, k.shape).pairs("pixel", at), inputs, taken, planes)

    def vjp(self, dy, y, x, k) -> Any:
        return (
            lambda: self.counterpart(Convolve)(dy, k),
            lambda: self.counterpart(KernelGradient, kernel_size=k.shape[2:])(dy, x),
        )


@dataclass(frozen=True)
class KernelGradient(Convolution):
    """The rules of ``conv1d_kernel_gradient``, ``conv2d_kernel_gradient`` and ``conv3d_kernel_gradient``."""

    kernel_size: tuple[int, ...] = field(kw_only=True)
    formula: ClassVar[str] = "{x} ⋆ {dy}"
    tex: ClassVar[str] = r"\operatorname{conv}({x}, {dy})"

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterable[Sample]:
        for image, kernel, attributes in _CASES[cls.rank]:
            op = cls(**attributes, kernel_size=kernel[2:])
            dy = normal(rng, (image[0], kernel[0], *op.windows(image, kernel).count))
            yield Sample(normal(rng, image), dy, **op.attributes())

    def shape(self, x, dy) -> Shape:
        self.require_images(x, dy)
        if x.shape[0] != dy.shape[0]:
            self.refuse((x, dy), f"x holds {x.shape[0]} samples and dy {dy.shape[0]}")
        if x.shape[1] % self.groups or dy.shape[1] % self.groups:
            self.refuse((x, dy), f"{x.shape[1]} and {dy.shape[1]} channels do not divide into {self.groups} groups")
        if self.window_count((x, dy), x.shape, self.kernel_size) != tuple(dy.shape[2:]):
            self.refuse((x, dy), f"a kernel of {self.kernel_size} does not have {tuple(dy.shape[2:])} windows over x")
        return (dy.shape[1], x.shape[1] // self.groups, *self.kernel_size)

    def multiply_adds(self, x, dy) -> int:
        return self.result_size(x, dy) * int(x.shape[0] * math.prod(dy.shape[2:]))

    def forward(self, x, dy):
        x, dy = widened(x), widened(dy)
        windows = self.windows(x.shape, self.kernel_size)
        k = self.channels(dy) @ self.patches(x, windows).swapaxes(1, 2)
        return k.reshape(dy.shape[1], x.shape[1] // self.groups, *windows.kernel)

    def explain(self, index: tuple[int, ...], y, /, *inputs) -> Explanation:
        (x, dy), (f, c, *at) = inputs, index
        found, pixels = self.windows(x.shape, y.shape).pairs("offset", at)
        channel = f * self.groups // dy.shape[1] * y.shape[1] + c
        samples = np.arange(x.shape[0])
        return sum_of_products((pixels, found), inputs, samples * x.shape[1] + channel, samples * dy.shape[1] + f)

    def vjp(self, dk, k, x, dy) -> Any:
        return (
            lambda: self.counterpart(ConvolveTransposed, output_size=x.shape[2:])(dy, dk),
            lambda: self.counterpart(Convolve)(x, dk),
        )

    def batch(self, use):
        return TOTAL if use.axis(0, 1) == 0 else None


class Conv2d(Convolve, rank=2):
    """Cross-correlation of images ``x (N, C, H, W)`` with kernels ``k (F, C/groups, kh, kw)``: ``(N, F, rows, columns)``.

    ``y[n,f,i,j]`` is the sum over ``c,u,v`` of ``x[n,c,i*stride+u*dilation,j*stride+v*dilation] k[f,c,u,v]``, with zeros in
    the padding. ``padding`` is a number of pixels, a pair (rows, columns), a pair of pairs ((above, below), (left, right)),
    ``"valid"`` (none) or ``"same"`` (as many windows as ``ceil(size/stride)``; an odd pixel goes after, with
    ``"same_lower"`` before). PyTorch and ONNX (``Conv``, where ``"same"`` is ``SAME_UPPER``) agree; PyTorch has no pair of
    pairs, and ``"same"`` only with stride 1. With as many groups as channels (depthwise), each channel has its own kernels.
    Source: notes F1, F4. Rules: for the image notes B10, for the kernel notes B8, B13. Raises ``ShapeError`` and
    ``AttributeValueError``.

    >>> import tinygraph as tg
    >>> image = np.arange(9.0).reshape(1, 1, 3, 3)
    >>> tg.conv2d(image, np.ones((1, 1, 2, 2)))
    array([[[[ 8., 12.],
             [20., 24.]]]])
    """


class ConvTranspose2d(ConvolveTransposed, rank=2):
    """The transpose of ``conv2d``: ``x (N, F, rows, columns)`` and ``k (F, C/groups, kh, kw)`` give ``(N, C, H, W)``.

    Every element of ``x`` adds its multiple of a kernel into the image: the gradient of ``conv2d`` for its image, which the
    notes (B10) write as the correlation of padded ``x`` with the kernel turned by 180 degrees. Attributes are those of that
    ``conv2d``. Where several image sizes would fit, ``output_padding`` adds rows and columns at the end, or ``output_size``
    names the size. Without them the size is ``(rows-1)*stride - above - below + dilation*(kh-1) + 1``, or ``rows*stride``
    for ``"same"``. A size that would have another number of windows is refused, so ``output_padding`` stays below the
    stride; PyTorch also takes one below the dilation. Otherwise PyTorch and ONNX (``ConvTranspose``) agree, except that
    ONNX's ``output_shape`` also chooses the padding, which ``output_size`` does not change. Raises ``ShapeError`` and
    ``AttributeValueError``.

    >>> import tinygraph as tg
    >>> tg.conv_transpose2d(np.array([[[[1.0, 2.0]]]]), np.ones((1, 1, 1, 2)), stride=2)
    array([[[[1., 1., 2., 2.]]]])
    """

    formula: ClassVar[str] = "pad({x}) ⋆ rot180({k})"
    tex: ClassVar[str] = r"\operatorname{conv}(\operatorname{padded}({x}), \text{rot180}({k}))"


class Conv2dKernelGradient(KernelGradient, rank=2):
    """The gradient of ``conv2d`` for its kernel: ``x (N, C, H, W)`` correlated with ``dy (N, F, rows, columns)``.

    The result is ``(F, C/groups, kh, kw)`` with ``kernel_size = (kh, kw)``: the notes' ``dK = conv(x, dZ)`` (B8, B13).
    Attributes are those of that ``conv2d``. Raises ``ShapeError`` and ``AttributeValueError``.

    >>> import tinygraph as tg
    >>> x = np.arange(9.0).reshape(1, 1, 3, 3)
    >>> tg.conv2d_kernel_gradient(x, np.ones((1, 1, 2, 2)), kernel_size=(2, 2))
    array([[[[ 8., 12.],
             [20., 24.]]]])
    """


class Conv1d(Convolve, rank=1):
    """Cross-correlation of lines ``x (N, C, L)`` with kernels ``k (F, C/groups, kl)``: ``(N, F, windows)``.

    As ``conv2d``, with one axis; a pair of paddings is ``((before, after),)``. Source: PyTorch's ``conv1d``,
    ONNX's ``Conv``. Raises ``ShapeError`` and ``AttributeValueError``.

    >>> import tinygraph as tg
    >>> tg.conv1d(np.array([[[1.0, 2.0, 4.0]]]), np.array([[[1.0, -1.0]]]))
    array([[[-1., -2.]]])
    """


class ConvTranspose1d(ConvolveTransposed, rank=1):
    """The transpose of ``conv1d``: ``x (N, F, windows)``, ``k (F, C/groups, kl)`` give ``(N, C, L)``.

    As ``conv_transpose2d``, with one axis. Source: PyTorch's ``conv_transpose1d``, ONNX's ``ConvTranspose``. Raises
    ``ShapeError`` and ``AttributeValueError``.

    >>> import tinygraph as tg
    >>> tg.conv_transpose1d(np.array([[[1.0, 2.0]]]), np.ones((1, 1, 2)), stride=2)
    array([[[1., 1., 2., 2.]]])
    """


class Conv1dKernelGradient(KernelGradient, rank=1):
    """The gradient of ``conv1d`` for its kernel: ``x (N, C, L)`` correlated with ``dy (N, F, windows)``.

    The result is ``(F, C/groups, kl)`` with ``kernel_size = (kl,)``. Source: as ``conv2d_kernel_gradient``, with
    one axis. Raises ``ShapeError`` and ``AttributeValueError``.

    >>> import tinygraph as tg
    >>> tg.conv1d_kernel_gradient(np.array([[[1.0, 2.0, 4.0]]]), np.ones((1, 1, 2)), kernel_size=(2,))
    array([[[3., 6.]]])
    """


class Conv3d(Convolve, rank=3):
    """Cross-correlation of volumes ``x (N, C, D, H, W)`` with kernels ``k (F, C/groups, kd, kh, kw)``.

    The result is ``(N, F, layers, rows, columns)``. As ``conv2d``, with three axes; a pair of paddings is
    ``((before, after), ...)``. Source: PyTorch's ``conv3d``, ONNX's ``Conv``. Raises ``ShapeError`` and
    ``AttributeValueError``.

    >>> import tinygraph as tg
    >>> tg.conv3d(np.arange(8.0).reshape(1, 1, 2, 2, 2), np.ones((1, 1, 2, 2, 1)))
    array([[[[[12., 16.]]]]])
    """


class ConvTranspose3d(ConvolveTransposed, rank=3):
    """The transpose of ``conv3d``: ``x (N, F, layers, rows, columns)`` to ``(N, C, D, H, W)``.

    ``k`` is ``(F, C/groups, kd, kh, kw)``. As ``conv_transpose2d``, with three axes. Source: PyTorch's
    ``conv_transpose3d``, ONNX's ``ConvTranspose``. Raises ``ShapeError`` and ``AttributeValueError``.

    >>> import tinygraph as tg
    >>> tg.conv_transpose3d(np.array([[[[[1.0, 2.0]]]]]), np.ones((1, 1, 1, 1, 2)), stride=2)
    array([[[[[1., 1., 2., 2.]]]]])
    """


class Conv3dKernelGradient(KernelGradient, rank=3):
    """The gradient of ``conv3d`` for its kernel: ``x (N, C, D, H, W)`` correlated with ``dy (N, F, layers, rows, columns)``.

    The result is ``(F, C/groups, kd, kh, kw)`` with ``kernel_size = (kd, kh, kw)``. Source: as ``conv2d_kernel_gradient``, with
    three axes. Raises ``ShapeError`` and ``AttributeValueError``.

    >>> import tinygraph as tg
    >>> x = np.arange(8.0).reshape(1, 1, 2, 2, 2)
    >>> tg.conv3d_kernel_gradient(x, np.ones((1, 1, 2, 2, 1)), kernel_size=(1, 1, 2))
    array([[[[[12., 16.]]]]])
    """
