"""The mistakes: for each place in a rule's syntax, what a slip of the pen could have made of it."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass

from .rules import Rule

# Called in place of the attributes of an operation, with one of them changed.
NUDGED = "__nudged__"
ATTRIBUTES = ("stride", "padding", "dilation", "window", "groups", "ceil_mode", "count_include_pad")

_BOUNDARIES: dict[type[ast.cmpop], list[type[ast.cmpop]]] = {
    ast.Gt: [ast.GtE, ast.Lt],
    ast.GtE: [ast.Gt, ast.LtE],
    ast.Lt: [ast.LtE, ast.Gt],
    ast.LtE: [ast.Lt, ast.GtE],
    ast.Eq: [ast.NotEq],
    ast.NotEq: [ast.Eq],
}
_TRANSPOSES = ("transpose", "swapaxes", "moveaxis", "flip", "conj")


@dataclass(frozen=True, eq=False)
class Mutant:
    """A rule with one mistake: what kind, what it was and became, and the whole syntax."""

    rule: Rule
    text: str
    tree: ast.FunctionDef

    def __str__(self) -> str:
        return f"{self.rule.name}: {self.text}"


def mutants(rule: Rule) -> list[Mutant]:
    """Return all mutants of a rule, each with a text of its own."""
    tree = without_docstring(rule.tree)
    found: list[Mutant] = []
    times: dict[str, int] = {}
    for number, node in enumerate(ast.walk(tree)):
        for kind, replacement in mistakes(node, rule):
            mutated = replaced(tree, number, replacement)
            text = f"{kind}: {shown(node)} -> {shown(replacement)}"
            times[text] = times.get(text, 0) + 1
            text += f" ({times[text]})" if times[text] > 1 else ""
            found.append(Mutant(rule, text, mutated))
    return found


def shown(node: ast.AST) -> str:
    return " ".join(ast.unparse(ast.fix_missing_locations(copy.deepcopy(node))).split())


def without_docstring(tree: ast.FunctionDef) -> ast.FunctionDef:
    """Return a function without what computes nothing: its docstring, decorators and annotations."""
    tree = copy.deepcopy(tree)
    tree.decorator_list = []
    tree.returns = None
    for argument in ast.walk(tree.args):
        if isinstance(argument, ast.arg):
            argument.annotation = None
    if ast.get_docstring(tree) is not None:
        tree.body = tree.body[1:]
    return tree


def replaced(tree: ast.FunctionDef, number: int, replacement: ast.AST) -> ast.FunctionDef:
    """Return a copy of a tree with the node of this number, in the order of ``ast.walk``, replaced."""
    made = copy.deepcopy(tree)
    old = next(node for i, node in enumerate(ast.walk(made)) if i == number)
    new = copy.deepcopy(replacement)
    for parent in ast.walk(made):
        for field, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, field, new)
            elif isinstance(value, list) and any(item is old for item in value):
                setattr(parent, field, [new if item is old else item for item in value])
    return ast.fix_missing_locations(made)


Mistake = tuple[str, ast.AST]


def mistakes(node: ast.AST, rule: Rule) -> Iterator[Mistake]:
    """Yield each mistake that may be made at a node, with what stands there then."""
    if isinstance(node, ast.Return) and node.value is not None:
        yield from of_return(node)
    elif isinstance(node, ast.Lambda):
        yield from (("sign" if n == 0 else "factor", lambda_of(node, e)) for n, e in enumerate(spoiled(node.body)))
    elif isinstance(node, ast.BinOp):
        yield from of_operator(node)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield "sign", node.operand
    elif isinstance(node, ast.Compare) and len(node.ops) == 1:
        for other in _BOUNDARIES.get(type(node.ops[0]), []):
            yield "boundary", ast.Compare(node.left, [other()], node.comparators)
    elif isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add):
        yield "assigned", ast.Assign([node.target], node.value)
    elif isinstance(node, ast.Attribute) and node.attr == "T":
        yield "transpose missing", node.value
    elif isinstance(node, ast.Call):
        yield from of_call(node)
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
        yield "constant", ast.Constant(node.value + 1)
    elif isinstance(node, ast.Slice):
        yield from of_slice(node)
    elif isinstance(node, ast.IfExp):
        yield "branch", node.body
        yield "branch", node.orelse
    elif isinstance(node, ast.If):
        yield "branch", ast.If(ast.UnaryOp(ast.Not(), node.test), node.body, node.orelse)
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        yield from of_name(node, rule)
    elif isinstance(node, ast.Tuple) and isinstance(node.ctx, ast.Load) and len(node.elts) == 2:
        yield "swapped", ast.Tuple(node.elts[::-1], ast.Load())


def spoiled(value: ast.expr) -> list[ast.expr]:
    return [ast.UnaryOp(ast.USub(), value), ast.BinOp(value, ast.Mult(), ast.Constant(2))]


def lambda_of(node: ast.Lambda, body: ast.expr) -> ast.Lambda:
    return ast.Lambda(node.args, body)


def of_return(node: ast.Return) -> Iterator[Mistake]:
    value = node.value
    if value is None or isinstance(value, ast.Lambda | ast.IfExp) or is_none(value):
        return
    if isinstance(value, ast.Tuple):
        for place, item in enumerate(value.elts):
            if isinstance(item, ast.Lambda) or is_none(item):
                continue
            for kind, wrong in zip(("sign", "factor"), spoiled(called(item)), strict=True):
                elements = [*value.elts[:place], wrong, *value.elts[place + 1 :]]
                yield kind, ast.Return(ast.Tuple(elements, ast.Load()))
        return
    yield "sign", ast.Return(ast.UnaryOp(ast.USub(), value))
    yield "factor", ast.Return(ast.BinOp(value, ast.Mult(), ast.Constant(2)))


def called(item: ast.expr) -> ast.expr:
    """Return a gradient that may be a function: called if it is, so that it can be changed."""
    return ast.Call(ast.Name("__value__", ast.Load()), [item], [])


def is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def of_operator(node: ast.BinOp) -> Iterator[Mistake]:
    left, right = node.left, node.right
    if isinstance(node.op, ast.Add | ast.Sub):
        yield "term dropped", left
        yield "term dropped", right
        yield "sign", ast.BinOp(left, ast.Sub() if isinstance(node.op, ast.Add) else ast.Add(), right)
    elif isinstance(node.op, ast.Mult):
        yield "factor dropped", left
        yield "factor dropped", right
    elif isinstance(node.op, ast.Div):
        yield "factor dropped", left
        yield "factor", ast.BinOp(left, ast.Mult(), right)
    elif isinstance(node.op, ast.MatMult):
        yield "inputs swapped", ast.BinOp(right, ast.MatMult(), left)
    elif isinstance(node.op, ast.Pow):
        yield "power", left
        yield "power", ast.BinOp(left, ast.Pow(), ast.BinOp(right, ast.Add(), ast.Constant(1)))


def of_call(node: ast.Call) -> Iterator[Mistake]:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if name in _TRANSPOSES:
        method = isinstance(node.func, ast.Attribute) and getattr(node.func.value, "id", "") != "np"
        operand = node.func.value if method else node.args[0] if node.args else None  # type: ignore[union-attr]
        if operand is not None:
            yield "transpose missing", operand
    if (
        len(node.args) >= 2
        and name != "swapaxes"
        and not any(isinstance(argument, ast.Starred) for argument in node.args)
    ):
        yield "inputs swapped", ast.Call(node.func, [*node.args[:-2], node.args[-1], node.args[-2]], node.keywords)
    for place, keyword in enumerate(node.keywords):
        rest = node.keywords[:place] + node.keywords[place + 1 :]
        if keyword.arg in ("axis", "keepdims"):
            yield "wrong axis", ast.Call(node.func, node.args, rest)
        if keyword.arg is None:
            for attribute in ATTRIBUTES:
                value = ast.Call(ast.Name(NUDGED, ast.Load()), [keyword.value, ast.Constant(attribute)], [])
                yield "off by one", ast.Call(node.func, node.args, [*rest, ast.keyword(None, value)])
        if keyword.arg in ATTRIBUTES:
            value = ast.Call(ast.Name(NUDGED, ast.Load()), [keyword.value], [])
            yield "off by one", ast.Call(node.func, node.args, [*rest, ast.keyword(keyword.arg, value)])


def of_slice(node: ast.Slice) -> Iterator[Mistake]:
    if node.lower is not None:
        yield "off by one", ast.Slice(plus_one(node.lower), node.upper, node.step)
    if node.upper is not None:
        yield "off by one", ast.Slice(node.lower, plus_one(node.upper), node.step)


def plus_one(value: ast.expr) -> ast.expr:
    return ast.BinOp(value, ast.Add(), ast.Constant(1))


def of_name(node: ast.Name, rule: Rule) -> Iterator[Mistake]:
    if node.id == rule.cotangent:
        yield "dy ignored", ast.BinOp(ast.BinOp(node, ast.Mult(), ast.Constant(0)), ast.Add(), ast.Constant(1))
    if node.id in rule.tensors:
        other = rule.tensors[(rule.tensors.index(node.id) + 1) % len(rule.tensors)]
        yield "inputs swapped", ast.Name(other, ast.Load())
