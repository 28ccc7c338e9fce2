"""Write and read weights as safetensors files; names, shapes and values are checked."""

import json
import os
import re
import struct
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain, zip_longest
from typing import Any

import numpy as np

from tinygraph.errors import DTypeError, UnknownNameError, WeightsError, listing, unknown
from tinygraph.files import as_path, open_plain, write_whole
from tinygraph.graph import Array, Tensor, cast_array
from tinygraph.model.variables import names_like

CHECKSUM, CLASSES = "crc32", "classes"
# In the metadata of a checkpoint, which holds weights and, under names with a slash, what a training continues from.
CHECKPOINT = "checkpoint"
# The dtypes of safetensors files in NumPy's notation.
_DTYPES = {
    **{f"F{bits}": f"<f{bits // 8}" for bits in (16, 32, 64)},
    **{f"I{bits}": f"<i{bits // 8}" for bits in (8, 16, 32, 64)},
    **{f"U{bits}": f"<u{bits // 8}" for bits in (8, 16, 32, 64)},
    **{"BF16": "<u2", "BOOL": "?", "C64": "<c8"},
}


def save_weights(
    path: str | os.PathLike[str],
    parameters: Mapping[str, Tensor],
    model: str,
    fixed: Collection[str] = (),
    classes: Sequence[str] = (),
) -> None:
    """Write parameters to a safetensors file. An existing file is replaced only when the new one is complete.

    The metadata contain the model's name, a checksum of the data, and the names of the ``classes`` if there are any.
    Raises ``WeightsError`` if the file cannot be written, and for values that ``load_weights`` would refuse.
    """
    for name, parameter in parameters.items():
        if not _usable(np.asarray(parameter.value), name in fixed):
            raise WeightsError(f"{str(path)!r} was not written: {name!r} holds NaN or infinity")
    write_arrays(path, {name: p.value for name, p in parameters.items()}, described(model, classes))


def described(model: str, classes: Sequence[str] = ()) -> dict[str, str]:
    """Return the metadata of weights: the model's name, and the names of the classes if there are any.

    >>> described("net", ("cat", "dog"))
    {'model': 'net', 'classes': '["cat", "dog"]'}
    """
    return {"model": model} | ({CLASSES: json.dumps(list(classes))} if classes else {})


def write_arrays(path: str | os.PathLike[str], arrays: Mapping[str, Any], metadata: Mapping[str, str]) -> None:
    """Write arrays to a safetensors file, with ``metadata`` and a checksum; see ``write_whole``. Raises ``WeightsError``."""
    from safetensors.numpy import save

    header, payload = _divided(save({name: np.asarray(array, order="C") for name, array in arrays.items()}))
    header["__metadata__"] = {**metadata, CHECKSUM: _checksum(payload)}
    text = json.dumps(header, separators=(",", ":")).encode()
    # The payload begins at a multiple of eight bytes.
    text += b" " * (-len(text) % 8)
    try:
        write_whole(path, struct.pack("<Q", len(text)) + text + payload)
    except OSError as error:
        raise WeightsError(f"{str(path)!r} cannot be written: {error.strerror or error}") from None


def _divided(data: bytes) -> tuple[dict[str, Any], memoryview]:
    """Return the header of a safetensors file and its payload, the bytes of all arrays."""
    (length,) = struct.unpack_from("<Q", data)
    return json.loads(data[8 : 8 + length]), memoryview(data)[8 + length :]


def _checksum(payload: memoryview) -> str:
    return f"{zlib.crc32(payload):08x}"


def load_weights(
    path: str | os.PathLike[str],
    parameters: Mapping[str, Tensor],
    model: str,
    fixed: Collection[str] = (),
    only: str | Iterable[str] | None = None,
    skip: str | Iterable[str] = (),
    rename: Mapping[str, str] | None = None,
) -> tuple[list[str], tuple[str, ...]]:
    """Read parameters from a safetensors file into tensors of the same names and shapes, all or none.

    Returns the names of what was read, and the names of the classes, if all was read and the file has any. ``only`` and
    ``skip`` are patterns of the names to read, next to which the file may contain more; ``rename`` is that of ``renamed``.
    Real numbers are rounded to the model's dtype; integers must fit exactly. Raises ``WeightsError`` for a file that is
    missing, damaged, or of another model. The checksum is compared if the file has one; files of other programs have none.
    Of a checkpoint the weights are read. Only ``fixed`` ones, such as the mask of an attention, may contain infinity.
    """
    owner, every, known = f"model {model!r}", only is None and not skip, set(parameters)
    left_out = names_like(skip, parameters, owner, "parameter or state")
    chosen = parameters if only is None else names_like(only, parameters, owner, "parameter or state")
    parameters = {name: parameters[name] for name in chosen if name not in left_out}
    if not parameters and not every:
        raise WeightsError(f"nothing is left to load into {owner}: all that only names is skipped")
    arrays, metadata = read_arrays(path)
    if CHECKPOINT in metadata:
        arrays = {name: array for name, array in arrays.items() if "/" not in name}
    arrays = renamed(arrays, rename or {}, str(path))
    missing = [name for name in parameters if name not in arrays]
    # Sorted, because the order of the file differs at each reading.
    extra = sorted(arrays.keys() - known)
    other = f"{path}: not the weights of model {model!r}"
    if missing or (extra and every):
        hint = "; only, skip and rename load what they share" if 2 * len(missing) <= len(parameters) else ""
        sides = [
            f"the {where} lacks {listing(names)}" for where, names in (("file", missing), ("model", extra)) if names
        ]
        raise WeightsError(f"{other}: {', and '.join(sides)}{hint}")
    if wrong := [name for name, parameter in parameters.items() if arrays[name].shape != parameter.shape]:
        shapes = [f"{name!r} has shape {arrays[name].shape}, the model's {parameters[name].shape}" for name in wrong]
        advice = f"; skip {listing(wrong)} to load the others" if len(wrong) < len(parameters) else ""
        raise WeightsError(f"{other}: {'; '.join(shapes)}{advice}")
    for name, parameter in parameters.items():
        arrays[name] = _cast(arrays[name], parameter.dtype, f"{path}: {name!r} of the model")
        if not _usable(arrays[name], name in fixed):
            raise WeightsError(f"{path}: {name!r} holds NaN, infinity, or numbers too large for {parameter.dtype}")
    for name, parameter in parameters.items():
        parameter.value = arrays[name]
    return list(parameters), _classes(metadata) if every else ()


