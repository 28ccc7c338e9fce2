"""Equation text to syntax: parsed with Python's ``ast``, never executed."""

import ast
import functools
import keyword
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NoReturn

from tinygraph.errors import ModelError, excerpt
from tinygraph.model.toml import Source


@dataclass(frozen=True)
class Text:
    """Equations as written, with the line and column of the source where they begin."""

    text: str
    source: Source = field(default_factory=Source)
    line: int = 1
    column: int = 1

    @functools.cached_property
    def rows(self) -> list[str]:
        """The lines as TOML counts them."""
        return self.text.replace("\r\n", "\n").split("\n")

    @functools.cached_property
    def margin(self) -> int:
        """The indentation that all lines share, which is cut off before they are parsed."""
        rows = [row for row in self.rows if row.strip() and not row.lstrip().startswith("#")]
        return min((_indentation(row) for row in rows), default=0)

    @functools.cached_property
    def places(self) -> list[tuple[int, int | None]]:
        """For each row, the line of the file and, where the row is found there, the column from 0 of its first letter."""
        return self.source.places(self.line, self.column - 1, (row.strip() for row in self.rows))

    def error(self, message: str, row: int, column: int = 0) -> ModelError:
        """Return the error at a row, from 1, and a column, from 0, of the text without its margin."""
        known = 0 < row <= len(self.rows)
        written, (line, start) = (self.rows[row - 1], self.places[row - 1]) if known else ("", (self.line, None))
        if start is None:
            start = _indentation(written) + (self.column - 1 if row == 1 else 0)
        at = column + self.margin - _indentation(written)
        equation = excerpt(written.strip(), at) or None
        return ModelError(message, file=self.source.file, equation=equation, line=line, column=start + 1 + at)

    def error_at(self, message: str, node: ast.AST) -> ModelError:
        """Return the error at a part of a syntax tree."""
        row, offset = getattr(node, "lineno", 1), getattr(node, "col_offset", 0)
        # Syntax trees count columns in bytes of UTF-8.
        before = self.rows[row - 1][self.margin :].encode()[:offset] if 0 < row <= len(self.rows) else b""
        return self.error(message, row, len(before.decode(errors="ignore")))


def _indentation(row: str) -> int:
    return len(row) - len(row.lstrip())


@dataclass(frozen=True)
class Statement:
    """One equation: the name that it defines and the syntax tree of its right-hand side."""

    target: str
    value: ast.expr
    text: Text

    @property
    def line(self) -> int:
        """The line in the file, or in the text where there is no file."""
        row = self.value.lineno
        return self.text.places[row - 1][0] if row <= len(self.text.rows) else self.text.line

    def written(self, target: str, names: Mapping[str, str]) -> str:
        """Return the equation in one line, with local names replaced by full ones."""
        if self.names.isdisjoint(names):
            return f"{target} = {self._unparsed}"
        renamed = ast.parse(self._unparsed, mode="eval")
        for node in ast.walk(renamed):
            if isinstance(node, ast.Name):
                node.id = names.get(node.id, node.id)
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

    @property
    def calls(self) -> set[str]:
        """The names of the operations and blocks that the right-hand side calls."""
        called = (node.func for node in ast.walk(self.value) if isinstance(node, ast.Call))
        return {function.id for function in called if isinstance(function, ast.Name)}

    def fail(self, message: str, node: ast.AST | None = None) -> NoReturn:
        """Raise the error at a part of the equation."""
        raise self.text.error_at(message, node or self.value)


def parse_equations(text: Text) -> list[Statement]:
    """Return the equations of a text in their order, each name defined once.

    >>> [s.target for s in parse_equations(Text("Z = x @ W + b\\na = sigmoid(Z)"))]
    ['Z', 'a']
    """
    statements: dict[str, Statement] = {}
    last = 0
    for node in _syntax(text):
        if node.lineno == last:
            raise text.error_at("one equation to a line", node)
        last = node.end_lineno or node.lineno
        if not isinstance(node, ast.Assign) or len(node.targets) != 1 or not isinstance(node.targets[0], ast.Name):
            raise text.error_at("an equation has the form: name = expression", node)
        name = node.targets[0].id
        if name in statements:
            raise text.error(f"{name!r} is defined twice: first in line {statements[name].line}", node.lineno)
        statements[name] = Statement(name, node.value, text)
    if not statements:
        raise text.error("there are no equations", 1)
    return list(statements.values())


def _syntax(text: Text) -> list[ast.stmt]:
    margin = text.margin
    rows = [row[margin:] if row[:margin].isspace() or not margin else row.lstrip() for row in text.rows]
    try:
        tree = ast.parse("\n".join(rows))
    except SyntaxError as error:
        row = error.lineno or 1
        why = _explained(error.msg, text.rows[row - 1].strip() if row <= len(text.rows) else "")
        raise text.error(f"not an equation: {why}", row, max((error.offset or 1) - 1, 0)) from None
    except (RecursionError, MemoryError, ValueError) as error:
        why = str(error) if isinstance(error, ValueError) else "nested too deeply"
        raise text.error(f"not an equation: {why}", 1) from None
    if node := next(filter(_is_too_large, ast.walk(tree)), None):
        raise text.error_at("the number is too large", node)
    return tree.body


# Signs of formulas, and how to write them.
_SIGNS = {"÷": "/", "−": "-", "²": "** 2", "³": "** 3", "√": "sqrt(...)", "≤": "<=", "≥": ">="}
_SIGNS |= dict.fromkeys("×·⋅", "*")
# Parts of messages of Python's parser, and what they mean in an equation.
_MESSAGES = {
    "decimal literal": "a product is written with *, as in 2 * x, and a name does not begin with a digit",
    "unterminated string": "the quotation mark here has no second one; names have no ' in them",
    "unexpected indent": "the line begins further to the right than the others",
    "forgot a comma": "an operator or a comma is missing here",
}


def _explained(message: str, row: str) -> str:
    """Return what Python's parser reports about a line, in terms of equations."""
    if row.endswith("="):
        return "an expression is missing after ="
    if row.startswith("//"):
        return "a comment begins with #"
    name = row.partition("=")[0].strip()
    if keyword.iskeyword(name):
        return f"{name!r} is a word of Python, which cannot be a name"
    if (sign := re.match(r"invalid (?:non-printable )?character '(.)'", message)) and sign[1] in _SIGNS:
        return f"{sign[1]!r} is written {_SIGNS[sign[1]]}"
    return next((meaning for part, meaning in _MESSAGES.items() if part in message), message)


def parse_expression(
    written: str, target: str, kind: str, source: Source | None = None, line: int | None = None
) -> Statement:
    """Return the statement ``target = written``, an expression found in a line of ``source``; errors call it ``kind``.

    >>> parse_expression("f.shape[1]", "size", "a size").names
    frozenset({'f'})
    """
    source = source or Source()
    try:
        expression = ast.parse(written.strip(), mode="eval").body
        if any(map(_is_too_large, ast.walk(expression))):
            raise ValueError("a whole number of more than 64 bits")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ModelError(f"not {kind}: {written!r}", file=source.file, line=line) from None
    return Statement(target, expression, Text(written, source, line or 1))


def _is_too_large(node: ast.AST) -> bool:
    """Whether a node is a whole number of more than 64 bits: writing its digits may take too long."""
    return isinstance(node, ast.Constant) and isinstance(node.value, int) and node.value >= 2**64
