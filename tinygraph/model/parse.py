"""Equation text to syntax: parsed with Python's ``ast``, never executed."""

from __future__ import annotations

import ast
import functools
import keyword
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NoReturn, TypeGuard

from tinygraph.errors import ModelError, excerpt
from tinygraph.model.places import Source


@dataclass(frozen=True)
class Text:
    """Equations as written, with the file, line and column where they begin and the margin that is cut from each line."""

    text: str
    file: str | None
    line: int
    column: int
    source: Source = field(default_factory=Source)

    @functools.cached_property
    def rows(self) -> list[str]:
        """The lines as TOML counts them."""
        return self.text.replace("\r\n", "\n").split("\n")

    @functools.cached_property
    def margin(self) -> int:
        """The indentation that all lines share."""
        rows = [row for row in self.rows if row.strip() and not row.lstrip().startswith("#")]
        return min((len(row) - len(row.lstrip()) for row in rows), default=0)

    def row(self, number: int) -> str:
        """Return a line of the text, counted from 1, without the space around it."""
        return self.rows[number - 1].strip() if 0 < number <= len(self.rows) else ""

    @functools.cached_property
    def places(self) -> list[tuple[int, int | None]]:
        """The line of the file and the column, from 0, of each row, where it is found there."""
        return self.source.places(self.line, self.column - 1, (row.strip() for row in self.rows))

    def place(self, row: int) -> tuple[int, int | None]:
        """Return the line of the file, and the column from 0, in which a row of the text, from 1, begins."""
        return self.places[row - 1] if 0 < row <= len(self.rows) else (self.line, None)

    def error(self, message: str, row: int, column: int = 0) -> ModelError:
        """Return the error at a row, from 1, and a column, from 0, of the text without its margin."""
        first, at = self.column - 1 if row == 1 else 0, column + self.margin - self.indentation(row)
        line, start = self.place(row)
        if start is None:
            column += 1 + self.margin + first
        else:
            column += 1 + self.margin + start - self.indentation(row)
        return ModelError(
            message, file=self.file, equation=excerpt(self.row(row), at) or None, line=line, column=column
        )

    def indentation(self, row: int) -> int:
        """Return how many spaces and tabs a line begins with."""
        line = self.rows[row - 1] if row <= len(self.rows) else ""
        return len(line) - len(line.lstrip())

    def characters(self, row: int, offset: int) -> int:
        """Return a column in characters for one in bytes of UTF-8, as syntax trees count, of the text without its margin."""
        rows = self.rows
        line = rows[row - 1][self.margin :] if 0 < row <= len(rows) else ""
        return len(line.encode()[:offset].decode(errors="ignore"))


@dataclass(frozen=True)
class Statement:
    """One equation: the name it defines and the syntax of its right-hand side."""

    target: str
    value: ast.expr
    text: Text

    @property
    def line(self) -> int:
        """The line in the file, or in the text where there is no file."""
        return self.text.place(self.value.lineno)[0]

    def written(self, target: str, names: Mapping[str, str]) -> str:
        """Return the equation in one line, with local names replaced by those that they stand for."""
        if self.names.isdisjoint(names):
            return f"{target} = {self._unparsed}"
        renamed = _Renamed(names).visit(ast.parse(self._unparsed, mode="eval"))
        return f"{target} = {ast.unparse(renamed)}"

    @functools.cached_property
    def _unparsed(self) -> str:
        return ast.unparse(self.value)

    @functools.cached_property
    def names(self) -> frozenset[str]:
        """The names that the right-hand side reads, functions left out."""
        nodes = list(ast.walk(self.value))
        called = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
        return frozenset(node.id for node in nodes if isinstance(node, ast.Name) and id(node) not in called)

    def calls(self) -> set[str]:
        """Return the names of the operations and blocks that the right-hand side calls."""
        calls = (node.func for node in ast.walk(self.value) if isinstance(node, ast.Call))
        return {function.id for function in calls if isinstance(function, ast.Name)}

    def fail(self, message: str, node: ast.AST | None = None) -> NoReturn:
        """Raise the error at a part of the equation."""
        at = node or self.value
        row, offset = getattr(at, "lineno", 1), getattr(at, "col_offset", 0)
        raise self.text.error(message, row, self.text.characters(row, offset))


class _Renamed(ast.NodeTransformer):
    def __init__(self, names: Mapping[str, str]) -> None:
        self.names = names

    def visit_Name(self, node: ast.Name) -> ast.Name:
        return ast.Name(self.names.get(node.id, node.id))


