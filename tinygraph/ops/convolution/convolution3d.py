"""Convolution of volumes: that of pictures (``convolution.py``) for images of three axes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import ClassVar

import numpy as np

from tinygraph.graph.function import register
from tinygraph.graph.op import Sample
from tinygraph.ops.convolution.convolution import (
    Convolution,
    Convolve,
    ConvolveTransposed,
    KernelGradient,
    introduce,
)
from tinygraph.ops.samples import normal
from tinygraph.ops.windows import Padding3, Size3


@dataclasses.dataclass(frozen=True)
class _ThreeAxes(Convolution):
    """The attributes for volumes."""

    stride: Size3 = 1
    padding: Padding3 = 0
    dilation: Size3 = 1
    rank: ClassVar[int] = 3


def _samples(rng: np.random.Generator) -> Iterable[Sample]:
    yield Sample(normal(rng, (1, 2, 3, 2, 3)), normal(rng, (2, 2, 2, 1, 2)))
    yield Sample(normal(rng, (1, 2, 2, 3, 4)), normal(rng, (2, 1, 2, 2, 2)), stride=(1, 2, 3), padding="same", groups=2)
    yield Sample(
        normal(rng, (1, 1, 2, 2, 3)),
        normal(rng, (1, 1, 2, 1, 2)),
        padding=((1, 0), (0, 0), (1, 2)),
        dilation=(2, 1, 3),
    )


@register
@dataclasses.dataclass(frozen=True)
class Conv3d(Convolve, _ThreeAxes):
    """Cross-correlation of volumes ``x (N, C, D, H, W)`` with kernels ``k (F, C/groups, kd, kh, kw)``.

    The result is ``(N, F, layers, rows, columns)``. As ``conv2d``, with three axes; a pair of paddings is
    ``((before, after), ...)``. Source: PyTorch's ``conv3d``, ONNX's ``Conv``. Raises ``ShapeError`` and
    ``AttributeValueError``.

    >>> import tinygraph as tg
    >>> tg.conv3d(np.arange(8.0).reshape(1, 1, 2, 2, 2), np.ones((1, 1, 2, 2, 1)))
    array([[[[[12., 16.]]]]])
    """

    samples = staticmethod(_samples)


def _transpose_samples(rng: np.random.Generator) -> Iterable[Sample]:
    yield Sample(normal(rng, (1, 2, 2, 1, 2)), normal(rng, (2, 2, 2, 2, 1)))
    yield Sample(
        normal(rng, (1, 2, 2, 1, 2)),
        normal(rng, (2, 1, 2, 1, 2)),
        stride=(2, 1, 3),
        groups=2,
        output_padding=(1, 0, 2),
    )
    yield Sample(
        normal(rng, (1, 1, 2, 2, 2)),
        normal(rng, (1, 1, 2, 1, 2)),
        padding=((1, 0), (0, 0), (0, 2)),
        dilation=(1, 1, 2),
    )


@register
@dataclasses.dataclass(frozen=True)
class ConvTranspose3d(ConvolveTransposed, _ThreeAxes):
    """The transpose of ``conv3d``: ``x (N, F, layers, rows, columns)`` to ``(N, C, D, H, W)``.

    ``k`` is ``(F, C/groups, kd, kh, kw)``. As ``conv_transpose2d``, with three axes. Source: PyTorch's
    ``conv_transpose3d``, ONNX's ``ConvTranspose``. Raises ``ShapeError`` and ``AttributeValueError``.

    >>> import tinygraph as tg
    >>> tg.conv_transpose3d(np.array([[[[[1.0, 2.0]]]]]), np.ones((1, 1, 1, 1, 2)), stride=2)
    array([[[[[1., 1., 2., 2.]]]]])
    """

    output_padding: Size3 = 0
    output_size: tuple[int, int, int] | None = None
    samples = staticmethod(_transpose_samples)


def _kernel_samples(rng: np.random.Generator) -> Iterable[Sample]:
    yield Sample(normal(rng, (1, 2, 3, 2, 2)), normal(rng, (1, 2, 2, 1, 2)), kernel_size=(2, 2, 1))
    yield Sample(
        normal(rng, (2, 2, 2, 1, 3)), normal(rng, (2, 2, 1, 1, 1)), kernel_size=(2, 1, 2), stride=(1, 2, 3), groups=2
    )
    yield Sample(
        normal(rng, (1, 1, 2, 2, 2)),
        normal(rng, (1, 1, 2, 2, 2)),
        kernel_size=(2, 1, 2),
        padding=((1, 0), (0, 0), (0, 2)),
        dilation=(1, 1, 2),
    )


@register
@dataclasses.dataclass(frozen=True)
class Conv3dKernelGradient(KernelGradient, _ThreeAxes):
    """The gradient of ``conv3d`` for its kernel: ``x (N, C, D, H, W)`` correlated with ``dy (N, F, layers, rows, columns)``.

    The result is ``(F, C/groups, kd, kh, kw)`` with ``kernel_size = (kd, kh, kw)``. Source: as ``conv2d_kernel_gradient``, with
    three axes. Raises ``ShapeError`` and ``AttributeValueError``.

    >>> import tinygraph as tg
    >>> x = np.arange(8.0).reshape(1, 1, 2, 2, 2)
    >>> tg.conv3d_kernel_gradient(x, np.ones((1, 1, 2, 2, 1)), kernel_size=(1, 1, 2))
    array([[[[[12., 16.]]]]])
    """

    kernel_size: tuple[int, int, int] = dataclasses.field(kw_only=True)
    samples = staticmethod(_kernel_samples)


introduce(Conv3d, ConvTranspose3d, Conv3dKernelGradient)
conv3d = Conv3d.function
conv_transpose3d = ConvTranspose3d.function
conv3d_kernel_gradient = Conv3dKernelGradient.function
