"""``check``: every gradient rule of a graph, a model or an operation, against numeric derivatives.

The first part checks the rule of one node, alone, at the values that reach the node.
"""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from tinygraph.errors import AttributeValueError, TinygraphError
from tinygraph.graph import Array, Graph, Op, Tensor, apply, bind, gradients_of, require_feeds, run, topological
from tinygraph.graph.attributes import conform, integer
from tinygraph.graph.registry import operation as operation_called
from tinygraph.model.values import samples_in
from tinygraph.verify import nodes
from tinygraph.verify.hints import VALUE_READ, hint
from tinygraph.verify.numeric import EPSILON, Derivative, Point, Slope, compare, derivative
from tinygraph.verify.report import WHOLE, Record, Report

Feeds = Mapping[str | Tensor, Any]

# All elements of a node's inputs up to this size are compared; of larger ones so many elements, and random directions.
ELEMENTS = 100
# Of each leaf of a graph, so many elements are compared, and random directions.
LEAF_ELEMENTS = 5
DIRECTIONS = 3
# A gradient that is 0, such as that of a bias before a normalization, is a sum of terms as large as those of the other
# gradients. Their rounding remains: so many times that of the largest gradient.
ROUNDINGS = 64


@dataclass(frozen=True)
class Finding:
    """The gradient that a rule gives for one input, and how it compares; or a message that says why it gives none."""

    place: int
    gradient: Array
    points: tuple[Point, ...] = ()
    message: str = ""
    tolerance: float = 0.0

    @property
    def wrong(self) -> bool:
        """Whether the rule gave no gradient, or one with an error above ``tolerance``."""
        return bool(self.message) or any(point.error > self.tolerance for point in self.points)


class LocalRule:
    """The gradient rule of an operation, recorded on leaves of its own, so that nothing else takes part.

    A tensor that a node uses twice becomes two leaves here: each place has its own gradient. ``cotangent`` is the
    gradient of the result that the rule is given; it is set to 0 where the result is not finite and so has no derivative.
    Numeric derivatives are measured once and remembered.
    """

    def __init__(self, op: Op, values: Sequence[Array], cotangent: Array) -> None:
        self.op, self.values = op, values
        self._leaves = [Tensor("tensor", value=value) for value in values]
        self._node = apply(op, self._leaves)
        self.y: Array = self._node.value
        self.cotangent: Array = np.where(np.isfinite(self.y), cotangent, 0.0)
        self._slopes: dict[tuple[int, bytes], Derivative] = {}
        self._here: Array | None = None

    def gradient(self, place: int, cotangent: Array | None = None) -> Array:
        """Return the gradient of one input as backpropagation gets it from the rule: zeros where the rule returns None."""
        leaf = self._leaves[place]
        found = gradients_of(self._node, [leaf], self.cotangent if cotangent is None else cotangent).get(leaf)
        return np.zeros(leaf.shape) if found is None else np.asarray(found.value)

    def raw(self, dy: Array, y: Array, *values: Array) -> list[Any]:
        """Return what the rule returns for arrays, unchecked; gradients that it returns as functions are computed."""
        returned = self.op.vjp(dy, y, *values)
        returned = returned if isinstance(returned, (tuple, list)) else (returned,)
        return [gradient() if callable(gradient) else gradient for gradient in returned]

    def slope(self, place: int, direction: Array) -> Derivative:
        """Return the numeric derivative for one input along a direction."""
        key = (place, direction.tobytes())
        if key not in self._slopes:
            x, function = self.values[place], self.forward(place)
            holomorphic = self.op.holomorphic and self.op.surrogate is None
            self._slopes[key] = derivative(function, x, direction, self.cotangent, holomorphic)
        return self._slopes[key]

    def forward(self, place: int) -> Callable[[Array], Array]:
        """Return what the rule differentiates, forward or its surrogate, as a function of one input.

        It raises for values that the operation refuses.
        """
        function = self.op.surrogate or self.op.forward

        def forward(x: Array) -> Array:
            # Every slope begins here.
            if x is self.values[place] and self._here is not None:
                return self._here
            values = [*self.values[:place], x, *self.values[place + 1 :]]
            self.op.check(*values)
            y = np.asarray(function(*values))
            if x is self.values[place]:
                self._here = y
            return y

        return forward

    def rounding(self, place: int) -> Array:
        """Return how much of each element of a gradient may be rounding: what the last digits of the rule's arguments change.

        Zero where small changes of the arguments do not make small changes, as where a rule compares numbers.
        """
        rng, arguments = np.random.default_rng([0, 7]), [self.cotangent, self.y, *self.values]
        noise = [rng.standard_normal(x.shape) if x.dtype.kind == "f" else 0 for x in arguments]
        moved = (
            [x * (1 + ulps * EPSILON * n) if x.dtype.kind == "f" else x for x, n in zip(arguments, noise, strict=True)]
            for ulps in (0, 2**8, 2**12)
        )
        here, near, far = (np.asarray(self.raw(*each)[place]) for each in moved)
        change, more = abs(near - here), abs(far - here)
        return np.where(np.isfinite(more) & (4 * change <= more) & (more <= 64 * change), change, 0.0)

    def find(
        self, place: int, rng: np.random.Generator, tolerance: float, elements: int = ELEMENTS, directions: int = 0
    ) -> Finding:
        """Compare the gradient of one input with numeric derivatives; whatever the rule raises is a finding about it.

        Differences that the rule's own rounding explains pass.
        """
        try:
            gradient = self.gradient(place)
        except Exception as error:
            return Finding(place, np.empty(0), message=f"{type(error).__name__}: {error}")
        directions = directions or (DIRECTIONS if gradient.size > elements else 0)
        points = compare(gradient, partial(self.slope, place), rng, tolerance, elements, directions)
        if any(point.error > tolerance for point in points):
            with contextlib.suppress(Exception):
                rounding = np.broadcast_to(self.rounding(place), gradient.shape)
                points = tuple(_allowing(point, rounding, tolerance) for point in points)
        return Finding(place, gradient, points, tolerance=tolerance)


