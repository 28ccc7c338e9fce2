"""The table of exports: each operation as ONNX's operators. An operation that is not in it has no counterpart in ONNX.

A ``Writer`` holds the nodes that are written, a ``Step`` is the operation that is written next. Most operations are one
operator of ONNX (the tables of ``operators.pairs``), or a formula of operations that are.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NoReturn, TypeAlias

import numpy as np

from tinygraph.errors import OnnxError, nearest
from tinygraph.graph import Graph, Tensor
from tinygraph.interop.onnx.batch import Size
from tinygraph.interop.onnx.node import ops
from tinygraph.interop.onnx.operators.pairs import ATTRIBUTES, BINARY, LOGICAL, REDUCTIONS, UNARY, VARIADIC, Attributes
from tinygraph.interop.onnx.roles import unused
from tinygraph.interop.onnx.tensors import NUMBERS, UNNAMED, package, proto_of
from tinygraph.ops.sums import normalized_axes

# An array of more elements is written each time.
_SMALL = 64


class Writer:
    """An ONNX graph that is being written. ``batch`` names the input whose first axis is the batch."""

    def __init__(self, taken: Iterable[str], batch: str) -> None:
        self.nodes: list[Any] = []
        self.arrays: list[Any] = []
        self.batch = batch
        self._taken = set(taken)
        self._known: dict[Any, str] = {}

    def new(self, name: str) -> str:
        """Return a name like ``name`` that has not been given before."""
        return unused(name, self._taken)

    def node(self, op_type: str, *inputs: str, **attributes: Any) -> str:
        """Write a node and return the name of its result. ``None`` attributes are left out."""
        name = self.new(f"{UNNAMED}{op_type.lower()}")
        self.nodes.append(package("onnx.helper").make_node(op_type, inputs, [name], name, **attributes))
        return name

    def array(self, value: Any) -> str:
        """Write an array and return its name; the same small array is written once."""
        array = np.asarray(value)
        key = (array.dtype.str, array.shape, array.tobytes()) if array.size <= _SMALL else None
        if key is not None and key in self._known:
            return self._known[key]
        found = self.new(f"{UNNAMED}{'constant' if key is None else 'value'}")
        self.arrays.append(proto_of(array, found))
        self._known[key or found] = found
        return found

    def used(self) -> list[Any]:
        """Return the arrays that nodes read."""
        read = {name for node in self.nodes for name in node.input}
        return [array for array in self.arrays if array.name in read]

    def integers(self, numbers: Sequence[int] | int) -> str:
        """Write integers, such as a shape, and return their name; sizes that follow the batch are computed from it."""
        sizes = [numbers] if isinstance(numbers, int) else list(numbers)
        if not any(isinstance(size, Size) for size in sizes):
            return self.array(np.asarray(sizes, np.int64))
        batch = self.node("Shape", self.batch, start=0, end=1)
        return self.node("Concat", *(self._size(size, batch) for size in sizes), axis=0)

    def _size(self, size: int, batch: str) -> str:
        if not isinstance(size, Size):
            return self.integers(size)
        rule, found = size.rule, batch
        steps = [("Mul", rule.a, 1), ("Add", rule.b, 0), ("Div", rule.by, 1), ("Mul", rule.times, 1)]
        for operator, number, neutral in [*steps, ("Add", rule.plus, 0)]:
            found = found if number == neutral else self.node(operator, found, self.integers(number))
        return found

    def cast(self, name: str, dtype: Any) -> str:
        """Write a cast to NumPy's dtype."""
        return self.node("Cast", name, to=NUMBERS[np.dtype(dtype)])

    def rename(self, made: str, name: str) -> str:
        """Give the result that was written last another name, and return it."""
        if not self.nodes or list(self.nodes[-1].output) != [made]:
            self.node("Identity", made)
        last = self.nodes[-1]
        last.output[0] = last.name = name
        return name


