"""What names and calls mean in an equation: tensors, numbers, operations and blocks."""

from __future__ import annotations

import ast
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from tinygraph.errors import listing, nearest
from tinygraph.graph import OPERATIONS, Op, Tensor, is_operation, operation_hint, shown
from tinygraph.model.declaration import Equations, dependency_path
from tinygraph.model.parse import Call, Statement
from tinygraph.ops.indexing.select import split
from tinygraph.synonyms import CONSTANTS

if TYPE_CHECKING:
    from tinygraph.model.recorder import Recorder


class Each(NamedTuple):
    """A tensor whose second axis has the steps of a sequence, each of which a block is called for: ``each(x)``."""

    tensor: Tensor

    def __repr__(self) -> str:
        return f"each({self.tensor.name or '...'})"


# The function that takes a sequence step by step.
EACH = "each"


@dataclass(eq=False)
class Scope:
    """The values of one evaluation of a set of equations. ``prefix`` (``R1.``) comes before the names of its tensors.

    ``owner`` comes before the names of its variables: it is another one where repetitions of a block share them.
    ``outer`` are the scopes around it, the nearest first, and ``calls`` counts the blocks that each equation calls.
    """

    recorder: Recorder
    equations: Equations
    statements: Mapping[str, Statement]
    values: dict[str, Any]
    prefix: str = ""
    owner: str = ""
    block: str = ""
    outer: tuple[Scope, ...] = ()
    calls: Counter[str] = field(default_factory=Counter)

    def look_up(self, name: str, statement: Statement, node: ast.AST) -> Any:
        """Return the meaning of a name: a tensor, a number that is an attribute of the block, or infinity."""
        recorder, variables, later = self.recorder, self.equations.variables, self.statements
        if name not in self.values and name in variables:
            # The sizes of variables may read tensors that a partial recording does not have.
            self.values[name] = recorder.variables.get(self, name, trusted=recorder.partial)
        if name in self.values:
            return self.values[name]
        if name in later:
            recorded = recorder.current is not None and recorder.current[1] is statement
            cycle = dependency_path(name, statement.target, later) if recorded else []
            if cycle:
                statement.fail(f"a cycle: {' -> '.join([statement.target, *cycle])}", node)
            statement.fail(f"{name!r} is used before it is defined, in line {later[name].line}", node)
        if name in OPERATIONS or name in recorder.declaration.blocks:
            is_block = name in recorder.declaration.blocks
            again = f", or several times: {name}(..., times=3)" if is_block else ""
            kind = "a block" if is_block else "an operation"
            statement.fail(f"{name!r} is {kind}; call it: {name}(...){again}", node)
        if name == "inf":
            return math.inf
        hint = f"; write {CONSTANTS[name]}" if name in CONSTANTS else nearest(name, [*self.values, *variables, *later])
        if any(name in names for s in self.outer for names in (s.values, s.equations.variables, s.statements)):
            hint = f" in block {self.block!r}, but outside: pass it as an input of the block"
        statement.fail(f"{name!r} is not defined{hint}", node)

    def call(self, call: Call) -> Any:
        """Return the result of a block or an operation."""
        name, blocks = call.name, self.recorder.declaration.blocks
        if name in blocks:
            return self.recorder.call_block(self, call)
        if name == EACH and not is_operation(name):
            return _each(call)
        if name == "split" and not is_operation(name):
            return _split(call)
        if not is_operation(name):
            call.fail(f"no operation or block is called {name!r}{operation_hint(name, blocks)}")
        if name in ("max", "min") and len(call.args) > 1:
            call.fail(f"{name} reduces one tensor; for two write {name}imum(...), for an axis {name}(x, axis=...)")
        _check_operands(OPERATIONS[name].op, call)
        attributes = self.recorder.mode_attributes(OPERATIONS[name], call)
        result = OPERATIONS[name](*call.args, **call.kwargs, **attributes)
        # Numbers alone give a number again: it takes the dtype of the tensors that it meets.
        return result if isinstance(result, Tensor) else result.item()

    def instance(self, target: str) -> str:
        """Return a name for one more block call in an equation: the equation's own, later ones with a number."""
        while True:
            self.calls[target] += 1
            name = target if self.calls[target] == 1 else f"{target}_{self.calls[target]}"
            if name == target or name not in self.equations.statements:
                return name

    def written_names(self, statement: Statement) -> dict[str, str]:
        """Return how the names in a statement are written outside the block: tensors by full names, attributes as numbers."""
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


def _each(call: Call) -> Each:
    sequence = call.args[0] if len(call.args) == 1 and not call.kwargs else None
    if not isinstance(sequence, Tensor) or sequence.ndim < 2:
        call.fail(
            f"each(x) takes one tensor with an axis of steps after the batch; found {listing(map(shown, call.args))}"
        )
    return Each(sequence)


def _split(call: Call) -> tuple[Tensor, ...]:
    """Return the parts of a tensor; the operations return one tensor each."""
    usage = (
        "split takes a tensor and how many parts, or their sizes, in an equation of its own: a, b = split(x, 2, axis=1)"
    )
    if call.node is not call.statement.value or not call.args or not isinstance(call.args[0], Tensor):
        call.fail(usage)
    try:
        return split(*call.args, **call.kwargs)
    except TypeError:
        call.fail(usage)


def _check_operands(op: type[Op], call: Call) -> None:
    """Refuse lists and texts in place of tensors, and operations on numbers alone, whose cost has no bound."""
    if op.variadic and call.args and isinstance(call.args[0], list):
        operands = call.args[0]
    else:
        named = [call.kwargs[name] for name in op.parameters if name in call.kwargs]
        operands = [*call.args[: len(op.parameters)], *named]
    for operand in operands:
        if not isinstance(operand, (Tensor, int, float)):
            call.fail(f"{op.name} takes tensors and numbers; found {operand!r}")
    if operands and not op.elementwise and not any(isinstance(operand, Tensor) for operand in operands):
        call.fail(f"{op.name} needs a tensor among its inputs")
