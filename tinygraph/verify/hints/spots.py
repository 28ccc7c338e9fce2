"""A gradient rule of which one value can be changed while it runs: every expression in its source is a spot.

The source of a rule is compiled again, with each expression ``e`` written as ``at(k, e)``; ``at`` returns the value that it
is given, or another one. So a rule runs with one value negated, transposed or exchanged, whether or not it can be recorded.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import inspect
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygraph.graph import Array, Op
from tinygraph.graph.backprop import call_rule

_AT = "_tinygraph_at"
# A whole number in a rule that is run with one value changed; the inputs it is tried on are smaller.
_LARGEST = 4000
Change = Callable[[Any], Any]


@dataclass(frozen=True)
class Spot:
    """An expression of a rule: its text, its line, 0 for an argument; whether it is a number written there, or an axis.

    ``compared`` says that it is in a comparison, ``bound`` that it is in an end of a slice.
    """

    text: str
    line: int
    constant: bool = False
    axis: bool = False
    compared: bool = False
    bound: bool = False
    closed: bool = True
    # The arguments of a call, of which the spot is the function; and the parts of a list or a tuple.
    arguments: tuple[str, ...] | None = None
    parts: tuple[str, ...] = ()

    def called(self, *arguments: str, **named: str) -> str:
        """Return the text of a call of it; named arguments take the place of those of the same name."""
        kept = [each for each in arguments if each.partition("=")[0] not in named]
        return f"{self.text}({', '.join([*kept, *(f'{name}={value}' for name, value in named.items())])})"

    @property
    def operand(self) -> str:
        """The text, in parentheses if it needs them next to an operator."""
        return self.text if self.closed else f"({self.text})"


class Rule:
    """The rule of an operation, of which ``run`` changes the value of one spot.

    ``spots`` are the expressions of its source and of the functions of its module that it calls, the outer ones first;
    where there is no source, its gradient is the only one. ``edit`` counts statements: of that number's statement another
    form is taken, and ``statement`` holds both, and the line. Instead of the rule it may be another ``method``, forward.
    """

    def __init__(self, op: type[Op], edit: int | None = None, method: str = "vjp") -> None:
        self.spots: list[Spot] = []
        self._statements = _Statements(edit)
        self.seen: dict[int, Any] = {}
        self._change: tuple[int, Change] | None = None
        self._method = method
        found = inspect.getattr_static(op, method)
        self._is_method = not isinstance(found, staticmethod) and not hasattr(found, "__wrapped__")
        self._function = inspect.unwrap(getattr(found, "__func__", found))
        self._attributes = inspect.getfullargspec(self._function).kwonlyargs
        self._methods: dict[str, Any] = {}
        self._globals = {**self._function.__globals__, _AT: self._at}
        # A composite has the rule of all composites.
        self._edited = None if op.composite and method == "vjp" else self._instrumented(self._function, op)
        if self._edited is None:
            self.spots = [Spot("the gradient", 0)]

    @property
    def statement(self) -> tuple[str, str, int]:
        """The statement that has another form: before, after, and its line. Raises IndexError if there is none left."""
        return self._statements.found[0]

    def gradient(
        self, op: Op, place: int, arguments: Sequence[Array], spot: int = -1, change: Change | None = None
    ) -> Array:
        """Return the gradient of one input with ``change`` applied to the values of a spot; raise what the rule raises."""
        self.seen, self._change = {}, None if change is None else (spot, change)
        run = functools.partial(self._run, op)
        called: Any = types.SimpleNamespace(name=op.name, parameters=op.parameters, vjp=run)
        for _, gradient in call_rule(called, [place], *arguments):
            found: Array = self._at(0, gradient) if self._edited is None else gradient
            return found
        raise ValueError("no gradient")

    def returned(self, op: Op, arguments: Sequence[Array], spot: int = -1, change: Change | None = None) -> Any:
        """Return what the method returns with ``change`` applied to the values of a spot."""
        self.seen, self._change = {}, None if change is None else (spot, change)
        return self._call(op, *arguments)

    def _call(self, op: Op, *arguments: Array) -> Any:
        if self._edited is None:
            return getattr(op, self._method)(*arguments)
        if self._is_method:
            return self._edited(_Self(op, self._methods), *arguments)
        return self._edited(*arguments, **{name: getattr(op, name) for name in self._attributes})

    def _run(self, op: Op, *arguments: Array) -> Any:
        returned = self._call(op, *arguments)
        if callable(returned) or not isinstance(returned, (tuple, list)):
            returned = (returned,)
        return tuple(each() if callable(each) else each for each in returned)

    def _at(self, spot: int, value: Any) -> Any:
        if self._change is not None:
            value = self._change[1](value) if self._change[0] == spot else value
            if isinstance(value, (int, np.integer)) and abs(int(value)) > _LARGEST:
                raise ValueError(f"{value} may be a size: its array would not fit into the memory")
        self.seen[spot] = value
        return value

    def _instrumented(self, function: Any, op: type[Op]) -> Any:
        """Return a function with spots, or None where its source is not to be had."""
        try:
            self._statements.lines = _lines(function)
            tree = self._statements.visit(_source(function))
            called = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} & {*function.__globals__}
            asked = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)} & {*vars(op)}
            edited = self._compiled(function, tree)
        except Exception:
            # Source that was changed since, or typed in, or in a form that is not known here.
            return None
        for names, table, targets in ((called, function.__globals__, self._globals), (asked, vars(op), self._methods)):
            for name in sorted(names):
                helper = table[name]
                ours = isinstance(helper, types.FunctionType) and helper.__module__ == self._function.__module__
                if ours and targets.get(name, helper) is helper and name not in ("vjp", "forward"):
                    # Once, also where it calls itself.
                    targets[name] = lambda *args, **kwargs: None
                    targets[name] = self._instrumented(helper, op) or helper
        return edited

    def _compiled(self, function: Any, tree: ast.FunctionDef) -> Any:
        """Return a function of a tree with spots, with the closure and the defaults of the first one."""
        names, free = [argument.arg for argument in _arguments(tree)], function.__code__.co_freevars
        tree = _Spots(self.spots, _lines(function)).visit(tree)
        for name in reversed(names if "self" not in names else names[1:]):
            tree.body.insert(0, ast.parse(f"{name} = {_AT}({len(self.spots)}, {name})").body[0])
            self.spots.append(Spot(name, 0))
        outer = ast.parse(f"def make({', '.join(free)}): return {tree.name}")
        outer.body[0].body.insert(0, tree)  # type: ignore[attr-defined]
        made: dict[str, Any] = {}
        exec(compile(ast.fix_missing_locations(outer), "<rule>", "exec"), self._globals, made)
        code = made["make"](*free).__code__
        cells = dict(zip(free, function.__closure__ or (), strict=True))
        closure = tuple(cells[name] for name in code.co_freevars)
        edited = types.FunctionType(code, self._globals, function.__name__, function.__defaults__, closure)
        edited.__kwdefaults__ = function.__kwdefaults__
        return edited


class _Self:
    """An operation, some of whose methods are exchanged."""

    def __init__(self, op: Op, methods: dict[str, Any]) -> None:
        self.__dict__.update(_op=op, _methods=methods)

    def __getattr__(self, name: str) -> Any:
        method = self._methods.get(name)
        return getattr(self._op, name) if method is None else types.MethodType(method, self)


class _Spots(ast.NodeTransformer):
    """Wraps each expression that is read into ``at(k, expression)``, the outer ones first."""

    def __init__(self, spots: list[Spot], lines: Sequence[str]) -> None:
        self.spots, self.lines = spots, lines
        self._axes: set[ast.AST] = set()
        self._compared: set[ast.AST] = set()
        self._bounds: set[ast.AST] = set()
        self._calls: dict[ast.AST, tuple[str, ...]] = {}

    def generic_visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.keyword) and node.arg == "axis":
            self._axes.add(node.value)
        if isinstance(node, ast.Call) and len(node.args) > 1 and ast.unparse(node.func).startswith(("np.", "tg.")):
            self._axes |= {*node.args[1:]}
        if isinstance(node, ast.Compare):
            self._compared |= {part for side in (node.left, *node.comparators) for part in ast.walk(side)}
        if isinstance(node, ast.Slice):
            self._bounds |= {part for end in (node.lower, node.upper) if end for part in ast.walk(end)}
        if isinstance(node, ast.Call):
            self._calls[node.func] = tuple(_text(each, self.lines) for each in (*node.args, *node.keywords))
        if not isinstance(node, ast.expr) or not _is_read(node):
            return super().generic_visit(node)
        number, constant, text = len(self.spots), _is_number(node), _text(node, self.lines)
        open_kinds = (ast.BinOp, ast.UnaryOp, ast.Compare, ast.BoolOp, ast.IfExp, ast.Lambda, ast.Tuple)
        closed = not isinstance(node, open_kinds) or (text.startswith("(") and isinstance(node, ast.Tuple))
        parts = tuple(_text(each, self.lines) for each in getattr(node, "elts", ()))
        where = (node in self._axes, node in self._compared, node in self._bounds)
        self.spots.append(Spot(text, node.lineno, constant, *where, closed, self._calls.get(node), parts))
        inner: Any = node if constant else super().generic_visit(node)
        return ast.Call(ast.Name(_AT, ast.Load()), [ast.Constant(number), inner], [])

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        return self.visit(ast.copy_location(ast.Assign([node.target], node.value), node)) if node.value else node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        return node if isinstance(node.value, ast.Constant) else self.generic_visit(node)


class _Statements(ast.NodeTransformer):
    """Gives one statement that writes into an array another form: ``+=`` for ``=``, ``np.add.at`` or ``-=`` for ``+=``."""

    def __init__(self, number: int | None) -> None:
        self.number, self.lines = number, [""]
        self.found: list[tuple[str, str, int]] = []

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        (target, *others) = node.targets
        if others or not isinstance(target, ast.Subscript):
            return node
        return self._chosen(node, f"{self._said(target)} += {self._said(node.value)}")

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        if not isinstance(node.op, (ast.Add, ast.Sub)):
            return node
        target, value, minus = node.target, self._said(node.value), isinstance(node.op, ast.Sub)
        forms = [f"{self._said(target)} {'+=' if minus else '-='} {value}"]
        if isinstance(target, ast.Subscript):
            index = self._said(target.slice)
            several = isinstance(target.slice, ast.Tuple)
            place = f"np.s_[{index}]" if ":" in index else f"({index})" if several else index
            forms.append(f"np.add.at({self._said(target.value)}, {place}, {f'-({value})' if minus else value})")
        return self._chosen(node, *forms)

    def _said(self, node: ast.AST) -> str:
        return _text(node, self.lines)

    def _chosen(self, node: ast.stmt, *forms: str) -> ast.AST:
        if self.number is None or self.found:
            return node
        self.number -= len(forms)
        if self.number >= 0:
            return node
        self.found.append((self._said(node), forms[self.number], node.lineno))
        form = ast.parse(forms[self.number]).body[0]
        for part in ast.walk(form):
            # The text of its parts is that of the new form.
            if isinstance(part, ast.expr):
                part.lineno, part.end_lineno = node.lineno, node.lineno + 1
        return ast.copy_location(form, node)


def _text(node: Any, lines: Sequence[str]) -> str:
    """Return an expression as it is written, in one line."""
    if node.lineno != node.end_lineno or not lines:
        return ast.unparse(node)
    return str(lines[node.lineno - 1].encode()[node.col_offset : node.end_col_offset].decode())


def _lines(function: Any) -> list[str]:
    return list(inspect.findsource(function.__code__)[0])


def _is_number(node: ast.AST) -> bool:
    """Whether a number is written there, such as 2 or -1."""
    return isinstance(node.operand if isinstance(node, ast.UnaryOp) else node, ast.Constant)


def _is_read(node: ast.expr) -> bool:
    if isinstance(node, (ast.Slice, ast.Starred, ast.JoinedStr, ast.FormattedValue)):
        return False
    if isinstance(node, ast.Tuple) and any(isinstance(each, (ast.Slice, ast.Starred)) for each in node.elts):
        return False
    if isinstance(node, ast.Constant) and not isinstance(node.value, (bool, int, float)):
        return False
    if isinstance(node, ast.Name) and node.id in ("self", "super"):
        return False
    return isinstance(getattr(node, "ctx", ast.Load()), ast.Load)


def _arguments(node: ast.FunctionDef | ast.Lambda) -> list[ast.arg]:
    return [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]


def _source(function: Any) -> ast.FunctionDef:
    """Return the tree of a function, a new one each time, without decorators, annotations and defaults."""
    code = function.__code__
    text = "".join(inspect.findsource(code)[0])
    nodes = (node for node in ast.walk(ast.parse(text)) if isinstance(node, (ast.FunctionDef, ast.Lambda)))
    node = next((node for node in nodes if _is_of(node, code)), None)
    if node is None:
        raise LookupError(function.__name__)
    for argument in _arguments(node):
        argument.annotation = None
    node.args.defaults, node.args.kw_defaults = [], [None] * len(node.args.kwonlyargs)
    body: Any = node.body if isinstance(node, ast.FunctionDef) else [ast.copy_location(ast.Return(node.body), node)]
    return ast.copy_location(ast.FunctionDef("rule", node.args, body, []), node)


def _is_of(node: ast.FunctionDef | ast.Lambda, code: types.CodeType) -> bool:
    names = [argument.arg for argument in _arguments(node)]
    if names != [*code.co_varnames[: len(names)]]:
        return False
    if isinstance(node, ast.FunctionDef):
        first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
        return node.name == code.co_name and first == code.co_firstlineno
    begins = min(((line, column) for line, _, column, _ in code.co_positions() if line and column), default=(0, 0))
    return begins == (node.body.lineno, node.body.col_offset) and node.lineno == code.co_firstlineno


def constants_of(op: type[Op]) -> list[float]:
    """Return the numbers that are written in the forward of an operation, but 0 and 1."""
    with contextlib.suppress(Exception):
        found = inspect.getattr_static(op, "forward")
        tree = _source(inspect.unwrap(getattr(found, "__func__", found)))
        numbers = [ast.literal_eval(node) for node in ast.walk(tree) if isinstance(node, ast.expr) and _is_number(node)]
        return list(dict.fromkeys(n for n in numbers if type(n) in (int, float) and n not in (0, 1, -1)))
    return []