class Step:
    """A tinygraph node that is being written: its operation, its tensors, and the names of its inputs in the file."""

    def __init__(self, writer: Writer, op: Any, tensor: Tensor, names: Sequence[str]) -> None:
        self.writer, self.op, self.tensor, self.names = writer, op, tensor, list(names)
        self.inputs = tensor.inputs
        # The name of the first input.
        self.x = next(iter(names), "")
        self.node: Callable[..., str] = writer.node
        self.integers = writer.integers

    def cast(self, place: int, *dtypes: Any) -> str:
        """Return the name of an input, cast to the first of ``dtypes`` unless it has one of them."""
        known = self.inputs[place].dtype in [np.dtype(dtype) for dtype in dtypes]
        return self.names[place] if known else self.writer.cast(self.names[place], dtypes[0])

    def number(self, value: float) -> str:
        """Write a number in the dtype of the result."""
        return self.writer.array(np.asarray(value, self.tensor.dtype))

    def fail(self, why: str) -> NoReturn:
        """Raise the error that names the operation."""
        raise OnnxError(f"{self.tensor.describe()} ({self.op.name}) cannot be written as ONNX: {why}")


# It writes the nodes of a step and returns the name of the result.
Export: TypeAlias = Callable[[Step], str]
EXPORTS: dict[str, Export] = {}


def export_of(*names: str) -> Callable[[Export], Export]:
    """Enter the function below as the export of the operations of these names; use as a decorator."""

    def enter(export: Export) -> Export:
        EXPORTS.update(dict.fromkeys(names, export))
        return export

    return enter


def write_node(writer: Writer, op: Any, node: Tensor, names: Mapping[Tensor, str]) -> str:
    """Write a node with an operation, given the names of its inputs, and return the name of its result."""
    step = Step(writer, op, node, [names[x] for x in node.inputs])
    if op.name not in EXPORTS:
        near = nearest(op.name, EXPORTS)
        step.fail(f"ONNX has no operator for {op.name!r}{near} (docs/onnx.md names the operations that have one)")
    return EXPORTS[op.name](step)


def by_formula(s: Step, formula: Callable[..., Any]) -> str:
    """Write the result of a function of the inputs, which is a formula of other operations."""
    leaves = [Tensor("input", None, (), None, x.shape, x.dtype, "x") for x in s.inputs]
    names = dict(zip(leaves, s.names, strict=True))
    result = formula(*leaves)
    for node in Graph([result]).nodes:
        if node.kind == "constant":
            names[node] = s.writer.array(node.value)
        elif node.op is not None:
            names[node] = write_node(s.writer, node.op, node, names)
    return names[result] if result.dtype == s.tensor.dtype else s.writer.cast(names[result], s.tensor.dtype)


def same_dtype(s: Step) -> list[str]:
    """Return the names of a step's inputs, cast to the one dtype that NumPy would compute them in."""
    dtype = np.result_type(*(x.dtype for x in s.inputs))
    if dtype.kind == "b" and s.op.name in ("add", "add_all", "multiply", "subtract", "power"):
        s.fail("ONNX has no arithmetic on booleans")
    if s.op.name in ("divide", "mean_all") or dtype.kind == "b":
        dtype = np.result_type(dtype, s.tensor.dtype) if s.tensor.dtype.kind != "b" else np.dtype(np.int32)
    return [s.cast(place, dtype) for place in range(len(s.inputs))]


def one_operator(operator: str, attributes: Attributes) -> Export:
    """Return the export as one operator of ONNX with the same inputs."""

    def export(s: Step) -> str:
        values = {}
        for own, (name, default) in attributes.items():
            value = getattr(s.op, own)
            values[name] = float(value) if type(default) is float else int(value) if type(default) is bool else value
        return s.node(operator, *s.names, **values)

    return export


def _same_dtype(operator: str) -> Export:
    return lambda s: s.node(operator, *same_dtype(s))


def _logical(operator: str) -> Export:
    return lambda s: s.node(operator, s.cast(0, bool), s.cast(1, bool))


def _reduction(operator: str) -> Export:
    def export(s: Step) -> str:
        axes = normalized_axes(s.op, s.inputs[0], s.op.axis)
        # Without axes ONNX would reduce all of them.
        keep = {"keepdims": int(s.op.keepdims), "noop_with_empty_axes": 0 if axes else 1}
        return s.node(operator, s.cast(0, s.tensor.dtype), s.integers(axes), **keep)

    return export


