"""Read a model file with ``tomllib``: its tables, the line of every key, and mistakes explained in terms of the file."""

from __future__ import annotations

import copy
import keyword
import re
import tomllib
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from tinygraph.errors import BudgetError, ModelError, listing, nearest, unknown
from tinygraph.graph.budget import charge

# One part of a key; possessive quantifiers keep the time linear in the length of the text.
_KEY_PART = r"(?:(?<![A-Za-z0-9_-])[A-Za-z0-9_-]++|(?<!\\)\"(?:[^\"\\\n]|\\.)*+\"|'[^'\n]*+')"
_HEADER = re.compile(rf"\s*\[\[?\s*({_KEY_PART}(?:\s*\.\s*{_KEY_PART})*)\s*\]\]?\s*(?:#.*)?$")
# Strings and comments that end in their line, or the quotes that open a string over several lines.
_STRINGS = re.compile(
    r"\"\"\".*?\"\"\"|\'\'\'.*?\'\'\'|(?P<open>\"\"\"|\'\'\')|\"[^\"\\]*(?:\\.[^\"\\]*)*\"|\'[^\']*\'|#.*"
)
_KEY = re.compile(rf"\s*({_KEY_PART}(?:\s*\.\s*{_KEY_PART})*)\s*=\s*")
# The time of tomllib is quadratic in the parts of a key; a model file needs at most four.
_MOST_PARTS = 20
_LONG_KEY = re.compile(rf"(?:{_KEY_PART}[ \t]*+\.[ \t]*+){{{_MOST_PARTS}}}")
_DTYPES = (
    *("float32", "float64", "float16", "int8", "int16", "int32", "int64"),
    *("uint8", "uint16", "uint32", "uint64", "bool"),
)
_NO_VALUE = "nothing at all: leave the key out"
_VALUES = {"True": "true", "False": "false", "None": _NO_VALUE, "null": _NO_VALUE}


@dataclass(frozen=True)
class Source:
    """The text of a declaration, its file, and the line of every key; empty for a model declared in Python."""

    file: str | None = None
    text: str = ""
    lines: dict[tuple[str, ...], int] = field(default_factory=dict)
    declared: bool = False

    @property
    def stem(self) -> str:
        """The default name of a model: that of its file, without folder and suffix."""
        return Path(self.file).stem if self.file else "model"

    def fail(self, message: str, *path: str) -> NoReturn:
        """Raise a ``ModelError`` at the key ``path``, or at the nearest table that contains it."""
        raise ModelError(message, file=self.file, line=self.line(*path)) from None

    @cached_property
    def table_lines(self) -> dict[tuple[str, ...], int]:
        """The line of every key and table; of a table without a header that of its first key."""
        lines = dict(self.lines)
        for key, line in self.lines.items():
            for end in range(1, len(key)):
                lines.setdefault(key[:end], line)
        return lines

    def line(self, *path: str) -> int | None:
        """Return the line of a key, or of the nearest table that contains it; ``None`` without a text."""
        parents = (path[:end] for end in range(len(path), 0, -1))
        return next((self.table_lines[key] for key in parents if key in self.table_lines), 1 if self.declared else None)

    @cached_property
    def rows(self) -> list[str]:
        """The lines of the text as TOML counts them."""
        return self.text.replace("\r\n", "\n").split("\n")

    def places(self, start: int, column: int, texts: Iterable[str]) -> list[tuple[int, int | None]]:
        """Return the line of each row of a string that begins in line ``start``, and the column from 0 where the row begins.

        A row is expected in the next line or, because of escaped line ends, later in the same line. The column is ``None``
        for a row that is not found there, such as one that contains escapes.
        """
        found: list[tuple[int, int | None]] = []
        line, end = start - 1, 0
        for text in texts:
            first = 0 if found else column
            after = self.rows[line].find(text, first) if text and line < len(self.rows) else -1
            within = self.rows[line - 1].find(text, end) if text and after < 0 and found and self.declared else -1
            if within >= 0:
                end = within + len(text)
                found.append((line, within))
                continue
            line = min(line + 1, max(len(self.rows), start)) if self.declared else line + 1
            found.append((line, None if after < 0 else after))
            end = max(after, 0) + len(text)
        return found

    def text_start(self, *path: str) -> tuple[int, int]:
        """Return the line and column, from 1, at which the string under a key begins."""
        line = self.line(*path) or 1
        row = self.rows[line - 1] if path in self.lines else ""
        opening = re.search(r"=\s*(\"\"\"|'''|\"|')", row)
        if opening is None:
            return line, 1
        multiline_starts_below = len(opening[1]) == 3 and not row[opening.end() :]
        return (line + 1, 1) if multiline_starts_below else (line, opening.end() + 1)