def _allowing(point: Point, rounding: Array, tolerance: float) -> Point:
    """Return a comparison with the error that remains when a gradient's rounding is allowed for."""
    allowed = float(rounding[point.index] if point.index is not None else rounding.sum())
    difference = abs(point.rule - point.numeric)
    return replace(point, error=min(point.error, tolerance * difference / allowed)) if allowed else point


def differentiable_places(node: Tensor) -> list[int]:
    """Return which inputs get a gradient from a node's rule; not those whose gradient the rule gives to another input."""
    if node.op is None or node.dtype.kind != "f":
        return []
    bypassed = node.op.bypassed(len(node.inputs))
    return [i for i, x in enumerate(node.inputs) if x.dtype.kind == "f" and not nodes.is_given(x) and i not in bypassed]


def check_node(
    node: Tensor, name: str, input_labels: Sequence[str], rng: np.random.Generator, tolerance: float, fault: str = ""
) -> Iterator[Record]:
    """Yield a record for each floating input of a node whose value is in float64; with a ``fault``, nothing is compared."""
    places = differentiable_places(node)
    if node.op is None or not places:
        return
    values = [x.value for x in node.inputs]
    rule = None if fault else LocalRule(node.op, values, rng.standard_normal(node.shape))
    findings = [rule.find(place, rng, tolerance) if rule else Finding(place, np.empty(0)) for place in places]
    for place, finding in zip(places, findings, strict=True):
        called, tensor, size = nodes.input_name(node.op, place), input_labels[place], node.inputs[place].size
        both = f"{called} = {tensor}" if tensor and tensor != called else called
        cause = hint([(rule, finding, findings)]) if rule and finding.wrong else ""
        yield Record(name, node.op.name, both, size, tolerance, finding.points, cause, finding.message, fault)


# ---- a graph, a model, an operation


