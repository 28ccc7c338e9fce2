"""The golden cases: an operation, its inputs and its attributes. Read by make_golden.py and by the tests."""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
FOLDER = Path(__file__).parent


@dataclass(frozen=True, eq=False)
class Case:
    """One call of an operation; the gradient is taken with respect to the inputs named in `wrt`."""

    operation: str
    label: str
    inputs: Mapping[str, Array]
    wrt: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.operation}-{self.label}"


def generator(name: str) -> np.random.Generator:
    """Seeded by the name alone, so that a new case changes no other."""
    return np.random.default_rng(zlib.crc32(name.encode()))


def normal(name: str, shape: tuple[int, ...]) -> Array:
    """Multiples of 1/64, which compress well in the files."""
    return np.rint(64 * generator(name).standard_normal(shape)) / 64


def convolution(operation: str, label: str, x: tuple[int, ...], k: tuple[int, ...], **attributes: Any) -> Case:
    inputs = {"x": normal(f"x of {operation}-{label}", x), "k": normal(f"k of {operation}-{label}", k)}
    return Case(operation, label, inputs, ("x", "k"), attributes)


def on_x(
    operation: str, label: str, shape: tuple[int, ...], edit: Callable[[Array], Array] = np.array, **attributes: Any
) -> Case:
    """A case with one input, drawn from the normal distribution and then handed to `edit`."""
    x = edit(2 * normal(f"x of {operation}-{label}", shape))
    return Case(operation, label, {"x": x}, ("x",), attributes)


def with_zeros(x: Array) -> Array:
    return np.where(np.abs(x) < 0.5, 0.0, x)


CONVOLUTION = (
    convolution("conv2d", "plain", (2, 2, 5, 6), (3, 2, 3, 2)),
    convolution("conv2d", "pointwise", (2, 3, 3, 3), (2, 3, 1, 1)),
    convolution("conv2d", "whole image", (2, 2, 3, 4), (3, 2, 3, 4)),
    convolution("conv2d", "stride 2", (2, 2, 6, 7), (2, 2, 3, 3), stride=2),
    convolution("conv2d", "stride (2, 1)", (1, 2, 6, 5), (2, 2, 3, 3), stride=(2, 1)),
    convolution("conv2d", "stride beyond the kernel", (1, 2, 7, 6), (2, 2, 2, 1), stride=3),
    convolution("conv2d", "padding 1", (2, 2, 4, 4), (2, 2, 3, 3), padding=1),
    convolution("conv2d", "padding (2, 1)", (1, 2, 4, 4), (2, 2, 3, 3), padding=(2, 1)),
    convolution("conv2d", "valid", (1, 2, 5, 4), (2, 2, 3, 2), padding="valid"),
    convolution("conv2d", "same", (1, 2, 5, 4), (2, 2, 3, 3), padding="same"),
    convolution("conv2d", "same, even kernel", (1, 2, 5, 4), (2, 2, 2, 4), padding="same"),
    convolution("conv2d", "same, stride 2", (1, 2, 6, 5), (2, 2, 3, 3), padding="same", stride=2),
    convolution("conv2d", "dilation 2", (1, 2, 6, 7), (2, 2, 3, 2), dilation=2),
    convolution("conv2d", "dilation (1, 3)", (1, 2, 4, 8), (2, 2, 2, 3), dilation=(1, 3)),
    convolution("conv2d", "groups 2", (2, 4, 4, 4), (6, 2, 3, 3), groups=2),
    convolution("conv2d", "depthwise", (2, 3, 4, 4), (3, 1, 3, 3), groups=3, padding=1),
    convolution(
        "conv2d", "everything", (2, 4, 7, 6), (4, 2, 2, 3), stride=(2, 1), padding=(1, 2), dilation=2, groups=2
    ),
    convolution("conv_transpose2d", "plain", (2, 2, 3, 4), (2, 3, 3, 2)),
    convolution("conv_transpose2d", "stride 2", (2, 2, 3, 3), (2, 2, 3, 3), stride=2),
    convolution("conv_transpose2d", "stride beyond the kernel", (1, 2, 2, 3), (2, 2, 2, 1), stride=3),
    convolution("conv_transpose2d", "padding (2, 1)", (1, 2, 4, 4), (2, 2, 3, 3), padding=(2, 1)),
    convolution("conv_transpose2d", "output padding", (1, 2, 3, 3), (2, 2, 3, 3), stride=2, output_padding=1),
    convolution("conv_transpose2d", "output size", (1, 2, 3, 3), (2, 2, 3, 3), stride=2, output_size=(8, 7)),
    convolution("conv_transpose2d", "dilation 2", (1, 2, 3, 3), (2, 2, 3, 2), dilation=2),
    convolution("conv_transpose2d", "groups 2", (1, 4, 3, 3), (4, 3, 2, 2), groups=2),
    convolution(
        "conv_transpose2d",
        "everything",
        (2, 4, 3, 4),
        (4, 2, 3, 2),
        stride=(2, 3),
        padding=(1, 2),
        dilation=(2, 1),
        groups=2,
        output_padding=(0, 1),
    ),
)

