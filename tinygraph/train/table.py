"""Read tables: ``.csv`` files with a header, whose columns of numbers are samples."""

from __future__ import annotations

import csv
import io
import itertools
import math
import warnings
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tinygraph.errors import DataError, counted, listing, nearest
from tinygraph.files import open_plain
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
    Text becomes classes; whole numbers become int64, others float64. Columns of text, and those without a name, are left
    out. Raises ``DataError`` with line and column.
    """
    rows, values, texts = _rows(path), array("d"), list[str]()
    # The first cell of each column that is no number, with its line.
    other: dict[int, tuple[int, str]] = {}
    line, names = next(rows, (1, []))
    if not any(names) or not any(map(math.isnan, map(_number, filter(None, names)))):
        raise DataError(f"{path}:{line}: expected a header with the names of the columns; found {listing(names)}")
    if doubled := [name for at, name in enumerate(names) if name and name in names[:at]]:
        raise DataError(f"{path}:{line}: two columns are called {doubled[0]!r}")
    chosen = _label_column(path, names, model, label)
    for line, row in rows:
        if len(row) != len(names):
            raise DataError(f"{path}:{line}: found {counted(len(row), 'field')}; the header has {len(names)}")
        numbers = [_number(text) for text in row]
        other = {at: (line, row[at]) for at, number in enumerate(numbers) if math.isnan(number)} | other
        values.extend(numbers)
        if chosen is not None:
            _refuse(path, line, row[chosen], names[chosen], missing_only=True)
            texts.append(row[chosen])
    columns = np.array(values).reshape(-1, len(names)).T
    features = [at for at, name in enumerate(names) if name and at != chosen and not np.isnan(columns[at]).all()]
    left = [name for at, name in enumerate(names) if name and at != chosen and at not in features]
    if not features or not values:
        raise DataError(f"{path}: no column holds numbers to learn from (columns: {listing(names)})")
    for at in filter(other.__contains__, features):
        _refuse(path, *other[at], names[at])
    if left:
        warnings.warn(f"{path.name}: the text in {listing(left)} is left out", stacklevel=2)
    x, y = columns[features].T, None if chosen is None else columns[chosen]
    if chosen in other and not np.isnan(columns[chosen]).all() and model is not None:
        # Among numbers, text is a mistake rather than a class, unless the model takes class numbers.
        if all(model.inputs[name].dtype.kind == "f" for name in model.labels):
            _refuse(path, *other[chosen], names[chosen])
    classes = sorted({*texts}) if chosen in other else []
    if classes:
        places = {name: place for place, name in enumerate(classes)}
        y = np.array([places[text] for text in texts])
    elif y is not None and (np.rint(y) == y).all() and abs(y).max() < 2**53:
        y = y.astype(np.int64)
    wanted = feature_of(model, "the columns of a table")
    shape = sample_shape(x.shape[1:], wanted)
    if wanted is not None and shape != wanted.shape:
        found = f"{counted(len(features), 'column')} of numbers, {listing(names[at] for at in features)}"
        raise DataError(f"{path}: the model takes {counted(math.prod(wanted.shape), 'number')}; found {found}")
    x = x.reshape(-1, *shape)
    unnamed = f"{path}: no column is called {', '.join(_label_names(model))}"
    unnamed += f"; name that of the labels (--label, label=) among {listing(names)}"
    return Source([(x, y)], tuple(classes), unlabelled=unnamed)


def _refuse(path: Path, line: int, text: str, column: str, missing_only: bool = False) -> None:
    """Raise ``DataError`` for a cell that is no number, or only for one without a value."""
    if text.lower() in _MISSING:
        raise DataError(f"{path}:{line}: column {column!r} has no value; fill it in, or remove the row")
    if not missing_only:
        comma = "" if math.isnan(_number(text.replace(",", "."))) else "; write a decimal point, not a comma"
        raise DataError(f"{path}:{line}: column {column!r} holds numbers; found {text!r}{comma}")


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
            yield from ((rows.line_num, [*map(str.strip, row)]) for row in rows if row)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: it is not text in UTF-8 ({error.reason})") from None
    except csv.Error as error:
        raise DataError(f"{path}: it is not a table with values between commas ({error})") from None


def _label_column(path: Path, names: list[str], model: Model | None, label: str | None) -> int | None:
    if label is not None and label not in names:
        raise DataError(f"{path}: no column is called {label!r}{nearest(label, names)} (columns: {listing(names)})")
    if label is not None or (model is not None and not model.labels):
        return None if label is None else names.index(label)
    lower = [name.lower() for name in names]
    return next((lower.index(name.lower()) for name in _label_names(model) if name.lower() in lower), None)


def _label_names(model: Model | None) -> tuple[str, ...]:
    """Return what the column of the labels may be called: as the input of a model with one for labels, or a common name."""
    return LABELS if model is None or len(model.labels) != 1 else (*dict.fromkeys((*model.labels, *LABELS)),)