_SAME_DTYPE = {"Div": "divide", "Max": "maximum", "Min": "minimum", "Pow": "power", "PRelu": "prelu"}
EXPORTS |= {name: _same_dtype(operator) for operator, name in (BINARY | _SAME_DTYPE).items()}
EXPORTS |= {name: _same_dtype(operator) for operator, name in VARIADIC.items()}
EXPORTS |= {name: _logical(operator) for operator, name in LOGICAL.items()}
EXPORTS |= {name: _reduction(operator) for operator, name in REDUCTIONS.items()}
EXPORTS |= {name: one_operator(operator, {}) for operator, name in UNARY.items()}
EXPORTS |= {name: one_operator(operator, attributes) for operator, (name, attributes) in ATTRIBUTES.items()}
EXPORTS |= {
    "cast": lambda s: s.writer.cast(s.x, s.tensor.dtype),
    "where": lambda s: s.node("Where", s.cast(0, bool), s.cast(1, s.tensor.dtype), s.cast(2, s.tensor.dtype)),
    "stop_gradient": lambda s: s.node("Identity", s.x),
    "log_softmax": one_operator("LogSoftmax", {"axis": ("axis", -1)}),
    "matmul": _same_dtype("MatMul"),
    "softmax": one_operator("Softmax", {"axis": ("axis", -1)}),
}


def _cross_entropy(op: Any, logs: Tensor, labels: Tensor) -> Any:
    """Return the mean of minus the log-probability at the label; for probabilities, of the sum of -p log q."""
    if op.written_attributes():
        shares, divisor = op.shares(logs, labels)
        terms = ops.where(shares > 0, shares * logs, 0.0)
        # A number of rows is that of the graph at hand, a sum of weights that of the batch.
        return -ops.mean(ops.sum(terms, axis=-1)) if divisor.kind == "constant" else -ops.sum(terms) / divisor
    if labels.dtype.kind in "iu":
        return -ops.mean(ops.gather_elements(logs, ops.expand_dims(ops.cast(labels, "int64"), -1), axis=-1))
    return -ops.mean(ops.sum(logs * labels, axis=-1))


def _bce_with_logits(op: Any, z: Tensor, y: Tensor) -> Any:
    """Return the mean of softplus(z) - z y, with softplus as max(z, 0) + log(1 + exp(-|z|)), which overflows for no z."""
    rest = ops.log(ops.exp(-abs(z)) + 1.0)
    if op.pos_weight is None:
        return ops.mean(ops.relu(z) + rest - z * y)
    return ops.mean((1.0 - y) * z + (1.0 + (op.positive(z) - 1.0) * y) * (rest + ops.relu(-z)))


def _bce(op: Any, a: Tensor, y: Tensor, z: Tensor | None = None) -> Any:
    """Return the mean cross-entropy, from the logits where the loss has them."""
    if z is not None:
        return _bce_with_logits(op, z, y)
    ones = y if op.pos_weight is None else op.positive(a) * y
    return -ops.mean(ones * ops.log(a) + (1.0 - y) * ops.log(1.0 - a))


def _huber(x: Tensor, y: Tensor, width: float) -> Any:
    """Return the mean of m (d - m/2), with d the distance and m the smaller of d and the width."""
    distance = abs(x - y)
    near = ops.minimum(distance, width)
    return ops.mean(near * (distance - near * 0.5))


def _kl_divergence(op: Any, logs: Tensor, p: Tensor) -> Any:
    """Return the mean of the sum of p (log p - log q), where 0 log 0 is 0."""
    some = p > 0
    return ops.mean(ops.sum(ops.where(some, p * (ops.log(ops.where(some, p, 1.0)) - logs), 0.0), axis=-1))


def _standardize(op: Any, x: Tensor) -> Any:
    centred = x - ops.mean(x, axis=op.axis, keepdims=True)
    return centred / ops.sqrt(ops.mean(centred * centred, axis=op.axis, keepdims=True) + op.epsilon)


