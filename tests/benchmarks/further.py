"""Work of every kind that nobody tuned for: each network is a text of equations, which tinygraph and PyTorch both run.

A third of the work is set aside: it is measured for the final table only, never while something is made faster.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .contest import Work, contest
from .measure import Measured, Settings
from .process import Site
from .workloads import Array

Shapes = Mapping[str, tuple[int, ...]]
BATCHES, CHECKED_STEPS = 2, 2
LEARNING_RATE = 0.01


@dataclass(frozen=True)
class Network:
    """Equations that end in ``out``, and a loss; shapes of inputs without the batch, and of parameters.

    ``labels`` is the number of classes, or 0 where the loss compares ``out`` with a target ``y`` of its own shape.
    """

    name: str
    equations: str
    x: tuple[int, ...]
    shapes: Shapes
    batch: int = 32
    labels: int = 10
    target: tuple[int, ...] = ()
    set_aside: bool = False
    others: Shapes = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The equations with their loss."""
        return f"{self.equations.strip()}\ncost = {'cross_entropy' if self.labels else 'mse'}(out, y)\n"

    def tables(self) -> dict[str, Any]:
        """Return the arguments of ``tg.Model``."""
        y: Any = {"shape": [], "dtype": "int64"} if self.labels else list(self.target)
        inputs = {"x": list(self.x), **{name: list(shape) for name, shape in self.others.items()}, "y": y}
        parameters = {name: {"shape": list(shape), "init": "zeros"} for name, shape in self.shapes.items()}
        return {"inputs": inputs, "parameters": parameters, "equations": self.text, "output": "out", "loss": "cost"}

    def parameters(self) -> dict[str, Array]:
        """Return initial values, the same for every peer: ones for scales (``g...``), small numbers for biases."""
        rng = np.random.default_rng(1)
        return {name: _initial(rng, name, shape) for name, shape in self.shapes.items()}

    def batches(self, count: int = BATCHES) -> list[dict[str, Array]]:
        """Return random batches by the names of inputs, the same for every peer."""
        rng = np.random.default_rng(2)
        return [self._batch(rng) for _ in range(count)]

    def _batch(self, rng: np.random.Generator) -> dict[str, Array]:
        shapes = {"x": self.x, **self.others} | ({} if self.labels else {"y": self.target})
        batch = {name: rng.standard_normal((self.batch, *shape), np.float32) for name, shape in shapes.items()}
        return batch | ({"y": rng.integers(0, self.labels, self.batch)} if self.labels else {})


