"""Evaluate the syntax tree of an expression to a tensor or a number. Only the syntax listed here is accepted."""

import ast
import math
from collections.abc import Callable
from dataclasses import dataclass
from operator import add, and_, eq, floordiv, ge, gt, invert, le, lt, matmul, mul, ne, neg, or_, pow, sub, truediv, xor
from typing import Any, NoReturn, Protocol

from tinygraph.errors import DataError, ModelError, TinygraphError
from tinygraph.graph import Tensor, is_operation
from tinygraph.model.parse import Statement

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
        ("GeneratorExp", "ListComp"), "there are no loops; operations take entire tensors, as in sum(x, axis=1)"
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
            self.statement.fail(str(error), node)

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
