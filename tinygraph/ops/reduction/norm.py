"""Lengths of vectors: the sum of sizes, and the root of the sum of squares."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tinygraph.errors import TinygraphError
from tinygraph.graph.function import register
from tinygraph.graph.record import Edge, Sample
from tinygraph.graph.registry import NUMPY_FUNCTIONS
from tinygraph.ops.axes import Axis, floating_dtype
from tinygraph.ops.elementwise.arithmetic import sign
from tinygraph.ops.floating import wide
from tinygraph.ops.length import along
from tinygraph.ops.reduction.reduction import Reduction
from tinygraph.ops.sums import total


@dataclass(frozen=True)
class _Norm(Reduction):
    """What norms share: real results."""

    result_dtype = floating_dtype


@register
class L1Norm(_Norm):
    """Sum of absolute values over ``axis`` (all axes by default); the gradient at 0 is 0.

    Source: Golub and Van Loan, *Matrix Computations*, 2.2. Raises ``ShapeError`` and ``AttributeValueError`` for what
    does not fit the shape.

    >>> import tinygraph as tg
    >>> tg.l1_norm(np.array([[3.0, -4.0], [0.0, 1.0]]), axis=1)
    array([7., 1.])
    """

    name: ClassVar[str] = "l1_norm"
    formula: ClassVar[str] = "sum(|{x}|)"
    tex: ClassVar[str] = r"\left\|{x}\right\|_{1}"
    edges: ClassVar[tuple[Edge, ...]] = (Edge(Sample([0.0, -2.0]), [0.0, -1.0]),)

    def forward(self, x):
        return total(np.abs(wide(x)), self.axis, self.keepdims)

    def vjp(self, dy, y, x):
        return self.spread(dy, x) * sign(x)


@register
class L2Norm(_Norm):
    """Euclidean length over ``axis`` (all axes by default), without overflow; the gradient of the length 0 is 0.

    Source: Golub and Van Loan, *Matrix Computations*, 2.2. Raises ``ShapeError`` and ``AttributeValueError`` for what
    does not fit the shape.

    >>> import tinygraph as tg
    >>> tg.l2_norm(np.array([[3.0, -4.0], [0.0, 1e200]]), axis=1)
    array([5.e+000, 1.e+200])
    """

    name: ClassVar[str] = "l2_norm"
    formula: ClassVar[str] = "√sum({x}²)"
    tex: ClassVar[str] = r"\left\|{x}\right\|_{2}"
    edges: ClassVar[tuple[Edge, ...]] = (Edge(Sample([[0.0, 0.0], [0.0, -4.0]], axis=1), [[0.0, 0.0], [0.0, -1.0]]),)

    def forward(self, x):
        x = wide(x)
        largest = np.abs(x).max(axis=self.axis, keepdims=True, initial=0)
        scale = np.where((largest > 0) & np.isfinite(largest), largest, 1)
        length = np.sqrt(total((x / scale) ** 2, self.axis, keepdims=True)) * scale
        return length.reshape(self.shape(x))

    def vjp(self, dy, y, x):
        return along(dy, y, x, functools.partial(self.spread, x=x))


l1_norm = L1Norm.function
l2_norm = L2Norm.function


def _as_numpy(x, ord: Any = None, axis: Axis = None, keepdims: bool = False):
    """The norm as NumPy's own function takes it: of vectors, and of matrices where it is the root of all squares."""
    vectors = isinstance(axis, int) or (axis is None and len(x.shape) == 1)
    if ord is None or (ord == 2 and vectors) or (ord == "fro" and not vectors):
        return l2_norm(x, axis, keepdims)
    if ord == 1 and vectors:
        return l1_norm(x, axis, keepdims)
    raise TinygraphError(
        f"numpy.linalg.norm on tensors takes no order {ord!r} here; vectors have 1 and 2, matrices 'fro'"
    )


NUMPY_FUNCTIONS[np.linalg.norm] = _as_numpy
