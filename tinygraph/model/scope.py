"""Scope: what names mean to the equations of a model, or of one call of a block."""

from __future__ import annotations

import ast
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tinygraph.errors import nearest
from tinygraph.graph.op import Op
from tinygraph.graph.registry import OPERATIONS, is_operation, operation_hint
from tinygraph.graph.tensor import Tensor
from tinygraph.model.declaration import Equations
from tinygraph.model.parse import Statement
from tinygraph.model.program import chain
from tinygraph.synonyms import CONSTANTS

if TYPE_CHECKING:
    from tinygraph.model.recorder import Recorder


class Scope:
    """The values of one evaluation of a set of equations. ``prefix`` (``R1.``) comes before the names of its tensors."""

    def __init__(
        self,
        recorder: Recorder,
        equations: Equations,
        statements: Sequence[Statement],
        values: dict[str, Any],
        prefix: str = "",
        block: str = "",
        parent: Scope | None = None,
    ) -> None:
        self.recorder, self.equations, self.statements, self.values = recorder, equations, statements, values
        self.prefix, self.block, self.parent = prefix, block, parent
        self.current = statements[0]
        self._calls: Counter[str] = Counter()

    def look_up(self, name: str, statement: Statement, node: ast.AST) -> Any:
        """Return what a name stands for: a tensor, a number that is an attribute of the block, or infinity."""
        if name not in self.values and name in self.equations.leaves:
            self.values[name] = self.recorder.leaf(self, name)
        if name in self.values:
            return self.values[name]
        later = {s.target: s for s in self.statements}
        if name in later:
            cycle = chain(name, self.current.target, later) if statement is self.current else []
            if cycle:
                statement.fail(f"a cycle: {' -> '.join([self.current.target, *cycle])}", node)
            statement.fail(f"{name!r} is used before it is defined, in line {later[name].line}", node)
        if name in OPERATIONS or name in self.recorder.program.blocks:
            kind = "a block" if name in self.recorder.program.blocks else "an operation"
            statement.fail(f"{name!r} is {kind}; call it: {name}(...)", node)
        if name == "inf":
            return math.inf
        if self.is_outside(name):
            block = self.block
            statement.fail(
                f"{name!r} is not defined in block {block!r}, but outside: pass it as an input of the block", node
            )
        known = [*self.values, *self.equations.leaves, *later]
        hint = f"; write {CONSTANTS[name]}" if name in CONSTANTS else nearest(name, known)
        statement.fail(f"{name!r} is not defined{hint}", node)

    def is_outside(self, name: str) -> bool:
        """Whether a scope around this one defines the name, which blocks cannot see."""
        outer = self.parent
        if outer is None:
            return False
        targets = (statement.target for statement in outer.statements)
        return name in outer.values or name in outer.equations.leaves or name in targets or outer.is_outside(name)

    def call(self, name: str, args: list[Any], kwargs: dict[str, Any], statement: Statement, node: ast.Call) -> Any:
        """Return the result of a block or an operation."""
        if name in self.recorder.program.blocks:
            return self.recorder.call_block(self, name, args, kwargs, statement, node)
        if not is_operation(name):
            blocks = self.recorder.program.blocks
            statement.fail(f"no operation or block is called {name!r}{operation_hint(name, blocks)}", node)
        if name in ("max", "min") and len(args) > 1:
            statement.fail(
                f"{name} reduces one tensor; for two write {name}imum(...), for an axis {name}(x, axis=...)", node
            )
        _check_operands(OPERATIONS[name].op, args, kwargs, statement, node)
        result = OPERATIONS[name](*args, **kwargs, **self.recorder.settings(OPERATIONS[name], args, kwargs))
        # Numbers alone give a number again, which takes the dtype of the tensors that it meets.
        return result if isinstance(result, Tensor) else result.item()

    def is_within(self, block: str) -> bool:
        """Whether a call of ``block`` is being evaluated already."""
        return self.block == block or (self.parent is not None and self.parent.is_within(block))

    def holds(self, tensor: Tensor) -> bool:
        """Whether a name of this scope stands for ``tensor``."""
        return any(value is tensor for value in self.values.values())

    def instance(self, target: str) -> str:
        """Return a name for one more block call in an equation: the equation's own, or one that is no equation's."""
        while True:
            self._calls[target] += 1
            name = target if self._calls[target] == 1 else f"{target}_{self._calls[target]}"
            if name == target or name not in self.recorder.program.targets(self.equations):
                return self.prefix + name

    def written_names(self, statement: Statement) -> dict[str, str]:
        """Return what the names in a statement read as outside the block: tensors' own names, attributes as numbers."""
        if not self.prefix:
            return {}
        names = {}
        for key in statement.names & self.values.keys():
            value = self.values[key]
            if not isinstance(value, Tensor):
                names[key] = repr(value) if value >= 0 else f"({value!r})"
            elif value.name:
                names[key] = value.name
        return names


def _check_operands(
    op: type[Op], args: list[Any], kwargs: Mapping[str, Any], statement: Statement, node: ast.AST
) -> None:
    """Refuse lists and texts where tensors belong, and whatever would compute on literals of any size."""
    if op.variadic and args and isinstance(args[0], list):
        operands = args[0]
    else:
        operands = [*args[: len(op.parameters)], *(kwargs[name] for name in op.parameters if name in kwargs)]
    for operand in operands:
        if not isinstance(operand, (Tensor, int, float)):
            statement.fail(f"{op.name} takes tensors and numbers; found {operand!r}", node)
    if operands and not op.elementwise and not any(isinstance(operand, Tensor) for operand in operands):
        statement.fail(f"{op.name} needs a tensor among its inputs", node)
