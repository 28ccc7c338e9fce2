"""Model files as tables: TOML read by ``tomllib``, with mistakes explained in terms of the file."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from typing import Any

from tinygraph.errors import BudgetError, ModelError
from tinygraph.graph.budget import charge
from tinygraph.model.places import KEY, KEY_PART, Source

# tomllib takes time that is quadratic in the parts of a key; a model file needs at most four.
_MOST_PARTS = 20
_LONG_KEY = re.compile(rf"(?:{KEY_PART}[ \t]*+\.[ \t]*+){{{_MOST_PARTS}}}")
_VALUES = {
    "True": "true",
    "False": "false",
    "None": "nothing at all: leave the key out",
    "null": "nothing at all: leave the key out",
}


def read_toml(text: str, file: str | None) -> tuple[dict[str, Any], Source]:
    """Return the tables of a TOML text and the places of its keys. Raises ``ModelError`` with line and column.

    >>> read_toml("x = 1\\nx = 2", None)
    Traceback (most recent call last):
    tinygraph.errors.ModelError: model:2:6: not valid TOML: the key 'x' is defined twice
    """
    if not isinstance(text, str):
        raise ModelError(f"a model file is text; found {type(text).__name__}", file=file)
    # Some editors begin a file with a mark of its byte order.
    text = text.removeprefix("\ufeff")
    _check_length(text, file)
    try:
        tables, source = tomllib.loads(text), Source.of(text, file)
    except tomllib.TOMLDecodeError as error:
        at = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
        rows = text.replace("\r\n", "\n").split("\n")
        line, column = (int(at[1]), int(at[2])) if at else (len(text.splitlines()) or 1, None)
        message = _explained(re.sub(r"\s*\(at .*\)$", "", str(error)), rows[:line], column)
        raise ModelError(f"not valid TOML: {message}", file=file, line=line, column=column) from None
    except RecursionError:
        raise ModelError("not valid TOML: nested too deeply", file=file, line=1) from None
    except ValueError as error:
        raise ModelError(f"not valid TOML: {error}", file=file, line=1) from None
    _check_numbers(tables, source)
    return tables, source


def _check_length(text: str, file: str | None) -> None:
    """Refuse what would take long to read: a text beyond the budget of the file, or a key of very many parts."""
    try:
        charge("characters", len(text))
    except BudgetError as error:
        raise ModelError(str(error), file=file, line=1) from None
    if long := _LONG_KEY.search(text):
        line = text.count("\n", 0, long.start()) + 1
        raise ModelError(f"not valid TOML: a key of more than {_MOST_PARTS} parts", file=file, line=line)


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
    """Return what ``tomllib`` says about the last of ``rows``, or, for common mistakes, what to write."""
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
    key = next((match[1] for row in reversed(rows) if (match := KEY.match(row))), "")
    inner = re.search(r"key '(.*)'|\('([^']*)',\)", message)
    name = key if inner is None else inner[1] or inner[2]
    return f"the key {name!r} is defined twice" + (f" in {key!r}" if key != name else "")
