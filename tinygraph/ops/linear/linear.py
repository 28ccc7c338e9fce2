"""Matrix products, and sums of products over named axes: of vectors, matrices and stacks of them, traces, transposes."""

import functools
import math
import string
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from tinygraph.graph import SHARED, TOTAL, Each, Op, Sample, Shape, Tensor, Tiling, Value, register
from tinygraph.graph.attributes import require
from tinygraph.graph.explanation import Explanation, Terms
from tinygraph.ops.samples import normal
from tinygraph.ops.shape.shape import Transpose, expand_dims, reshape, sum_to, transpose
from tinygraph.ops.sums import total, widened

_DOTS = "..."


def _einsum_samples(rng: np.random.Generator) -> Iterable[Sample]:
    cases: list[tuple[str, list[Shape]]] = [
        ("ij,jk->ik", [(2, 3), (3, 4)]),
        ("bi,ij,bj->b", [(3, 2), (2, 4), (3, 4)]),
        ("ijk->j", [(2, 3, 2)]),
        ("ii,ij", [(3, 3), (3, 2)]),
        ("iji->ij", [(2, 3, 2)]),
        ("...ij,...jk->...ik", [(2, 3, 2), (4, 1, 2, 3)]),
        ("...i,i", [(2, 3), (3,)]),
        ("ij,ik->jk", [(1, 3), (2, 2)]),
        (",i->i", [(), (3,)]),
    ]
    for equation, shapes in cases:
        yield Sample(*[normal(rng, shape) for shape in shapes], equation=equation)


