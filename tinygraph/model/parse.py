"""Equation text to syntax, and syntax to a tensor or a number: parsed with Python's ``ast``, never executed.

Only the syntax listed here is accepted.
"""

import ast
import functools
import keyword
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from operator import add, and_, eq, floordiv, ge, gt, invert, le, lt, matmul, mul, ne, neg, or_, pow, sub, truediv, xor
from typing import Any, NoReturn, Protocol

from tinygraph.errors import DataError, ModelError, TinygraphError, counted, excerpt, users_own
from tinygraph.graph import Tensor, is_operation
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
    """One equation: the name that it defines, or several, and the syntax tree of its right-hand side."""

    target: str
    value: ast.expr
    text: Text
    others: tuple[str, ...] = ()

    @property
    def targets(self) -> tuple[str, ...]:
        """All names that it defines."""
        return self.target, *self.others

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

    def fail(self, message: str, node: ast.AST | None = None, cause: BaseException | None = None) -> NoReturn:
        """Raise the error at a part of the equation; ``cause`` is an error in code of the user."""
        raise self.text.error_at(message, node or self.value) from cause


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
        target = node.targets[0] if isinstance(node, ast.Assign) and len(node.targets) == 1 else None
        names = [each.id for each in getattr(target, "elts", [target]) if isinstance(each, ast.Name)]
        two = len(names) > 1 and isinstance(getattr(node, "value", None), (ast.Tuple, ast.List))
        if not isinstance(node, ast.Assign) or two or not names or len(names) < len(getattr(target, "elts", names)):
            form = "an equation has the form: name = expression"
            raise text.error_at(_INSTEAD.get(type(node).__name__, form), node)
        statement = Statement(names[0], node.value, text, tuple(names[1:]))
        for name in names:
            if name in statements:
                raise text.error(f"{name!r} is defined twice: first in line {statements[name].line}", node.lineno)
            statements[name] = statement
    if not statements:
        raise text.error("there are no equations", 1)
    return list({id(statement): statement for statement in statements.values()}.values())


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


# The value of an expression

_Operators = dict[type[ast.AST], Callable[..., Any]]
_BINARY: _Operators = {ast.Add: add, ast.Sub: sub, ast.Mult: mul, ast.Div: truediv, ast.FloorDiv: floordiv}
_BINARY |= {ast.MatMult: matmul, ast.Pow: pow, ast.BitAnd: and_, ast.BitOr: or_, ast.BitXor: xor}
_UNARY: _Operators = {ast.USub: neg, ast.UAdd: lambda x: x, ast.Invert: invert}
_COMPARISONS: _Operators = {ast.Gt: gt, ast.GtE: ge, ast.Lt: lt, ast.LtE: le, ast.Eq: eq, ast.NotEq: ne}
_ALLOWED = (
    "names, numbers, + - * / @ **, unary minus, one comparison, & | ^ ~ of comparisons, .T, .shape[i], x[...] "
    "and calls of operations and blocks"
)
# Syntax of Python that equations do not have, and what to write instead.
_INSTEAD = {
    "BoolOp": "'and' and 'or' join single truth values; those of tensors are joined with & and |, each in parentheses",
    "IfExp": "a choice for each element is where(condition, a, b)",
    "Lambda": "functions of your own are blocks, or operations in a Python file",
    **dict.fromkeys(
        ("GeneratorExp", "ListComp", "For", "While"),
        "there are no loops; operations take entire tensors, as in sum(x, axis=1), and a block is repeated by "
        "block(x, times=3) or, over the steps of a sequence, by block(each(x), h)",
    ),
}
_LARGEST = 10**12


@dataclass(frozen=True)
class Call:
    """A call in an expression, with the values of its arguments."""

    name: str
    args: list[Any]
    kwargs: dict[str, Any]
    statement: Statement
    node: ast.Call

    def fail(self, message: str) -> NoReturn:
        """Raise the error at the call."""
        self.statement.fail(message, self.node)


class Resolver(Protocol):
    """The meaning of names in an expression."""

    def look_up(self, name: str, statement: Statement, node: ast.AST) -> Any:
        """Return the tensor or number called ``name``."""

    def call(self, call: Call) -> Any:
        """Return the result of an operation or block."""


def evaluate_expression(statement: Statement, resolver: Resolver) -> Any:
    """Return the value of an equation's right-hand side. Raises ``ModelError`` with line and column."""
    try:
        return _Evaluator(statement, resolver).value(statement.value)
    except RecursionError:
        statement.fail("the expression is nested too deeply")


def evaluate_equation(statement: Statement, resolver: Resolver) -> tuple[Tensor, ...]:
    """Return the tensors that an equation computes, one for each name that it defines. Raises ``ModelError``."""
    value, names = evaluate_expression(statement, resolver), statement.targets
    tensors = value if type(value) in (tuple, list) else (value,)
    if not tensors or not all(isinstance(tensor, Tensor) for tensor in tensors):
        statement.fail("an equation must compute a tensor from inputs or parameters")
    if len(tensors) != len(names):
        found = f"{len(tensors)} tensors" if len(tensors) > 1 else "one tensor"
        statement.fail(f"the right-hand side computes {found}, for {counted(len(names), 'name')}: {', '.join(names)}")
    return tuple(tensors)


