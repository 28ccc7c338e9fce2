"""Weights on disk: safetensors files, checked name by name and shape by shape."""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tinygraph.errors import WeightsError, listing
from tinygraph.files import write_whole
from tinygraph.graph.tensor import Tensor

CHECKSUM = "crc32"


def save_weights(path: str | os.PathLike[str], parameters: Mapping[str, Tensor], model: str) -> None:
    """Write parameters to a safetensors file; a file that was there is replaced only when the new one is whole.

    The file's metadata hold the model's name and a checksum of the data. Raises ``WeightsError`` where nothing can be
    written.
    """
    from safetensors.numpy import save

    data = _sealed(save({name: np.asarray(p.value, order="C") for name, p in parameters.items()}), model)
    try:
        write_whole(path, data)
    except OSError as error:
        raise WeightsError(f"{str(path)!r} cannot be written: {error.strerror or error}") from None


def _sealed(data: bytes, model: str) -> bytes:
    """Return a safetensors file with the model's name and the checksum of its payload among its metadata."""
    header, payload = _divided(data)
    header["__metadata__"] = {"model": model, CHECKSUM: _checksum(payload)}
    text = json.dumps(header, separators=(",", ":")).encode()
    # The format begins its data at a multiple of eight bytes.
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + payload


def _divided(data: bytes) -> tuple[dict[str, Any], memoryview]:
    """Return the header of a safetensors file, and its payload: the bytes of all arrays."""
    (length,) = struct.unpack_from("<Q", data)
    return json.loads(data[8 : 8 + length]), memoryview(data)[8 + length :]


def _checksum(payload: memoryview) -> str:
    return f"{zlib.crc32(payload):08x}"


def load_weights(
    path: str | os.PathLike[str], parameters: Mapping[str, Tensor], model: str, fixed: Collection[str] = ()
) -> None:
    """Read parameters from a safetensors file into tensors of the same names, shapes and dtypes, all or none.

    Raises ``WeightsError`` for a file that is missing, damaged, or of another model. The checksum is compared where a
    file has one; those of other programs have none. Only what is ``fixed``, such as the mask of an attention, may hold
    infinity.
    """
    arrays = _read(path)
    missing = [name for name in parameters if name not in arrays]
    # The file's own order is another at each reading.
    extra = sorted(name for name in arrays if name not in parameters)
    if missing or extra:
        raise WeightsError(
            f"{path}: not the weights of model {model!r}: missing {listing(missing)}, not in the model {listing(extra)}"
        )
    for name, parameter in parameters.items():
        if arrays[name].shape != parameter.shape:
            raise WeightsError(
                f"{path}: not the weights of model {model!r}: {name!r} has shape {arrays[name].shape}, "
                f"the model's {parameter.shape}"
            )
        if not np.can_cast(arrays[name].dtype, parameter.dtype, "same_kind"):
            raise WeightsError(f"{path}: {name!r} holds {arrays[name].dtype}, the model's {parameter.dtype}")
        with np.errstate(over="ignore"):
            arrays[name] = arrays[name].astype(parameter.dtype)
        if (np.isnan(arrays[name]) if name in fixed else ~np.isfinite(arrays[name])).any():
            raise WeightsError(f"{path}: {name!r} holds NaN, infinity, or numbers beyond {parameter.dtype}")
    for name, parameter in parameters.items():
        parameter.value = arrays[name]


def _read(path: str | os.PathLike[str]) -> dict[str, npt.NDArray[Any]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        data = Path(path).read_bytes()
        arrays = load(data)
        header, payload = _divided(data)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (SafetensorError, ValueError, KeyError) as error:
        raise WeightsError(f"{path}: damaged, or not a safetensors file: {error}") from None
    if (header.get("__metadata__") or {}).get(CHECKSUM) not in (None, _checksum(payload)):
        raise WeightsError(f"{path}: damaged: its data do not have the checksum that was written with them")
    return arrays
