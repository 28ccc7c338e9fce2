"""Origins: how every element of every array of a subject is made, in terms of the arrays that the subject shows.

An operation explains its result by its own inputs (``Op.explain``). If one of them is written inside the equation and has no
line of its own, such as ``f.T`` in ``f.T @ dZ3``, the explanation of that input takes its place.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np

from tinygraph.describe.numbers import number_text
from tinygraph.describe.subject import Subject
from tinygraph.describe.writer import equal_elements, written_inputs
from tinygraph.errors import TinygraphError, counted, listing, nearest
from tinygraph.graph import Array, Op, OpaqueGradient, Tensor, call_rule
from tinygraph.graph.explanation import Explanation, Terms, position, sources

PLACEHOLDER = re.compile(r"\{(\d+)\}")
# The most numbers of a local Jacobian that are computed for one operation, and its precision in units of the dtype's.
MOST_NUMBERS, _EXACT = 1 << 18, 64
# How the formulas of comparisons write them, and what holds where they do not.
_SIGNS = {">": (">", "≤"), ">=": ("≥", "<"), "<": ("<", "≥"), "<=": ("≤", ">"), "==": ("=", "≠"), "!=": ("≠", "=")}

# Elements of one array, by their positions in it.
Read: TypeAlias = tuple[Tensor, Array]


@dataclass(frozen=True, eq=False)
class Part:
    """Terms of a sum: products of one element of each of ``nodes``, at ``cells``, times ``weight``; or just ``values``."""

    nodes: tuple[Tensor, ...]
    cells: tuple[Array, ...]
    weight: Array
    values: Array | None = None
    text: str = ""

    def __len__(self) -> int:
        return len(self.weight)

    def numbers(self, values: Mapping[Tensor, Array]) -> Array:
        """Return the terms as numbers."""
        inputs = [values[node] for node in self.nodes]
        return Terms(tuple(enumerate(self.cells)), self.weight, self.values).numbers(inputs)


@dataclass(frozen=True, eq=False)
class Origin:
    """How one element of ``node`` is made: the sum of ``parts``, or a ``formula``; see ``tg.Explanation``."""

    node: Tensor
    at: int
    parts: tuple[Part, ...] = ()
    reads: tuple[Read, ...] = ()
    reason: str = ""
    formula: str = ""
    slopes: tuple[Part, ...] = ()

    @property
    def count(self) -> int:
        """How many terms there are."""
        return sum(map(len, self.parts))

    def value(self, values: Mapping[Tensor, Array]) -> float:
        """Return the sum of all terms; of a formula the number itself."""
        if self.formula:
            return float(values[self.node].reshape(-1)[self.at])
        return float(sum(part.numbers(values).sum() for part in self.parts))


def product_of(left: Part, right: Part) -> Part:
    """Return every term of one part times every term of another."""
    m, n = len(left), len(right)
    cells = [c.repeat(n) if n > 1 else c for c in left.cells] + [np.tile(c, m) if m > 1 else c for c in right.cells]
    weight = np.multiply.outer(left.weight, right.weight).reshape(-1)
    return Part((*left.nodes, *right.nodes), tuple(cells), weight)


def merged(parts: Sequence[Part]) -> list[Part]:
    """Return parts on the same arrays as one."""
    alike: dict[tuple[Tensor, ...], list[Part]] = {}
    for part in parts:
        alike.setdefault(part.nodes, []).append(part)
    return [
        Part(
            nodes,
            tuple(np.concatenate([part.cells[i] for part in found]) for i in range(len(nodes))),
            np.concatenate([part.weight for part in found]),
        )
        for nodes, found in alike.items()
    ]


@dataclass
class _Draft:
    """An origin that is being put together."""

    parts: list[Part] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    formula: str = ""

    def adopt(self, inner: Origin) -> None:
        """Add what another origin reads, and its reason."""
        if inner.reason:
            count = len(self.reads)
            self.reasons.append(PLACEHOLDER.sub(lambda match: f"{{{int(match[1]) + count}}}", inner.reason))
        self.reads += inner.reads


class Origins:
    """The origins of all elements of a subject that has values.

    ``further`` are nodes that origins name although they have no line of their own, because no named node can replace them.

    >>> import tinygraph as tg
    >>> from tinygraph.describe.subject import subject_of
    >>> x = tg.tensor([-1.0, 2.0], name="x")
    >>> origins = Origins(subject_of(tg.relu(x).sum()))
    >>> origins.of(origins.node("dx"), (0,)).reason
    'blocked: {0} ≤ 0'
    """

    def __init__(self, subject: Subject, values: Mapping[Tensor, Array] | None = None) -> None:
        self.subject = subject
        self.values = subject.values if values is None else values
        self.further: dict[Tensor, None] = {}
        self._numbers = {x for x in subject.nodes if equal_elements(x) is not None}
        lines = {*subject.expressions, *subject.numbered}
        self._known = {x for x in subject.nodes if x in lines or (x.op is None and x not in self._numbers)}
        inside = {x: text for x, text in subject.layout.texts.items() if x not in self._known}
        ways = {x: symbol.text for x, symbol in subject.numbered.items() if x in self._known}
        self._names = {**subject.labels, **inside, **ways}
        self._again = self._computed_again()
        self._inner: dict[tuple[Tensor, int], Origin] = {}
        self._jacobians: dict[Tensor, Jacobian] = {}

    def node(self, label: str) -> Tensor:
        """Return the node with a label. Raises ``TinygraphError`` if there is none."""
        labels = {self.text(node): node for node in self.subject.nodes if node in self._known}
        if self.subject.backward is not None:
            gradients = self.subject.backward.gradients
            labels |= {label: gradients[x] for x, label in self.subject.gradient_labels.items()}
        if label not in labels:
            raise TinygraphError(f"there is no array {label!r}{nearest(label, labels)} (there are {listing(labels)})")
        return labels[label]

    def has_name(self, node: Tensor) -> bool:
        """Whether a node has a name or a line of its own."""
        return node in self._known

    def text(self, node: Tensor) -> str:
        """Return the name of a node: its label, or its expression inside an equation."""
        return self._names[node]

    def of(self, node: Tensor, index: Sequence[int]) -> Origin:
        """Return how the element of a node at ``index`` is made. Raises ``TinygraphError`` if there is no such element."""
        if len(index) != node.ndim or not all(0 <= i < size for i, size in zip(index, node.shape, strict=True)):
            fault = f"{self.text(node)} has the shape {node.shape} and no element {tuple(index)}"
            raise TinygraphError(f"{fault}; an element is named by {counted(node.ndim, 'number')}, counted from 0")
        return self.at(node, position(index, node.shape))

    def at(self, node: Tensor, at: int) -> Origin:
        """Return how the element of a node at a position, counted row by row, is made; for a leaf, an empty origin."""
        if node.op is None:
            return Origin(node, at)
        explanation = self._explanation(node, at)
        draft = _Draft()
        if explanation.reads or explanation.reason or explanation.formula:
            self._read(draft, node, explanation)
        for terms in explanation.terms:
            self._add(draft, node, terms)
        reason, slopes = "; ".join(draft.reasons), self._slopes(node, explanation)
        return Origin(node, at, tuple(draft.parts), tuple(draft.reads), reason, draft.formula, slopes)

    def _explanation(self, node: Tensor, at: int) -> Explanation:
        assert node.op is not None
        y, inputs = self.values[node], [self.values[x] for x in node.inputs]
        index = tuple(map(int, np.unravel_index(at, y.shape)))
        found = node.op.explain(index, y, *inputs)
        if found is not None:
            return found
        return self._jacobians.setdefault(node, Jacobian(node.op, y, inputs)).explanation(index)

    def _element(self, x: Tensor, cell: int) -> Origin:
        if (x, cell) not in self._inner:
            self._inner[x, cell] = self.at(x, cell)
        return self._inner[x, cell]

    def _computed_again(self) -> dict[Tensor, Tensor]:
        """Return the nodes inside equations that repeat a node with a line, such as the softmax of a loss and of the output."""
        found: dict[Any, Tensor] = {}
        again: dict[Tensor, Tensor] = {}
        for node in self.subject.nodes:
            if node.op is not None:
                key = type(node.op), repr(node.op.attributes()), tuple(map(id, written_inputs(node)))
                first = found.setdefault(key, node) if node in self._known else found.get(key)
                if first is not None and node not in self._known:
                    again[node] = first
        return again

    def _resolved(self, x: Tensor, cells: Array) -> Read:
        """Return elements of a node, or the elements of another node that are only moved into it inside an equation."""
        x = self._again.get(x, x)
        while x not in self._known and x not in self._numbers and x.op is not None and x.op.moves:
            places, positions = sources(x.op, tuple(y.shape for y in x.inputs))
            found = np.unique(places.reshape(-1)[cells])
            if len(found) != 1 or found[0] < 0:
                break
            x, cells = x.inputs[int(found[0])], positions.reshape(-1)[cells]
        return x, cells

    def _is_named(self, x: Tensor) -> bool:
        return x in self._known or x in self.further

    # What is read

    def _read(self, draft: _Draft, node: Tensor, explanation: Explanation) -> None:
        """Add what an explanation reads, its reason and its formula; numbers are written in their places."""
        words: dict[int, str] = {}
        for place, (which, cells) in enumerate(explanation.reads):
            x, cells = self._resolved(node.inputs[which], cells)
            if x in self._numbers and len(cells):
                words[place] = number_text(self.values[x].reshape(-1)[cells[0]])
                continue
            if not self._is_named(x):
                self.further[x] = None
            words[place] = f"{{{len(draft.reads)}}}"
            draft.reads.append((x, cells))
        if explanation.reason:
            draft.reasons.append(_filled(explanation.reason, words))
        if explanation.formula:
            draft.formula = _filled(explanation.formula, words)

    def _gate(self, draft: _Draft, condition: Tensor, cell: int) -> None:
        """Add the reason why a condition lets a number pass, or blocks it."""
        op = condition.op
        explanation = self._explanation(condition, cell) if op is not None else Explanation()
        holds = bool(self.values[condition].reshape(-1)[cell])
        text = explanation.formula or "a condition"
        if not holds:
            signs = _SIGNS.get(op.symbol if op else "")
            read = [self.values[condition.inputs[place]].reshape(-1)[cells] for place, cells in explanation.reads]
            if signs and not any(np.isnan(numbers).any() for numbers in read):
                text = text.replace(f" {signs[0]} ", f" {signs[1]} ")
            else:
                text = text.replace(" is ", " is not ", 1) if " is " in text else f"{text} does not hold"
        reason = f"{'open' if holds else 'blocked'}: {text}"
        self._read(draft, condition, replace(explanation, formula="", reason=reason))

    # What is summed

    def _add(self, draft: _Draft, node: Tensor, terms: Terms) -> None:
        """Add the terms of an explanation, in terms of arrays that are shown."""
        weight = np.broadcast_to(np.asarray(terms.weight, np.float64), (len(terms),))
        named: list[Read] = []
        inside: list[Read] = []
        words: dict[int, str] = {}
        for factor, (place, cells) in enumerate(terms.factors):
            x, cells = self._resolved(node.inputs[place], cells)
            if x in self._numbers:
                weight = weight * (1.0 if terms.values is not None else self.values[x].reshape(-1)[cells])
                number = number_text(self.values[x].flat[0])
                words[factor] = f"({number})" if number.startswith("-") else number
            elif self._is_named(x) or terms.values is not None:
                words[factor] = f"{{{len(named)}}}"
                named.append((x, cells))
            elif x.dtype.kind == "b" and len(terms) == 1:
                self._gate(draft, x, int(cells[0]))
                weight = weight * float(self.values[x].reshape(-1)[cells[0]])
            else:
                inside.append((x, cells))
        self.further.update((x, None) for x, _ in named if x not in self._known)
        if len(terms) == 1 and weight[0] == 0 and terms.values is None:
            # A closed gate: what it blocks is shown, and has no part in the sum.
            draft.reads += named
            return
        nodes, cells_of = tuple(x for x, _ in named), tuple(cells for _, cells in named)
        self._unfold(draft, Part(nodes, cells_of, weight, terms.values, _filled(terms.text, words)), inside)

    def _unfold(self, draft: _Draft, part: Part, inside: Sequence[Read]) -> None:
        """Add a part, with the nodes ``inside`` an equation replaced by what they are made of."""
        unfolded: list[list[Origin]] = []
        for x, cells in inside:
            found = [self._element(x, int(cell)) for cell in cells]
            if any(each.formula or any(p.values is not None for p in each.parts) for each in found):
                self.further[x] = None
                part = replace(part, nodes=(*part.nodes, x), cells=(*part.cells, cells))
            else:
                unfolded.append(found)
        if not unfolded:
            draft.parts.append(part)
            return
        pieces: list[Part] = []
        for t in range(len(part)):
            product = [Part(part.nodes, tuple(c[t : t + 1] for c in part.cells), part.weight[t : t + 1])]
            for found in unfolded:
                product = [product_of(p, q) for p in product for q in found[t].parts]
            pieces += product
        draft.parts += merged(pieces)
        if len(part) == 1:
            for found in unfolded:
                draft.adopt(found[0])

    def _slopes(self, node: Tensor, explanation: Explanation) -> tuple[Part, ...]:
        parts = []
        for terms in explanation.slopes:
            x, cells = self._resolved(node.inputs[terms.factors[0][0]], terms.factors[0][1])
            if not self._is_named(x):
                self.further[x] = None
            parts.append(Part((x,), (cells,), np.atleast_1d(np.asarray(terms.weight, np.float64))))
        return tuple(parts)


def _filled(text: str, words: Mapping[int, str]) -> str:
    return PLACEHOLDER.sub(lambda match: words.get(int(match[1]), match[0]), text)


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
        everything = tuple((i, np.arange(x.size)) for i, x in enumerate(self.inputs) if x.size)
        return Explanation(reads=everything, formula=f"{self.op.name} of these elements", slopes=slopes)

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


def _weighted(place: int, weights: Array) -> tuple[Terms, ...]:
    cells = np.flatnonzero(weights)
    return (Terms(((place, cells),), weights[cells].astype(np.float64)),) if cells.size else ()
