"""The table of exports: each operation as ONNX's operators. An operation that is not in it has no counterpart in ONNX.

Most operations are one operator of ONNX (``pairs``), or a formula of operations that are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from tinygraph.errors import nearest
from tinygraph.graph.graph import Graph
from tinygraph.graph.tensor import Tensor
from tinygraph.interop.onnx.export.writer import Step, Writer
from tinygraph.interop.onnx.operators.pairs import BINARY, LOGICAL, NUMBERED, REDUCTIONS, UNARY, VARIADIC
from tinygraph.interop.onnx.operators.table import ops
from tinygraph.ops.axes import normalized_axes

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
    leaves = [
        Tensor("input", None, (), None, x.shape, x.dtype, name) for x, name in zip(s.inputs, s.names, strict=True)
    ]
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


def one_operator(operator: str, **attributes: str) -> Export:
    """Return the export as one operator of ONNX with the same inputs; ``attributes`` are our names by ONNX's."""

    def export(s: Step) -> str:
        values = {name: getattr(s.op, own) for name, own in attributes.items()}
        return s.node(operator, *s.names, **{n: int(v) if isinstance(v, bool) else v for n, v in values.items()})

    return export


def _same_dtype(operator: str) -> Export:
    return lambda s: s.node(operator, *same_dtype(s))


def _logical(operator: str) -> Export:
    return lambda s: s.node(operator, s.cast(0, bool), s.cast(1, bool))


def _numbered(operator: str, names: Mapping[str, tuple[str, float]]) -> Export:
    return lambda s: s.node(operator, s.x, **{onnx: float(getattr(s.op, own)) for own, (onnx, _) in names.items()})


def _reduction(operator: str) -> Export:
    def export(s: Step) -> str:
        axes = normalized_axes(s.op, s.inputs[0], s.op.axis)
        # Without axes ONNX would reduce all of them.
        keep = {"keepdims": int(s.op.keepdims), "noop_with_empty_axes": 0 if axes else 1}
        return s.node(operator, s.cast(0, s.tensor.dtype), s.integers(axes), **keep)

    return export


_SAME_DTYPE = {
    "Div": "divide",
    "MatMul": "matmul",
    "Max": "maximum",
    "Min": "minimum",
    "Pow": "power",
    "PRelu": "prelu",
}
for _pairs, _export in (
    (UNARY, one_operator),
    (BINARY, _same_dtype),
    (VARIADIC, _same_dtype),
    (_SAME_DTYPE, _same_dtype),
    (LOGICAL, _logical),
    (REDUCTIONS, _reduction),
):
    EXPORTS |= {name: _export(operator) for operator, name in _pairs.items()}
EXPORTS |= {name: _numbered(operator, names) for operator, (name, names) in NUMBERED.items()}
EXPORTS |= {
    "cast": lambda s: s.writer.cast(s.x, s.tensor.dtype),
    "gelu": one_operator("Gelu", approximate="approximate"),
    "isinf": one_operator("IsInf", detect_negative="negative", detect_positive="positive"),
    "log_softmax": one_operator("LogSoftmax", axis="axis"),
    "softmax": one_operator("Softmax", axis="axis"),
}


def _cross_entropy(logs: Tensor, labels: Tensor) -> Any:
    """Return the mean of minus the log-probability at the label; for probabilities, of the sum of -p log q."""
    if labels.dtype.kind in "iu":
        return -ops.mean(ops.gather_elements(logs, ops.expand_dims(ops.cast(labels, "int64"), -1), axis=-1))
    return -ops.mean(ops.sum(logs * labels, axis=-1))


def _bce_with_logits(z: Tensor, y: Tensor) -> Any:
    """Return the mean of softplus(z) - z y, with softplus as max(z, 0) + log(1 + exp(-|z|)), which overflows for no z."""
    return ops.mean(ops.relu(z) + ops.log(ops.exp(-abs(z)) + 1.0) - z * y)


def _bce(a: Tensor, y: Tensor, z: Tensor | None = None) -> Any:
    """Return the mean cross-entropy, from the logits where the loss has them."""
    if z is not None:
        return _bce_with_logits(z, y)
    return -ops.mean(y * ops.log(a) + (1.0 - y) * ops.log(1.0 - a))


