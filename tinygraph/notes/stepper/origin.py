"""Origins: how every element of every array of a subject is made, told in the arrays that the subject shows.

An operation tells of its own inputs (``Op.explain``). Where one of them is written inside the equation and has no line of its
own, such as ``f.T`` in ``f.T @ dZ3``, what it says of itself is put in its place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from tinygraph.draw.subject import Subject
from tinygraph.errors import TinygraphError, listing, nearest
from tinygraph.graph.explanation import Array, Explanation, Terms, position
from tinygraph.graph.tensor import Tensor
from tinygraph.notes.numbers import written
from tinygraph.notes.stepper.jacobian import Jacobian

Read: TypeAlias = tuple[Tensor, Array]
# How the formulas of comparisons write them, and what holds where they do not.
_SIGNS = {">": (">", "≤"), ">=": ("≥", "<"), "<": ("<", "≥"), "<=": ("≤", ">"), "==": ("=", "≠"), "!=": ("≠", "=")}
_PLACEHOLDER = re.compile(r"\{(\d+)\}")


@dataclass(frozen=True, eq=False)
class Part:
    """Terms of a sum: products of one element of each of ``nodes``, at ``cells``, times ``weight``; or the numbers ``values``."""

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
    """How one element of ``node`` is made: the sum of ``parts``, or a ``formula``. See ``tg.Explanation``, whose words it has."""

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


class Origins:
    """The origins of all elements of a subject that has values.

    ``further`` are nodes that have no line of their own and no way to be told in others, so that origins speak of them.

    >>> import tinygraph as tg
    >>> from tinygraph.draw.subject import subject_of
    >>> x = tg.tensor([[1.0, 2.0], [3.0, 4.0]], name="x")
    >>> origins = Origins(subject_of((x.T @ x).sum()))
    >>> origins.describe(origins.of(origins.node("t2"), (0, 1))).splitlines()[0]
    't2[0,1] = 14, the sum of 2 products'
    """

    def __init__(self, subject: Subject, values: Mapping[Tensor, Array] | None = None) -> None:
        self.subject = subject
        self.values = subject.values if values is None else values
        self.further: dict[Tensor, None] = {}
        self._known = {x for x in subject.nodes if x in subject.expressions or (x.op is None and not self._number(x))}
        self._inner: dict[tuple[Tensor, int], Origin] = {}
        self._jacobians: dict[Tensor, Jacobian] = {}

    def node(self, label: str) -> Tensor:
        """Return the node with a label. Raises ``TinygraphError`` for one that there is not."""
        labels = {self.subject.labels[node]: node for node in self.subject.nodes if node in self._known}
        if label not in labels:
            raise TinygraphError(f"there is no array {label!r}{nearest(label, labels)} (there are {listing(labels)})")
        return labels[label]

    def of(self, node: Tensor, index: Sequence[int]) -> Origin:
        """Return how the element of a node at ``index`` is made."""
        return self.at(node, position(index, node.shape))

    def at(self, node: Tensor, at: int) -> Origin:
        """Return how the element of a node at a position, counted row by row, is made; of a leaf, an origin of nothing."""
        if node.op is None:
            return Origin(node, at)
        explanation = self._explanation(node, at)
        origin = Origin(node, at, formula=explanation.formula, slopes=self._slopes(node, explanation))
        origin = self._reading(origin, node, explanation)
        for terms in explanation.terms:
            origin = self._adding(origin, node, terms)
        return origin

    def has_name(self, node: Tensor) -> bool:
        """Whether a node has a name or a line of its own."""
        return node in self._known

    def text(self, node: Tensor) -> str:
        """Return what a node is called: its label, or the expression that it is inside an equation."""
        layout = self.subject.layout
        return layout.labels[node] if node in self._known else layout.texts.get(node, layout.labels[node])

    def element(self, node: Tensor, at: int) -> str:
        """Return what an element is called, such as ``dK1[0,0,1,2]``."""
        name = self.text(node)
        if not node.ndim:
            return name
        index = ",".join(str(int(i)) for i in np.unravel_index(at, node.shape))
        return f"{name}[{index}]" if node in self._known else f"({name})[{index}]"

    def describe(self, origin: Origin, most: int = 8) -> str:
        """Return an origin in words: the number, what it is the sum of, and its first terms."""
        number = written(self.values[origin.node].reshape(-1)[origin.at])
        lines = [f"{self.element(origin.node, origin.at)} = {number}{_sort_of(origin)}"]
        if origin.formula:
            lines.append(f"  = {self._filled(origin.formula, origin)}")
        for part in origin.parts:
            lines += [f"  {self._term(part, t)} = {written(value)}" for t, value in enumerate(part.numbers(self.values)[:most])]
        if origin.count > most:
            lines.append(f"  and {origin.count - most} more")
        if origin.reason:
            lines.append(f"  {self._filled(origin.reason, origin)}")
        return "\n".join(lines)

    def _term(self, part: Part, t: int) -> str:
        cells = [self.element(x, int(c[t])) for x, c in zip(part.nodes, part.cells, strict=True)]
        if part.text:
            return _PLACEHOLDER.sub(lambda match: cells[int(match[1])], part.text)
        weight = [] if part.weight[t] == 1 and cells else [written(part.weight[t])]
        return " · ".join([*weight, *cells])

    def _filled(self, text: str, origin: Origin) -> str:
        def cell(match: re.Match[str]) -> str:
            node, cells = origin.reads[int(match[1])]
            return f"{self.element(node, int(cells[0]))} = {written(self.values[node].reshape(-1)[cells[0]])}"

        return _PLACEHOLDER.sub(cell, text)

    def _explanation(self, node: Tensor, at: int) -> Explanation:
        assert node.op is not None
        y, inputs = self.values[node], [self.values[x] for x in node.inputs]
        index = tuple(int(i) for i in np.unravel_index(at, y.shape)) if y.ndim else ()
        found = node.op.explain(index, y, *inputs)
        if found is None:
            if node not in self._jacobians:
                self._jacobians[node] = Jacobian(node.op, y, inputs)
            found = self._jacobians[node].explanation(index)
        return found

    def _number(self, x: Tensor) -> bool:
        """Whether a node is a constant with one number in all its elements, which is told as that number."""
        if x.kind != "constant" or not x.size:
            return False
        value = x.value
        return bool((value == value.flat[0]).all())

    def _is_told(self, x: Tensor) -> bool:
        return (x in self._known or x in self.further) and not self._number(x)

    # What is read

    def _reading(self, origin: Origin, node: Tensor, explanation: Explanation) -> Origin:
        """Add to an origin what an explanation reads, its reason and its formula."""
        reads, words = list(origin.reads), {}
        for place, (which, cells) in enumerate(explanation.reads):
            x = node.inputs[which]
            if self._number(x) and len(cells):
                words[place] = written(self.values[x].reshape(-1)[cells[0]])
                continue
            if not self._is_told(x):
                moved = self._moved(x, cells)
                if moved is None:
                    self.further[x] = None
                else:
                    x, cells = moved
            words[place] = f"{{{len(reads)}}}"
            reads.append((x, cells))

        def filled(text: str) -> str:
            return _PLACEHOLDER.sub(lambda match: words.get(int(match[1]), match[0]), text)

        reason = "; ".join(part for part in (origin.reason, filled(explanation.reason)) if part)
        return replace(origin, reads=tuple(reads), reason=reason, formula=filled(origin.formula))

    def _moved(self, x: Tensor, cells: Array) -> Read | None:
        """Return what stands for elements of a node that is written inside an equation, if it only moves them."""
        found = [self._element(x, int(cell)) for cell in cells]
        parts = [origin.parts[0] for origin in found if len(origin.parts) == 1 and not origin.reads]
        whole = [part for part in parts if len(part) == 1 == len(part.nodes) and part.weight[0] == 1 and part.values is None]
        nodes = {part.nodes[0] for part in whole}
        if len(whole) != len(cells) or len(nodes) != 1:
            return None
        return nodes.pop(), np.concatenate([part.cells[0] for part in whole])

    def _element(self, x: Tensor, cell: int) -> Origin:
        if (x, cell) not in self._inner:
            self._inner[x, cell] = self.at(x, cell)
        return self._inner[x, cell]

    # What is summed

    def _adding(self, origin: Origin, node: Tensor, terms: Terms) -> Origin:
        """Add the terms of an explanation to an origin, told in arrays that are shown."""
        count = len(terms)
        weight = np.array(np.broadcast_to(np.asarray(terms.weight, np.float64), (count,)))
        told: list[Read] = []
        inside: list[Read] = []
        for place, cells in terms.factors:
            x = node.inputs[place]
            if self._number(x) and terms.values is None:
                weight = weight * self.values[x].reshape(-1)[cells].astype(np.float64)
            elif self._is_told(x) or terms.values is not None:
                if not self._is_told(x) and not self._number(x):
                    self.further[x] = None
                told += [(x, cells)] * (not self._number(x))
            elif x.dtype.kind == "b" and count == 1:
                origin = self._gated(origin, x, int(cells[0]))
                weight = weight * float(self.values[x].reshape(-1)[cells[0]])
            else:
                inside.append((x, cells))
        part = Part(tuple(x for x, _ in told), tuple(cells for _, cells in told), weight, terms.values, terms.text)
        if count == 1 and weight[0] == 0 and part.values is None:
            # A closed gate: what it holds back is worth seeing, and has no part in the sum.
            return replace(origin, reads=(*origin.reads, *told))
        return self._unfolded(origin, part, inside)

    def _gated(self, origin: Origin, condition: Tensor, cell: int) -> Origin:
        """Add the reason for which a condition lets a number pass, or holds it back."""
        op = condition.op
        explanation = self._explanation(condition, cell) if op is not None else Explanation()
        holds = bool(self.values[condition].reshape(-1)[cell])
        text = explanation.formula or "a condition"
        if not holds:
            signs = _SIGNS.get(op.symbol if op else "")
            text = text.replace(f" {signs[0]} ", f" {signs[1]} ") if signs else f"not: {text}"
        reason = f"{'open' if holds else 'blocked'}: {text}"
        return self._reading(origin, condition, replace(explanation, reason=reason))

    def _unfolded(self, origin: Origin, part: Part, inside: Sequence[Read]) -> Origin:
        """Add a part to an origin, after putting what the nodes ``inside`` an equation are made of in their places."""
        unfolding: list[tuple[Array, list[Origin]]] = []
        for x, cells in inside:
            found = [self._element(x, int(cell)) for cell in cells]
            if any(each.formula or any(p.values is not None for p in each.parts) for each in found):
                self.further[x] = None
                part = replace(part, nodes=(*part.nodes, x), cells=(*part.cells, cells))
            else:
                unfolding.append((cells, found))
        if not unfolding:
            return replace(origin, parts=(*origin.parts, part))
        pieces: list[Part] = []
        for t in range(len(part)):
            product = [replace(part, cells=tuple(c[t : t + 1] for c in part.cells), weight=part.weight[t : t + 1])]
            for _, found in unfolding:
                product = [_times(p, q) for p in product for q in found[t].parts]
            pieces += product
        if len(part) == 1:
            for _, found in unfolding:
                origin = _with_reads(origin, found[0])
        return replace(origin, parts=(*origin.parts, *_merged(pieces)))

    def _slopes(self, node: Tensor, explanation: Explanation) -> tuple[Part, ...]:
        parts = []
        for terms in explanation.slopes:
            x = node.inputs[terms.factors[0][0]]
            if not self._is_told(x):
                self.further[x] = None
            parts.append(Part((x,), (terms.factors[0][1],), np.atleast_1d(np.asarray(terms.weight, np.float64))))
        return tuple(parts)


def _times(left: Part, right: Part) -> Part:
    """Return every term of one part times every term of another."""
    m, n = len(left), len(right)
    cells = [np.repeat(c, n) for c in left.cells] + [np.tile(c, m) for c in right.cells]
    return Part((*left.nodes, *right.nodes), tuple(cells), np.outer(left.weight, right.weight).reshape(-1))


def _merged(parts: Sequence[Part]) -> Iterator[Part]:
    """Yield parts on the same nodes as one."""
    alike: dict[tuple[Tensor, ...], list[Part]] = {}
    for part in parts:
        alike.setdefault(part.nodes, []).append(part)
    for nodes, found in alike.items():
        cells = tuple(np.concatenate([part.cells[i] for part in found]) for i in range(len(nodes)))
        yield Part(nodes, cells, np.concatenate([part.weight for part in found]))


def _with_reads(origin: Origin, inner: Origin) -> Origin:
    """Return an origin that also has what another one reads, and its reason."""
    offset = len(origin.reads)
    reason = _PLACEHOLDER.sub(lambda match: f"{{{int(match[1]) + offset}}}", inner.reason)
    reasons = "; ".join(text for text in (origin.reason, reason) if text)
    return replace(origin, reads=(*origin.reads, *inner.reads), reason=reasons)


def _sort_of(origin: Origin) -> str:
    products = sum(len(part) for part in origin.parts if len(part.nodes) > 1)
    if origin.formula or origin.count < 2:
        return ""
    return f", the sum of {origin.count} {'products' if products == origin.count else 'terms'}"
