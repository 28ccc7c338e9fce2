"""Binary cross-entropy, of probabilities and of logits."""

from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

from tinygraph.errors import DataError
from tinygraph.graph import Decision, Edge, Explanation, Sample, SampleInputs, Tensor, Value, apply, extent, register
from tinygraph.ops.activation.activation import sigmoid
from tinygraph.ops.comparison.comparison import where
from tinygraph.ops.elementwise.arithmetic import identity
from tinygraph.ops.elementwise.exponential import log
from tinygraph.ops.loss.loss import Loss, mean_count, of_elements, require_probabilities
from tinygraph.ops.samples import normal, tensors, unit
from tinygraph.ops.shape.shape import SameElements, Transpose
from tinygraph.ops.sums import average, wide

_CROSS_ENTROPY = r"-\left[{(y)}_{i} \log {(a)}_{i} + (1 - {(y)}_{i}) \log(1 - {(a)}_{i})\right]"


# What may stand between a sigmoid and its loss: the same numbers in another shape.
_MOVES = (SameElements, Transpose, identity.op)


def _samples_with_logits(rng: np.random.Generator) -> Iterable[Sample]:
    z = normal(rng, (2, 3))
    yield Sample(sigmoid(z), unit(rng, (2, 3)), z)


def _logits_of(a) -> list[Value]:
    """Return the ``z`` of which ``a`` is the sigmoid, in the shape of ``a``, or nothing."""
    moves = []
    while isinstance(a, Tensor) and isinstance(a.op, _MOVES):
        moves.append(a.op)
        a = a.inputs[0]
    if not isinstance(a, Tensor) or not isinstance(a.op, sigmoid.op):
        return []
    z = a.inputs[0]
    for move in reversed(moves):
        z = move(z)
    return [z]


def _cross_entropy_from_logits(z, y):
    return np.maximum(z, 0) - z * y + np.log1p(np.exp(-np.abs(z)))