def renamed(arrays: Mapping[str, Array], rename: Mapping[str, str], path: str) -> dict[str, Array]:
    """Return arrays by other names: those that an old name fits get the new one. ``*`` stands for the same letters in both.

    The first name that fits decides. Raises ``UnknownNameError`` for an old name that fits no array, and ``WeightsError``
    for two arrays of one name.

    >>> list(renamed({"fc.W": 1, "enc.1.W": 2, "enc.1.b": 3}, {"fc.W": "W", "enc.*": "R*"}, "w.safetensors"))
    ['W', 'R1.W', 'R1.b']
    """
    if not isinstance(rename, Mapping) or any(not isinstance(new, str) for pair in rename.items() for new in pair):
        raise WeightsError(f"rename is a mapping of names, such as {{'fc.*': 'head.*'}}; found {rename!r}")
    targets: dict[str, str] = {}
    for old, new in rename.items():
        if old.count("*") != new.count("*"):
            raise WeightsError(f"rename needs a * in both names or in none; found {old!r} and {new!r}")
        pattern = re.compile("(.*)".join(map(re.escape, old.split("*"))))
        fits = {name: fit.groups() for name in arrays if (fit := pattern.fullmatch(name))}
        if not fits:
            raise UnknownNameError(unknown(path, "array", old, sorted(arrays)))
        for name, letters in fits.items():
            targets.setdefault(name, "".join(chain(*zip_longest(new.split("*"), letters, fillvalue=""))))
    found = {targets.get(name, name): array for name, array in arrays.items()}
    if len(found) < len(arrays):
        twice = Counter(targets.get(name, name) for name in arrays).most_common(1)[0][0]
        raise WeightsError(f"{path}: two of its arrays would be called {twice!r} after renaming")
    return found


def _classes(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the classes; what other programs call so, if it is no list of texts, is ignored."""
    try:
        names = json.loads(metadata.get(CLASSES, "[]"))
    except (ValueError, RecursionError):
        return ()
    return tuple(names) if isinstance(names, list) and all(isinstance(name, str) for name in names) else ()


def _usable(array: Array, fixed: bool) -> bool:
    return not (np.isnan(array) if fixed else ~np.isfinite(array)).any()


def _cast(array: Array, dtype: np.dtype[Any], what: str) -> Array:
    """Return ``array`` in ``dtype``; real numbers are rounded, integers never."""
    try:
        cast = cast_array(array, dtype, what)
    except DTypeError as error:
        raise WeightsError(str(error)) from None
    if array.dtype.kind in "iu":
        with np.errstate(invalid="ignore"):
            rounded = cast.astype(array.dtype) != array
        if rounded.any():
            raise WeightsError(f"{what} holds {dtype}, which rounds {array[rounded].flat[0]} ({array.dtype})")
    return cast


def _array(path: str | os.PathLike[str], name: str, entry: Mapping[str, Any]) -> Array:
    """Return an array of a safetensors file; bfloat16, the upper half of float32, becomes float32."""
    dtype = entry["dtype"]
    if dtype not in _DTYPES:
        raise WeightsError(f"{path}: {name!r} holds {dtype}, which is not supported (supported: {listing(_DTYPES)})")
    array = np.frombuffer(entry["data"], _DTYPES[dtype]).reshape(entry["shape"])
    return (array.astype(np.uint32) << 16).view(np.float32) if dtype == "BF16" else array


def read_arrays(path: str | os.PathLike[str]) -> tuple[dict[str, Array], Mapping[str, Any]]:
    """Return the arrays of a safetensors file by name, and its metadata. Raises ``WeightsError`` for a damaged file."""
    from safetensors import SafetensorError, deserialize

    try:
        with open_plain(as_path(path)) as file:
            data = file.read()
        arrays = {name: _array(path, name, entry) for name, entry in deserialize(data)}
        header, payload = _divided(data)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (SafetensorError, ValueError, KeyError, OverflowError, RecursionError) as error:
        raise WeightsError(f"{path}: damaged, or not a safetensors file: {error}") from None
    metadata = header.get("__metadata__") or {}
    if metadata.get(CHECKSUM) not in (None, _checksum(payload)):
        raise WeightsError(f"{path}: damaged: the checksum of its data differs from the one stored in it")
    return arrays, metadata
