"""Convolution of lines: that of pictures (``convolution.py``) for images of one axis."""

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
from tinygraph.ops.windows import Padding1, Size1


@dataclasses.dataclass(frozen=True)
class _OneAxis(Convolution):
    """The attributes for lines."""

    stride: Size1 = 1
    padding: Padding1 = 0
    dilation: Size1 = 1
    rank: ClassVar[int] = 1


def _samples(rng: np.random.Generator) -> Iterable[Sample]:
    yield Sample(normal(rng, (2, 2, 6)), normal(rng, (3, 2, 3)))
    yield Sample(normal(rng, (1, 4, 7)), normal(rng, (4, 2, 2)), stride=2, padding="same", dilation=2, groups=2)
    yield Sample(normal(rng, (1, 1, 5)), normal(rng, (2, 1, 3)), stride=2, padding=((2, 1),))


@register
@dataclasses.dataclass(frozen=True)
class Conv1d(Convolve, _OneAxis):
    """Cross-correlation of lines ``x (N, C, L)`` with kernels ``k (F, C/groups, kl)``: ``(N, F, windows)``.

    As ``conv2d``, with one axis; a pair of paddings is ``((before, after),)``. Source: PyTorch's ``conv1d``,
    ONNX's ``Conv``. Raises ``ShapeError`` and ``AttributeValueError``.

    >>> import tinygraph as tg
    >>> tg.conv1d(np.array([[[1.0, 2.0, 4.0]]]), np.array([[[1.0, -1.0]]]))
    array([[[-1., -2.]]])
    """

    samples = staticmethod(_samples)


def _transpose_samples(rng: np.random.Generator) -> Iterable[Sample]:
    yield Sample(normal(rng, (2, 3, 4)), normal(rng, (3, 2, 3)))
    yield Sample(normal(rng, (1, 4, 3)), normal(rng, (4, 1, 2)), stride=3, padding=1, groups=2, output_padding=2)
    yield Sample(normal(rng, (1, 1, 4)), normal(rng, (1, 2, 3)), padding=((2, 1),), dilation=2)


@register
@dataclasses.dataclass(frozen=True)
class ConvTranspose1d(ConvolveTransposed, _OneAxis):
    """The transpose of ``conv1d``: ``x (N, F, windows)``, ``k (F, C/groups, kl)`` give ``(N, C, L)``.

    As ``conv_transpose2d``, with one axis. Source: PyTorch's ``conv_transpose1d``, ONNX's ``ConvTranspose``. Raises
    ``ShapeError`` and ``AttributeValueError``.

    >>> import tinygraph as tg
    >>> tg.conv_transpose1d(np.array([[[1.0, 2.0]]]), np.ones((1, 1, 2)), stride=2)
    array([[[1., 1., 2., 2.]]])
    """

    output_padding: Size1 = 0
    output_size: tuple[int] | None = None
    samples = staticmethod(_transpose_samples)


def _kernel_samples(rng: np.random.Generator) -> Iterable[Sample]:
    yield Sample(normal(rng, (2, 2, 5)), normal(rng, (2, 3, 3)), kernel_size=(3,))
    yield Sample(normal(rng, (1, 4, 5)), normal(rng, (1, 2, 3)), kernel_size=(3,), padding=1, dilation=2, groups=2)
    yield Sample(normal(rng, (1, 1, 5)), normal(rng, (1, 1, 3)), kernel_size=(3,), stride=2, padding=((2, 1),))


@register
@dataclasses.dataclass(frozen=True)
class Conv1dKernelGradient(KernelGradient, _OneAxis):
    """The gradient of ``conv1d`` for its kernel: ``x (N, C, L)`` correlated with ``dy (N, F, windows)``.

    The result is ``(F, C/groups, kl)`` with ``kernel_size = (kl,)``. Source: as ``conv2d_kernel_gradient``, with
    one axis. Raises ``ShapeError`` and ``AttributeValueError``.

    >>> import tinygraph as tg
    >>> tg.conv1d_kernel_gradient(np.array([[[1.0, 2.0, 4.0]]]), np.ones((1, 1, 2)), kernel_size=(2,))
    array([[[3., 6.]]])
    """

    kernel_size: tuple[int] = dataclasses.field(kw_only=True)
    samples = staticmethod(_kernel_samples)


introduce(Conv1d, ConvTranspose1d, Conv1dKernelGradient)
conv1d = Conv1d.function
conv_transpose1d = ConvTranspose1d.function
conv1d_kernel_gradient = Conv1dKernelGradient.function
