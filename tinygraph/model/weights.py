"""Weights on disk: safetensors files, checked name by name and shape by shape."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tinygraph.errors import WeightsError, listing
from tinygraph.graph.tensor import Tensor


def save_weights(path: str | os.PathLike[str], parameters: Mapping[str, Tensor], model: str) -> None:
    """Write parameters to a safetensors file; a file that was there is replaced only when the new one is whole."""
    from safetensors.numpy import save

    data = save({name: np.asarray(p.value, order="C") for name, p in parameters.items()}, metadata={"model": model})
    target = Path(path)
    if not target.name or target.is_dir():
        raise WeightsError(f"{str(path)!r} is a folder; weights are written to a file")
    partial = target.with_name(target.name + ".partial")
    try:
        partial.write_bytes(data)
        partial.replace(target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def load_weights(path: str | os.PathLike[str], parameters: Mapping[str, Tensor], model: str) -> None:
    """Read parameters from a safetensors file into tensors of the same names, shapes and dtypes, all or none.

    Raises ``WeightsError`` for a file that is missing, damaged, or of another model.
    """
    arrays = _read(path)
    missing = [name for name in parameters if name not in arrays]
    extra = [name for name in arrays if name not in parameters]
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
        if not np.isfinite(arrays[name]).all():
            raise WeightsError(f"{path}: {name!r} holds NaN, infinity, or numbers beyond {parameter.dtype}")
    for name, parameter in parameters.items():
        parameter.value = arrays[name]


def _read(path: str | os.PathLike[str]) -> dict[str, npt.NDArray[Any]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return load(Path(path).read_bytes())
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (SafetensorError, ValueError, KeyError) as error:
        raise WeightsError(f"{path}: damaged, or not a safetensors file: {error}") from None
