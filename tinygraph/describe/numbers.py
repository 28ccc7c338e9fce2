"""Arrays in numbers: small ones whole, of larger ones a part and a summary that says so."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.describe.symbols import Formula
from tinygraph.graph.arrays import Array
from tinygraph.notes.document import Number

MOST_ROWS, MOST_COLUMNS, LONGEST_ROW, FIRST_ENTRIES = 12, 10, 16, 6
# A row of more than MOST_COLUMNS is written in several lines, for a page and a phone are not that wide.
IN_A_LINE = 8


def number_of(symbol: Formula, array: Array, shape: str = "") -> Number:
    """Return an array as numbers with four digits.

    >>> from tinygraph.describe.symbols import Formula
    >>> number_of(Formula("x", {}), np.array([[1.0, 0.25]]))
    Number(symbol=Formula(source='x'), shape='(1, 2)', rows=(('1', '0.25'),), note='')
    >>> number_of(Formula("b", {}), np.arange(11.0)).rows[1], number_of(Formula("b", {}), np.arange(11.0)).note
    (('8', '9', '10'), 'written in lines of 8')
    """
    shape = shape or str(array.shape)
    if not array.size:
        return Number(symbol, shape, (), "it has no elements")
    matrix = _matrix(array)
    if matrix is not None and _fits(matrix):
        if matrix.shape[1] > MOST_COLUMNS:
            (row,) = rows(matrix)
            lines = tuple(row[i : i + IN_A_LINE] for i in range(0, len(row), IN_A_LINE))
            return Number(symbol, shape, lines, f"written in lines of {IN_A_LINE}")
        turned = array.ndim > 1 and matrix.shape != array.shape[-2:]
        return Number(symbol, shape, rows(matrix), "written as a row" if turned else "")
    about = summary(array)
    if array.ndim >= 2 and _fits(array[(0,) * (array.ndim - 2)]):
        at = ", ".join("0" for _ in range(array.ndim - 2))
        return Number(symbol, shape, rows(array[(0,) * (array.ndim - 2)]), f"shown is [{at}]; {about}")
    first = array.reshape(-1)[:FIRST_ENTRIES]
    return Number(symbol, shape, rows(first[None]), f"the first {len(first)} of {array.size:,} are shown; {about}")


def summary(array: Array) -> str:
    """Return the smallest, mean and largest element, and how many are not finite.

    >>> summary(np.array([1.0, 3.0, np.nan]))
    'min 1, mean 2, max 3, 1 not finite'
    """
    finite = array[np.isfinite(array)]
    text = "no finite element"
    if finite.size:
        text = f"min {written(finite.min())}, mean {written(finite.mean())}, max {written(finite.max())}"
    return text if finite.size == array.size else f"{text}, {array.size - finite.size:,} not finite"


def rows(matrix: Array) -> tuple[tuple[str, ...], ...]:
    """Return a matrix as rows of text."""
    return tuple(tuple(written(value) for value in row) for row in matrix)


def written(value: Any) -> str:
    """Return a number with four digits.

    >>> written(0.123456), written(np.int64(7)), written(-0.0), written(True), written(3 - 2j)
    ('0.1235', '7', '0', '1', '3-2j')
    """
    if isinstance(value, (bool, np.bool_, int, np.integer)):
        return str(int(value))
    if np.iscomplexobj(value):
        return f"{complex(value) + 0.0:.4g}"
    return f"{float(value) + 0.0:.4g}"


def first_entries(array: Array, count: int = 3) -> str:
    """Return the first elements of an array in one line.

    >>> first_entries(np.arange(5.0))
    '0, 1, 2, ...'
    """
    return ", ".join(written(value) for value in array.reshape(-1)[:count]) + (", ..." if array.size > count else "")


def _matrix(array: Array) -> Array | None:
    """Return an array as a matrix, if all axes but its last two have size 1, or as a row, if all axes but one have."""
    is_column = array.ndim == 2 and array.shape[0] <= MOST_ROWS
    if sum(size > 1 for size in array.shape) <= 1 and not is_column:
        return array.reshape(1, -1)
    return array.reshape(array.shape[-2:]) if set(array.shape[:-2]) <= {1} else None


def _fits(matrix: Array) -> bool:
    most = LONGEST_ROW if matrix.shape[0] == 1 else MOST_COLUMNS
    return bool(matrix.shape[0] <= MOST_ROWS and matrix.shape[1] <= most)
