"""The other table: each operation as ONNX's operators. What is not here has no counterpart there."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from tinygraph.interop.onnx.writer import Step
from tinygraph.ops.axes import normalized_axes

Export: TypeAlias = Callable[[Step], str]

# Operations that an operator of ONNX computes from the same inputs, with no attribute to tell.
SAME = {
    **{name: name.capitalize() for name in ("abs", "acos", "acosh", "asin", "asinh", "atan", "atanh", "ceil", "cos")},
    **{name: name.capitalize() for name in ("cosh", "erf", "exp", "floor", "identity", "log", "mish", "reciprocal")},
    **{name: name.capitalize() for name in ("relu", "round", "sigmoid", "sign", "sin", "sinh", "softplus", "softsign")},
    **{name: name.capitalize() for name in ("sqrt", "tan", "tanh")},
    "isnan": "IsNaN",
    "negative": "Neg",
    "hard_swish": "HardSwish",
    "logical_not": "Not",
}
# The same for several inputs, which must be of one dtype.
JOINED = {
    "add": "Add",
    "add_all": "Sum",
    "divide": "Div",
    "equal": "Equal",
    "greater": "Greater",
    "greater_equal": "GreaterOrEqual",
    "less": "Less",
    "less_equal": "LessOrEqual",
    "matmul": "MatMul",
    "maximum": "Max",
    "maximum_all": "Max",
    "mean_all": "Mean",
    "minimum": "Min",
    "minimum_all": "Min",
    "multiply": "Mul",
    "power": "Pow",
    "prelu": "PRelu",
    "subtract": "Sub",
}
REDUCTIONS = {
    "l1_norm": "ReduceL1",
    "l2_norm": "ReduceL2",
    "logsumexp": "ReduceLogSumExp",
    "max": "ReduceMax",
    "mean": "ReduceMean",
    "min": "ReduceMin",
    "prod": "ReduceProd",
    "sum": "ReduceSum",
}
EXPORTS: dict[str, Export] = {}


def export_of(*names: str) -> Callable[[Export], Export]:
    """Note the function below it as what writes the operations of these names; use as a decorator."""

    def note(export: Export) -> Export:
        EXPORTS.update(dict.fromkeys(names, export))
        return export

    return note


def joined(s: Step) -> list[str]:
    """Return the names of a step's inputs, cast to the one dtype that NumPy would compute them in."""
    dtype = np.result_type(*(x.dtype for x in s.inputs))
    if dtype.kind == "b" and s.op.name in ("add", "add_all", "multiply", "subtract", "power"):
        s.fail("ONNX does not reckon with booleans")
    if s.op.name in ("divide", "mean_all") or dtype.kind == "b":
        dtype = np.result_type(dtype, s.tensor.dtype) if s.tensor.dtype.kind != "b" else np.dtype(np.int32)
    return [name if x.dtype == dtype else s.writer.cast(name, dtype) for name, x in zip(s.names, s.inputs, strict=True)]


def _same(operator: str) -> Export:
    return lambda s: s.writer.node(operator, s.x)


def _joined(operator: str) -> Export:
    return lambda s: s.writer.node(operator, *joined(s))


EXPORTS |= {name: _same(operator) for name, operator in SAME.items()}
EXPORTS |= {name: _joined(operator) for name, operator in JOINED.items()}


@export_of(*REDUCTIONS)
def _reduction(s: Step) -> str:
    axes = normalized_axes(s.op, s.inputs[0], s.attributes["axis"])
    x = s.x if s.inputs[0].dtype == s.tensor.dtype else s.writer.cast(s.x, s.tensor.dtype)
    # Without axes ONNX would reduce all of them.
    keep = {"keepdims": int(s.attributes["keepdims"]), "noop_with_empty_axes": 0 if axes else 1}
    return s.writer.node(REDUCTIONS[s.op.name], x, s.writer.whole(axes), **keep)


@export_of("variance")
def _variance(s: Step) -> str:
    axes, x, w = normalized_axes(s.op, s.inputs[0], s.attributes["axis"]), s.inputs[0], s.writer
    apart = w.node("Sub", s.x, w.node("ReduceMean", s.x, w.whole(axes), keepdims=1))
    keep = int(s.attributes["keepdims"])
    if not s.attributes["correction"]:
        return w.node("ReduceMean", w.node("Mul", apart, apart), w.whole(axes), keepdims=keep)
    if 0 in axes and w.batch_of:
        s.fail("a variance over the batch with a correction")
    count = math.prod(x.shape[axis] for axis in axes) - s.attributes["correction"]
    return w.node("Div", w.node("ReduceSumSquare", apart, w.whole(axes), keepdims=keep), w.number(count, x))


@export_of("standardize")
def _standardize(s: Step) -> str:
    axes, w = s.writer.whole(normalized_axes(s.op, s.inputs[0], s.attributes["axis"])), s.writer
    apart = w.node("Sub", s.x, w.node("ReduceMean", s.x, axes, keepdims=1))
    variance = w.node("ReduceMean", w.node("Mul", apart, apart), axes, keepdims=1)
    steadied = w.node("Add", variance, w.number(s.attributes["epsilon"], s.tensor))
    return w.node("Div", apart, w.node("Sqrt", steadied))


