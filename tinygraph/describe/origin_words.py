"""Origins in words, as a terminal shows them."""

import re

import numpy as np

from tinygraph.describe.numbers import number_text
from tinygraph.describe.origins import PLACEHOLDER, Origin, Origins, Part
from tinygraph.graph import Tensor

# The most terms of a sum that are written, unless another number is given.
MOST_TERMS = 16
_GIVEN = {"input": "an input", "tensor": "a value"}


def origin_text(origins: Origins, origin: Origin, most: int = MOST_TERMS) -> str:
    """Return an origin in words: the number, how many terms it is the sum of, the first of them, and what was decided.

    A product is written with the numbers of its factors, one negative in parentheses.

    >>> import tinygraph as tg
    >>> from tinygraph.describe.subject import subject_of
    >>> x = tg.tensor([[1.0, 2.0], [3.0, 4.0]], name="x")
    >>> origins = Origins(subject_of((x.T @ x).sum()))
    >>> print(origin_text(origins, origins.of(origins.node("t2"), (0, 1))))
    t2[0,1] = 14, the sum of 2 products
      t1[0,0] · x[0,1] = 1 · 2 = 2
      t1[0,1] · x[1,1] = 3 · 4 = 12
    """
    node = origin.node
    number, sort = number_text(origins.values[node].reshape(-1)[origin.at]), ""
    if not origin.formula and origin.count > 1:
        are_products = all(len(part.nodes) > 1 and part.values is None for part in origin.parts)
        sort = f", the sum of {origin.count} {'products' if are_products else 'terms'}"
    lines = [f"{element(origins, node, origin.at)} = {number}{sort}"]
    if origin.formula:
        whether = "whether " if node.dtype.kind == "b" else ""
        names = " and ".join(dict.fromkeys(origins.text(x) for x, _ in origin.reads))
        formula = origin.formula.replace("these elements", f"the elements of {names}")
        lines.append(f"  = {whether}{_filled(origins, formula, origin)}")
    terms = [
        f"  {_term(origins, part, t)} = {number_text(value)}" if part.nodes else f"  {number_text(value)}"
        for part in origin.parts
        for t, value in enumerate(part.numbers(origins.values))
    ]
    slopes = [
        f"  moves by {number_text(weight)} for each unit of {element(origins, part.nodes[0], int(cell))}"
        for part in origin.slopes
        for weight, cell in zip(part.weight, part.cells[0], strict=True)
    ]
    for found in (terms, slopes):
        lines += found[:most] + [f"  and {len(found) - most} more"] * (len(found) > most)
    if origin.reason:
        lines.append(f"  {_filled(origins, origin.reason, origin)}")
    return "\n".join(lines if len(lines) > 1 else [*lines, f"  {_alone(origins, node)}"])


def _alone(origins: Origins, node: Tensor) -> str:
    """Describe an element that is made of no other."""
    backward = origins.subject.backward
    if node.op is not None:
        return "nothing comes through"
    if backward is not None and node is backward.gradients[backward.output]:
        return "where the backward pass starts"
    return f"given, {_GIVEN.get(node.kind, f'a {node.kind}')}"


def element(origins: Origins, node: Tensor, at: int) -> str:
    """Return the name of an element, such as ``dK1[0,0,1,2]``."""
    name = origins.text(node)
    if not node.ndim:
        return name
    index = ",".join(str(int(i)) for i in np.unravel_index(at, node.shape))
    return f"{name}[{index}]" if origins.has_name(node) else f"({name})[{index}]"


def _term(origins: Origins, part: Part, t: int) -> str:
    cells = [element(origins, x, int(c[t])) for x, c in zip(part.nodes, part.cells, strict=True)]
    if part.text:
        return PLACEHOLDER.sub(lambda match: cells[int(match[1])], part.text)
    one = abs(part.weight[t]) == 1 and cells
    weight = [] if one else [number_text(part.weight[t])]
    sign = "-" if part.weight[t] == -1 and cells else ""
    numbers = [number_text(origins.values[x].reshape(-1)[c[t]]) for x, c in zip(part.nodes, part.cells, strict=True)]
    factors = [f"({number})" if number.startswith("-") else number for number in [*weight, *numbers]]
    shown = part.values is None and (len(factors) > 1 or (sign and factors[0].startswith("(")))
    product = f" = {sign}{' · '.join(factors)}" if shown else ""
    return sign + " · ".join([*weight, *cells]) + product


def _filled(origins: Origins, text: str, origin: Origin) -> str:
    named: set[str] = set()

    def cell(match: re.Match[str]) -> str:
        node, cells = origin.reads[int(match[1])]
        name, number = element(origins, node, int(cells[0])), origins.values[node].reshape(-1)[cells[0]]
        if name in named:
            return name
        named.add(name)
        return f"{name} is {str(number).lower()}" if node.dtype.kind == "b" else f"{name} = {number_text(number)}"

    return PLACEHOLDER.sub(cell, text)
