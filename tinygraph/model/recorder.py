"""From a declaration to a graph: equations are recorded one by one, and the equations of blocks inside them."""

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any

from tinygraph.errors import ModelError, listing, nearest
from tinygraph.graph import OPERATIONS, Graph, OpFunction, Tensor, computing_in
from tinygraph.graph.attributes import shown
from tinygraph.model.declaration import Declaration, Equations, Variable
from tinygraph.model.expression import Call, evaluate_expression
from tinygraph.model.parse import Statement
from tinygraph.model.recording import Equation, Recording, Unfinished, with_nodes
from tinygraph.model.scope import Scope
from tinygraph.model.variables import Variables

_MOST_EQUATIONS = 10_000


def record(
    declaration: Declaration,
    variables: Variables,
    inputs: Mapping[str, Tensor],
    only: set[str] | None = None,
    training: bool = False,
) -> Recording:
    """Record a model on its inputs: all equations, or without a loss those whose names are in ``only``.

    For ``training``, operations get the attribute ``training``, and the state's new values are recorded after the
    equations. Raises ``ModelError`` with what was recorded before the mistake.
    """
    recorder = Recorder(declaration, variables, only is not None, training)
    try:
        with computing_in(variables.dtype):
            return recorder.record(inputs, only)
    except ModelError as error:
        error.recorded = recorder.unfinished(error)
        raise


