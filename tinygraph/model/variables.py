"""Parameters and state of a model. They are made when an equation first reads them, because sizes may read tensors."""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from tinygraph.errors import BudgetError, ShapeError
from tinygraph.graph import Kind, Tensor, check_size
from tinygraph.graph.budget import charge
from tinygraph.model.declaration import Variable
from tinygraph.model.expression import evaluate_expression
from tinygraph.model.initializers import initial_value
from tinygraph.model.parse import Statement
from tinygraph.model.toml import Source

if TYPE_CHECKING:
    from tinygraph.model.scope import Scope


class Variables:
    """Parameters and state by name, with what is needed to draw them again."""

    def __init__(self, source: Source, seed: int, dtype: np.dtype[Any], given: Mapping[str, Any] | None = None) -> None:
        self.source, self.seed, self.dtype = source, seed, dtype
        # Values by name that are used instead of the first drawn ones.
        self.given = dict(given or {})
        self.tensors: dict[str, Tensor] = {}
        self.declared: dict[str, Variable] = {}

    def get(self, scope: Scope, name: str, trusted: bool) -> Tensor:
        """Return the parameter or state that a scope calls ``name``; it is made at first use.

        Unless it is ``trusted``, its sizes are computed again: a shape that changes with the batch is refused.
        """
        full, variable = scope.prefix + name, scope.equations.variables[name]
        known = self.tensors.get(full)
        if known is not None and trusted:
            return known
        shape = self._shape(scope, full, name, variable)
        if known is None:
            self._charge(full, shape, variable)
            value = self.given.pop(full, None)
            # Drawn values need no copy, which would double the memory.
            value = self._drawn(full, shape, variable) if value is None else np.array(value)
            self.tensors[full] = Tensor(variable.kind, value=value, name=full)
            self.declared[full] = variable
        elif known.shape != shape:
            self.source.fail(f"the shape of {variable.kind} {name!r} depends on the batch size", *variable.path)
        return self.tensors[full]

    def of_kind(self, kind: Kind) -> dict[str, Tensor]:
        """Return the parameters, or the state."""
        return {name: tensor for name, tensor in self.tensors.items() if tensor.kind == kind}

    def constant_state(self) -> set[str]:
        """Return the names of the state that never changes, such as a mask."""
        return {name for name, variable in self.declared.items() if variable.kind == "state" and variable.next is None}

    def initialize(self, seed: int) -> None:
        """Draw all values again, from another seed."""
        self.seed = seed
        for name, tensor in self.tensors.items():
            tensor.value = self._drawn(name, tensor.shape, self.declared[name])

    def sort(self, names: list[str]) -> None:
        """Put the variables called ``names`` first, in that order."""
        first = {name: self.tensors[name] for name in names if name in self.tensors}
        self.tensors = first | self.tensors

    def _charge(self, name: str, shape: tuple[int, ...], variable: Variable) -> None:
        """Take the memory of a variable from the budget before it is made."""
        dtype = variable.dtype or self.dtype
        try:
            check_size(shape, dtype, f"{variable.kind} {name!r}")
            charge("bytes of values", math.prod(shape) * dtype.itemsize)
        except (ShapeError, BudgetError) as error:
            self._refuse(name, shape, variable, error)

    def _drawn(self, name: str, shape: tuple[int, ...], variable: Variable) -> Any:
        try:
            return initial_value(name, shape, variable.init, variable.options, self.seed, variable.dtype or self.dtype)
        except (MemoryError, ValueError, OverflowError) as error:
            self._refuse(name, shape, variable, error)

    def _refuse(self, name: str, shape: tuple[int, ...], variable: Variable, error: Exception) -> NoReturn:
        self.source.fail(f"{variable.kind} {name!r} of shape {shape} cannot be made: {error}", *variable.path)

    def _shape(self, scope: Scope, full: str, name: str, variable: Variable) -> tuple[int, ...]:
        being_sized = scope.recorder.being_sized
        if full in being_sized:
            chain = " -> ".join([*being_sized[being_sized.index(full) :], full])
            self.source.fail(f"the sizes of parameters are a cycle: {chain}", *variable.path)
        being_sized.append(full)
        shape = tuple(size if isinstance(size, int) else _size(scope, name, size) for size in variable.shape)
        being_sized.pop()
        return shape


def _size(scope: Scope, name: str, statement: Statement) -> int:
    for node in ast.walk(statement.value):
        if isinstance(node, ast.Name) and node.id == name:
            statement.fail(f"the size of {name!r} is read off {name!r} itself")
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Attribute):
            _refuse_batch(scope, node, node.value.value, statement)
    value = evaluate_expression(statement, scope)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        statement.fail(f"a size must be a whole number of at least 1; {ast.unparse(statement.value)!r} gives {value!r}")
    return value


def _refuse_batch(scope: Scope, node: ast.Subscript, owner: ast.AST, statement: Statement) -> None:
    tensor = scope.values.get(owner.id) if isinstance(owner, ast.Name) else None
    if isinstance(tensor, Tensor) and tensor.kind not in ("parameter", "state") and tensor.ndim:
        if ast.unparse(node.slice) in ("0", str(-tensor.ndim)):
            statement.fail(f"{ast.unparse(node)} is the batch size, which a parameter cannot depend on")
