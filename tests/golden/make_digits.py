"""Writes tinygraph/train/digits.npz from scikit-learn's copy of the UCI digits, and compares what was written with it.

Made once, from the folder `tests`, with `python -m golden.make_digits`; needs scikit-learn, which nothing else here does.
"""

from pathlib import Path
from typing import Any

import numpy as np

FILE = Path(__file__).resolve().parents[2] / "tinygraph" / "train" / "digits.npz"


def compare(written: Any, images: Any, target: Any) -> None:
    assert written["x"].shape == (1797, 8, 8)
    assert written["x"].dtype == written["y"].dtype == np.uint8
    np.testing.assert_array_equal(written["x"], images)
    np.testing.assert_array_equal(written["y"], target)


def main() -> None:
    from sklearn.datasets import load_digits

    digits = load_digits()
    np.savez_compressed(FILE, x=digits.images.astype(np.uint8), y=digits.target.astype(np.uint8))
    with np.load(FILE) as written:
        compare(written, digits.images, digits.target)
    print(f"{FILE.name}: {FILE.stat().st_size} bytes, equal to scikit-learn's")


if __name__ == "__main__":
    main()
