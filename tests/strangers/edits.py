"""A hint that names an edit of the rule is tried: does the edit make the gradient right on calls that no certificate saw?"""

import ast
import re
import warnings
from collections.abc import Iterator

import numpy as np

from tests.strangers import truth
from tests.strangers.cases import HEADER, Case, load

EDIT = re.compile(r"(?:in line (?P<line>\d+)|everywhere in the rule), `(?P<old>[^`]+)` should be `(?P<new>[^`]+)`")


class Replaced(ast.NodeTransformer):
    """Replace an expression or a statement, in a line or in the rule, in all places or in the one of a number."""

    def __init__(self, old: ast.AST, new: ast.AST, line: int | None, only: int | None) -> None:
        self.old, self.new, self.line, self.only, self.count = ast.unparse(old), new, line, only, 0

    def visit(self, node: ast.AST) -> ast.AST:
        here = isinstance(node, ast.expr | ast.stmt) and (
            self.line is None or node.lineno <= self.line <= node.end_lineno
        )
        # A call that is a statement has the text of its expression: what takes the place of a statement is one.
        here = here and (isinstance(node, ast.stmt) or not isinstance(self.new, ast.stmt))
        if here and ast.unparse(node) == self.old:
            self.count += 1
            if self.only in (None, self.count):
                return self.new if isinstance(self.new, ast.stmt) or isinstance(node, ast.expr) else ast.Expr(self.new)
        return self.generic_visit(node)


def parsed(text: str) -> ast.AST:
    """Return the expression that a text is, or the statement. Raises ``SyntaxError`` if it is neither."""
    (statement,) = ast.parse(text.strip()).body or [None]
    if statement is None:
        raise SyntaxError(text)
    return statement.value if isinstance(statement, ast.Expr) else statement


def rules(module: ast.Module) -> Iterator[ast.FunctionDef]:
    """Find the functions that are gradient rules."""
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef) and node.name.endswith("vjp"):
            yield node


def edited(source: str, hint: str) -> list[str]:
    """Return the sources that a hint may mean: its edit in each place of its line, or everywhere in the rule.

    >>> edited("y = x*x", "in line 6, `x` should be `-x`; then it is right")
    ['y = -x * x', 'y = x * -x', 'y = -x * -x']
    """
    found = EDIT.search(hint)
    text = HEADER + source
    old, new = parsed(found["old"]), parsed(found["new"])
    versions = []
    for only in (None,) if found["line"] is None else (1, 2, 3, 4, None):
        module = ast.parse(text)
        replaced = Replaced(old, new, int(found["line"]) if found["line"] else None, only)
        for part in [module] if found["line"] else rules(module):
            part.body = [replaced.visit(statement) for statement in part.body]
        if replaced.count >= (only or 1):
            versions.append(
                ast.unparse(module).removeprefix(ast.unparse(ast.parse(HEADER))).lstrip()
                + _named_functions(new, source)
            )
    return versions


def _named_functions(new: ast.AST, source: str) -> str:
    """Define the NumPy functions that an edit calls by their names alone."""
    called = {node.func.id for node in ast.walk(new) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    return "".join(f"\n{name} = np.{name}" for name in sorted(called) if hasattr(np, name) and name not in source)


def helps(case: Case, source: str, hint: str) -> bool | None:
    """Say whether the edit of a hint makes the gradients of a mistaken source right; ``None`` if it names none that is code."""
    found = EDIT.search(hint)
    if not found or "the gradient" in found[0]:
        return None
    try:
        versions = edited(source, hint)
    except (SyntaxError, ValueError):  # shortened, or in words
        return None
    right = load(case.name, case.source)
    calls = truth.calls(case.calls)
    for version in versions:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                repaired = load(case.name, version)
            except Exception:
                continue
            outcomes = [(truth.outcome(right, *call), truth.outcome(repaired, *call)) for call in calls]
        if not any(truth.differs(*pair) for pair in outcomes):
            return True
    return False
