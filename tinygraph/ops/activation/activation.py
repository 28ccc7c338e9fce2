"""Activation functions."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from tinygraph.graph import Edge, Explanation, Op, Sample, Terms, op, register
from tinygraph.graph.explanation import element_at, line
from tinygraph.ops.comparison.comparison import clip, gate, where, where_of
from tinygraph.ops.elementwise.arithmetic import abs
from tinygraph.ops.elementwise.exponential import exp, normal_cdf, normal_pdf, one_more, smooth
from tinygraph.ops.reduction.reduction import sum
from tinygraph.ops.samples import each, normal, off_zero, unary
from tinygraph.ops.sums import AlongAxes, floating, floating_dtype, narrowed, total, wide


@op(
    formula="max(0, {x})",
    tex=r"\operatorname{ReLU}({x})",
    elementwise=True,
    samples=unary(off_zero),
    edges=[Edge(Sample([0.0]), [0.0])],
)
def relu(x):
    """Rectified linear unit (notes F2, F5, E3).

    Its slope (notes B7, B12, W2) is 1 above 0 and 0 elsewhere, at 0 itself too (notes E4).

    Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.relu(np.array([[1.02, -0.25], [-3.45, 2.2]]))
    array([[1.02, 0.  ],
           [0.  , 2.2 ]])
    """
    return np.maximum(x, 0)


@relu.vjp
def relu_vjp(dy, y, x):
    return gate(dy, x > 0)


@relu.explain
def relu_explain(index: tuple[int, ...], y, x) -> Explanation:
    cell = element_at(0, index, x)
    if x[index] <= 0:
        return Explanation(reads=(cell,), reason="closed: {0} ≤ 0")
    # NaN is neither above nor below 0; relu passes it on.
    return Explanation((Terms((cell,)),), (cell,), "passed on: {0}" if np.isnan(x[index]) else "open: {0} > 0")


@op(
    formula="{x} if {x} > 0 else {slope} · {x}",
    tex=r"\operatorname{LeakyReLU}({x})",
    elementwise=True,
    samples=lambda rng: [*unary(off_zero, slope=0.2)(rng), Sample(off_zero(rng, (3, 4)), slope=0.0)],
    edges=[
        Edge(Sample([0.0], slope=0.25), [0.25]),
        Edge(Sample([-1.0], slope=-0.5), [-0.5]),
        Edge(Sample([0.0], slope=0.0), [0.0]),
    ],
)
def leaky_relu(x, *, slope: float = 0.01):
    """ReLU with a small ``slope`` at and below 0. Source: Maas, Hannun and Ng, 2013.

    Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.leaky_relu(np.array([-2.0, 3.0]), slope=0.1)
    array([-0.2,  3. ])
    """
    return where_of(x > 0, x, slope * x)


@leaky_relu.vjp
def leaky_relu_vjp(dy, y, x, *, slope: float):
    return where(x > 0, dy, slope * dy) if slope else gate(dy, x > 0)


@op(formula="σ({x})", tex=r"\operatorname{sigmoid}({x})", elementwise=True, holomorphic=True, samples=unary())
def sigmoid(x):
    """Logistic function 1/(1 + exp(-x)) (notes F9), computed without overflow for any ``x``.

    Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.sigmoid(np.array([-1e4, 0.0, 1e4]))
    array([0. , 0.5, 1. ])
    """
    x = floating(x)
    negative = x.real < 0
    small = np.exp(-where_of(negative, -x, x))
    return where_of(negative, small, np.ones((), small.dtype)) / (1 + small)


@sigmoid.vjp
def sigmoid_vjp(dy, y, x):
    return dy * y * (1 - y)


@smooth(np.tanh, tex=r"\tanh({x})")
def tanh(dy, y, x):
    """Hyperbolic tangent.

    Source: DLMF 4.28 and 4.34. Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.tanh(np.array([0.0, 100.0]))
    array([0., 1.])
    """
    return dy * (1 - y * y)


@op(formula="log(1 + exp({x}))", tex=r"\operatorname{softplus}({x})", elementwise=True, samples=unary())
def softplus(x):
    """A smooth ReLU, computed without overflow for any ``x``; its slope is the sigmoid.

    Source: Dugas, Bengio, Belisle, Nadeau and Garcia, 2001. Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.softplus(np.array([-1e4, 0.0, 1e4])).round(4)
    array([0.000e+00, 6.931e-01, 1.000e+04])
    """
    number = wide(x)
    return narrowed(one_more(-np.abs(number)) + np.maximum(number, 0), floating(x))


@softplus.vjp
def softplus_vjp(dy, y, x):
    return dy * sigmoid(x)


@op(formula="-log(1 + exp(-{x}))", tex=r"\log \operatorname{sigmoid}({x})", elementwise=True, samples=unary())
def log_sigmoid(x):
    """Logarithm of the sigmoid, finite wherever ``x`` is.

    Source: DLMF 4.2 (logarithms). Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.log_sigmoid(np.array([-1e4, 0.0])).round(4)
    array([-1.000e+04, -6.931e-01])
    """
    number = wide(x)
    return narrowed(np.minimum(number, 0) - one_more(-np.abs(number)), floating(x))


@log_sigmoid.vjp
def log_sigmoid_vjp(dy, y, x):
    return dy * sigmoid(-x)


@op(formula="{x} / (1 + |{x}|)", tex=r"\frac{{x}}{1 + \left|{x}\right|}", elementwise=True, samples=unary(off_zero))
def softsign(x):
    """``x`` over one more than its size: between -1 and 1, as tanh is, and slower to get there.

    Source: Bergstra, Desjardins, Lamblin and Bengio, *Quadratic polynomials learn better image features*, 2009. Raises
    ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.softsign(np.array([-1.0, 0.0, 3.0]))
    array([-0.5 ,  0.  ,  0.75])
    """
    x = floating(x)
    return x / (1 + np.abs(x))


@softsign.vjp
def softsign_vjp(dy, y, x):
    size = 1 + abs(x)
    return dy / size / size


@op(formula="{x} · σ({x})", tex=r"\operatorname{SiLU}({x})", elementwise=True, holomorphic=True, samples=unary())
def silu(x):
    """``x`` times its sigmoid, known as swish too.

    Source: Elfwing, Uchibe and Doya, 2017 (arXiv:1702.03118). Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.silu(np.array([-1e4, 0.0, 1.0])).round(4)
    array([-0.    ,  0.    ,  0.7311])
    """
    number = wide(x)
    return narrowed(number * sigmoid(number), floating(x))


@silu.vjp
def silu_vjp(dy, y, x):
    share = sigmoid(x)
    return dy * (share + y * (1 - share))


@op(formula="{x} · tanh(log(1 + exp({x})))", tex=r"\operatorname{Mish}({x})", elementwise=True, samples=unary())
def mish(x):
    """``x`` times the tanh of its softplus.

    Source: Misra, 2019 (arXiv:1908.08681). Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.mish(np.array([-1e4, 0.0, 1.0])).round(4)
    array([-0.    ,  0.    ,  0.8651])
    """
    number = wide(x)
    return narrowed(number * np.tanh(softplus(number)), floating(x))


@mish.vjp
def mish_vjp(dy, y, x):
    share = tanh(softplus(x))
    return dy * (share + x * (1 - share * share) * sigmoid(x))


# Beyond this the chance is 0 or 1 in any floating point type, and a cube could overflow.
_FAR = 30.0


@register
class Gelu(Op):
    """Gaussian error linear unit: ``x`` times the chance that a standard normal number is below ``x``.

    ``approximate="tanh"`` is the authors' quicker formula. Source: Hendrycks and Gimpel, 2016 (arXiv:1606.08415).

    Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.gelu(np.array([-1.0, 0.0, 1.0])).round(4)
    array([-0.1587,  0.    ,  0.8413])
    """

    approximate: Literal["none", "tanh"] = "none"
    formula: ClassVar[str] = "{x} · Φ({x})"
    tex: ClassVar[str] = r"\operatorname{GELU}({x})"
    elementwise: ClassVar[bool] = True
    samples = each(normal, ((3, 4), {}), ((3, 4), {"approximate": "tanh"}))

    def forward(self, x):
        number = wide(x)
        return narrowed(number * self._chance(number), floating(x))

    def vjp(self, dy, y, x):
        if self.approximate == "none":
            return dy * (normal_cdf(x) + x * normal_pdf(x))
        near, chance = clip(x, -_FAR, _FAR), self._chance(x)
        slope = 2 * math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * near * near)
        return dy * (chance + x * chance * self._chance(-x) * slope)

    def _chance(self, x):
        if self.approximate == "none":
            return normal_cdf(x)
        near = clip(x, -_FAR, _FAR)
        # Half of 1 + tanh(u) is sigmoid(2u), which keeps its digits where tanh(u) is close to -1.
        return sigmoid(2 * math.sqrt(2 / math.pi) * (near + 0.044715 * near * near * near))


@dataclass(frozen=True)
class _Share(AlongAxes):
    """The base of softmax and its logarithm: an axis along which the result adds up to one."""

    axis: int = -1
    samples = each(normal, ((3, 4), {}), ((2, 3, 2), {"axis": 1}))

    def explain(self, index: tuple[int, ...], y, /, *inputs) -> Explanation:
        (x,), axes = inputs, self.combined_axes(inputs[0])
        reads = (element_at(0, index, x), (0, line(index, x, axes)))
        return Explanation(reads=reads, formula=f"{self.formula.format(x='{0}')} among {x.shape[axes[0]]}")

    result_dtype = floating_dtype

    def shifted(self, x):
        """Return ``x`` less its largest element along the axis, which keeps exp from overflowing."""
        return x - x.max(axis=self.axis, keepdims=True) if x.size else x + 0.0


@register
class Softmax(_Share):
    """exp(x) divided by its sum along ``axis``: positive numbers that add up to 1, without overflow for any ``x``.

    Source: Blanchard, Higham and Higham, *Accurately computing the log-sum-exp and softmax functions*, 2021. Raises
    ``ShapeError`` and ``AttributeValueError`` for what does not fit the shape.

    >>> import tinygraph as tg
    >>> tg.softmax(np.array([[1e4, 1e4]]))
    array([[0.5, 0.5]])
    """

    formula: ClassVar[str] = "softmax({x})"
    tex: ClassVar[str] = r"\operatorname{softmax}({x})"

    def forward(self, x):
        powers = np.exp(self.shifted(wide(x)))
        return powers / total(powers, axis=self.axis, keepdims=True)

    def vjp(self, dy, y, x):
        return y * (dy - sum(dy * y, axis=self.axis, keepdims=True))


@register
class LogSoftmax(_Share):
    """Logarithm of softmax along ``axis``, finite wherever ``x`` is.

    Source: Blanchard, Higham and Higham, *Accurately computing the log-sum-exp and softmax functions*, 2021. Raises
    ``ShapeError`` and ``AttributeValueError`` for what does not fit the shape.

    >>> import tinygraph as tg
    >>> tg.log_softmax(np.array([[0.0, 1e4]]))
    array([[-10000.,      0.]])
    """

    formula: ClassVar[str] = "log softmax({x})"
    tex: ClassVar[str] = r"\log \operatorname{softmax}({x})"

    def forward(self, x):
        shifted = self.shifted(wide(x))
        return shifted - np.log(total(np.exp(shifted), axis=self.axis, keepdims=True))

    def vjp(self, dy, y, x):
        return dy - exp(y) * sum(dy, axis=self.axis, keepdims=True)


softmax = Softmax.function
log_softmax = LogSoftmax.function
