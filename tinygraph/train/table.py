"""Read tables: ``.csv`` files with a header, whose columns of numbers are samples."""

from __future__ import annotations

import csv
import io
import itertools
import math
import sys
import warnings
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tinygraph.errors import DataError, counted, listing, nearest
from tinygraph.files import open_plain
from tinygraph.graph import Array
from tinygraph.train.source import Source, feature_of, sample_shape

if TYPE_CHECKING:
    from tinygraph.model import Model

# What the column of the labels may be called.
LABELS = ("label", "class", "target", "y")
_MISSING = {"", "?", "-", "na", "n/a", "nan", "null", "none"}
_LONGEST_HEADER = 2**20


def read_table(path: Path, model: Model | None, label: str | None) -> Source:
    """Return the columns of numbers as ``x``, float64 (rows, columns), and the column called ``label`` as ``y``.

    Without ``label`` it is the one called as the model's input for labels, or else ``label``, ``class``, ``target`` or ``y``.
    Whole numbers become int64, others float64, and text is left as the class of each sample. Columns of text, and those
    without a name, are left out. Raises ``DataError`` with line and column.
    """
    wanted, rows = feature_of(model, "the columns of a table"), _rows(path)
    try:
        line, names = next(rows, (1, []))
        _check_header(f"{path}:{line}", names)
        chosen = _label_column(path, names, model, label)
        columns = [_Column(name, [] if name == chosen else None) for name in names]
        for line, row in rows:
            if len(row) != len(names):
                raise DataError(f"{path}:{line}: found {counted(len(row), 'field')}; the header has {len(names)}")
            for column, text in zip(columns, row, strict=True):
                column.add(line, text.strip())
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: it is not text in UTF-8 ({error.reason})") from None
    except csv.Error as error:
        raise DataError(f"{path}: it is not a table with values between commas ({error})") from None
    if not columns[0].values:
        raise DataError(f"{path}: there is no row below the header")
    others = [column for column in columns if column.name not in ("", chosen)]
    features, left = [c for c in others if c.numbers], [c.name for c in others if not c.numbers]
    if not features:
        raise DataError(f"{path}: no column holds numbers to learn from (columns: {listing(names)})")
    x = np.column_stack([column.as_feature(path) for column in features])
    x = x.reshape(-1, *sample_shape(x.shape[1:], wanted))
    y = None if chosen is None else columns[names.index(chosen)].as_labels(path)
    unnamed = (
        f"no column is called {', '.join(LABELS)}; name that of the labels (--label, label=) among {listing(names)}"
    )
    if left:
        warnings.warn(f"{path.name}: the text in {listing(left)} is left out", stacklevel=2)
    return Source(x, y, description=f"from {path.name}", unlabelled=f"{path}: {unnamed}")


class _Column:
    """A column of a table: its numbers, NaN for anything else, where the first of these is, and its ``texts`` if kept."""

    def __init__(self, name: str, texts: list[str] | None) -> None:
        self.name, self.texts, self.values, self.numbers = name, texts, array("d"), 0
        self.gap: int | None = None
        self.text: tuple[int, str] | None = None

    def add(self, line: int, text: str) -> None:
        """Add the cell of one row."""
        value = _number(text)
        self.values.append(value)
        self.numbers += not math.isnan(value)
        if math.isnan(value):
            if text.lower() in _MISSING:
                self.gap = self.gap or line
            else:
                self.text = self.text or (line, text)
        if self.texts is not None:
            self.texts.append(sys.intern(text))

    def as_feature(self, path: Path) -> Array:
        """Return the numbers; any other cell is an error."""
        if self.text is not None:
            line, text = self.text
            raise DataError(f"{path}:{line}: column {self.name!r} holds numbers; found {text!r}")
        self._refuse_gap(path)
        return np.array(self.values)

    def as_labels(self, path: Path) -> Array:
        """Return labels: numbers if all cells hold numbers, else text."""
        self._refuse_gap(path)
        if self.text is not None:
            return np.array(self.texts)
        values = np.array(self.values)
        return values.astype(np.int64) if (np.rint(values) == values).all() and abs(values).max() < 2**53 else values

    def _refuse_gap(self, path: Path) -> None:
        if self.gap is not None:
            raise DataError(f"{path}:{self.gap}: column {self.name!r} has no value; fill it in, or remove the row")


def _number(text: str) -> float:
    """Return a finite number, or NaN for all other text."""
    try:
        value = math.nan if "_" in text else float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that are not blank, each with the line where it ends; commas, semicolons or tabs divide the fields."""
    try:
        with open_plain(path) as file, io.TextIOWrapper(file, "utf-8-sig", newline="") as text:
            first = text.readline(_LONGEST_HEADER)
            rows = csv.reader(itertools.chain([first], text), delimiter=max(",;\t", key=first.count), strict=True)
            yield from ((rows.line_num, row) for row in rows if row)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None


def _check_header(place: str, names: list[str]) -> None:
    names[:] = [name.strip() for name in names]
    for column, name in enumerate(names):
        if name and name in names[:column]:
            raise DataError(f"{place}: two columns are called {name!r}")
    if not any(names) or all(name and not math.isnan(_number(name)) for name in names):
        raise DataError(f"{place}: expected a header with the names of the columns; found {listing(names)}")


def _label_column(path: Path, names: list[str], model: Model | None, label: str | None) -> str | None:
    if label is not None:
        if label not in names:
            raise DataError(f"{path}: no column is called {label!r}{nearest(label, names)} (columns: {listing(names)})")
        return label
    if model is not None and not model.labels:
        return None
    own = model.labels if model is not None and len(model.labels) == 1 else ()
    lower = [name.lower() for name in names]
    return next((names[lower.index(name.lower())] for name in (*own, *LABELS) if name.lower() in lower), None)