class Recorder:
    """The work of one recording. A ``partial`` one records the output without the loss."""

    def __init__(self, declaration: Declaration, variables: Variables, partial: bool, training: bool) -> None:
        self.declaration, self.variables, self.partial, self.training = declaration, variables, partial, training
        self.new_state: dict[str, Tensor] = {}
        self.streams = itertools.count()
        self.done: list[Equation] = []
        self.called: set[str] = set()
        self.being_sized: list[str] = []
        # The equation that is being recorded, its scope, and how many were done before it.
        self.current: tuple[Scope, Statement, int] | None = None

    def record(self, inputs: Mapping[str, Tensor], only: set[str] | None) -> Recording:
        """Return the recording on the given inputs."""
        main = self.declaration.main
        statements = {name: s for name, s in main.statements.items() if only is None or name in only}
        scope = Scope(self, main, statements, dict(inputs))
        self._run(scope)
        output, loss = self._named(scope, main.output, "output"), None
        if not self.partial:
            loss = self._loss(scope)
            self._check_all_used()
        graph = Graph([output] if loss is None or loss is output else [output, loss])
        tensors = {name: value for name, value in scope.values.items() if isinstance(value, Tensor)}
        return Recording(graph, output, loss, with_nodes(self.done), tensors, self.training, self.new_state)

    def unfinished(self, error: ModelError) -> Unfinished:
        """Return what was recorded before a mistake."""
        title, done = self.declaration.title or self.declaration.name, with_nodes(self.done)
        if self.current is None:
            return Unfinished(title, done, error.message)
        scope, statement, before = self.current
        named = [scope.values[name] for name in scope.values if name in statement.names]
        # The outputs of blocks called in this equation: no equation of a block uses them.
        used = {x for equation in done[before:] for node in equation.nodes for x in node.inputs}
        given = [equation.node for equation in done[before:] if equation.node not in used]
        name, block = scope.prefix + statement.target, scope.prefix.rstrip(".")
        try:
            text = statement.written(name, scope.written_names(statement))
        except RecursionError:
            text = f"{name} = …"
        read = dict.fromkeys(x for x in (*named, *given) if isinstance(x, Tensor))
        return Unfinished(title, done, error.message, name, text, block, tuple(read))

    def mode_attributes(self, function: OpFunction, call: Call) -> dict[str, Any]:
        """Return the attributes that a call takes from the recording unless the equation gives them.

        They are ``training``; ``stream``, a new number for each call with random numbers; and a ``dtype`` with a default,
        as that of ``one_hot``, which becomes the model's.
        """
        given = {*call.kwargs, *function.attribute_names[: max(0, len(call.args) - len(function.op.parameters))]}
        found: dict[str, Any] = {"training": self.training, "dtype": self.variables.dtype.name}
        fields = dataclasses.fields(function.op) if function.attribute_names else ()  # type: ignore[arg-type]
        missing = {f.name for f in fields if f.name not in given and f.default is not dataclasses.MISSING}
        if "stream" in missing:
            found["stream"] = next(self.streams)
        return {name: value for name, value in found.items() if name in missing}

    def call_block(self, scope: Scope, call: Call) -> Tensor:
        """Record a block's equations on the tensors of a call and return its output."""
        block = self.declaration.blocks[call.name]
        _check_block_call(scope, call, block)
        self.called.add(call.name)
        if len(self.done) > _MOST_EQUATIONS:
            call.fail(f"the blocks make more than {_MOST_EQUATIONS:,} equations")
        instance = scope.instance(call.statement.target)
        for parameter, value, written in zip(block.inputs, call.args, call.node.args, strict=True):
            if value.name is None and value.op is not None:
                # An argument that is an expression gets a name, which the block's equations then use.
                value.name = f"{instance}.{parameter}"
                self._add(scope, value.name, dataclasses.replace(call.statement, value=written), value)
        values = dict(zip(block.inputs, call.args, strict=True)) | block.attributes | call.kwargs
        inner = Scope(self, block, block.statements, values, f"{instance}.", call.name, scope)
        self._run(inner)
        return self._named(inner, block.output, "output")

    def _run(self, scope: Scope) -> None:
        """Record the equations of a scope, then the next values of its state."""
        outer = self.current
        for name, statement in scope.statements.items():
            before = len(self.done)
            self.current = scope, statement, before
            if name in scope.values or name in scope.equations.variables:
                kind = "an input" if name in scope.equations.inputs else f"a {scope.equations.variables[name].kind}"
                statement.fail(f"{name!r} is defined twice: as {kind} and by an equation")
            value = evaluate_expression(statement, scope)
            if not isinstance(value, Tensor):
                statement.fail("an equation must compute a tensor from inputs or parameters")
            self._finish(scope, statement, value, before)
            scope.values[name] = value
        self.current = outer
        if self.partial:
            return
        for name, variable in scope.equations.variables.items():
            if self.training and variable.next is not None:
                self._record_next(scope, name, variable, variable.next)
        # A state may be used only in the next values, which a prediction of a model with modes does not record.
        every = self.training or not self.declaration.has_modes
        for name, variable in scope.equations.variables.items():
            if name not in scope.values and (every or variable.kind == "parameter"):
                self.declaration.source.fail(f"{variable.kind} {name!r} is never used", *variable.path)

    def _record_next(self, scope: Scope, name: str, variable: Variable, statement: Statement) -> None:
        """Record the new value of a state, from the old values and the tensors of the equations."""
        old, new = scope.look_up(name, statement, statement.value), evaluate_expression(statement, scope)
        if not isinstance(new, Tensor) or (new.shape, new.dtype) != (old.shape, old.dtype):
            found = f"{new.dtype} {new.shape}" if isinstance(new, Tensor) else repr(new)
            statement.fail(f"the next value of state {name!r} must be {old.dtype} {old.shape}; found {found}")
        if new.name is not None or new.op is None:
            # It is the value of a leaf or of a tensor with another name.
            new = OPERATIONS["identity"](new)
        new.name = f"{scope.prefix}{name}_new"
        self.new_state[scope.prefix + name] = new
        self._add(scope, new.name, statement, new)

    def _finish(self, scope: Scope, statement: Statement, value: Tensor, before: int) -> None:
        """Name the tensor and add the equation. If it only calls a block, the last equation of the block gets its name."""
        name = scope.prefix + statement.target
        inner = next((i for i in range(before, len(self.done)) if self.done[i].node is value), None)
        if inner is not None and not any(known is value for known in scope.values.values()):
            value.name = name
            self.done[inner] = self.done[inner].renamed(name)
            return
        if value.op is not None and value.name is None:
            value.name = name
        self._add(scope, name, statement, value)

    def _add(self, scope: Scope, name: str, statement: Statement, value: Tensor) -> None:
        try:
            text = statement.written(name, scope.written_names(statement))
        except RecursionError:
            statement.fail("the expression is nested too deeply")
        self.done.append(Equation(name, text, statement.line, value, block=scope.prefix.rstrip(".")))

    def _named(self, scope: Scope, name: str, role: str) -> Tensor:
        """Return the output or the loss."""
        value = scope.values.get(name)
        if not isinstance(value, Tensor) or name in scope.equations.variables:
            message = f"the {role} {name!r} is not defined by an equation{nearest(name, scope.statements)}"
            self.declaration.source.fail(message, *scope.equations.path, role)
        return value

    def _loss(self, scope: Scope) -> Tensor | None:
        name = self.declaration.loss
        loss = None if name is None else self._named(scope, name, "loss")
        if loss is not None and loss.shape != ():
            message = f"the loss must be one number; {name!r} has shape {loss.shape}"
            self.declaration.source.fail(message, *scope.equations.path, "loss")
        return loss

    def _check_all_used(self) -> None:
        source = self.declaration.source
        for name in self.declaration.inputs:
            if name not in self.declaration.main.reads:
                source.fail(f"input {name!r} is never used", "inputs", name)
        for name, block in self.declaration.blocks.items():
            if name not in self.called:
                source.fail(f"block {name!r} is never called", "blocks", name)
            for given in block.inputs:
                if given not in block.reads:
                    source.fail(f"block {name!r}: input {given!r} is never used", *block.path, "inputs")


def _check_block_call(scope: Scope, call: Call, block: Equations) -> None:
    name = f"block {call.name!r}"
    if any(outer.block == call.name for outer in scope.with_outer()):
        call.fail(f"{name} calls itself: a cycle")
    if len(call.args) != len(block.inputs) or not all(isinstance(arg, Tensor) for arg in call.args):
        found = ", ".join(map(shown, call.args)) or "nothing"
        tensors = "1 tensor" if len(block.inputs) == 1 else f"{len(block.inputs)} tensors"
        call.fail(f"{name} takes {tensors}: {listing(block.inputs)}; found {found}")
    for key, value in call.kwargs.items():
        if key not in block.attributes:
            known = f"{nearest(key, block.attributes)} (attributes: {listing(block.attributes)})"
            call.fail(f"{name} has no attribute {key!r}{known}")
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            call.fail(f"{name}: {key} must be a number; found {shown(value)}")