@register
class Einsum(Op):
    """The sum of products that an ``equation`` such as ``"ij,jk->ik"`` names: a letter for each axis of each tensor.

    Axes with one letter go side by side; letters that are missing after the arrow are summed over. A letter twice in one
    tensor takes its diagonal. Without an arrow the result has the letters that stand once, in the order of the alphabet;
    ``...`` stands for any further axes in front, broadcast. The gradient of a tensor is the sum of products of ``dy`` and the
    others; along axes summed over in it alone it is repeated, and off a diagonal it is 0.

    Source: NumPy's ``einsum``, which takes the equation first: ``np.einsum("ij,jk->ik", x, y)`` on tensors records this.
    Raises ``AttributeValueError`` for an equation that cannot be read, and ``ShapeError`` for shapes that do not fit it.

    >>> import tinygraph as tg
    >>> tg.einsum([np.array([[1.0, 2.0]]), np.array([[3.0], [4.0]])], "ij,jk->ik")
    array([[11.]])
    """

    equation: str
    formula: ClassVar[str] = "the sum {equation} of {x}"
    holomorphic: ClassVar[bool] = True
    samples = _einsum_samples

    def check_attributes(self) -> None:
        object.__setattr__(self, "equation", self.equation.replace(" ", ""))
        terms, arrow, result = self.equation.partition("->")
        unread = f"equation {self.equation!r} cannot be read:"
        for term in [*terms.split(","), result]:
            is_read = set(term.replace(_DOTS, "", 1)) <= set(string.ascii_letters)
            require(is_read, self, f"{unread} terms hold letters, and ... once")
        letters, dots = result.replace(_DOTS, ""), _DOTS in terms
        once = set(letters) <= set(terms) and len(set(letters)) == len(letters)
        require(once, self, f"{unread} each letter of the result stands there once, and in a term")
        require(not (arrow and dots) or _DOTS in result, self, f"{unread} the result needs the ... of the terms")
        require(dots or _DOTS not in result, self, f"{unread} no term has the ... of the result")

    def labels(self, *x) -> tuple[tuple[str, ...], str]:
        """Return the letters of each input and of the result, with letters for the axes that ``...`` stands for."""
        count = self.equation.count(",") + 1
        require(count == len(x), self, f"equation {self.equation!r} has {count} terms; found {len(x)} tensors")
        found = _labels(self.equation, tuple(len(tensor.shape) for tensor in x))
        if found is None:
            self.refuse(x, f"the equation {self.equation!r} names another number of axes")
        return found

    def shape(self, *x) -> Shape:
        sizes = self._sizes(*x)
        return tuple(sizes[letter] for letter in self.labels(*x)[1])

    def multiply_adds(self, *x) -> int:
        # One sum over all letters at once: never less than the best order of products takes.
        return math.prod(self._sizes(*x).values()) * (len(x) - 1)

    def work(self, *x) -> int:
        return math.prod(self._sizes(*x).values()) + len(x) ** 3

    def _sizes(self, *x) -> dict[str, int]:
        """Return the size of each letter, or refuse shapes that do not agree."""
        terms, _ = self.labels(*x)
        sizes: dict[str, int] = {}
        for tensor, term in zip(x, terms, strict=True):
            own: dict[str, int] = {}
            for letter, size in zip(term, tensor.shape, strict=True):
                if own.setdefault(letter, size) != size:
                    self.refuse(x, f"axis {letter!r} of {self.equation!r} has the sizes {own[letter]} and {size}")
            for letter, size in own.items():
                known = sizes.get(letter, 1)
                if size not in (1, known) and known != 1:
                    self.refuse(x, f"axis {letter!r} of {self.equation!r} has the sizes {known} and {size}")
                sizes[letter] = size if known == 1 else known
        return sizes

    def forward(self, *x):
        terms, result = self.labels(*x)
        counts = Counter("".join(terms) + result)
        # Axes that only one tensor has are summed first, and as accurately as any sum.
        alone = [tuple(i for i, letter in enumerate(term) if counts[letter] == 1) for term in terms]
        factors = [total(tensor, axes) if axes else widened(tensor) for tensor, axes in zip(x, alone, strict=True)]
        rest = ["".join(letter for letter in term if counts[letter] > 1) for term in terms]
        return np.einsum(f"{','.join(rest)}->{result}", *factors, optimize=len(x) > 1)

    def explain(self, index: tuple[int, ...], y, /, *inputs) -> Explanation:
        terms, result = self.labels(*inputs)
        sizes = self._sizes(*inputs)
        summed = [letter for letter in sizes if letter not in result]
        counts = [sizes[letter] for letter in summed]
        along = np.indices(counts).reshape(len(summed), math.prod(counts))
        at: dict[str, Any] = dict(zip(result, index, strict=True)) | dict(zip(summed, along, strict=True))
        cells = [_cells(tensor.shape, term, at, along.shape[1]) for tensor, term in zip(inputs, terms, strict=True)]
        return Explanation((Terms(tuple(enumerate(cells))),))

    def vjp(self, dy, y, *x) -> Any:
        terms, result = self.labels(*x)
        return tuple(functools.partial(self.gradient, dy, x, [*terms, result], place) for place in range(len(x)))

    def gradient(self, dy, x: Sequence[Value], terms: Sequence[str], place: int):
        """Return the gradient of one input as a sum of products; the last term is that of the result."""
        tensors = [dy if i == place else other for i, other in enumerate(x)]
        letters = [terms[-1] if i == place else term for i, term in enumerate(terms[:-1])]
        wanted, unused = "", [letter for letter in string.ascii_letters if letter not in "".join(terms)]
        for letter, size in zip(terms[place], x[place].shape, strict=True):
            if letter in wanted:
                # A second axis of a diagonal: ones where it is equal to the first.
                tensors.append(np.eye(size, dtype=x[place].dtype))
                letters.append(letter + unused[0])
                wanted += unused.pop(0)
                continue
            wanted += letter
            found = zip(tensors, letters, strict=True)
            if not any(letter in term and other.shape[term.index(letter)] == size for other, term in found):
                # Summed over in this tensor alone, or broadcast in the others: the same all along.
                tensors.append(np.ones(size, x[place].dtype))
                letters.append(letter)
        gradient = einsum(tensors, f"{','.join(letters)}->{wanted}")
        # An axis of size 1 that was broadcast with one of another tensor.
        return gradient if gradient.shape == x[place].shape else sum_to(gradient, x[place].shape)

    def written_tex(self, *inputs) -> str:
        terms, result = self.labels(*inputs)
        summed = "".join(dict.fromkeys(letter for letter in "".join(terms) if letter not in result))
        # Indices are set off by a space, for in a template a word alone in braces is the name of an operand.
        factors = [rf"{{(x{i})}}" + (rf"_{{ {term}}}" if term else "") for i, term in enumerate(terms)]
        sign = rf"\sum_{{ {summed}}} " if summed else ""
        return (rf"_{{{result}}} = " if result else "") + sign + r"\,".join(factors)

    def batch(self, use):
        """Samples under one letter that no tensor without samples has: kept in the result, or summed over."""
        terms, result = self.labels(*use.inputs)
        uses = list(zip(use.inputs, terms, use.states, strict=True))
        letters = {term[state.axis] for _, term, state in uses if isinstance(state, Each)}
        if len(letters) != 1:
            return None
        (letter,) = letters
        for x, term, state in uses:
            if term.count(letter) > 1 or (state is SHARED and letter in term and x.shape[term.index(letter)] > 1):
                return None
        return Each(result.index(letter)) if letter in result else TOTAL


