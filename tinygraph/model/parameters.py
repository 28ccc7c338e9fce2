"""Parameters and state of a model: made when an equation first reads them, when the tensors their sizes speak of are known."""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.errors import BudgetError, ShapeError
from tinygraph.graph.arrays import check_size
from tinygraph.graph.budget import charge
from tinygraph.graph.tensor import Kind, Tensor
from tinygraph.model.declaration import ParameterDeclaration, StateDeclaration
from tinygraph.model.expression import evaluate_expression
from tinygraph.model.initializers import initial_value
from tinygraph.model.parse import Statement
from tinygraph.model.places import Source

if TYPE_CHECKING:
    from tinygraph.model.scope import Scope


class Parameters:
    """Parameters and state by name, with what is needed to draw them again."""

    def __init__(self, source: Source, seed: int, dtype: np.dtype[Any], given: Mapping[str, Any] | None = None) -> None:
        self.source, self.seed, self.dtype = source, seed, dtype
        # Values by name that stand in place of those that would be drawn first.
        self.given = dict(given or {})
        self.tensors: dict[str, Tensor] = {}
        self.declarations: dict[str, ParameterDeclaration] = {}

    def get(self, scope: Scope, name: str, trusted: bool) -> Tensor:
        """Return the parameter or state that a scope calls ``name``, made if it is new.

        One that is known must have the shape that its sizes give now, unless it is ``trusted``: a shape that changes with
        the batch is refused.
        """
        full, declared = scope.prefix + name, scope.equations.leaves[name]
        known = self.tensors.get(full)
        if known is not None and trusted:
            return known
        shape = self._shape(scope, full, name, declared)
        if known is None:
            self._charge(full, shape, declared)
            value = self.given.pop(full, None)
            # Drawn values need no copy, which would double the memory.
            value = self._drawn(full, shape, declared) if value is None else np.array(value)
            self.tensors[full] = Tensor(declared.kind, value=value, name=full)
            self.declarations[full] = declared
        elif known.shape != shape:
            self.source.fail(f"the shape of {declared.kind} {name!r} depends on the batch size", *declared.path)
        return self.tensors[full]

    def of_kind(self, kind: Kind) -> dict[str, Tensor]:
        """Return the parameters, or the state."""
        return {name: tensor for name, tensor in self.tensors.items() if tensor.kind == kind}

    def fixed(self) -> set[str]:
        """Return the names of the state that never moves, such as a mask."""
        return {
            name
            for name, declared in self.declarations.items()
            if isinstance(declared, StateDeclaration) and declared.next is None
        }

    def initialize(self, seed: int) -> None:
        """Draw all values anew."""
        self.seed = seed
        for name, tensor in self.tensors.items():
            tensor.value = self._drawn(name, tensor.shape, self.declarations[name])

    def sort(self, names: list[str]) -> None:
        """Put the parameters called ``names`` first, in that order."""
        order = {name: place for place, name in enumerate(names)}
        self.tensors = dict(sorted(self.tensors.items(), key=lambda item: order.get(item[0], len(order))))

    def _charge(self, name: str, shape: tuple[int, ...], declared: ParameterDeclaration) -> None:
        dtype = declared.dtype or self.dtype
        try:
            check_size(shape, dtype, f"{declared.kind} {name!r}")
            charge("bytes of values", math.prod(shape) * dtype.itemsize)
        except (ShapeError, BudgetError) as error:
            self.source.fail(f"{declared.kind} {name!r} of shape {shape} cannot be made: {error}", *declared.path)

    def _drawn(self, name: str, shape: tuple[int, ...], declared: ParameterDeclaration) -> Any:
        try:
            return initial_value(name, shape, declared.init, declared.options, self.seed, declared.dtype or self.dtype)
        except (MemoryError, ValueError, OverflowError) as error:
            self.source.fail(f"{declared.kind} {name!r} of shape {shape} cannot be made: {error}", *declared.path)

    def _shape(self, scope: Scope, full: str, name: str, declared: ParameterDeclaration) -> tuple[int, ...]:
        being_sized = scope.recorder.being_sized
        if full in being_sized:
            chain = " -> ".join([*being_sized[being_sized.index(full) :], full])
            self.source.fail(f"the sizes of parameters are a cycle: {chain}", *declared.path)
        being_sized.append(full)
        shape = tuple(size if isinstance(size, int) else _size(scope, name, size) for size in declared.shape)
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
