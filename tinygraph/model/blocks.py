"""Calls of blocks: once, several times in a row, or once for each step of a sequence."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tinygraph.errors import counted, listing, nearest
from tinygraph.graph import OPERATIONS, Tensor, shown
from tinygraph.model.declaration import Equations
from tinygraph.model.parse import Call
from tinygraph.model.scope import Each, Scope
from tinygraph.model.toml import is_number

if TYPE_CHECKING:
    from tinygraph.model.recorder import Recorder

_MOST_EQUATIONS = 10_000
_TOO_MANY = f"the blocks make more than {_MOST_EQUATIONS:,} equations"


def call_block(recorder: Recorder, scope: Scope, call: Call) -> Tensor | tuple[Tensor, ...]:
    """Record a block's equations on the tensors of a call, as many times as it says, and return its outputs.

    From one time to the next, the outputs take the places of the first inputs; those that are left over are stacked.
    """
    block = recorder.declaration.blocks[call.name]
    if len(block.outputs) > 1 and call.node is not call.statement.value:
        names = ", ".join(block.outputs)
        call.fail(f"block {call.name!r} returns {names}: call it in an equation of its own, {names} = {call.name}(...)")
    times, shared = _repetitions(call)
    _check_call(scope, call, block)
    recorder.called.add(call.name)
    name = scope.instance(call.statement.target)
    one = _Calls(recorder, scope, call, block, scope.prefix + name, scope.owner + name)
    if times is None:
        outputs = one.record(one.named(call.args))
    else:
        known = recorder.variables.times.setdefault(one.instance, times)
        if known != times:
            call.fail(f"how often block {call.name!r} is repeated depends on the batch size")
        if len(recorder.done) + times * len(block.statements) > _MOST_EQUATIONS:
            call.fail(_TOO_MANY)
        outputs = one.repeat(times, shared)
    return outputs if len(outputs) > 1 else outputs[0]


def _repetitions(call: Call) -> tuple[int | None, bool]:
    """Return how often a call repeats its block, if it does, and whether all repetitions have the same variables."""
    steps = {arg.tensor.shape[1] for arg in call.args if isinstance(arg, Each)}
    times, shared, what = call.kwargs.pop("times", None), call.kwargs.pop("shared", None), f"block {call.name!r}"
    if steps and times is not None:
        call.fail(f"{what}: leave times out, each(...) says how often it is repeated")
    if len(steps) > 1:
        call.fail(f"{what}: the inputs have different numbers of steps, {' and '.join(map(str, sorted(steps)))}")
    times = steps.pop() if steps else times
    if times is not None and (not isinstance(times, int) or isinstance(times, bool) or times < 1):
        call.fail(f"{what}: times must be a whole number of at least 1; found {shown(times)}")
    if shared is not None and (times is None or not isinstance(shared, bool)):
        call.fail(f"{what}: shared is True or False, for a block that is repeated; found {shown(shared)}")
    return times, any(isinstance(arg, Each) for arg in call.args) if shared is None else shared


def _check_call(scope: Scope, call: Call, block: Equations) -> None:
    name = f"block {call.name!r}"
    if any(outer.block == call.name for outer in (scope, *scope.outer)):
        call.fail(f"{name} calls itself: a cycle")
    if len(call.args) != len(block.inputs) or not all(isinstance(arg, (Tensor, Each)) for arg in call.args):
        found = ", ".join(map(shown, call.args)) or "nothing"
        call.fail(f"{name} takes {counted(len(block.inputs), 'tensor')}: {listing(block.inputs)}; found {found}")
    for key, value in call.kwargs.items():
        if key not in block.attributes:
            known = f"{nearest(key, block.attributes)} (attributes: {listing(block.attributes)})"
            call.fail(f"{name} has no attribute {key!r}{known}")
        if not is_number(value):
            call.fail(f"{name}: {key} must be a number; found {shown(value)}")


@dataclass(frozen=True)
class _Calls:
    """What the repetitions of a block have in common: ``instance`` is its name, ``owner`` that of its variables."""

    recorder: Recorder
    scope: Scope
    call: Call
    block: Equations
    instance: str
    owner: str

    def record(self, args: Sequence[Tensor], number: str = "", shared: bool = False) -> tuple[Tensor, ...]:
        """Record the block once, as the repetition of a number if there are several, and return its outputs."""
        if len(self.recorder.done) > _MOST_EQUATIONS:
            self.call.fail(_TOO_MANY)
        values = dict(zip(self.block.inputs, args, strict=True)) | self.block.attributes | self.call.kwargs
        prefix, owner = f"{self.instance}.{number}", f"{self.owner}.{'' if shared else number}"
        outer = (self.scope, *self.scope.outer)
        inner = Scope(self.recorder, self.block, self.block.statements, values, prefix, owner, self.call.name, outer)
        self.recorder.run(inner)
        return tuple(self.recorder.named(inner, name, "output") for name in self.block.outputs)

    def repeat(self, times: int, shared: bool) -> tuple[Tensor, ...]:
        """Record the block several times, and return its outputs of the last time and, stacked, those left over."""
        args = self.named(self.call.args)
        places = [i for i, arg in enumerate(args) if not isinstance(self.call.args[i], Each)]
        outputs: list[tuple[Tensor, ...]] = []
        for number in range(1, times + 1):
            step = [x if i in places else self._step(i, x, number) for i, x in enumerate(args)]
            outputs.append(self.record(step, f"{number}.", shared))
            for place, x in zip(places, outputs[-1], strict=False):
                args[place] = x
        left_over = range(len(places), len(self.block.outputs))
        return (*outputs[-1][: len(places)], *(self._stacked(i, [each[i] for each in outputs]) for i in left_over))

    def named(self, args: Sequence[Tensor | Each]) -> list[Tensor]:
        """Return the tensors of a call. One that is an expression gets a name, which the block's equations then use."""
        tensors = []
        for parameter, arg, written in zip(self.block.inputs, args, self.call.node.args, strict=True):
            x, written = (arg.tensor, written.args[0]) if isinstance(arg, Each) else (arg, written)  # type: ignore[attr-defined]
            if x.name is None and x.op is not None:
                x.name = f"{self.instance}.{parameter}"
                self.recorder.add(self.scope, x.name, replace(self.call.statement, value=written), x)
            tensors.append(x)
        return tensors

    def _stacked(self, place: int, steps: Sequence[Tensor]) -> Tensor:
        """Return an output of all repetitions along a second axis, and add its equation."""
        stack: Tensor = OPERATIONS["stack"](steps, axis=1)
        stack.name = f"{self.instance}.{self.block.outputs[place]}"
        listed: list[ast.expr] = [ast.Name(str(x.name)) for x in steps]
        listed[1:-1] = [ast.Constant(...)] if len(steps) > 2 else []
        self._add(stack, ast.Call(ast.Name("stack"), [ast.List(listed)], [ast.keyword("axis", ast.Constant(1))]))
        return stack

    def _add(self, x: Tensor, written: ast.expr, block: str = "") -> None:
        statement = replace(self.call.statement, value=ast.copy_location(written, self.call.node))
        self.recorder.add(self.scope, str(x.name), statement, x, block)

    def _step(self, place: int, x: Tensor, number: int) -> Tensor:
        """Return one step of a sequence, and add its equation."""
        step = x[:, number - 1]
        step.name = f"{self.instance}.{number}.{self.block.inputs[place]}"
        given = self.call.node.args[place].args[0]  # type: ignore[attr-defined]
        sequence = given if isinstance(given, ast.Name) else ast.Name(str(x.name))
        written = ast.Subscript(sequence, ast.Tuple([ast.Slice(), ast.Constant(number - 1)]))
        self._add(step, written, f"{self.instance}.{number}")
        return step
