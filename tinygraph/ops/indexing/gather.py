"""Elements picked by a tensor of positions, and their transposes, which add elements at positions: each other's gradient.

Positions are whole numbers, from the end where they are negative; they have no gradient.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tinygraph.errors import DataError
from tinygraph.graph import SHARED, TOTAL, Each, Op, Sample, SampleInputs, Shape, extent, register
from tinygraph.ops.samples import normal
from tinygraph.ops.sums import AlongAxes, normalized_axis, widened


@dataclass(frozen=True)
class ByPositions(Op):
    """The base of these operations: positions are whole numbers within the size of an axis."""

    axis = 0
    holomorphic: ClassVar[bool] = True
    formula: ClassVar[str] = "{x} at {indices}"
    tex: ClassVar[str] = r"\operatorname{gather}({x}, {indices})"

    def result_dtype(self, x, indices) -> np.dtype[Any]:
        return np.result_type(x.dtype)

    def require_whole(self, x, indices) -> None:
        """Refuse positions of another type than whole numbers."""
        if indices.dtype.kind not in "iu":
            self.refuse((x, indices), f"indices must be whole numbers; found {indices.dtype}")

    def indexed(self, x) -> Shape:
        """Return the shape in which positions are."""
        return tuple(x.shape)

    def check(self, x, indices) -> None:
        self.require_within(indices, self.positions(x))

    def require_within(self, indices, size: int) -> None:
        """Refuse positions that an axis of this size does not have."""
        if indices.size and not (indices.min() >= -size and indices.max() < size):
            raise DataError(f"{self.name}: indices must lie in {-size} to {size - 1}; found {extent(indices)}")

    def positions(self, x) -> int:
        """Return how many positions there are."""
        return self.indexed(x)[self.axis]

    def sample_inputs(self, rng: np.random.Generator, x, indices) -> SampleInputs:
        return None, rng.integers(0, self.positions(x), indices.shape)


@dataclass(frozen=True)
class Slices(ByPositions):
    """What ``gather`` and ``embedding`` share: positions pick slices along an axis."""

    def forward(self, x, indices):
        return np.take(x, indices, axis=self.axis)

    def vjp(self, dy, y, x, indices) -> Any:
        return scatter_add(dy, indices, x.shape[self.axis], self.axis), None

    def batch(self, use):
        """Samples in ``x``, along another axis, or in the positions."""
        axis = normalized_axis(self, use.inputs[0], self.axis)
        x, positions = use.states
        if x is SHARED and isinstance(positions, Each):
            return Each(axis + positions.axis)
        if positions is SHARED and isinstance(x, Each) and x.axis != axis:
            return Each(x.axis + (use.inputs[1].ndim - 1 if x.axis > axis else 0))
        return None


@dataclass(frozen=True)
class Adding(ByPositions):
    """The base of the transposes: ``x`` is added to zeros of the shape ``to``, in which positions are."""

    formula: ClassVar[str] = "0 with {x} added at {indices}"
    tex: ClassVar[str] = r"\operatorname{scatter}({x}, {indices})"

    def indexed(self, x) -> Shape:
        return self.to  # type: ignore[attr-defined, no-any-return]

    def added(self, x, index: Any):
        """Return zeros with ``x`` added at an index of NumPy; float16 is added up in float32."""
        x = widened(x)
        result = np.zeros(self.indexed(x), x.dtype)
        np.add.at(result, index, x)
        return result


def _gather_samples(rng: np.random.Generator) -> Iterable[Sample]:
    yield Sample(normal(rng, (4, 3)), np.array([3, 0, 0]))
    yield Sample(normal(rng, (2, 2, 3)), np.array([[0, 2], [-1, 1]]), axis=2)
    yield Sample(normal(rng, (2, 3, 2)), np.array([[0, 2], [-1, 1]]), axis=1)
    yield Sample(normal(rng, (2, 3)), np.array(-2), axis=-1)
    yield Sample(normal(rng, (4, 2, 65)), np.array([3, 0, 0]))


@register
class Gather(Slices):
    """The slices of ``x`` along ``axis`` at the positions ``indices``, of any shape, which takes the place of the axis.

    Source: NumPy's ``take``; ONNX's ``Gather``. Raises ``ShapeError`` for indices that are no whole numbers and ``DataError``
    for those out of range.

    >>> import tinygraph as tg
    >>> tg.gather(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([1, 1, 0]))
    array([[3., 4.],
           [3., 4.],
           [1., 2.]])
    """

    axis: int = 0
    samples = _gather_samples

    def shape(self, x, indices) -> Shape:
        axis = normalized_axis(self, x, self.axis)
        self.require_whole(x, indices)
        return (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])


# From so many elements to a position on, adding slice by slice is quicker than NumPy's ``add.at``, element by element.
_WIDE = 128


def _scatter_samples(rng: np.random.Generator) -> Iterable[Sample]:
    yield Sample(normal(rng, (3, 2)), np.array([3, 0, 0]), size=4)
    yield Sample(normal(rng, (2, 1, 2, 2)), np.array([[0, 2], [-1, 1]]), size=3, axis=2)
    yield Sample(normal(rng, (2,)), np.array(1), size=3, axis=-1)


@register
class ScatterAdd(Adding):
    """Zeros with the slices of ``x`` added at the positions ``indices`` along an ``axis`` of this ``size``.

    The transpose of ``gather``, and its gradient: what was picked twice gets both gradients. Source: NumPy's ``add.at``.

    Raises ``ShapeError`` for indices that are no whole numbers or do not fit ``x``, and ``DataError`` for those out of range.

    >>> import tinygraph as tg
    >>> tg.scatter_add(np.array([1.0, 2.0, 4.0]), np.array([2, 0, 2]), 4)
    array([2., 0., 5., 0.])
    """

    size: int
    axis: int = 0
    samples = _scatter_samples

    def shape(self, x, indices) -> Shape:
        self.require_whole(x, indices)
        count = len(indices.shape)
        if len(x.shape) < count or self.size < 0:
            why = "x must have at least as many axes as indices, and size must not be negative"
            self.refuse((x, indices), f"{why}; found {self.size}")
        axis = normalized_axis(self, x, self.axis, 1 - count)
        if tuple(x.shape[axis : axis + count]) != tuple(indices.shape):
            self.refuse((x, indices), f"from axis {axis} on, x must have the shape of indices")
        return (*x.shape[:axis], self.size, *x.shape[axis + count :])

    def positions(self, x) -> int:
        return self.size

    def forward(self, x, indices):
        x = widened(x)
        result = np.zeros(self.shape(x, indices), x.dtype)
        axis = self.axis % result.ndim
        places = range(indices.ndim)
        rows, added = np.moveaxis(result, axis, 0), np.moveaxis(x, [axis + i for i in places], places)
        if x.size < _WIDE * indices.size:
            np.add.at(rows, indices, added)
        else:
            for place in np.ndindex(indices.shape):
                rows[indices[place]] += added[place]
        return result

    def vjp(self, dy, y, x, indices) -> Any:
        return Gather(self.axis)(dy, indices), None

    def batch(self, use):
        """Samples among the other axes of ``x``, or in the positions too: the result is then a sum over samples."""
        added, positions = use.states
        axis = self.axis % use.node.ndim
        if not isinstance(added, Each):
            return None
        if isinstance(positions, Each):
            return TOTAL if added.axis == axis + positions.axis else None
        if added.axis < axis:
            return added
        after = added.axis - axis - use.inputs[1].ndim
        return Each(axis + 1 + after) if after >= 0 else None


@register
class Embedding(Slices):
    """The rows of a table ``weights (count, ...)`` for whole numbers ``ids (...)``, as words become vectors.

    A row that is looked up twice gets both gradients. Source: Bengio, Ducharme, Vincent and Jauvin, *A Neural
    Probabilistic Language Model*, 2003. Raises ``ShapeError`` for ids that are no whole numbers and ``DataError`` for
    those out of range.

    >>> import tinygraph as tg
    >>> tg.embedding(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([1, 0]))
    array([[3., 4.],
           [1., 2.]])
    """

    formula: ClassVar[str] = "{weights}[{ids}]"
    tex: ClassVar[str] = r"\operatorname{embedding}({weights}, {ids})"

    @staticmethod
    def samples(rng: np.random.Generator) -> Iterable[Sample]:
        yield Sample(normal(rng, (4, 3)), np.array([[3, 0], [0, 1]]))
        yield Sample(normal(rng, (3, 2)), np.array([2, 2]))

    def shape(self, weights, ids) -> Shape:
        if not weights.shape:
            self.refuse((weights, ids), "weights need at least one axis, whose rows are looked up")
        self.require_whole(weights, ids)
        return (*ids.shape, *weights.shape[1:])

    def forward(self, weights, ids):
        return super().forward(weights, ids)


def _elements(indices, axis: int) -> tuple[Any, ...]:
    """Return the index of NumPy that takes positions along one axis and each element's own along the others."""
    grid: list[Any] = list(np.ix_(*map(np.arange, indices.shape)))
    grid[axis] = indices
    return tuple(grid)