@dataclass(frozen=True)
class Table:
    """A table of a model file and its path there."""

    source: Source
    entries: Mapping[str, Any]
    path: tuple[str, ...] = ()

    def fail(self, message: str, *keys: str) -> NoReturn:
        """Raise the ``ModelError`` at a key of this table."""
        self.source.fail(message, *self.path, *keys)

    def check_keys(self, known: Iterable[str]) -> None:
        """Refuse keys that are not ``known``."""
        known = tuple(known)
        for key in self.entries:
            if key not in known:
                where = f"[{'.'.join(self.path)}]" if self.path else "a model file"
                self.fail(unknown(where, "key", key, known), key)

    def table(self, key: str, default: Any = None) -> Table:
        """Return the table under a key."""
        entries, path = self.entries.get(key, default), (*self.path, key)
        if entries is None:
            self.fail(f"the table [{'.'.join(path)}] is missing", key)
        if not isinstance(entries, Mapping):
            self.fail(f"[{'.'.join(path)}] must be a table; found {kind_of(entries)}", key)
        return Table(self.source, entries, path)

    def value(self, key: str, fits: Callable[[Any], bool], needs: str, default: Any = None) -> Any:
        """Return the value of a key that ``fits``; ``needs`` is the message for any other."""
        value = self.entries.get(key, default)
        if not fits(value):
            self.fail(f"{needs}; found {value!r}", key)
        return value

    def text(self, key: str, default: str | None = None) -> str:
        """Return the text under a key."""
        text = self.entries.get(key, default)
        if text is None:
            self.fail(f"{key} is missing" + (f" in [{'.'.join(self.path)}]" if self.path else ""))
        if not isinstance(text, str):
            self.fail(f"{key} must be text; found {kind_of(text)}", key)
        return text

    def choice(self, key: str, known: Collection[str], needs: str, default: str | None = None) -> str:
        """Return the text of a key that must be one of those ``known``."""
        chosen = self.entries.get(key, default)
        if not isinstance(chosen, str) or chosen not in known:
            self.fail(f"{needs} one of {listing(known)}; found {chosen!r}{nearest(str(chosen), known)}", key)
        return chosen

    def dtype(self, default: str, known: Collection[str] = _DTYPES) -> np.dtype[Any]:
        """Return the dtype that the table names."""
        return np.dtype(self.choice("dtype", known, "dtype must be", default))

    def name(self, name: Any, key: str) -> str:
        """Return a name in the form in which Python's parser reads it in equations."""
        if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name):
            rule = "use letters, digits and _, no digit first, and no keyword of Python such as 'for'"
            self.fail(f"{name!r} is not a name: {rule}", key)
        return unicodedata.normalize("NFKC", name)


def key_lines(text: str) -> dict[tuple[str, ...], int]:
    """Return the line of every key and table of a TOML text, counted from 1.

    >>> key_lines('name = "net"\\n[inputs]\\nx = [2]')
    {('name',): 1, ('inputs',): 2, ('inputs', 'x'): 3}
    """
    lines: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    closing = ""
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), start=1):
        if closing:
            closing = "" if closing in line else closing
            continue
        if header := _HEADER.match(line):
            table = _parts(header[1])
            lines.setdefault(table, number)
        elif key := _KEY.match(line):
            lines.setdefault(table + _parts(key[1]), number)
            # Lazily: what follows the quotes that open a string is not read.
            opened = (match["open"] for match in _STRINGS.finditer(line, key.end()))
            closing = next((quote for quote in opened if quote), "")
    return lines


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in re.findall(_KEY_PART, dotted))


def is_number(value: Any) -> bool:
    """Whether a value is a number; a boolean is none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_size(value: Any) -> bool:
    """Whether a value is a whole number of at least 1."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and bool(value >= 1)


def is_list(value: Any, fits: Callable[[Any], bool]) -> bool:
    """Whether a value is a list of items that fit."""
    return isinstance(value, (list, tuple)) and all(map(fits, value))


