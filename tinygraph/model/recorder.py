"""From a declaration to a graph: equations recorded one by one, blocks inside them, parameters as they are first used."""

from __future__ import annotations

import ast
import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tinygraph.errors import listing, nearest
from tinygraph.graph.graph import Graph
from tinygraph.graph.op import Op
from tinygraph.graph.registry import OPERATIONS, is_operation
from tinygraph.graph.tensor import Tensor
from tinygraph.model.declaration import Declaration, Equations, ParameterDeclaration
from tinygraph.model.expression import evaluate_expression
from tinygraph.model.parse import Statement, Text, parse_equations, parse_size

_MOST_EQUATIONS = 10_000

Create = Callable[[str, tuple[int, ...], ParameterDeclaration], Tensor]


@dataclass(frozen=True)
class Equation:
    """One equation of a model as it was recorded.

    ``name`` is the tensor's name with its blocks (``R1.Z1``), ``text`` the source in one line, ``line`` its line in the
    file, ``node`` the tensor, ``nodes`` all nodes made for it (those of blocks that it calls belong to their own equations),
    ``block`` the instance that it stands in, empty at the top.
    """

    name: str
    text: str
    line: int
    node: Tensor
    nodes: tuple[Tensor, ...]
    block: str = ""


@dataclass(frozen=True)
class Recording:
    """A model recorded for one batch: its graph, its output and loss, its equations, and its tensors by name."""

    graph: Graph
    output: Tensor
    loss: Tensor | None
    equations: tuple[Equation, ...]
    tensors: Mapping[str, Tensor]


@dataclass
class _Frame:
    """One evaluation of a set of equations: the main ones, or a block's for one call of it."""

    equations: Equations
    statements: Sequence[Statement]
    prefix: str
    values: dict[str, Any]
    parent: _Frame | None = None
    block: str = ""
    calls: Counter[str] = field(default_factory=Counter)

    def written_names(self) -> dict[str, str]:
        """What the names of the frame stand for, as text: tensors by their own names, attributes as numbers."""
        names = {}
        for key, value in self.values.items():
            if not isinstance(value, Tensor):
                names[key] = repr(value) if value >= 0 else f"({value!r})"
            elif value.name:
                names[key] = value.name
        return names

    def outermost(self, name: str) -> bool:
        """Whether the block called ``name`` is not being evaluated already."""
        return self.block != name and (self.parent is None or self.parent.outermost(name))


