"""Truth, element by element: and, or, xor, not, and what is no number or infinite. Booleans have no gradient."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tinygraph.graph.function import op
from tinygraph.graph.record import Sample
from tinygraph.ops.samples import normal, unary


def _truths(rng: np.random.Generator) -> Iterable[Sample]:
    yield Sample(rng.random((3, 4)) < 0.5, rng.random((3, 4)) < 0.5)
    yield Sample(rng.random((3, 1)) < 0.5, rng.random((4,)) < 0.5)


@op(
    formula="{x} and {y}",
    tex=r"{(x)} \land {(y)}",
    elementwise=True,
    numpy=[np.logical_and],
    samples=_truths,
)
def logical_and(x, y):
    """Whether both are true; a number is true unless it is 0.

    Source: NumPy's ``logical_and``. Raises ``ShapeError`` for shapes that do not broadcast.

    >>> import tinygraph as tg
    >>> tg.logical_and(np.array([True, False]), True)
    array([ True, False])
    """
    return np.logical_and(x, y)


@op(formula="{x} or {y}", tex=r"{(x)} \lor {(y)}", elementwise=True, numpy=[np.logical_or], samples=_truths)
def logical_or(x, y):
    """Whether one or both are true; a number is true unless it is 0.

    Source: NumPy's ``logical_or``. Raises ``ShapeError`` for shapes that do not broadcast.

    >>> import tinygraph as tg
    >>> tg.logical_or(np.array([True, False]), False)
    array([ True, False])
    """
    return np.logical_or(x, y)


@op(formula="{x} xor {y}", tex=r"{(x)} \oplus {(y)}", elementwise=True, numpy=[np.logical_xor], samples=_truths)
def logical_xor(x, y):
    """Whether one of the two is true and the other is not; a number is true unless it is 0.

    Source: NumPy's ``logical_xor``. Raises ``ShapeError`` for shapes that do not broadcast.

    >>> import tinygraph as tg
    >>> tg.logical_xor(np.array([True, False]), True)
    array([False,  True])
    """
    return np.logical_xor(x, y)


@op(
    formula="not {x}",
    tex=r"\lnot {(x)}",
    elementwise=True,
    numpy=[np.logical_not],
    samples=lambda rng: [Sample(rng.random((3, 4)) < 0.5)],
)
def logical_not(x):
    """Whether an element is false; a number is false if it is 0.

    Source: NumPy's ``logical_not``. Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.logical_not(np.array([True, False]))
    array([False,  True])
    """
    return np.logical_not(x)


@op(formula="{x} is NaN", tex=r"\operatorname{isnan}({x})", elementwise=True, samples=unary(normal))
def isnan(x):
    """Whether an element is NaN, as a node of the graph; NumPy's ``isnan`` asks about the value instead.

    Source: NumPy's ``isnan``. Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.isnan(np.array([1.0, np.nan]))
    array([False,  True])
    """
    return np.isnan(x)


@op(formula="{x} is infinite", tex=r"\operatorname{isinf}({x})", elementwise=True, samples=unary(normal))
def isinf(x, *, negative: bool = True, positive: bool = True):
    """Whether an element is infinite, of either sign or of those asked for, as a node of the graph.

    Source: NumPy's ``isinf``; ONNX's ``IsInf`` for the signs. Raises ``DTypeError`` for anything but numbers.

    >>> import tinygraph as tg
    >>> tg.isinf(np.array([1.0, -np.inf, np.inf]), negative=False)
    array([False, False,  True])
    """
    asked = (x > 0) & positive | (x < 0) & negative
    return np.isinf(x) & asked