def _initial(rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> Array:
    if name.startswith("g"):
        return np.ones(shape, np.float32)
    few = math.prod(shape[1:]) if (len(shape) > 2 and shape[-1] != 1) or len(shape) > 3 else shape[0]
    return (rng.standard_normal(shape, np.float32) / math.sqrt(max(few, 4))).astype(np.float32)


def _dense(sizes: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    pairs = list(itertools.pairwise(sizes))
    return {f"W{i}": pair for i, pair in enumerate(pairs, 1)} | {f"b{i}": pair[1:] for i, pair in enumerate(pairs, 1)}


def _mlp(activation: str, layers: int) -> str:
    lines = [f"h{i} = {activation}({f'h{i - 1}' if i > 1 else 'x'} @ W{i} + b{i})" for i in range(1, layers)]
    return "\n".join([*lines, f"out = h{layers - 1} @ W{layers} + b{layers}"])


def _tall(convolution: str, after: str = "relu(Z)", head: str = "global_avg_pool(C)") -> str:
    """A convolution, what follows it, a pool over the image, and a dense layer. Statistics would take away a bias."""
    bias = "" if "(Z, " in after else " + b"
    return f"Z = {convolution}{bias}\nC = {after}\nf = {head}\nout = flatten(f) @ W + v"


def _heads(channels: int, filters: int, kernel: tuple[int, ...], rank: int = 2, groups: int = 1) -> Shapes:
    return {
        "k": (filters, channels // groups, *kernel),
        "b": (filters, *(1,) * rank),
        "W": (filters, 10),
        "v": (10,),
    }


def _without_bias(shapes: Shapes) -> dict[str, tuple[int, ...]]:
    return {name: shape for name, shape in shapes.items() if name != "b"}


_ATTENTION = """
q = transpose(reshape(x @ Wq, (-1, {t}, {h}, {e})), (0, 2, 1, 3))
k = transpose(reshape(x @ Wk, (-1, {t}, {h}, {e})), (0, 2, 3, 1))
v = transpose(reshape(x @ Wv, (-1, {t}, {h}, {e})), (0, 2, 1, 3))
A = softmax(q @ k * {scale}, axis=-1)
o = reshape(transpose(A @ v, (0, 2, 1, 3)), (-1, {t}, {d})) @ Wo
r = x + o
n = layer_norm(r, g1, s1)
m = gelu(n @ W1 + b1) @ W2 + b2
z = layer_norm(n + m, g2, s2)
out = mean(z, axis=1) @ W3 + b3
"""


def _attention(name: str, steps: int, width: int, heads: int, **options: Any) -> Network:
    square = (width, width)
    shapes: dict[str, tuple[int, ...]] = {"Wq": square, "Wk": square, "Wv": square, "Wo": square}
    shapes |= {"g1": (width,), "s1": (width,), "W1": (width, 4 * width), "b1": (4 * width,)}
    shapes |= {"W2": (4 * width, width), "b2": (width,), "g2": (width,), "s2": (width,), "W3": (width, 10), "b3": (10,)}
    each = width // heads
    text = _ATTENTION.format(t=steps, h=heads, e=each, d=width, scale=round(each**-0.5, 6))
    return Network(name, text, (steps, width), shapes, **options)


def _lstm(name: str, steps: int, inputs: int, hidden: int, **options: Any) -> Network:
    lines = []
    for t in range(steps):
        lines.append(f"z{t} = x[:, {t}] @ Wx + b" + (f" + a{t} @ Wh" if t else ""))
        names = ("sigmoid", "sigmoid", "sigmoid", "tanh")
        add, out, keep, new = (f"{f}(z{t}[:, {i * hidden}:{(i + 1) * hidden}])" for i, f in enumerate(names))
        lines.append(f"c{t + 1} = {add} * {new}" + (f" + {keep} * c{t}" if t else ""))
        lines.append(f"a{t + 1} = {out} * tanh(c{t + 1})")
    shapes = {"Wx": (inputs, 4 * hidden), "Wh": (hidden, 4 * hidden), "b": (4 * hidden,), "W": (hidden, 10), "v": (10,)}
    return Network(name, "\n".join([*lines, f"out = a{steps} @ W + v"]), (steps, inputs), shapes, **options)


_NORM = "gelu(standardize(Z, axis=(0, 2, 3)) * g + s)"
_SEPARABLE = """
D = relu(conv2d(x, k1, padding=1, groups={c}) + b1)
P = relu(conv2d(D, k2) + b2)
E = relu(conv2d(P, k3, padding=1, groups={f}, stride=2) + b3)
Q = relu(conv2d(E, k4) + b4)
out = flatten(global_avg_pool(Q)) @ W + v
"""
_INVERTED = """
E = relu6(conv2d(x, k1) + b1)
D = relu6(conv2d(E, k2, padding=1, groups={e}) + b2)
P = conv2d(D, k3) + b3
R = P + x
out = flatten(global_avg_pool(R)) @ W + v
"""
_UNET = """
A = relu(conv2d(x, k1, padding=1) + b1)
B = relu(conv2d(max_pool2d(A, 2), k2, padding=1) + b2)
U = conv_transpose2d(B, k3, stride=2) + b3
M = relu(conv2d(concatenate([A, U], axis=1), k4, padding=1) + b4)
out = conv2d(M, k5) + b5
"""
_RESIDUAL = """
A = relu(conv2d(x, k1, padding=1) + b1)
B = relu(conv2d(A, k2, padding=1) + b2)
C = relu(A + conv2d(B, k3, padding=1) + b3)
out = flatten(global_avg_pool(C)) @ W + v
"""


def _bias(filters: int) -> tuple[int, int, int]:
    return filters, 1, 1


NETWORKS = (
    _attention("attention and GELU, 32 steps of 64", 32, 64, 4),
    _attention("attention and GELU, 17 steps of 48", 17, 48, 3, batch=8, set_aside=True),
    Network("dense with GELU, 256", _mlp("gelu", 4), (256,), _dense((256, 256, 256, 256, 10)), 64),
    Network("dense with GELU, 100", _mlp("gelu", 3), (100,), _dense((100, 300, 150, 10)), 33, set_aside=True),
    Network("dense, batch 128", _mlp("relu", 4), (784,), _dense((784, 256, 128, 64, 10)), 128),
    Network("dense, batch 1", _mlp("tanh", 4), (64,), _dense((64, 128, 128, 64, 10)), 1),
    Network(
        "dense with leaky ReLU", _mlp("leaky_relu", 4), (300,), _dense((300, 200, 100, 50, 10)), 50, set_aside=True
    ),
    Network("3x3, dilation 2", _tall("conv2d(x, k, padding=2, dilation=2)"), (16, 24, 24), _heads(16, 32, (3, 3))),
    Network(
        "3x3, dilation 3, odd sizes",
        _tall("conv2d(x, k, padding=3, dilation=3)"),
        (6, 29, 31),
        _heads(6, 20, (3, 3)),
        16,
        set_aside=True,
    ),
    Network("3x3, stride 2", _tall("conv2d(x, k, padding=1, stride=2)"), (16, 32, 32), _heads(16, 32, (3, 3))),
    Network("3x3, valid, odd sizes", _tall("conv2d(x, k)"), (8, 27, 25), _heads(8, 24, (3, 3)), set_aside=True),
    Network("5x5", _tall("conv2d(x, k, padding=2)"), (12, 24, 24), _heads(12, 24, (5, 5))),
    Network("1x1", _tall("conv2d(x, k)"), (64, 16, 16), _heads(64, 64, (1, 1))),
    Network(
        "7x7, stride 2, and an overlapping pool",
        _tall("conv2d(x, k, padding=3, stride=2)", "max_pool2d(relu(Z), 3, stride=2, padding=1)"),
        (3, 64, 64),
        _heads(3, 32, (7, 7)),
        16,
    ),
    Network("grouped 3x3", _tall("conv2d(x, k, padding=1, groups=4)"), (32, 20, 20), _heads(32, 32, (3, 3), groups=4)),
    Network(
        "depthwise separable, twice",
        _SEPARABLE.format(c=32, f=64),
        (32, 24, 24),
        {"k1": (32, 1, 3, 3), "b1": _bias(32), "k2": (64, 32, 1, 1), "b2": _bias(64), "k3": (64, 1, 3, 3)}
        | {"b3": _bias(64), "k4": (64, 64, 1, 1), "b4": _bias(64), "W": (64, 10), "v": (10,)},
    ),
    Network(
        "inverted residual",
        _INVERTED.format(e=96),
        (16, 28, 28),
        {"k1": (96, 16, 1, 1), "b1": _bias(96), "k2": (96, 1, 3, 3), "b2": _bias(96), "k3": (16, 96, 1, 1)}
        | {"b3": _bias(16), "W": (16, 10), "v": (10,)},
        16,
        set_aside=True,
    ),
    Network(
        "batch statistics after a convolution",
        _tall("conv2d(x, k, padding=1)", "relu(standardize(Z, axis=(0, 2, 3)) * g + s)"),
        (16, 24, 24),
        _without_bias(_heads(16, 32, (3, 3))) | {"g": _bias(32), "s": _bias(32)},
    ),
    Network(
        "batch statistics and GELU, odd sizes",
        _tall("conv2d(x, k, padding=1)", _NORM),
        (3, 33, 21),
        _without_bias(_heads(3, 18, (3, 3))) | {"g": _bias(18), "s": _bias(18)},
        24,
        set_aside=True,
    ),
    Network(
        "group norm after a convolution",
        _tall("conv2d(x, k, padding=1)", "relu(group_norm(Z, g, s, groups=4))"),
        (8, 24, 24),
        _without_bias(_heads(8, 32, (3, 3))) | {"g": (32,), "s": (32,)},
    ),
    Network("one-dimensional", _tall("conv1d(x, k, padding=2)"), (16, 256), _heads(16, 32, (5,), rank=1)),
    Network(
        "one-dimensional, dilated",
        _tall("conv1d(x, k, padding=4, dilation=4)"),
        (24, 125),
        _heads(24, 24, (3,), rank=1),
    ),
    Network(
        "three-dimensional", _tall("conv3d(x, k, padding=1)"), (4, 12, 16, 16), _heads(4, 16, (3, 3, 3), rank=3), 8
    ),
    Network(
        "tall image, 5x1",
        _tall("conv2d(x, k, padding=(2, 0))"),
        (16, 512, 1),
        _heads(16, 32, (5, 1)),
        16,
        set_aside=True,
    ),
    Network(
        "residual block",
        _RESIDUAL,
        (3, 32, 32),
        {"k1": (24, 3, 3, 3), "b1": _bias(24), "k2": (24, 24, 3, 3), "b2": _bias(24), "k3": (24, 24, 3, 3)}
        | {"b3": _bias(24), "W": (24, 10), "v": (10,)},
        16,
    ),
    Network(
        "U-Net of two levels",
        _UNET,
        (1, 32, 32),
        {"k1": (12, 1, 3, 3), "b1": _bias(12), "k2": (24, 12, 3, 3), "b2": _bias(24), "k3": (24, 12, 2, 2)}
        | {"b3": _bias(12), "k4": (12, 24, 3, 3), "b4": _bias(12), "k5": (1, 12, 1, 1), "b5": _bias(1)},
        16,
        labels=0,
        target=(1, 32, 32),
    ),
    _lstm("LSTM, 12 steps of 64", 12, 32, 64),
    _lstm("LSTM, 7 steps of 40", 7, 20, 40, batch=9, set_aside=True),
)
BY_NAME = {network.name: network for network in NETWORKS}


def train(site: Site, name: str) -> dict[str, Array]:
    """Make training steps of a network the work of a site; return the first losses and how far parameters have moved."""
    network = BY_NAME[name]
    initial = network.parameters()
    step, parameters = site.peer.further_training(network, initial, LEARNING_RATE)
    batches = itertools.cycle(network.batches())
    site.work = lambda: step(next(batches))
    losses = [site.work() for _ in range(CHECKED_STEPS)]
    moved = {f"changes of {n}": array.reshape(initial[n].shape) - initial[n] for n, array in parameters().items()}
    return {"losses": np.array(losses), **moved}


def predict(site: Site, name: str) -> dict[str, Array]:
    """Make predictions of a network the work of a site; return the first ones."""
    network = BY_NAME[name]
    infer = site.peer.further_inference(network, network.parameters())
    batches = itertools.cycle([{n: x for n, x in batch.items() if n != "y"} for batch in network.batches()])
    site.work = lambda: infer(next(batches))
    return {"predictions": site.work()}


def measure_further(settings: Settings) -> Iterator[Measured]:
    """Yield the times of training steps and predictions of all networks that are not set aside."""
    yield from _measure([network.name for network in NETWORKS if not network.set_aside], settings)


def measure_set_aside(settings: Settings) -> Iterator[Measured]:
    """Yield the same of the networks that are set aside."""
    yield from _measure([network.name for network in NETWORKS if network.set_aside], settings)


def _measure(names: list[str], settings: Settings) -> Iterator[Measured]:
    yield from contest("further", (Work(name, train, (name,)) for name in names), settings)
    yield from contest("further_inference", (Work(name, predict, (name,)) for name in names), settings)
