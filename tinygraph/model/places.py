"""Where things stand in a model file, so that errors can name line and column."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from tinygraph.errors import ModelError

#: One part of a key; possessive, so that no text takes time that is quadratic in its length.
KEY_PART = r"(?:(?<![A-Za-z0-9_-])[A-Za-z0-9_-]++|(?<!\\)\"(?:[^\"\\\n]|\\.)*+\"|'[^'\n]*+')"
_HEADER = re.compile(rf"\s*\[\[?\s*({KEY_PART}(?:\s*\.\s*{KEY_PART})*)\s*\]\]?\s*(?:#.*)?$")
# Strings and comments that end in their line, or the quotes that open a string over several lines.
_STRINGS = re.compile(
    r"\"\"\".*?\"\"\"|\'\'\'.*?\'\'\'|(?P<open>\"\"\"|\'\'\')|\"[^\"\\]*(?:\\.[^\"\\]*)*\"|\'[^\']*\'|#.*"
)
KEY = re.compile(rf"\s*({KEY_PART}(?:\s*\.\s*{KEY_PART})*)\s*=\s*")


@dataclass(frozen=True)
class Source:
    """The text that a declaration came from: its file, and the line of every key (none for one made in Python)."""

    file: str | None = None
    text: str = ""
    lines: dict[tuple[str, ...], int] = field(default_factory=dict)
    declared: bool = False

    @property
    def stem(self) -> str:
        """What a model is called that has no name of its own: its file, without folder and ending."""
        return Path(self.file).stem if self.file else "model"

    @classmethod
    def of(cls, text: str, file: str | None) -> Source:
        """Return the places of a TOML text."""
        return cls(file, text, key_lines(text), True)

    def fail(self, message: str, *path: str) -> NoReturn:
        """Raise a ``ModelError`` at the key ``path``, or at the nearest table around it."""
        raise ModelError(message, file=self.file, line=self.line(*path))

    @functools.cached_property
    def around(self) -> dict[tuple[str, ...], int]:
        """The line of the first key within each table, whether or not the table has a line of its own."""
        around: dict[tuple[str, ...], int] = {}
        for key, line in self.lines.items():
            for end in range(1, len(key)):
                around.setdefault(key[:end], line)
        return around

    def line(self, *path: str) -> int | None:
        """Return the line of a key, or of the nearest table around it; ``None`` where there is no file."""
        for end in range(len(path), 0, -1):
            for lines in (self.lines, self.around):
                if path[:end] in lines:
                    return lines[path[:end]]
        return 1 if self.declared else None

    @functools.cached_property
    def rows(self) -> list[str]:
        """The lines of the text as TOML counts them."""
        return self.text.replace("\r\n", "\n").split("\n")

    def places(self, start: int, column: int, texts: Iterable[str]) -> list[tuple[int, int | None]]:
        """Return the line of each row of a string, and the column from 0 where it begins; the string begins in ``start``.

        A row is expected in the line after that of the row before it, or later in the same line, where escapes keep rows
        together. The column is ``None`` for a row that is not found there, as one with escapes in it.
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
        line = self.lines.get(path)
        if line is None:
            return self.line(*path) or 1, 1
        row = self.rows[line - 1]
        opening = re.compile(r"=\s*(\"\"\"|'''|\"|')").search(row)
        if opening is None:
            return line, 1
        multiline_starts_below = len(opening[1]) == 3 and not row[opening.end() :]
        return (line + 1, 1) if multiline_starts_below else (line, opening.end() + 1)


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
        elif key := KEY.match(line):
            lines.setdefault(table + _parts(key[1]), number)
            # Lazily: what follows the quotes that open a string is not read.
            opened = (match["open"] for match in _STRINGS.finditer(line, key.end()))
            closing = next((quote for quote in opened if quote), "")
    return lines


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in re.findall(KEY_PART, dotted))


def kind_of(value: Any) -> str:
    """Return what a TOML value is, for a message."""
    names = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list", dict: "a table"}
    return names.get(type(value), type(value).__name__)
