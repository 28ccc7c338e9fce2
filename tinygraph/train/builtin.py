"""The data sets that the package contains."""

import functools
from collections.abc import Callable, Mapping
from importlib import resources

import numpy as np

from tinygraph.graph import Array
from tinygraph.train.source import Source


@functools.cache
def _digits() -> tuple[Array, Array]:
    with (resources.files("tinygraph.train") / "digits.npz").open("rb") as file, np.load(file) as arrays:
        return arrays["x"], arrays["y"]


def _built_in_digits(name: str) -> Source:
    pixels, digits = _digits()
    x = pixels[:, np.newaxis].astype(np.float32) / 16
    if name.startswith("digits28"):
        x = np.pad(x.repeat(3, axis=2).repeat(3, axis=3), [(0, 0), (0, 0), (2, 2), (2, 2)])
    odd = name.endswith("_odd")
    y = (digits[:, np.newaxis] % 2).astype(np.float32) if odd else digits.astype(np.int64)
    question = "is it odd?" if odd else "which digit is it?"
    description = f"Handwritten digits, {x.shape[2]} by {x.shape[3]} (UCI, CC BY 4.0): {question}"
    # The images for the test are the same for both labels.
    return Source([(x, y)], description=description, strata=digits)


def _built_in_xor(name: str) -> Source:
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=np.float32)
    y = np.array([[0], [1], [1], [0]], dtype=np.float32)
    return Source([(x, y)], description="Exclusive or: is exactly one of two bits set?")


BUILT_IN: Mapping[str, Callable[[str], Source]] = {
    **dict.fromkeys(("digits", "digits_odd", "digits28", "digits28_odd"), _built_in_digits),
    "xor": _built_in_xor,
}
