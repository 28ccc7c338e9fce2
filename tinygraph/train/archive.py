"""Read arrays from ``.npz`` and ``.npy`` files. Files are not trusted: sizes are checked before memory is allocated."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import numpy as np
from numpy.lib import format as npy

from tinygraph.errors import DataError, listing
from tinygraph.files import as_path, open_plain
from tinygraph.graph import MOST_AXES, Array, opening
from tinygraph.train.feeds import check_finite
from tinygraph.train.lazy import Lazy, lazily
from tinygraph.train.source import Source

if TYPE_CHECKING:
    from tinygraph.model import Model

_ARCHIVE, _SINGLE = b"PK", b"\x93NUMPY"
_LABELLED = "; with labels, a folder has x.npy and y.npy, or an .npz file x and y (numpy.savez(path, x=..., y=...))"
# The compressions of numpy.savez and numpy.savez_compressed; other decoders may allocate gigabytes at once.
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_HEADERS: dict[tuple[int, int], Any] = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def read_arrays(path: str | PathLike[str], names: Sequence[str] = ("x",)) -> dict[str, Any]:
    """Return the arrays of a ``.npz`` file, or of the ``.npy`` files in a folder, by name: ``x``, and others such as ``y``.

    The arrays called ``names``, those of the inputs of a model that has several, must be there. They, ``y``, and arrays with
    one of these names and ``_test`` have the samples in their first axis and hold finite values of any dtype. Pickled
    objects, which could run code, are refused. Large ``.npy`` files are not read yet but returned as ``Lazy``. Raises
    ``DataError``, which names the file, the array and the index.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "mine.npz")
    >>> np.savez(path, x=np.zeros((3, 2)))
    >>> {name: array.shape for name, array in read_arrays(path).items()}
    {'x': (3, 2)}
    """
    arrays = _arrays(as_path(path))
    _require(path, arrays, names)
    _check(path, arrays, (*names, "y"))
    return arrays


def read_archive(path: Path, model: Model | None) -> Source:
    """Return the samples and labels of a ``.npz`` file, or of the ``.npy`` files in a folder.

    They are called ``x`` and ``y``, or as the model's inputs, and of several inputs they are dicts. An input without a batch
    axis may have one array for both parts. ``classes`` are the names of the classes. Raises ``DataError``.
    """
    arrays = _arrays(path)
    inputs = [("x",), ("y",)] if model is None else [model.features, model.labels]
    features, labels = (_names(arrays, *given) for given in zip(inputs, ("x", "y"), strict=True))
    _require(path, arrays, features)
    unlabelled = ""
    try:
        _require(path, arrays, labels)
    except DataError as error:
        unlabelled, labels = f"{path}: a single array{_LABELLED}" if path.suffix == ".npy" else str(error), ()
    own = zip((*features, *labels), (*inputs[0], *inputs[1]), strict=False)
    whole = {name for name, given in own if model is not None and not model.inputs[given].batched}
    names = [name for name in (*features, *labels) if name not in whole]
    _check(path, arrays, names)

    def part(end: str) -> tuple[Any, Any]:
        found = {name: arrays[name + end] for name in names}
        for name in whole:
            table, count = arrays.get(name + end, arrays[name]), len(arrays[names[0] + end]) if names else 1
            found[name] = Lazy.of(np.broadcast_to(table, (count, *table.shape)))
        x, y = ({name: found[name] for name in given} for given in (features, labels))
        return x if len(x) > 1 else x[features[0]], y if len(y) > 1 else next(iter(y.values()), None)

    tests = [f"{name}_test" for name in names]
    tested = [name for name in tests if name in arrays]
    if tested and tested != tests:
        raise DataError(f"{path}: {listing(tests)} go together; it has {listing(arrays)}")
    called = np.asarray(arrays.get("classes", np.empty(0, "U1")))
    classes = tuple(map(str, called.flat))
    if called.dtype.kind not in "Uiu" or called.ndim != 1 or len({*classes}) < len(classes):
        raise DataError(f"{path}: classes must hold different names, as np.array(['cat', 'dog'])")
    split = "its own test arrays" if tested else ""
    return Source([part(""), *([part("_test")] if tested else [])], classes, split, unlabelled=unlabelled)


def _names(arrays: Mapping[str, Any], inputs: Sequence[str], one: str) -> tuple[str, ...]:
    """Return the names that a model's inputs have in a file: their own if there are several, else ``one`` or its own."""
    return tuple(inputs) if len(inputs) > 1 or (one not in arrays and arrays.keys() & set(inputs)) else (one,)


def _require(path: str | PathLike[str], arrays: Mapping[str, Any], names: Sequence[str]) -> None:
    missing = [name for name in names if name not in arrays]
    if missing:
        subject, verb = ("an array", "is") if len(missing) == 1 else ("arrays", "are")
        found = f"the {'folder' if os.path.isdir(path) else 'file'} has {listing(arrays)}"
        raise DataError(f"{path}: {subject} called {listing(missing)} {verb} missing; {found}")


