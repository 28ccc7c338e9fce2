"""Any number of tensors, element by element: their sum, maximum, minimum and mean."""

import functools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tinygraph.graph.explanation import Explanation, weighted
from tinygraph.graph.function import op
from tinygraph.graph.op import Value
from tinygraph.graph.record import Edge, Sample
from tinygraph.ops.comparison.comparison import where
from tinygraph.ops.floating import floating, wide, widened
from tinygraph.ops.samples import distinct, normal, unit


def _add_all_samples(rng: np.random.Generator) -> Iterable[Sample]:
    yield Sample(*[unit(rng, (2, 3)) for _ in range(4)])


@op(formula="the sum of {x}", symbol="+", elementwise=True, holomorphic=True, samples=_add_all_samples)
def add_all(*x):
    """Sum of any number of tensors of one shape: how a tensor's gradients over several uses are put together.

    Source: the sum rule, over the uses of a tensor. Raises ``ShapeError`` for shapes that do not broadcast.

    >>> import tinygraph as tg
    >>> tg.add_all([np.ones(2), np.ones(2), np.ones(2)])
    array([3., 3.])
    """
    if len(x) < 3:
        return x[0] + x[1] if len(x) > 1 else x[0]
    return _of_dtype(functools.reduce(np.add, map(widened, x)), x)


def _of_dtype(y, x: Sequence[Value]):
    """Return what was computed from widened tensors in the dtype that these have together."""
    return y.astype(np.float16) if all(part.dtype == np.float16 for part in x) else y


@add_all.vjp
def add_all_vjp(dy, y, *x) -> Any:
    return (dy,) * len(x)


@add_all.explain
def add_all_explain(index: tuple[int, ...], y, *x) -> Explanation:
    return weighted(index, x, (1,) * len(x))


def _apart(rng: np.random.Generator) -> Iterable[Sample]:
    yield Sample(*distinct(rng, (3, 3, 4)))
    first, second, third = distinct(rng, (3, 2, 3))
    yield Sample(first, second[:1], third[:, :1])
    yield Sample(first)


def first_chosen(dy, y, *x) -> Any:
    """The rule of a choice among several tensors: the gradient goes to the first that is equal to the result."""
    gradients = []
    for part in x:
        gradients.append(where(part == y, dy, 0.0))
        dy = where(part == y, 0.0, dy)
    return tuple(gradients)


@op(
    formula="the maximum of {x}",
    tex=r"\max({x})",
    elementwise=True,
    samples=_apart,
    edges=[Edge(Sample([1.0, 0.0], [1.0, 2.0], [1.0, 2.0]), [1.0, 0.0], [0.0, 1.0], [0.0, 0.0])],
)
def maximum_all(*x):
    """The largest of any number of tensors, element by element; NaN where one is. A tie sends its gradient to the first.

    Source: NumPy's ``maximum``. Raises ``ShapeError`` for shapes that do not broadcast.

    >>> import tinygraph as tg
    >>> tg.maximum_all([np.array([1.0, 5.0]), np.array([2.0, 4.0]), 3.0])
    array([3., 5.])
    """
    return functools.reduce(np.maximum, x)


@op(
    formula="the minimum of {x}",
    tex=r"\min({x})",
    elementwise=True,
    samples=_apart,
    edges=[Edge(Sample([1.0, 3.0], [1.0, 2.0], [1.0, 2.0]), [1.0, 0.0], [0.0, 1.0], [0.0, 0.0])],
)
def minimum_all(*x):
    """The smallest of any number of tensors, element by element; NaN where one is. A tie sends its gradient to the first.

    Source: NumPy's ``minimum``. Raises ``ShapeError`` for shapes that do not broadcast.

    >>> import tinygraph as tg
    >>> tg.minimum_all([np.array([1.0, 5.0]), np.array([2.0, 4.0]), 3.0])
    array([1., 3.])
    """
    return functools.reduce(np.minimum, x)


maximum_all.vjp(first_chosen)
minimum_all.vjp(first_chosen)


def _mean_samples(rng: np.random.Generator) -> Iterable[Sample]:
    yield Sample(*[normal(rng, (2, 3)) for _ in range(4)])
    yield Sample(normal(rng, (2, 3)), normal(rng, (3,)), normal(rng, (2, 1)))


@op(
    formula="the mean of {x}",
    tex=r"\operatorname{mean}({x})",
    elementwise=True,
    holomorphic=True,
    samples=_mean_samples,
)
def mean_all(*x):
    """The mean of any number of tensors, element by element, broadcast.

    Source: the sum rule. Raises ``ShapeError`` for shapes that do not broadcast.

    >>> import tinygraph as tg
    >>> tg.mean_all([np.array([1.0, 5.0]), np.array([2.0, 4.0]), 3.0])
    array([2., 4.])
    """
    return _of_dtype(functools.reduce(np.add, map(wide, x)) / len(x), [floating(part) for part in x])


@mean_all.vjp
def mean_all_vjp(dy, y, *x) -> Any:
    return (dy / len(x),) * len(x)
