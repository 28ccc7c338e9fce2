"""Writes the golden files with PyTorch 2.13, in float64. Made once, with
`python -m tests.golden.make_golden`.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from tests.golden.cases import FAMILIES, FOLDER, Case, normal
from tests.golden.notes_cnn_batches import LEARNING_RATE, weights_and_batches

Array = NDArray[Any]
Torch = torch.Tensor


def pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


def pad_same(x: Torch, spans: tuple[int, int], strides: tuple[int, int], value: float) -> Torch:
    """TensorFlow's "same", which PyTorch lacks for strides: ceil(size / stride) windows, the odd row at the end."""
    pads: list[int] = []
    for size, span, stride in zip(x.shape[2:], spans, strides, strict=True):
        total = max((-(-size // stride) - 1) * stride + span - size, 0)
        pads = [total // 2, total - total // 2, *pads]
    return functional.pad(x, pads, value=value)


def conv2d(x: Torch, k: Torch, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1) -> Torch:
    if padding == "same" and stride != 1:
        (dh, dw), (kh, kw) = pair(dilation), k.shape[2:]
        x = pad_same(x, (dh * (kh - 1) + 1, dw * (kw - 1) + 1), pair(stride), 0.0)
        padding = 0
    return functional.conv2d(x, k, None, stride, padding, dilation, groups)


def conv_transpose2d(x: Torch, k: Torch, output_size: list[int] | None = None, **settings: Any) -> Torch:
    if output_size is not None:
        smallest = functional.conv_transpose2d(x, k, **settings).shape[2:]
        settings["output_padding"] = [wanted - least for wanted, least in zip(output_size, smallest, strict=True)]
    return functional.conv_transpose2d(x, k, **settings)


def pool(function: Callable[..., Torch], outside: float) -> Callable[..., Torch]:
    def pool2d(x: Torch, window: Any, stride: Any = None, padding: Any = 0) -> Torch:
        if padding == "same":
            x = pad_same(x, pair(window), pair(stride or window), outside)
        return function(x, window, stride, 0 if isinstance(padding, str) else padding)

    return pool2d


def axes_of(x: Torch, axis: int | tuple[int, ...] | None) -> tuple[int, ...]:
    if axis is None:
        return tuple(range(x.ndim))
    return (axis,) if isinstance(axis, int) else axis


def reduce(function: Callable[..., Torch]) -> Callable[..., Torch]:
    return lambda x, axis=None, keepdims=False: function(x, dim=axes_of(x, axis), keepdim=keepdims)


def standardize(x: Torch, axis: int | tuple[int, ...] = -1, epsilon: float = 1e-5) -> Torch:
    """Written out, as PyTorch has it only within its normalizations."""
    mean = x.mean(dim=axis, keepdim=True)
    return (x - mean) / torch.sqrt(x.var(dim=axis, keepdim=True, correction=0) + epsilon)


def batch_norm(
    x: Torch,
    scale: Torch,
    shift: Torch,
    mean: Torch,
    variance: Torch,
    epsilon: float = 1e-5,
    training: bool = False,
) -> Torch:
    return functional.batch_norm(x, mean.clone(), variance.clone(), scale, shift, training, 0.1, epsilon)


def running(place: int) -> Callable[..., Torch]:
    """PyTorch's running mean (0) or variance (1) after a batch."""

    def after(old: Torch, x: Torch, momentum: float = 0.1) -> Torch:
        statistics = [old.clone(), old.clone()]
        functional.batch_norm(x, *statistics, training=True, momentum=momentum)
        return statistics[place]

    return after


FUNCTIONS: dict[str, Callable[..., Torch]] = {
    "conv2d": conv2d,
    "conv_transpose2d": conv_transpose2d,
    "avg_pool2d": pool(functional.avg_pool2d, 0.0),
    "max_pool2d": pool(functional.max_pool2d, -torch.inf),
    "global_avg_pool2d": lambda x: functional.adaptive_avg_pool2d(x, 1).flatten(1),
    "relu": functional.relu,
    "leaky_relu": lambda x, slope=0.01: functional.leaky_relu(x, slope),
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    # PyTorch's default threshold of 20 rounds softplus(x) to x from there on
    "softplus": lambda x: functional.softplus(x, threshold=500),
    "gelu": functional.gelu,
    "softmax": lambda x, axis=-1: torch.softmax(x, axis),
    "log_softmax": lambda x, axis=-1: torch.log_softmax(x, axis),
    "sum": reduce(torch.sum),
    "mean": reduce(torch.mean),
    "max": reduce(torch.amax),
    "min": reduce(torch.amin),
    "logsumexp": reduce(torch.logsumexp),
    "bce": functional.binary_cross_entropy,
    "bce_with_logits": functional.binary_cross_entropy_with_logits,
    "cross_entropy": functional.cross_entropy,
    "mse": functional.mse_loss,
    "variance": lambda x, axis=None, keepdims=False, correction=0: x.var(
        dim=axes_of(x, axis), keepdim=keepdims, correction=correction
    ),
    "standardize": standardize,
    "batch_norm": batch_norm,
    "running_mean": running(0),
    "running_variance": running(1),
    "layer_norm": lambda x, scale, shift, axis=-1, epsilon=1e-5: functional.layer_norm(
        x, x.shape[axis:], scale, shift, epsilon
    ),
    "group_norm": lambda x, scale, shift, groups, epsilon=1e-5: functional.group_norm(x, groups, scale, shift, epsilon),
    "instance_norm": lambda x, scale, shift, epsilon=1e-5: functional.instance_norm(
        x, weight=scale, bias=shift, eps=epsilon
    ),
    "local_response_norm": lambda x, size, alpha=1e-4, beta=0.75, bias=1.0: functional.local_response_norm(
        x, size, alpha, beta, bias
    ),
}


def record(case: Case) -> dict[str, Array]:
    """The case's inputs and cotangent, PyTorch's value, and PyTorch's gradient "dx" for each wanted input x."""
    tensors = {name: torch.tensor(array) for name, array in case.inputs.items()}
    wanted = [tensors[name].requires_grad_() for name in case.wrt]
    value = FUNCTIONS[case.operation](*tensors.values(), **case.attributes)
    cotangent = np.asarray(normal(f"cotangent of {case.name}", value.shape))
    gradients = torch.autograd.grad(value, wanted, torch.tensor(cotangent)) if wanted else ()
    return {
        **case.inputs,
        "cotangent": cotangent,
        "value": value.detach().numpy(),
        **{f"d{name}": gradient.numpy() for name, gradient in zip(case.wrt, gradients, strict=True)},
    }


def notes_cnn_cost(weights: dict[str, Torch], images: Torch, labels: Torch) -> Torch:
    """The forward equations F1 to F10 of the notes."""
    z1 = functional.conv2d(images, weights["K1"], padding=1) + weights["B1"]
    p1 = functional.avg_pool2d(functional.relu(z1), 2)
    z2 = functional.conv2d(p1, weights["K2"], padding=1) + weights["B2"]
    p2 = functional.max_pool2d(functional.relu(z2), 2)
    z3 = p2.flatten(1) @ weights["W3"] + weights["B3"]
    return functional.binary_cross_entropy(torch.sigmoid(z3), labels)


def notes_cnn_losses() -> Array:
    """The cost at each step of plain gradient descent."""
    arrays, batches = weights_and_batches()
    weights = {name: torch.tensor(array, requires_grad=True) for name, array in arrays.items()}
    losses = []
    for images, labels in batches:
        cost = notes_cnn_cost(weights, torch.from_numpy(images), torch.from_numpy(labels))
        gradients = torch.autograd.grad(cost, list(weights.values()))
        with torch.no_grad():
            for weight, gradient in zip(weights.values(), gradients, strict=True):
                weight -= LEARNING_RATE * gradient
        losses.append(cost.item())
    return np.array(losses)


def main() -> None:
    for family, cases in FAMILIES.items():
        arrays = {f"{case.name}/{key}": array for case in cases for key, array in record(case).items()}
        np.savez_compressed(FOLDER / f"{family}.npz", **arrays)
    weights, batches = weights_and_batches()
    last_labels = batches[-1][1]
    np.savez_compressed(FOLDER / "notes_cnn.npz", **weights, last_labels=last_labels, losses=notes_cnn_losses())


if __name__ == "__main__":
    main()