@register
class GatherElements(ByPositions):
    """Elements of ``x`` at positions along one axis: for ``axis=0``, ``y[i, j] = x[indices[i, j], j]``.

    ``indices`` has as many axes as ``x``, and no larger sizes but along ``axis``. Source: NumPy's ``take_along_axis``; ONNX's
    ``GatherElements``. Raises ``ShapeError`` for indices that do not fit and ``DataError`` for those out of range.

    >>> import tinygraph as tg
    >>> tg.gather_elements(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[0], [1]]), axis=1)
    array([[1.],
           [4.]])
    """

    axis: int = 0

    @staticmethod
    def samples(rng: np.random.Generator) -> Iterable[Sample]:
        yield Sample(normal(rng, (3, 4)), np.array([[2, 0, 0, 1], [2, -1, 1, 1]]))
        yield Sample(normal(rng, (3, 2)), np.array([[1, 1, 0], [0, -1, 1]]), axis=-1)

    def shape(self, x, indices) -> Shape:
        self.require_whole(x, indices)
        axis = normalized_axis(self, x, self.axis)
        require_fitting(self, (x, indices), tuple(x.shape), axis)
        return tuple(indices.shape)

    def forward(self, x, indices):
        return x[_elements(indices, self.axis)]

    def vjp(self, dy, y, x, indices) -> Any:
        return ScatterAddElements(x.shape, self.axis)(dy, indices), None

    batch = AlongAxes.batch


