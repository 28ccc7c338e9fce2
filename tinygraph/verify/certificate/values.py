"""The checks of a forward computation: shape, dtype, layouts, sizes; and of the plan, pictures, text, models that use it."""

import ast
import contextlib
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tinygraph.errors import TinygraphError, counted
from tinygraph.graph import OPERATIONS, Array, Graph, Tensor, apply, call_rule, grad
from tinygraph.graph.tensor import input as declare
from tinygraph.model.parse import Call, Statement, evaluate_expression, parse_expression
from tinygraph.readers import reader
from tinygraph.verify.certificate.candidate import OK, WRONG, Answer, Candidate, Case, Line, Mistake, for_each
from tinygraph.verify.certificate.redraw import is_distribution
from tinygraph.verify.numeric import worst

_EXACT = 1e-12
_SINGLE = 1e-3
_ROUNDING = 1e-9
_SUMMED = "return the gradient in the shape of the result: it is added up over the axes that were broadcast"
SIZE_OF_VALUES = (
    "the size of the result depends on the values of the inputs, and a graph has one for its shapes: keep the elements in "
    "their places, with 0 where there is none"
)
_NO_CUT = "no axis to cut, or a clear refusal"


@for_each(Candidate.smallest_first, lambda agreed: f"forward agrees in {counted(len(agreed), 'sample')}")
def shape_rule(case: Case) -> Answer:
    """Compare the shape and dtype that the operation promises with those of what it computes."""
    shape, dtype = case.op.infer(*case.inputs)
    if (shape, dtype) != (case.y.shape, case.y.dtype):
        both = f"the rule says {shape} {dtype}, forward gives {case.y.shape} {case.y.dtype}"
        return Mistake("differs from forward", f"{case.name}: {both}", _depends_on_values(case))
    return 0.0


def _depends_on_values(case: Case) -> str:
    """Say it if the shape of the result is another for other numbers in the same inputs."""
    with contextlib.suppress(Exception):
        others = [case.compute(case.each_floating(change)) for change in (np.negative, np.ones_like)]
        return SIZE_OF_VALUES if {y.shape for y in others} != {case.y.shape} else ""
    return ""


@for_each(Candidate.all_cases, "dtype kept, within {worst:.1e} of float64", "no dtype to keep")
def float32(case: Case) -> Answer:
    """Compute everything in float32: the dtype stays, and the numbers agree with float64."""
    if not case.floating or "dtype" in case.op.attributes():
        return None
    dy = case.cotangent(case.y)
    inputs = case.each_floating(lambda x: x.astype(np.float32))
    y = case.compute(inputs)
    if case.y.dtype.kind == "f" and y.dtype != np.float32:
        cause = "a float64 constant or array of its own makes the result float64"
        if case.op.has_shape_rule and np.asarray(case.op.forward(*inputs)).dtype == np.float32:
            cause = "its dtype is that of all inputs together, and some are integers: result_dtype can say another"
        return Mistake(f"the result is {y.dtype}", case.name, cause)
    # Numbers that cancel are known to the digits of the numbers that they were made from.
    least = max((float(abs(x).max(initial=0.0)) for x in case.inputs), default=0.0)
    found, expected = case.results(inputs, dy.astype(np.float32)), case.results(case.inputs, dy)
    errors = [_distance(value, right, least) for value, right in zip(found, expected, strict=True)]
    wrong = next((number for number, error in enumerate(errors) if not error <= _SINGLE), None)
    if wrong is None:
        return max(errors)
    cause = "cancellation, or an integer where a float belongs"
    return Mistake(f"{'a gradient' if wrong else 'the result'} is off by {errors[wrong]:.1e}", case.name, cause)


def _distance(value: Array, right: Array, least: float = 0.0) -> float:
    """Return the largest difference, relative to the largest number; infinite where one is finite and the other is not.

    The largest number counts as at least ``least``.
    """
    value, right = np.asarray(value, np.float64), np.asarray(right, np.float64)
    finite = np.isfinite(right)
    if value.shape != right.shape or not np.array_equal(value[~finite], right[~finite], equal_nan=True):
        return np.inf
    scale = float(abs(right[finite]).max(initial=least))
    error = float(abs(value - right)[finite].max(initial=0.0))
    return error / scale if scale else error


@for_each(
    lambda candidate: candidate.smallest_first() if candidate.op.elementwise else [],
    "elements are computed alone, and inputs broadcast",
    "not claimed (elementwise=False)",
)
def broadcasting(case: Case) -> Answer:
    """Try what ``elementwise`` claims: each element of the result depends on its own elements alone, and inputs broadcast."""
    for example, value, right in _reshaped(case):
        if not _distance(value, right) <= _EXACT:
            cause = "leave elementwise=True out: elements of the result depend on others"
            return Mistake("an element alone gives another number", example, cause)
    for other in _broadcast(case) if case.places else ():
        findings = [other.rule.find(place, np.random.default_rng([0, 1]), case.tolerance, 4) for place in other.places]
        wrong = next((finding for finding in findings if finding.message or other.mistakes(finding, 0.0)), None)
        if wrong is not None:
            shapes = ", ".join(str(x.shape) for x in other.inputs)
            fault = wrong.message or f"the gradient of {case.input_name(wrong.place)} {worst(wrong.points)}"
            return Mistake("a gradient is wrong where inputs broadcast", f"shapes {shapes}: {fault}", _SUMMED)
    return 0.0