def are_names(value: Any) -> bool:
    """Whether a value is a list of texts, and not empty."""
    return is_list(value, lambda name: isinstance(name, str)) and len(value) > 0


def copied(tables: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of tables and all that is in them."""
    return {key: copied(item) if isinstance(item, Mapping) else copy.deepcopy(item) for key, item in tables.items()}


def kind_of(value: Any) -> str:
    """Return the type of a TOML value, for an error."""
    names = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list", dict: "a table"}
    return names.get(type(value), type(value).__name__)


def read_toml(text: str, file: str | None) -> tuple[dict[str, Any], Source]:
    """Return the tables of a TOML text and the places of its keys. Raises ``ModelError`` with line and column.

    >>> read_toml("x = 1\\nx = 2", None)
    Traceback (most recent call last):
    tinygraph.errors.ModelError: model:2:6: not valid TOML: the key 'x' is defined twice
    """
    if not isinstance(text, str):
        raise ModelError(f"a model file is text; found {type(text).__name__}", file=file)
    # Some editors write a byte order mark.
    text = text.removeprefix("\ufeff")
    line, column = 1, None
    try:
        charge("characters", len(text))
        if long := _LONG_KEY.search(text):
            line = text.count("\n", 0, long.start()) + 1
            raise ValueError(f"a key of more than {_MOST_PARTS} parts")
        tables, source = tomllib.loads(text), Source(file, text, key_lines(text), True)
    except BudgetError as error:
        raise ModelError(str(error), file=file, line=1) from None
    except (RecursionError, ValueError) as error:
        message = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        if isinstance(error, tomllib.TOMLDecodeError):
            at = re.search(r"\(at line (\d+), column (\d+)\)", message)
            line, column = (int(at[1]), int(at[2])) if at else (len(text.splitlines()) or 1, None)
            rows = text.replace("\r\n", "\n").split("\n")[:line]
            message = _explained(re.sub(r"\s*\(at .*\)$", "", message), rows, column)
        raise ModelError(f"not valid TOML: {message}", file=file, line=line, column=column) from None
    _check_numbers(tables, source)
    return tables, source


def _check_numbers(tables: Mapping[str, Any], source: Source) -> None:
    """Refuse whole numbers of more than 64 bits, which TOML does not allow but ``tomllib`` reads."""
    waiting: list[tuple[tuple[str, ...], Any]] = [((), tables)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend(((*path, key), item) for key, item in value.items())
        elif isinstance(value, list):
            waiting.extend((path, item) for item in value)
        elif isinstance(value, int) and not -(2**63) <= value < 2**63:
            source.fail(f"{'.'.join(path)} holds a whole number of more than 64 bits", *path)


def _explained(message: str, rows: list[str], column: int | None) -> str:
    """Return the message of ``tomllib`` about the last of ``rows`` or, for common mistakes, what to write."""
    row = rows[-1]
    if twice := re.match(r"Cannot (overwrite a value|mutate|declare)|Duplicate inline", message):
        return _defined_twice(message, rows, row.strip() if row.lstrip().startswith("[") else twice[0])
    rest = "" if column is None else row[column - 1 :]
    if "{" in row and ("initial character for a key" in message or "Unclosed inline table" in message):
        if rest.startswith("}"):
            return "a table { ... } has no comma after its last entry"
        if column is not None and not rest.partition("#")[0].strip():
            return "a table { ... } is written in one line"
        return "entries of a table { ... } are separated by commas and end with }"
    name = rest.partition("=")[0].strip()
    if message == "Invalid statement" and name.isidentifier() and not name.isascii():
        return f'a name with letters beyond a to z is written with quotes here: "{name}" = ...'
    if message == "Invalid value" and (word := re.match(r"[^\s,\]}#=]+", rest)):
        instead = _VALUES.get(word[0]) or (f'"{word[0]}", with quotes' if word[0].isidentifier() else "")
        return f"{word[0]!r} is not a value" + f"; write {instead}" * bool(instead)
    return "a value is missing" if message == "Invalid value" else message


def _defined_twice(message: str, rows: list[str], header: str) -> str:
    if header.startswith("["):
        return f"{header} is defined twice"
    key = next((match[1] for row in reversed(rows) if (match := _KEY.match(row))), "")
    inner = re.search(r"key '(.*)'|\('([^']*)',\)", message)
    name = key if inner is None else inner[1] or inner[2]
    return f"the key {name!r} is defined twice" + (f" in {key!r}" if key != name else "")