def _check(path: str | PathLike[str], arrays: Mapping[str, Any], names: Sequence[str]) -> None:
    """Refuse arrays without samples, and values that are not finite."""
    for name in (*names, *(f"{name}_test" for name in names)):
        array = arrays.get(name)
        if array is not None and not array.shape:
            raise DataError(f"{path}: {name} is a single number; expected an array with the samples in its first axis")
        if isinstance(array, np.ndarray) and array.dtype.kind in "fc":
            check_finite(f"{path}: {name}", array)


def _arrays(path: Path) -> dict[str, Any]:
    if path.suffix == ".npy" and path.is_file():
        return {"x": _mapped(path)}
    return {file.stem: _mapped(file) for file in sorted(path.glob("*.npy"))} if path.is_dir() else unpacked(path)


def _mapped(path: Path) -> Any:
    """Return the array of a ``.npy`` file, as ``Lazy`` if it is large."""
    try:
        with open_plain(path) as file:
            shape, in_columns, dtype = _header(file)
            check_claim("an array", shape, dtype, os.fstat(file.fileno()).st_size - file.tell())
            order: Literal["C", "F"] = "F" if in_columns else "C"
            empty = 0 in shape or not dtype.itemsize
            return np.empty(shape, dtype) if empty else lazily(np.memmap(file, dtype, "r", file.tell(), shape, order))
    except Exception as error:  # NumPy raises many classes of errors for damaged headers.
        raise DataError(f"{path}: cannot be read as an .npy file ({reason(error)})") from None


def check_claim(what: str, shape: tuple[int, ...], dtype: np.dtype[Any], held: int) -> None:
    """Raise ``ValueError`` unless an array that a file claims to hold takes as many bytes as there are."""
    if dtype.hasobject:
        raise ValueError("it holds Python objects; expected arrays of numbers")
    size = math.prod(shape) * dtype.itemsize
    if size != held:
        raise ValueError(f"{what} of shape {shape} needs {size:,} bytes and holds {held:,}")


def unpacked(path: Path) -> dict[str, Array]:
    """Return the arrays of a ``.npz`` file by name; other files in it are ignored. Raises ``DataError``."""
    try:
        with open_plain(path) as file, opening(os.fstat(file.fileno()).st_size) as budget:
            start = file.read(len(_SINGLE))
            file.seek(0)
            if start.startswith(_ARCHIVE):
                with zipfile.ZipFile(file) as archive:
                    members = [m for m in archive.infolist() if m.filename.endswith(".npy")]
                    budget.spend("bytes of values", sum(member.file_size for member in members))
                    return {m.filename.removesuffix(".npy"): _array(archive, m) for m in members}
    except Exception as error:  # NumPy, zipfile and zlib raise almost anything for damaged and hostile files.
        raise DataError(f"{path}: cannot be read as an .npz file ({reason(error)})") from None
    if start == _SINGLE:
        raise DataError(f"{path}: a single array{_LABELLED}")
    found = "is not an archive of arrays, as numpy.savez(path, x=..., y=...) writes them" if start else "is empty"
    raise DataError(f"{path}: cannot be read as an .npz file (it {found})")


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Array:
    """Return an array. Its header must claim exactly the bytes that follow it."""
    if member.compress_type not in _COMPRESSIONS:
        raise ValueError(f"{member.filename!r} is compressed in a way that numpy.savez does not use")
    with archive.open(member) as stream:
        try:
            shape, in_columns, dtype = _header(stream)  # type: ignore[arg-type]
        except (zipfile.BadZipFile, OSError, RuntimeError):
            raise
        except Exception as error:  # The header is a Python expression: NumPy raises many classes of errors for it.
            raise ValueError(f"{member.filename!r} has a damaged header: {reason(error)}") from None
        check_claim(repr(member.filename), shape, dtype, member.file_size - stream.tell())
        data = stream.read()
    flat = np.frombuffer(bytearray(data), dtype) if data else np.empty(math.prod(shape), dtype)
    return flat.reshape(shape, order="F" if in_columns else "C")


def _header(stream: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = npy.read_magic(stream)
    if version not in _HEADERS:
        raise ValueError(f"version {version} of the format is not supported")
    shape, in_columns, dtype = _HEADERS[version](stream)
    if len(shape) > MOST_AXES or any(isinstance(size, bool) or not 0 <= size < 2**63 for size in shape):
        raise ValueError(f"there are no arrays of shape {shape}")
    return shape, in_columns, dtype


def reason(error: Exception) -> str:
    """Return why a file cannot be read, in the words of the library or of the system."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