def require_fitting(op: Op, inputs: Sequence[Any], shape: Shape, axis: int) -> None:
    """Refuse positions whose sizes do not lie within a shape, but along ``axis``."""
    sizes = tuple(inputs[1].shape)
    fits = len(sizes) == len(shape) and all(sizes[i] <= size for i, size in enumerate(shape) if i != axis)
    if not fits:
        op.refuse(inputs, f"indices must have {len(shape)} axes, and fit into shape {shape} except along axis {axis}")


@register
class ScatterAddElements(Adding):
    """Zeros of shape ``to``, to which elements of ``x`` are added: for ``axis=0``, ``y[indices[i, j], j] += x[i, j]``.

    The transpose of ``gather_elements``, and its gradient. Source: NumPy's ``add.at``; ONNX's ``ScatterElements`` with the
    reduction ``add``, on zeros. Raises ``ShapeError`` for what does not fit and ``DataError`` for indices out of range.

    >>> import tinygraph as tg
    >>> tg.scatter_add_elements(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[0, 1], [2, 1]]), (3, 2))
    array([[1., 0.],
           [0., 6.],
           [3., 0.]])
    """

    to: tuple[int, ...]
    axis: int = 0

    @staticmethod
    def samples(rng: np.random.Generator) -> Iterable[Sample]:
        yield Sample(normal(rng, (2, 4)), np.array([[2, 0, 0, 1], [2, -1, 1, 1]]), to=(3, 4))
        yield Sample(normal(rng, (2, 3)), np.array([[1, 1, 0], [0, -1, 1]]), to=(3, 2), axis=-1)

    def shape(self, x, indices) -> Shape:
        self.require_whole(x, indices)
        axis = normalized_axis(self, x, self.axis)
        require_fitting(self, (x, indices), self.to, axis)
        if tuple(x.shape) != tuple(indices.shape):
            self.refuse((x, indices), "both must have one shape")
        return self.to

    def forward(self, x, indices):
        return self.added(x, _elements(indices, self.axis))

    def vjp(self, dy, y, x, indices) -> Any:
        return GatherElements(self.axis)(dy, indices), None

    def batch(self, use):
        state = use.outside_axis()
        return use.sized(state.axis) if state is not None and self.to[state.axis] == use.count else None


scatter_add = ScatterAdd.function


def add_along(x, places: Mapping[int, Any], shape: Shape):
    """Return zeros of a shape with ``x`` added at the places that are given for some axes."""
    for axis, indices in places.items():
        x = scatter_add(x, indices, shape[axis], axis)
    return x