def _huber(x: Tensor, y: Tensor, width: float) -> Any:
    """Return the mean of m (d - m/2), with d the distance and m the smaller of d and the width."""
    distance = abs(x - y)
    near = ops.minimum(distance, width)
    return ops.mean(near * (distance - near * 0.5))


def _kl_divergence(logs: Tensor, p: Tensor) -> Any:
    """Return the mean of the sum of p (log p - log q), where 0 log 0 is 0."""
    some = p > 0
    return ops.mean(ops.sum(ops.where(some, p * (ops.log(ops.where(some, p, 1.0)) - logs), 0.0), axis=-1))


def _standardize(op: Any, x: Tensor) -> Any:
    centred = x - ops.mean(x, axis=op.axis, keepdims=True)
    return centred / ops.sqrt(ops.mean(centred * centred, axis=op.axis, keepdims=True) + op.epsilon)


# Operations as formulas of others, given the operation, for its attributes, and the inputs.
FORMULAS: dict[str, Callable[..., Tensor]] = {
    "embedding": lambda op, weights, ids: ops.gather(weights, ids, axis=0),
    "expm1": lambda op, x: ops.exp(x) - 1.0,
    "hard_tanh": lambda op, x: ops.clip(x, op.low, op.high),
    "hypot": lambda op, x, y: ops.sqrt(x * x + y * y),
    "log1p": lambda op, x: ops.log(x + 1.0),
    "log_sigmoid": lambda op, x: -ops.softplus(-x),
    "not_equal": lambda op, x, y: ops.logical_not(ops.equal(x, y)),
    "relu6": lambda op, x: ops.clip(x, 0.0, 6.0),
    "silu": lambda op, x: x * ops.sigmoid(x),
    "standardize": _standardize,
    # ONNX's ThresholdedRelu makes 0 of NaN.
    "thresholded_relu": lambda op, x: ops.where(x <= op.alpha, 0.0, x),
    "trunc": lambda op, x: ops.sign(x) * ops.floor(abs(x)),
}
# The same for losses, whose predictions and real labels are first cast to the dtype of the loss.
LOSSES: dict[str, Callable[..., Tensor]] = {
    "bce": lambda op, *inputs: _bce(*inputs),
    "bce_with_logits": lambda op, z, y: _bce_with_logits(z, y),
    "cross_entropy": lambda op, z, y: _cross_entropy(ops.log_softmax(z), y),
    "hinge": lambda op, x, y: ops.mean(ops.relu(1.0 - x * y)),
    "huber": lambda op, x, y: _huber(x, y, op.delta),
    "kl_divergence": lambda op, logs, p: _kl_divergence(logs, p),
    "l1": lambda op, x, y: ops.mean(abs(x - y)),
    "mse": lambda op, x, y: ops.mean((x - y) * (x - y)),
    "nll": lambda op, logs, y: _cross_entropy(logs, y),
    "smooth_l1": lambda op, x, y: _huber(x, y, op.beta) / op.beta,
}


@export_of(*FORMULAS)
def _formula(s: Step) -> str:
    return by_formula(s, lambda *inputs: FORMULAS[s.op.name](s.op, *inputs))


@export_of(*LOSSES)
def _loss(s: Step) -> str:
    def formula(*inputs: Tensor) -> Tensor:
        numbers = s.op.name in ("cross_entropy", "nll")
        dtype = s.tensor.dtype
        cast = [
            x if x.dtype == dtype or (numbers and x.dtype.kind in "iu") else ops.cast(x, dtype.name) for x in inputs
        ]
        return LOSSES[s.op.name](s.op, *cast)

    return by_formula(s, formula)


@export_of("variance")
def _variance(s: Step) -> str:
    axes = normalized_axes(s.op, s.inputs[0], s.op.axis)
    if s.op.correction and 0 in axes and s.writer.batch:
        s.fail("a variance over the batch with a correction")
    count = math.prod(s.inputs[0].shape[axis] for axis in axes) - s.op.correction

    def formula(x: Tensor) -> Any:
        centred = x - ops.mean(x, axis=axes, keepdims=True)
        options = {"axis": axes, "keepdims": s.op.keepdims}
        return (
            ops.sum(centred * centred, **options) / count if s.op.correction else ops.mean(centred * centred, **options)
        )

    return by_formula(s, formula)


@export_of("where")
def _where(s: Step) -> str:
    return s.node("Where", s.cast(0, bool), s.cast(1, s.tensor.dtype), s.cast(2, s.tensor.dtype))


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
