"""A declaration with its equations parsed: what is known before anything is recorded."""

from __future__ import annotations

import functools
from collections.abc import Mapping

from tinygraph.graph.registry import OPERATIONS, is_operation
from tinygraph.model.declaration import Declaration, Equations
from tinygraph.model.parse import Statement, Text, parse_equations


class Program:
    """The statements of a model and its blocks, and what each name depends on."""

    def __init__(self, declaration: Declaration) -> None:
        self.declaration = declaration
        self.source = declaration.source
        self.main = declaration.main
        self.blocks = declaration.blocks
        self._statements = {
            equations.path: parse_equations(self._text_of(equations))
            for equations in [declaration.main, *declaration.blocks.values()]
        }
        self._targets = {path: frozenset(s.target for s in found) for path, found in self._statements.items()}
        for name in self.blocks:
            if name in OPERATIONS:
                self.source.fail(f"block {name!r} has the name of an operation", "blocks", name)

    def statements(self, equations: Equations) -> list[Statement]:
        """Return the statements of the model or of a block, in their order."""
        return self._statements[equations.path]

    def targets(self, equations: Equations) -> frozenset[str]:
        """Return the names that the equations of the model or of a block define."""
        return self._targets[equations.path]

    def reads(self, equations: Equations) -> set[str]:
        """Return the names that equations and the sizes of their parameters speak of."""
        in_sizes = (declared.reads() for declared in equations.leaves.values())
        following = (state.next.names for state in equations.state.values() if state.next is not None)
        return set().union(*(s.names for s in self.statements(equations)), *in_sizes, *following)

    @functools.cached_property
    def modal(self) -> bool:
        """Whether training differs from prediction: a state moves, or an operation is called that asks which it is."""
        every = [self.main, *self.blocks.values()]
        if any(state.next is not None for equations in every for state in equations.state.values()):
            return True
        called = {name for equations in every for s in self.statements(equations) for name in s.calls()}
        return any(is_operation(name) and "training" in OPERATIONS[name].attribute_names for name in called)

    def needed_for(self, target: str) -> set[str]:
        """Return the names of the main equations, inputs and parameters that ``target`` is computed from, and itself."""
        reads = {s.target: s.names for s in self.statements(self.main)}
        needed, stack = {target}, [target]
        while stack:
            for name in reads.get(stack.pop(), set()) - needed:
                needed.add(name)
                stack.append(name)
        return needed

    def _text_of(self, equations: Equations) -> Text:
        line, column = self.source.text_start(*equations.path, "equations")
        return Text(equations.text, self.source.file, line, column, self.source)


def chain(start: str, goal: str, statements: Mapping[str, Statement]) -> list[str]:
    """Return a path of names from ``start`` to ``goal`` along what statements read, or an empty list."""
    paths = {start: [start]}
    stack = [start]
    while stack:
        name = stack.pop()
        if name == goal:
            return paths[name]
        for read in sorted(statements[name].names) if name in statements else ():
            if read not in paths:
                paths[read] = [*paths[name], read]
                stack.append(read)
    return []
