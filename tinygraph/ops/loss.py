"""Losses: one number for a batch, with its mean (the 1/m of the notes) as part of the operation."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tinygraph.errors import AttributeValueError, DataError, ShapeError
from tinygraph.graph.explanation import Explanation, Terms, one, position
from tinygraph.graph.function import register
from tinygraph.graph.leaves import constant
from tinygraph.graph.op import Edge, Op, Sample, Shape, Value
from tinygraph.graph.tensor import Tensor
from tinygraph.ops.activation import Softmax, log_softmax, sigmoid, softmax
from tinygraph.ops.comparison import where
from tinygraph.ops.elementwise import identity, log, require_numeric
from tinygraph.ops.floating import floating
from tinygraph.ops.reduction import sum
from tinygraph.ops.samples import normal, unit
from tinygraph.ops.shape import SameElements, Transpose


def mean_count(x: Value, *shape: int) -> Any:
    """Return how many elements a mean divides by, called m where that is the number of samples."""
    count = math.prod(shape)
    if not isinstance(x, Tensor):
        return count
    return constant(count, name="m" if shape and count == shape[0] else None, dtype=x.dtype)


def mean_tex(x: Value, of: str) -> str:
    """Return the template of the mean over all elements of ``x`` of what ``of`` says about the element i."""
    if math.prod(x.shape) == 1:
        return of.replace("_{i}", "")
    return r"\frac{1}{{size}} \sum_{i=1}^{{size}} " + of


def of_elements(places: tuple[int, int], losses: Any, count: int, text: str) -> Explanation:
    """Return the explanation of a mean, over ``count``, of a loss of every pair of elements."""
    cells = np.arange(len(losses))
    values = np.asarray(losses, np.float64) / count
    return Explanation((Terms(tuple((place, cells) for place in places), values=values, text=text + _share(count)),))


def _share(count: int) -> str:
    return f" / {count}" if count > 1 else ""


_CROSS_ENTROPY = r"\left[{(y)}_{i} \log {(a)}_{i} + (1 - {(y)}_{i}) \log(1 - {(a)}_{i})\right]"


def check_labels(op: Op, y: Value) -> None:
    if y.size and not (y.min() >= 0 and y.max() <= 1):
        found = "NaN" if np.isnan(y).any() else f"{y.min():g} to {y.max():g}"
        raise DataError(f"{op.name}: labels must lie between 0 and 1; found {found}")


@dataclass(frozen=True)
class Loss(Op):
    """What losses on two tensors of one shape share: a scalar result, never of nothing."""

    def shape(self, prediction: Value, target: Value) -> Shape:
        if tuple(prediction.shape) != tuple(target.shape):
            self.refuse((prediction, target), "both must have one shape, so that nothing is broadcast by mistake")
        return self.of_something(prediction, target)

    def of_something(self, *inputs: Value) -> Shape:
        """Return the shape of one number, or refuse an empty batch."""
        if 0 in inputs[0].shape:
            self.refuse(inputs, "there is no mean loss of an empty batch")
        return ()

    def result_dtype(self, prediction: Value, target: Value) -> np.dtype[Any]:
        return np.result_type(prediction.dtype, 0.0)


# What may stand between a sigmoid and its loss: the same numbers in another shape.
_MOVES = (SameElements, Transpose, identity.op)


def _bce_samples(rng: np.random.Generator) -> Iterable[Sample]:
    yield Sample(unit(rng, (4, 1)), unit(rng, (4, 1)))
    yield Sample(unit(rng, (2, 3)), unit(rng, (2, 3)))


def _bce_with_logits_beside(rng: np.random.Generator) -> Iterable[Sample]:
    z = normal(rng, (2, 3))
    yield Sample(sigmoid(z), unit(rng, (2, 3)), z)


def _cross_entropy_from_logits(z: Value, y: Value) -> Value:
    return np.maximum(z, 0) - z * y + np.log1p(np.exp(-np.abs(z)))


@register
@dataclass(frozen=True)
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
    # The gradient of input 0 (a) reaches what a was made from through input 2 (z) instead.
    shortcuts: ClassVar[dict[int, int]] = {0: 2}
    samples = staticmethod(_bce_samples)
    shortcut_samples = staticmethod(_bce_with_logits_beside)
    # Labels that are 0 or 1 exactly, met exactly: 0/0 is nowhere taken.
    edges: ClassVar[tuple[Edge, ...]] = (Edge(Sample([1.0, 0.0], [1.0, 0.0]), [-0.5, 0.5], [-np.inf, np.inf]),)

    @classmethod
    def operands(cls, a: Value, y: Value, *rest: Value) -> Sequence[Value]:
        """Add the logits behind a sigmoid, in the shape of the predictions."""
        if rest or not isinstance(a, Tensor):
            return (a, y, *rest)
        made_by, moves = a, []
        while isinstance(made_by.op, _MOVES):
            moves.append(made_by.op)
            made_by = made_by.inputs[0]
        if not isinstance(made_by.op, sigmoid.op):
            return a, y
        z = made_by.inputs[0]
        for move in reversed(moves):
            z = move(z)
        return a, y, z

    def shape(self, a: Value, y: Value, z: Value | None = None) -> Shape:
        return super().shape(a, y)

    def result_dtype(self, a: Value, y: Value, z: Value | None = None) -> np.dtype[Any]:
        return super().result_dtype(a, y)

    def forward(self, a: Value, y: Value, z: Value | None = None) -> Value:
        check_labels(self, y)
        if z is not None:
            return _cross_entropy_from_logits(floating(z), floating(y)).mean(dtype=self.result_dtype(a, y))
        if not (a.min() >= 0 and a.max() <= 1) and not np.isnan(a).any():
            raise DataError(
                f"bce: predictions must lie between 0 and 1; found {a.min():g} to {a.max():g} (logits go to bce_with_logits)"
            )
        with np.errstate(divide="ignore"):
            # Where a label is 0 or 1 exactly, the other term is left out rather than multiplied by 0: 0 log 0 is 0 here.
            a, y = floating(a), floating(y)
            of_ones = y * np.log(np.where(y > 0, a, 1))
            of_zeros = (1 - y) * np.log1p(np.where(y < 1, -a, 0))
        return -(of_ones + of_zeros).mean(dtype=self.result_dtype(a, y))

    def explain(self, index: tuple[int, ...], y: Value, /, *inputs: Value) -> Explanation:
        a = inputs[0]
        losses = [self.forward(*(np.atleast_1d(x).reshape(-1)[i : i + 1] for x in inputs)) for i in range(a.size)]
        return of_elements((0, 1), losses, a.size, "−[{1} log {0} + (1 − {1}) log(1 − {0})]")

    def vjp(self, dy: Value, cost: Value, a: Value, y: Value, z: Value | None = None) -> Any:
        m = mean_count(a, *a.shape)
        of_a = lambda: dy * ((1 - y) / where(y < 1, 1 - a, 1.0) - y / where(y > 0, a, 1.0)) / m  # noqa: E731
        if z is None:
            return of_a, lambda: dy * (log(1 - a) - log(a)) / m
        return of_a, lambda: -(dy * z / m), lambda: dy * (a - y) / m

    def written_tex(self, *inputs: Value) -> str:
        return f"-{mean_tex(inputs[0], _CROSS_ENTROPY)}"


@register
@dataclass(frozen=True)
class BceWithLogits(Loss):
    """Binary cross-entropy of ``sigmoid(z)``, computed from the logits ``z``: ``bce(sigmoid(z), y)`` as one operation.

    The gradient for ``z`` is ``(sigmoid(z) - y)/m`` (notes B1). Shapes must be equal; labels lie in 0..1.

    Raises ``ShapeError``, and ``DataError`` for labels outside 0..1.

    >>> import tinygraph as tg
    >>> tg.bce_with_logits(np.array([[-1e4]]), np.array([[1.0]]))
    array(10000.)
    """

    formula: ClassVar[str] = "−mean({y} log σ({z}) + (1 − {y}) log(1 − σ({z})))"
    samples = staticmethod(
        lambda rng: [Sample(normal(rng, (4, 1)), unit(rng, (4, 1))), Sample(normal(rng, (2, 3)), unit(rng, (2, 3)))]
    )

    def forward(self, z: Value, y: Value) -> Value:
        check_labels(self, y)
        return _cross_entropy_from_logits(floating(z), floating(y)).mean(dtype=self.result_dtype(z, y))

    def vjp(self, dy: Value, cost: Value, z: Value, y: Value) -> Any:
        m = mean_count(z, *z.shape)
        return lambda: dy * (sigmoid(z) - y) / m, lambda: -(dy * z / m)

    def explain(self, index: tuple[int, ...], y: Value, /, *inputs: Value) -> Explanation:
        z, labels = inputs
        losses = _cross_entropy_from_logits(floating(z), floating(labels)).reshape(-1)
        return of_elements((0, 1), losses, z.size, "−[{1} log σ({0}) + (1 − {1}) log(1 − σ({0}))]")

    def written_tex(self, *inputs: Value) -> str:
        return f"-{mean_tex(inputs[0], _CROSS_ENTROPY)}".replace("{(a)}", r"\operatorname{sigmoid}({z})")


def _cross_entropy_samples(rng: np.random.Generator) -> Iterable[Sample]:
    yield Sample(normal(rng, (4, 3)), np.array([0, 2, 1, 2]))
    yield Sample(normal(rng, (4, 3)), unit(rng, (4, 3)))
    yield Sample(normal(rng, (2, 2, 3)), np.array([[0, 2], [1, 1]]))
    yield Sample(normal(rng, (2, 2, 3)), unit(rng, (2, 2, 3)))


@dataclass(frozen=True)
class OfClasses(Loss):
    """What losses share that have a last axis of classes: labels are class numbers, or probabilities for each class."""

    def shape(self, scores: Value, labels: Value) -> Shape:
        if not scores.shape or scores.shape[-1] < 1:
            self.refuse((scores, labels), f"{self.parameters[0]} need a last axis of classes")
        classes = labels.dtype.kind in "iu" and tuple(labels.shape) == tuple(scores.shape[:-1])
        if not classes and (tuple(labels.shape) != tuple(scores.shape) or labels.dtype.kind == "c"):
            self.refuse(
                (scores, labels),
                f"labels must be class numbers (integers) of shape {tuple(scores.shape[:-1])} "
                f"or probabilities of the shape of {self.parameters[0]}; found {labels.dtype} of shape {tuple(labels.shape)}",
            )
        return self.of_something(scores, labels)

    def mean_of_chosen(self, logs: Value, labels: Value, dtype: np.dtype[Any]) -> Any:
        """Return minus the mean of the logarithms that the labels choose."""
        if labels.ndim == logs.ndim:
            check_labels(self, labels)
            chosen = (labels * logs).sum(axis=-1)
        else:
            if labels.min() < 0 or labels.max() >= logs.shape[-1]:
                raise DataError(
                    f"{self.name}: class numbers must lie in 0..{logs.shape[-1] - 1}; "
                    f"found {labels.min()} to {labels.max()}"
                )
            chosen = np.take_along_axis(logs, labels[..., None], axis=-1)
        return -chosen.mean(dtype=dtype)


@register
@dataclass(frozen=True)
class CrossEntropy(OfClasses):
    """Cross-entropy of ``softmax(logits)`` over the last axis, averaged over the batch: a scalar.

    ``logits (..., K)``, before any softmax; ``labels`` are class numbers ``(...)`` of an integer dtype, or probabilities
    ``(..., K)`` such as one-hot rows. The gradient for one-hot rows is ``(softmax(logits) - labels)/m``.
    Source: Bishop, *Pattern Recognition and Machine Learning*, 2006, (4.108). Raises ``ShapeError``, and ``DataError`` for
    class numbers outside 0..K-1 or probabilities outside 0..1.

    >>> import tinygraph as tg
    >>> tg.cross_entropy(np.zeros((2, 4)), np.array([0, 3])).round(4)
    np.float64(1.3863)
    """

    formula: ClassVar[str] = "−mean(log softmax({logits})[{labels}])"
    samples = staticmethod(_cross_entropy_samples)

    @classmethod
    def operands(cls, logits: Value, labels: Value) -> Sequence[Value]:
        """Refuse probabilities where logits belong."""
        if isinstance(logits, Tensor) and isinstance(logits.op, Softmax):
            name = f" {logits.name!r}" if logits.name else ""
            raise ShapeError(
                f"cross_entropy takes logits and applies softmax itself; it was given the softmax{name}: "
                "pass what that was made from"
            )
        return logits, labels

    def forward(self, logits: Value, labels: Value) -> Value:
        return self.mean_of_chosen(log_softmax(floating(logits)), labels, self.result_dtype(logits, labels))

    def vjp(self, dy: Value, cost: Value, logits: Value, labels: Value) -> Any:
        m = mean_count(logits, *logits.shape[:-1])
        if len(labels.shape) < len(logits.shape):
            hits = one_hot(labels, logits.shape[-1], logits.dtype.name)
            return lambda: dy * (softmax(logits) - hits) / m, None
        total = sum(labels, axis=-1, keepdims=True)
        return lambda: dy * (softmax(logits) * total - labels) / m, lambda: -(dy * log_softmax(logits) / m)

    def explain(self, index: tuple[int, ...], y: Value, /, *inputs: Value) -> Explanation:
        logits, labels = inputs
        logs = log_softmax(floating(logits)).reshape(-1)
        if labels.ndim == logits.ndim:
            text = "−{1} · log softmax({0})"
            return of_elements((0, 1), -labels.reshape(-1) * logs, logits.size // logits.shape[-1], text)
        rows = np.arange(labels.size)
        cells = rows * logits.shape[-1] + labels.reshape(-1)
        values = -logs[cells] / labels.size
        return Explanation(
            (Terms(((0, cells), (1, rows)), values=values, text="−log softmax({0})" + _share(labels.size)),)
        )

    def written_tex(self, *inputs: Value) -> str:
        logits, labels = inputs
        one = math.prod(logits.shape[:-1]) == 1
        mean = "-" if one else r"-\frac{1}{{rows}} \sum_{i=1}^{{rows}} "
        if len(labels.shape) < len(logits.shape):
            place = "{labels}" if one else "i, {(labels)}_{i}"
            return rf"{mean}\log \operatorname{{softmax}}({{logits}})_{{{place}}}"
        place = "k" if one else "ik"
        return rf"{mean}\sum_{{k}} {{(labels)}}_{{{place}}} \log \operatorname{{softmax}}({{logits}})_{{{place}}}"


@register
@dataclass(frozen=True)
class OneHot(Op):
    """Class numbers ``(...)`` as rows ``(..., classes)`` of zeros with a one; whole numbers have no gradient.

    Source: NumPy's comparison with ``arange``. Raises ``ShapeError`` for labels that are no whole numbers and
    ``DataError`` for those out of range.

    >>> import tinygraph as tg
    >>> tg.one_hot(np.array([0, 2]), 3)
    array([[1., 0., 0.],
           [0., 0., 1.]])
    """

    classes: int
    dtype: str = "float64"
    formula: ClassVar[str] = "one-hot({labels})"
    tex: ClassVar[str] = r"\operatorname{onehot}({labels})"
    samples = staticmethod(lambda rng: [Sample(rng.integers(0, 3, (4,)), classes=3)])

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.classes < 1:
            raise AttributeValueError(f"one_hot: classes must be at least 1; found {self.classes}")
        require_numeric(self, self.dtype)

    def shape(self, labels: Value) -> Shape:
        if labels.dtype.kind not in "iu":
            self.refuse((labels,), f"labels must be whole numbers; found {labels.dtype}")
        return (*labels.shape, self.classes)

    def result_dtype(self, labels: Value) -> np.dtype[Any]:
        return np.dtype(self.dtype)

    def explain(self, index: tuple[int, ...], y: Value, /, *inputs: Value) -> Explanation:
        *row, label = index
        cell = one(0, position(row, inputs[0].shape))
        whether = "is" if y[index] else "is not"
        return Explanation(
            (Terms((), 1.0),) if y[index] else (), (cell,), f"class {label} {whether} that of the label {{0}}"
        )

    def forward(self, labels: Value) -> Value:
        if labels.size and (labels.min() < 0 or labels.max() >= self.classes):
            raise DataError(
                f"one_hot: class numbers must lie in 0..{self.classes - 1}; found {labels.min()} to {labels.max()}"
            )
        return (labels[..., None] == np.arange(self.classes)).astype(self.dtype)


@register
@dataclass(frozen=True)
class Mse(Loss):
    """Mean squared error over all elements: predictions and targets of one shape give a scalar.

    The gradient is ``2 (prediction - target)/m``.

    Source: the mean of squares; its rule is the chain rule. Raises ``ShapeError`` for shapes that differ.

    >>> import tinygraph as tg
    >>> tg.mse(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    array(2.)
    """

    formula: ClassVar[str] = "mean(({prediction} − {target})²)"
    holomorphic: ClassVar[bool] = True
    samples = staticmethod(lambda rng: [Sample(normal(rng, (3, 2)), normal(rng, (3, 2)))])

    def forward(self, prediction: Value, target: Value) -> Value:
        difference = floating(prediction) - floating(target)
        squares = difference * difference
        return squares.mean(dtype=None if squares.dtype.kind == "c" else self.result_dtype(prediction, target))

    def vjp(self, dy: Value, cost: Value, prediction: Value, target: Value) -> Any:
        slope = dy * 2 * (prediction - target) / mean_count(prediction, *prediction.shape)
        return slope, lambda: -slope

    def explain(self, index: tuple[int, ...], y: Value, /, *inputs: Value) -> Explanation:
        difference = (floating(inputs[0]) - floating(inputs[1])).reshape(-1)
        return of_elements((0, 1), difference * difference, difference.size, "({0} − {1})²")

    def written_tex(self, *inputs: Value) -> str:
        return mean_tex(inputs[0], r"\left({(prediction)}_{i} - {(target)}_{i}\right)^{2}")


bce = Bce.function
bce_with_logits = BceWithLogits.function
cross_entropy = CrossEntropy.function
one_hot = OneHot.function
mse = Mse.function