@register
class Bce(Loss):
    """Binary cross-entropy, the notes' cost (F10; for one sample F11): predictions ``a`` and labels ``y`` in 0..1, one shape.

    The mean over all elements of ``-(y log a + (1-y) log(1-a))``, a scalar. Where ``a`` is the sigmoid of some ``z``,
    reshaped or not, the loss takes ``z`` as a third operand: the value is then computed from ``z``, and the gradient for
    ``z`` is the notes' (B1, A1, E5) ``(a - y)/m`` directly, both exact and finite for every ``z``, where the two rules
    apart would meet 0/0.
    Raises ``ShapeError``, and ``DataError`` for labels or predictions outside 0..1.

    >>> import tinygraph as tg
    >>> tg.bce(np.array([[0.5]]), np.array([[1.0]])).round(4)
    np.float64(0.6931)
    >>> z = tg.tensor([[1e4], [-1e4]], name="Z3")
    >>> tg.bce(tg.sigmoid(z), [[0.0], [0.0]]).backward()
    >>> z.grad.value
    array([[0.5],
           [0. ]])
    """

    formula: ClassVar[str] = "−mean({y} log {a} + (1 − {y}) log(1 − {a}))"
    tex: ClassVar[str] = _CROSS_ENTROPY
    # The gradient of input 0 (a) reaches what a was made from through input 2 (z) instead.
    shortcuts: ClassVar[dict[int, int]] = {0: 2}
    samples = tensors((unit, unit), ((4, 1), (4, 1)), ((2, 3), (2, 3)))
    shortcut_samples = _samples_with_logits
    decision: ClassVar[Decision] = Decision(thresholds={0: 0.5, 2: 0.0})
    # Labels that are 0 or 1 exactly, met exactly: 0/0 is nowhere taken.
    edges: ClassVar[tuple[Edge, ...]] = (Edge(Sample([1.0, 0.0], [1.0, 0.0]), [-0.5, 0.5], [-np.inf, np.inf]),)

    def compose(self, *inputs) -> Any:
        """Record the loss, with the logits after the predictions where those are a sigmoid, in their shape."""
        a, y, *z = inputs
        return apply(self, (a, y, *(z or _logits_of(a))))

    def check(self, a, y, z: Value | None = None) -> None:
        require_probabilities(self, y)
        if z is None and np.any((a < 0) | (a > 1)):
            raise DataError(
                f"bce: predictions must lie between 0 and 1; found {extent(a)} (for logits there is bce_with_logits)"
            )

    def sample_inputs(self, rng: np.random.Generator, a, y, z: Value | None = None) -> SampleInputs:
        return unit(rng, a.shape), rng.integers(0, 2, y.shape), None

    def forward(self, a, y, z: Value | None = None):
        if z is not None:
            return average(_cross_entropy_from_logits(wide(z), wide(y)))
        with np.errstate(divide="ignore"):
            # Where a label is 0 or 1 exactly, the other term is left out rather than multiplied by 0: 0 log 0 is 0 here.
            a, y = wide(a), wide(y)
            of_ones = y * np.log(np.where(y > 0, a, 1))
            of_zeros = (1 - y) * np.log1p(np.where(y < 1, -a, 0))
        return -average(of_ones + of_zeros)

    def explain(self, index: tuple[int, ...], y, /, *inputs) -> Explanation:
        a = inputs[0]
        losses = [self.forward(*(np.atleast_1d(x).reshape(-1)[i : i + 1] for x in inputs)) for i in range(a.size)]
        return of_elements(losses, a.size, "−[{1} log {0} + (1 − {1}) log(1 − {0})]")

    def vjp(self, dy, cost, a, y, z: Value | None = None) -> Any:
        m = mean_count(a, *a.shape)
        of_a = lambda: dy * ((1 - y) / where(y < 1, 1 - a, 1.0) - y / where(y > 0, a, 1.0)) / m  # noqa: E731
        if z is None:
            return of_a, lambda: dy * (log(1 - a) - log(a)) / m
        return of_a, lambda: -(dy * z / m), lambda: dy * (a - y) / m


@register
class BceWithLogits(Loss):
    """Binary cross-entropy of ``sigmoid(z)``, computed from the logits ``z``: ``bce(sigmoid(z), y)`` as one operation.

    The gradient for ``z`` is ``(sigmoid(z) - y)/m`` (notes B1). Shapes must be equal; labels lie in 0..1.

    Raises ``ShapeError``, and ``DataError`` for labels outside 0..1.

    >>> import tinygraph as tg
    >>> tg.bce_with_logits(np.array([[-1e4]]), np.array([[1.0]]))
    array(10000.)
    """

    formula: ClassVar[str] = "−mean({y} log σ({z}) + (1 − {y}) log(1 − σ({z})))"
    tex: ClassVar[str] = _CROSS_ENTROPY.replace("{(a)}", r"\operatorname{sigmoid}({z})")
    decision: ClassVar[Decision] = Decision(thresholds={0: 0.0})
    samples = tensors((normal, unit), ((4, 1), (4, 1)), ((2, 3), (2, 3)))

    def check(self, z, y) -> None:
        require_probabilities(self, y)

    def sample_inputs(self, rng: np.random.Generator, z, y) -> SampleInputs:
        return None, rng.integers(0, 2, y.shape)

    def forward(self, z, y):
        return average(_cross_entropy_from_logits(wide(z), wide(y)))

    def vjp(self, dy, cost, z, y) -> Any:
        m = mean_count(z, *z.shape)
        return lambda: dy * (sigmoid(z) - y) / m, lambda: -(dy * z / m)

    def explain(self, index: tuple[int, ...], y, /, *inputs) -> Explanation:
        z, labels = inputs
        losses = _cross_entropy_from_logits(wide(z), wide(labels)).reshape(-1)
        return of_elements(losses, z.size, "−[{1} log σ({0}) + (1 − {1}) log(1 − σ({0}))]")
