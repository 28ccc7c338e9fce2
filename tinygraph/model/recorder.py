"""From a program to a graph: equations recorded one by one, and blocks inside them."""

from __future__ import annotations

import ast
import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from tinygraph.errors import ModelError, listing, nearest
from tinygraph.graph.apply import computing_in
from tinygraph.graph.attributes import shown
from tinygraph.graph.function import OpFunction
from tinygraph.graph.graph import Graph
from tinygraph.graph.registry import OPERATIONS
from tinygraph.graph.tensor import Tensor
from tinygraph.model.declaration import Equations
from tinygraph.model.expression import evaluate_expression
from tinygraph.model.parameters import Parameters
from tinygraph.model.parse import Statement
from tinygraph.model.program import Program
from tinygraph.model.recording import Equation, Recording, Unfinished, with_nodes
from tinygraph.model.scope import Scope

_MOST_EQUATIONS = 10_000


def record(
    program: Program,
    parameters: Parameters,
    inputs: Mapping[str, Tensor],
    only: set[str] | None = None,
    training: bool = False,
) -> Recording:
    """Record a model on its inputs: all equations, or without a loss those whose names are in ``only``.

    For ``training``, operations are told so, and the state's new values are recorded after the equations.
    """
    return Recorder(program, parameters, only is not None, training).record(inputs, only)