def _cells(shape: Shape, letters: str, at: Mapping[str, Any], count: int):
    """Return the positions in a tensor of the elements whose letters stand ``at`` so many places; an axis of size 1 repeats."""
    cells = np.zeros(count, np.intp)
    for letter, size in zip(letters, shape, strict=True):
        cells = cells * size + (at[letter] if size > 1 else 0)
    return cells


@functools.lru_cache(maxsize=256)
def _labels(equation: str, ranks: tuple[int, ...]) -> tuple[tuple[str, ...], str] | None:
    """Return the letters of inputs with so many axes and of the result, or None for another number of axes."""
    terms, arrow, result = equation.partition("->")
    parts = terms.split(",")
    if not arrow:
        counts = Counter(terms.replace(_DOTS, "").replace(",", ""))
        result = _DOTS * (_DOTS in terms) + "".join(sorted(letter for letter, n in counts.items() if n == 1))
    extra = [rank - len(part.replace(_DOTS, "")) for rank, part in zip(ranks, parts, strict=True)]
    if any(n < 0 or (n > 0 and _DOTS not in part) for n, part in zip(extra, parts, strict=True)):
        return None
    fresh = "".join(letter for letter in string.ascii_letters if letter not in terms)[: max(extra)]
    filled = tuple(part.replace(_DOTS, fresh[len(fresh) - n :]) for n, part in zip(extra, parts, strict=True))
    return filled, result.replace(_DOTS, fresh)


einsum = Einsum.function


def _matmul_samples(rng: np.random.Generator) -> Iterable[Sample]:
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


@register(numpy=[np.matmul, np.linalg.matmul])
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
    samples = _matmul_samples

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

    def multiply_adds(self, x, y) -> int:
        return self.result_size(x, y) * int(x.shape[-1])

    def forward(self, x, y):
        return widened(x) @ widened(y)

    def sum_of_products(self, x, y) -> Einsum:
        """Return the product as an ``einsum``."""
        left, right = ("j" if len(x.shape) == 1 else "...ij"), ("j" if len(y.shape) == 1 else "...jk")
        stack = "..." if "..." in left + right else ""
        rows, columns = "i" * (len(x.shape) > 1), "k" * (len(y.shape) > 1)
        return Einsum(f"{left},{right}->{stack}{rows}{columns}")

    def explain(self, index: tuple[int, ...], y, /, *inputs) -> Explanation:
        return self.sum_of_products(*inputs).explain(index, y, *inputs)

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
        (x, y), (left, right) = use.inputs, use.states
        if left == Each(x.ndim - 1) and right is SHARED and y.value is not None and x.ndim > 1 and y.ndim == 2:
            # A gradient that is a constant, for example of a mean: each tile takes its own rows.
            return Tiling(TOTAL, sliced=(1,))
        return self.sum_of_products(x, y).batch(use)


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