POOLING = (
    on_x("avg_pool2d", "window 2", (2, 2, 4, 4), window=2),
    on_x("avg_pool2d", "window (2, 3)", (1, 2, 4, 6), window=(2, 3)),
    on_x("avg_pool2d", "rows left over", (1, 2, 5, 7), window=2),
    on_x("avg_pool2d", "overlap", (1, 2, 4, 5), window=3, stride=1),
    on_x("avg_pool2d", "padding 1", (1, 2, 5, 4), window=3, stride=2, padding=1),
    on_x("avg_pool2d", "padding (1, 0)", (1, 2, 4, 5), window=(2, 3), stride=(1, 2), padding=(1, 0)),
    on_x("avg_pool2d", "valid", (1, 2, 5, 5), window=3, stride=2, padding="valid"),
    on_x("avg_pool2d", "same", (1, 2, 4, 5), window=2, stride=1, padding="same"),
    on_x("avg_pool2d", "same, stride 2", (1, 2, 6, 5), window=3, stride=2, padding="same"),
    on_x("max_pool2d", "window 2", (2, 2, 4, 4), window=2),
    on_x("max_pool2d", "window (2, 3)", (1, 2, 4, 6), window=(2, 3)),
    on_x("max_pool2d", "rows left over", (1, 2, 5, 7), window=2),
    on_x("max_pool2d", "overlap", (1, 2, 4, 5), window=3, stride=1),
    on_x("max_pool2d", "padding 1", (1, 2, 5, 4), window=3, stride=2, padding=1),
    on_x("max_pool2d", "padding (1, 0)", (1, 2, 4, 5), window=(2, 3), stride=(1, 2), padding=(1, 0)),
    on_x("max_pool2d", "padding, all negative", (1, 2, 4, 4), lambda x: -1 - np.abs(x), window=2, padding=1),
    on_x("max_pool2d", "valid", (1, 2, 5, 5), window=3, stride=2, padding="valid"),
    on_x("max_pool2d", "same", (1, 2, 4, 5), window=2, stride=1, padding="same"),
    on_x("max_pool2d", "same, stride 2", (1, 2, 6, 5), window=3, stride=2, padding="same"),
    on_x("max_pool2d", "ties", (2, 2, 5, 5), np.rint, window=3, stride=1, padding=1),
    on_x("max_pool2d", "constant image", (1, 1, 4, 4), np.zeros_like, window=2, stride=1),
    on_x("global_avg_pool2d", "plain", (2, 3, 3, 4)),
)

ACTIVATION = (
    on_x("relu", "with zeros", (4, 6), with_zeros),
    on_x("leaky_relu", "default slope", (4, 6)),
    on_x("leaky_relu", "slope 0.2", (4, 6), slope=0.2),
    on_x("sigmoid", "plain", (4, 6)),
    on_x("tanh", "plain", (4, 6)),
    on_x("softplus", "plain", (4, 6)),
    on_x("softplus", "large", (4, 6), lambda x: 15 * x),
    on_x("gelu", "default", (4, 6)),
    on_x("gelu", "tanh", (4, 6), approximate="tanh"),
    on_x("softmax", "default axis", (4, 5)),
    on_x("softmax", "first axis", (3, 4, 2), axis=0),
    on_x("softmax", "large", (3, 5), lambda x: x + 1000.0),
    on_x("log_softmax", "default axis", (4, 5)),
    on_x("log_softmax", "middle axis", (3, 4, 2), axis=1),
    on_x("log_softmax", "large", (3, 5), lambda x: x + 1000.0),
)


def reductions(operation: str) -> tuple[Case, ...]:
    return (
        on_x(operation, "everything", (3, 4)),
        on_x(operation, "everything, keepdims", (3, 4), keepdims=True),
        on_x(operation, "axis 0", (3, 4), axis=0),
        on_x(operation, "axis -1, keepdims", (2, 3, 4), axis=-1, keepdims=True),
        on_x(operation, "axis (0, 2)", (2, 3, 4), axis=(0, 2)),
    )


REDUCTION = tuple(case for name in ("sum", "mean", "max", "min", "logsumexp") for case in reductions(name))


def loss(operation: str, label: str, prediction: Array, target: Array, wrt: tuple[str, ...] = ("prediction",)) -> Case:
    return Case(operation, label, {"prediction": prediction, "target": target}, wrt)


