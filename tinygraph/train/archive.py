"""Read arrays from ``.npz`` files. Files are not trusted: the sizes that they claim are checked before memory is allocated."""

import math
import os
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy

from tinygraph.errors import DataError
from tinygraph.files import open_plain
from tinygraph.graph import MOST_AXES, Array, opening

_ARCHIVE, _SINGLE = b"PK", b"\x93NUMPY"
# The compressions of numpy.savez and numpy.savez_compressed; other decoders may allocate gigabytes at once.
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_HEADERS: dict[tuple[int, int], Any] = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


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
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file") from None
    except Exception as error:  # NumPy, zipfile and zlib raise almost anything for damaged and hostile files.
        raise DataError(f"{path}: cannot be read as an .npz file ({_reason(error)})") from None
    if start == _SINGLE:
        raise DataError(f"{path}: a single array; expected an .npz file with x and y (numpy.savez(path, x=..., y=...))")
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
            raise ValueError(f"{member.filename!r} has a damaged header: {_reason(error)}") from None
        if dtype.hasobject:
            raise ValueError("it holds Python objects; expected arrays of numbers")
        size, held = math.prod(shape) * dtype.itemsize, member.file_size - stream.tell()
        if size != held:
            raise ValueError(f"{member.filename!r} of shape {shape} needs {size:,} bytes and holds {held:,}")
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


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
