"""The checks of what surrounds an operation: the plan, pictures, equations, model files."""

import ast
from collections.abc import Iterator
from typing import Any

import numpy as np

from tinygraph.graph import OPERATIONS, Array, Graph, Tensor, grad
from tinygraph.graph.tensor import input as declare
from tinygraph.model.expression import Call, evaluate_expression
from tinygraph.model.parse import Statement, parse_expression
from tinygraph.readers import reader
from tinygraph.verify.certificate.candidate import OK, WRONG, Answer, Candidate, Line, Mistake, for_each
from tinygraph.verify.certificate.case import Case

_AGREES = 1e-10


def _inputs(case: Case) -> list[Tensor]:
    """Return the inputs as leaves without values, with the names that the operation gives them."""
    names = [f"x{place}" if case.op.variadic else case.input_name(place) for place in range(len(case.inputs))]
    return [declare(name, x.shape, x.dtype) for name, x in zip(names, case.inputs, strict=True)]


@for_each(Candidate.all_cases, "compiled, it computes the same")
def plan(case: Case) -> Answer:
    """Compile the operation with its gradients, and compare with plain evaluation."""
    from tinygraph.engines.plan import compile

    leaves = _inputs(case)
    # As users call it, so that a composite is compiled in its parts.
    y = case.op(*leaves)
    feeds: dict[str, Array] = {x.name or "": value for x, value in zip(leaves, case.inputs, strict=True)}
    outputs, expected = [y], [case.y]
    if case.places:
        feeds["cotangent"] = case.cotangent(case.y)
        dy = declare("cotangent", y.shape, y.dtype)
        outputs += grad(y, [leaves[place] for place in case.places], cotangent=dy, unreached="zeros")
        gradients = dict(zip(case.floating, case.gradients(case.inputs, feeds["cotangent"]), strict=True))
        expected += [gradients[place] for place in case.places]
    graph = Graph(outputs)
    # The parts of a composite may leave some of its inputs unused.
    found = compile(graph, threads=1)({name: value for name, value in feeds.items() if name in graph.inputs})
    for value, right in zip(found, expected, strict=True):
        if not np.allclose(value, right, rtol=_AGREES, atol=_AGREES, equal_nan=True):
            return Mistake("differs from plain evaluation", case.name, "forward depends on more than its inputs")
    return 0.0


def draws(candidate: Candidate) -> Iterator[Line]:
    """Draw the operation on the smallest sample."""
    case = candidate.smallest_first()[0]
    picture = reader("draw")(case.record(case.leaves()))
    if candidate.op.name in picture.dot + str(picture) or candidate.op.symbol:
        yield Line("draws", OK, f"{len(picture.drawing.cards)} cards")
    else:
        yield Line("draws", WRONG, "its card does not name it")


def prints(candidate: Candidate) -> Iterator[Line]:
    """Print the operation as an equation, with the names of its inputs."""
    case = candidate.smallest_first()[0]
    y = case.record(_inputs(case))
    equation = next(line for line in Graph(y).layout.equations if line.node is y)
    advice = "" if candidate.op.formula else '; formula="...", with {x} for the input x, would say more'
    yield Line("prints", OK, (equation.expression or "") + advice)


class _Names:
    """What names mean in the equation that calls the operation."""

    def __init__(self, op: Any, leaves: list[Tensor]) -> None:
        self.op, self.leaves = op, {x.name: x for x in leaves}

    def look_up(self, name: str, statement: Statement, node: ast.AST) -> Any:
        """Return an input."""
        return self.leaves[name]

    def call(self, call: Call) -> Any:
        """Return the node that the operation records."""
        return OPERATIONS.get(call.name, self.op.function)(*call.args, **call.kwargs)


def _can_be_written(value: Any) -> bool:
    """Whether an attribute has a form in equations: numbers, texts, and tuples of them."""
    if isinstance(value, tuple):
        return all(map(_can_be_written, value))
    return value is None or isinstance(value, (bool, int, float, str))


@for_each(
    Candidate.all_cases, "called in {count} of {total} equations", "its attributes cannot be written in an equation"
)
def _model_file(case: Case) -> Answer:
    leaves = _inputs(case)
    written = case.op.expression(*[x.name or "" for x in leaves])
    if not all(map(_can_be_written, case.sample.attributes.values())):
        return None
    try:
        y = evaluate_expression(parse_expression(written, "call", "a call"), _Names(type(case.op), leaves))
    except Exception as error:
        return Mistake("the equation is refused", f"{written}: {error}")
    same = (y.shape, y.dtype) == (case.y.shape, case.y.dtype)
    return 0.0 if same else Mistake("another result than the call", written)


def model_file(candidate: Candidate) -> Iterator[Line]:
    """Write the call as an equation of a model file, and read it as models do."""
    name = candidate.op.name
    if name in OPERATIONS and OPERATIONS[name].op is candidate.op:
        yield from _model_file(candidate)
    else:
        advice = "register it: @tg.register above @dataclass(frozen=True), or @tg.op"
        yield Line("model file", WRONG, "models do not know it", hint=advice)