def _broadcast(case: Case) -> Iterator[Case]:
    """Yield the case with one input in fewer elements than the others, along each axis and along all."""
    full = (3, 4)
    for place, shape in itertools.product(case.floating if len(case.inputs) > 1 else (), ((4,), (1, 4), (3, 1), ())):
        shapes = [shape if i == place else full for i in range(len(case.inputs))]
        # Elements of their own kind, in places of their own.
        other = case.with_inputs([np.resize(x, each) for x, each in zip(case.inputs, shapes, strict=True)])
        if np.isfinite(other.y).all():
            yield other


def _reshaped(case: Case) -> Iterator[tuple[str, Array, Array]]:
    """Yield calls with inputs in other shapes, their results, and what the results must be."""
    y = case.y
    inputs = [np.broadcast_to(x, y.shape) for x in case.inputs]
    if y.size:
        alone = [x.ravel()[:1] for x in inputs]
        yield case.call(alone), case.compute(alone), y.ravel()[:1]
    yield case.call(), case.compute([x.reshape(-1) for x in inputs]), y.reshape(-1)
    if len(inputs) > 1 and y.ndim:
        first, *rest = inputs
        column = [first.reshape(-1, 1), *(x.reshape(1, -1) for x in rest)]
        full = [np.broadcast_to(x, (y.size, y.size)).copy() for x in column]
        yield case.call(column), case.compute(column), case.compute(full)


_LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "stored column by column": lambda x: np.array(x, order="F"),
    "with gaps": lambda x: np.repeat(x[..., None], 2, axis=-1)[..., 0],
    "stored backwards": lambda x: np.flip(np.flip(x).copy()),
}


@for_each(Candidate.all_cases, "of no consequence")
def memory_layout(case: Case) -> Answer:
    """Give the same numbers in other memory: column by column, with gaps, backwards."""
    dy = case.cotangent(case.y)
    # Gradients that cancel are rounding alone, which may differ: they count by the size of what they are made of.
    least = float(abs(dy).max(initial=0.0))
    expected = case.results(case.inputs, dy)
    for name, layout in _LAYOUTS.items():
        found = case.results([layout(x) for x in case.inputs], layout(dy))
        if any(not _distance(value, right, least) <= _EXACT for value, right in zip(found, expected, strict=True)):
            return Mistake(f"other numbers for arrays {name}", case.name, "reads memory rather than elements")
    return 0.0


def _size_figure(refused: list[float]) -> str:
    count = int(sum(refused))
    if count == len(refused):
        return ""
    return f"right in {len(refused) - count} of {len(refused)}" + (f", refused in {count}" if count else "")


@for_each(Candidate.smallest_first, _size_figure, _NO_CUT)
def size_zero(case: Case) -> Answer:
    """Cut the first axis of the inputs to size 0: the right shape of nothing, or a clear refusal."""
    return _cut(case, [x[:0] if x.ndim else x for x in case.inputs])


@for_each(Candidate.smallest_first, _size_figure, _NO_CUT)
def size_one(case: Case) -> Answer:
    """Cut every axis of the inputs to size 1: the right shape and numbers, or a clear refusal."""
    answer = _cut(case, case.cut(1, axes=99))
    if isinstance(answer, Mistake) and not (case.op.has_shape_rule or case.op.elementwise):
        # Nothing says that one element is enough: an angle in one dimension is none.
        one = case.with_inputs(case.cut(1, axes=99))
        missing = [np.isnan(dx).any() for dx in one.gradients(one.inputs, np.ones(one.y.shape))] if one.places else []
        return None if any(missing) else answer
    return answer


def _cut(case: Case, inputs: list[Array]) -> Answer:
    """Return a mistake for cut inputs; 1 if they are refused, 0 if everything is right, None if nothing was cut."""
    if all(x.shape == full.shape for x, full in zip(inputs, case.inputs, strict=True)):
        return None
    # One number of a row that adds up to 1 is 1.
    inputs = [np.ones_like(x) if is_distribution(full) else x for x, full in zip(inputs, case.inputs, strict=True)]
    try:
        fault = _fault(case.with_inputs(inputs))
    except TinygraphError:
        return 1.0
    return Mistake("does not hold", f"{case.call(inputs)}, {fault}") if fault else 0.0


