"""Where things stand in a model file, so that errors can name line and column."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from tinygraph.errors import ModelError

_NAME = r"(?:[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*')"
_HEADER = re.compile(rf"\s*\[\[?\s*({_NAME}(?:\s*\.\s*{_NAME})*)\s*\]\]?\s*(?:#.*)?$")
# Strings and comments that end in their line, or the quotes that open a string over several lines.
_STRINGS = re.compile(
    r"\"\"\".*?\"\"\"|\'\'\'.*?\'\'\'|(?P<open>\"\"\"|\'\'\')|\"[^\"\\]*(?:\\.[^\"\\]*)*\"|\'[^\']*\'|#.*"
)
KEY = re.compile(rf"\s*({_NAME}(?:\s*\.\s*{_NAME})*)\s*=\s*")


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

    def line(self, *path: str) -> int | None:
        """Return the line of a key, or of the nearest table around it; ``None`` where there is no file."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.lines:
                return self.lines[path[:end]]
            for key, line in self.lines.items():
                if key[:end] == path[:end]:
                    return line
        return 1 if self.declared else None

    @functools.cached_property
    def rows(self) -> list[str]:
        """The lines of the text as TOML counts them."""
        return self.text.replace("\r\n", "\n").split("\n")

    def row(self, line: int, start: int, text: str) -> tuple[int, int | None]:
        """Return the line that holds a row of a string, and the column from 0 where it begins there, if it is found.

        It is expected in ``line``; escapes in the string, which begins in line ``start``, can have moved it.
        """
        rows = self.rows
        for number in (line, *range(start, min(line + 1, len(rows) + 1))):
            if text and number <= len(rows) and (column := rows[number - 1].rfind(text)) >= 0:
                return number, column
        return (line, None) if line <= len(rows) or not self.declared else (start, None)

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
            opened = (match["open"] for match in _STRINGS.finditer(line, key.end()))
            closing = next((quote for quote in opened if quote), "")
    return lines


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in re.findall(_NAME, dotted))


def kind_of(value: Any) -> str:
    """Return what a TOML value is, for a message."""
    names = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list", dict: "a table"}
    return names.get(type(value), type(value).__name__)