@export_of("logical_and", "logical_or", "logical_xor")
def _logical(s: Step) -> str:
    names = [name if x.dtype == bool else s.writer.cast(name, bool) for name, x in zip(s.names, s.inputs, strict=True)]
    return s.writer.node(s.op.name.removeprefix("logical_").capitalize(), *names)


@export_of("not_equal")
def _not_equal(s: Step) -> str:
    return s.writer.node("Not", s.writer.node("Equal", *joined(s)))


@export_of("where")
def _where(s: Step) -> str:
    condition = s.x if s.inputs[0].dtype == bool else s.writer.cast(s.x, bool)
    names = [
        name if x.dtype == s.tensor.dtype else s.writer.cast(name, s.tensor.dtype)
        for name, x in zip(s.names[1:], s.inputs[1:], strict=True)
    ]
    return s.writer.node("Where", condition, *names)


@export_of("cast")
def _cast(s: Step) -> str:
    return s.writer.cast(s.x, s.tensor.dtype)


@export_of("clip", "hard_tanh", "relu6")
def _clip(s: Step) -> str:
    ends = (0.0, 6.0) if s.op.name == "relu6" else (s.attributes["low"], s.attributes["high"])
    limits = ["" if end is None else s.writer.number(end, s.tensor) for end in ends]
    x = s.x if s.inputs[0].dtype == s.tensor.dtype else s.writer.cast(s.x, s.tensor.dtype)
    return s.writer.node("Clip", x, *limits)


@export_of("isinf")
def _isinf(s: Step) -> str:
    signs = {f"detect_{sign}": int(s.attributes[sign]) for sign in ("negative", "positive")}
    return s.writer.node("IsInf", s.x, **signs)


@export_of("expm1", "log1p")
def _near_one(s: Step) -> str:
    one = s.writer.number(1.0, s.tensor)
    if s.op.name == "expm1":
        return s.writer.node("Sub", s.writer.node("Exp", s.x), one)
    return s.writer.node("Log", s.writer.node("Add", s.x, one))


@export_of("hypot")
def _hypot(s: Step) -> str:
    squares = [s.writer.node("Mul", name, name) for name in joined(s)]
    return s.writer.node("Sqrt", s.writer.node("Add", *squares))


@export_of("log_sigmoid")
def _log_sigmoid(s: Step) -> str:
    return s.writer.node("Neg", s.writer.node("Softplus", s.writer.node("Neg", s.x)))


@export_of("silu")
def _silu(s: Step) -> str:
    return s.writer.node("Mul", s.x, s.writer.node("Sigmoid", s.x))


@export_of("trunc")
def _trunc(s: Step) -> str:
    return s.writer.node("Mul", s.writer.node("Sign", s.x), s.writer.node("Floor", s.writer.node("Abs", s.x)))


@export_of("mod")
def _mod(s: Step) -> str:
    x, y = joined(s)
    if s.tensor.dtype.kind == "f" and not s.attributes["fmod"]:
        # Of real numbers ONNX knows only the remainder that has the sign of the dividend.
        whole = s.writer.node("Floor", s.writer.node("Div", x, y))
        return s.writer.node("Sub", x, s.writer.node("Mul", whole, y))
    return s.writer.node("Mod", x, y, fmod=int(s.attributes["fmod"]))


def _with_numbers(operator: str, **names: str) -> Export:
    """Return how an operation is written whose attributes are numbers, by ONNX's names for them."""
    return lambda s: s.writer.node(operator, s.x, **{onnx: float(s.attributes[own]) for onnx, own in names.items()})


EXPORTS |= {
    "celu": _with_numbers("Celu", alpha="alpha"),
    "elu": _with_numbers("Elu", alpha="alpha"),
    "hard_sigmoid": _with_numbers("HardSigmoid", alpha="alpha", beta="beta"),
    "leaky_relu": _with_numbers("LeakyRelu", alpha="slope"),
    "selu": _with_numbers("Selu", alpha="alpha", gamma="gamma"),
}


@export_of("thresholded_relu")
def _thresholded_relu(s: Step) -> str:
    # ThresholdedRelu makes 0 of NaN.
    low = s.writer.node("LessOrEqual", s.x, s.writer.number(s.attributes["alpha"], s.tensor))
    return s.writer.node("Where", low, s.writer.number(0.0, s.tensor), s.x)


@export_of("gelu")
def _gelu(s: Step) -> str:
    return s.writer.node("Gelu", s.x, approximate=s.attributes["approximate"])


@export_of("softmax", "log_softmax")
def _softmax(s: Step) -> str:
    return s.writer.node("Softmax" if s.op.name == "softmax" else "LogSoftmax", s.x, axis=s.attributes["axis"])