@np.errstate(all="ignore")
def check(thing: Any, feeds: Feeds | None = None, seed: int = 0, tolerance: float = 1e-7) -> Report:
    """Check every gradient rule of a tensor, a graph, a model or an operation against numeric derivatives.

    Everything is computed in float64 at the actual values. First each node's rule gets a random cotangent and is
    compared for each floating input, element by element (large inputs at a sample of elements). A wrong one is named
    with the index, the two numbers, and the likely slip; kinks are counted and do not fail. Then the gradients of the
    last scalar output for all leaves are compared, at some elements and along random directions.

    A model is checked as it is in training, with the new values of its state, because its gradients are taken there.
    An operation, such as ``tg.conv2d`` or its class, is checked on each of its own samples; ``tg.check_op`` checks more.

    ``feeds`` are as in ``tg.run``, by default the ``sample`` of a model; inputs without a value get a random one drawn
    from ``seed`` (a batch of 2 where nothing says how many). An error is relative, and ``tolerance`` is the largest that
    passes.
    Rules that raise are findings; a forward computation that raises ends the check, as does ``FeedError``. Where values
    or gradients are not finite, the verdict is ``not finite`` whatever the rule, and the report is not ok.

    >>> import tinygraph as tg
    >>> z = tg.tensor([[0.5], [-1.0]], name="Z3")
    >>> print(check(tg.bce(tg.sigmoid(z), [[1.0], [0.0]])))  # doctest: +ELLIPSIS
    node  operation    input      checked                error    kinks  verdict
    t2    sigmoid      x = Z3     2 of 2                 ...             ok
    t2    bce          z = Z3     2 of 2                 ...             ok
    dZ3   whole graph  tensor Z3  2 of 2 + 3 directions  ...             ok
    all gradients: worst relative error ... (tensor Z3)
    >>> check(tg.matmul).ok
    True
    """
    if not 0 < conform("check", "tolerance", tolerance, float) < math.inf:
        raise AttributeValueError(f"check: tolerance must be positive and finite; found {tolerance}")
    rng = np.random.default_rng(integer("check: seed", seed, least=0))
    if is_operation(thing):
        if feeds:
            raise TinygraphError("check: an operation is checked on its own samples, not on feeds")
        return _check_rule(operation_class(thing), rng, tolerance)
    feeds = getattr(thing, "sample", {}) if feeds is None else feeds
    require_feeds(feeds)
    graph = _graph_of(thing, feeds)
    twins = nodes.in_double(graph, bind(graph, nodes.completed(graph, feeds, rng)))
    labels, owners = nodes.equation_labels(graph)
    faults = nodes.not_finite(twins.values(), {twins[node]: owners[node] for node in graph.nodes})
    records: list[Record] = []
    for position, node in enumerate(graph.nodes):
        input_labels = [labels.get(x, "") for x in node.inputs]
        checked = check_node(twins[node], owners[node], input_labels, rng, tolerance, faults.get(twins[node], ""))
        records += [replace(record, position=position) for record in checked]
        frozen_parts = _frozen_parts(node, twins, owners[node], rng, tolerance)
        records += [replace(record, position=position) for record in frozen_parts]
    fault = next(filter(None, (record.not_finite for record in records)), "")
    return Report(tuple(records), tuple(_check_gradients(graph, twins, rng, tolerance, fault)), tolerance)


def _graph_of(thing: Any, feeds: Feeds) -> Graph:
    if hasattr(thing, "record") and not isinstance(thing, type):
        thing = thing.record(thing.batch or samples_in(thing, feeds) or 2, training=True).full_graph
    if isinstance(thing, (Graph, Tensor)):
        return thing if isinstance(thing, Graph) else Graph(thing)
    found = type(thing).__name__
    if isinstance(thing, str):
        found = f"{thing!r}; load_model({thing!r}) would make a model of a name"
    raise TinygraphError(f"check takes a tensor, a graph, a model or an operation; found {found}")


def _check_gradients(
    graph: Graph, twins: Mapping[Tensor, Tensor], rng: np.random.Generator, tolerance: float, fault: str = ""
) -> Iterator[Record]:
    """Yield a record for each floating leaf that the differentiated outputs depend on.

    ``twins`` are the nodes of ``graph`` computed in float64. Differentiated is the last output that is one number, or
    else all outputs with random cotangents. A ``fault`` says what was not finite: then gradients that do not agree are
    not called wrong.
    """
    outputs = [twins[y] for y in differentiated(graph)]
    needed = set(topological(outputs))
    # The gradient that comes through a surrogate is on purpose not the slope of the outputs.
    needed -= set(topological([node for node in needed if node.op is not None and node.op.surrogate]))
    leaves = {
        x: label
        for label, x in graph.leaves.items()
        if twins[x] in needed and x.dtype.kind == "f" and not nodes.is_given(x)
    }
    if not leaves:
        return
    weights = [np.ones(y.shape) if y.size == 1 else rng.standard_normal(y.shape) for y in outputs]
    gradients: dict[Tensor, Array] = {twins[leaf]: np.zeros(leaf.shape) for leaf in leaves}
    try:
        for y, weight in zip(outputs, weights, strict=True):
            for leaf, gradient in gradients_of(y, list(gradients), weight).items():
                gradients[leaf] = gradients[leaf] + gradient.value
    except Exception as error:
        yield Record("", WHOLE, "every leaf", 0, tolerance, message=f"{type(error).__name__}: {error}")
        return
    largest = max(float(abs(gradient).max(initial=0.0)) for gradient in gradients.values())
    rounding = ROUNDINGS * EPSILON * largest if np.isfinite(largest) else 0.0
    positions = {node: position for position, node in enumerate(graph.nodes)}
    double, cotangent = Graph(outputs), np.concatenate([weight.ravel() for weight in weights])
    for leaf, label in leaves.items():
        slope = _slope(double, twins[leaf], cotangent, rounding)
        points = compare(gradients[twins[leaf]], slope, rng, tolerance, LEAF_ELEMENTS, DIRECTIONS)
        name = f"{leaf.kind} {label}"
        record = Record(f"d{label}", WHOLE, name, leaf.size, tolerance, points, position=positions[leaf])
        yield replace(record, points=(), fault=fault) if fault and not record.ok else record


