"""ONNX's tensors as NumPy's arrays, and data that a file keeps beside itself. Nothing outside the file's folder is read."""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from tinygraph.errors import OnnxError
from tinygraph.graph.arrays import Array
from tinygraph.graph.budget import current
from tinygraph.interop.onnx.package import package

# ONNX's numbers for its element types, for those that NumPy has too.
DTYPES: dict[int, np.dtype[Any]] = {
    1: np.dtype("float32"),
    2: np.dtype("uint8"),
    3: np.dtype("int8"),
    4: np.dtype("uint16"),
    5: np.dtype("int16"),
    6: np.dtype("int32"),
    7: np.dtype("int64"),
    9: np.dtype("bool"),
    10: np.dtype("float16"),
    11: np.dtype("float64"),
    12: np.dtype("uint32"),
    13: np.dtype("uint64"),
    14: np.dtype("complex64"),
    15: np.dtype("complex128"),
}
# What ``dtype=`` takes the place of: the element types of trained networks.
REAL = (np.dtype("float16"), np.dtype("float32"))
NUMBERS = {dtype: number for number, dtype in DTYPES.items()}
# More than this in one array that a file only claims, or computes from small numbers, is taken for an attack or a mistake.
MOST_ELEMENTS = 1 << 28
# The same for what is followed element by element already when a graph is recorded, such as the windows of an image.
MOST_PLACES = 1 << 26
_EXTERNAL = 1
Fail = Callable[[str], NoReturn]


def dtype_of(number: int, fail: Fail) -> np.dtype[Any]:
    """Return NumPy's dtype for the number of an element type."""
    if number not in DTYPES:
        known = package().TensorProto.DataType
        name = known.Name(number) if number in known.values() else str(number)
        fail(f"NumPy has no element type {name}")
    return DTYPES[number]


def array_of(tensor: Any, folder: Path | None, fail: Fail) -> Array:
    """Return an ONNX tensor as an array, or fail where its sizes and its data do not fit each other.

    ``folder`` is where data beside the file may lie; ``None`` for a model that came without a file.
    """
    name = tensor.name or "a tensor without a name"
    dtype = dtype_of(tensor.data_type, lambda why: fail(f"{name}: {why}"))
    shape = tuple(tensor.dims)
    if any(size < 0 for size in shape):
        fail(f"{name} declares the shape {shape}")
    count = math.prod(shape)
    if count > MOST_ELEMENTS:
        fail(f"{name} declares {count:,} elements, more than the {MOST_ELEMENTS:,} that are read")
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
    """Return the bytes of a tensor that lie in a file beside the model's own."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    if folder is None:
        fail("its data lie in another file, and the model came without a folder")
    offset = _whole(entries.get("offset", "0"), "offset", fail)
    length = _whole(entries.get("length", str(size)), "length", fail)
    if length != size:
        fail(f"needs {size:,} bytes; its external data declare {length:,}")
    try:
        file = _opened(folder, location, fail)
        with os.fdopen(file, "rb") as stream:
            held = os.fstat(file).st_size
            if offset + size > held:
                fail(f"{location!r} ends before its data: {offset + size:,} bytes are declared, {held:,} are there")
            budget = current()
            if budget is not None:
                # Several tensors may claim the same bytes.
                budget.allow(os.fstat(file))
                budget.spend("bytes of values", size)
            stream.seek(offset)
            return stream.read(size)
    except OSError as error:
        fail(f"{location!r} cannot be read: {error.strerror}")


def _opened(folder: Path, location: str, fail: Fail) -> int:
    """Open a plain file in ``folder`` or below: no way out of it, and no links."""
    parts = location.replace("\\", "/").split("/")
    if not location or "\0" in location or os.path.isabs(location) or ":" in location or {"", ".", ".."} & set(parts):
        fail(f"its data must lie in the model's own folder; found the location {location!r}")
    path = folder
    for part in parts:
        path = path / part
        if path.is_symlink():
            fail(f"its data must be a file, and {location!r} is or leads through a link")
    file = os.open(
        path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
    )
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        fail(f"its data must be a file, and {location!r} is none")
    return file


def _whole(text: str, what: str, fail: Fail) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        fail(f"the {what} of its external data is no whole number: {text!r}")
    return int(text)


def proto_of(array: Array, name: str) -> Any:
    """Return an array as an ONNX tensor. Raises ``OnnxError`` for a dtype that ONNX lacks."""
    if array.dtype not in NUMBERS:
        raise OnnxError(f"{name!r} holds {array.dtype}, which ONNX has no element type for")
    return package("onnx.numpy_helper").from_array(np.ascontiguousarray(array).reshape(array.shape), name)
