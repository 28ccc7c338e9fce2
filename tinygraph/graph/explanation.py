"""Explanation: how an operation makes one element of its result from elements of its inputs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from tinygraph.graph.arrays import Array

if TYPE_CHECKING:
    from tinygraph.graph.op import Op, Shape

# Elements of one input: its place among the inputs, from 0, and their positions in it, counted row by row from 0.
Cells: TypeAlias = tuple[int, Array]


@dataclass(frozen=True, eq=False)
class Terms:
    """Terms of a sum, each a product: of one element of each of ``factors``, times ``weight``.

    A factor is a pair: the place of an input, and positions in that input, one for each term. ``weight`` is one number, or
    one for each term. If a term is not a product of its elements, ``values`` gives the terms as numbers, and ``text``
    describes them, with ``{0}`` for the element of the first factor.

    >>> terms = Terms(((0, np.array([0, 1])), (1, np.array([3, 5]))), weight=0.5)
    >>> terms.numbers([np.array([2.0, 4.0]), np.arange(6.0)])
    array([ 3., 10.])
    """

    factors: tuple[Cells, ...]
    weight: Any = 1.0
    values: Array | None = None
    text: str = ""

    def __post_init__(self) -> None:
        if any(cells.__class__ is not np.ndarray or cells.ndim != 1 for _, cells in self.factors):
            object.__setattr__(self, "factors", tuple((place, np.atleast_1d(cells)) for place, cells in self.factors))

    def __len__(self) -> int:
        return len(self.factors[0][1]) if self.factors else np.size(self.weight)

    def numbers(self, inputs: Sequence[Array]) -> Array:
        """Return the terms as numbers, for these inputs."""
        if self.values is not None:
            return np.asarray(self.values, dtype=np.float64)
        product = np.broadcast_to(np.asarray(self.weight, np.float64), (len(self),))
        for place, cells in self.factors:
            product = product * np.asarray(inputs[place], np.float64).reshape(-1)[cells]
        return np.asarray(product)


@dataclass(frozen=True, eq=False)
class Explanation:
    """How one element of a result is made: the sum of all ``terms``; or ``formula``, of the elements that are read.

    ``reads`` are elements that were compared but are not part of the sum, such as the rest of a pool's window; ``reason``
    says what they decided. In ``formula`` and ``reason``, ``{0}`` is the first element of the first entry of ``reads``,
    ``{1}`` that of the second. An explanation with neither terms nor formula explains a zero. ``slopes`` may give the
    derivatives of a formula, as the weights of their terms.

    >>> open_gate = Explanation((Terms(((0, 2),)),), reads=((0, np.array([2])),), reason="open: {0} > 0")
    >>> open_gate.value([np.array([-1.0, 2.0, 3.0])])
    3.0
    """

    terms: tuple[Terms, ...] = ()
    reads: tuple[Cells, ...] = ()
    reason: str = ""
    formula: str = ""
    slopes: tuple[Terms, ...] = ()

    def value(self, inputs: Sequence[Array]) -> float:
        """Return the sum of the terms; of a formula, NaN."""
        return float("nan") if self.formula else float(sum(terms.numbers(inputs).sum() for terms in self.terms))


def one(place: int, cell: Any) -> Cells:
    """Return one element of the input at ``place`` as a factor."""
    return place, np.array([cell], np.intp) if isinstance(cell, int) else np.atleast_1d(cell)


def position(index: Sequence[int], shape: Shape) -> int:
    """Return the position of an element in an array, counted row by row from 0.

    >>> position((1, 2), (3, 4))
    6
    """
    at = 0
    for i, size in zip(index, shape, strict=True):
        at = at * size + i
    return at


def element_at(place: int, index: Sequence[int], x: Any) -> Cells:
    """Return the element of ``x``, the input at ``place``, that broadcasting repeats to ``index``, as a factor.

    >>> element_at(1, (5, 2), np.zeros((1, 4))), element_at(0, (5, 2), 3.0)
    ((1, array([2])), (0, array([0])))
    """
    shape = np.shape(x)
    own = index[len(index) - len(shape) :]
    return one(place, position([i if size > 1 else 0 for i, size in zip(own, shape, strict=True)], shape))


def line(index: Sequence[int], x: Any, axes: Iterable[int], part: slice = slice(None)) -> Array:
    """Return the positions of the elements of ``x`` next to ``index`` along ``axes``: all of them, or a part.

    >>> line((0, 1), np.zeros((2, 3)), [1])
    array([0, 1, 2])
    """
    numbered = np.arange(x.size).reshape(x.shape)
    return numbered[tuple(part if axis in axes else i for axis, i in enumerate(index))].reshape(-1)


def moved(op: Op, index: tuple[int, ...], y: Any, /, *inputs: Any) -> Explanation:
    """Return the explanation of an operation that only moves elements: where the one at ``index`` came from.

    An element that comes from no input, such as padding, is a zero. This may be the ``explain`` of a class.

    >>> import tinygraph as tg
    >>> x = np.zeros((2, 3))
    >>> [cells for _, cells in moved(tg.transpose.op(), (1, 0), x.T, x).terms[0].factors]
    [array([1])]
    """
    places, cells = sources(op, tuple(tuple(x.shape) for x in inputs))
    place = int(places[index])
    return Explanation() if place < 0 else Explanation((Terms((one(place, int(cells[index])),)),))


@functools.lru_cache(maxsize=64)
def sources(op: Op, shapes: tuple[Shape, ...]) -> tuple[Array, Array]:
    """Return, for each element of the result of an operation that only moves elements, the place of the input that it came
    from, or -1 for none, and the position there.

    >>> import tinygraph as tg
    >>> sources(tg.flip.op(), ((3,),))
    (array([0, 0, 0]), array([2, 1, 0]))
    """
    ends = np.cumsum([0, *(int(np.prod(shape, dtype=int)) for shape in shapes)])
    # Numbered from 1: the zeros of padding are then different from all of them.
    numbered = [np.arange(a + 1, b + 1).reshape(s) for a, b, s in zip(ends[:-1], ends[1:], shapes, strict=True)]
    found = np.asarray(op.forward(*numbered)).astype(np.intp) - 1
    places = np.where(found < 0, -1, np.searchsorted(ends, found, side="right") - 1)
    return places, found - ends[np.maximum(places, 0)]


def summed(op: Any, index: tuple[int, ...], y: Any, /, *inputs: Any, weight: float = 1.0) -> Explanation:
    """Return the explanation of a sum: all elements of the input that belong to ``index`` of the result ``y``.

    ``op.owners(shape)`` gives, for each element of the input, the position in the result that it is added to. This may be the
    ``explain`` of a class.

    >>> import tinygraph as tg
    >>> x = np.zeros((2, 2))
    >>> [cells for _, cells in summed(tg.sum.op(axis=0), (1,), x.sum(axis=0), x).terms[0].factors]
    [array([1, 3])]
    """
    return Explanation((Terms(((0, members(op, index, y, *inputs)),), weight),))


def members(op: Any, index: tuple[int, ...], y: Any, x: Any) -> Array:
    """Return the elements of ``x`` that are added to the element of ``y`` at ``index``, by ``op.owners(shape)``."""
    order, owners = _sorted_owners(op, tuple(x.shape))
    at = position(index, y.shape)
    low, high = np.searchsorted(owners, (at, at + 1))
    return order[low:high]


@functools.lru_cache(maxsize=64)
def _sorted_owners(op: Any, shape: Shape) -> tuple[Array, Array]:
    owners = np.asarray(op.owners(shape)).reshape(-1)
    order = np.argsort(owners, kind="stable")
    return order, owners[order]


def chosen(cells: Array, x: Array, largest: bool = True) -> tuple[int, Array]:
    """Return which of some elements of ``x`` is the first largest, or smallest, and the others; a NaN comes first.

    >>> chosen(np.array([0, 2, 3]), np.array([1.0, 9.0, 4.0, 4.0]))
    (2, array([0, 3]))
    """
    numbers = np.asarray(x).reshape(-1)[cells]
    place = int(numbers.argmax() if largest else numbers.argmin())
    return int(cells[place]), np.delete(cells, place)


def extreme_of(cells: Array, x: Array, largest: bool = True) -> Explanation:
    """Return the explanation of the largest, or smallest, of some elements of ``x``."""
    taken, others = chosen(cells, x, largest)
    reason = f"the {'largest' if largest else 'smallest'} of {len(cells)}"
    return Explanation((Terms((one(0, taken),)),), ((0, others),) if len(others) else (), reason)


def weighted(*weights: float) -> Callable[..., Explanation]:
    """Return the ``explain`` of a sum of the elements that broadcasting brings together, each times its weight, or 1.

    >>> x, y = np.array([[1.0], [2.0]]), np.array([10.0, 20.0])
    >>> weighted(1, -1)((1, 0), x - y, x, y).value((x, y))
    -8.0
    """

    def explain(index: Sequence[int], y: Array, /, *inputs: Array) -> Explanation:
        pairs = enumerate(zip(inputs, weights or (1,) * len(inputs), strict=True))
        return Explanation(tuple(Terms((element_at(i, index, x),), weight) for i, (x, weight) in pairs))

    return explain


def product(index: Sequence[int], y: Array, /, *inputs: Array) -> Explanation:
    """Return the explanation of a product of the elements that broadcasting brings together.

    >>> x, y = np.array([[1.0], [2.0]]), np.array([10.0, 20.0])
    >>> product((1, 0), x * y, x, y).value((x, y))
    20.0
    """
    return Explanation((Terms(tuple(element_at(i, index, x) for i, x in enumerate(inputs))),))
