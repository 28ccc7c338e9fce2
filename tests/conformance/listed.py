"""Problems on which an engine was once found to differ, each the smallest of its kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import tinygraph as tg

from .problem import Problem

Build = Callable[..., Sequence[Any]]


@dataclass(frozen=True)
class Listed:
    """Inputs, the number of samples, and what is computed."""

    inputs: tuple[np.ndarray, ...]
    build: Build
    batch: int | None = None


def with_gradient(loss: Callable[..., Any]) -> Build:
    """Return a function that records a loss and its gradient for the first input."""

    def build(x: Any, *others: Any) -> list[Any]:
        y = loss(x, *others)
        return [y, *tg.grad(y.sum(), [x])]

    return build


def array(value: Any, dtype: str = "float32") -> np.ndarray:
    return np.array(value, dtype)


NORMAL = np.random.default_rng(0).standard_normal((7, 3, 4, 5)).astype("float32")
PIXELS = array([[[[np.inf], [0]]]])
ONE = np.ones((1, 1, 1, 1), "float32")

LISTED: dict[str, Listed] = {
    "labels of 8 bits, 300 classes": Listed(
        (np.zeros((4, 300), "float32"), np.zeros(4, "uint8")), with_gradient(tg.cross_entropy), 4
    ),
    "one-hot rows of labels of 8 bits": Listed((np.arange(5, dtype="int8"),), lambda y: [tg.one_hot(y, 300)], 5),
    "large logits": Listed((array([[1e8, 1e8]]), array([0], "int64")), with_gradient(tg.cross_entropy), 1),
    "logits of ten thousand": Listed(
        (array([[1e4, 1e4]] * 4), array([0] * 4, "int64")), with_gradient(tg.cross_entropy), 4
    ),
    "an infinite pixel": Listed((PIXELS, ONE), lambda x, k: [tg.where(tg.conv2d(x, k) >= 0, 1, 0)], 1),
    "a pixel that is not a number": Listed(
        (array([[[[np.nan], [0]]]]), ONE), lambda x, k: [tg.isnan(tg.conv2d(x, k))], 1
    ),
    "a mask between slices": Listed((NORMAL,), lambda x: [tg.relu(x)[:, np.array([True, False, True]), :, 0]], 7),
    "a list between slices": Listed((NORMAL,), lambda x: [tg.relu(x)[:, [0, 2], :, 0]], 7),
    "a mask on channels": Listed((NORMAL,), with_gradient(lambda x: tg.relu(x)[:, np.array([True, False, True])]), 7),
    "sigmoid in half precision": Listed((array([-12, 12, -17, 0], "float16"),), lambda x: [tg.sigmoid(x)], 4),
    "sigmoid of subnormal results": Listed((array([-89, -100, -104]),), lambda x: [tg.sigmoid(x), tg.silu(x)], 3),
    "a loss in half precision": Listed(
        (np.full((7, 4), 200, "float16"), np.zeros((7, 4), "float16")), with_gradient(tg.mse), 7
    ),
    "the mean of the batch": Listed((NORMAL,), lambda x: [x - tg.mean(x, axis=0), tg.mean(x, axis=0)], 7),
    "truth values, standardized": Listed((NORMAL > 0,), lambda x: [tg.standardize(x), tg.variance(x, axis=1)], 7),
    "an empty batch": Listed((NORMAL[:0],), with_gradient(lambda x: tg.max_pool2d(tg.relu(x), 2)), None),
}


def problems() -> Iterator[Problem]:
    """Yield the problems of the list."""
    for name, listed in LISTED.items():
        yield Problem(
            f"listed: {name}", lambda leaves, f=listed.build: f(*leaves), listed.inputs, listed.batch, exact=True
        )
