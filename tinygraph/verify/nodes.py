"""What checks need to know about nodes: their names, a twin in float64, whether their values are finite, random feeds."""

import dataclasses
import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tinygraph.errors import counted
from tinygraph.graph import Array, Graph, Op, Sample, Tensor, all_finite, apply, constant


def input_name(op: Op, place: int) -> str:
    """Return what an operation calls one of its inputs.

    >>> import tinygraph as tg
    >>> input_name(tg.conv2d.op(), 1), input_name(tg.concatenate.op(), 2)
    ('k', 'x[2]')
    """
    if op.variadic and place >= len(op.parameters) - 1:
        return f"{op.parameters[-1]}[{place - len(op.parameters) + 1}]"
    return [name for name in inspect.signature(type(op).forward).parameters if name != "self"][place]


def equation_labels(graph: Graph) -> tuple[dict[Tensor, str], dict[Tensor, str]]:
    """Return the labels of the equations that ``print(graph)`` shows, and for each node that of the one it is written in.

    >>> import tinygraph as tg
    >>> x = tg.tensor(1.0, name="x")
    >>> y = tg.exp(tg.negative(x))
    >>> shown, owners = equation_labels(Graph(y))
    >>> list(shown.values()), list(owners.values())
    (['x', 't1'], ['x', 't1', 't1'])
    """
    shown = {line.node: line.label for line in graph.layout.equations}
    owners = dict(shown)
    for node in reversed(graph.nodes):
        for x in node.inputs:
            owners.setdefault(x, owners.get(node, ""))
    return shown, owners


# ---- float64


def in_double(graph: Graph, values: Mapping[Tensor, Any]) -> dict[Tensor, Tensor]:
    """Return, for each node of a graph, its twin in the same graph computed in float64.

    ``values`` gives leaves their values; the others keep their own. Whole numbers and booleans stay what they are. Where a
    gradient stops on purpose, the twin is a constant.

    >>> import tinygraph as tg
    >>> x = tg.input("x", (2,), dtype="float32")
    >>> y = tg.exp(x)
    >>> in_double(Graph(y), {x: np.zeros(2)})[y].value
    array([1., 1.])
    """
    twins: dict[Tensor, Tensor] = {}
    for node in graph.nodes:
        if node.op is None:
            kind = "tensor" if node.kind == "input" else node.kind
            given = values.get(node)
            twins[node] = Tensor(kind, value=doubled(node.value if given is None else given), name=node.name)
        else:
            twins[node] = apply(widened(node.op), [twins[x] for x in node.inputs])
            if node.op.stops_gradient:
                twins[node] = constant(twins[node].value)
            twins[node].name = node.name
    return twins


def doubled(value: Any) -> Any:
    """Return a copy of an array, in float64 if it holds floating point numbers."""
    return np.array(value, dtype=np.float64 if value.dtype.kind == "f" else value.dtype)


def widened(op: Op) -> Op:
    """Return the operation, with an attribute ``dtype`` that names a floating point type changed to float64."""
    dtype = op.attributes().get("dtype")
    try:
        floating = isinstance(dtype, str) and np.dtype(dtype).kind == "f"
    except TypeError:
        floating = False
    return dataclasses.replace(op, dtype="float64") if floating else op  # type: ignore[type-var]


def doubled_call(op: type[Op], sample: Sample) -> tuple[Op, list[Array]]:
    """Return the operation and the inputs of a sample's call, in float64.

    >>> import tinygraph as tg
    >>> op, inputs = doubled_call(tg.cast.op, tg.Sample(np.ones(2, "float32"), dtype="float32"))
    >>> op.dtype, inputs[0].dtype
    ('float64', dtype('float64'))
    """
    return widened(op(**sample.attributes)), [doubled(value) for value in sample.inputs]


def frozen(op: Op, values: Sequence[Array], kinds: Sequence[str] = ("constant",)) -> bool:
    """Whether the parts of a composite hold numbers that depend on its inputs, and that gradients take for constants.

    They are leaves of these ``kinds``: "constant" if a value was read, "tensor" if one was detached.

    >>> import tinygraph as tg
    >>> normed = tg.layer_norm.op()
    >>> frozen(normed, [np.ones((2, 2)), np.ones(2), np.ones(2)])
    False
    """

    def constants(values: Sequence[Array]) -> list[Array]:
        leaves = [Tensor("tensor", value=value) for value in values]
        own, made = set(leaves), Graph(op.forward(*leaves)).nodes
        return [node.value for node in made if node.kind in kinds and node.dtype.kind == "f" and node not in own]

    first = constants(values)
    second = constants([value * 1.01 + 0.01 if value.dtype.kind == "f" else value for value in values])
    return len(first) != len(second) or not all(map(np.array_equal, first, second))


