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
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

import numpy as np

from tinygraph.errors import DataError, UnknownNameError, listing, nearest
from tinygraph.graph.arrays import Array
from tinygraph.train.feeds import check_finite, feeds_of

if TYPE_CHECKING:
    from tinygraph.model import Model

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

    With ``model``, the data are checked against it, those of a file as they stand there: messages name the file's own
    arrays and places. Raises ``UnknownNameError`` and ``DataError``.

    >>> digits = load_data("digits")
    >>> digits.train[0].shape, digits.test[0].shape, digits.train[1][:4]
    ((1438, 1, 8, 8), (359, 1, 8, 8), array([0, 1, 2, 3]))
    """
    if not isinstance(source, (str, PathLike)):
        raise DataError(f"load_data takes the name of a data set or the path of an .npz file; found {source!r}")
    name = str(fspath(source))
    if name in BUILT_IN:
        data = BUILT_IN[name](name)
        if model is not None:
            check_data(model, *data.train)
        return data
    if name.endswith(".npz") or Path(name).is_file():
        return _from_file(Path(name), model)
    raise UnknownNameError(
        f"no data set is called {name!r}{nearest(name, BUILT_IN)} "
        f"(built in are {listing(BUILT_IN)}; anything else is the path of an .npz file)"
    )


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


def read_arrays(path: str | PathLike[str]) -> dict[str, Array]:
    """Return the arrays of a ``.npz`` file by name: ``x``, and whatever else it holds, such as ``y``.

    ``x``, ``y``, ``x_test`` and ``y_test`` have the samples in their first axis and hold finite values of any dtype;
    only ``x`` must be there. The file is closed again. Pickled objects, which could run code, are refused. Raises
    ``DataError``, which names the file, the array and the place.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "mine.npz")
    >>> np.savez(path, x=np.zeros((3, 2)))
    >>> {name: array.shape for name, array in read_arrays(path).items()}
    {'x': (3, 2)}
    """
    arrays = _unpacked(Path(path))
    if "x" not in arrays:
        raise DataError(f"{path}: an array called 'x' is missing; the file has {listing(arrays)}")
    for name in ("x", "y", "x_test", "y_test"):
        if name in arrays:
            _check_array(f"{path}: {name}", arrays[name])
    return arrays


def _check_array(what: str, array: Array) -> None:
    if not array.ndim:
        raise DataError(f"{what} is a single number; expected an array with the samples in its first axis")
    if array.dtype.kind in "fc":
        check_finite(what, array)


def _from_file(path: Path, model: Model | None) -> Data:
    arrays = read_arrays(path)
    if "y" not in arrays:
        raise DataError(f"{path}: an array called 'y' is missing; the file has {listing(arrays)}")
    if ("x_test" in arrays) != ("y_test" in arrays):
        raise DataError(f"{path}: 'x_test' and 'y_test' go together; the file has {listing(arrays)}")
    pairs = [(x, y) for x, y in (("x", "y"), ("x_test", "y_test")) if x in arrays]
    # Before every fifth sample goes its own way: what is wrong is reported where it stands in the file.
    for x, y in pairs:
        if len(arrays[x]) != len(arrays[y]):
            raise DataError(f"{path}: {x} has {len(arrays[x])} samples and {y} has {len(arrays[y])}")
        if model is not None:
            try:
                feeds_of(model, arrays[x], arrays[y], (x, y))
            except DataError as error:
                raise DataError(f"{path}: {error}") from None
    samples, *own_test = [(arrays[x], arrays[y]) for x, y in pairs]
    train, test = (samples, own_test[0]) if own_test else part(*samples)
    return Data(path.stem, train, test, f"from {path.name}")


# What NumPy, zipfile and zlib raise for damaged, encrypted or foreign files.
_UNREADABLE = (OSError, ValueError, EOFError, KeyError, RuntimeError, struct.error, zipfile.BadZipFile, zlib.error)
_ARCHIVE, _SINGLE = b"PK", b"\x93NUMPY"


def _unpacked(path: Path) -> dict[str, Array]:
    try:
        with path.open("rb") as file:
            start = file.read(len(_SINGLE))
            file.seek(0)
            if start.startswith(_ARCHIVE):
                return _members(file)
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file") from None
    except _UNREADABLE as error:
        raise DataError(f"{path}: cannot be read as an .npz file ({_reason(error)})") from None
    if start == _SINGLE:
        raise DataError(f"{path}: a single array; expected an .npz file with x and y (numpy.savez(path, x=..., y=...))")
    found = "is no archive of arrays, as numpy.savez(path, x=..., y=...) writes them" if start else "is empty"
    raise DataError(f"{path}: cannot be read as an .npz file (it {found})")


def _members(file: BinaryIO) -> dict[str, Array]:
    """Return the arrays of an open archive; other files in it are passed over."""
    with np.load(file, allow_pickle=False) as archive:
        members = {name: archive[name] for name in archive.files}
    return {name: array for name, array in members.items() if isinstance(array, np.ndarray)}


def _reason(error: Exception) -> str:
    # NumPy would advise to load objects all the same, which runs whatever code the file's author wrote.
    if "allow_pickle" in str(error):
        return "it holds Python objects; expected arrays of numbers"
    return getattr(error, "strerror", None) or str(error)
