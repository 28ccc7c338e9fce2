"""Matrix products."""

from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

from tinygraph.graph.batch import SHARED, TOTAL, Each, Tiling
from tinygraph.graph.explanation import Explanation, Terms, broadcast_position
from tinygraph.graph.function import register
from tinygraph.graph.op import Op, Shape
from tinygraph.graph.record import Sample
from tinygraph.graph.tensor import Tensor
from tinygraph.ops.floating import widened
from tinygraph.ops.samples import normal
from tinygraph.ops.shape.shape import Transpose, expand_dims, reshape, sum_to, transpose


def _samples(rng: np.random.Generator) -> Iterable[Sample]:
    shapes: list[tuple[Shape, Shape]] = [
        ((2, 3), (3, 4)),
        ((5, 2, 3), (5, 3, 2)),
        ((2, 3), (4, 3, 2)),
        ((3, 1, 2, 3), (2, 3, 2)),
        ((3,), (3,)),
        ((3,), (2, 3, 4)),
        ((2, 4, 3), (3,)),
    ]
    for left, right in shapes:
        yield Sample(normal(rng, left), normal(rng, right))


@register(numpy=[np.matmul])
class Matmul(Op):
    """Matrix product ``x @ y`` by NumPy's rules: vectors are rows or columns, leading axes are batches and broadcast.

    Shapes ``(..., n, k)`` and ``(..., k, m)`` give ``(..., n, m)``. Rules (notes F8, B2, B4; A2, A4; with samples as rows):
    ``dx = dz @ y.T`` and ``dy = x.T @ dz`` for the result ``z``, summed over broadcast batches.

    Raises ``ShapeError`` for axes that do not match.

    >>> import tinygraph as tg
    >>> tg.matmul(np.array([[1.0, 2.0]]), np.array([[3.0], [4.0]]))
    array([[11.]])
    """

    formula: ClassVar[str] = "{x} {y}"
    symbol: ClassVar[str] = "@"
    holomorphic: ClassVar[bool] = True
    samples = _samples

    def shape(self, x, y) -> Shape:
        if not x.shape or not y.shape:
            self.refuse([x, y], "a scalar has no matrix product; use *")
        left, right = _as_matrices(tuple(x.shape), tuple(y.shape))
        if left[-1] != right[-2]:
            self.refuse(
                [x, y], f"the last axis of x ({left[-1]}) must match axis {-min(2, len(y.shape))} of y ({right[-2]})"
            )
        try:
            batch = np.broadcast_shapes(left[:-2], right[:-2])
        except ValueError:
            self.refuse([x, y], "their batch axes do not broadcast")
        rows = left[-2:-1] if len(x.shape) > 1 else ()
        columns = right[-1:] if len(y.shape) > 1 else ()
        return (*batch, *rows, *columns)

    def work(self, x, y) -> int:
        return self.result_size(x, y) * int(x.shape[-1])

    def forward(self, x, y):
        return widened(x) @ widened(y)

    def explain(self, index: tuple[int, ...], y, /, *inputs) -> Explanation:
        x, y = inputs
        left, right = _as_matrices(x.shape, y.shape)
        row = index[-1 if y.ndim == 1 else -2] if x.ndim > 1 else 0
        column = index[-1] if y.ndim > 1 else 0
        batch = index[: len(index) - (x.ndim > 1) - (y.ndim > 1)]
        along, (columns,) = np.arange(left[-1]), right[-1:]
        rows = broadcast_position(batch, left[:-2]) * left[-2] + row
        first = broadcast_position(batch, right[:-2]) * right[-2]
        return Explanation((Terms(((0, rows * left[-1] + along), (1, (first + along) * columns + column))),))

    def vjp(self, dz, z, x, y) -> Any:
        left, right = _as_matrices(tuple(x.shape), tuple(y.shape))
        matrix_x = expand_dims(x, 0) if len(x.shape) == 1 else x
        matrix_y = expand_dims(y, 1) if len(y.shape) == 1 else y
        if len(x.shape) == 1:
            dz = expand_dims(dz, len(dz.shape) if len(y.shape) == 1 else -2)
        if len(y.shape) == 1:
            dz = expand_dims(dz, -1)
        return (
            lambda: _fitted(dz @ swapped(matrix_y), left, tuple(x.shape)),
            lambda: _fitted(swapped(matrix_x) @ dz, right, tuple(y.shape)),
        )

    def batch(self, use):
        (x, y), (left, right), ndim = use.inputs, use.states, use.node.ndim
        if x.ndim < 2 or y.ndim < 2:
            return None
        if left == Each(x.ndim - 1) and right == Each(y.ndim - 2):
            return TOTAL
        if left == Each(x.ndim - 1) and right is SHARED and y.value is not None and y.ndim == 2:
            # A gradient that is a constant, for example of a mean: each tile takes its own rows.
            return Tiling(TOTAL, sliced=(1,))
        if right is SHARED and left == Each(x.ndim - 2):
            return Each(ndim - 2)
        if left is SHARED and right == Each(y.ndim - 1):
            return Each(ndim - 1)
        return self._batch_of_stacks(use)

    def _batch_of_stacks(self, use):
        """Return the rule for samples along an axis of stacks of matrices, in both factors or broadcast in one."""
        axes, shifts = set(), [use.node.ndim - x.ndim for x in use.inputs]
        for x, state, shift in zip(use.inputs, use.states, shifts, strict=True):
            if isinstance(state, Each):
                if state.axis >= x.ndim - 2:
                    return None
                axes.add(state.axis + shift)
        (axis, *more) = axes
        for x, state, shift in zip(use.inputs, use.states, shifts, strict=True):
            if state is SHARED and 0 <= axis - shift < x.ndim - 2 and x.shape[axis - shift] != 1:
                return None
        return None if more else Each(axis)


def _as_matrices(x: Shape, y: Shape) -> tuple[Shape, Shape]:
    """Return the shapes of a row for a vector on the left and of a column for one on the right."""
    return (1, *x) if len(x) == 1 else x, (*y, 1) if len(y) == 1 else y


def _fitted(gradient, matrix: Shape, shape: Shape):
    """Sum over broadcast batches, and turn a row or column back into the vector that it was."""
    if tuple(gradient.shape) != matrix:
        gradient = sum_to(gradient, matrix)
    return gradient if matrix == shape else reshape(gradient, shape)


def swapped(x):
    """Return ``x`` with its last two axes exchanged; of a matrix that is a transpose, what it is the transpose of."""
    ndim = len(x.shape)
    if ndim == 2 and isinstance(x, Tensor) and isinstance(x.op, Transpose) and x.op.axes is None:
        return x.inputs[0]
    return transpose(x) if ndim == 2 else transpose(x, (*range(ndim - 2), ndim - 1, ndim - 2))


matmul = Matmul.function
