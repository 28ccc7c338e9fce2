"""The work: three networks, each written once, as a function of whatever operations a peer hands in."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Batch = tuple[Array, Array]
# A function of numbers, given tanh and the numbers; and what finds the gradients of one that was computed.
Expression = Callable[..., Any]
Sweep = Callable[[], list[float]]


class Operations(Protocol):
    """What a peer offers a network: images are NCHW to the caller, whatever they are inside; pools are 2 by 2."""

    def conv(self, x: Any, k: Any, b: Any, padding: int) -> Any: ...
    def relu(self, x: Any) -> Any: ...
    def tanh(self, x: Any) -> Any: ...
    def avg_pool(self, x: Any) -> Any: ...
    def max_pool(self, x: Any) -> Any: ...
    def flatten(self, x: Any) -> Any: ...
    def dense(self, x: Any, W: Any, b: Any) -> Any: ...


@dataclass(frozen=True)
class Workload:
    """A network: its logits, the kind of its loss ("bce" or "cross_entropy"), and the shapes that go in.

    ``model`` is how tinygraph declares the same network: the name of a model file, or the tables of one.
    """

    name: str
    logits: Callable[[Operations, Mapping[str, Any], Any], Any]
    loss: str
    image: tuple[int, int, int]
    shapes: Mapping[str, tuple[int, ...]]
    model: str | Mapping[str, Any]
    learning_rate: float = 0.05

    def parameters(self) -> dict[str, Array]:
        """Return initial values, the same for every peer."""
        rng = np.random.default_rng(1)
        return {name: _initial(rng, shape) for name, shape in self.shapes.items()}

    def batches(self, size: int, count: int) -> list[Batch]:
        """Return batches of random images and labels, the same for every peer."""
        rng = np.random.default_rng(2)
        return [self._batch(rng, size) for _ in range(count)]

    def _batch(self, rng: np.random.Generator, size: int) -> Batch:
        images = rng.random((size, *self.image), dtype=np.float32)
        if self.loss == "bce":
            return images, rng.integers(0, 2, (size, 1)).astype(np.float32)
        return images, rng.integers(0, 10, size)


def _initial(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    if len(shape) == 1:
        return np.zeros(shape, np.float32)
    inputs = shape[0] if len(shape) == 2 else math.prod(shape[1:])
    return (rng.standard_normal(shape, np.float32) * math.sqrt(2 / inputs)).astype(np.float32)


def two_pools(nn: Operations, p: Mapping[str, Any], x: Any) -> Any:
    """The network of the notes: convolution, ReLU and a pool, twice, then one dense layer."""
    h = nn.avg_pool(nn.relu(nn.conv(x, p["K1"], p["B1"], 1)))
    h = nn.max_pool(nn.relu(nn.conv(h, p["K2"], p["B2"], 1)))
    return nn.dense(nn.flatten(h), p["W3"], p["B3"])


def lenet(nn: Operations, p: Mapping[str, Any], x: Any) -> Any:
    """LeNet-5 with average pools and tanh, as ``models/lenet5.toml`` has it."""
    h = nn.avg_pool(nn.tanh(nn.conv(x, p["K1"], p["B1"], 2)))
    h = nn.flatten(nn.avg_pool(nn.tanh(nn.conv(h, p["K3"], p["B3"], 0))))
    h = nn.tanh(nn.dense(h, p["W5"], p["B5"]))
    h = nn.tanh(nn.dense(h, p["W6"], p["B6"]))
    return nn.dense(h, p["W7"], p["B7"])


def _two_pool_shapes(channels: tuple[int, int, int], side: int, outputs: int) -> dict[str, tuple[int, ...]]:
    first, second, third = channels
    return {
        "K1": (second, first, 3, 3),
        "B1": (second,),
        "K2": (third, second, 3, 3),
        "B2": (third,),
        "W3": (third * (side // 4) ** 2, outputs),
        "B3": (outputs,),
    }


WIDE_EQUATIONS = """
Z1 = conv2d(Inp, K1, padding=1) + B1
P1 = avg_pool2d(relu(Z1), 2)
Z2 = conv2d(P1, K2, padding=1) + B2
P2 = max_pool2d(relu(Z2), 2)
Z3 = flatten(P2) @ W3 + B3
a = softmax(Z3)
cost = cross_entropy(Z3, y)
"""

WIDE_TABLES = {
    "inputs": {"Inp": [3, 32, 32], "y": {"shape": [], "dtype": "int64"}},
    "parameters": {
        "K1": {"shape": [32, 3, 3, 3], "init": "he_normal"},
        "B1": {"shape": [32, 1, 1], "init": "zeros"},
        "K2": {"shape": [64, 32, 3, 3], "init": "he_normal"},
        "B2": {"shape": [64, 1, 1], "init": "zeros"},
        "W3": {"shape": [4096, 10], "init": "glorot_uniform"},
        "B3": {"shape": [10], "init": "zeros"},
    },
    "model": {"equations": WIDE_EQUATIONS, "output": "a", "loss": "cost"},
}

LENET_SHAPES = {
    "K1": (6, 1, 5, 5),
    "B1": (6,),
    "K3": (16, 6, 5, 5),
    "B3": (16,),
    "W5": (400, 120),
    "B5": (120,),
    "W6": (120, 84),
    "B6": (84,),
    "W7": (84, 10),
    "B7": (10,),
}


def notes_cnn(side: int) -> Workload:
    """Return the CNN of the notes on images of ``side`` by ``side`` pixels."""
    shapes = _two_pool_shapes((1, 8, 16), side, 1)
    return Workload(f"notes_cnn_{side}", two_pools, "bce", (1, side, side), shapes, "notes_cnn_28")


WORKLOADS = {
    workload.name: workload
    for workload in (
        notes_cnn(28),
        Workload("lenet5", lenet, "cross_entropy", (1, 28, 28), LENET_SHAPES, "lenet5"),
        Workload(
            "wide_cnn",
            two_pools,
            "cross_entropy",
            (3, 32, 32),
            _two_pool_shapes((3, 32, 64), 32, 10),
            WIDE_TABLES,
            learning_rate=0.01,
        ),
    )
}


def find_workload(name: str) -> Workload:
    """Return a workload by its name; ``notes_cnn_`` goes with any side that 4 divides."""
    return WORKLOADS[name] if name in WORKLOADS else notes_cnn(int(name.removeprefix("notes_cnn_")))


# Every network, with the numbers of samples that it is measured on.
CASES = (
    ("notes_cnn_28", 1),
    ("notes_cnn_28", 32),
    ("notes_cnn_28", 256),
    ("lenet5", 32),
    ("lenet5", 256),
    ("wide_cnn", 128),
)