def losses() -> tuple[Case, ...]:
    draw = generator("losses")
    labels = draw.integers(0, 2, (5, 1)).astype(float)
    probabilities = draw.uniform(0.05, 0.95, (5, 1))
    scores = draw.standard_normal((4, 3))
    classes = draw.integers(0, 3, 4)
    shares = draw.dirichlet(np.ones(3), 4)
    return (
        loss("bce", "labels", probabilities, labels),
        loss("bce", "soft labels", draw.uniform(0.05, 0.95, (3, 2)), draw.uniform(size=(3, 2))),
        loss("bce_with_logits", "labels", 2 * draw.standard_normal((5, 1)), labels),
        loss("bce_with_logits", "large logits", 50 * draw.standard_normal((5, 1)), labels),
        loss("cross_entropy", "integer labels", scores, classes),
        loss("cross_entropy", "one-hot labels", scores, np.eye(3)[classes]),
        loss("cross_entropy", "probabilities", scores, shares),
        loss("cross_entropy", "large logits", scores + 1000.0, classes),
        loss("mse", "plain", draw.standard_normal((4, 3)), draw.standard_normal((4, 3)), ("prediction", "target")),
    )


LOSS = losses()


def channelled(
    operation: str, label: str, shape: tuple[int, ...], names: str, wrt: str = "x scale shift", **attributes: Any
) -> Case:
    """A case with an image and numbers for each channel; those of a variance are positive."""
    inputs = {}
    for name in names.split():
        drawn = normal(f"{name} of {operation}-{label}", shape if name == "x" else shape[1:2])
        inputs[name] = np.abs(drawn) + 0.5 if name in ("variance", "old") else drawn
    return Case(operation, label, inputs, tuple(wrt.split()), attributes)


IMAGES: Mapping[str, tuple[int, ...]] = {
    "rows": (5, 3),
    "sequence": (3, 4, 5),
    "image": (2, 4, 3, 2),
    "volume": (2, 2, 2, 3, 2),
}
BATCH_NORM = "x scale shift mean variance"

NORMALIZATION = (
    on_x("variance", "everything", (3, 4)),
    on_x("variance", "axis (0, 2), keepdims", (2, 3, 4), axis=(0, 2), keepdims=True),
    on_x("variance", "axis 1, unbiased", (2, 5), axis=1, correction=1),
    on_x("standardize", "default axis", (3, 5)),
    on_x("standardize", "axis (0, 2)", (2, 3, 4), axis=(0, 2), epsilon=0.1),
    *(channelled("batch_norm", f"training, {label}", IMAGES[label], BATCH_NORM, training=True) for label in IMAGES),
    *(channelled("batch_norm", f"prediction, {label}", IMAGES[label], BATCH_NORM) for label in IMAGES),
    channelled("batch_norm", "epsilon", (2, 3, 4), BATCH_NORM, training=True, epsilon=0.5),
    *(channelled("running_mean", label, IMAGES[label], "old x", "") for label in IMAGES),
    *(channelled("running_variance", label, IMAGES[label], "old x", "", momentum=0.3) for label in IMAGES),
    *(channelled("instance_norm", label, IMAGES[label], "x scale shift") for label in IMAGES if label != "rows"),
    channelled("group_norm", "two groups", (2, 4, 3, 2), "x scale shift", groups=2),
    channelled("group_norm", "rows", (3, 6), "x scale shift", groups=3, epsilon=0.1),
    channelled("local_response_norm", "size 3", (2, 5, 2, 2), "x", "x", size=3, alpha=0.5),
    channelled("local_response_norm", "size 5", (2, 4, 3), "x", "x", size=5, alpha=0.8, beta=0.5, bias=2.0),
    channelled("local_response_norm", "size 1", (2, 4, 1), "x", "x", size=1, alpha=0.5),
    Case(
        "layer_norm",
        "default axis",
        {"x": normal("x of layer_norm", (3, 4)), "scale": normal("scale", (4,)), "shift": normal("shift", (4,))},
        ("x", "scale", "shift"),
    ),
    Case(
        "layer_norm",
        "axis 1",
        {"x": normal("x of it", (2, 3, 4)), "scale": normal("its scale", (3, 4)), "shift": normal("its shift", (3, 4))},
        ("x", "scale", "shift"),
        {"axis": 1, "epsilon": 0.1},
    ),
)

FAMILIES: Mapping[str, tuple[Case, ...]] = {
    "convolution": CONVOLUTION,
    "pooling": POOLING,
    "activation": ACTIVATION,
    "reduction": REDUCTION,
    "loss": LOSS,
    "normalization": NORMALIZATION,
}
CASES = tuple(case for cases in FAMILIES.values() for case in cases)


def cases_of(*operations: str) -> tuple[Case, ...]:
    return tuple(case for case in CASES if case.operation in operations)
