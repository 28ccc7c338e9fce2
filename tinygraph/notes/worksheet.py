"""The worksheet: the backward pass without its right-hand sides, and numbers to work out by hand."""

import dataclasses
from collections.abc import Iterator, Sequence

from tinygraph.describe.derive import Line
from tinygraph.describe.numbers import Number, number_of
from tinygraph.describe.subject import Subject
from tinygraph.describe.symbols import Formula
from tinygraph.describe.tex import Formulas
from tinygraph.describe.writer import written_inputs
from tinygraph.graph import Tensor, topological
from tinygraph.notes.document import Block, Paragraph, Task, Tasks

# Larger arrays take too long by hand.
MOST_ELEMENTS, MOST_TASKS = 16, 12


def worksheet(numeric: Subject, written: Formulas, lines: Sequence[Line]) -> tuple[Block, ...]:
    """Return the questions: one for every line of the backward pass, and those with few numbers."""
    rules: list[Task] = []
    for line in lines:
        left, _, right = line.formula.source.partition(" = ")
        rules.append(Task((), *(Formula(source, line.formula.symbols) for source in (left, right))))
    if not rules:
        return ()
    sums = tuple(_sums(numeric, written, {task.left.source for task in rules}))[:MOST_TASKS]
    return (
        Paragraph(("Name and date: ______________________",)),
        Tasks("Complete the rules of the backward pass", tuple(rules)),
        *([Tasks("Work out the numbers", sums, len(rules) + 1)] if sums else []),
    )


def solution(tasks: Sequence[Block]) -> tuple[Block, ...]:
    """Return the questions of a worksheet with their answers."""
    return tuple(dataclasses.replace(block, solved=True) for block in tasks if isinstance(block, Tasks))


def _sums(numeric: Subject, written: Formulas, lefts: set[str]) -> Iterator[Task]:
    """Yield a question for every gradient that is computed from few numbers."""
    if numeric.backward is None or not numeric.values:
        return
    gradients = set(numeric.backward.gradients.values())
    for node in numeric.nodes:
        if node not in gradients or node not in written.right or written.characters[node] not in lefts:
            continue
        given = _operands(node, written, numeric)
        sizes = [numeric.values[x].size for x in (node, *given)]
        if given and max(sizes) <= MOST_ELEMENTS:
            words: list[str | Formula] = [written.equation(node)]
            for i, x in enumerate(given):
                words += [" and " if i else " with ", matrix(number_of(written.symbol(x), numeric.values[x]))]
            left = written.formula(written.characters[node])
            yield Task(tuple(words), left, number_of(left, numeric.values[node]))


def matrix(number: Number) -> Formula:
    """Return an array in numbers as an equation, its elements as a matrix.

    >>> matrix(Number(Formula("x", {}), "(1, 2)", (("1", "2"),))).text
    'x = [1, 2]'
    """
    body = r" \\ ".join(" & ".join(row) for row in number.rows)
    if [len(row) for row in number.rows] != [1]:
        body = rf"\begin{{bmatrix}} {body} \end{{bmatrix}}"
    return dataclasses.replace(number.symbol, source=f"{number.symbol.source} = {body}")


def _operands(node: Tensor, written: Formulas, numeric: Subject) -> list[Tensor]:
    """Return the tensors that a node's line names, in the order of the graph."""
    found: set[Tensor] = set()
    stack = list(written_inputs(node))
    while stack:
        x = written.alias.get(y := stack.pop(), y)
        if x in numeric.expressions and x.kind != "constant":
            found.add(x)
        elif x.op is not None:
            stack.extend(written_inputs(x))
        elif x.kind != "constant":
            found.add(x)
    return [x for x in topological(found) if x in found]
