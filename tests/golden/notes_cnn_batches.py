"""Initial weights and batches of the golden training run of the notes' CNN, from one seed, in float64."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SEED = 0
STEPS = 100
BATCH_SIZE = 32
LEARNING_RATE = 0.1

WEIGHT_SHAPES: dict[str, tuple[int, ...]] = {
    "K1": (8, 1, 3, 3),
    "B1": (8, 1, 1),
    "K2": (16, 8, 3, 3),
    "B2": (16, 1, 1),
    "W3": (64, 1),
    "B3": (1,),
}
FAN_IN = {"K1": 9, "K2": 72, "W3": 64}


def initial_weight(generator: np.random.Generator, name: str) -> Array:
    """Biases are zero, kernels and weights normal with variance 2 / fan-in."""
    shape = WEIGHT_SHAPES[name]
    if name not in FAN_IN:
        return np.zeros(shape)
    return generator.standard_normal(shape) * np.sqrt(2 / FAN_IN[name])


def batch(generator: np.random.Generator) -> tuple[Array, Array]:
    """Images (32, 1, 8, 8) with pixels in [0, 1), and labels 0 or 1 of shape (32, 1)."""
    images = generator.random((BATCH_SIZE, 1, 8, 8))
    labels = generator.integers(0, 2, (BATCH_SIZE, 1)).astype(np.float64)
    return images, labels


def weights_and_batches() -> tuple[dict[str, Array], list[tuple[Array, Array]]]:
    """The initial weights by name, and one (images, labels) for each step."""
    generator = np.random.default_rng(SEED)
    weights = {name: initial_weight(generator, name) for name in WEIGHT_SHAPES}
    return weights, [batch(generator) for _ in range(STEPS)]
