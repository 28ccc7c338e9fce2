"""Data: samples and labels to train and test on, built in or from a file, and the check that a model can use them."""

from __future__ import annotations

import functools
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tinygraph.errors import DataError, UnknownNameError, listing, nearest
from tinygraph.train.feeds import feeds_of

if TYPE_CHECKING:
    from tinygraph.model import Model

Array: TypeAlias = npt.NDArray[Any]
Part: TypeAlias = tuple[Any, Any]


@dataclass(frozen=True)
class Data:
    """Samples and labels, divided in two: ``train`` and ``test``, each a pair ``(x, y)``; ``test`` may be ``None``.

    The first axis of ``x`` and of ``y`` counts the samples. For a model of several inputs ``x`` (or ``y``) is a dict
    of arrays by the inputs' names. Nothing is checked here; see ``check_data``.

    >>> data = Data("mine", train=(np.zeros((3, 2)), np.array([0, 1, 1])), test=None)
    >>> data.name, data.train[0].shape
    ('mine', (3, 2))
    """

    name: str
    train: Part
    test: Part | None = None
    description: str = ""


def load_data(source: str | PathLike[str], model: Model | None = None) -> Data:
    """Return a built-in data set by its name, or one from a ``.npz`` file by its path.

    Built in: ``digits``, 1,797 handwritten digits, ``x`` float32 (N, 1, 8, 8) in 0 to 1 (black pixels in a block of 4
    by 4, divided by 16), ``y`` int64 (N,), 0 to 9; ``digits_odd``, the same with ``y`` float32 (N, 1), 1 for odd;
    ``digits28`` and ``digits28_odd``, each pixel repeated 3 by 3 within a border of 2, (N, 1, 28, 28); ``xor``, ``x``
    float32 (4, 2), ``y`` (4, 1), to train and to test on. Source of the digits: E. Alpaydin and C. Kaynak, *Optical
    Recognition of Handwritten Digits*, UCI Machine Learning Repository, 1998, doi 10.24432/C50P49, CC BY 4.0.

    A file holds ``x`` and ``y``, and ``x_test`` and ``y_test`` if it has a test set. Otherwise every fifth sample
    (index 4, 9, 14, ...) is the test set, as in the digits (1,438 and 359); fewer than five samples are trained and
    tested on alike.

    With ``model``, the data are checked against it. Raises ``UnknownNameError`` and ``DataError``.

    >>> digits = load_data("digits")
    >>> digits.train[0].shape, digits.test[0].shape, digits.train[1][:4]
    ((1438, 1, 8, 8), (359, 1, 8, 8), array([0, 1, 2, 3]))
    """
    name = fspath(source)
    if name in BUILT_IN:
        data = BUILT_IN[name](name)
    elif name.endswith(".npz") or Path(name).is_file():
        data = _from_file(Path(name))
    else:
        raise UnknownNameError(
            f"no data set is called {name!r}{nearest(name, BUILT_IN)} "
            f"(built in are {listing(BUILT_IN)}; anything else is the path of an .npz file)"
        )
    if model is not None:
        check_data(model, *data.train)
        if data.test is not None:
            check_data(model, *data.test)
    return data


def check_data(model: Model, x: Any, y: Any = None) -> None:
    """Raise ``DataError`` unless ``model`` can be trained and evaluated on samples ``x`` and labels ``y``.

    Refused are empty data, values that are not finite, other shapes than the model's inputs declare (``x`` and ``y``
    have the samples in the first axis), different numbers of samples, labels outside 0 to 1 for ``bce``, and class
    numbers out of range for ``cross_entropy``. Nothing is reshaped. For several inputs ``x`` is a dict of arrays by
    name; ``y`` is ignored by a model whose loss takes no labels.

    >>> import tinygraph as tg
    >>> from tinygraph.model import load_model
    >>> check_data(load_model("xor"), np.zeros((4, 3)), np.zeros((4, 1)))
    Traceback (most recent call last):
    tinygraph.errors.DataError: x has shape (4, 3); the model's input 'x' expects (4, 2), one row for each sample
    """
    feeds_of(model, x, y)


