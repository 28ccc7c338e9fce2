"""Activation functions with a kink: the relatives of ReLU, and straight lines in the place of curves."""

from typing import Any, ClassVar

import numpy as np

from tinygraph.graph import Array, Edge, Op, Sample, Shape, op, register, require
from tinygraph.ops.comparison.comparison import Clip, gate, minimum, where, where_of
from tinygraph.ops.elementwise.exponential import exp
from tinygraph.ops.samples import each, off_zero, tensors, unary
from tinygraph.ops.sums import floating, narrowed, wide


class _ExponentialUnit(Op):
    """The base of units with a line above 0 and an exponential below: ``gamma · (x or alpha · (exp(x/width) - 1))``."""

    elementwise: ClassVar[bool] = True
    alpha: float
    gamma: float = 1.0
    width: float = 1.0

    def forward(self, x):
        x = floating(x)
        return self.gamma * where_of(x > 0, x, self.alpha * np.expm1(np.minimum(x, 0) / self.width))

    def vjp(self, dy, y, x):
        if not self.alpha:
            return self.gamma * gate(dy, x > 0)
        slope = self.alpha / self.width
        return self.gamma * where(x > 0, dy, dy * slope * exp(minimum(x, 0) / self.width))


@register
class Elu(_ExponentialUnit):
    """Exponential linear unit: ``x`` above 0, ``alpha · (exp(x) - 1)`` below; the slope at 0 is ``alpha``.

    Source: Clevert, Unterthiner and Hochreiter, 2015 (arXiv:1511.07289). Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.elu(np.array([-1e4, -1.0, 2.0])).round(4)
    array([-1.    , -0.6321,  2.    ])
    """

    alpha: float = 1.0
    formula: ClassVar[str] = "{x} if {x} > 0 else {alpha} · (exp({x}) - 1)"
    tex: ClassVar[str] = r"\operatorname{ELU}({x})"
    samples = each(off_zero, ((3, 4), {"alpha": 0.7}), ((2, 3, 2), {"alpha": 0.0}), ((), {}))
    edges: ClassVar[tuple[Edge, ...]] = (
        Edge(Sample([0.0], alpha=0.5), [0.5]),
        Edge(Sample([0.0], alpha=0.0), [0.0]),
        Edge(Sample([-1e4], alpha=-0.5), [0.0]),
    )


@register
class Selu(_ExponentialUnit):
    """Exponential linear unit times ``gamma``, with constants that keep mean 0 and variance 1 from layer to layer.

    The slope at 0 is ``gamma · alpha``.

    Source: Klambauer, Unterthiner, Mayr and Hochreiter, 2017 (arXiv:1706.02515). Raises ``DTypeError`` for anything
    but numbers.

    >>> import tinygraph as tg
    >>> tg.selu(np.array([-1e4, -1.0, 2.0])).round(4)
    array([-1.7581, -1.1113,  2.1014])
    """

    alpha: float = 1.6732632423543772
    gamma: float = 1.0507009873554805
    formula: ClassVar[str] = "{gamma} · ({x} if {x} > 0 else {alpha} · (exp({x}) - 1))"
    tex: ClassVar[str] = r"\operatorname{SELU}({x})"
    samples = each(off_zero, ((3, 4), {}), ((2, 3, 2), {"alpha": 0.5, "gamma": 3.0}), ((3,), {"alpha": 0.0}))
    edges: ClassVar[tuple[Edge, ...]] = (Edge(Sample([0.0], alpha=0.5, gamma=3.0), [1.5]),)


@register
class Celu(_ExponentialUnit):
    """Exponential linear unit with equal width and depth, so that its slope at 0 is 1 for every ``alpha``.

    Source: Barron, 2017 (arXiv:1704.07483). Raises ``AttributeValueError`` for an ``alpha`` that is not positive.

    >>> import tinygraph as tg
    >>> tg.celu(np.array([-1e4, -1.0, 2.0]), alpha=2.0).round(4)
    array([-2.    , -0.7869,  2.    ])
    """

    alpha: float = 1.0
    formula: ClassVar[str] = "{x} if {x} > 0 else {alpha} · (exp({x} / {alpha}) - 1)"
    tex: ClassVar[str] = r"\operatorname{CELU}({x})"
    samples = unary(off_zero, alpha=0.7)

    def check_attributes(self) -> None:
        require(self.alpha > 0, self, f"alpha must be positive; found {self.alpha}")

    @property
    def width(self) -> float:  # type: ignore[override]
        return self.alpha


@op(
    formula="{x} if {x} > 0 else {slope} · {x}",
    tex=r"\operatorname{PReLU}({x}, {slope})",
    elementwise=True,
    samples=tensors((off_zero, off_zero), ((3, 4), (3, 4)), ((2, 3, 2, 2), (3, 1, 1)), ((3, 4), ())),
    edges=[Edge(Sample([0.0], [0.25]), [0.25], [0.0])],
)
def prelu(x, slope):
    """ReLU with a ``slope`` at and below 0 that is learnt: a tensor that broadcasts, as ``(C, 1, 1)`` for images does.

    Source: He, Zhang, Ren and Sun, 2015 (arXiv:1502.01852). Raises ``ShapeError`` for shapes that do not broadcast.

    >>> import tinygraph as tg
    >>> tg.prelu(np.array([[-2.0, 3.0], [-4.0, 5.0]]), np.array([[0.1], [0.5]]))
    array([[-0.2,  3. ],
           [-2. ,  5. ]])
    """
    return where_of(x > 0, x, slope * x)