# ---- values that are not finite: there a check can say nothing about a rule


def not_finite(nodes: Iterable[Tensor], labels: Mapping[Tensor, str]) -> dict[Tensor, str]:
    """Return a sentence for each node that is not finite, or is computed from one: the first node that was not, and how.

    An infinity in a constant or an input, such as a mask of minus infinity, is intended and no fault, unless NaN is
    computed from it.

    >>> import tinygraph as tg
    >>> x = tg.tensor([-1.0, 4.0], name="x")
    >>> with np.errstate(invalid="ignore"):
    ...     a = tg.sqrt(x)
    >>> not_finite([x, a], {x: "x", a: "a"})[a]
    'sqrt in a gave nan in 1 of 2 elements'
    """
    found: dict[Tensor, str] = {}
    for node in nodes:
        inherited = next((found[x] for x in node.inputs if x in found and not all_finite(x.value)), "")
        if inherited or not (all_finite(node.value) or _is_intended(node)):
            found[node] = inherited or _sentence(node, labels.get(node, ""))
    return found


def is_given(node: Tensor) -> bool:
    """Whether nothing is differentiated with respect to a leaf: it is a constant, or a mask of infinities kept as state."""
    if node.kind == "state" and node.dtype.kind == "f":
        return bool(np.isinf(node.value).any())
    return node.kind == "constant"


def _is_intended(node: Tensor) -> bool:
    """Whether an infinity was given, or comes from one that was."""
    if np.isnan(node.value).any():
        return node.kind == "constant"
    if node.op is None:
        return node.kind != "parameter"
    return not all(all_finite(x.value) for x in node.inputs)


def _sentence(node: Tensor, label: str) -> str:
    wrong = node.value[~np.isfinite(node.value)]
    amount = f"{wrong[0]} in {wrong.size} of {counted(node.size, 'element')}"
    return f"{label} holds {amount}" if node.op is None else f"{node.op.name} in {label} gave {amount}"


# ---- random values for inputs, of the kind that the operations which use them expect


def completed(graph: Graph, feeds: Mapping[str | Tensor, Any], rng: np.random.Generator) -> dict[str | Tensor, Any]:
    """Return ``feeds`` with a random value for each input that they leave out.

    The operations that use an input say which values they accept; see ``tg.Op.sample_inputs``. Other floating inputs are
    standard normal, and other inputs 0 or 1.

    >>> import tinygraph as tg
    >>> z, y = tg.input("z", (4, 1)), tg.input("y", (4, 1))
    >>> feeds = completed(Graph(tg.bce_with_logits(z, y)), {"z": np.zeros((4, 1))}, np.random.default_rng(0))
    >>> set(feeds["y"].ravel().tolist()) <= {0.0, 1.0}
    True
    """
    absent = {name: x for name, x in graph.inputs.items() if name not in feeds and x not in feeds}
    return {**feeds, **{name: _drawn(x, _uses(graph, x), rng) for name, x in absent.items()}}


def _uses(graph: Graph, x: Tensor) -> list[tuple[Tensor, int]]:
    """Return the nodes that use a tensor, with its place among their inputs; moves of elements are looked through."""
    moved, uses = {x}, []
    for node in graph.nodes:
        places = [place for place, operand in enumerate(node.inputs) if operand in moved]
        if places and node.op is not None and node.op.family == "shape":
            moved.add(node)
        uses += [(node, place) for place in places]
    return uses


def _drawn(x: Tensor, uses: list[tuple[Tensor, int]], rng: np.random.Generator) -> Array:
    for user, place in uses:
        if user.op is not None:
            # An input that is moved before it is used is drawn in its own shape.
            inputs = [x if i == place else other for i, other in enumerate(user.inputs)]
            value = user.op.sample_inputs(rng, *inputs)[place]
            if value is not None:
                return value if x.dtype.kind in "fc" else value.astype(x.dtype)
    if x.dtype.kind in "fc":
        return rng.standard_normal(x.shape)
    return rng.integers(0, 2, x.shape).astype(x.dtype)
