"""Where things stand in a model file, so that errors can name line and column."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, NoReturn

from tinygraph.errors import ModelError

_NAME = r"(?:[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*')"
_HEADER = re.compile(rf"\s*\[\s*({_NAME}(?:\s*\.\s*{_NAME})*)\s*\]\s*(?:#.*)?$")
_KEY = re.compile(rf"\s*({_NAME}(?:\s*\.\s*{_NAME})*)\s*=\s*")


@dataclass(frozen=True)
class Source:
    """The text that a declaration came from: its file, and the line of every key (none for one made in Python)."""

    file: str | None = None
    text: str = ""
    lines: dict[tuple[str, ...], int] = field(default_factory=dict)

    @classmethod
    def of(cls, text: str, file: str | None) -> Source:
        """Return the places of a TOML text."""
        return cls(file, text, key_lines(text))

    def fail(self, message: str, *path: str) -> NoReturn:
        """Raise a ``ModelError`` at the key ``path``, or at the nearest table around it."""
        raise ModelError(message, file=self.file, line=self.line(*path))

    def line(self, *path: str) -> int | None:
        """Return the line of a key, or of the nearest table around it; ``None`` where there is no file."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.lines:
                return self.lines[path[:end]]
        return 1 if self.lines else None

    def text_start(self, *path: str) -> tuple[int, int]:
        """Return the line and column, from 1, at which the string under a key begins."""
        line = self.lines.get(path)
        if line is None:
            return 1, 1
        row = self.text.splitlines()[line - 1]
        opening = re.compile(r"=\s*(\"\"\"|'''|\"|')").search(row)
        if opening is None:
            return line, 1
        multiline_starts_below = len(opening[1]) == 3 and not row[opening.end() :].strip()
        return (line + 1, 1) if multiline_starts_below else (line, opening.end() + 1)


def key_lines(text: str) -> dict[tuple[str, ...], int]:
    """Return the line of every key and table of a TOML text, counted from 1.

    >>> key_lines('name = "net"\\n[inputs]\\nx = [2]')
    {('name',): 1, ('inputs',): 2, ('inputs', 'x'): 3}
    """
    lines: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    closing = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if closing:
            closing = "" if closing in line else closing
            continue
        if header := _HEADER.match(line):
            table = _parts(header[1])
            lines.setdefault(table, number)
        elif key := _KEY.match(line):
            lines.setdefault(table + _parts(key[1]), number)
            rest = line[key.end() :]
            closing = next((quote for quote in ('"""', "'''") if rest.count(quote) == 1), "")
    return lines


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in re.findall(_NAME, dotted))


def kind_of(value: Any) -> str:
    """Return what a TOML value is, for a message."""
    names = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list", dict: "a table"}
    return names.get(type(value), type(value).__name__)
