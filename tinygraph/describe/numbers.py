"""Numbers as text, and arrays in numbers: small ones complete, of larger ones a part and a summary."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygraph.describe.symbols import Formula
from tinygraph.graph import Array

MOST_ROWS, MOST_COLUMNS, LONGEST_ROW, FIRST_ENTRIES = 12, 10, 16, 6
# A row of more than MOST_COLUMNS numbers is written in several lines, to fit a page or a phone.
IN_A_LINE = 8


@dataclass(frozen=True)
class Number:
    """An array in numbers: a symbol, a shape, rows of numbers as text, and a note.

    ``rows`` are those of the complete array, or of a part that ``note`` names.
    """

    symbol: Formula
    shape: str
    rows: tuple[tuple[str, ...], ...] = ()
    note: str = ""


def number_text(value: Any, digits: int = 4) -> str:
    """Return a number with four digits, or as many as are wanted; a boolean is 1 or 0.

    >>> number_text(0.123456), number_text(np.int64(1184)), number_text(-0.0), number_text(True), number_text(3 - 2j)
    ('0.1235', '1184', '0', '1', '3-2j')
    >>> number_text(float("nan")), number_text(1e-9)
    ('nan', '1e-09')
    """
    if isinstance(value, (bool, np.bool_, int, np.integer)):
        return str(int(value))
    return f"{value + 0.0:.{digits}g}"


def short(x: Array) -> str:
    """Return an array as a line of text; a large one by its shape.

    >>> short(np.array([0.5, 1.0])), short(np.ones((40, 30)))
    ('[0.5, 1]', 'an array (40, 30)')
    """
    if x.size > 9:
        return f"an array {x.shape}"
    return np.array2string(x, separator=", ", formatter={"float_kind": lambda v: f"{v:.4g}"}).replace("\n", "")


def tex_number(number: Any) -> str:
    r"""Return a number in TeX: one that is written as text already, or another with six digits.

    >>> tex_number("-1.5e-05"), tex_number(1e-8), tex_number("nan"), tex_number(-np.inf), tex_number(np.int8(3))
    ('-1.5 \\cdot 10^{-5}', '10^{-8}', '\\text{nan}', '-\\infty', '3')
    """
    if not isinstance(number, str):
        number = f"{number:.6g}" if isinstance(number, (float, np.floating)) else str(int(number))
    if number == "nan":
        return r"\text{nan}"
    mantissa, _, exponent = number.replace("inf", r"\infty").partition("e")
    if not exponent:
        return str(mantissa)
    power = f"10^{{{int(exponent)}}}"
    return power if mantissa == "1" else rf"{mantissa} \cdot {power}"


def number_of(symbol: Formula, array: Array) -> Number:
    """Return an array as numbers with four digits.

    >>> from tinygraph.describe.symbols import Formula
    >>> number_of(Formula("x", {}), np.array([[1.0, 0.25]]))
    Number(symbol=Formula(source='x'), shape='(1, 2)', rows=(('1', '0.25'),), note='')
    >>> number_of(Formula("b", {}), np.arange(11.0)).rows[1], number_of(Formula("b", {}), np.arange(11.0)).note
    (('8', '9', '10'), 'written in lines of 8')
    """
    shape = str(array.shape)
    if not array.size:
        return Number(symbol, shape, (), "it has no elements")
    matrix = _matrix(array)
    if matrix is not None and _fits(matrix):
        rows, note = _rows(matrix), ""
        if matrix.shape[1] > MOST_COLUMNS:
            (row,) = rows
            rows = tuple(row[i : i + IN_A_LINE] for i in range(0, len(row), IN_A_LINE))
            note = f"written in lines of {IN_A_LINE}"
        elif array.ndim > 1 and matrix.shape != array.shape[-2:]:
            note = "written as a row"
        return Number(symbol, shape, rows, note)
    first = array[(0,) * (array.ndim - 2)] if array.ndim > 1 else array
    if array.ndim > 1 and _fits(first):
        note = f"shown is [{', '.join('0' * (array.ndim - 2))}]"
    else:
        first = array.reshape(1, -1)[:, :FIRST_ENTRIES]
        note = f"the first {first.size} of {array.size:,} are shown"
    return Number(symbol, shape, _rows(first), f"{note}; {summary(array)}")


def summary(array: Array) -> str:
    """Return the smallest, mean and largest element, and how many are not finite.

    >>> summary(np.array([1.0, 3.0, np.nan]))
    'min 1, mean 2, max 3, 1 not finite'
    """
    finite = array[np.isfinite(array)]
    text = "no finite element"
    if finite.size:
        text = f"min {number_text(finite.min())}, mean {number_text(finite.mean())}, max {number_text(finite.max())}"
    return text if finite.size == array.size else f"{text}, {array.size - finite.size:,} not finite"


def first_entries(array: Array, count: int = 3) -> str:
    """Return the first elements of an array in one line.

    >>> first_entries(np.arange(5.0))
    '0, 1, 2, ...'
    """
    return ", ".join(map(number_text, array.reshape(-1)[:count])) + (", ..." if array.size > count else "")


def _rows(matrix: Array) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(map(number_text, row)) for row in matrix)


def _matrix(array: Array) -> Array | None:
    """Return an array as a matrix, if all axes but its last two have size 1, or as a row, if all axes but one have."""
    is_column = array.ndim == 2 and array.shape[0] <= MOST_ROWS
    if sum(size > 1 for size in array.shape) <= 1 and not is_column:
        return array.reshape(1, -1)
    return array.reshape(array.shape[-2:]) if set(array.shape[:-2]) <= {1} else None


def _fits(matrix: Array) -> bool:
    most = LONGEST_ROW if matrix.shape[0] == 1 else MOST_COLUMNS
    return bool(matrix.shape[0] <= MOST_ROWS and matrix.shape[1] <= most)
