"""Origin: how one element of one array is made, told in arrays that are shown. Plain records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from tinygraph.graph.arrays import Array
from tinygraph.graph.explanation import Terms
from tinygraph.graph.tensor import Tensor

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
    """How one element of ``node`` is made: the sum of ``parts``, or a ``formula``. Its words are ``tg.Explanation``'s."""

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


def merged(parts: list[Part]) -> list[Part]:
    """Return parts on the same arrays as one."""
    if len(parts) < 2:
        return parts
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
