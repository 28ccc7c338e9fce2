"""Normalizations: compositions around ``standardize``, which say along which axes.

Images are ``(N, C, ...)`` with any number of axes after the channels, or none. Scale and shift hold a number for each
channel, those of ``layer_norm`` one for each element of the axes that it goes along.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tinygraph.graph import Composite, Sample, Shape, Value, register, require
from tinygraph.ops.elementwise.arithmetic import identity
from tinygraph.ops.elementwise.exponential import sqrt
from tinygraph.ops.reduction.reduction import mean
from tinygraph.ops.samples import each, normal, positive
from tinygraph.ops.shape.shape import broadcasts_to, reshape
from tinygraph.ops.statistics.statistics import MovingSum, check_epsilon, standardize, variance
from tinygraph.ops.sums import narrowed, normalized_axis, widened


def _around_channels(x) -> tuple[int, ...]:
    """Return the axes that statistics of each channel go along: samples, and places in the image."""
    return (0, *range(2, len(x.shape)))


def _for_channels(numbers, x):
    """Return one number for each channel in a shape that broadcasts with ``x``."""
    return reshape(numbers, (-1,) + (1,) * (len(x.shape) - 2)) if len(x.shape) > 2 else numbers


class _Channelled(Composite):
    """The base of operations on images and one number for each channel."""

    holomorphic: ClassVar[bool] = True
    check_attributes = check_epsilon

    def shape(self, x, *numbers) -> Shape:
        self.check_channels((x, *numbers), x)
        return tuple(x.shape)

    def check_channels(self, inputs: Sequence[Value], x) -> None:
        """Refuse an ``x`` without channels, and numbers for another count of them."""
        if len(x.shape) < 2:
            self.refuse(inputs, "x needs samples in its first axis and channels in its second")
        wanted = (x.shape[1],)
        for numbers in inputs:
            if numbers is not x and tuple(numbers.shape) != wanted:
                self.refuse(inputs, f"x has {wanted[0]} channels (axis 1), so the others must have shape {wanted}")


def _with_channels(draw: Any, count: int, *cases: tuple[Shape, dict[str, Any]]) -> Any:
    """Samples of an image with ``count`` tensors of numbers for its channels: normal ones, and the last positive."""

    def samples(rng: np.random.Generator) -> Iterable[Sample]:
        for shape, attributes in cases:
            numbers = [normal(rng, shape[1:2]) for _ in range(count - 1)]
            yield Sample(normal(rng, shape), *numbers, draw(rng, shape[1:2]), **attributes)

    return samples


@register
class BatchNorm(_Channelled):
    """Each channel less its mean, divided by its deviation, then times ``scale`` plus ``shift``.

    ``x (N, C, ...)``; ``scale``, ``shift``, ``mean``, ``variance`` ``(C,)``. In training (``training=True``) mean and
    deviation are those of the batch, over samples and places, and ``mean`` and ``variance`` are not looked at; in
    prediction they are ``mean`` and ``variance``, which ``running_mean`` and ``running_variance`` keep. In a model the
    recording says which it is. Source: Ioffe and Szegedy, *Batch Normalization: Accelerating Deep Network Training by
    Reducing Internal Covariate Shift*, 2015. Raises ``ShapeError``, and ``AttributeValueError`` for a negative epsilon.

    >>> import tinygraph as tg
    >>> x, one, zero = np.array([[1.0], [3.0]]), np.ones(1), np.zeros(1)
    >>> tg.batch_norm(x, one, zero, zero, one, epsilon=0, training=True)
    array([[-1.],
           [ 1.]])
    >>> tg.batch_norm(x, one, zero, mean=zero, variance=4 * one, epsilon=0)
    array([[0.5],
           [1.5]])
    """

    epsilon: float = 1e-5
    training: bool = False
    formula: ClassVar[str] = "{scale} · ({x} − {mean}) / √({variance} + {epsilon}) + {shift}"
    tex: ClassVar[str] = r"\operatorname{BatchNorm}({x}; {scale}, {shift}, {mean}, {variance})"
    samples = _with_channels(
        positive,
        4,
        ((4, 3), {}),
        ((4, 3), {"training": True}),
        ((2, 3, 2, 2), {"epsilon": 0.1}),
        ((2, 3, 2, 2), {"epsilon": 0.1, "training": True}),
    )

    def forward(self, x, scale, shift, mean, variance):
        if self.training:
            y = self.named(standardize(x, _around_channels(x), self.epsilon), x, "hat")
        else:
            y = (x - _for_channels(mean, x)) / _for_channels(sqrt(variance + self.epsilon), x)
        return y * _for_channels(scale, x) + _for_channels(shift, x)


def _running_samples(rng: np.random.Generator) -> Iterable[Sample]:
    yield Sample(positive(rng, (3,)), normal(rng, (4, 3)))
    yield Sample(positive(rng, (3,)), normal(rng, (2, 3, 2, 2)), momentum=0.4)


@dataclass(frozen=True)
class _Running(_Channelled):
    """The base of running statistics: a step from the old numbers towards those of a batch."""

    momentum: float = 0.1
    samples = _running_samples

    def check_attributes(self) -> None:
        require(0 <= self.momentum <= 1, self, f"momentum must lie in 0 to 1; found {self.momentum}")

    def shape(self, old, x) -> Shape:  # type: ignore[override]
        self.check_channels((old, x), x)
        return tuple(old.shape)

    def moved(self, old, new):
        """Return the old numbers, moved by the share ``momentum`` towards the new."""
        return narrowed((1 - self.momentum) * old + self.momentum * new, old)


@register
class RunningMean(_Running):
    """The next running mean of each channel: ``(1 - momentum) old`` plus ``momentum`` times the mean of the batch.

    ``old (C,)``, ``x (N, C, ...)``. ONNX calls ``1 - momentum`` momentum. Source: Ioffe and Szegedy, 2015, section 3.1.
    Raises ``ShapeError``, and ``AttributeValueError`` for a momentum outside 0..1.

    >>> import tinygraph as tg
    >>> tg.running_mean(np.zeros(1), np.array([[1.0], [3.0]]))
    array([0.2])
    """

    formula: ClassVar[str] = "(1 − {momentum}) {old} + {momentum} mean({x})"
    tex: ClassVar[str] = r"\operatorname{runningmean}({old}, {x})"

    def forward(self, old, x):
        return self.moved(old, mean(x, axis=_around_channels(x)))


@register
class RunningVariance(_Running):
    """The next running variance of each channel, as ``running_mean``; of the batch it takes the unbiased estimate.

    With ``correction=0`` it takes the variance itself, as ONNX does. A batch of one number for each channel has no
    variance and changes nothing. Source: Ioffe and Szegedy, 2015, algorithm 2. Raises ``ShapeError``, and
    ``AttributeValueError`` for a momentum outside 0..1.

    >>> import tinygraph as tg
    >>> tg.running_variance(np.ones(1), np.array([[1.0], [3.0]]))
    array([1.1])
    """

    correction: int = 1
    formula: ClassVar[str] = "(1 − {momentum}) {old} + {momentum} variance({x})"
    tex: ClassVar[str] = r"\operatorname{runningvariance}({old}, {x})"

    def forward(self, old, x):
        axes = _around_channels(x)
        count = math.prod(x.shape[axis] for axis in axes)
        if count == 1:
            return identity(old)
        return self.moved(old, variance(widened(x), axis=axes, correction=min(self.correction, max(count - 1, 0))))


@register
class LayerNorm(Composite):
    """Each sample alone, over the axes from ``axis`` on: ``standardize``, times ``scale``, plus ``shift``.

    ``scale`` and ``shift`` broadcast with those axes. Source: Ba, Kiros and Hinton, *Layer Normalization*, 2016
    (arXiv:1607.06450). Raises ``ShapeError``, and ``AttributeValueError`` for a negative epsilon.

    >>> import tinygraph as tg
    >>> tg.layer_norm(np.array([[1.0, 3.0], [2.0, 6.0]]), np.ones(2), np.zeros(2), epsilon=0)
    array([[-1.,  1.],
           [-1.,  1.]])
    """

    axis: int = -1
    epsilon: float = 1e-5
    formula: ClassVar[str] = "{scale} · standardize({x}) + {shift}"
    tex: ClassVar[str] = r"\operatorname{LayerNorm}({x}; {scale}, {shift})"
    holomorphic: ClassVar[bool] = True

    @staticmethod
    def samples(rng: np.random.Generator) -> Iterable[Sample]:
        yield Sample(normal(rng, (3, 4)), normal(rng, (4,)), normal(rng, (4,)))
        yield Sample(normal(rng, (2, 3, 2)), normal(rng, (3, 2)), normal(rng, (2,)), axis=1, epsilon=0.1)

    check_attributes = check_epsilon

    def shape(self, x, scale, shift) -> Shape:
        start = normalized_axis(self, x, self.axis)
        over = tuple(x.shape[start:])
        if not all(broadcasts_to(tuple(numbers.shape), over) for numbers in (scale, shift)):
            why = f"scale and shift must broadcast to the axes from {self.axis} on, {over}"
            self.refuse((x, scale, shift), why)
        return tuple(x.shape)

    def forward(self, x, scale, shift):
        axes = tuple(range(normalized_axis(self, x, self.axis), len(x.shape)))
        return self.named(standardize(x, axes, self.epsilon), x, "hat") * scale + shift


@register
class GroupNorm(_Channelled):
    """Each sample alone, in ``groups`` of neighbouring channels: standardized over group and places, scaled, shifted.

    ``x (N, C, ...)``, with ``groups`` dividing C; ``scale`` and ``shift`` ``(C,)``. Source: Wu and He, *Group
    Normalization*, 2018 (arXiv:1803.08494). Raises ``ShapeError``, and ``AttributeValueError`` for a negative epsilon.

    >>> import tinygraph as tg
    >>> tg.group_norm(np.array([[1.0, 3.0, 2.0, 6.0]]), np.ones(4), np.zeros(4), groups=2, epsilon=0)
    array([[-1.,  1., -1.,  1.]])
    """

    groups: int
    epsilon: float = 1e-5
    formula: ClassVar[str] = "{scale} · standardize({x} in {groups} groups) + {shift}"
    tex: ClassVar[str] = r"\operatorname{GroupNorm}({x}; {scale}, {shift})"
    samples = _with_channels(normal, 2, ((3, 4), {"groups": 2}), ((2, 4, 3, 2), {"groups": 2, "epsilon": 0.1}))

    def shape(self, x, scale, shift) -> Shape:
        shape = super().shape(x, scale, shift)
        if self.groups < 1 or shape[1] % self.groups:
            self.refuse((x, scale, shift), f"{shape[1]} channels do not make {self.groups} groups")
        return shape

    def forward(self, x, scale, shift):
        n, c, *places = x.shape
        grouped = reshape(x, (n, self.groups, c // self.groups * math.prod(places)))
        y = self.named(reshape(standardize(grouped, -1, self.epsilon), x.shape), x, "hat")
        return y * _for_channels(scale, x) + _for_channels(shift, x)


@register
class InstanceNorm(_Channelled):
    """Each channel of each sample alone, standardized over its places, then times ``scale`` plus ``shift``.

    ``x (N, C, places...)``, with at least one axis of places; ``scale`` and ``shift`` ``(C,)``. Source: Ulyanov, Vedaldi
    and Lempitsky, *Instance Normalization*, 2016 (arXiv:1607.08022). Raises ``ShapeError``, and ``AttributeValueError``
    for a negative epsilon.

    >>> import tinygraph as tg
    >>> tg.instance_norm(np.array([[[1.0, 3.0], [2.0, 6.0]]]), np.ones(2), np.zeros(2), epsilon=0)
    array([[[-1.,  1.],
            [-1.,  1.]]])
    """

    epsilon: float = 1e-5
    formula: ClassVar[str] = "{scale} · standardize({x}) + {shift}"
    tex: ClassVar[str] = r"\operatorname{InstanceNorm}({x}; {scale}, {shift})"
    samples = _with_channels(normal, 2, ((2, 3, 4), {}), ((2, 2, 3, 2), {"epsilon": 0.1}))

    def shape(self, x, scale, shift) -> Shape:
        shape = super().shape(x, scale, shift)
        if len(shape) < 3:
            self.refuse((x, scale, shift), "x needs at least one axis after its channels")
        return shape

    def forward(self, x, scale, shift):
        y = self.named(standardize(x, tuple(range(2, len(x.shape))), self.epsilon), x, "hat")
        return y * _for_channels(scale, x) + _for_channels(shift, x)


@register
class LocalResponseNorm(_Channelled):
    """Each element divided by a power of the squares in ``size`` neighbouring channels, its own among them.

    ``x / (bias + alpha/size * sum of squares) ** beta``; of an even ``size`` one more channel lies after than before, as in
    ONNX. Source: Krizhevsky, Sutskever and Hinton, *ImageNet Classification with Deep Convolutional Neural Networks*, 2012,
    section 3.3. Raises ``ShapeError``, and ``AttributeValueError`` for a size below 1.

    >>> import tinygraph as tg
    >>> tg.local_response_norm(np.array([[3.0, 4.0]]), size=3, alpha=3.0, beta=0.5, bias=0.0)
    array([[0.6, 0.8]])
    """

    size: int
    alpha: float = 1e-4
    beta: float = 0.75
    bias: float = 1.0
    formula: ClassVar[str] = "{x} / ({bias} + {alpha}/{size} · sum of {x}² in {size} channels) ^ {beta}"
    tex: ClassVar[str] = r"\operatorname{LRN}({x})"
    samples = each(
        normal,
        ((2, 5), {"size": 3, "alpha": 0.5}),
        ((2, 4, 2, 2), {"size": 2, "alpha": 0.5, "beta": 0.5, "bias": 2.0}),
    )

    def check_attributes(self) -> None:
        require(self.size >= 1, self, f"size must be at least 1; found {self.size}")

    def forward(self, x):
        squares = MovingSum((self.size - 1) // 2, self.size // 2, axis=1)(widened(x) * widened(x))
        y = x / (self.bias + self.alpha / self.size * squares) ** self.beta
        return narrowed(y, x)