@prelu.vjp
def prelu_vjp(dy, y, x, slope) -> Any:
    return where(x > 0, dy, dy * slope), where(x > 0, 0.0, dy * x)


@op(
    formula="{x} if {x} > {alpha} else 0",
    tex=r"\operatorname{ThresholdedReLU}({x})",
    elementwise=True,
    samples=unary(off_zero, alpha=0.1),
    edges=[Edge(Sample([0.5, 1.0], alpha=0.5), [0.0, 1.0]), Edge(Sample([-1.0], alpha=-0.5), [0.0])],
)
def thresholded_relu(x, *, alpha: float = 1.0):
    """``x`` above ``alpha`` and 0 elsewhere; the slope at the jump is 0.

    Source: Konda, Memisevic and Krueger, 2014 (arXiv:1402.3337). Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.thresholded_relu(np.array([0.5, 2.0]))
    array([0., 2.])
    """
    # Asked this way round, NaN stays NaN.
    return where_of(x <= alpha, np.zeros((), np.result_type(x, 0)), x)


@thresholded_relu.vjp
def thresholded_relu_vjp(dy, y, x, *, alpha: float):
    return gate(dy, x > alpha)


def _off_ends(rng: np.random.Generator, shape: Shape) -> Array:
    """Numbers of either sign, some of them beyond 6, none near 0, 1, 2.5, 3 or 6."""
    return rng.choice([-4.0, -1.6, -0.4, 0.6, 1.6, 4.0, 7.0], shape) + rng.uniform(-0.3, 0.3, shape)


@op(
    formula="min(max({x}, 0), 6)",
    tex=r"\operatorname{ReLU6}({x})",
    elementwise=True,
    samples=unary(_off_ends),
    edges=[Edge(Sample([0.0, 6.0]), [0.0, 0.0])],
)
def relu6(x):
    """ReLU that ends at 6; its slope is 0 at both ends, as that of ``relu`` is at 0.

    Source: Krizhevsky, *Convolutional Deep Belief Networks on CIFAR-10*, 2010. Raises ``DTypeError`` for anything but
    numbers.

    >>> import tinygraph as tg
    >>> tg.relu6(np.array([-1.0, 2.0, 8.0]))
    array([0., 2., 6.])
    """
    return np.clip(x, 0, 6)


@relu6.vjp
def relu6_vjp(dy, y, x):
    return gate(gate(dy, x > 0), x < 6)


@register
class HardTanh(Clip):
    """``x`` between ``low`` and ``high``, and these beyond: ``clip`` with the ends of ``tanh``. Its slope is 1 at the ends.

    Source: Collobert, *Large Scale Machine Learning*, 2004. Raises ``AttributeValueError`` for ends in the wrong order.

    >>> import tinygraph as tg
    >>> tg.hard_tanh(np.array([-2.0, 0.5, 3.0]))
    array([-1. ,  0.5,  1. ])
    """

    low: float | None = -1.0
    high: float | None = 1.0
    tex: ClassVar[str] = r"\operatorname{hardtanh}({x})"
    samples = unary(_off_ends)


@op(
    formula="min(max({alpha} · {x} + {beta}, 0), 1)",
    tex=r"\operatorname{hardsigmoid}({x})",
    elementwise=True,
    samples=unary(_off_ends),
    edges=[Edge(Sample([-1.0, 0.0, 1.0], alpha=0.5), [0.0, 0.5, 0.0])],
)
def hard_sigmoid(x, *, alpha: float = 0.2, beta: float = 0.5):
    """A line of slope ``alpha`` from 0 to 1 in the place of the sigmoid's curve; its slope is 0 at both ends.

    PyTorch's has the slope 1/6. Source: Courbariaux, Bengio and David, 2015 (arXiv:1511.00363); ONNX's
    ``HardSigmoid`` for the defaults. Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.hard_sigmoid(np.array([-3.0, 0.0, 1.0, 3.0]))
    array([0. , 0.5, 0.7, 1. ])
    """
    return np.clip(alpha * floating(x) + beta, 0, 1)


@hard_sigmoid.vjp
def hard_sigmoid_vjp(dy, y, x, *, alpha: float):
    return gate(gate(dy * alpha, y > 0), y < 1)


@op(
    formula="{x} · min(max({x} / 6 + 1/2, 0), 1)",
    tex=r"\operatorname{hardswish}({x})",
    elementwise=True,
    samples=unary(_off_ends),
    edges=[Edge(Sample([-3.0, 0.0, 3.0]), [0.0, 0.5, 1.0])],
)
def hard_swish(x):
    """``x`` times a hard sigmoid of slope 1/6; its slope at the ends of that is 0 and 1.

    Source: Howard et al., *Searching for MobileNetV3*, 2019 (arXiv:1905.02244). Raises ``DTypeError`` for anything but
    numbers.

    >>> import tinygraph as tg
    >>> tg.hard_swish(np.array([-4.0, 3.0, 1.5]))
    array([-0.   ,  3.   ,  1.125])
    """
    number = wide(x)
    return narrowed(number * np.clip(number / 6 + 0.5, 0, 1), floating(x))


@hard_swish.vjp
def hard_swish_vjp(dy, y, x):
    share = hard_sigmoid(x, alpha=1 / 6)
    return gate(dy * (share + gate(x / 6, share < 1)), share > 0)
