"""Sizes that follow the batch: expressions of the number of samples, found from recordings for several numbers."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tinygraph.graph.graph import Graph
from tinygraph.graph.tensor import Tensor
from tinygraph.ops.indexing.index import Index

# Numbers larger than most that a file compares a size with, as 5 in ``x[:5]``; if not, the second base is tried.
BASES = (60, 1020)
# Three numbers show whether a size is proportional; for ``m // 12`` every remainder is needed.
FEW = (0, 1, 7)
MANY = (*range(24), 71)
# The advice for a file whose graph depends on the number of samples.
FIXING = "fix the number of samples with sizes={'x.0': 8} or --size x.0=8, where x is the input"
_LARGEST_DIVISOR, _MOST_TIMES = 12, 12


class Unknown(Exception):
    """A size does not follow any known rule."""


@dataclass(frozen=True)
class Rule:
    """A size for any number ``m`` of samples: ``times * ((a * m + b) // by) + plus``.

    >>> Rule(2, 1).text("m"), Rule(1, 1, 2).text("m"), Rule(1, 2, 3, 2).text("m")
    ('2 * m + 1', '(m + 1) // 2', '2 * ((m + 2) // 3)')
    >>> Rule(1, 1, 2).at(5)
    3
    """

    a: int
    b: int
    by: int = 1
    times: int = 1
    plus: int = 0

    def at(self, m: int) -> int:
        """Return the size for ``m`` samples."""
        return self.times * ((self.a * m + self.b) // self.by) + self.plus

    def text(self, batch: str) -> str:
        """Return the rule as text for an equation; ``batch`` is the text of the number of samples."""
        inner = _plus(batch if self.a == 1 else f"{self.a} * {batch}", self.b)
        if self.by == 1:
            return inner
        part = f"{f'({inner})' if self.b else inner} // {self.by}"
        return _plus(part if self.times == 1 else f"{self.times} * ({part})", self.plus)


def _plus(text: str, number: int) -> str:
    return text + (f" + {number}" if number > 0 else f" - {-number}" if number else "")


class Size(int):
    """A size that follows the batch: a number for one batch, a rule and an expression for all.

    >>> size = Size(5, Rule(2, 1), "x.shape[0]")
    >>> size, size + 0
    (2 * x.shape[0] + 1, 5)
    """

    rule: Rule
    batch: str

    def __new__(cls, number: int, rule: Rule, batch: str) -> Size:
        """Return the size that is ``number`` now; ``batch`` is the text of the number of samples."""
        size = super().__new__(cls, number)
        size.rule, size.batch = rule, batch
        return size

    def __repr__(self) -> str:
        return self.rule.text(self.batch)


def side_by_side(graphs: Sequence[Graph]) -> list[tuple[Tensor, ...]]:
    """Return the corresponding nodes of graphs that differ only in sizes. Raises ``Unknown`` for other graphs."""
    if any(len(graph.nodes) != len(graphs[0].nodes) for graph in graphs):
        raise Unknown
    return list(zip(*(graph.nodes for graph in graphs), strict=True))


@functools.lru_cache(maxsize=4096)
def fit(values: tuple[int, ...], batches: tuple[int, ...]) -> Rule | None:
    """Return the rule that gives ``values`` for ``batches``, or ``None``.

    >>> fit((30, 30, 31), (60, 61, 62))
    Rule(a=1, b=0, by=2, times=1, plus=0)
    """
    slope = (values[-1] - values[0]) / (batches[-1] - batches[0])
    affine = Rule(round(slope), values[0] - round(slope) * batches[0])
    if _holds(affine, values, batches):
        return affine
    factors = [sign * n for n in range(1, _MOST_TIMES + 1) for sign in (1, -1)]
    for times, by in itertools.product(factors, range(2, _LARGEST_DIVISOR + 1)):
        # Sizes are rounded, so the slope between two of them is not exact.
        a = round(slope * by / times)
        if a < 1 or math.gcd(a, by) > 1:
            continue
        for b in (0, by - 1, *range(1, by - 1)):
            rule = Rule(a, b, by, times)
            rule = dataclasses.replace(rule, plus=values[0] - rule.at(batches[0]))
            if _holds(rule, values, batches):
                return rule
    return None


def _holds(rule: Rule, values: Sequence[int], batches: Sequence[int]) -> bool:
    return all(rule.at(m) == value for m, value in zip(batches, values, strict=True))


def common(values: Sequence[Any], batches: Sequence[int], batch: str) -> Any:
    """Return an operation or an attribute for every number of samples, given what it is for some. Raises ``Unknown``."""
    first = values[0]
    if all(value == first for value in values):
        return first
    if dataclasses.is_dataclass(first) and all(type(value) is type(first) for value in values):
        names = [field.name for field in dataclasses.fields(first) if field.init]
        parts = {name: common([getattr(value, name) for value in values], batches, batch) for name in names}
        return dataclasses.replace(first, **parts)  # type: ignore[type-var]
    if all(isinstance(value, tuple) and len(value) == len(first) for value in values):
        items = [common(column, batches, batch) for column in zip(*values, strict=True)]
        return Index(items) if isinstance(first, Index) else tuple(items)
    rule = fit(tuple(values), tuple(batches)) if batch and all(isinstance(value, int) for value in values) else None
    if rule is None:
        raise Unknown
    return Size(first, rule, batch)


def at(value: Any, m: int) -> Any:
    """Return an operation, or a value of its attributes, with the sizes that it has for ``m`` samples."""
    if isinstance(value, Size):
        return value.rule.at(m)
    if isinstance(value, tuple):
        items = [at(item, m) for item in value]
        return Index(items) if isinstance(value, Index) else tuple(items)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.init}
        found = {name: at(part, m) for name, part in fields.items()}
        changed = {name: part for name, part in found.items() if part is not fields[name]}
        return dataclasses.replace(value, **changed) if changed else value
    return value
