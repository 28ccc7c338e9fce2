"""Explanation: how an operation makes one element of its result from elements of its inputs."""

from __future__ import annotations

import functools
from collections.abc import Sequence
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


def broadcast_position(index: Sequence[int], shape: Shape) -> int:
    """Return the position of the element that broadcasting repeats to ``index``.

    >>> broadcast_position((5, 1, 2), (1, 4)), broadcast_position((5, 1, 2), ())
    (2, 0)
    """
    own = index[len(index) - len(shape) :]
    return position([i if size > 1 else 0 for i, size in zip(own, shape, strict=True)], shape)


def moved(op: Op, index: tuple[int, ...], shapes: Sequence[Shape]) -> Explanation:
    """Return the explanation of an operation that only moves elements: where the one at ``index`` came from.

    An element that comes from no input, such as padding, is a zero.

    >>> import tinygraph as tg
    >>> [cells for _, cells in moved(tg.transpose.op(), (1, 0), [(2, 3)]).terms[0].factors]
    [array([1])]
    """
    places, cells = sources(op, tuple(map(tuple, shapes)))
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


def summed(op: Any, index: tuple[int, ...], shape: Shape, result: Shape, weight: float = 1.0) -> Explanation:
    """Return the explanation of a sum: all elements of input 0, of shape ``shape``, that belong to ``index`` of the result.

    ``op.owners(shape)`` gives, for each element of the input, the position in the result that it is added to.

    >>> import tinygraph as tg
    >>> [cells for _, cells in summed(tg.sum.op(axis=0), (1,), (2, 2), (2,)).terms[0].factors]
    [array([1, 3])]
    """
    return Explanation((Terms(((0, members(op, position(index, result), tuple(shape))),), weight),))


def members(op: Any, at: int, shape: Shape) -> Array:
    """Return the elements of an input of ``shape`` that are added to position ``at`` of the result, by ``op.owners(shape)``."""
    order, owners = _sorted_owners(op, shape)
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


def weighted(index: Sequence[int], inputs: Sequence[Array], weights: Sequence[float]) -> Explanation:
    """Return the explanation of a sum of the elements that broadcasting brings together, each times its weight.

    >>> x, y = np.array([[1.0], [2.0]]), np.array([10.0, 20.0])
    >>> weighted((1, 0), (x, y), (1, -1)).value((x, y))
    -8.0
    """
    cells = [one(i, broadcast_position(index, np.shape(x))) for i, x in enumerate(inputs)]
    return Explanation(tuple(Terms((cell,), weight) for cell, weight in zip(cells, weights, strict=True)))


def product(index: Sequence[int], *inputs: Array) -> Explanation:
    """Return the explanation of a product of the elements that broadcasting brings together.

    >>> x, y = np.array([[1.0], [2.0]]), np.array([10.0, 20.0])
    >>> product((1, 0), x, y).value((x, y))
    20.0
    """
    return Explanation((Terms(tuple(one(i, broadcast_position(index, np.shape(x))) for i, x in enumerate(inputs))),))


def gate(index: Sequence[int], x: Array, is_open: bool, opened: str, closed: str) -> Explanation:
    """Return the explanation of an element that is passed on if the gate is open, and otherwise replaced by 0.

    >>> gate((1,), np.array([3.0, -1.0]), False, "open: {0} > 0", "closed: {0} ≤ 0").reason
    'closed: {0} ≤ 0'
    """
    cell = one(0, broadcast_position(index, np.shape(x)))
    return Explanation((Terms((cell,)),) if is_open else (), (cell,), opened if is_open else closed)