def _fault(case: Case) -> str:
    """Return what is wrong with the shapes of a case, or with its gradients."""
    shape, dtype = case.op.infer(*case.inputs)
    if (shape, dtype) != (case.y.shape, case.y.dtype):
        return f"its shape rule says {shape} and forward gives {case.y.shape}"
    if not case.places:
        return ""
    if all(x.size for x in case.inputs):
        findings = map(case.find, case.places)
        # Where the right gradient is 0, as in a standardization of one number, what the rule gives may be rounding.
        wrong = worst(point for finding in findings for point in case.mistakes(finding, _ROUNDING))
        return f"its gradient {wrong}" if wrong else ""
    shapes = [dx.shape for dx in case.gradients(case.inputs, case.cotangent(case.y))]
    right = shapes == [case.inputs[place].shape for place in case.floating]
    return "" if right else f"its gradients have the shapes {shapes}"


@for_each(Candidate.all_cases, "by forward and by the rule")
def inputs_unmodified(case: Case) -> Answer:
    """Look at all arrays after forward and rule: they hold what they held, and may be read-only."""
    inputs = [x.copy() for x in case.inputs]
    y = np.array(case.compute(inputs))
    dy = case.cotangent(y)
    before = [*case.inputs, y.copy(), dy.copy()]
    if case.places:
        case.rule.raw(dy, y, *inputs)
    names = [*["an input"] * len(inputs), "the result", "dy"]
    for name, array, held in zip(names, [*inputs, y, dy], before, strict=True):
        if not _same([array], [held]):
            return Mistake(f"{name} was written to", case.name, "write into a copy: np.array(x), or x + 0")
    return 0.0


@for_each(Candidate.all_cases, "two runs, the same bits")
def determinism(case: Case) -> Answer:
    """Compute everything twice, and find the same bits; the rule again after forward was called with other numbers."""
    dy = case.cotangent(case.y)
    if not _same(case.results(case.inputs, dy), case.results(case.inputs, dy)):
        return Mistake("two runs differ", case.name, "draw random numbers from a seed that is an attribute")
    if not case.places:
        return 0.0
    before = call_rule(case.op, case.places, dy, case.y, *case.inputs)
    with contextlib.suppress(Exception):
        case.compute(case.each_floating(lambda x: -np.flip(x)))
    after = call_rule(case.op, case.places, dy, case.y, *case.inputs)
    if _same([np.asarray(dx) for _, dx in before], [np.asarray(dx) for _, dx in after]):
        return 0.0
    cause = "a rule gets dy, y and the inputs alone: what forward keeps elsewhere is that of its last call"
    return Mistake("the rule depends on the last call of forward", case.name, cause)


def _same(first: list[Array], second: list[Array]) -> bool:
    return all(np.array_equal(a, b, equal_nan=True) for a, b in zip(first, second, strict=True))


# ---- what surrounds an operation: the plan, pictures, equations, model files

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
    pairs = zip(found, expected, strict=True)
    if all(np.allclose(value, right, rtol=_AGREES, atol=_AGREES, equal_nan=True) for value, right in pairs):
        return 0.0
    return Mistake("differs from plain evaluation", case.name, "forward depends on more than its inputs")


def draws(candidate: Candidate) -> Iterator[Line]:
    """Draw the operation on the smallest sample."""
    case = candidate.smallest_first()[0]
    picture = reader("draw")(apply(case.op, case.leaves()))
    if candidate.op.name in picture.dot + str(picture) or candidate.op.symbol:
        yield Line("draws", OK, f"{len(picture.drawing.cards)} cards")
    else:
        yield Line("draws", WRONG, "its card does not name it")


def prints(candidate: Candidate) -> Iterator[Line]:
    """Print the operation as an equation, with the names of its inputs."""
    case = candidate.smallest_first()[0]
    y = apply(case.op, _inputs(case))
    equation = next(line for line in Graph(y).layout.equations if line.node is y)
    advice = "" if candidate.op.formula else '; formula="...", with {x} for the input x, would say more'
    yield Line("prints", OK, (equation.expression or "") + advice)


class _Names(dict[str, Tensor]):
    """What names mean in the equation that calls an operation: its inputs, and the operations."""

    def look_up(self, name: str, statement: Statement, node: ast.AST) -> Any:
        """Return an input."""
        return self[name]

    def call(self, call: Call) -> Any:
        """Return the node that the operation records."""
        return OPERATIONS[call.name](*call.args, **call.kwargs)


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
    if not _can_be_written(tuple(case.sample.attributes.values())):
        return None
    try:
        y = evaluate_expression(parse_expression(written, "call", "a call"), _Names({x.name or "": x for x in leaves}))
    except Exception as error:
        if "forward was run on ones" in str(error):
            return None
        return Mistake("the equation is refused", f"{written}: {error}")
    same = (y.shape, y.dtype) == (case.y.shape, case.y.dtype)
    return 0.0 if same else Mistake("another result than the call", written)


def model_file(candidate: Candidate) -> Iterator[Line]:
    """Write the call as an equation of a model file, and read it as models do."""
    name = candidate.op.name
    if name in OPERATIONS and issubclass(candidate.op, OPERATIONS[name].op):
        yield from _model_file(candidate)
    else:
        advice = "register it: @tg.register above @dataclass(frozen=True), or @tg.op"
        yield Line("model file", WRONG, "models do not know it", hint=advice)