def parse_equations(text: Text) -> list[Statement]:
    """Return the equations of a text in their order, each name defined once.

    >>> [s.target for s in parse_equations(Text("Z = x @ W + b\\na = sigmoid(Z)", None, 1, 1))]
    ['Z', 'a']
    """
    statements: list[Statement] = []
    seen: dict[str, int] = {}
    last = 0
    for node in _syntax(text):
        if node.lineno == last:
            raise text.error("one equation to a line", node.lineno, text.characters(node.lineno, node.col_offset))
        last = node.end_lineno or node.lineno
        statement = _statement(node, text)
        if statement.target in seen:
            raise text.error(
                f"{statement.target!r} is defined twice: first in line {seen[statement.target]}", node.lineno
            )
        seen[statement.target] = statement.line
        statements.append(statement)
    if not statements:
        raise text.error("there are no equations", 1)
    return statements


def _syntax(text: Text) -> Iterator[ast.stmt]:
    margin = text.margin
    rows = [row[margin:] if row[:margin].isspace() or not margin else row.lstrip() for row in text.rows]
    try:
        tree = ast.parse("\n".join(rows))
    except SyntaxError as error:
        row = error.lineno or 1
        why = _explained(error.msg, text.row(row))
        raise text.error(f"not an equation: {why}", row, max((error.offset or 1) - 1, 0)) from None
    except (RecursionError, MemoryError):
        raise text.error("not an equation: nested too deeply", 1) from None
    except ValueError as error:
        raise text.error(f"not an equation: {error}", 1) from None
    for node in ast.walk(tree):
        if _is_too_large(node):
            raise text.error("the number is too large", node.lineno, text.characters(node.lineno, node.col_offset))
    return iter(tree.body)


# Signs of formulas, and how they are written.
_SIGNS = {
    "×": "*",
    "·": "*",
    "⋅": "*",
    "÷": "/",
    "−": "-",
    "²": "** 2",
    "³": "** 3",
    "√": "sqrt(...)",
    "≤": "<=",
    "≥": ">=",
}


def _explained(message: str, row: str) -> str:
    """Return what Python says about a line that is not an equation, in terms of equations."""
    if row.endswith("="):
        return "an expression is missing after ="
    if row.startswith("//"):
        return "a comment begins with #"
    name = row.partition("=")[0].strip()
    if keyword.iskeyword(name):
        return f"{name!r} is a word of Python, which cannot be a name"
    if (sign := re.match(r"invalid (?:non-printable )?character '(.)'", message)) and sign[1] in _SIGNS:
        return f"{sign[1]!r} is written {_SIGNS[sign[1]]}"
    if "decimal literal" in message:
        return "a product is written with *, as in 2 * x, and a name does not begin with a digit"
    if "unterminated string" in message:
        return "the quotation mark here has no second one; names have no ' in them"
    if "unexpected indent" in message:
        return "the line begins further to the right than the others"
    return "an operator or a comma is missing here" if "forgot a comma" in message else message


def _statement(node: ast.stmt, text: Text) -> Statement:
    if not isinstance(node, ast.Assign) or len(node.targets) != 1 or not isinstance(node.targets[0], ast.Name):
        column = text.characters(node.lineno, node.col_offset)
        raise text.error("an equation has the form: name = expression", node.lineno, column)
    return Statement(node.targets[0].id, node.value, text)


def parse_size(size: str, file: str | None, line: int | None) -> Statement:
    """Return the syntax of a size that is read off other tensors, such as ``f.shape[1]``."""
    return Statement("size", _expression(size, "a size", file, line), Text(size, file, line or 1, 1))


def parse_next(written: str, name: str, source: Source, line: int | None) -> Statement:
    """Return the syntax of the expression of a state's next value, which stands in a line of ``source``."""
    expression = _expression(written, "an expression", source.file, line)
    return Statement(name, expression, Text(written, source.file, line or 1, 1, source))


def _is_too_large(node: ast.AST) -> TypeGuard[ast.Constant]:
    """Whether a node is a whole number of more than 64 bits, which may take too many digits to be written."""
    return isinstance(node, ast.Constant) and isinstance(node.value, int) and node.value >= 2**64


def _expression(written: str, what: str, file: str | None, line: int | None) -> ast.expr:
    try:
        expression = ast.parse(written.strip(), mode="eval").body
        if any(map(_is_too_large, ast.walk(expression))):
            raise ValueError("a whole number of more than 64 bits")
        return expression
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ModelError(f"not {what}: {written!r}", file=file, line=line) from None
