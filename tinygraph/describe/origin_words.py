"""Origins in words, as a terminal shows them."""

from __future__ import annotations

import re

import numpy as np

from tinygraph.describe.numbers import number_text
from tinygraph.describe.origin import Origin, Part
from tinygraph.describe.origins import PLACEHOLDER, Origins
from tinygraph.graph.tensor import Tensor

_GIVEN = {"input": "an input", "tensor": "a value"}


def describe(origins: Origins, origin: Origin, most: int = 8) -> str:
    """Return an origin in words: the number, what it is the sum of, its first terms, and what was decided.

    >>> import tinygraph as tg
    >>> from tinygraph.describe.subject import subject_of
    >>> x = tg.tensor([[1.0, 2.0], [3.0, 4.0]], name="x")
    >>> origins = Origins(subject_of((x.T @ x).sum()))
    >>> print(describe(origins, origins.of(origins.node("t2"), (0, 1))))
    t2[0,1] = 14, the sum of 2 products
      t1[0,0] · x[0,1] = 2
      t1[0,1] · x[1,1] = 12
    """
    number = number_text(origins.values[origin.node].reshape(-1)[origin.at])
    lines = [f"{element(origins, origin.node, origin.at)} = {number}{_sort(origin)}"]
    if origin.formula:
        whether = "whether " if origin.node.dtype.kind == "b" else ""
        formula = origin.formula.replace("these elements", f"the elements of {_read_from(origins, origin)}")
        lines.append(f"  = {whether}{_filled(origins, formula, origin)}")
    slopes = [
        f"  moves by {number_text(part.weight[t])} for each unit of {element(origins, part.nodes[0], int(part.cells[0][t]))}"
        for part in origin.slopes
        for t in range(len(part))
    ]
    terms = [
        f"  {_term(origins, part, t)} = {number_text(value)}" if part.nodes else f"  {number_text(value)}"
        for part in origin.parts
        for t, value in enumerate(part.numbers(origins.values))
    ]
    for told in (terms, slopes):
        lines += told[:most] + [f"  and {len(told) - most} more"] * (len(told) > most)
    if origin.reason:
        lines.append(f"  {_filled(origins, origin.reason, origin)}")
    if len(lines) == 1:
        lines.append(f"  {_bare(origins, origin.node)}")
    return "\n".join(lines)


def element(origins: Origins, node: Tensor, at: int) -> str:
    """Return what an element is called, such as ``dK1[0,0,1,2]``."""
    name = origins.text(node)
    if not node.ndim:
        return name
    index = ",".join(str(int(i)) for i in np.unravel_index(at, node.shape))
    return f"{name}[{index}]" if origins.has_name(node) else f"({name})[{index}]"


def _read_from(origins: Origins, origin: Origin) -> str:
    return " and ".join(dict.fromkeys(origins.text(node) for node, _ in origin.reads))


def _bare(origins: Origins, node: Tensor) -> str:
    """Say what there is to say of an element that is made of no other."""
    backward = origins.subject.backward
    if node.op is not None:
        return "nothing comes through"
    if backward is not None and node is backward.gradients[backward.output]:
        return "where the backward pass sets out"
    return f"given, {_GIVEN.get(node.kind, f'a {node.kind}')}"


def _term(origins: Origins, part: Part, t: int) -> str:
    cells = [element(origins, x, int(c[t])) for x, c in zip(part.nodes, part.cells, strict=True)]
    if part.text:
        return PLACEHOLDER.sub(lambda match: cells[int(match[1])], part.text)
    weight = [] if abs(part.weight[t]) == 1 and cells else [number_text(part.weight[t])]
    return ("-" if part.weight[t] == -1 and cells else "") + " · ".join([*weight, *cells])


def _filled(origins: Origins, text: str, origin: Origin) -> str:
    said: set[str] = set()

    def cell(match: re.Match[str]) -> str:
        node, cells = origin.reads[int(match[1])]
        name, number = element(origins, node, int(cells[0])), origins.values[node].reshape(-1)[cells[0]]
        if name in said:
            return name
        said.add(name)
        return f"{name} is {str(number).lower()}" if node.dtype.kind == "b" else f"{name} = {number_text(number)}"

    return PLACEHOLDER.sub(cell, text)


def _sort(origin: Origin) -> str:
    products = sum(len(part) for part in origin.parts if len(part.nodes) > 1 and part.values is None)
    if origin.formula or origin.count < 2:
        return ""
    return f", the sum of {origin.count} {'products' if products == origin.count else 'terms'}"
