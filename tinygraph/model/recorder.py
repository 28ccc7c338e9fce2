"""From a declaration to a graph: equations are recorded one by one, and the equations of blocks inside them."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from functools import cached_property
from typing import Any

from tinygraph.errors import ModelError, nearest
from tinygraph.graph import OPERATIONS, Graph, OpFunction, Tensor, computing_in
from tinygraph.graph.graph import topological
from tinygraph.model.blocks import call_block
from tinygraph.model.declaration import Declaration
from tinygraph.model.parse import Call, Statement, evaluate_equation, evaluate_expression
from tinygraph.model.scope import Scope
from tinygraph.model.variables import Variables


@dataclass(frozen=True)
class Equation:
    """A recorded equation of a model.

    ``name`` is the tensor's name with its blocks (``R1.Z1``), ``text`` the source in one line, ``line`` its line in the
    file, ``node`` the tensor, ``nodes`` all nodes recorded for it (the nodes of blocks that it calls belong to their own
    equations), ``block`` the block instance that contains it, empty outside blocks.
    """

    name: str
    text: str
    line: int
    node: Tensor
    nodes: tuple[Tensor, ...] = ()
    block: str = ""


@dataclass(frozen=True)
class Recording:
    """A model recorded for one batch: its graph of output, metric and loss, its equations, and its tensors by name.

    For ``training``, ``new_state`` contains the value of each state after the step, by the state's name.
    """

    graph: Graph
    output: Tensor
    loss: Tensor | None
    equations: tuple[Equation, ...]
    tensors: Mapping[str, Tensor]
    training: bool = False
    new_state: Mapping[str, Tensor] = field(default_factory=dict)
    metric: Tensor | None = None

    @cached_property
    def full_graph(self) -> Graph:
        """The graph of the new state, then of output, metric and loss."""
        return Graph([*self.new_state.values(), *self.graph.outputs]) if self.new_state else self.graph


@dataclass(frozen=True)
class Unfinished:
    """A model with a mistake: the ``equations`` recorded before it, and the equation that could not be recorded.

    ``name``, ``text`` and ``block`` are as in ``Equation``; the name is empty if the mistake is not in an equation.
    ``inputs`` are the tensors that it reads, ``mistake`` is the message of the error, ``title`` the title of the model.
    """

    title: str
    equations: tuple[Equation, ...]
    mistake: str
    name: str = ""
    text: str = ""
    block: str = ""
    inputs: tuple[Tensor, ...] = ()


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
        self.run(scope)
        output, name = self.named(scope, main.outputs[0], "output"), self.declaration.loss
        loss = None if name is None or self.partial else self.named(scope, name, "loss")
        if loss is not None and loss.shape != ():
            message = f"the loss must be one number; {name!r} has shape {loss.shape}"
            self.declaration.source.fail(message, *main.path, "loss")
        metric = None if self.declaration.metric is None or self.partial else self._metric(scope)
        if not self.partial:
            self._check_all_used()
        graph = Graph([*dict.fromkeys(x for x in (output, metric, loss) if x is not None)])
        tensors = {name: value for name, value in scope.values.items() if isinstance(value, Tensor)}
        return Recording(graph, output, loss, with_nodes(self.done), tensors, self.training, self.new_state, metric)

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
        declared = fields(function.op) if function.attribute_names else ()  # type: ignore[arg-type]
        missing = {f.name for f in declared if f.name not in given and f.default is not MISSING}
        if "stream" in missing:
            found["stream"] = next(self.streams)
        return {name: value for name, value in found.items() if name in missing}

    def call_block(self, scope: Scope, call: Call) -> Tensor | tuple[Tensor, ...]:
        """Return the outputs of a block."""
        return call_block(self, scope, call)

    def run(self, scope: Scope) -> None:
        """Record the equations of a scope, then the next values of its state."""
        outer = self.current
        # An equation of several names is there once for each of them.
        for statement in {id(each): each for each in scope.statements.values()}.values():
            before = len(self.done)
            self.current = scope, statement, before
            for name in statement.targets:
                if name in scope.values or name in scope.equations.variables:
                    kind = "an input" if name in scope.equations.inputs else f"a {scope.equations.variables[name].kind}"
                    statement.fail(f"{name!r} is defined twice: as {kind} and by an equation")
            for place, value in enumerate(evaluate_equation(statement, scope)):
                name, part = statement.targets[place], ast.Subscript(statement.value, ast.Constant(place))
                one = (
                    replace(statement, value=ast.copy_location(part, statement.value))
                    if statement.others
                    else statement
                )
                self._finish(scope, name, one, value, before)
                scope.values[name] = value
        self.current = outer
        if self.partial:
            return
        for name, variable in scope.equations.variables.items():
            if self.training and variable.next is not None:
                self._record_next(scope, name, variable.next)
        # A state may be used only in the next values, which a prediction of a model with modes does not record.
        every = self.training or not self.declaration.has_modes
        for name, variable in scope.equations.variables.items():
            if name not in scope.values and (every or variable.kind == "parameter"):
                self.declaration.source.fail(f"{variable.kind} {name!r} is never used", *variable.path)

    def _record_next(self, scope: Scope, name: str, statement: Statement) -> None:
        """Record the new value of a state, from the old values and the tensors of the equations."""
        old, new = scope.look_up(name, statement, statement.value), evaluate_expression(statement, scope)
        if not isinstance(new, Tensor) or (new.shape, new.dtype) != (old.shape, old.dtype):
            found = f"{new.dtype} {new.shape}" if isinstance(new, Tensor) else repr(new)
            statement.fail(f"the next value of state {name!r} must be {old.dtype} {old.shape}; found {found}")
        if new.name is not None or new.op is None:
            # It is the value of a leaf or of a tensor with another name.
            new = OPERATIONS["identity"](new)
        if scope.owner + name in self.new_state:
            statement.fail(f"state {name!r} would change several times in a step: repetitions of its block share it")
        new.name = f"{scope.owner}{name}_new"
        self.new_state[scope.owner + name] = new
        self.add(scope, new.name, statement, new)

    def _finish(self, scope: Scope, name: str, statement: Statement, value: Tensor, before: int) -> None:
        """Name the tensor and add the equation. If it only calls a block, the last equation of the block gets its name."""
        name = scope.prefix + name
        inner = next((i for i in range(before, len(self.done)) if self.done[i].node is value), None)
        if inner is not None and not any(known is value for known in scope.values.values()):
            value.name = name
            text = f"{name} = {self.done[inner].text.partition(' = ')[2]}"
            self.done[inner] = replace(self.done[inner], name=name, text=text)
            return
        if value.op is not None and value.name is None:
            value.name = name
        self.add(scope, name, statement, value)

    def add(self, scope: Scope, name: str, statement: Statement, value: Tensor, block: str = "") -> None:
        """Add an equation, in the block of its scope unless another one is named."""
        try:
            text = statement.written(name, scope.written_names(statement))
        except RecursionError:
            statement.fail("the expression is nested too deeply")
        block = block or scope.prefix.rstrip(".") or self.declaration.groups.get(name, "")
        self.done.append(Equation(name, text, statement.line, value, block=block))

    def named(self, scope: Scope, name: str, role: str) -> Tensor:
        """Return the output, the loss or the metric."""
        value = scope.values.get(name)
        if not isinstance(value, Tensor) or name in scope.equations.variables:
            message = f"the {role} {name!r} is not defined by an equation{nearest(name, scope.statements)}"
            self.declaration.source.fail(message, *scope.equations.path, role)
        return value

    def _metric(self, scope: Scope) -> Tensor:
        """Return the metric: one number, or one for each sample."""
        metric = self.named(scope, str(self.declaration.metric), "metric")
        samples = {
            scope.values[name].shape[:1] for name, declared in self.declaration.inputs.items() if declared.batched
        }
        if metric.shape != () and (metric.shape[:1] not in samples or metric.size != metric.shape[0]):
            message = f"the metric must be one number, or one for each sample; {metric.name!r} has shape {metric.shape}"
            self.declaration.source.fail(message, *scope.equations.path, "metric")
        return metric

    def _check_all_used(self) -> None:
        source = self.declaration.source
        for name in sorted(self.declaration.inputs.keys() - self.declaration.main.reads):
            source.fail(f"input {name!r} is never used", "inputs", name)
        for name, block in self.declaration.blocks.items():
            if name not in self.called:
                source.fail(f"block {name!r} is never called", "blocks", name)
            for given in sorted(set(block.inputs) - block.reads):
                source.fail(f"block {name!r}: input {given!r} is never used", *block.path, "inputs")


def with_nodes(equations: Iterable[Equation]) -> tuple[Equation, ...]:
    """Give each equation the nodes that its tensor is computed from, without those of earlier equations."""
    taken: set[Tensor] = set()
    result = []
    for equation in equations:
        found = [] if equation.node in taken else topological([equation.node], taken)
        result.append(replace(equation, nodes=tuple(x for x in found if x.op is not None)))
        taken.update(found)
    return tuple(result)