class Recorder:
    """Records a declared model on given leaves; ``create`` makes, or finds, a parameter by name."""

    def __init__(self, declaration: Declaration, create: Create, find: Callable[[str], Tensor | None]) -> None:
        self.declaration = declaration
        self.create = create
        self.find = find
        self.statements = {
            equations.path: parse_equations(_text_of(declaration, equations))
            for equations in [declaration.main, *declaration.blocks.values()]
        }
        self.block_reads = {
            name: set().union(
                *(s.names() for s in self.statements[block.path]), *map(self._size_names, block.parameters.values())
            )
            for name, block in declaration.blocks.items()
        }
        for name in declaration.blocks:
            if name in OPERATIONS:
                declaration.source.fail(f"block {name!r} has the name of an operation", "blocks", name)

    def needed_for(self, target: str) -> set[str]:
        """Return the names of the main equations, inputs and parameters that ``target`` depends on, itself included."""
        reads = {s.target: s.names() for s in self.statements[self.declaration.main.path]}
        needed, stack = {target}, [target]
        while stack:
            for name in reads.get(stack.pop(), set()) - needed:
                needed.add(name)
                stack.append(name)
        return needed

    def record(self, leaves: Mapping[str, Tensor], only: set[str] | None = None) -> Recording:
        """Record the equations, or those whose names are in ``only``, on the inputs in ``leaves``."""
        main, source = self.declaration.main, self.declaration.source
        statements = [s for s in self.statements[main.path] if only is None or s.target in only]
        frame = _Frame(main, statements, "", dict(leaves))
        self.done: list[Equation] = []
        self.called: set[str] = set()
        self.sized: list[str] = []
        self.partial = only is not None
        self._run(frame, check_unused=only is None)
        output = self._named(frame, main.output, "output")
        loss = (
            None
            if self.declaration.loss is None or only is not None
            else self._named(frame, self.declaration.loss, "loss")
        )
        if loss is not None and loss.shape != ():
            source.fail(
                f"the loss must be one number; {self.declaration.loss!r} has shape {loss.shape}", *main.path, "loss"
            )
        graph = Graph([output] if loss is None or loss is output else [output, loss])
        if only is None:
            self._check_all_used(graph)
        tensors = {name: value for name, value in frame.values.items() if isinstance(value, Tensor)}
        return Recording(graph, output, loss, self._with_nodes(), tensors)

    def _run(self, frame: _Frame, check_unused: bool = True) -> None:
        for statement in frame.statements:
            if statement.target in frame.values or statement.target in frame.equations.parameters:
                kind = "an input" if statement.target in frame.equations.inputs else "a parameter"
                statement.fail(f"{statement.target!r} is defined twice: as {kind} and by an equation")
            start = len(self.done)
            value = evaluate_expression(statement, _Resolver(self, frame, statement))
            if not isinstance(value, Tensor):
                statement.fail("an equation must compute a tensor from inputs or parameters")
            name = frame.prefix + statement.target
            self._finish(name, statement, value, start, frame)
            frame.values[statement.target] = value
        for name, parameter in frame.equations.parameters.items() if check_unused else ():
            if name not in frame.values:
                self.declaration.source.fail(f"parameter {name!r} is never used", *parameter.path)

    def _finish(self, name: str, statement: Statement, value: Tensor, start: int, frame: _Frame) -> None:
        """Name the tensor and note the equation; an equation that only calls a block names the block's last one."""
        inner = next((i for i in range(start, len(self.done)) if self.done[i].node is value), None)
        if inner is not None and any(tensor is value for tensor in frame.values.values()):
            inner = None
        if value.op is not None and (value.name is None or inner is not None):
            value.name = name
        if inner is not None:
            done = self.done[inner]
            text = f"{name} = {done.text.partition(' = ')[2]}"
            self.done[inner] = Equation(name, text, done.line, value, (), done.block)
        else:
            self._note(name, statement, value, frame)

    def _note(self, name: str, statement: Statement, value: Tensor, frame: _Frame) -> None:
        try:
            text = statement.written(name, frame.written_names() if frame.prefix else {})
        except RecursionError:
            statement.fail("the expression is nested too deeply")
        self.done.append(Equation(name, text, statement.line, value, (), frame.prefix.rstrip(".")))

    def _with_nodes(self) -> tuple[Equation, ...]:
        """Give every equation the nodes that were made for it: those since the equation before, up to its own."""
        taken: set[Tensor] = set()
        result = []
        for equation in self.done:
            own = _behind(equation.node, taken)
            taken.update(own)
            result.append(Equation(equation.name, equation.text, equation.line, equation.node, own, equation.block))
        return tuple(result)

    def _named(self, frame: _Frame, name: str, role: str) -> Tensor:
        value = frame.values.get(name)
        if not isinstance(value, Tensor) or name in frame.equations.parameters:
            names = [s.target for s in frame.statements]
            message = f"the {role} {name!r} is not defined by an equation{nearest(name, names)}"
            self.declaration.source.fail(message, *frame.equations.path, role)
        return value

    def _check_all_used(self, graph: Graph) -> None:
        source = self.declaration.source
        read = set().union(*(s.names() for s in self.statements[self.declaration.main.path]))
        for name in self.declaration.inputs:
            if name not in read:
                source.fail(f"input {name!r} is never used", "inputs", name)
        for name in self.declaration.blocks:
            if name not in self.called:
                source.fail(f"block {name!r} is never called", "blocks", name)

    def parameter(self, frame: _Frame, name: str, statement: Statement) -> Tensor:
        """Return a parameter, made when it is first used, when the tensors that its sizes speak of are known."""
        declared, source = frame.equations.parameters[name], self.declaration.source
        known = self.find(frame.prefix + name)
        if known is not None and self.partial:
            return known
        if frame.prefix + name in self.sized:
            chain = " -> ".join([*self.sized[self.sized.index(frame.prefix + name) :], frame.prefix + name])
            source.fail(f"the sizes of parameters are a cycle: {chain}", *declared.path)
        self.sized.append(frame.prefix + name)
        shape = tuple(s if isinstance(s, int) else self._sized(frame, name, declared, s) for s in declared.shape)
        self.sized.pop()
        if known is not None:
            if known.shape != shape:
                source.fail(f"the shape of parameter {name!r} depends on the batch size", *declared.path)
            return known
        try:
            return self.create(frame.prefix + name, shape, declared)
        except (MemoryError, ValueError, OverflowError) as error:
            source.fail(f"parameter {name!r} of shape {shape} cannot be made: {error}", *declared.path)

    def _size(self, declared: ParameterDeclaration, size: str) -> Statement:
        source = self.declaration.source
        return parse_size(size, source.file, source.line(*declared.path))

    def _size_names(self, declared: ParameterDeclaration) -> set[str]:
        return {name for size in declared.shape if isinstance(size, str) for name in self._size(declared, size).names()}

    def _sized(self, frame: _Frame, name: str, declared: ParameterDeclaration, size: str) -> int:
        statement = self._size(declared, size)
        for node in ast.walk(statement.value):
            if isinstance(node, ast.Name) and node.id == name:
                statement.fail(f"the size of {name!r} is read off {name!r} itself")
            if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Attribute):
                self._refuse_batch(frame, node, statement)
        value = evaluate_expression(statement, _Resolver(self, frame, statement))
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            statement.fail(f"a size must be a whole number of at least 1; {size!r} gives {value!r}")
        return value

    def _refuse_batch(self, frame: _Frame, node: ast.Subscript, statement: Statement) -> None:
        owner = node.value.value if isinstance(node.value, ast.Attribute) else None
        tensor = frame.values.get(owner.id) if isinstance(owner, ast.Name) else None
        if isinstance(tensor, Tensor) and tensor.kind != "parameter" and tensor.ndim:
            first = {"0", str(-tensor.ndim)}
            if ast.unparse(node.slice) in first:
                statement.fail(f"{ast.unparse(node)} is the batch size, which a parameter cannot depend on")

    def call_block(
        self, frame: _Frame, name: str, args: list[Any], kwargs: dict[str, Any], statement: Statement, node: ast.AST
    ) -> Tensor:
        """Record a block's equations on the tensors of a call and return its output."""
        block = self.declaration.blocks[name]
        if not frame.outermost(name):
            statement.fail(f"block {name!r} calls itself: a cycle", node)
        if len(args) != len(block.inputs) or not all(isinstance(arg, Tensor) for arg in args):
            statement.fail(f"block {name!r} takes {len(block.inputs)} tensors: {listing(block.inputs)}", node)
        for key, value in kwargs.items():
            if key not in block.attributes:
                known = f"{nearest(key, block.attributes)} (attributes: {listing(block.attributes)})"
                statement.fail(f"block {name!r} has no attribute {key!r}{known}", node)
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                statement.fail(f"block {name!r}: {key} must be a number; found {value!r}", node)
        self.called.add(name)
        if len(self.done) > _MOST_EQUATIONS:
            statement.fail(f"the blocks make more than {_MOST_EQUATIONS:,} equations", node)
        instance = self._instance(frame, statement.target)
        self._name_arguments(frame, instance, block, args, statement, node)
        values = dict(zip(block.inputs, args, strict=True)) | block.attributes | kwargs
        inner = _Frame(block, self.statements[block.path], f"{instance}.", values, frame, name)
        self._run(inner)
        for given in block.inputs:
            if given not in self.block_reads[name]:
                self.declaration.source.fail(f"block {name!r}: input {given!r} is never used", *block.path, "inputs")
        return self._named(inner, block.output, "output")

    def _instance(self, frame: _Frame, target: str) -> str:
        """Return a name for one more block call in an equation: the equation's, or one that is no equation's."""
        taken = {statement.target for statement in self.statements[frame.equations.path]}
        while True:
            frame.calls[target] += 1
            name = target if frame.calls[target] == 1 else f"{target}_{frame.calls[target]}"
            if name == target or name not in taken:
                return frame.prefix + name

    def _name_arguments(
        self, frame: _Frame, instance: str, block: Equations, args: list[Any], statement: Statement, node: ast.AST
    ) -> None:
        """Give an argument that is an expression a name and an equation, so that the block's equations can speak of it."""
        assert isinstance(node, ast.Call)
        for name, value, written in zip(block.inputs, args, node.args, strict=True):
            if value.name is None and value.op is not None:
                value.name = f"{instance}.{name}"
                self._note(value.name, dataclasses.replace(statement, value=written), value, frame)