class _Evaluator:
    def __init__(self, statement: Statement, resolver: Resolver) -> None:
        self.statement, self.resolver = statement, resolver

    def value(self, node: ast.AST) -> Any:
        rule: Callable[[Any], Any] | None = getattr(self, f"_{type(node).__name__.lower()}", None)
        if rule is None:
            kind = type(node).__name__
            message = f"{kind} is not allowed in an equation; allowed are {_ALLOWED}"
            self.statement.fail(_INSTEAD.get(kind, message), node)
        try:
            return rule(node)
        except (ModelError, DataError):
            raise
        except (TinygraphError, ArithmeticError, TypeError, ValueError, IndexError) as error:
            self.statement.fail(str(error), node, users_own(error))

    def _constant(self, node: ast.Constant) -> Any:
        if isinstance(node.value, (bytes, complex)):
            self.statement.fail(f"{node.value!r} is not a number", node)
        return node.value

    def _name(self, node: ast.Name) -> Any:
        return self.resolver.look_up(node.id, self.statement, node)

    def _tuple(self, node: ast.Tuple) -> tuple[Any, ...]:
        return tuple(self.value(item) for item in node.elts)

    def _list(self, node: ast.List) -> list[Any]:
        return [self.value(item) for item in node.elts]

    def _unaryop(self, node: ast.UnaryOp) -> Any:
        rule = _UNARY.get(type(node.op))
        if rule is None:
            self.statement.fail("'not' takes a single boolean; write ~ for a tensor of them, as in ~(x > 0)", node)
        return rule(self._operand(node.operand))

    def _binop(self, node: ast.BinOp) -> Any:
        rule = _BINARY.get(type(node.op))
        if rule is None:
            instead = "a remainder is written mod(x, y)" if isinstance(node.op, ast.Mod) else f"allowed are {_ALLOWED}"
            self.statement.fail(f"the operator {type(node.op).__name__} is not allowed; {instead}", node)
        left, right = self._operand(node.left), self._operand(node.right)
        if isinstance(left, (int, float)) and isinstance(right, (int, float)):
            return self._number(node, rule, left, right)
        if isinstance(node.op, ast.FloorDiv):
            self.statement.fail("// divides whole numbers only", node)
        return rule(left, right)

    def _compare(self, node: ast.Compare) -> Any:
        rule = _COMPARISONS.get(type(node.ops[0]))
        if rule is None or len(node.ops) > 1:
            self.statement.fail(f"a comparison is one of > >= < <= == != between two; allowed are {_ALLOWED}", node)
        left, right = self._operand(node.left), self._operand(node.comparators[0])
        if not isinstance(left, Tensor) and not isinstance(right, Tensor):
            self.statement.fail("a comparison needs a tensor", node)
        return rule(left, right)

    def _operand(self, node: ast.AST) -> Any:
        value = self.value(node)
        if isinstance(value, (str, tuple, list)) or value is None or value is Ellipsis:
            self.statement.fail(f"{value!r} is neither a tensor nor a number", node)
        return value

    def _number(self, node: ast.BinOp, rule: Callable[[Any, Any], Any], left: float, right: float) -> Any:
        """Return the result of arithmetic on numbers. Its cost is bounded: powers are computed in floats, sizes are limited."""
        try:
            result = math.pow(left, right) if isinstance(node.op, ast.Pow) else rule(left, right)
            if isinstance(result, int) and abs(result) > _LARGEST:
                raise OverflowError
        except OverflowError:
            self.statement.fail("the number is too large", node)
        except ValueError:
            self.statement.fail(f"{left} ** {right} is not a real number", node)
        integer = isinstance(left, int) and isinstance(right, int) and float(result).is_integer()
        return int(result) if integer and abs(result) <= _LARGEST and not isinstance(node.op, ast.Div) else result

    def _attribute(self, node: ast.Attribute) -> Any:
        tensor = self._tensor(node.value, f".{node.attr}")
        if node.attr not in ("T", "shape"):
            self.statement.fail(f"tensors have .T and .shape here; found .{node.attr}", node)
        return getattr(tensor, node.attr)

    def _subscript(self, node: ast.Subscript) -> Any:
        if isinstance(node.value, ast.Attribute) and node.value.attr == "shape":
            shape, axis = self.value(node.value), self.value(node.slice)
            if not isinstance(axis, int) or not -len(shape) <= axis < len(shape):
                self.statement.fail(f"shape {shape} has no axis {axis!r}", node)
            return shape[axis]
        return self._tensor(node.value, "[...]")[self.value(node.slice)]

    def _slice(self, node: ast.Slice) -> slice:
        ends = [None if end is None else self.value(end) for end in (node.lower, node.upper, node.step)]
        if not all(end is None or isinstance(end, int) for end in ends):
            self.statement.fail("a slice has whole numbers for its ends", node.lower or node.upper or node.step)
        return slice(*ends)

    def _tensor(self, node: ast.AST, what: str) -> Tensor:
        value = self.value(node)
        if not isinstance(value, Tensor):
            self.statement.fail(f"{what} is for tensors; found {value!r}", node)
        return value

    def _call(self, node: ast.Call) -> Any:
        if not isinstance(node.func, ast.Name):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            known = f": {name}(...)" if is_operation(name) else ""
            self.statement.fail(f"only operations and blocks can be called, by their names{known}", node.func)
        if any(isinstance(arg, ast.Starred) for arg in node.args) or any(word.arg is None for word in node.keywords):
            self.statement.fail("each argument is written out; * and ** are not allowed", node)
        args = [self.value(arg) for arg in node.args]
        kwargs: dict[str, Any] = {}
        for word in node.keywords:
            if word.arg in kwargs:
                self.statement.fail(f"{word.arg!r} is given twice", word)
            kwargs[str(word.arg)] = self.value(word.value)
        return self.resolver.call(Call(node.func.id, args, kwargs, self.statement, node))
