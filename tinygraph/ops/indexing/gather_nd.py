"""Elements and slices picked by rows of coordinates, and the transpose, which adds them at coordinates."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygraph.graph import Sample, Shape, register
from tinygraph.ops.indexing.gather import Adding, ByPositions
from tinygraph.ops.samples import normal


@dataclass(frozen=True)
class _ByCoordinates(ByPositions):
    """The base of both: the last axis of ``indices`` holds coordinates in the axes that follow the batch axes."""

    batch_dims = 0

    def picked_shape(self, x, indices) -> Shape:
        """Return the shape of what coordinates pick, or refuse ones that do not fit."""
        inputs, shape, batch_dims = (x, indices), self.indexed(x), self.batch_dims
        self.require_whole(x, indices)
        last = indices.shape[-1] if indices.shape else 0
        batch = tuple(indices.shape[:batch_dims])
        if not 0 <= batch_dims < max(1, len(indices.shape)) or batch != shape[:batch_dims] or len(batch) < batch_dims:
            self.refuse(inputs, f"indices must begin with the {batch_dims} batch axes of {shape}")
        if not indices.shape or batch_dims + last > len(shape):
            self.refuse(inputs, f"indices need a last axis of at most {len(shape) - batch_dims} coordinates")
        return (*indices.shape[:-1], *shape[batch_dims + last :])

    def check(self, x, indices) -> None:
        for place, size in zip(np.moveaxis(indices, -1, 0), self.indexed(x)[self.batch_dims :], strict=False):
            self.require_within(place, size)

    def positions(self, x) -> int:
        return min(self.indexed(x)[self.batch_dims :], default=1)

    def index(self, indices) -> tuple[Any, ...]:
        """Return the index of NumPy that coordinates stand for."""
        places = np.moveaxis(indices, -1, 0)
        grid = np.ix_(*map(np.arange, places.shape[1:]))
        return (*grid[: self.batch_dims], *places)


def _gather_samples(rng: np.random.Generator) -> Iterable[Sample]:
    yield Sample(normal(rng, (3, 4)), np.array([[2, 0], [0, -1], [2, 0]]))
    yield Sample(normal(rng, (3, 2, 2)), np.array([[[2], [0]], [[1], [1]]]))
    yield Sample(normal(rng, (2, 3, 2)), np.array([[[2], [0]], [[1], [1]]]), batch_dims=1)


@register
class GatherNd(_ByCoordinates):
    """The elements or slices of ``x`` at the coordinates that the rows of ``indices (..., k)`` hold.

    Coordinates count the axes from ``batch_dims`` on; the first ``batch_dims`` axes of both go side by side. Source: ONNX's
    ``GatherND``. Raises ``ShapeError`` for indices that do not fit and ``DataError`` for those out of range.

    >>> import tinygraph as tg
    >>> tg.gather_nd(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[0, 1], [1, 1]]))
    array([2., 4.])
    """

    batch_dims: int = 0
    samples = _gather_samples

    def shape(self, x, indices) -> Shape:
        return self.picked_shape(x, indices)

    def forward(self, x, indices):
        return x[self.index(indices)]

    def vjp(self, dy, y, x, indices) -> Any:
        return ScatterAddNd(x.shape, self.batch_dims)(dy, indices), None

    def batch(self, use):
        return use.each() if self.batch_dims else None


def _scatter_samples(rng: np.random.Generator) -> Iterable[Sample]:
    yield Sample(normal(rng, (3,)), np.array([[2, 0], [0, -1], [2, 0]]), to=(3, 4))
    yield Sample(normal(rng, (2, 2, 2, 2)), np.array([[[2], [0]], [[1], [1]]]), to=(3, 2, 2))
    yield Sample(normal(rng, (2, 2, 2)), np.array([[[2], [0]], [[1], [1]]]), to=(2, 3, 2), batch_dims=1)


@register
class ScatterAddNd(Adding, _ByCoordinates):
    """Zeros of shape ``to`` with the elements or slices of ``x`` added at the coordinates that ``indices (..., k)`` holds.

    The transpose of ``gather_nd``, and its gradient. Source: NumPy's ``add.at``; ONNX's ``ScatterND`` with the reduction
    ``add``, on zeros. Raises ``ShapeError`` for what does not fit and ``DataError`` for indices out of range.

    >>> import tinygraph as tg
    >>> tg.scatter_add_nd(np.array([1.0, 2.0, 4.0]), np.array([[0, 1], [1, 1], [0, 1]]), (2, 2))
    array([[0., 5.],
           [0., 2.]])
    """

    to: tuple[int, ...]
    batch_dims: int = 0
    samples = _scatter_samples

    def shape(self, x, indices) -> Shape:
        picked = self.picked_shape(x, indices)
        if tuple(x.shape) != picked:
            self.refuse((x, indices), f"x must have the shape {picked}")
        return self.to

    def forward(self, x, indices):
        return self.added(x, self.index(indices))

    def vjp(self, dy, y, x, indices) -> Any:
        return GatherNd(self.batch_dims)(dy, indices), None

    def batch(self, use):
        return use.sized(0) if self.batch_dims and use.axis() == 0 else None