class _Resolver:
    """Names as one equation of one frame sees them."""

    def __init__(self, recorder: Recorder, frame: _Frame, current: Statement) -> None:
        self.recorder, self.frame, self.current = recorder, frame, current

    def look_up(self, name: str, statement: Statement, node: ast.AST) -> Any:
        frame = self.frame
        if name in frame.values:
            return frame.values[name]
        if name in frame.equations.parameters:
            frame.values[name] = self.recorder.parameter(frame, name, statement)
            return frame.values[name]
        later = {s.target: s for s in frame.statements}
        if name in later:
            self._defined_later(name, later, statement, node)
        if name in OPERATIONS or name in self.recorder.declaration.blocks:
            statement.fail(f"{name!r} is an operation; call it: {name}(...)", node)
        known = [*frame.values, *frame.equations.parameters, *later]
        statement.fail(f"{name!r} is not defined{nearest(name, known)}", node)

    def _defined_later(self, name: str, later: Mapping[str, Statement], statement: Statement, node: ast.AST) -> None:
        chain = _chain(name, self.current.target, later)
        if chain:
            statement.fail(f"a cycle: {' -> '.join([self.current.target, *chain])}", node)
        statement.fail(f"{name!r} is used before it is defined, in line {later[name].line}", node)

    def call(self, name: str, args: list[Any], kwargs: dict[str, Any], statement: Statement, node: ast.AST) -> Any:
        if name in self.recorder.declaration.blocks:
            return self.recorder.call_block(self.frame, name, args, kwargs, statement, node)
        if not is_operation(name):
            known = [*OPERATIONS, *self.recorder.declaration.blocks]
            statement.fail(f"no operation or block is called {name!r}{nearest(name, known)}", node)
        self._check_operands(OPERATIONS[name].op, args, kwargs, statement, node)
        result = OPERATIONS[name](*args, **kwargs)
        # Numbers alone give a number again, which takes the dtype of the tensors that it meets.
        return result if isinstance(result, Tensor) else result.item()

    def _check_operands(
        self, op: type[Op], args: list[Any], kwargs: Mapping[str, Any], statement: Statement, node: ast.AST
    ) -> None:
        """Refuse lists and texts where tensors belong, and whatever would compute on literals of any size."""
        listed = op.variadic and args and isinstance(args[0], list)
        operands = (
            args[0] if listed else [*args[: len(op.parameters)], *(kwargs[k] for k in op.parameters if k in kwargs)]
        )
        for operand in operands:
            if not isinstance(operand, (Tensor, int, float)):
                statement.fail(f"{op.name} takes tensors and numbers; found {operand!r}", node)
        if operands and not (op.elementwise or any(isinstance(operand, Tensor) for operand in operands)):
            statement.fail(f"{op.name} needs a tensor among its inputs", node)


def _chain(start: str, goal: str, statements: Mapping[str, Statement]) -> list[str]:
    """Return a path of names from ``start`` to ``goal`` along what equations read, or an empty list."""
    paths = {start: [start]}
    stack = [start]
    while stack:
        name = stack.pop()
        if name == goal:
            return paths[name]
        for read in sorted(statements[name].names()) if name in statements else ():
            if read not in paths:
                paths[read] = [*paths[name], read]
                stack.append(read)
    return []


def _behind(node: Tensor, taken: set[Tensor]) -> tuple[Tensor, ...]:
    """Return the nodes behind ``node``, itself included, that no equation has taken yet, in order."""
    found: set[Tensor] = set()
    stack = [node]
    while stack:
        x = stack.pop()
        if x.op is not None and x not in taken and x not in found:
            found.add(x)
            stack.extend(x.inputs)
    return tuple(sorted(found, key=lambda x: x.order))


def _text_of(declaration: Declaration, equations: Equations) -> Text:
    key = (*equations.path, "equations")
    line, column = declaration.source.text_start(*key)
    return Text(equations.text, declaration.source.file, line, column, declaration.source)
