"""From a declaration to a graph: equations are recorded one by one, and the equations of blocks inside them."""

from __future__ import annotations

import ast
import itertools
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from functools import cached_property
from typing import Any

from tinygraph.errors import ModelError, listing, nearest
from tinygraph.graph import OPERATIONS, Graph, Op, OpFunction, Tensor, computing_in, is_operation, operation_hint, shown
from tinygraph.graph.graph import topological
from tinygraph.model.declaration import Declaration, Equations, dependency_path, is_number
from tinygraph.model.parse import Call, Statement, evaluate_expression
from tinygraph.model.variables import Variables
from tinygraph.synonyms import CONSTANTS

_MOST_EQUATIONS = 10_000


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
        self._run(scope)
        output, name = self._named(scope, main.output, "output"), self.declaration.loss
        loss = None if name is None or self.partial else self._named(scope, name, "loss")
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
                self._add(scope, value.name, replace(call.statement, value=written), value)
        values = dict(zip(block.inputs, call.args, strict=True)) | block.attributes | call.kwargs
        inner = Scope(self, block, block.statements, values, f"{instance}.", call.name, (scope, *scope.outer))
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
        new.name = f"{scope.prefix}{name}_new"
        self.new_state[scope.prefix + name] = new
        self._add(scope, new.name, statement, new)

    def _finish(self, scope: Scope, statement: Statement, value: Tensor, before: int) -> None:
        """Name the tensor and add the equation. If it only calls a block, the last equation of the block gets its name."""
        name = scope.prefix + statement.target
        inner = next((i for i in range(before, len(self.done)) if self.done[i].node is value), None)
        if inner is not None and not any(known is value for known in scope.values.values()):
            value.name = name
            text = f"{name} = {self.done[inner].text.partition(' = ')[2]}"
            self.done[inner] = replace(self.done[inner], name=name, text=text)
            return
        if value.op is not None and value.name is None:
            value.name = name
        self._add(scope, name, statement, value)

    def _add(self, scope: Scope, name: str, statement: Statement, value: Tensor) -> None:
        try:
            text = statement.written(name, scope.written_names(statement))
        except RecursionError:
            statement.fail("the expression is nested too deeply")
        block = scope.prefix.rstrip(".") or self.declaration.groups.get(name, "")
        self.done.append(Equation(name, text, statement.line, value, block=block))

    def _named(self, scope: Scope, name: str, role: str) -> Tensor:
        """Return the output, the loss or the metric."""
        value = scope.values.get(name)
        if not isinstance(value, Tensor) or name in scope.equations.variables:
            message = f"the {role} {name!r} is not defined by an equation{nearest(name, scope.statements)}"
            self.declaration.source.fail(message, *scope.equations.path, role)
        return value

    def _metric(self, scope: Scope) -> Tensor:
        """Return the metric: one number, or one for each sample."""
        metric = self._named(scope, str(self.declaration.metric), "metric")
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


def _check_block_call(scope: Scope, call: Call, block: Equations) -> None:
    name = f"block {call.name!r}"
    if any(outer.block == call.name for outer in (scope, *scope.outer)):
        call.fail(f"{name} calls itself: a cycle")
    if len(call.args) != len(block.inputs) or not all(isinstance(arg, Tensor) for arg in call.args):
        found = ", ".join(map(shown, call.args)) or "nothing"
        tensors = "1 tensor" if len(block.inputs) == 1 else f"{len(block.inputs)} tensors"
        call.fail(f"{name} takes {tensors}: {listing(block.inputs)}; found {found}")
    for key, value in call.kwargs.items():
        if key not in block.attributes:
            known = f"{nearest(key, block.attributes)} (attributes: {listing(block.attributes)})"
            call.fail(f"{name} has no attribute {key!r}{known}")
        if not is_number(value):
            call.fail(f"{name}: {key} must be a number; found {shown(value)}")


@dataclass(eq=False)
class Scope:
    """The values of one evaluation of a set of equations. ``prefix`` (``R1.``) comes before the names of its tensors.

    ``outer`` are the scopes around it, the nearest first, and ``calls`` counts the blocks that each equation calls.
    """

    recorder: Recorder
    equations: Equations
    statements: Mapping[str, Statement]
    values: dict[str, Any]
    prefix: str = ""
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
            kind = "a block" if name in recorder.declaration.blocks else "an operation"
            statement.fail(f"{name!r} is {kind}; call it: {name}(...)", node)
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
                return self.prefix + name

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


def with_nodes(equations: Iterable[Equation]) -> tuple[Equation, ...]:
    """Give each equation the nodes that its tensor is computed from, without those of earlier equations."""
    taken: set[Tensor] = set()
    result = []
    for equation in equations:
        found = [] if equation.node in taken else topological([equation.node], taken)
        result.append(replace(equation, nodes=tuple(x for x in found if x.op is not None)))
        taken.update(found)
    return tuple(result)
