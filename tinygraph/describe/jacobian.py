"""Local Jacobians: how an element is made by an operation that does not explain itself."""

from collections.abc import Sequence

import numpy as np

from tinygraph.errors import TinygraphError
from tinygraph.graph import Array, Op, OpaqueGradient, call_rule
from tinygraph.graph.explanation import Cells, Explanation, Terms

# The most numbers of a Jacobian that are computed for one operation.
MOST_NUMBERS = 1 << 18
_EXACT = 64


class Jacobian:
    """The local Jacobian of one operation at its inputs, row by row, each row when it is first needed.

    The gradient of an opaque rule has no rule of its own: its rows are found by running it on unit vectors ``dy``.

    >>> import tinygraph as tg
    >>> x = np.array([1.0, 2.0, 4.0])
    >>> rows = Jacobian(tg.flip.op(), x[::-1], [x])
    >>> rows.explanation((0,)).terms[0].factors[0][1]
    array([2])
    """

    def __init__(self, op: Op, y: Array, inputs: Sequence[Array]) -> None:
        self.op, self.y, self.inputs = op, y, list(inputs)
        self._columns: Array | None = None
        self._is_smooth = False

    def explanation(self, index: tuple[int, ...]) -> Explanation:
        """Return how the element at ``index`` is made: a sum, if the row adds up to the number, or else its slopes."""
        try:
            slopes = self._opaque(index) if isinstance(self.op, OpaqueGradient) else self._row(index)
        except TinygraphError:
            slopes = ()
        number = float(self.y[index])
        if not slopes and number == 0 and (self._columns is not None or self._is_smooth):
            return Explanation(reason="nothing comes to it, by the local Jacobian of the operation")
        total = float(sum(terms.numbers(self.inputs).sum() for terms in slopes))
        size = max(np.abs(terms.numbers(self.inputs)).sum() for terms in slopes) if slopes else 0.0
        if slopes and abs(total - number) <= _EXACT * np.finfo(self.y.dtype).eps * max(size, abs(number)):
            return Explanation(slopes, reason="by the local Jacobian of the operation")
        return Explanation(reads=self._everything(), formula=f"{self.op.name} of these elements", slopes=slopes)

    def _row(self, index: tuple[int, ...]) -> tuple[Terms, ...]:
        if self.y.dtype.kind != "f":
            return ()
        ones = np.zeros(self.y.shape, self.y.dtype)
        ones[index] = 1
        places = [i for i, x in enumerate(self.inputs) if x.dtype.kind == "f"]
        with np.errstate(all="ignore"):
            found = call_rule(self.op, places, ones, self.y, *self.inputs)
        self._is_smooth = bool(places)
        return tuple(terms for place, row in found for terms in _weighted(place, np.asarray(row).reshape(-1)))

    def _opaque(self, index: tuple[int, ...]) -> tuple[Terms, ...]:
        dy = self.inputs[0]
        if self._columns is None:
            if dy.size * self.y.size > MOST_NUMBERS:
                return ()
            ones = np.eye(dy.size, dtype=dy.dtype).reshape(dy.size, *dy.shape)
            with np.errstate(all="ignore"):
                self._columns = np.array([self.op.forward(one, *self.inputs[1:]) for one in ones]).reshape(dy.size, -1)
        return _weighted(0, self._columns[:, np.ravel_multi_index(index, self.y.shape) if index else 0])

    def _everything(self) -> tuple[Cells, ...]:
        return tuple((i, np.arange(x.size)) for i, x in enumerate(self.inputs) if x.size)


def _weighted(place: int, weights: Array) -> tuple[Terms, ...]:
    cells = np.flatnonzero(weights)
    return (Terms(((place, cells),), weights[cells].astype(np.float64)),) if cells.size else ()
