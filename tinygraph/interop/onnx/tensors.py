"""The package ``onnx``, its tensors as NumPy's arrays, and data in separate files.

The package is imported when it is needed. Nothing outside the model's folder is read.
"""

import importlib
import math
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from tinygraph.errors import OnnxError
from tinygraph.graph import Array, current

PRODUCER = "tinygraph"
# The prefix, in such a file, of results that have no name in the model.
UNNAMED = "_"


def package(part: str = "onnx") -> Any:
    """Return the package ``onnx``, or a module of it. Raises ``OnnxError`` with the command that installs it."""
    try:
        return importlib.import_module(part)
    except ImportError as error:
        why = f"ONNX files need the package onnx, which cannot be imported ({error}): pip install onnx"
        raise OnnxError(why) from None


_NAMES = {1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool"}
_NAMES |= {10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 14: "complex64", 15: "complex128"}
# ONNX's numbers for its element types, for those that NumPy has too.
DTYPES: dict[int, np.dtype[Any]] = {number: np.dtype(name) for number, name in _NAMES.items()}
NUMBERS = {dtype: number for number, dtype in DTYPES.items()}
# The element types that ``dtype=`` replaces.
REAL = (np.dtype("float16"), np.dtype("float32"))
# An array of more elements, which a file only declares or computes from small numbers, is an attack or a mistake.
MOST_ELEMENTS = 1 << 28
# The same for places that are computed one by one while a graph is recorded, such as the windows of an image.
MOST_PLACES = 1 << 26
_EXTERNAL = 1
# What raises the error that names the file, and the node or the array.
Fail = Callable[[str], NoReturn]


def dtype_of(number: int, fail: Fail) -> np.dtype[Any]:
    """Return NumPy's dtype for the number of an element type."""
    if number not in DTYPES:
        known = package().TensorProto.DataType
        fail(f"NumPy has no element type {known.Name(number) if number in known.values() else number}")
    return DTYPES[number]


def array_of(tensor: Any, folder: Path | None, fail: Fail) -> Array:
    """Return an ONNX tensor as an array, or fail where its sizes and its data do not fit each other.

    ``folder`` is where files with its data may lie; ``None`` for a model that came without a file.
    """
    name = tensor.name or "a tensor without a name"
    dtype = dtype_of(tensor.data_type, lambda why: fail(f"{name}: {why}"))
    shape = tuple(tensor.dims)
    if any(size < 0 for size in shape):
        fail(f"{name} declares the shape {shape}")
    count = math.prod(shape)
    if count > MOST_ELEMENTS:
        fail(f"{name} declares {count:,} elements, more than the limit of {MOST_ELEMENTS:,}")
    if tensor.data_location == _EXTERNAL:
        data = _external(tensor, folder, count * dtype.itemsize, lambda why: fail(f"{name}: {why}"))
        return np.frombuffer(data, dtype.newbyteorder("<")).astype(dtype, copy=False).reshape(shape)
    if tensor.HasField("raw_data") and len(tensor.raw_data) != count * dtype.itemsize:
        fail(f"{name} of shape {shape} needs {count * dtype.itemsize:,} bytes; found {len(tensor.raw_data):,}")
    try:
        return np.asarray(package("onnx.numpy_helper").to_array(tensor)).reshape(shape)
    except (ValueError, TypeError, OverflowError) as error:
        fail(f"{name} of shape {shape} cannot be read: {error}")


def _external(tensor: Any, folder: Path | None, size: int, fail: Fail) -> bytes:
    """Return the bytes of a tensor that lie in another file than the model."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    if folder is None:
        fail("its data are in another file, and the model came without a folder")

    def number(what: str, default: int) -> int:
        text = entries.get(what, str(default))
        if not text.isascii() or not text.isdigit() or len(text) > 18:
            fail(f"the {what} of its external data is not a whole number: {text!r}")
        return int(text)

    offset, length = number("offset", 0), number("length", size)
    if length != size:
        fail(f"needs {size:,} bytes; its external data declare {length:,}")
    try:
        with os.fdopen(_opened(folder, location, fail), "rb") as stream:
            found = os.fstat(stream.fileno())
            if offset + size > found.st_size:
                fail(f"{location!r} ends before its data: found {found.st_size:,} bytes of {offset + size:,}")
            if (budget := current()) is not None:
                # Several tensors may claim the same bytes.
                budget.allow(found)
                budget.spend("bytes of values", size)
            stream.seek(offset)
            return stream.read(size)
    except OSError as error:
        fail(f"{location!r} cannot be read: {error.strerror}")


def _opened(folder: Path, location: str, fail: Fail) -> int:
    """Open a plain file in ``folder`` or below: no way out of it, and no links."""
    parts = location.replace("\\", "/").split("/")
    if not location or "\0" in location or os.path.isabs(location) or ":" in location or {"", ".", ".."} & set(parts):
        fail(f"its data must be in the model's own folder; found the location {location!r}")
    path = folder
    for part in parts:
        path = path / part
        if path.is_symlink():
            fail(f"its data must be in a file; {location!r} is a link or leads through one")
    flags = (getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_BINARY", "O_NONBLOCK"))
    file = os.open(path, os.O_RDONLY | sum(flags))
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        fail(f"its data must be in a file; {location!r} is none")
    return file


def proto_of(array: Array, name: str) -> Any:
    """Return an array as an ONNX tensor. Raises ``OnnxError`` for a dtype that ONNX lacks."""
    if array.dtype not in NUMBERS:
        raise OnnxError(f"{name!r} holds {array.dtype}, for which ONNX has no element type")
    return package("onnx.numpy_helper").from_array(np.ascontiguousarray(array).reshape(array.shape), name)