def part(x: Array, y: Array) -> tuple[Part, Part]:
    """Return samples and labels as a training and a test part: every fifth sample, from index 4 on, is for the test.

    >>> train, test = part(np.arange(10), np.arange(10))
    >>> train[0], test[0]
    (array([0, 1, 2, 3, 5, 6, 7, 8]), array([4, 9]))
    """
    if len(x) < 5:
        return (x, y), (x, y)
    test = np.arange(len(x)) % 5 == 4
    return (x[~test], y[~test]), (x[test], y[test])


@functools.cache
def _digits() -> tuple[Array, Array]:
    with (resources.files("tinygraph.train") / "digits.npz").open("rb") as file, np.load(file) as arrays:
        return arrays["x"], arrays["y"]


def _built_in_digits(name: str) -> Data:
    pixels, digits = _digits()
    x = pixels[:, np.newaxis].astype(np.float32) / 16
    if name.startswith("digits28"):
        x = np.pad(x.repeat(3, axis=2).repeat(3, axis=3), [(0, 0), (0, 0), (2, 2), (2, 2)])
    odd = name.endswith("_odd")
    y = (digits[:, np.newaxis] % 2).astype(np.float32) if odd else digits.astype(np.int64)
    asked = "is it odd?" if odd else "which digit is it?"
    return Data(name, *part(x, y), f"Handwritten digits, {x.shape[2]} by {x.shape[3]} (UCI, CC BY 4.0): {asked}")


def _built_in_xor(name: str) -> Data:
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=np.float32)
    y = np.array([[0], [1], [1], [0]], dtype=np.float32)
    return Data(name, (x, y), (x.copy(), y.copy()), "Exclusive or: is exactly one of two bits set?")


BUILT_IN: Mapping[str, Callable[[str], Data]] = {
    **dict.fromkeys(("digits", "digits_odd", "digits28", "digits28_odd"), _built_in_digits),
    "xor": _built_in_xor,
}


def _from_file(path: Path) -> Data:
    arrays = _read(path)
    for name in ("x", "y"):
        if name not in arrays:
            raise DataError(f"{path}: an array called {name!r} is missing; the file has {listing(arrays)}")
    if ("x_test" in arrays) != ("y_test" in arrays):
        raise DataError(f"{path}: 'x_test' and 'y_test' go together; the file has {listing(arrays)}")
    for x, y in (("x", "y"), ("x_test", "y_test")):
        if x in arrays and _count(arrays[x]) != _count(arrays[y]):
            raise DataError(f"{path}: {x} has {_count(arrays[x])} samples and {y} has {_count(arrays[y])}")
    if "x_test" in arrays:
        parts = (arrays["x"], arrays["y"]), (arrays["x_test"], arrays["y_test"])
    else:
        parts = part(arrays["x"], arrays["y"])
    return Data(path.stem, *parts, f"from {path.name}")


def _count(array: Array) -> int:
    return len(array) if array.ndim else 0


# What NumPy, zipfile and zlib raise for damaged, encrypted or foreign files.
_UNREADABLE = (OSError, ValueError, EOFError, KeyError, RuntimeError, struct.error, zipfile.BadZipFile, zlib.error)


def _read(path: Path) -> dict[str, Array]:
    """Return the arrays of a ``.npz`` file; pickled objects, which could run code, are refused."""
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if not isinstance(loaded, np.ndarray):
                return {name: loaded[name] for name in loaded.files}
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file") from None
    except _UNREADABLE as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: cannot be read as an .npz file ({reason})") from None
    raise DataError(f"{path}: a single array; expected an .npz file with x and y (numpy.savez(path, x=..., y=...))")
