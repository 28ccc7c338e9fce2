"""Operators of ONNX that are one operation on the same inputs. The importer reads these tables, the exporter inverts them."""

from collections.abc import Mapping
from typing import TypeAlias

# One input and no attributes. Most names differ only in their capitals.
_LOWER = ["Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Ceil", "Cos", "Cosh", "Erf", "Exp", "Floor"]
_LOWER += ["Identity", "Log", "Mish", "Reciprocal", "Relu", "Round", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus"]
_LOWER += ["Softsign", "Sqrt", "Tan", "Tanh"]
UNARY = {name: name.lower() for name in _LOWER}
UNARY |= {"HardSwish": "hard_swish", "IsNaN": "isnan", "Neg": "negative", "Not": "logical_not"}
# Two inputs, which ONNX wants in one dtype.
BINARY = {"Add": "add", "Equal": "equal", "Greater": "greater", "Less": "less", "Mul": "multiply", "Sub": "subtract"}
BINARY |= {"GreaterOrEqual": "greater_equal", "LessOrEqual": "less_equal"}
LOGICAL = {"And": "logical_and", "Or": "logical_or", "Xor": "logical_xor"}
# Any number of inputs.
VARIADIC = {"Max": "maximum_all", "Mean": "mean_all", "Min": "minimum_all", "Sum": "add_all"}
# An input, axes, and whether these are kept.
REDUCTIONS = {f"Reduce{name}": name.lower() for name in ("LogSumExp", "Max", "Mean", "Min", "Prod", "Sum")}
REDUCTIONS |= {"ReduceL1": "l1_norm", "ReduceL2": "l2_norm"}
# The same inputs and attributes: our name for each, ONNX's name, and ONNX's default; ``None`` for one that is required.
Attributes: TypeAlias = Mapping[str, tuple[str, float | str | None]]
ATTRIBUTES: dict[str, tuple[str, Attributes]] = {
    "Celu": ("celu", {"alpha": ("alpha", 1.0)}),
    "DepthToSpace": ("depth_to_space", {"blocksize": ("blocksize", None), "mode": ("mode", "DCR")}),
    "Elu": ("elu", {"alpha": ("alpha", 1.0)}),
    "Gelu": ("gelu", {"approximate": ("approximate", "none")}),
    "HardSigmoid": ("hard_sigmoid", {"alpha": ("alpha", 0.2), "beta": ("beta", 0.5)}),
    "InstanceNormalization": ("instance_norm", {"epsilon": ("epsilon", 1e-5)}),
    "IsInf": ("isinf", {"negative": ("detect_negative", True), "positive": ("detect_positive", True)}),
    "LeakyRelu": ("leaky_relu", {"slope": ("alpha", 0.01)}),
    "LRN": (
        "local_response_norm",
        {"size": ("size", None), "alpha": ("alpha", 1e-4), "beta": ("beta", 0.75), "bias": ("bias", 1.0)},
    ),
    # The more exact defaults of operator set 6.
    "Selu": ("selu", {"alpha": ("alpha", 1.6732632423543772), "gamma": ("gamma", 1.0507009873554805)}),
}