class Recorder:
    """The work of one recording."""

    def __init__(self, program: Program, parameters: Parameters, partial: bool, training: bool) -> None:
        self.program, self.parameters, self.partial, self.training = program, parameters, partial, training
        self.moves: dict[str, Tensor] = {}
        self.streams = itertools.count()
        self.done: list[Equation] = []
        self.called: set[str] = set()
        self.being_sized: list[str] = []
        # The equation that is being recorded, its scope, and how many were done before it.
        self.current: tuple[Scope, Statement, int] | None = None

    def record(self, inputs: Mapping[str, Tensor], only: set[str] | None) -> Recording:
        """Return the recording on the given inputs. A mistake carries what was recorded before it."""
        try:
            with computing_in(self.parameters.dtype):
                return self._whole(inputs, only)
        except ModelError as error:
            error.recorded = self._unfinished(error)
            raise

    def _whole(self, inputs: Mapping[str, Tensor], only: set[str] | None) -> Recording:
        main = self.program.main
        statements = [s for s in self.program.statements(main) if only is None or s.target in only]
        scope = Scope(self, main, statements, dict(inputs))
        self._run(scope)
        output, loss = self._named(scope, main.output, "output"), None if self.partial else self._loss(scope)
        if not self.partial:
            self._check_all_used()
        graph = Graph([output] if loss is None or loss is output else [output, loss])
        tensors = {name: value for name, value in scope.values.items() if isinstance(value, Tensor)}
        return Recording(graph, output, loss, with_nodes(self.done), tensors, self.training, self.moves)

    def settings(self, function: OpFunction, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the attributes that a call takes from the recording, where it does not write them itself.

        They are ``training``; ``stream``, which is another for each call with random numbers; and a ``dtype`` that has a
        default, as that of ``one_hot``, which is the model's.
        """
        given = {*kwargs, *function.attribute_names[: max(0, len(args) - len(function.op.parameters))]}
        found: dict[str, Any] = {}
        for field in dataclasses.fields(function.op) if function.attribute_names else ():  # type: ignore[arg-type]
            if field.name in given or field.default is dataclasses.MISSING:
                continue
            if field.name == "training":
                found["training"] = self.training
            elif field.name == "stream":
                found["stream"] = next(self.streams)
            elif field.name == "dtype":
                found["dtype"] = self.parameters.dtype.name
        return found

    def _unfinished(self, error: ModelError) -> Unfinished:
        declaration, done = self.program.declaration, with_nodes(self.done)
        title = declaration.title or declaration.name
        if self.current is None:
            return Unfinished(title, done, error.message)
        scope, statement, before = self.current
        read = statement.names
        named = [value for name, value in scope.values.items() if name in read and isinstance(value, Tensor)]
        # What blocks called in this equation have given, and no equation of theirs uses.
        used = {x for equation in done[before:] for node in equation.nodes for x in node.inputs}
        given = [equation.node for equation in done[before:] if equation.node not in used]
        name, block = scope.prefix + statement.target, scope.prefix.rstrip(".")
        try:
            text = statement.written(name, scope.written_names(statement))
        except RecursionError:
            text = f"{name} = …"
        return Unfinished(title, done, error.message, name, text, block, tuple(dict.fromkeys([*named, *given])))

    def leaf(self, scope: Scope, name: str) -> Tensor:
        """Return a parameter or state of a scope.

        A partial recording lacks tensors that sizes may speak of, so it asks for none.
        """
        return self.parameters.get(scope, name, trusted=self.partial)

    def call_block(
        self, scope: Scope, name: str, args: list[Any], kwargs: dict[str, Any], statement: Statement, node: ast.Call
    ) -> Tensor:
        """Record a block's equations on the tensors of a call and return its output."""
        block = self.program.blocks[name]
        _check_block_call(scope, name, block, args, kwargs, statement, node)
        self.called.add(name)
        if len(self.done) > _MOST_EQUATIONS:
            statement.fail(f"the blocks make more than {_MOST_EQUATIONS:,} equations", node)
        instance = scope.instance(statement.target)
        for parameter, value, written in zip(block.inputs, args, node.args, strict=True):
            if value.name is None and value.op is not None:
                # An argument that is an expression gets a name, so that the block's equations can speak of it.
                value.name = f"{instance}.{parameter}"
                self._note(scope, value.name, dataclasses.replace(statement, value=written), value)
        values = dict(zip(block.inputs, args, strict=True)) | block.attributes | kwargs
        inner = Scope(self, block, self.program.statements(block), values, f"{instance}.", name, scope)
        self._run(inner)
        return self._named(inner, block.output, "output")

    def _run(self, scope: Scope) -> None:
        for statement in scope.statements:
            scope.current = statement
            outer, self.current = self.current, (scope, statement, len(self.done))
            if statement.target in scope.values or statement.target in scope.equations.leaves:
                state = "a state" if statement.target in scope.equations.state else "a parameter"
                kind = "an input" if statement.target in scope.equations.inputs else state
                statement.fail(f"{statement.target!r} is defined twice: as {kind} and by an equation")
            before = len(self.done)
            value = evaluate_expression(statement, scope)
            if not isinstance(value, Tensor):
                statement.fail("an equation must compute a tensor from inputs or parameters")
            self._finish(scope, statement, value, before)
            scope.values[statement.target] = value
            self.current = outer
        if self.training and not self.partial:
            self._move(scope)
        # What only the state's new values speak of, prediction does not use.
        every = self.training or not self.program.modal
        for name, declared in scope.equations.leaves.items() if not self.partial else ():
            if name not in scope.values and (every or declared.kind == "parameter"):
                self.program.source.fail(f"{declared.kind} {name!r} is never used", *declared.path)

    def _move(self, scope: Scope) -> None:
        """Record the new value of every state of a scope that moves, from the old ones and the tensors of the equations."""
        for name, declared in scope.equations.state.items():
            statement = declared.next
            if statement is None:
                continue
            old, new = scope.look_up(name, statement, statement.value), evaluate_expression(statement, scope)
            if not isinstance(new, Tensor) or (new.shape, new.dtype) != (old.shape, old.dtype):
                found = f"{new.dtype} {new.shape}" if isinstance(new, Tensor) else repr(new)
                statement.fail(f"the next value of state {name!r} must be {old.dtype} {old.shape}; found {found}")
            if new.name is not None or new.op is None:
                # Another tensor's value, or that of a leaf: under a name of its own here.
                new = OPERATIONS["identity"](new)
            new.name = f"{scope.prefix}{name}_new"
            self.moves[scope.prefix + name] = new
            self._note(scope, new.name, statement, new)

    def _finish(self, scope: Scope, statement: Statement, value: Tensor, before: int) -> None:
        """Name the tensor and note the equation. One that only calls a block gives its name to the block's last."""
        name = scope.prefix + statement.target
        inner = next((i for i in range(before, len(self.done)) if self.done[i].node is value), None)
        if inner is not None and not scope.holds(value):
            value.name = name
            self.done[inner] = self.done[inner].renamed(name)
            return
        if value.op is not None and value.name is None:
            value.name = name
        self._note(scope, name, statement, value)

    def _note(self, scope: Scope, name: str, statement: Statement, value: Tensor) -> None:
        try:
            text = statement.written(name, scope.written_names(statement))
        except RecursionError:
            statement.fail("the expression is nested too deeply")
        self.done.append(Equation(name, text, statement.line, value, block=scope.prefix.rstrip(".")))

    def _named(self, scope: Scope, name: str, role: str) -> Tensor:
        value = scope.values.get(name)
        if not isinstance(value, Tensor) or name in scope.equations.leaves:
            names = [s.target for s in scope.statements]
            message = f"the {role} {name!r} is not defined by an equation{nearest(name, names)}"
            self.program.source.fail(message, *scope.equations.path, role)
        return value

    def _loss(self, scope: Scope) -> Tensor | None:
        name = self.program.declaration.loss
        if name is None:
            return None
        loss = self._named(scope, name, "loss")
        if loss.shape != ():
            message = f"the loss must be one number; {name!r} has shape {loss.shape}"
            self.program.source.fail(message, *scope.equations.path, "loss")
        return loss

    def _check_all_used(self) -> None:
        source, read = self.program.source, self.program.reads(self.program.main)
        for name in self.program.declaration.inputs:
            if name not in read:
                source.fail(f"input {name!r} is never used", "inputs", name)
        for name, block in self.program.blocks.items():
            if name not in self.called:
                source.fail(f"block {name!r} is never called", "blocks", name)
            for given in block.inputs:
                if given not in self.program.reads(block):
                    source.fail(f"block {name!r}: input {given!r} is never used", *block.path, "inputs")


def _check_block_call(
    scope: Scope,
    name: str,
    block: Equations,
    args: list[Any],
    kwargs: Mapping[str, Any],
    statement: Statement,
    node: ast.AST,
) -> None:
    if scope.is_within(name):
        statement.fail(f"block {name!r} calls itself: a cycle", node)
    if len(args) != len(block.inputs) or not all(isinstance(arg, Tensor) for arg in args):
        found = ", ".join(map(shown, args)) or "nothing"
        tensors = "1 tensor" if len(block.inputs) == 1 else f"{len(block.inputs)} tensors"
        statement.fail(f"block {name!r} takes {tensors}: {listing(block.inputs)}; found {found}", node)
    for key, value in kwargs.items():
        if key not in block.attributes:
            known = f"{nearest(key, block.attributes)} (attributes: {listing(block.attributes)})"
            statement.fail(f"block {name!r} has no attribute {key!r}{known}", node)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            statement.fail(f"block {name!r}: {key} must be a number; found {shown(value)}", node)