def _variance(op: Any, x: Tensor) -> Any:
    axes = normalized_axes(op, x, op.axis)
    centred = x - ops.mean(x, axis=axes, keepdims=True)
    options = {"axis": axes, "keepdims": op.keepdims}
    if not op.correction:
        return ops.mean(centred * centred, **options)
    return ops.sum(centred * centred, **options) / (math.prod(x.shape[axis] for axis in axes) - op.correction)


# Operations as formulas of others, given the operation, for its attributes, and the inputs.
FORMULAS: dict[str, Callable[..., Tensor]] = {
    "bce": _bce,
    "bce_with_logits": _bce_with_logits,
    "cbrt": lambda op, x: ops.sign(x) * abs(x) ** (1 / 3),
    "cross_entropy": lambda op, z, y: _cross_entropy(op, ops.log_softmax(z), y),
    "embedding": lambda op, weights, ids: ops.gather(weights, ids, axis=0),
    "exp2": lambda op, x: 2.0**x,
    "expm1": lambda op, x: ops.exp(x) - 1.0,
    "gate": lambda op, x, condition: ops.where(condition, x, 0.0),
    "hard_tanh": lambda op, x: ops.clip(x, op.low, op.high),
    "hinge": lambda op, x, y: ops.mean(ops.relu(1.0 - x * y)),
    "huber": lambda op, x, y: _huber(x, y, op.delta),
    "hypot": lambda op, x, y: ops.sqrt(x * x + y * y),
    "kl_divergence": _kl_divergence,
    "l1": lambda op, x, y: ops.mean(abs(x - y)),
    "log10": lambda op, x: ops.log(x) / math.log(10),
    "log1p": lambda op, x: ops.log(x + 1.0),
    "log2": lambda op, x: ops.log(x) / math.log(2),
    "log_sigmoid": lambda op, x: -ops.softplus(-x),
    "logaddexp": lambda op, x, y: ops.maximum(x, y) + ops.softplus(-abs(x - y)),
    "mse": lambda op, x, y: ops.mean((x - y) * (x - y)),
    "nll": _cross_entropy,
    "not_equal": lambda op, x, y: ops.logical_not(ops.equal(x, y)),
    "relu6": lambda op, x: ops.clip(x, 0.0, 6.0),
    "silu": lambda op, x: x * ops.sigmoid(x),
    "smooth_l1": lambda op, x, y: _huber(x, y, op.beta) / op.beta,
    "standardize": _standardize,
    # ONNX's ThresholdedRelu makes 0 of NaN.
    "thresholded_relu": lambda op, x: ops.where(x <= op.alpha, 0.0, x),
    "trunc": lambda op, x: ops.sign(x) * ops.floor(abs(x)),
    "variance": _variance,
}


@export_of(*FORMULAS)
def _formula(s: Step) -> str:
    op, dtype = s.op, s.tensor.dtype
    if op.name == "variance" and op.correction and 0 in normalized_axes(op, s.inputs[0], op.axis) and s.writer.batch:
        s.fail("a variance over the batch with a correction")

    def formula(*inputs: Tensor) -> Tensor:
        if op.family == "loss":
            # Labels of the shape of the predictions are real numbers; class numbers have an axis less.
            real = [x.ndim == inputs[0].ndim and x.dtype != dtype for x in inputs]
            inputs = tuple(ops.cast(x, dtype.name) if cast else x for x, cast in zip(inputs, real, strict=True))
        return FORMULAS[op.name](op, *inputs)

    return by_formula(s, formula)


@export_of("clip")
def _clip(s: Step) -> str:
    limits = ["" if end is None else s.number(end) for end in (s.op.low, s.op.high)]
    return s.node("Clip", s.cast(0, s.tensor.dtype), *limits)


@export_of("mod")
def _mod(s: Step) -> str:
    if s.tensor.dtype.kind == "f" and not s.op.fmod:
        # For real numbers ONNX has only the remainder with the sign of the dividend.
        return by_formula(s, lambda x, y: x - ops.floor(x / y) * y)
    return s.node("Mod", *same_dtype(s), fmod=int(s.op.fmod))