def _slope(graph: Graph, leaf: Tensor, cotangent: Array, rounding: float) -> Slope:
    def outputs(x: Array) -> Array:
        return np.concatenate([value.ravel() for value in run(graph, {leaf: x})])

    return lambda direction: derivative(outputs, leaf.value, direction, cotangent, rounding=rounding)


def differentiated(graph: Graph) -> list[Tensor]:
    """Return the last output with one element, or else all outputs that have a gradient.

    >>> import tinygraph as tg
    >>> a = tg.sigmoid(tg.tensor([0.0, 1.0]))
    >>> [y.op.name for y in differentiated(Graph([a, tg.bce(a, [1.0, 0.0])]))]
    ['bce']
    """
    floating = [y for y in graph.outputs if y.dtype.kind == "f"]
    return [y for y in floating if y.size == 1][-1:] or floating


def _frozen_parts(
    node: Tensor, twins: Mapping[Tensor, Tensor], name: str, rng: np.random.Generator, tolerance: float
) -> Iterator[Record]:
    """Yield a record for each input of a composite, whose result ``node`` is, that does not get its gradient.

    Inside of it a value was read, which is a constant for the sweep; in the graph alone it looks like any other.
    """
    op, operands = getattr(node, "call", (None, ()))
    if op is None or not all(x.has_value or x in twins for x in operands):
        return
    op, values = nodes.widened(op), [twins[x].value if x in twins else nodes.doubled(x.value) for x in operands]
    with contextlib.suppress(Exception):
        if nodes.frozen(op, values):
            dy = rng.standard_normal(node.shape)
            gradients = op.vjp(dy, node.value, *values)
            for place, x in enumerate(values):
                slope = partial(_slope_of_parts, op, values, place, dy)
                found = np.zeros(x.shape) if gradients[place] is None else np.asarray(gradients[place])
                points = compare(found, slope, rng, tolerance, LEAF_ELEMENTS, DIRECTIONS) if x.dtype.kind == "f" else ()
                if any(point.error > tolerance for point in points):
                    yield Record(name, op.name, nodes.input_name(op, place), x.size, tolerance, points, VALUE_READ)


def _slope_of_parts(op: Op, values: Sequence[Array], place: int, dy: Array, direction: Array) -> Derivative:
    def result(x: Array) -> Array:
        leaves = [Tensor("tensor", value=x if i == place else value) for i, value in enumerate(values)]
        return np.asarray(op.forward(*leaves).value)

    return derivative(result, values[place], direction, dy)


def _check_rule(op: type[Op], rng: np.random.Generator, tolerance: float) -> Report:
    """Check the gradient rule of an operation on its own samples."""
    if op.samples is None:
        advice = "give it samples, or certify it: tg.certify finds inputs for it"
        raise TinygraphError(f"{op.name} has no samples to check it on; {advice}")
    records: list[Record] = []
    for number, sample in enumerate(op.samples(rng), start=1):
        made, inputs = nodes.doubled_call(op, sample)
        node = apply(made, [Tensor("tensor", value=x) for x in inputs])
        name = ", ".join([f"sample {number}", *(f"{key}={value!r}" for key, value in sample.attributes.items())])
        records += check_node(node, name, [str(x.shape) for x in node.inputs], rng, tolerance)
    return Report(tuple(records), (), tolerance)


def is_operation(thing: Any) -> bool:
    """Whether something is an operation: its function, such as ``tg.relu``, or its class."""
    op = getattr(thing, "op", thing)
    return isinstance(op, type) and issubclass(op, Op)


def operation_class(operation: Any) -> type[Op]:
    """Return the class of an operation that is given as a function, a class or a name.

    >>> operation_class("relu").name
    'relu'
    """
    if isinstance(operation, str):
        operation = operation_called(operation)
    if not is_operation(operation):
        found = type(operation).__name__
        raise TinygraphError(f"an operation is needed, such as tg.relu, its name or its class; found {found}")
    op: type[Op] = getattr(operation, "op", operation)
    return op
