"""The checks of what surrounds an operation: the plan, pictures, equations, model files."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

import numpy as np

from tinygraph.graph.arrays import Array
from tinygraph.graph.backprop import grad
from tinygraph.graph.graph import Graph
from tinygraph.graph.leaves import input as declare
from tinygraph.graph.registry import OPERATIONS
from tinygraph.graph.tensor import Tensor
from tinygraph.model.expression import evaluate_expression
from tinygraph.model.parse import Statement, parse_expression
from tinygraph.verify.certificate.case import Case
from tinygraph.verify.certificate.line import Line, agreed, failed, not_asked
from tinygraph.verify.certificate.subject import Subject
from tinygraph.verify.names import input_name

_AGREES = 1e-10


def plan(subject: Subject) -> Iterator[Line]:
    """Compile the operation with its gradients, and compare with plain evaluation."""
    from tinygraph.engines.plan import compile

    name = "plan"
    for case in subject.cases:
        leaves = _inputs(case)
        # As it is called, so that a composite is compiled in its parts.
        y = case.op(*leaves)
        wanted = [x for place, x in enumerate(leaves) if place in case.places]
        dy = declare("cotangent", y.shape, y.dtype) if wanted else None
        outputs = [y, *(grad(y, wanted, cotangent=dy, unreached="zeros") if wanted else [])]
        feeds: dict[str, Array] = {x.name or "": value for x, value in zip(leaves, case.inputs, strict=True)}
        expected = [case.y]
        if wanted:
            feeds["cotangent"] = case.cotangent(case.y)
            all_gradients = dict(zip(case.floating, case.gradients(case.inputs, feeds["cotangent"]), strict=True))
            expected += [all_gradients[place] for place in case.places]
        graph = Graph(outputs)
        # Of the inputs of a composite, the parts may leave some unused.
        found = compile(graph, threads=1)({name: value for name, value in feeds.items() if name in graph.inputs})
        for value, right in zip(found, expected, strict=True):
            if not np.allclose(value, right, rtol=_AGREES, atol=_AGREES, equal_nan=True):
                yield failed(
                    name, "differs from plain evaluation", case.name, "forward depends on more than its inputs"
                )
                return
    yield agreed(name, "compiled, it computes the same")


def _inputs(case: Case) -> list[Tensor]:
    names = [f"x{place}" if case.op.variadic else input_name(case.op, place) for place in range(len(case.inputs))]
    return [declare(name, x.shape, x.dtype) for name, x in zip(names, case.inputs, strict=True)]


def draws(subject: Subject) -> Iterator[Line]:
    """Draw the operation on the smallest sample."""
    from tinygraph.draw import draw

    case = subject.smallest_first()[0]
    picture = draw(case.record(case.leaves()))
    source, shown = picture.dot, str(picture)
    named = subject.op.name in source + shown or bool(subject.op.symbol)
    yield (
        agreed("draws", f"{len(picture.drawing.cards)} cards")
        if named
        else failed("draws", "its card does not name it")
    )


def prints(subject: Subject) -> Iterator[Line]:
    """Print the operation as an equation, and its formula with the names of its inputs."""
    case = subject.smallest_first()[0]
    y = case.record(_inputs(case))
    equation = next(line for line in Graph(y).layout.equations if line.node is y)
    told = "" if subject.op.formula else '; formula="...", with {x} for the input x, would say more'
    yield agreed("prints", (equation.expression or "") + told)


def _can_be_written(value: Any) -> bool:
    """Whether an attribute has a form in equations: numbers, texts, and tuples of them."""
    if isinstance(value, tuple):
        return all(map(_can_be_written, value))
    return value is None or isinstance(value, (bool, int, float, str))


class _Names:
    """What names mean in the equation that calls the operation."""

    def __init__(self, op: Any, leaves: list[Tensor]) -> None:
        self.op, self.leaves = op, {x.name: x for x in leaves}

    def look_up(self, name: str, statement: Statement, node: ast.AST) -> Any:
        """Return an input."""
        return self.leaves[name]

    def call(self, name: str, args: list[Any], kwargs: dict[str, Any], statement: Statement, node: ast.Call) -> Any:
        """Return what the operation records."""
        return OPERATIONS.get(name, self.op.function)(*args, **kwargs)


def model_file(subject: Subject) -> Iterator[Line]:
    """Write the call as an equation of a model file, and read it back as models do."""
    name = "model file"
    if subject.op.name not in OPERATIONS or OPERATIONS[subject.op.name].op is not subject.op:
        yield failed(
            name, "models do not know it", hint="register it: @tg.register above @dataclass(frozen=True), or @tg.op"
        )
        return
    read = 0
    for case in subject.cases:
        leaves = _inputs(case)
        written = case.op.expression(*[x.name or "" for x in leaves])
        if not all(map(_can_be_written, case.sample.attributes.values())):
            continue
        statement = parse_expression(written, "call", "a call")
        try:
            y = evaluate_expression(statement, _Names(subject.op, leaves))
        except Exception as error:
            yield failed(name, "the equation is refused", f"{written}: {error}")
            return
        read += 1
        if (y.shape, y.dtype) != (case.y.shape, case.y.dtype):
            yield failed(name, "another result than the call", written)
            return
    if read:
        yield agreed(name, f"called in {read} of {len(subject.cases)} equations")
    else:
        yield not_asked(name, "its attributes cannot be written in an equation")
